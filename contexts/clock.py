"""The hour as the publisher's readers feel it: part of day, weekday, season, daylight, public holiday.

An instant becomes local time, never the other way round: no hour is missing or doubled when clocks change.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import holidays
from astral import Observer
from astral.sun import elevation

from contexts.context import (
    SEASONS,
    WEEKDAYS,
    ClockFacts,
    Daylight,
    PartOfDay,
    PlaceFacts,
    Season,
)
from contexts.errors import FactError
from contexts.place import Atlas, PlaceCode, Point, codes

TROPIC_DEG = 23.44  # between the tropics the months make no seasons
YEARS = (1970, 2199)  # what a stated time may lie in

# Local hours at which the parts of a day begin; what comes before the first is night.
_BEGINNINGS: tuple[tuple[int, PartOfDay], ...] = (
    (5, "morning"),
    (10, "midday"),
    (14, "afternoon"),
    (18, "evening"),
    (23, "night"),
)
# Of feasts that go by the moon: on the day itself, as far as it can be told beforehand.
_ESTIMATED = re.compile(r"(?: \(estimated\)|(?<=observed), estimated)")
_CACHED = 10_000  # minutes of zones and places; forgotten all at once

log = logging.getLogger(__name__)


class Clock:
    """Tells the time in any IANA zone. On the request path a zone's file is read once, and nothing else."""

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas
        self._zones: dict[str, ZoneInfo | None] = dict.fromkeys(
            available_timezones() - {"localtime", "Factory"}  # the machine's own, and the one for "not set"
        )
        self._holidays: dict[PlaceCode, dict[date, str]] = {}
        self._told: dict[tuple[str, str | None, str | None, int], ClockFacts] = {}

    def prepare(self, places: Iterable[PlaceFacts], now: datetime) -> None:
        """Work out the public holidays of these places for last year, this and the next.

        Takes up to 0.2 s a country: call it at start and once in a while, never on the request path.
        Elsewhere and in other years no holiday is known.
        """
        years = _years_around(now.year)
        known: dict[PlaceCode, dict[date, str]] = {}
        for place in places:
            for code in codes(place):
                if code not in known and (days := _public_holidays(code, years)) is not None:
                    known[code] = days
        self._holidays = known
        self._told = {}
        log.info("holidays prepared", extra={"places": len(known), "first_year": years[0]})

    def facts(self, at: datetime, timezone: str, place: PlaceFacts) -> ClockFacts:
        """Return what `at` is in the zone and place, to the minute. `at` is aware.

        Raises FactError for a time without an offset or outside of YEARS, and for a zone that is not known.
        """
        if at.tzinfo is None:
            raise FactError("time.at", at.isoformat(), "a time with an offset from UTC")
        if not YEARS[0] < at.year < YEARS[1]:
            raise FactError("time.at", at.isoformat(), f"a year after {YEARS[0]} and before {YEARS[1]}")
        minute = int(at.timestamp() // 60)
        key = (timezone, place.country, place.region, minute)
        cache = self._told  # prepare() swaps it; what was told before must not get into the new one
        told = cache.get(key)
        if told is None:
            told = self._tell(datetime.fromtimestamp(minute * 60, UTC), self._zone(timezone), place)
            if len(cache) >= _CACHED:
                cache = self._told = {}
            cache[key] = told
        return told

    def check(self, timezone: str, field: str = "time.timezone") -> None:
        """Raise FactError where the zone is not known."""
        if timezone not in self._zones:
            raise FactError(field, timezone, "an IANA time zone such as Europe/Berlin")

    def _zone(self, timezone: str) -> ZoneInfo:
        self.check(timezone)
        zone = self._zones[timezone]
        if zone is None:
            zone = self._zones[timezone] = ZoneInfo(timezone)
        return zone

    def _tell(self, at: datetime, zone: ZoneInfo, place: PlaceFacts) -> ClockFacts:
        local = at.astimezone(zone)
        point = self._atlas.point(place)
        days = next((self._holidays[code] for code in codes(place) if code in self._holidays), {})
        return ClockFacts(
            at=local,
            part=part_of_day(local.hour),
            weekday=WEEKDAYS[local.weekday()],
            season=season(local.month, point.latitude) if point else None,
            daylight=daylight(at, point) if point else None,
            holiday=days.get(local.date()),
        )


def names_of(holiday: str) -> tuple[str, ...]:
    """Return the names of what a day is called after: two on one day are two, an estimated one is also what it is."""
    found: list[str] = []
    for name in holiday.split(";"):
        found.append(name.strip())
        if (plain := _ESTIMATED.sub("", name).strip()) != name.strip():
            found.append(plain)
    return tuple(found)


@cache
def holidays_near(code: PlaceCode, year: int) -> frozenset[str]:
    """Return the names of a place's public holidays of last year, this and the next, as a `Clock` is prepared."""
    days = _public_holidays(code, _years_around(year)) or {}
    return frozenset(name for holiday in days.values() for name in names_of(holiday))


def part_of_day(hour: int) -> PartOfDay:
    """Return the part of day of a local hour, 0 to 23."""
    return next((part for start, part in reversed(_BEGINNINGS) if hour >= start), "night")


def season(month: int, latitude: float) -> Season | None:
    """Return the meteorological season, which turns on the first of March, June, September and December."""
    if abs(latitude) < TROPIC_DEG:
        return None
    quarter = month % 12 // 3 - 1  # -1: December to February, 0: March to May
    return SEASONS[(quarter + (2 if latitude < 0 else 0)) % 4]


def daylight(at: datetime, point: Point) -> Daylight:
    """Return the light by the height of the sun at an instant, to the poles."""
    degrees = elevation(Observer(point.latitude, point.longitude), at)
    if degrees > 6:
        return "day"
    if degrees > -0.833:  # its upper edge stands above the horizon
        return "golden"
    return "twilight" if degrees > -6 else "night"


def _years_around(year: int) -> range:
    return range(year - 1, year + 2)


def _public_holidays(code: PlaceCode, years: Iterable[int]) -> dict[date, str] | None:
    country, _, region = code.partition("-")
    try:
        if region and region not in holidays.country_holidays(country).subdivisions:
            return None  # it has no holidays of its own: the country's count
        return dict(holidays.country_holidays(country, region or None, years=years, language="en_US"))
    except NotImplementedError:  # the package does not know the country
        return None
