import pytest

from privacy.raw_identifier import raw_identifier


@pytest.mark.parametrize(
    "text",
    [
        "jane@example.com",
        "JANE@localhost",
        "ｊａｎｅ＠ｅｘａｍｐｌｅ．ｃｏｍ",
        "j a n e @ e x a m p l e . c o m",
        "ja\u200bne@exam\u00adple.com",
        "jane%40example.com",
        "jane%2540example.com",
        "jane&#64;example.com",
        "jane (at) example (dot) com",
        "jane [at] example.com",
        "jane at example dot com",
        "jane_at_example_dot_com",
        "jane-at-example.com",
        "дина@пример.рф",
    ],
)
def test_an_address_is_found_however_it_is_dressed(text):
    assert raw_identifier(text) == "an e-mail address"


@pytest.mark.parametrize(
    "text",
    [
        "+49 151 1234567",
        "+1 (555) 555-0123",
        "0049-151-1234567",
        "0151/12345678",
        "c-4915112345678",
        "４９１５１１２３４５６７",
        "٠١٥١١٢٣٤٥٦٧٨",
        "tel:5550123",
        "555-0123",
        "91234567",
        "4 9 1 5 1 1 2 3 4 5 6 7",
        "49\u200b151\u200b1234567",
        "49–151–1234567",
        "%2B49%20151%201234567",
    ],
)
def test_a_number_is_found_in_other_digits_and_with_other_marks(text):
    assert raw_identifier(text) == "a telephone number"


@pytest.mark.parametrize(
    "text",
    [
        "viewed-pricing",
        "cat-at-home",
        "gold",
        "user@",
        "q4-2026",
        "age-30-39",
        "spring-2026-11-23",
        "c-20261123-0001",
        "23.11.2026",
        "2026-11-23t18-05",
        "campaign-1234567",
        "size-2000000",
        "",
    ],
)
def test_names_of_groups_and_campaigns_are_let_through(text):
    assert raw_identifier(text) is None


def test_a_long_number_that_starts_like_a_date_is_a_number_still():
    assert raw_identifier("2026112301511234567") == "a telephone number"
    assert raw_identifier("20261399") == "a telephone number"
