"""The ladder of knowing more of a page view: what each rung is worth beside the one below it, and where to stop.

Rungs are compared by page views that were put on them by lot (contexts.rungs): those of an installation as released
tables count them, or those of a simulated world. The counts carry the noise of a release, and the intervals hold it.
A rung is worth climbing to where the interval of its lift over the last one that was is above nothing, or above what
the caller asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Literal, Protocol

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from engine.errors import PolicyRefused, ReportError
from privacy.release import Release
from privacy.workload import Table, table

World = Literal["topics", "flat", "people"]
Z = 2.498  # of intervals that hold for all four comparisons together in 95 of 100 ladders (Bonferroni)
Z_ONE = 1.96  # of one interval of 95 %
SCALE = 20.0  # of the Laplace noise on each count: a click table of epsilon 0.05
CREATIVES, TOPICS, COHORTS, SEGMENTS, STAGES = 6, 8, 4, 8, 3
CONSENTING = 0.3  # of page views
EXPLORED = 0.2  # of page views, on which the creative is drawn by lot
BASE = 0.004  # clicks an impression
_VIEWS, _CLICKS = table("rung-views"), table("rung-clicks")
SPREAD = 0.5  # of the logarithm of what a fact does to clicks

LEAST = 100.0  # page views of a rung, below which it is not compared
# Each rung: its name, what of a page view the choice reads on it, and what that costs.
RUNGS = (
    ("none", "nothing", "nothing"),
    (
        "segment",
        "into which of 3 to 10 groups of section, device class and part of day the view falls",
        "nothing that is kept",
    ),
    ("context", "the page's words, device, hour and weather", "each new page is encoded once"),
    (
        "cohort",
        "the page's contextual cohort as well",
        "cohorts are found anew now and then; none is of people",
    ),
    (
        "consented",
        "signals that a reader let the publisher tell as well",
        "a token is verified and its use noted at each view; consents, their log, erasure and rights are kept",
    ),
)


class Source(Protocol):
    """Gives tables by day."""

    def table(self, wanted: Table, day: int) -> Release | None:
        """Return the table of a day, None where there is none."""


class Count(Struct, frozen=True):
    """What a rung counted: page views that it was drawn for, and clicks, with the standard deviation of their noise."""

    rung: str
    views: float
    clicks: float
    noise: float = 0.0
    views_noise: float = 0.0


class Rung(Struct, frozen=True):
    """A rung beside the last one that was worth it; "consented" beside consenting views decided by context."""

    rung: str
    views: float
    ctr: float
    lift: float
    low: float
    high: float
    reads: str
    costs: str


class Told(Struct, frozen=True):
    """The ladder, and the rung to stop at."""

    rungs: tuple[Rung, ...]
    stop_at: str
    says: str
    segments: dict[str, tuple[str, ...]] = {}  # the groups of each publisher, where page views are real


def climb(
    counts: Sequence[Count], worth: float = 0.0, segments: Mapping[str, tuple[str, ...]] | None = None
) -> Told:
    """Compare rungs and say where to stop: at the last that is surely worth more than `worth` above where one stands.

    A count named "rung beside" is what the rung is compared with, where that is not the last one that was worth it.
    """
    by_name = {one.rung: one for one in counts}
    told = {name: (reads, costs) for name, reads, costs in RUNGS}
    rungs: list[Rung] = []
    stands = counts[0]
    for one in counts:
        if one.rung not in told:
            continue
        beside = by_name.get(f"{one.rung} beside", stands)
        lift, low, high = _lift(one, beside) if one is not beside else (0.0, 0.0, 0.0)
        rungs.append(Rung(one.rung, one.views, one.clicks / one.views, lift, low, high, *told[one.rung]))
        if low > worth:
            stands = one
    last = next(rung for rung in rungs if rung.rung == stands.rung)
    more = [rung for rung in rungs[rungs.index(last) + 1 :]]
    says = f"Stop at {last.rung}."
    if more:
        best = max(more, key=lambda rung: rung.high)
        says += (
            f" What lies above it adds at most {max(0.0, best.high):.1%} ({best.rung}), and perhaps nothing."
        )
    return Told(tuple(rungs), last.rung, says, dict(segments or {}))


def _lift(one: Count, beside: Count, z: float = Z) -> tuple[float, float, float]:
    """Return the relative difference of two rates with its interval, by the delta method on their logarithms."""
    rates = [max(c.clicks, 1.0) / c.views for c in (one, beside)]
    variance = sum(
        (max(c.clicks, 1.0) + c.noise**2) / max(c.clicks, 1.0) ** 2 + (c.views_noise / c.views) ** 2
        for c in (one, beside)
    )
    middle, half = np.log(rates[0] / rates[1]), z * np.sqrt(variance)
    return tuple(float(np.expm1(at)) for at in (middle, middle - half, middle + half))  # type: ignore[return-value]


def counted(source: Source, closed: int, days: int) -> tuple[Count, ...]:
    """Return what the released tables of the last so many closed days count on each rung.

    "beside" are consenting readers' views that were decided by context: they count for it, and are what "consented" is
    compared with. A rung with hardly a view is left out. Raises ReportError where nothing is to be compared.
    """
    by = {one.rung: one for one in _counts(source, closed, days, (*(n for n, _, _ in RUNGS), "beside"))}
    beside = by.pop("beside")
    found = []
    for one in by.values():
        if one.rung == "context":
            one = Count(
                "context",
                one.views + beside.views,
                one.clicks + beside.clicks,
                sqrt(2) * one.noise,  # of two cells
                sqrt(2) * one.views_noise,
            )
        if one.views - Z * one.views_noise >= LEAST:
            found.append(one)
    if found and found[-1].rung == "consented":
        if beside.views - Z * beside.views_noise >= LEAST:
            found.append(replace(beside, rung="consented beside"))
        else:
            found.pop()
    if not found or found[0].rung != "none":
        raise ReportError(
            f"ladder: got {max(0, round(by['none'].views))} page views on the first rung in the released ones of "
            f"{days} days, expected at least {LEAST:.0f} beyond noise: set TACTFUL_LADDER_PERCENT, or ask for more days"
        )
    return tuple(found)


def held_out(source: Source, closed: int, days: int) -> Rung:
    """Return what learning adds: views decided as usual beside those held out from it, by released tables.

    Raises PolicyRefused where nothing is to be compared.
    """
    learned, unlearned = _counts(source, closed, days, ("learned", "unlearned"))
    if min(one.views - Z * one.views_noise for one in (learned, unlearned)) < LEAST:
        raise PolicyRefused(
            f"holdout: got {max(0, round(unlearned.views))} page views held out in the released ones of {days} days, "
            f"expected at least {LEAST:.0f} beyond noise: set TACTFUL_HOLDOUT_PERCENT, or ask for more days"
        )
    rate = learned.clicks / learned.views
    return Rung("learned", learned.views, rate, *_lift(learned, unlearned, Z_ONE), "all that it may", "")


def _counts(source: Source, closed: int, days: int, names: Sequence[str]) -> list[Count]:
    """Return the sums of the released days, by rung."""
    pairs = [
        (seen, clicked)
        for day in range(closed - days + 1, closed + 1)
        if (seen := source.table(_VIEWS, day)) and (clicked := source.table(_CLICKS, day))
        # Of what was released before a rung was known, nothing is told of it.
        if all((name,) in seen.by_key for name in names)
    ]
    noise = [sqrt(sum(pair[at].noise.variance for pair in pairs)) for at in (1, 0)]
    sums = [[float(sum(pair[at].by_key[name,] for pair in pairs)) for at in (0, 1)] for name in names]
    return [Count(name, *one, *noise) for name, one in zip(names, sums, strict=True)]


def simulated(seed: int, views: int, days: int, world: World) -> tuple[Count, ...]:
    """Return what rungs count in a world whose truth is known; `views` are those of a day.

    In "topics" clicks depend on creative × topic alone, so that context is the last rung worth climbing; in "people"
    also on creative × journey stage; in "flat" on the creative alone.
    """
    rng = np.random.default_rng(seed)
    effect = rng.normal(0, SPREAD, (CREATIVES, 1, 1, 1))
    by_topic = rng.normal(0, SPREAD, (CREATIVES, TOPICS, 1, 1)) * (world != "flat")
    by_stage = rng.normal(0, SPREAD, (CREATIVES, 1, 1, STAGES)) * (world == "people")
    places = (TOPICS, SEGMENTS, STAGES)
    truth = np.broadcast_to(
        np.minimum(BASE * np.exp(effect + by_topic + by_stage), 0.2), (CREATIVES, *places)
    )
    topic, segment, stage = np.indices(places)
    groups = {
        "none": np.zeros(places, np.int64),
        "segment": segment,
        "context": topic,
        "cohort": topic * COHORTS + rng.integers(0, COHORTS, TOPICS)[topic],
        "consented": topic * STAGES + stage,
    }
    policy = {**groups, "consented beside": topic}
    # Views are put on the four rungs that need no consent by lot; of the consenting ones on the context's, half are
    # decided with the reader's stage, and the other half is what they are compared with.
    share = (1 - EXPLORED) / 4
    shares = dict.fromkeys(groups, share) | {
        "context": share * (1 - CONSENTING),
        "consented": share * CONSENTING / 2,
        "consented beside": share * CONSENTING / 2,
    }
    told = {name: np.zeros((2, int(of.max()) + 1, CREATIVES)) for name, of in groups.items()}
    totals = {name: np.zeros(2) for name in policy}
    for day in range(days):
        each = views / truth[0].size
        believed = {name: _learned(told[name], day) for name in ("none", "segment", "context")} if day else {}
        for name, many in (("cohort", COHORTS), ("consented", STAGES)) if day else ():
            count = told[name].shape[1]
            topics, within = np.arange(count) // many, np.arange(count) % many
            above = believed["context"][topics]
            believed[name] = _learned(told[name], day, above * _shared(told[name], day, above, within))
        for name, of in policy.items() if day else ():
            chosen = believed[name if name in groups else "context"].argmax(axis=1)[of]
            seen = rng.poisson(each * shares[name], places)
            clicked = rng.binomial(seen, np.take_along_axis(truth, chosen[None], 0)[0])
            totals[name] += seen.sum(), clicked.sum()
        drawn = rng.poisson(each * EXPLORED / CREATIVES, truth.shape)
        consenting = rng.binomial(drawn, CONSENTING)
        clicks = rng.binomial(drawn - consenting, truth), rng.binomial(consenting, truth)
        for name, of in groups.items():
            # A stage is known, and learned from, where a reader consents; all else on every explored view.
            cells_of = (consenting, clicks[1]) if name == "consented" else (drawn, clicks[0] + clicks[1])
            for at, cells in enumerate(cells_of):
                for creative in range(CREATIVES):
                    np.add.at(told[name][at][:, creative], of, cells[creative])
            told[name] += rng.laplace(0, SCALE, told[name].shape)  # what is released the next day
    totals["context"] += totals["consented beside"]
    noise = float(np.sqrt(2 * (days - 1)) * SCALE)
    return tuple(
        Count(name, float(seen), float(clicks + rng.laplace(0, SCALE, days - 1).sum()), noise)
        for name, (seen, clicks) in totals.items()
    )


def _shared(
    told: NDArray[np.float64], days: int, above: NDArray[np.float64], within: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return (groups, creatives) by how much what a group knows more changes a creative's rate, whatever its topic.

    `above` are the rates without it, `within` numbers what is known more. Drawn to 1 as groups are to what is above.
    """
    count = int(within.max()) + 1
    expected, clicked, cells = (
        np.zeros((count, told.shape[2])),
        np.zeros((count, told.shape[2])),
        np.zeros(count),
    )
    np.add.at(expected, within, np.maximum(told[0], 0.0) * np.maximum(above, 0.0))
    np.add.at(clicked, within, told[1])
    np.add.at(cells, within, 1.0)
    expected = np.maximum(expected, 1.0)
    ratio = clicked / expected
    error = (expected + 2 * days * SCALE**2 * cells[:, None]) / expected**2
    between = np.maximum(((ratio - 1.0) ** 2 - error).mean(axis=0), 0.0)
    shared: NDArray[np.float64] = 1.0 + between / (between + error) * (ratio - 1.0)
    return shared[within]


def _learned(
    told: NDArray[np.float64], days: int, above: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return what each group is believed to click for each creative, from noisy (views and clicks, groups, creatives).

    Each group's rate is drawn to that of the group `above` it, (groups, creatives), or to the creative's over all
    groups, by as much as its noise exceeds what groups differ by (empirical Bayes): what tells nothing changes nothing.
    """
    seen = np.maximum(told[0], 1.0)
    whole = np.maximum(told[1].sum(axis=0), 1.0) / seen.sum(axis=0) if above is None else above
    rates = told[1] / seen
    error = (np.maximum(whole, 0.0) * seen + 2 * days * SCALE**2) / seen**2
    between = np.maximum(((rates - whole) ** 2 - error).mean(axis=0), 0.0)
    believed: NDArray[np.float64] = whole + between / (between + error) * (rates - whole)
    return believed
