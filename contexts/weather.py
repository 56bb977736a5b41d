"""Weather in buckets: as the caller states it, or from a table that a timer refreshes.

The table holds a fixed set of places, those of the registered publishers. A visit reads it and never causes a
look-up, so that what goes to a weather service says nothing about visits.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

from contexts.context import CONDITIONS, Condition, PlaceFacts, Temperature, WeatherFacts
from contexts.errors import FactError, WeatherSourceError
from contexts.place import PlaceCode, Point, codes
from privacy.visit import WeatherInput

COLDEST_C, HOTTEST_C = -100.0, 70.0  # no air on Earth was ever measured outside of these

_FIRST_RETRY_S = 60.0  # doubled with every further failure, up to the usual interval

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source says of one place. `at` is aware: the instant for which it holds."""

    condition: Condition | None
    temperature: Temperature | None
    at: datetime
    temperature_c: float | None = None  # in whole degrees
    wind_ms: float | None = None  # in whole metres a second


@dataclass(frozen=True, slots=True)
class Round:
    """What came of asking a source for every place once."""

    readings: Mapping[PlaceCode, Reading]
    faults: tuple[WeatherSourceError, ...] = ()


class Source(Protocol):
    """Knows the weather of places."""

    @property
    def name(self) -> str:
        """Name for logs."""

    def read(self, points: Mapping[PlaceCode, Point], now: datetime) -> Round:
        """Return readings for as many of the places as can be had, and what went wrong with the others.

        Raises nothing of its own accord: whatever the source answers ends as readings or as faults.
        """


@dataclass(frozen=True, slots=True)
class WeatherQuality:
    """How well the table is doing."""

    watched: int  # places
    known: int  # of them, with a confidence above 0
    oldest_s: float | None  # age of the oldest known reading
    failures: int  # rounds in a row that brought nothing
    last_fault: str | None


def band(temperature_c: float) -> Temperature:
    """Return the bucket of a temperature."""
    if temperature_c <= 0:
        return "freezing"
    if temperature_c < 10:
        return "cold"
    if temperature_c < 20:
        return "mild"
    return "warm" if temperature_c < 28 else "hot"


def stated(weather: WeatherInput) -> WeatherFacts | None:
    """Return the buckets of what the caller states; None where it states nothing.

    Raises FactError for a word that is no condition, and for a temperature that no air has.
    """
    if weather.condition is None and weather.temperature_c is None and weather.wind_ms is None:
        return None
    condition = next((known for known in CONDITIONS if known == weather.condition), None)
    if weather.condition is not None and condition is None:
        raise FactError("weather.condition", weather.condition, f"one of {', '.join(CONDITIONS)}")
    temperature = _stated_band(weather.temperature_c)
    return WeatherFacts(condition, temperature, 1.0, weather.temperature_c, weather.wind_ms)


def confidence(age_s: float, ttl_s: float) -> float:
    """Return 1 up to an age of `ttl_s`, then fall in a straight line to 0 at three times that."""
    return min(1.0, max(0.0, (3 * ttl_s - age_s) / (2 * ttl_s)))


class WeatherTable:
    """The last reading of each watched place. Reading it takes no lock: the tables are replaced whole."""

    def __init__(self, source: Source, ttl_s: float = 3600.0, interval_s: float = 900.0) -> None:
        self._source = source
        self._ttl_s = ttl_s
        self._interval_s = interval_s
        self._points: Mapping[PlaceCode, Point] = {}
        self._readings: Mapping[PlaceCode, Reading] = {}
        self._failures = 0
        self._last_fault: str | None = None

    def watch(self, points: Mapping[PlaceCode, Point]) -> None:
        """Set the places to know the weather of: those of the publishers, never those of visits."""
        self._points = MappingProxyType(dict(points))

    def facts(self, place: PlaceFacts, now: datetime) -> WeatherFacts | None:
        """Return the weather of the region, else of the country; None where it is unknown or too old."""
        readings = self._readings
        for code in codes(place):
            reading = readings.get(code)
            if reading is not None and (sure := self._confidence(reading, now)) > 0:
                return WeatherFacts(
                    reading.condition, reading.temperature, sure, reading.temperature_c, reading.wind_ms
                )
        return None

    def refresh(self, now: datetime) -> bool:
        """Ask the source once for every watched place; say whether anything came."""
        points = self._points
        got = self._source.read(points, now)
        kept = {code: reading for code, reading in self._readings.items() if code in points}
        self._readings = MappingProxyType(
            kept | {code: reading for code, reading in got.readings.items() if code in points}
        )
        for fault in got.faults:
            log.warning("weather source at fault", extra={"source": fault.source, "reason": fault.reason})
        self._last_fault = str(got.faults[-1]) if got.faults else None
        failed = bool(points) and not got.readings
        self._failures = self._failures + 1 if failed else 0
        log.info("weather refreshed", extra={"places": len(points), "readings": len(got.readings)})
        return not failed

    def run(self, stop: threading.Event, now: Callable[[], datetime], jitter_s: Callable[[], float]) -> None:
        """Refresh until `stop` is set: every interval, after a failure sooner, each time `jitter_s` later."""
        while not stop.is_set():
            try:
                self.refresh(now())
            except Exception:  # the timer outlives a faulty source; its readings fade meanwhile
                log.exception("weather refresh failed", extra={"source": self._source.name})
                self._failures += 1
            stop.wait(self._wait_s() + jitter_s())

    def quality(self, now: datetime) -> WeatherQuality:
        """Return how many places are known, how old they are and what went wrong last."""
        points, readings = self._points, self._readings
        ages = [
            (now - reading.at).total_seconds()
            for code, reading in readings.items()
            if code in points and self._confidence(reading, now) > 0
        ]
        return WeatherQuality(
            len(points), len(ages), max(ages, default=None), self._failures, self._last_fault
        )

    def _confidence(self, reading: Reading, now: datetime) -> float:
        return confidence((now - reading.at).total_seconds(), self._ttl_s)

    def _wait_s(self) -> float:
        if not self._failures:
            return self._interval_s
        return min(self._interval_s, _FIRST_RETRY_S * 2.0 ** min(self._failures - 1, 10))


def plausible(temperature_c: float) -> bool:
    """Say whether air can have this temperature; NaN and infinities it has not."""
    return math.isfinite(temperature_c) and COLDEST_C <= temperature_c <= HOTTEST_C


def _stated_band(temperature_c: float | None) -> Temperature | None:
    if temperature_c is None:
        return None
    if not plausible(temperature_c):
        expected = f"a number of degrees from {COLDEST_C:.0f} to {HOTTEST_C:.0f}"
        raise FactError("weather.temperature_c", temperature_c, expected)
    return band(temperature_c)
