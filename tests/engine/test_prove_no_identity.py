"""The proof of no identity passes a service behind the gate and finds every planted leak."""

from __future__ import annotations

import itertools
import json
import os
import random
from pathlib import Path

import pytest

from engine.prove.channels import KINDS, channels
from engine.prove.no_identity import Verdict, _covering, forms, prove
from engine.prove.planted import PLANTED
from engine.prove.state import kept
from engine.prove.twins import Chance, Clock, Instance, Request, Service
from tests.engine.small_service import REQUESTS, make_service


def test_a_service_behind_the_gate_passes(tmp_path: Path) -> None:
    verdict = prove(make_service, REQUESTS, tmp_path)
    assert verdict.leaks == ()
    assert verdict.holds
    assert verdict.cases > 1000
    said = json.loads("".join(verdict.lines()))
    assert said["holds"] is True
    assert said["outcomes"]["device"] == 24


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_leak_is_found(name: str, tmp_path: Path) -> None:
    verdict = prove(make_service, REQUESTS, tmp_path, plant=name, most=1)
    assert len(verdict.leaks) == 1
    assert not verdict.holds
    assert verdict.unsteady == ()


def test_more_than_twenty_leaks_are_planted() -> None:
    assert len(PLANTED) >= 20


def test_a_missed_leak_makes_the_verdict_fail() -> None:
    assert Verdict(1, (), (), {"cookie": True}).holds
    assert not Verdict(1, (), (), {"cookie": True, "etag": False}).holds


def test_a_service_that_is_not_steady_is_no_proof(tmp_path: Path) -> None:
    def make(clock: Clock, chance: Chance, folder: Path) -> Service:
        return make_service(clock, os.urandom, folder)

    verdict = prove(make, REQUESTS, tmp_path)
    assert "body" in verdict.unsteady
    assert not verdict.holds


def test_a_service_without_the_gate_leaks_in_many_channels(tmp_path: Path) -> None:
    def make(clock: Clock, chance: Chance, folder: Path) -> Service:
        def app(environ, start_response):  # type: ignore[no-untyped-def]
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [repr(sorted(item for item in environ.items() if item[0].startswith("HTTP_"))).encode()]

        return Service(app)

    verdict = prove(make, REQUESTS[:1], tmp_path, most=200)
    names = {leak.channel for leak in verdict.leaks}
    assert {
        "Cookie",
        "Accept-Language",
        "User-Agent",
        "X-Forwarded-For",
        "traceparent",
        "Sec-CH-UA-Model",
    } <= names


def test_every_channel_says_something_else_than_silence() -> None:
    for kind in KINDS:
        for channel in channels(kind):
            assert channel.values
            assert all(kind.senders[0] | value != kind.senders[0] | channel.plain for value in channel.values)


def test_the_rows_cover_every_pair_of_channels() -> None:
    rows = list(_covering(20, random.Random(1)))
    for left, right in itertools.combinations(range(20), 2):
        assert len({(row[left], row[right]) for row in rows}) == 4


def test_what_an_instance_keeps_is_read_through_the_write_ahead_log(tmp_path: Path) -> None:
    instance = Instance(make_service, tmp_path / "a")
    instance.send(REQUESTS[2], KINDS[0].senders[0])
    before = instance.kept()
    instance.send(REQUESTS[0], KINDS[0].senders[0])
    after = instance.kept()
    assert before.keys() == after.keys() == {"small.db:schema", "small.db:views", "/metrics"}
    assert before["small.db:views"] != after["small.db:views"]


def test_forms_are_sent_in_with_their_hidden_fields_and_first_button() -> None:
    page = b"""<form action="/find"><input type="hidden" name="q" value="7"></form>
    <form method="POST" action="https://ads.example/say?x=1"><input type="hidden" name="ticket" value="a&amp;b">
    <input name="text"><button name="vote" value="yes">Yes</button><button name="vote" value="no">No</button></form>
    <form method="post"></form>"""
    told = {"Content-Type": "application/x-www-form-urlencoded"}
    assert list(forms("/here", page)) == [
        Request("POST", "/say", b"ticket=a%26b&vote=yes", told),
        Request("POST", "/here", b"", told),
    ]


def test_what_browsers_keep_may_be_the_same_for_all(tmp_path: Path) -> None:
    def make(clock: Clock, chance: Chance, folder: Path) -> Service:
        def app(environ, start_response):  # type: ignore[no-untyped-def]
            start_response("200 OK", [("Cache-Control", "public, max-age=3600")])
            return [b"all()"]

        return Service(app)

    assert prove(make, (Request("GET", "/script.js"),), tmp_path).holds


def test_files_that_are_no_database_count_by_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    first = kept(tmp_path)
    (tmp_path / "a").write_bytes(b"2")
    assert kept(tmp_path) != first
    assert first.keys() == {"a"}


def test_an_app_that_breaks_is_a_500_and_the_proof_goes_on(tmp_path: Path) -> None:
    def make(clock: Clock, chance: Chance, folder: Path) -> Service:
        def app(environ, start_response):  # type: ignore[no-untyped-def]
            if "HTTP_RANGE" in environ:
                raise ValueError(environ["HTTP_RANGE"])
            start_response("204 No Content", [])
            return []

        return Service(app)

    verdict = prove(make, (Request("GET", "/"),), tmp_path)
    assert {leak.channel for leak in verdict.leaks if leak.stage == "sweep"} == {"Range"}
