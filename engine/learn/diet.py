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

    component: str
    value: str
    count: int
    variance: float


class Diet:
    """Hands out sums of the learner's tables."""

    def __init__(self, source: Source, closed: Callable[[], int]) -> None:
        """Take where tables come from, and what tells the last closed day."""
        self._source, self._closed = source, closed

    def cells(self, facet: Facet, kind: Kind, days: int) -> Iterator[Cell]:
        """Yield the sums over the last so many closed days, those without a release left out."""
        wanted = _TABLES[f"component-{facet}-{kind}"]
        sums: dict[tuple[str, ...], tuple[int, float]] = {}
        last = self._closed()
        for day in range(last - days + 1, last + 1):
            release = self._source.table(wanted, day)
            if release is None:
                continue
            noise = release.noise.variance
            for key, count in release.cells():
                had, variance = sums.get(key, (0, 0.0))
                sums[key] = had + count, variance + noise
        for (component, value), (count, variance) in sums.items():
            yield Cell(component, value, count, variance)
