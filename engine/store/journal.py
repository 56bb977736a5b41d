"""The counters of change and the journal, written within the transaction of what changes."""

from __future__ import annotations

from collections.abc import Sequence

from engine.change import Versions
from engine.store.database import Connection


def versions(db: Connection) -> Versions:
    """Return the counters, as the transaction sees them."""
    return Versions(*db.execute("SELECT catalog, live, keys FROM versions").fetchone())


def bump(db: Connection, *, catalog: bool = False, live: bool = False, keys: bool = False) -> Versions:
    """Move counters on; return them."""
    row = db.execute(
        "UPDATE versions SET catalog = catalog + ?, live = live + ?, keys = keys + ?"
        " RETURNING catalog, live, keys",
        (int(catalog), int(live), int(keys)),
    ).fetchone()
    return Versions(*row)


def journal(
    db: Connection,
    entries: Sequence[tuple[str, str, str, str, bytes | None, bytes | None, int]],
) -> None:
    """Note (at, actor, kind, id, before, after, catalogue version) of changes. Requires the catalogue's room."""
    db.executemany(
        'INSERT INTO journal (at, actor, kind, id, before, "after", catalog) VALUES (?, ?, ?, ?, ?, ?, ?)',
        entries,
    )
