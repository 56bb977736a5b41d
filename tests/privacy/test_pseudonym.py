"""UID2's own vectors: IABTechLab uid2docs, gs-normalization-encoding, and uid2-operator, InputNormalizationTest."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest

from privacy.errors import FieldError, KeyDestroyed
from privacy.pseudonym import (
    destroyed_at,
    epoch_of,
    epoch_start,
    id_secret,
    normal,
    pseudonym,
    pseudonym_in,
)

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
EMAILS = [
    ("MyEmail@example.com", "myemail@example.com", "FsGNM28LJQ8OLZB0Us65ZYp07NrovJSGTCMSKnLMJ6U="),
    ("MYEMAIL@example.com", "myemail@example.com", "FsGNM28LJQ8OLZB0Us65ZYp07NrovJSGTCMSKnLMJ6U="),
    ("My.Email@example.com", "my.email@example.com", "4itTvG+HEnTzpiqzejyu1yFPwU1nYhWpaiQvz62hyB8="),
    ("JaneSaoirse@example.com", "janesaoirse@example.com", "1mcOepIAfxtf94Xx/IHlOqbT170GvfXEc83HKGwoS20="),
    ("Jane.Saoirse@example.com", "jane.saoirse@example.com", "sZZDLHuYmiypHIN5mVfFFdpT5sE6vyC3j+qU8RfpC/g="),
    (
        "JaneSaoirse+Work@example.com",
        "janesaoirse+work@example.com",
        "KKruSBUjDNO069iMUVImVQZm6RrAGZKeOtrD9mwogYA=",
    ),
    ("JANE.SAOIRSE@gmail.com", "janesaoirse@gmail.com", "ku4mBX7Z3qJTXWyLFB1INzkyR2WZGW4ANSJUiW21iI8="),
    ("JaneSaoirse+Work@gmail.com", "janesaoirse@gmail.com", "ku4mBX7Z3qJTXWyLFB1INzkyR2WZGW4ANSJUiW21iI8="),
    ("TEst.TEST@Test.com ", "test.test@test.com", "dvECjPKZHya0/SIhSGwP0m8SgTv1vzLxPULUOsm880M="),
    ("+test@test.com", "+test@test.com", "weFizOVVWKlLfyorbBU8oxYDv4HJtTZCPMyZ4THzUQE="),
    ("  test.test@gmail.com  ", "testtest@gmail.com", "LkLfFrut8Tc3h/fIvYDiBKSbaMiau/DtaLBPQYszdMw="),
    ("TEst.TEst+123@GMail.Com", "testtest@gmail.com", "LkLfFrut8Tc3h/fIvYDiBKSbaMiau/DtaLBPQYszdMw="),
    (
        "\U0001f60atesttest@test.com",
        "\U0001f60atesttest@test.com",
        "fAFEUqApQ0V/M9mLj/IO54CgKgtQuARKsOMqtFklD4k=",
    ),
    (
        "testtest@test.com\U0001f60a",
        "testtest@test.com\U0001f60a",
        "0qI21FPLkuez/8RswfmircHPYz9Dtf7/Nch1rSWEQf0=",
    ),
]
NO_EMAILS = ["", " @", "@", "a@", "@b", "@b.com", "+", " ", "+@gmail.com", ".+@gmail.com", "a@ba@z.com"]
PHONES = [
    ("+12345678901", None, "+12345678901"),
    ("1 (234) 567-8901", "US", "+12345678901"),
    ("(02) 1234 5678", "AU", "+61212345678"),
    ("+1234567890", None, "+1234567890"),
    ("+123456789012345", None, "+123456789012345"),
    ("+44 (0)20 7946 0958", None, "+442079460958"),
    ("0049 151 12345678", "DE", "+4915112345678"),
    (" +12345678901 ", None, "+12345678901"),
]
NO_PHONES = [
    "",
    "asdaksjdakfj",
    "+",
    "12345678",
    "1234567890",
    "+12345678",
    "+123456789",
    "+1234567890123456",
]
NO_PHONES += ["555-555-5555", "(555) 555-5555", "+ 1234 5678"]


class Keys:
    """Satisfies EpochKeys."""

    def key(self, epoch, now):
        return hashlib.sha256(b"epoch %d" % epoch).digest()

    def destroy(self, now):
        return 0


@pytest.mark.parametrize(("raw", "form", "hashed"), EMAILS)
def test_an_address_gets_uid2s_normal_form_and_hash(raw, form, hashed):
    assert normal("email", raw) == form
    assert base64.b64encode(hashlib.sha256(form.encode()).digest()).decode() == hashed


@pytest.mark.parametrize(("raw", "country", "form"), PHONES)
def test_a_number_gets_its_e164_form(raw, country, form):
    assert normal("phone", raw, country) == form


@pytest.mark.parametrize(
    ("type", "values"), [("email", NO_EMAILS), ("phone", NO_PHONES), ("customer", ["", "  "])]
)
def test_what_is_none_is_refused_without_an_echo(type, values):
    for value in values:
        with pytest.raises(FieldError) as refused:
            normal(type, value)
        assert len(value) < 4 or value not in str(refused.value)


@pytest.mark.parametrize(("raw", "_", "hashed"), EMAILS)
def test_raw_and_hashed_stand_for_the_same(raw, _, hashed):
    digest = base64.b64decode(hashed)
    forms = {id_secret("email", value) for value in (raw, hashed, digest.hex(), digest.hex().upper())}
    assert forms == {b"email\0" + digest}


def test_the_same_text_of_another_type_is_another_secret():
    assert id_secret("email", "a@b") != id_secret("customer", "a@b")
    hashed = hashlib.sha256(b"+12345678901").hexdigest()
    assert id_secret("phone", hashed) == id_secret("phone", "+12345678901") != id_secret("customer", hashed)


def test_a_pseudonym_is_the_stated_function_of_its_key():
    key, info = Keys().key(epoch_of(NOW), NOW), b"tactful/pseudonym/v1\0daily\0purpose"
    derived = hmac.digest(key, info + b"\x01", "sha256")  # RFC 5869 2.3 for one block
    expected = hmac.digest(derived, b"secret", "sha256")[:16]
    assert pseudonym(Keys(), "daily", "purpose", b"secret", NOW) == expected


def test_publisher_purpose_secret_and_week_part_pseudonyms():
    week = timedelta(days=7)
    made = [
        pseudonym(Keys(), "daily", "a", b"s", NOW),
        pseudonym(Keys(), "weekly", "a", b"s", NOW),
        pseudonym(Keys(), "daily", "b", b"s", NOW),
        pseudonym(Keys(), "daily", "a", b"t", NOW),
        pseudonym(Keys(), "daily", "a", b"s", NOW + week),
    ]
    assert len(set(made)) == len(made)
    assert pseudonym(Keys(), "daily", "a", b"s", NOW + timedelta(days=3)) == made[0]


def test_a_week_begins_on_monday_at_midnight_utc():
    monday = datetime(2026, 11, 23, tzinfo=UTC)
    assert epoch_start(epoch_of(NOW)) == monday
    assert epoch_of(monday) == epoch_of(monday - timedelta(microseconds=1)) + 1
    assert destroyed_at(epoch_of(NOW)) == monday + timedelta(days=14)


def test_nothing_is_put_under_a_key_whose_time_is_up():
    epoch = epoch_of(NOW)
    end = destroyed_at(epoch)
    assert pseudonym_in(Keys(), epoch, "p", "a", b"s", end - timedelta(seconds=1))
    with pytest.raises(KeyDestroyed):
        pseudonym_in(Keys(), epoch, "p", "a", b"s", end)
