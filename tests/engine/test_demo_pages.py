"""The demo's pages over an engine that answers the same whatever it is asked."""

from __future__ import annotations

import re
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient

from engine import demo
from engine.campaign import Publisher
from engine.decision import (
    Answer,
    Asset,
    Assets,
    CreativeAnswer,
    Filled,
    PageAnswer,
    PrivacyAnswer,
    Reason,
    TopicAnswer,
)
from engine.demo.magazine import read_articles, read_catalog
from engine.demo.readers import INTERESTS, NOTICE, SHOWN
from engine.web.demo import LONGEST_PASTE, MAX_FORM, Agreed, DemoRequest, Moment, create_blueprint

FOLDER = Path(demo.__file__).parent
ARTICLES = read_articles(FOLDER / "articles")
CATALOG = read_catalog(FOLDER / "catalog.ndjson")
LONDON = ZoneInfo("Europe/London")
NOW = datetime(2026, 11, 23, 15, 20, tzinfo=LONDON)  # a Monday
ARTICLE = "/articles/the-long-way-home"

NATIVE = CreativeAnswer(
    id="soup-native",
    campaign="soup",
    advertiser="kettle",
    format="native",
    assets=Assets(
        "Soup <for> you", "Four soups", "Choose", "Kettle", Asset("/images/s.webp", 600, 400, "A bowl")
    ),
    html="",
    landing_domain="kettle.example",
)
MARKUP = CreativeAnswer(
    id="pot-html",
    campaign="pot",
    advertiser="kettle",
    format="banner",
    assets=Assets(sponsored_by="Kettle"),
    html="<h3>One heavy pot</h3>",
    landing_domain="kettle.example",
    size=(300, 250),
)
REASONS = (
    Reason("page", 0.315, "topic 'Cooking' (216)"),
    Reason("weather", 0.21, "cold and rain: prefers cold"),
    Reason("time", -0.105, "Monday midday: prefers evening"),
)


class FixedEngine:
    """Answers the same, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[DemoRequest] = []
        self.sensitive: tuple[str, ...] = ()

    def decide(self, view: DemoRequest) -> Answer:
        self.asked.append(view)
        return Answer(
            request_id="r1",
            decisions=(_filled("end", NATIVE), _filled("side", MARKUP)),
            unfilled=("top",),
            degraded=False,
            missing=("weather",),
            privacy=PrivacyAnswer(),
            snapshot=7,
            page=PageAnswer(
                topics=(TopicAnswer("216", "Cooking", 0.81),),
                cattax=9,
                language="en",
                intent="awareness",
                keyphrases=("soup",),
                sensitive=self.sensitive,
                notes=("a note",),
            ),
        )


def _filled(placement: str, creative: CreativeAnswer) -> Filled:
    raw = msgspec.Raw(msgspec.json.encode(creative))
    return Filled(placement, raw, f"/v1/click/{creative.id}", 0.42, REASONS)


@pytest.fixture
def engine() -> FixedEngine:
    return FixedEngine()


@pytest.fixture
def client(engine: FixedEngine) -> FlaskClient:
    app = Flask("test", static_folder=None, template_folder=None)
    app.register_blueprint(create_blueprint(engine.decide, ARTICLES, CATALOG, lambda: NOW, lambda: "desktop"))
    return app.test_client()


def test_the_front_page_leads_to_every_article(client: FlaskClient):
    text = client.get("/").text
    for article in ARTICLES:
        assert f'href="/articles/{article.id}"' in text
        assert client.get(f"/articles/{article.id}").status_code == 200


def test_an_article_is_decided_upon_by_its_own_words(client: FlaskClient, engine: FixedEngine):
    client.get(ARTICLE)
    (view,) = engine.asked
    assert view.url == "http://localhost/articles/the-long-way-home"
    assert view.title == "The long way home by bicycle"
    assert view.text is not None and view.text.startswith("The office is eleven kilometres")
    assert [place.id for place in view.placements] == ["top", "side", "end"]
    assert (view.device, view.at, view.condition, view.temperature_c) == (None, None, None, None)


def test_controls_reach_the_decision(client: FlaskClient, engine: FixedEngine):
    client.get(ARTICLE + "?device=phone&day=sat&hour=8&weather=snow&temp=-8&country=JP")
    (view,) = engine.asked
    assert (view.device, view.condition, view.temperature_c, view.country) == ("phone", "snow", -8, "JP")
    assert view.at == datetime(2026, 11, 28, 8, tzinfo=LONDON)
    assert view.placements[0].sizes == ((320, 100),)


def test_consent_is_recorded_by_the_magazines_server(engine: FixedEngine):
    asked: list[str] = []

    def agree() -> Agreed | None:
        asked.append("yes")
        return Agreed("t", "r", "urn", "2026-11-24") if len(asked) == 1 else None

    app = Flask("test", static_folder=None, template_folder=None)
    app.register_blueprint(
        create_blueprint(engine.decide, ARTICLES, CATALOG, lambda: NOW, lambda: "desktop", agree)
    )
    browser = app.test_client()
    given = browser.post("/consent")
    assert given.status_code == 201
    assert given.json == {"token": "t", "rights_token": "r", "record_id": "urn", "expires": "2026-11-24"}
    assert browser.post("/consent").status_code == 503  # consents are off
    assert browser.get("/consent").status_code in (404, 405)


def test_the_notice_on_the_page_is_the_one_that_is_agreed_to(client: FlaskClient):
    page = client.get(ARTICLE).text
    assert NOTICE in page
    assert SHOWN.text_sha256 == sha256(NOTICE.encode()).hexdigest()
    cohorts = next(entity for entity in CATALOG if isinstance(entity, Publisher)).first_party.cohorts
    assert set(INTERESTS) == set(cohorts)
    assert all(f'value="{interest}"' in page for interest in INTERESTS)


def test_the_hour_alone_is_today_and_the_day_alone_is_at_this_hour():
    assert Moment(hour=23).at(NOW) == datetime(2026, 11, 23, 23, tzinfo=LONDON)
    assert Moment(day="mon").at(NOW) == datetime(2026, 11, 23, 15, tzinfo=LONDON)
    assert Moment(day="sun").at(NOW) == datetime(2026, 11, 29, 15, tzinfo=LONDON)


@pytest.mark.parametrize(
    "query", ["device=toaster", "hour=24", "weather=<b>", "temp=nan", "day=&country=XX", "hour=٣"]
)
def test_what_is_not_offered_counts_as_not_chosen(client: FlaskClient, engine: FixedEngine, query: str):
    client.get(f"{ARTICLE}?{query}")
    client.get(ARTICLE)
    assert engine.asked[0] == engine.asked[1]


def test_the_chosen_moment_goes_along_to_the_next_page(client: FlaskClient):
    text = client.get(ARTICLE + "?hour=8&weather=snow").text
    assert 'href="/articles/a-good-walk-in-bad-weather?hour=8&amp;weather=snow"' in text
    assert '<option value="snow" selected>' in text


def test_each_creative_is_labelled_and_says_why(client: FlaskClient):
    text = client.get(ARTICLE).text
    assert text.count("<span>Advertisement</span>") == 2 + 1  # and the blank for the script
    assert "topic &#39;Cooking&#39; (216)" in text
    assert "Page 60 %" in text and "Time 0 %" in text
    assert "Soup &lt;for&gt; you" in text
    assert "<h3>One heavy pot</h3>" in text
    assert "Nothing fits here well enough" in text


def test_the_drawn_shares_fill_the_bar(client: FlaskClient):
    text = client.get(ARTICLE).text
    bar = text.split('<div class="why">')[1].split("</svg>")[0]
    widths = [float(width) for width in re.findall(r'width="([\d.]+)"', bar)]
    assert widths == [60, 40, 0]


def test_what_was_understood_is_told(client: FlaskClient):
    text = client.get(ARTICLE).text
    for told in (
        "Cooking <small>216</small>",
        "81 %",
        "awareness",
        "a note",
        '<dd id="missing">weather</dd>',
    ):
        assert told in text


def test_a_sensitive_page_tells_who_stays_away(client: FlaskClient, engine: FixedEngine):
    engine.sensitive = ("conflict",)
    text = client.get(ARTICLE).text
    assert "death, injury and war" in text
    left, of = re.search(r"(\d+) of (\d+) campaigns were left out", text).groups()  # type: ignore[union-attr]
    assert int(left) < int(of)
    names = text.split('<p class="names">')[1].split("</p>")[0]
    assert "Larch Savings" in names
    assert "Open Hands Relief" not in names


@pytest.mark.parametrize(
    ("pasted", "kind"),
    [
        ("Leeks and potatoes.", "text"),
        ("<p>Leeks</p>", "html"),
        ("Soup, <b>hot</b>", "html"),
        ("2 < 3", "text"),
    ],
)
def test_pasted_text_and_html_are_told_apart(
    client: FlaskClient, engine: FixedEngine, pasted: str, kind: str
):
    assert client.post("/try", data={"page": pasted, "weather": "rain"}).status_code == 200
    (view,) = engine.asked
    assert getattr(view, kind) == pasted
    assert view.url is None and view.condition == "rain"


def test_the_source_of_a_big_page_is_read(client: FlaskClient, engine: FixedEngine):
    source = "<p>Leeks</p>" + "<!-- \u00e9 -->" * 60_000
    assert client.post("/try", data={"page": source}).status_code == 200
    assert [view.html for view in engine.asked] == [source]


def test_pasted_markup_is_shown_and_never_run(client: FlaskClient):
    text = client.post("/try", data={"page": "</textarea><script>alert(1)</script>"}).text
    assert "<script>alert" not in text
    assert "&lt;/textarea&gt;&lt;script&gt;" in text


@pytest.mark.parametrize("pasted", ["", " \n", "a" * (LONGEST_PASTE + 1)])
def test_nothing_and_too_much_are_not_decided_upon(client: FlaskClient, engine: FixedEngine, pasted: str):
    response = client.post("/try", data={"page": pasted})
    assert response.status_code == 200
    assert engine.asked == []
    assert ("Please shorten it" in response.text) == (len(pasted) > LONGEST_PASTE)


def test_a_form_without_bounds_is_refused(client: FlaskClient, engine: FixedEngine):
    assert client.post("/try", data={"page": "a" * (MAX_FORM + 1)}).status_code == 413
    assert engine.asked == []


@pytest.mark.parametrize("path", ["/", ARTICLE, "/try", "/articles/none"])
def test_no_page_sets_a_cookie_or_carries_script_or_style(client: FlaskClient, path: str):
    response = client.get(path)
    assert response.status_code == (404 if path.endswith("none") else 200)
    assert "Set-Cookie" not in response.headers
    assert response.headers["Content-Security-Policy"].startswith(
        "default-src 'none'; script-src 'self'; style-src 'self'"
    )
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert not re.search(r"<style|<script(?! src=)|\sstyle=|\son\w+=", response.text)
    assert not re.search(r'(src|href|action)="(https?:)?//', response.text)


@pytest.mark.parametrize("path", ["/", ARTICLE, "/try"])
def test_every_control_has_a_label_and_every_picture_an_alternative(client: FlaskClient, path: str):
    text = client.get(path).text
    ids = re.findall(r'<(?:select|textarea)[^>]* id="([\w-]+)"', text)
    assert ids and all(f'<label for="{id}">' in text for id in ids)
    assert all(" alt=" in picture for picture in re.findall(r"<img[^>]*>", text))
    assert len(re.findall(r"<h1", text)) == 1
    assert len(set(re.findall(r' id="([\w-]+)"', text))) == len(re.findall(r' id="([\w-]+)"', text))
