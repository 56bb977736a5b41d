from collections import Counter

import pytest

from engine.ladder import RUNGS, Count, climb, simulated

MUCH = 50_000_000  # page views a day, so that noise hides nothing


@pytest.mark.parametrize(
    ("world", "right"), [("topics", "context"), ("people", "consented"), ("flat", "none")]
)
def test_the_right_rung_is_named_where_the_truth_is_known(world, right):
    named = Counter(climb(simulated(seed, MUCH, 14, world)).stop_at for seed in range(12))
    assert named[right] >= 10


def test_too_few_page_views_let_nobody_climb():
    named = Counter(climb(simulated(seed, 20_000, 7, "topics")).stop_at for seed in range(12))
    assert named["none"] >= 10


def test_a_ladder_follows_from_its_seed():
    assert simulated(3, 100_000, 5, "people") == simulated(3, 100_000, 5, "people")
    assert simulated(3, 100_000, 5, "people") != simulated(4, 100_000, 5, "people")


def test_intervals_hold_the_noise_of_the_counts_and_the_statement_says_what_is_left():
    def ladder(noise):
        counts = [Count(name, 1e6, 5000.0, noise) for name, _ in RUNGS]
        counts[2] = Count("context", 1e6, 6500.0, noise)
        return climb([*counts, Count("consented beside", 1e6, 5000.0, noise)])

    exact, noisy = ladder(0.0), ladder(2000.0)
    assert (exact.stop_at, noisy.stop_at) == ("context", "none")
    rung = exact.rungs[2]
    assert rung.lift == pytest.approx(0.3)
    assert 0.2 < rung.low < 0.3 < rung.high < 0.4
    assert noisy.rungs[2].high > rung.high
    assert "Stop at context" in exact.says
    assert "consented" in exact.says or "cohort" in exact.says
