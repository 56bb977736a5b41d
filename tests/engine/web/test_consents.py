"""Consents over HTTP: recorded by the publisher's server, ended by the reader with one token and no login."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from engine.errors import StoreError
from tests.engine.web.conftest import NOW, ORIGIN, Service, admission_of, errors

RECORD, WITHDRAW = "/v1/consents", "/v1/consents/withdraw"
EXPORT, ERASE = "/v1/subject/export", "/v1/subject/erase"
SUB = "reader-0123456789abcdef"


@pytest.fixture
def desk(service: Service) -> Service:
    """Give a service that reads consent tokens."""
    service.services.admission = admission_of(service.services)
    return Service(service.services, service.keys)


def body(**more: Any) -> dict[str, Any]:
    said = {
        "publisher": "planet",
        "purposes": ["ads.select.first_party"],
        "notice": {"text_sha256": "0" * 64, "language": "en", "version": "1"},
        "expressed_by": "Agree button",
        "sub": SUB,
    }
    return {name: value for name, value in (said | more).items() if value is not None}


def given(service: Service, **more: Any) -> dict[str, Any]:
    answer = service.call("POST", RECORD, key="planet", body=body(**more))
    assert answer.status_code == 201, answer.text
    return answer.json


def export(service: Service, token: str):
    return service.client.get(EXPORT, headers={"Authorization": f"Bearer {token}"})


def test_a_consent_is_answered_with_its_tokens(desk: Service) -> None:
    told = given(desk)
    assert told["state"] == "ConsentGiven" and told["sub"] == SUB
    assert told["purposes"] == ["ads.select.first_party"]
    assert told["token"].count(".") == told["rights_token"].count(".") == 2
    assert told["status"]["uri"] == "https://ads.example/v1/consents/status"
    assert told["receipt"]["index"] == 0 and json.loads(told["receipt"]["record"])["publisher"] == "planet"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"purposes": []}, "purposes"),
        ({"purposes": ["ads.select.third_party"]}, "purposes[0]"),
        ({"notice": {"text_sha256": "0", "language": "en", "version": "1"}}, "notice.text_sha256"),
        ({"notice": {"text_sha256": "0" * 64, "language": "english!", "version": "1"}}, "notice.language"),
        ({"notice": None}, "notice"),
        ({"sub": "anna@example.org"}, "sub"),
        ({"sub": "+491701234567"}, "sub"),
        ({"expressed_by": "anna@example.org said so"}, "expressed_by"),
        ({"days": 366}, "days"),
        ({"days": True}, "days"),
        ({"state": "implied"}, "state"),
        ({"tcf": "not a string of theirs"}, "tcf"),
        ({"gpp": "DBA"}, "gpp"),
        ({"email": "anna@example.org"}, "email"),
        ({"state": "refused"}, "sub"),
    ],
)
def test_a_malformed_consent_is_refused_by_its_field_and_leaves_nothing(desk, change, field) -> None:
    told = body() | change
    answer = desk.call("POST", RECORD, key="planet", body={k: v for k, v in told.items() if v is not None})
    assert field in errors(answer)
    for value in ("anna@example.org", "+491701234567"):
        assert value not in answer.text
    assert desk.services.leaves.count() == 0


def test_a_refusal_is_recorded_without_an_identifier(desk: Service) -> None:
    answer = desk.call("POST", RECORD, key="planet", body=body(state="refused", sub=None))
    assert answer.status_code == 201
    assert answer.json == {"state": "ConsentRefused", "receipt": {"index": 0}}


@pytest.mark.parametrize("with_", ["token", "rights_token"])
def test_a_token_alone_withdraws_and_again_changes_nothing(desk: Service, with_: str) -> None:
    told = given(desk)
    ask = {"publisher": "planet", with_: told[with_]}
    first, again = (desk.call("POST", WITHDRAW, body=ask) for _ in range(2))
    assert first.json["state"] == "ConsentWithdrawn" and first.json["generation"] > told["generation"]
    assert again.status_code == 200 and "index" not in again.json


def test_the_publishers_key_withdraws_by_name_and_no_other_does(desk: Service) -> None:
    given(desk)
    ask = {"publisher": "planet", "sub": SUB}
    errors(desk.call("POST", WITHDRAW, body=ask), 401)
    errors(desk.call("POST", WITHDRAW, key="globe", body=ask), 404)
    errors(desk.call("POST", WITHDRAW, key="acme", body=ask), 403)
    errors(desk.call("POST", WITHDRAW, key="globe", body=ask | {"publisher": "globe"}), 404)
    assert desk.call("POST", WITHDRAW, key="planet", body=ask).status_code == 200


def test_another_publisher_records_nothing_in_this_ones_name(desk: Service) -> None:
    errors(desk.call("POST", RECORD, key="globe", body=body()), 404)
    assert desk.services.leaves.count() == 0


def test_a_page_of_the_publishers_may_withdraw_and_another_may_not(desk: Service) -> None:
    ask = json.dumps({"publisher": "planet", "token": given(desk)["token"]})
    sent = {"Content-Type": "text/plain"}
    foreign = desk.client.post(WITHDRAW, data=ask, headers=sent | {"Origin": "https://globe.test"})
    assert foreign.status_code == 403
    answer = desk.client.post(WITHDRAW, data=ask, headers=sent | {"Origin": ORIGIN})
    assert answer.status_code == 200 and answer.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_a_consent_token_neither_exports_nor_erases(desk: Service) -> None:
    told = given(desk)
    assert export(desk, told["token"]).status_code == 403
    ask = {"publisher": "planet", "token": told["token"]}
    assert "token" in errors(desk.call("POST", ERASE, body=ask))
    assert "rights_token" in errors(
        desk.call("POST", ERASE, body={"publisher": "planet", "rights_token": told["token"]}), 403
    )
    assert desk.services.consents.store.find("planet", desk.services.consents.subject_of("planet", SUB))


def test_the_rights_token_outlives_withdrawal_and_expiry(desk: Service) -> None:
    rights = given(desk, days=1)["rights_token"]
    desk.call("POST", WITHDRAW, body={"publisher": "planet", "rights_token": rights})
    desk.services.time = NOW + timedelta(days=390)
    answer = export(desk, rights)
    assert answer.status_code == 200 and answer.content_type == "application/ld+json"
    states = [status["@type"][0] for status in answer.json["@graph"][0]["dpv:hasConsentStatus"]]
    assert states == ["dpv:ConsentGiven", "dpv:ConsentWithdrawn"]
    assert desk.call("POST", ERASE, body={"publisher": "planet", "rights_token": rights}).status_code == 200
    assert export(desk, rights).status_code == 404
    desk.services.time = NOW + timedelta(days=397)
    assert export(desk, rights).status_code == 403


def test_an_export_asks_for_a_rights_token(desk: Service) -> None:
    given(desk)
    for headers in ({}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic abc"}):
        assert desk.client.get(EXPORT, headers=headers).status_code == 401
    assert desk.call("GET", EXPORT, key="planet").status_code == 401


@pytest.mark.parametrize("part", range(3))
def test_a_rights_token_with_a_flipped_character_gives_no_right(desk: Service, part: int) -> None:
    parts = given(desk)["rights_token"].split(".")
    middle = len(parts[part]) // 2
    parts[part] = (
        parts[part][:middle] + ("A" if parts[part][middle] != "A" else "B") + parts[part][middle + 1 :]
    )
    assert export(desk, ".".join(parts)).status_code == 403


def test_two_ways_at_once_are_none(desk: Service) -> None:
    told = given(desk)
    ask = {"publisher": "planet", "token": told["token"], "rights_token": told["rights_token"]}
    errors(desk.call("POST", WITHDRAW, body=ask))
    errors(desk.call("POST", WITHDRAW, body={"publisher": "planet"}))
    assert desk.services.leaves.count() == 1


def test_a_rights_token_of_one_publisher_is_none_at_another(desk: Service) -> None:
    rights = given(desk)["rights_token"]
    errors(desk.call("POST", ERASE, body={"publisher": "globe", "rights_token": rights}), 403)
    assert export(desk, rights).status_code == 200


def test_the_rights_of_a_reader_outlive_its_publisher(desk: Service) -> None:
    rights = given(desk)["rights_token"]
    desk.services.registered.pop("planet")
    ask = {"publisher": "planet", "rights_token": rights}
    assert desk.call("POST", WITHDRAW, body=ask).status_code == 200
    assert export(desk, rights).status_code == 200
    assert desk.call("POST", ERASE, body=ask).status_code == 200


def test_a_store_that_is_busy_says_so(desk: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    rights = given(desk)["rights_token"]

    def busy(*_: Any) -> None:
        raise StoreError("busy")

    monkeypatch.setattr(desk.services.consents.store, "scrub", busy)
    answer = desk.call("POST", ERASE, body={"publisher": "planet", "rights_token": rights})
    errors(answer, 503)
    assert answer.headers["Retry-After"] == "60" and export(desk, rights).status_code == 404


def test_without_the_keys_of_consent_its_routes_say_so_and_pages_are_answered(service: Service) -> None:
    service.services.consents = None
    off = Service(service.services, service.keys)
    errors(off.call("POST", RECORD, key="planet", body=body()), 503)
    errors(off.call("POST", WITHDRAW, key="planet", body={"publisher": "planet", "sub": SUB}), 503)
    token = {"publisher": "planet", "token": "a.b.c"}  # it may be good: who sends it shall try again
    errors(off.call("POST", WITHDRAW, body=token), 503)
    assert off.decide().status_code == 200


def test_nothing_that_a_reader_sends_is_logged(desk: Service, caplog) -> None:
    told = given(desk)
    for token in (told["rights_token"], told["rights_token"][:-4] + "AAAA"):
        export(desk, token)
        desk.call("POST", ERASE, body={"publisher": "planet", "rights_token": token})
    assert SUB not in caplog.text and told["rights_token"][:40] not in caplog.text


def test_where_the_log_is_not_signed_nothing_is_agreed_to_and_everything_can_be_ended(desk: Service) -> None:
    first, other = given(desk), given(desk, sub=SUB[::-1])
    desk.services.consent_log.reason = "rolled back"
    leaves = desk.services.leaves.count()
    for state in ("given", "refused"):
        sub = SUB if state == "given" else None
        answer = desk.call("POST", RECORD, key="planet", body=body(state=state, sub=sub))
        assert answer.status_code == 503 and answer.headers["Retry-After"]
        assert "readyz" in answer.json["detail"]
    assert desk.services.leaves.count() == leaves
    told = {"publisher": "planet", "rights_token": first["rights_token"]}
    assert desk.client.post("/v1/consents/withdraw", json=told).status_code == 200
    assert desk.client.post(ERASE, json={**told, "rights_token": other["rights_token"]}).status_code == 200
