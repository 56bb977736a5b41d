"""The publisher's bridge from its consent dialogue to consent tokens; the same in PHP and JavaScript is in bridges/.

It runs on the publisher's server, where the reader is signed in and the CMP's string arrives. A reader's answer
is recorded with the service by the publisher's API key; what comes back (`Kept`) the publisher stores with the
reader's account. From then on the bridge mints a short token for each page, with the publisher's own key, for
those purposes that today's string still leaves; no service is called for that.
"""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

from engine.errors import EngineError
from privacy.consent import PURPOSES, Purpose
from privacy.consent_token import Issuer, Status
from privacy.errors import FieldError
from privacy.iab import Role, restrict

TOKEN_LIFE_S = 600  # a page asks for the next token before this one ends; an hour is the most
_TIMEOUT_S = 5.0
# What the service answers to a request: status and body.
Post = Callable[[str, Mapping[str, str], bytes], tuple[int, bytes]]


class BridgeError(EngineError):
    """The service did not record what it was asked to, or answered otherwise than it promises."""


class NotFirstParty(EngineError):
    """The reader is not signed in with the publisher, or the request is not from the publisher's own page."""


class NoConsent(EngineError):
    """The consent string leaves none of the purposes; `reason` says why where it is invalid."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(f"no purpose is left by the consent string{f': {reason}' if reason else ''}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks: the account that the publisher's session names, and three headers of the request."""

    account: str | None
    origin: str | None = None  # Origin
    fetch_site: str | None = None  # Sec-Fetch-Site
    fetch_dest: str | None = None  # Sec-Fetch-Dest


@dataclass(frozen=True, slots=True)
class Signals:
    """What the CMP says in this request, as its API gives it."""

    tcf: str | None = None
    gpp: str | None = None
    gpp_sid: Sequence[int] = ()
    gdpr: int | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """The notice that the reader saw: SHA-256 of its text in that language, in hex, and the publisher's version."""

    text_sha256: str
    language: str
    version: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What the publisher stores with the reader's account: whose consent it is, and how it stands."""

    sub: str
    generation: int
    record_id: str
    purposes: tuple[Purpose, ...]
    expires: str  # ISO 8601
    notice: str  # text_sha256
    status_idx: int
    status_uri: str
    rights_token: str  # the reader's own: to withdraw, export and erase

    def json(self) -> str:
        """Write it as JSON, the same as the bridges in other languages write."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def from_json(cls, text: str) -> Kept:
        """Read what `json` wrote. Raises BridgeError."""
        try:
            said = json.loads(text)
            return cls(**{**said, "purposes": tuple(said["purposes"])})
        except (ValueError, TypeError, KeyError) as error:
            raise BridgeError("kept consent: got something else than JSON of Kept") from error


class Bridge:
    """One publisher's bridge to one service."""

    def __init__(
        self,
        *,
        service: str,
        publisher: str,
        api_key: str,
        issuer: str,
        seed: bytes,
        sites: Sequence[str],
        role: Role = "publisher",
        vendor_id: int | None = None,
        post: Post | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random_hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        """`seed` is the issuer's Ed25519 key, 32 bytes; `sites` are the publisher's origins. Raises BridgeError."""
        if not service.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
            raise BridgeError(f"service: got {service!r}, expected an https URL")
        if role not in get_args(Role) or (role == "vendor") != (vendor_id is not None):
            raise BridgeError("role: expected publisher, or vendor with its id of the Global Vendor List")
        self._service, self._publisher, self._api_key = service.rstrip("/"), publisher, api_key
        self._issuer = Issuer(issuer, seed)
        self._sites = frozenset(sites)
        self._role, self._vendor_id = role, vendor_id
        self._post, self._now, self._random_hex = post or _post, now, random_hex

    def grant(
        self,
        reader: Reader,
        purposes: Sequence[Purpose],
        notice: Notice,
        expressed_by: str,
        signals: Signals,
        *,
        kept: Kept | None = None,
        days: int = 180,
    ) -> Kept:
        """Record that the reader agrees, or with `kept` agrees anew; return what to store with the account.

        Raises NotFirstParty, NoConsent, or BridgeError where the service does not record it.
        """
        self._check(reader)
        left = self._left(frozenset(purposes), signals)
        body = {
            **self._answer(sorted(left), notice, expressed_by),
            "days": days,
            **({"tcf": signals.tcf} if signals.tcf else {}),
            **({"gpp": signals.gpp} if signals.gpp else {}),
            **({"gpp_sid": list(signals.gpp_sid)} if signals.gpp_sid else {}),
            **({"sub": kept.sub} if kept else {}),
        }
        said = self._call("/v1/consents", body, 201)
        try:
            return Kept(
                sub=said["sub"],
                generation=said["generation"],
                record_id=said["record_id"],
                purposes=tuple(said["purposes"]),
                expires=said["expires"],
                notice=notice.text_sha256,
                status_idx=said["status"]["idx"],
                status_uri=said["status"]["uri"],
                rights_token=said["rights_token"],
            )
        except (KeyError, TypeError) as error:
            raise BridgeError(f"/v1/consents: the answer lacks {error}") from error

    def refuse(self, purposes: Sequence[Purpose], notice: Notice, expressed_by: str) -> None:
        """Record that a reader refused; nothing that names the reader is sent. Raises BridgeError."""
        body = self._answer(sorted(purposes), notice, expressed_by) | {"state": "refused"}
        self._call("/v1/consents", body, 201)

    def token(self, reader: Reader, kept: Kept, signals: Signals, life_s: int = TOKEN_LIFE_S) -> str | None:
        """Mint the next token; None where the consent is over, or today's string leaves none of its purposes.

        Raises NotFirstParty, and FieldError for a `life_s` that is not 1 to 3600 seconds.
        """
        self._check(reader)
        now = self._now()
        remaining = int((datetime.fromisoformat(kept.expires) - now).total_seconds())
        try:
            left = self._left(frozenset(kept.purposes), signals)
        except NoConsent:
            return None
        if remaining <= 0:
            return None
        return self._issuer.mint(
            publisher=self._publisher,
            subject=kept.sub,
            id=self._random_hex(16),
            at=now,
            life_s=min(life_s, remaining),
            generation=kept.generation,
            purposes=left,
            notice=kept.notice,
            record=kept.record_id,
            status=Status(kept.status_idx, kept.status_uri),
        )

    def withdraw(self, kept: Kept) -> None:
        """End the consent: every token is void from now on, in every worker. Raises BridgeError."""
        body = {"publisher": self._publisher, "rights_token": kept.rights_token}
        self._call("/v1/consents/withdraw", body, 200)

    def _check(self, reader: Reader) -> None:
        if not reader.account:
            raise NotFirstParty("account: got none, expected the account that the reader is signed in with")
        # A document that the browser opens by itself is first-party wherever the link stood; all else has to come
        # from the publisher's own pages. A browser without these headers says at least its origin.
        if reader.fetch_dest == "document" or reader.fetch_site in ("same-origin", "same-site"):
            return
        if reader.fetch_site is not None or reader.origin not in self._sites:
            raise NotFirstParty("request: expected one from the publisher's own pages")

    def _left(self, purposes: frozenset[Purpose], signals: Signals) -> frozenset[Purpose]:
        if not purposes <= PURPOSES:
            raise FieldError("purposes", "an unknown one", f"some of {', '.join(sorted(PURPOSES))}")
        left, reason = restrict(
            purposes,
            tcf=signals.tcf,
            gpp=signals.gpp,
            gpp_sid=signals.gpp_sid,
            gdpr=signals.gdpr,
            role=self._role,
            vendor_id=self._vendor_id,
            now=self._now(),
        )
        if not left:
            raise NoConsent(reason)
        return left

    def _answer(self, purposes: Sequence[Purpose], notice: Notice, expressed_by: str) -> dict[str, Any]:
        return {
            "publisher": self._publisher,
            "purposes": list(purposes),
            "notice": {name: getattr(notice, name) for name in notice.__slots__},
            "expressed_by": expressed_by,
        }

    def _call(self, path: str, body: Mapping[str, Any], expected: int) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._api_key}"}
        try:
            status, answer = self._post(self._service + path, headers, json.dumps(body).encode())
        except OSError as error:
            raise BridgeError(f"{path}: the service cannot be reached") from error
        if status != expected:
            raise BridgeError(f"{path}: the service answered {status}, expected {expected}")
        try:
            said = json.loads(answer)
        except ValueError as error:
            raise BridgeError(f"{path}: the service did not answer JSON") from error
        if not isinstance(said, dict):
            raise BridgeError(f"{path}: the service did not answer an object")
        return said


def _post(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, dict(headers))  # noqa: S310 - the scheme was checked
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
