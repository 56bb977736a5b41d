"""The element as text: what is written is escaped, what is none is refused."""

import pytest

from engine.publisher.markup import contextual_ad


def test_the_element_names_publisher_placement_and_size():
    assert contextual_ad("top", publisher="planet", size="728x90") == (
        '<contextual-ad publisher="planet" placement="top" width="728" height="90"></contextual-ad>'
    )


def test_whatever_comes_in_an_attribute_stays_in_it():
    made = contextual_ad(
        '"><script>', publisher="'x'", consent_token="a&b", hidden=True, title=None, lang=False
    )
    assert made == (
        '<contextual-ad publisher="&#x27;x&#x27;" placement="&quot;&gt;&lt;script&gt;" width="300" height="250" '
        'consent-token="a&amp;b" hidden></contextual-ad>'
    )


@pytest.mark.parametrize("size", ["300", "0x50", "300x250 ", "x", "300X250", "１x1", None, "99999x1"])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(ValueError, match="expected width and height"):
        contextual_ad("top", publisher="planet", size=size)


@pytest.mark.parametrize("name", ["onload", "on_x", "a b", "A", "a=b", ""])
def test_what_is_no_attribute_is_refused(name):
    with pytest.raises(ValueError, match="attribute"):
        contextual_ad("top", publisher="planet", **{name: "1"})
