"""Readers of the real service who differ in everything but the visit leave the same bytes behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.prove.channels import Sender
from engine.prove.consents import COHORT
from engine.prove.no_identity import prove
from engine.prove.service import real_service, requests
from engine.prove.twins import Instance, MakeService


@pytest.fixture(scope="module")
def make(models: Path) -> MakeService:
    return real_service(models)


def test_no_reader_leaves_a_trace_in_the_service(make: MakeService, tmp_path: Path) -> None:
    verdict = prove(make, requests()[:2], tmp_path)
    assert verdict.unsteady == ()
    assert verdict.leaks == ()
    assert verdict.cases > 1000


@pytest.mark.parametrize("plant", ["cookie", "page-query-in-the-log", "hashed-address-in-a-file"])
def test_a_leak_around_the_service_is_found(make: MakeService, tmp_path: Path, plant: str) -> None:
    assert prove(make, requests()[:1], tmp_path, plant=plant, most=1).leaks


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
