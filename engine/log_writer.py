"""The one writer of the consent log: publishes tiles and signs checkpoints, in whichever process holds the lock.

Leaves are committed by whoever has something to tell (`LeafStore`); this reads them, writes tiles, keeps what it
is about to sign in the key folder, and signs last. It never signs a tree that is smaller than the last one, or
that does not continue it: then it says why, in `fault`, and waits for the operator.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from filelock import FileLock, Timeout

from engine.errors import EngineError, LogRefused
from engine.log_audit import audit
from engine.log_files import LOCK, LogFiles, Signed, write_durably
from privacy.checkpoint import Checkpoint, Note, Signature, Signer, sign_note
from privacy.consent_log import LeafStore
from privacy.log_policy import NONE, LogPolicy
from privacy.merkle import consistency_proof
from privacy.tiles import Tile, TileBuilder, tile_nodes

log = logging.getLogger(__name__)

SIGN_EVERY_S = 60.0
SIGN_EVERY_LEAVES = 1000
LOOK_AGAIN_S = 60.0  # between looks whether a refused log was mended
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


# Asks witnesses to cosign a note: (note, its checkpoint, proof from an older size) → the lines that they gave.
Witnessing = Callable[[Note, Checkpoint, Callable[[int], Sequence[bytes]]], Sequence[Signature]]


class LogWriter:
    """Publishes and signs when due. `step` is called about every second, from one thread of each process."""

    def __init__(
        self,
        leaves: LeafStore,
        files: LogFiles,
        signers: Sequence[Signer],
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        alone: Alone | None = None,
        closing: Closing | None = None,
        opened: Callable[[], None] = lambda: None,
        witnessing: Witnessing | None = None,
    ) -> None:
        """Take `closing` for the profile `public`; call `opened` once the log is found sound.

        The lock file beside the log tells the processes of one machine apart; `alone` those of several.
        """
        self.fault: str | None = None
        self.files = files
        self._leaves = leaves
        self.signers = tuple(signers)
        self._now = now
        self._monotonic = monotonic
        self._alone = alone
        self._closing = closing
        self._opened = opened
        self._witnessing = witnessing
        self._lock: FileLock | None = None
        self._builder: TileBuilder | None = None  # at what is published; None: to be looked over first
        self._last: Signed | None = None
        self._signed_at: float | None = None
        self._refused_at: float | None = None

    @property
    def policy(self) -> LogPolicy:
        """Return the log's own keys, those that it retired among them, as a policy without witnesses."""
        return LogPolicy(tuple(s.verifier for s in self.signers), {}, {}, NONE, self.files.retired())

    @property
    def origin(self) -> str:
        """Return the log's name."""
        return self.signers[0].verifier.name

    @property
    def is_open(self) -> bool:
        """Say whether this process writes the log."""
        return self._builder is not None

    def step(self) -> None:
        """Become the writer if nobody is, and publish what is due."""
        if not self.open():
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

    def publish(self, size: int | None = None) -> None:
        """Write the tiles of the first `size` leaves, all where none is given, and sign them. Requires the lock."""
        builder = self._builder
        if builder is None:
            raise EngineError("the log is not open for writing")
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

    def _sign(self, tree: TileBuilder) -> None:
        checkpoint = Checkpoint(self.origin, tree.size, tree.root())
        signed = Signed(self.origin, tree.size, checkpoint.root)
        if self.files.signed() != self._last or (self._last is not None and self._last.size > tree.size):
            self._builder = None
            raise LogRefused("consent log: something else was signed meanwhile; it is looked over again")
        if signed != self._last:
            # Before the signature exists: whatever happens next, nothing that contradicts it will be signed.
            self._builder = None
            self.files.put_signed(signed)
            self._last = signed
        note = sign_note(checkpoint.text(), self.signers, int(self._now().timestamp()))
        self.files.put_checkpoint(note.encode())
        if self._witnessing is not None:
            nodes = tile_nodes(tree.size, self.files.read_tile)
            lines = self._witnessing(note, checkpoint, lambda old: consistency_proof(old, tree.size, nodes))
            if lines:
                self.files.put_checkpoint(Note(note.text, (*note.signatures, *lines)).encode())

    def _due(self) -> int | None:
        """Return the size to publish, None where nothing is due. After a fault it is, to see whether it has passed."""
        builder = self._builder
        if builder is None:
            return None
        if self._closing is not None:
            hour = int(self._now().timestamp()) // 3600
            ready = self._closing.close_hour(hour)
            if ready is None or (
                self._signed_at is not None and ready == builder.size and self.fault is None
            ):
                return None
            return max(ready, builder.size)
        count = self._leaves.count()
        since = None if self._signed_at is None else self._monotonic() - self._signed_at
        grown = count - builder.size >= SIGN_EVERY_LEAVES
        if since is None or since >= SIGN_EVERY_S or grown or self.fault is not None:
            return count
        return None

    def _take(self) -> bool:
        self.files.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.files.folder / LOCK, thread_local=False)
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
        found = audit(self._leaves, self.files, self.policy, thorough=False)
        if found.faults:
            self._refuse(found.faults)
            return False
        self._builder, self._refused_at, self.fault = found.builder, None, None
        self._last = self.files.signed()
        with suppress(FileNotFoundError):
            (self.files.folder / _REFUSED).unlink()
        self._opened()
        return True

    def _refuse(self, faults: Sequence[str]) -> None:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        self.fault = f"the consent log is not signed: {faults[0]}{more}; run `tactful log fsck`"
        self._refused_at = self._monotonic()
        write_durably(self.files.folder / _REFUSED, self.fault.encode())
        log.error("consent log: %s", self.fault)

    def _told_fault(self) -> str | None:
        try:
            return (self.files.folder / _REFUSED).read_text("utf-8")
        except OSError:
            return None
