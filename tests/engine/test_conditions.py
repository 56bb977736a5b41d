import json
import random
from datetime import UTC, datetime

import msgspec
import pytest

from contexts.context import WEEKDAYS
from contexts.taxonomy import content_taxonomy
from engine.campaign import Condition, Hours, Range, Rule, Targeting
from engine.check.conditions import MAX_DEPTH, check_possible
from engine.check.findings import Known, known_vocabularies
from engine.conditions import condition_of, is_on
from engine.errors import CatalogErrors
from engine.load import apply, plan
from engine.load_files import Values
from engine.releases import last_closed
from engine.satisfiable import LEAST_STEPS, STEPS, Effort, _minutes, is_possible
from engine.store import open_store
from privacy.release import Axis, day_of, draw, query_of
from privacy.workload import OUTCOMES, table
from tests.engine.test_targeting import some_condition, some_context
from tests.reference import holds
from tests.world import World, advertiser, publisher

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KNOWN: Known = known_vocabularies()
CAMPAIGN = {"kind": "campaign", "id": "c", "advertiser": "a", "name": "c", "cpm_micros": 1000}
ADVERTISER = {"kind": "advertiser", "id": "a", "name": "a", "domains": ["a.example"]}


def above(topic):
    return content_taxonomy().ancestors(topic)


def refused(tmp_path, campaign, *others):
    """Return what is wrong with a campaign, as (field, got, expected)."""
    store = open_store(f"sqlite:///{tmp_path / 'w.db'}")
    try:
        with plan(Values([ADVERTISER, {**CAMPAIGN, **campaign}, *others]), store, KNOWN, NOW):
            return []
    except CatalogErrors as errors:
        return [(error.field, error.got, error.expected) for error in errors.errors]
    finally:
        store.close()


def deep(levels):
    rule = {"topics": ["483"]}
    for _ in range(levels):
        rule = {"all": [rule]}
    return rule


WRONG = [
    ({"rule": {"any": [{"topic": ["483"]}]}}, "targeting.rule.any[0]", "'topic'"),
    ({"rule": {"any": [{"topics": ["sport"]}]}}, "targeting.rule.any[0].topics[0]", "'sport'"),
    ({"rule": {"none": [{"devices": ["fridge"]}]}}, "targeting.rule.none[0].devices[0]", "'fridge'"),
    ({"rule": {"all": [{}]}}, "targeting.rule.all[0]", "'a condition that says nothing'"),
    ({"rule": deep(MAX_DEPTH)}, "targeting.rule", f"'over {MAX_DEPTH} levels'"),
    ({"rule": deep(3000)}, "(line)", "values nested too deeply"),
    ({"rule": {"sections": ["sport"]}}, "targeting.rule.sections[0]", "'sport'"),
    ({"rule": {"timezone": "Mars/Base", "weekdays": ["mon"]}}, "targeting.rule.timezone", "'Mars/Base'"),
    ({"rule": {"sensitive": ["gore"]}}, "targeting.rule.sensitive[0]", "'gore'"),
    ({"hours": [{"start": "25:00", "end": "10:00"}]}, "targeting.hours[0].start", "'25:00'"),
    ({"hours": [{"start": "09:00", "end": "09:00"}]}, "targeting.hours[0].end", "'09:00'"),
    ({"hours": [{"start": "24:00", "end": "09:00"}]}, "targeting.hours[0].start", "'24:00'"),
    ({"hours": [{"start": "9:00", "end": "10:00"}]}, "targeting.hours[0].start", "'9:00'"),
    (
        {"hours": [{"start": "08:00", "end": "10:00", "weekdays": ["monday"]}]},
        "targeting.hours[0].weekdays[0]",
        "'monday'",
    ),
    ({"temperature_c": {"at_least": 9, "below": 9}}, "targeting.temperature_c.below", "9.0"),
    ({"wind_ms": {}}, "targeting.wind_ms", "'neither bound'"),
    ({"seasons": {"include": ["monsoon"]}}, "targeting.seasons.include[0]", "'monsoon'"),
    ({"intents": {"exclude": ["buying"]}}, "targeting.intents.exclude[0]", "'buying'"),
]


@pytest.mark.parametrize(("targeting", "field", "got"), WRONG)
def test_a_wrong_rule_is_refused_by_its_place_and_value(tmp_path, targeting, field, got):
    assert (field, got) in [told[:2] for told in refused(tmp_path, {"targeting": targeting})]


IMPOSSIBLE = [
    Targeting(devices=Rule(exclude=("phone", "tablet", "desktop", "tv"))),
    Targeting(rule=Condition(all=(Condition(devices=("tv",)), Condition(devices=("phone",))))),
    Targeting(countries=Rule(include=("FR",)), regions=Rule(include=("DE-BE",))),
    Targeting(publishers=Rule(exclude=("planet",)), sections=Rule(include=("planet/sport",))),
    Targeting(topics=Rule(include=("492",)), rule=Condition(none=(Condition(topics=("483",)),))),
    Targeting(weekdays=Rule(include=("sat",)), hours=(Hours("09:00", "17:00", None, ("mon", "tue")),)),
    Targeting(parts_of_day=Rule(include=("evening",)), hours=(Hours("09:00", "17:00"),)),
    Targeting(weather=Rule(include=("hot",)), temperature_c=Range(below=5)),
    Targeting(
        rule=Condition(temperature_c=Range(at_least=20), none=(Condition(temperature_c=Range(at_least=10)),))
    ),
    Targeting(rule=Condition(keywords=("Tent",), none=(Condition(any=(Condition(keywords=("tent",)),)),))),
    Targeting(rule=Condition(all=(Condition(weather=("rain",)), Condition(weather=("snow",))))),
]
POSSIBLE = [
    Targeting(),
    Targeting(seasons=Rule(exclude=("spring", "summer", "autumn", "winter"))),  # the tropics have none
    Targeting(weekdays=Rule(include=("tue",)), hours=(Hours("22:00", "02:00", None, ("mon",)),)),
    Targeting(weather=Rule(include=("rain",)), rule=Condition(weather=("cold",))),
    Targeting(topics=Rule(include=("483",)), rule=Condition(none=(Condition(topics=("492",)),))),
    Targeting(
        rule=Condition(
            none=(Condition(temperature_c=Range(at_least=0)), Condition(temperature_c=Range(below=0)))
        )
    ),  # where it is not known
]


@pytest.mark.parametrize("targeting", IMPOSSIBLE)
def test_rules_that_no_page_view_can_meet_are_found(targeting):
    assert not is_possible(condition_of(targeting, whole=True), above)


@pytest.mark.parametrize("targeting", POSSIBLE)
def test_rules_that_some_page_view_meets_are_let_through(targeting):
    refusals = []
    check_possible(targeting, None, above, lambda *told: refusals.append(told))
    assert not refusals


def test_the_minutes_of_a_daypart_are_those_at_which_it_is_on():
    chance = random.Random(3)
    times = ["00:00", "06:30", "22:15", "23:59", "24:00"]
    for _ in range(40):
        start, end = chance.choice(times[:-1]), chance.choice(times)
        hours = Hours(start, end, None, tuple(chance.sample(WEEKDAYS, chance.randrange(4))))
        assert _minutes("hours", hours) == sum(1 << at for at in range(7 * 1440) if is_on(hours, at))


# One of two, forty times, and a contradiction behind: too many ways to look for what is not there.
HARD = Condition(
    all=(
        *(Condition(any=(Condition(keywords=(f"a{n}",)), Condition(keywords=(f"b{n}",)))) for n in range(40)),
        Condition(devices=("phone",)),
        Condition(devices=("tablet",)),
    )
)


def test_searches_that_are_given_up_get_shorter():
    effort = Effort()
    assert is_possible(HARD, above, effort)
    assert effort.steps == STEPS // 2
    for _ in range(20):
        is_possible(HARD, above, effort)
    assert effort.steps == LEAST_STEPS
    impossible = [condition_of(targeting, whole=True) for targeting in IMPOSSIBLE]
    assert not any(is_possible(condition, above, effort) for condition in impossible)


def test_long_lists_take_a_search_more_steps():
    lists = [[tuple(f"{side}{n}-{at}" for at in range(1000)) for side in "ab"] for n in range(40)]
    looked_at = []

    def counted(topic):
        looked_at.append(topic)
        return ()

    rule = Condition(
        all=(
            *(Condition(any=tuple(Condition(topics=side) for side in sides)) for sides in lists),
            Condition(devices=("phone",)),
            Condition(devices=("tablet",)),
        )
    )
    assert is_possible(rule, counted)
    assert len(looked_at) < 20_000


def test_hard_rules_of_a_file_are_searched_less_far_from_one_to_the_next(tmp_path, monkeypatch):
    steps = []

    def noted(rule, above, effort):
        steps.append(effort.steps)
        return is_possible(rule, above, effort)

    monkeypatch.setattr("engine.check.conditions.is_possible", noted)
    world = World(tmp_path)
    hard = {"rule": msgspec.to_builtins(HARD)}
    campaigns = [{**CAMPAIGN, "id": f"hard-{n}", "targeting": hard} for n in range(3)]
    with plan(Values([ADVERTISER, *campaigns]), world.store, KNOWN, NOW):
        assert steps == [STEPS, STEPS // 2, STEPS // 4]


def test_what_holds_somewhere_is_never_called_impossible(tmp_path):
    chance = random.Random(7)
    world = World(tmp_path)
    world.put(publisher(), publisher("gazette"), advertiser())
    contexts = [some_context(world, chance) for _ in range(60)]
    found = impossible = 0
    for _ in range(1500):
        condition = some_condition(chance)
        met = any(
            holds(condition, context, frozenset(t.id for t in context.page.topics)) for context in contexts
        )
        possible = is_possible(condition, lambda topic: ())
        assert possible or not met
        found, impossible = found + met, impossible + (not possible)
    assert found > 300
    assert impossible > 10


def test_a_contradiction_is_refused_with_the_remedy(tmp_path):
    told = refused(
        tmp_path, {"targeting": {"countries": {"include": ["FR"]}, "regions": {"include": ["DE-BE"]}}}
    )
    assert told == [
        (
            "targeting",
            "'rules that contradict each other'",
            "rules that some page view can meet: these can never match",
        )
    ]


def test_a_creative_that_contradicts_its_campaign_is_refused(tmp_path):
    creative = {
        "kind": "creative",
        "id": "k",
        "campaign": "c",
        "format": "native",
        "headline": "Hello",
        "landing_url": "https://a.example/",
        "targeting": {"devices": {"include": ["tv"]}},
    }
    rule = {"rule": {"none": [{"devices": ["tv"]}]}}
    ((field, got, _),) = refused(tmp_path, {"targeting": rule}, creative)
    assert (field, got) == ("targeting", "'rules that contradict those of the campaign'")


@pytest.mark.parametrize(
    ("campaign", "field"),
    [
        ({"flight": {"budget_micros": 0}}, "flight.budget_micros"),
        ({"flight": {"daily_budget_micros": 0}}, "flight.daily_budget_micros"),
        ({"flight": {"end": "2026-11-23T11:59:00Z"}}, "flight.end"),
        ({"flight": {"pacing": "even"}}, "flight.pacing"),
        ({"flight": {"pacing": "even", "budget_micros": 5}}, "flight.pacing"),
        ({"share_cap": 0}, "share_cap"),
        ({"political": True}, "political_notice.sponsor"),
        ({"political_notice": {"sponsor": "us"}}, "political_notice"),
    ],
)
def test_what_could_never_run_is_refused(tmp_path, campaign, field):
    assert field in [told[0] for told in refused(tmp_path, campaign)]


NOTICE = {
    "sponsor": "Green Party, 1 High Street",
    "amount": "12000 EUR",
    "process": "European elections 2029",
    "notice_url": "https://a.example/notice",
}


def test_a_political_campaign_needs_all_its_notice_and_a_publisher_that_takes_it(tmp_path):
    told = {"political": True, "political_notice": NOTICE}
    assert [field for field, *_ in refused(tmp_path, told)] == ["political"]
    planet = {"kind": "publisher", "id": "planet", "name": "Planet", "domains": ["planet.example"]}
    takes = {**planet, "political": True}
    assert refused(tmp_path, told, takes) == []
    at_planet = {**told, "targeting": {"publishers": {"include": ["planet"]}}}
    assert refused(tmp_path, at_planet, takes) == []
    ((field, *_),) = refused(tmp_path, at_planet, planet)
    assert field == "targeting.publishers.include[0]"
    for name in NOTICE:
        less = {**told, "political_notice": {k: v for k, v in NOTICE.items() if k != name}}
        assert [field for field, *_ in refused(tmp_path, less, takes)] == [f"political_notice.{name}"]
    fields = [field for field, *_ in refused(tmp_path, {**told, "frequency_cap": 2}, takes)]
    assert fields == ["frequency_cap"]


def test_a_flight_that_ended_may_be_loaded_again_as_it_was(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'w.db'}")
    over = {**CAMPAIGN, "flight": {"end": "2026-11-23T11:00:00Z"}}
    before = datetime(2026, 11, 23, 10, tzinfo=UTC)
    from engine.load import apply

    with plan(Values([ADVERTISER, over]), store, KNOWN, before) as planned:
        apply(planned, store, "test", before)
    with plan(Values([{**over, "name": "another"}]), store, KNOWN, NOW) as planned:
        assert planned.changed["campaign"] == 1
    store.close()


def test_a_daypart_over_midnight_belongs_to_the_day_on_which_it_begins():
    late = Hours("22:30", "01:15", None, ("fri",))
    friday = 4 * 1440
    on = [friday + 22 * 60 + 30, friday + 1439, friday + 1440, friday + 1440 + 74]
    off = [friday + 22 * 60 + 29, friday + 1440 + 75, friday, 3 * 1440 + 1400]
    assert [is_on(late, minute) for minute in on] == [True] * 4
    assert [is_on(late, minute) for minute in off] == [False] * 4


def test_a_rule_goes_through_the_wire_unchanged():
    rule = Condition(any=(Condition(topics=("483",)), Condition(hours=(Hours("06:00", "09:30"),))))
    import msgspec

    data = msgspec.json.encode(Targeting(rule=rule))
    assert json.loads(data)["rule"]["any"][1] == {"hours": [{"start": "06:00", "end": "09:30"}]}
    assert msgspec.json.decode(data, type=Targeting).rule == rule


def test_a_word_counts_only_in_the_sense_that_a_rule_asks_for(tmp_path):
    from engine.campaign import Sense
    from engine.conditions import pairs_of
    from tests.world import Site, campaign, creative

    world = World(tmp_path)
    rule = Condition(senses=(Sense("bass", topics=("338",), other=("511",)),))
    world.put(publisher(), advertiser(), campaign(targeting=Targeting(rule=rule)), creative())
    site = Site(world)
    site.pages.model.senses.prepare(pairs_of(world.view.snapshot.conditions.senses))
    assert site.shown(title="bass music entertainment guitar evening concert") == ["spring-1"]
    assert site.shown(title="bass fishing sports river morning lake") == []
    assert site.shown(title="music entertainment guitar evening concert hall") == []


def test_a_sense_of_unknown_or_the_same_topics_is_refused(tmp_path):
    rule = {"rule": {"senses": [{"word": "bass", "topics": ["338", "x"], "other": ["338"]}]}}
    fields = [told[0] for told in refused(tmp_path, {"targeting": rule})]
    assert fields == ["targeting.rule.senses[0].topics[1]", "targeting.rule.senses[0].other"]


def test_a_rule_of_thousands_of_meanings_is_refused(tmp_path):
    # To prepare for those of a body of 2 MB would take millions of encodings.
    topics = [node.id for node in content_taxonomy()]
    many = [{"word": f"bass{n}", "topics": topics[:20], "other": topics[20:40]} for n in range(13)]
    nested = {"any": [{"senses": many[:6]}, {"senses": many[6:]}]}
    assert refused(tmp_path, {"targeting": {"rule": nested}}) == [
        ("targeting.rule", "'over 500 topics of senses'", "at most 500, of all words together")
    ]
    assert not refused(tmp_path, {"targeting": {"rule": {"senses": many[:12]}}})


def released(day, topics=(), sections=(), moments=()):
    """Return bodies by query: of the cells that are named some thousand page views, of others none."""
    bodies = {}
    for name, keys, of in (
        ("topics", [("",), ("210",), ("483",), ("492",)], [(t,) for t in topics]),
        ("placements", [("planet", s, o) for s in ("news", "other") for o in OUTCOMES], sections),
        ("moments", [("planet", d, p, w) for d in ("phone", "tv") for p in ("evening", "morning")
                     for w in ("", "rain")], moments),
    ):  # fmt: skip
        wanted = table(name)
        body = json.loads(draw(wanted, day, [Axis(wanted.dims, tuple(sorted(keys)))], {}))
        body["counts"] = [4000 if key in of else 20 for key in sorted(keys)]
        bodies[query_of(wanted, day)] = json.dumps(body).encode()
    return bodies


def test_how_many_released_page_groups_a_rule_could_match_is_told_when_it_is_loaded(tmp_path, monkeypatch):
    world = World(tmp_path)
    rule = {"topics": {"include": ["483"]}, "devices": {"include": ["phone"]}}
    nested = {"rule": {"none": [{"topics": ["483"]}], "any": [{"languages": ["de"]}, {"weather": ["rain"]}]}}
    section = {"sections": {"include": ["planet/news"]}}
    records = [
        ADVERTISER,
        {**CAMPAIGN, "id": "flat", "targeting": rule},
        {**CAMPAIGN, "id": "nested", "targeting": nested},
        {**CAMPAIGN, "id": "section", "targeting": section},
        {**CAMPAIGN, "id": "language", "targeting": {"languages": {"include": ["de"]}}},
    ]
    day = last_closed(NOW) - 2
    moments = [
        ("planet", "phone", "evening", "rain"),
        ("planet", "phone", "morning", ""),
        ("planet", "tv", "evening", ""),
    ]
    bodies = released(day, ["492", "210", "483"], [("planet", "other", "shown")], moments)
    monkeypatch.setattr(world.store, "released", bodies.get)
    said = f"of those released for {day_of(day).isoformat()}"
    with plan(Values(records), world.store, known_vocabularies(), NOW) as planned:
        assert planned.warnings == [
            f"campaign flat: its rules could match 2 of 3 topics, 2 of 3 moments {said}",
            f"campaign nested: its rules could match 1 of 3 topics, 3 of 3 moments {said}",
            "campaign section: section 'planet/news': nobody registered it: "
            "what asks for it can never match until somebody does",
            f"campaign section: its rules could match 0 of 1 sections {said}",
        ]
        apply(planned, world.store, "test", NOW)
    with plan(Values(records), world.store, known_vocabularies(), NOW) as planned:
        assert planned.warnings == []  # nothing changed


def test_where_no_day_is_released_that_is_told(tmp_path):
    world = World(tmp_path)
    records = [ADVERTISER, {**CAMPAIGN, "targeting": {"devices": {"include": ["phone"]}}}]
    with plan(Values(records), world.store, KNOWN, NOW) as planned:
        (warning,) = planned.warnings
        assert "no page groups were released in the last 7 days" in warning


def test_what_a_rule_matches_somewhere_it_could_match(tmp_path):
    from engine.reach import could_match

    chance = random.Random(11)
    world = World(tmp_path)
    world.put(publisher(), publisher("gazette"), advertiser())
    contexts = [some_context(world, chance) for _ in range(40)]
    met = 0
    for _ in range(400):
        condition = some_condition(chance)
        for context in contexts:
            if holds(condition, context, frozenset(t.id for t in context.page.topics)):
                met += 1
                said = {"topics": frozenset(t.id for t in context.page.topics)}
                said["publishers"] = frozenset({context.publisher})
                said["devices"] = frozenset({context.device.cls})
                assert could_match(condition, said, lambda topic: ())
    assert met > 1000
