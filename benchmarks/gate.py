"""The outer door, in microseconds a request: `python -m benchmarks gate`; floor: copying an empty dict."""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

from privacy.gate import enter, environ_constants, strip

BOUND_US = 15.0
_ORIGIN = "https://www.daily-planet.example"
_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome"
_AGENTS = (
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME}/{{v}}.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 10; K) {_CHROME}/{{v}}.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_{v} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{v}.1 "
    "Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{v}.0) Gecko/20100101 Firefox/{v}.0",
    f"Mozilla/5.0 (Linux; Android 15; SM-S928B Build/AP3A.240905.015.{{v}}; wv) {_CHROME}/141.0.7390.{{v}} "
    "Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/5{v}.0.0.45.62;IABMV/1;]",
)


def main(argv: list[str]) -> int:
    """Time the gate and its floor in turn; 1 where the gate misses the bound."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gate", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="interleaved rounds (default 40)")
    parser.add_argument(
        "--requests", type=int, default=600, help="requests a round, no two alike (default 600)"
    )
    options = parser.parse_args(argv)

    environs = [_environ(number) for number in range(options.requests)]
    bodies = [_body(number) for number in range(options.requests)]
    constants = environ_constants("https://ads.example")
    registered = frozenset({_ORIGIN}).__contains__
    keys = frozenset({"after", "limit"})

    def floor() -> None:
        for _ in environs:
            {}.copy()

    def strip_only() -> None:
        for environ in environs:
            strip(environ, constants, registered, keys)

    def whole() -> None:
        for environ, body in zip(environs, bodies, strict=True):
            _, arrival = strip(environ, constants, registered, keys)
            enter(arrival, "daily-planet", **body)

    rows: dict[str, tuple[Callable[[], None], list[float]]] = {
        "empty dict copied": (floor, []),
        "strip": (strip_only, []),
        "strip and enter": (whole, []),
    }
    whole()  # reads the list of time zones
    gc.disable()
    for _ in range(options.rounds):
        for run, times in rows.values():
            started = time.thread_time()
            run()
            times.append((time.thread_time() - started) / options.requests * 1e6)
    gc.enable()

    print(f"{platform.python_implementation()} {platform.python_version()} on {platform.machine()}")
    print(f"{'':20} {'median µs':>10} {'p99 µs':>10}   of CPU a request")
    for name, (_, times) in rows.items():
        print(f"{name:20} {statistics.median(times):10.2f} {statistics.quantiles(times, n=100)[98]:10.2f}")
    taken = statistics.median(rows["strip and enter"][1])
    held = taken <= BOUND_US
    print(f"bound {BOUND_US:.0f} µs: {'held' if held else 'missed'}")
    return 0 if held else 1


def _environ(number: int) -> dict[str, Any]:
    agent = _AGENTS[number % len(_AGENTS)].format(v=100 + number % 83)
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/v1/decisions",
        "SCRIPT_NAME": "",
        "QUERY_STRING": f"uid={number}",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "812",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": f"203.0.113.{number % 250}",
        "HTTP_HOST": "ads.example",
        "HTTP_USER_AGENT": agent,
        "HTTP_ACCEPT": "*/*",
        "HTTP_ACCEPT_ENCODING": "gzip, deflate, br, zstd",
        "HTTP_ACCEPT_LANGUAGE": "de-DE,de;q=0.9,en;q=0.8",
        "HTTP_COOKIE": f"sid={number}",
        "HTTP_ORIGIN": _ORIGIN,
        "HTTP_REFERER": f"{_ORIGIN}/",
        "HTTP_SEC_CH_UA": '"Chromium";v="141", "Not?A_Brand";v="8"',
        "HTTP_SEC_CH_UA_MOBILE": "?0",
        "HTTP_SEC_CH_UA_PLATFORM": '"Windows"',
        "HTTP_SEC_FETCH_DEST": "empty",
        "HTTP_SEC_FETCH_MODE": "cors",
        "HTTP_SEC_FETCH_SITE": "cross-site",
        "HTTP_SEC_GPC": "1",
        "HTTP_X_FORWARDED_FOR": f"203.0.113.{number % 250}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }


def _body(number: int) -> dict[str, Any]:
    paths = (
        "sport/cycling/2026/11/23/the-best-gravel-bikes-for-the-winter",
        f"news/article-{number % 97}.html",
        "wiki/Gravel_bike",
        f"politik/Bundestag-beschlie%C3%9Ft-Haushalt-a{number}",
        f"2026/11/23/story-{number:07}",
        "culture/books/review-of-a-long-novel",
        "weather",
        "",
    )
    return {
        "url": f"{_ORIGIN}/{paths[number % len(paths)]}?gclid=EAIaIQob{number}&utm_source=letter",
        "title": "Gravel bikes for the winter",
        "language": "en-GB",
        "timezone": "Europe/Berlin",
        "country": "DE",
        "region": "BE",
        "condition": "rain",
        "temperature_c": 4.5,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
