"""How far sums of noisy counts may lie from the truth, by the exact distribution of the noise. Nothing is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, sqrt

import numpy as np
import numpy.typing as npt

from privacy.noise import Mechanism

FINE = 48  # steps of the grid a scale has at least: coarser ones would blur the margin by more than a step
_SPREAD = 14  # standard deviations that the grid reaches to each side


@dataclass(frozen=True, slots=True)
class Drawn:
    """Noise of one kind, drawn for so many counts of a sum."""

    mechanism: Mechanism
    scale: float
    cells: int

    @property
    def variance(self) -> float:
        """The variance of their sum; of discrete Laplace noise a little above what the continuous has not."""
        each = 2.0 if self.mechanism == "discrete Laplace" else 1.0
        return each * self.scale * self.scale * self.cells


def margin(noise: Iterable[Drawn], alpha: float = 0.05) -> int:
    """Return the smallest m so that the sum of the noise lies within -m..m with a probability of 1 - alpha or more."""
    merged: dict[tuple[Mechanism, float], int] = {}
    for one in noise:
        if one.cells:
            key = (one.mechanism, one.scale)
            merged[key] = merged.get(key, 0) + one.cells
    return _margin(tuple(Drawn(*key, cells) for key, cells in sorted(merged.items())), alpha)


@lru_cache(maxsize=4096)
def _margin(noise: tuple[Drawn, ...], alpha: float) -> int:
    if not noise:
        return 0
    step = max(1, int(min(one.scale for one in noise) / FINE))
    noise = tuple(Drawn(one.mechanism, one.scale / step, one.cells) for one in noise)
    reach = _SPREAD * sqrt(sum(one.variance for one in noise)) + 40 * max(one.scale for one in noise)
    size = 1 << ceil(reach * 2).bit_length()
    angle = 2 * np.pi * np.arange(size // 2 + 1) / size
    transform = np.ones(len(angle))
    for one in noise:
        transform *= _transform(one, angle, size) ** one.cells
    mass = np.fft.irfft(transform, size)
    within = mass[0] + 2 * np.cumsum(mass[1 : size // 2])
    at = int(np.searchsorted(within, 1 - alpha)) + 1
    if mass[0] >= 1 - alpha:
        at = 0
    return at if step == 1 else (at + 1) * step  # of a coarse grid the next line out


def _transform(one: Drawn, angle: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """Return the characteristic function of one draw, which is real: the noise is symmetric."""
    if one.mechanism == "discrete Laplace":
        q = np.exp(-1 / one.scale)
        function: npt.NDArray[np.float64] = (1 - q) ** 2 / (1 - 2 * q * np.cos(angle) + q * q)
        return function
    x = np.arange(size)
    x = np.minimum(x, size - x)
    density = np.exp(-((x / one.scale) ** 2) / 2)
    return np.asarray(np.fft.rfft(density / density.sum()).real, dtype=np.float64)
