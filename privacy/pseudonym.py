"""Keyed pseudonyms that live for a week: HMAC-SHA256 under a key for each publisher, purpose and epoch.

An identifier that comes with a consented request is normalised as UID2 does, hashed, and put under the key;
the result is all that leaves this module. An epoch is a week from Monday 00:00 UTC. Its key is drawn at
random and destroyed seven days after the week; then nobody can tell whose a pseudonym was.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import Literal, NewType, Protocol
from unicodedata import normalize

import phonenumbers
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from privacy.errors import FieldError, KeyDestroyed

IdType = Literal["email", "phone", "customer"]
Pseudonym = NewType("Pseudonym", bytes)  # 16 bytes

EPOCH = timedelta(days=7)
KEPT_AFTER = timedelta(days=7)  # a key is destroyed so long after its epoch
KEY_BYTES = 32
BYTES = 16
LONGEST = 320  # characters of an identifier: the longest e-mail address
FIELD = "signals.id.value"

_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
_LABEL = b"tactful/pseudonym/v1\0"
_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{43}=")
_E164 = re.compile(r"\+[0-9]{10,15}", re.ASCII)


class EpochKeys(Protocol):
    """Where the keys of the epochs are kept, apart from what was made with them."""

    def key(self, epoch: int, now: datetime) -> bytes:
        """Return the epoch's 32 bytes; drawn at the first use, while the epoch runs.

        Raises KeyDestroyed for an epoch whose key is due to be destroyed, or was never made and no longer can be.
        """

    def destroy(self, now: datetime) -> int:
        """Destroy what is due, so that no byte of it is left in any file; return how many keys went."""


def epoch_of(at: datetime) -> int:
    """Return the number of the week that an aware time falls in."""
    return (at - _MONDAY) // EPOCH


def epoch_start(epoch: int) -> datetime:
    """Return the Monday, 00:00 UTC, at which an epoch begins."""
    return _MONDAY + epoch * EPOCH


def destroyed_at(epoch: int) -> datetime:
    """Return when the key of an epoch is destroyed."""
    return epoch_start(epoch + 1) + KEPT_AFTER


def pseudonym(keys: EpochKeys, publisher: str, purpose: str, secret: bytes, now: datetime) -> Pseudonym:
    """Put a secret under the key of the running epoch: other publishers, purposes and weeks give others.

    Raises KeyDestroyed.
    """
    return pseudonym_in(keys, epoch_of(now), publisher, purpose, secret, now)


def pseudonym_in(
    keys: EpochKeys, epoch: int, publisher: str, purpose: str, secret: bytes, now: datetime
) -> Pseudonym:
    """Put a secret under the key of an epoch that may be over. Raises KeyDestroyed."""
    if now >= destroyed_at(epoch):
        raise KeyDestroyed(f"epoch {epoch}: its key was destroyed at {destroyed_at(epoch):%Y-%m-%d}")
    if "\0" in publisher:
        raise ValueError(
            "publisher: got an id with a zero byte, expected none: it ends the id in the key's name"
        )
    info = _LABEL + publisher.encode() + b"\0" + purpose.encode()
    key = HKDFExpand(SHA256(), KEY_BYTES, info).derive(keys.key(epoch, now))
    return Pseudonym(hmac.digest(key, secret, "sha256")[:BYTES])


def id_secret(type: IdType, value: str, country: str | None = None) -> bytes:
    """Return what stands for an identifier under a key, the same for it raw and as SHA-256 of its normal form.

    A SHA-256 comes as 64 hex digits or in base64. `country` (ISO 3166-1 alpha-2) is where telephone numbers
    without a country code belong. Raises FieldError, which never quotes the value.
    """
    if _HEX.fullmatch(value):
        digest = bytes.fromhex(value)
    elif _BASE64.fullmatch(value):
        digest = _unbase64(value)
    else:
        digest = hashlib.sha256(normal(type, value, country).encode()).digest()
    return type.encode() + b"\0" + digest


def normal(type: IdType, value: str, country: str | None = None) -> str:
    """Return the normal form of a raw identifier, by UID2's rules. Raises FieldError.

    https://unifiedid.com/docs/getting-started/gs-normalization-encoding; customer numbers are the publisher's
    own and only trimmed.
    """
    if len(value) > LONGEST:
        raise FieldError(FIELD, f"{len(value)} characters", f"at most {LONGEST}")
    text = normalize("NFC", value).strip()
    if type == "email":
        return _email(text)
    if type == "phone":
        return _phone(text, country)
    if not text:
        raise FieldError(FIELD, "nothing", "the publisher's number for a customer")
    return text


def _email(text: str) -> str:
    local, at, host = text.lower().rpartition("@")
    if host == "gmail.com":
        local = local.partition("+")[0].replace(".", "")
    # UID2 refuses a second @ and an address without a local part, and looks no further.
    if not at or not local or not host or "@" in local or local.isspace():
        raise FieldError(FIELD, "no e-mail address", "an e-mail address, or its SHA-256 as hex or base64")
    return f"{local}@{host}"


def _phone(text: str, country: str | None) -> str:
    number = text
    if not _E164.fullmatch(text):
        try:
            parsed = phonenumbers.parse(text, country)
        except phonenumbers.NumberParseException:
            number = ""
        else:
            number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if not _E164.fullmatch(number):
        expected = "a number with its country code, +… (E.164), or its SHA-256 as hex or base64"
        raise FieldError(FIELD, "no telephone number", expected)
    return number


def _unbase64(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:  # the last sextet holds bits that belong to no byte
        raise FieldError(FIELD, "no base64", "a SHA-256 as 64 hex digits or 44 of base64") from None
