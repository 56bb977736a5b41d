"""Noise against its exact probabilities. Each test by chance fails at most once in a million runs."""

import math
import subprocess
import sys
from collections import Counter
from fractions import Fraction

import pytest
from scipy.stats import binom, chi2

from privacy.errors import NoiseError
from privacy.noise import MICRO, calibrated, gaussian, laplace

ALPHA = 1e-6
DRAWS = 60_000


def pmf(x, scale):
    p = math.exp(-1 / scale)
    return (1 - p) / (1 + p) * p ** abs(x)


def fits(draws, scale):
    """Say whether a chi-squared test at ALPHA takes the draws for discrete Laplace; every cell expects >= 10."""
    bound = int(scale * math.log(len(draws) * pmf(0, scale) / 10))
    p = math.exp(-1 / scale)
    tail = p ** (bound + 1) / (1 + p)
    expected = {x: pmf(x, scale) for x in range(-bound, bound + 1)} | {-bound - 1: tail, bound + 1: tail}
    assert sum(expected.values()) == pytest.approx(1)
    seen = Counter(max(-bound - 1, min(bound + 1, x)) for x in draws)
    distance = sum((seen[x] - len(draws) * q) ** 2 / (len(draws) * q) for x, q in expected.items())
    return distance < chi2.isf(ALPHA, len(expected) - 1)


@pytest.mark.parametrize("l1", [1, 3, 4])
@pytest.mark.parametrize("micro_epsilon", [1, 100_000, 250_000, 333_333, 1_000_000, 2_000_000])
def test_noise_costs_what_was_asked_and_hardly_less(l1, micro_epsilon):
    noise = laplace(l1, micro_epsilon)
    assert noise.loss(l1) == micro_epsilon
    assert noise.loss(2 * l1) >= 2 * micro_epsilon - 1
    for measurement in (noise._scalar, noise._vector):
        assert Fraction(measurement.map(l1)) * MICRO <= micro_epsilon
    assert noise.scale == pytest.approx(l1 * MICRO / micro_epsilon)


def test_a_count_gets_noise_of_the_exact_distribution():
    noise = laplace(1, 250_000)
    draws = [noise.add(7) - 7 for _ in range(DRAWS // 4)]
    assert fits(draws, 4.0)
    assert not fits(draws, 2.0)  # half the noise would be found out
    assert not fits(draws, 5.0)


def test_each_count_of_a_table_gets_noise_of_its_own():
    noise = laplace(3, 300_000)
    first, second = noise.add_each([0] * DRAWS), noise.add_each([5] * DRAWS)
    assert fits(first, 10.0)
    assert fits([x - 5 for x in second], 10.0)
    assert not fits([round(x / 2) for x in first], 10.0)
    # Signs of neighbours are independent: equal ones are a fair coin, zeros left out.
    pairs = [(a, b) for a, b in zip(first[::2], first[1::2], strict=True) if a and b]
    equal = sum((a > 0) == (b > 0) for a, b in pairs)
    assert binom.ppf(ALPHA / 2, len(pairs), 0.5) <= equal <= binom.isf(ALPHA / 2, len(pairs), 0.5)


@pytest.mark.parametrize(
    ("l1", "micro_epsilon"), [(1, 2_000_000), (1, 200_000), (4, 1_000_000), (3, 200_000)]
)
def test_the_margin_is_the_smallest_that_covers_95_percent(l1, micro_epsilon):
    noise = laplace(l1, micro_epsilon)

    def covered(margin):
        return math.fsum(pmf(x, noise.scale) for x in range(-margin, margin + 1))

    assert covered(noise.margin95) >= 0.95 > covered(noise.margin95 - 1)


@pytest.mark.parametrize("counts", [[1.5], [1, 2.0], ["7"], [True]])
def test_what_is_no_whole_number_gets_no_noise(counts):
    with pytest.raises(TypeError):
        laplace(1, MICRO).add_each(counts)


def test_an_empty_table_stays_empty():
    assert laplace(1, MICRO).add_each([]) == []


def test_counts_that_are_none_are_refused():
    with pytest.raises(ValueError, match="count"):
        laplace(1, MICRO).add(2**60)
    with pytest.raises(ValueError, match="l1"):
        laplace(0, MICRO)


def test_without_opendp_nothing_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "opendp.measurements", None)
    with pytest.raises(NoiseError, match="pip install opendp"):
        laplace(1, MICRO)


def test_what_answers_requests_does_not_load_opendp():
    code = "import sys, engine.services, engine.web.app; sys.exit('opendp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_gaussian_noise_costs_what_was_asked_and_has_its_distribution():
    noise = gaussian(13, 1_000_000, 1e-7)
    assert 999_900 <= noise.loss(13) <= 1_000_000
    assert noise.scale == pytest.approx(math.sqrt(13 / (2 * 0.0202)), rel=0.01)  # rho for (1, 1e-7)
    draws = noise.add_each([3] * 20_000)
    mean = sum(draws) / len(draws)
    spread = math.sqrt(sum((x - mean) ** 2 for x in draws) / len(draws))
    assert mean == pytest.approx(3, abs=6 * noise.scale / math.sqrt(len(draws)))
    assert spread == pytest.approx(noise.scale, rel=0.03)


def test_laplace_noise_is_chosen_up_to_the_crossover_and_gaussian_beyond():
    chosen = {cells: calibrated(cells, cells, 1_000_000).mechanism for cells in (1, 3, 9, 10, 12, 40)}
    assert {chosen[cells] for cells in (1, 3, 9, 10)} == {"discrete Laplace"}
    assert chosen[40] == "discrete Gaussian"
    for cells in (9, 14, 40):
        best = calibrated(cells, cells, 1_000_000)
        assert best.margin95 <= min(laplace(cells, 1_000_000).margin95, gaussian(cells, 1_000_000).margin95)


def test_three_views_of_one_cell_are_never_told_better_by_gaussian_noise():
    assert calibrated(3, 9, 100_000).mechanism == "discrete Laplace"
