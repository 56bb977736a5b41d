"""Deletions that publishers and their partners ask for by the IAB's framework: proved, done, acknowledged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from engine.campaign import Publisher
from engine.consents import Consents
from engine.errors import NotFound
from privacy import jose
from privacy.consent_log import leaf
from privacy.deletion import (
    FORMAT,
    IDENTIFIER,
    Code,
    Key,
    Refused,
    acknowledge,
    pinned_key,
    read_request,
)

PATH = "/v1/deletions"


class Deletions:
    """Answers deletion requests in the service's name."""

    def __init__(
        self,
        consents: Consents,
        publishers: Callable[[], Iterable[Publisher]],
        *,
        service_url: str,
        seed: bytes,
        now: Callable[[], datetime],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._consents, self._publishers = consents, publishers
        self._url, self._seed = service_url, seed
        self._now, self._random = now, random_bytes

    def resource(self) -> dict[str, Any]:
        """Give dsrdelete.json: where requests go, which identifiers they may name, and our public key."""
        return {
            "endpoint": self._url + PATH,
            "identifiers": [{"id": 1, "type": IDENTIFIER, "format": FORMAT}],
            "publicKey": [jose.jwk(jose.signing_key(self._seed))],
            "vendorScriptRequirement": False,
        }

    def answer(self, request: str) -> tuple[Code, str]:
        """Carry out what an rqJWT asks for, and return the result code with the signed acJWT.

        The code is 0 also where nothing is kept of the subject: whoever asks is not told who is known here. What
        was carried out is told to the log, by the hashes of both JWTs; what nobody proved leaves nothing there.
        """
        now = self._now()
        codes: list[Code] = []
        # Each publisher's pins by themselves: nobody erases at one by a key that another pinned.
        for publisher in self._publishers():
            if not publisher.deletion:
                continue
            try:
                asked = read_request(request, _pins(publisher), now, publisher.is_at)
                with suppress(NotFound):
                    self._consents.erase(publisher.id, asked.subject)
                codes.append(0)
            except Refused as refused:
                codes.append(refused.code)
        code = _told(codes or [_refusal(request, now)])
        domain = urlsplit(self._url).hostname or self._url
        id = self._random(16).hex()
        acknowledged = acknowledge(request, code, issuer=domain, seed=self._seed, id=id, at=now)
        if code == 0:
            told = {"request": _sha256(request), "answer": _sha256(acknowledged)}
            self._consents.store.append(lambda index: leaf(index, "deletion.answer", now, data=told))
        return code, acknowledged


def _sha256(jwt: str) -> str:
    return hashlib.sha256(jwt.encode()).hexdigest()


def _pins(publisher: Publisher) -> Callable[[str], Sequence[Key]]:
    def keys_of(domain: str) -> Sequence[Key]:
        party = publisher.deletion.get(domain)
        if party is None:
            return ()
        return [pinned_key(msgspec.to_builtins(key), "deletion") for key in party.keys]

    return keys_of


def _told(codes: Sequence[Code]) -> Code:
    """Give the code that says most: done, else why not by one who knew the signer, else that nobody did."""
    return 0 if 0 in codes else next((code for code in codes if code != 2), 2)


def _refusal(request: str, now: datetime) -> Code:
    """Give the code for a request that no publisher's pins can prove."""
    try:
        read_request(request, lambda domain: (), now, lambda domain: False)
    except Refused as refused:
        return refused.code
    return 2
