import random
import threading
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from contexts.context import WeatherFacts
from engine import matcher, retrieve
from engine.campaign import Prefer, Suitability
from engine.decision import Placement
from engine.errors import UnknownPublisher
from engine.index import Eligible
from engine.learn.response import VERSION, Model, Responses
from engine.matcher import COMPETING
from engine.policy import Policy
from tests.world import Site, World, advertiser, campaign, creative, publisher

TEXT = "Where to find shelter, warm drinks and a dry coat in the old town on a day between the seasons."


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.put(publisher(), publisher("gazette"), *(advertiser(f"a{n}") for n in range(4)))
    return world


def twins(world, **prefers):
    """Store creatives of the same words that differ only by what they prefer."""
    for number, (name, prefer) in enumerate(prefers.items()):
        world.put(
            campaign(name, f"a{number}", prefer=prefer),
            creative(f"{name}-1", name, headline="a warm coat", sponsored_by="The Same"),
        )


def test_two_hours_give_two_orders_and_without_the_preference_they_are_one(world):
    twins(world, early=Prefer(times=("morning",)), late=Prefer(times=("night",)))
    site = Site(world)

    def at(hour):
        return site.shown(text=TEXT, at=datetime(2026, 11, 23, hour, tzinfo=ZoneInfo("Europe/Berlin")))

    assert at(8) == ["early-1", "late-1"]
    assert at(23) == ["late-1", "early-1"]
    twins(world, early=Prefer(), late=Prefer())
    world.catalog.refresh()
    assert at(8) == at(23) == ["early-1", "late-1"]


def test_two_weathers_give_two_orders_and_without_the_weather_they_are_one(world):
    twins(world, dry=Prefer(weather=("clear",)), wet=Prefer(weather=("rain",)))
    site = Site(world)
    assert site.shown(text=TEXT, condition="rain") == ["wet-1", "dry-1"]
    assert site.shown(text=TEXT, condition="clear") == ["dry-1", "wet-1"]
    without = site.ask(text=TEXT)
    assert "weather" in without.missing
    assert len({filled.score for filled in without.decisions}) == 1  # nothing tells them apart
    twins(world, dry=Prefer(), wet=Prefer())
    world.catalog.refresh()
    orders = [site.shown(text=TEXT, condition=said) for said in ("rain", "clear", None)]
    assert orders == [["dry-1", "wet-1"]] * 3


def test_two_devices_give_two_orders(world):
    twins(world, small=Prefer(devices=("phone",)), big=Prefer(devices=("tv",)))
    site = Site(world)
    assert site.shown(text=TEXT, device_class="phone") == ["small-1", "big-1"]
    assert site.shown(text=TEXT, device_class="tv") == ["big-1", "small-1"]


class Table:
    """A weather table whose reading fades as it is told."""

    def __init__(self, sure=1.0):
        self.sure = sure

    def facts(self, place, now):
        return WeatherFacts("rain", "cold", self.sure) if self.sure else None


def test_a_fading_reading_weighs_less_until_it_is_missing(world):
    twins(world, wet=Prefer(weather=("rain",)))
    table = Table()
    site = Site(world, table=table)
    shares = []
    for sure in (1.0, 0.5, 0.26, 0.01, 0.0):
        table.sure = sure
        answer = site.ask(text=TEXT)
        shares.append(next(r.share for r in answer.decisions[0].reasons if r.facet == "weather"))
        assert ("weather" in answer.missing) is (sure < 0.0625)
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[1] > shares[2] > shares[3] == shares[4] == 0.0


def test_a_caller_that_states_no_weather_gets_that_of_the_table(world):
    twins(world, wet=Prefer(weather=("rain",)))
    site = Site(world, table=Table())
    assert "weather" not in site.ask(text=TEXT).missing
    stated = site.ask(text=TEXT, condition="snow").decisions[0].reasons
    assert "snow" in next(r.because for r in stated if r.facet == "weather")


def test_shares_sum_to_the_score_in_the_answer(world):
    chance = random.Random(1)
    words = "soup bread bike tent lamp coat train piano garden".split()
    for n in range(40):
        prefer = Prefer(
            devices=tuple(chance.sample(("phone", "tv"), chance.choice((0, 1)))),
            times=tuple(chance.sample(("morning", "evening", "sat"), chance.choice((0, 1, 2)))),
            weather=tuple(chance.sample(("rain", "cold"), chance.choice((0, 1)))),
        )
        headline = " ".join(chance.choices(words, k=4))
        world.put(
            campaign(f"c{n}", f"a{n % 4}", prefer=prefer), creative(f"k{n}", f"c{n}", headline=headline)
        )
    world.put(campaign("home", "a0", house=True), creative("home-1", "home"))
    site = Site(world, table=Table(0.4))
    for device in ("phone", "desktop"):
        answer = site.ask(Placement("all", count=41), text=" ".join(words), device_class=device)
        told = msgspec.json.decode(msgspec.json.encode(answer))
        assert len(told["decisions"]) == 41
        for filled in told["decisions"]:
            assert sum(r["share"] for r in filled["reasons"]) == pytest.approx(filled["score"], abs=1e-9)
            assert "-0.0" not in {str(r["share"]) for r in filled["reasons"]}
        assert told["decisions"][-1]["house"] is True


def test_the_score_is_the_same_with_and_without_explanation(world):
    twins(world, dry=Prefer(weather=("clear",)), wet=Prefer(weather=("rain",)))
    site = Site(world)
    plain, told = site.ask(text=TEXT, explain=False), site.ask(text=TEXT, explain=True)
    assert [f.score for f in plain.decisions] == [f.score for f in told.decisions]
    assert plain.page is None
    assert not any(f.reasons for f in plain.decisions)


def test_past_the_deadline_the_house_creative_goes_out_marked_degraded(world):
    twins(world, dry=Prefer(), wet=Prefer())
    world.put(campaign("home", "a3", house=True), creative("home-1", "home"))
    site = Site(world)
    late = site.ask(Placement("top"), Placement("side"), text=TEXT, time_left=-1.0)
    assert late.degraded
    assert [f.house for f in late.decisions] == [True]
    assert late.unfilled == ("side",)
    assert "page" in late.missing
    on_time = site.ask(Placement("top"), Placement("side"), text=TEXT)
    assert not on_time.degraded
    assert on_time.unfilled == ()
    assert "page" not in on_time.missing


def test_past_the_deadline_what_was_found_before_is_still_served(world):
    twins(world, dry=Prefer(), wet=Prefer())
    site = Site(world)
    before = site.ask(Placement("top"), text=TEXT)
    late = site.ask(Placement("top"), text=TEXT, time_left=-1.0)
    assert late == before
    assert not late.degraded


def test_of_a_scene_that_comes_once_the_choices_alone_are_kept(world, monkeypatch):
    twins(world, dry=Prefer(), wet=Prefer())
    site, ranked = Site(world), []
    shortlist = matcher.Shortlist
    monkeypatch.setattr(matcher, "Shortlist", lambda *args: ranked.append(args) or shortlist(*args))

    def ask(*places):
        site.ask(*(Placement(place, floor_micros=len(place)) for place in places), text=TEXT)
        return len(ranked)

    assert ask("top") == 1
    assert ask("top") == 1  # chosen before
    assert ask("top", "aside") == 3  # the scene comes again: what is worked out from now on is kept
    assert ask("aside") == 3


def test_the_vector_that_came_too_late_for_one_view_serves_the_next(world):
    world.put(campaign("c", "a0"), creative("coat", "c", headline="a warm dry coat on a day"))
    world.put(campaign("d", "a1"), creative("else", "d", headline="piano lessons"))
    site = Site(world)
    late = site.ask(text=TEXT, time_left=0.005)  # time to rank, but not to encode
    assert late.degraded
    assert "page" in late.missing
    answer = site.ask(text=TEXT)
    assert not answer.degraded
    assert answer.decisions[0].score > late.decisions[0].score
    assert site.shown(text=TEXT)[0] == "coat"


def test_with_nothing_to_show_every_placement_is_unfilled(world):
    site = Site(world)
    answer = site.ask(Placement("top"), Placement("side"), text=TEXT)
    assert answer.decisions == ()
    assert answer.unfilled == ("top", "side")
    assert not answer.degraded


def test_a_page_that_is_not_known_shows_only_what_accepts_that(world):
    world.put(campaign("c", "a0", suitability=Suitability(avoid=())), creative("careful", "c"))
    world.put(campaign("d", "a1"), creative("easy", "d"))
    site = Site(world)
    assert site.shown(url="https://planet.example/unknown") == ["easy"]
    assert sorted(site.shown(text=TEXT)) == ["careful", "easy"]


def test_where_nothing_is_known_bids_decide(world):
    for n, bid in enumerate((1, 3, 2)):
        world.put(campaign(f"c{n}", f"a{n}", cpm_micros=bid * 1_000_000), creative(f"k{n}", f"c{n}"))
    site = Site(world)
    assert site.shown(url="https://planet.example/unknown") == ["k1", "k2", "k0"]


def test_blocks_and_floors_are_of_the_publisher_that_sets_them(world):
    world.put(
        publisher("gazette", block_advertisers=("a0",), block_categories=("x",), floor_micros=1_500_000)
    )
    world.put(campaign("c", "a0", cpm_micros=2_000_000), creative("blocked", "c"))
    world.put(campaign("d", "a1", cpm_micros=2_000_000, categories=("x",)), creative("categorised", "d"))
    world.put(campaign("e", "a2", cpm_micros=1_000_000), creative("cheap", "e"))
    world.put(campaign("f", "a3", cpm_micros=2_000_000), creative("fine", "f"))
    site = Site(world)
    assert site.shown(text=TEXT, publisher="gazette") == ["fine"]
    assert sorted(site.shown(text=TEXT)) == ["blocked", "categorised", "cheap", "fine"]
    stricter = Placement("top", count=9, block_advertisers=("a3",), floor_micros=2_000_000)
    assert sorted(site.shown(stricter, text=TEXT)) == ["blocked", "categorised"]


def test_who_blocks_a_category_of_products_blocks_all_below_it(world):
    for at, category in (("beer", "1004"), ("alcohol", "1002"), ("museum", "1009")):
        world.put(campaign(at, "a1", categories=(category,)), creative(at, at))
    site = Site(world)
    for blocked, left in (((), 3), (("1002",), 1), (("1004",), 2), (("1008",), 2)):
        places = Placement("top", count=9, block_categories=blocked)
        assert len(site.shown(places, text=TEXT)) == left
    world.put(publisher(block_categories=("1002",)))
    assert Site(world).shown(text=TEXT) == ["museum"]


def test_an_unknown_publisher_is_refused_by_name(world):
    with pytest.raises(UnknownPublisher, match="nobody"):
        Site(world).ask(text=TEXT, publisher="nobody")


def test_a_broken_encoder_does_not_break_the_page(world):
    class Broken:
        id, dim = world.encoder.id, world.encoder.dim

        def encode(self, texts, tokens=64):
            raise RuntimeError("no")

    twins(world, dry=Prefer(weather=("clear",)))
    answer = Site(world, encoder=Broken()).ask(Placement("top"), text=TEXT, condition="clear")
    assert [msgspec.json.decode(f.creative)["id"] for f in answer.decisions] == ["dry-1"]
    assert "page" in answer.missing
    assert answer.degraded


def test_equal_views_get_equal_answers_from_fresh_engines(world):
    chance = random.Random(2)
    for n in range(30):
        headline = " ".join(chance.choices(TEXT.split(), k=4))
        world.put(campaign(f"c{n}", f"a{n % 4}"), creative(f"k{n}", f"c{n}", headline=headline))
    said = {"text": TEXT, "condition": "rain", "device_class": "phone"}
    answers = [msgspec.json.encode(Site(world).ask(**said)) for _ in range(2)]
    assert answers[0] == answers[1]


def test_swaps_under_load_give_answers_of_exactly_one_version(world):
    """Each version's creatives all carry its number, so that a mixture shows."""

    def version(number):
        world.put(*(creative(f"k{n}", "c", headline=f"edition {number}") for n in range(9)))

    world.put(campaign("c", "a0"))
    version(0)
    site = Site(world)
    editions = {world.view.snapshot.version: "edition 0"}
    stop, faults, seen = threading.Event(), [], set()

    def reader():
        try:
            while not stop.is_set():
                answer = site.ask(Placement("top", count=3), Placement("side", count=3), text=TEXT)
                told = {msgspec.json.decode(f.creative)["assets"]["headline"] for f in answer.decisions}
                seen.add((answer.snapshot, frozenset(told)))
        except Exception as error:  # a thread's failure must fail the test
            faults.append(error)

    threads = [threading.Thread(target=reader) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(1, 13):
        version(number)
        editions[world.view.snapshot.version] = f"edition {number}"
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not faults
    # Between the change and its snapshot, what changed is off: then nothing is shown, never a mixture.
    assert all(told <= {editions[snapshot]} for snapshot, told in seen)
    assert len({snapshot for snapshot, told in seen if told}) > 2


def test_a_pages_list_answers_as_the_search_does(tmp_path, monkeypatch):
    for module in (matcher, retrieve):
        monkeypatch.setattr(module, "LIST_LENGTH", 500)
    monkeypatch.setattr(matcher, "LISTED_FROM", 1)
    served = []
    monkeypatch.setattr(
        retrieve, "_of", lambda *args, of=retrieve._of: served.append(of(*args)) or served[-1]
    )
    world, chance = World(tmp_path), random.Random(3)
    words = [f"w{n}" for n in range(300)]
    world.put(publisher(), *(advertiser(f"a{n}") for n in range(9)))
    world.put(*(campaign(f"c{n}", f"a{n % 9}") for n in range(30)))
    world.put(
        *(creative(f"k{n}", f"c{n % 30}", headline=" ".join(chance.choices(words, k=5))) for n in range(2300))
    )
    site = Site(world)
    for _ in range(5):
        text = " ".join(chance.choices(words, k=20))
        searched = site.shown(Placement("top", count=8), text=text)
        site.lists.start()
        assert site.lists.wait(20)
        site.lists.stop()
        listed = site.shown(Placement("top", count=8, block_advertisers=("nobody",)), text=text)
        assert listed == searched
    assert any(served)


def test_a_page_never_shows_a_creative_that_a_rule_excludes(world):
    chance = random.Random(4)
    world.put(*(campaign(f"c{n}", f"a{n % 4}") for n in range(4)))
    world.put(*(creative(f"k{n}", f"c{n % 4}", headline=f"coat {n}") for n in range(3 * COMPETING)))
    site = Site(world)
    for _ in range(10):
        blocked = tuple(chance.sample([f"a{n}" for n in range(4)], 2))
        answer = site.ask(Placement("top", count=20, block_advertisers=blocked), text=TEXT)
        who = {msgspec.json.decode(f.creative)["advertiser"] for f in answer.decisions}
        assert who
        assert not who & set(blocked)
    everyone = Eligible.from_mask(np.ones(world.view.snapshot.rows, bool))
    assert everyone.count == 3 * COMPETING


def shelf(world, many, **more):
    """Put a shop with many creatives that fit soup best, and two others that fit less, and alike."""
    world.put(publisher(), *(advertiser(id) for id in ("shop", "smith", "mason")))
    world.put(campaign("shelf", "shop", **more))
    world.put(*(creative(f"shelf-{n:02}", "shelf", headline="leek soup") for n in range(many)))
    for id, bid in (("smith", 900_000), ("mason", 600_000)):
        world.put(campaign(id, id, cpm_micros=bid))
        world.put(creative(f"{id}-1", id, headline="leek and nail", sponsored_by="One"))


def test_however_many_creatives_of_one_advertiser_fit_better_others_stand_beside_it(world):
    shelf(world, 3 * COMPETING)
    site = Site(world)
    places = [Placement(name) for name in ("top", "side", "foot")]
    assert site.shown(*places, text="leek soup")[1:] == ["smith-1", "mason-1"]
    _, offers = site.engine.offer(
        site.visit(text="leek soup"), places, deadline=site.ticker.now + 1, test=True
    )
    # As everywhere, who stands behind by price sets it: the mason's bid for the nails of the smith.
    assert [offer.price_micros for offer in offers] == [1000, 600, 600]


def test_however_many_competitors_are_kept_off_a_page_what_may_stand_there_does(world):
    shelf(world, 3 * COMPETING, separation=("soup",))
    world.put(advertiser("inn"), campaign("inn", "inn", guaranteed=True, separation=("soup",)))
    world.put(creative("inn-1", "inn"), campaign("own", "inn", house=True, cpm_micros=0))
    world.put(creative("own-1", "own"))
    shown = Site(world).shown(Placement("top"), Placement("side"), text="leek soup")
    assert shown == ["inn-1", "smith-1"]


@pytest.mark.parametrize("more", [{"guaranteed": True}, {"house": True, "cpm_micros": 0}])
def test_of_who_comes_first_and_last_all_are_shown_where_there_is_room(world, more):
    shelf(world, COMPETING + 4, **more)
    answer = Site(world).ask(Placement("top", count=10), Placement("side", count=10), text="leek soup")
    campaigns = [msgspec.json.decode(one.creative)["campaign"] for one in answer.decisions]
    assert campaigns.count("shelf") == (20 if "guaranteed" in more else 18)


def test_what_is_looked_for_behind_the_candidates_is_the_same_by_a_model_that_learned(world):
    shelf(world, 3 * COMPETING)
    site = Site(world)
    model = Model(
        VERSION, 1, 20_000, 0.002, ("",), (("shelf-00", ""),), ((0.0,),), ((0.0,),), ((1.0,),), (1.0,)
    )
    world.catalog.follow(Policy(Responses(model)))
    answer = site.ask(Placement("top"), Placement("side"), text="leek soup")
    second = answer.decisions[1]
    assert (msgspec.json.decode(second.creative)["id"], second.propensity) == ("smith-1", 1.0)
