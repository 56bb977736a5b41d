"""What an event costs: `python -m benchmarks events`.

Over HTTP: CPU (user and system, all processes) of a beacon that is new, kept and settled before it is answered,
beside an empty Flask view under the same server settings that reads the same body; the two take turns on one core.
The writer: events a second that it keeps and settles in batches of 1,000, beside a bare batched INSERT of the same
decoded events into the same table of a store of its own, with the same settings, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import secrets
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.catalogue import PUBLISHER, add_folder, prepare
from benchmarks.http import AGENT
from benchmarks.load import closed_loop, request_bytes
from benchmarks.process import Server, cores, running, service
from engine.config import KEY_PURPOSES, Config
from engine.event_writer import EventWriter
from engine.events import KINDS, Event, day_of
from engine.money import Caps
from engine.store import open_store
from engine.store.sqlite import SqliteStore
from engine.tickets import LETTERS, Ticket, Tickets
from privacy.event_token import RANDOM_BYTES, Sealer
from privacy.keyring import Keyring

CONNECTIONS = 32  # beacons come from many readers at once
PER_SECOND = 12_000  # tokens made for each second of load: more than are used
BATCH = 1000
EVENTS = 100_000  # of the writer's part, a round
CAMPAIGNS = 60
RATIO, SHARE = 1.5, 0.60
_BARE = (
    "INSERT INTO events (view, slot, kind, day, publisher, section, topic, campaign, creative, device, part,"
    " weather, ivt, price_micros, message, propensity_ppm, weight_milli, rung)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def main(argv: Sequence[str]) -> int:
    """Print both tables; return 1 where a bound is missed or the run does not count."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks events", description=__doc__)
    add_folder(parser)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default 3)")
    options = parser.parse_args(argv)
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores")
    held = _writer(options.rounds)
    held &= _http(prepare(options.folder, 1000), options.rounds, options.seconds)
    return 0 if held else 1


def _tokens(tickets: Tickets, count: int, chance: random.Random) -> list[str]:
    """Make tokens of as many events, three of each placement."""
    at_ms = int(datetime.now(UTC).timestamp() * 1000) - 2000  # long enough ago for all to be possible
    made: list[str] = []
    while len(made) < count:
        campaign = chance.randrange(CAMPAIGNS)
        ticket = Ticket(
            PUBLISHER, f"section-{chance.randrange(20)}", str(chance.randrange(1, 700)), f"campaign-{campaign}",
            f"creative-{campaign}-{chance.randrange(5)}", chance.randrange(4), chance.randrange(5),
            chance.randrange(8), False, 0, 2_345,
        )  # fmt: skip
        sealed = tickets.write(at_ms, 0, tickets.packed(ticket), chance.randbytes(RANDOM_BYTES), 0)
        made += [LETTERS[kind] + sealed for kind in KINDS]
    return made[:count]


def _writer(rounds: int) -> bool:
    tickets = Tickets(Sealer(secrets.token_bytes(32)))
    bare_rates, ours_rates = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):  # the first one warms up
            tokens = _tokens(tickets, EVENTS, random.Random(number))
            today = day_of(datetime.now(UTC))
            events = [read.event(False) for token in tokens if (read := tickets.read(token, today))]
            bare = _timed_bare(Path(folder) / f"bare-{number}.db", events)
            ours = _timed_ours(Path(folder) / f"ours-{number}.db", events)
            if number:
                bare_rates.append(bare)
                ours_rates.append(ours)
    shares = [ours / bare for ours, bare in zip(ours_rates, bare_rates, strict=True)]
    share = statistics.median(shares)
    print(f"writer: {EVENTS:,} events a round in batches of {BATCH:,}; medians of {rounds} rounds")
    print(f"  bare INSERT {statistics.median(bare_rates):9,.0f} events/s")
    print(f"  ours        {statistics.median(ours_rates):9,.0f} events/s, settled")
    print(f"  share {share:.2f} (bound {SHARE})" + ("" if share >= SHARE else "  MISSED"))
    return share >= SHARE


def _timed_bare(path: Path, events: Sequence[Event]) -> float:
    store = SqliteStore(path)
    started = time.perf_counter()
    for at in range(0, len(events), BATCH):
        with store.writing() as db:
            db.executemany(_BARE, [event.row for event in events[at : at + BATCH]])
    taken = time.perf_counter() - started
    store.close()
    return len(events) / taken


def _timed_ours(path: Path, events: Sequence[Event]) -> float:
    store = open_store(f"sqlite:///{path}")
    store.money().set_caps({f"campaign-{n}": Caps(10**12, 10**11) for n in range(0, CAMPAIGNS, 3)})
    writer = EventWriter(store.events(), gather_s=0)
    writer.start()
    started = time.perf_counter()
    for at in range(0, len(events), BATCH):
        writer.keep(events[at : at + BATCH])
    taken = time.perf_counter() - started
    writer.stop()
    ((kept,),) = store.rows("SELECT count(*) FROM events")
    store.close()
    if kept != len(events):
        raise RuntimeError(f"{kept} of {len(events)} events were kept")
    return len(events) / taken


def _http(config: Config, rounds: int, seconds: float) -> bool:
    keyring = Keyring.open(config.key_dir, KEY_PURPOSES, random=secrets.token_bytes)
    tickets = Tickets(Sealer(keyring.key("events")))
    load_core, server_core = cores()
    if load_core is not None:
        os.sched_setaffinity(0, {load_core})
    else:
        print("one core alone: load and servers share it")
    floors, ours_us, ratios, errors, answers = [], [], [], 0, 0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        answer = Path(folder) / "answer"
        answer.write_bytes(b"{}")
        ours = stack.enter_context(service(config, server_core))
        floor = stack.enter_context(running(["benchmarks.empty", "--answer", str(answer)], {}, server_core))
        ours.wait_until_quiet()
        before = _kept(config)
        for number in range(rounds + 1):  # the first one warms up
            bodies = [
                json.dumps({"tokens": [token]}).encode()
                for token in _tokens(tickets, int(PER_SECOND * seconds), random.Random(secrets.randbits(64)))
            ]
            floor_us, _, _ = _closed(floor, "/v1/decisions", bodies, seconds)
            event_us, told, failed = _closed(ours, "/v1/events", bodies, seconds)
            errors, answers = errors + failed, answers + told
            if number:
                floors.append(floor_us)
                ours_us.append(event_us)
                ratios.append(event_us / floor_us)
        kept = _kept(config) - before
    ratio = statistics.median(ratios)
    counts = errors == 0 and kept == answers
    print(f"over HTTP: CPU µs an event, medians of {rounds} rounds, {CONNECTIONS} connections")
    print(f"  empty view {statistics.median(floors):6.1f}, event {statistics.median(ours_us):6.1f}")
    print(f"  ratio {ratio:.2f} (bound {RATIO})" + ("" if ratio <= RATIO else "  MISSED"))
    print(
        f"  {answers:,} acknowledged, {kept:,} kept, {errors} errors" + ("" if counts else ": DOES NOT COUNT")
    )
    return ratio <= RATIO and counts


def _closed(server: Server, path: str, bodies: Sequence[bytes], seconds: float) -> tuple[float, int, int]:
    """Return CPU microseconds an answer, the answers and the errors."""
    headers = (("User-Agent", AGENT),)
    requests = [request_bytes(path, "127.0.0.1", body, headers) for body in bodies]
    before = server.cpu_s()
    outcome = closed_loop(server.port, requests, CONNECTIONS, seconds)
    return (server.cpu_s() - before) / max(outcome.answers, 1) * 1e6, outcome.answers, outcome.errors


def _kept(config: Config) -> int:
    store = SqliteStore(config.database)
    try:
        return int(store.rows("SELECT count(*) FROM events")[0][0])
    finally:
        store.close()
