"""Exploration whose chances are known: Thompson sampling over a creative's parts, as probabilities and not as draws.

Each part's response is a normal belief. The chance that a part is the best of its slot is an integral over one number,
taken by quadrature; a message's chance is the product over its slots, among the messages that may be shown. A message
is drawn from just these chances, so that the propensity that is told is exact by construction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_FAR = 1e3  # relative responses below all others
FLOOR = 0.02  # of each slot's chances, shared by all of its parts: nothing is ever given up
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(16)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def chances(mean: Floats, sd: Floats, there: NDArray[np.bool_] | None, floor: float = FLOOR) -> Floats:
    """Return (slots, parts) chances that each part is the best of its slot; rows sum to 1.

    `mean` and `sd` are (slots, parts), sd above 0; `there` says which places hold a part that may be chosen, None that
    all do. A slot without one has zeros.
    """
    if there is not None and there.all():
        there = None
    if there is not None:
        mean = np.where(there, mean, -_FAR)  # never the best, and no hindrance to the others
    x = mean[:, :, None] + sd[:, :, None] * _NODES  # (slots, parts, nodes)
    z = x[:, :, None, :] - mean[:, None, :, None]
    z /= sd[:, None, :, None]
    # Twice the normal CDF, within 3e-4; what all products have twice too often goes with their sum.
    below = z * z
    below *= 0.7978845608 * 0.044715
    below += 0.7978845608
    below *= z
    np.tanh(below, out=below)
    below += 1.0
    parts = mean.shape[1]
    below.reshape(-1, parts * parts, len(_NODES))[:, :: parts + 1] = 2.0  # beside themselves
    best: Floats = np.multiply.reduce(below, axis=2) @ _WEIGHTS
    if there is None:
        best *= (1 - floor) / np.add.reduce(best, axis=1, keepdims=True)
        best += floor / parts
        return best
    best *= there
    total = best.sum(axis=1, keepdims=True)
    many = there.sum(axis=1, keepdims=True)
    even = np.divide(there, many, out=np.zeros(there.shape), where=many > 0)
    best = np.divide(best, total, out=even.copy(), where=total > 0)
    shared: Floats = (1 - floor) * best + floor * even
    return shared


def joint(
    slots: Floats, messages: NDArray[np.integer[Any]], allowed: NDArray[np.bool_] | None = None
) -> Floats:
    """Return (messages,) the chance of each: the product of its parts', among the allowed; all 0 where none is.

    `messages` is (messages, slots): which part of each slot it shows. `allowed` of None: all are.
    """
    chance: Floats = slots[0].take(messages[:, 0])
    for slot in range(1, messages.shape[1]):
        chance *= slots[slot].take(messages[:, slot])
    if allowed is not None:
        chance *= allowed
    total = np.add.reduce(chance)
    if total > 0:
        chance /= total
    return chance


def worlds(seed: int, ids: NDArray[np.uint64], count: int) -> Floats:
    """Return (ids, count) standard normal numbers that follow from seed, id and world (SplitMix64, Box-Muller)."""
    base = ids[:, None] + np.uint64(seed & 0xFFFFFFFFFFFFFFFF)
    step = np.arange(1, count + 1, dtype=np.uint64)[None, :]
    first = _mixed(base + step * np.uint64(0x9E3779B97F4A7C15))
    second = _mixed(first)
    a, b = (((part >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53 for part in (first, second))
    drawn: Floats = np.sqrt(-2 * np.log(a)) * np.cos(2 * np.pi * b)
    return drawn


def _mixed(x: NDArray[np.uint64]) -> NDArray[Any]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
