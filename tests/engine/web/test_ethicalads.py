"""EthicalAds' clients, moved here by changing a host: what they send is answered, counted, and names no reader."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.campaign import PoliticalNotice
from engine.keys import create_key
from engine.record import Recorder
from tests import world
from tests.engine.web.conftest import errors
from tests.engine.web.test_events import BASE, BROWSER
from tests.engine.web.test_openrtb import PICTURE, Exchange
from tests.world import NOW, campaign, creative

DATA = Path(os.environ.get("TACTFUL_DATA", Path(__file__).parents[4] / "shared" / "data")) / "ethicalads"
DECISION = "/api/v1/decision/"
CLICKS = campaign("click", status="paused", cpm_micros=0, cpc_micros=9_000_000)  # would win
QUERY = {
    "publisher": "planet",
    "ad_types": "image-v1",
    "div_ids": "slot-1",
    "callback": "ad_1795437273516_26631",
    "keywords": "rain|outdoor|python",
    "campaign_types": "paid|publisher-house|community|house",
    "format": "jsonp",
    "client_version": "2.3.0",
    "placement_index": "0",
    "url": "https://planet.example/page",
}


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    exchange = Exchange(tmp_path)
    exchange.put(CLICKS)
    yield exchange
    exchange.writer.stop()


def get(exchange: Exchange, headers: Any = BROWSER, **query: Any) -> Any:
    asked = {name: value for name, value in (QUERY | query).items() if value is not None}
    return exchange.client.get(DECISION, query_string=asked, headers=headers)


def ad(exchange: Exchange, **query: Any) -> Any:
    answer = get(exchange, **query)
    assert answer.status_code == 200, answer.text
    found = re.fullmatch(r"/\*\*/ad_1795437273516_26631\((\{.*\})\);", answer.text)
    assert found, answer.text
    assert answer.headers["Content-Type"].startswith("application/javascript")
    return json.loads(found[1])


def first_node(html: str) -> str:
    """Return what the client puts into the page: the first node."""
    from html.parser import HTMLParser

    depth, ends = 0, []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            nonlocal depth
            depth += tag != "img"

        def handle_endtag(self, tag: str) -> None:
            nonlocal depth
            depth -= 1
            if depth == 0:
                ends.append(self.getpos()[1] + len(f"</{tag}>"))

    Parser().feed(html)
    return html[: ends[0]]


def test_a_script_calls_the_page_with_an_advertisement(exchange: Exchange) -> None:
    found = ad(exchange)
    assert (found["id"], found["div_id"], found["display_type"]) == ("spring-1", "slot-1", "image-v1")
    assert found["copy"] == {
        "headline": "headline of spring-1",
        "content": "Wide and quiet.",
        "cta": "See them",
    }
    assert first_node(found["html"]) == found["html"]
    assert found["html"].count(f'href="{found["link"]}"') == 2
    assert f'href="{BASE}/v1/why/' in found["html"]
    assert PICTURE.name and PICTURE.name in found["html"] and "Acme &amp; Sons" in found["html"]
    assert found["view_url"].startswith(f"{BASE}/proxy/view/spring-1/")
    assert found["link_domain"] == "acme.example" and found["campaign_type"] == "paid"


def test_text_only_shows_no_picture(exchange: Exchange) -> None:
    found = ad(exchange, ad_types="text-v1")
    assert "<img" not in found["html"] and "image" not in found and "ea-type-text" in found["html"]


def test_views_and_clicks_count_once_and_lead_to_the_advertiser(exchange: Exchange) -> None:
    found = ad(exchange)
    for _ in range(2):
        exchange.load(found, "view_url")
    exchange.later(seconds=3)
    clicked = exchange.get(found["link"])
    assert (clicked.status_code, clicked.headers["Location"]) == (302, "https://acme.example/")
    exchange.load(found, "view_time_url")
    assert exchange.rows() == [("impression", 0, 2000), ("click", 0, 0)]
    forged = f"{BASE}/proxy/click/spring-1/{'A' * 80}/"
    assert exchange.get(forged).status_code == 404
    assert exchange.get(forged.replace("click", "view")).status_code == 200
    assert len(exchange.rows()) == 2


@pytest.mark.parametrize("callback", ["", "a b", "alert(1)//", "1a", "a.b", "é", "a" * 65, "x\n", "<script>"])
def test_a_callback_that_is_no_name_is_refused(exchange: Exchange, callback: str) -> None:
    answer = get(exchange, callback=callback)
    assert "callback" in errors(answer, 400)


def test_without_a_callback_it_is_json(exchange: Exchange) -> None:
    answer = get(exchange, {**BROWSER, "Origin": "https://planet.example"}, format=None, callback=None)
    assert answer.json["id"] == "spring-1"
    assert answer.headers["Access-Control-Allow-Origin"] == "https://planet.example"
    assert get(exchange, {**BROWSER, "Origin": "https://stranger.example"}, format="json").json == {}


def test_where_there_is_none_the_answer_is_empty(exchange: Exchange) -> None:
    assert ad(exchange, publisher="nobody") == {}
    assert ad(exchange, campaign_types="house") == {}
    assert ad(exchange, url="javascript:alert(1)", keywords="")["id"] == "spring-1"
    assert ad(exchange, url="https://[broken")["id"] == "spring-1"


def test_a_failing_engine_is_an_empty_answer(exchange: Exchange, monkeypatch: Any) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(exchange.services.engine, "decide", fails)
    assert ad(exchange) == {}


def test_what_a_script_could_stumble_over_is_escaped(exchange: Exchange) -> None:
    exchange.put(
        campaign("odd", cpm_micros=9_000_000),
        creative("odd-1", "odd", headline="rain </script> \u2028 & <b> \"q\" 'q'", image=PICTURE),
    )
    answer = get(exchange, keywords="headline|rain", url=None)
    assert "odd-1" in answer.text
    assert "<" not in answer.text and "\u2028" not in answer.text
    html = ad(exchange, keywords="headline|rain", url=None)["html"]
    assert "</script>" not in html and "&lt;/script&gt;" in html and "<b>" not in html


def test_a_publishers_server_asks_with_its_key(exchange: Exchange) -> None:
    key = create_key(exchange.world.store, "publisher", "planet", "t", NOW, lambda size: b"k" * size)
    body = {
        "publisher": "planet",
        "placements": [{"div_id": "top", "ad_type": "image-v1", "priority": 10}],
        "keywords": ["rain"],
        "campaign_types": ["paid"],
        "url": "https://planet.example/page",
        "user_ip": "203.0.113.7",
        "user_ua": "Mozilla/5.0 (reader)",
    }
    asked = {"User-Agent": "python-requests/2", "Authorization": f"Token {key}"}
    found = exchange.client.post(DECISION, json=body, headers=asked).json
    assert found["id"] == "spring-1" and found["div_id"] == "top"
    other = exchange.client.post(DECISION, json=body | {"publisher": "globe"}, headers=asked)
    assert "Authorization" in errors(other, 403)
    assert "publisher" in errors(exchange.client.post(DECISION, json=body | {"publisher": "nobody"}), 404)
    assert "placements" in errors(exchange.client.post(DECISION, json={"publisher": "planet"}))


def test_house_campaigns_come_where_the_page_takes_them(exchange: Exchange) -> None:
    exchange.put(
        campaign("spring", status="paused", cpm_micros=2_000_000),
        campaign("own", house=True, cpm_micros=0),
        creative("own-1", "own"),
    )
    assert ad(exchange)["campaign_type"] == "house"
    assert ad(exchange, campaign_types="paid") == {}


def test_a_kind_that_the_page_does_not_take_is_neither_decided_nor_recorded(exchange: Exchange) -> None:
    exchange.put(campaign("own", house=True, cpm_micros=0), creative("own-1", "own"))
    for kinds, kind in (("house", "house"), ("paid", "paid"), ("house|paid", "paid"), ("", "paid")):
        assert ad(exchange, campaign_types=kinds)["campaign_type"] == kind
    exchange.put(campaign("own", status="paused", house=True, cpm_micros=0))
    assert ad(exchange, campaign_types="community") == ad(exchange, campaign_types="else") == {}
    exchange.rows()
    told = exchange.world.store.rows("SELECT sum(asked), sum(filled) FROM decided")
    assert told == [(5, 4)]  # of kinds that are not known, nothing is asked


def test_of_several_places_the_one_of_the_highest_priority_is_answered(exchange: Exchange) -> None:
    places = [{"div_id": "a", "ad_type": "image-v1"}, {"div_id": "b", "ad_type": "text-v1", "priority": 5}]
    asked = {"publisher": "planet", "placements": places, "url": "https://planet.example/page"}
    found = exchange.client.post(DECISION, json=asked, headers=BROWSER).json
    assert (found["div_id"], found["display_type"]) == ("b", "text-v1")


def test_a_political_advertisement_comes_with_its_notice(exchange: Exchange) -> None:
    notice = PoliticalNotice("Green <Party>", "", "1 EUR", "an election", "https://acme.example/notice")
    exchange.register(domains=("planet.example",), political=True)
    exchange.put(campaign("spring", political=True, political_notice=notice, cpm_micros=2_000_000))
    html = ad(exchange)["html"]
    assert "Political advertisement: " in html and "Sponsor: Green &lt;Party&gt;" in html
    assert 'href="https://acme.example/notice"' in html and first_node(html) == html


def test_in_the_strict_profile_views_count_at_the_decision(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, strict=True, event_profile="strict")
    exchange.put(CLICKS)
    found = ad(exchange)
    assert "nonce" not in found and exchange.rows() == [("impression", 0, 2000)]
    exchange.load(found, "view_url")
    assert exchange.rows() == [("impression", 0, 2000)]
    assert isinstance(exchange.site.engine._recorder, Recorder)
    exchange.writer.stop()


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no recordings at {DATA}: set TACTFUL_DATA")
def test_recorded_requests_are_answered(exchange: Exchange) -> None:
    exchange.put(world.publisher("example", domains=("pub.example",)))
    exchange.services.registered |= exchange.world.view.snapshot.publishers
    recorded = json.loads((DATA / "recorded_requests.json").read_text("utf-8"))
    asked = [one for one in recorded if one["path"] == DECISION]
    assert len(asked) >= 3
    for one in asked:
        kept = {name: value for name, value in one["h"].items() if name not in ("Host", "Connection")}
        answer = exchange.client.get(DECISION, query_string=one["q"], headers=kept)
        callback = one["q"]["callback"]
        assert answer.status_code == 200 and answer.text.startswith(f"/**/{callback}(")
        told = json.loads(answer.text[len(f"/**/{callback}(") : -2])
        assert told["html"] and told["view_url"] and told["div_id"] == one["q"]["div_ids"]
        assert told["display_type"] == one["q"].get("ad_types", "image-v1")
        exchange.load(told, "view_url", **kept)
    assert {row[:2] for row in exchange.rows()} == {("impression", 1)}  # a headless browser, as it says
