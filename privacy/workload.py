"""Every table that is released about page views: what it counts, by what, how noisily, and what that costs a page view.

The unit is one page view in one UTC day: at most SLOTS of its placements and one click are counted, whatever was
shown. A page that tells why an advertisement was shown is a view of its own, with at most one vote. Days are disjoint,
so one page view pays for the tables of its day and for its place in those of 28 days.

What consenting readers' tokens tell is of the reader's day, not of a view's: it has a ledger of its own (CONSENTED).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from privacy.noise import Gaussian, Laplace, calibrated

Kind = Literal["impression", "placement", "nearness", "click", "view", "money", "vote", "conversion"]
Use = Literal["report", "learner", "policy", "governor", "readers", "ladder", "consented"]

MOST_PARTS = 5  # of a message: each is counted beside its creative
WHOLE = 1000  # an event in tables of weights, which are whole thousandths
MOST_WEIGHT = 4 * WHOLE  # how much more often a challenger draws what was shown counts at most so much
NEARNESS = 20  # how near an impression's message is to its page is told in twentieths, to one whole at most
SLOTS = 3  # impressions of a page view that are counted; further ones are shown, paid and not counted
OUTCOMES = ("shown", "unfilled")  # of a placement that is counted: an impression, or nothing was there for it
MOST_PRICE = 200_000  # micro-units that are counted of what a page view was billed, all its events together
CAP = 1_000_000  # micro-epsilon that a page view may lose in all
SHARES: Mapping[Use, int] = {
    "report": 600_000,
    "learner": 230_000,
    "policy": 50_000,
    "governor": 60_000,
    "readers": 40_000,
    "ladder": 20_000,
}
MONTH = 28  # days of a long table, counted from 1970-01-01
UNIT = f"one page view in one UTC day, with at most {SLOTS} placements, one click and one vote"
READER_UNIT = "one consenting reader of one publisher in one UTC day, with at most one conversion"


@dataclass(frozen=True, slots=True)
class Table:
    """A release: what it counts, by which dimensions, over how many days.

    `placement`: impressions, and what of the first SLOTS that a page view asked for was not filled: each lies in one
    cell; `nearness`: twentieths by which what impressions showed was expected to be clicked more, or less, for
    the words of their page; `view`: page views that showed something; `money`: micro-units that their events were
    billed; `vote`: "not relevant" and "too personal", as readers said of a creative; `conversion`: what consenting
    readers did at the advertiser's. By "component" an event counts for its creative and for each part of its message;
    by "sum" it counts WHOLE as shown, and as gain by how much its clipped weight is above WHOLE, or below.
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
        most = {
            "impression": SLOTS,
            "placement": SLOTS,
            "nearness": SLOTS * NEARNESS,
            "click": 1,
            "view": 1,
            "money": MOST_PRICE,
            "vote": 1,
            "conversion": 1,
        }[self.kind]
        if "component" in self.dims:
            return most * (1 + MOST_PARTS)
        if "sum" in self.dims:
            return most * (WHOLE + max(WHOLE, MOST_WEIGHT - WHOLE))
        return most

    @property
    def unit(self) -> str:
        """What is protected: what `l1` is of, and what pays."""
        return READER_UNIT if self.use == "consented" else UNIT

    @property
    def l2_squared(self) -> int:
        """The square of the most that one page view changes the cells by, in Euclid's norm."""
        if "component" in self.dims:
            most = self.l1 // (1 + MOST_PARTS)  # of one cell
            return most * most * (1 + MOST_PARTS)
        return self.l1 * self.l1

    def noise(self) -> Laplace | Gaussian:
        """Return the noise of its cells. Raises NoiseError where there is none to be had."""
        return calibrated(self.l1, self.l2_squared, self.micro_epsilon)


def _learner(kind: Literal["impression", "click"], whole: int, by_facet: int) -> Iterable[Table]:
    by = ("creative", "component")
    yield Table(f"component-{kind}s", kind, by, whole, "learner")
    for facet in ("topic", "part", "weather", "device"):
        yield Table(f"component-{facet}-{kind}s", kind, (*by, facet), by_facet, "learner")


# Clicks get most: they are few, and what is asked of them are small differences.
# With days and 28 days a sum over four weeks has a margin of two thirds of what days alone would give at the same
# cost, and a day one and a half times the margin. Weeks between them would make a week's margin a quarter smaller and a
# day's twice as wide: under pure epsilon each level pays in full (tests/privacy/test_workload.py).
TABLES: tuple[Table, ...] = (
    Table("placements", "placement", ("publisher", "section", "outcome"), 70_000),
    Table("revenue", "money", ("publisher", "section"), 80_000),
    Table("topics", "impression", ("topic",), 40_000),
    Table("creatives", "impression", ("campaign", "creative"), 80_000),
    Table("creatives-28", "impression", ("campaign", "creative"), 40_000, days=MONTH),
    Table("contexts", "impression", ("campaign", "topic"), 80_000),
    Table("clicks", "click", ("campaign", "creative"), 140_000),
    Table("clicks-28", "click", ("campaign", "creative"), 70_000, days=MONTH),
    # A part's clicks in all get most: beside facets they are so few that only much traffic lifts them above noise.
    # How near to their pages the messages were that showed a part: where it looks better for that alone, it is not.
    *_learner("impression", 20_000, 2_000),
    Table("component-nearness", "nearness", ("creative", "component"), 15_000, "learner"),
    *_learner("click", 163_000, 6_000),
    Table("policy-impressions", "impression", ("sum",), 5_000, "policy"),
    Table("policy-clicks", "click", ("sum",), 45_000, "policy"),
    Table("moments", "view", ("publisher", "device", "part", "weather"), 60_000, "governor"),
    # Rungs are few and hold many views: a click or a view falls on one of them.
    Table("rung-views", "view", ("rung",), 5_000, "ladder"),
    Table("rung-clicks", "click", ("rung",), 15_000, "ladder"),
    # Few readers vote: of four weeks a number can be told, of a day none.
    Table("votes-28", "vote", ("campaign", "vote"), 40_000, "readers", days=MONTH),
)

# Released where the operator has conversions told by click: engine.conversions hands a reader one token a day.
CONSENTED: tuple[Table, ...] = (
    Table("conversions", "conversion", ("campaign", "creative"), 500_000, "consented"),
)


def table(name: str) -> Table:
    """Return the table of a name. Raises KeyError."""
    found = {one.name: one for one in (*TABLES, *CONSENTED)}
    return found[name]


def total(tables: Iterable[Table] = TABLES) -> int:
    """Return what a page view loses to these tables, in micro-epsilon: each is over its day once."""
    return sum(one.micro_epsilon for one in tables)
