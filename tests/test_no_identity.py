"""Readers of the real service who differ in everything but the visit leave the same bytes behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engine.prove.channels import Sender
from engine.prove.consents import COHORT
from engine.prove.no_identity import prove
from engine.prove.service import real_service, requests
from engine.prove.twins import Instance, MakeService, Request


@pytest.fixture(scope="module")
def make(models: Path) -> MakeService:
    return real_service(models)


def test_no_reader_leaves_a_trace_in_the_service(make: MakeService, tmp_path: Path) -> None:
    verdict = prove(make, requests()[:2], tmp_path)
    assert verdict.unsteady == ()
    assert verdict.leaks == ()
    assert verdict.cases > 1000


@pytest.mark.parametrize(
    "plant", ["cookie", "page-query-in-the-log", "hashed-address-in-a-file", "mark-in-pictures"]
)
def test_a_leak_around_the_service_is_found(make: MakeService, tmp_path: Path, plant: str) -> None:
    assert prove(make, requests()[:1], tmp_path, plant=plant, most=1).leaks


def test_all_that_anybody_may_ask_for_is_asked_for(make: MakeService, tmp_path: Path) -> None:
    service = Instance(make, tmp_path / "a")
    try:
        told = json.loads(service.send(Request("GET", "/openapi.json"), Sender()).body)
        asked = [(one.method, one.path.partition("?")[0]) for one in requests()]
        for path, operations in told["paths"].items():
            form = re.compile(re.sub(r"\\{[a-z]+\\}", "[^/]+", re.escape(path)))
            for method, operation in operations.items():
                if not any("key" in one for one in operation.get("security", ())):
                    assert [a for m, a in asked if m == method.upper() and form.fullmatch(a)], (method, path)
        for request in requests():  # else that nothing changes it would say nothing
            if request.still and request.method == "GET":
                status = service.send(request, Sender()).status
                assert status[:3] in ("200", "401") or request.path.startswith("/images/"), request.name
    finally:
        service.close()


def test_a_good_token_does_act_where_nothing_forbids_it(make: MakeService, tmp_path: Path) -> None:
    # Else that it changes nothing under GPC or on a sensitive page would say nothing.
    free, *mute = requests()[:3]
    assert not free.mute
    assert all(request.mute for request in mute)
    service = Instance(make, tmp_path / "a")
    try:
        answer = json.loads(service.send(free, Sender(consent="good")).body)
        assert answer["privacy"]["basis"] == "consent"
        assert answer["privacy"]["signals_used"] == [f"cohort:{COHORT}"]
        assert "again-0" in {filled["creative"]["id"] for filled in answer["decisions"]}
        assets = [filled["creative"]["assets"] for filled in answer["decisions"]]
        picture = next(one["image"]["url"] for one in assets if "image" in one)
        picture = picture.removeprefix("https://ads.example")
        assert service.send(Request("GET", picture), Sender()).status == "200 OK"
        wrong = service.send(free, Sender(consent="good with wrong signals"))
        assert wrong.status.startswith("422")
        assert b"jane" not in wrong.body
        for request in mute:
            told = json.loads(service.send(request, Sender(consent="good")).body)
            assert told["privacy"]["basis"] == "context"
    finally:
        service.close()


def test_no_reader_leaves_a_trace_in_an_auction(make: MakeService, tmp_path: Path) -> None:
    (asked,) = (request for request in requests() if request.auction)
    service = Instance(make, tmp_path / "a")
    try:
        told = json.loads(service.send(asked, Sender()).body)
    finally:
        service.close()
    assert told["seatbid"][0]["bid"][0]["burl"]  # else that nothing changes it would say nothing
    verdict = prove(make, [asked], tmp_path / "b")
    assert (verdict.unsteady, verdict.leaks) == ((), ())
    assert prove(make, [asked], tmp_path / "c", plant="bid-by-postcode", most=1).leaks
