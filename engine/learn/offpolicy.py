"""What another policy would have got, from a log of what one did: SNIPW, DR and switch-DR, with intervals.

Rewards are 0 or more, weights are how much more often the other policy does what was done. Intervals are normal ones
around means, and hold at their rate where rewards are not too few. For logs that may be looked at: simulated or public
ones, or an installation whose exact profile is on; of live page views only sums are released (engine.policy_gate).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A policy's mean reward, with the interval that holds it."""

    value: float
    low: float
    high: float
    effective: float  # rows that the weights leave: (Σw)² / Σw²


def snipw(reward: Floats, weight: Floats, confidence: float = 0.95) -> Estimate:
    """Return the self-normalised inverse-propensity estimate: Σwr / Σw. All are (rows,)."""
    total = weight.sum()
    if total <= 0:
        return Estimate(0.0, 0.0, float("inf"), 0.0)
    value = float((weight * reward).sum() / total)
    # Of a ratio by the delta method.
    error = weight * (reward - value)
    return _around(value, sqrt(float((error**2).sum())) / total, weight, confidence)


def dr(
    reward: Floats, weight: Floats, expected: Floats, target: Floats, confidence: float = 0.95
) -> Estimate:
    """Return the doubly robust estimate: mean of target + w (r - expected).

    `expected` is what a model gives for what was done, `target` its mean over what the other policy does; (rows,).
    """
    return _mean(target + weight * (reward - expected), weight, confidence)


def switch_dr(
    reward: Floats, weight: Floats, expected: Floats, target: Floats, tau: float, confidence: float = 0.95
) -> Estimate:
    """Return the doubly robust estimate that leaves rows to the model alone whose weight is above tau."""
    kept = np.where(weight <= tau, weight, 0.0)
    return _mean(target + kept * (reward - expected), kept, confidence)


def _mean(terms: Floats, weight: Floats, confidence: float) -> Estimate:
    deviation = float(terms.std(ddof=1)) / sqrt(len(terms)) if len(terms) > 1 else float("inf")
    return _around(float(terms.mean()), deviation, weight, confidence)


def _around(value: float, deviation: float, weight: Floats, confidence: float) -> Estimate:
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * deviation
    squares = float((weight**2).sum())
    effective = float(weight.sum()) ** 2 / squares if squares > 0 else 0.0
    return Estimate(value, value - half, value + half, effective)
