"""Events over HTTP: what counts, what does not, and what nobody learns of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from engine.budgets import Budgets
from engine.campaign import Flight, Section
from engine.config import Config
from engine.door import BURST, CLICK_MS
from engine.event_writer import EventWriter
from engine.keys import create_key
from engine.record import Recorder
from engine.web import create_app
from engine.web.events import MOST
from tests import world
from tests.engine.web.conftest import DECIDE, FakeServices
from tests.world import NOW, Site, World, campaign, creative

ARTICLE = "Gravel bikes and wide tyres for a long cycling tour through the rain."
BROWSER = {
    "User-Agent": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 "
    "Mobile Safari/537.36"
}
BASE = "https://ads.example"
LANDING = "https://acme.example/tyres?season=1&kind=wide"


class Shop:
    """A service that counts what it shows."""

    def __init__(self, folder: Path, *, strict: bool = False) -> None:
        self.stock(folder, strict)
        self.client = Client(create_app(Config(public_url=BASE), self.services))

    def stock(self, folder: Path, strict: bool) -> None:
        """Make all but the app."""
        folder.mkdir(exist_ok=True)
        self.world = World(folder)
        sections = (Section("sport", "/sport"),)
        self.world.put(
            world.publisher(sections=sections),
            world.publisher("globe"),
            world.advertiser(),
            campaign("spring", cpm_micros=2_000_000),
            creative("spring-1", "spring", landing_url=LANDING),
        )
        self.services = FakeServices(self.world.store)
        self.services.time = self.world.now
        self.writer = EventWriter(self.services.events, gather_s=0)
        self.writer.start()
        self.budgets = Budgets(
            self.services.money, "w", now=self.services.now, monotonic=lambda: self.services.time.timestamp()
        )
        self._random = iter(range(1, 10**6))
        recorder = Recorder(
            self.services.tickets,
            self.budgets,
            self.writer,
            BASE,
            now=self.services.now,
            random_bytes=lambda size: next(self._random).to_bytes(size, "big"),
            strict=strict,
        )
        self.site = Site(self.world, recorder=recorder)
        self.services.engine = self.site.engine  # type: ignore[assignment]
        self.services.registered = dict(self.world.view.snapshot.publishers)

    def put(self, *entities: Any) -> None:
        self.world.put(*entities)
        self.world.catalog.refresh()
        self.tick()

    def tick(self) -> None:
        snapshot = self.world.catalog.view(self.services.time).snapshot
        self.world.catalog.stop(self.budgets.tick(snapshot))

    def later(self, **by: float) -> None:
        self.services.time += timedelta(**by)

    def ask(self, *, headers: Any = BROWSER, **more: Any) -> Any:
        body = {
            "publisher": "planet",
            "placements": [{"id": "top"}],
            "page": {"text": ARTICLE, "url": "https://planet.example/sport/tour"},
            "weather": {"condition": "rain"},
            **more,
        }
        answer = self.client.post(DECIDE, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json

    def shown(self, **more: Any) -> Any:
        return self.ask(**more)["decisions"][0]

    def get(self, url: str, headers: Any = BROWSER) -> Any:
        return self.client.get(url.removeprefix(BASE), headers=headers)

    def beacon(self, data: str, headers: Any = BROWSER, media: str = "text/plain;charset=UTF-8") -> Any:
        return self.client.post("/v1/events", data=data, headers={**headers, "Content-Type": media})

    def rows(self) -> list[Any]:
        assert self.writer.wait(5)
        return self.world.store.rows(
            "SELECT kind, ivt, price_micros FROM events ORDER BY view, slot, kind DESC"
        )

    def spent(self) -> int:
        return sum(row[2] for row in self.rows())

    def worths(self) -> dict[str, int]:
        key = create_key(self.world.store, "operator", None, "test", NOW, lambda size: b"k" * size)
        text = self.client.get("/metrics", headers={"Authorization": f"Bearer {key}"}).text
        found = re.findall(r'^tactful_beacons_total\{worth="(\w+)"\} ([0-9.]+)$', text, re.MULTILINE)
        return {worth: int(float(count)) for worth, count in found if float(count)}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.writer.stop()


def token_of(url: str) -> str:
    return url.rpartition("/")[2].removesuffix(".gif")


def test_an_answer_carries_the_addresses_of_its_events(shop: Shop) -> None:
    filled = shop.shown()
    assert filled["events"]["impression"].startswith(f"{BASE}/v1/events/i")
    assert filled["events"]["viewable"].startswith(f"{BASE}/v1/events/v")
    assert filled["click_url"].startswith(f"{BASE}/v1/click/c")
    assert f'href="{filled["click_url"]}"' in filled["creative"]["html"]
    assert "acme.example/" not in filled["creative"]["html"]
    assert all(len(url) < 300 for url in (*filled["events"].values(), filled["click_url"]))


def test_an_event_is_kept_with_its_context_and_nothing_of_the_reader(shop: Shop) -> None:
    filled = shop.shown()
    assert shop.get(filled["events"]["impression"]).status_code == 200
    columns = "day, publisher, section, topic, campaign, creative, device, part, weather, ivt, price_micros"
    (row,) = shop.world.store.rows(f"SELECT {columns} FROM events")  # noqa: S608
    day = (NOW.date() - NOW.date().replace(year=1970, month=1, day=1)).days
    assert row[:3] == (day, "planet", "sport")
    assert row[4:] == ("spring", "spring-1", "phone", "evening", "rain", 0, 2000)
    (view,) = shop.world.store.rows("SELECT view FROM events")[0]
    assert len(view) == 16
    assert view.hex() not in json.dumps(filled)


def test_a_pixel_is_a_picture_that_nobody_keeps(shop: Shop) -> None:
    answer = shop.get(shop.shown()["events"]["impression"])
    assert answer.content_type == "image/gif"
    assert answer.data.startswith(b"GIF89a") and len(answer.data) < 64
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("way", ["pixel", "address", "text", "addresses", "json", "json as text"])
def test_every_way_to_tell_counts_the_same_and_once(shop: Shop, way: str) -> None:
    url = shop.shown()["events"]["impression"]
    told = json.dumps({"tokens": [token_of(url), url]})
    for _ in range(2):
        match way:
            case "pixel":
                assert shop.get(url).status_code == 200
            case "address":
                assert shop.client.post(url.removeprefix(BASE), headers=BROWSER).status_code == 204
            case "text":
                assert shop.beacon(f" {token_of(url)}\n").status_code == 204
            case "addresses":
                assert shop.beacon(f"{url} {url}").status_code == 204
            case "json":
                assert shop.beacon(told, media="application/json").status_code == 204
            case _:
                assert shop.beacon(told).status_code == 204
    assert shop.rows() == [("impression", 0, 2000)]


def test_each_event_counts_and_only_the_one_that_is_paid_for_costs(shop: Shop) -> None:
    shop.put(campaign("spring", cpm_micros=0, vcpm_micros=5_000_000))
    filled = shop.shown()
    shop.later(seconds=2)
    for url in (filled["click_url"], *filled["events"].values()):  # in any order
        shop.get(url)
    assert shop.rows() == [("viewable", 0, 5000), ("impression", 0, 0), ("click", 0, 0)]


def test_a_click_is_paid_for_where_clicks_are(shop: Shop) -> None:
    shop.put(campaign("spring", cpm_micros=0, cpc_micros=300_000))
    filled = shop.shown()
    shop.later(seconds=3)
    shop.get(filled["click_url"])
    shop.get(filled["click_url"])
    assert shop.rows() == [("click", 0, 300_000)]


def test_a_click_leads_where_the_catalogue_says_and_carries_nothing(shop: Shop) -> None:
    url = shop.shown()["click_url"]
    shop.later(seconds=1)
    answer = shop.get(f"{url}?to=https://evil.example&url=https://evil.example")
    assert answer.status_code == 302
    assert answer.headers["Location"] == LANDING
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
    assert [row[0] for row in shop.rows()] == ["click"]


def test_an_expired_click_still_leads_on_uncounted(shop: Shop) -> None:
    url = shop.shown()["click_url"]
    for by in ({"minutes": 31}, {"days": 3}, {"days": 100}):
        shop.later(**by)
        assert shop.get(url).headers["Location"] == LANDING
    assert shop.rows() == []


def test_a_forged_click_is_unknown(shop: Shop) -> None:
    token = token_of(shop.shown()["click_url"])
    damaged = [
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        token[:20] + ("A" if token[20] != "A" else "B") + token[21:],
        "i" + token[1:],
        token[1:],
        "c",
        "c" + "A" * 100,
        "x" * 5000,
        "%00",
        "ü",
    ]
    for text in damaged:
        assert shop.client.get(f"/v1/click/{text}", headers=BROWSER).status_code == 404, text
    assert shop.rows() == []


def test_beacons_are_answered_alike_whatever_they_are_worth(shop: Shop) -> None:
    url = shop.shown()["events"]["impression"]
    good = token_of(url)
    old = token_of(shop.shown()["events"]["impression"])
    answers = [
        shop.beacon(text) for text in (good, good, "", "nonsense", good[:-1], "i" + "A" * 90, "\x00\xff")
    ]
    shop.later(minutes=31)
    answers.append(shop.beacon(old))
    assert {answer.status_code for answer in answers} == {204}
    assert len({str(answer.headers) for answer in answers}) == 1
    assert shop.rows() == [("impression", 0, 2000)]
    assert shop.get(f"{BASE}/v1/events/nonsense.gif").status_code == 200


def test_what_a_beacon_is_worth_is_counted_coarsely(shop: Shop) -> None:
    filled = shop.shown()
    shop.beacon(f"{filled['events']['impression']} {filled['events']['viewable']} forged")
    assert shop.worths() == {"valid": 1, "invalid": 1, "void": 1}


def test_a_token_of_yesterdays_key_still_counts(shop: Shop) -> None:
    shop.services.time = NOW.replace(hour=23, minute=50)
    url = shop.shown()["events"]["impression"]
    shop.later(minutes=20)
    shop.get(url)
    assert [row[0] for row in shop.rows()] == ["impression"]
    (day,) = shop.world.store.rows("SELECT day FROM events")[0]
    assert day == (NOW.date() - NOW.date().replace(year=1970, month=1, day=1)).days  # of the decision


def test_a_token_from_further_ahead_than_clocks_differ_counts_for_nothing(shop: Shop) -> None:
    url = shop.shown()["events"]["impression"]
    shop.later(minutes=-5)
    assert shop.get(url).status_code == 200
    assert shop.rows() == []


@pytest.mark.parametrize(
    ("kind", "after_s", "ivt"),
    [
        ("impression", 0.0, 0),
        ("viewable", 0.9, 1),
        ("viewable", 1.0, 0),
        ("click", CLICK_MS / 1000 - 0.1, 1),
        ("click", CLICK_MS / 1000, 0),
    ],
)
def test_impossible_timing_is_invalid(shop: Shop, kind: str, after_s: float, ivt: int) -> None:
    filled = shop.shown()
    shop.later(seconds=after_s)
    shop.get(filled["click_url"] if kind == "click" else filled["events"][kind])
    assert [row[:2] for row in shop.rows()] == [(kind, ivt)]


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"},
        {"User-Agent": ""},
        {**BROWSER, "Sec-Purpose": "prefetch;prerender"},
        {**BROWSER, "Purpose": "prefetch"},
        {**BROWSER, "X-Moz": "prefetch"},
    ],
)
def test_machines_and_pages_loaded_ahead_are_kept_apart_and_never_billed(shop: Shop, headers: Any) -> None:
    shop.get(shop.shown()["events"]["impression"], headers)
    shop.get(
        shop.shown(headers=headers)["events"]["impression"]
    )  # what a machine was given stays a machine's
    assert shop.rows() == [("impression", 1, 0)] * 2
    assert shop.services.money.billed("spring", 0, 10**6).micros == 0


def test_a_burst_on_one_token_makes_the_rest_of_its_page_view_invalid(shop: Shop) -> None:
    filled, other = shop.shown(), shop.shown()
    for _ in range(BURST + 1):
        shop.get(filled["events"]["impression"])
    shop.later(seconds=2)
    shop.get(filled["click_url"])
    shop.get(other["click_url"])
    assert shop.rows() == [("impression", 0, 2000), ("click", 1, 0), ("click", 0, 0)]


def test_the_publishers_own_server_is_no_machine_and_speaks_for_its_pages_alone(shop: Shop) -> None:
    def keyed(tenant: str) -> dict[str, str]:
        drawn = iter(f"{tenant:_<32}".encode() for _ in range(2))
        key = create_key(shop.world.store, "publisher", tenant, "test", NOW, lambda size: next(drawn)[:size])
        return {"Authorization": f"Bearer {key}", "User-Agent": "python-httpx/0.28"}

    token = token_of(shop.shown()["events"]["impression"])
    assert shop.beacon(token, keyed("globe")).status_code == 204
    assert shop.rows() == []
    assert shop.beacon(token, keyed("planet")).status_code == 204
    assert shop.rows() == [("impression", 0, 2000)]
    assert (
        shop.beacon(token, {"Authorization": f"Bearer tactful_publisher_{'0' * 16}_{'0' * 64}"}).status_code
        == 403
    )


def test_a_test_decision_gives_no_tokens(shop: Shop) -> None:
    filled = shop.shown(test=True)
    assert "events" not in filled
    assert filled["click_url"] == LANDING
    assert shop.rows() == []
    assert shop.world.store.rows("SELECT * FROM decided") == []


def test_a_full_queue_refuses_beacons_and_lets_clicks_pass(shop: Shop) -> None:
    filled = shop.shown()
    shop.later(seconds=2)
    shop.services.door._writer = shop.writer
    shop.writer._most = 0
    answer = shop.beacon(token_of(filled["events"]["impression"]))
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
    assert shop.get(filled["click_url"]).headers["Location"] == LANDING
    shop.writer._most = 10
    assert shop.beacon(token_of(filled["events"]["impression"])).status_code == 204
    assert [row[0] for row in shop.rows()] == ["impression"]


@pytest.mark.parametrize(
    ("data", "media", "status"),
    [
        ('{"tokens":[]}', "application/json", 422),
        ('{"tokens":["a"],"uid":"7"}', "application/json", 422),
        ('{"tokens":"a"}', "application/json", 422),
        ('{"tokens":', "application/json", 400),
        ('{"tokens":[1]}', "text/plain", 422),
        ("a", "application/x-www-form-urlencoded", 415),
        ("a" * 200_000, "text/plain", 413),
    ],
)
def test_a_body_that_is_none_is_refused(shop: Shop, data: str, media: str, status: int) -> None:
    assert shop.beacon(data, media=media).status_code == status


def test_no_event_is_answered_for_and_left_out(shop: Shop) -> None:
    tokens = [token_of(shop.shown()["events"]["impression"]) for _ in range(MOST + 1)]
    assert shop.beacon("\n".join(tokens)).status_code == 422
    assert shop.rows() == []
    assert shop.beacon(" ".join(tokens[:MOST]) + "\n").status_code == 204
    assert len(shop.rows()) == MOST


def test_beacons_come_from_any_page_and_a_registered_one_may_read_the_answer(shop: Shop) -> None:
    token = token_of(shop.shown()["events"]["impression"])
    stranger = shop.beacon(token, {**BROWSER, "Origin": "https://stranger.example"})
    assert stranger.status_code == 204
    assert "Access-Control-Allow-Origin" not in stranger.headers
    asked = shop.client.options(
        "/v1/events", headers={"Origin": "https://planet.example", "Access-Control-Request-Method": "POST"}
    )
    assert asked.headers["Access-Control-Allow-Methods"] == "POST"
    assert "Access-Control-Allow-Credentials" not in asked.headers


def test_decisions_are_counted_by_section(shop: Shop) -> None:
    shop.ask(placements=[{"id": "top"}, {"id": "side", "count": 2}])
    shop.ask(page={"text": ARTICLE})
    assert shop.writer.wait(5)
    found = shop.world.store.rows("SELECT section, asked, filled FROM decided ORDER BY section DESC")
    assert found == [("sport", 3, 1), ("other", 1, 1)]


def test_in_the_strict_profile_no_address_says_anything_of_the_page_view(tmp_path: Path) -> None:
    shop = Shop(tmp_path, strict=True)
    first, second = shop.shown(), shop.shown()
    assert first == second
    assert "events" not in first
    assert first["click_url"] == LANDING
    assert shop.rows() == [("impression", 0, 2000)] * 2
    shop.ask(headers={"User-Agent": "Googlebot/2.1"})
    assert shop.spent() == 4000
    shop.writer.stop()


def test_a_campaign_stops_within_a_tick_of_its_budgets_end_and_no_more_is_billed(shop: Shop) -> None:
    shop.put(
        campaign("spring", cpm_micros=2_000_000, flight=Flight(budget_micros=50_000)),  # 25 impressions
        campaign("last", cpm_micros=1_000),
        creative("last-1", "last"),
    )
    spring = 0
    for _ in range(60):
        filled = shop.shown()
        shop.get(filled["events"]["impression"])
        spring += filled["creative"]["id"] == "spring-1"
        shop.later(seconds=1)
        shop.tick()
    spent = shop.services.money.billed("spring", 0, 10**6)
    assert spent.micros <= 50_000
    assert spring * 2000 <= 50_000
    assert spring >= 20
    assert shop.services.money.faults(0) == []


def test_a_daily_budget_begins_anew_in_the_flights_zone(shop: Shop) -> None:
    flight = Flight(daily_budget_micros=4_000, timezone="America/New_York")
    shop.put(campaign("spring", cpm_micros=2_000_000, flight=flight))

    def shows() -> bool:
        shop.later(seconds=15)
        shop.tick()
        decisions = shop.ask()["decisions"]
        for filled in decisions:
            shop.get(filled["events"]["impression"])
        return bool(decisions)

    assert [shows() for _ in range(4)] == [True, True, False, False]
    shop.services.time = NOW.replace(hour=23, minute=59)  # still Monday evening there
    assert not shows()
    shop.services.time = NOW + timedelta(hours=11, minutes=30)  # 00:35 in New York
    assert shows()
    days = shop.world.store.rows("SELECT day, micros FROM ledger ORDER BY day")
    assert [micros for _, micros in days] == [4000, 2000]


def test_two_advertisers_pay_what_the_second_bid(shop: Shop) -> None:
    shop.put(
        world.advertiser("rival"),
        campaign("summer", "rival", cpm_micros=1_500_000),
        creative("summer-1", "summer", headline="headline of spring-1", sponsored_by="Acme"),
    )
    filled = shop.shown()
    assert filled["creative"]["id"] == "spring-1"
    shop.get(filled["events"]["impression"])
    assert shop.rows() == [("impression", 0, 1500)]


def test_nobody_pays_less_than_the_floor(shop: Shop) -> None:
    shop.put(
        world.advertiser("rival"),
        campaign("summer", "rival", cpm_micros=1_500_000),
        creative("summer-1", "summer", headline="headline of spring-1", sponsored_by="Acme"),
    )
    filled = shop.shown(placements=[{"id": "top", "floor_cpm": 1.2}])
    shop.get(filled["events"]["impression"])
    filled = shop.shown(placements=[{"id": "top", "floor_cpm": 1.5}])
    shop.get(filled["events"]["impression"])
    filled = shop.shown(placements=[{"id": "top", "floor_cpm": 1.8}])  # nobody else asks so much
    shop.get(filled["events"]["impression"])
    assert [row[2] for row in shop.rows()] == [1500, 1500, 2000]


def test_of_what_a_page_view_asked_three_placements_are_counted(tmp_path):
    shop = Shop(tmp_path)
    many = [{"id": f"p{n}", "floor_cpm": 0 if n == 3 else 1000} for n in range(5)]
    assert len(shop.ask(placements=many)["unfilled"]) == 4
    shop.ask()
    shop.ask(test=True, placements=many)
    shop.ask(placements=many, headers={"User-Agent": "curl/8"})
    shop.rows()
    told = shop.world.store.rows("SELECT publisher, section, asked, filled FROM decided")
    assert told == [("planet", "sport", 3 + 1, 1 + 1)]
    shop.writer.stop()
