"""Leaves of the consent log: one way to write each, nothing in them that does not belong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.consent_log import canonical, leaf
from privacy.errors import LogError

AT = datetime(2026, 11, 23, 17, 59, 59, tzinfo=UTC)
TEXT = st.text(st.characters(max_codepoint=127), max_size=8)
VALUES = st.recursive(
    TEXT | st.integers(-(2**53) + 1, 2**53 - 1) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def test_a_leaf_tells_the_hour_and_no_finer_whatever_the_zone():
    berlin = AT.astimezone(timezone(timedelta(hours=1)))
    assert leaf(3, "consent.grant", AT, commit=b"c" * 32) == leaf(
        3, "consent.grant", berlin, commit=b"c" * 32
    )
    assert json.loads(leaf(3, "consent.grant", AT)) == {
        "v": 1,
        "seq": 3,
        "type": "consent.grant",
        "t": int(AT.timestamp()) // 3600,
    }


def test_a_leaf_is_written_in_the_order_of_its_names_without_spaces():
    written = leaf(0, "key.add", AT, key=b"k" * 32, data={"b": [1, None], "a": "\x7f\x01"})
    assert written == (
        b'{"data":{"a":"\x7f\\u0001","b":[1,null]},"key":"' + b"6b" * 32 + b'","seq":0,"t":'
        b'%d,"type":"key.add","v":1}' % (AT.timestamp() // 3600)
    )


@pytest.mark.parametrize("value", [1.5, "é", {"é": 1}, {1: 2}, 2**53, {"a": [{"b": b"x"}]}, float("nan")])
def test_what_has_more_than_one_spelling_is_refused(value):
    with pytest.raises(LogError):
        canonical(value)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "consent.maybe"},
        {"at": AT.replace(tzinfo=None)},
        {"commit": b"short"},
        {"data": {"text": "x" * 65_536}},
    ],
)
def test_a_malformed_leaf_is_refused(fields):
    with pytest.raises(LogError):
        leaf(**{"seq": 0, "type": "consent.grant", "at": AT, **fields})


@given(VALUES)
def test_canonical_json_reads_back_as_what_was_written(value):
    assert json.loads(canonical(value)) == value
