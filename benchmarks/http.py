"""What a decision over HTTP costs beside an empty Flask view on the same server: `python -m benchmarks http`.

CPU a request is user and system time of all of the server's processes, divided by the answers; the two servers
take turns on one core, the load comes from another one over keep-alive connections. Both get the same bodies: three
placements, explained. `text`: a page's 500 words again; `url`: a page that the publisher's server told of
before; `unlisted`: so many known pages, devices, hours and weathers in turn that nothing found for one request is
still there for another, and the index is searched; each run begins where the last one ended. Then both serve an
open loop at half of what each can serve at most.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import secrets
import socket
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from benchmarks.catalogue import COUNTRIES, HOST, PAGES, PUBLISHER, add_folder, page_url, prepare
from benchmarks.load import Outcome, closed_loop, open_loop, request_bytes
from benchmarks.process import Server, cores, running, service
from benchmarks.texts import fresh_texts
from contexts.context import CONDITIONS
from engine.config import Config
from engine.keys import create_key
from engine.store import SqliteStore
from privacy.visit import DEVICE_CLASSES, PLATFORMS

PATH = "/v1/decisions"
CONNECTIONS = 8
OPEN_CONNECTIONS = 32
KNOWN = 8  # pages of the cases `text` and `url`
UNLISTED = 6000  # requests before the case `unlisted` begins again
DEGRADED = 0.001  # share of answers above which a run does not count
P95_RATIO = 2.0
BOUNDS = {"text": (2.0, 1.6), "url": (2.0, 1.6), "unlisted": (5.0, 3.0), "unlisted, million": (10.0, 6.0)}
AGENT = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Mobile Safari/537.36"
)
HEADERS = (
    ("User-Agent", AGENT),
    ("Accept", "*/*"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "de-DE,de;q=0.9,en;q=0.8"),
    ("Origin", f"https://{HOST}"),
    ("Referer", f"https://{HOST}/"),
    ("Sec-CH-UA-Mobile", "?1"),
    ("Sec-CH-UA-Platform", '"Android"'),
)


@dataclass
class Case:
    """One kind of request, and what was measured of it round by round."""

    name: str
    requests: list[bytes]
    floor_us: list[float] = field(default_factory=list)
    ours_us: list[float] = field(default_factory=list)
    floor_rate: list[float] = field(default_factory=list)
    ours_rate: list[float] = field(default_factory=list)
    p95_ratios: list[float] = field(default_factory=list)
    p95_ms: list[tuple[float, float]] = field(default_factory=list)

    def begin_after(self, answers: int) -> None:
        """Let the next run begin where one of so many answers ended, so that it meets nothing which that left."""
        at = answers % len(self.requests)
        self.requests = self.requests[at:] + self.requests[:at]

    @property
    def ratio(self) -> float:
        """Median over the rounds of ours over the floor."""
        return statistics.median(o / f for o, f in zip(self.ours_us, self.floor_us, strict=True))


def main(argv: Sequence[str]) -> int:
    """Print the table; return 1 where a bound is missed or the run does not count."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks http", description=__doc__)
    add_folder(parser)
    parser.add_argument("--rows", type=int, default=100_000, help="creatives (default 100000)")
    parser.add_argument("--million", action="store_true", help="also at 1,000,000: long, and some 10 GB")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default 3)")
    options = parser.parse_args(argv)
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores")

    config = prepare(options.folder, options.rows)
    cases = [Case("text", known_texts()), Case("url", known_urls()), Case("unlisted", unlisted())]
    held = _measure(config, cases, options.rounds, options.seconds, latency=True)
    if options.million:
        config = prepare(options.folder, 1_000_000)
        million = [Case("unlisted, million", unlisted())]
        held &= _measure(config, million, options.rounds, options.seconds, latency=False)
    return 0 if held else 1


def known_texts() -> list[bytes]:
    """Return requests with a page's whole text."""
    return [
        _request(page={"title": text[:60], "text": text, "language": "en"})
        for text in islice(fresh_texts(1), KNOWN)
    ]


def known_urls() -> list[bytes]:
    """Return requests with nothing of the page but its URL."""
    return [_request(page={"url": _told_url(n), "language": "en"}) for n in range(KNOWN)]


def unlisted() -> list[bytes]:
    """Return requests of which no two share what a worker keeps between requests."""
    chance = random.Random(3)
    made = []
    for n in range(UNLISTED):
        made.append(
            _request(
                page={"url": page_url(n % PAGES)},
                device={"class": chance.choice(DEVICE_CLASSES), "platform": chance.choice(PLATFORMS)},
                time={
                    "timezone": "Europe/Berlin",
                    "at": f"2026-11-{chance.randint(16, 22)}T{chance.randint(0, 23):02}:30:00+01:00",
                },
                place={"country": chance.choice(COUNTRIES)},
                weather={"condition": chance.choice(CONDITIONS), "temperature_c": chance.randint(-5, 32)},
            )
        )
    return made


def _request(page: dict[str, object], headers: Sequence[tuple[str, str]] = HEADERS, **parts: object) -> bytes:
    body = {
        "publisher": PUBLISHER,
        "placements": [
            {"id": "top", "formats": ["native", "banner"], "sizes": [[300, 250], [728, 90]]},
            {"id": "side", "formats": ["banner"], "sizes": [[160, 600], [300, 250]], "floor_cpm": 0.4},
            {"id": "end", "formats": ["native"], "count": 1},
        ],
        "page": page,
        "device": {"class": "phone", "platform": "android"},
        "time": {"timezone": "Europe/Berlin", "at": "2026-11-23T18:05:00+01:00"},
        "place": {"country": "DE", "region": "BE"},
        "weather": {"condition": "rain", "temperature_c": 4.5},
        "explain": True,
        **parts,
    }
    return request_bytes(PATH, "127.0.0.1", json.dumps(body).encode(), headers)


def _told_url(number: int) -> str:
    return f"https://{HOST}/told/article-{number}"


def _tell(port: int, key: str) -> None:
    """Say what the URLs of `known_urls` stand for, as the publisher's server does."""
    headers = (("Authorization", f"Bearer {key}"),)
    told = [
        _request({"url": _told_url(n), "title": text[:60], "text": text}, headers)
        for n, text in enumerate(islice(fresh_texts(2), KNOWN))
    ]
    outcome = closed_loop(port, told, 1, 2.0)
    if outcome.errors:
        raise RuntimeError(f"{outcome.errors} of the publisher's own calls failed")


def _measure(config: Config, cases: list[Case], rounds: int, seconds: float, *, latency: bool) -> bool:
    """Run the rounds and print the rows; say whether all bounds were held."""
    load_core, server_core = cores()
    if load_core is not None:
        os.sched_setaffinity(0, {load_core})
    else:
        print("one core alone: load and servers share it")
    key = _key(config)
    total = Outcome()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ours = stack.enter_context(service(config, server_core))
        _tell(ours.port, key)
        for case in cases:
            asked = 0
            while asked < min(PAGES, len(case.requests)):  # a worker reads what is known of a page once
                outcome = closed_loop(ours.port, case.requests, CONNECTIONS, 1.0)
                case.begin_after(outcome.answers)
                if outcome.errors:
                    raise RuntimeError(f"{outcome.errors} calls of the case {case.name} failed")
                asked += outcome.answers
        ours.wait_until_quiet()
        answer = Path(folder) / "answer"
        answer.write_bytes(_answer(ours.port, cases[0].requests[0]))
        floor = stack.enter_context(running(["benchmarks.empty", "--answer", str(answer)], {}, server_core))
        for number in range(rounds + 1):  # the first one warms up
            for case in cases:
                measured = [_closed(server, case.requests, seconds) for server in (floor, ours)]
                (floor_us, floor_run), (ours_us, ours_run) = measured
                case.begin_after(ours_run.answers)
                if number:
                    case.floor_us.append(floor_us)
                    case.ours_us.append(ours_us)
                    case.floor_rate.append(floor_run.rate)
                    case.ours_rate.append(ours_run.rate)
                    _add(total, ours_run)
        for case in cases if latency else ():
            _half_load(case, floor, ours, rounds, seconds, total)
    return _print(config, cases, total)


def _closed(server: Server, requests: Sequence[bytes], seconds: float) -> tuple[float, Outcome]:
    """Return CPU microseconds a request, and the run."""
    before = server.cpu_s()
    outcome = closed_loop(server.port, requests, CONNECTIONS, seconds)
    return (server.cpu_s() - before) / max(outcome.answers, 1) * 1e6, outcome


def _half_load(case: Case, floor: Server, ours: Server, rounds: int, seconds: float, total: Outcome) -> None:
    rates = (statistics.median(case.floor_rate) / 2, statistics.median(case.ours_rate) / 2)
    for number in range(rounds):
        p95 = []
        for server, rate in zip((floor, ours), rates, strict=True):
            outcome = open_loop(server.port, case.requests, OPEN_CONNECTIONS, seconds, rate, number)
            p95.append(statistics.quantiles(outcome.latencies, n=20)[18] * 1e3)
            if server is ours:
                _add(total, outcome)
                case.begin_after(outcome.answers)
        case.p95_ms.append((p95[0], p95[1]))
        case.p95_ratios.append(p95[1] / p95[0])


def _print(config: Config, cases: Sequence[Case], total: Outcome) -> bool:
    rows = config.data_dir.parent.name
    print(f"{int(rows):,} creatives; CPU µs a request, medians of {len(cases[0].ours_us)} rounds")
    print(
        f"{'case':18} {'empty':>7} {'ours':>7} {'ratio':>6} {'bound':>6} {'aim':>5}   answers/s"
        "       p95 ms at half load, ratio"
    )
    held = True
    for case in cases:
        bound, aim = BOUNDS[case.name]
        ok = case.ratio <= bound
        late = ""
        if case.p95_ratios:
            ratio = statistics.median(case.p95_ratios)
            empty_ms, ours_ms = (statistics.median(p) for p in zip(*case.p95_ms, strict=True))
            late = f"{empty_ms:.2f} / {ours_ms:.2f}, {ratio:.2f}"
            if case.name != "unlisted":
                ok &= ratio <= P95_RATIO
                late += f" (bound {P95_RATIO})"
        print(
            f"{case.name:18} {statistics.median(case.floor_us):7.1f} {statistics.median(case.ours_us):7.1f} "
            f"{case.ratio:6.2f} {bound:6.1f} {aim:5.1f}   "
            f"{statistics.median(case.floor_rate):5.0f} / {statistics.median(case.ours_rate):5.0f}   {late}"
            + ("" if ok else "  MISSED")
        )
        held &= ok
    share = total.degraded / max(total.answers, 1)
    counts = share <= DEGRADED and not total.errors and total.unfilled <= DEGRADED * total.answers
    print(
        f"{total.answers:,} answers: {total.errors} errors, {total.degraded} degraded ({share:.4%}), "
        f"{total.unfilled} with an empty place" + ("" if counts else ": THE RUN DOES NOT COUNT")
    )
    return held and counts


def _add(total: Outcome, more: Outcome) -> None:
    total.answers += more.answers
    total.errors += more.errors
    total.degraded += more.degraded
    total.unfilled += more.unfilled


def _answer(port: int, request: bytes) -> bytes:
    """Return the body of one answer."""
    with socket.create_connection(("127.0.0.1", port), 10) as made:
        made.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        received = b""
        while part := made.recv(65_536):
            received += part
    return received.partition(b"\r\n\r\n")[2]


def _key(config: Config) -> str:
    """Make a key of the publisher."""
    store = SqliteStore(config.database)
    try:
        return create_key(store, "publisher", PUBLISHER, "benchmark", datetime.now(UTC), secrets.token_bytes)
    finally:
        store.close()
