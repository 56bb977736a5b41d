"""Releases the tables of closed days: each once, paid in the transaction that keeps it, and told of in the log.

Noise is drawn before that transaction, which every writer waits for; a table that is not paid for then is thrown away.
What is due follows from the calendar alone. Which keys a table has follows from the catalogue, what it costs from the
workload, and whether there is room from the ledger: nothing of what happened decides whether it is told.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta

from engine.events import oldest_kept
from engine.report_keys import CatalogDays, keys_of
from engine.tally import Cells, Tally
from privacy.budget import SpendStore
from privacy.errors import BudgetSpent, ReleaseError
from privacy.release import Axis, Key, charges, day_number, day_of, draw, period_of, query_of, rest_of
from privacy.workload import TABLES, Table

log = logging.getLogger(__name__)

Draw = Callable[[Table, int, Sequence[Axis], Mapping[Key, int]], bytes]
DRAWN_AT_ONCE = 2  # tables; so many cores are busy with it
CLOSES = timedelta(hours=2)  # after a day's end: then the last of its events has come, or comes too late


def last_closed(now: datetime) -> int:
    """Return the last day that is closed, days since 1970: at 02:00 UTC the day before is."""
    return day_number((now.astimezone(UTC) - CLOSES).date()) - 1


def start_of(day: int) -> datetime:
    """Return the moment at which a day begins."""
    return datetime.combine(day_of(day), time(), UTC)


@dataclass
class Done:
    """What a run released, and what it could not: (table, first day)."""

    released: list[tuple[str, int]] = field(default_factory=list)
    refused: list[tuple[str, int]] = field(default_factory=list)  # the budget of these days has no room
    failed: list[tuple[str, int, str]] = field(default_factory=list)


class Releases:
    """Releases what is due. Any number of processes may try at once: each table is drawn and paid once."""

    def __init__(
        self,
        budget: SpendStore,
        tally: Tally,
        days: CatalogDays,
        now: Callable[[], datetime],
        tables: Sequence[Table] = TABLES,
    ) -> None:
        self._budget, self._tally, self._days, self._now, self._tables = budget, tally, days, now, tables
        self._draw: Draw = draw

    def of(self, tables: Sequence[Table], draw: Draw) -> Releases:
        """Return what releases these tables alone, drawn otherwise: for a proof, on a copy."""
        other = Releases(self._budget, self._tally, self._days, self._now, tables)
        other._draw = draw
        return other

    def due(self, since: int) -> list[int]:
        """Return the closed days from `since` on with tables that are not there and could be: events and budget are."""
        last = last_closed(self._now())
        first = max(since, oldest_kept(self._now()))
        return [
            day for day in range(first, last + 1) if any(self._has_room(*one) for one in self._missing(day))
        ]

    def release(self, day: int) -> Done:
        """Release what is missing of a day: its tables, and the long ones that end with it.

        Raises ReleaseError for a day that is not closed or whose events are deleted; NoiseError, StoreError and
        ReportError where a part is missing: then the next run goes on where this one ended.
        """
        now = self._now()
        if not oldest_kept(now) <= day <= last_closed(now):
            raise ReleaseError(
                f"{day_of(day)}: got a day that is not closed or long over, expected one from "
                f"{day_of(oldest_kept(now))} to {day_of(last_closed(now))}"
            )
        done = Done()
        ready = []
        for table, first in self._missing(day):
            if self._has_room(table, first):
                ready.append((table, first))
            else:
                done.refused.append((table.name, first))
        for days in (1, *{table.days for table, _ in ready} - {1}):
            self._release([one for one in ready if one[0].days == days], done)
        return done

    def _missing(self, day: int) -> Iterator[tuple[Table, int]]:
        for table in self._tables:
            period = period_of(table, day)
            if day == period[-1] and not self._budget.keeps(query_of(table, day)):
                # Of a period that nobody closed in time, what is left is told.
                yield table, max(period[0], oldest_kept(self._now()))

    def _has_room(self, table: Table, first: int) -> bool:
        return all(
            self._budget.spent(charge.scope) + charge.micro_epsilon <= charge.cap
            for charge in charges(table, first)
        )

    def _release(self, wanted: Sequence[tuple[Table, int]], done: Done) -> None:
        """Release tables of one period."""
        if not wanted:
            return
        tables = [table for table, _ in wanted]
        for table in tables:
            table.noise()  # without noise nothing need be counted
        period = rest_of(tables[0], wanted[0][1])
        keys = keys_of(self._days, start_of(period[0]), start_of(period[-1] + 1))
        firsts = {table.name: (table, first) for table, first in wanted}
        drawn: list[tuple[Table, int, Future[bytes]]] = []
        with ThreadPoolExecutor(DRAWN_AT_ONCE) as drawers:  # noise is drawn outside the interpreter
            for name, counts in self._counts(period, tables):  # of a table while the next is counted
                table, first = firsts[name]
                body = drawers.submit(self._draw, table, first, keys.axes(table), counts)
                drawn.append((table, first, body))
            for table, first, body in drawn:
                self._release_one(table, first, body, done)

    def _release_one(self, table: Table, first: int, body: Future[bytes], done: Done) -> None:
        """Pay for a table and keep it, in one step; where it is not paid for, what was drawn is never told."""
        try:
            drawn = body.result()  # before the ledger is held: others write meanwhile
            self._budget.spend(query_of(table, first), charges(table, first), lambda: drawn)
            done.released.append((table.name, first))
        except BudgetSpent:
            done.refused.append((table.name, first))
        except ReleaseError as error:  # of this table alone
            log.error("release: %s", error)
            done.failed.append((table.name, first, str(error)))

    def _counts(self, period: range, tables: Sequence[Table]) -> Iterator[tuple[str, Cells]]:
        if len(period) == 1:
            yield from self._tally(period[0], tables)
            return
        sums: dict[str, Counter[Key]] = {table.name: Counter() for table in tables}
        for day in period:
            for name, cells in self._tally(day, tables):
                sums[name].update(cells)
        yield from sums.items()
