"""The one writer of the consent log: publishes tiles and signs checkpoints, in whichever process holds the lock.

Leaves are committed by whoever has something to tell (`LeafStore`); this reads them, writes tiles, keeps what it
is about to sign in the key folder, and signs last. It never signs a tree that is smaller than the last one, or
that does not continue it: then it says why, in `fault`, and waits for the operator. A shard that is over is published
and signed to its end before anything of the next one is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from filelock import FileLock, Timeout

from engine.errors import EngineError, LogRefused
from engine.log_audit import audit, finished, strange_memories
from engine.log_files import LOCK, LogFiles, Signed, write_durably
from engine.log_shards import Shards
from privacy.checkpoint import Checkpoint, Note, Signature, Signer, read_checkpoint, read_note, sign_note
from privacy.errors import LogError
from privacy.log_policy import NONE, LogPolicy
from privacy.log_shards import Shard
from privacy.merkle import consistency_proof
from privacy.tiles import Tile, TileBuilder, tile_nodes

log = logging.getLogger(__name__)

SIGN_EVERY_S = 60.0
SIGN_EVERY_LEAVES = 1000
LOOK_AGAIN_S = 60.0  # between looks whether a refused log was mended
WITNESS_WAIT_S = 600.0  # that a new shard waits for all witnesses to cosign how the one before ended
_BATCH = 1000
_REFUSED = "refused.txt"  # how the process that holds the lock tells the others


class Closing(Protocol):
    """Closes the hour of a log that is published hour by hour."""

    def close_hour(self, hour: int) -> int | None:
        """Pad what came before `hour` (counted from 1970); return how many leaves are ready to publish."""


class Alone(Protocol):
    """The right to write the log, which one process on all machines has."""

    def take(self) -> bool:
        """Take it, or look whether it is still held; say whether this process has it. Raises EngineError."""

    def release(self) -> None:
        """Let another process have it."""


ProofFrom = Callable[[int], Sequence[bytes]]


class Witnessing(Protocol):
    """Asks witnesses to cosign a note."""

    def __call__(
        self, note: Note, checkpoint: Checkpoint, proof_from: ProofFrom, before: Note | None = None
    ) -> Sequence[Signature]:
        """Return the lines that were given by those that have not cosigned the note yet.

        Who has not cosigned how the shard before ended, the note `before`, is not asked: that one comes first.
        """

    def missing(self, note: Note) -> Sequence[str]:
        """Return the names of those that are to cosign the note and have not."""


class LogWriter:
    """Publishes and signs when due. `step` is called about every second, from one thread of each process."""

    def __init__(
        self,
        shards: Shards,
        keys: Callable[[str], Sequence[Signer]],
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        alone: Alone | None = None,
        closing: Closing | None = None,
        opened: Callable[[], None] = lambda: None,
        witnessing: Witnessing | None = None,
    ) -> None:
        """Take `keys`, which gives those of a shard by its name, and `closing` for the profile `public`.

        Calls `opened` once the log is found sound. The lock file beside the log tells the processes of one machine
        apart; `alone` those of several.
        """
        self.fault: str | None = None
        self.shards = shards
        self.keys = keys
        self.folder = shards.files(Shard(shards.log, 0)).folder
        self._now = now
        self._monotonic = monotonic
        self._alone = alone
        self._closing = closing
        self._opened = opened
        self._witnessing = witnessing
        self._lock: FileLock | None = None
        self._refused_at: float | None = None
        self._ended_at: float | None = None  # when the end of a shard that is over was first signed here
        self._builder: TileBuilder | None = None  # at what is published; None: to be looked over first
        self._last: Signed | None = None
        self._signed_at: float | None = None
        self.shard = Shard(shards.log, 0)
        self._turn_to(self.shard)

    @property
    def policy(self) -> LogPolicy:
        """Return the log's own keys, those that it retired among them, as a policy without witnesses."""
        return LogPolicy(
            tuple(s.verifier for s in self.keys(self.shards.log)), {}, {}, NONE, self.files.retired()
        )

    @property
    def is_open(self) -> bool:
        """Say whether this process writes the log."""
        return self._builder is not None

    @property
    def tree(self) -> TileBuilder:
        """Return the tree of the newest shard as it is published. Requires the lock."""
        if self._builder is None:
            raise EngineError("the log is not open for writing")
        return self._builder

    def step(self) -> None:
        """Become the writer if nobody is, and publish what is due."""
        if not self.open():
            return
        if self.shard.size is not None and not self._end():
            return
        size = self._due()
        if size is not None:
            self.publish(size)
            self.fault = None

    def open(self) -> bool:
        """Become the writer if nobody is and the log is sound; say whether this process may publish now."""
        if self._lock is None and not self._take():
            self.fault = self._told_fault()
            return False
        if self._alone is not None and not self._alone.take():
            self.close()
            self.fault = self._told_fault()
            return False
        return self._builder is not None or self._open()

    def end(self) -> None:
        """Publish shards that are over to their ends, and wait for no witness. Requires the lock."""
        while self.shard.size is not None and self.open():
            self.publish(self.shard.size)
            self._go_on()

    def turned(self) -> None:
        """Take notice that the shard is over and another one has begun. Requires the lock."""
        self.shard = next(one for one in self.shards.all() if one.origin == self.shard.origin)
        self._leaves = self.shards.leaves(self.shard)

    def publish(self, size: int | None = None) -> None:
        """Write the tiles of the first `size` leaves, all where none is given, and sign them. Requires the lock."""
        builder = self.tree
        size = self._leaves.count() if size is None else size
        if self._last is not None:
            size = max(size, self._last.size)
        grown = builder.copy()
        full: list[Tile] = []
        for start in range(builder.size, size, _BATCH):
            tiles: list[tuple[Tile, bytes]] = []
            for leaf in self._leaves.read(start, min(start + _BATCH, size)):
                tiles += grown.append(leaf)
            full += [tile for tile, _ in tiles]
            if grown.size == size:
                tiles += grown.partial()
            self.files.put_tiles(tiles)
        if grown.size != size:
            raise EngineError(f"consent log: got {grown.size} leaves, expected {size}")
        self._sign(grown)
        for tile in full:
            self.files.drop_partial(tile)
        self._builder = grown
        self._signed_at = self._monotonic()

    def close(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if self._alone is not None:
            self._alone.release()
        self._builder = None

    def _turn_to(self, shard: Shard) -> None:
        """Make this the shard that is written; it is to be looked over first."""
        self.shard = shard
        self.files = self.shards.files(shard)
        self._leaves = self.shards.leaves(shard)
        self._builder, self._last, self._signed_at = None, None, None

    def _end(self) -> bool:
        """Publish a shard that is over to its end; say whether the next one may be published now."""
        now = self._monotonic()
        if (
            self._signed_at is None
            or self.tree.size != self.shard.size
            or now - self._signed_at >= SIGN_EVERY_S
        ):
            self.publish(self.shard.size)
            self.fault = None
        self._ended_at = now if self._ended_at is None else self._ended_at
        if missing := self._unwitnessed():
            if now - self._ended_at < WITNESS_WAIT_S:
                return False
            log.warning(
                "consent log: %s goes on without the cosignature of %s under its end",
                self.shard.origin,
                ", ".join(missing),
            )
        return self._go_on()

    def _go_on(self) -> bool:
        """Turn to the shard after one that is published to its end; say whether that may be published now."""
        self._builder, self._ended_at = None, None
        return self.open() and (self.shard.size is None or self._end())

    def _unwitnessed(self) -> Sequence[str]:
        note = self.files.checkpoint()
        return self._witnessing.missing(read_note(note)) if self._witnessing and note else ()

    def _sign(self, tree: TileBuilder) -> None:
        checkpoint = Checkpoint(self.shard.origin, tree.size, tree.root())
        signed = Signed(self.shard.origin, tree.size, checkpoint.root)
        if self.files.signed() != self._last or (self._last is not None and self._last.size > tree.size):
            self._builder = None
            raise LogRefused("consent log: something else was signed meanwhile; it is looked over again")
        if signed != self._last:
            # Before the signature exists: whatever happens next, nothing that contradicts it will be signed.
            self._builder = None
            self.files.put_signed(signed)
            self._last = signed
        note = sign_note(checkpoint.text(), self.keys(self.shard.origin), int(self._now().timestamp()))
        self.files.put_checkpoint(note.encode())
        if self._witnessing is not None:
            before = self._cosigned_end()
            lines = self._witnessing(note, checkpoint, _proofs(self.files, tree.size), before)
            if lines:
                self.files.put_checkpoint(Note(note.text, (*note.signatures, *lines)).encode())

    def _cosigned_end(self) -> Note | None:
        """Return how the shard before ended, with the cosignatures of witnesses that were away until now."""
        earlier = [one for one in self.shards.all() if one.first < self.shard.first]
        files = self.shards.files(earlier[-1]) if earlier else None
        data = files.checkpoint() if files else None
        if files is None or data is None or self._witnessing is None:
            return None
        note = read_note(data)
        if not self._witnessing.missing(note):
            return note
        checkpoint = read_checkpoint(note.text)
        lines = self._witnessing(note, checkpoint, _proofs(files, checkpoint.size))
        if lines:
            note = Note(note.text, (*note.signatures, *lines))
            files.put_checkpoint(note.encode())
        return note

    def _due(self) -> int | None:
        """Return the size to publish, None where nothing is due. After a fault it is, to see whether it has passed."""
        builder = self._builder
        if builder is None:
            return None
        if self._closing is not None:
            hour = int(self._now().timestamp()) // 3600
            ready = (self._closing.close_hour(hour) or 0) - self.shard.first
            if ready <= 0 or (self._signed_at is not None and ready == builder.size and self.fault is None):
                return None
            return max(ready, builder.size)
        count = self._leaves.count()
        since = None if self._signed_at is None else self._monotonic() - self._signed_at
        grown = count - builder.size >= SIGN_EVERY_LEAVES
        if since is None or since >= SIGN_EVERY_S or grown or self.fault is not None:
            return count
        return None

    def _take(self) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / LOCK, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        self._lock = lock
        return True

    def _open(self) -> bool:
        """Look the log over; say whether it may be continued."""
        if self._refused_at is not None and self._monotonic() - self._refused_at < LOOK_AGAIN_S:
            return False
        try:
            shard = self._unfinished()
            faults = strange_memories(self.shards)
        except (LogError, LogRefused) as error:
            faults = [str(error)]
        if faults:
            self._refuse(faults)
            return False
        self._turn_to(shard)
        found = audit(self._leaves, self.files, self.policy, thorough=False)
        if found.faults:
            self._refuse(found.faults)
            return False
        self._builder, self._refused_at, self.fault = found.builder, None, None
        self._last = self.files.signed()
        with suppress(FileNotFoundError):
            (self.folder / _REFUSED).unlink()
        if shard.size is None:
            self._opened()
        return True

    def _unfinished(self) -> Shard:
        """Return the first shard that is not published to its end: the newest, but for what a crash left or lost."""
        chain = self.shards.all()
        for shard, following in zip(chain, chain[1:], strict=False):
            if not finished(self.shards, shard, following, self.policy):
                return shard
        return chain[-1]

    def _refuse(self, faults: Sequence[str]) -> None:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        self.fault = f"the consent log is not signed: {faults[0]}{more}; run `tactful log fsck`"
        self._refused_at = self._monotonic()
        write_durably(self.folder / _REFUSED, self.fault.encode())
        log.error("consent log: %s", self.fault)

    def _told_fault(self) -> str | None:
        try:
            return (self.folder / _REFUSED).read_text("utf-8")
        except OSError:
            return None


def _proofs(files: LogFiles, size: int) -> ProofFrom:
    nodes = tile_nodes(size, files.read_tile)
    return lambda old: consistency_proof(old, size, nodes)
