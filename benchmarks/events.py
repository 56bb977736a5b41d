"""What an event costs: `python -m benchmarks events`.

Over HTTP: CPU (user and system, all processes) of a beacon that is new, kept and settled before it is answered,
beside an empty Flask view under the same server settings that reads the same body; the two take turns on one core.
The writer: events a second that it keeps and settles in batches of 1,000, beside a bare batched INSERT of the same
decoded events into the same table of a store of its own, with the same settings, in turns. On PostgreSQL the same,
beside a bare COPY, too: on a server that is started for it, as the tests start one, but that syncs its files.
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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.catalogue import PUBLISHER, add_folder, prepare
from benchmarks.http import AGENT
from benchmarks.load import Outcome, closed_loop, request_bytes
from benchmarks.process import Server, cores, running, service
from engine.config import KEY_PURPOSES, Config
from engine.event_writer import GATHER_S, EventWriter
from engine.events import KINDS, Event, Row, day_of
from engine.money import Caps
from engine.store import open_store
from engine.store.sqlite import SqliteStore
from engine.tickets import LETTERS, Ticket, Tickets
from privacy.event_token import RANDOM_BYTES, Sealer
from privacy.keyring import Keyring
from tests.postgres import Server as PostgresServer
from tests.postgres import binaries

CONNECTIONS = (
    128  # beacons come from many readers at once; with fewer, a server that waits for its disk is never busy
)
FEW = 32
PER_SECOND = 12_000  # tokens made for each second of load: more than are used
BATCH = 1000
EVENTS = 100_000  # of the writer's part, a round
CAMPAIGNS = 60
RATIO, SHARE, ACK_MS = 1.5, 0.60, 20
_BARE = (
    "INSERT INTO events (view, slot, kind, day, publisher, section, topic, campaign, creative, device, part,"
    " weather, ivt, price_micros, message, propensity_ppm, weight_milli, nearness, rung)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def main(argv: Sequence[str]) -> int:
    """Print both tables; return 1 where a bound is missed or the run does not count."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks events", description=__doc__)
    add_folder(parser)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default 3)")
    parser.add_argument(
        "--database", help="URL of an empty PostgreSQL database (default: a server of its own)"
    )
    options = parser.parse_args(argv)
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores")
    held = _writer(options.rounds)
    with _database(options.database) as url:
        if url is not None:
            held &= _writer_of(url, options.rounds)
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


@contextmanager
def _database(url: str | None) -> Iterator[str | None]:
    """Give the URL of an empty database: the one that was named, or one on a server that ends with this."""
    programs = binaries()
    if url is not None:
        yield url
    elif programs is None or find_spec("psycopg") is None:
        lacks = "the extra 'postgres'" if programs else "a server's programs (Debian's postgresql)"
        print(f"writer over PostgreSQL: NOT MEASURED, this needs {lacks} or --database")
        yield None
    else:
        server = PostgresServer(programs, fsync="on")
        try:
            with server.database() as made:
                yield made
        finally:
            server.close()


def _writer_of(url: str, rounds: int) -> bool:
    """Measure the writer over PostgreSQL beside a bare batched INSERT and a bare COPY, into a table of its kind."""
    import psycopg

    tickets, today = Tickets(Sealer(secrets.token_bytes(32))), day_of(datetime.now(UTC))
    store = open_store(url)
    if store.rows("SELECT 1 FROM events LIMIT 1"):
        raise RuntimeError("the database has events: name an empty one")
    store.money().set_caps({f"campaign-{n}": Caps(10**12, 10**11) for n in range(0, CAMPAIGNS, 3)})
    rates: dict[str, list[float]] = {"INSERT": [], "COPY": [], "ours": []}
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE TABLE bare (LIKE events INCLUDING ALL)")
        try:
            for number in range(rounds + 1):  # the first one warms up
                tokens = _tokens(tickets, EVENTS, random.Random(number))
                events = [read.event(False) for token in tokens if (read := tickets.read(token, today))]
                for name, put in (("INSERT", _bare_insert), ("COPY", _bare_copy)):
                    db.execute("TRUNCATE bare")
                    started = time.perf_counter()
                    for at in range(0, len(events), BATCH):
                        put(db, [event.row for event in events[at : at + BATCH]])
                    if number:
                        rates[name].append(len(events) / (time.perf_counter() - started))
                writer = EventWriter(store.events(), gather_s=0)
                writer.start()
                started = time.perf_counter()
                for at in range(0, len(events), BATCH):
                    writer.keep(events[at : at + BATCH])
                if number:
                    rates["ours"].append(len(events) / (time.perf_counter() - started))
                writer.stop()
                db.execute("TRUNCATE events")
        finally:
            db.execute("DROP TABLE bare")
            store.close()
    print(
        f"writer over PostgreSQL: {EVENTS:,} events a round in batches of {BATCH:,}; medians of {rounds} rounds"
    )
    held = True
    for name in ("INSERT", "COPY"):
        share = statistics.median(o / b for o, b in zip(rates["ours"], rates[name], strict=True))
        held &= share >= SHARE
        print(
            f"  bare {name:6} {statistics.median(rates[name]):9,.0f} events/s; ours "
            f"{statistics.median(rates['ours']):9,.0f} settled: share {share:.2f} (bound {SHARE})"
            + ("" if share >= SHARE else "  MISSED")
        )
    return held


def _bare_insert(db: Any, rows: Sequence[Row]) -> None:
    columns, row = ", ".join(Row._fields), f"({', '.join(['%s'] * len(Row._fields))})"
    with db.transaction():
        db.cursor().executemany(f"INSERT INTO bare ({columns}) VALUES {row}", rows)


def _bare_copy(db: Any, rows: Sequence[Row]) -> None:
    with db.transaction(), db.cursor().copy(f"COPY bare ({', '.join(Row._fields)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _http(config: Config, rounds: int, seconds: float) -> bool:
    keyring = Keyring.open(config.key_dir, KEY_PURPOSES, random=secrets.token_bytes)
    tickets = Tickets(Sealer(keyring.key("events")))
    load_core, server_core = cores()
    if load_core is not None:
        os.sched_setaffinity(0, {load_core})
    else:
        print("one core alone: load and servers share it")
    floors, ours_us, ratios, errors, answers = [], [], [], 0, 0
    waited: list[float] = []
    floor_waited: list[float] = []
    few_waited: list[float] = []
    few_ratios: list[float] = []
    alone: list[float] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        answer = Path(folder) / "answer"
        answer.write_bytes(b"{}")
        ours = stack.enter_context(service(config, server_core))
        floor = stack.enter_context(running(["benchmarks.empty", "--answer", str(answer)], {}, server_core))
        ours.wait_until_quiet()
        before = _kept(config)
        for number in range(rounds + 1):  # the first one warms up
            bodies, *spare = (
                [
                    json.dumps({"tokens": [token]}).encode()
                    for token in _tokens(tickets, int(PER_SECOND * some), random.Random(secrets.randbits(64)))
                ]
                for some in (seconds, seconds / 2, seconds / 20)
            )
            floor_us, empty = _closed(floor, "/v1/decisions", bodies, seconds)
            event_us, told = _closed(ours, "/v1/events", bodies, seconds)
            errors, answers = errors + told.errors, answers + told.answers
            if number:
                waited += told.latencies
                floor_waited += empty.latencies
                floors.append(floor_us)
                ours_us.append(event_us)
                ratios.append(event_us / floor_us)
            few_floor_us, _ = _closed(floor, "/v1/decisions", bodies, seconds / 2, FEW)
            few_us, few = _closed(ours, "/v1/events", spare[0], seconds / 2, FEW)
            errors, answers = errors + few.errors, answers + few.answers
            if number:
                few_ratios.append(few_us / few_floor_us)
                few_waited += few.latencies
            _, one = _closed(ours, "/v1/events", spare[1], seconds / 2, 1)
            errors, answers = errors + one.errors, answers + one.answers
            if number:
                alone += one.latencies
        synced = _synced(Path(folder))
        kept = _kept(config) - before
    ratio = statistics.median(ratios)
    counts = errors == 0 and kept == answers
    print(f"over HTTP: CPU µs an event, medians of {rounds} rounds, {CONNECTIONS} connections")
    print(f"  empty view {statistics.median(floors):6.1f}, event {statistics.median(ours_us):6.1f}")
    print(f"  ratio {ratio:.2f} (bound {RATIO})" + ("" if ratio <= RATIO else "  MISSED"))
    print(
        f"  {answers:,} acknowledged, {kept:,} kept, {errors} errors" + ("" if counts else ": DOES NOT COUNT")
    )
    print(
        f"  with {FEW} connections, where the event's server mostly waits: {statistics.median(few_ratios):.2f}"
    )
    print(f"acknowledged after, ms (aim {ACK_MS}; of it {GATHER_S * 1000:.0f} wait for others)")
    print(f"  one reader alone          {_spread(alone)}")
    print(f"  {FEW} connections            {_spread(few_waited)}")
    print(f"  {CONNECTIONS} connections, saturated {_spread(waited)}")
    print(f"  the empty view, saturated {_spread(floor_waited)}")
    print(
        f"  the disk: one fdatasync of 4 KiB {_spread(synced)}; load on this machine {os.getloadavg()[0]:.1f}"
    )
    return ratio <= RATIO and counts


def _spread(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    at = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 for share in (0.5, 0.95, 0.99)]
    return "p50 {:5.1f}  p95 {:5.1f}  p99 {:5.1f}".format(*at)


def _synced(folder: Path, times: int = 100) -> list[float]:
    """Return how long the disk takes to keep a block: what no acknowledgement can be faster than."""
    found = []
    with (folder / "synced").open("wb", buffering=0) as file:
        for _ in range(times):
            started = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            found.append(time.perf_counter() - started)
    return found


def _closed(
    server: Server, path: str, bodies: Sequence[bytes], seconds: float, connections: int = CONNECTIONS
) -> tuple[float, Outcome]:
    """Return CPU microseconds an answer, and what the load saw."""
    headers = (("User-Agent", AGENT),)
    requests = [request_bytes(path, "127.0.0.1", body, headers) for body in bodies]
    before = server.cpu_s()
    outcome = closed_loop(server.port, requests, connections, seconds)
    return (server.cpu_s() - before) / max(outcome.answers, 1) * 1e6, outcome


def _kept(config: Config) -> int:
    store = SqliteStore(config.database)
    try:
        return int(store.rows("SELECT count(*) FROM events")[0][0])
    finally:
        store.close()
