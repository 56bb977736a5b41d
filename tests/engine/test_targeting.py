import random
from datetime import timedelta

import pytest

from contexts.context import (
    CONDITIONS,
    INTENTS,
    PARTS_OF_DAY,
    RISKS,
    SEASONS,
    SENSITIVE,
    TEMPERATURES,
    WEEKDAYS,
    Admitted,
    PlaceFacts,
    WeatherFacts,
)
from engine.campaign import Condition, Flight, Hours, Range, Rule, SizeRule, Suitability, Targeting
from engine.change import Approval, content_hash
from engine.decision import Placement
from engine.retrieve import eligible, predicates
from privacy.visit import DEVICE_CLASSES, PLATFORMS, Device
from tests.consent import under_consent
from tests.reference import may_run
from tests.world import NOW, World, advertiser, campaign, creative, publisher, topics

TOPICS = ("483", "492", "210", "1")
KEYWORDS = ("espresso", "road bike", "tent")
LANGUAGES = ("en", "de", "fr")
ZONES = ("Europe/Berlin", "Asia/Tokyo", "America/Los_Angeles")
COHORTS, TIERS = ("priced", "read"), ("gold", "silver")
SECTIONS = ("planet/sport", "planet/other", "gazette/sport")
FEW = {
    "topics": TOPICS,
    "keywords": KEYWORDS,
    "languages": LANGUAGES,
    "devices": DEVICE_CLASSES,
    "platforms": PLATFORMS,
    "parts_of_day": PARTS_OF_DAY,
    "weekdays": WEEKDAYS,
    "weather": (*CONDITIONS, *TEMPERATURES),
    "countries": ("DE", "FR", "US"),
    "regions": ("DE-BE", "FR-IDF"),
    "publishers": ("planet", "gazette"),
    "sections": SECTIONS,
    "seasons": SEASONS,
    "holidays": ("any", "christmas day"),
    "intents": INTENTS,
    "cohorts": COHORTS,
    "journey_stages": INTENTS,
    "loyalty_tiers": TIERS,
    "sensitive": ("crime", "drugs"),
}
SIZES = ((300, 250), (728, 90), (160, 600))


def some_rule(chance, values):
    if chance.random() < 0.95:
        return Rule()
    chosen = chance.sample(values, k=min(len(values), chance.randint(1, 3)))
    return Rule(include=tuple(chosen)) if chance.random() < 0.6 else Rule(exclude=tuple(chosen))


def some_hours(chance):
    start, end = chance.sample(("00:00", "06:30", "12:15", "18:00", "23:45", "24:00"), k=2)
    start = "05:00" if start == "24:00" else start
    zone = chance.choice((None, *ZONES))
    return Hours(start, end, zone, tuple(chance.sample(WEEKDAYS, k=chance.choice((0, 2, 4)))))


def some_range(chance, low, high):
    at_least, below = sorted(chance.sample(range(low, high), k=2))
    return Range(at_least, below) if chance.random() < 0.5 else Range(at_least=at_least)


def some_condition(chance, depth=3):
    parts = {}
    for group in ("all", "any", "none"):
        if depth and chance.random() < 0.35:
            parts[group] = tuple(some_condition(chance, depth - 1) for _ in range(chance.randint(1, 3)))
    for name in chance.sample(sorted(FEW), k=1 if not parts else chance.choice((0, 0, 1))):
        parts[name] = tuple(chance.sample(FEW[name], k=chance.randint(1, len(FEW[name]))))
    if chance.random() < 0.15:
        parts["hours"] = (some_hours(chance),)
    if chance.random() < 0.1:
        parts["temperature_c"] = some_range(chance, -10, 30)
    if chance.random() < 0.1:
        parts["wind_ms"] = some_range(chance, 0, 20)
    return Condition(timezone=chance.choice((None, *ZONES)), **parts)


def some_targeting(chance):
    if chance.random() < 0.5:
        return Targeting()
    if chance.random() < 0.4:
        return Targeting(rule=some_condition(chance))
    return Targeting(
        topics=some_rule(chance, TOPICS),
        keywords=some_rule(chance, KEYWORDS),
        languages=some_rule(chance, LANGUAGES),
        devices=some_rule(chance, DEVICE_CLASSES),
        platforms=some_rule(chance, PLATFORMS),
        parts_of_day=some_rule(chance, PARTS_OF_DAY),
        weekdays=some_rule(chance, WEEKDAYS),
        timezone=chance.choice((None, *ZONES)),
        weather=some_rule(chance, (*CONDITIONS, *TEMPERATURES)),
        countries=some_rule(chance, ("DE", "FR", "US")),
        regions=some_rule(chance, ("DE-BE", "DE-BY", "FR-IDF")),
        publishers=some_rule(chance, ("planet", "gazette")),
        sections=some_rule(chance, SECTIONS),
        seasons=some_rule(chance, SEASONS),
        holidays=some_rule(chance, ("any", "christmas day")),
        intents=some_rule(chance, INTENTS),
        hours=(some_hours(chance),) if chance.random() < 0.1 else (),
        temperature_c=some_range(chance, -10, 30) if chance.random() < 0.1 else None,
        cohorts=some_rule(chance, COHORTS),
        journey_stages=some_rule(chance, INTENTS),
        loyalty_tiers=some_rule(chance, TIERS),
        formats=some_rule(chance, ("native", "banner")),
        sizes=SizeRule(exclude=(chance.choice(SIZES),)) if chance.random() < 0.2 else SizeRule(),
        min_floor_micros=chance.choice((None, None, 500_000)),
    )


def some_world(tmp_path, chance):
    world = World(tmp_path)
    publishers = [
        publisher(
            "planet",
            risk=chance.choice(RISKS),
            floor_micros=chance.choice((0, 400_000)),
            block_categories=("1002",),
        ),
        publisher("gazette", approval="manual", timezone="America/New_York", country="US"),
    ]
    advertisers = [advertiser(f"a{i}") for i in range(3)]
    campaigns = [
        campaign(
            f"c{i}",
            chance.choice(advertisers).id,
            cpm_micros=chance.choice((300_000, 600_000, 2_000_000)),
            status=chance.choice(("active",) * 9 + ("paused",)),
            flight=chance.choice(
                (Flight(), Flight(start=NOW + timedelta(hours=1)), Flight(end=NOW + timedelta(hours=1)))
            ),
            targeting=some_targeting(chance),
            suitability=Suitability(
                avoid=chance.choice((None, (), (), (), ("crime", "drugs"))),
                accept_unknown=chance.random() < 0.7,
                risk=chance.choice(("none", "none", "low", "medium", "high")),
            ),
            categories=chance.choice(((), ("1002",))),
        )
        for i in range(25)
    ]
    creatives = []
    for i in range(150):
        size = chance.choice((None, *SIZES))
        creatives.append(
            creative(
                f"k{i}",
                chance.choice(campaigns).id,
                format="banner" if size else "native",
                size=size,
                targeting=some_targeting(chance),
                status=chance.choice(("active",) * 9 + ("paused",)),
            )
        )
    world.put(*publishers, *advertisers, *campaigns, *creatives)
    approvals = {}
    for one in creatives:
        for who in publishers:
            if chance.random() < 0.3:
                approvals[who.id, one.id] = chance.choice(("approved", "rejected"))
    hashes = {one.id: content_hash(one) for one in creatives}
    world.store.approve([Approval(*who, state) for who, state in approvals.items()], hashes, "test", NOW)
    return world, {p.id: p for p in publishers}, {c.id: c for c in campaigns}, creatives, approvals


def some_context(world, chance):
    country = chance.choice((None, "DE", "FR", "US"))
    region = {"DE": "DE-BE", "FR": "FR-IDF"}.get(country or "") if chance.random() < 0.5 else None
    page = world.page(
        "a page",
        topics=topics(*chance.sample(TOPICS, k=chance.randint(0, 2))),
        keyphrases=tuple(chance.sample(KEYWORDS, k=chance.randint(0, 2))),
        language=chance.choice((None, *LANGUAGES)),
        sensitive=(flags := frozenset(chance.sample(sorted(SENSITIVE), k=chance.choice((0, 0, 1))))),
        risks={flag: chance.choice(RISKS) for flag in flags if chance.random() < 0.8},
        suitability_known=chance.random() < 0.8,
        intent=chance.choice((None, *INTENTS)),
    )
    numbers = (chance.choice((None, *range(-10, 30))), chance.choice((None, *range(20))))
    weather = WeatherFacts(
        chance.choice((None, *CONDITIONS)), chance.choice((None, *TEMPERATURES)), 1.0, *numbers
    )
    return world.context(
        page=page,
        publisher=chance.choice(("planet", "gazette")),
        device=Device(chance.choice(DEVICE_CLASSES), chance.choice(PLATFORMS)),
        place=PlaceFacts(country, region),
        weather=chance.choice((None, weather)),
        at=NOW + timedelta(minutes=chance.randint(0, 60 * 24 * 40)),
        section=chance.choice((None, "sport", "other")),
        timezone=chance.choice(ZONES),
        consented=chance.choice((None, under_consent(some_signals(chance)))),
    )


def some_signals(chance):
    return Admitted(
        cohorts=tuple(chance.sample(COHORTS, k=chance.randint(0, 2))),
        journey_stage=chance.choice((None, *INTENTS)),
        loyalty_tier=chance.choice((None, *TIERS)),
        capped=tuple(chance.sample([f"c{i}" for i in range(25)], k=chance.choice((0, 0, 3)))),
    )


@pytest.mark.parametrize("seed", range(4))
def test_bitmaps_say_what_the_rules_say(tmp_path, seed):
    chance = random.Random(seed)
    world, publishers, campaigns, creatives, approvals = some_world(tmp_path, chance)
    view = world.view
    ran = 0
    for _ in range(200):
        context = some_context(world, chance)
        placement = Placement(
            "top",
            formats=chance.choice((("native", "banner"), ("native",), ("banner",))),
            sizes=tuple(chance.sample(SIZES, k=chance.randint(0, 2))),
            floor_micros=chance.choice((0, 500_000)),
            block_advertisers=chance.choice(((), ("a0",), ("unheard-of",))),
            block_categories=chance.choice(((), ("1002",))),
        )
        found = frozenset(t.id for t in context.page.topics)
        rules = predicates(view, context, found, placement)
        allowed = {view.snapshot.creative_id(row) for row in eligible(view, rules, view.paid).rows}
        expected = {
            c.id
            for c in creatives
            if may_run(
                c,
                campaigns[c.campaign],
                publishers[context.publisher],
                context,
                found,
                placement,
                NOW,
                approvals,
            )
        }
        assert allowed == expected
        ran += len(expected)
    assert ran > 100  # else the test says nothing


def test_a_rule_on_a_topic_holds_for_its_subtree(tmp_path):
    world = World(tmp_path)
    sports = Targeting(topics=Rule(include=("483",)))
    world.put(publisher(), advertiser(), campaign(targeting=sports), creative())
    view, context = world.view, world.context(page=world.page("cycling", topics=topics("492")))
    for found, runs in ((frozenset({"492", "483"}), True), (frozenset({"492"}), False)):
        rules = predicates(view, context, found, Placement("top"))
        assert bool(eligible(view, rules, view.paid).count) is runs


def test_each_rule_that_excludes_is_named(tmp_path):
    world = World(tmp_path)
    night = Targeting(parts_of_day=Rule(include=("night",)), countries=Rule(exclude=("DE",)))
    world.put(publisher(), advertiser(), campaign(targeting=night), creative())
    view = world.view
    rules = predicates(view, world.context("a page"), frozenset(), Placement("top"))
    kept_out = {name for name, words in rules if not words[0] & 1}
    assert kept_out == {"part of day: evening", "country: DE"}


def test_a_rule_on_consented_signals_that_excludes_is_named(tmp_path):
    world = World(tmp_path)
    rules = Targeting(
        cohorts=Rule(include=("priced",)),
        journey_stages=Rule(include=("decision",)),
        loyalty_tiers=Rule(exclude=("gold",)),
    )
    world.put(publisher(), advertiser(), campaign(targeting=rules, frequency_cap=3), creative())

    def kept_out(**signals):
        context = world.context("a page", consented=under_consent(Admitted(**signals)))
        found = predicates(world.view, context, frozenset(), Placement("top"))
        return {name for name, words in found if not words[0] & 1}

    assert kept_out() == {"cohort: none that the campaign asks for", "journey stage: unknown"}
    assert kept_out(cohorts=("priced",), journey_stage="decision") == set()
    assert kept_out(cohorts=("priced",), journey_stage="awareness", loyalty_tier="gold") == {
        "journey stage: awareness",
        "loyalty tier: gold",
    }
    assert kept_out(cohorts=("priced",), journey_stage="decision", capped=("spring",)) == {
        "frequency cap of campaign spring"
    }


def test_a_nested_rule_says_which_part_of_it_is_not_met(tmp_path):
    world = World(tmp_path)
    rule = Condition(
        name="wet evenings",
        any=(Condition(weather=("rain", "drizzle")), Condition(temperature_c=Range(below=3))),
        none=(Condition(name="far", countries=("DE",), hours=(Hours("18:00", "23:00", "Europe/Berlin"),)),),
    )
    world.put(publisher(), advertiser(), campaign(targeting=Targeting(rule=rule)), creative())
    conditions = world.view.snapshot.conditions
    context = world.context("a page", weather=WeatherFacts("clear", "mild", 1.0, 12.0))
    assert conditions.unmet(0, conditions.met(context, ())) == (
        "campaign: wet evenings: none of these is met: weather rain, drizzle; or temperature below 3 °C",
        "campaign: wet evenings: excluded: 'far' (country DE and hours 18:00-23:00 in Europe/Berlin)",
    )
    later = world.context("a page", at=NOW + timedelta(hours=5), weather=WeatherFacts("rain"))
    assert conditions.unmet(0, conditions.met(later, ())) == ()
