"""The ladder of knowing more of a page view: what each rung is worth beside the one below it, and where to stop.

Rungs are compared by page views that were put on them by lot. The counts carry the noise of a release, and the
intervals hold it. A rung is worth climbing to where the interval of its lift over the last one that was is above
nothing, or above what the caller asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

World = Literal["topics", "flat", "people"]
Z = 2.498  # of intervals that hold for all four comparisons together in 95 of 100 ladders (Bonferroni)
SCALE = 20.0  # of the Laplace noise on each count: a click table of epsilon 0.05
CREATIVES, TOPICS, COHORTS, SEGMENTS, STAGES = 6, 8, 4, 8, 3
CONSENTING = 0.3  # of page views
EXPLORED = 0.2  # of page views, on which the creative is drawn by lot
BASE = 0.004  # clicks an impression
SPREAD = 0.5  # of the logarithm of what a fact does to clicks

# Each rung: its name, and what of a page view is read on it.
RUNGS = (
    ("none", "nothing"),
    ("segment", "section, device class and part of day, in 8 groups"),
    ("context", "the page's topic"),
    ("cohort", "the page's contextual cohort, and its topic"),
    ("consented", "a journey stage that the reader let the publisher tell, and the topic"),
)


class Count(Struct, frozen=True):
    """What a rung counted: page views that it was drawn for, and clicks, with the standard deviation of their noise."""

    rung: str
    views: float
    clicks: float
    noise: float = 0.0


class Rung(Struct, frozen=True):
    """A rung beside the last one that was worth it; "consented" beside consenting views decided by context."""

    rung: str
    views: float
    ctr: float
    lift: float
    low: float
    high: float
    reads: str


class Told(Struct, frozen=True):
    """The ladder, and the rung to stop at."""

    rungs: tuple[Rung, ...]
    stop_at: str
    says: str


def climb(counts: Sequence[Count], worth: float = 0.0) -> Told:
    """Compare rungs and say where to stop: at the last that is surely worth more than `worth` above where one stands.

    A count named "rung beside" is what the rung is compared with, where that is not the last one that was worth it.
    """
    by_name = {one.rung: one for one in counts}
    reads = dict(RUNGS)
    rungs: list[Rung] = []
    stands = counts[0]
    for one in counts:
        if one.rung not in reads:
            continue
        beside = by_name.get(f"{one.rung} beside", stands)
        lift, low, high = _lift(one, beside) if one is not beside else (0.0, 0.0, 0.0)
        rungs.append(Rung(one.rung, one.views, one.clicks / one.views, lift, low, high, reads[one.rung]))
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
    return Told(tuple(rungs), last.rung, says)


def _lift(one: Count, beside: Count) -> tuple[float, float, float]:
    """Return the relative difference of two rates with its interval, by the delta method on their logarithms."""
    rates = [max(c.clicks, 1.0) / c.views for c in (one, beside)]
    variance = sum((max(c.clicks, 1.0) + c.noise**2) / max(c.clicks, 1.0) ** 2 for c in (one, beside))
    middle, half = np.log(rates[0] / rates[1]), Z * np.sqrt(variance)
    return tuple(float(np.expm1(at)) for at in (middle, middle - half, middle + half))  # type: ignore[return-value]


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
    counted = {name: np.zeros((2, int(of.max()) + 1, CREATIVES)) for name, of in groups.items()}
    totals = {name: np.zeros(2) for name in policy}
    for day in range(days):
        each = views / truth[0].size
        for name, of in policy.items() if day else ():
            chosen = _learned(counted[name.removesuffix(" beside") if name in groups else "context"], day)[of]
            seen = rng.poisson(each * shares[name], places)
            clicked = rng.binomial(seen, np.take_along_axis(truth, chosen[None], 0)[0])
            totals[name] += seen.sum(), clicked.sum()
        drawn = rng.poisson(each * EXPLORED / CREATIVES, truth.shape)
        consenting = rng.binomial(drawn, CONSENTING)
        clicks = rng.binomial(drawn - consenting, truth), rng.binomial(consenting, truth)
        for name, of in groups.items():
            # A stage is known, and learned from, where a reader consents; all else on every explored view.
            told = (consenting, clicks[1]) if name == "consented" else (drawn, clicks[0] + clicks[1])
            for at, cells in enumerate(told):
                for creative in range(CREATIVES):
                    np.add.at(counted[name][at][:, creative], of, cells[creative])
            counted[name] += rng.laplace(0, SCALE, counted[name].shape)  # what is released the next day
    totals["context"] += totals["consented beside"]
    noise = float(np.sqrt(2 * (days - 1)) * SCALE)
    return tuple(
        Count(name, float(seen), float(clicks + rng.laplace(0, SCALE, days - 1).sum()), noise)
        for name, (seen, clicks) in totals.items()
    )


def _learned(counted: NDArray[np.float64], days: int) -> NDArray[np.int64]:
    """Return the creative that each group is shown, from noisy (views and clicks, groups, creatives).

    Each group's rate is drawn to the creative's rate over all groups by as much as its noise exceeds what groups differ
    by (empirical Bayes), so that what tells nothing changes nothing.
    """
    seen = np.maximum(counted[0], 1.0)
    whole = np.maximum(counted[1].sum(axis=0), 1.0) / seen.sum(axis=0)
    rates = counted[1] / seen
    error = (whole * seen + 2 * days * SCALE**2) / seen**2
    between = np.maximum(((rates - whole) ** 2 - error).mean(axis=0), 0.0)
    drawn = whole + between / (between + error) * (rates - whole)
    return np.asarray(drawn.argmax(axis=1))
