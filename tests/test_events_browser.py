"""The script of events in a real browser: what is told, when, and that nothing else is."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

import engine

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCRIPT = (Path(engine.__file__).parent / "web" / "static" / "events.js").read_text("utf-8")
PAGE = """<!doctype html><body style="margin:0"><script src="/v1/events.js"></script>
<div style="height:{above}px"></div><div id="around"></div>
<div id="ad" style="width:{width}px;height:{height}px;background:#ccc"
 data-tactful-impression="/v1/events/i.gif" data-tactful-viewable="/v1/events/v.gif">ad</div>
<div style="height:3000px"></div>"""

if CHROMIUM is None and not os.environ.get("TACTFUL_REQUIRE_ALL"):
    pytest.skip("needs Chromium", allow_module_level=True)


class Site:
    """A page with one creative on it, and what it told of it."""

    def __init__(self, browser: Any) -> None:
        self.told: list[tuple[str, str]] = []
        self.html = ""
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.window = browser.new_context(viewport={"width": 800, "height": 600})
        self.page = self.window.new_page()

    @Request.application
    def _answer(self, request: Request) -> Response:
        if request.path == "/":
            return Response(self.html, mimetype="text/html")
        if request.path == "/v1/events.js":
            return Response(SCRIPT, mimetype="text/javascript")
        if request.path.startswith("/v1/events/"):
            self.told.append((request.method, request.path))
        return Response(b"", 204)

    def open(self, above: int, width: int = 300, height: int = 250) -> None:
        self.html = PAGE.format(above=above, width=width, height=height)
        self.page.goto(f"http://127.0.0.1:{self._server.port}/")

    def told_after(self, seconds: float) -> list[str]:
        time.sleep(seconds)
        return [path[len("/v1/events/")] for _, path in self.told]

    def close(self) -> None:
        self.window.close()
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
def site(browser: Any) -> Iterator[Site]:
    site = Site(browser)
    yield site
    assert site.window.cookies() == []
    site.close()


def test_what_is_in_view_for_a_second_is_told_once_by_beacons(site: Site) -> None:
    site.open(above=0)
    assert sorted(site.told_after(3)) == ["i", "v"]
    assert {method for method, _ in site.told} == {"POST"}


def test_what_is_less_than_half_in_view_is_no_view(site: Site) -> None:
    site.open(above=600 - 100)  # 100 of 250 pixels
    assert site.told_after(2.5) == ["i"]
    site.page.mouse.wheel(0, 60)
    assert site.told_after(2.5) == ["i", "v"]


def test_of_a_large_creative_a_third_is_enough(site: Site) -> None:
    site.open(above=600 - 170, width=800, height=500)  # 34 % of 400,000 pixels
    assert sorted(site.told_after(2.5)) == ["i", "v"]


def test_what_has_no_pixels_is_no_view(site: Site) -> None:
    site.open(above=0, height=0)
    assert site.told_after(1.6) == ["i"]


@pytest.mark.parametrize(
    "style",
    ["visibility:hidden", "opacity:0", "display:none", "content-visibility:hidden", "transform:scale(0)",
     "position:absolute;clip:rect(0 0 0 0)", "clip-path:inset(60%)", "overflow:hidden;height:99px"],
)  # fmt: skip
def test_what_a_style_hides_is_no_view_before_it_is_shown(site: Site, style: str) -> None:
    site.open(above=0)
    site.page.evaluate(f"around.append(ad); around.style = '{style}'")
    assert site.told_after(1.6) == ["i"]
    site.page.evaluate("around.style = ''")
    assert site.told_after(0.6) == ["i"]
    assert sorted(site.told_after(1.5)) == ["i", "v"]


def test_of_a_page_that_is_made_ready_ahead_nothing_is_told_before_its_reader_comes(site: Site) -> None:
    site.page.add_init_script("Object.defineProperty(document, 'prerendering', { value: true })")
    site.open(above=0)
    assert site.told_after(0.3) == []
    site.page.evaluate("document.dispatchEvent(new Event('prerenderingchange'))")
    assert site.told_after(0.3) == ["i"]


def test_a_view_that_is_broken_off_is_none(site: Site) -> None:
    site.open(above=0)
    site.page.wait_for_timeout(300)
    site.page.evaluate("scrollTo(0, 2000)")
    assert site.told_after(2) == ["i"]


def test_a_creative_that_comes_later_is_seen(site: Site) -> None:
    site.open(above=0)
    assert sorted(site.told_after(2.5)) == ["i", "v"]
    site.page.evaluate(
        """document.body.insertAdjacentHTML('afterbegin',
           '<div style="width:9px;height:9px" data-tactful-impression="/v1/events/j.gif"></div>')"""
    )
    assert sorted(site.told_after(0.5)) == ["i", "j", "v"]
