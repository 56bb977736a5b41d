"""C2SP tlog-witness: cosign a log's checkpoints, each only if it continues the one before. Rules without I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from privacy.checkpoint import (
    Checkpoint,
    Note,
    Signature,
    Signer,
    Verifier,
    decode64,
    encode64,
    read_checkpoint,
    read_note,
    read_signatures,
    verify_note,
)
from privacy.errors import LogError
from privacy.log_policy import LogPolicy
from privacy.log_shards import year_in
from privacy.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency

MOST_PROOF_LINES = 63
MOST_BODY_BYTES = 1 << 20
SIZE_MEDIA = "text/x.tlog.size"
TEXT_MEDIA = "text/plain; charset=utf-8"

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)


class WitnessStore(Protocol):
    """Where a witness keeps the last note that it cosigned of each log."""

    def held(self, origin: str) -> bytes | None:
        """Return the note, None where there is none yet."""

    def exchange(self, origin: str, held: bytes | None, note: bytes) -> bool:
        """Put `note` in the place of `held`, durably, unless something else stands there by now; one atomic step."""

    def origins(self) -> Iterable[str]:
        """Yield the logs of which there is a note."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the witness answers."""

    status: int
    body: bytes = b""
    media: str = TEXT_MEDIA


def add_checkpoint(body: bytes, logs: LogPolicy, signer: Signer, store: WitnessStore, now: int) -> Answer:
    """Answer a request to cosign a checkpoint, at a POSIX second. `logs` names the logs that are watched.

    A shard of one is watched with it, and grows no more once a later one was cosigned.
    """
    try:
        old, proof, note = read_request(body)
        checkpoint = read_checkpoint(note.text)
    except LogError as error:
        return Answer(400, f"{error}\n".encode())
    keys = logs.signing(checkpoint)
    if not keys:
        return Answer(404, b"origin: no log that is watched here\n")
    try:
        signed = verify_note(note, keys)
    except LogError as error:
        return Answer(403, f"{error}\n".encode())
    if old > checkpoint.size:
        return Answer(400, b"old size: got one above the checkpoint's\n")
    held = store.held(checkpoint.origin)
    before = None if held is None else read_checkpoint(read_note(held).text)
    size = before.size if before else 0
    if old != size:
        return Answer(409, f"{size}\n".encode(), SIZE_MEDIA)
    if (before is None or checkpoint.size > size) and _is_over(checkpoint.origin, logs, store):
        return Answer(404, b"origin: this shard is over: a later one was cosigned, and it grows no more\n")
    try:
        _check_growth(before, checkpoint, proof)
    except LogError as error:
        return Answer(422, f"{error}\n".encode())
    cosignature = signer.sign(note.text, now)
    known = {(key.name, key.key_id) for key in signed}
    kept = (*(line for line in note.signatures if (line.name, line.key_id) in known), cosignature)
    if not store.exchange(checkpoint.origin, held, Note(note.text, kept).encode()):
        latest = store.held(checkpoint.origin)
        size = read_checkpoint(read_note(latest).text).size if latest else 0
        return Answer(409, f"{size}\n".encode(), SIZE_MEDIA)
    return Answer(200, cosignature.line().encode())


def _is_over(origin: str, logs: LogPolicy, store: WitnessStore) -> bool:
    log = logs.log_of(origin)
    if log is None:
        return False
    year = year_in(log, origin) or 0
    return any((year_in(log, other) or 0) > year for other in store.origins())


def _check_growth(before: Checkpoint | None, checkpoint: Checkpoint, proof: Sequence[bytes]) -> None:
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise LogError("checkpoint: an empty tree with the root of another")
    if before is None or before.size == 0:
        if proof:
            raise LogError("consistency proof: got hashes, expected none from an empty tree")
        return
    verify_consistency(before.size, checkpoint.size, proof, before.root, checkpoint.root)


def write_request(old: int, proof: Sequence[bytes], note: Note) -> bytes:
    """Write the body of a request to cosign a checkpoint, with the proof that it continues the one of `old` leaves."""
    lines = (f"old {old}", *map(encode64, proof))
    return "".join(f"{line}\n" for line in lines).encode() + b"\n" + note.encode()


def read_request(body: bytes) -> tuple[int, list[bytes], Note]:
    """Read such a body: old size, consistency proof, note. Raises LogError."""
    head, blank, note = body.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise LogError("request: got bytes that are no ASCII before the checkpoint") from None
    old = _OLD.fullmatch(first)
    if old is None or not blank:
        raise LogError("request: got no line 'old N', proof, blank line and checkpoint")
    if len(lines) > MOST_PROOF_LINES:
        raise LogError(f"consistency proof: got {len(lines)} lines, expected at most {MOST_PROOF_LINES}")
    proof = [decode64(line, "consistency proof") for line in lines]
    if any(len(hash) != HASH_BYTES for hash in proof):
        raise LogError(f"consistency proof: got a hash that has not {HASH_BYTES} bytes")
    return int(old[1]), proof, read_note(note)


def read_cosignatures(answer: bytes, note: Note, witness: Verifier) -> tuple[Signature, ...]:
    """Return those lines of a witness' answer that are its own and verify. Raises LogError where none does."""
    try:
        lines = read_signatures(answer.decode("utf-8"))
    except UnicodeDecodeError:
        raise LogError("witness: answered bytes that are no UTF-8") from None
    own = tuple(line for line in lines if (line.name, line.key_id) == (witness.name, witness.key_id))
    if not verify_note(Note(note.text, own), [witness]).get(witness):
        raise LogError(f"witness {witness.name}: cosigned without stating a time")
    return own


def origin_hash(origin: str) -> str:
    """Return the hex SHA-256 under which a witness serves the checkpoint of a log."""
    return hashlib.sha256(origin.encode()).hexdigest()
