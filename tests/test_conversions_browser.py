"""The script of conversions in a real browser: a token goes from window to window, and into no address."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

import engine

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCRIPT = (Path(engine.__file__).parent / "web" / "static" / "conversions.js").read_text("utf-8")
PAGE = """<!doctype html><div id="ad"><a href="/v1/click/cABC">ad</a></div><script src="/v1/conversions.js"></script>
<script>tactfulConversions.hand({publisher: "planet", consent: () => ({token: "t", nonce: "n"})},
document.querySelector("#ad"))</script>"""
SHOP = """<!doctype html><p id="got"></p><script src="http://127.0.0.1:%d/v1/conversions.js"></script>
<script>tactfulConversions.take(token => { document.querySelector("#got").textContent = token;
tactfulConversions.tell(token) })</script>"""

if CHROMIUM is None and not os.environ.get("TACTFUL_REQUIRE_ALL"):
    pytest.skip("needs Chromium", allow_module_level=True)


class Place:
    """A publisher's page and the service under 127.0.0.1, an advertiser's under localhost: two origins."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.origin = ""  # to which the service lets a token go
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.port = self._server.port
        self.shop = f"http://localhost:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @Request.application
    def _answer(self, request: Request) -> Response:
        self.asked.append((request.method, request.full_path.rstrip("?"), request.get_data()))
        match request.path:
            case "/":
                return Response(PAGE, mimetype="text/html")
            case "/shop":
                return Response(SHOP % self.port, mimetype="text/html")
            case "/v1/conversions.js":
                return Response(SCRIPT, mimetype="text/javascript")
            case "/v1/click/cABC":
                return Response(b"", 302, [("Location", f"{self.shop}/shop")])
            case "/v1/conversions" if self.origin:
                body = f'{{"token": "oSECRET", "origin": "{self.origin}"}}'
                return Response(body, mimetype="application/json")
        return Response(b"", 204)

    def close(self) -> None:
        self._server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None, "TACTFUL_REQUIRE_ALL is set, and there is no Chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.close()


def opened(browser: Any, place: Place) -> Any:
    """Click on the creative; return the advertiser's page, once the service was asked for a token."""
    page = browser.new_context().new_page()
    page.goto(f"http://127.0.0.1:{place.port}/")
    with page.expect_response("**/v1/conversions"), page.expect_popup() as popup:
        page.click("#ad a")
    popup.value.wait_for_load_state()
    return popup.value


def test_the_token_reaches_the_advertisers_page_and_no_address(browser: Any, place: Place) -> None:
    place.origin = place.shop
    shop = opened(browser, place)
    shop.wait_for_function("document.querySelector('#got').textContent === 'oSECRET'")
    shop.wait_for_timeout(200)
    assert shop.url == f"{place.shop}/shop"
    assert ("POST", "/v1/events", b"oSECRET") in place.asked
    assert not any("SECRET" in path for _, path, _ in place.asked)
    assert shop.context.cookies() == []
    assert shop.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
    (body,) = [data for _, path, data in place.asked if path == "/v1/conversions"]
    assert b'"publisher":"planet"' in body and b'/v1/click/cABC"' in body


@pytest.mark.parametrize("origin", ["", "https://another.example"])
def test_without_a_token_or_for_another_origin_nothing_is_handed_on(
    browser: Any, place: Place, origin: str
) -> None:
    place.origin = origin
    shop = opened(browser, place)
    shop.wait_for_timeout(500)
    assert shop.inner_text("#got") == ""
    assert not any(path == "/v1/events" for _, path, _ in place.asked)
