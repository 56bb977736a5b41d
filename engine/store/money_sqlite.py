"""The ledger in the catalogue's SQLite file: settled with the events, leased by workers, closed by days."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial

from engine.errors import MoneyError
from engine.events import TOKEN_S, Event
from engine.money import LEASE_S, Booked, Caps, Entry, Use
from engine.settle import (
    AT_ONCE,
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
from engine.store.file_sqlite import SqliteFile


class SqliteMoney:
    """Satisfies MoneyStore."""

    def __init__(self, store: SqliteFile) -> None:
        self._store = store

    def set_caps(self, caps: Mapping[str, Caps]) -> None:
        """Let these campaigns spend so much; what they spent before counts."""
        with self._store.writing() as db:
            db.executemany(
                "INSERT INTO accounts (campaign, total, daily, spent, over)"
                " SELECT ?1, ?2, ?3, coalesce((SELECT sum(micros) FROM ledger WHERE campaign = ?1), 0), 0"
                " WHERE true ON CONFLICT (campaign) DO UPDATE SET total = excluded.total, daily = excluded.daily",
                [(campaign, cap.total, cap.daily) for campaign, cap in caps.items()],
            )

    def capped(self) -> list[str]:
        """Return the ids of the campaigns that may not spend without bound."""
        sql = "SELECT campaign FROM accounts WHERE total IS NOT NULL OR daily IS NOT NULL"
        return [row[0] for row in self._store.rows(sql)]

    def lease(self, worker: str, uses: Sequence[Use], now: datetime) -> dict[str, int]:
        """Note what was shown, renew the worker's leases, and return what it may spend of each campaign."""
        second = int(now.timestamp())
        may: dict[str, int] = {}
        for start in range(0, len(uses), AT_ONCE):
            with self._store.writing() as db:
                _sweep(db, second)
                for use in uses[start : start + AT_ONCE]:
                    leased = _lease(db, worker, use, second)
                    if leased is not None:
                        may[use.campaign] = leased
        return may

    def sweep(self, now: datetime) -> dict[str, int]:
        """Delete what was held or leased until now at the latest; return how many of each."""
        with self._store.writing() as db:
            return _sweep(db, int(now.timestamp()))

    def billed(self, campaign: str, first: int, last: int) -> Booked:
        """Return what was billed and refunded on the billing days from `first` to `last`."""
        span = (campaign, first, last)
        ((events, micros),) = self._store.rows(
            "SELECT coalesce(sum(events), 0), coalesce(sum(micros), 0) FROM ledger"
            " WHERE campaign = ? AND day BETWEEN ? AND ?",
            span,
        )
        ((refunded,),) = self._store.rows(_REFUNDED, span)
        return Booked(events, micros, refunded)

    def billed_campaigns(self, first: int, last: int) -> list[str]:
        """Return the ids of the campaigns that were billed or refunded anything on these days, in order."""
        rows = self._store.rows(
            "SELECT campaign FROM ledger WHERE day BETWEEN ?1 AND ?2 UNION"
            " SELECT campaign FROM money_journal WHERE kind = 'refund' AND day BETWEEN ?1 AND ?2 ORDER BY campaign",
            (first, last),
        )
        return [row[0] for row in rows]

    def refund(self, entry: Entry, first: int, last: int) -> bool:
        """Write a refund, unless it was written before; say whether it is new. Raises MoneyError."""
        with self._store.writing() as db:
            known = db.execute(
                "SELECT kind, campaign, day, micros FROM money_journal WHERE key = ?", (entry.key,)
            ).fetchone()
            if known is not None:
                if known != (entry.kind, entry.campaign, entry.day, entry.micros):
                    raise MoneyError(f"key: got {ascii(entry.key)}, which stands for another refund")
                return False
            span = (entry.campaign, first, last)
            (billed,) = db.execute(
                "SELECT coalesce(sum(micros), 0) FROM ledger WHERE campaign = ? AND day BETWEEN ? AND ?", span
            ).fetchone()
            (refunded,) = db.execute(_REFUNDED, span).fetchone()
            if refunded + entry.micros > billed:
                raise MoneyError(
                    f"micros: got {entry.micros}, expected at most {billed - refunded}: what was billed and not"
                    " given back"
                )
            _journal(db, [entry])
        return True

    def close(self, before: int, at: datetime) -> int:
        """Write the ledger's lines of the UTC days before `before` into the journal; return how many were new."""
        with self._store.writing() as db:
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

    def faults(self, since: int) -> list[str]:
        """Compare events (from the UTC day `since` on), ledger, accounts and journal; say where they do not agree."""
        found = [
            f"campaign {campaign}, UTC day {day}: events say {kept}, the ledger {booked}"
            for campaign, day, kept, booked in self._store.rows(
                "SELECT campaign, day, sum(kept), sum(booked) FROM ("
                " SELECT campaign, day, price_micros AS kept, 0 AS booked FROM events WHERE day >= ?1 UNION ALL"
                " SELECT campaign, utc_day, 0, micros FROM ledger WHERE utc_day >= ?1"
                ") GROUP BY campaign, day HAVING sum(kept) != sum(booked)",
                (since,),
            )
        ]
        found += [
            f"campaign {campaign}: the account says {spent}, the ledger {booked}"
            for campaign, spent, booked in self._store.rows(
                "SELECT campaign, spent, coalesce((SELECT sum(micros) FROM ledger AS l"
                " WHERE l.campaign = accounts.campaign), 0) AS booked FROM accounts WHERE spent != booked"
            )
        ]
        found += [
            f"campaign {campaign}, UTC day {day}: the ledger says {booked}, the journal {told}"
            for campaign, day, booked, told in self._store.rows(_OTHERWISE)
        ]
        found += [
            str(row[0])
            for row in self._store.rows(
                "SELECT 'campaign ' || campaign || ': an invalid event was billed' FROM events"
                " WHERE ivt != 0 AND price_micros != 0 UNION ALL"
                " SELECT 'campaign ' || campaign || ': an amount that is no whole number' FROM ledger"
                " WHERE typeof(micros) != 'integer'"
            )
        ]
        return found


_REFUNDED = (
    "SELECT coalesce(sum(micros), 0) FROM money_journal"
    " WHERE kind = 'refund' AND campaign = ? AND day BETWEEN ? AND ?"
)
_UNWRITTEN = (
    "SELECT campaign, day, utc_day, events, micros FROM ledger WHERE utc_day < ? AND NOT EXISTS ("
    " SELECT 1 FROM money_journal"
    " WHERE key = 'settled/' || ledger.campaign || '/' || ledger.day || '/' || ledger.utc_day)"
)
# What is booked on a line after it was written, because a clock went back, is written beside it at once.
_LATE = (
    "INSERT INTO money_journal (key, at, actor, kind, campaign, day, micros, note)"
    " SELECT key || '+' || (SELECT count(*) FROM money_journal AS told WHERE told.key > money_journal.key || '+'"
    " AND told.key < money_journal.key || ','), at, actor, kind, campaign, day, ?3, ?2 || ' events, later'"
    " FROM money_journal WHERE key = ?1 AND ?3 != 0"
)
_OTHERWISE = (
    "SELECT campaign, utc_day, micros, told FROM (SELECT ledger.campaign, ledger.utc_day, ledger.micros,"
    " sum(money_journal.micros) AS told FROM (SELECT *, 'settled/' || campaign || '/' || day || '/' || utc_day AS line"
    " FROM ledger) AS ledger JOIN money_journal ON key = line OR (key > line || '+' AND key < line || ',')"
    " GROUP BY line) WHERE micros != told"
)


def bound_clicks(db: sqlite3.Connection, events: Sequence[Event]) -> Sequence[Event]:
    """Count impressions and billed clicks of each publisher and day; clicks beyond its bound come back invalid.

    What a publisher's clicks may cost advertisers on a day is bounded so, whoever makes them.
    """
    shown, clicked = counted(events)
    _count(db, shown, impressions=True)
    if not clicked:
        return events
    left = {}
    for publisher, day in clicked:
        found = db.execute(
            "SELECT impressions, clicks FROM click_bounds WHERE publisher = ? AND day = ?", (publisher, day)
        ).fetchone()
        left[publisher, day] = clicks_left(*(found or (0, 0)))
    _count(db, {key: min(count, max(0, left[key])) for key, count in clicked.items()}, impressions=False)
    return bounded(events, left)


def _count(db: sqlite3.Connection, counts: Mapping[tuple[str, int], int], *, impressions: bool) -> None:
    db.executemany(
        "INSERT INTO click_bounds (publisher, day, impressions, clicks) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET impressions = impressions + excluded.impressions,"
        " clicks = clicks + excluded.clicks",
        [(*key, count if impressions else 0, 0 if impressions else count) for key, count in counts.items()],
    )


def settle(db: sqlite3.Connection, events: Sequence[Event]) -> Sequence[Event]:
    """Book what these events, all new, cost; return them with what is billed, which no budget is exceeded by."""
    sums = sums_of(events)
    if not sums:
        return events
    accounts = _accounts(db, {campaign for campaign, _, _ in sums})
    if accounts:
        _hold(db, {key: less for key, less in let_go(events).items() if key[0] in accounts})
        exceeded = short(accounts, sums, partial(_spent_on, db))
        if exceeded:
            events, over = cut(events, exceeded, sums)
            db.executemany(
                "UPDATE accounts SET over = over + ? WHERE campaign = ?", [(m, c) for c, m in over.items()]
            )
    db.executemany(
        "INSERT INTO ledger (campaign, day, utc_day, events, micros) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET events = events + excluded.events, micros = micros + excluded.micros",
        [(*key, *line) for key, line in sums.items()],
    )
    db.executemany(_LATE, [(settled(*key), line[0], line[1]) for key, line in sums.items()])
    db.executemany(
        "UPDATE accounts SET spent = spent + ? WHERE campaign = ?",
        [(line[1], key[0]) for key, line in sums.items() if key[0] in accounts],
    )
    return events


def _accounts(db: sqlite3.Connection, campaigns: Iterable[str]) -> dict[str, tuple[Caps, int]]:
    """Return (caps, spent) of those campaigns that have an account."""
    rows = db.execute(
        "SELECT campaign, total, daily, spent FROM accounts WHERE campaign IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(campaigns)),),
    )
    return {campaign: (Caps(total, daily), spent) for campaign, total, daily, spent in rows}


def _hold(db: sqlite3.Connection, holds: Mapping[tuple[str, int, int], int]) -> None:
    db.executemany(
        "INSERT INTO holds (campaign, day, until, micros) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET micros = micros + excluded.micros",
        [(*key, micros) for key, micros in holds.items()],
    )


def _spent_on(db: sqlite3.Connection, campaign: str, day: int) -> int:
    sql = "SELECT coalesce(sum(micros), 0) FROM ledger WHERE campaign = ? AND day = ?"
    return int(db.execute(sql, (campaign, day)).fetchone()[0])


def _sweep(db: sqlite3.Connection, second: int) -> dict[str, int]:
    return {
        "holds": db.execute("DELETE FROM holds WHERE until <= ?", (second // 60,)).rowcount,
        "leases": db.execute("DELETE FROM leases WHERE until <= ?", (second,)).rowcount,
    }


def _lease(db: sqlite3.Connection, worker: str, use: Use, second: int) -> int | None:
    campaign = use.campaign
    found = _accounts(db, [campaign]).get(campaign)
    if found is None or found[0] == (None, None):
        return None
    (total, daily), spent = use.within(found[0]), found[1]
    _hold(
        db,
        {
            (campaign, day, until): micros
            for (day, until), micros in use.shown.items()
            if micros and until > second // 60
        },
    )
    row = db.execute(
        "SELECT day, micros FROM leases WHERE worker = ? AND campaign = ?", (worker, campaign)
    ).fetchone()
    left = []
    if total is not None:
        taken = _taken(db, campaign, worker, None)
        left.append(total - spent - taken)
    if daily is not None:
        taken = _taken(db, campaign, worker, use.day)
        left.append(daily - _spent_on(db, campaign, use.day) - taken)
    leased = slice_of(use, row, min(left))
    db.execute(
        "INSERT INTO leases (worker, campaign, day, micros, until) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET day = excluded.day, micros = excluded.micros, until = excluded.until",
        (worker, campaign, use.day, leased, second + LEASE_S + TOKEN_S),
    )
    return leased


def _taken(db: sqlite3.Connection, campaign: str, worker: str, day: int | None) -> int:
    """Return what other workers leased, and what is held, of a campaign: on one billing day, or in all."""
    (leased,) = db.execute(
        "SELECT coalesce(sum(micros), 0) FROM leases"
        " WHERE campaign = ?1 AND worker != ?2 AND (?3 IS NULL OR day = ?3)",
        (campaign, worker, day),
    ).fetchone()
    (held,) = db.execute(
        "SELECT coalesce(sum(micros), 0) FROM holds WHERE campaign = ?1 AND (?2 IS NULL OR day = ?2)",
        (campaign, day),
    ).fetchone()
    return int(leased + held)


def _journal(db: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    db.executemany(
        "INSERT INTO money_journal (key, at, actor, kind, campaign, day, micros, note)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        map(line_of, entries),
    )
