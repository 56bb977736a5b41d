"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint, tlog-cosignature), written, read and verified.

A log signs a checkpoint with Ed25519 (0x01) and, against the day when that can be forged, with ML-DSA-44 (0x06). A
witness signs it with ML-DSA-44, or with Ed25519 under a time (0x04), which is verified here and not made.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from privacy.errors import LogError
from privacy.merkle import HASH_BYTES

ED25519 = 0x01
ED25519_COSIGNATURE = 0x04
ML_DSA_44 = 0x06
MOST_NOTE_BYTES = 1 << 20
MOST_SIGNATURES = 64

_PUBLIC_BYTES = {ED25519: 32, ED25519_COSIGNATURE: 32, ML_DSA_44: 1312}
_SIGNATURE_BYTES = {ED25519: 64, ED25519_COSIGNATURE: 8 + 64, ML_DSA_44: 8 + 2420}
_MOST_TIME = 2**63 - 1
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's tree at a size."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Write it as the text of a note."""
        lines = (self.origin, str(self.size), encode64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


class Signature(NamedTuple):
    """A signature line of a note."""

    name: str
    key_id: bytes  # 4 bytes
    signature: bytes

    def line(self) -> str:
        """Write it as it stands in a note."""
        return f"\u2014 {self.name} {encode64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures, which nobody has verified yet."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """Write it as it is served."""
        return (self.text + "\n" + "".join(signature.line() for signature in self.signatures)).encode()


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with the name that it signs under and the kind of its signatures."""

    name: str
    algorithm: int
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        expected = _PUBLIC_BYTES.get(self.algorithm)
        if expected is None:
            raise LogError(
                f"key {self.name}: got signature type {self.algorithm:#04x}, expected 0x01, 0x04 or 0x06"
            )
        if len(self.public) != expected:
            raise LogError(f"key {self.name}: got {len(self.public)} bytes, expected {expected}")

    @property
    def key_id(self) -> bytes:
        """Return the 4 bytes by which signatures name this key."""
        typed = bytes([self.algorithm]) + self.public
        return hashlib.sha256(self.name.encode() + b"\n" + typed).digest()[:4]

    @property
    def fingerprint(self) -> bytes:
        """Return the SHA-256 of the public key, 32 bytes, as a leaf names it."""
        return hashlib.sha256(self.public).digest()

    def vkey(self) -> str:
        """Write it as a verifier key, `name+id+key`."""
        return f"{self.name}+{self.key_id.hex()}+{encode64(bytes([self.algorithm]) + self.public)}"

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Read a verifier key. Raises LogError."""
        name, plus, rest = vkey.partition("+")
        key_id, plus, encoded = rest.partition("+")
        typed = decode64(encoded, "verifier key") if plus else b""
        if not typed:
            raise LogError("verifier key: got no name+id+key, expected one")
        verifier = cls(name, typed[0], typed[1:])
        if verifier.key_id.hex() != key_id:
            raise LogError(f"verifier key {name}: got id {key_id[:8]!r}, expected {verifier.key_id.hex()}")
        return verifier

    def verify(self, note: Note, signature: bytes) -> int | None:
        """Return the POSIX second that a cosignature states, None for a plain signature. Raises LogError."""
        if len(signature) != _SIGNATURE_BYTES[self.algorithm]:
            raise LogError(f"signature of {self.name}: got {len(signature)} bytes, of another kind of key")
        try:
            if self.algorithm == ED25519:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature, note.text.encode())
                return None
            (time,) = struct.unpack(">Q", signature[:8])
            if time > _MOST_TIME:
                raise LogError(f"signature of {self.name}: states a time beyond 2**63 - 1")
            if self.algorithm == ED25519_COSIGNATURE:
                message = f"cosignature/v1\ntime {time}\n{note.text}".encode()
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature[8:], message)
            else:
                message = cosigned_message(self.name, time, read_checkpoint(note.text))
                MLDSA44PublicKey.from_public_bytes(self.public).verify(signature[8:], message)
            return int(time)
        except (InvalidSignature, ValueError) as error:
            raise LogError(f"signature of {self.name}: does not verify") from error


Sign = Callable[[str, int], Signature]  # signs a note's text at a POSIX second


@dataclass(frozen=True, slots=True)
class Signer:
    """A secret key that signs notes."""

    verifier: Verifier
    sign: Sign

    @classmethod
    def ed25519(cls, name: str, seed: bytes) -> Signer:
        """Make the key that signs a log's notes, from 32 secret bytes."""
        secret = Ed25519PrivateKey.from_private_bytes(seed)
        verifier = Verifier(name, ED25519, secret.public_key().public_bytes_raw())

        def sign(text: str, now: int) -> Signature:
            return Signature(name, verifier.key_id, secret.sign(text.encode()))

        return cls(verifier, sign)

    @classmethod
    def ml_dsa_44(cls, name: str, seed: bytes) -> Signer:
        """Make the key that cosigns checkpoints, a log's or a witness', from 32 secret bytes."""
        secret = MLDSA44PrivateKey.from_seed_bytes(seed)
        verifier = Verifier(name, ML_DSA_44, secret.public_key().public_bytes_raw())

        def sign(text: str, now: int) -> Signature:
            message = cosigned_message(name, now, read_checkpoint(text))
            return Signature(name, verifier.key_id, struct.pack(">Q", now) + secret.sign(message))

        return cls(verifier, sign)


def sign_note(text: str, signers: Iterable[Signer], now: int) -> Note:
    """Sign a text at a POSIX second."""
    return Note(text, tuple(signer.sign(text, now) for signer in signers))


def read_note(data: bytes) -> Note:
    """Read a signed note, verifying nothing. Raises LogError for whatever the format does not allow."""
    if len(data) > MOST_NOTE_BYTES:
        raise LogError(f"note: got {len(data)} bytes, expected at most {MOST_NOTE_BYTES}")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LogError("note: got bytes that are no UTF-8") from error
    if _CONTROL.search(whole):
        raise LogError("note: got a control character, expected none but newlines")
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not text or not lines.endswith("\n"):
        raise LogError("note: got no text, blank line and signature lines, expected these")
    signatures = read_signatures(lines)
    return Note(text + "\n", signatures)


def read_signatures(lines: str) -> tuple[Signature, ...]:
    """Read signature lines, as they end a note or as a witness answers them. Raises LogError."""
    if not lines.endswith("\n") or lines.count("\n") > MOST_SIGNATURES:
        raise LogError(f"signatures: got no line, or more than {MOST_SIGNATURES}")
    return tuple(_signature(line) for line in lines[:-1].split("\n"))


def _signature(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, space, encoded = rest.partition(" ")
    if dash != "\u2014" or not space:
        raise LogError("signature line: got another form than '\u2014 name base64'")
    check_name(name)
    signature = decode64(encoded, f"signature of {name}")
    if len(signature) < 5:
        raise LogError(f"signature of {name}: got {len(signature)} bytes, expected more than a key id's 4")
    return Signature(name, signature[:4], signature[4:])


def verify_note(note: Note, keys: Iterable[Verifier]) -> dict[Verifier, int | None]:
    """Return which of the keys signed, each with the second that its cosignature states.

    Signatures of other keys are ignored. Raises LogError where a signature that names one of the keys does not
    verify, or where none of them signed.
    """
    known = {(key.name, key.key_id): key for key in keys}
    signed: dict[Verifier, int | None] = {}
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is not None:
            signed[key] = key.verify(note, signature.signature)
    if not signed:
        raise LogError("note: got no signature of a key that is trusted")
    return signed


def read_checkpoint(text: str) -> Checkpoint:
    """Read the text of a note as a checkpoint. Raises LogError."""
    if not text.endswith("\n"):
        raise LogError("checkpoint: got a text without a newline at its end")
    origin, *lines = text[:-1].split("\n")
    if len(lines) < 2 or not all((origin, *lines)):
        raise LogError("checkpoint: got an empty line or too few, expected origin, size and root")
    size, root, *extensions = lines
    if not _SIZE.fullmatch(size):
        raise LogError("checkpoint: got a size that is no decimal number without leading zeros")
    hash = decode64(root, "checkpoint's root")
    if len(hash) != HASH_BYTES:
        raise LogError(f"checkpoint: got a root of {len(hash)} bytes, expected {HASH_BYTES}")
    return Checkpoint(origin, int(size), hash, tuple(extensions))


def cosigned_message(name: str, time: int, checkpoint: Checkpoint) -> bytes:
    """Return the bytes that an ML-DSA-44 cosignature signs: C2SP tlog-cosignature, `cosigned_message`."""
    return b"".join(
        (
            b"subtree/v1\n\0",
            _vector(name, "cosigner's name"),
            struct.pack(">Q", time),
            _vector(checkpoint.origin, "origin"),
            struct.pack(">QQ", 0, checkpoint.size),
            checkpoint.root,
        )
    )


def check_name(name: str) -> None:
    """Raise LogError unless this can be the name of a key."""
    if not name or "+" in name or any(char.isspace() or ord(char) < 0x20 for char in name):
        raise LogError(f"key name: got {name[:80]!r}, expected one without spaces and '+'")


def encode64(data: bytes) -> str:
    """Write base64 (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode64(text: str, what: str) -> bytes:
    """Read base64 in its one right spelling. Raises LogError."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise LogError(f"{what}: got no base64") from None
    if encode64(data) != text:  # bits beyond the end, which base64.b64decode lets pass
        raise LogError(f"{what}: got base64 in another spelling than the standard one")
    return data


def _vector(text: str, what: str) -> bytes:
    data = text.encode()
    if not 1 <= len(data) <= 255:
        raise LogError(f"{what}: got {len(data)} bytes, expected 1 to 255")
    return bytes([len(data)]) + data
