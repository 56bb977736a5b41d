"""The public repository: what runs or ran, who paid, noisy numbers; nothing that is only being prepared."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from engine.campaign import Flight, PoliticalNotice, Prefer, Rule, Targeting
from engine.change import Change
from engine.config import Config
from engine.creative import OfferPart, Parts, TextPart
from engine.reporting import Reporting
from engine.web import create_app, repository
from tests.engine.report_world import DAY, NOW, ReportWorld, views
from tests.engine.web.conftest import FakeServices
from tests.world import campaign, creative


class Place:
    def __init__(self, folder: Path) -> None:
        self.world = ReportWorld(folder)
        self.services = FakeServices(self.world.store)
        self.services.time = NOW
        self.services.reporting = Reporting(
            Config(key_dir=folder / "consent-keys"), self.world.store, self.services.leaves, self.services.now
        )
        self.client = Client(create_app(Config(public_url="https://ads.example"), self.services))

    def list(self, query: str = "") -> Any:
        answer = self.client.get(f"/v1/repository{query}")
        assert answer.status_code == 200, answer.text
        return answer.json

    def ids(self, query: str = "") -> list[str]:
        return [item["creative"] for item in self.list(query)["items"]]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.services.close()


def test_what_runs_is_listed_with_who_paid_and_by_which_parameters(place: Place) -> None:
    rules = Targeting(
        topics=Rule(("210",), ("483",)), weather=Rule(("rain",)), cohorts=Rule(("cooks",)), min_floor_micros=5
    )
    place.world.put(
        campaign("spring", paid_by="Agency <b>", targeting=rules, prefer=Prefer(times=("evening",)))
    )
    told = place.list()
    ad = next(item for item in told["items"] if item["creative"] == "spring-1")
    assert (ad["behalf"], ad["paid"], ad["says"]) == ("Acme", "Agency <b>", "headline of spring-1")
    assert ad["parameters"] == [
        "only topics: Food & Drink",
        "not topics: Sports",
        "only weather: rain",
        "only cohorts: cooks",
        "min floor micros: 5",
        "rather times: evening",
    ]
    assert ad["views"] is None and told["views_of"] is None
    page = place.client.get("/repository").text
    assert "Agency &lt;b&gt;" in page and "<script" not in page


def test_views_are_sums_of_released_noisy_counts_with_their_margin(place: Place) -> None:
    rows = list(views(3000))
    place.world.add(rows)
    place.services.reporting.releases.release(DAY)
    told = place.list()
    true = sum(row.kind == "impression" and row.creative == "spring-1" for row in rows)
    seen = next(item for item in told["items"] if item["creative"] == "spring-1")["views"]
    assert seen["margin95"] > 0
    assert abs(seen["value"] - true) < 5 * seen["margin95"]
    assert told["views_of"]["from"] == told["views_of"]["to"] == "2026-11-26"
    assert "±" in place.client.get("/repository").text


def test_what_is_only_prepared_is_nobodys_business(place: Place) -> None:
    place.world.put(
        campaign("spring", status="paused"),
        campaign("winter", flight=Flight(start=NOW + timedelta(days=1))),
        campaign("own", house=True, cpm_micros=0),
        creative("own-1", "own"),
        creative("rivalry-2", "rivalry", status="paused"),
    )
    assert place.ids() == ["rivalry-1"]


def test_what_ran_is_listed_when_it_is_over(place: Place) -> None:
    place.world.add(views(3000))
    place.services.reporting.releases.release(DAY)
    place.world.put(campaign("spring", status="paused"))
    assert "spring-1" in place.ids()


def test_what_was_deleted_stays_for_a_year_with_what_it_said(place: Place) -> None:
    place.world.put(campaign("winter", status="paused"))
    before = {item["creative"]: item for item in place.list()["items"]}
    drop(place, "rivalry-1", "spring-1", "winter-1")
    after = {item["creative"]: item for item in place.list()["items"]}
    assert list(after) == list(before) == ["rivalry-1", "spring-1", "spring-2"]  # winter never ran
    for id in ("rivalry-1", "spring-1"):
        assert after[id] == before[id] | {"deleted": NOW.isoformat()}
    assert after["spring-2"]["deleted"] is None
    assert place.ids("?limit=1") == ["rivalry-1"] and place.ids("?limit=1&after=rivalry-1") == ["spring-1"]
    assert "Not shown any more" in place.client.get("/repository").text
    place.services.time = NOW + timedelta(days=366)
    assert place.ids() == ["spring-2"]


def test_what_was_below_the_floor_is_listed_for_a_year_after_its_flight(place: Place) -> None:
    place.world.put(campaign("spring", flight=Flight(end=NOW - timedelta(days=364))))
    assert "spring-1" in place.ids()
    place.services.time = NOW + timedelta(days=2)
    assert "spring-1" not in place.ids()


def test_a_political_advertisement_is_listed_with_its_notice(place: Place) -> None:
    notice = PoliticalNotice("Green <Party>", "Nobody", "1 EUR", "an election", "https://acme.example/notice")
    place.world.put(campaign("spring", political=True, political_notice=notice))
    ad = next(item for item in place.list()["items"] if item["creative"] == "spring-1")
    assert ad["political"] == {
        "sponsor": "Green <Party>", "controlled_by": "Nobody", "amount": "1 EUR", "process": "an election",
        "notice_url": "https://acme.example/notice",
    }  # fmt: skip
    assert "Sponsored by Green &lt;Party&gt;, controlled by Nobody" in place.client.get("/repository").text


def drop(place: Place, *ids: str) -> None:
    store = place.world.store
    found = store.find("creative", ids)
    store.write([Change(found[id], None) for id in ids], [], store.versions(), "t", NOW)


def test_the_list_goes_on_where_it_ended(place: Place) -> None:
    place.world.put(campaign("winter", status="paused"))
    first = place.list("?limit=2")
    assert [item["creative"] for item in first["items"]] == ["rivalry-1", "spring-1"]
    assert place.ids(f"?limit=2&after={first['next']}") == ["spring-2"]
    assert place.client.get("/v1/repository?limit=0").status_code == 422


def test_every_line_that_a_message_may_show_is_listed(place: Place) -> None:
    lines = (TextPart("a", "A {{ weather | fine }} day"), TextPart("b", "Spring on"))
    place.world.put(creative("spring-1", "spring", parts=Parts(headlines=lines)))
    listed = {item["creative"]: item["parts"] for item in place.list()["items"]}
    assert listed["spring-1"] == ["A fine day", "Spring on"] and listed["spring-2"] == []
    assert "A fine day · Spring on" in place.client.get("/repository").text


def test_an_offer_is_listed_with_its_price(place: Place) -> None:
    offers = (
        OfferPart("a", "Now {{ price | less }}", price="89", currency="EUR"),
        OfferPart("b", "Two for {{ price | less }}"),
    )
    place.world.put(creative("spring-1", "spring", parts=Parts(offers=offers)))
    listed = {item["creative"]: item["parts"] for item in place.list()["items"]}
    assert listed["spring-1"] == ["Now €89.00", "Two for less"]


def test_a_page_is_made_of_so_many_creatives_whether_they_are_listed_or_not(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "MOST_READ", 200)
    place.world.put(
        campaign("own", house=True, cpm_micros=0), *(creative(f"own-{n:03}", "own") for n in range(300))
    )
    reads: list[str] = []
    page = place.world.store.page

    def counted(kind: Any, after: str, limit: int) -> Any:
        reads.append(after)
        return page(kind, after, limit)

    monkeypatch.setattr(place.world.store, "page", counted)
    first = place.list("?limit=1")
    assert (first["items"], first["next"]) == ([], "own-199")
    assert "None." not in place.client.get("/repository?limit=1").text
    assert reads == ["", "own-099"] * 2
    assert place.ids("?limit=1&after=own-199") == ["rivalry-1"]
