import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contexts.first_party import MOST_BYTES, FirstParty, SignalId, Signals, needs, parse
from privacy.consent import PURPOSES, TCF_PURPOSE
from privacy.errors import FieldError

KNOWN = FirstParty(cohorts=("viewed-pricing", "reads-sports"), loyalty_tiers=("gold", "silver"))


def read(value, campaigns=()):
    return parse(value if isinstance(value, bytes) else json.dumps(value).encode(), KNOWN, campaigns)


def test_signals_of_the_vocabulary_are_read():
    signals = read(
        {
            "cohorts": ["viewed-pricing"],
            "journey_stage": "consideration",
            "loyalty_tier": "gold",
            "exposure": {"spring": 3, "autumn": 255},
            "held": "device",
            "id": {"type": "email", "value": "Jane@example.com"},
        }
    )
    assert signals == Signals(
        cohorts=("viewed-pricing",),
        journey_stage="consideration",
        loyalty_tier="gold",
        exposure={"spring": 3, "autumn": 255},
        held="device",
        id=SignalId("email", "Jane@example.com"),
    )
    assert "Jane" not in repr(signals)
    assert read({}) == Signals()


SECRET = "jane.doe@example.com"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("signals.cohorts[1]", {"cohorts": ["viewed-pricing", SECRET]}),
        ("signals.loyalty_tier", {"loyalty_tier": SECRET}),
        ("signals.journey_stage", {"journey_stage": SECRET}),
        ("signals.held", {"held": SECRET}),
        ("signals.exposure", {"exposure": {SECRET: 1}}),
        ("signals.exposure", {"exposure": {"spring": SECRET}}),
        ("signals", {SECRET: 1}),
        ("signals", {"email": SECRET}),
        ("signals", {"nested": [{"deep": {"deeper": SECRET}}]}),
        ("signals.id.type", {"id": {"type": SECRET, "value": "x"}}),
        ("signals.id", {"id": {"type": "email", "value": "x", SECRET: 1}}),
        ("signals.id", {"id": {"type": "email", "value": "x", "alt": SECRET}}),
        ("signals.id", {"id": SECRET}),
        ("signals.id.value[0]", {"id": {"type": "email", "value": [SECRET]}}),
        ("signals", [SECRET]),
        ("signals", SECRET),
    ],
)
def test_an_address_anywhere_but_in_the_id_is_refused_and_not_echoed(field, value):
    with pytest.raises(FieldError) as refused:
        read(value)
    assert (refused.value.field, refused.value.got) == (field, "an e-mail address")
    assert "jane" not in str(refused.value)


def test_what_is_longer_than_any_identifier_is_refused_without_a_search_for_one(monkeypatch):
    # Which would take half a second for 8,000 dashes.
    looked_through = []
    monkeypatch.setattr("contexts.first_party.raw_identifier", looked_through.append)
    for signals in ({"cohorts": ["-" * 8000]}, {"exposure": {" " * 8000: 1}}, {"-" * 8000: 1}, "_" * 8000):
        with pytest.raises(FieldError):
            read(signals)
    assert max(map(len, looked_through), default=0) <= 320


def test_a_telephone_number_as_a_campaigns_id_is_refused_unless_it_is_one():
    with pytest.raises(FieldError, match="a telephone number") as refused:
        read({"exposure": {"4915112345678": 1}})
    assert "4915" not in str(refused.value)
    assert read({"exposure": {"4915112345678": 1}}, {"4915112345678"}).exposure == {"4915112345678": 1}
    with pytest.raises(FieldError, match="a telephone number"):
        read({"cohorts": ["4915112345678"]}, {"4915112345678"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("signals.cohorts[0]", {"cohorts": ["quux"]}),
        ("signals.cohorts", {"cohorts": ["reads-sports", "reads-sports"]}),
        ("signals.cohorts", {"cohorts": "quux"}),
        ("signals.cohorts", {"cohorts": [7]}),
        ("signals.loyalty_tier", {"loyalty_tier": "quux"}),
        ("signals.journey_stage", {"journey_stage": "quux"}),
        ("signals.exposure", {"exposure": {"spring": 256}}),
        ("signals.exposure", {"exposure": {"spring": -1}}),
        ("signals.exposure", {"exposure": {"spring": 1.5}}),
        ("signals.exposure", {"exposure": {"spring": True}}),
        ("signals.exposure", {"exposure": {"QUUX Spring": 1}}),
        ("signals.held", {"held": "quux"}),
        ("signals.id", {"id": {"type": "quux", "value": "a@b"}}),
        ("signals.id", {"id": {"type": "email"}}),
        ("signals.id", {"id": {"type": "email", "value": ""}}),
        ("signals.id", {"id": {"type": "email", "value": "quux" * 100}}),
        ("signals.id", {"id": {"type": "email", "value": "a@b", "quux": 1}}),
        ("signals", {"quux": 1}),
        ("signals", []),
        ("signals", None),
        ("signals", b"{"),
        ("signals", b"\xff\xfe{}"),
        ("signals", b'{"held":"server","held":"server"}'),
        ("signals.exposure", b'{"exposure":{"spring":1,"spring":2}}'),
        ("signals", b"[" * 3000 + b"]" * 3000),
        ("signals", b'{"exposure":{"' + b"a" * MOST_BYTES + b'":1}}'),
        ("signals", {"exposure": {f"c{n}": 1 for n in range(15)}, "cohorts": list(KNOWN.cohorts)}),
        ("signals.exposure", {"exposure": {f"c{n}": 1 for n in range(17)}}),
    ],
)
def test_what_is_not_in_the_vocabulary_is_refused_and_not_echoed(field, value):
    with pytest.raises(FieldError) as refused:
        read(value)
    assert refused.value.field == field
    assert "quux" not in str(refused.value).lower()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*Signals.__struct_fields__, "value", "type"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(json_values)
def test_whatever_comes_is_read_or_refused(value):
    try:
        signals = read(value)
    except FieldError:
        return
    assert set(signals.cohorts) <= set(KNOWN.cohorts)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_whatever_bytes_come_are_read_or_refused(raw):
    try:
        read(raw)
    except FieldError as refused:
        assert refused.field.startswith("signals")


def test_each_use_asks_for_the_purposes_that_tcf_asks_for():
    def tcf(use, held="server"):
        return sorted(TCF_PURPOSE[purpose] for purpose in needs(use, held))

    assert tcf("cohorts") == tcf("loyalty_tier") == tcf("id") == [4]
    assert tcf("journey_stage") == tcf("exposure") == [3, 4]
    assert tcf("journey_stage", "device") == [1, 3, 4]
    assert tcf("cap") == [2]
    assert tcf("cap", "device") == [1, 2]
    assert tcf("measure") == [7]


def test_signals_without_their_purpose_fall_away():
    full = read(
        {
            "cohorts": ["viewed-pricing"],
            "journey_stage": "decision",
            "loyalty_tier": "gold",
            "exposure": {"spring": 3},
            "id": {"type": "customer", "value": "7"},
        }
    )
    assert full.within(PURPOSES) == full
    assert full.within(()) == Signals()
    assert full.within({"ads.cap.first_party"}) == Signals(exposure={"spring": 3})
    selected = full.within({"ads.select.first_party"})
    assert (selected.cohorts, selected.loyalty_tier) == (("viewed-pricing",), "gold")
    assert (selected.journey_stage, selected.exposure) == (None, {})
    on_device = read({"cohorts": ["viewed-pricing"], "held": "device"})
    assert on_device.within({"ads.select.first_party"}).cohorts == ()
    assert on_device.within({"ads.select.first_party", "ads.device.first_party"}) == on_device


def test_of_an_exposure_only_that_it_reached_the_cap_can_act():
    signals = read({"cohorts": ["reads-sports"], "exposure": {"spring": 3, "autumn": 2, "gone": 9}})
    assert signals.values({"spring": 3, "autumn": 3}) == (("cohort", "reads-sports"), ("capped", "spring"))


def test_every_value_that_can_act_is_among_the_registered_pairs():
    signals = read(
        {
            "cohorts": list(KNOWN.cohorts),
            "journey_stage": "decision",
            "loyalty_tier": "gold",
            "exposure": {"s": 1},
        }
    )
    assert set(signals.values({"s": 1})) <= set(KNOWN.pairs(("s",)))
    assert not FirstParty()
    assert KNOWN
