"""A key for each subject: what is noted of a consent opens with it, and once it is destroyed nothing opens it.

The consent log only ever grows, so no leaf may hold what somebody may ask to have erased. A leaf holds a
commitment, HMAC-SHA256 over the leaf's own index and the record, and the hash of a ciphertext that stands
beside the log (AES-256-GCM). Both keys come from the subject's 32 bytes. AES-GCM alone would be no commitment:
a ciphertext can be made to open under two keys. The index keeps two leaves of one subject from being linked.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from privacy.errors import ErasureError

KEY_BYTES = 32
NONCE_BYTES = 12
ERASE_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """A subject's secret, and the name under which its erasure will be told: drawn with it, told only then."""

    key: bytes  # 32 bytes
    erase_id: str  # 128 random bits, hex


class SubjectKeys(Protocol):
    """Where the keys of subjects are kept: apart from what they open, and in no backup of it."""

    def make(self, subject: str) -> SubjectKey:
        """Return the key of a subject, drawn now where there is none; the same one from every process."""

    def get(self, subject: str) -> SubjectKey | None:
        """Return the key of a subject, None where it has none or its key was destroyed."""

    def destroy(self, subject: str) -> None:
        """Destroy a key: when this returns, no byte of it is in any file of the store. One that is gone is fine."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A record as the log and its side table keep it."""

    commit: bytes  # 32 bytes
    ciphertext: bytes  # nonce, AES-256-GCM ciphertext, tag

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the ciphertext, which stands in the leaf."""
        return hashlib.sha256(self.ciphertext).digest()


def seal(key: bytes, index: int, record: bytes, nonce: bytes) -> Sealed:
    """Commit to a record and encrypt it for the leaf at `index`. Requires a fresh nonce of 12 random bytes."""
    sealed = AESGCM(_derived(key, b"enc")).encrypt(nonce, record, _counted(index))
    return Sealed(commitment(opening_key(key), index, record), nonce + sealed)


def unseal(key: bytes, index: int, ciphertext: bytes) -> bytes:
    """Return the record of the leaf at `index`. Raises ErasureError where this key does not open it."""
    nonce, sealed = ciphertext[:NONCE_BYTES], ciphertext[NONCE_BYTES:]
    try:
        return AESGCM(_derived(key, b"enc")).decrypt(nonce, sealed, _counted(index))
    except (InvalidTag, ValueError):
        raise ErasureError(f"record of leaf {index}: got a ciphertext that this key does not open") from None


def opening_key(key: bytes) -> bytes:
    """Give the key of a subject's commitments, which goes with its receipts: it checks records and opens none."""
    return _derived(key, b"commit")


def commitment(opening: bytes, index: int, record: bytes) -> bytes:
    """Give the 32 bytes by which the leaf at `index` is bound to a record."""
    return hmac.digest(opening, _counted(index) + record, "sha256")


def _derived(key: bytes, info: bytes) -> bytes:
    # RFC 5869 2.1: the key is uniform, so that the extract step may be left out.
    if len(key) != KEY_BYTES:
        raise ErasureError(f"key: got {len(key)} bytes, expected {KEY_BYTES}")
    return HKDFExpand(SHA256(), KEY_BYTES, b"tactful subject " + info).derive(key)


def _counted(index: int) -> bytes:
    return index.to_bytes(8, "big")
