"""Event tokens: sealed by the service for itself, so that neither page nor reader learns what is in them.

AES-128-GCM under a key of the UTC day, which is made of the installation's own; base64url without padding:

    day mod 256 (1) || nonce (12) || ciphertext and tag

The nonce is 11 random bytes of the page view and the number of a placement. The view's own number is made of those
bytes under another key of the day: whoever sees a token cannot tell which row of the events is its.
"""

from __future__ import annotations

import hashlib
import hmac
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

RANDOM_BYTES = 11  # of a page view
VIEW_BYTES = 16
LONGEST = 800  # characters
SHORTEST = 40
_KEY_BYTES = 16
_NONCE_BYTES = RANDOM_BYTES + 1
_DAYS = 256
_BYTES = tuple(bytes((number,)) for number in range(256))
_MOST_KEYS = 8  # of days, kept ready
_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True, slots=True)
class Opened:
    """What a token holds."""

    data: bytes
    view: bytes  # 16 bytes, equal for all placements of a page view
    slot: int
    nonce: bytes


@dataclass(frozen=True, slots=True)
class _DayKeys:
    seal: AESGCM
    view: bytes


class Sealer:
    """Seals and opens. Any number of threads and processes with one secret agree."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._keys: dict[int, _DayKeys] = {}

    def seal(self, day: int, random: bytes, slot: int, data: bytes) -> str:
        """Seal for a UTC day (since 1970). Requires 11 bytes drawn for this page view and 0 <= slot < 256."""
        nonce = random + _BYTES[slot]
        sealed = _BYTES[day % _DAYS] + nonce + self._of(day).seal.encrypt(nonce, data, None)
        return b2a_base64(sealed, newline=False).rstrip(b"=").translate(_TO_URL).decode()

    def view(self, day: int, random: bytes) -> bytes:
        """Return the number of a page view."""
        return hashlib.blake2b(random, key=self._of(day).view, digest_size=VIEW_BYTES).digest()

    def open(self, text: str, today: int) -> Opened | None:
        """Return what a token of the last 254 days, of today or of tomorrow holds; None where it is none of ours."""
        if not SHORTEST <= len(text) <= LONGEST:
            return None
        try:
            plain = text.encode("ascii").translate(_FROM_URL) + b"=" * (-len(text) % 4)
            sealed = a2b_base64(plain, strict_mode=True)
        except ValueError:
            return None
        day = today + 1 - (today + 1 - sealed[0]) % _DAYS
        nonce = sealed[1 : 1 + _NONCE_BYTES]
        try:
            data = self._of(day).seal.decrypt(nonce, sealed[1 + _NONCE_BYTES :], None)
        except (InvalidTag, ValueError):
            return None
        return Opened(data, self.view(day, nonce[:-1]), nonce[-1], nonce)

    def _of(self, day: int) -> _DayKeys:
        found = self._keys.get(day)
        if found is None:
            if len(self._keys) >= _MOST_KEYS:
                self._keys = {}
            found = _DayKeys(AESGCM(self._derived(b"seal", day)[:_KEY_BYTES]), self._derived(b"view", day))
            self._keys = {**self._keys, day: found}  # swapped whole: other threads read it
        return found

    def _derived(self, purpose: bytes, day: int) -> bytes:
        return hmac.digest(self._secret, b"event-token %s %d" % (purpose, day), "sha256")
