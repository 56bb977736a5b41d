"""TC strings are read exactly as the IAB's library reads them, and nothing is read that breaks a rule."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.prove.iab_write import Pen, ids, random_consent, tc_string
from engine.prove.string_fuzz import plain_tcf
from privacy.iab_bits import LONGEST, Ids, StringError
from privacy.tcf import ConsentString, Restriction, decode, restricted, unlawful
from tests.iab import INVALID, VALID, text

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
VALID_TCF = [vector for vector in VALID if vector["kind"] == "tcf"]
INVALID_TCF = [vector for vector in INVALID if vector["kind"] == "tcf"]


def consent(**changes: Any) -> ConsentString:
    """Return what a usual string says, but for `changes`."""
    return replace(random_consent(random.Random(3), NOW), **{"restrictions": (), **changes})


def rule(string: str) -> str:
    with pytest.raises(StringError) as caught:
        decode(string)
    assert string == "" or string not in str(caught.value)
    return caught.value.rule


@pytest.mark.parametrize("vector", VALID_TCF, ids=lambda vector: vector["name"])
def test_a_recorded_string_is_read_exactly(vector: dict[str, object]) -> None:
    assert plain_tcf(decode(str(vector["text"]))) == vector["said"]


@pytest.mark.parametrize("vector", INVALID_TCF, ids=lambda vector: vector["name"])
def test_a_recorded_invalid_string_is_refused(vector: dict[str, object]) -> None:
    rule(str(vector["text"]))


def test_what_is_written_is_read_again() -> None:
    chance = random.Random(1)
    for _ in range(200):
        said = random_consent(chance, NOW)
        assert decode(tc_string(said)) == said


@pytest.mark.parametrize("whole", [6, 8, 24])
def test_each_usual_padding_is_taken(whole: int) -> None:
    core = tc_string(consent(policy=4, disclosed=None, allowed=None, publisher=None))
    segment = Pen().number(1, 3).vendors(ids(1, 3, 5)).text(24)
    bits = 3 + 16 + 1 + 5
    filled = bits + -bits % whole
    assert decode(f"{core}.{segment[: -(-filled // 6)]}").disclosed == ids(1, 3, 5)


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("", "empty"),
        ("${GDPR_CONSENT_755}", "macro"),
        ("%%GDPR_CONSENT%%", "macro"),
        ("[GDPR_CONSENT]", "macro"),
        ("{{gdpr_consent}}", "macro"),
        ("C" * (LONGEST + 1), "too_long"),
        ("Cé", "alphabet"),
        ("C\N{FULLWIDTH LATIN CAPITAL LETTER A}", "alphabet"),
        ("BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA", "version"),
        ("C", "truncated"),
    ],
)
def test_what_is_no_string_is_refused_by_name(string: str, expected: str) -> None:
    assert rule(string) == expected


@pytest.mark.parametrize("tail", ["\n", " ", "=", "==", "\0", "%", ".", "~"])
def test_nothing_may_follow_a_string(tail: str) -> None:
    assert rule(text("tcf", "accept_all") + tail) in ("alphabet", "segments")
    assert rule(tail + text("tcf", "accept_all")) in ("alphabet", "segments")


def test_padding_holds_nothing_and_is_no_longer_than_needed() -> None:
    core, disclosed, publisher = text("tcf", "accept_all").split(".")
    assert rule(f"{core}.{disclosed}.{publisher[:-1]}B") == "padding"
    assert rule(f"{core}.{disclosed}.{publisher}AAAA") == "too_much"


def test_each_segment_stands_once_and_the_core_first() -> None:
    core, disclosed, publisher = text("tcf", "accept_all").split(".")
    assert decode(f"{core}.{publisher}.{disclosed}") == decode(f"{core}.{disclosed}.{publisher}")
    for wrong in (
        f"{disclosed}.{core}",
        f"{core}.{core}",
        f"{core}.{disclosed}.{disclosed}",
        f"{core}..{disclosed}",
        f"{core}.",
        disclosed,
        f"{core}.gAAA",  # of kind 4
    ):
        assert rule(wrong) == "segments"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"cmp": 0}, "cmp"),
        ({"cmp": 1}, "cmp"),
        ({"language": "a["}, "letters"),
        ({"country": "[["}, "letters"),
        ({"purpose_consents": ids(4, 12)}, "reserved"),
        ({"purpose_legitimate_interests": ids(24)}, "reserved"),
        ({"special_features": ids(3)}, "reserved"),
        ({"restrictions": (Restriction(0, 0, ids(1)),)}, "restriction"),
        ({"restrictions": (Restriction(12, 0, ids(1)),)}, "restriction"),
        ({"restrictions": (Restriction(2, 3, ids(1)),)}, "restriction"),
    ],
)
def test_a_field_that_no_cmp_writes_is_refused(changes: dict[str, Any], expected: str) -> None:
    assert rule(tc_string(consent(**changes))) == expected


def test_restrictions_stated_twice_add_up() -> None:
    twice = (Restriction(2, 0, ids(1, 5)), Restriction(3, 0, ids(9)), Restriction(2, 0, ids(4, 5)))
    found = decode(tc_string(consent(restrictions=twice))).restrictions
    assert found == (Restriction(2, 0, ids(1, 4, 5)), Restriction(3, 0, ids(9)))


def test_a_purpose_of_a_policy_to_come_is_read() -> None:
    assert 12 in decode(tc_string(consent(policy=6, purpose_consents=ids(4, 12)))).purpose_consents


@pytest.mark.parametrize(
    ("most", "ranges"),
    [
        (50, [(0, 0)]),
        (50, [(0, 4)]),
        (50, [(9, 4)]),
        (50, [(4, 51)]),
        (50, [(4, 5), (51, 51)]),
    ],
)
def test_a_range_ascends_within_the_stated_maximum(most: int, ranges: list[tuple[int, int]]) -> None:
    def disclosed(pairs: list[tuple[int, int]], entries: int | None = None) -> str:
        pen = Pen().number(1, 3).number(most, 16).number(1, 1)
        pen.number(len(pairs) if entries is None else entries, 12)
        for start, end in pairs:
            pen.number(1, 1).number(start, 16).number(end, 16)
        return f"{core}.{pen.text(24)}"

    core = text("tcf", "accept_all").split(".")[0]
    assert decode(disclosed([(4, 9), (11, 50)])).disclosed == ids(*range(4, 10), *range(11, 51))
    assert decode(disclosed([(11, 50), (9, 11), (4, 9), (7, 7)])).disclosed == ids(*range(4, 51))
    assert rule(disclosed(ranges)) == "range"
    assert rule(disclosed([(4, 9)], entries=3)) == "truncated"


def test_a_hostile_string_of_many_ranges_is_read_in_bounded_steps() -> None:
    pen = Pen().number(1, 3).number(65535, 16).number(1, 1).number(4095, 12)
    while len(pen.digits) < (LONGEST - 200) * 6:
        pen.number(1, 1).number(1, 16).number(65535, 16)
    assert rule(f"{text('tcf', 'accept_all').split('.')[0]}.{pen.text(24)}") in {"range", "truncated"}


def test_a_hostile_string_of_many_restrictions_keeps_one_set_for_each_purpose_and_kind() -> None:
    restrictions = tuple(
        Restriction(number % 11 + 1, number % 3, Ids((1 << 65536) - 2)) for number in range(800)
    )
    found = decode(tc_string(consent(disclosed=None, publisher=None, restrictions=restrictions)))
    assert len(found.restrictions) == 33


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accept_all", None),
        ("reject_all", None),
        ("renewed", None),
        ("policy_4", None),
        ("accept_all_core_only", "undisclosed"),
        ("core_publisher", "undisclosed"),
        ("global_scope", "scope"),
        ("policy_2", "policy"),
        ("old", "stale"),
        ("leap_day", "stale"),
    ],
)
def test_a_string_holds_as_long_as_its_rules_say(name: str, expected: str | None) -> None:
    assert unlawful(decode(text("tcf", name)), NOW) == expected


def test_a_string_from_the_future_does_not_hold() -> None:
    said = consent(policy=5, disclosed=Ids())
    assert unlawful(replace(said, created=NOW, updated=NOW), NOW) is None
    assert unlawful(replace(said, created=NOW, updated=NOW), NOW - timedelta(minutes=4)) is None
    assert unlawful(replace(said, created=NOW, updated=NOW), NOW - timedelta(hours=1)) == "future"
    assert unlawful(replace(said, created=NOW, updated=NOW - timedelta(days=1)), NOW) == "future"


def test_a_restriction_forbids_a_vendor_what_it_names() -> None:
    found = [Restriction(4, 0, ids(7)), Restriction(3, 1, ids(7)), Restriction(2, 2, ids(7))]
    assert [restricted(found, purpose, 7) for purpose in (2, 3, 4)] == [True, False, True]
    assert not restricted(found, 4, 8)
