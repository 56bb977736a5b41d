"""Leaks to plant around a service, each a mistake that ad servers have made: a sound proof finds them all.

A planted leak stands before the gate and sees the request as the server hands it over; it takes as little
of it as such a mistake does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from engine.prove.twins import COUNTERS, Chance, Clock, MakeService, Service
from engine.store import tamper_sqlite

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
# Sees the request and may change the answer's status, headers and body.
Spy = Callable[[Environ, str, Headers, bytes], tuple[str, Headers, bytes]]
MakeSpy = Callable[[Path], Spy]

log = logging.getLogger(__name__)


def _language_in_the_answer(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        language = environ.get("HTTP_ACCEPT_LANGUAGE", "en")[:2]
        return status, [*headers, ("Content-Language", "de" if language == "de" else "en")], body

    return spy


def _query_in_the_access_log(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        log.info("%s %s?%s", environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"])
        return status, headers, body

    return spy


def _page_query_in_the_log(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        log.info("page", extra={"url": _page_url(environ)})
        return status, headers, body

    return spy


def _referer_on_standard_error(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if "HTTP_REFERER" in environ:
            environ["wsgi.errors"].write(f"from {environ['HTTP_REFERER']}\n")
        return status, headers, body

    return spy


def _hashed_address_in_a_file(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        with (folder / "offers.csv").open("a") as file:
            file.write(f"{_address_hash(environ)},{environ['PATH_INFO']}\n")
        return status, headers, body

    return spy


def _address_of_who_clicks(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if "/click/" in environ["PATH_INFO"]:
            with (folder / "clicks.csv").open("a") as file:
                file.write(f"{_address_hash(environ)}\n")
        return status, headers, body

    return spy


def _address_of_who_asks_why(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if "/why/" in environ["PATH_INFO"]:
            with (folder / "asked.csv").open("a") as file:
                file.write(f"{_address_hash(environ)}\n")
        return status, headers, body

    return spy


def _address_of_who_votes(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        voted = environ["REQUEST_METHOD"] == "POST" and status.startswith("200")
        if voted and "/why/" in environ["PATH_INFO"]:
            with (folder / "votes.csv").open("a") as file:
                file.write(f"{_address_hash(environ)}\n")
        return status, headers, body

    return spy


def _page_of_a_slot_in_the_log(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        for part in environ["QUERY_STRING"].split("&"):
            if part.startswith("url="):
                log.info("slot", extra={"url": part})
        return status, headers, body

    return spy


def _do_not_track_in_a_file(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if environ.get("HTTP_DNT") == "1":
            with (folder / "dnt.txt").open("a") as file:
                file.write("1\n")
        return status, headers, body

    return spy


def _cookie(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if "HTTP_COOKIE" not in environ:
            headers = [*headers, ("Set-Cookie", "session=7f3a; HttpOnly")]
        return status, headers, body

    return spy


def _etag(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if environ.get("HTTP_IF_NONE_MATCH") == tag:
            return "304 Not Modified", headers, b""
        return status, [*headers, ("ETag", tag)], body

    return spy


def _number_in_a_file_that_browsers_keep(folder: Path) -> Spy:
    given = Counter[str]()

    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if environ["REQUEST_METHOD"] == "GET" and status.startswith("200"):
            given["all"] += 1
            headers = [pair for pair in headers if pair[0].lower() not in ("cache-control", "content-length")]
            return (
                status,
                [*headers, ("Cache-Control", "max-age=31536000")],
                body + b"/* %d */" % given["all"],
            )
        return status, headers, body

    return spy


def _redirect_for_good(folder: Path) -> Spy:
    given = Counter[str]()

    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if environ["REQUEST_METHOD"] == "GET" and status.startswith("200"):
            given["all"] += 1
            return "301 Moved Permanently", [("Location", f"?reader={given['all']}")], b""
        return status, headers, body

    return spy


def _dictionary_of_one_reader(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        return status, [*headers, ("Use-As-Dictionary", 'match="/*", id="7f3a"')], body

    return spy


def _preload_of_an_own_address(folder: Path) -> Spy:
    given = Counter[str]()

    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        given["all"] += 1
        return status, [*headers, ("Link", f"</v1/why.css?{given['all']}>; rel=preload; as=style")], body

    return spy


def _reports_of_the_browser(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        return status, [*headers, ("Content-Security-Policy", "img-src 'none'; report-uri /r?u=7f3a")], body

    return spy


def _cookie_by_script(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        page = any(
            name.lower() == "content-type" and value.startswith("text/html") for name, value in headers
        )
        return status, headers, body + b"<script>document.cookie = 'u=7f3a'</script>" if page else body

    return spy


def _counter_by_language(folder: Path) -> Spy:
    counted = Counter[str]()

    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if environ["PATH_INFO"] == COUNTERS:
            return status, headers, body + "".join(f"{name} {n}\n" for name, n in counted.items()).encode()
        counted[f'requests{{language="{environ.get("HTTP_ACCEPT_LANGUAGE", "")[:2]}"}}'] += 1
        return status, headers, body

    return spy


def _name_of_the_machine(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        agent = environ.get("HTTP_USER_AGENT", "")
        if not agent.startswith("Mozilla/"):
            log.info("invalid traffic: %s", agent.partition("/")[0])
        return status, headers, body

    return spy


def _trial_group_of_the_browser(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        return status, headers, body + b" " if "HTTP_X_CLIENT_DATA" in environ else body

    return spy


def _cookies_that_are_too_long(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if len(environ.get("HTTP_COOKIE", "")) > 2048:
            return "431 Request Header Fields Too Large", headers, b""
        return status, headers, body

    return spy


def _cache_keyed_by_language(folder: Path) -> Spy:
    seen: set[tuple[str, str]] = set()

    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        key = (environ["PATH_INFO"], environ.get("HTTP_ACCEPT_LANGUAGE", ""))
        log.debug("cache %s", "hit" if key in seen else "miss")
        seen.add(key)
        return status, headers, body

    return spy


def _minor_version_of_the_browser(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        version = environ.get("HTTP_USER_AGENT", "").partition("Chrome/")[2]
        reduced = not version or ".0.0.0" in version
        return status, headers, body if reduced else body + b" "

    return spy


def _model_by_client_hint(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if environ.get("HTTP_SEC_CH_UA_MODEL"):
            headers = list(reversed(headers))
        return status, headers, body

    return spy


def _asks_for_client_hints(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        return status, [*headers, ("Accept-CH", "Sec-CH-UA-Model")], body

    return spy


def _varies_on_the_user_agent(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        return status, [*headers, ("Vary", "Origin, User-Agent")], body

    return spy


def _rate_limit_by_forwarded_address(folder: Path) -> Spy:
    calls: Counter[str] = Counter()

    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        who = environ.get("HTTP_X_FORWARDED_FOR", "")
        calls[who] += 1
        if who and calls[who] > 3:
            return "429 Too Many Requests", headers, b""
        return status, headers, body

    return spy


def _frequency_cap_by_address(folder: Path) -> Spy:
    seen: Counter[str] = Counter()

    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        who = _address_hash(environ)
        seen[who] += 1
        return status, headers, body[:-1] if seen[who] == 5 else body

    return spy


def _request_id_of_the_caller(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        return status, [*headers, ("X-Request-Id", environ.get("HTTP_X_REQUEST_ID", "-"))], body

    return spy


def _trace_in_the_log(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        log.info("answered", extra={"trace": environ.get("HTTP_TRACEPARENT")})
        return status, headers, body

    return spy


def _any_origin_is_echoed(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if origin := environ.get("HTTP_ORIGIN"):
            headers = [*headers, ("Access-Control-Allow-Origin", origin)]
        return status, headers, body

    return spy


def _range_of_the_answer(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        return (
            ("206 Partial Content", headers, body[:8]) if "HTTP_RANGE" in environ else (status, headers, body)
        )

    return spy


def _own_text_recognised(folder: Path) -> Spy:
    sent: set[str] = set()

    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if environ.get("HTTP_COOKIE", "").removeprefix("tid=") in sent:
            log.info("welcome back")
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if isinstance(answer, Mapping) and isinstance(answer.get("request_id"), str):
            sent.add(answer["request_id"])
        return status, headers, body

    return spy


def _two_headers_together(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        both = "HTTP_SAVE_DATA" in environ and "HTTP_DOWNLINK" in environ
        return status, headers, body + b"\n" if both else body

    return spy


def _order_of_headers(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        names = [name for name in environ if name in ("HTTP_USER_AGENT", "CONTENT_LENGTH")]
        log.debug("client %s", "a" if names == sorted(names) else "b")
        return status, headers, body

    return spy


def _denied_token_in_the_answer(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if _consent(environ) and b'"consent"' not in body:
            headers = [*headers, ("X-Consent", "denied: signature")]
        return status, headers, body

    return spy


def _refuses_another_publishers_token(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        elsewhere = _claims(environ).get("aud", "ctx:") == "ctx:elsewhere"
        return ("401 Unauthorized", headers, b"") if elsewhere else (status, headers, body)

    return spy


def _expired_token_in_the_log(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        claims = _claims(environ)
        if "jti" in claims:
            log.warning("consent denied", extra={"jti": claims["jti"]})
        return status, headers, body

    return spy


def _signals_parsed_without_a_token(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        signals = _said(environ).get("signals")
        if isinstance(signals, Mapping) and "jane" in str(signals.get("cohorts")):
            return "422 Unprocessable Entity", headers, b'{"errors":[{"field":"signals.cohorts[0]"}]}'
        return status, headers, body

    return spy


def _nonce_remembered_before_the_token_is_verified(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if nonce := _consent(environ).get("nonce"):
            with (folder / "nonces.txt").open("a") as file:
                file.write(f"{nonce}\n")
        return status, headers, body

    return spy


def _invalid_string_kept(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if tcf := _consent(environ).get("tcf"):
            with (folder / "invalid.csv").open("a") as file:
                file.write(f"{hashlib.sha256(str(tcf).encode()).hexdigest()}\n")
        return status, headers, body

    return spy


def _signals_under_gpc(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        objects = environ.get("HTTP_SEC_GPC") == "1" and _consent(environ)
        return status, headers, body + b" " if objects else body

    return spy


def _signals_of_a_minor(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        regs = _said(environ).get("regs")
        minor = isinstance(regs, Mapping) and regs.get("minor") and _consent(environ)
        return status, headers, body + b" " if minor else body

    return spy


def _cohort_in_the_cache_key(folder: Path) -> Spy:
    seen: set[str] = set()

    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        key = json.dumps(_said(environ).get("signals"))
        log.debug("decision cache %s", "hit" if key in seen else "miss")
        seen.add(key)
        return status, headers, body

    return spy


def _advertising_id_in_a_file(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        device = _said(environ).get("device")
        if isinstance(device, Mapping) and "ifa" in device:
            with (folder / "devices.csv").open("a") as file:
                file.write(f"{hashlib.sha256(str(device['ifa']).encode()).hexdigest()}\n")
        return status, headers, body

    return spy


def _extended_ids_in_the_log(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        user = _said(environ).get("user")
        if isinstance(user, Mapping) and "eids" in user:
            log.info("bid request", extra={"eids": user["eids"]})
        return status, headers, body

    return spy


def _bid_by_postcode(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        device = _said(environ).get("device")
        place = device.get("geo") if isinstance(device, Mapping) else None
        near = isinstance(place, Mapping) and str(place.get("zip", "")).startswith("10")
        return status, headers, body + b" " if near else body

    return spy


def _page_view_recognised(folder: Path) -> Spy:
    seen: set[str] = set()

    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        outer = _said(environ).get("ext")
        prebid = outer.get("prebid") if isinstance(outer, Mapping) else None
        view = str(prebid.get("page_view_ids")) if isinstance(prebid, Mapping) else ""
        log.debug("view %s", "again" if view and view in seen else "new")
        seen.add(view)
        return status, headers, body

    return spy


def _file_elsewhere(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        with tempfile.NamedTemporaryFile("w", prefix="offers-") as file:
            file.write(_address_hash(environ))
        return status, headers, body

    return spy


def _datagram_to_a_collector(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector, suppress(OSError):
            collector.sendto(_address_hash(environ).encode(), ("127.0.0.1", 9))
        return status, headers, body

    return spy


def _process_of_its_own(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if "HTTP_COOKIE" in environ:
            subprocess.run([sys.executable, "-c", "", _address_hash(environ)], check=False)  # noqa: S603 - ours
        return status, headers, body

    return spy


def _past_the_interpreter_s_error_stream(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        os.write(2, f"{environ.get('REMOTE_ADDR')}\n".encode())
        return status, headers, body

    return spy


def _folder_of_a_reader(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        (folder / _address_hash(environ)[:8]).mkdir(exist_ok=True)
        return status, headers, body

    return spy


def _time_of_a_file(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        last = int(_address_hash(environ)[:6], 16)
        for path in folder.glob("*"):
            os.utime(path, (last, last))
        return status, headers, body

    return spy


def _order_of_rows(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        number = int(_address_hash(environ)[:12], 16)
        tamper_sqlite.leave_row(folder / "order.db", number, environ["REQUEST_METHOD"])
        return status, headers, body

    return spy


def _name_of_an_index(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        tamper_sqlite.leave_index(folder / "index.db", f"views_{_address_hash(environ)[:8]}")
        return status, headers, body

    return spy


class _WrittenAtTheEnd:
    def __init__(self, folder: Path) -> None:
        self._folder, self._seen = folder, set[str]()

    def __call__(
        self, environ: Environ, status: str, headers: Headers, body: bytes
    ) -> tuple[str, Headers, bytes]:
        self._seen.add(_address_hash(environ))
        return status, headers, body

    def close(self) -> None:
        """Write out what was seen, as the service stops."""
        (self._folder / "seen.txt").write_text("\n".join(sorted(self._seen)))


def _scheme_in_the_answer(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        return status, headers, body + b" " if environ["wsgi.url_scheme"] == "https" else body

    return spy


def _headers_that_a_page_adds(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if asked := environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS"):
            headers = [*headers, ("Access-Control-Allow-Headers", asked)]
        return status, headers, body

    return spy


def _mark_in_pictures(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        picture = any(
            name.lower() == "content-type" and value.startswith("image/") for name, value in headers
        )
        if picture and status.startswith("200") and "/images/" in environ["PATH_INFO"]:
            body += _address_hash(environ)[:4].encode()
        return status, headers, body

    return spy


def _spelling_of_the_body(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        log.debug("library %s", "a" if b'": ' in environ["body"] else "b")
        if environ["body"].endswith(b"\n"):
            log.debug("library c")
        return status, headers, body

    return spy


def _who_signed_in(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if "HTTP_X_AUTH_REQUEST_EMAIL" in environ:
            log.debug("signed in")
        return status, headers, body

    return spy


def _certificate_in_a_file(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if certificate := environ.get("HTTP_CLIENT_CERT"):
            (folder / "certificates.txt").write_text(str(certificate))
        return status, headers, body

    return spy


def _agent_in_an_error(folder: Path) -> Spy:
    def spy(environ: Environ, status: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
        if status.startswith("4"):
            body += f"sent by {environ.get('HTTP_USER_AGENT')}".encode()
        return status, headers, body

    return spy


PLANTED: Mapping[str, MakeSpy] = MappingProxyType(
    {
        "language-in-the-answer": _language_in_the_answer,
        "query-in-the-access-log": _query_in_the_access_log,
        "page-query-in-the-log": _page_query_in_the_log,
        "referer-on-standard-error": _referer_on_standard_error,
        "hashed-address-in-a-file": _hashed_address_in_a_file,
        "address-of-who-clicks": _address_of_who_clicks,
        "address-of-who-asks-why": _address_of_who_asks_why,
        "address-of-who-votes": _address_of_who_votes,
        "page-of-a-slot-in-the-log": _page_of_a_slot_in_the_log,
        "do-not-track-in-a-file": _do_not_track_in_a_file,
        "cookie": _cookie,
        "etag": _etag,
        "number-in-a-file-that-browsers-keep": _number_in_a_file_that_browsers_keep,
        "redirect-for-good": _redirect_for_good,
        "dictionary-of-one-reader": _dictionary_of_one_reader,
        "preload-of-an-own-address": _preload_of_an_own_address,
        "reports-of-the-browser": _reports_of_the_browser,
        "cookie-by-script": _cookie_by_script,
        "counter-by-language": _counter_by_language,
        "name-of-the-machine": _name_of_the_machine,
        "trial-group-of-the-browser": _trial_group_of_the_browser,
        "cookies-that-are-too-long": _cookies_that_are_too_long,
        "cache-keyed-by-language": _cache_keyed_by_language,
        "minor-version-of-the-browser": _minor_version_of_the_browser,
        "model-by-client-hint": _model_by_client_hint,
        "asks-for-client-hints": _asks_for_client_hints,
        "varies-on-the-user-agent": _varies_on_the_user_agent,
        "rate-limit-by-forwarded-address": _rate_limit_by_forwarded_address,
        "frequency-cap-by-address": _frequency_cap_by_address,
        "request-id-of-the-caller": _request_id_of_the_caller,
        "trace-in-the-log": _trace_in_the_log,
        "any-origin-is-echoed": _any_origin_is_echoed,
        "range-of-the-answer": _range_of_the_answer,
        "own-text-recognised": _own_text_recognised,
        "two-headers-together": _two_headers_together,
        "order-of-headers": _order_of_headers,
        "denied-token-in-the-answer": _denied_token_in_the_answer,
        "refuses-another-publishers-token": _refuses_another_publishers_token,
        "expired-token-in-the-log": _expired_token_in_the_log,
        "signals-parsed-without-a-token": _signals_parsed_without_a_token,
        "nonce-remembered-before-the-token-is-verified": _nonce_remembered_before_the_token_is_verified,
        "invalid-string-kept": _invalid_string_kept,
        "signals-under-gpc": _signals_under_gpc,
        "signals-of-a-minor": _signals_of_a_minor,
        "cohort-in-the-cache-key": _cohort_in_the_cache_key,
        "advertising-id-in-a-file": _advertising_id_in_a_file,
        "extended-ids-in-the-log": _extended_ids_in_the_log,
        "bid-by-postcode": _bid_by_postcode,
        "page-view-recognised": _page_view_recognised,
        "file-elsewhere": _file_elsewhere,
        "datagram-to-a-collector": _datagram_to_a_collector,
        "process-of-its-own": _process_of_its_own,
        "past-the-interpreter-s-error-stream": _past_the_interpreter_s_error_stream,
        "folder-of-a-reader": _folder_of_a_reader,
        "time-of-a-file": _time_of_a_file,
        "order-of-rows": _order_of_rows,
        "name-of-an-index": _name_of_an_index,
        "written-at-the-end": _WrittenAtTheEnd,
        "scheme-in-the-answer": _scheme_in_the_answer,
        "headers-that-a-page-adds": _headers_that_a_page_adds,
        "mark-in-pictures": _mark_in_pictures,
        "spelling-of-the-body": _spelling_of_the_body,
        "who-signed-in": _who_signed_in,
        "certificate-in-a-file": _certificate_in_a_file,
        "agent-in-an-error": _agent_in_an_error,
    }
)


def plant(name: str, make: MakeService) -> MakeService:
    """Give a service with a leak: one of PLANTED."""

    def made(clock: Clock, chance: Chance, folder: Path) -> Service:
        service = make(clock, chance, folder)
        spy = PLANTED[name](folder)

        def close() -> None:
            service.close()
            getattr(spy, "close", bool)()

        return replace(service, app=_spied(service.app, spy), close=close)

    return made


def _spied(app: WSGIApplication, spy: Spy) -> WSGIApplication:
    def spied(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        asked = dict(environ)
        asked["body"] = environ["wsgi.input"].read()
        inner = {**environ, "wsgi.input": BytesIO(asked["body"])}
        answered: list[tuple[str, Headers]] = []

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            answered.append((status, headers))
            return lambda _: None

        body = b"".join(app(inner, start))
        status, headers, body = spy(asked, *answered[-1], body)
        start_response(status, headers)
        return [body]

    return spied


def _page_url(environ: Environ) -> object:
    page = _said(environ).get("page")
    return page.get("url") if isinstance(page, Mapping) else None


def _said(environ: Environ) -> Mapping[str, Any]:
    """Give the body's fields; none where it is no JSON object."""
    try:
        said = json.loads(environ["body"])
    except ValueError:
        return {}
    return said if isinstance(said, Mapping) else {}


def _consent(environ: Environ) -> Mapping[str, Any]:
    consent = _said(environ).get("consent")
    return consent if isinstance(consent, Mapping) else {}


def _claims(environ: Environ) -> Mapping[str, Any]:
    """Give the claims of the token that came, unverified."""
    parts = str(_consent(environ).get("token", "")).split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    except (ValueError, IndexError):
        return {}
    return claims if isinstance(claims, Mapping) else {}


def _address_hash(environ: Environ) -> str:
    return hashlib.sha256(f"salt{environ.get('REMOTE_ADDR')}".encode()).hexdigest()
