"""The consent log's leaves in the catalogue's SQLite file, so that a consent and its leaf commit together."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from engine.store.sqlite import SqliteStore
from privacy.consent_log import Maker


class SqliteLeaves:
    """Satisfies LeafStore."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def append(self, db: sqlite3.Connection, makers: Sequence[Maker]) -> list[int]:
        """Append within the transaction that `SqliteStore.writing` gave; return the indexes."""
        if not db.in_transaction:
            raise ValueError("db: got a connection without a transaction, expected SqliteStore.writing()'s")
        start = _count(db.execute(_LAST).fetchall())
        rows = [(seq, make(seq)) for seq, make in enumerate(makers, start)]
        db.executemany("INSERT INTO log_leaves (seq, leaf) VALUES (?, ?)", rows)
        return [seq for seq, _ in rows]

    def count(self) -> int:
        """Return the number of leaves that are committed."""
        return _count(self._store.rows(_LAST))

    def read(self, start: int, stop: int) -> list[bytes]:
        """Return the leaves from `start` to before `stop`, fewer where the log ends."""
        sql = "SELECT leaf FROM log_leaves WHERE seq >= ? AND seq < ? ORDER BY seq"
        return [row[0] for row in self._store.rows(sql, (start, stop))]


_LAST = "SELECT max(seq) FROM log_leaves"


def _count(rows: list[tuple[int | None]]) -> int:
    last = rows[0][0]
    return 0 if last is None else last + 1
