"""The counters of change and the journal in the main SQLite file, written within the transaction of what changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from engine.change import Versions


def versions(db: sqlite3.Connection) -> Versions:
    """Return the counters, as the transaction sees them."""
    return Versions(*db.execute("SELECT catalog, live, keys FROM versions").fetchone())


def bump(
    db: sqlite3.Connection, *, catalog: bool = False, live: bool = False, keys: bool = False
) -> Versions:
    """Move counters on; return them."""
    row = db.execute(
        "UPDATE versions SET catalog = catalog + ?, live = live + ?, keys = keys + ?"
        " RETURNING catalog, live, keys",
        (catalog, live, keys),
    ).fetchone()
    return Versions(*row)


def journal(
    db: sqlite3.Connection,
    entries: Sequence[tuple[str, str, str, str, bytes | None, bytes | None, int]],
) -> None:
    """Note (at, actor, kind, id, before, after, catalogue version) of changes."""
    db.executemany(
        'INSERT INTO journal (at, actor, kind, id, before, "after", catalog) VALUES (?, ?, ?, ?, ?, ?, ?)',
        entries,
    )
