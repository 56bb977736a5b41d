"""`tactful demo` in a real browser: what a visitor sees, with scripts or without, and what leaves."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import axe

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_S = 90  # the model is loaded, the catalogue encoded
ARTICLE = "/articles/the-long-way-home"
SOUP = "/articles/three-pots-of-winter-soup"
WAR = "/articles/the-bakery-on-the-front-line"
ADDICTION = "/articles/one-day-and-then-the-next-one"
ROOT = Path(__file__).parent.parent
COMMAND = "from engine.cli import main; main()"

if CHROMIUM is None and not os.environ.get("TACTFUL_REQUIRE_ALL"):
    pytest.skip("needs Chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    home = tmp_path_factory.mktemp("demo")
    (home / "state" / "data").mkdir(parents=True)
    (home / "state" / "data" / "models").symlink_to(models, target_is_directory=True)
    return home


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    """Start the demo as a newcomer does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = home
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    said = folder / "said.txt"
    with said.open("wb") as out:
        service = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "demo", "--port", str(port), "--no-browser", "--state", "state"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _await(address, service, said)
        yield address
    finally:
        service.terminate()
        service.wait(20)


def _await(address: str, service: subprocess.Popen[bytes], said: Path) -> None:
    for _ in range(START_S * 5):
        if service.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the demo did not start: {said.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None, "TACTFUL_REQUIRE_ALL is set, and there is no Chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


def until(page: Any, said: str) -> None:
    """Wait until an expression holds; asked from here, for the pages' policy forbids to evaluate strings there."""
    for _ in range(600):
        if page.evaluate(said):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"it never held: {said}")


class Visit:
    """A page in a window of its own, with all that it asked for and complained of."""

    def __init__(self, browser: Any, address: str, width: int = 1280, **options: Any) -> None:
        self.address = address
        self.window = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.page = self.window.new_page()
        self.foreign: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", self._note)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, asked: Any) -> None:
        if not asked.url.startswith(self.address):
            self.foreign.append(asked.url)

    def open(self, path: str) -> Any:
        self.page.goto(self.address + path)
        self.page.wait_for_load_state("networkidle")
        return self.page

    def creatives(self) -> list[str]:
        found: list[str] = self.page.locator(".why-score code").all_text_contents()
        return found


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    made = Visit(browser, address)
    yield made
    made.window.close()
    assert made.foreign == []
    assert made.complaints == []


@pytest.mark.parametrize("path", ["/", ARTICLE, "/try"])
def test_nothing_is_kept_and_nothing_comes_from_elsewhere(visit: Visit, path: str):
    visit.open(path)
    assert visit.window.cookies() == []
    assert visit.page.evaluate("localStorage.length + sessionStorage.length") == 0


@pytest.mark.parametrize("path", ["/", ARTICLE, "/try", "/articles/none"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_break_no_rule_of_accessibility(browser: Any, address: str, path: str, scheme: str):
    if axe.script() is None and not os.environ.get("TACTFUL_REQUIRE_ALL"):
        pytest.skip("needs axe-core: npm install --global axe-core")
    visit = Visit(browser, address, color_scheme=scheme, bypass_csp=True)
    found = axe.faults(visit.open(path))
    visit.window.close()
    assert not found, "\n".join(found)


def test_all_three_placements_are_filled_with_pictures_that_load(visit: Visit):
    page = visit.open(ARTICLE)
    for place in ("top", "side", "end"):
        assert page.locator(f"#place-{place} .ad").count() >= 1
    page.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager' })")
    until(page, "[...document.images].every(image => image.complete)")
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert page.locator(".understood .topics li").count() >= 1


def test_pictures_load_for_who_calls_the_machine_localhost(browser: Any, address: str):
    visit = Visit(browser, address.replace("127.0.0.1", "localhost"))
    page = visit.open(ARTICLE)
    until(page, "document.querySelector('.ad img').naturalWidth > 0")
    assert visit.complaints == []
    visit.window.close()


def test_the_weather_changes_the_page_in_place_as_it_does_without_scripts(visit: Visit, browser: Any):
    page = visit.open(ARTICLE + "?hour=12&day=sat&weather=rain&temp=4")
    before = visit.creatives()
    for name, value in (("weather", "clear"), ("temp", "34")):
        with page.expect_response("**/v1/decisions") as told:
            page.select_option(f"#{name}", value)
        assert told.value.status == 200
    until(page, "document.getElementById('said').textContent.startsWith('Decided')")
    in_place = visit.creatives()
    assert "weather=clear" in page.url and "temp=34" in page.url
    assert in_place != before

    plain = Visit(browser, visit.address, java_script_enabled=False)
    plain.open(ARTICLE)
    for name, value in (("hour", "12"), ("day", "sat"), ("weather", "clear"), ("temp", "34")):
        plain.page.select_option(f"#{name}", value)
    plain.page.click("#moment button")
    plain.page.wait_for_load_state("networkidle")
    assert plain.creatives() == in_place
    plain.window.close()


def test_an_umbrella_is_for_rain_alone(visit: Visit):
    walk = "/articles/a-good-walk-in-bad-weather"
    visit.open(walk)  # a first view may pass its deadline on a busy machine
    visit.open(walk + "?weather=rain&temp=10&hour=14&day=wed")
    wet = visit.creatives()
    visit.open(walk + "?weather=clear&temp=22&hour=14&day=wed")
    dry = visit.creatives()
    assert any(creative.startswith("drizzle-umbrella") for creative in wet)
    assert not any(creative.startswith("drizzle-umbrella") for creative in dry)


def test_a_war_report_raises_its_flag_and_keeps_sellers_away(visit: Visit):
    page = visit.open(WAR)
    assert "death, injury and war" in page.locator(".flags").inner_text()
    away = page.locator(".names").all_text_contents()
    shown = page.locator(".ad-who").all_text_contents()
    assert away and not any(name in away[0].split(" · ") for name in shown)


def test_a_pasted_page_is_understood(visit: Visit):
    page = visit.open("/try")
    page.fill(
        "#pasted",
        "<h1>Three soups</h1><p>Fry an onion, add lentils and stock, simmer the soup for an hour.</p>",
    )
    page.click(".try-form button")
    page.wait_for_load_state("networkidle")
    assert page.locator(".understood .topics li").count() >= 1
    assert page.locator(".ad").count() >= 2
    assert page.evaluate("document.activeElement.id") == "answer"  # it stands below what was pasted


def test_the_keyboard_reaches_the_content_and_the_controls(visit: Visit):
    page = visit.open(ARTICLE)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.focus("#weather")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_a_reader_lets_an_interest_in_by_keyboard_and_takes_it_back(visit: Visit):
    page = visit.open(SOUP)
    assert page.evaluate("sessionStorage.length") == 0
    assert "supper-club-native" not in visit.creatives()
    page.select_option("#interest", "kitchen")
    page.focus("#agree")
    page.keyboard.press("Space")
    said = page.locator("#agreed")
    said.filter(has_text="Used, under your consent: cohort:kitchen").wait_for()
    assert page.get_attribute("#agree", "aria-checked") == "true"
    assert page.text_content("#signals") == "cohort:kitchen"
    assert "supper-club-native" in visit.creatives()
    why = page.locator("#place-end .unit").first.locator("dl")
    assert "you let in cohort:kitchen" in (why.text_content() or "")

    visit.open(ARTICLE)  # kept in the tab, as the notice says, and nowhere else
    said.filter(has_text="Used, under your consent").wait_for()
    assert page.evaluate("localStorage.length + document.cookie.length") == 0
    visit.open(ADDICTION)
    said.filter(has_text="Not used: the page is too sensitive").wait_for()
    page.set_extra_http_headers({"Sec-GPC": "1"})
    visit.open(SOUP)
    said.filter(has_text="Not used: your browser sends Global Privacy Control").wait_for()
    page.set_extra_http_headers({})

    visit.open(SOUP)
    said.filter(has_text="Used, under your consent").wait_for()
    page.focus("#agree")
    with page.expect_response("**/v1/decisions") as decided:
        page.keyboard.press("Enter")
    assert decided.value.json()["privacy"] == {
        "basis": "context",
        "gpc": None,
        "signals_used": [],
        "receipt": None,
    }
    said.filter(has_text="Withdrawn").wait_for()
    assert page.get_attribute("#agree", "aria-checked") == "false"
    until(page, "document.getElementById('signals').textContent === 'none'")
    assert "supper-club-native" not in visit.creatives()

    page.focus("#record")
    page.keyboard.press("Enter")
    page.locator("#record-text").filter(has_text="ConsentWithdrawn").wait_for()
    page.focus("#erase")
    page.keyboard.press("Enter")
    said.filter(has_text="Erased").wait_for()
    assert page.evaluate("sessionStorage.length") == 0
    assert page.is_hidden("#record")


@pytest.mark.parametrize(
    "storage", ["throw new DOMException('denied', 'SecurityError')", "return {getItem: () => '{'}"]
)
def test_a_browser_that_keeps_nothing_shows_the_moment_and_takes_the_switch(
    browser: Any, address: str, storage: str
):
    visit = Visit(browser, address)
    visit.page.add_init_script(
        f"Object.defineProperty(window, 'sessionStorage', {{ get() {{ {storage} }} }})"
    )
    page = visit.open(SOUP)
    page.select_option("#weather", "rain")
    page.locator("#said").filter(has_text="Decided anew").wait_for()
    page.click("#agree")
    page.locator("#agreed").filter(has_text="Used, under your consent").wait_for()
    page.click("#erase")
    page.locator("#agreed").filter(has_text="Erased").wait_for()
    assert visit.complaints == []
    visit.window.close()


def test_what_another_tab_erased_is_over_here_too(browser: Any, address: str):
    visit = Visit(browser, address)
    page = visit.open(SOUP)
    page.click("#agree")
    page.locator("#agreed").filter(has_text="Used").wait_for()
    with page.expect_popup() as opened:  # which gets a copy of what this tab keeps
        page.evaluate("window.open(location.href)")
    opened.value.click("#erase")
    opened.value.locator("#agreed").filter(has_text="Erased").wait_for()
    page.click("#agree")
    page.locator("#agreed").filter(has_text="it was erased before").wait_for()
    assert page.get_attribute("#agree", "aria-checked") == "false"
    assert page.is_hidden("#erase") and page.evaluate("sessionStorage.length") == 0
    visit.window.close()


def test_nothing_shifts_on_a_phone_while_the_controls_fold(visit: Visit):
    visit.page.set_viewport_size({"width": 360, "height": 800})
    visit.page.add_init_script(
        "window.shift = 0; new PerformanceObserver(list => list.getEntries().forEach(one => { shift += one.value }))"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    page = visit.open(ARTICLE)
    assert not page.is_visible("#weather")
    assert page.evaluate("window.shift") == 0


def test_the_switch_and_the_legend_are_seen_in_forced_colours(browser: Any, address: str):
    visit = Visit(browser, address, forced_colors="active")
    page = visit.open(SOUP)
    colour = "selector => getComputedStyle(document.querySelector(selector)).backgroundColor"
    assert page.evaluate(colour, ".dot.facet-page") == page.evaluate(
        "getComputedStyle(document.querySelector('.bar .facet-page')).fill"
    )
    off = page.evaluate(colour, ".track")
    page.evaluate("document.getElementById('agree').setAttribute('aria-checked', 'true')")
    assert page.evaluate(colour, ".track") != off
    visit.window.close()


def test_another_site_cannot_agree_for_its_reader(address: str):
    asked = urllib.request.Request(
        f"{address}/consent", b"", {"Origin": "https://evil.example"}, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(asked)


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_switch_fits_a_phone_and_a_desk(visit: Visit, width: int):
    visit.page.set_viewport_size({"width": width, "height": 800})
    page = visit.open(SOUP)
    if width < 640:
        assert not page.is_visible("#agree")
        page.click("#say summary")
    page.click("#agree")
    page.locator("#agreed").filter(has_text="Used").wait_for()
    page.click("#record")
    page.locator("#record-text").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    box = page.locator("#agree").bounding_box()
    assert box is not None and box["height"] >= 44
    page.click("#erase")
    page.locator("#agreed").filter(has_text="Erased").wait_for()


@pytest.mark.parametrize("path", ["/", ARTICLE, WAR, "/try"])
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_width_scrolls_sideways(visit: Visit, path: str, width: int):
    visit.page.set_viewport_size({"width": width, "height": 800})
    visit.open(path)
    assert visit.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


CONTRAST = """() => {
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = numbers(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const weak = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.getClientRects().length || node.closest(".skip, .sr, option")) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(numbers(style.color)), light(behind(node))].sort((x, y) => y - x);
    const large = parseFloat(style.fontSize) >= (style.fontWeight >= 700 ? 18.66 : 24);
    const ratio = (a + .05) / (b + .05);
    if (ratio < (large ? 3 : 4.5)) weak.push(`${node.tagName}.${node.className}: ${ratio.toFixed(2)}`);
  }
  return weak;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", WAR, "/try"])
def test_all_text_has_the_contrast_of_wcag_aa(browser: Any, address: str, path: str, scheme: str):
    visit = Visit(browser, address, color_scheme=scheme, reduced_motion="reduce")
    visit.open(path)
    assert visit.page.evaluate(CONTRAST) == []
    visit.window.close()


def test_an_advertisers_own_file_is_loaded_and_its_messages_follow_the_moment(visit: Visit, home: Path):
    """Last in this file: the demo has the file's campaigns from here on."""
    state = home / "state"
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "TACTFUL_DATA_DIR": str(state / "data"),
        "TACTFUL_KEY_DIR": str(state / "keys"),
    }
    file = ROOT / "engine" / "demo" / "longacre.yaml"
    said = subprocess.run(
        [sys.executable, "-c", COMMAND, "load", str(file)],
        env=environ, cwd=home, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "1 advertiser, 4 campaign, 4 creative" in said.stdout
    walk = "/articles/a-good-walk-in-bad-weather"
    moments = {
        "wet": "?device=phone&day=mon&hour=8&weather=rain&temp=4",
        "dry": "?device=desktop&day=mon&hour=19&weather=clear&temp=10",
    }
    for _ in range(120):  # until the snapshot with the file's creatives is there
        if "longacre-rainwear" in " ".join((visit.open(walk + moments["wet"]), visit.creatives())[1]):
            break
        time.sleep(0.5)
    chances: dict[str, Counter[str]] = {}
    for moment, query in moments.items():
        seen = chances[moment] = Counter()
        for _ in range(12):
            unit = visit.page.locator(".unit", has=visit.page.get_by_text("longacre-rainwear", exact=True))
            for _ in range(20):  # a busy machine may answer late, with what it found so far
                visit.open(walk + query)
                if unit.count():
                    break
            seen[unit.locator(".ad-headline").inner_text()] += 1
            told = unit.locator(".why").text_content() or ""
            for word in ("Message", "headline", "image", "drawn with a chance of", "by the prior", "bits"):
                assert word in told
            assert unit.locator(".ad-offer").inner_text() == "Reproofed free every autumn"
    # Each headline is drawn in about half of the views of its moment: twelve without it are one in thousands.
    assert chances["wet"]["Dressed for a rainy walk"] and not any("clear" in said for said in chances["wet"])
    assert chances["dry"]["The far ridge is worth the coat"] and not any(
        "rainy" in said for said in chances["dry"]
    )
    # In place, by script, the same is told.
    with visit.page.expect_response("**/v1/decisions"):
        visit.page.select_option("#weather", "rain")
    until(visit.page, "document.getElementById('said').textContent.startsWith('Decided')")
    told = visit.page.locator("#place-end").text_content() or ""
    assert "drawn with a chance of" in told and "headline" in told
