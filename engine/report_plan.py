"""What reports will be able to tell, before anything is booked; where a campaign stands; what there will be to show.

All of it follows from public numbers: the noise of the workload, the catalogue, and tables that were released.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from statistics import NormalDist, fmean, variance
from typing import Literal

from engine.campaign import Campaign
from engine.errors import QueryRefused
from engine.releases import start_of
from engine.report import FLOOR, Released, answer, ask
from engine.report import MOST_DAYS as LONGEST
from privacy.margins import Drawn, margin
from privacy.workload import MONTH, table

LEVEL, POWER = 0.05, 0.8  # of the comparison of two creatives
HORIZONS = (1, 7, 14, 28, 56, 84)  # days
MOST_DAYS = 3650  # beyond, no campaign waits
LEAST = 1e-15  # of a CTR and a lift: smaller ones lead out of what can be computed with
LAG = 0.9  # of what was due so far: below, a campaign is behind
LOOKED_BACK = 28  # days of a forecast

_Z = NormalDist().inv_cdf(1 - LEVEL / 2) + NormalDist().inv_cdf(POWER)


@dataclass(frozen=True, slots=True)
class Horizon:
    """What so many days tell of one creative, and of the difference between two alike."""

    days: int
    margin95: int  # of the impressions
    relative_margin: float  # of them
    smallest_lift: float  # of the CTR, relative, found in 80 of 100 cases


@dataclass(frozen=True, slots=True)
class Plan:
    """What reports will tell of creatives with so many impressions a day."""

    impressions: int  # a day
    ctr: float
    horizons: tuple[Horizon, ...]
    lift: float
    days_needed: int | None  # until this lift would be found; None: not in ten years


def plan(impressions: int, ctr: float, lift: float) -> Plan:
    """Work it out. Raises QueryRefused for numbers that cannot be."""
    if not 1 <= impressions <= 10**12:
        raise QueryRefused("impressions", "a number out of range", "from 1 to 1,000,000,000,000 a day")
    if not LEAST <= ctr < 1:
        raise QueryRefused("ctr", "a number out of range", "more than 0, less than 1, such as 0.005")
    if not LEAST <= lift <= 100:
        raise QueryRefused("lift", "a number out of range", "more than 0, at most 100, such as 0.2")
    told = []
    for days in HORIZONS:
        wide = margin(_drawn("creatives", "creatives-28", days))
        found = _smallest_lift(impressions, ctr, days)
        told.append(Horizon(days, wide, wide / (impressions * days), found))
    return Plan(impressions, ctr, tuple(told), lift, _days_needed(impressions, ctr, lift))


def _drawn(day: str, long: str, days: int) -> list[Drawn]:
    """Give the noise in the sum of so many days: of long tables as often as they fit."""
    daily, monthly = table(day).noise(), table(long).noise()
    return [
        Drawn(monthly.mechanism, monthly.scale, days // MONTH),
        Drawn(daily.mechanism, daily.scale, days % MONTH),
    ]


def _smallest_lift(impressions: int, ctr: float, days: int) -> float:
    shown = impressions * days
    noise = sum(d.variance for d in _drawn("clicks", "clicks-28", days))
    noise += ctr * ctr * sum(d.variance for d in _drawn("creatives", "creatives-28", days))
    spread = ctr * (1 - ctr) / shown + noise / shown**2
    return _Z * sqrt(2 * spread) / ctr


def _days_needed(impressions: int, ctr: float, lift: float) -> int | None:
    """Return the first number of days that tell the lift: whole periods of 28 tell more than a few days beyond."""
    days = range(1, MOST_DAYS + 1)
    return next((day for day in days if _smallest_lift(impressions, ctr, day) <= lift), None)


# --- where a campaign stands ---


@dataclass(frozen=True, slots=True)
class State:
    """Where a campaign stands today, as coarsely as it may be told on the same day."""

    state: Literal["on track", "behind", "stopped"]
    why: str


@dataclass(frozen=True, slots=True)
class Spent:
    """Whether a campaign's budgets are used up, in all and for today: what serving stops at."""

    total: bool = False
    today: bool = False


def state_of(campaign: Campaign, spent: Spent, released: Released, closed: int, now: datetime) -> State:
    """Say where a campaign stands, by the catalogue, its budgets, and the tables released up to the last closed day."""
    flight = campaign.flight
    if campaign.status == "paused":
        return State("stopped", "it is paused")
    if flight.start is not None and now < flight.start:
        return State("stopped", "its flight has not begun")
    if flight.end is not None and now >= flight.end:
        return State("stopped", "its flight is over")
    if spent.total:
        return State("stopped", "its budget is spent")
    if spent.today:
        return State("stopped", "the budget of this day is spent")
    if _is_behind(campaign, released, closed):
        return State("behind", "by the last released day, less was shown than its budget and flight ask for")
    return State("on track", "nothing keeps it from running")


def _is_behind(campaign: Campaign, released: Released, closed: int) -> bool:
    flight, price, place = campaign.flight, campaign.cpm_micros / 1000, 0
    if campaign.cpc_micros:
        price, place = float(campaign.cpc_micros), 1
    if flight.start is None or flight.end is None or flight.budget_micros is None or not price:
        return False
    first, end = _whole_days(flight.start), start_of(closed + 1)
    begun = start_of(first)
    if end <= begun or flight.end <= begun:
        return False
    due = flight.budget_micros * ((min(end, flight.end) - begun) / (flight.end - begun))
    most = 0
    try:
        for day in range(first, closed + 1, LONGEST):  # a flight may be longer than a report
            last, where = min(day + LONGEST - 1, closed), {"campaign": [campaign.id]}
            told = answer(released, ask("creatives", day, last, by=["campaign"], where=where), closed)
            if told.rows:
                shown = told.rows[0].values[place]
                most += shown.value + shown.margin95
    except QueryRefused:  # days without releases say nothing
        return False
    return most * price < LAG * due


def _whole_days(start: datetime) -> int:
    day = (start - start_of(0)) // timedelta(days=1)
    return day if start_of(day) == start else day + 1


# --- what there will be to show ---


@dataclass(frozen=True, slots=True)
class Forecast:
    """What so many days will bring if they are like the last ones; the interval holds in 95 of 100 cases."""

    key: tuple[str, ...]
    expected: int
    low: int
    high: int


def forecast(
    released: Released, report: str, closed: int, days: int, where: Mapping[str, Sequence[str]]
) -> Iterator[Forecast]:
    """Foretell a report's first measure for the coming days, from up to 28 released ones. Raises QueryRefused."""
    if not 1 <= days <= 365:
        raise QueryRefused("days", "a number out of range", "from 1 to 365")
    known = ask(report, closed, closed).report
    daily = table(known.measures[0].day)
    if daily.days > 1:
        raise QueryRefused(
            "report", f"one by periods of {daily.days} days", "a report of days, such as topics"
        )
    there = released.days(daily, closed)[-LOOKED_BACK:]
    if len(there) < 2:
        raise QueryRefused(
            "report", "fewer than two released days", "a day after the second release", now=True
        )
    query = ask(report, there[0], there[-1], where=where)
    by_key: dict[tuple[str, ...], list[int]] = {}
    for place, day in enumerate(there):
        release = released.table(daily, day)
        for cell, count in release.where(known.measures[0].narrowed(query.where)) if release else ():
            by_key.setdefault(cell[: len(known.dims)], [0] * len(there))[place] = count
    for key, counts in sorted(by_key.items()):
        mean, spread = fmean(counts), variance(counts)
        off = 1.96 * sqrt(spread * (days + days * days / len(counts)))
        low, high = max(0, round(mean * days - off)), max(0, round(mean * days + off))
        if mean * days >= FLOOR:
            yield Forecast(key, round(mean * days), low, high)
