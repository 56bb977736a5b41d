"""A page belongs to the section of the longest prefix that its path has, or to none."""

import pytest

from engine.campaign import Section, StoredPlacement
from engine.check.findings import Findings, Known
from engine.check.publisher import check_publisher
from engine.sections import section_of
from privacy.page_url import canonical
from tests.world import publisher

SECTIONS = (Section("sport", "/sport"), Section("tennis", "/sport/tennis/"), Section("home", "/"))


@pytest.mark.parametrize(
    ("url", "section"),
    [
        ("https://planet.example", "home"),
        ("https://planet.example/sport", "sport"),
        ("https://planet.example/sport?x=/sport/tennis/", "sport"),
        ("https://planet.example/sport/golf", "sport"),
        ("https://planet.example/sport/tennis/finals", "tennis"),
        ("https://planet.example/sport/tennis", "sport"),
        ("https://planet.example/sportswear", "home"),
        ("https://planet.example:8443/a/../sport/x", "sport"),
    ],
)
def test_the_longest_prefix_of_a_path_decides(url, section):
    assert section_of(publisher(sections=SECTIONS), canonical(url)) == section


def test_what_lies_in_no_section_is_other():
    assert section_of(publisher(sections=SECTIONS[:2]), "https://planet.example/politics") == "other"
    assert section_of(publisher(sections=SECTIONS), None) == "other"
    assert section_of(publisher(), "https://planet.example/sport") == "other"


def checked(*sections: Section):
    found = Findings()
    known = Known(frozenset(), frozenset())
    return check_publisher(publisher(sections=sections), known, found), found


def test_prefixes_are_kept_as_canonical_urls_write_paths():
    kept, found = checked(Section("sport", "/Sp%6Frt/./tennis/"), Section("home", "/?x"))
    assert not found.errors
    assert [one.prefix for one in kept.sections] == ["/Sport/tennis/", "/"]


@pytest.mark.parametrize(
    ("sections", "field"),
    [
        ((Section("other", "/x"),), "sections[0].id"),
        ((Section("a", "/x"), Section("b", "/x/../x")), "sections[1].prefix"),
        ((Section("a", "//[x/"), Section("b", "/" + "%zz" * 700)), "sections[1].prefix"),
    ],
)
def test_a_section_that_cannot_be_told_apart_is_refused(sections, field):
    _, found = checked(*sections)
    assert [error.field for error in found.errors] == [field]


def test_what_is_not_read_beside_another_of_its_name_is_told():
    found = Findings()
    sections = (
        Section("a", "/x", ("210",)),
        Section("a", "/y"),
        Section("a", "/z", ("210",)),
        Section("b", "/b"),
        Section("b", "/c", ("210",)),
    )
    places = (
        StoredPlacement("top", floor_micros=5),
        StoredPlacement("end"),
        StoredPlacement("top"),
        StoredPlacement("end"),
    )
    told = publisher(
        sections=sections, placements=places, categories={"Food": "210", "food": "1", "FOOD": "1"}
    )
    check_publisher(told, Known(frozenset({"1", "210"}), frozenset()), found)
    assert not found.errors
    assert [warning.split(" ")[0] for warning in found.warnings] == [
        "sections[4].topics",
        "placements[0]",
        "categories['Food']",
    ]
