"""What a page is about, told to the page for its bidders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.keys import create_key
from tests.engine.web.conftest import DECIDE, errors
from tests.engine.web.test_openrtb import ORIGIN, Exchange
from tests.world import NOW

URL = "https://planet.example/sport/cup"


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    exchange = Exchange(tmp_path)
    yield exchange
    exchange.writer.stop()


def define(exchange: Exchange, url: str, *categories: str) -> None:
    """Let the publisher's own server say what a page of its is about."""
    key = create_key(exchange.world.store, "publisher", "planet", "t", NOW, lambda size: b"k" * size)
    page = {"url": url, "text": "A page with some words on it.", "categories": categories}
    body = {"publisher": "planet", "placements": [{"id": "a"}], "page": page}
    answer = exchange.client.post(DECIDE, json=body, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text


def ask(exchange: Exchange, origin: str | None = ORIGIN, **query: Any) -> Any:
    asked = {"token": "planet", "url": URL, "_neuwo_prod": "PrebidModule", **query}
    headers = {} if origin is None else {"Origin": origin}
    return exchange.client.get("/v1/iab", query_string=asked, headers=headers)


def test_topics_are_told_by_taxonomy_and_tier(exchange: Exchange) -> None:
    define(exchange, URL, "533")
    answer = ask(exchange, iabVersions=["7", "9", "4", "1", "6"])
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    told = answer.json
    assert set(told) == {"7", "9", "1"}  # no audiences, and no taxonomy that we do not speak
    assert told["7"]["1"] == [{"id": "483", "name": "Sports", "relevance": "0.97"}]
    assert told["7"]["2"] == [{"id": "533", "name": "Soccer", "relevance": "0.97"}]
    assert told["9"] == told["7"]
    assert told["1"] == {"1": [{"id": "IAB17", "name": "Sports", "relevance": "0.97"}]}


def test_filters_are_held(exchange: Exchange) -> None:
    define(exchange, URL, "533", "1")
    assert len(ask(exchange, iabVersions="7").json["7"]["1"]) == 2
    assert len(ask(exchange, iabVersions="7", filter_7_1_limit="1").json["7"]["1"]) == 1
    told = ask(exchange, iabVersions="7", filter_7_1_threshold="0.98", filter_7_2_limit="nonsense").json
    assert list(told["7"]) == ["2"]
    assert ask(exchange, iabVersions="7", filter_7_1_limit="0", filter_7_2_limit="0").json == {}


def test_what_article_9_protects_is_told_to_nobody(exchange: Exchange) -> None:
    define(exchange, URL, "311", "483")  # substance abuse, under Medical Health
    told = ask(exchange, iabVersions=["7", "1"]).json
    assert [one["id"] for one in told["7"]["1"]] == ["483"] and list(told["7"]) == ["1"]
    assert [one["id"] for one in told["1"]["1"]] == ["IAB17"]


def test_a_page_is_known_by_its_address_without_what_names_a_reader(exchange: Exchange) -> None:
    define(exchange, URL, "483")
    assert (
        ask(exchange, url=URL + "?uid=7#top", iabVersions="7").json
        == ask(exchange, iabVersions="7").json
        != {}
    )
    assert ask(exchange, url="https://planet.example/never-seen", iabVersions="7").json == {}


def test_who_asks_for_another_publisher_is_told_nothing(exchange: Exchange) -> None:
    define(exchange, URL, "483")
    for origin in ("https://globe.example", "https://stranger.example", "null"):
        assert ask(exchange, origin, iabVersions="7").json == {}
    assert ask(exchange, token="nobody").json == {}
    assert "token" in errors(ask(exchange, None, token="nobody"), 404)


@pytest.mark.parametrize(
    "url", ["", "ftp://planet.example/", "javascript:alert(1)", "https://", "https://a/" + "b" * 2100]
)
def test_what_is_no_address_is_refused(exchange: Exchange, url: str) -> None:
    assert "url" in errors(ask(exchange, url=url))
