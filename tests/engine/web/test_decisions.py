"""POST /v1/decisions: what it takes, what it refuses, and that it never breaks a page."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from werkzeug.test import create_environ, run_wsgi_app

from privacy.visit import Device
from tests.engine.web.conftest import DECIDE, ORIGIN, Service, errors, request, zipped

JUNK = "bob@example.com-and-a-long-tail"


def test_a_full_request_reaches_the_engine_coarsened(service: Service) -> None:
    answer = service.decide()
    assert answer.status_code == 200
    assert answer.json and answer.json["decisions"][0]["placement"] == "top"
    visit, placements, explain, deadline = service.engine.asked[0]
    assert (visit.publisher, visit.trusted, visit.device) == ("planet", False, Device("phone", "android"))
    assert visit.page.url == "https://www.planet.test/rain"
    assert visit.page.language == "en"
    assert (visit.place.country, visit.place.region) == ("DE", "BE")
    assert (placements[0].floor_micros, placements[0].sizes) == (500_000, ((300, 250),))
    assert placements[0].block_advertisers == ("rival",)
    assert explain
    assert deadline == pytest.approx(service.services.clock + 0.05)


def test_the_least_request_is_enough(service: Service) -> None:
    body = {"publisher": "planet", "placements": [{"id": "a"}], "page": {"title": "Rain"}}
    assert service.decide(body).status_code == 200


def test_text_plain_is_read_as_json(service: Service) -> None:
    assert service.decide(Content_Type="text/plain;charset=UTF-8").status_code == 200


def test_another_media_type_is_refused_and_told_what_is_read(service: Service) -> None:
    answer = service.decide(Content_Type="application/x-www-form-urlencoded")
    assert "Content-Type" in errors(answer, 415)
    assert answer.headers["Accept"] == "application/json, text/plain"


def test_the_answer_is_json_that_nothing_keeps_or_frames(service: Service) -> None:
    headers = service.decide().headers
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Vary"] == "Origin"
    assert not {"Set-Cookie", "ETag", "Last-Modified"} & set(headers.keys())


WRONG: list[tuple[str, Any, str]] = [
    ("publisher", 5, "publisher"),
    ("publisher", JUNK, "publisher"),
    ("publisher", "planet\n", "publisher"),
    ("placements", [], "placements"),
    ("placements", [{"id": str(n)} for n in range(21)], "placements"),
    ("placements", {"id": "top"}, "placements"),
    ("placements", [{}], "placements[0].id"),
    ("placements", [{"id": "a"}, {"id": "a"}], "placements[1].id"),
    ("placements", [{"id": "a", "formats": ["video"]}], "placements[0].formats[0]"),
    ("placements", [{"id": "a", "sizes": [[300, 250], [0, 1]]}], "placements[0].sizes[1][0]"),
    ("placements", [{"id": "a", "sizes": [[300]]}], "placements[0].sizes[0]"),
    ("placements", [{"id": "a", "count": True}], "placements[0].count"),
    ("placements", [{"id": "a", "count": 99}], "placements[0].count"),
    ("placements", [{"id": "a", "floor_cpm": -1}], "placements[0].floor_cpm"),
    ("placements", [{"id": "a", "block": {"advertisers": ["X"]}}], "placements[0].block.advertisers[0]"),
    ("page", None, "page"),
    ("page", {}, "page"),
    ("page", {"description": "only"}, "page"),
    ("page", {"title": ""}, "page"),
    ("page", {"title": "x" * 1001}, "page.title"),
    ("page", {"text": 7}, "page.text"),
    ("page", {"html": "x" * 1_000_001}, "page.html"),
    ("page", {"url": "javascript:alert(1)"}, "page.url"),
    ("page", {"title": "x", "keywords": ["x"] * 101}, "page.keywords"),
    ("page", {"title": "x", "language": "e"}, "page.language"),
    ("device", {"class": "fridge"}, "device.class"),
    ("time", {"timezone": "Mars/Base"}, "time.timezone"),
    ("time", {"at": "2026-11-23T18:05:00"}, "time.at"),
    ("time", {"at": "1999-11-23T18:05:00Z"}, "time.at"),
    ("place", {"country": "XX"}, "place.country"),
    ("place", {"region": "BE"}, "place.region"),
    ("weather", {"condition": "frogs"}, "weather.condition"),
    ("weather", {"temperature_c": 200}, "weather.temperature_c"),
    ("explain", "yes", "explain"),
]


@pytest.mark.parametrize(("name", "value", "field"), WRONG)
def test_each_wrong_field_is_named(service: Service, name: str, value: Any, field: str) -> None:
    told = errors(service.decide(request(**{name: value})))
    assert field in told
    assert service.engine.asked == []


def test_all_wrong_fields_are_named_at_once(service: Service) -> None:
    body = request(publisher=7, explain="yes", weather={"condition": "frogs"}, page={"title": 1})
    assert set(errors(service.decide(body))) == {"publisher", "explain", "weather.condition", "page.title"}


def test_all_that_the_gate_refuses_is_named_at_once(service: Service) -> None:
    body = request(
        time={"timezone": "Mars/Base", "at": "1999-01-01T00:00:00Z"}, place={"country": "XX", "region": "B"}
    )
    assert set(errors(service.decide(body))) == {"time.timezone", "time.at", "place.country"}


def test_unknown_fields_are_refused_without_echo(service: Service) -> None:
    body = request() | {"user_id": JUNK, JUNK: 1}
    body["page"] = body["page"] | {"tittle": "x"}
    answer = service.decide(body)
    told = errors(answer)
    assert told["user_id"][0] == told["page.tittle"][0] == "unknown field"
    assert JUNK not in answer.text


@pytest.mark.parametrize(("name", "value", "_"), WRONG)
def test_no_refusal_quotes_what_came(service: Service, name: str, value: Any, _: str) -> None:
    assert JUNK not in service.decide(request(**{name: value})).text


NO_JSON = [
    (b"", "$"),
    (b"{", "$"),
    (b"\xff\xfe", "$"),
    (b"[" * 100_000, "$"),
    (b'{"publisher":' + b'{"a":' * 5000 + b"1" + b"}" * 5001, "$"),
    (b'{"publisher":"planet"} trailing', "$"),
    (b'{"publisher":"pl\xffanet"}', "publisher"),
    (b'{"publisher":"\\ud800"}', "publisher"),
    (b'{"weather":{"temperature_c":NaN}}', "weather.temperature_c"),
    (b'{"weather":{"temperature_c":1e999}}', "weather.temperature_c"),
    (b'{"weather":{"temperature_c":-Infinity}}', "weather.temperature_c"),
]


@pytest.mark.parametrize(("raw", "field"), NO_JSON)
def test_what_is_no_json_is_refused_with_the_field_where_one_can_be_named(
    service: Service, raw: bytes, field: str
) -> None:
    assert field in errors(service.decide(raw=raw), 400)


AGAIN = [
    ('{"publisher":"planet","publisher":"globe",%s}', "publisher"),
    ('{"publisher":"planet","publ\\u0069sher":"globe",%s}', "publisher"),  # the same name, written otherwise
    ('{"publisher":"planet","test":true,"explain":true,"test":false,%s}', "test"),
    ('{"publisher":"planet","regs":{"coppa":1,"gdpr":1,"coppa":0},%s}', "regs.coppa"),
    ('{"publisher":"planet","page":{"title":"Soup"},%s}', "page"),
    ('{"publisher":"planet","time":{"at":null,"at":null},%s}', "time.at"),
]


@pytest.mark.parametrize(("body", "field"), AGAIN)
def test_a_field_that_stands_in_a_body_twice_is_refused_by_name(
    service: Service, body: str, field: str
) -> None:
    for _ in range(2):  # also where the same body comes again
        raw = body % '"placements":[{"id":"top"}],"page":{"title":"Soup"}'
        assert errors(service.decide(raw=raw.encode()))[field] == ("the field again", "each field once")
    assert service.engine.asked == []


def test_all_fields_that_stand_twice_are_named_at_once(service: Service) -> None:
    places = '[{"id":"a"},{"id":"b","block":{"categories":[],"categories":[]},"id":"c"}]'
    raw = f'{{"publisher":"planet","placements":{places},"page":{{"title":"x: y","title":"{JUNK}"}}}}'
    told = errors(service.decide(raw=raw.encode()))
    assert set(told) == {"page.title", "placements[1].block.categories", "placements[1].id"}
    assert JUNK not in service.decide(raw=raw.encode()).text


@pytest.mark.parametrize(
    "signals", ['{"a":1,"a":2}', '{"signals":{"a":1,"a":2}}', "9" * 5000, "[" * 90 + "]" * 90]
)
def test_signals_stay_unread_without_consent(service: Service, signals: str) -> None:
    raw = f'{{"publisher":"planet","placements":[{{"id":"a"}}],"page":{{"title":"x"}},"signals":{signals}%s}}'
    assert service.decide(raw=(raw % "").encode()).status_code == 200
    assert "test" in errors(service.decide(raw=(raw % ',"test":true,"test":true').encode()))


def test_a_body_that_is_no_object_is_refused(service: Service) -> None:
    assert errors(service.decide(raw=b"[1]"))["$"] == ("array of 1", "object")


def test_a_gzip_body_is_read(service: Service) -> None:
    assert (
        service.decide(raw=zipped(json.dumps(request()).encode()), Content_Encoding="gzip").status_code == 200
    )


def test_a_zip_bomb_is_refused(service: Service) -> None:
    bomb = zipped(b" " * 300_000_000)
    assert len(bomb) < 1024 * 1024
    assert errors(service.decide(raw=bomb, Content_Encoding="gzip"), 413)["$"][0].endswith("decompression")


@pytest.mark.parametrize("raw", [b"no gzip", zipped(b"{}")[:-4], zipped(b"{}") + b"more", zipped(b"{}") * 2])
def test_broken_gzip_is_refused(service: Service, raw: bytes) -> None:
    assert "$" in errors(service.decide(raw=raw, Content_Encoding="gzip"), 400)


def test_another_coding_is_refused_and_told_what_is_read(service: Service) -> None:
    answer = service.decide(Content_Encoding="br")
    assert "Content-Encoding" in errors(answer, 415)
    assert answer.headers["Accept-Encoding"] == "gzip"


def test_a_body_past_the_cap_is_refused(service: Service) -> None:
    assert "$" in errors(service.decide(raw=b" " * (2 * 1024 * 1024 + 1)), 413)
    assert "$" in errors(service.decide(raw=b"x" * (1024 * 1024 + 1), Content_Encoding="gzip"), 413)


def test_an_unknown_publisher_is_not_found(service: Service) -> None:
    assert errors(service.decide(request(publisher="nobody")), 404)["publisher"][0] == "an unknown id"


def test_a_registered_origin_may_read_the_answer_without_credentials(service: Service) -> None:
    headers = service.decide(Origin=ORIGIN).headers
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Access-Control-Allow-Credentials" not in headers


def test_a_registered_origin_may_read_why_it_was_refused(service: Service) -> None:
    answer = service.decide(request(page={}), Origin=ORIGIN)
    errors(answer)
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.test",
        "null",
        "https://www.planet.test.evil.test",
        "https://globe.test",
        "https://planet.test",
        "x",
    ],
)
def test_a_foreign_origin_is_refused(service: Service, origin: str) -> None:
    answer = service.decide(Origin=origin)
    assert "Origin" in errors(answer, 403)
    assert service.engine.asked == []
    if origin != "https://globe.test":  # registered, but another publisher's
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_preflight_from_a_registered_origin_may_send_json(service: Service) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = service.client.options("/v1/decisions", headers=asked)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]
    asked["Origin"] = "https://evil.test"
    assert "Origin" in errors(service.client.options("/v1/decisions", headers=asked), 403)


def test_only_a_key_of_this_publisher_makes_a_call_trusted(service: Service) -> None:
    assert service.decide(Authorization=f"Bearer {service.keys['planet']}").status_code == 200
    assert service.engine.asked[-1][0].trusted
    for other in ("globe", "operator", "acme"):
        answer = service.decide(Authorization=f"Bearer {service.keys[other]}")
        assert "Authorization" in errors(answer, 403)
        assert "WWW-Authenticate" not in answer.headers
    forged = service.keys["planet"][:-1] + "x"
    assert service.decide(Authorization=f"Bearer {forged}").status_code in (200, 403)
    assert not service.engine.asked[-1][0].trusted or len(service.engine.asked) == 1


def test_a_publisher_past_its_rate_waits_and_others_do_not(service: Service) -> None:
    body = request(publisher="globe")
    codes = [service.decide(body).status_code for _ in range(5)]
    assert codes == [200, 200, 200, 200, 429]
    assert service.decide(body).headers["Retry-After"] == "1"
    assert service.decide().status_code == 200
    service.services.clock += 1
    assert service.decide(body).status_code == 200


def test_a_failing_engine_gives_an_empty_well_formed_answer(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.engine.fails = RuntimeError(JUNK)
    answer = service.decide(Sec_GPC="1")
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["unfilled"] == ["top"]
    assert (answer.json["degraded"], answer.json["decisions"]) == (True, [])
    assert answer.json["privacy"]["gpc"] == "honored"
    assert "RuntimeError" in caplog.text
    assert JUNK not in caplog.text
    told = service.call("GET", "/metrics", key="operator").text
    assert 'tactful_degraded_total{cause="error"} 1.0' in told


def test_gpc_is_told_to_the_engine(service: Service) -> None:
    answer = service.decide(Sec_GPC="1")
    assert answer.json and answer.json["privacy"]["gpc"] == "honored"


def test_a_test_request_is_left_out_of_the_counters(service: Service) -> None:
    service.decide(request(test=True))
    assert 'outcome="filled"} 0.0' in service.call("GET", "/metrics", key="operator").text
    service.decide()
    assert 'outcome="filled"} 1.0' in service.call("GET", "/metrics", key="operator").text


def test_the_hot_route_has_no_hooks(service: Service) -> None:
    app = service.app
    assert not app.before_request_funcs and not app.after_request_funcs and not app.teardown_request_funcs


@pytest.mark.parametrize("size", [1, 70_000])
def test_a_chunked_body_is_refused_beyond_the_limit_as_any_other(service: Service, size: int) -> None:
    # A valid body in front, so that cutting at the limit would leave JSON that is well-formed.
    raw = json.dumps(request()).encode()
    raw += b" " * (2 * 1024 * 1024 + size - len(raw))
    assert status_of(service, raw, None) == "413 REQUEST ENTITY TOO LARGE"


def test_a_body_that_breaks_off_is_refused(service: Service) -> None:
    raw = json.dumps(request()).encode()
    assert status_of(service, raw, len(raw)) == status_of(service, raw, None) == "200 OK"
    assert status_of(service, raw, len(raw) + 5) == "400 BAD REQUEST"


def status_of(service: Service, raw: bytes, length: int | None) -> str:
    """Send bytes as a server hands them on: with the length that was stated, or chunked."""
    environ = create_environ(DECIDE, method="POST", content_type="application/json")
    stated = {} if length is None else {"CONTENT_LENGTH": str(length)}
    environ |= stated | {"wsgi.input": BytesIO(raw), "wsgi.input_terminated": True}
    return run_wsgi_app(service.app, environ)[1]
