"""Nothing passes the gate but what its lists name, and its closed functions have few outcomes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from typing import Any

import pytest
from flask import Flask, request
from hypothesis import given
from hypothesis import strategies as st

from engine.prove.channels import KINDS, channels, together
from engine.prove.twins import Request, environ_of
from privacy.errors import FieldError
from privacy.gate import (
    ARRIVAL,
    CARDINALITIES,
    CONTENT_TYPES,
    FOREIGN,
    METHODS,
    Arrival,
    Gate,
    api_key,
    closed_content_encoding,
    closed_content_type,
    closed_method,
    cors_origin,
    enter,
    environ_constants,
    gpc,
    kept_query,
    rights_token,
    strip,
)
from privacy.visit import Device, PlaceInput, WeatherInput

ORIGIN = "https://daily.example"
CONSTANTS = environ_constants("https://ads.example")
ALLOWED = {
    *("REQUEST_METHOD", "PATH_INFO", "SCRIPT_NAME", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH"),
    *("HTTP_CONTENT_ENCODING", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "REMOTE_ADDR"),
    *(
        "wsgi.version",
        "wsgi.url_scheme",
        "wsgi.input",
        "wsgi.errors",
        "wsgi.multithread",
        "wsgi.multiprocess",
    ),
    *("wsgi.run_once", "wsgi.file_wrapper", "wsgi.input_terminated"),
}
READER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36"
)


def stripped(**environ: Any) -> tuple[dict[str, Any], Arrival]:
    asked = {"REQUEST_METHOD": "POST", "PATH_INFO": "/v1/decisions", "HTTP_USER_AGENT": READER, **environ}
    return strip(asked, CONSTANTS, ORIGIN.__eq__, frozenset({"after"}))


def visited(**fields: Any) -> Any:
    return enter(Arrival(), "daily", **fields)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_channel_of_identity_changes_what_comes_through(kind: Any) -> None:
    asked = Request("POST", "/v1/decisions", b"{}", {"Content-Type": "application/json"})
    wanted = None
    for channel in channels(kind):
        for value in (channel.plain, *channel.values):
            sender = together((kind.senders[0], value))
            environ = environ_of(asked, sender, None, b"") | {"wsgi.input": None}  # type: ignore[arg-type]
            clean, arrival = strip(environ, CONSTANTS, ORIGIN.__eq__)
            if channel.name.startswith("Origin"):
                assert arrival.origin == FOREIGN
                arrival = Arrival(arrival.device, arrival.ivt, arrival.gpc)
            wanted = wanted or (clean, arrival)
            assert (clean, arrival) == wanted, channel.name


@given(st.dictionaries(st.text(max_size=20).map(lambda name: f"HTTP_{name.upper()}"), st.text(max_size=40)))
def test_no_header_outside_the_list_comes_through(headers: dict[str, str]) -> None:
    secret = "canary-7f3a"
    clean, arrival = stripped(**{name: value + secret for name, value in headers.items()})
    assert clean.keys() <= ALLOWED
    assert secret not in repr((clean, arrival))


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=20), max_size=5))
def test_no_other_key_of_the_environ_comes_through(extra: dict[str, str]) -> None:
    clean, _ = stripped(
        **{f"server.{name}": value for name, value in extra.items()}, HOME="/root", PATH="/bin"
    )
    assert clean.keys() <= ALLOWED
    assert "HOME" not in clean


@given(
    st.text(max_size=30) | st.sampled_from(sorted(METHODS)),
    st.text(max_size=60)
    | st.sampled_from(sorted(CONTENT_TYPES)).map(lambda name: f"{name}; charset=utf-8; u=7"),
    st.text(max_size=20) | st.sampled_from(["GZIP", "identity", "br", "gzip, gzip"]),
)
def test_the_closed_functions_stay_within_their_outcomes(
    method: str, content_type: str, encoding: str
) -> None:
    assert closed_method(method) in METHODS | {"OTHER"}
    assert closed_content_type(content_type) in CONTENT_TYPES | {"application/octet-stream"}
    assert closed_content_encoding(encoding) in {"gzip", "identity", "other"}


def test_the_cardinalities_are_those_of_the_functions() -> None:
    assert CARDINALITIES["device"] == 24
    assert CARDINALITIES["method"] == len({closed_method(name) for name in (*METHODS, "TRACE", "x")})
    assert (
        CARDINALITIES["content_type"]
        == len({closed_content_type(name) for name in (*CONTENT_TYPES, "x/y")}) + 1
    )
    assert CARDINALITIES["content_encoding"] == len(
        {closed_content_encoding(name) for name in ("gzip", "identity", "br")}
    )
    assert {CARDINALITIES[name] for name in ("ivt", "gpc", "preflight")} == {2}


def test_links_are_built_from_the_configured_address_alone() -> None:
    clean, _ = stripped(
        HTTP_HOST="evil.example",
        SERVER_NAME="10.0.0.7",
        SERVER_PORT="81",
        SCRIPT_NAME="/x",
        **{"wsgi.url_scheme": "http"},
    )
    assert clean["HTTP_HOST"] == "ads.example"
    assert (clean["wsgi.url_scheme"], clean["SERVER_NAME"], clean["SERVER_PORT"]) == (
        "https",
        "ads.example",
        "443",
    )
    assert environ_constants("http://[::1]:8080/ads/")["HTTP_HOST"] == "[::1]:8080"
    assert environ_constants("http://[::1]:8080/ads/")["SCRIPT_NAME"] == "/ads"


@pytest.mark.parametrize("url", ["", "ads.example", "ftp://ads.example", "https://"])
def test_a_public_address_that_is_none_is_refused_at_start(url: str) -> None:
    with pytest.raises(FieldError, match="public_url"):
        environ_constants(url)


def test_only_listed_query_parameters_stay() -> None:
    keys = frozenset({"after", "limit"})
    assert (
        kept_query("uid=7&after=a%20b&gclid=1&limit=5&limit=6&AFTER=x&after", keys)
        == "after=a%20b&limit=5&limit=6&after"
    )
    assert kept_query("uid=7", keys) == ""


@pytest.mark.parametrize("length", ["7", "0"])
def test_a_length_comes_through(length: str) -> None:
    assert stripped(CONTENT_LENGTH=length)[0]["CONTENT_LENGTH"] == length


@pytest.mark.parametrize("length", ["", "-1", "7 ", "٧", "1e3", "uid"])
def test_a_length_that_is_none_does_not(length: str) -> None:
    assert "CONTENT_LENGTH" not in stripped(CONTENT_LENGTH=length)[0]


@pytest.mark.parametrize("header", ["1", "0,1", "1, 0", "true, 1", "1,1", " 1 ,0"])
def test_one_exact_element_turns_gpc_on(header: str) -> None:
    assert gpc(header)


@pytest.mark.parametrize("header", ["", "0", "true", "11", "1;x", "1.0", "?1", '"1"', "01"])
def test_any_other_value_leaves_gpc_off(header: str) -> None:
    assert not gpc(header)


def test_an_origin_is_echoed_only_if_registered() -> None:
    assert cors_origin(ORIGIN, ORIGIN.__eq__) == ORIGIN
    assert cors_origin("https://other.example", ORIGIN.__eq__) == FOREIGN
    assert cors_origin("null", ORIGIN.__eq__) == FOREIGN
    assert cors_origin("", ORIGIN.__eq__) is None
    assert cors_origin("https://" + "a" * 500, lambda origin: True) == FOREIGN


def test_a_page_fetched_ahead_of_its_reader_is_invalid_traffic() -> None:
    assert not stripped()[1].ivt
    assert stripped(HTTP_SEC_PURPOSE="prefetch;prerender")[1].ivt
    assert stripped(HTTP_PURPOSE="prefetch")[1].ivt
    assert stripped(HTTP_X_MOZ="prefetch")[1].ivt
    assert stripped(HTTP_USER_AGENT="")[1].ivt


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer tactful_publisher_0123456789abcdef_x", "tactful_publisher_0123456789abcdef_x"),
        ("bearer tactful_publisher_0123456789abcdef_x", "tactful_publisher_0123456789abcdef_x"),
        ("Bearer eyJhbGciOiJub25lIn0.e30.", None),
        ("Basic dTpw", None),
        ("Bearer tactful_x", None),
        ("Bearer tactful_publisher_0123456789abcdef x", None),
        ("Bearer tactful_publisher_0123456789abcdef_x\n", None),
        ("Bearer tactful_" + "x" * 300, None),
        ("", None),
    ],
)
def test_only_a_key_of_our_shape_is_read_from_authorization(header: str, key: str | None) -> None:
    assert api_key(header) == key


JWS = f"{'h' * 40}.{'c' * 200}.{'s' * 86}"


@pytest.mark.parametrize(
    ("path", "header", "token"),
    [
        ("/v1/subject/export", f"Bearer {JWS}", JWS),
        ("/v1/subject/erase", f"bearer {JWS}", JWS),
        ("/v1/decisions", f"Bearer {JWS}", None),
        ("/v1/subject", f"Bearer {JWS}", None),
        ("/x/v1/subject/export", f"Bearer {JWS}", None),
        ("/v1/subject/export", f"Bearer {JWS}x", None),
        ("/v1/subject/export", f"Bearer {JWS}\n", None),
        ("/v1/subject/export", f"Basic {JWS}", None),
        ("/v1/subject/export", "Bearer tactful_publisher_0123456789abcdef_x", None),
        ("/v1/subject/export", "", None),
    ],
)
def test_a_rights_token_is_read_where_rights_are_used_and_nowhere_else(
    path: str, header: str, token: str | None
) -> None:
    assert rights_token(path, header) == token
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "HTTP_AUTHORIZATION": header}
    clean, arrival = strip(environ, {}, lambda origin: False)
    assert arrival.rights_token == token
    assert not [value for value in clean.values() if JWS in str(value)]


def test_a_preflight_is_an_options_request_with_an_origin_that_asks_for_a_method() -> None:
    asked = {"REQUEST_METHOD": "OPTIONS", "HTTP_ORIGIN": ORIGIN, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}
    assert stripped(**asked)[1].preflight
    for missing in ("HTTP_ORIGIN", "HTTP_ACCESS_CONTROL_REQUEST_METHOD"):
        assert not stripped(**{name: value for name, value in asked.items() if name != missing})[1].preflight
    assert not stripped(**{**asked, "REQUEST_METHOD": "POST"})[1].preflight


def test_an_app_behind_the_gate_sees_no_reader() -> None:
    app = Flask("seen")

    @app.post("/v1/decisions")
    def seen() -> dict[str, Any]:
        return {
            "headers": dict(request.headers),
            "address": request.remote_addr,
            "cookies": dict(request.cookies),
            "query": request.query_string.decode(),
            "url": request.url,
            "body": request.get_data(as_text=True),
            "arrival": repr(request.environ[ARRIVAL]),
        }

    app.wsgi_app = Gate(  # type: ignore[method-assign]
        app.wsgi_app, public_url="https://ads.example", registered=ORIGIN.__eq__, query_keys=("after",)
    )
    answer = app.test_client().post(
        "/v1/decisions?uid=7&after=3",
        data=b"body",
        headers={
            "Cookie": "sid=1",
            "X-Forwarded-For": "203.0.113.9",
            "Origin": ORIGIN,
            "User-Agent": READER,
            "Sec-GPC": "1",
        },
        content_type="text/plain; uid=7",
    )
    assert answer.json == {
        "headers": {"Content-Type": "text/plain", "Content-Length": "4", "Host": "ads.example"},
        "address": "0.0.0.0",
        "cookies": {},
        "query": "after=3",
        "url": "https://ads.example/v1/decisions?after=3",
        "body": "body",
        "arrival": repr(Arrival(Device("desktop", "windows"), False, True, ORIGIN)),
    }


def test_the_visit_is_coarse() -> None:
    visit = enter(
        Arrival(Device("phone", "ios"), ivt=True, gpc=True),
        "daily",
        url="https://u:p@DAILY.example/sport?uid=7",
        title="Bikes",
        language="en-Latn-GB",
        timezone="Europe/Berlin",
        at=datetime(2026, 11, 23, 18, 14, 59, 999, timezone(timedelta(hours=1))),
        country="DE",
        region="DE-BE",
        condition="rain",
        temperature_c=4.4999,
    )
    assert visit.device == Device("phone", "ios")
    assert (visit.ivt, visit.gpc, visit.trusted) == (True, True, False)
    assert (visit.page.url, visit.page.title, visit.page.language) == (
        "https://daily.example/sport",
        "Bikes",
        "en",
    )
    assert visit.at is not None
    assert visit.at.isoformat() == "2026-11-23T18:00:00+01:00"
    assert visit.place == PlaceInput("DE", "BE")
    assert visit.weather == WeatherInput("rain", 4.0)


def test_nothing_said_is_nothing_known() -> None:
    visit = visited()
    assert visit.weather is visit.at is visit.timezone is visit.page.url is None
    assert visit.place == PlaceInput()


def test_the_body_s_device_wins_over_the_headers_each_part_by_itself() -> None:
    arrival = Arrival(Device("desktop", "macos"))
    assert enter(arrival, "daily", device_class="tablet", platform="ios").device == Device("tablet", "ios")
    assert enter(arrival, "daily", device_class="tablet").device == Device("tablet", "macos")
    assert enter(arrival, "daily").device == Device("desktop", "macos")


def test_the_publisher_s_server_is_no_invalid_traffic() -> None:
    arrival = stripped(HTTP_USER_AGENT="python-httpx/0.28")[1]
    assert enter(arrival, "daily").ivt
    assert not enter(arrival, "daily", trusted=True).ivt


@pytest.mark.parametrize(
    ("field", "value", "argument"),
    [
        ("page.url", "ftp://daily.example", "url"),
        ("page.language", "english please", "language"),
        ("page.language", "", "language"),
        ("device.class", "watch", "device_class"),
        ("device.platform", "jane@mail.example", "platform"),
        ("time.timezone", "Mars/Olympus", "timezone"),
        ("time.timezone", "../../etc/passwd", "timezone"),
        ("time.at", datetime(2026, 11, 23), "at"),  # noqa: DTZ001 - the fault
        ("time.at", datetime(1999, 12, 31, tzinfo=UTC), "at"),
        ("time.at", datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), "at"),
        ("place.country", "XX", "country"),
        ("place.country", "de", "country"),
        ("place.region", "BE", "region"),
        ("weather.condition", "raining men", "condition"),
        ("weather.temperature_c", float("nan"), "temperature_c"),
        ("weather.temperature_c", float("inf"), "temperature_c"),
        ("weather.temperature_c", 61.0, "temperature_c"),
    ],
)
def test_a_field_outside_its_vocabulary_is_refused_by_name(field: str, value: Any, argument: str) -> None:
    with pytest.raises(FieldError) as raised:
        visited(**{argument: value})
    assert raised.value.field == field
    assert raised.value.expected
    assert "mail.example" not in str(raised.value)


@pytest.mark.parametrize("region", ["", "be", "BERLIN", "DE-", "FR-75", "B E"])
def test_a_region_that_is_none_of_its_country_s_codes_is_refused(region: str) -> None:
    with pytest.raises(FieldError, match="place.region"):
        visited(country="DE", region=region)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)), st.sampled_from([0, 60, 330, 345, -210]))  # noqa: DTZ001
def test_a_day_has_at_most_96_times(at: datetime, offset: int) -> None:
    found = visited(at=at.replace(tzinfo=timezone(timedelta(minutes=offset)))).at
    assert found.minute in (0, 15, 30, 45)
    assert (found.second, found.microsecond) == (0, 0)
    assert timedelta(0) <= at - found.replace(tzinfo=None) < timedelta(minutes=15)


@given(st.floats(-90, 60))
def test_there_are_at_most_151_temperatures(temperature: float) -> None:
    found = visited(temperature_c=temperature).weather.temperature_c
    assert found == int(found)
    assert abs(found - temperature) <= 0.5


def test_the_body_is_handed_on_unread() -> None:
    body = BytesIO(b"x")
    assert stripped(**{"wsgi.input": body})[0]["wsgi.input"] is body
    assert body.tell() == 0
