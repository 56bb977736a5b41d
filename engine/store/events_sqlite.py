"""Events in the catalogue's SQLite file: each once, settled in the transaction that keeps it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain, islice

from engine.events import Asked, Event, Kept, Row, oldest_kept
from engine.settle import Key, once
from engine.store.file_sqlite import SqliteFile
from engine.store.money_sqlite import bound_clicks, settle

_ASKED_AT_ONCE = 500  # views looked up by one statement
_AT_ONCE = (32, 8, 1)  # events of one statement: after each, the interpreter may pass to another thread
_ROW = f"({', '.join('?' * len(Row._fields))})"
_INTO = (
    "INSERT INTO events (view, slot, kind, day, publisher, section, topic, campaign, creative, device, part,"
    " weather, ivt, price_micros, message, propensity_ppm, weight_milli, nearness, rung) VALUES "
)
_NEW = " ON CONFLICT DO NOTHING"
_INSERT = _INTO + _ROW + _NEW
_INSERT_MANY = {size: _INTO + ", ".join([_ROW] * size) + _NEW for size in _AT_ONCE}


class SqliteEvents:
    """Satisfies EventStore."""

    def __init__(self, store: SqliteFile) -> None:
        self._store = store

    def keep(self, events: Sequence[Event], decided: Iterable[Asked] = ()) -> Kept:
        """Keep the events that are new and settle them, all or none."""
        fresh: Sequence[Event] = once(events)
        noted = list(decided)
        try:
            with self._store.writing() as db:  # most often all are new: then nothing is looked up before
                _keep_new(db, fresh, noted)
        except _SomeKnown:
            with self._store.writing() as db:
                known = _known(db, fresh)
                fresh = [event for event in fresh if event.row[:3] not in known]
                _keep_new(db, fresh, noted)
        return Kept(len(fresh), len(events) - len(fresh))

    def purge(self, now: datetime) -> dict[str, int]:
        """Delete the raw days that are over; return how many rows of each table."""
        before = (oldest_kept(now),)
        with self._store.writing() as db:
            return {
                "events": db.execute("DELETE FROM events WHERE day < ?", before).rowcount,
                "decided": db.execute("DELETE FROM decided WHERE day < ?", before).rowcount,
                "click_bounds": db.execute("DELETE FROM click_bounds WHERE day < ?", before).rowcount,
            }

    def put_conversions(self, campaign: str, counts: Sequence[tuple[int, int]]) -> None:
        """Set (day, count) of a campaign's conversions."""
        with self._store.writing() as db:
            db.executemany(
                "INSERT INTO conversions (campaign, day, count) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET count = excluded.count",
                [(campaign, day, count) for day, count in counts],
            )

    def conversions(self, campaign: str) -> list[tuple[int, int]]:
        """Return (day, count) of a campaign, by day."""
        return self._store.rows(
            "SELECT day, count FROM conversions WHERE campaign = ? ORDER BY day", (campaign,)
        )


class _SomeKnown(Exception):
    """Some events were kept before: what was written of the others has to be undone."""


def _keep_new(db: sqlite3.Connection, events: Sequence[Event], decided: Sequence[Asked]) -> None:
    """Insert and settle events, and what was asked. Raises _SomeKnown where an event is not new."""
    if decided:
        db.executemany(
            "INSERT INTO decided (day, publisher, section, asked, filled) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET asked = asked + excluded.asked, filled = filled + excluded.filled",
            decided,
        )
    if events:
        priced = settle(db, bound_clicks(db, events))
        changed = db.total_changes
        rows, at = [event[0] for event in priced], 0
        for size in _AT_ONCE:
            whole = at + (len(rows) - at) // size * size
            groups = (list(chain.from_iterable(rows[i : i + size])) for i in range(at, whole, size))
            db.executemany(_INSERT_MANY[size], groups)
            at = whole
        if db.total_changes - changed < len(events):
            raise _SomeKnown


def _known(db: sqlite3.Connection, events: Sequence[Event]) -> set[Key]:
    """Return the keys of the events of these views that are kept."""
    views = iter({event.row.view for event in events})
    found: set[Key] = set()
    while some := list(islice(views, _ASKED_AT_ONCE)):
        marks = ", ".join("?" * len(some))
        found.update(db.execute(f"SELECT view, slot, kind FROM events WHERE view IN ({marks})", some))  # noqa: S608 - marks
    return found
