"""GPP strings are read exactly as the IAB's library reads them, and an objection in any US section is heard."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from engine.prove.iab_write import Pen, gpp_string, random_gpp, us_section
from engine.prove.string_fuzz import plain_gpp
from privacy.gpp import NATIONAL_1, NATIONAL_2, STATES, UsSection, decode
from privacy.iab_bits import StringError
from tests.iab import INVALID, VALID, text

NOW = datetime(2026, 11, 23, tzinfo=UTC)
VALID_GPP = [vector for vector in VALID if vector["kind"] == "gpp"]
INVALID_GPP = [vector for vector in INVALID if vector["kind"] == "gpp"]


def rule(string: str) -> str:
    with pytest.raises(StringError) as caught:
        decode(string)
    return caught.value.rule


def objects(string: str) -> bool:
    (section,) = decode(string).sections.values()
    assert isinstance(section, UsSection)
    return section.objects()


@pytest.mark.parametrize("vector", VALID_GPP, ids=lambda vector: vector["name"])
def test_a_recorded_string_is_read_exactly(vector: dict[str, object]) -> None:
    assert plain_gpp(decode(str(vector["text"]))) == vector["said"]


@pytest.mark.parametrize("vector", INVALID_GPP, ids=lambda vector: vector["name"])
def test_a_recorded_invalid_string_is_refused(vector: dict[str, object]) -> None:
    rule(str(vector["text"]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (vector["name"], not vector["name"].endswith(("no_objection", "_left_out", "_provider", "version_1")))
        for vector in VALID_GPP
        if vector["name"].startswith("us")
    ],
)
def test_an_objection_is_heard_in_every_us_section(name: str, expected: bool) -> None:
    assert objects(text("gpp", name)) == expected


def test_each_field_that_may_object_does() -> None:
    sections = {7: NATIONAL_2, **STATES}
    seen = set()
    for number, state in sections.items():
        version = 2 if number == 7 else 1
        assert not objects(gpp_string({number: us_section(state, version, {})}))
        for name, count in state.layout:
            for value in (1, 2):
                heard = objects(
                    gpp_string({number: us_section(state, version, {name: (0,) * (count - 1) + (value,)})})
                )
                if heard:
                    seen.add((name, value))
                assert heard == (
                    "Child" in name
                    or (
                        value == 1
                        and (
                            name.endswith("OptOut")
                            or name in ("PersonalDataConsents", "AdditionalDataProcessingConsent")
                        )
                    )
                )
        if state.gpc:
            assert objects(gpp_string({number: us_section(state, version, {}, gpc=True)}))
            assert not objects(gpp_string({number: us_section(state, version, {}, gpc=False)}))
    assert ("TargetedAdvertisingOptOut", 1) in seen


def test_the_version_says_how_long_the_national_section_is() -> None:
    first, second = us_section(NATIONAL_1, 1, {"SaleOptOut": 1}), us_section(NATIONAL_2, 2, {"SaleOptOut": 1})
    assert (len(first), len(second)) == (10, 12)
    assert objects(gpp_string({7: first}))
    assert objects(gpp_string({7: first + "A"}))  # as encoders that fill up bytes write it
    assert objects(gpp_string({7: second}))
    assert rule(gpp_string({7: us_section(NATIONAL_2, 1, {})})) == "version"
    assert rule(gpp_string({7: us_section(NATIONAL_1, 2, {})})) == "version"
    assert rule(gpp_string({7: us_section(NATIONAL_2, 3, {})})) == "version"


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("", "empty"),
        ("${GPP_STRING_755}", "macro"),
        ("DBABLA", "sections"),
        ("DBABLA~CVQqAAAAAACA~1YNN", "sections"),
        ("DBABLA~", "segments"),
        ("DBABLA~CVQqAAAAAACA.QA.QA", "segments"),
        ("DBABLA~CVQqAAAAAACA.AA", "segments"),  # a segment of kind 0
        ("DBABLA~CVQqAAAAAACA.IA", "segments"),  # of kind 2, which is left out of the specification
        ("DBABLA~DVQqAAAAAACA", "version"),
        ("DBABLA~CVQqAAAAAADA", "value"),  # a covered transaction of 3
        ("DBABLA~CVQqAAAAAAAA", "value"),  # and of 0
        ("DBABTA~1yyn", "value"),
        ("DBABTA~2YYN", "value"),
        ("DBABTA~1YYNN", "value"),
        ("DBABAw~BFkAAACA.QA", "segments"),  # Florida has no control
        ("DCABLA~CVQqAAAAAACA", "version"),
        ("CBABLA~CVQqAAAAAACA", "version"),
        ("DBABLA~CVQqAAAAAACA\n", "alphabet"),
        (" DBABLA~CVQqAAAAAACA", "alphabet"),
        ("DBABLA%7ECVQqAAAAAACA", "alphabet"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(string: str, expected: str) -> None:
    assert rule(string) == expected


def test_a_section_that_is_not_known_may_object_and_is_refused() -> None:
    for number in (1, 3, 4, 28, 60):
        assert rule(gpp_string({7: us_section(NATIONAL_2, 2, {}), number: "BVVV"})) == "section"


def test_a_header_of_a_million_sections_costs_nothing() -> None:
    header = (
        Pen().number(3, 6).number(1, 6).number(1, 12).number(1, 1).fibonacci(1).fibonacci(1_000_000).text(6)
    )
    assert rule(f"{header}~A") in ("range", "sections")
    header = Pen().number(3, 6).number(1, 6).number(1, 12).number(1, 1).fibonacci(1).fibonacci(60_000).text(6)
    assert rule(f"{header}~A") == "sections"


def test_sections_named_as_a_group_are_found() -> None:
    header = Pen().number(3, 6).number(1, 6).number(1, 12).number(1, 1).fibonacci(6).fibonacci(1).text(6)
    found = decode(f"{header}~1YNN~{us_section(NATIONAL_2, 2, {})}").sections
    assert list(found) == [6, 7]


def test_random_strings_of_every_section_are_read_without_fault() -> None:
    chance = random.Random(2)
    for _ in range(200):
        assert decode(random_gpp(chance, NOW)).sections
