import msgspec
import pytest

from engine.assemble import creative_answer, text_of
from engine.creative import Image
from tests.world import advertiser, campaign, creative

PICTURE = Image(alt="a red bicycle", hash="0" * 64, ext="png", w=600, h=500)


def text(**said):
    return text_of(
        creative(**{"headline": ""} | said), campaign(keywords=("bikes", "spring")), advertiser("acme")
    )


def answer(**said):
    return creative_answer(
        creative(**said), campaign(), advertiser(), lambda name: f"https://ads.example/images/{name}"
    )


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ({"headline": "Ride on"}, "Ride on"),
        ({"headline": "Ride on", "body": "All spring."}, "Ride on. All spring"),
        ({"format": "banner", "html": "<p>Ride <b>on</b></p>"}, "Ride on"),
        ({"format": "banner", "html": '<a href="#"><img src="x" alt="Ride &amp; rest"></a>'}, "Ride & rest"),
        ({"format": "banner", "image": PICTURE}, "a red bicycle"),
        ({"format": "banner", "image": PICTURE, "headline": "Ride on"}, "Ride on"),
        ({"headline": "", "cta": "Buy"}, "Buy"),
        ({}, "Acme"),
    ],
)
def test_a_creatives_text_begins_with_its_own_words(said, heard):
    assert text(**said).startswith(heard)


def test_a_creatives_text_ends_with_who_speaks_and_what_about_each_once():
    assert text(headline="Ride on", keywords=("bikes", "tyres")) == "Ride on. Acme. bikes, tyres, spring"
    assert "Sponsor" in text(headline="Ride on", sponsored_by="The Sponsor")


def test_native_text_is_escaped_in_html_and_plain_in_assets():
    made = answer(headline='Fish & "chips"', landing_url="https://acme.example/?a=1&b=2")
    assert made.assets.headline == 'Fish & "chips"'
    assert "Fish &amp; &quot;chips&quot;" in made.html
    assert 'href="https://acme.example/?a=1&amp;b=2"' in made.html
    assert "nofollow sponsored" in made.html


def test_a_picture_is_answered_with_its_address_size_and_alternative_text():
    made = answer(format="banner", size=(300, 250), image=PICTURE)
    assert made.assets.image.url == f"https://ads.example/images/{'0' * 64}.png"
    assert (made.assets.image.w, made.assets.image.h) == (600, 500)
    assert 'width="300" height="250" alt="a red bicycle"' in made.html


def test_an_answer_is_json_whose_defaults_are_left_out():
    told = msgspec.json.decode(msgspec.json.encode(answer()))
    assert told["landing_domain"] == "acme.example"
    assert "image" not in told["assets"]
    assert told["assets"]["sponsored_by"] == "Acme"
