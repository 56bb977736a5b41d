"""Where weather comes from: MET Norway (the default), Open-Meteo, or a file that the operator writes."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, TypeVar

import httpx
import msgspec
from msgspec import Meta, Struct

from contexts.context import Condition
from contexts.errors import FactError, WeatherSourceDown, WeatherSourceError
from contexts.place import PlaceCode, Point
from contexts.weather import Reading, Round, band, plausible

T = TypeVar("T")
Aware = Annotated[datetime, Meta(tz=True)]

MAX_BYTES = 1_000_000  # of an answer, unpacked; real ones have 30,000
LONGEST_EXPIRY = timedelta(hours=6)  # ask again after this, whatever Expires says
STRONGEST_MS = 120.0  # no wind but a tornado's was ever measured to be stronger
FURTHEST = timedelta(hours=3)  # the forecast's last days come in steps of six hours
BATCH = 50  # places a request to Open-Meteo

# WMO code table 4677 as Open-Meteo uses it.
_WMO: dict[Condition, tuple[int, ...]] = {
    "clear": (0, 1),
    "cloudy": (2, 3),
    "fog": (45, 48),
    "drizzle": (51, 53, 55, 56, 57),
    "rain": (61, 63, 65, 66, 67, 80, 81, 82),
    "snow": (71, 73, 75, 77, 85, 86),
    "thunder": (95, 96, 99),
}
_BY_WMO_CODE: dict[float, Condition] = {
    code: condition for condition, codes in _WMO.items() for code in codes
}

# Words in MET Norway's symbol codes ("lightrainshowersandthunder_day"), the first that is found decides.
# It has no drizzle: its light rain stays rain, as WMO's slight rain does.
_SYMBOL_WORDS: tuple[tuple[str, Condition], ...] = (
    ("thunder", "thunder"),
    ("snow", "snow"),
    ("sleet", "snow"),
    ("rain", "rain"),
    ("fog", "fog"),
    ("cloudy", "cloudy"),  # partlycloudy too
    ("clearsky", "clear"),
    ("fair", "clear"),
)


class _Summary(Struct):
    symbol_code: str


class _Hours(Struct):
    summary: _Summary | None = None


class _Details(Struct):
    air_temperature: float | None = None
    wind_speed: float | None = None  # m/s


class _Instant(Struct):
    details: _Details


class _Data(Struct):
    instant: _Instant
    next_1_hours: _Hours | None = None
    next_6_hours: _Hours | None = None


class _Step(Struct):
    time: Aware
    data: _Data


class _Properties(Struct):
    timeseries: list[_Step]


class _Compact(Struct):
    """The parts that we read of MET Norway's locationforecast/2.0/compact."""

    properties: _Properties


@dataclass(frozen=True, slots=True)
class _Forecast:
    steps: tuple[Reading, ...]
    expires: datetime
    last_modified: str | None


class MetNorway:
    """MET Norway's locationforecast 2.0, CC BY 4.0, commercial use allowed.

    Its terms (api.met.no/doc/TermsOfService): say who you are and how to reach you, or be blocked; at most
    four decimals; ask again only after Expires, and then with If-Modified-Since; 203 means that the version
    ends soon.
    """

    name = "met-norway"

    def __init__(
        self,
        contact: str,
        base_url: str = "https://api.met.no",
        timeout_s: float = 5.0,
        pause_s: float = 0.1,  # between two requests: far below their 20 a second
    ) -> None:
        if not re.fullmatch(r"[\x20-\x7e]{4,200}", contact) or not re.search(r"\w[@.]\w", contact):
            expected = "an e-mail address or web site where MET Norway reaches you"
            raise FactError("weather contact", contact, expected)
        self._agent = f"Tactful {contact}"
        self._url = f"{base_url.rstrip('/')}/weatherapi/locationforecast/2.0/compact"
        self._timeout_s = timeout_s
        self._pause_s = pause_s
        self._forecasts: dict[Point, _Forecast] = {}

    def read(self, points: Mapping[PlaceCode, Point], now: datetime) -> Round:
        """Take the step nearest to now of each point's forecast, from memory where that has not expired."""
        self._forecasts = {p: forecast for p, forecast in self._forecasts.items() if p in points.values()}
        faults: list[WeatherSourceError] = []
        current: dict[Point, Reading] = {}
        with httpx.Client(headers={"User-Agent": self._agent}, timeout=self._timeout_s) as client:
            for point in dict.fromkeys(points.values()):
                try:
                    forecast = self._forecast(client, point, now, faults)
                    current[point] = _nearest(self.name, forecast.steps, now)
                except WeatherSourceDown as fault:
                    faults.append(fault)
                    break
                except WeatherSourceError as fault:
                    faults.append(fault)
        readings = {code: current[point] for code, point in points.items() if point in current}
        return Round(readings, tuple(faults))

    def _forecast(
        self, client: httpx.Client, point: Point, now: datetime, faults: list[WeatherSourceError]
    ) -> _Forecast:
        known = self._forecasts.get(point)
        if known is not None and now < known.expires:
            return known
        headers = {"If-Modified-Since": known.last_modified} if known and known.last_modified else {}
        params = {"lat": f"{point.latitude:.1f}", "lon": f"{point.longitude:.1f}"}
        time.sleep(self._pause_s)
        answer = _get(self.name, client, self._url, params, headers, self._timeout_s)
        expires = _expires(answer.headers.get("expires"), now)
        if answer.status == 304 and known is not None:
            forecast = _Forecast(known.steps, expires, known.last_modified)
        elif answer.status in (200, 203):
            compact = _decode(self.name, answer.body, _Compact)
            steps = tuple(_met_reading(step) for step in compact.properties.timeseries)
            forecast = _Forecast(steps, expires, answer.headers.get("last-modified"))
        else:
            raise WeatherSourceError(self.name, f"status {answer.status}")
        if answer.status == 203:
            faults.append(WeatherSourceError(self.name, "status 203: this version of the service ends soon"))
        self._forecasts[point] = forecast
        return forecast


class _Current(Struct):
    time: int  # seconds since 1970
    temperature_2m: float | None = None
    wind_speed_10m: float | None = None  # m/s, as asked
    weather_code: float | None = None


class _Location(Struct):
    """The parts that we read of Open-Meteo's /v1/forecast for one place."""

    current: _Current


class OpenMeteo:
    """Open-Meteo's forecast API, CC BY 4.0. Its free service is for non-commercial use only.

    A commercial publisher names its own server or the customers' host, and the key that goes with it.
    """

    name = "open-meteo"

    def __init__(
        self, base_url: str = "https://api.open-meteo.com", api_key: str | None = None, timeout_s: float = 5.0
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/v1/forecast"
        self._key = {"apikey": api_key} if api_key else {}
        self._timeout_s = timeout_s

    def read(self, points: Mapping[PlaceCode, Point], now: datetime) -> Round:
        """Read the current weather, many points a request."""
        wanted = list(dict.fromkeys(points.values()))
        current: dict[Point, Reading] = {}
        faults: list[WeatherSourceError] = []
        with httpx.Client(headers={"User-Agent": "Tactful"}, timeout=self._timeout_s) as client:
            for start in range(0, len(wanted), BATCH):
                batch = wanted[start : start + BATCH]
                try:
                    current |= self._batch(client, batch, now)
                except WeatherSourceDown as fault:
                    faults.append(fault)
                    break
                except WeatherSourceError as fault:
                    faults.append(fault)
        if not faults and len(current) < len(wanted):
            faults.append(
                WeatherSourceError(self.name, f"no weather for {len(wanted) - len(current)} places")
            )
        readings = {code: current[point] for code, point in points.items() if point in current}
        return Round(readings, tuple(faults))

    def _batch(self, client: httpx.Client, batch: list[Point], now: datetime) -> dict[Point, Reading]:
        params = {
            "latitude": ",".join(f"{point.latitude:.1f}" for point in batch),
            "longitude": ",".join(f"{point.longitude:.1f}" for point in batch),
            "current": "temperature_2m,weather_code,wind_speed_10m",
            "wind_speed_unit": "ms",
            "timezone": "UTC",
            "timeformat": "unixtime",
            **self._key,
        }
        answer = _get(self.name, client, self._url, params, {}, self._timeout_s)
        if answer.status != 200:
            raise WeatherSourceError(self.name, f"status {answer.status}")
        if len(batch) == 1:  # one place comes without a list
            locations = [_decode(self.name, answer.body, _Location)]
        else:
            locations = _decode(self.name, answer.body, list[_Location])
        if len(locations) != len(batch):
            raise WeatherSourceError(self.name, f"{len(locations)} places answered, {len(batch)} asked")
        return {
            point: reading
            for point, location in zip(batch, locations, strict=True)
            if (reading := _open_meteo_reading(location.current, now)) is not None
        }


class _Entry(Struct, forbid_unknown_fields=True):
    condition: Condition | None = None
    temperature_c: float | None = None
    wind_ms: float | None = None
    at: Aware | None = None  # when it was so; left out: it is so as long as the file says it


class FileSource:
    """A JSON file: {"DE": {"condition": "rain", "temperature_c": 4.5}, "DE-BE": …}; read when it changed."""

    name = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._entries: dict[PlaceCode, _Entry] = {}

    def read(self, points: Mapping[PlaceCode, Point], now: datetime) -> Round:
        """Return what the file says of the places."""
        try:
            self._reread()
        except WeatherSourceError as fault:
            return Round({}, (fault,))
        entries = ((code, self._entries[code]) for code in points if code in self._entries)
        return Round(
            {code: _reading(e.condition, e.temperature_c, e.wind_ms, e.at or now) for code, e in entries}
        )

    def _reread(self) -> None:
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._stamp:
                return
            with self._path.open("rb") as file:
                body = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise WeatherSourceDown(self.name, f"{self._path}: {error.strerror}") from error
        if len(body) > MAX_BYTES:
            raise WeatherSourceDown(self.name, f"{self._path}: more than {MAX_BYTES} bytes")
        entries = _decode(f"{self.name} {self._path}", body, dict[PlaceCode, _Entry])
        for code, entry in entries.items():
            if entry.temperature_c is not None and not plausible(entry.temperature_c):
                raise WeatherSourceError(
                    self.name, f"{self._path}: {code}: temperature_c {entry.temperature_c}"
                )
        self._entries, self._stamp = entries, stamp


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: httpx.Headers
    body: bytes


def condition_of_symbol(symbol_code: str) -> Condition | None:
    """Return the condition of a MET Norway symbol code; None for one that is not known."""
    return next((condition for word, condition in _SYMBOL_WORDS if word in symbol_code), None)


def condition_of_wmo(code: float | None) -> Condition | None:
    """Return the condition of a WMO code; None for one that is not known."""
    return None if code is None else _BY_WMO_CODE.get(code)


def _met_reading(step: _Step) -> Reading:
    hours = step.data.next_1_hours or step.data.next_6_hours
    symbol = hours.summary.symbol_code if hours and hours.summary else ""
    details = step.data.instant.details
    return _reading(condition_of_symbol(symbol), details.air_temperature, details.wind_speed, step.time)


def _nearest(source: str, steps: tuple[Reading, ...], now: datetime) -> Reading:
    nearest = min(steps, key=lambda step: abs(step.at - now), default=None)
    if nearest is None or abs(nearest.at - now) > FURTHEST or not (nearest.condition or nearest.temperature):
        raise WeatherSourceError(source, "no weather for this hour in the answer")
    return replace(nearest, at=now)  # a forecast that holds now


def _open_meteo_reading(current: _Current, now: datetime) -> Reading | None:
    if not 0 <= current.time <= now.timestamp() + 3600:
        return None
    at = min(now, datetime.fromtimestamp(current.time, UTC))
    condition = condition_of_wmo(current.weather_code)
    found = _reading(condition, current.temperature_2m, current.wind_speed_10m, at)
    return found if found.condition or found.temperature else None


def _reading(
    condition: Condition | None, temperature_c: float | None, wind_ms: float | None, at: datetime
) -> Reading:
    """Return a reading without what no air has."""
    temperature = None
    if temperature_c is not None and plausible(temperature_c):
        temperature, temperature_c = band(temperature_c), float(round(temperature_c))
    else:
        temperature_c = None
    wind_ms = float(round(wind_ms)) if wind_ms is not None and 0 <= wind_ms <= STRONGEST_MS else None
    return Reading(condition, temperature, at, temperature_c, wind_ms)


def _expires(header: str | None, now: datetime) -> datetime:
    try:
        stated = parsedate_to_datetime(header or "")
    except (ValueError, OverflowError):  # a year, or an offset, of twenty digits
        return now
    return min(stated, now + LONGEST_EXPIRY) if stated.tzinfo else now


def _get(
    source: str,
    client: httpx.Client,
    url: str,
    params: Mapping[str, str],
    headers: Mapping[str, str],
    timeout_s: float,
) -> _Answer:
    """Get an answer of at most MAX_BYTES within twice the timeout, or raise WeatherSourceDown."""
    packed = bytearray()
    deadline = time.monotonic() + 2 * timeout_s
    try:
        with client.stream(
            "GET", url, params=params, headers={**headers, "Accept-Encoding": "gzip"}
        ) as response:
            for chunk in response.iter_raw():
                packed += chunk
                if len(packed) > MAX_BYTES:
                    raise WeatherSourceDown(source, f"more than {MAX_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise WeatherSourceDown(source, f"not done after {2 * timeout_s:g} s")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise WeatherSourceDown(source, type(error).__name__) from error
    if response.status_code in (401, 403, 429) or response.status_code >= 500:
        raise WeatherSourceDown(source, f"status {response.status_code}")
    return _Answer(response.status_code, response.headers, _unpacked(source, response.headers, bytes(packed)))


def _unpacked(source: str, headers: httpx.Headers, packed: bytes) -> bytes:
    encoding = headers.get("content-encoding", "identity")
    if encoding == "identity" or not packed:
        return packed
    if encoding != "gzip":
        raise WeatherSourceError(source, "an encoding that was not asked for")
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        body = unpacker.decompress(packed, MAX_BYTES)
    except zlib.error as error:
        raise WeatherSourceError(source, "broken gzip") from error
    if unpacker.unconsumed_tail:
        raise WeatherSourceError(source, f"more than {MAX_BYTES} bytes unpacked")
    return body


def _decode(source: str, body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WeatherSourceError(source, f"not the expected JSON: {str(error)[:100]}") from error
