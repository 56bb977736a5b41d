"""Receipts of consented uses in the catalogue's SQLite file: those that wait for their hour's batch, and batches."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime

from engine.store.file_sqlite import SqliteFile
from engine.store.forms import KEPT
from privacy.consent_log import LeafStore, leaf
from privacy.merkle import HASH_BYTES
from privacy.use_batch import batch_root, fill

_BATCHES = 10  # that are read at a time


def note_use(db: sqlite3.Connection, receipt: bytes) -> None:
    """Keep a receipt for the next batch, in the transaction that notes the use itself."""
    db.execute("INSERT OR IGNORE INTO uses_waiting (receipt) VALUES (?)", (receipt,))


def forget_batches(db: sqlite3.Connection, now: datetime) -> int:
    """Delete the batches that are older than they may be, within the caller's transaction; return how many."""
    hour = int((now - KEPT).timestamp()) // 3600
    return db.execute("DELETE FROM use_batches WHERE hour < ?", (hour,)).rowcount


class SqliteUses:
    """Tells the log of uses, one batch an hour."""

    def __init__(self, store: SqliteFile, leaves: LeafStore, random_bytes: Callable[[int], bytes]) -> None:
        self._store, self._leaves, self._random = store, leaves, random_bytes

    def batch(self, now: datetime) -> int | None:
        """Tell of the uses that wait, if an hour has begun since the last batch; return the index of the leaf.

        None where there is nothing to tell.
        """
        hour = int(now.timestamp()) // 3600
        last = self._store.rows("SELECT max(hour) FROM use_batches")[0][0]
        waiting = self._store.rows("SELECT 1 FROM uses_waiting LIMIT 1")
        if not waiting or (last is not None and hour <= last):
            return None
        with self._store.writing() as db:
            rows = db.execute("SELECT receipt FROM uses_waiting").fetchall()
            receipts = fill((row[0] for row in rows), self._random)
            root = batch_root(receipts)
            (seq,) = self._leaves.append(db, [lambda seq: leaf(seq, "decision.batch", now, commit=root)])
            db.execute(
                "INSERT INTO use_batches (seq, hour, receipts) VALUES (?, ?, ?)",
                (seq, hour, b"".join(receipts)),
            )
            db.execute("DELETE FROM uses_waiting")
        return seq

    def find(self, receipt: bytes) -> tuple[int, list[bytes]] | None:
        """Return (index of the leaf, receipts of the batch) of the batch that has this receipt."""
        before = None
        while True:
            sql = "SELECT seq, receipts FROM use_batches WHERE (?1 IS NULL OR seq < ?1) ORDER BY seq DESC LIMIT ?2"
            rows = self._store.rows(sql, (before, _BATCHES))
            for seq, data in rows:
                receipts = [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
                if receipt in receipts:
                    return seq, receipts
            if not rows:
                return None
            before = rows[-1][0]
