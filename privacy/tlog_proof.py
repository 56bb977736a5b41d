"""C2SP tlog-proof: one text that proves offline, years later, that an entry stands in a log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from privacy.checkpoint import Checkpoint, Note, decode64, encode64, read_checkpoint, read_note
from privacy.errors import LogError
from privacy.log_policy import LogPolicy
from privacy.merkle import HASH_BYTES, leaf_hash, verify_inclusion

HEADER = "c2sp.org/tlog-proof@v1"
MOST_HASHES = 63

_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Proof:
    """An entry's index, its path to the root, and the signed checkpoint. `extra` is bound by nothing."""

    index: int
    path: tuple[bytes, ...]
    note: Note
    extra: bytes = b""

    def encode(self) -> bytes:
        """Write it as a `.tlog-proof` file."""
        lines = [HEADER]
        if self.extra:
            lines.append(f"extra {encode64(self.extra)}")
        lines += [f"index {self.index}", *map(encode64, self.path)]
        return "\n".join(lines).encode() + b"\n\n" + self.note.encode()


def read_proof(data: bytes) -> Proof:
    """Read a `.tlog-proof` file, verifying nothing. Raises LogError."""
    head, blank, note = data.partition(b"\n\n")
    try:
        header, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise LogError("proof: got bytes that are no ASCII before the checkpoint") from None
    if header != HEADER or not blank or not lines:
        raise LogError(f"proof: got no {HEADER!r} with an index and a checkpoint")
    extra = b""
    if lines[0].startswith("extra "):
        extra = decode64(lines.pop(0).removeprefix("extra "), "proof's extra data")
    index = _INDEX.fullmatch(lines[0]) if lines else None
    if index is None:
        raise LogError("proof: got no line 'index N'")
    if len(lines) - 1 > MOST_HASHES:
        raise LogError(f"proof: got {len(lines) - 1} hashes, expected at most {MOST_HASHES}")
    path = tuple(decode64(line, "proof's hash") for line in lines[1:])
    if any(len(hash) != HASH_BYTES for hash in path):
        raise LogError(f"proof: got a hash that has not {HASH_BYTES} bytes")
    return Proof(int(index[1]), path, read_note(note), extra)


def verify_proof(proof: Proof, leaf: bytes, policy: LogPolicy) -> Checkpoint:
    """Return the checkpoint that holds the leaf, signed as the policy asks. Raises LogError."""
    policy.verify(proof.note)
    checkpoint = read_checkpoint(proof.note.text)
    verify_leaf(leaf, proof.index, proof.path, checkpoint)
    return checkpoint


def verify_leaf(leaf: bytes, index: int, path: Sequence[bytes], checkpoint: Checkpoint) -> None:
    """Check that a leaf stands at an index of the tree of a checkpoint that was verified. Raises LogError."""
    verify_inclusion(index, checkpoint.size, leaf_hash(leaf), path, checkpoint.root)
