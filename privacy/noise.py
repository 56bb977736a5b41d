"""Calibrated noise on counts: the one door to OpenDP. Without it nothing about many views can be told.

Nothing is imported before the first use: OpenDP takes a quarter of a second and tens of megabytes, and no request
needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from importlib.util import find_spec
from math import ceil, inf, nextafter, sqrt
from typing import Any, Literal

import numpy as np

from privacy.errors import NoiseError

MICRO = 1_000_000  # micro-epsilon in one epsilon
MOST_COUNT = 2**53  # counts beyond would be no counts of page views
DELTA = 1e-8  # of discrete Gaussian noise: the chance that its epsilon does not hold

Mechanism = Literal["discrete Laplace", "discrete Gaussian"]


@dataclass(frozen=True, slots=True)
class Laplace:
    """Discrete Laplace noise on counts, of which one privacy unit changes at most `l1` in sum.

    It costs at most `micro_epsilon`, by OpenDP's own privacy map. Safe with several threads.
    """

    l1: int
    micro_epsilon: int
    scale: float
    margin95: int  # a count lies within so much of the noisy one with a probability of at least 95 %
    _scalar: Any
    _vector: Any
    mechanism: Mechanism = "discrete Laplace"
    delta: float = 0.0

    def add(self, count: int) -> int:
        """Return the count with noise, signed."""
        return int(self._scalar(_checked((count,))[0]))

    def add_each(self, counts: Sequence[int]) -> list[int]:
        """Return the counts with noise, signed, drawn for each. All of them together cost once."""
        return _noisy(self._vector, counts)

    def loss(self, l1: int) -> int:
        """Return what a change of `l1` costs by OpenDP's map, in micro-epsilon, rounded up."""
        return ceil(max(_loss(m, l1) for m in (self._scalar, self._vector)) * MICRO)


def laplace(l1: int, micro_epsilon: int) -> Laplace:
    """Return the noise of the smallest scale that costs no more. Raises NoiseError where OpenDP is not installed."""
    if l1 < 1 or micro_epsilon < 1:
        raise ValueError(f"got l1 {l1} and {micro_epsilon} micro-epsilon, expected at least 1 each")
    dp = _opendp()
    scalar = dp.domains.atom_domain(T="i64"), dp.metrics.absolute_distance(T="i64")
    vector = dp.domains.vector_domain(dp.domains.atom_domain(T="i64")), dp.metrics.l1_distance(T="i64")
    scale = l1 * MICRO / micro_epsilon
    while True:
        chosen = [space >> dp.measurements.then_laplace(scale=scale) for space in (scalar, vector)]
        # Exactly: a float that stands for 0.1 is above it, and the ledger would charge one more.
        if all(_loss(measurement, l1) * MICRO <= micro_epsilon for measurement in chosen):
            break
        scale = nextafter(scale, inf)
    margin95 = int(dp.accuracy.discrete_laplacian_scale_to_accuracy(scale=scale, alpha=0.05))
    return Laplace(l1, micro_epsilon, scale, margin95, *chosen)


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Discrete Gaussian noise on counts, of which one unit changes the square root of `l2_squared` in Euclid's norm.

    It costs at most `micro_epsilon` but for a chance of `delta`, by OpenDP's own privacy map. Safe with threads.
    """

    l2_squared: int
    micro_epsilon: int
    scale: float
    margin95: int
    delta: float
    _vector: Any
    _profile: Any
    mechanism: Mechanism = "discrete Gaussian"

    def add_each(self, counts: Sequence[int]) -> list[int]:
        """Return the counts with noise, signed, drawn for each. All of them together cost once."""
        return _noisy(self._vector, counts)

    def loss(self, l2_squared: int) -> int:
        """Return what a change of this square costs by OpenDP's map, in micro-epsilon, rounded up."""
        epsilon: float = self._profile.map(_root(l2_squared)).epsilon(self.delta)
        return ceil(Fraction(epsilon) * MICRO)


def gaussian(l2_squared: int, micro_epsilon: int, delta: float = DELTA) -> Gaussian:
    """Return the noise of the smallest scale that costs no more. Raises NoiseError where OpenDP is not installed."""
    if l2_squared < 1 or micro_epsilon < 1 or not 0 < delta < 1:
        raise ValueError(
            f"got l2² {l2_squared}, {micro_epsilon} micro-epsilon, delta {delta}, expected more than 0 each"
        )
    dp = _opendp()
    space = dp.domains.vector_domain(dp.domains.atom_domain(T="i64")), dp.metrics.l2_distance(T="f64")

    def made(scale: float) -> tuple[Any, Any]:
        vector = space >> dp.measurements.then_gaussian(scale=scale)
        return vector, dp.combinators.make_zCDP_to_approxDP(vector)

    def costs(scale: float) -> bool:
        epsilon = made(scale)[1].map(_root(l2_squared)).epsilon(delta)
        return bool(Fraction(epsilon) * MICRO <= micro_epsilon)

    # Doubling and halving by hand: OpenDP's search wants bounds, and stops at a scale that may cost more.
    high = 1.0
    while not costs(high):
        high *= 2
    low = 0.0
    while high - low > high * 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if costs(middle) else (middle, high)
    vector, profile = made(high)
    margin95 = int(dp.accuracy.discrete_gaussian_scale_to_accuracy(scale=high, alpha=0.05))
    return Gaussian(l2_squared, micro_epsilon, high, margin95, delta, vector, profile)


@lru_cache(maxsize=64)
def calibrated(l1: int, l2_squared: int, micro_epsilon: int) -> Laplace | Gaussian:
    """Return the noise that is smaller by its margin: Laplace while one unit touches some dozen cells, then Gaussian.

    A unit changes counts by `l1` in sum and by the root of `l2_squared` in Euclid's norm, at most.
    """
    plain = laplace(l1, micro_epsilon)
    if l1 * l1 < 8 * l2_squared:  # far below the crossover, where nothing need be tried
        return plain
    other = gaussian(l2_squared, micro_epsilon)
    return other if other.margin95 < plain.margin95 else plain


def _root(l2_squared: int) -> float:
    return nextafter(sqrt(l2_squared), inf)


def _loss(measurement: Any, l1: int) -> Fraction:
    return Fraction(measurement.map(l1))


def _noisy(measurement: Any, counts: Sequence[int]) -> list[int]:
    exact = np.array(_checked(counts))
    if len(exact) and exact.dtype.kind != "i":  # made to fit, a fraction would be cut off unseen
        raise TypeError(f"got counts of type {exact.dtype}, expected whole numbers")
    return [int(noisy) for noisy in measurement(exact.astype(np.int64))]


def _checked(counts: Sequence[int]) -> Sequence[int]:
    for count in (min(counts, default=0), max(counts, default=0)):
        if not -MOST_COUNT <= count <= MOST_COUNT:
            raise ValueError(f"got a count of {count}, expected at most {MOST_COUNT}")
    return counts


def is_installed() -> bool:
    """Say whether there is noise to be had, without loading it."""
    return find_spec("opendp") is not None


def _opendp() -> Any:
    try:
        # Not opendp.prelude, which loads scikit-learn and Polars where they are: 2 s.
        import opendp.accuracy
        import opendp.combinators
        import opendp.domains
        import opendp.measurements
        import opendp.metrics
        import opendp.mod
    except ImportError as error:
        raise NoiseError(
            "noise comes from OpenDP alone, which is not installed: pip install opendp"
        ) from error
    opendp.mod.enable_features("contrib")
    return opendp
