"""What a bid request costs beside a decision of the same pages and places: `python -m benchmarks openrtb`.

One server answers both in turn on one core, under the same load from another one. The bid requests are as Prebid.js
sends them, with all that is never read, each with an id of its own; the decisions are bodies that the service has seen
before. CPU a request is user and system time of all of the server's processes, divided by the answers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Sequence
from itertools import islice
from typing import Any

from benchmarks.catalogue import HOST, PUBLISHER, add_folder, prepare
from benchmarks.load import Outcome, closed_loop, request_bytes
from benchmarks.process import Server, cores, service
from benchmarks.texts import fresh_texts

BOUND_US = 150.0
CONNECTIONS = 8
KNOWN = 8  # pages
IDS = 40  # bid requests for each of them
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
NATIVE = {
    "ver": "1.2",
    "eventtrackers": [{"event": 1, "methods": [1, 2]}],
    "assets": [
        {"id": 1, "required": 1, "title": {"len": 90}},
        {"id": 2, "required": 0, "img": {"type": 3, "wmin": 300, "hmin": 157}},
        {"id": 4, "required": 1, "data": {"type": 1}},
        {"id": 5, "required": 0, "data": {"type": 2, "len": 120}},
    ],
}


def main(argv: Sequence[str]) -> int:
    """Print both costs; return 1 where the bound is missed or the run does not count."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks openrtb", description=__doc__)
    add_folder(parser)
    parser.add_argument("--rows", type=int, default=100_000, help="creatives (default 100000)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default 3)")
    options = parser.parse_args(argv)
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores")

    config = prepare(options.folder, options.rows)
    load_core, server_core = cores()
    if load_core is not None:
        os.sched_setaffinity(0, {load_core})
    else:
        print("one core alone: load and server share it")
    texts = list(islice(fresh_texts(1), KNOWN))
    asked = {
        "decision": [_decision(text) for text in texts],
        "auction": [_auction(text, number) for number in range(IDS) for text in texts],
    }
    cost: dict[str, list[float]] = {name: [] for name in asked}
    empty: list[bytes] = []
    total = Outcome()
    with service(config, server_core) as server:
        for requests in asked.values():
            closed_loop(server.port, requests[:KNOWN], 1, 1.0)
        server.wait_until_quiet()
        for number in range(options.rounds + 1):  # the first one warms up
            for name, requests in asked.items():
                us, outcome = _measured(server, requests, options.seconds, empty)
                if number:
                    cost[name].append(us)
                    total.answers += outcome.answers
                    total.errors += outcome.errors
    decision, auction = (statistics.median(cost[name]) for name in ("decision", "auction"))
    more = statistics.median(a - d for a, d in zip(cost["auction"], cost["decision"], strict=True))
    held, counts = more <= BOUND_US, not total.errors and not empty
    print(f"{options.rows:,} creatives; CPU µs a request, medians of {options.rounds} rounds")
    print(
        f"decision {decision:.1f}, auction {auction:.1f}: {more:+.1f} (bound +{BOUND_US:.0f})"
        + ("" if held else "  MISSED")
    )
    print(
        f"{total.answers:,} answers: {total.errors} errors, {len(empty)} without a bid or a decision"
        + ("" if counts else ": THE RUN DOES NOT COUNT")
    )
    return 0 if held and counts else 1


def _measured(
    server: Server, requests: Sequence[bytes], seconds: float, empty: list[bytes]
) -> tuple[float, Outcome]:
    """Return CPU microseconds a request, and the run; answers that fill nothing are added to `empty`."""

    def check(answer: bytes) -> None:
        if b'"seatbid"' not in answer and b'"decisions":[{' not in answer:
            empty.append(answer)

    before = server.cpu_s()
    outcome = closed_loop(server.port, requests, CONNECTIONS, seconds, check)
    return (server.cpu_s() - before) / max(outcome.answers, 1) * 1e6, outcome


def _decision(text: str) -> bytes:
    body = {
        "publisher": PUBLISHER,
        "placements": [
            {"id": "top", "formats": ["banner"], "sizes": [[300, 250], [728, 90]]},
            {"id": "feed", "formats": ["native"]},
        ],
        "page": {"title": text[:60], "text": text, "language": "en"},
    }
    return request_bytes("/v1/decisions", "127.0.0.1", json.dumps(body).encode(), HEADERS)


def _auction(text: str, number: int) -> bytes:
    """Return a bid request as Prebid.js 11 sends it by its prebidServerBidAdapter."""
    prebid: dict[str, Any] = {"bidder": {"tactful": {}}}
    body = {
        "imp": [
            {
                "id": "top",
                "secure": 1,
                "banner": {
                    "topframe": 1,
                    "pos": 1,
                    "format": [{"w": 300, "h": 250}, {"w": 728, "h": 90}],
                },
                "ext": {"gpid": "/sport/top", "data": {"pbadslot": "/sport/top"}, "prebid": prebid},
            },
            {
                "id": "feed",
                "secure": 1,
                "native": {"request": json.dumps(NATIVE), "ver": "1.2"},
                "ext": {"prebid": prebid},
            },
        ],
        "site": {
            "domain": HOST,
            "keywords": "",
            "publisher": {"domain": HOST, "id": PUBLISHER},
            "ext": {"data": {"documentLang": "en", "text": text}},
            "content": {"language": "en", "title": text[:60]},
        },
        "device": {
            "w": 412,
            "h": 915,
            "ua": AGENT,
            "language": "de",
            "ext": {"vpw": 412, "vph": 915},
            "sua": {
                "source": 1,
                "platform": {"brand": "Android"},
                "browsers": [{"brand": "Chromium", "version": ["141"]}],
                "mobile": 1,
            },
        },
        "id": f"9a72c580-e4f6-41db-a687-{number:012}",
        "test": 0,
        "ext": {
            "prebid": {
                "auctiontimestamp": 1795436885248 + number,
                "targeting": {"includewinners": True, "includebidderkeys": False},
                "channel": {"name": "pbjs", "version": "v11.36.0"},
                "page_view_ids": {"tactful": f"a6487c1f-d918-40a7-b3b4-{number:012}"},
                "createtids": False,
            },
            "tmaxmax": 1500,
        },
        "tmax": 800,
    }
    return request_bytes("/openrtb2/auction", "127.0.0.1", json.dumps(body).encode(), HEADERS)
