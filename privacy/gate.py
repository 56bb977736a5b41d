"""The outer door: every request loses its person here, before Flask sees it.

`strip` rebuilds the WSGI environ from an allow-list; what a header may say is said by closed functions of
few outcomes (`CARDINALITIES`) and stands in an `Arrival`. `enter` makes the `Visit`, all that the engine is
told. `admit` lets in what a reader consented to, and nothing where any doubt is left.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from msgspec import Struct

from privacy import iab
from privacy.consent import IN_FORCE, Consent, Consented, Purpose, Standings
from privacy.consent_token import OPAQUE, Pins, Token, TokenError, Verifier
from privacy.errors import FieldError, PrivacyError
from privacy.page_url import canonical
from privacy.user_agent import read
from privacy.visit import (
    CONDITIONS,
    COUNTRIES,
    DEVICE_CLASSES,
    PLATFORMS,
    Device,
    PageInput,
    PlaceInput,
    Visit,
    WeatherInput,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

T = TypeVar("T")
W = TypeVar("W", bound=str)

ARRIVAL = "tactful.arrival"  # the key of the environ under which the Arrival stands
FOREIGN = "foreign"  # an Origin that nobody registered; no origin is spelled so

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CONTENT_TYPES = frozenset(
    {
        "application/json",
        "application/merge-patch+json",
        "application/x-ndjson",
        "application/x-www-form-urlencoded",
        "application/yaml",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/html",
        "text/plain",
    }
)
CONTENT_ENCODINGS = frozenset({"gzip", "identity"})
OTHER_METHOD = "OTHER"
OTHER_CONTENT_TYPE = "application/octet-stream"
OTHER_CONTENT_ENCODING = "other"
SLOT_PATH = "/v1/slot"  # where a page's server, or its cache, says how long it waits
DEADLINES_MS = (10, 20, 50, 100, 200, 500, 1000)
RIGHTS_PATHS = "/v1/subject/"  # where a reader shows who it is, to see or end what is recorded of it
LONGEST_ORIGIN = 300  # characters
_API_KEY = re.compile(r"(?:bearer|token) (tactful_[A-Za-z0-9_-]{16,240})", re.ASCII | re.IGNORECASE)
_RIGHTS_TOKEN = re.compile(
    r"bearer ([A-Za-z0-9_-]{2,1000}\.[A-Za-z0-9_-]{2,2000}\.[A-Za-z0-9_-]{86})", re.ASCII | re.IGNORECASE
)
_LANGUAGE = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9]{1,8})*", re.ASCII)
_REGION = re.compile(r"[A-Z0-9]{1,3}", re.ASCII)
_WORD = re.compile(r"[A-Za-z]{1,16}(?:[_-][A-Za-z]{1,16}){0,3}", re.ASCII)
_WSGI_KEYS = (
    *("wsgi.version", "wsgi.input", "wsgi.errors", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once"),
    *("wsgi.file_wrapper", "wsgi.input_terminated"),
)

# How many outcomes each closed function has; None where the caller's own registrations bound it.
CARDINALITIES: Mapping[str, int | None] = MappingProxyType(
    {
        "method": len(METHODS) + 1,
        "content_type": len(CONTENT_TYPES) + 2,  # another, none
        "content_encoding": len(CONTENT_ENCODINGS) + 1,
        "device": len(DEVICE_CLASSES) * len(PLATFORMS),
        "ivt": 2,
        "gpc": 2,
        "preflight": 2,
        "cors_origin": None,  # the registered origins, "foreign", none
        "deadline_ms": len(DEADLINES_MS) + 1,
        "rights_token": None,  # the tokens that the service gave, on the paths where readers use their rights
        "api_key": None,  # the keys that the operator issued; one that nobody issued is refused as one kind
    }
)


# Why a reader's consent did not act, where a token came: all that is ever told of it, as a count of each.
DENIALS: Mapping[str, str] = MappingProxyType(
    {
        "gpc": "the browser sent Sec-GPC: 1",
        "coppa": "regs.coppa is 1",
        "minor": "regs.minor is true",
        "special": "the page is about an Article 9 topic",
        "page": "the page was not understood, so it may be about one",
        "oversized": "the token is longer than 4096 characters",
        "malformed": "the token is no compact JWS, or its JSON has a name twice",
        "header": "the token's header holds other fields than alg, typ and kid, or another type",
        "algorithm": "the token's algorithm is not Ed25519",
        "key": "the publisher pinned no such key",
        "signature": "the signature is not of that key",
        "issuer": "the key does not speak for that issuer here",
        "claims": "a claim is missing, unknown or malformed",
        "audience": "the token is for another publisher",
        "lifetime": "the token lives longer than an hour",
        "expired": "the token has expired",
        "early": "the token is from the future",
        "reused": "the token's id was used for another reader",
        "nonce": "consent.nonce is not 128 bits in base64url or hex",
        "unknown": "no consent of this subject is known",
        "withdrawn": "the token is older or newer than the consent's last change",
        "lapsed": "the consent is not in force any more",
        "purposes": "no purpose is left that token, consent and strings allow",
        "replayed": "the nonce was used before, or the token too often",
        "unavailable": "the service cannot check consents at present",
        **{
            reason: "the TC or GPP string is invalid: the rule that it breaks"
            for reason in sorted(iab.REASONS)
        },
    }
)


class Denied(PrivacyError):
    """A consent that does not act, and why, in one word of DENIALS. The answer is as if there were none."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Claim(Struct, frozen=True):
    """What a request says of consent, and what it sends under it: all of it unread."""

    token: str
    nonce: str | None = None
    tcf: str | None = None
    gpp: str | None = None
    gpp_sid: tuple[int, ...] = ()
    gdpr: int | None = None  # 0 or 1, as the caller states it
    coppa: bool = False
    minor: bool = False
    signals: bytes | None = None  # JSON, unparsed


class Restrict(Protocol):
    """Takes away the purposes that the IAB strings of a request do not leave: `iab.restrict` in the service's role."""

    def __call__(
        self,
        purposes: frozenset[Purpose],
        *,
        tcf: str | None,
        gpp: str | None,
        gpp_sid: Sequence[int] | None,
        gdpr: int | None,
        now: datetime,
    ) -> tuple[frozenset[Purpose], str | None]:
        """Return those that are left; beside them, where a string was invalid, why."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What consents are held against."""

    verifier: Verifier
    standings: Standings
    restrict: Restrict
    mac: Callable[[bytes], bytes]  # under the "subject" key: no `sub`, `jti` or nonce is kept as it came
    most_uses: int  # of one token


class Arrival(Struct, frozen=True):
    """All that the headers of a request say. Equal arrivals with equal bodies give equal bytes."""

    device: Device = Device()
    ivt: bool = False
    gpc: bool = False
    origin: str | None = None  # a registered origin to echo, FOREIGN, or None where the header is absent
    api_key: str | None = None  # has the shape of a key of ours; whether it is one, the key store says
    preflight: bool = False  # a CORS preflight
    rights_token: str | None = None  # on RIGHTS_PATHS alone; whether it is one, its signature says
    deadline_ms: int | None = None  # on SLOT_PATH alone: within which an answer is of use


class Gate:
    """WSGI middleware: hands `app` the stripped environ, with the Arrival under ARRIVAL."""

    def __init__(
        self,
        app: WSGIApplication,
        *,
        public_url: str,
        registered: Callable[[str], bool],
        query_keys: Iterable[str] = (),
    ) -> None:
        """Take the URL under which the service is reached and the test for registered origins.

        `query_keys` are the parameters that stay in the query string.
        """
        self.app = app
        self._constants = environ_constants(public_url)
        self._registered = registered
        self._query_keys = frozenset(query_keys)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Strip the environ and call the application."""
        clean, arrival = strip(environ, self._constants, self._registered, self._query_keys)
        clean[ARRIVAL] = arrival
        return self.app(clean, start_response)


def environ_constants(public_url: str) -> dict[str, Any]:
    """Give the environ keys that are the same for every request: whence links are built, and no address.

    Host, X-Forwarded-Host and the like are never read. Raises FieldError if `public_url` is no http(s) URL.
    """
    parts = urlsplit(public_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FieldError("public_url", "no http or https URL", "a URL such as https://ads.example")
    port = str(parts.port or (443 if parts.scheme == "https" else 80))
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return {
        "SCRIPT_NAME": parts.path.rstrip("/"),
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "HTTP_HOST": host if parts.port is None else f"{host}:{port}",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "0.0.0.0",  # noqa: S104 - no address: Werkzeug wants the key
        "wsgi.url_scheme": parts.scheme,
    }


def strip(
    environ: Mapping[str, Any],
    constants: Mapping[str, Any],
    registered: Callable[[str], bool],
    query_keys: frozenset[str] = frozenset(),
) -> tuple[dict[str, Any], Arrival]:
    """Rebuild the environ from the allow-list, and say what the headers may say."""
    get = environ.get
    clean = dict(constants)
    for key in _WSGI_KEYS:
        if key in environ:
            clean[key] = environ[key]
    clean["REQUEST_METHOD"] = method = closed_method(get("REQUEST_METHOD", ""))
    clean["PATH_INFO"] = get("PATH_INFO", "")
    query = get("QUERY_STRING", "")
    clean["QUERY_STRING"] = kept_query(query, query_keys) if query else ""
    if content_type := get("CONTENT_TYPE"):
        clean["CONTENT_TYPE"] = closed_content_type(content_type)
    if (length := get("CONTENT_LENGTH")) and length.isascii() and length.isdigit():
        clean["CONTENT_LENGTH"] = length
    if encoding := get("HTTP_CONTENT_ENCODING"):
        clean["HTTP_CONTENT_ENCODING"] = closed_content_encoding(encoding)
    origin = get("HTTP_ORIGIN", "")
    agent = get("HTTP_USER_AGENT", "")
    device, machine = read(get("HTTP_SEC_CH_UA_MOBILE", ""), get("HTTP_SEC_CH_UA_PLATFORM", ""), agent)
    return clean, Arrival(
        device=device,
        ivt=machine or ahead(get("HTTP_SEC_PURPOSE") or get("HTTP_PURPOSE") or get("HTTP_X_MOZ") or ""),
        gpc=gpc(get("HTTP_SEC_GPC", "")),
        origin=cors_origin(origin, registered),
        api_key=api_key(get("HTTP_AUTHORIZATION", "")),
        rights_token=rights_token(clean["PATH_INFO"], get("HTTP_AUTHORIZATION", "")),
        deadline_ms=deadline_ms(clean["PATH_INFO"], get("HTTP_TACTFUL_DEADLINE_MS", "")),
        preflight=method == "OPTIONS" and bool(origin) and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ,
    )


def closed_method(method: str) -> str:
    """Give the method, or OTHER."""
    return method if method in METHODS else OTHER_METHOD


def closed_content_type(content_type: str) -> str:
    """Give the media type without parameters, or application/octet-stream. Text is read as UTF-8."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type if media_type in CONTENT_TYPES else OTHER_CONTENT_TYPE


def closed_content_encoding(encoding: str) -> str:
    """Give gzip, identity or other."""
    coding = encoding.strip().lower()
    return coding if coding in CONTENT_ENCODINGS else OTHER_CONTENT_ENCODING


def kept_query(query: str, keys: frozenset[str]) -> str:
    """Keep the parameters whose name is in `keys`, in their order."""
    return "&".join(part for part in query.split("&") if part.partition("=")[0] in keys)


def ahead(purpose: str) -> bool:
    """Tell whether a page is fetched ahead of its reader, or for a preview."""
    return bool(purpose) and any(word in purpose.lower() for word in ("prefetch", "prerender", "preview"))


def gpc(header: str) -> bool:
    """Tell whether Sec-GPC is on: one element of the field is exactly 1, https://w3c.github.io/gpc/."""
    return header == "1" or ("," in header and any(part.strip(" \t") == "1" for part in header.split(",")))


def cors_origin(header: str, registered: Callable[[str], bool]) -> str | None:
    """Give the origin if it is registered, FOREIGN if it is not, None if there is none."""
    if not header:
        return None
    return header if len(header) <= LONGEST_ORIGIN and registered(header) else FOREIGN


def api_key(header: str) -> str | None:
    """Give the key of an Authorization field that has the shape of ours; every other field says nothing."""
    if not header:
        return None
    found = _API_KEY.fullmatch(header)
    return found[1] if found else None


def rights_token(path: str, header: str) -> str | None:
    """Give the JWS of an Authorization field where a reader uses its rights; on every other path it says nothing."""
    if not header or not path.startswith(RIGHTS_PATHS):
        return None
    found = _RIGHTS_TOKEN.fullmatch(header)
    return found[1] if found else None


def deadline_ms(path: str, header: str) -> int | None:
    """Give the longest of DEADLINES_MS that a Tactful-Deadline-Ms field leaves; on every other path it says nothing."""
    if not header or path != SLOT_PATH or not (header.isascii() and header.isdigit() and len(header) < 7):
        return None
    return max((one for one in DEADLINES_MS if one <= int(header)), default=DEADLINES_MS[0])


def enter(
    arrival: Arrival,
    publisher: str,
    *,
    trusted: bool = False,
    gpc: bool = False,
    url: str | None = None,
    title: str | None = None,
    description: str | None = None,
    text: str | None = None,
    html: str | None = None,
    language: str | None = None,
    keywords: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    cattax: int = 9,
    device_class: str | None = None,
    platform: str | None = None,
    timezone: str | None = None,
    at: datetime | None = None,
    country: str | None = None,
    region: str | None = None,
    condition: str | None = None,
    temperature_c: float | None = None,
    wind_ms: float | None = None,
) -> Visit:
    """Make the Visit of a page view from its Arrival and the fields of its body, each coarsened.

    The body's device wins over the headers'. A `trusted` call comes from the publisher's server, whose own
    user agent says nothing of the reader: such a view is never `ivt`. `gpc`: the body says that the Global Privacy
    Control is on, where the header does not. Raises FieldError.
    """
    return Visit(
        publisher=publisher,
        device=coarse_device(arrival.device, device_class, platform),
        ivt=arrival.ivt and not trusted,
        gpc=arrival.gpc or gpc,
        trusted=trusted,
        page=PageInput(
            url=None if url is None else canonical(url),
            title=title,
            description=description,
            text=text,
            html=html,
            language=coarse_language(language),
            keywords=keywords,
            categories=categories,
            cattax=cattax,
        ),
        timezone=known_timezone(timezone),
        at=coarse_time(at),
        place=coarse_place(country, region),
        weather=coarse_weather(condition, temperature_c, wind_ms),
    )


def admit(
    visit: Visit,
    claim: Claim,
    checks: Checks,
    pins: Pins,
    now: datetime,
    *,
    page_known: bool,
    special: bool,
    read: Callable[[bytes | None, Consent], T],
) -> Consented[T]:
    """Admit what `read` makes of the signals under the consent that the claim proves.

    `page_known` and `special` say whether the page was understood and whether it is about an Article 9 topic. The
    signals are parsed only once the consent is known to stand. Raises Denied; and FieldError where they are wrong.
    """
    if visit.gpc:
        raise Denied("gpc")
    if claim.coppa:
        raise Denied("coppa")
    if claim.minor:
        raise Denied("minor")
    if special:
        raise Denied("special")
    if not page_known:
        raise Denied("page")
    if claim.nonce is None or not OPAQUE.fullmatch(claim.nonce):
        raise Denied("nonce")
    token, subject, agreed = attested(claim.token, visit.publisher, checks, pins, now)
    purposes, invalid = checks.restrict(
        agreed,
        tcf=claim.tcf,
        gpp=claim.gpp,
        gpp_sid=claim.gpp_sid,
        gdpr=claim.gdpr,
        now=now,
    )
    if invalid is not None:
        raise Denied(invalid)
    if not purposes:
        raise Denied("purposes")
    expires = datetime.fromtimestamp(token.expires, UTC)
    consent = Consent(visit.publisher, subject, purposes, expires, token.record)
    # The use is noted last, so that a consent that does not act leaves nothing behind; but what is wrong with
    # the signals is told only to one who may use them.
    value, fault = None, None
    try:
        value = read(claim.signals, consent)
    except FieldError as error:
        fault = error
    use = hashes_of(checks.mac, token.id, claim.nonce)
    if not checks.standings.use(visit.publisher, *use, expires, checks.most_uses):
        raise Denied("replayed")
    if fault is not None:
        raise fault
    return Consented(cast(T, value), consent)


def attested(
    text: str, publisher: str, checks: Checks, pins: Pins, now: datetime
) -> tuple[Token, str, frozenset[Purpose]]:
    """Return what a token says, its subject's keyed hash, and the purposes that token and consent agree on.

    One indexed read, and none for a token that does not verify. Raises Denied.
    """
    try:
        token = checks.verifier.verify(text, publisher, pins, int(now.timestamp()))
    except TokenError as error:
        raise Denied(error.reason) from None
    subject = subject_of(checks.mac, publisher, token.subject)
    standing = checks.standings.standing(publisher, subject)
    if standing is None:
        raise Denied("unknown")
    # The record as well: who is erased and agrees anew may come to a generation that was there before.
    if (standing.generation, standing.record) != (token.generation, token.record):
        raise Denied("withdrawn")
    if standing.state not in IN_FORCE or standing.expires <= now:
        raise Denied("lapsed")
    return token, subject, token.purposes & standing.purposes


def subject_of(mac: Callable[[bytes], bytes], publisher: str, sub: str) -> str:
    """Give the keyed hash under which a subject of a publisher is kept, hex: the `sub` itself is kept nowhere."""
    return mac(f"{publisher}\0{sub}".encode()).hex()


def hashes_of(mac: Callable[[bytes], bytes], jti: str, nonce: str) -> tuple[str, str]:
    """Give the keyed hashes under which a use of a token is kept, hex."""
    return mac(b"jti\0" + jti.encode()).hex(), mac(b"nonce\0" + nonce.encode()).hex()


def coarse_device(arrived: Device, cls: str | None, platform: str | None) -> Device:
    """Let the body's class and platform win, each by itself, over the headers'. Raises FieldError."""
    if cls is None and platform is None:
        return arrived
    return Device(
        _one_of("device.class", cls, DEVICE_CLASSES) or arrived.cls,
        _one_of("device.platform", platform, PLATFORMS) or arrived.platform,
    )


def coarse_language(language: str | None) -> str | None:
    """Reduce a BCP 47 tag to its primary subtag, in lower case. Raises FieldError."""
    if language is None:
        return None
    found = _LANGUAGE.fullmatch(language)
    if found is None:
        raise FieldError("page.language", _kind(language), "a BCP 47 tag such as en or de-AT")
    return found[1].lower()


def known_timezone(timezone: str | None) -> str | None:
    """Let a zone of the IANA time zone database through. Raises FieldError."""
    return (
        None
        if timezone is None
        else _one_of("time.timezone", timezone, _timezones(), "an IANA time zone name")
    )


def coarse_time(at: datetime | None) -> datetime | None:
    """Cut an aware time to the quarter of an hour, the step of all zones' offsets. Raises FieldError."""
    if at is None:
        return None
    if at.tzinfo is None or at.utcoffset() is None:
        raise FieldError("time.at", "a date-time without an offset", "a date-time with an offset from UTC")
    if not 2000 <= at.year < 2100:
        raise FieldError("time.at", "a year out of range", "a year from 2000 to 2099")
    return at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)


def coarse_place(country: str | None, region: str | None) -> PlaceInput:
    """Take a country and one of its subdivisions, written BE or DE-BE. Raises FieldError."""
    nation = _one_of("place.country", country, COUNTRIES, "an ISO 3166-1 alpha-2 code")
    if region is None:
        return PlaceInput(nation)
    if nation is None:
        raise FieldError("place.region", "a region without a country", "place.country beside it")
    code = region.removeprefix(f"{nation}-")
    if not _REGION.fullmatch(code):
        raise FieldError("place.region", _kind(region), "an ISO 3166-2 code such as BE or DE-BE")
    return PlaceInput(nation, code)


def coarse_weather(
    condition: str | None, temperature_c: float | None, wind_ms: float | None
) -> WeatherInput | None:
    """Take a condition of the closed set, whole degrees, whole metres a second of wind. Raises FieldError."""
    if condition is None and temperature_c is None and wind_ms is None:
        return None
    if temperature_c is not None:
        if not math.isfinite(temperature_c) or not -90 <= temperature_c <= 60:
            raise FieldError(
                "weather.temperature_c", "a number out of range", "degrees Celsius from -90 to 60"
            )
        temperature_c = float(round(temperature_c))
    if wind_ms is not None:
        if not math.isfinite(wind_ms) or not 0 <= wind_ms <= 120:
            raise FieldError("weather.wind_ms", "a number out of range", "metres a second from 0 to 120")
        wind_ms = float(round(wind_ms))
    return WeatherInput(_one_of("weather.condition", condition, CONDITIONS), temperature_c, wind_ms)


def _one_of(field: str, value: str | None, known: Collection[W], expected: str = "") -> W | None:
    if value is None:
        return None
    if value not in known:
        raise FieldError(field, _kind(value), expected or f"one of {', '.join(known)}")
    return cast(W, value)


def _kind(value: str) -> str:
    # Letters alone hold no address, no number and no token worth the name.
    return value if _WORD.fullmatch(value) else f"a string of {len(value)} characters"


@cache
def _timezones() -> frozenset[str]:
    # The machine's own zone and the one for "not set" name no place.
    return frozenset(available_timezones() - {"localtime", "Factory"})
