from datetime import timedelta

import numpy as np
import pytest

from contexts.facets import FACETS
from engine import explain as explain_module
from engine import matcher
from engine.campaign import Condition, Flight, Prefer, Rule, Targeting
from engine.creative import Offer, Parts, TextPart
from engine.decision import Placement
from engine.errors import NotFound
from engine.explain import ANYWHERE, diagnose, explain, quality
from engine.retrieve import Candidates
from tests.world import NOW, Site, World, advertiser, campaign, creative, publisher

TEXT = "Where to find shelter, warm drinks and a dry coat in the old town on a day between the seasons."


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.put(publisher(), advertiser(), advertiser("other"))
    world.put(campaign(prefer=Prefer(weather=("rain",))), creative(headline="a warm dry coat"))
    world.put(campaign("rival", "other"), creative("rival-1", "rival", headline="a warm coat"))
    return world


def explained(site, placement=ANYWHERE, **said):
    return explain(site.engine, site.visit(**said), site.ticker.now + 1, placement)


def test_every_candidate_is_told_with_what_excludes_it(world):
    world.put(campaign("phones", targeting=Targeting(devices=Rule(include=("phone",)))))
    world.put(creative("phones-1", "phones"))
    world.put(campaign("over", flight=Flight(None, NOW - timedelta(days=1))), creative("over-1", "over"))
    world.put(campaign("poor", cpm_micros=1), creative("poor-1", "poor"))
    told = explained(Site(world), Placement("any", floor_micros=10), text=TEXT)
    by_id = {c.creative: c for c in told.candidates}
    assert set(by_id) == {"spring-1", "rival-1", "phones-1", "over-1", "poor-1"}
    assert by_id["spring-1"].excluded_by == ()
    assert by_id["phones-1"].excluded_by == ("device class: desktop",)
    assert by_id["over-1"].excluded_by == ("in its flight, and its offer's dates",)
    assert any("floor" in rule for rule in by_id["poor-1"].excluded_by)
    assert (told.eligible, told.creatives) == (2, 5)


@pytest.mark.parametrize(
    ("owner", "own", "told"),
    [
        ({"flight": Flight(NOW + timedelta(days=1))}, {}, "in its flight, and its offer's dates"),
        ({}, {"offer": Offer(end=NOW)}, "in its flight, and its offer's dates"),
        ({}, {"offer": Offer(stock=0)}, "of a format and size that its own rules take, and not sold out"),
        (
            {"targeting": Targeting(formats=Rule(exclude=("native",)))},
            {},
            "of a format and size that its own rules take, and not sold out",
        ),
        ({"status": "paused"}, {}, "active, and not changed a moment ago"),
    ],
)
def test_what_runs_nowhere_is_told_by_its_true_cause(world, owner, own, told):
    world.put(campaign("still", **owner), creative("still-1", "still", **own))
    (only,) = (c for c in explained(Site(world), text=TEXT).candidates if c.creative == "still-1")
    assert only.excluded_by == (told,)


def test_a_spent_budget_is_told_as_that(world):
    site = Site(world)
    world.catalog.stop(frozenset({"spring"}))
    (only,) = (c for c in explained(site, text=TEXT).candidates if c.creative == "spring-1")
    assert only.excluded_by == ("within its budget and its share of the time",)


def test_a_house_creative_that_runs_below_the_floor_is_told_so(world):
    world.put(publisher(floor_micros=2_000_000), campaign("own", house=True, cpm_micros=0))
    world.put(creative("own-1", "own"))
    site = Site(world)
    told = explained(site, text=TEXT)
    assert {c.creative for c in told.candidates if not c.excluded_by} == {"own-1"}
    assert told.eligible == 1
    assert site.shown(text=TEXT) == ["own-1"]
    site.read(text=TEXT)
    found = diagnose(site.engine, "own", NOW)
    assert (found.could_run_on, found.would_show_on, found.kept_out_by) == (1, 1, {})


def test_what_keeps_creatives_out_one_by_one_is_named_too(world):
    phones = Targeting(devices=Rule(include=("phone",)))
    nested = Targeting(rule=Condition(devices=("tablet",)))
    world.put(campaign("two"), creative("two-1", "two", targeting=phones))
    world.put(creative("two-2", "two", targeting=nested))
    site = Site(world)
    site.read(text=TEXT)
    assert diagnose(site.engine, "two", NOW).kept_out_by == {
        "device class: desktop (some of its creatives)": 1,
        "creative: device class tablet is not met (some of its creatives)": 1,
    }


def test_a_paused_creative_does_not_hide_what_keeps_the_running_one_out(world):
    phones = Targeting(devices=Rule(include=("phone",)))
    nested = Targeting(rule=Condition(devices=("phone",)))
    world.put(campaign("two"), creative("two-1", "two", status="paused"))
    world.put(creative("two-2", "two", targeting=phones), campaign("nested"))
    world.put(
        creative("nested-1", "nested", status="paused"), creative("nested-2", "nested", targeting=nested)
    )
    site = Site(world)
    site.read(text=TEXT)
    assert diagnose(site.engine, "two", NOW).kept_out_by == {"device class: desktop": 1}
    assert diagnose(site.engine, "nested", NOW).kept_out_by == {"creative: device class phone is not met": 1}


def test_what_is_not_excluded_is_what_a_decision_shows(world):
    world.put(campaign("phones", targeting=Targeting(devices=Rule(include=("phone",)))))
    world.put(creative("phones-1", "phones"))
    site = Site(world)
    passing = {c.creative for c in explained(site, text=TEXT).candidates if not c.excluded_by}
    assert passing == set(site.shown(text=TEXT))


def test_any_one_creative_is_explained_however_far_down_it_stands_with_the_messages_that_it_would_show(world):
    parts = Parts(
        (TextPart("sky", "For a {{ weather | long }} day"), TextPart("plain", "Made by hand")), (), (), (), ()
    )
    world.put(
        campaign("far", "other", cpm_micros=1), creative("far-1", "far", headline="A spade", parts=parts)
    )
    site = Site(world)
    visit = site.visit(text=TEXT, condition="rain")
    (best,) = explain(site.engine, visit, site.ticker.now + 1, most=1).candidates
    assert best.creative != "far-1" and best.messages == ()
    (told,) = explain(site.engine, visit, site.ticker.now + 1, most=1, creative="far-1").candidates
    assert told.creative == "far-1" and told.excluded_by == ()
    assert {one.headline for one in told.messages} == {"For a rainy day", "Made by hand"}
    assert sum(one.chance for one in told.messages) == pytest.approx(1, abs=1e-5)
    chances = [one.chance for one in told.messages]
    assert chances == sorted(chances, reverse=True)
    bits = {one.headline: one.message.specificity_bits for one in told.messages}
    assert bits["For a rainy day"] > bits["Made by hand"] == 0
    (plain,) = explain(site.engine, visit, site.ticker.now + 1, creative="rival-1").candidates
    assert plain.messages == ()
    with pytest.raises(NotFound, match="none-such"):
        explain(site.engine, visit, site.ticker.now + 1, creative="none-such")


def test_the_shares_of_a_candidate_sum_to_its_score(world):
    for candidate in explained(Site(world), text=TEXT, condition="rain").candidates:
        assert sum(r.share for r in candidate.reasons) == pytest.approx(candidate.score, abs=1e-9)


def test_scores_are_told_as_decisions_tell_them_to_the_last_digit(world, monkeypatch):
    near = Candidates(np.array([0]), np.array([0.6649497], np.float32))
    for module in (explain_module, matcher):
        monkeypatch.setattr(module, "retrieve", lambda *args: near)
    monkeypatch.setattr(matcher, "retrieve_together", lambda *args: [near])
    site = Site(world)
    (told,), (shown,) = explained(site, text=TEXT).candidates, site.ask(text=TEXT).decisions
    assert (told.score, told.reasons) == (shown.score, shown.reasons)


def test_what_could_not_be_had_is_named(world):
    assert explained(Site(world), url="https://planet.example/unknown").missing == ("page", "weather")
    told = explained(Site(world), text=TEXT, condition="rain", country="AT")
    assert told.missing == ()
    assert explained(Site(world), text=TEXT, wind_ms=5.0).missing == ("weather",)  # the facet has no wind
    assert told.signals["condition"] == "rain"
    assert told.signals["country"] == "AT"


def test_a_diagnosis_counts_pages_and_names_what_keeps_a_campaign_out(world):
    world.put(publisher("gazette"))
    phones = Targeting(devices=Rule(include=("phone",)))
    world.put(campaign("phones", targeting=phones), creative("phones-1", "phones"))
    site = Site(world)
    for number in range(3):
        site.read(text=f"{TEXT} {number}")
    runs = diagnose(site.engine, "spring", NOW)
    assert (runs.pages, runs.pages_known, runs.could_run_on, runs.would_show_on) == (6, 6, 6, 6)
    assert runs.stopped == ()
    kept_out = diagnose(site.engine, "phones", NOW)
    assert (kept_out.could_run_on, kept_out.kept_out_by) == (0, {"device class: desktop": 6})


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"status": "paused"}, "paused"),
        ({"flight": Flight(NOW + timedelta(days=1), None)}, "not begun"),
        ({"flight": Flight(None, NOW - timedelta(days=1))}, "over"),
    ],
)
def test_a_diagnosis_says_what_stops_a_campaign_everywhere(world, more, told):
    world.put(campaign(prefer=Prefer(weather=("rain",)), **more))
    assert any(told in reason for reason in diagnose(Site(world).engine, "spring", NOW).stopped)


def test_a_diagnosis_says_that_a_budget_is_spent(world):
    site = Site(world)
    world.catalog.stop(frozenset({"spring"}))
    assert any("budget is spent" in reason for reason in diagnose(site.engine, "spring", NOW).stopped)
    world.catalog.stop(frozenset())
    assert diagnose(site.engine, "spring", NOW).stopped == ()


def test_a_diagnosis_over_more_pages_than_it_may_look_at_takes_an_even_sample(world, monkeypatch):
    monkeypatch.setattr(explain_module, "MOST_PAGES", 10)
    site = Site(world)
    for number in range(25):
        site.read(text=f"{TEXT} {number}")
    told = diagnose(site.engine, "spring", NOW)
    assert (told.pages, told.pages_known, told.could_run_on) == (10, 25, 10)


def test_a_campaign_that_is_not_there_is_not_found(world):
    with pytest.raises(NotFound, match="nobody"):
        diagnose(Site(world).engine, "nobody", NOW)


def test_of_a_campaign_without_creatives_no_rule_is_said_to_keep_it_out(world):
    world.put(campaign("empty", targeting=Targeting(devices=Rule(include=("phone",)))))
    site = Site(world)
    site.read(text=TEXT)
    told = diagnose(site.engine, "empty", NOW)
    assert (told.stopped, told.could_run_on, told.kept_out_by) == (("it has no creatives",), 0, {})


def test_without_pages_a_diagnosis_says_none(world):
    assert diagnose(Site(world).engine, "spring", NOW).pages == 0


def test_quality_counts_what_is_known_doubtful_and_failed(world):
    site = Site(world)
    site.read(text=TEXT)
    site.read(title="coat")
    site.read(text=TEXT + " more", time_left=0.0)
    told = {facet.facet: facet for facet in quality(site.engine, NOW)}
    assert {*FACETS, "place"} == set(told)
    assert (told["page"].known, told["page"].of) == (2, 3)
    assert "1 of few words" in told["page"].note
    assert "1 views without time" in told["page"].note
    assert "no source" in told["weather"].note
