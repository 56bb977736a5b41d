"""Messages put together from parts: what is refused, what may stand together, what is drawn and how it is told."""

import io
from base64 import b64encode
from datetime import timedelta

import msgspec
import numpy as np
import PIL.Image
import pytest
from msgspec import convert, to_builtins

from contexts.context import Admitted, WeatherFacts
from contexts.first_party import FirstParty
from engine.campaign import PoliticalNotice, SizeRule, Targeting
from engine.change import KINDS
from engine.check.findings import Known
from engine.creative import Image, Offer, Parts, messages
from engine.decision import CreativeAnswer, Placement
from engine.errors import CatalogErrors
from engine.governor import Buckets, copy_of, in_words, names
from engine.learn.response import VERSION, Model, Responses
from engine.load import apply, plan
from engine.load_files import Values
from engine.policy import Policy
from engine.retrieve import context_rules
from engine.wording import room
from privacy.release import Axis, Release
from tests.consent import under_consent
from tests.world import NOW, Site, World, advertiser, campaign, creative, publisher

TEXT = "leek soup with potatoes"
NOTICE = PoliticalNotice("A, Road 1", "", "1 EUR", "an election", "https://acme.example/notice")
PARTS = {
    "headlines": [
        {"id": "h1", "text": "Soup for a {{ weather | long }} day"},
        {"id": "h2", "text": "Leek soup"},
        {"id": "h3", "text": "Bread and butter"},
    ],
    "bodies": [{"id": "b1", "text": "Made by people who cook."}, {"id": "b2", "text": "Ready in minutes."}],
    "ctas": [{"id": "c1", "text": "Order"}, {"id": "c2", "text": "Taste it"}],
    "offers": [{"id": "o1", "text": "Two for one"}],
}
SAID = {
    "kind": "creative",
    "id": "soup-1",
    "campaign": "soup",
    "format": "native",
    "headline": "Good soup",
    "landing_url": "https://acme.example/soup",
    "parts": PARTS,
}


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.put(publisher(), advertiser(), campaign("soup"))
    yield world
    world.store.close()


def load(world, **more):
    """Load a creative as a file would, and return the warnings."""
    with plan(Values([SAID | more]), world.store, Known(frozenset(), frozenset()), NOW) as planned:
        apply(planned, world.store, "test", NOW)
        return planned.warnings


def faults(world, **more):
    with pytest.raises(CatalogErrors) as refused:
        load(world, **more)
    return {error.field: error for error in refused.value.errors}


def with_parts(**more):
    return {"parts": PARTS | more}


def site(world, chances=None):
    drawn = np.random.default_rng(5)
    site = Site(world)
    site.chance = (lambda n: chances.pop(0)) if chances else drawn.bytes
    return site


def shown(answer):
    return [msgspec.json.decode(filled.creative, type=CreativeAnswer) for filled in answer.decisions]


def drawn(site, times=200, **said):
    """Return the answers and creatives of so many page views."""
    answers = [site.ask(Placement("top"), title=TEXT, **said) for _ in range(times)]
    return [a.decisions[0] for a in answers], [shown(a)[0] for a in answers]


# --- what is refused ---


@pytest.mark.parametrize(
    ("more", "field", "got"),
    [
        (with_parts(never=[["h1", "h9"]]), "parts.never[0]", "h9"),
        (with_parts(locked=["h9"]), "parts.locked[0]", "h9"),
        (with_parts(locked=["h1", "h2"]), "parts", "no combination"),
        (with_parts(always=[["h1", "h2"]]), "parts.always[0]", "h1"),
        (with_parts(never=[["b1", "c1"], ["b1", "c2"], ["b2", "c1"], ["b2", "c2"]]), "parts", "no combination"),
        (with_parts(headlines=[{"id": "h1", "text": "A {{ weather }} day"}]), "parts.headlines[0].text", "weather"),
        (with_parts(headlines=[{"id": "h1", "text": "A {{ weather | }} day"}]), "parts.headlines[0].text", "weather"),
        (with_parts(headlines=[{"id": "h1", "text": "{{ name | you }}"}]), "parts.headlines[0].text", "name"),
        (with_parts(headlines=[{"id": "h1", "text": "{{ weather | x"}]), "parts.headlines[0].text", "brace"),
        (with_parts(headlines=[{"id": "h1", "text": "x" * 91}]), "parts.headlines[0].text", "91"),
        (with_parts(headlines=[{"id": "h1", "text": "a <b>"}]), "parts.headlines[0].text", "<"),
        (with_parts(headlines=[{"id": "b1", "text": "a"}]), "parts.bodies[0].id", "b1"),
        (with_parts(headlines=[{"id": "h1", "text": "a", "only": {"weather": ["hail"]}}]),
         "parts.headlines[0].only.weather[0]", "hail"),
        (with_parts(headlines=[{"id": "h1", "text": "a", "prefer": {"times": ["tea"]}}]),
         "parts.headlines[0].prefer.times[0]", "tea"),
        (with_parts(images=[{"id": "i1", "image": {"alt": " ", "hash": "0" * 64}}]), "parts.images[0].image.alt", " "),
        (with_parts(offers=[{"id": "o1", "text": "a", "start": "2026-11-02T00:00:00Z", "end": "2026-11-01T00:00:00Z"}]),
         "parts.offers[0].end", "2026-11-01"),
        ({"parts": {}}, "parts", "no part"),
        ({"headline": "Rainy evening soup"}, "headline", "weather and hour"),
        ({"headline": "{{ weather | cool }} soup"}, "headline", "token"),
        ({"format": "banner", "size": [301, 251]}, "size", "301x251"),
        (with_parts(sizes=[[300, 250]]), "parts.sizes", "300"),
        ({"targeting": {"cohorts": {"include": ["two-for-one"]}}}, "parts.offers[0].text", "Two for one"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_refused_with_its_field_value_and_remedy(world, more, field, got):
    error = faults(world, **more)[field]
    assert got in error.got and len(error.expected) > 10
    assert world.store.find("creative", ["soup-1"]) == {}


def test_copy_must_fit_every_size_with_its_tokens_at_their_longest(world):
    text = {"id": "h1", "text": "Soup for a {{ weather | dull }} day right now"}
    fits = {"format": "banner", "size": [300, 250], "headline": "Soup"}
    assert load(world, **fits, **with_parts(headlines=[text])) == []
    error = faults(world, **fits, **with_parts(headlines=[text], sizes=[[300, 50]]))[
        "parts.headlines[0].text"
    ]
    assert "28 characters in 300x50" in error.expected


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("soup", 4),
        ("cafe\u0301", 4),
        ("กำลังดี", 5),  # a mark above a letter has no room of its own
        ("温かいスープ", 12),
        ("👩‍🍳🇩🇪👍🏽", 6),  # a woman who cooks, a flag, a thumb
    ],
)
def test_signs_take_the_room_that_a_reader_sees(text, taken):
    assert room(text) == taken


def test_wide_letters_count_twice_where_a_box_bounds_them(world):
    text = [{"id": "h1", "text": "温" * 31}]
    assert load(world, **with_parts(headlines=text)) == []
    banner = {"format": "banner", "size": [300, 250], "headline": "Soup"} | with_parts(headlines=text)
    error = faults(world, **banner)["parts.headlines[0].text"]
    assert (error.got, error.expected[:50]) == (
        "'62 characters'",
        "at most 60 characters in 300x250, of which wide on",
    )


def test_a_part_that_no_message_shows_is_warned_of(world):
    assert load(world, **with_parts(locked=["h1"])) == [
        "creative soup-1: parts.headlines[1]: part 'h2' stands in no combination",
        "creative soup-1: parts.headlines[2]: part 'h3' stands in no combination",
    ]


def test_rules_leave_just_the_combinations_that_a_slow_reading_of_them_does():
    rules = {"never": [["h1", "b1", "c2"]], "always": [["h2", "c1"]], "locked": ["o1"]}
    parts = msgspec.convert(PARTS | rules, Parts)

    def allowed(ids):
        return len(ids & {"h1", "b1", "c2"}) <= 1 and len(ids & {"h2", "c1"}) in (0, 2) and "o1" in ids

    lists = [[p.id for p in some] for _, some in parts.lists]
    slow = {(h, b, c, o) for h in lists[0] for b in lists[1] for c in lists[2] for o in lists[3]}
    slow = {ids for ids in slow if allowed(set(ids))}
    fast = {tuple(ids[at] for ids, at in zip(lists, row, strict=True)) for row in messages(parts)}
    assert fast == slow and slow


def test_a_creative_comes_back_from_the_store_as_it_was_loaded(world):
    load(world)
    stored = world.store.find("creative", ["soup-1"])["soup-1"]
    again = msgspec.json.decode(msgspec.json.encode(stored), type=KINDS["creative"])
    assert again == stored and [p.id for p in stored.parts] == [
        "h1",
        "h2",
        "h3",
        "b1",
        "b2",
        "c1",
        "c2",
        "o1",
    ]


# --- what is shown ---


def test_messages_are_drawn_with_the_chances_that_are_told(world):
    load(world)
    filled, creatives = drawn(site(world), 600)
    seen = {}
    for one, made in zip(filled, creatives, strict=True):
        key = (made.assets.headline, made.assets.body, made.assets.cta)
        assert 0 < one.propensity < 1
        assert seen.setdefault(key, one.propensity) == one.propensity
    assert 10 <= len(seen) <= 12 and 0.97 < sum(seen.values()) < 1.0001
    for key, chance in seen.items():
        often = sum((m.assets.headline, m.assets.body, m.assets.cta) == key for m in creatives) / 600
        assert often == pytest.approx(chance, abs=4 * (chance / 600) ** 0.5)


def test_the_part_that_is_nearest_to_the_page_is_shown_most(world):
    load(world)
    _, creatives = drawn(site(world), 300)
    often = {h: sum(c.assets.headline == h for c in creatives) for h in ("Leek soup", "Bread and butter")}
    assert often["Leek soup"] > 1.5 * often["Bread and butter"] > 0


def test_a_message_says_what_it_was_put_together_from(world):
    load(world)
    filled, creatives = drawn(site(world), 1)
    told, made = filled[0].message, creatives[0]
    texts = {p["id"]: p["text"] for some in PARTS.values() for p in some}
    assert made.assets.offer == "Two for one" == texts[told.parts["offer"]]
    assert made.assets.body == texts[told.parts["body"]]
    assert told.of == 12 and told.policy == "prior" and len(told.because) == 4
    assert told.budget_bits == 8.0
    assert sum(r.share for r in filled[0].reasons) == pytest.approx(filled[0].score)
    plain = site(world).ask(Placement("top"), title=TEXT, explain=False).decisions[0]
    assert plain.message is None and plain.propensity > 0


def test_without_parts_nothing_is_drawn_and_nothing_new_is_told(world):
    world.put(creative("plain", "soup"))
    engine = site(world)
    engine.chance = None  # a draw would fail
    filled = engine.ask(Placement("top"), title=TEXT).decisions[0]
    assert filled.propensity is None and filled.message is None


@pytest.mark.parametrize(
    ("only", "said", "there"),
    [
        ({"weather": ["rain"]}, {"condition": "rain"}, True),
        ({"weather": ["rain"]}, {"condition": "clear"}, False),
        ({"weather": ["rain"]}, {}, False),
        ({"devices": ["phone"]}, {"device_class": "phone"}, True),
        ({"devices": ["phone"]}, {"device_class": "desktop"}, False),
        ({"parts_of_day": ["evening"]}, {}, True),
        ({"parts_of_day": ["morning"]}, {}, False),
        ({"countries": ["DE"]}, {}, True),
        ({"countries": ["FR"]}, {}, False),
        ({"publishers": ["planet"]}, {}, True),
        ({"sections": ["food"]}, {}, False),
        ({"weekdays": ["mon"], "seasons": ["autumn"]}, {}, True),
    ],
)
def test_a_part_stands_only_in_the_contexts_that_it_names(world, only, said, there):
    load(world, parts={"headlines": [{"id": "h1", "text": "The one", "only": only}]})
    _, creatives = drawn(site(world), 1, **said)
    assert creatives[0].assets.headline == ("The one" if there else "Good soup")


def test_the_default_message_is_shown_where_no_other_may_be(world):
    load(world, parts={"headlines": [{"id": "h1", "text": "x", "only": {"countries": ["FR"]}}]})
    filled, creatives = drawn(site(world), 3)
    assert {c.assets.headline for c in creatives} == {"Good soup"}
    assert {f.propensity for f in filled} == {1.0} and filled[0].message.parts == {}


def test_an_offer_is_shown_while_it_holds_and_no_longer(world):
    end = (NOW + timedelta(minutes=10)).isoformat()
    load(world, parts={"offers": [{"id": "o1", "text": "Two for one", "end": end}]})
    here = site(world)
    assert drawn(here, 1)[1][0].assets.offer == "Two for one"
    world.now = NOW + timedelta(minutes=10)
    assert drawn(here, 1)[1][0].assets.offer == ""


def test_an_offer_that_ends_within_a_second_is_not_shown_after_it(world):
    end = (NOW + timedelta(seconds=59.999)).isoformat()
    start = (NOW + timedelta(seconds=10.5)).isoformat()
    load(world, parts={"offers": [{"id": "o1", "text": "Two for one", "start": start, "end": end}]})
    world.put(creative("fixed", "soup", offer=Offer(start=NOW + timedelta(seconds=10.5))))
    here = site(world)

    def shows(seconds):
        world.now = NOW + timedelta(seconds=seconds)
        answer = here.ask(Placement("top", count=2), title=TEXT)
        shown = {
            a["id"]: a["assets"] for a in (msgspec.json.decode(one.creative) for one in answer.decisions)
        }
        return shown["soup-1"].get("offer"), "fixed" in shown

    assert shows(10) == shows(10.2) == (None, False)
    assert shows(11) == shows(58) == ("Two for one", True)
    assert shows(59.1) == shows(59.2) == shows(3600) == (None, True)


def test_tokens_become_words_of_the_context_or_their_fall_backs(world):
    load(world, parts={"headlines": [{"id": "h1", "text": "A {{ weather | quiet }} day"}]})
    here = site(world)
    assert drawn(here, 1, condition="rain")[1][0].assets.headline == "A rainy day"
    assert drawn(here, 1)[1][0].assets.headline == "A quiet day"
    load(world, language="de", parts={"headlines": [{"id": "h1", "text": "Heute: {{ weather | alles }}"}]})
    assert drawn(site(world), 1, condition="rain")[1][0].assets.headline == "Heute: regnerisch"


def test_a_section_is_named_where_the_page_lies_in_one_and_touches_no_article_9_topic(world):
    from engine.campaign import Section

    world.put(publisher(sections=(Section("slow-food", "/food"),)))
    load(world, parts={"headlines": [{"id": "h1", "text": "For {{ section | all }} readers"}]})
    here = site(world)
    assert (
        drawn(here, 1, url="https://planet.example/food/1")[1][0].assets.headline == "For slow food readers"
    )
    assert drawn(here, 1, url="https://planet.example/news")[1][0].assets.headline == "For all readers"


def test_banners_are_laid_out_in_each_size_with_text_alone_or_a_picture(world):
    banner = {"format": "banner", "size": [300, 250], "parts": PARTS | {"sizes": [[728, 90]]}}
    load(world, **banner)
    here = site(world)
    for size in ((300, 250), (728, 90)):
        made = shown(here.ask(Placement("top", ("banner",), (size,)), title=TEXT))[0]
        # 18 pixels of the height are left to the label (tests/test_assembled_browser.py measures it).
        assert made.size == size and f"width:{size[0]}px;height:{size[1] - 18}px" in made.html
        assert made.assets.headline in made.html and "<script" not in made.html
    assert here.ask(Placement("top", ("banner",), ((160, 600),)), title=TEXT).unfilled == ("top",)


@pytest.mark.parametrize("level", ["campaign", "creative"])
def test_a_banner_of_several_sizes_is_shown_in_those_that_its_size_rules_leave(world, level):
    wide, square = (728, 90), (300, 250)
    banner = {"format": "banner", "size": square, "parts": PARTS | {"sizes": [wide]}}
    for rule, size, other in (
        (SizeRule(exclude=(wide,)), square, wide),
        (SizeRule(include=(wide,)), wide, square),
    ):
        rules = Targeting(sizes=rule)
        world.put(campaign("soup", targeting=rules if level == "campaign" else Targeting()))
        load(world, **banner, **({"targeting": to_builtins(rules)} if level == "creative" else {}))
        here = site(world)
        assert here.ask(Placement("top", ("banner",), (other,)), title=TEXT).unfilled == ("top",)
        for sizes in ((size,), (other, size), ()):
            assert shown(here.ask(Placement("top", ("banner",), sizes), title=TEXT))[0].size == size


# --- the governor ---


def moments(count, weather="rain"):
    cells = {("planet", "desktop", "evening", weather): count, ("planet", "phone", "evening", "clear"): 4000}
    keys = sorted(cells)
    axes = (Axis(("publisher", "device", "part", "weather"), tuple(keys)),)
    return Release(
        "moments", 20_000, 1, 100_000, "discrete Laplace", 10.0, 0.0, 30, axes, tuple(cells[k] for k in keys)
    )


NEAR = {"headlines": [{"id": "h1", "text": "A {{ weather | quiet }} {{ part_of_day | day }}"}]}


@pytest.mark.parametrize(
    ("count", "headline"), [(None, "A quiet day"), (199, "A quiet day"), (200, "A rainy evening")]
)
def test_two_things_are_named_only_where_enough_page_views_share_them(world, count, headline):
    load(world, parts=NEAR)
    here = site(world)
    if count is not None:
        world.catalog.follow(Policy(buckets=Buckets(moments(count))))
    filled, creatives = drawn(here, 1, condition="rain")
    assert creatives[0].assets.headline == headline
    told = filled[0].message
    assert told.names == (("weather", "hour") if headline == "A rainy evening" else ())
    assert (told.specificity_bits > 3) == bool(told.names)


def test_a_publishers_dial_lowers_what_copy_may_name(world):
    world.put(publisher(specificity_bits=2.0))
    load(world, parts=NEAR)
    here = site(world)
    world.catalog.follow(Policy(buckets=Buckets(moments(200))))
    assert drawn(here, 1, condition="rain")[1][0].assets.headline == "A quiet day"
    world.catalog.follow(Policy(buckets=Buckets(moments(4000))))
    assert drawn(here, 1, condition="rain")[1][0].assets.headline == "A rainy evening"


def test_fixed_copy_that_names_two_things_runs_by_the_same_rule(world):
    world.put(creative("near", "soup", headline="A rainy evening soup"))
    here = site(world)
    assert here.shown(title=TEXT) == []
    world.catalog.follow(Policy(buckets=Buckets(moments(500))))
    assert here.shown(title=TEXT, condition="rain") == ["near"]


def test_fixed_copy_that_names_one_thing_is_held_to_the_publishers_dial(world):
    world.put(creative("wet", "soup", headline="Soup for rain"))
    assert site(world).shown(title=TEXT) == ["wet"]
    world.put(publisher(specificity_bits=1.0))
    assert site(world).shown(title=TEXT) == []
    rules = [name for name, _ in context_rules(world.view, world.context(TEXT), frozenset())]
    assert "copy that names weather: 2.81 bits, and the publisher allows 1" in rules


def test_what_a_creative_shows_beside_its_parts_counts_with_them(world):
    load(
        world,
        body="Ready tonight.",
        parts={"headlines": [{"id": "h1", "text": "A {{ weather | fine }} soup"}]},
    )
    assert drawn(site(world), 1, condition="rain")[1][0].assets.headline == "A fine soup"
    load(world, body="Ready.", parts={"headlines": [{"id": "h1", "text": "A {{ weather | fine }} soup"}]})
    assert drawn(site(world), 1, condition="rain")[1][0].assets.headline == "A rainy soup"


def test_alternative_texts_are_copy_of_which_two_things_are_not_named(world):
    html = '<p>Soup for rain</p><img src="image" alt="A bowl in the evening">'
    assert in_words(names(copy_of(creative("c", "soup", html=html)))) == ("weather", "hour")
    seen = Image("Berlin at night")
    assert in_words(names(copy_of(creative("c", "soup", headline="Soup", image=seen)))) == ("place", "hour")


def test_copy_does_not_name_the_topic_of_a_page_that_touches_article_9(world):
    parts = {"headlines": [{"id": "h1", "text": "Soup against depression"}, {"id": "h2", "text": "Soup"}]}
    load(world, parts=parts)
    world.put(creative("fixed", "soup", headline="Help for depression"), creative("other", "soup"))
    here = site(world)
    page = world.page(TEXT, special=frozenset({"health"}))
    scene = here.engine.scene_of(world.view, world.context(page=page))
    rows = [r.row for r in here.engine.matcher.shortlist(scene, Placement("top"))]
    assert {world.view.snapshot.creative_id(row) for row in rows} == {"soup-1", "other"}
    row = world.view.snapshot.row_of("soup-1")
    mixture = here.engine.messages.mixture(scene, Placement("top"), row, "other")
    assert [mixture.answer(n).assets.headline for n in range(len(mixture.kept))] == ["Soup"]
    free = here.engine.scene_of(world.view, world.context(TEXT, weather=WeatherFacts("rain")))
    assert len(here.engine.messages.mixture(free, Placement("top"), row, "other").kept) == 2


@pytest.mark.parametrize(
    ("copy", "named"),
    [
        ("A rainy evening in New York", ("place", "weather", "hour")),
        ("Snowed in, in Chicago?", ("place", "weather")),
        ("Good morning, Londoners", ("place", "hour")),
        ("A cold and wet day on your iPhones", ("weather", "device")),
        ("Order by 7 am, at 5 °C", ("weather", "hour")),
        ("Weather this bad needs a smart TV", ("weather", "device")),
        ("Ein regnerischer Abend um 20 Uhr in Nürnberg", ("place", "weather", "hour")),
        ("Une soirée pluvieuse à Lyon", ("place", "weather", "hour")),
        ("Stasera a Milano piove", ("place", "weather", "hour")),
        ("Deze avond regent het in Utrecht", ("place", "weather", "hour")),
        ("Dziś wieczorem w Warszawie pada deszcz", ("place", "weather", "hour")),
        ("Esta noite no Porto chove no seu telemóvel", ("place", "weather", "hour", "device")),
        ("Сегодня вечером в Москве дождь", ("place", "weather", "hour")),
        ("今夜の東京は雨、スマホで", ("place", "weather", "hour", "device")),
        ("오늘 저녁 서울", ("place", "hour")),
        ("هذا المساء في القاهرة", ("place", "hour")),
        ("Mu\u0308nchen am Abend, und ＢＥＲＬＩＮ bei Nacht", ("place", "hour")),
        ("#RainyEvening soup", ("weather", "hour")),
        ("Vienna's rain at half past six", ("place", "weather", "hour")),
        ("PacSun shirts, 24h delivery, turns 360 degrees, 26 pcs", ()),
        ("Hot soup, cold beer, 24:7 and 16:9", ()),
        ("Hailed by critics, in a nutshell", ("weather",)),  # too much rather than too little
    ],
)
def test_copy_names_places_weather_and_hours_also_in_several_words(copy, named):
    assert in_words(names(copy)) == named


def test_html_and_what_a_picture_shows_are_copy_too(world):
    page = world.page(TEXT, special=frozenset({"health"}))
    html = '<p>Help <b>for</b> <a href="https://acme.example/">depression</a></p>'
    world.put(
        creative("banner", "soup", format="banner", size=(300, 250), html=html),
        creative("plain", "soup", format="banner", size=(300, 250), html="<p>depress</p>"),
    )
    picture = io.BytesIO()
    PIL.Image.new("RGB", (9, 9)).save(picture, "PNG")
    image = {"alt": "A man with depression", "data": b64encode(picture.getvalue()).decode()}
    load(world, id="seen", image=image, parts=None)
    scene = site(world).engine.scene_of(world.view, world.context(page=page))
    matcher, snapshot = site(world).engine.matcher, world.view.snapshot
    for placement, ids in (
        (Placement("top", formats=("banner",), sizes=((300, 250),)), {"plain"}),
        (Placement("top", formats=("native",)), set()),
    ):
        assert {snapshot.creative_id(one.row) for one in matcher.shortlist(scene, placement)} == ids


def test_what_stands_behind_a_sign_that_begins_no_tag_is_copy():
    # Each "<" without an end was looked at up to the text's end: six seconds for 99,000 of them.
    copy = copy_of(creative("c", "soup", html="<b>at < 5 in rain</b>" + "<" * 9))
    assert "at < 5 in rain" in copy


def test_copy_does_not_mention_what_the_reader_agreed_to_be_known_by(world):
    world.put(publisher(first_party=FirstParty(cohorts=("home-cooks",))))
    load(world, parts={"headlines": [{"id": "h1", "text": "Home cooks, here"}, {"id": "h2", "text": "Soup"}]})
    world.put(
        creative("fixed", "soup", headline="For home cooks"), creative("other", "soup", headline="For cooks")
    )
    here, snapshot = site(world), world.view.snapshot
    told = under_consent(Admitted(cohorts=("home-cooks",), used=("cohort:home-cooks",)))
    for consented, ids, copy in (
        (told, {"soup-1", "other"}, ["Soup"]),
        (None, {"soup-1", "other", "fixed"}, ["Home cooks, here", "Soup"]),
    ):
        scene = here.engine.scene_of(world.view, world.context(TEXT, consented=consented))
        rows = [one.row for one in here.engine.matcher.shortlist(scene, Placement("top"))]
        assert {snapshot.creative_id(row) for row in rows} == ids
        mixture = here.engine.messages.mixture(scene, Placement("top"), snapshot.row_of("soup-1"), "other")
        assert [mixture.answer(n).assets.headline for n in range(len(mixture.kept))] == copy


@pytest.mark.parametrize("level", ["campaign", "creative", "nested"])
def test_copy_that_names_the_group_that_is_asked_for_is_refused_wherever_it_is_asked_for(world, level):
    rules = {"cohorts": {"include": ["home-cooks"]}}
    nested = {"rule": {"any": [{"cohorts": ["home-cooks"]}, {"devices": ["tv"]}]}}
    world.put(campaign("soup", targeting=convert(rules if level == "campaign" else {}, Targeting)))
    own = {"targeting": {"campaign": {}, "creative": rules, "nested": nested}[level]}
    faulty = {"id": "h1", "text": "For home cooks"}
    said = faults(
        world, body="Home-cooks know", **with_parts(headlines=[faulty, PARTS["headlines"][1]]), **own
    )
    assert set(said) == {"body", "parts.headlines[0].text"}
    world.put(campaign("soup"))
    not_them = {"targeting": {"rule": {"none": [{"cohorts": ["home-cooks"]}]}}}
    load(world, headline="For home cooks", **not_them)


def test_a_political_advertisement_asks_for_no_consented_signal_by_its_creative_either(world):
    rules = {"loyalty_tiers": {"exclude": ["gold"]}}
    load(world, targeting=rules)
    world.put(publisher(political=True), campaign("soup", political=True, political_notice=NOTICE))
    assert site(world).shown(title=TEXT) == []  # what was loaded before the campaign was political
    world.put(creative("soup-2", "soup"))
    assert site(world).shown(title=TEXT) == ["soup-2"]
    assert list(faults(world, headline="New", targeting=rules)) == ["targeting"]


def test_a_line_of_an_offer_that_is_sold_out_or_over_is_told_and_not_shown(world):
    end = (NOW - timedelta(days=1)).isoformat()
    offers = [
        {"id": "o1", "text": "Two for one", "price": "12.50", "currency": "EUR", "stock": 0},
        {"id": "o2", "text": "Last week's", "end": end},
    ]
    assert load(world, parts={"offers": offers}) == [
        "creative soup-1: parts.offers[0]: it is sold out and does not render",
        f"creative soup-1: parts.offers[1]: it ended at {end} and never renders",
    ]
    here = site(world)
    assert drawn(here, 1)[1][0].assets.offer == ""
    load(world, parts={"offers": [offers[0] | {"stock": 3}, offers[1]]})
    assert drawn(site(world), 1)[1][0].assets.offer == "Two for one"
    assert "parts.offers[0].currency" in faults(
        world, parts={"offers": [{"id": "o1", "text": "x", "price": "1"}]}
    )


# --- what an offer costs ---

PRICED = [
    {"id": "o1", "text": "Just {{ price | ask }}", "price": "1234.5", "currency": "EUR"},
    {"id": "o2", "text": "Two for one"},
]
HEADLINE = [{"id": "h1", "text": "Soup for {{ price | little }}"}]


def lines(world, times=60, **more):
    """Return the headlines and offers that are shown together."""
    load(world, **more)
    return {(c.assets.headline, c.assets.offer) for c in drawn(site(world), times)[1]}


def test_a_message_names_the_price_of_its_own_offer_or_the_fall_back(world):
    said = lines(world, parts={"headlines": HEADLINE, "offers": PRICED})
    assert said == {("Soup for €1,234.50", "Just €1,234.50"), ("Soup for little", "Two for one")}
    other = [PRICED[0], PRICED[1] | {"price": "3", "currency": "JPY"}]
    assert ("Soup for ¥3", "Two for one") in lines(world, parts={"headlines": HEADLINE, "offers": other})


def test_a_price_is_written_as_the_creatives_language_does(world):
    parts = {"headlines": HEADLINE, "offers": PRICED[:1]}
    assert lines(world, 1, parts=parts, language="de") == {("Soup for 1.234,50\xa0€", "Just 1.234,50\xa0€")}
    load(world, parts=parts, language="de")
    html = drawn(site(world), 1)[1][0].html
    assert "Just 1.234,50\xa0€" in html
    assert "no words in 'xx'" in load(world, parts=parts, language="xx")[0]
    assert lines(world, 1, parts=parts, language="xx") == {("Soup for little", "Just ask")}


def test_a_price_stands_for_the_creatives_own_offer_where_no_part_has_one(world):
    own = {"offer": {"price": "7", "currency": "USD"}, "parts": {"headlines": HEADLINE, "offers": PRICED}}
    assert lines(world, **own) == {
        ("Soup for €1,234.50", "Just €1,234.50"), ("Soup for $7.00", "Two for one"),
    }  # fmt: skip
    assert lines(world, 1, offer=own["offer"], parts={"headlines": HEADLINE}) == {("Soup for $7.00", "")}


def test_the_price_of_an_offer_that_is_over_or_sold_out_is_never_shown(world):
    end = NOW + timedelta(minutes=10)
    timely = [PRICED[0] | {"end": end.isoformat()}, PRICED[1]]
    load(world, parts={"headlines": HEADLINE, "offers": timely})
    here = site(world)
    assert "Soup for €1,234.50" in {c.assets.headline for c in drawn(here, 60)[1]}
    world.now = end
    assert {c.assets.headline for c in drawn(here, 60)[1]} == {"Soup for little"}
    world.now = NOW
    sold = [PRICED[0] | {"stock": 0}, PRICED[1]]
    assert lines(world, parts={"headlines": HEADLINE, "offers": sold}) == {("Soup for little", "Two for one")}
    alone = lines(world, 5, parts={"headlines": HEADLINE, "offers": sold[:1]})
    assert alone == {("Good soup", "")}  # the default message


def test_a_price_of_nothing_and_one_that_its_currency_has_not_are_refused(world):
    field = "parts.headlines[0].text"
    for parts in ({"headlines": HEADLINE}, {"headlines": HEADLINE, "offers": PRICED[1:]}):
        assert "an offer with a price" in faults(world, parts=parts)[field].expected
    bare = [{"id": "h1", "text": "For {{ price }}"}]
    assert "a fall-back" in faults(world, parts={"headlines": bare, "offers": PRICED})[field].expected
    for price, currency, where in (
        ("1.999", "EUR", "price"), ("1.5", "JPY", "price"), ("1", "ABC", "currency"),
    ):  # fmt: skip
        offer = {"id": "o1", "text": "x", "price": price, "currency": currency}
        assert list(faults(world, parts={"offers": [offer]})) == [f"parts.offers[0].{where}"]
        own = {"price": price, "currency": currency}
        assert list(faults(world, offer=own)) == [f"offer.{where}"]
    load(world, offer={"price": "1.500", "currency": "EUR"})
    load(world, offer={"price": "1.501", "currency": "KWD"})


def test_lengths_are_held_with_the_longest_price(world):
    text = "x" * (90 - len("€1,234.50"))
    load(world, parts={"headlines": [{"id": "h1", "text": text + "{{ price | y }}"}], "offers": PRICED})
    longer = [PRICED[0] | {"price": "12345.5"}]
    fault = faults(
        world, parts={"headlines": [{"id": "h1", "text": text + "{{ price | y }}"}], "offers": longer}
    )
    assert fault["parts.headlines[0].text"].got == "'91 characters'"


# --- a model ---


def learned(world, **effects):
    """Let a model decide that knows of these components how much more often than others they are clicked."""
    components = tuple(
        sorted((*[("soup-1", ""), ("soup-2", "")], *(("soup-1", p.replace("_", "/")) for p in effects)))
    )
    mean = tuple((effects.get(part.replace("/", "_"), 0.0),) for _, part in components)
    sure = tuple((1e-6,) for _ in components)
    known, slope = tuple((1.0,) for _ in components), (1.0,) * len(components)
    model = Model(VERSION, 5, 20_000, 0.005, ("",), components, mean, sure, known, slope)
    world.catalog.follow(Policy(Responses(model)))
    return model


def test_what_was_learned_is_shown_most_and_the_rest_is_not_given_up(world):
    load(world)
    here = site(world)
    model = learned(world, headline_h3=0.9, cta_c2=0.9)
    filled, creatives = drawn(here, 400)
    best = sum(c.assets.headline == "Bread and butter" and c.assets.cta == "Taste it" for c in creatives)
    assert best > 200 and any(c.assets.headline == "Leek soup" for c in creatives)
    assert filled[0].message.policy == model.id
    assert min(f.propensity for f in filled) > 0


def test_creatives_that_fit_alike_are_ranked_by_bid_and_response_in_worlds_whose_share_is_told(world):
    world.put(creative("soup-1", "soup", headline="Soup"), creative("soup-2", "soup", headline="Soup"))
    here = site(world)
    columns, known = ("",), (("soup-1", ""), ("soup-2", ""))
    mean, variance, told = ((0.1,), (0.0,)), ((0.02,), (0.02,)), ((0.0,), (0.0,))
    unsure = Model(VERSION, 5, 20_000, 0.005, columns, known, mean, variance, told, (1.0, 1.0))
    world.catalog.follow(Policy(Responses(unsure)))
    answers = [here.ask(Placement("top"), title="Soup") for _ in range(600)]
    told = {}
    for answer in answers:
        one = answer.decisions[0]
        told.setdefault(msgspec.json.decode(one.creative)["id"], set()).add(one.propensity)
    assert {id: len(shares) for id, shares in told.items()} == {"soup-1": 1, "soup-2": 1}
    shares = {id: shares.pop() for id, shares in told.items()}
    assert sum(shares.values()) == 1 and shares["soup-1"] > shares["soup-2"]
    often = sum(msgspec.json.decode(a.decisions[0].creative)["id"] == "soup-1" for a in answers) / 600
    assert often == pytest.approx(shares["soup-1"], abs=0.08)
    both = here.ask(Placement("top", count=2), title="Soup")
    assert [one.propensity for one in both.decisions] == [1.0, 1.0]  # whichever comes first, both are shown


def test_on_a_page_of_which_nothing_is_known_the_chance_that_is_told_is_that_of_the_bids(world):
    world.put(campaign("dear", cpm_micros=2_000_000))
    world.put(creative("a-1", "soup", headline="Soup"), creative("b-1", "dear", headline="Bread"))
    here = site(world)
    learned(world, headline_h3=0.9)
    (filled,) = here.ask(Placement("top"), url="https://planet.example/new").decisions
    assert (msgspec.json.decode(filled.creative)["id"], filled.propensity) == ("b-1", 1.0)


def test_a_challenger_decides_nothing_and_what_it_would_do_is_noted(world):
    load(world)
    here = site(world)
    live = world.catalog.policy
    challenger = Responses(learned(world, headline_h3=0.9))
    world.catalog.follow(Policy(live.responses, challenger))
    row = world.view.snapshot.row_of("soup-1")
    scene = here.engine.scene_of(world.view, world.context(TEXT))
    mixture = here.engine.messages.mixture(scene, Placement("top"), row, "other")
    chosen = [mixture.chosen(n) for n in range(len(mixture.kept))]
    assert sum(c.propensity * c.weight for c in chosen) == pytest.approx(1)
    assert max(chosen, key=lambda c: c.weight).parts.startswith("headline/h3")
    assert here.ask(Placement("top"), title=TEXT).decisions[0].message.policy == "prior"
