"""Consent tokens: minted, read strictly, remembered until they expire; and the status list."""

from __future__ import annotations

import base64
import zlib
from datetime import timedelta

import pytest
from joserfc import jwt

from privacy import jose
from privacy.consent import PURPOSES
from privacy.consent_token import (
    STATUS_STEP,
    Issuer,
    Status,
    TokenError,
    Verifier,
    is_revoked,
    packed,
    pin,
    read_status_list,
)
from privacy.errors import FieldError
from tests.consent import ISS, ISSUER, RECORD, STRANGER, SUB, bad_tokens, claims, header, signed, token
from tests.world import NOW

PINS = pin({ISS: [ISSUER.key]})
SECOND = int(NOW.timestamp())
BAD = bad_tokens()


def reason(text: str, publisher: str = "planet", at: int = SECOND, verifier: Verifier | None = None) -> str:
    with pytest.raises(TokenError) as caught:
        (verifier or Verifier()).verify(text, publisher, PINS, at)
    return caught.value.reason


def test_a_minted_token_says_what_was_minted() -> None:
    read = Verifier().verify(token(), "planet", PINS, SECOND)
    assert (read.issuer, read.publisher, read.subject, read.record) == (ISS, "planet", SUB, RECORD)
    assert (read.generation, read.purposes, read.status.index) == (1, PURPOSES, 7)
    assert (read.issued, read.expires) == (SECOND, SECOND + 3600)


def test_a_token_is_a_jwt_that_others_read() -> None:
    read = jwt.decode(token(), ISSUER.key, algorithms=["Ed25519"])
    assert read.header == header()
    registry = jwt.JWTClaimsRegistry(
        now=SECOND,
        iss={"essential": True, "value": ISS},
        aud={"essential": True, "value": "ctx:planet"},
    )
    registry.validate(read.claims)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_is_refused_for_its_fault(name: str) -> None:
    text, expected = BAD[name]
    assert reason(text) == expected


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_is_refused_behind_a_good_one_too(name: str) -> None:
    verifier = Verifier()
    verifier.verify(token(), "planet", PINS, SECOND)
    assert reason(BAD[name][0], verifier=verifier) == BAD[name][1]


def test_every_character_counts() -> None:
    good = token()
    for at in range(0, len(good), 7):
        other = "A" if good[at] != "A" else "B"
        assert reason(good[:at] + other + good[at + 1 :])


def test_a_token_for_another_publisher_is_refused_also_after_its_own_read_it() -> None:
    verifier, text = Verifier(), token()
    verifier.verify(text, "planet", PINS, SECOND)
    assert reason(text, "globe", verifier=verifier) == "audience"


def test_a_remembered_token_expires_to_the_second() -> None:
    verifier, text = Verifier(), token()
    verifier.verify(text, "planet", PINS, SECOND)
    verifier.verify(text, "planet", PINS, SECOND + 3599)
    assert reason(text, at=SECOND + 3600, verifier=verifier) == "expired"


def test_a_clock_that_is_half_a_minute_ahead_is_forgiven() -> None:
    assert Verifier().verify(token(at=NOW + timedelta(seconds=30)), "planet", PINS, SECOND)


def test_a_remembered_token_dies_with_its_key() -> None:
    verifier, text = Verifier(), token()
    verifier.verify(text, "planet", PINS, SECOND)
    with pytest.raises(TokenError, match="key"):
        verifier.verify(text, "planet", pin({ISS: [STRANGER.key]}), SECOND)


def test_a_key_speaks_only_for_the_issuers_it_was_pinned_for() -> None:
    both = pin({ISS: [ISSUER.key], "https://cmp.example": [STRANGER.key]})
    assert Verifier().verify(token(), "planet", both, SECOND)
    with pytest.raises(TokenError, match="issuer"):
        Verifier().verify(token(STRANGER), "planet", both, SECOND)
    other = Issuer("https://cmp.example", b"x" * 32)
    assert Verifier().verify(token(other), "planet", both, SECOND).issuer == "https://cmp.example"


def test_a_key_may_speak_for_two_issuers() -> None:
    shared = pin({ISS: [ISSUER.key], "https://cmp.example": [ISSUER.key]})
    other = Issuer("https://cmp.example", b"i" * 32)
    assert Verifier().verify(token(other), "planet", shared, SECOND)
    assert Verifier().verify(token(), "planet", shared, SECOND)


def test_an_id_is_not_used_for_two_readers() -> None:
    verifier = Verifier()
    verifier.verify(token(), "planet", PINS, SECOND)
    assert reason(token(subject="t" * 22), verifier=verifier) == "reused"
    assert verifier.verify(token(subject="t" * 22, number=1), "planet", PINS, SECOND)


def test_what_is_remembered_is_bounded() -> None:
    verifier = Verifier(most=8)
    for number in range(50):
        verifier.verify(token(number=number), "planet", PINS, SECOND)
    assert len(verifier._known) <= 8
    assert len(verifier._ids) <= 8


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("sub", {"subject": "jane@mail.example"}),
        ("jti", {"id": "7"}),
        ("gen", {"generation": 0}),
        ("pur", {"purposes": ["everything"]}),
        ("notice", {"notice": "A" * 64}),
        ("rec", {"record": "7"}),
        ("status", {"status": Status(-1, ISS)}),
        ("life_s", {"life_s": 3601}),
        ("life_s", {"life_s": 0}),
    ],
)
def test_what_none_would_read_is_not_minted(field: str, wrong: dict[str, object]) -> None:
    with pytest.raises(FieldError) as caught:
        token(**wrong)
    assert caught.value.field == field


def test_no_error_quotes_the_token() -> None:
    with pytest.raises(FieldError) as caught:
        token(subject="jane@mail.example")
    assert "jane" not in str(caught.value)


def test_a_status_list_tells_the_ended_from_the_others() -> None:
    uri = f"{ISS}/v1/consents/status"
    listed = read_status_list(ISSUER.status_list(uri, 1000, [5, 999], NOW), uri, PINS, SECOND)
    assert [index for index in range(1000) if is_revoked(listed, index)] == [5, 999]
    with pytest.raises(ValueError, match="index"):
        is_revoked(listed, STATUS_STEP)


def test_the_length_of_a_status_list_counts_no_consents() -> None:
    sizes = {len(zlib.decompress(base64.urlsafe_b64decode(packed(n, []) + "=="))) for n in (0, 1, 50_000)}
    assert sizes == {STATUS_STEP // 8}
    assert not is_revoked(packed(STATUS_STEP + 1, []), STATUS_STEP)


def test_the_status_list_of_the_draft_is_read() -> None:
    # draft-ietf-oauth-status-list, 4.1: bits 1001 1101 and 1100 0101, lowest first: b9 a3.
    listed = base64.urlsafe_b64encode(zlib.compress(bytes([0xB9, 0xA3]), 9)).rstrip(b"=").decode()
    assert [int(is_revoked(listed, i)) for i in range(16)] == [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]


def test_a_status_list_is_good_for_a_minute_and_for_its_own_address() -> None:
    text = ISSUER.status_list(ISS, 10, [], NOW)
    assert read_status_list(text, ISS, PINS, SECOND + 59)
    for wrong, uri, at in [
        ("expired", ISS, SECOND + 60),
        ("early", ISS, SECOND - 31),
        ("audience", "https://b", SECOND),
    ]:
        with pytest.raises(TokenError, match=wrong):
            read_status_list(text, uri, PINS, at)
    with pytest.raises(TokenError, match="header"):
        read_status_list(token(), ISS, PINS, SECOND)
    with pytest.raises(TokenError, match="claims"):
        read_status_list(jose.sign(ISSUER.key, "statuslist+jwt", {"iss": ISS}), ISS, PINS, SECOND)


def test_a_damaged_list_is_no_list() -> None:
    with pytest.raises(ValueError, match="lst"):
        is_revoked("AAAA", 0)


def test_order_and_spelling_of_claims_do_not_matter() -> None:
    said = dict(reversed(claims(token()).items()))
    assert Verifier().verify(signed(header(), said), "planet", PINS, SECOND)
