"""Every table that is released about page views: what it counts, by what, how noisily, and what that costs a page view.

The unit is one page view in one UTC day: at most SLOTS of its impressions and one click are counted, whatever was
shown. A page that tells why an advertisement was shown is a view of its own, with at most one vote. Days are disjoint,
so one page view pays for the tables of its day and for its place in those of 28 days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from privacy.noise import Gaussian, Laplace, calibrated

Kind = Literal["impression", "click", "view", "money", "vote"]
Use = Literal["report", "learner", "governor", "readers"]

SLOTS = 3  # impressions of a page view that are counted; further ones are shown, paid and not counted
MOST_PRICE = 200_000  # micro-units that are counted of what a page view was billed, all its events together
CAP = 1_000_000  # micro-epsilon that a page view may lose in all
SHARES: Mapping[Use, int] = {"report": 600_000, "learner": 300_000, "governor": 60_000, "readers": 40_000}
MONTH = 28  # days of a long table, counted from 1970-01-01
UNIT = f"one page view in one UTC day, with at most {SLOTS} impressions, one click and one vote"


@dataclass(frozen=True, slots=True)
class Table:
    """A release: what it counts, by which dimensions, over how many days.

    `view`: page views that showed something; `money`: micro-units that their events were billed; `vote`: "not
    relevant" and "too personal", as readers said of a creative.
    """

    name: str
    kind: Kind
    dims: tuple[str, ...]
    micro_epsilon: int
    use: Use = "report"
    days: int = 1

    @property
    def l1(self) -> int:
        """The most that one page view changes the cells by, in sum; all of it may fall on one cell."""
        return {"impression": SLOTS, "click": 1, "view": 1, "money": MOST_PRICE, "vote": 1}[self.kind]

    def noise(self) -> Laplace | Gaussian:
        """Return the noise of its cells. Raises NoiseError where there is none to be had."""
        return calibrated(self.l1, self.l1 * self.l1, self.micro_epsilon)


def _learner(kind: Literal["impression", "click"], micro_epsilon: int) -> Iterable[Table]:
    for facet in ("topic", "part", "weather", "device"):
        yield Table(f"component-{facet}-{kind}s", kind, ("creative", facet), micro_epsilon, "learner")


# Clicks get most: they are few, and what is asked of them are small differences.
# With days and 28 days a sum over four weeks has a margin of two thirds of what days alone would give at the same
# cost, and a day one and a half times the margin. Weeks between them would make a week's margin a quarter smaller and a
# day's twice as wide: under pure epsilon each level pays in full (tests/privacy/test_workload.py).
TABLES: tuple[Table, ...] = (
    Table("sections", "impression", ("publisher", "section"), 70_000),
    Table("revenue", "money", ("publisher", "section"), 80_000),
    Table("topics", "impression", ("topic",), 40_000),
    Table("creatives", "impression", ("campaign", "creative"), 80_000),
    Table("creatives-28", "impression", ("campaign", "creative"), 40_000, days=MONTH),
    Table("contexts", "impression", ("campaign", "topic"), 80_000),
    Table("clicks", "click", ("campaign", "creative"), 140_000),
    Table("clicks-28", "click", ("campaign", "creative"), 70_000, days=MONTH),
    *_learner("impression", 25_000),
    *_learner("click", 50_000),
    Table("moments", "view", ("publisher", "device", "part", "weather"), 60_000, "governor"),
    # Few readers vote: of four weeks a number can be told, of a day none.
    Table("votes-28", "vote", ("campaign", "vote"), 40_000, "readers", days=MONTH),
)


def table(name: str) -> Table:
    """Return the table of a name. Raises KeyError."""
    found = {one.name: one for one in TABLES}
    return found[name]


def total(tables: Iterable[Table] = TABLES) -> int:
    """Return what a page view loses to these tables, in micro-epsilon: each is over its day once."""
    return sum(one.micro_epsilon for one in tables)
