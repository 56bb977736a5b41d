"""Consent tokens: compact JWS of type consent+jwt, Ed25519 only, an hour at most, for one publisher.

A token says that an issuer whom the publisher named saw a reader agree. It permits nothing by itself: the
gate holds it against the standing of the consent at every use. Its status for others stands in a Token
Status List (draft-ietf-oauth-status-list), which is signed with the same key.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, TypeGuard, cast

from joserfc.jwk import OKPKey

from privacy import jose
from privacy.consent import PURPOSES, Purpose
from privacy.errors import FieldError, PrivacyError
from privacy.jose import Flaw, FlawError, KeyId

TYPE = "consent+jwt"
STATUS_TYPE = "statuslist+jwt"
LONGEST_LIFE_S = 3600  # exp - iat
LEEWAY_S = 30  # an issuer's clock may be ahead by so much
STATUS_TTL_S = 60  # a status list is good for so long: then at last others know of a withdrawal
STATUS_STEP = 65_536  # the list grows by so many entries at once, so that its length counts no grants
MOST_CACHED = 16_384  # verified tokens that are remembered until they expire
LATEST = 2**40  # seconds since 1970; no token lives then

Reason = Flaw | Literal["claims", "issuer", "audience", "lifetime", "expired", "early", "reused"]

_CLAIMS = frozenset(
    {"iss", "aud", "sub", "jti", "iat", "nbf", "exp", "gen", "pur", "notice", "rec", "status"}
)
# 128 bits and more in base64url or hex, and neither an address nor a telephone number.
OPAQUE = re.compile(r"[A-Za-z0-9_-]{22,64}", re.ASCII)
_NOTICE = re.compile(r"[0-9a-f]{64}", re.ASCII)
_RECORD = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
_URI = re.compile(r"https?://[!-~]{1,500}", re.ASCII)


class TokenError(PrivacyError):
    """A token that is as good as none, and why, in one word of a closed set."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Status:
    """Where others look up whether the consent still stands: a place in a status list."""

    index: int
    uri: str


@dataclass(frozen=True, slots=True)
class Token:
    """What a verified token says. `subject` and `id` go no further than the gate, which hashes them."""

    issuer: str
    publisher: str
    subject: str
    id: str
    issued: int  # seconds since 1970, as are the next two
    not_before: int
    expires: int
    generation: int
    purposes: frozenset[Purpose]
    notice: str  # SHA-256 over the notice's text and language, hex
    record: str  # UUID of the consent record
    status: Status


@dataclass(frozen=True, slots=True)
class Pinned:
    """A key that a publisher accepts, and the issuers that it speaks for there."""

    key: OKPKey
    issuers: frozenset[str]


Pins = Mapping[KeyId, Pinned]  # of one publisher


def pin(issuers: Mapping[str, Iterable[OKPKey]]) -> Pins:
    """Arrange the keys of a publisher's issuers by their thumbprints."""
    found: dict[KeyId, Pinned] = {}
    for issuer, keys in issuers.items():
        for key in keys:
            kid = KeyId(jose.jwk(key)["kid"])
            before = found[kid].issuers if kid in found else frozenset()
            found[kid] = Pinned(key, before | {issuer})
    return MappingProxyType(found)


class Issuer:
    """Mints tokens in one name with one key."""

    def __init__(self, name: str, seed: bytes) -> None:
        """Take the `iss` and the key's seed of 32 bytes."""
        self.name = name
        self.key = jose.signing_key(seed)

    def mint(
        self,
        *,
        publisher: str,
        subject: str,
        id: str,
        at: datetime,
        life_s: int = LONGEST_LIFE_S,
        generation: int,
        purposes: Iterable[Purpose],
        notice: str,
        record: str,
        status: Status,
    ) -> str:
        """Mint a token that is good from `at` for `life_s` seconds. Raises FieldError for what none would read."""
        issued = int(at.timestamp())
        claims = {
            "iss": self.name,
            "aud": audience(publisher),
            "sub": subject,
            "jti": id,
            "iat": issued,
            "nbf": issued,
            "exp": issued + life_s,
            "gen": generation,
            "pur": sorted(purposes),
            "notice": notice,
            "rec": record,
            "status": {"status_list": {"idx": status.index, "uri": status.uri}},
        }
        if fault := fault_in(claims):
            raise FieldError(*fault)
        if not 0 < life_s <= LONGEST_LIFE_S:
            raise FieldError("life_s", str(life_s), f"seconds from 1 to {LONGEST_LIFE_S}")
        return jose.sign(self.key, TYPE, claims)

    def status_list(self, uri: str, size: int, revoked: Iterable[int], at: datetime) -> str:
        """Sign which of the first `size` consents no longer stand, as what `uri` answers."""
        issued = int(at.timestamp())
        return jose.sign(
            self.key,
            STATUS_TYPE,
            {
                "iss": self.name,
                "sub": uri,
                "iat": issued,
                "exp": issued + STATUS_TTL_S,
                "ttl": STATUS_TTL_S,
                "status_list": {"bits": 1, "lst": packed(size, revoked)},
            },
        )


class Verifier:
    """Verifies tokens, and remembers those that it verified until they expire: by hash, never by text."""

    def __init__(self, most: int = MOST_CACHED) -> None:
        self._most = most
        self._known: dict[tuple[str, bytes], tuple[Pins, Token]] = {}
        self._ids: dict[tuple[str, str], tuple[str, int]] = {}  # (issuer, jti) → subject, exp

    def verify(self, token: str, publisher: str, pins: Pins, now: int) -> Token:
        """Return what a token says to this publisher at `now`, in seconds since 1970. Raises TokenError."""
        if len(token) > jose.LONGEST:
            raise TokenError("oversized")
        key = (publisher, hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest())
        known = self._known.get(key)
        if known is not None and known[0] is pins:
            found = known[1]
            _check_time(found, now)
            return found
        found = _read(token, publisher, pins)
        _check_time(found, now)
        self._bind(found, now)
        _forget(self._known, self._most, now, lambda kept: kept[1].expires)
        self._known[key] = (pins, found)
        return found

    def _bind(self, token: Token, now: int) -> None:
        """Hold an id to its first subject and publisher: the same id for another is no honest issuer's."""
        key, whose = (token.issuer, token.id), f"{token.publisher} {token.subject}"
        bound = self._ids.get(key)
        if bound is not None and bound[1] > now and bound[0] != whose:
            raise TokenError("reused")
        _forget(self._ids, self._most, now, lambda kept: kept[1])
        self._ids[key] = (whose, token.expires)


def claimed(text: str) -> dict[str, Any]:
    """Return what a token claims, for people to read: nothing is verified. Raises FieldError where it is no token."""
    parts = text.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, IndexError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise FieldError("token", f"a string of {len(text)} characters", "a compact JWS of claims in JSON")
    return claims


def audience(publisher: str) -> str:
    """Give the `aud` of a publisher's tokens."""
    return f"ctx:{publisher}"


def fault_in(claims: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return the first claim that is not as it must be, as (field, got, expected), or None; no time is looked at."""
    if missing := _CLAIMS - claims.keys():
        return min(missing), "nothing", "a value: every claim is required"
    if claims.keys() - _CLAIMS:
        return "(claims)", "an unknown claim", f"only {', '.join(sorted(_CLAIMS))}"
    for name, sound, expected in _RULES:
        if not sound(claims[name]):
            return name, f"a {type(claims[name]).__name__}", expected
    return None


def packed(size: int, revoked: Iterable[int]) -> str:
    """Write a status list of one bit each: bit i & 7 of byte i >> 3, zlib, base64url (draft, 4.1)."""
    bits = bytearray(-(-max(size, 1) // STATUS_STEP) * STATUS_STEP // 8)
    for index in revoked:
        bits[index >> 3] |= 1 << (index & 7)
    return base64.urlsafe_b64encode(zlib.compress(bytes(bits), 9)).rstrip(b"=").decode("ascii")


def is_revoked(lst: str, index: int) -> bool:
    """Read one entry of a packed list. Raises ValueError where there is none, or the list is damaged."""
    try:
        bits = zlib.decompress(base64.urlsafe_b64decode(lst + "=" * (-len(lst) % 4)))
    except zlib.error:
        raise ValueError("lst: got what zlib cannot read, expected a packed status list") from None
    if not 0 <= index < 8 * len(bits):
        raise ValueError(f"index: got {index}, expected 0 to {8 * len(bits) - 1}")
    return bool(bits[index >> 3] >> (index & 7) & 1)


def read_status_list(token: str, uri: str, pins: Pins, now: int) -> str:
    """Return the packed list of a signed one, for a remote verifier. Raises TokenError."""
    claims = _claims(token, STATUS_TYPE, pins)
    listed, issued, expires = (claims.get(name) for name in ("status_list", "iat", "exp"))
    if not (isinstance(listed, dict) and listed.get("bits") == 1 and isinstance(listed.get("lst"), str)):
        raise TokenError("claims")
    if not (_is_time(issued) and _is_time(expires)):
        raise TokenError("claims")
    if claims.get("sub") != uri:
        raise TokenError("audience")
    if issued > now + LEEWAY_S:
        raise TokenError("early")
    if expires <= now:
        raise TokenError("expired")
    return cast(str, listed["lst"])


def _claims(token: str, type_: str, pins: Pins) -> dict[str, Any]:
    used: list[Pinned] = []

    def key_of(kid: KeyId) -> OKPKey | None:
        pinned = pins.get(kid)
        if pinned is None:
            return None
        used.append(pinned)
        return pinned.key

    try:
        claims = jose.read(token, type_, key_of)
    except FlawError as error:
        raise TokenError(error.flaw) from None
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or issuer not in used[0].issuers:
        raise TokenError("issuer")
    return claims


def _read(token: str, publisher: str, pins: Pins) -> Token:
    claims = _claims(token, TYPE, pins)
    if fault_in(claims):
        raise TokenError("claims")
    if claims["aud"] != audience(publisher):
        raise TokenError("audience")
    if not 0 < claims["exp"] - claims["iat"] <= LONGEST_LIFE_S:
        raise TokenError("lifetime")
    place = claims["status"]["status_list"]
    return Token(
        issuer=claims["iss"],
        publisher=publisher,
        subject=claims["sub"],
        id=claims["jti"],
        issued=claims["iat"],
        not_before=claims["nbf"],
        expires=claims["exp"],
        generation=claims["gen"],
        purposes=frozenset(claims["pur"]),
        notice=claims["notice"],
        record=claims["rec"],
        status=Status(place["idx"], place["uri"]),
    )


def _check_time(token: Token, now: int) -> None:
    # No leeway at the end: what is over is over, and a good issuer renews in time.
    if now >= token.expires:
        raise TokenError("expired")
    if max(token.issued, token.not_before) > now + LEEWAY_S:
        raise TokenError("early")


def _forget(kept: dict[Any, Any], most: int, now: int, expires: Any) -> None:
    """Make room where there is none: what has expired goes, and the oldest quarter of what is left."""
    if len(kept) < most:
        return
    # A copy of the items in one step: other threads write meanwhile.
    items = list(kept.items())
    live = [key for key, value in items if expires(value) > now]
    dead = {key for key, _ in items}.difference(live)
    for key in (*dead, *live[: max(0, len(live) - most * 3 // 4)]):
        kept.pop(key, None)


def _is_time(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < LATEST


def _is_status(value: object) -> bool:
    if not isinstance(value, dict) or value.keys() != {"status_list"}:
        return False
    listed = value["status_list"]
    return (
        isinstance(listed, dict)
        and listed.keys() == {"idx", "uri"}
        and type(listed["idx"]) is int
        and 0 <= listed["idx"] < 2**32
        and _is(_URI)(listed["uri"])
    )


def _are_purposes(value: object) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= len(PURPOSES)
        and all(isinstance(one, str) and one in PURPOSES for one in value)
        and len(set(value)) == len(value)
    )


def _is(form: re.Pattern[str]) -> Any:
    return lambda value: isinstance(value, str) and form.fullmatch(value) is not None


_RULES: tuple[tuple[str, Any, str], ...] = (
    ("iss", _is(_URI), "the issuer's http or https URL"),
    ("aud", lambda value: isinstance(value, str), "one string, ctx: and the publisher's id"),
    ("sub", _is(OPAQUE), "22 to 64 letters, digits, hyphens and underscores that name nobody"),
    ("jti", _is(OPAQUE), "22 to 64 letters, digits, hyphens and underscores"),
    ("iat", _is_time, "whole seconds since 1970"),
    ("nbf", _is_time, "whole seconds since 1970"),
    ("exp", _is_time, "whole seconds since 1970"),
    ("gen", lambda value: type(value) is int and 0 < value < 2**31, "a whole number from 1"),
    ("pur", _are_purposes, f"distinct ones of {', '.join(sorted(PURPOSES))}"),
    ("notice", _is(_NOTICE), "a SHA-256 in 64 small hex digits"),
    ("rec", _is(_RECORD), "a UUID of version 4 in small hex digits"),
    ("status", _is_status, "status_list with idx and uri"),
)
