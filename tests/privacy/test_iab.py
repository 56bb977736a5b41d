"""Consent strings only ever take purposes away."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.prove.iab_write import ids, random_consent, random_gpp, tc_string
from engine.prove.string_fuzz import make_mutants
from privacy.consent import PURPOSES, TCF_PURPOSE, Purpose
from privacy.iab import REASONS, refuses_selection, restrict
from privacy.tcf import PublisherPurposes, Restriction
from tests.iab import text

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NONE: frozenset[Purpose] = frozenset()
VENDOR = 755


def left(
    tcf: str | None = None,
    gpp: str | None = None,
    *,
    sid: list[int] | None = None,
    gdpr: int | None = None,
    vendor: int | None = None,
    **more: Any,
) -> tuple[frozenset[Purpose], str | None]:
    return restrict(
        more.get("purposes", PURPOSES),
        tcf=tcf,
        gpp=gpp,
        gpp_sid=sid,
        gdpr=gdpr,
        role="publisher" if vendor is None else "vendor",
        vendor_id=vendor,
        now=more.get("now", NOW),
    )


def string(*purposes: int, **changes: Any) -> str:
    said = replace(
        random_consent(random.Random(5), NOW),
        policy=5,
        purpose_consents=ids(*purposes),
        vendor_consents=ids(VENDOR),
        disclosed=ids(VENDOR),
        restrictions=(),
        publisher=None,
    )
    return tc_string(replace(said, **changes))


def test_without_strings_nothing_is_taken() -> None:
    assert left() == (PURPOSES, None)
    assert left("", "", sid=[]) == (PURPOSES, None)
    assert left(gdpr=0) == (PURPOSES, None)


@pytest.mark.parametrize("purpose", sorted(PURPOSES))
def test_a_purpose_needs_its_own_tcf_purpose(purpose: Purpose) -> None:
    others = set(range(1, 12)) - {TCF_PURPOSE[purpose]}
    assert left(string(TCF_PURPOSE[purpose])) == (frozenset({purpose}), None)
    assert purpose not in left(string(*others))[0]


def test_legitimate_interest_is_no_consent() -> None:
    assert left(string(purpose_legitimate_interests=ids(*range(1, 12)))) == (NONE, None)
    assert left(text("tcf", "legitimate_interest_only")) == (NONE, None)


def test_consent_to_the_publisher_counts_where_it_is_told_apart() -> None:
    none = PublisherPurposes(ids(), ids(*range(1, 12)), 0, ids(), ids())
    assert left(string(*range(1, 12), publisher=none)) == (NONE, None)
    assert left(string(*range(1, 12), publisher=replace(none, consents=ids(4)))) == (
        {"ads.select.first_party"},
        None,
    )
    assert left(text("tcf", "accept_all"), gdpr=1) == (PURPOSES, None)
    assert left(text("tcf", "publisher_only")) == (NONE, None)


def test_a_vendor_is_disclosed_consented_and_not_restricted() -> None:
    every = range(1, 12)
    assert left(string(*every), vendor=VENDOR) == (PURPOSES, None)
    assert left(string(*every), vendor=VENDOR + 1) == (NONE, None)
    assert left(string(*every, vendor_consents=ids(1)), vendor=VENDOR) == (NONE, None)
    assert left(string(*every, disclosed=ids(1)), vendor=VENDOR) == (NONE, None)
    assert left(text("tcf", "undisclosed_vendor"), vendor=900) == (NONE, None)
    without = PURPOSES - {"ads.select.first_party"}
    for kind, expected in ((0, without), (1, PURPOSES), (2, without)):
        restrictions = (Restriction(4, kind, ids(VENDOR)),)
        assert left(string(*every, restrictions=restrictions), vendor=VENDOR) == (expected, None)


def test_a_vendor_without_an_id_has_no_consent() -> None:
    assert restrict(
        PURPOSES, tcf=string(4), gpp=None, gpp_sid=None, gdpr=None, role="vendor", vendor_id=None, now=NOW
    ) == (NONE, None)


@pytest.mark.parametrize(
    ("tcf", "gpp", "sid", "gdpr", "reason"),
    [
        (None, None, None, 1, "tcf_empty"),
        ("", None, None, 1, "tcf_empty"),
        ("${GDPR_CONSENT_755}", None, None, None, "tcf_macro"),
        ("${GDPR_CONSENT_755}", None, None, 0, "tcf_macro"),
        ("nonsense!", None, None, None, "tcf_alphabet"),
        (None, "${GPP_STRING_755}", None, None, "gpp_macro"),
        (None, "DBABLA", None, None, "gpp_sections"),
        (None, "", [7], None, "gpp_empty"),
        (None, None, [7], None, "gpp_empty"),
        (None, text("gpp", "usnat_no_objection"), [8], None, "gpp_sections"),
        (None, text("gpp", "usnat_no_objection"), [7], 1, "tcf_empty"),
        (text("tcf", "accept_all_core_only"), None, None, None, "tcf_undisclosed"),
        (text("tcf", "policy_2"), None, None, 1, "tcf_policy"),
        (text("tcf", "global_scope"), None, None, 1, "tcf_scope"),
        (text("tcf", "old"), None, None, 1, "tcf_stale"),
    ],
)
def test_an_invalid_string_leaves_nothing_and_says_why(
    tcf: str | None, gpp: str | None, sid: list[int] | None, gdpr: int | None, reason: str
) -> None:
    assert left(tcf, gpp, sid=sid, gdpr=gdpr) == (NONE, reason)
    assert reason in REASONS


def test_an_objection_in_a_us_section_leaves_nothing() -> None:
    for name in ("usnat_sale", "usnat_gpc", "usnat_child", "usca_sale", "usco_targeting", "uspv1_objection"):
        assert left(gpp=text("gpp", name)) == (NONE, None)
        assert left(text("tcf", "accept_all"), text("gpp", name)) == (NONE, None)
    assert left(gpp=text("gpp", "usnat_no_objection"), sid=[7]) == (PURPOSES, None)
    assert left(gpp=text("gpp", "six_states")) == (PURPOSES, None)


def test_an_objection_counts_where_the_section_is_not_said_to_apply() -> None:
    assert left(gpp=text("gpp", "tcfeuv2_usnat"), sid=[2]) == (NONE, None)


def test_the_tcf_section_of_a_gpp_string_counts_as_a_tc_string() -> None:
    gpp = text("gpp", "tcfeuv2")
    expected = frozenset(PURPOSES)  # purposes 1, 2, 3, 4 and 7 are consented
    for sid in (None, [], [2]):
        assert left(gpp=gpp, sid=sid, gdpr=1) == (expected, None)
    assert left(gpp=gpp, vendor=793) == (expected, None)
    assert left(gpp=gpp, vendor=1) == (NONE, None)
    assert left(gpp=gpp, now=datetime(2028, 1, 1, tzinfo=UTC)) == (NONE, "gpp_stale")


def test_the_canadian_section_counts_as_express_consent() -> None:
    gpp = text("gpp", "tcfcav1")
    expected = PURPOSES - {"measure.first_party"}
    assert left(gpp=gpp) == (expected, None)
    assert left(gpp=gpp, vendor=6) == (expected, None)
    assert left(gpp=gpp, vendor=7) == (NONE, None)
    assert left(gpp=gpp, gdpr=1) == (NONE, "tcf_empty")


def test_a_tcf_section_is_passed_over_where_another_law_is_said_to_apply() -> None:
    gpp = text("gpp", "five_sections")
    assert left(gpp=gpp, sid=[7]) == (PURPOSES, None)
    assert left(gpp=gpp, sid=[7], vendor=10, gdpr=1) == (PURPOSES, None)
    assert left(gpp=gpp, sid=[7], vendor=11, gdpr=1) == (NONE, None)
    assert left(gpp=gpp, sid=[5, 7]) == (PURPOSES - {"measure.first_party"}, None)
    assert left(gpp=gpp, sid=[-1]) == left(gpp=gpp)


def test_no_string_ever_gives_a_purpose() -> None:
    chance = random.Random(4)
    recorded = [("tcf", text("tcf", "accept_all")), ("gpp", text("gpp", "five_sections"))]
    for mutant in make_mutants(9, 400, recorded):
        given = frozenset(chance.sample(sorted(PURPOSES), chance.randrange(6)))
        tcf, gpp = (mutant.text, None) if mutant.kind == "tcf" else (None, mutant.text)
        for vendor in (None, 7):
            kept, reason = left(tcf, gpp, vendor=vendor, purposes=given, gdpr=chance.choice((None, 0, 1)))
            assert kept <= given
            assert reason is None or (reason in REASONS and not kept)


def test_two_strings_take_away_what_either_takes() -> None:
    chance = random.Random(6)
    for _ in range(100):
        tcf, gpp = tc_string(random_consent(chance, NOW)), random_gpp(chance, NOW)
        assert left(tcf, gpp)[0] == left(tcf)[0] & left(None, gpp)[0]


# --- Purpose 2, by which advertising is selected at all ---


def refused(
    tcf: str | None = None, gpp: str | None = None, *, gdpr: int | None = 1, vendor: int | None = None
) -> bool:
    return refuses_selection(
        tcf=tcf,
        gpp=gpp,
        gdpr=gdpr,
        role="publisher" if vendor is None else "vendor",
        vendor_id=vendor,
        now=NOW,
    )


def test_consent_or_a_legitimate_interest_for_purpose_2_is_enough() -> None:
    interest = {"purpose_legitimate_interests": ids(2), "vendor_legitimate_interests": ids(VENDOR)}
    nothing = {"purpose_legitimate_interests": ids(), "vendor_legitimate_interests": ids()}
    for vendor in (None, VENDOR):
        assert not refused(string(2, **nothing), vendor=vendor)
        assert not refused(string(1, **interest), vendor=vendor)
        assert refused(string(1, 3, 4, **nothing), vendor=vendor)
    assert refused(string(2, **nothing), vendor=VENDOR + 1)
    assert refused(string(2, disclosed=ids(VENDOR + 1), **nothing), vendor=VENDOR)


@pytest.mark.parametrize(
    ("kind", "by_consent", "by_interest"), [(0, True, True), (1, False, True), (2, True, False)]
)
def test_a_publishers_restriction_takes_a_basis_away(kind: int, by_consent: bool, by_interest: bool) -> None:
    limits = (Restriction(2, kind, ids(VENDOR)),)
    consent = string(2, restrictions=limits, purpose_legitimate_interests=ids())
    interest = string(
        1,
        restrictions=limits,
        purpose_legitimate_interests=ids(2),
        vendor_legitimate_interests=ids(VENDOR),
    )
    assert (refused(consent, vendor=VENDOR), refused(interest, vendor=VENDOR)) == (by_consent, by_interest)


def test_to_the_publisher_its_own_segment_speaks_before_the_core() -> None:
    def own(consents: Any, interests: Any) -> PublisherPurposes:
        return PublisherPurposes(consents, interests, 0, ids(), ids())

    assert refused(string(2, publisher=own(ids(1), ids())))
    assert not refused(string(1, publisher=own(ids(), ids(2))))


def test_where_the_gdpr_applies_silence_is_refusal_and_where_it_does_not_nothing_is() -> None:
    for said in (None, "", "${GDPR_CONSENT_755}", string(2)[:-9]):
        assert refused(said)
        assert not refused(said, gdpr=0)
    assert not refused(None, gdpr=None)
    assert refused("garbage", gdpr=None)  # a string that cannot be read stands for a CMP that was asked
    assert refused(string(1, purpose_legitimate_interests=ids()), gdpr=None)
    assert refused(string(2, updated=NOW - timedelta(days=500), created=NOW - timedelta(days=500)))


def test_a_us_string_says_nothing_of_purpose_2() -> None:
    us = "DBABLA~BVQVAAAAAgA.YA"
    assert refused(None, us) and not refused(None, us, gdpr=None)
    assert refused(None, "garbage") and not refused(None, "garbage", gdpr=None)
