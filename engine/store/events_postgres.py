"""Events in PostgreSQL: each once, whichever machine is told, settled in the transaction that keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import psycopg

from engine.events import Asked, Event, Kept, Row, oldest_kept
from engine.settle import Key, once
from engine.store.money_postgres import bound_clicks, settle
from engine.store.server_postgres import Connection, PostgresServer, Room, share

_INSERT = (
    "INSERT INTO events (view, slot, kind, day, publisher, section, topic, campaign, creative, device, part,"
    " weather, ivt, price_micros, message, propensity_ppm, weight_milli, nearness, rung)"
    " SELECT * FROM unnest(%b::bytea[], %b::bigint[], %b::text[], %b::bigint[],"
    " %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[],"
    " %b::bigint[], %b::bigint[], %b::text[], %b::bigint[], %b::bigint[], %b::bigint[], %b::text[])"
    " ON CONFLICT DO NOTHING RETURNING view, slot, kind"
)

_COPY = f"COPY events ({', '.join(Row._fields)}) FROM STDIN (FORMAT BINARY)"
_WHOLE = {"slot", "day", "ivt", "price_micros", "propensity_ppm", "weight_milli", "nearness"}
_TYPES = ["bytea" if name == "view" else "int8" if name in _WHOLE else "text" for name in Row._fields]
_CALM = 8  # batches without a repetition, after which events are copied


class PostgresEvents:
    """Satisfies EventStore."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._calm = _CALM  # batches in a row in which nothing was told again

    def keep(self, events: Sequence[Event], decided: Iterable[Asked] = ()) -> Kept:
        """Keep the events that are new and settle them, all or none."""
        told, asked = once(events), _summed(decided)

        def act(db: Connection) -> int:
            new = self._put(db, told)
            settled = settle(db, bound_clicks(db, new))
            _correct(db, [after for before, after in zip(new, settled, strict=True) if after is not before])
            _count(db, asked)
            return len(new)

        new = self._server.in_turn(act)
        return Kept(new, len(events) - new)

    def _put(self, db: Connection, told: Sequence[Event]) -> Sequence[Event]:
        """Write the events that are not kept yet, and return them.

        While nothing is told again they are copied, at half the cost; a copy that meets a known one is undone.
        """
        may_copy = self._calm >= _CALM and len(told) > 0
        with db.pipeline():
            share(db, Room.MONEY)
            if may_copy:
                db.execute("SAVEPOINT before_copy")
        if may_copy:
            try:
                _copy(db, told)
                return told
            except psycopg.errors.UniqueViolation:
                db.execute("ROLLBACK TO SAVEPOINT before_copy")
        new = _insert(db, told)
        self._calm = self._calm + 1 if len(new) == len(told) else 0
        return new

    def purge(self, now: datetime) -> dict[str, int]:
        """Delete the raw days that are over; return how many rows of each table."""
        before = (oldest_kept(now),)
        return self._server.in_turn(
            lambda db: {
                "events": db.execute("DELETE FROM events WHERE day < %s", before).rowcount,
                "decided": db.execute("DELETE FROM decided WHERE day < %s", before).rowcount,
                "click_bounds": db.execute("DELETE FROM click_bounds WHERE day < %s", before).rowcount,
            }
        )

    def put_conversions(self, campaign: str, counts: Sequence[tuple[int, int]]) -> None:
        """Set (day, count) of a campaign's conversions."""
        last = sorted(dict(counts).items())
        self._server.in_turn(
            lambda db: db.execute(
                "INSERT INTO conversions (campaign, day, count)"
                " SELECT %s, day, count FROM unnest(%s::bigint[], %s::bigint[]) AS told (day, count)"
                " ON CONFLICT (campaign, day) DO UPDATE SET count = excluded.count",
                (campaign, [day for day, _ in last], [count for _, count in last]),
            )
        )

    def conversions(self, campaign: str) -> list[tuple[int, int]]:
        """Return (day, count) of a campaign, by day."""
        return self._server.rows(
            "SELECT day, count FROM conversions WHERE campaign = %s ORDER BY day", (campaign,)
        )


def _copy(db: Connection, events: Sequence[Event]) -> None:
    """Write events that are not kept yet, in the order of `_insert`. Raises UniqueViolation where one is."""
    with db.cursor().copy(_COPY) as copy:
        copy.set_types(_TYPES)
        for row in sorted(event.row for event in events):
            copy.write_row(row)


def _insert(db: Connection, events: Sequence[Event]) -> Sequence[Event]:
    """Insert the events that are not kept yet, and return them in the order in which they were told.

    Where another process inserts the same one, its commit is waited for. All insert in the same order: so no two
    wait for each other.
    """
    if not events:
        return events
    rows = sorted(event.row for event in events)
    found = db.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)], binary=True).fetchall()
    if len(found) == len(events):
        return events
    new: set[Key] = set(found)
    return [event for event in events if event.row[:3] in new]


def _correct(db: Connection, events: Sequence[Event]) -> None:
    """Let these events say what is billed, where it is less than was told."""
    if events:
        rows = [event.row for event in events]
        db.execute(
            "UPDATE events SET ivt = told.ivt, price_micros = told.price"
            " FROM unnest(%s::bytea[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[])"
            " AS told (view, slot, kind, ivt, price)"
            " WHERE (events.view, events.slot, events.kind) = (told.view, told.slot, told.kind)",
            (
                [row.view for row in rows],
                [row.slot for row in rows],
                [row.kind for row in rows],
                [row.ivt for row in rows],
                [row.price_micros for row in rows],
            ),
        )


def _summed(decided: Iterable[Asked]) -> list[Asked]:
    """Add up what was told of the same day and section, in the order in which all write it."""
    sums: dict[tuple[int, str, str], tuple[int, int]] = {}
    for one in decided:
        asked, filled = sums.get(one[:3], (0, 0))
        sums[one[:3]] = (asked + one.asked, filled + one.filled)
    return [Asked(*key, *sums[key]) for key in sorted(sums)]


def _count(db: Connection, decided: Sequence[Asked]) -> None:
    if decided:
        db.execute(
            "INSERT INTO decided (day, publisher, section, asked, filled)"
            " SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[])"
            " ON CONFLICT (day, publisher, section) DO UPDATE SET asked = decided.asked + excluded.asked,"
            " filled = decided.filled + excluded.filled",
            [list(column) for column in zip(*decided, strict=True)],
        )
