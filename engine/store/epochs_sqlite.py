"""The keys of the weekly epochs in a SQLite file of the key folder: drawn, handed out, and destroyed in time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from engine.store.side_file import SideFile
from privacy.errors import KeyDestroyed
from privacy.pseudonym import KEY_BYTES, destroyed_at, epoch_of

FILE = "epochs.db"
SCHEMA = "CREATE TABLE epoch_keys (epoch INTEGER PRIMARY KEY, key BLOB NOT NULL)"
_LIVING = 2  # the running epoch and the one before


class SqliteEpochKeys:
    """Satisfies EpochKeys. Any number of processes share one file."""

    def __init__(self, path: Path, random: Callable[[int], bytes]) -> None:
        """Take the file and the source of random bytes. Raises StoreError."""
        self.file = SideFile(path, SCHEMA)
        self._random = random
        self._known: dict[int, bytes] = {}

    def key(self, epoch: int, now: datetime) -> bytes:
        """Return the epoch's 32 bytes; drawn at the first use, while the epoch runs. Raises KeyDestroyed."""
        if now >= destroyed_at(epoch):
            raise KeyDestroyed(f"epoch {epoch}: its key was destroyed at {destroyed_at(epoch):%Y-%m-%d}")
        key = self._known.get(epoch) or self._read(epoch)
        if key is None and epoch == epoch_of(now):
            with self.file.writing() as db:  # another process may have been faster
                db.execute(
                    "INSERT OR IGNORE INTO epoch_keys (epoch, key) VALUES (?, ?)",
                    (epoch, self._random(KEY_BYTES)),
                )
            key = self._read(epoch)
        if key is None:
            raise KeyDestroyed(f"epoch {epoch}: its key was never made, or is gone")
        self._known[epoch] = key
        return key

    def destroy(self, now: datetime) -> int:
        """Destroy the keys whose time is up, in the file, its log and this process. Raises StoreError."""
        first = epoch_of(now) - _LIVING + 1
        self._known = {epoch: key for epoch, key in self._known.items() if epoch >= first}
        gone = [key for (key,) in self.file.rows("SELECT key FROM epoch_keys WHERE epoch < ?", (first,))]
        if gone:
            with self.file.writing() as db:
                db.execute("DELETE FROM epoch_keys WHERE epoch < ?", (first,))
        if gone or not self.file.scrubbed():  # also what an earlier round, or another process, could not
            self.file.rewrite()
        return len(gone)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _read(self, epoch: int) -> bytes | None:
        rows = self.file.rows("SELECT key FROM epoch_keys WHERE epoch = ?", (epoch,))
        return bytes(rows[0][0]) if rows else None
