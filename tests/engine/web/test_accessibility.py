"""The pages that people read and fill in break nothing of WCAG 2.2 AA that axe-core can see, by day and by night."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from tests.axe import faults, needs_axe
from tests.engine.report_world import DAY, views
from tests.engine.web.conftest import Service
from tests.engine.web.test_manage_pages import NEW
from tests.engine.web.test_publisher_pages import PAGE, key
from tests.engine.web.test_report_pages import released, seeded_day, show  # noqa: F401 - fixtures
from tests.engine.web.test_repository import Place
from tests.engine.web.test_why import path_of
from tests.live import browser as chromium

needs_axe()
HOST = "https://ads.example"
LINES = """all => all.map(one => {
  const range = document.createRange();
  range.selectNodeContents(one);
  return [one.innerText, range.getClientRects().length];
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


def check(browser: Any, client: Client, answer: TestResponse) -> None:
    """Show an answer in both colour schemes, with what it loads from the service, and hold it to the rules."""
    with opened(browser, client, answer) as page:
        for scheme, width in (("light", 1280), ("dark", 1280), ("light", 360)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            found = faults(page)
            assert not found, f"{scheme}, {width} px:\n" + "\n".join(found)


@contextmanager
def opened(browser: Any, client: Client, answer: TestResponse, width: int = 1280) -> Iterator[Any]:
    window = browser.new_context(viewport={"width": width, "height": 900}, bypass_csp=True)
    page = window.new_page()

    def give(route: Any) -> None:
        path = route.request.url.removeprefix(HOST)
        given = answer if path == "/shown" else client.get(path)
        headers = {name.lower(): value for name, value in given.headers.items()}
        route.fulfill(status=given.status_code, headers=headers, body=given.data)

    page.route("**/*", give)
    page.goto(f"{HOST}/shown")
    page.wait_for_load_state("networkidle")
    assert page.title()
    yield page
    window.close()


REPORTS: dict[str, Callable[[Service], TestResponse]] = {
    "the question for a key": lambda s: s.client.get("/reports"),
    "an advertiser's creatives": lambda s: show(s, "acme", "creatives"),
    "an advertiser's contexts": lambda s: show(s, "acme", "contexts"),
    "a publisher's sections": lambda s: show(s, "planet", "sections"),
    "a publisher's moments": lambda s: show(s, "planet", "moments"),
    "topics": lambda s: show(s, "operator", "topics"),
    "no row": lambda s: show(s, "rival", "creatives"),
    "a forged key": lambda s: show(s, "forged", "creatives"),
    "a day that was not released": lambda s: show(s, "acme", "creatives", "2026-11-20"),
    "a plan to fill in": lambda s: s.client.get("/reports/plan"),
    "a plan": lambda s: s.client.get("/reports/plan?impressions=5000&ctr=0.005&lift=0.2"),
    "a plan that cannot be": lambda s: s.client.get("/reports/plan?impressions=x"),
}
OTHERS: dict[str, Callable[[Service], TestResponse]] = {
    "why": lambda s: s.client.get(path_of(s)),
    "the audit page": lambda s: s.client.get("/audit"),
    "manage, the question for a key": lambda s: s.client.get("/manage"),
    "manage, campaigns": lambda s: manage(s, "acme", "home"),
    "manage, a new campaign": lambda s: manage(s, "acme", "new-campaign"),
    "manage, a campaign": lambda s: manage(s, "acme", "campaign", id="k1"),
    "manage, a campaign with faults": lambda s: manage(
        s, "acme", "save-campaign", **NEW | {"cpm_micros": "much", "targeting.hours": "25:00-26:00"}
    ),
    "manage, a new creative": lambda s: manage(s, "acme", "new-creative", campaign="k1"),
    "manage, a creative": lambda s: manage(s, "acme", "creative", id="c1"),
    "manage, a publisher's queue": lambda s: manage(s, "globe", "home"),
    "manage, nothing found": lambda s: manage(s, "acme", "campaign", id="none"),
}


def manage(service: Service, who: str, do: str, **fields: Any) -> TestResponse:
    return service.client.post("/manage", data={"key": service.keys[who], "do": do, **fields})


@pytest.mark.parametrize("name", REPORTS)
def test_reports(browser: Any, released: Service, name: str) -> None:  # noqa: F811
    check(browser, released.client, REPORTS[name](released))


@pytest.mark.parametrize("who, report", [("acme", "creatives"), ("planet", "sections")])
def test_a_report_is_read_on_a_phone(browser: Any, released: Service, who: str, report: str) -> None:  # noqa: F811
    with opened(browser, released.client, show(released, who, report), 360) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        for text, lines in page.locator("tbody th").evaluate_all(LINES):
            assert lines <= len(re.split("[ -]", text)), text  # no word is broken
        texts = page.locator("figure text").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect().height)"
        )
        assert min(texts) >= 11


@pytest.mark.parametrize("name", OTHERS)
def test_pages(browser: Any, service: Service, name: str) -> None:
    answer = OTHERS[name](service)
    assert answer.mimetype == "text/html", answer.text
    check(browser, service.client, answer)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    made.world.add(views(3000))
    made.services.reporting.releases.release(DAY)
    yield made
    made.services.close()


def test_the_repository_and_a_publishers_page(browser: Any, place: Place) -> None:
    check(browser, place.client, place.client.get("/repository"))
    check(browser, place.client, place.client.get("/publisher"))
    check(browser, place.client, place.client.post("/publisher", data={"key": key(place)}))
    looked_at = {"key": key(place, tenant="globe"), "url": "https://globe.example/a", "source": PAGE}
    check(browser, place.client, place.client.post("/publisher", data=looked_at))
    check(browser, place.client, place.client.post("/publisher", data={"key": "tactful_" + "x" * 40}))


def test_what_breaks_them_is_found(browser: Any, service: Service) -> None:
    page = service.client.get("/reports")
    for good, bad in (
        ("<html lang", "<html data-lang"),
        ("<label", "<span"),
        ("</title>", "</title><style>* {color: #777}</style>"),
    ):
        assert good in page.text
        page.set_data(page.text.replace(good, bad))
        with pytest.raises(AssertionError, match="html-has-lang|label|color-contrast"):
            check(browser, service.client, page)
