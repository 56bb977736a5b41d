"""The counters of change and the journal in PostgreSQL, written within the transaction of what changes."""

from __future__ import annotations

from collections.abc import Sequence

from engine.change import Versions
from engine.store.server_postgres import Connection, Room, hold


def current(db: Connection) -> Versions:
    """Return the counters, as the transaction sees them."""
    return Versions(*db.execute("SELECT catalog, live, keys FROM versions").fetchall()[0])


def locked(db: Connection) -> Versions:
    """Return the counters, which nobody else moves until the transaction ends."""
    hold(db, Room.CATALOGUE)
    return current(db)


def bump(db: Connection, *, catalog: bool = False, live: bool = False, keys: bool = False) -> Versions:
    """Move counters on; return them."""
    row = db.execute(
        "UPDATE versions SET catalog = catalog + %s, live = live + %s, keys = keys + %s"
        " RETURNING catalog, live, keys",
        (int(catalog), int(live), int(keys)),
    ).fetchall()[0]
    return Versions(*row)


def journal(
    db: Connection,
    entries: Sequence[tuple[str, str, str, str, bytes | None, bytes | None, int]],
) -> None:
    """Note (at, actor, kind, id, before, after, catalogue version) of changes. Requires the catalogue's lock."""
    db.cursor().executemany(
        'INSERT INTO journal (at, actor, kind, id, before, "after", catalog)'
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        entries,
    )
