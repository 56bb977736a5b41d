"""What a publisher may register of its readers' signals, checked where it is loaded."""

import pytest
from msgspec.structs import fields

from engine.campaign import Publisher
from engine.check.findings import Findings, Known
from engine.check.form import MOST_FAULTS, _fields, parse, rest_of
from engine.check.publisher import check_publisher

PUBLISHER = {"kind": "publisher", "id": "daily", "name": "Daily", "domains": ["daily.example"]}


def errors(first_party):
    publisher, faults = parse({**PUBLISHER, "first_party": first_party})
    found = Findings()
    if isinstance(publisher, Publisher):
        check_publisher(publisher, Known(topics=(), products=()), found)
    return {error.field: error for error in (*faults, *found.errors)}


def test_a_vocabulary_is_registered():
    assert errors({}) == {}
    assert errors({"cohorts": ["viewed-pricing"], "loyalty_tiers": ["gold", "silver"]}) == {}
    assert (
        errors({"cohorts": [f"c{n}" for n in range(14)], "loyalty_tiers": [f"t{n}" for n in range(255)]})
        == {}
    )


@pytest.mark.parametrize(
    "raw", ["jane.doe@example.com", "+49 151 1234567", "4915112345678", "jane at example dot com"]
)
@pytest.mark.parametrize("name", ["cohorts", "loyalty_tiers"])
def test_an_identifier_is_no_word_of_a_vocabulary_and_not_echoed(name, raw):
    (error,) = errors({name: ["fine", raw]}).values()
    assert error.field == f"first_party.{name}[1]"
    assert raw not in str(error)


@pytest.mark.parametrize(
    ("first_party", "field"),
    [
        ({"cohorts": ["Viewed Pricing"]}, "first_party.cohorts[0]"),
        ({"cohorts": ["a", "a"]}, "first_party.cohorts"),
        ({"cohorts": [f"c{n}" for n in range(16)]}, "first_party"),
        ({"cohorts": [f"c{n}" for n in range(15)], "loyalty_tiers": ["gold"]}, "first_party"),
        ({"cohorts": [f"c{n}" for n in range(17)]}, "first_party.cohorts"),
        ({"loyalty_tiers": [f"t{n}" for n in range(256)]}, "first_party.loyalty_tiers"),
        ({"stages": ["a"]}, "first_party"),
    ],
)
def test_a_vocabulary_beyond_sixteen_keys_of_eight_bits_is_refused(first_party, field):
    assert field in errors(first_party)


def test_what_fields_a_kind_has_is_looked_up_once(monkeypatch):
    looked_up = []

    def noted(cls):
        looked_up.append(cls)
        return fields(cls)

    monkeypatch.setattr("engine.check.form.fields", noted)
    _fields.cache_clear()
    for number in range(20):
        assert rest_of({"kind": "creative", "id": f"c{number}", "headline": 1}) == (None, {"headline"})
    assert len(looked_up) == 1


def test_so_many_faults_of_an_object_are_looked_for():
    campaign = {"kind": "campaign", "id": "c", "advertiser": "a", "name": "c", "cpm_micros": 1}
    _, faults = parse({**campaign, "targeting": {"rule": {"any": [{"x": 1}] * 3000}}})
    assert len(faults) == MOST_FAULTS
