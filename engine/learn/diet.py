"""All that ranking may learn from: the learner's released tables. What they cost was paid when they were released.

Noisy counts are signed, and each says how much noise is in it: a learner that weighs by it is not misled by cells
that nobody saw. Nothing else of what happened is within reach of this package (tests/engine/learn/test_diet.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from privacy.release import Release
from privacy.workload import TABLES, Table

Facet = Literal["topic", "part", "weather", "device"]
Kind = Literal["impressions", "nearness", "clicks"]
Component = tuple[
    str, str
]  # a creative, and "slot/part" of its messages; "" is the creative, whatever it showed
FACETS: tuple[Facet, ...] = ("topic", "part", "weather", "device")
_TABLES = {table.name: table for table in TABLES if table.use == "learner"}


class Source(Protocol):
    """Gives tables by day."""

    def table(self, wanted: Table, day: int) -> Release | None:
        """Return the table of a day, None where there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A day of one table: components beside the values of a facet, or beside one value, "", where none is looked at."""

    day: int  # since 1970
    components: tuple[Component, ...]  # sorted
    values: tuple[str, ...]
    counts: NDArray[np.float64]  # (components, values) noisy
    variance: float  # of the noise in each


class Diet:
    """Hands out the learner's tables."""

    def __init__(self, source: Source, closed: Callable[[], int]) -> None:
        """Take where tables come from, and what tells the last closed day."""
        self._source, self._closed = source, closed

    def sheets(self, facet: Facet | None, kind: Kind, days: int) -> Iterator[Sheet]:
        """Yield the table of the last so many closed days, oldest first, days without a release left out."""
        wanted = _TABLES[f"component-{facet}-{kind}" if facet else f"component-{kind}"]
        last = self._closed()
        for day in range(last - days + 1, last + 1):
            release = self._source.table(wanted, day)
            if release is None:
                continue
            components = release.axes[0].keys
            values = tuple(value for (value,) in release.axes[1].keys) if facet else ("",)
            counts = np.array(release.counts, float).reshape(len(components), len(values))
            named = tuple((creative, part) for creative, part in components)
            yield Sheet(day, named, values, counts, release.noise.variance)

    @property
    def last_day(self) -> int:
        """The last closed day."""
        return self._closed()
