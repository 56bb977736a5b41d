"""All that ranking may learn from: the learner's released tables. What they cost was paid when they were released.

Noisy counts are signed, and each says how much noise is in it: a learner that weighs by it is not misled by cells
that nobody saw. Nothing else of what happened is within reach of this package (tests/engine/learn/test_diet.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from privacy.release import Release
from privacy.workload import TABLES, Table

Facet = Literal["topic", "part", "weather", "device"]
Kind = Literal["impressions", "clicks"]
FACETS: tuple[Facet, ...] = ("topic", "part", "weather", "device")
_TABLES = {table.name: table for table in TABLES if table.use == "learner"}


class Source(Protocol):
    """Gives tables by day."""

    def table(self, wanted: Table, day: int) -> Release | None:
        """Return the table of a day, None where there is none."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A component beside a value of a facet: its noisy count over some days, and the variance of the noise in it."""

    creative: str
    part: str  # "": the creative itself, whatever it was put together from
    value: str  # "" where no facet is looked at
    count: float
    variance: float


class Diet:
    """Hands out sums of the learner's tables."""

    def __init__(self, source: Source, closed: Callable[[], int]) -> None:
        """Take where tables come from, and what tells the last closed day."""
        self._source, self._closed = source, closed

    def cells(
        self, facet: Facet | None, kind: Kind, days: int, half_life: float | None = None
    ) -> Iterator[Cell]:
        """Yield the sums over the last so many closed days, those without a release left out.

        With a half-life in days, a count weighs less by its age, and so does its noise.
        """
        wanted = _TABLES[f"component-{facet}-{kind}" if facet else f"component-{kind}"]
        sums: dict[tuple[str, ...], tuple[float, float]] = {}
        last = self._closed()
        for day in range(last - days + 1, last + 1):
            release = self._source.table(wanted, day)
            if release is None:
                continue
            weight = 1.0 if half_life is None else 0.5 ** ((last - day) / half_life)
            noise = release.noise.variance * weight**2
            for key, count in release.cells():
                had, variance = sums.get(key, (0.0, 0.0))
                sums[key] = had + weight * count, variance + noise
        for (creative, part, *value), (total, variance) in sums.items():
            yield Cell(creative, part, value[0] if value else "", total, variance)

    @property
    def last_day(self) -> int:
        """The last closed day."""
        return self._closed()
