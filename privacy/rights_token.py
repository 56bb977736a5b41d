"""Rights tokens: compact JWS of type rights+jwt, by which a reader exports, withdraws and erases its consent.

It is given with the consent, opens no advertisement and outlives withdrawal and expiry. Whoever holds it acts
for the reader: it belongs where the reader's own account is, and in no request for a page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from privacy import jose
from privacy.consent_token import LEEWAY_S, OPAQUE
from privacy.errors import FieldError, PrivacyError
from privacy.jose import FlawError

TYPE = "rights+jwt"
LIFE = timedelta(days=396)  # 13 months: longer than any consent stands
LATEST = 2**40  # seconds since 1970

_CLAIMS = frozenset({"iss", "aud", "sub", "jti", "iat", "nbf", "exp"})
_PUBLISHER = re.compile(r"rights:([a-z0-9][a-z0-9._-]{0,63})", re.ASCII)


class RightsError(PrivacyError):
    """A rights token that gives no right. It is not told why: whoever holds a good one knows."""

    def __init__(self) -> None:
        super().__init__("rights token: got one that is not ours, for another publisher, or over")


@dataclass(frozen=True, slots=True)
class Rights:
    """For whom a token speaks."""

    publisher: str
    subject: str  # what the publisher calls its reader; kept nowhere


class RightsDesk:
    """Mints and reads the service's own rights tokens."""

    def __init__(self, name: str, seed: bytes) -> None:
        """Take the `iss` and the seed of its key, 32 bytes."""
        self._name = name
        self._key = jose.signing_key(seed)
        self._kid = jose.jwk(self._key)["kid"]

    def mint(self, publisher: str, subject: str, *, id: str, at: datetime) -> str:
        """Mint a token that is good from `at` for LIFE. `id` is 128 random bits. Raises FieldError."""
        for field, value in (("sub", subject), ("jti", id)):
            if not OPAQUE.fullmatch(value):
                raise FieldError(
                    field, f"a string of {len(value)} characters", "22 to 64 letters, digits, - and _"
                )
        issued = int(at.timestamp())
        claims = {
            "iss": self._name,
            "aud": f"rights:{publisher}",
            "sub": subject,
            "jti": id,
            "iat": issued,
            "nbf": issued,
            "exp": issued + int(LIFE.total_seconds()),
        }
        return jose.sign(self._key, TYPE, claims)

    def read(self, token: str, now: datetime) -> Rights:
        """Return for whom a token speaks at `now`. Raises RightsError."""
        try:
            claims = jose.read(token, TYPE, lambda kid: self._key if kid == self._kid else None)
        except FlawError:
            raise RightsError from None
        if claims.keys() != _CLAIMS or claims["iss"] != self._name:
            raise RightsError
        texts = [claims["aud"], claims["sub"], claims["jti"]]
        times = [claims["iat"], claims["nbf"], claims["exp"]]
        if not all(isinstance(text, str) for text in texts):
            raise RightsError
        if not all(type(time) is int and 0 <= time < LATEST for time in times):
            raise RightsError
        publisher = _PUBLISHER.fullmatch(texts[0])
        if publisher is None or not OPAQUE.fullmatch(texts[1]) or not OPAQUE.fullmatch(texts[2]):
            raise RightsError
        issued, not_before, expires = times
        if not 0 < expires - issued <= LIFE.total_seconds():
            raise RightsError
        seconds = now.timestamp()
        if seconds >= expires or max(issued, not_before) > seconds + LEEWAY_S:
            raise RightsError
        return Rights(publisher[1], texts[1])
