"""Consented uses as the log tells of them: one root an hour over a receipt for each, without how many there were.

A receipt is a hash of keyed hashes: of the token's `jti` and the request's nonce. Whoever has both, as the publisher
does, and asks the service that has the key, can be shown that this use was told of, and in which hour.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import Struct

from privacy.checkpoint import Checkpoint, decode64, encode64
from privacy.errors import LogError
from privacy.log_policy import LogPolicy
from privacy.merkle import HASH_BYTES, inclusion_proof, leaf_hash, nodes_of, verify_inclusion
from privacy.merkle import root as merkle_root
from privacy.tlog_proof import read_proof, verify_proof

FEWEST = 64  # receipts of a batch: real ones and drawn ones, a power of two, so that it tells no number


class UseProof(Struct, frozen=True, forbid_unknown_fields=True):
    """That a use stands in a batch, and the batch in the log. Hashes are base64; `size` counts drawn receipts too."""

    receipt: str
    place: int
    size: int
    path: tuple[str, ...]
    leaf: str
    proof: str  # .tlog-proof of the leaf


def receipt(jti: str, nonce: str) -> bytes:
    """Give the 32 bytes that stand for one use, from the keyed hashes of a token's id and a request's nonce."""
    return hashlib.sha256(b"tactful use\0" + jti.encode() + b"\0" + nonce.encode()).digest()


def fill(receipts: Iterable[bytes], random: Callable[[int], bytes]) -> list[bytes]:
    """Add drawn receipts up to a power of two, and sort: neither number nor order is left."""
    found = set(receipts)
    size = max(FEWEST, 1 << (len(found) - 1).bit_length()) if found else FEWEST
    while len(found) < size:
        found.add(random(HASH_BYTES))
    return sorted(found)


def batch_root(receipts: Sequence[bytes]) -> bytes:
    """Return the root (RFC 6962) over the receipts of a batch: what its leaf commits to."""
    return merkle_root(len(receipts), nodes_of([leaf_hash(one) for one in receipts]))


def prove_use(receipts: Sequence[bytes], wanted: bytes, leaf: str, proof: str) -> UseProof:
    """Prove that a receipt stands in a batch. Raises LogError where it does not."""
    try:
        place = receipts.index(wanted)
    except ValueError:
        raise LogError("receipt: stands not in this batch") from None
    path = inclusion_proof(place, len(receipts), nodes_of([leaf_hash(one) for one in receipts]))
    return UseProof(encode64(wanted), place, len(receipts), tuple(map(encode64, path)), leaf, proof)


def read_use_proof(data: bytes) -> UseProof:
    """Read a proof as JSON, verifying nothing. Raises LogError."""
    try:
        return msgspec.json.decode(data, type=UseProof)
    except ValueError as error:
        raise LogError(f"proof: {error}") from error


def verify_use(told: UseProof, policy: LogPolicy) -> Checkpoint:
    """Return the checkpoint under which the use was told of. Raises LogError where the proof does not hold."""
    checkpoint = verify_proof(read_proof(told.proof.encode()), told.leaf.encode(), policy)
    path = [decode64(hash, "path") for hash in told.path]
    try:
        root = bytes.fromhex(json.loads(told.leaf)["commit"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise LogError("leaf: commits to no batch") from None
    verify_inclusion(told.place, told.size, leaf_hash(decode64(told.receipt, "receipt")), path, root)
    return checkpoint
