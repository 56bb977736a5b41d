"""Margins of sums against OpenDP's own accuracy, and against draws."""

import numpy as np
import pytest

from privacy.margins import Drawn, margin
from privacy.noise import gaussian, laplace


def of(noise, cells=1):
    return Drawn(noise.mechanism, noise.scale, cells)


@pytest.mark.parametrize(("l1", "micro_epsilon"), [(3, 100_000), (1, 80_000), (3, 1_000_000), (1, 37_500)])
def test_the_margin_of_one_count_is_the_mechanisms(l1, micro_epsilon):
    noise = laplace(l1, micro_epsilon)
    assert margin([of(noise)]) in (noise.margin95, noise.margin95 - 1)  # OpenDP rounds outwards


def test_the_margin_of_a_coarse_grid_is_the_mechanisms_too():
    noise = laplace(60_000, 60_000)  # money: a scale of a million
    assert noise.margin95 <= margin([of(noise)]) <= noise.margin95 * 1.05


def test_the_margin_of_one_gaussian_count_is_the_mechanisms():
    noise = gaussian(20, 1_000_000)
    assert abs(margin([of(noise)]) - noise.margin95) <= 1


@pytest.mark.parametrize("cells", [2, 7, 28, 300])
def test_the_margin_of_a_sum_covers_it_at_its_rate_and_hardly_more(cells):
    noise = laplace(3, 100_000)
    sums = np.array(noise.add_each([0] * 3000 * 7)).reshape(-1, 7).sum(1) if cells == 7 else None
    if sums is None:
        draws = np.random.default_rng(cells)
        p = 1 - np.exp(-1 / noise.scale)
        shape = (20_000, cells)
        sums = (draws.geometric(p, shape) - draws.geometric(p, shape)).sum(1)
    within = np.mean(np.abs(sums) <= margin([of(noise, cells)]))
    assert 0.94 <= within <= 0.965


def test_noise_of_two_kinds_adds_up():
    one, two = laplace(1, 100_000), laplace(3, 100_000)
    both = margin([of(one, 4), of(two, 2)])
    assert (
        max(margin([of(one, 4)]), margin([of(two, 2)])) < both < margin([of(one, 4)]) + margin([of(two, 2)])
    )
    assert both == margin([of(two), of(one, 3), of(two), of(one)])


def test_nothing_drawn_has_no_margin():
    assert margin([]) == 0
    assert margin([Drawn("discrete Laplace", 30.0, 0)]) == 0
    assert margin([Drawn("discrete Laplace", 0.05, 1)]) == 0
