"""Segments: a publisher's three to ten groups of page views, and what a choice reads that may read no more."""

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from contexts.context import PARTS_OF_DAY
from contexts.rungs import LOTS, put_on
from contexts.segments import STANDARD, ViewGroup
from engine.campaign import Prefer, Publisher, Section
from engine.change import Change
from engine.check.findings import Findings, Known
from engine.check.form import parse
from engine.check.publisher import check_publisher
from engine.cli import main
from engine.creative import Parts, TextPart
from engine.decision import Placement
from engine.ladder import Count
from engine.learn.response import VERSION, Model, Responses
from engine.message import said_in
from engine.policy import Policy
from engine.sections import OTHER, segment_ids
from engine.store import open_store
from privacy.visit import DEVICE_CLASSES
from tests.world import Site, World, advertiser, campaign, creative, publisher

NOON = datetime(2026, 11, 23, 12, tzinfo=ZoneInfo("Europe/Berlin"))
SOUP, CAR = "a pot of lentil soup with leeks", "Automotive"  # the second is what topic 1 is called
FOOD = Section("food", "/food")
CARS = Section("cars", "/cars", topics=("1",))
OWN = (
    ViewGroup("cars", sections=("cars",)),
    ViewGroup("phone-evening", devices=("phone",), parts_of_day=("evening", "night")),
    ViewGroup("phone", devices=("phone",)),
)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.put(publisher(sections=(FOOD, CARS), segments=OWN), *(advertiser(f"a{n}") for n in range(3)))
    world.put(
        campaign("soups", "a0", prefer=Prefer(devices=("phone",))),
        creative("soups-1", "soups", headline=SOUP),
        campaign("engines", "a1"),
        creative("engines-1", "engines", headline=CAR),
        campaign("nights", "a2", prefer=Prefer(times=("night",))),
        creative("nights-1", "nights", headline="something else"),
    )
    return world


def scene_on_segment(site, path="/x", **said):
    visit = site.visit(url=f"https://planet.example{path}", **said)
    scene = site.engine.scene(visit, site.ticker.now + 1)
    return site.engine.scene_of(site.world.view, put_on(scene.context, LOTS.index("segment"), 0))


def ranked(site, path="/x", **said):
    scene = scene_on_segment(site, path, **said)
    found = site.engine.matcher.shortlist(scene, Placement("top", count=9))
    return {site.world.view.snapshot.creative_id(one.row): round(one.match, 4) for one in found}


def at(hour):
    return NOON.replace(hour=hour)


@pytest.mark.parametrize(
    ("path", "device", "hour", "group"),
    [
        ("/cars/red", "phone", 19, "cars"),
        ("/cars", "desktop", 9, "cars"),
        ("/carsharing", "phone", 9, "phone"),
        ("/food/soup", "phone", 19, "phone-evening"),
        ("/food/soup", "phone", 2, "phone-evening"),
        ("/food/soup", "phone", 9, "phone"),
        ("/food/soup", "tablet", 19, "other"),
    ],
)
def test_a_view_falls_into_the_first_group_that_holds_it(world, path, device, hour, group):
    scene = scene_on_segment(Site(world), path, text=SOUP, at=at(hour), device_class=device)
    assert scene.context.segment.id == group


def test_views_of_a_group_get_the_same_whatever_else_is_known_of_them(world):
    site = Site(world)
    one = ranked(site, "/food/a", text=SOUP, at=at(19), device_class="phone", condition="rain")
    other = ranked(site, "/b", text="another page", at=at(2), device_class="phone", condition="clear")
    assert one == other
    noon = ranked(site, "/food/a", text=SOUP, at=at(12), device_class="phone")
    assert noon["nights-1"] < one["nights-1"]  # of evening and night one is what it prefers
    larger = ranked(site, "/food/a", text=SOUP, at=at(12), device_class="tablet")
    assert larger["soups-1"] < noon["soups-1"]


def test_of_a_section_is_read_what_it_is_declared_to_be_about_and_not_its_page(world):
    site = Site(world)
    visit = site.visit(url="https://planet.example/cars/x", text=SOUP, at=NOON)
    on_no_rung = site.engine.scene(visit, site.ticker.now + 1)
    first = next(iter(site.engine.matcher.shortlist(on_no_rung, Placement("top", count=9))))
    assert world.view.snapshot.creative_id(first.row) == "soups-1"
    here = ranked(site, "/cars/x", text=SOUP, at=NOON)
    assert here == ranked(site, "/cars/y", text="leek", at=NOON)
    assert max(here, key=here.get) == "engines-1" and here["engines-1"] > 0.5
    assert ranked(site, "/food/x", text=SOUP, at=NOON)["engines-1"] < 0.1
    scene = scene_on_segment(site, "/cars/x", text=SOUP, at=NOON)
    row = world.view.snapshot.row_of("engines-1")
    assert site.engine._about(scene, row) == "a page view of the segment 'cars'"


def test_the_same_text_in_another_section_is_another_segment(world):
    site = Site(world)
    first = ranked(site, "/cars/x", text=SOUP, at=NOON)
    assert first != ranked(site, "/food/x", text=SOUP, at=NOON)
    assert first == ranked(site, "/cars/x", text=SOUP, at=NOON)


def test_learned_effects_and_tokens_are_those_of_the_group(world):
    site = Site(world)

    def read(path, **said):
        context = scene_on_segment(site, path, title="A quiet day", at=NOON, **said).context
        facets, told = site.engine.gatherer.facets(context), said_in(context, context.section)
        return facets["topic"], facets["device"], facets["part"], facets["weather"], told.section

    assert read("/cars/x", device_class="phone") == ("1", "?", "?", "?", "cars")
    assert read("/food/x", device_class="phone", condition="rain") == ("?", "phone", "?", "?", None)
    context = scene_on_segment(site, "/food/x", text=SOUP, at=NOON, device_class="phone").context
    assert said_in(context, "food").part_of_day is None  # the group is of more than midday


def test_a_message_of_the_segment_rung_says_what_its_group_is_and_no_more(world):
    lines = (TextPart("h0", "Good {{ part_of_day | day }} in {{ section | the paper }}"),)
    world.put(
        publisher(sections=(FOOD, CARS), segments=(ViewGroup("f", ("food",), (), ("midday",)), *OWN)),
        campaign("talk", "a2"),
        creative(
            "talk-1", "talk", headline="Hello", parts=Parts(headlines=lines, bodies=(TextPart("b", "B"),))
        ),
    )
    site = Site(world)

    def said(path, **more):
        scene = scene_on_segment(site, path, title="A quiet day", at=NOON, **more)
        row = world.view.snapshot.row_of("talk-1")
        mixture = site.engine.messages.mixture(scene, Placement("top"), row, scene.context.section)
        return mixture.said

    assert said("/food/x")[1:3] == ("midday", "food")
    assert said("/elsewhere")[1:3] == (None, None)


def test_who_declares_none_has_ten_that_part_all_views(tmp_path):
    world = World(tmp_path)
    world.put(publisher(), advertiser(), campaign(), creative())
    site = Site(world)
    assert segment_ids(publisher()) == tuple(one.id for one in STANDARD) and len(STANDARD) == 10
    for device in DEVICE_CLASSES:
        for part, hour in zip(PARTS_OF_DAY, (2, 8, 12, 15, 19), strict=True):
            scene = scene_on_segment(site, text=SOUP, at=at(hour), device_class=device)
            assert scene.context.segment.id == f"{'phone' if device == 'phone' else 'larger'}-{part}"


def test_a_model_that_knows_a_groups_device_decides_by_it(world):
    world.put(
        campaign("left", "a0"), creative("left-1", "left", headline=SOUP, sponsored_by="The Same"),
        campaign("right", "a1"), creative("right-1", "right", headline=SOUP, sponsored_by="The Same"),
    )  # fmt: skip
    components = (("left-1", ""), ("right-1", ""))
    mean, sure = ((0.5, -0.9), (0.0, 0.9)), ((1e-9, 1e-9),) * 2
    model = Model(
        VERSION, 0, 20_000, 0.002, ("", "device=phone"), components, mean, sure, ((1.0, 1.0),) * 2, (1.0, 1.0)
    )
    site = Site(world)
    world.catalog.follow(Policy(Responses(model)))

    def expected(device):
        scene = scene_on_segment(site, text=SOUP, at=NOON, device_class=device)
        lots, rows = (
            scene.kept.lots(),
            [world.view.snapshot.row_of(f"{side}-1") for side in ("left", "right")],
        )
        return lots.responses(np.array(rows), site.engine.gatherer.facets(scene.context)).mean(axis=1)

    left, right = expected("phone")
    assert right > left
    left, right = expected("tablet")  # of the rest no device is known
    assert left > right


def checked(**more) -> Findings:
    found = Findings()
    check_publisher(
        publisher(**{"sections": (FOOD, CARS)} | more), Known(frozenset({"1"}), frozenset()), found
    )
    return found


@pytest.mark.parametrize(
    ("segments", "field", "expected"),
    [
        ((ViewGroup("a", devices=("phone",)),), "segments", "3 to 10"),  # with the rest they are two
        ((ViewGroup("a", devices=("phone",)), ViewGroup("b")), "segments", "3 to 10"),  # nothing is left
        (tuple(ViewGroup(f"s{n}", (), (d,), (p,)) for n, (d, p) in enumerate(
            (d, p) for d in ("phone", "tablet") for p in PARTS_OF_DAY)), "segments", "3 to 10"),
        ((*OWN, ViewGroup("other", ("food",))), "segments[3].id", "another id"),
        ((*OWN, ViewGroup("phone", ("food",))), "segments[3].id", "each id once"),
        ((*OWN, ViewGroup("x", ("sport",))), "segments[3].sections", "one of the publisher's sections"),
        ((*OWN, ViewGroup("x", ("food",), ("phone",))), "segments[3]", "leave something"),
        ((ViewGroup("a", devices=("phone",), parts_of_day=PARTS_OF_DAY[:3]),
          ViewGroup("b", devices=("phone",), parts_of_day=PARTS_OF_DAY[3:]),
          ViewGroup("c", devices=("phone",), parts_of_day=("evening", "morning"))), "segments[2]", "leave"),
    ],
)  # fmt: skip
def test_groups_that_are_too_few_too_many_or_empty_are_refused(segments, field, expected):
    (fault,) = checked(segments=segments).errors
    assert fault.field == field and expected in fault.expected


def test_groups_that_part_views_are_taken():
    assert not checked(segments=OWN).errors
    assert not checked(segments=(*OWN, ViewGroup("rest", sections=(OTHER,)))).errors
    whole = (ViewGroup("a", ("cars",)), ViewGroup("b", ("food", OTHER), ("phone",)), ViewGroup("c"))
    assert not checked(segments=whole).errors
    assert segment_ids(publisher(sections=(FOOD, CARS), segments=whole)) == ("a", "b", "c")


def test_a_topic_that_nobody_knows_is_refused():
    (fault,) = checked(sections=(FOOD, msgspec.structs.replace(CARS, topics=("1", "nope")))).errors
    assert fault.field == "sections[1].topics[1]"


def test_a_publishers_file_declares_them():
    body = msgspec.json.encode(publisher(sections=(FOOD, CARS), segments=OWN))
    assert b'"segments":[{"id":"cars","sections":["cars"]}' in body
    assert msgspec.json.decode(body, type=Publisher).segments == OWN
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body.replace(b'"devices":["phone"]', b'"devices":["fridge"]'), type=Publisher)


def test_the_ladder_tells_each_publishers_groups(tmp_path, monkeypatch):
    monkeypatch.setenv("TACTFUL_DATA_DIR", str(tmp_path))
    store = open_store(f"sqlite:///{tmp_path / 'tactful.db'}")
    declared = publisher(sections=(FOOD, CARS), segments=OWN)
    store.write([Change(None, declared), Change(None, publisher("moon"))], [], store.versions(), "test", NOON)
    store.close()
    told = tuple(Count(name, 9000.0, clicks) for name, clicks in (("none", 40.0), ("segment", 90.0)))
    monkeypatch.setattr(
        "engine.ladder.counted", lambda *_: told
    )  # released tables: tests/engine/test_ladder.py
    said = CliRunner().invoke(main, ["ladder", "--json"])
    found = json.loads(said.output)
    assert found["segments"] == {
        "planet": ["cars", "phone-evening", "phone", "other"], "moon": [one.id for one in STANDARD],
    }  # fmt: skip
    assert found["stop_at"] == "segment" and "3 to 10 groups" in found["rungs"][1]["reads"]
    plain = CliRunner().invoke(main, ["ladder"]).output
    assert "segments of planet: cars, phone-evening, phone, other" in plain


def test_a_word_that_a_list_does_not_take_is_refused_with_those_that_it_does():
    said = {"kind": "publisher", "id": "p", "name": "P", "domains": ["p.example"]}
    said["segments"] = [{"id": "a", "devices": ["phone", "fridge"]}]
    said["placements"] = [{"id": "top", "formats": ["video"]}]
    _, faults = parse(said)
    assert {fault.field: (fault.got, fault.expected) for fault in faults} == {
        "segments[0].devices[1]": ("'fridge'", "one of phone, tablet, desktop, tv"),
        "placements[0].formats[0]": ("'video'", "one of native, banner"),
    }
