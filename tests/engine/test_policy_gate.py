"""A model decides only through the gate: by released sums, told in the log, and taken back when asked."""

import json
from datetime import timedelta

import numpy as np
import pytest

from engine.config import Config
from engine.errors import ModelError, PolicyRefused
from engine.log_record import policy_entry
from engine.policies import Acted, standing
from engine.policy_gate import evaluate, promote, roll_back
from engine.releases import start_of
from engine.reporting import Reporting
from engine.store.leaves import KeptLeaves
from privacy.release import Axis, Release
from privacy.workload import table
from tests.engine.report_world import DAY, NOW, ReportWorld, views


class Sums:
    """Gives the sums of a day: clicks and impressions as shown, and what the challenger would gain."""

    def __init__(self, clicks, weighted, noise=1.0, keys=("shown", "gain")):
        self.cells = {"policy-impressions": (100_000, 0), "policy-clicks": (clicks, weighted - clicks)}
        self.noise, self.keys = noise, keys

    def table(self, wanted, day):
        counts = tuple(1000 * n for n in self.cells[wanted.name])
        return release(wanted, day, self.noise, counts, self.keys)


def release(wanted, day, noise, counts, keys=("shown", "gain")):
    axes = (Axis(("sum",), tuple((key,) for key in keys)),)
    return Release(wanted.name, day, 1, 0, "discrete Laplace", noise, 0.0, 0, axes, counts)


class Trial:
    """Gives the noisy sums of days on which 20,000 views drew messages of three weights, in the shares of LIVE."""

    LIVE, WEIGHTS = (0.2, 0.6, 0.2), (3.0, 0.5, 0.5)

    def __init__(self, chance, days, rates):
        self.days = [self._day(chance, day, rates) for day in range(DAY - days + 1, DAY + 1)]

    def table(self, wanted, day):
        return self.days[day - DAY - 1 + len(self.days)][wanted.name]

    def _day(self, chance, day, rates):
        shown = [20_000 * share for share in self.LIVE]
        told = {}
        for name, counts in (
            ("policy-impressions", shown),
            ("policy-clicks", chance.poisson(np.multiply(shown, rates))),
        ):
            scale = table(name).noise().scale
            sums = 1000 * np.array([np.sum(counts), np.dot(counts, np.subtract(self.WEIGHTS, 1))])
            noisy = tuple(int(n) for n in sums + chance.laplace(0, scale, 2))
            told[name] = release(table(name), day, scale, noisy)
        return told


@pytest.fixture
def world(tmp_path):
    world = ReportWorld(tmp_path)
    yield world
    world.store.close()


def tried(world, id="a" * 16):
    world.store.put_policy(id, b"{}", NOW)
    world.store.act("challenge", id, "test", start_of(DAY - 7))
    return id


def tell(leaves):
    return lambda *said: policy_entry(leaves, *said, NOW)


def test_a_challenger_is_promoted_where_its_lower_bound_beats_the_live_one_and_the_log_tells(world):
    leaves, id = KeptLeaves(world.store), tried(world)
    evidence = promote(world.store, Sums(500, 800), DAY, "ann", NOW, tell(leaves))
    assert evidence.days == 7 and evidence.rate.low > evidence.live_rate.value == pytest.approx(0.005)
    assert standing(world.store.acts()) == (id, "")
    (entry,) = [json.loads(leaf)["data"] for leaf in leaves.read(0, leaves.count())]
    assert entry["act"] == "promote" and entry["response_policy"] == id and entry["evidence"]["days"] == 7


@pytest.mark.parametrize(("sums"), [Sums(500, 400), Sums(500, 505), Sums(500, 800, noise=1e7)])
def test_a_bad_policy_or_too_little_evidence_is_refused_and_nothing_changes(world, sums):
    leaves = KeptLeaves(world.store)
    id = tried(world)
    with pytest.raises(PolicyRefused, match="expected more than"):
        promote(world.store, sums, DAY, "ann", NOW, tell(leaves))
    assert standing(world.store.acts()) == ("", id) and leaves.count() == 0


def promoted(acts, rates, days, trials=150):
    """Return in which share of trials somebody who asks every day promotes the challenger."""
    chance = np.random.default_rng(11)
    found = 0
    for _ in range(trials):
        trial = Trial(chance, days, rates)
        found += any(evaluate(trial, acts, day).passes for day in range(DAY - days + 1, DAY + 1))
    return found / trials


def test_who_asks_every_day_promotes_hardly_ever_a_policy_that_is_no_better_and_mostly_one_that_is():
    acts = [Acted(start_of(DAY - 60) + timedelta(hours=1), "test", "challenge", "a")]
    assert promoted(acts, (0.02, 0.02, 0.02), 60) <= 0.025  # 100 clicks a day gained there, as many lost
    assert promoted(acts, (0.04, 0.016, 0.016), 60) >= 0.95  # lead .0096 over .0208


def test_days_that_told_no_gain_are_no_evidence(world):
    tried(world)
    found = evaluate(Sums(500, 900, keys=("shown", "weighted")), world.store.acts(), DAY)
    assert found.days == 0 and not found.passes


def test_days_before_the_trial_are_no_evidence(world):
    world.store.put_policy("a", b"{}", NOW)
    world.store.act("challenge", "a", "test", start_of(DAY) + timedelta(hours=3))
    found = evaluate(Sums(500, 900), world.store.acts(), DAY)
    assert found.days == 0 and not found.passes
    with pytest.raises(PolicyRefused, match="no challenger"):
        evaluate(Sums(1, 1), [], DAY)


def test_a_model_that_is_learned_once_more_goes_on_with_its_trial(world):
    id = tried(world)
    world.store.act("challenge", id, "test", start_of(DAY))
    assert evaluate(Sums(500, 800), world.store.acts(), DAY).days == 7
    for other in ("b" * 16, id):
        world.store.act("challenge", other, "test", start_of(DAY))
    assert evaluate(Sums(500, 800), world.store.acts(), DAY).days == 0


def test_what_two_do_at_once_is_done_once(world):
    leaves, id = KeptLeaves(world.store), tried(world)

    def between(*said):
        """Do the same while the first one is at it."""
        policy = ("rollback", "") if said[0] == "rollback" else ("promote", id)
        world.store.act(*policy, "bob", NOW)
        return tell(leaves)(*said)

    with pytest.raises(PolicyRefused, match="another act meanwhile"):
        promote(world.store, Sums(500, 800), DAY, "ann", NOW, between)
    with pytest.raises(PolicyRefused, match="another act meanwhile"):
        roll_back(world.store, "ann", NOW, between)
    assert [one.act for one in world.store.acts()] == [
        "challenge",
        "promote",
        "rollback",
    ] and leaves.count() == 0


def test_what_decided_before_decides_again_and_the_log_tells(world):
    leaves = KeptLeaves(world.store)
    for id in ("a" * 16, "b" * 16):
        tried(world, id)
        promote(world.store, Sums(500, 800), DAY, "ann", NOW, tell(leaves))
    assert roll_back(world.store, "ann", NOW, tell(leaves)) == "a" * 16
    assert roll_back(world.store, "ann", NOW, tell(leaves)) == ""
    with pytest.raises(ModelError, match="prior decides already"):
        roll_back(world.store, "ann", NOW, tell(leaves))
    assert leaves.count() == 4 and standing(world.store.acts()).live == ""


def test_a_model_is_learned_from_released_tables_and_its_trial_is_read_from_them(world, tmp_path):
    world.add(views(2000))
    config = Config(data_dir=tmp_path, key_dir=tmp_path)
    leaves = KeptLeaves(world.store)
    reporting = Reporting(config, world.store, leaves, lambda: NOW)
    reporting.releases.release(DAY)
    model, again = reporting.learn(3), reporting.learn(3)
    assert model.body == again.body
    assert ("winter-2", "headline/h1") in model.components and ("spring-1", "") in model.components
    world.store.put_policy(model.id, model.body, NOW)
    world.store.act("challenge", model.id, "test", start_of(DAY - 1))
    evidence = evaluate(reporting.released, world.store.acts(), reporting.closed())
    assert evidence.days == 1 and not evidence.passes  # so little is lost in the noise
