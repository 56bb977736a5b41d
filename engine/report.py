"""Reports: sums and slices of released tables, with margins. They cost nothing more, and look at no event.

A row is told where its noisy count is at least FLOOR; what is below is summed into the smallest row above it that
is. Sums are of signed counts, as they were drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from engine.errors import QueryRefused
from privacy.budget import QueryId, SpendStore
from privacy.margins import Drawn, margin
from privacy.release import Key, Release, charges, day_number, day_of, period_of, query_of
from privacy.workload import CONSENTED, TABLES, Table, table, total

FLOOR = 50  # a noisy count below is not told by itself
MOST_DAYS = 400  # of one report
MOST_RELEASES = 256  # that a process keeps in memory
FIRST, LAST = 0, day_number(date(9998, 12, 31))  # days that may be asked for: others have no whole periods
DAY = "day"  # a dimension of every report, whose values are dates
BONFERRONI = 0.025  # of each part of a ratio, so that both hold in 95 of 100


class Measure(NamedTuple):
    """A column of numbers: from a table of days, or of 28 where no days are told, and one of 28 beside that of days.

    `only` is the value of the table's dimension that no report has: of the others nothing is summed.
    """

    name: str
    day: str
    long: str | None = None
    only: tuple[str, str] | None = None

    def narrowed(self, where: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
        """Return what of the table's cells is summed where `where` is asked."""
        return where if self.only is None else {**where, self.only[0]: frozenset({self.only[1]})}


@dataclass(frozen=True, slots=True)
class Report:
    """What may be asked for. `owner` is the dimension that has a tenant.

    A row needs FLOOR of the first measure; where the fill is told, of what was asked for: the first two together.
    """

    name: str
    says: str
    dims: tuple[str, ...]
    measures: tuple[Measure, ...]
    owner: str | None = None
    ctr: bool = False  # the second measure over the first is told, too
    fill: bool = False  # the first measure over the first two is told, too

    @property
    def unit(self) -> str:
        """Say what is protected."""
        return table(self.measures[0].day).unit

    @property
    def lost_in_all(self) -> int:
        """Return the micro-epsilon that a unit loses to all that is released of it."""
        return total(one for one in (*TABLES, *CONSENTED) if one.unit == self.unit)

    @property
    def is_daily(self) -> bool:
        """Say whether days are told; otherwise periods."""
        return all(table(measure.day).days == 1 for measure in self.measures)


REPORTS: Mapping[str, Report] = {
    report.name: report
    for report in (
        Report(
            "creatives",
            "impressions and clicks of campaigns and their creatives",
            ("campaign", "creative"),
            (Measure("impressions", "creatives", "creatives-28"), Measure("clicks", "clicks", "clicks-28")),
            "campaign",
            ctr=True,
        ),
        Report(
            "contexts",
            "impressions of campaigns by the page's topic (first tier)",
            ("campaign", "topic"),
            (Measure("impressions", "contexts"),),
            "campaign",
        ),
        Report(
            "sections",
            "impressions, placements that stayed empty, and revenue by section",
            ("publisher", "section"),
            (
                Measure("impressions", "placements", only=("outcome", "shown")),
                Measure("unfilled", "placements", only=("outcome", "unfilled")),
                Measure("revenue_micros", "revenue"),
            ),
            "publisher",
            fill=True,
        ),
        Report(
            "topics", "impressions by topic, of all sites", ("topic",), (Measure("impressions", "topics"),)
        ),
        Report(
            "votes",
            "what readers said of campaigns: not relevant, or too personal; in periods of 28 days",
            ("campaign", "vote"),
            (Measure("votes", "votes-28"),),
            "campaign",
        ),
        Report(
            "conversions",
            "what consenting readers did at the advertiser's after a click, where that is told by click",
            ("campaign", "creative"),
            (Measure("conversions", "conversions"),),
            "campaign",
        ),
        Report(
            "moments",
            "page views by device, part of the day and weather",
            ("publisher", "device", "part", "weather"),
            (Measure("page_views", "moments"),),
            "publisher",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Query:
    """A question, checked: days since 1970, both included; `where` holds the values that a dimension may have."""

    report: Report
    first: int
    last: int
    by: tuple[str, ...]
    where: Mapping[str, frozenset[str]] = field(default_factory=dict)


class Value(NamedTuple):
    """A noisy number: the true one lies within the margin with a probability of 95 %."""

    value: int
    margin95: int


class Ratio(NamedTuple):
    """A part of a whole: the true ratio lies from `low` to `high` with a probability of 95 % or more."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a report. A key of None stands for all values that were below the floor; `merged` says how many."""

    key: tuple[str | None, ...]
    values: tuple[Value, ...]
    ctr: Ratio | None = None
    merged: int = 0
    fill: Ratio | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A report, with what it is worth and what it cost a page view."""

    query: Query
    rows: tuple[Row, ...]
    total: Row | None  # None: below the floor as well
    withheld: int  # rows below the floor, together with all that they could be summed into
    micro_epsilon: int  # that one page view lost to the tables that were read
    mechanisms: tuple[str, ...]
    delta: float
    releases: tuple[QueryId, ...]
    untold: int = 0  # days of which nothing is told: their events were gone before the period was released


def ask(
    report: str,
    first: int,
    last: int,
    by: Iterable[str] | None = None,
    where: Mapping[str, Iterable[str]] | None = None,
) -> Query:
    """Check a question by what there is to ask, whatever was released. Raises QueryRefused."""
    known = REPORTS.get(report)
    if known is None:
        raise QueryRefused("report", "another name", f"one of {', '.join(REPORTS)}")
    allowed = (*known.dims, DAY)
    asked = known.dims if by is None else tuple(by)
    if len(set(asked)) != len(asked) or not set(asked) <= set(allowed):
        raise QueryRefused("by", "another dimension, or one twice", f"some of {', '.join(allowed)}")
    wanted = {dim: frozenset(values) for dim, values in (where or {}).items()}
    if not wanted.keys() <= set(known.dims):
        raise QueryRefused("where", "another dimension", f"some of {', '.join(known.dims)}")
    if not first <= last:
        raise QueryRefused("to", "a day before the first", f"{day_of(first)} or later")
    if last - first >= MOST_DAYS:
        raise QueryRefused("to", f"{last - first + 1} days", f"at most {MOST_DAYS} days")
    if first < FIRST or last > LAST:
        raise QueryRefused("from", "days out of range", f"days from {day_of(FIRST)} to {day_of(LAST)}")
    ordered = tuple(dim for dim in (DAY, *known.dims) if dim in asked)  # spellings share one question
    return Query(known, first, last, ordered, wanted)


class Released:
    """The released tables, by day. Nothing is drawn or spent here."""

    def __init__(self, budget: SpendStore) -> None:
        self._budget = budget
        self._there: set[QueryId] = set()
        self._read = lru_cache(MOST_RELEASES)(self._parse)

    def table(self, wanted: Table, day: int) -> Release | None:
        """Return the release that holds a day, None where there is none."""
        query = query_of(wanted, day)
        try:
            return self._read(query)
        except KeyError:
            return None

    def days(self, wanted: Table, closed: int) -> range:
        """Return the last whole periods in a row that were released, up to the last closed day: what may be asked."""
        last = next((day for day in range(closed, closed - MOST_DAYS, -1) if self._has(wanted, day)), None)
        if last is None:
            return range(0)
        first = period_of(wanted, last)[0]
        while last - first + wanted.days < MOST_DAYS and self._has(wanted, first - 1):
            first -= wanted.days
        return range(first, last + 1)

    def body(self, query: QueryId) -> bytes | None:
        """Return the bytes of a release, whose hash is in the log."""
        return self._budget.kept(query)

    def is_spent(self, wanted: Table, day: int) -> bool:
        """Say whether the ledger has no room for the release that holds a day: it will never come."""
        charged = charges(wanted, period_of(wanted, day)[0])
        return not self._has(wanted, day) and any(
            self._budget.spent(one.scope) + one.micro_epsilon > one.cap for one in charged
        )

    def _has(self, wanted: Table, day: int) -> bool:
        query = query_of(wanted, day)
        if query not in self._there and self._budget.keeps(query):
            self._there.add(query)  # for ever
        return query in self._there

    def _parse(self, query: QueryId) -> Release:
        body = self._budget.kept(query)
        if body is None:
            raise KeyError(query)  # and nothing is remembered
        return Release.read(body)


def latest(released: Released, wanted: Table, closed: int, days: int = 7) -> Release | None:
    """Return the newest release of a table, of the last so many closed days; None where there is none."""
    found = (released.table(wanted, day) for day in range(closed, closed - days, -1))
    return next((one for one in found if one is not None), None)


def answer(released: Released, query: Query, closed: int) -> Answer:
    """Answer from released tables. Raises QueryRefused where a day is missing; `closed` is the last closed day."""
    sums: dict[Key, list[_Sum]] = {}
    read: dict[QueryId, Release] = {}
    told = 0
    for place, measure in enumerate(query.report.measures):
        for part in _parts(released, query, measure, closed):
            read[query_of(table(part.table), part.first)] = part
            if not place:
                told += part.days
            named = part.dims
            for cell, count in part.where(measure.narrowed(query.where)):
                values = dict(zip(named, cell, strict=True)) | {DAY: day_of(part.first).isoformat()}
                key = tuple(values[dim] for dim in query.by)
                row = sums.get(key)
                if row is None:
                    row = sums[key] = [_Sum() for _ in query.report.measures]
                row[place].add(count, part.noise)
    rows, withheld = _told(sums, len(query.by), query.report)
    total = _summed(sums.values(), len(query.report.measures))
    whole = _row(tuple(None for _ in query.by), total, len(sums), query.report)
    return Answer(
        query,
        tuple(rows),
        whole if _is_told(total, query.report) else None,
        withheld,
        sum({release.table: release.micro_epsilon for release in read.values()}.values()),
        tuple(sorted({release.mechanism for release in read.values()})),
        sum({release.table: release.delta for release in read.values()}.values()),
        tuple(sorted(read)),
        query.last - query.first + 1 - told,
    )


class _Sum:
    """A sum of noisy counts, with the noise in it."""

    __slots__ = ("count", "noise")

    def __init__(self) -> None:
        self.count = 0
        self.noise: Counter[Drawn] = Counter()

    def add(self, count: int, noise: Drawn) -> None:
        self.count += count
        self.noise[noise] += 1

    def take(self, other: _Sum) -> None:
        self.count += other.count
        self.noise.update(other.noise)

    def margin(self, alpha: float = 0.05) -> int:
        return margin((Drawn(one.mechanism, one.scale, n) for one, n in self.noise.items()), alpha)


def _parts(released: Released, query: Query, measure: Measure, closed: int) -> Iterator[Release]:
    """Yield the releases that tile the days of a question: long ones where they fit in and are there."""
    daily = table(measure.day)
    long = table(measure.long) if measure.long and DAY not in query.by else None
    missing: list[int] = []
    day = query.first
    if daily.days > 1:
        _require_whole(daily, query, released.days(daily, closed))
    whole: Release | None = None
    while day <= query.last:
        if long is not None and day >= 0 and (day == query.first or day % long.days == 0):
            whole = released.table(long, day)
        if whole is not None and whole.first == day and day + whole.days - 1 <= query.last:
            yield whole
            day += whole.days
            continue
        release = released.table(daily, day)
        if release is None:
            missing.append(day)
        else:
            yield release
        day += daily.days
    if missing:
        raise _missing(released, daily, missing, closed)


def _require_whole(told: Table, query: Query, there: range) -> None:
    """Refuse days that are not whole periods of a table: of a part of one nothing is told. Raises QueryRefused."""
    first, end = period_of(told, query.first), period_of(told, query.last)
    if DAY in query.by:
        raise QueryRefused("by", DAY, f"other dimensions: this is told by periods of {told.days} days")
    if (query.first, query.last) != (first[0], end[-1]):
        whole = there or range(first[0], end[-1] + 1)
        expected = f"whole periods of {told.days} days, such as {day_of(whole[0])} to {day_of(whole[-1])}"
        raise QueryRefused("from", f"{day_of(query.first)} to {day_of(query.last)}", expected)


def _missing(released: Released, daily: Table, days: Sequence[int], closed: int) -> QueryRefused:
    if days[-1] > closed:
        return QueryRefused(
            "to", f"{day_of(days[-1])}, which is not closed yet", f"a day up to {day_of(closed)}", now=True
        )
    range_ = released.days(daily, closed)
    expected = (
        f"days from {day_of(range_[0])} to {day_of(range_[-1])}"
        if range_
        else "days that were released: there are none yet"
    )
    spent = any(released.is_spent(daily, day) for day in days)
    why = "whose privacy budget is spent" if spent else "which was not released"
    return QueryRefused("from", f"{day_of(days[0])}, {why}", expected, now=True)


_Below = dict[tuple[str | None, ...], tuple[list[_Sum], int]]


def _told(sums: Mapping[Key, list[_Sum]], width: int, report: Report) -> tuple[list[Row], int]:
    """Give the rows that are told, and how many are left out because nothing above them reaches the floor."""
    rows: list[Row] = []
    below: _Below = {key: (row, 1) for key, row in sums.items()}
    for kept in range(width, -1, -1):
        upper: dict[tuple[str | None, ...], list[tuple[list[_Sum], int]]] = {}
        for key, part in below.items():
            upper.setdefault((*key[:kept], *[None] * (width - kept)), []).append(part)
        below = {}
        for key, parts in upper.items():
            row = parts[0][0] if len(parts) == 1 else _summed((r for r, _ in parts), len(parts[0][0]))
            merged = sum(many for _, many in parts)
            if _is_told(row, report):
                rows.append(_row(key, row, merged if kept < width else 0, report))
            else:
                below[key] = row, merged
    rows.sort(key=lambda row: tuple((part is None, part or "") for part in row.key))
    return rows, sum(merged for _, merged in below.values())


def _is_told(row: Sequence[_Sum], report: Report) -> bool:
    return sum(one.count for one in row[: 2 if report.fill else 1]) >= FLOOR


def _summed(rows: Iterable[Sequence[_Sum]], measures: int) -> list[_Sum]:
    total = [_Sum() for _ in range(measures)]
    for row in rows:
        for whole, one in zip(total, row, strict=True):
            whole.take(one)
    return total


def _row(key: tuple[str | None, ...], sums: Sequence[_Sum], merged: int, report: Report) -> Row:
    values = tuple(Value(one.count, one.margin()) for one in sums)
    return Row(
        key, values, _ctr(*sums) if report.ctr else None, merged, _fill(*sums[:2]) if report.fill else None
    )


def _ctr(shown: _Sum, clicked: _Sum) -> Ratio | None:
    """Give clicks per impression with an interval, where the impressions are surely above the floor."""
    wide, narrow = shown.margin(BONFERRONI), clicked.margin(BONFERRONI)
    if shown.count - wide < FLOOR:
        return None
    low = max(0.0, (clicked.count - narrow) / (shown.count + wide))
    high = min(1.0, max(0.0, (clicked.count + narrow) / (shown.count - wide)))
    return Ratio(min(1.0, max(0.0, clicked.count / shown.count)), low, high)


def _fill(shown: _Sum, unfilled: _Sum) -> Ratio | None:
    """Give what was shown of what was asked for with an interval, where that is surely above the floor."""
    wide, narrow = shown.margin(BONFERRONI), unfilled.margin(BONFERRONI)
    if shown.count - wide + unfilled.count - narrow < FLOOR:
        return None
    most, least = (max(0, shown.count + sign * wide) for sign in (1, -1))
    empty, full = (max(0, unfilled.count + sign * narrow) for sign in (1, -1))
    seen, left = max(0, shown.count), max(0, unfilled.count)
    return Ratio(seen / (seen + left), least / (least + empty), most / (most + full))
