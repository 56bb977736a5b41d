"""What holds of every page, whatever the catalogue: random ones, with the promises looked at afterwards."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.campaign import Condition, Flight, Rule, SizeRule, Targeting
from engine.creative import Offer, Parts, TextPart
from engine.decision import Answer, Placement
from engine.explain import explain
from engine.scene import Tier
from engine.snapshot import Snapshot
from tests.world import NOW, Site, World, advertiser, campaign, creative, publisher

WORDS = ("soup", "leek", "bike", "coat", "lamp", "tent")
SIZES = ((300, 250), (728, 90))
TIERS: tuple[Tier, ...] = ("guaranteed", "paid", "house")

some_catalogues = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def some_targeting(chance: Random) -> Targeting:
    """Return rules of which now and then one keeps a creative off a desktop in an evening."""
    rules = [
        Targeting(),
        Targeting(devices=Rule(include=("phone",))),
        Targeting(sizes=SizeRule(exclude=(SIZES[1],))),
        Targeting(min_floor_micros=600_000),
        Targeting(rule=Condition(none=(Condition(parts_of_day=("evening",)),))),
        Targeting(rule=Condition(any=(Condition(devices=("desktop",)), Condition(weather=("snow",))))),
    ]
    return chance.choices(rules, (10, 1, 1, 1, 1, 2))[0]


def some_catalogue(world: World, chance: Random, *, ruled: bool) -> None:
    """Store a few campaigns, of which one has most creatives; `ruled`: with rules of all kinds."""
    advertisers = [f"a{n}" for n in range(chance.randint(2, 5))]
    world.put(publisher(floor_micros=chance.choice((0, 500_000))), *map(advertiser, advertisers))
    for n in range(8):
        tier = chance.choices(TIERS, (1, 4, 1))[0]
        world.put(
            campaign(
                f"k{n}",
                chance.choice(advertisers),
                cpm_micros=0 if tier == "house" else chance.choice((400_000, 1_000_000, 3_000_000)),
                house=tier == "house",
                guaranteed=tier == "guaranteed",
                separation=("cars",) if chance.random() < 0.3 else (),
                targeting=some_targeting(chance) if ruled else Targeting(),
                flight=Flight(end=NOW) if ruled and chance.random() < 0.1 else Flight(),
            )
        )
    made = []
    for n in range(chance.randint(20, 80)):
        more = {}
        if ruled and chance.random() < 0.4:
            parts = Parts((TextPart("h1", "Soup"),), sizes=(SIZES[1],))
            more = {"format": "banner", "size": SIZES[0], "parts": parts}
        if ruled and chance.random() < 0.1:
            more["offer"] = Offer(stock=0)
        rules = some_targeting(chance) if ruled and chance.random() < 0.3 else Targeting()
        words = " ".join(chance.sample(WORDS, 2))
        of = f"k{0 if chance.random() < 0.6 else chance.randrange(8)}"
        made.append(creative(f"c{n}", of, headline=words, targeting=rules, **more))
    world.put(*made)


@some_catalogues
@given(st.integers(0, 2**32))
def test_tiers_advertisers_and_separation_are_kept_whatever_the_catalogue(seed):
    chance = Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        some_catalogue(world, chance, ruled=False)
        site, snapshot = Site(world), world.view.snapshot
        for _ in range(4):
            places = [
                Placement(f"p{n}", count=chance.choice((1, 1, 2, 8))) for n in range(chance.randint(1, 4))
            ]
            answer = site.ask(*places, explain=False, text=" ".join(chance.choices(WORDS, k=6)))
            check_page(snapshot, places, answer)
        world.store.close()


def check_page(snapshot: Snapshot, places: list[Placement], answer: Answer) -> None:
    """Hold what a page shows against what might have stood there beside it."""
    shown: dict[str, list[int]] = {place.id: [] for place in places}
    for one in answer.decisions:
        row = snapshot.row_of(msgspec.json.decode(one.creative)["id"])
        assert row is not None
        shown[one.placement].append(row)
    page = [row for rows in shown.values() for row in rows]
    assert len(set(page)) == len(page)
    owner: dict[str, str] = {}
    for row in page:
        for label in snapshot.labels(row):
            assert owner.setdefault(label, snapshot.advertiser(row)) == snapshot.advertiser(row)

    def tier(row: int) -> int:
        entry = snapshot.entry(row)
        return 0 if entry.guaranteed else 2 if entry.house else 1

    floor = snapshot.publishers["planet"].floor_micros
    left = [
        row
        for row in set(range(snapshot.rows)) - set(page)
        if (tier(row) == 2 or snapshot.bid[row] >= floor)
        and all(owner.get(label) in (None, snapshot.advertiser(row)) for label in snapshot.labels(row))
    ]
    for place in places:
        rows = shown[place.id]
        assert len(rows) == place.count or not left
        assert all(tier(one) >= tier(row) for one in left for row in rows)
    advertisers = [snapshot.advertiser(row) for row in page]
    others = [tier(row) for row in left if snapshot.advertiser(row) not in advertisers]
    for who in set(advertisers):
        if advertisers.count(who) > 1:  # its last stands there for want of others
            last = max(tier(row) for row in page if snapshot.advertiser(row) == who)
            assert all(other > last for other in others)


@some_catalogues
@given(st.integers(0, 2**32))
def test_an_explanation_tells_the_story_of_the_decision_whatever_the_catalogue(seed):
    chance = Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        some_catalogue(world, chance, ruled=True)
        site = Site(world)
        for _ in range(4):
            place = Placement(
                "top",
                formats=chance.choice((("native", "banner"), ("native",), ("banner",))),
                sizes=chance.choice(((), SIZES[:1], SIZES[1:])),
                floor_micros=chance.choice((0, 700_000)),
            )
            check_story(site, place, " ".join(chance.choices(WORDS, k=6)))
        world.store.close()


def check_story(site: Site, place: Placement, text: str) -> None:
    """Hold what is explained of a page against what competes, and what is shown."""
    told = explain(site.engine, site.visit(text=text), site.ticker.now + 1, place, most=1000)
    scene = site.engine.scene(site.visit(text=text), site.ticker.now + 1)
    competing = {
        scene.view.snapshot.creative_id(one.row)
        for tier in TIERS
        for one in site.engine.matcher.shortlist(scene, place, tier=tier, most=1000)
    }
    assert {one.creative for one in told.candidates if not one.excluded_by} == competing
    assert told.eligible == len(competing)
    scores = {one.creative: (one.score, one.reasons) for one in told.candidates}
    answer = site.ask(place, text=text)
    assert bool(answer.decisions) is bool(competing)
    for one in answer.decisions:
        said = msgspec.json.decode(one.creative)
        assert scores[said["id"]] == (one.score, one.reasons)
        assert said["format"] in place.formats
        assert not place.sizes or said["format"] == "native" or tuple(said["size"]) in place.sizes
