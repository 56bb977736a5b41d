"""The ledger in PostgreSQL: settled with the events, leased by workers of all machines, closed by days.

Whoever books on a campaign that has an account holds the account's row: what is spent, held and leased of it changes
under that alone. Rows of a table are taken in the order of their keys, tables in one order, so that no two wait for
each other. Who gives accounts, refunds or closes days has the room of money for itself; who books shares it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from engine.errors import MoneyError
from engine.events import TOKEN_S, Event
from engine.money import LEASE_S, Booked, Caps, Entry, Use
from engine.settle import (
    AT_ONCE,
    Day,
    Sums,
    bounded,
    clicks_left,
    counted,
    cut,
    let_go,
    line_of,
    settled,
    short,
    slice_of,
    sums_of,
)
from engine.store.database import Room
from engine.store.forms import batches, findable
from engine.store.server_postgres import Connection, PostgresServer, hold


class PostgresMoney:
    """Satisfies MoneyStore."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def set_caps(self, caps: Mapping[str, Caps]) -> None:
        """Let these campaigns spend so much; what they spent before counts."""
        rows = self._server.rows(
            "SELECT campaign, total, daily FROM accounts WHERE campaign = ANY (%s)", (list(caps),)
        )
        stand = {campaign: Caps(total, daily) for campaign, total, daily in rows}
        new = sorted((id, *cap) for id, cap in caps.items() if stand.get(id) != cap)
        if new:
            self._server.in_turn(lambda db: _set_caps(db, new))

    def capped(self) -> list[str]:
        """Return the ids of the campaigns that may not spend without bound."""
        sql = "SELECT campaign FROM accounts WHERE total IS NOT NULL OR daily IS NOT NULL"
        return [row[0] for row in self._server.rows(sql)]

    def lease(self, worker: str, uses: Sequence[Use], now: datetime) -> dict[str, int]:
        """Note what was shown, renew the worker's leases, and return what it may spend of each campaign."""
        second = int(now.timestamp())
        self._server.in_turn(lambda db: _sweep(db, second))
        may: dict[str, int] = {}
        for some in batches(uses, AT_ONCE):
            may |= self._server.in_turn(partial(_lease, worker=worker, uses=some, second=second))
        return may

    def sweep(self, now: datetime) -> dict[str, int]:
        """Delete what was held or leased until now at the latest; return how many of each."""
        second = int(now.timestamp())
        return self._server.in_turn(lambda db: _sweep(db, second))

    def billed(self, campaign: str, first: int, last: int) -> Booked:
        """Return what was billed and refunded on the billing days from `first` to `last`."""
        if not findable([campaign]):
            return Booked(0, 0, 0)
        ((events, micros, refunded),) = self._server.rows(
            f"SELECT coalesce(sum(events), 0)::bigint, coalesce(sum(micros), 0)::bigint, ({_REFUNDED})"  # noqa: S608
            " FROM ledger WHERE campaign = %(campaign)s AND day BETWEEN %(first)s AND %(last)s",
            {"campaign": campaign, "first": first, "last": last},
        )
        return Booked(events, micros, refunded)

    def billed_campaigns(self, first: int, last: int) -> list[str]:
        """Return the ids of the campaigns that were billed or refunded anything on these days, in order."""
        rows = self._server.rows(
            "SELECT campaign FROM ledger WHERE day BETWEEN %(first)s AND %(last)s UNION"
            " SELECT campaign FROM money_journal WHERE kind = 'refund' AND day BETWEEN %(first)s AND %(last)s"
            " ORDER BY campaign",
            {"first": first, "last": last},
        )
        return [row[0] for row in rows]

    def refund(self, entry: Entry, first: int, last: int) -> bool:
        """Write a refund, unless it was written before; say whether it is new. Raises MoneyError."""
        return self._server.in_turn(lambda db: _refund(db, entry, first, last))

    def close(self, before: int, at: datetime) -> int:
        """Write the ledger's lines of the UTC days before `before` into the journal; return how many were new."""

        def act(db: Connection) -> int:
            hold(db, Room.MONEY)
            rows = db.execute(_UNWRITTEN, (before,)).fetchall()
            _journal(
                db,
                [
                    Entry(
                        settled(campaign, day, utc_day),
                        at,
                        "ledger",
                        "settled",
                        campaign,
                        day,
                        micros,
                        f"{events} events",
                    )
                    for campaign, day, utc_day, events, micros in rows
                ],
            )
            return len(rows)

        # Whoever waits for the room is kept from booking: not where there is nothing to be written.
        return self._server.in_turn(act) if self._server.rows(f"{_UNWRITTEN} LIMIT 1", (before,)) else 0

    def faults(self, since: int) -> list[str]:
        """Compare events (from the UTC day `since` on), ledger, accounts and journal; say where they do not agree."""
        found = [
            f"campaign {campaign}, UTC day {day}: events say {kept}, the ledger {booked}"
            for campaign, day, kept, booked in self._server.rows(
                "SELECT campaign, day, sum(kept)::bigint, sum(booked)::bigint FROM ("
                " SELECT campaign, day, price_micros AS kept, 0 AS booked FROM events WHERE day >= %(since)s"
                " UNION ALL SELECT campaign, utc_day, 0, micros FROM ledger WHERE utc_day >= %(since)s"
                ") AS both_say GROUP BY campaign, day HAVING sum(kept) <> sum(booked) ORDER BY campaign, day",
                {"since": since},
            )
        ]
        found += [
            f"campaign {campaign}: the account says {spent}, the ledger {booked}"
            for campaign, spent, booked in self._server.rows(
                "SELECT campaign, spent, booked FROM accounts CROSS JOIN LATERAL (SELECT coalesce(sum(micros), 0)"
                "::bigint AS booked FROM ledger WHERE ledger.campaign = accounts.campaign) AS books"
                " WHERE spent <> booked ORDER BY campaign"
            )
        ]
        found += [
            f"campaign {campaign}, UTC day {day}: the ledger says {booked}, the journal {told}"
            for campaign, day, booked, told in self._server.rows(_OTHERWISE)
        ]
        found += [
            f"campaign {campaign}: an invalid event was billed"
            for (campaign,) in self._server.rows(
                "SELECT campaign FROM events WHERE ivt <> 0 AND price_micros <> 0"
            )
        ]
        return found


_REFUNDED = (
    "SELECT coalesce(sum(micros), 0)::bigint FROM money_journal"
    " WHERE kind = 'refund' AND campaign = %(campaign)s AND day BETWEEN %(first)s AND %(last)s"
)
_KEY = "'settled/' || ledger.campaign || '/' || ledger.day || '/' || ledger.utc_day"
_UNWRITTEN = (
    "SELECT campaign, day, utc_day, events, micros FROM ledger WHERE utc_day < %s"  # noqa: S608 - a constant
    f" AND NOT EXISTS (SELECT 1 FROM money_journal WHERE key = {_KEY})"
)
# What is booked on a line after it was written, because a clock went back, is written beside it at once. The line of
# the ledger is held by who books: nobody else writes beside it meanwhile.
_LATE = (
    "INSERT INTO money_journal (key, at, actor, kind, campaign, day, micros, note)"
    " SELECT key || '+' || (SELECT count(*) FROM money_journal AS told WHERE told.key > line || '+'"
    " AND told.key < line || ','), at, actor, kind, campaign, day, late.micros, late.events || ' events, later'"
    " FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS late (line, events, micros)"
    " JOIN money_journal ON key = line WHERE late.micros <> 0"
)
_OTHERWISE = (
    "SELECT campaign, utc_day, micros, told FROM (SELECT ledger.campaign, ledger.utc_day, ledger.micros,"  # noqa: S608
    " sum(money_journal.micros)::bigint AS told FROM ledger"
    f" JOIN money_journal ON key = {_KEY} OR (key > {_KEY} || '+' AND key < {_KEY} || ',')"
    " GROUP BY ledger.campaign, ledger.day, ledger.utc_day) AS lines WHERE micros <> told"
)


class Sheet:
    """What a batch of events, all new, counts and costs, worked out without asking the server anything."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.shown, self.clicked = counted(events)
        self.sums = sums_of(events)
        self.less = let_go(events)


def settle(db: Connection, sheet: Sheet) -> Sequence[Event]:
    """Book what these events cost; return them with what is billed, which no budget is exceeded by.

    Impressions and billed clicks of each publisher and day are counted; clicks beyond its bound come back invalid,
    whoever makes them. Requires that the room of money is shared: no account is given to a campaign meanwhile; and a
    pipeline: what waits for no answer goes together, one way there and back.
    """
    bounds = _count_shown(db, sheet)  # bounds before accounts: all take them so
    taken = _accounts(db, {campaign for campaign, _, _ in sheet.sums})
    days_spent = _spent_on(db, {key[:2] for key in sheet.sums})
    left: dict[Day, int] = {
        (publisher, day): clicks_left(impressions, clicks) for publisher, day, impressions, clicks in bounds
    }
    more = [(*day, some) for day, count in sheet.clicked.items() if (some := min(count, max(0, left[day])))]
    if any(count > left[day] for day, count in sheet.clicked.items()):
        sheet = Sheet(bounded(sheet.events, left))
    events, sums, accounts = sheet.events, sheet.sums, _caps(taken)
    over: Mapping[str, int] = {}
    if accounts:
        spent_on = _micros(days_spent)
        exceeded = short(accounts, sums, lambda *key: spent_on.get(key, 0))
        if exceeded:
            events, over = cut(events, exceeded, sums)
    if more:
        db.execute(
            "UPDATE click_bounds SET clicks = clicks + told.more"
            " FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS told (publisher, day, more)"
            " WHERE (click_bounds.publisher, click_bounds.day) = (told.publisher, told.day)",
            _columns(more),
        )
    _hold(db, {key: micros for key, micros in sheet.less.items() if key[0] in accounts})
    if sums:
        _book(db, sums)
    if accounts:
        spending: dict[str, int] = defaultdict(int)
        for (campaign, _, _), (_, micros) in sums.items():
            spending[campaign] += micros
        db.execute(
            'UPDATE accounts SET spent = spent + told.micros, "over" = "over" + told.lost'
            " FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS told (id, micros, lost) WHERE campaign = id",
            _columns([(id, spending[id], over.get(id, 0)) for id in accounts]),
        )
    return events


def _book(db: Connection, sums: Sums) -> None:
    db.execute(
        "INSERT INTO ledger (campaign, day, utc_day, events, micros)"
        " SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])"
        " ON CONFLICT (campaign, day, utc_day) DO UPDATE SET events = ledger.events + excluded.events,"
        " micros = ledger.micros + excluded.micros",
        _columns([(*key, *sums[key]) for key in sorted(sums)]),
    )
    db.execute(_LATE, _columns([(settled(*key), *sums[key]) for key in sorted(sums)]))


def _count_shown(db: Connection, sheet: Sheet) -> Iterable[tuple[Any, ...]]:
    """Add to the impressions of publishers' days; return (publisher, day, impressions, billed clicks) of each."""
    days = sorted(sheet.shown.keys() | sheet.clicked.keys())
    if not days:
        return ()
    return db.execute(
        "INSERT INTO click_bounds (publisher, day, impressions, clicks)"
        " SELECT publisher, day, shown, 0 FROM unnest(%s::text[], %s::bigint[], %s::bigint[])"
        " AS told (publisher, day, shown)"
        " ON CONFLICT (publisher, day) DO UPDATE SET impressions = click_bounds.impressions + excluded.impressions"
        " RETURNING publisher, day, impressions, clicks",
        _columns([(*day, sheet.shown.get(day, 0)) for day in days]),
    )


def _accounts(db: Connection, campaigns: Collection[str]) -> Iterable[tuple[Any, ...]]:
    """Take the accounts of those campaigns that have one, until the transaction ends, for `_caps` to read."""
    if not campaigns:
        return ()
    return db.execute(
        "SELECT campaign, total, daily, spent FROM accounts WHERE campaign = ANY (%s::text[]) ORDER BY campaign"
        " FOR UPDATE",
        (_array(campaigns),),
    )


def _caps(accounts: Iterable[tuple[Any, ...]]) -> dict[str, tuple[Caps, int]]:
    """Return (caps, spent) of each campaign."""
    return {campaign: (Caps(total, daily), spent) for campaign, total, daily, spent in accounts}


def _hold(db: Connection, holds: Mapping[tuple[str, int, int], int]) -> None:
    """Add to what is held. Requires the accounts."""
    if holds:
        db.execute(
            "INSERT INTO holds (campaign, day, until, micros)"
            " SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[])"
            " ON CONFLICT (campaign, day, until) DO UPDATE SET micros = holds.micros + excluded.micros",
            _columns([(*key, holds[key]) for key in sorted(holds)]),
        )


def _spent_on(db: Connection, days: Collection[tuple[str, int]]) -> Iterable[tuple[Any, ...]]:
    """Return (campaign, billing day, micros) where anything was spent under a daily budget. Requires the accounts."""
    if not days:
        return ()
    return db.execute(
        "SELECT campaign, day, sum(micros)::bigint FROM ledger JOIN accounts USING (campaign)"
        " JOIN unnest(%s::text[], %s::bigint[]) AS asked (campaign, day) USING (campaign, day)"
        " WHERE daily IS NOT NULL GROUP BY campaign, day",
        _columns(list(days)),
    )


def _micros(days: Iterable[tuple[Any, ...]]) -> dict[tuple[str, int], int]:
    return {(campaign, day): micros for campaign, day, micros in days}


def _set_caps(db: Connection, caps: Sequence[tuple[str, int | None, int | None]]) -> None:
    hold(db, Room.MONEY)
    db.execute(
        'INSERT INTO accounts (campaign, total, daily, spent, "over") SELECT id, most, most_a_day,'
        " coalesce((SELECT sum(micros) FROM ledger WHERE campaign = id), 0), 0"
        " FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS told (id, most, most_a_day)"
        " ON CONFLICT (campaign) DO UPDATE SET total = excluded.total, daily = excluded.daily",
        _columns(caps),
    )


def _sweep(db: Connection, second: int) -> dict[str, int]:
    """Delete what is over, but what somebody works on: it waits for nobody. Returns how many of each."""
    return {
        table: db.execute(
            f"DELETE FROM {table} WHERE ctid = ANY (ARRAY ("  # noqa: S608 - constants
            f"SELECT ctid FROM {table} WHERE until <= %s FOR UPDATE SKIP LOCKED))",
            (over,),
        ).rowcount
        for table, over in (("holds", second // 60), ("leases", second))
    }


def _lease(db: Connection, worker: str, uses: Sequence[Use], second: int) -> dict[str, int]:
    """Lease to a worker what may be leased of each campaign's budget, one use a campaign."""
    minute = second // 60
    accounts = _caps(_accounts(db, [use.campaign for use in uses]))
    uses = sorted(
        (use for use in uses if accounts.get(use.campaign, _NONE)[0] != (None, None)),
        key=lambda use: use.campaign,
    )
    if not uses:
        return {}
    _hold(
        db,
        {
            (use.campaign, day, until): micros
            for use in uses
            for (day, until), micros in use.shown.items()
            if micros and until > minute
        },
    )
    ids = [use.campaign for use in uses]
    mine: dict[str, tuple[int, int]] = {}
    taken: dict[tuple[str, int | None], int] = defaultdict(int)  # by others, and held: on a day, and in all
    for campaign, owner, day, micros in db.execute(
        "SELECT campaign, worker, day, micros FROM leases WHERE campaign = ANY (%s) AND until > %s UNION ALL"
        " SELECT campaign, NULL, day, sum(micros)::bigint FROM holds WHERE campaign = ANY (%s) AND until > %s"
        " GROUP BY campaign, day",
        (ids, second, ids, minute),
    ):
        if owner == worker:
            mine[campaign] = (day, micros)
        else:
            taken[campaign, day] += micros
            taken[campaign, None] += micros
    spent_on = _micros(_spent_on(db, {(use.campaign, use.day) for use in uses}))
    may = {}
    for use in uses:
        caps, spent = accounts[use.campaign]
        total, daily = use.within(caps)
        left = []
        if total is not None:
            left.append(total - spent - taken[use.campaign, None])
        if daily is not None:
            on_day = spent_on.get((use.campaign, use.day), 0)
            left.append(daily - on_day - taken[use.campaign, use.day])
        may[use.campaign] = slice_of(use, mine.get(use.campaign), min(left))
    db.execute(
        "INSERT INTO leases (worker, campaign, day, micros, until)"
        " SELECT %s, campaign, day, micros, %s FROM unnest(%s::text[], %s::bigint[], %s::bigint[])"
        " AS told (campaign, day, micros)"
        " ON CONFLICT (worker, campaign) DO UPDATE SET day = excluded.day, micros = excluded.micros,"
        " until = excluded.until",
        (worker, second + LEASE_S + TOKEN_S, *_columns([(u.campaign, u.day, may[u.campaign]) for u in uses])),
    )
    return may


_NONE = (Caps(None, None), 0)


def _refund(db: Connection, entry: Entry, first: int, last: int) -> bool:
    hold(db, Room.MONEY)
    known = db.execute(
        "SELECT kind, campaign, day, micros FROM money_journal WHERE key = %s", (entry.key,)
    ).fetchone()
    if known is not None:
        if known != (entry.kind, entry.campaign, entry.day, entry.micros):
            raise MoneyError(f"key: got {ascii(entry.key)}, which stands for another refund")
        return False
    left = db.execute(
        f"SELECT coalesce(sum(micros), 0)::bigint - ({_REFUNDED}) FROM ledger"  # noqa: S608 - a constant
        " WHERE campaign = %(campaign)s AND day BETWEEN %(first)s AND %(last)s",
        {"campaign": entry.campaign, "first": first, "last": last},
    ).fetchall()[0][0]
    if entry.micros > left:
        raise MoneyError(
            f"micros: got {entry.micros}, expected at most {left}: what was billed and not given back"
        )
    _journal(db, [entry])
    return True


def _journal(db: Connection, entries: Sequence[Entry]) -> None:
    db.cursor().executemany(
        "INSERT INTO money_journal (key, at, actor, kind, campaign, day, micros, note)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        map(line_of, entries),
    )


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    """Turn rows, of which there is at least one, into the arrays that `unnest` makes rows of."""
    return [_array(column) for column in zip(*rows, strict=True)]


def _array(values: Iterable[str | int | None]) -> str:
    """Write an array as PostgreSQL reads it: several times as quick as to have the driver ask each value its type."""
    return f"{{{','.join(map(_element, values))}}}"


def _element(value: str | int | None) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "NULL" if value is None else str(value)
