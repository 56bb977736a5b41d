"""Country (ISO 3166-1) and region (ISO 3166-2) as the publisher states them; nothing finer.

One point stands for a place, its capital or largest city to a tenth of a degree: enough for the season, the
height of the sun and the weather that many of its people see.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import NamedTuple, NewType

from contexts.context import PlaceFacts
from contexts.errors import FactError
from privacy.visit import PlaceInput

PlaceCode = NewType("PlaceCode", str)  # "DE" or "DE-BE"

_REGION = re.compile(r"[A-Z0-9]{1,3}")


class Point(NamedTuple):
    """Degrees, north and east positive."""

    latitude: float
    longitude: float


class Atlas:
    """The countries there are, and the regions of some; elsewhere a region need only be well-formed. Immutable."""

    def __init__(self, points: Mapping[PlaceCode, Point]) -> None:
        self._points = MappingProxyType(dict(points))
        self._regions: dict[str, list[str]] = {}
        for code in self._points:
            country, _, region = code.partition("-")
            self._regions.setdefault(country, []).extend([region] if region else [])

    @classmethod
    @cache
    def load(cls) -> Atlas:
        """Read the table that comes with the package."""
        with resources.files("contexts").joinpath("data/places.csv").open(encoding="ascii") as file:
            return cls(
                {
                    PlaceCode(row["code"]): Point(float(row["latitude"]), float(row["longitude"]))
                    for row in csv.DictReader(file)
                }
            )

    def facts(self, place: PlaceInput) -> PlaceFacts:
        """Check what was stated; a region is given as "BE" or "DE-BE" and returned as "DE-BE".

        Raises FactError for a code that names no country, or no first-level region of its country.
        """
        if place.country is None:
            if place.region is not None:
                raise FactError("place.region", place.region, "none without a country")
            return PlaceFacts()
        regions = self._regions.get(place.country)
        if regions is None:
            raise FactError("place.country", place.country, "an ISO 3166-1 alpha-2 code in capitals")
        if place.region is None:
            return PlaceFacts(place.country)
        region = place.region.removeprefix(f"{place.country}-")
        if not _REGION.fullmatch(region):
            raise FactError("place.region", place.region, "an ISO 3166-2 code such as BE or DE-BE")
        if regions and region not in regions:
            # Departments and provinces have codes as well, but are finer than we want to know.
            raise FactError("place.region", place.region, f"one of {', '.join(regions)}")
        return PlaceFacts(place.country, f"{place.country}-{region}")

    def point(self, place: PlaceFacts) -> Point | None:
        """Return the region's point, else the country's."""
        return next((self._points[code] for code in codes(place) if code in self._points), None)

    def points(self, places: Iterable[PlaceFacts]) -> dict[PlaceCode, Point]:
        """Return the points of these regions and of their countries."""
        wanted = {code for place in places for code in codes(place)}
        return {code: self._points[code] for code in sorted(wanted) if code in self._points}


def codes(place: PlaceFacts) -> tuple[PlaceCode, ...]:
    """Return the codes of a place, the finest first."""
    return tuple(PlaceCode(code) for code in (place.region, place.country) if code)
