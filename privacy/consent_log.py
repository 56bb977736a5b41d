"""The consent log's leaves: what is noted of consents, keys and settings, and nothing of persons."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol, get_args

from privacy.canonical import canonical
from privacy.errors import LogError

LeafType = Literal[
    "consent.grant",
    "consent.refuse",
    "consent.withdraw",
    "consent.expire",
    "subject.erase",
    "deletion.answer",
    "key.add",
    "key.retire",
    "policy.change",
    "config.change",
    "dp.release",
    "decision.batch",
    "log.begin",
    "log.freeze",
]
LEAF_TYPES: frozenset[str] = frozenset(get_args(LeafType))
SEALED = "sealed"
SEALED_TYPES = frozenset(
    {
        *("consent.grant", "consent.refuse", "consent.withdraw", "consent.expire"),
        *("subject.erase", "deletion.answer", "decision.batch"),
    }
)
PADDED_TO = 64  # leaves an hour, or a multiple, in a log that everybody may read
MOST_LEAF_BYTES = 65_535  # entry bundles count a leaf's bytes in 16 bits
_HASH_BYTES = 32

# Gives the leaf that stands at an index of the log. It may be asked for more than one index: the last one counts.
Maker = Callable[[int], bytes]


class LeafReader(Protocol):
    """Leaves that stand, numbered from 0 without a gap."""

    def count(self) -> int:
        """Return the number of leaves that are committed."""

    def read(self, start: int, stop: int) -> list[bytes]:
        """Return the leaves from `start` to before `stop`, fewer where the log ends."""


class LeafStore(LeafReader, Protocol):
    """Where leaves are kept. A leaf that stands is never changed or deleted."""

    def append(self, db: Any, makers: Sequence[Maker]) -> list[int]:
        """Append within the caller's transaction on `db`, so that a leaf and what it tells of come true together.

        Each maker is called with the index that its leaf gets; the indexes are returned.
        """


def leaf(
    seq: int,
    type: LeafType,
    at: datetime,
    *,
    commit: bytes | None = None,
    ct: bytes | None = None,
    key: bytes | None = None,
    data: Mapping[str, Any] | None = None,
) -> bytes:
    """Write a leaf as canonical JSON (RFC 8785 for ASCII and integers); the time is told to the hour.

    `commit` is a keyed commitment to a record, `ct` the SHA-256 of its ciphertext, `key` the SHA-256 of a public
    key: 32 bytes each. `data` says what is no secret; it must name no subject, token or string of one. Raises
    LogError.
    """
    if type not in LEAF_TYPES:
        raise LogError(f"type: got {type!r}, expected one of {', '.join(sorted(LEAF_TYPES))}")
    if at.tzinfo is None:
        raise LogError("at: got a time without a zone, expected an aware one")
    fields: dict[str, Any] = {"v": 1, "seq": seq, "type": type, "t": int(at.timestamp()) // 3600}
    for name, hash in (("commit", commit), ("ct", ct), ("key", key)):
        if hash is not None:
            if len(hash) != _HASH_BYTES:
                raise LogError(f"{name}: got {len(hash)} bytes, expected {_HASH_BYTES}")
            fields[name] = hash.hex()
    if data is not None:
        fields["data"] = data
    try:
        written = canonical(fields)
    except ValueError as error:
        raise LogError(f"leaf: {error}") from None
    if not written.isascii():
        raise LogError("leaf: got text beyond ASCII, expected ASCII")
    if len(written) > MOST_LEAF_BYTES:
        raise LogError(f"leaf: got {len(written)} bytes, expected at most {MOST_LEAF_BYTES}")
    return written


def hour_of(leaf: bytes) -> int:
    """Return the hour of a leaf, counted from 1970."""
    return int(json.loads(leaf)["t"])


def seal(leaf: bytes, random: Callable[[int], bytes]) -> bytes:
    """Take out of a leaf what tells how many people agreed or withdrew: what happened stays committed to.

    In a log that everybody may read, leaves about persons and dummies look alike: two hashes, random where the
    leaf has none; `data` becomes the hash of its canonical JSON.
    """
    fields = json.loads(leaf)
    if fields["type"] not in SEALED_TYPES:
        return leaf
    data = fields.get("data")
    commit = fields.get("commit") or (hashlib.sha256(canonical(data)).hexdigest() if data else None)
    return _sealed(fields["seq"], fields["t"], commit, fields.get("ct"), random)


def dummy(seq: int, hour: int, random: Callable[[int], bytes]) -> bytes:
    """Make a leaf that says nothing and looks like a sealed one."""
    return _sealed(seq, hour, None, None, random)


def _sealed(seq: int, hour: int, commit: str | None, ct: str | None, random: Callable[[int], bytes]) -> bytes:
    fields = {"v": 1, "seq": seq, "type": SEALED, "t": hour}
    hashes = {"commit": commit or random(_HASH_BYTES).hex(), "ct": ct or random(_HASH_BYTES).hex()}
    return canonical(fields | hashes)


def is_canonical(written: bytes, fields: Any) -> bool:
    """Say whether a leaf that reads as these fields is written in the one way it can be."""
    try:
        return written.isascii() and canonical(fields) == written
    except ValueError:
        return False
