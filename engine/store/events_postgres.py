"""Events in PostgreSQL: each once, whichever machine is told, settled in the transaction that keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from operator import itemgetter

import psycopg

from engine.events import Asked, Event, Kept, Row, oldest_kept
from engine.settle import Key, once
from engine.store.database import Room
from engine.store.money_postgres import Sheet, settle
from engine.store.server_postgres import Connection, PostgresServer

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
_VIEW, _SLOT, _KIND = (Row._fields.index(name) for name in ("view", "slot", "kind"))
_CALM = 8  # batches without a repetition, after which events are copied

Put = Callable[[Connection, Sequence[Event]], Sheet]  # writes events, and returns those that were new


class PostgresEvents:
    """Satisfies EventStore."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._calm = _CALM  # batches in a row in which nothing was told again

    def keep(self, events: Sequence[Event], decided: Iterable[Asked] = ()) -> Kept:
        """Keep the events that are new and settle them, all or none."""
        told, asked = once(events), _summed(decided)

        def act(db: Connection, put: Put) -> int:
            sheet = put(db, told)
            with db.pipeline():
                settled = settle(db, sheet)
                _correct(
                    db,
                    [
                        after
                        for before, after in zip(sheet.events, settled, strict=True)
                        if after is not before
                    ],
                )
                _count(db, asked)
                db.execute("COMMIT")
            return len(sheet.events)

        # While nothing is told again events are copied, at half the cost; a copy that meets a known one is undone.
        if told and self._calm >= _CALM:
            try:
                self._server.in_turn(partial(act, put=_copy), shared=Room.MONEY)
                return Kept(len(told), len(events) - len(told))
            except psycopg.errors.UniqueViolation:
                self._calm = 0
        new = self._server.in_turn(partial(act, put=_insert), shared=Room.MONEY)
        self._calm = self._calm + 1 if new == len(told) else 0
        return Kept(new, len(events) - new)

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


def _ordered(events: Sequence[Event]) -> list[Row]:
    """Return the rows in the order in which all write them: so no two processes wait for each other."""
    rows = [event.row for event in events]
    for place in (_KIND, _SLOT, _VIEW):  # several sorts by one value each are quicker than one by several
        rows.sort(key=itemgetter(place))
    return rows


def _copy(db: Connection, events: Sequence[Event]) -> Sheet:
    """Write events that are not kept yet. Raises UniqueViolation where one is."""
    with db.cursor().copy(_COPY) as copy:
        copy.set_types(_TYPES)
        for row in _ordered(events):
            copy.write_row(row)
        return Sheet(events)  # while the server writes them


def _insert(db: Connection, events: Sequence[Event]) -> Sheet:
    """Insert the events that are not kept yet, and return them in the order in which they were told.

    Where another process inserts the same one, its commit is waited for.
    """
    if not events:
        return Sheet(events)
    columns = [list(column) for column in zip(*_ordered(events), strict=True)]
    found = db.execute(_INSERT, columns, binary=True).fetchall()
    if len(found) == len(events):
        return Sheet(events)
    new: set[Key] = set(found)
    return Sheet([event for event in events if event.row[:3] in new])


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
