"""Chances that parts are best, beside a slow twin that draws; messages' chances as products; worlds that repeat."""

import numpy as np
import pytest

from engine.learn.explore import FLOOR, chances, joint, worlds


def slow(mean, sd, times=400_000):
    drawn = np.random.default_rng(3).normal(mean, sd, (times, len(mean)))
    return np.bincount(drawn.argmax(axis=1), minlength=len(mean)) / times


@pytest.mark.parametrize(
    ("mean", "sd"),
    [
        ([0.0, 0.0, 0.0], [0.3, 0.3, 0.3]),
        ([0.4, 0.0, -0.2, 0.1, 0.3], [0.3, 0.5, 0.2, 0.4, 0.3]),
        ([0.0, 1.0], [0.5, 0.5]),
    ],
)
def test_a_parts_chance_is_that_of_a_draw_in_which_it_is_best(mean, sd):
    there = np.ones((1, len(mean)), bool)
    found = chances(np.array([mean]), np.array([sd]), there, floor=0.0)[0]
    assert found == pytest.approx(slow(mean, sd), abs=0.02)
    assert found.sum() == pytest.approx(1)


def test_nothing_is_given_up_and_what_is_not_there_is_not_drawn():
    there = np.array([[True, True, False]])
    found = chances(np.array([[9.0, 0.0, 50.0]]), np.full((1, 3), 0.1), there)[0]
    assert found[2] == 0
    assert found[1] == pytest.approx(FLOOR / 2, rel=1e-6)
    assert found.sum() == pytest.approx(1)


def test_messages_chances_are_products_over_what_is_allowed():
    slots = np.array([[0.7, 0.3], [0.6, 0.4]])
    messages = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.uint8)
    found = joint(slots, messages, np.array([True, True, True, False]))
    assert found == pytest.approx(np.array([0.42, 0.28, 0.18, 0]) / 0.88)
    assert joint(slots, messages, np.zeros(4, bool)).sum() == 0


def test_worlds_follow_from_seed_and_id_and_are_normal():
    ids = np.arange(5_000, dtype=np.uint64)
    one, again, other = worlds(1, ids, 16), worlds(1, ids, 16), worlds(2, ids, 16)
    assert (one == again).all() and (one != other).mean() > 0.99
    assert (worlds(1, ids[7:8], 16) == one[7]).all()
    assert one.mean() == pytest.approx(0, abs=0.02) and one.std() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(one[:, 0], one[:, 1])[0, 1]) < 0.05
