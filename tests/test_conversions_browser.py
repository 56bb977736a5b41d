"""Conversions in a real browser, by the real service: a token goes from window to window, and into no address."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.keys import create_key
from tests.live import ADS, ARTICLE, CHROMIUM, Live, Pages, Window, needs_chromium
from tests.live import browser as chromium

needs_chromium()

SHOP = "www.nord.example"
ARTICLE_PAGE = """<!doctype html><title>Three soups for a wet week</title><div id="ad"></div>
<script src="{service}/v1/conversions.js"></script>
<script>
const random = () => [...crypto.getRandomValues(new Uint8Array(16))].map(b => b.toString(16).padStart(2, "0")).join("");
const ad = document.querySelector("#ad");
tactfulConversions.hand({{publisher: "planet", consent: () => ({{token: "{consent}", nonce: random()}})}}, ad);
fetch("{service}/v1/decisions", {{method: "POST", body: JSON.stringify({{
  publisher: "planet", placements: [{{id: "top", formats: ["native"]}}],
  page: {{title: document.title, text: "{text}"}}}})}}).then(answer => answer.json()).then(told => {{
    const link = document.createElement("a");
    link.href = told.decisions[0].click_url;
    link.textContent = told.decisions[0].creative.assets.headline;
    ad.append(link);
  }});
</script>"""
SHOP_PAGE = """<!doctype html><title>Coats</title><p id="got"></p><script src="{service}/v1/conversions.js"></script>
<script>tactfulConversions.take(token => {{
  document.querySelector("#got").textContent = token;
  tactfulConversions.tell(token);
}})</script>"""


class Place:
    """A publisher's site, the service, and an advertiser's shop: three origins."""

    def __init__(self, folder: Path, models: Path) -> None:
        self.site, self.shop = Pages(), Pages(SHOP)
        self.live = Live(folder, models, coats=f"{self.shop.url}/coats", conversions="clicks")
        self.shop.pages["/coats"] = (SHOP_PAGE.format(service=self.live.url), {})
        self._key = create_key(
            self.live.services.store, "publisher", "planet", "test", datetime.now(UTC), os.urandom
        )

    def agreed(self, *purposes: str) -> str:
        """Return the token of a reader who agreed to these purposes now."""
        notice = hashlib.sha256(b"May we measure what you buy?").hexdigest()
        body = {
            "publisher": "planet",
            "purposes": purposes,
            "expressed_by": "button",
            "notice": {"text_sha256": notice, "language": "en", "version": "1"},
        }
        url = self.live.url.replace(ADS, "127.0.0.1")
        headers = {"Authorization": f"Bearer {self._key}"}
        deadline = time.monotonic() + 30
        while True:  # a service knows a key that was just made some seconds later
            answer = httpx.post(f"{url}/v1/consents", json=body, headers=headers, trust_env=False)
            if answer.status_code != 401 or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["token"])

    def open(self, page: Any, consent: str) -> Any:
        """Let a reader click on the creative; return the shop's page, once the service was asked for a token."""
        html = ARTICLE_PAGE.format(service=self.live.url, consent=consent, text=ARTICLE)
        self.site.pages["/"] = (html, {})
        page.goto(f"{self.site.url}/")
        page.wait_for_selector("#ad a")
        page.wait_for_timeout(800)  # sooner nobody has read it
        with page.expect_response("**/v1/conversions"), page.expect_popup() as popup:
            page.click("#ad a")
        popup.value.wait_for_load_state()
        return popup.value

    def close(self) -> None:
        self.live.close()
        self.site.close()
        self.shop.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    assert CHROMIUM is not None, "TACTFUL_REQUIRE_ALL is set, and there is no Chromium"
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Place]:
    with closing(Place(tmp_path_factory.mktemp("place"), models)) as place:
        yield place


@pytest.fixture
def page(browser: Any, place: Place) -> Iterator[Any]:
    place.live.forget()
    place.shop.reached.clear()
    with closing(Window(browser)) as window:
        yield window.page


def test_the_token_reaches_the_advertisers_page_and_no_address(page: Any, place: Place) -> None:
    asked: list[tuple[str, str | None]] = []
    page.context.on("request", lambda one: asked.append((one.url, one.post_data)))
    shop = place.open(page, place.agreed("measure.first_party"))
    shop.wait_for_function("document.querySelector('#got').textContent !== ''")
    token = shop.inner_text("#got")
    shop.wait_for_timeout(500)
    assert shop.url == f"{place.shop.url}/coats" == place.shop.reached[0]
    assert (f"{place.live.url}/v1/events", token) in asked
    assert not any(token[1:] in url for url, _ in asked)
    assert shop.context.cookies() == []
    assert shop.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
    assert ("conversion", "coats-words") in place.live.events()


@pytest.mark.parametrize("why", ["not to be measured", "no token"])
def test_of_a_reader_who_did_not_agree_nothing_is_handed_on(page: Any, place: Place, why: str) -> None:
    consent = "" if why == "no token" else place.agreed("ads.select.first_party")
    shop = place.open(page, consent)
    shop.wait_for_timeout(500)
    assert shop.url == f"{place.shop.url}/coats"  # the click goes where it leads all the same
    assert shop.inner_text("#got") == ""
    assert [kind for kind, _ in place.live.events()] == ["click"]


def test_where_the_service_is_away_the_click_goes_where_it_leads_and_no_fault_is_told(
    page: Any, place: Place
) -> None:
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.route("**/v1/conversions", lambda route: route.abort())
    html = ARTICLE_PAGE.format(service=place.live.url, consent="", text=ARTICLE)
    # A click on a picture of the link, whose `href` is no text.
    drawn = html.replace(
        "link.textContent =",
        "link.innerHTML = '<svg width=9 height=9><use href=#x /><rect width=9 height=9 /></svg>'; link.title =",
    )
    place.site.pages["/"] = (drawn, {})
    page.goto(f"{place.site.url}/")
    page.wait_for_selector("#ad a")
    with page.expect_request("**/v1/conversions"), page.expect_popup() as popup:
        page.dispatch_event("#ad use", "click")
    popup.value.wait_for_url(f"{place.shop.url}/coats")
    page.wait_for_timeout(200)
    assert faults == []


def test_a_window_of_another_origin_than_the_advertisers_gets_nothing(page: Any, place: Place) -> None:
    """The shop sends its readers on to a page of somebody else, which asks for the token."""
    elsewhere = Pages("elsewhere.example")
    elsewhere.pages["/coats"] = place.shop.pages["/coats"]
    place.shop.pages["/coats"] = (f'<meta http-equiv="refresh" content="0;url={elsewhere.url}/coats">', {})
    try:
        shop = place.open(page, place.agreed("measure.first_party"))
        shop.wait_for_url(f"{elsewhere.url}/coats")
        shop.wait_for_timeout(500)
        assert shop.inner_text("#got") == ""
        assert [kind for kind, _ in place.live.events()] == ["click"]
    finally:
        place.shop.pages["/coats"] = elsewhere.pages["/coats"]
        elsewhere.close()
