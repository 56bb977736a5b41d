"""Conversions by click: of readers who agreed to be measured, once a day, by a token that no address holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from engine.config import Config
from engine.conversions import Conversions
from engine.events import day_of
from engine.keys import create_key
from engine.releases import start_of
from engine.report_keys import topics
from engine.tally import DuckTally
from engine.web import create_app
from privacy.workload import CONSENTED, READER_UNIT, TABLES, total
from tests import consent
from tests.engine.web.test_events import BASE, BROWSER, LANDING, Shop, token_of
from tests.world import campaign, creative

PATH = "/v1/conversions"


class Desk(Shop):
    """A shop whose conversions are told by click."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.standings = consent.MemoryStandings()
        admission = consent.admission(self.standings, now=self.services.time)
        admission._now = self.services.now
        self.services.conversions = Conversions(
            self.services.door,
            self.services.tickets,
            admission,
            lambda size: next(self._random).to_bytes(size, "big"),
        )
        self.client = Client(create_app(Config(public_url=BASE), self.services))
        self.asked = 0

    def clicked(self, **more: Any) -> str:
        url: str = self.shown(**more)["click_url"]
        self.later(seconds=2)
        assert self.get(url).status_code == 302
        return url

    def said(self, **more: Any) -> dict[str, Any]:
        self.asked += 1
        given = {"at": self.services.time, "number": self.asked} | more
        return {"token": consent.token(**given), "nonce": consent.nonce(self.asked)}

    def hand(self, click: str, headers: Any = BROWSER, **more: Any) -> Any:
        body = {"publisher": "planet", "click": click, "consent": self.said()} | more
        return self.client.post(PATH, json=body, headers=headers)

    def conversions(self) -> list[Any]:
        assert self.writer.wait(5)
        return self.world.store.rows(
            "SELECT slot, day, campaign, creative, ivt, price_micros FROM events WHERE kind = 'conversion'"
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.writer.stop()


def test_what_a_reader_who_agreed_did_after_a_click_is_counted_once(desk: Desk) -> None:
    click = desk.clicked()
    handed = desk.hand(click)
    assert handed.status_code == 200
    assert handed.json["origin"] == "https://acme.example"
    desk.later(hours=2)  # longer than any other token is good for
    for headers in (BROWSER, {"User-Agent": "python-requests/2.32"}):  # its server may tell of it, too
        assert desk.beacon(handed.json["token"], headers=headers).status_code == 204
    day = day_of(desk.services.time)
    assert desk.conversions() == [(254, day, "spring", "spring-1", 0, 0)]


def test_no_address_holds_anything_of_it(desk: Desk) -> None:
    url = desk.clicked()
    token = desk.hand(url).json["token"]
    assert desk.get(url).headers["Location"] == LANDING
    assert token[1:] not in url and token_of(url)[1:] not in token
    desk.beacon(token)
    desk.conversions()
    views = desk.world.store.rows("SELECT kind, view FROM events")
    assert len({view for _, view in views}) == 2  # nothing ties the conversion's row to the click's


@pytest.mark.parametrize(
    "why",
    [
        "no token",
        "forged",
        "withdrawn",
        "not to be measured",
        "gpc",
        "minor",
        "coppa",
        "special",
        "machine",
        "nonce",
    ],
)
def test_who_did_not_agree_to_be_measured_gets_nothing(desk: Desk, why: str) -> None:
    click = desk.clicked()
    said, headers, more = desk.said(), dict(BROWSER), {}
    match why:
        case "no token":
            said = {}
        case "forged":
            said |= {"token": consent.token(consent.STRANGER, at=desk.services.time)}
        case "withdrawn":
            (key,) = desk.standings.of
            desk.standings.of = {key: consent.MemoryStandings(generation=2, state="ConsentWithdrawn").of[key]}
        case "not to be measured":
            said = desk.said(purposes=frozenset({"ads.select.first_party"}))
        case "gpc":
            headers["Sec-GPC"] = "1"
        case "minor":
            more = {"regs": {"minor": True}}
        case "coppa":
            more = {"regs": {"coppa": 1}}
        case "special":
            page = {
                "text": "The clinic's advice on living with HIV and hepatitis, and treatments for both diseases."
            }
            click = desk.clicked(page=page)
        case "machine":
            headers["User-Agent"] = "curl/8"
        case "nonce":
            said["nonce"] = "short"
    refused = desk.hand(click, headers=headers, consent=said, **more)
    assert (refused.status_code, refused.data) == (204, b"")
    assert desk.standings.uses == {}
    assert desk.hand(desk.clicked()).status_code == (204 if why == "withdrawn" else 200)


def test_a_reader_gets_one_token_a_day_at_a_publisher(desk: Desk) -> None:
    desk.put(campaign("summer", cpm_micros=3_000_000), creative("summer-1", "summer", landing_url=LANDING))
    assert desk.hand(desk.clicked()).status_code == 200
    assert desk.hand(desk.clicked()).status_code == 204
    desk.later(days=1)
    assert desk.hand(desk.clicked()).status_code == 200


def test_it_ends_before_the_clicks_day_is_released(desk: Desk) -> None:
    now = desk.services.time
    token = desk.hand(desk.clicked()).json["token"]
    end = start_of(day_of(now) + 1) + timedelta(hours=1)
    desk.services.time = end
    assert desk.beacon(token).status_code == 204
    assert desk.conversions() == []
    desk.services.time = end - timedelta(seconds=1)
    desk.beacon(token)
    assert [row[1] for row in desk.conversions()] == [day_of(now)]


@pytest.mark.parametrize("click", ["nothing", "impression", "other publisher", "too soon", "too late"])
def test_only_a_click_that_counts_is_handed_on(desk: Desk, click: str) -> None:
    shown = desk.shown()
    url = shown["click_url"]
    desk.later(seconds=2)
    match click:
        case "nothing":
            url = f"{BASE}/v1/click/cAAAA"
        case "impression":
            url = shown["events"]["impression"]
        case "other publisher":
            url = desk.shown(
                publisher="globe", page={"text": "Bikes and tyres", "url": "https://globe.example/"}
            )["click_url"]
            desk.later(seconds=2)
        case "too soon":
            url = desk.shown()["click_url"]
        case "too late":
            desk.later(minutes=31)
    assert desk.hand(url).status_code == 204


def test_nobody_makes_a_conversion_of_another_token(desk: Desk) -> None:
    shown = desk.shown()
    desk.later(seconds=2)
    for url in (shown["click_url"], shown["events"]["impression"], shown["events"]["viewable"]):
        desk.beacon("o" + token_of(url)[1:])
    token = desk.hand(shown["click_url"]).json["token"]
    for letter in "ivcnp":
        desk.beacon(letter + token[1:])
    assert desk.rows() == []


def test_it_is_off_unless_the_operator_switches_it_on(shop_off: Desk) -> None:
    assert Config().conversions == "counts"
    assert shop_off.hand(shop_off.clicked()).status_code == 204
    assert shop_off.standings.uses == {}


@pytest.fixture
def shop_off(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    desk.services.conversions = None
    desk.client = Client(create_app(Config(public_url=BASE), desk.services))
    yield desk
    desk.writer.stop()


def test_a_call_in_anothers_name_or_form_is_refused(desk: Desk) -> None:
    click = desk.clicked()
    assert desk.hand(click, publisher="nobody").status_code == 404
    assert desk.hand(click, headers={**BROWSER, "Origin": "https://evil.example"}).status_code == 403
    assert desk.hand(click, more=1).status_code == 422
    told = desk.hand(click, headers={**BROWSER, "Origin": "https://planet.example"})
    assert (told.status_code, told.headers["Access-Control-Allow-Origin"]) == (200, "https://planet.example")


def test_they_are_told_with_noise_of_readers_days_from_a_ledger_of_their_own(desk: Desk) -> None:
    desk.beacon(desk.hand(desk.clicked()).json["token"])
    desk.conversions()
    day = day_of(desk.services.time)
    rows = desk.services.reporting._rows
    counts = dict(DuckTally(rows, topics())(day, (*CONSENTED, *TABLES)))
    assert counts["conversions"] == {("spring", "spring-1"): 1}
    assert counts["clicks"] == {("spring", "spring-1"): 1}
    assert sum(counts["creatives"].values()) == 0
    desk.services.time = start_of(day + 1) + timedelta(hours=3)
    released = desk.services.reporting.releases.of(
        (*TABLES, *CONSENTED), desk.services.reporting.releases._draw
    )
    assert ("conversions", day) in released.release(day).released
    date = datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()
    budget = desk.services.reporting.budget
    assert budget.spent(f"readers/{date}") == total(CONSENTED) == 500_000
    assert budget.spent(f"page-views/{date}") == total(one for one in TABLES if one.days == 1)
    key = create_key(desk.world.store, "operator", None, "test", desk.services.time, lambda size: b"k" * size)
    told = desk.client.get(
        f"/v1/reports/conversions?from={date}&to={date}", headers={"Authorization": f"Bearer {key}"}
    ).json
    assert told["unit"] == READER_UNIT
    assert told["micro_epsilon"] == told["micro_epsilon_in_all"] == 500_000
