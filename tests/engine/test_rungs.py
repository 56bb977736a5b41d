"""Page views are put on rungs by lot: what may run stays as it is, and what the choice reads is what the rung says."""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from contexts.context import Admitted
from contexts.rungs import LOTS, put_on
from engine.campaign import Prefer, Rule, Targeting
from engine.decision import Placement
from engine.learn.response import VERSION, Model, Responses
from engine.policy import Policy
from tests.consent import under_consent
from tests.world import Site, World, advertiser, campaign, creative, publisher

COAT = "a warm coat for a cold day in the old town"
BOTH = "a warm coat for a cold day in the old town, and a pot of lentil soup with leeks"
SOUP = "a pot of lentil soup with leeks and bread"
NOON = datetime(2026, 11, 23, 12, tzinfo=ZoneInfo("Europe/Berlin"))


class Kept:
    """Satisfies what the engine asks of a recorder: the contexts that decisions were made on."""

    def __init__(self):
        self.contexts = []

    def record(self, scene, visit, choice, *, strict=False):
        self.contexts.append(scene.context)
        return choice.filled


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.put(publisher(), *(advertiser(f"a{n}") for n in range(3)))
    world.put(
        campaign("coats", "a0", prefer=Prefer(weather=("rain",))),
        creative("coats-1", "coats", headline=COAT),
        campaign("soups", "a1", prefer=Prefer(devices=("phone",))),
        creative("soups-1", "soups", headline=SOUP),
        campaign("evenings", "a2", targeting=Targeting(parts_of_day=Rule(include=("evening",)))),
        creative("evenings-1", "evenings", headline=COAT),
    )
    return world


def on(site, lot, **said):
    """Return (id, score) of what is shown to a view on a rung."""
    view = site.world.view
    scene = site.engine.scene(site.visit(**said), site.ticker.now + 1)
    scene = site.engine.scene_of(view, put_on(scene.context, LOTS.index(lot), 0))
    ranked = site.engine.matcher.shortlist(scene, Placement("top", count=9))
    return [(view.snapshot.creative_id(one.row), round(one.match, 4)) for one in ranked]


def test_lots_are_alike_likely_and_none_is_drawn_unless_asked_for(world):
    kept = Kept()
    site = Site(world, recorder=kept, ladder_percent=50)
    for _ in range(2000):
        site.ask(text=COAT, at=NOON)
    seen = Counter(context.rung for context in kept.contexts)
    assert 850 < seen[""] < 1150
    assert all(190 < seen[lot] < 310 for lot in LOTS) and set(seen) == {"", *LOTS}
    kept.contexts.clear()
    off = Site(world, recorder=kept)
    for _ in range(50):
        off.ask(text=COAT, at=NOON)
    assert {context.rung for context in kept.contexts} == {""}


def test_reasons_tell_of_no_fact_that_the_rung_does_not_read(world):
    site = Site(world, ladder_percent=100)

    def told(lot):
        site.chance = lambda count: int((LOTS.index(lot) + 0.5) / 4 * 256**count).to_bytes(count, "big")
        return {
            reason.because
            for one in site.ask(text=SOUP, at=NOON, device_class="phone").decisions
            for reason in one.reasons
        }

    assert told("none") == {"not read: this page view is on the ladder's lowest rung"}
    assert told("segment") == {"a page view of the segment 'phone-midday'"}
    assert "phone: prefers phone" in told("context")


def test_the_first_rung_reads_nothing_and_the_next_the_device(world):
    site = Site(world)
    wet = dict(text=COAT, at=NOON, condition="rain", device_class="phone")
    dry = dict(text=SOUP, at=NOON, condition="clear", device_class="desktop")
    assert on(site, "none", **wet) == on(site, "none", **dry)
    segment = dict(on(site, "segment", **wet)), dict(on(site, "segment", **dry))
    assert segment[0]["soups-1"] > segment[1]["soups-1"]  # the phone that it prefers
    assert segment[0]["coats-1"] == segment[1]["coats-1"]  # neither page nor weather
    context = on(site, "context", **wet), on(site, "context", **dry)
    assert [one[0][0] for one in context] == ["coats-1", "soups-1"]


def test_rules_hold_on_every_rung(world):
    site = Site(world)
    evening = NOON.replace(hour=19)
    for lot in LOTS:
        assert "evenings-1" not in dict(on(site, lot, text=COAT, at=NOON))
        assert "evenings-1" in dict(on(site, lot, text=COAT, at=evening))


def test_signals_act_on_the_consented_rung_alone_and_half_of_its_views_are_what_it_is_compared_with(world):
    site = Site(world)
    plain = site.engine.scene(site.visit(text=COAT, at=NOON), site.ticker.now + 1).context
    said = under_consent(Admitted(cohorts=("cooks",)))
    told = replace(plain, consented=said)
    assert put_on(plain, LOTS.index("context"), 1).rung == "context"  # no consent, no consented rung
    with_signals = put_on(told, LOTS.index("context"), 1)
    assert with_signals.rung == "consented" and with_signals.consented is said
    for lot, consented, rung in [(2, 0, "beside"), (0, 1, "none"), (1, 1, "segment"), (3, 1, "cohort")]:
        put = put_on(told, lot, consented)
        assert (put.rung, put.consented) == (rung, None)


def test_a_view_whose_reader_saw_enough_of_a_campaign_is_on_no_rung(world):
    site = Site(world)
    plain = site.engine.scene(site.visit(text=COAT, at=NOON), site.ticker.now + 1).context
    told = replace(plain, consented=under_consent(Admitted(capped=("coats",), used=("exposure",))))
    assert all(put_on(told, lot, half) is told for lot in range(len(LOTS)) for half in (0, 1))
    scene = site.engine.scene_of(world.view, put_on(told, LOTS.index("none"), 0))
    shown = site.engine.matcher.shortlist(scene, Placement("top", count=9))
    assert "coats-1" not in {world.view.snapshot.creative_id(one.row) for one in shown}


def test_held_out_views_are_decided_by_no_model_and_as_many_are_compared_with_them(world):
    world.put(
        campaign("left", "a0"), creative("left-1", "left", headline=BOTH, sponsored_by="The Same"),
        campaign("right", "a1"), creative("right-1", "right", headline=BOTH, sponsored_by="The Same"),
    )  # fmt: skip
    components = (
        ("left-1", ""),
        ("right-1", ""),
    )  # what a model is certain of: the right is clicked more often
    mean, variance, known = ((0.0,), (1.0,)), ((1e-9,), (1e-9,)), ((1.0,), (1.0,))
    model = Model(VERSION, 0, 20_000, 0.002, ("",), components, mean, variance, known, (1.0, 1.0))
    kept = Kept()
    site = Site(world, recorder=kept, holdout_percent=25)
    world.catalog.follow(Policy(Responses(model)))
    first: dict[str, Counter] = {"learned": Counter(), "unlearned": Counter(), "": Counter()}
    for _ in range(1200):
        shown = site.shown(Placement("top"), text=BOTH, at=NOON)
        first[kept.contexts[-1].rung][shown[0]] += 1
    sizes = {rung: counted.total() for rung, counted in first.items()}
    assert 240 < sizes["learned"] < 360 and 240 < sizes["unlearned"] < 360
    assert set(first["learned"]) == set(first[""]) == {"right-1"}
    assert set(first["unlearned"]) == {"left-1"}
