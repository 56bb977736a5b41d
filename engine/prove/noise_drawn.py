"""What processes that know nothing of each other draw as noise, for every table: never twice, and as much as is said.

The canaries of `engine.prove.noise` read one release, and do not know what its noise was made from: noise from a seed
looks to them like any other. They also have cells in some of the tables alone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from math import exp, pi, sqrt

import numpy as np

from engine.errors import ProofError
from privacy.release import Axis, Release, period_of
from privacy.workload import CONSENTED, TABLES

CELLS = 2000
ALIKE = 0.25  # correlation: independent noise of so many cells comes to a tenth of it
_OFF = 0.15  # of the size that is said: six times what chance does
_DAY = 20_000
_CHILD = (
    "import sys; from engine.prove.noise import build_of; from engine.prove.noise_drawn import tell;"
    " tell(build_of(sys.argv[1]))"
)
Drawn = tuple[str, Release]  # where and when, and what


def tell(draw: Callable[..., bytes]) -> None:
    """Print what this process draws for two periods of every table in which nothing happened, a release a line."""
    for table in (*TABLES, *CONSENTED):
        keys = tuple((f"{number:04}",) * len(table.dims) for number in range(CELLS))
        for day in (_DAY, _DAY + table.days):
            print(draw(table, period_of(table, day)[0], [Axis(table.dims, keys)], {}).decode())


def faults_of(build: str) -> Iterator[str]:
    """Draw in two processes by the build of this name, and yield what its noise may not be."""
    drawn = [*_elsewhere(build, "first"), *_elsewhere(build, "second")]
    yield from _too_small(drawn)
    yield from _repeated(drawn)


def _elsewhere(build: str, name: str) -> Iterator[Drawn]:
    done = subprocess.run([sys.executable, "-c", _CHILD, build], capture_output=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise ProofError(f"a process that draws noise failed: {done.stderr.decode()[-300:]}")
    for line in done.stdout.splitlines():
        release = Release.read(line)
        yield f"{release.table} of {release.first} in the {name} process", release


def _too_small(drawn: Sequence[Drawn]) -> Iterator[str]:
    for name, release in drawn:
        mean = float(np.mean(np.abs(release.counts)))
        said = _mean_of(release)
        if abs(mean - said) > _OFF * said:
            yield f"{name}: noise of {mean:.1f} on average, where {said:.1f} is said"


def _mean_of(release: Release) -> float:
    """Give the mean distance from the true count that the mechanism and scale of a release stand for."""
    if release.mechanism == "discrete Gaussian":
        return release.scale * sqrt(2 / pi)
    decay = exp(-1 / release.scale)
    return 2 * decay / (1 - decay**2)


def _repeated(drawn: Sequence[Drawn]) -> Iterator[str]:
    noisy = [(name, release.counts) for name, release in drawn if any(release.counts)]
    if len(noisy) < 2:
        return
    alike = np.abs(np.corrcoef([counts for _, counts in noisy])) > ALIKE
    for first, second in combinations(range(len(noisy)), 2):
        if alike[first, second]:
            yield f"{noisy[first][0]} and {noisy[second][0]}: the same noise"
            return  # most often they all are
