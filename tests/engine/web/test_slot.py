"""The piece of HTML for pages that are put together on servers: it shows a creative or nothing, never a fault."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from engine.campaign import Flight
from privacy.gate import DEADLINES_MS, SLOT_PATH, deadline_ms
from tests.engine.web.test_events import BASE, BROWSER, LANDING, Shop
from tests.world import campaign, creative

ASKED = {
    "publisher": "planet",
    "placement": "top",
    "url": "https://planet.example/sport/tour?uid=7",
    "title": "A tour",
}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "shop")
    yield shop
    shop.writer.stop()
    shop.services.close()


def ask(shop: Shop, *, headers: Any = BROWSER, method: str = "GET", **more: Any) -> Any:
    query = {name: value for name, value in (ASKED | more).items() if value is not None}
    return shop.client.open("/v1/slot", method=method, query_string=query, headers=headers)


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_piece_shows_a_labelled_creative_and_tells_of_it(shop: Shop) -> None:
    answer = ask(shop)
    assert answer.status_code == 200
    assert answer.content_type == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    tags = Tags(answer.text)
    assert tags.open == []
    assert not {"script", "style", "iframe"} & {tag for tag, _ in tags.tags}
    (tag, outer), *_ = tags.tags
    assert (tag, outer["class"], outer["data-placement"]) == ("div", "tactful-slot", "top")
    assert "Why this ad?" in answer.text
    (pixel,) = [at["src"] for tag, at in tags.tags if tag == "img" and at.get("width") == "1"]
    shop.later(seconds=2)
    assert shop.get(unescape(pixel)).status_code == 200
    assert shop.get(outer["data-tactful-viewable"]).status_code == 200
    assert shop.rows() == [("viewable", 0, 0), ("impression", 0, 2000)]


def test_the_strict_piece_says_nothing_of_the_page_view_and_is_counted_when_it_is_made(shop: Shop) -> None:
    first, again = ask(shop, profile="strict"), ask(shop, profile="strict")
    assert first.data == again.data  # of two page views the same bytes
    assert "/v1/events/" not in first.text and "/v1/click/" not in first.text
    assert f'href="{LANDING.replace("&", "&amp;")}"' in first.text
    assert "<script" not in first.text
    assert shop.rows() == [("impression", 0, 2000)] * 2
    assert {view for (view,) in shop.world.store.rows("SELECT view FROM events")}.__len__() == 2


def test_what_pays_for_views_or_clicks_is_not_shown_where_neither_is_counted(shop: Shop) -> None:
    shop.put(campaign("spring", cpc_micros=500_000, cpm_micros=0, flight=Flight()))
    assert ask(shop, profile="strict").data == b""
    assert "spring-1" in ask(shop).text or "headline of spring-1" in ask(shop).text
    shop.put(campaign("own", house=True, cpm_micros=0), creative("own-1", "own"))
    assert "headline of own-1" in ask(shop, profile="strict").text


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"publisher": "nobody"}, "publisher"),
        ({"publisher": None}, "publisher"),
        ({"placement": None}, "placement"),
        ({"placement": "a b"}, "placement"),
        ({"size": "big"}, "size"),
        ({"size": ["1x1", "2x2"]}, "size"),
        ({"url": "javascript:alert(1)"}, "url"),
        ({"url": None, "title": None}, "url"),
        ({"profile": "loose"}, "profile"),
        ({"format": "video"}, "format"),
        ({"device": "fridge"}, "device"),
        ({"country": "XX"}, "country"),
        ({"region": "BE"}, "region"),
        ({"language": "--><script>"}, "language"),
        ({"title": "x" * 3000}, "title"),
        ({"keyword": ["x"] * 21}, "keyword"),
    ],
)
def test_whatever_is_wrong_the_page_shows_nothing_and_its_source_says_what(
    shop: Shop, more: dict[str, Any], told: str
) -> None:
    answer = ask(shop, **more)
    assert answer.status_code == 200
    assert re.fullmatch(r"<!-- tactful: [^<>]* -->", answer.text)
    assert told in answer.text
    assert "alert" not in answer.text


def test_where_nothing_fits_nothing_stands(shop: Shop) -> None:
    answer = ask(shop, size="1x1", format="banner")
    assert (answer.status_code, answer.data) == (200, b"")


def test_a_failure_inside_shows_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop.site.engine, "scene", lambda *_: 1 / 0)
    answer = ask(shop)
    assert (answer.status_code, answer.data) == (200, b"")


def test_a_stranger_among_origins_gets_nothing_and_the_publishers_own_may_read(shop: Shop) -> None:
    own = ask(shop, headers=BROWSER | {"Origin": "https://planet.example"})
    assert own.headers["Access-Control-Allow-Origin"] == "https://planet.example"
    assert "tactful-slot" in own.text
    strange = ask(shop, headers=BROWSER | {"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in strange.headers
    assert "tactful-slot" not in strange.text


def test_htmx_is_let_in_from_registered_origins(shop: Shop) -> None:
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "hx-request"}
    answer = ask(shop, method="OPTIONS", headers={"Origin": "https://planet.example"} | asks)
    assert answer.status_code == 204
    assert "HX-Request" in answer.headers["Access-Control-Allow-Headers"]
    answer = ask(shop, method="OPTIONS", headers={"Origin": "https://evil.example"} | asks)
    assert "Access-Control-Allow-Headers" not in answer.headers


def test_a_look_at_the_head_counts_nothing(shop: Shop) -> None:
    assert ask(shop, method="HEAD", profile="strict").status_code == 200
    assert shop.rows() == []


def test_gpc_that_is_forwarded_is_told(shop: Shop) -> None:
    assert 'data-gpc="honored"' in ask(shop, headers=BROWSER | {"Sec-GPC": "1"}).text
    assert "data-gpc" not in ask(shop).text


def test_a_machine_is_shown_something_that_does_not_count(shop: Shop) -> None:
    assert "tactful-slot" in ask(shop, headers={"User-Agent": "curl/8"}, profile="strict").text
    assert shop.rows() == []


def test_the_addresses_of_a_piece_are_the_services_own(shop: Shop) -> None:
    tags = Tags(ask(shop).text).tags
    urls = [value for _, at in tags for name, value in at.items() if name in ("href", "src")]
    assert urls and all(url.startswith(BASE + "/") for url in map(str, urls))


@pytest.mark.parametrize(
    ("header", "given"),
    [("120", 100), ("100", 100), ("5", 10), ("0", 10), ("999999", 1000), ("", None), ("1e3", None), ("-1", None),
     ("9999999", None), ("１００", None), ("100 ", None), ("100, 200", None)],
)  # fmt: skip
def test_a_deadline_is_one_of_few_and_says_nothing_elsewhere(header: str, given: int | None) -> None:
    assert deadline_ms(SLOT_PATH, header) == given
    assert given is None or given in DEADLINES_MS
    assert deadline_ms("/v1/decisions", header) is None


def test_a_deadline_is_handed_on(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = shop.site.engine.decide

    def decide(*asked: Any, deadline: float, **more: Any) -> Any:
        seen.append(deadline)
        return real(*asked, deadline=deadline, **more)

    monkeypatch.setattr(shop.site.engine, "decide", decide)
    now = shop.services.monotonic()
    ask(shop, headers=BROWSER | {"Tactful-Deadline-Ms": "120"})
    ask(shop)
    assert [round(1000 * (one - now)) for one in seen] == [100, 50]
