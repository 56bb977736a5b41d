"""Leaves of the consent log: one way to write each, nothing in them that does not belong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from privacy.consent_log import is_canonical, leaf
from privacy.errors import LogError

AT = datetime(2026, 11, 23, 17, 59, 59, tzinfo=UTC)


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


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "consent.maybe"},
        {"at": AT.replace(tzinfo=None)},
        {"commit": b"short"},
        {"data": {"text": "x" * 65_536}},
        {"data": {"text": "é"}},
        {"data": {"share": 0.5}},
    ],
)
def test_a_malformed_leaf_is_refused(fields):
    with pytest.raises(LogError):
        leaf(**{"seq": 0, "type": "consent.grant", "at": AT, **fields})


def test_a_leaf_has_one_spelling():
    written = leaf(3, "key.add", AT, data={"a": "b"})
    fields = json.loads(written)
    assert is_canonical(written, fields)
    for other in (written + b" ", written.replace(b'"a"', b'"\\u0061"'), written.replace(b"b", "é".encode())):
        assert not is_canonical(other, json.loads(other) if other != written + b" " else fields)
    assert not is_canonical(b'{"v":1.5}', {"v": 1.5})
