"""Estimates beside plain formulas, and intervals that hold the truth at their rate on logs whose truth is known."""

import numpy as np
import pytest

from engine.learn.offpolicy import dr, snipw, switch_dr

RATES = np.array([[0.02, 0.05, 0.10], [0.08, 0.03, 0.02]])  # (contexts, actions)
DID = np.array([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5]])
WOULD = np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]])
TRUTH = float((RATES * WOULD).sum(axis=1).mean())


def log(rows, seed):
    draw = np.random.default_rng(seed)
    x = draw.integers(0, 2, rows)
    a = (draw.random(rows)[:, None] > DID[x].cumsum(axis=1)).sum(axis=1)
    r = (draw.random(rows) < RATES[x, a]).astype(float)
    return x, a, r, WOULD[x, a] / DID[x, a]


def test_estimates_are_those_of_the_formulas():
    x, a, r, w = log(500, 1)
    q = np.full((2, 3), 0.05)
    target = (WOULD[x] * q[x]).sum(axis=1)
    assert snipw(r, w).value == pytest.approx((w * r).sum() / w.sum())
    assert dr(r, w, q[x, a], target).value == pytest.approx((target + w * (r - 0.05)).mean())
    kept = np.where(w <= 2, w, 0)
    assert switch_dr(r, w, q[x, a], target, 2.0).value == pytest.approx((target + kept * (r - 0.05)).mean())


@pytest.mark.parametrize("name", ["snipw", "dr"])
def test_intervals_hold_the_truth_at_their_rate(name):
    held = 0
    for seed in range(400):
        x, a, r, w = log(4000, seed)
        target = (WOULD[x] * 0.05).sum(axis=1)
        found = snipw(r, w) if name == "snipw" else dr(r, w, np.full(len(r), 0.05), target)
        held += found.low <= TRUTH <= found.high
    assert held / 400 == pytest.approx(0.95, abs=0.035)


def test_without_weight_nothing_is_claimed():
    found = snipw(np.ones(3), np.zeros(3))
    assert found.high == float("inf") and found.effective == 0
