from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from engine.budgets import Budgets
from engine.campaign import Condition, Flight, PoliticalNotice, Targeting
from engine.creative import Offer
from engine.decision import Placement
from engine.events import day_of
from engine.explain import diagnose
from engine.money import Caps, Use
from engine.pacing import HOURS, ceilings, part_by, resting
from engine.pricing import terms_of
from engine.store import open_store
from tests.world import NOW, Site, Ticker, World, advertiser, campaign, creative, publisher

MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)


def test_an_even_pace_spends_each_hour_alike_and_a_front_loaded_one_more_of_it_early():
    marks = [hour / HOURS for hour in range(HOURS + 1)]
    even = [part_by("even", mark) for mark in marks]
    front = [part_by("front", mark) for mark in marks]
    steps = [after - before for before, after in zip(even, even[1:], strict=False)]
    assert steps == pytest.approx([1 / HOURS] * HOURS)
    falls = [after - before for before, after in zip(front, front[1:], strict=False)]
    assert falls == sorted(falls, reverse=True)
    assert falls[0] == pytest.approx(2 / (HOURS + 1))
    assert (front[0], front[-1]) == (0, 1)


def booked(**flight):
    return terms_of(campaign(flight=Flight(**flight)))


def test_a_daily_budget_is_spread_over_the_day_of_its_zone_as_far_as_the_flight_covers_it():
    told = booked(daily_budget_micros=2400, timezone="Europe/Berlin", pacing="even")
    assert ceilings(told, MIDNIGHT - timedelta(hours=1)) == (None, 0)
    assert ceilings(told, MIDNIGHT + timedelta(hours=5)) == (None, 600)  # 06:00 in Berlin
    noon = MIDNIGHT + timedelta(hours=12)
    late = booked(daily_budget_micros=2400, pacing="even", start=noon)
    assert ceilings(late, noon + timedelta(hours=3)) == (None, 600)
    assert ceilings(booked(daily_budget_micros=2400), noon) == (None, None)


def test_a_day_of_25_hours_has_its_whole_budget_at_its_end():
    told = booked(daily_budget_micros=2500, timezone="Europe/Berlin", pacing="even")
    begins = datetime(2026, 10, 24, 22, tzinfo=UTC)
    assert ceilings(told, begins + timedelta(hours=1)) == (None, 100)
    assert ceilings(told, begins + timedelta(hours=24)) == (None, 2400)


def test_a_whole_budget_is_spread_over_the_flight():
    told = booked(budget_micros=1000, start=MIDNIGHT, end=MIDNIGHT + timedelta(days=10), pacing="even")
    assert ceilings(told, MIDNIGHT + timedelta(days=5)) == (500, None)
    assert ceilings(told, MIDNIGHT + timedelta(days=11)) == (1000, None)


def test_no_more_is_leased_than_may_be_spent_by_now(store_url):
    store = open_store(store_url)
    money = store.money()
    money.set_caps({"spring": Caps(1000, 400)})
    day = day_of(NOW)

    def lease(worker, **by_now):
        return money.lease(worker, [Use("spring", day, {}, 10**6, 10, **by_now)], NOW)["spring"]

    assert lease("a", daily_by_now=100) + lease("b", daily_by_now=100) <= 100
    assert lease("b", daily_by_now=0) == 0
    assert lease("a", total_by_now=10**9, daily_by_now=10**9) <= 400
    store.close()


def test_a_paced_campaign_rests_until_its_next_part_is_due(tmp_path):
    now = [MIDNIGHT + timedelta(minutes=1)]
    world = World(tmp_path, now=now[0])
    flight = Flight(daily_budget_micros=1_440_000, pacing="even")
    world.put(publisher(), advertiser(), campaign(flight=flight), creative())
    ticker = Ticker()
    budgets = Budgets(world.store.money(), "w", now=lambda: now[0], monotonic=ticker)
    snapshot = world.view.snapshot
    price = terms_of(campaign()).event_price  # 1000 micro-units an impression: one a minute is due
    assert budgets.tick(snapshot) == frozenset()
    day, until = day_of(now[0]), int(now[0].timestamp()) // 60 + 30
    budgets.show("spring", day, until, price)
    ticker.now += 20
    assert budgets.tick(snapshot) == {"spring"}
    now[0] += timedelta(minutes=2)
    ticker.now += 120
    assert budgets.tick(snapshot) == frozenset()


def test_an_offer_never_renders_outside_of_its_dates_or_sold_out(tmp_path):
    world = World(tmp_path)
    hour = timedelta(hours=1)
    world.put(
        publisher(),
        advertiser(),
        campaign(flight=Flight(end=NOW + 9 * hour)),
        creative("now", offer=Offer(NOW - hour, NOW + hour, "9.99", "EUR", 3)),
        creative("over", offer=Offer(end=NOW)),
        creative("later", offer=Offer(start=NOW + hour)),
        creative("sold-out", offer=Offer(stock=0)),
    )
    site = Site(world)
    assert site.shown(title="a page") == ["now"]
    world.now = NOW + hour
    assert site.shown(title="a page") == ["later"]
    world.now = NOW + 9 * hour
    assert site.shown(title="a page") == []


def test_political_advertisements_run_only_where_they_are_taken(tmp_path):
    world = World(tmp_path)
    notice = PoliticalNotice("Green Party", "Mrs <X>", "1 EUR", "an election", "https://acme.example/notice")
    world.put(
        publisher(),
        publisher("gazette", political=True),
        advertiser(),
        campaign(political=True, political_notice=notice),
        creative(),
    )
    site = Site(world)
    assert site.shown(title="a page") == []
    assert site.shown(title="a page", publisher="gazette") == ["spring-1"]
    answer = site.ask(title="a page", publisher="gazette")
    told = msgspec.json.decode(answer.decisions[0].creative)["political"]
    assert told == {
        "sponsor": "Green Party",
        "process": "an election",
        "notice_url": "https://acme.example/notice",
        "controlled_by": "Mrs <X>",
    }
    html = msgspec.json.decode(answer.decisions[0].creative)["html"]
    said = "Sponsor: Green Party, controlled by Mrs &lt;X&gt;. Linked to: an election."
    assert 'href="https://acme.example/notice"' in html
    assert "Political advertisement" in html and said in html and html.count("Why this ad?") == 1


def test_what_is_decided_follows_a_nested_rule_from_minute_to_minute(tmp_path):
    world = World(tmp_path)
    from engine.campaign import Hours

    rule = Condition(hours=(Hours("19:05", "19:07", "Europe/Berlin"),))
    world.put(publisher(), advertiser(), campaign(targeting=Targeting(rule=rule)), creative())
    site = Site(world)
    for minutes, shown in ((0, ["spring-1"]), (1, ["spring-1"]), (2, []), (24 * 60, ["spring-1"])):
        world.now = NOW + timedelta(minutes=minutes)
        assert site.shown(title="a page") == shown


def test_a_section_counts_where_a_rule_names_it(tmp_path):
    from engine.campaign import Rule, Section

    world = World(tmp_path)
    sport = Targeting(sections=Rule(include=("planet/sport",)))
    world.put(
        publisher(sections=(Section("sport", "/sport"),)), advertiser(), campaign(targeting=sport), creative()
    )
    site = Site(world)
    told = {"title": "a page"}
    assert site.shown(url="https://planet.example/sport/1", **told) == ["spring-1"]
    assert site.shown(url="https://planet.example/news/1", **told) == []
    assert site.shown(**told) == []


def test_guaranteed_campaigns_come_first_then_paid_ones_then_the_house(tmp_path):
    world = World(tmp_path)
    world.put(
        publisher(),
        *(advertiser(id) for id in ("acme", "rival", "home")),
        campaign("booked", "acme", cpm_micros=1000, guaranteed=True),
        campaign("rich", "rival", cpm_micros=9_000_000),
        campaign("home", "home", cpm_micros=0, house=True),
        creative("booked-1", "booked", headline="nothing of the kind"),
        creative("rich-1", "rich", headline="a page about bicycles"),
        creative("home-1", "home"),
    )
    site = Site(world)
    assert site.shown(title="a page about bicycles") == ["booked-1", "rich-1", "home-1"]
    assert diagnose(site.engine, "booked", NOW).stopped == ()
    world.catalog.stop(frozenset({"booked"}))
    assert site.shown(title="a page about bicycles") == ["rich-1", "home-1"]


def test_competitors_of_one_label_never_stand_on_one_page(tmp_path):
    world = World(tmp_path)
    world.put(
        publisher(),
        *(advertiser(id) for id in ("acme", "rival", "third")),
        campaign("a", "acme", separation=("airlines",), cpm_micros=3_000_000),
        campaign("b", "rival", separation=("hotels", "airlines")),
        campaign("c", "third", separation=("hotels",)),
        campaign("a2", "acme", separation=("airlines",)),
        *(creative(f"{id}-1", id, headline="a page") for id in ("a", "b", "c", "a2")),
    )
    site = Site(world)
    assert set(site.shown(title="a page")) == {"a-1", "c-1", "a2-1"}
    two = (Placement("top"), Placement("side", count=3))
    assert "b-1" not in site.shown(*two, title="a page")


def test_a_share_cap_gives_so_many_turns_and_all_processes_the_same():
    slots = [MIDNIGHT + timedelta(seconds=10 * n) for n in range(4000)]
    off = [resting([("a", 0.2), ("b", 1.0)], at) for at in slots]
    assert sum("a" not in one for one in off) / len(off) == pytest.approx(0.2, abs=0.03)
    assert not any("b" in one for one in off)
    assert resting([("a", 0.2)], slots[7]) == resting([("a", 0.2)], slots[7] + timedelta(seconds=9))
