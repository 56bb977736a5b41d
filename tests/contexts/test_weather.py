"""Weather: buckets, fading, and sources that misbehave."""

from __future__ import annotations

import gzip
import json
import logging
import math
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contexts.context import CONDITIONS, PlaceFacts, WeatherFacts
from contexts.errors import FactError, WeatherSourceError
from contexts.place import Atlas
from contexts.weather import Reading, Round, WeatherTable, band, confidence, stated
from contexts.weather_sources import (
    MAX_BYTES,
    FileSource,
    MetNorway,
    OpenMeteo,
    condition_of_symbol,
    condition_of_wmo,
)
from privacy.visit import WeatherInput

NOW = datetime(2026, 11, 23, 12, 20, tzinfo=UTC)
FULL_HOUR = datetime(2026, 11, 23, 12, tzinfo=UTC)
BERLIN, GERMANY, FRANCE = PlaceFacts("DE", "DE-BE"), PlaceFacts("DE"), PlaceFacts("FR")
POINTS = Atlas.load().points([BERLIN, FRANCE])
CONTACT = "daily-planet.example weather@daily-planet.example"


class Server:
    """Answers as it is told to, and remembers what it was asked."""

    def __init__(self):
        self.asked = []
        self.answer = lambda asked: (500, {}, b"")
        self.url = ""


@pytest.fixture
def server():
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 - the name that http.server asks for
            url = urlsplit(self.path)
            asked = {"path": url.path, "query": parse_qs(url.query), "headers": dict(self.headers)}
            told.asked.append(asked)
            status, headers, body = told.answer(asked)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with serving(Handler) as url:
        told.url = url
        yield told


class Quiet(ThreadingHTTPServer):
    """Says nothing of clients that hang up early, as ours does on too long an answer."""

    def handle_error(self, *_):
        pass


@contextmanager
def serving(handler):
    http = Quiet(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def compact(symbol="lightrain", celsius=4.2, first=FULL_HOUR, hours=48):
    """Return an answer in the shape of locationforecast/2.0/compact."""
    units = {"air_pressure_at_sea_level": "hPa", "air_temperature": "celsius", "precipitation_amount": "mm"}
    steps = []
    for hour in range(hours):
        late = hour >= 3
        data = {
            "instant": {
                "details": {
                    "air_pressure_at_sea_level": 1009.3,
                    "air_temperature": celsius if not late else -20.0,
                    "cloud_area_fraction": 100.0,
                    "wind_speed": 4.1,
                }
            },
            "next_12_hours": {"summary": {"symbol_code": "heavyrain"}, "details": {}},
            "next_1_hours": {
                "summary": {"symbol_code": symbol if not late else "heavysnow"},
                "details": {"precipitation_amount": 1.3},
            },
            "next_6_hours": {"summary": {"symbol_code": "fog"}, "details": {"precipitation_amount": 8.6}},
        }
        steps.append({"time": (first + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M:%SZ"), "data": data})
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [13.4, 52.5, 40]},
        "properties": {"meta": {"updated_at": "2026-11-23T11:59:06Z", "units": units}, "timeseries": steps},
    }


def met_answer(status=200, body=None, expires=NOW + timedelta(minutes=30), **headers):
    headers = {
        "Expires": format_datetime(expires, usegmt=True),
        "Last-Modified": "Mon, 23 Nov 2026 11:59:06 GMT",
        "Content-Type": "application/json",
        **headers,
    }
    return status, headers, json.dumps(compact() if body is None else body).encode()


def location(code=61, celsius=4.2, at=NOW):
    return {
        "latitude": 52.52,
        "longitude": 13.419998,
        "generationtime_ms": 0.05,
        "utc_offset_seconds": 0,
        "timezone": "GMT",
        "timezone_abbreviation": "GMT",
        "elevation": 38.0,
        "current_units": {
            "time": "unixtime",
            "interval": "seconds",
            "temperature_2m": "°C",
            "weather_code": "wmo code",
        },
        "current": {
            "time": int(at.timestamp()),
            "interval": 900,
            "temperature_2m": celsius,
            "wind_speed_10m": 11.6,
            "weather_code": code,
        },
    }


def met(server, **options):
    return MetNorway(CONTACT, server.url, timeout_s=options.pop("timeout_s", 2), pause_s=0, **options)


SOURCES = {"met-norway": met, "open-meteo": lambda server: OpenMeteo(server.url, timeout_s=2)}


# What the caller states


@pytest.mark.parametrize(
    ("celsius", "bucket"),
    [(-40, "freezing"), (0, "freezing"), (0.1, "cold"), (9.9, "cold"), (10, "mild"), (19.9, "mild"),
     (20, "warm"), (27.9, "warm"), (28, "hot"), (50, "hot")],
)  # fmt: skip
def test_temperatures_fall_into_their_buckets(celsius, bucket):
    assert band(celsius) == bucket
    assert stated(WeatherInput("rain", celsius)) == WeatherFacts("rain", bucket, 1.0, celsius)


def test_either_part_of_the_weather_may_be_left_out():
    assert stated(WeatherInput("snow", None)) == WeatherFacts("snow", None)
    assert stated(WeatherInput(None, 21.0)) == WeatherFacts(None, "warm", 1.0, 21.0)
    assert stated(WeatherInput(wind_ms=9.0)) == WeatherFacts(None, None, 1.0, None, 9.0)
    assert stated(WeatherInput()) is None


@pytest.mark.parametrize("celsius", [math.nan, math.inf, -math.inf, 71, -101, 1e308])
def test_a_temperature_that_no_air_has_is_refused_by_name(celsius):
    with pytest.raises(FactError, match=r"weather\.temperature_c"):
        stated(WeatherInput("rain", celsius))


@pytest.mark.parametrize("condition", ["", "Rain", "raining cats and dogs", "x" * 10**6])
def test_a_word_that_is_no_condition_is_refused_by_name(condition):
    with pytest.raises(FactError, match=r"weather\.condition") as caught:
        stated(WeatherInput(condition, 3.0))
    assert len(str(caught.value)) < 300


# What the codes of the services mean


def test_every_symbol_of_met_norway_has_its_condition():
    """The list is MET Norway's; two of its codes are misspelt with "lightss" for good."""
    kinds = {
        "clear": ("clearsky", "fair"),
        "cloudy": ("partlycloudy", "cloudy"),
        "fog": ("fog",),
        "rain": [f"{much}rain{how}" for much in ("light", "", "heavy") for how in ("", "showers")],
        "snow": [f"{much}{what}{how}" for much in ("light", "", "heavy") for what in ("snow", "sleet") for how in ("", "showers")],  # noqa: E501 - one line a kind
        "thunder": [f"{much}{what}{how}andthunder" for much in ("light", "", "heavy") for what in ("rain", "snow", "sleet") for how in ("", "showers")] + ["lightssnowshowersandthunder", "lightssleetshowersandthunder"],  # noqa: E501
    }  # fmt: skip
    for condition, symbols in kinds.items():
        for symbol in symbols:
            for suffix in ("", "_day", "_night", "_polartwilight"):
                assert condition_of_symbol(symbol + suffix) == condition
    assert condition_of_symbol("frogs") is None


def test_every_wmo_code_of_open_meteo_has_its_condition():
    kinds = {
        "clear": (0, 1),
        "cloudy": (2, 3),
        "fog": (45, 48),
        "drizzle": (51, 57),
        "rain": (61, 66, 67, 80, 82),
        "snow": (71, 77, 85, 86),
        "thunder": (95, 96, 99),
    }
    for condition, codes in kinds.items():
        assert {condition_of_wmo(code) for code in codes} == {condition}
    assert {condition_of_wmo(code) for code in range(100)} - {None} == set(CONDITIONS)
    assert condition_of_wmo(4) is condition_of_wmo(None) is condition_of_wmo(math.nan) is None


# Fading


def test_confidence_is_whole_up_to_its_time_and_gone_at_three_times_that():
    assert [confidence(age, 3600) for age in (-5, 0, 3600, 5400, 7200, 9000, 10800, 10**9)] == [
        1, 1, 1, 0.75, 0.5, 0.25, 0, 0,
    ]  # fmt: skip


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1, 1e5))
def test_confidence_never_grows_with_age(a, b, ttl):
    younger, older = sorted((a, b))
    assert 0 <= confidence(older, ttl) <= confidence(younger, ttl) <= 1


class Fixed:
    """Says the same of every place, or fails."""

    name = "fixed"

    def __init__(self):
        self.down = False

    def read(self, points, now):
        if self.down:
            return Round({}, (WeatherSourceError(self.name, "down"),))
        return Round({code: Reading("rain", "cold", now, 4.0) for code in points})


def test_readings_of_a_source_that_falls_silent_fade_to_unknown():
    source = Fixed()
    table = WeatherTable(source, ttl_s=3600)
    table.watch(POINTS)
    assert table.facts(BERLIN, NOW) is None
    assert table.refresh(NOW)
    source.down = True
    confidences = []
    for hours in (0, 1, 2, 3, 4):
        now = NOW + timedelta(hours=hours)
        table.refresh(now) if hours else None
        facts = table.facts(BERLIN, now)
        confidences.append(facts and facts.confidence)
    assert confidences == [1, 1, 0.5, None, None]
    assert table.facts(BERLIN, NOW) == WeatherFacts("rain", "cold", 1, 4.0)


def test_the_quality_tells_coverage_age_and_failures():
    source = Fixed()
    table = WeatherTable(source, ttl_s=3600)
    table.watch(POINTS)
    table.refresh(NOW)
    source.down = True
    later = NOW + timedelta(hours=2)
    assert not table.refresh(later)
    assert not table.refresh(later)
    quality = table.quality(later)
    assert (quality.watched, quality.known, quality.oldest_s, quality.failures) == (3, 3, 7200, 2)
    assert "down" in quality.last_fault
    assert table.quality(NOW + timedelta(hours=4)).known == 0


def test_a_place_without_its_own_reading_has_its_countrys():
    table = WeatherTable(Fixed())
    table.watch({code: point for code, point in POINTS.items() if code == "DE"})
    table.refresh(NOW)
    assert table.facts(BERLIN, NOW) == table.facts(GERMANY, NOW) == WeatherFacts("rain", "cold", 1, 4.0)
    assert table.facts(FRANCE, NOW) is None
    assert table.facts(PlaceFacts(), NOW) is None


def test_places_that_are_no_longer_watched_are_forgotten():
    table = WeatherTable(Fixed())
    table.watch(POINTS)
    table.refresh(NOW)
    table.watch({})
    assert table.refresh(NOW)
    assert table.facts(BERLIN, NOW) is None


def test_visits_cause_no_look_up(server):
    server.answer = lambda asked: met_answer()
    table = WeatherTable(met(server))
    table.watch(POINTS)
    table.refresh(NOW)
    asked = len(server.asked)
    for country in ("DE", "FR", "US", "JP"):
        for _ in range(1000):
            table.facts(PlaceFacts(country), NOW)
    assert len(server.asked) == asked == 2


def test_the_timer_refreshes_until_it_is_stopped_and_outlives_a_faulty_source(caplog):
    stop = threading.Event()
    times = iter([NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=2)])
    rounds = []

    class Faulty(Fixed):
        def read(self, points, now):
            rounds.append(now)
            if len(rounds) == 1:
                raise RuntimeError("a defect")
            if len(rounds) == 3:
                stop.set()
            return super().read(points, now)

    # A negative jitter takes the waiting away.
    table = WeatherTable(Faulty(), interval_s=10)
    table.watch(POINTS)
    with caplog.at_level(logging.ERROR, "contexts.weather"):
        table.run(stop, lambda: next(times), lambda: -60.0)
    assert rounds == [NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=2)]
    assert table.facts(BERLIN, rounds[-1]) is not None
    assert [record.message for record in caplog.records] == ["weather refresh failed"]


# MET Norway


def test_met_norway_is_asked_as_its_terms_demand(server):
    server.answer = lambda asked: met_answer()
    got = met(server).read(POINTS, NOW)
    assert not got.faults
    assert dict(got.readings) == {
        code: Reading("rain", "cold", NOW, 4.0, 4.0) for code in ("DE", "DE-BE", "FR")
    }
    assert len(server.asked) == 2  # Germany and Berlin are one point
    for asked in server.asked:
        assert asked["path"] == "/weatherapi/locationforecast/2.0/compact"
        assert asked["headers"]["User-Agent"] == f"Tactful {CONTACT}"
        assert "If-Modified-Since" not in asked["headers"]
        assert set(asked["query"]) == {"lat", "lon"}
        assert all(len(value.partition(".")[2]) == 1 for (value,) in asked["query"].values())


@pytest.mark.parametrize(
    "contact", ["", "me", "no contact here", "a@b.c\r\nX: y", "x" * 300 + "@y.z", "ü@x.y"]
)
def test_met_norway_wants_a_contact(contact):
    with pytest.raises(FactError, match="contact"):
        MetNorway(contact)


def test_met_norway_is_not_asked_again_before_expires(server):
    server.answer = lambda asked: met_answer(expires=NOW + timedelta(minutes=30))
    source = met(server)
    source.read(POINTS, NOW)
    again = source.read(POINTS, NOW + timedelta(minutes=29))
    assert len(server.asked) == 2
    assert again.readings["DE"].at == NOW + timedelta(minutes=29)


def test_met_norway_is_asked_with_its_own_last_modified_and_304_keeps_the_forecast(server):
    server.answer = lambda asked: met_answer()
    source = met(server)
    source.read(POINTS, NOW)
    later = NOW + timedelta(minutes=31)
    server.answer = lambda asked: met_answer(304, expires=later + timedelta(minutes=30))
    got = source.read(POINTS, later)
    assert server.asked[-1]["headers"]["If-Modified-Since"] == "Mon, 23 Nov 2026 11:59:06 GMT"
    assert got.readings["DE"] == Reading("rain", "cold", later, 4.0, 4.0)
    assert not got.faults
    source.read(POINTS, later + timedelta(minutes=29))
    assert len(server.asked) == 4  # the new Expires is honoured as well


def test_the_step_nearest_to_now_counts(server):
    server.answer = lambda asked: met_answer(expires=NOW + timedelta(hours=6))
    source = met(server)
    source.read(POINTS, NOW)
    got = source.read(POINTS, NOW + timedelta(hours=4))
    assert got.readings["DE"] == Reading("snow", "freezing", NOW + timedelta(hours=4), -20.0, 4.0)
    assert len(server.asked) == 2


def test_a_forecast_of_another_day_is_no_weather(server):
    server.answer = lambda asked: met_answer(body=compact(first=NOW - timedelta(days=9)))
    got = met(server).read(POINTS, NOW)
    assert not got.readings
    assert "no weather for this hour" in got.faults[0].reason


def test_a_deprecated_version_serves_and_is_said(server):
    server.answer = lambda asked: met_answer(203)
    got = met(server).read(POINTS, NOW)
    assert set(got.readings) == {"DE", "DE-BE", "FR"}
    assert "203" in got.faults[0].reason


def test_an_expires_in_the_far_future_or_that_is_no_date_is_not_believed(server):
    for expires in (
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "0",
        "soon",
        "Mon, 99 Nov 2026 11:59:06 GMT",
        f"Mon, 23 Nov {10**20} 11:59:06 GMT",
        f"Mon, 23 Nov 2026 11:59:06 +{10**20}",
    ):
        server.asked.clear()
        server.answer = lambda asked, expires=expires: met_answer(Expires=expires)
        source = met(server)
        source.read(POINTS, NOW)
        source.read(POINTS, NOW + timedelta(hours=7))
        assert len(server.asked) == 4


def test_a_step_beyond_the_hourly_ones_takes_its_six_hours(server):
    body = compact()
    for step in body["properties"]["timeseries"]:
        del step["data"]["next_1_hours"]
    server.answer = lambda asked: met_answer(body=body)
    assert met(server).read(POINTS, NOW).readings["DE"] == Reading("fog", "cold", NOW, 4.0, 4.0)


# Open-Meteo


def test_open_meteo_is_asked_once_for_all_places(server):
    server.answer = lambda asked: (200, {}, json.dumps([location(61, 4.2), location(95, 30.0)]).encode())
    got = OpenMeteo(server.url).read(POINTS, NOW)
    (asked,) = server.asked
    assert asked["path"] == "/v1/forecast"
    assert asked["query"] == {
        "latitude": ["52.5,48.9"],
        "longitude": ["13.4,2.3"],
        "current": ["temperature_2m,weather_code,wind_speed_10m"],
        "wind_speed_unit": ["ms"],
        "timezone": ["UTC"],
        "timeformat": ["unixtime"],
    }
    assert dict(got.readings) == {
        "DE": Reading("rain", "cold", NOW, 4.0, 12.0),
        "DE-BE": Reading("rain", "cold", NOW, 4.0, 12.0),
        "FR": Reading("thunder", "hot", NOW, 30.0, 12.0),
    }


def test_open_meteo_answers_one_place_without_a_list(server):
    server.answer = lambda asked: (200, {}, json.dumps(location(71, -3)).encode())
    got = OpenMeteo(server.url, api_key="k").read(Atlas.load().points([FRANCE]), NOW)
    assert got.readings == {"FR": Reading("snow", "freezing", NOW, -3.0, 12.0)}
    assert server.asked[0]["query"]["apikey"] == ["k"]


def test_open_meteo_is_asked_in_batches(server):
    server.answer = lambda asked: (
        200,
        {},
        json.dumps([location() for _ in asked["query"]["latitude"][0].split(",")]).encode(),
    )
    atlas = Atlas.load()
    countries = (
        "DE FR IT ES PT NL BE CH AT PL CZ SK HU RO BG GR TR SE NO FI DK IS IE GB US CA MX BR "
        "AR CL PE CO VE EC BO PY UY JP CN KR IN PK BD TH VN ID MY PH AU NZ ZA EG MA NG KE"
    ).split()
    points = atlas.points([PlaceFacts(country) for country in countries])
    got = OpenMeteo(server.url).read(points, NOW)
    assert len(points) == len(got.readings) == 55
    assert len(server.asked) == 2


def test_the_age_of_an_open_meteo_reading_is_that_of_the_model(server):
    at = NOW - timedelta(hours=2)
    server.answer = lambda asked: (200, {}, json.dumps([location(at=at), location(at=at)]).encode())
    table = WeatherTable(OpenMeteo(server.url), ttl_s=3600)
    table.watch(POINTS)
    table.refresh(NOW)
    assert table.facts(BERLIN, NOW).confidence == 0.5


def test_half_a_reading_is_a_reading(server):
    places = [location(None, 12.0), location(61, None)]
    server.answer = lambda asked: (200, {}, json.dumps(places).encode())
    got = OpenMeteo(server.url).read(POINTS, NOW)
    assert got.readings["DE"] == Reading(None, "mild", NOW, 12.0, 12.0)
    assert got.readings["FR"] == Reading("rain", None, NOW, None, 12.0)


# Sources that misbehave


def broken_json():
    return {
        "no JSON": b"<html>Bad gateway</html>",
        "half": json.dumps(compact()).encode()[:1000],
        "other JSON": b'{"error":true,"reason":"nothing"}',
        "wrong types": b'{"properties":{"timeseries":"none"},"current":7}',
        "no steps": b'{"properties":{"timeseries":[]}}',
        "a list of nothing": b"[]",
        "bad UTF-8": b'{"properties":{"timeseries":[{"time":"\xff\xfe"}]}}',
        "deep": b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        "huge": b" " * (MAX_BYTES + 1),
        "empty": b"",
        "no offset": json.dumps(compact()).replace("Z", "").encode(),
        "absurd": json.dumps(compact("frogs", 1e300)).encode(),
        "absurd too": json.dumps([location(1e300, 1e300)] * 2).encode(),
    }


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("fault", broken_json())
def test_garbage_brings_no_reading_and_a_fault_is_logged(server, source, fault, caplog):
    server.answer = lambda asked: (200, {}, broken_json()[fault])
    table = WeatherTable(SOURCES[source](server))
    table.watch(POINTS)
    with caplog.at_level(logging.WARNING, "contexts.weather"):
        assert not table.refresh(NOW)
    assert table.facts(BERLIN, NOW) is None
    assert table.quality(NOW).failures == 1
    said = [record for record in caplog.records if record.message == "weather source at fault"]
    assert all(record.source == source and len(record.reason) < 200 for record in said)
    assert said


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_a_source_that_refuses_is_not_pressed(server, source, status):
    server.answer = lambda asked: (status, {"Retry-After": "600"}, b"{}")
    got = SOURCES[source](server).read(POINTS, NOW)
    assert not got.readings
    assert [fault.reason for fault in got.faults] == [f"status {status}"]
    assert len(server.asked) == 1


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("status", [204, 301, 304, 400, 404, 422])
def test_an_unexpected_status_is_a_fault(server, source, status):
    headers = {"Location": "http://127.0.0.1:1/"} if status == 301 else {}
    server.answer = lambda asked: (status, headers, b"")
    got = SOURCES[source](server).read(POINTS, NOW)
    assert not got.readings
    assert {fault.reason for fault in got.faults} == {f"status {status}"}


@pytest.mark.parametrize("source", SOURCES)
def test_a_gzip_answer_is_read_and_a_gzip_bomb_is_not(server, source):
    good = compact() if source == "met-norway" else [location(), location()]
    for body, readings in ((good, 3), (b" " * (50 * MAX_BYTES), 0)):
        packed = gzip.compress(body if isinstance(body, bytes) else json.dumps(body).encode())
        assert len(packed) < MAX_BYTES
        server.answer = lambda asked, packed=packed: (200, {"Content-Encoding": "gzip"}, packed)
        got = SOURCES[source](server).read(POINTS, NOW)
        assert len(got.readings) == readings
        assert bool(got.faults) == (not readings)


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_an_encoding_that_is_none_is_a_fault(server, encoding):
    server.answer = lambda asked: (200, {"Content-Encoding": encoding}, b"\x00not packed")
    got = met(server).read(POINTS, NOW)
    assert not got.readings
    assert len(got.faults) == 2


def test_a_silent_source_is_given_up(server):
    release = threading.Event()

    def wait(asked):
        release.wait(10)
        return 200, {}, b"{}"

    server.answer = wait
    try:
        got = met(server, timeout_s=0.05).read(POINTS, NOW)
    finally:
        release.set()
    assert [fault.reason for fault in got.faults] == ["ReadTimeout"]


def test_a_source_that_trickles_is_given_up():
    class Trickle(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 - the name that http.server asks for
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(1000):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    stopped.wait(0.02)
            except OSError:
                pass

        def log_message(self, *_):
            pass

    stopped = threading.Event()
    with serving(Trickle) as url:
        got = MetNorway(CONTACT, url, timeout_s=0.1, pause_s=0).read(POINTS, NOW)
        stopped.set()
    assert [fault.reason for fault in got.faults] == ["not done after 0.2 s"]


def test_a_source_that_is_not_there_is_a_fault():
    got = MetNorway(CONTACT, "http://127.0.0.1:9", pause_s=0).read(POINTS, NOW)
    assert [fault.reason for fault in got.faults] == ["ConnectError"]


def test_one_bad_place_does_not_spoil_the_others(server):
    def answer(asked):
        return met_answer(body=compact()) if asked["query"]["lat"] == ["48.9"] else (200, {}, b"garbage")

    server.answer = answer
    got = met(server).read(POINTS, NOW)
    assert set(got.readings) == {"FR"}
    assert len(got.faults) == 1


# The file


def write(path, entries):
    path.write_text(json.dumps(entries), "utf-8")


def test_a_file_says_the_weather_and_is_read_again_when_it_changed(tmp_path):
    path = tmp_path / "weather.json"
    write(path, {"DE": {"condition": "rain", "temperature_c": 4.5}, "DE-BE": {"temperature_c": 30}})
    table = WeatherTable(FileSource(path))
    table.watch(POINTS)
    table.refresh(NOW)
    assert table.facts(GERMANY, NOW) == WeatherFacts("rain", "cold", 1, 4.0)
    assert table.facts(BERLIN, NOW) == WeatherFacts(None, "hot", 1, 30.0)
    assert table.facts(FRANCE, NOW) is None
    write(path, {"DE": {"condition": "clear", "temperature_c": 14.5, "at": "2026-11-23T13:20:00+01:00"}})
    table.refresh(NOW)
    assert table.facts(GERMANY, NOW) == WeatherFacts("clear", "mild", 1, 14.0)


def test_a_file_that_does_not_change_stays_true(tmp_path):
    path = tmp_path / "weather.json"
    write(path, {"DE": {"condition": "snow"}})
    table = WeatherTable(FileSource(path))
    table.watch(POINTS)
    later = NOW + timedelta(days=30)
    table.refresh(NOW)
    table.refresh(later)
    assert table.facts(GERMANY, later) == WeatherFacts("snow", None, 1)


def test_a_dated_entry_fades(tmp_path):
    path = tmp_path / "weather.json"
    write(path, {"DE": {"condition": "snow", "at": (NOW - timedelta(hours=2)).isoformat()}})
    table = WeatherTable(FileSource(path))
    table.watch(POINTS)
    table.refresh(NOW)
    assert table.facts(GERMANY, NOW) == WeatherFacts("snow", None, 0.5)


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"DE": {"condition": "frogs"}}', '{"DE": {"temperature_c": 400}}', '{"DE": {"wind": 3}}',
     '{"DE": {"condition": "rain", "at": "2026-11-23T12:00:00"}}', "[" * 100_000, " " * (MAX_BYTES + 1)],
)  # fmt: skip
def test_a_faulty_file_is_a_fault_that_names_it_and_the_old_readings_fade(tmp_path, text):
    path = tmp_path / "weather.json"
    write(path, {"DE": {"condition": "rain"}})
    table = WeatherTable(FileSource(path), ttl_s=3600)
    table.watch(POINTS)
    table.refresh(NOW)
    path.write_text(text, "utf-8")
    later = NOW + timedelta(hours=2)
    assert not table.refresh(later)
    assert "weather.json" in table.quality(later).last_fault
    assert table.facts(GERMANY, later) == WeatherFacts("rain", None, 0.5)


def test_a_missing_file_is_a_fault_that_names_it(tmp_path):
    got = FileSource(tmp_path / "weather.json").read(POINTS, NOW)
    assert "weather.json" in got.faults[0].reason
