"""The ledger in the catalogue's SQLite file: settled with the events, leased by workers, closed by days."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from engine.errors import MoneyError
from engine.events import TOKEN_S, Event
from engine.money import ALLOWED_CLICKS, ALLOWED_PER_MILLE, LEASE_S, Booked, Caps, Entry, Use
from engine.pricing import held
from engine.store.file_sqlite import SqliteFile

SHARE = 4  # of what is left of a budget, a worker leases one part in so many
AT_ONCE = 200  # campaigns leased by one transaction: events are kept between them


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
                db.execute("DELETE FROM holds WHERE until <= ?", (second // 60,))
                db.execute("DELETE FROM leases WHERE until <= ?", (second,))
                for use in uses[start : start + AT_ONCE]:
                    leased = _lease(db, worker, use, second)
                    if leased is not None:
                        may[use.campaign] = leased
        return may

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
                        f"settled/{campaign}/{day}/{utc_day}",
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
                " WHERE ivt = 1 AND price_micros != 0 UNION ALL"
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
_OTHERWISE = (
    "SELECT ledger.campaign, ledger.utc_day, ledger.micros, money_journal.micros FROM ledger JOIN money_journal"
    " ON key = 'settled/' || ledger.campaign || '/' || ledger.day || '/' || ledger.utc_day"
    " WHERE ledger.micros != money_journal.micros"
)


def bound_clicks(db: sqlite3.Connection, events: Sequence[Event]) -> Sequence[Event]:
    """Count impressions and billed clicks of each publisher and day; clicks beyond its bound come back invalid.

    What a publisher's clicks may cost advertisers on a day is bounded so, whoever makes them.
    """
    shown: dict[tuple[str, int], int] = defaultdict(int)
    clicked: dict[tuple[str, int], int] = defaultdict(int)
    for row, _, _ in events:
        kind = row[2]
        if kind == "impression":
            if not row.ivt:
                shown[row.publisher, row.day] += 1
        elif kind == "click" and row.price_micros:
            clicked[row.publisher, row.day] += 1
    _count(db, shown, impressions=True)
    if not clicked:
        return events
    left = {}
    for publisher, day in clicked:
        found = db.execute(
            "SELECT impressions, clicks FROM click_bounds WHERE publisher = ? AND day = ?", (publisher, day)
        ).fetchone()
        impressions, clicks = found or (0, 0)
        left[publisher, day] = ALLOWED_CLICKS + impressions * ALLOWED_PER_MILLE // 1000 - clicks
    _count(db, {key: min(count, max(0, left[key])) for key, count in clicked.items()}, impressions=False)
    bounded = []
    for event in events:
        row = event.row
        if row.kind == "click" and row.price_micros:
            key = (row.publisher, row.day)
            left[key] -= 1
            if left[key] < 0:
                event = event._replace(row=row._replace(ivt=1, price_micros=0))
        bounded.append(event)
    return bounded


def _count(db: sqlite3.Connection, counts: Mapping[tuple[str, int], int], *, impressions: bool) -> None:
    db.executemany(
        "INSERT INTO click_bounds (publisher, day, impressions, clicks) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET impressions = impressions + excluded.impressions,"
        " clicks = clicks + excluded.clicks",
        [(*key, count if impressions else 0, 0 if impressions else count) for key, count in counts.items()],
    )


def settle(db: sqlite3.Connection, events: Sequence[Event]) -> Sequence[Event]:
    """Book what these events, all new, cost; return them with what is billed, which no budget is exceeded by."""
    sums: dict[tuple[str, int, int], list[int]] = {}
    for row, billing_day, _ in events:
        if row.price_micros:
            key = (row.campaign, billing_day, row.day)
            line = sums.get(key)
            if line is None:
                sums[key] = [1, row.price_micros]
            else:
                line[0] += 1
                line[1] += row.price_micros
    if not sums:
        return events
    accounts = _accounts(db, {campaign for campaign, _, _ in sums})
    if accounts:
        _release(db, events, accounts)
        short = {
            campaign: left
            for campaign, caps in accounts.items()
            if (left := _left(db, campaign, caps, sums)) is not None
        }
        if short:
            events = _cut(db, events, short, sums)
    db.executemany(
        "INSERT INTO ledger (campaign, day, utc_day, events, micros) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET events = events + excluded.events, micros = micros + excluded.micros",
        [(*key, *line) for key, line in sums.items()],
    )
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


def _release(db: sqlite3.Connection, events: Sequence[Event], accounts: Mapping[str, object]) -> None:
    """Let go of what was held for these events. A hold may come after its event: until then it is below zero."""
    let_go: dict[tuple[str, int, int], int] = defaultdict(int)
    for row, billing_day, until in events:
        if row.price_micros and row.campaign in accounts:
            let_go[row.campaign, billing_day, until] -= held(row.kind, row.price_micros)
    _hold(db, let_go)


def _hold(db: sqlite3.Connection, holds: Mapping[tuple[str, int, int], int]) -> None:
    db.executemany(
        "INSERT INTO holds (campaign, day, until, micros) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET micros = micros + excluded.micros",
        [(*key, micros) for key, micros in holds.items()],
    )


def _left(
    db: sqlite3.Connection,
    campaign: str,
    account: tuple[Caps, int],
    sums: Mapping[tuple[str, int, int], Sequence[int]],
) -> tuple[int | None, dict[int, int]] | None:
    """Return what is left of a campaign's budget, and of each day's, where these sums exceed it; else None."""
    caps, spent = account
    days: dict[int, int] = defaultdict(int)
    for (owner, day, _), (_, micros) in sums.items():
        if owner == campaign:
            days[day] += micros
    total = None if caps.total is None else max(0, caps.total - spent)
    daily = (
        {} if caps.daily is None else {day: max(0, caps.daily - _spent_on(db, campaign, day)) for day in days}
    )
    exceeds = (total is not None and sum(days.values()) > total) or any(
        days[day] > left for day, left in daily.items()
    )
    return (total, daily) if exceeds else None


def _spent_on(db: sqlite3.Connection, campaign: str, day: int) -> int:
    sql = "SELECT coalesce(sum(micros), 0) FROM ledger WHERE campaign = ? AND day = ?"
    return int(db.execute(sql, (campaign, day)).fetchone()[0])


def _cut(
    db: sqlite3.Connection,
    events: Sequence[Event],
    short: dict[str, tuple[int | None, dict[int, int]]],
    sums: dict[tuple[str, int, int], list[int]],
) -> list[Event]:
    """Bill no more than is left of the budgets that run short; `sums` become what is billed."""
    cut = []
    over: dict[str, int] = defaultdict(int)
    for event in events:
        row = event.row
        if row.price_micros and row.campaign in short:
            total, daily = short[row.campaign]
            left = [some for some in (total, daily.get(event.billing_day)) if some is not None]
            billed = min(row.price_micros, *left) if left else row.price_micros
            if total is not None:
                short[row.campaign] = (total - billed, daily)
            if event.billing_day in daily:
                daily[event.billing_day] -= billed
            lost = row.price_micros - billed
            if lost:
                over[row.campaign] += lost
                line = sums[row.campaign, event.billing_day, row.day]
                line[0] -= not billed
                line[1] -= lost
                event = event._replace(row=row._replace(price_micros=billed))
        cut.append(event)
    db.executemany(
        "UPDATE accounts SET over = over + ? WHERE campaign = ?", [(m, c) for c, m in over.items()]
    )
    return cut


def _lease(db: sqlite3.Connection, worker: str, use: Use, second: int) -> int | None:
    campaign = use.campaign
    found = _accounts(db, [campaign]).get(campaign)
    if found is None or found[0] == (None, None):
        return None
    (total, daily), spent = found
    _hold(db, {(campaign, day, until): micros for (day, until), micros in use.shown.items() if micros})
    row = db.execute(
        "SELECT day, micros FROM leases WHERE worker = ? AND campaign = ?", (worker, campaign)
    ).fetchone()
    mine = 0
    if row is not None and row[0] == use.day:  # what is left of another day's slice goes back
        shown = sum(micros for (day, _), micros in use.shown.items() if day == use.day)
        mine = max(0, row[1] - shown)
    left = []
    if total is not None:
        taken = _taken(db, campaign, worker, None)
        left.append(total - spent - taken)
    if daily is not None:
        taken = _taken(db, campaign, worker, use.day)
        left.append(daily - _spent_on(db, campaign, use.day) - taken)
    free = max(0, min(left))
    # Less than it has where the budget was cut; else what it wants, so far as that leaves something to others.
    share = mine + max(use.least, (free - mine) // SHARE)
    leased = min(free, max(mine, min(use.want, share)))
    if leased < use.least or not use.want:  # of no use here: others may put theirs to it
        leased = 0
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
        [
            (e.key, e.at.isoformat(timespec="seconds"), e.actor, e.kind, e.campaign, e.day, e.micros, e.note)
            for e in entries
        ],
    )
