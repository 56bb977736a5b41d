"""Receipts of consented uses in PostgreSQL: those that wait for their hour's batch, and batches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from engine.store.database import Room
from engine.store.forms import KEPT
from engine.store.server_postgres import Connection, PostgresServer, hold
from privacy.consent_log import LeafStore, leaf
from privacy.merkle import HASH_BYTES
from privacy.use_batch import batch_root, fill

_BATCHES = 10  # that are read at a time


def note_use(db: Connection, receipt: bytes) -> None:
    """Keep a receipt for the next batch, in the transaction that notes the use itself."""
    db.execute("INSERT INTO uses_waiting (receipt) VALUES (%s) ON CONFLICT DO NOTHING", (receipt,))


def forget_batches(db: Connection, now: datetime) -> int:
    """Delete the batches that are older than they may be, within the caller's transaction; return how many."""
    hour = int((now - KEPT).timestamp()) // 3600
    return db.execute("DELETE FROM use_batches WHERE hour < %s", (hour,)).rowcount


class PostgresUses:
    """Tells the log of uses, one batch an hour."""

    def __init__(
        self, server: PostgresServer, leaves: LeafStore, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._server, self._leaves, self._random = server, leaves, random_bytes

    def close(self) -> None:
        """Do nothing: all of it is in the store."""

    def batch(self, now: datetime) -> int | None:
        """Tell of the uses that wait, if an hour has begun since the last batch; return the index of the leaf.

        None where there is nothing to tell.
        """
        hour = int(now.timestamp()) // 3600
        if not self._server.rows("SELECT 1 FROM uses_waiting LIMIT 1"):
            return None
        with self._server.writing() as db:
            hold(db, Room.LOG)
            last = db.execute("SELECT max(hour) FROM use_batches").fetchall()[0][0]
            if last is not None and hour <= last:  # another process may have been faster
                return None
            # What commits meanwhile is not seen here, and stays for the next batch.
            rows = db.execute("DELETE FROM uses_waiting RETURNING receipt").fetchall()
            if not rows:
                return None
            receipts = fill((row[0] for row in rows), self._random)
            root = batch_root(receipts)
            (seq,) = self._leaves.append(db, [lambda seq: leaf(seq, "decision.batch", now, commit=root)])
            db.execute(
                "INSERT INTO use_batches (seq, hour, receipts) VALUES (%s, %s, %s)",
                (seq, hour, b"".join(receipts)),
            )
        return seq

    def find(self, receipt: bytes) -> tuple[int, list[bytes]] | None:
        """Return (index of the leaf, receipts of the batch) of the batch that has this receipt."""
        before = 2**63 - 1
        while True:
            sql = "SELECT seq, receipts FROM use_batches WHERE seq < %s ORDER BY seq DESC LIMIT %s"
            rows = self._server.rows(sql, (before, _BATCHES))
            for seq, data in rows:
                receipts = [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
                if receipt in receipts:
                    return seq, receipts
            if not rows:
                return None
            before = rows[-1][0]
