"""Receipts of consented uses: those that wait for their hour's batch, and the batches that the log was told of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from engine.store.database import Connection, Database, Room
from engine.store.forms import KEPT
from privacy.consent_log import LeafStore, leaf
from privacy.merkle import HASH_BYTES
from privacy.use_batch import batch_root, fill

_BATCHES = 10  # that are read at a time


class TokenUses(Protocol):
    """Where uses of consent tokens are noted at a request."""

    def note(self, jti: str, nonce: str, expires: datetime, most: int) -> bool:
        """Note one use of a token; False where the nonce was used before, or the token `most` times."""

    def settle(self) -> None:
        """Put into the store what was noted beside it."""

    def forget(self, now: datetime) -> None:
        """Delete what was noted beside the store of tokens that have expired."""

    def check(self) -> None:
        """Look whether uses can be noted. Raises StoreError."""

    def close(self) -> None:
        """Close what is open."""


class KeptUses:
    """Tells the log of uses, one batch an hour."""

    def __init__(
        self, store: Database, leaves: LeafStore, random_bytes: Callable[[int], bytes], noted: TokenUses
    ) -> None:
        self._store, self._leaves, self._random, self._noted = store, leaves, random_bytes, noted

    def close(self) -> None:
        """Close what uses are noted in."""
        self._noted.close()

    def batch(self, now: datetime) -> int | None:
        """Tell of the uses that wait, if an hour has begun since the last batch; return the index of the leaf.

        None where there is nothing to tell.
        """
        self._noted.settle()
        hour = int(now.timestamp()) // 3600
        told = "SELECT max(hour) FROM use_batches"
        last = self._store.rows(told)[0][0]
        if (last is not None and hour <= last) or not self._store.rows("SELECT 1 FROM uses_waiting LIMIT 1"):
            return None  # most often: no other writer waits for that
        with self._store.writing() as db:
            self._store.hold(db, Room.LOG)
            last = db.execute(told).fetchall()[0][0]
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
                "INSERT INTO use_batches (seq, hour, receipts) VALUES (?, ?, ?)",
                (seq, hour, b"".join(receipts)),
            )
        return seq

    def find(self, receipt: bytes) -> tuple[int, list[bytes]] | None:
        """Return (index of the leaf, receipts of the batch) of the batch that has this receipt."""
        before = 2**63 - 1
        while True:
            sql = "SELECT seq, receipts FROM use_batches WHERE seq < ? ORDER BY seq DESC LIMIT ?"
            rows = self._store.rows(sql, (before, _BATCHES))
            for seq, data in rows:
                receipts = [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
                if receipt in receipts:
                    return seq, receipts
            if not rows:
                return None
            before = rows[-1][0]


def forget_batches(db: Connection, now: datetime) -> int:
    """Delete the batches that are older than they may be, within the caller's transaction; return how many."""
    hour = int((now - KEPT).timestamp()) // 3600
    return db.execute("DELETE FROM use_batches WHERE hour < ?", (hour,)).rowcount
