"""Uses of consent tokens in a SQLite file of their own, and the batches in which the log is told of them.

A use is noted at a request, so the file is not synced at each: it outlives every end of a process, and a failure of
the power or the machine may take the last seconds of it. Until then no process, and none started anew, takes a nonce
twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from engine.store.side_file import SideFile
from engine.store.sqlite import PAGE_WAIT_S, SqliteStore
from privacy.consent_log import LeafStore, leaf
from privacy.merkle import HASH_BYTES
from privacy.use_batch import batch_root, fill, receipt

FILE = "uses.db"
SCHEMA = """
    CREATE TABLE token_uses (
        jti TEXT NOT NULL, nonce TEXT NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (jti, nonce)
    ) WITHOUT ROWID;
    CREATE INDEX token_uses_by_expiry ON token_uses (expires);
    CREATE TABLE uses_waiting (receipt BLOB PRIMARY KEY) WITHOUT ROWID
"""
_BATCHES = 10  # that are read at a time
KEPT = timedelta(days=35)  # how long it can be shown which receipts a batch has


class UseFile:
    """The uses of live tokens, and the receipts that wait for their hour's batch."""

    def __init__(self, store: SqliteStore) -> None:
        """Take the file beside the store, which is opened at the first call."""
        self.path: Path = store.path.with_name(FILE)

    @cached_property
    def _file(self) -> SideFile:
        return SideFile(self.path, SCHEMA, synced=False)

    def note(self, jti: str, nonce: str, expires: datetime, most: int) -> bool:
        """Note one use of a token; False where the nonce was used before, or the token `most` times."""
        with self._file.writing(PAGE_WAIT_S) as db:
            used = db.execute("SELECT count(*) FROM token_uses WHERE jti = ?", (jti,)).fetchone()[0]
            if used >= most:
                return False
            done = db.execute(
                "INSERT OR IGNORE INTO token_uses (jti, nonce, expires) VALUES (?, ?, ?)",
                (jti, nonce, int(expires.timestamp())),
            )
            if done.rowcount == 1:
                db.execute("INSERT OR IGNORE INTO uses_waiting (receipt) VALUES (?)", (receipt(jti, nonce),))
            return done.rowcount == 1

    def waiting(self) -> list[bytes]:
        """Return the receipts that wait."""
        return [row[0] for row in self._file.rows("SELECT receipt FROM uses_waiting")]

    def told(self, receipts: Sequence[bytes]) -> None:
        """Let go of receipts that are in a batch."""
        with self._file.writing() as db:
            db.executemany("DELETE FROM uses_waiting WHERE receipt = ?", [(one,) for one in receipts])

    def forget(self, now: datetime) -> int:
        """Delete the uses of tokens that have expired; return how many."""
        with self._file.writing() as db:
            sql = "DELETE FROM token_uses WHERE expires < ?"
            return db.execute(sql, (int(now.astimezone(UTC).timestamp()),)).rowcount

    def check(self) -> None:
        """Look whether the file is still there and sound. Raises StoreError."""
        self._file.check()

    def close(self) -> None:
        """Close the file, if it was opened."""
        if "_file" in vars(self):
            self._file.close()


def forget_batches(db: sqlite3.Connection, now: datetime) -> int:
    """Delete the batches that are older than they may be, within the caller's transaction; return how many."""
    hour = int((now - KEPT).timestamp()) // 3600
    return db.execute("DELETE FROM use_batches WHERE hour < ?", (hour,)).rowcount


class SqliteUses:
    """Tells the log of uses, one batch an hour."""

    def __init__(self, store: SqliteStore, leaves: LeafStore, random_bytes: Callable[[int], bytes]) -> None:
        self._store, self._leaves, self._random = store, leaves, random_bytes
        self.file = UseFile(store)

    def batch(self, now: datetime) -> int | None:
        """Tell of the uses that wait, if an hour has begun since the last batch; return the index of the leaf.

        None where there is nothing to tell.
        """
        hour = int(now.timestamp()) // 3600
        rows = self._store.rows("SELECT hour, receipts FROM use_batches ORDER BY seq DESC LIMIT 1")
        last, told = rows[0] if rows else (-1, b"")
        waiting = self.file.waiting()
        if hour <= last or not waiting:
            return None
        # What is in the last batch waits still where a process ended between the two files.
        known = frozenset(_split(told))
        fresh = [one for one in waiting if one not in known]
        if not fresh:
            self.file.told(waiting)
            return None
        receipts = fill(fresh, self._random)
        root = batch_root(receipts)
        with self._store.writing() as db:
            (seq,) = self._leaves.append(db, [lambda seq: leaf(seq, "decision.batch", now, commit=root)])
            db.execute(
                "INSERT INTO use_batches (seq, hour, receipts) VALUES (?, ?, ?)",
                (seq, hour, b"".join(receipts)),
            )
        self.file.told(waiting)
        return seq

    def find(self, receipt: bytes) -> tuple[int, list[bytes]] | None:
        """Return (index of the leaf, receipts of the batch) of the batch that has this receipt."""
        before = None
        while True:
            sql = "SELECT seq, receipts FROM use_batches WHERE (?1 IS NULL OR seq < ?1) ORDER BY seq DESC LIMIT ?2"
            rows = self._store.rows(sql, (before, _BATCHES))
            for seq, data in rows:
                receipts = _split(data)
                if receipt in receipts:
                    return seq, receipts
            if not rows:
                return None
            before = rows[-1][0]


def _split(data: bytes) -> list[bytes]:
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
