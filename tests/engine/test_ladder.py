from collections import Counter

import numpy as np
import pytest

from contexts.rungs import RUNGS as RUNG_IDS
from engine.errors import PolicyRefused, ReportError
from engine.ladder import RUNGS, Z_ONE, Count, _lift, climb, counted, held_out, simulated
from privacy.release import Axis, Release

MUCH = 50_000_000  # page views a day, so that noise hides nothing


@pytest.mark.parametrize(
    ("world", "right"), [("topics", "context"), ("people", "consented"), ("flat", "none")]
)
def test_the_right_rung_is_named_where_the_truth_is_known(world, right):
    named = Counter(climb(simulated(seed, MUCH, 14, world)).stop_at for seed in range(12))
    assert named[right] >= 10


def test_what_readers_agreed_to_is_learned_beside_the_topic_and_so_from_fewer_views():
    named = Counter(climb(simulated(seed, 10_000_000, 14, "people")).stop_at for seed in range(1, 13))
    assert named["consented"] >= 9  # 6 where each topic and stage is learned for itself
    assert (
        climb(simulated(1, 10_000_000, 14, "topics")).rungs[3].lift > -0.02
    )  # a cohort that tells nothing costs little


def test_too_few_page_views_let_nobody_climb():
    named = Counter(climb(simulated(seed, 20_000, 7, "topics")).stop_at for seed in range(12))
    assert named["none"] >= 10


def test_a_ladder_follows_from_its_seed():
    assert simulated(3, 100_000, 5, "people") == simulated(3, 100_000, 5, "people")
    assert simulated(3, 100_000, 5, "people") != simulated(4, 100_000, 5, "people")


def test_intervals_hold_the_noise_of_the_counts_and_the_statement_says_what_is_left():
    def ladder(noise):
        counts = [Count(name, 1e6, 5000.0, noise) for name, _, _ in RUNGS]
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


class Tables:
    """Satisfies Source: the same counts on each of some days, with the noise that a release has."""

    def __init__(self, cells, scale=0.0, days=28):
        self.cells, self.scale, self.days = cells, scale, days

    def table(self, wanted, day):
        if not LAST - self.days < day <= LAST:
            return None
        at = 1 if wanted.name == "rung-clicks" else 0
        axes = (Axis(("rung",), tuple(sorted((name,) for name in RUNG_NAMES))),)
        counts = tuple(self.cells.get(name, (0, 0))[at] for (name,) in axes[0].keys)
        return Release(wanted.name, day, 1, 0, "discrete Laplace", self.scale, 0.0, 0, axes, counts)


LAST = 20_780
RUNG_NAMES = [rung for rung in RUNG_IDS if rung]
LIVE = {"none": (9000, 45), "segment": (9000, 45), "context": (8000, 60), "cohort": (9000, 67),
        "consented": (1000, 20), "beside": (1000, 7)}  # fmt: skip


def test_released_tables_of_views_put_on_rungs_by_lot_are_a_ladder():
    told = climb(counted(Tables(LIVE, scale=2.0), LAST, 28))
    by = {rung.rung: rung for rung in told.rungs}
    assert (
        by["context"].views == 28 * 9000
    )  # consenting readers' views that were decided by context among them
    assert by["context"].lift == pytest.approx(67 / 45 - 1, rel=0.01)
    assert by["consented"].lift == pytest.approx(20 / 7 - 1, rel=0.01)  # beside consenting views alone
    assert told.stop_at == "consented" and all(rung.low < rung.lift < rung.high for rung in told.rungs[1:])
    assert all(rung.reads and rung.costs for rung in told.rungs)
    noisy = climb(counted(Tables(LIVE, scale=2000.0), LAST, 28))
    assert noisy.stop_at == "none"  # where noise hides all, nobody is told to climb
    assert noisy.rungs[1].high - noisy.rungs[1].low > by["segment"].high - by["segment"].low


def test_a_ladder_without_views_on_rungs_says_what_to_set():
    for tables in (Tables(LIVE, days=0), Tables({}, scale=10.0)):
        with pytest.raises(ReportError, match="TACTFUL_LADDER_PERCENT"):
            counted(tables, LAST, 28)


def test_a_rung_of_hardly_a_view_is_left_out_and_the_consented_one_goes_with_what_it_is_compared_with():
    few = {**LIVE, "cohort": (2, 0), "beside": (1, 0)}
    assert [one.rung for one in counted(Tables(few, scale=10.0), LAST, 28)] == ["none", "segment", "context"]


def test_what_learning_adds_is_told_beside_views_that_were_held_out():
    told = held_out(Tables({"learned": (5000, 30), "unlearned": (5000, 20)}, scale=5.0), LAST, 28)
    assert told.views == 28 * 5000 and told.lift == pytest.approx(0.5)
    assert 0 < told.low < 0.5 < told.high
    noisy = held_out(Tables({"learned": (5000, 30), "unlearned": (5000, 20)}, scale=200.0), LAST, 28)
    assert noisy.low < 0 < noisy.high
    with pytest.raises(PolicyRefused, match="TACTFUL_HOLDOUT_PERCENT"):
        held_out(Tables(LIVE), LAST, 28)


def test_an_interval_holds_the_truth_at_its_rate():
    rng, held = np.random.default_rng(1), 0
    for _ in range(400):
        drawn = [
            Count(
                name, 50_000 + rng.laplace(0, 200), rng.binomial(50_000, rate) + rng.laplace(0, 40), 57, 283
            )
            for name, rate in (("learned", 0.012), ("unlearned", 0.010))
        ]
        _, low, high = _lift(*drawn, Z_ONE)
        held += low <= 0.2 <= high
    assert 368 <= held <= 392  # of 400, at 95 in 100: three standard deviations
