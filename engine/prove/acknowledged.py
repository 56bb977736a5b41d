"""`tactful prove acknowledged`: what a beacon was answered 204 for is kept, though processes are killed under load.

A service of its own is started, real workers over a real store, and told of events over HTTP from many connections.
Meanwhile its workers, and now and then all of its processes, are killed (SIGKILL) and started again. What was not
acknowledged is told again, as a publisher's server would. In the end each event that was acknowledged has to be in the
store, once, and the ledger has to hold its price. How much this finds is measured by a service that acknowledges too
early (`PLANTED`).
"""

from __future__ import annotations

import http.client
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine.config import KEY_PURPOSES, Config
from engine.errors import ProofError
from engine.event_writer import EventWriter, Told
from engine.events import Event
from engine.serve import serve
from engine.store import open_store
from engine.tickets import DAY_MS, LETTERS, Ticket, Tickets
from privacy.event_token import RANDOM_BYTES, Sealer
from privacy.keyring import Keyring

WORKERS = 2
CONNECTIONS = 24
SIZES = (1, 1, 1, 5, 20, 100)  # tokens of a request
PRICE = 1_237  # micro-units of an impression
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
READY_S = 300.0
AWAY_S = 120.0  # so long the service may be away at once
# What imports find here they must find there, however this process was started.
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from engine.prove.acknowledged import main; main()"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was acknowledged, and what became of it."""

    store: str
    acknowledged: int
    again: int  # told again, since the answer was lost
    killed: int
    missing: int
    differences: tuple[str, ...]
    planted: bool | None = None  # whether a service that acknowledges too early was found; None: not tried

    @property
    def holds(self) -> bool:
        """Tell whether the promise held, and the planted fault was found."""
        return not self.missing and not self.differences and self.planted is not False

    def plain(self) -> dict[str, Any]:
        """Give the verdict as JSON values."""
        told = {
            "proof": "acknowledged",
            "holds": self.holds,
            "store": self.store,
            "acknowledged": self.acknowledged,
            "told_again": self.again,
            "killed": self.killed,
            "missing": self.missing,
            "differences": list(self.differences),
        }
        return told if self.planted is None else told | {"planted_found": self.planted}

    def lines(self) -> Iterator[str]:
        """Yield the verdict as one line of JSON."""
        yield json.dumps(self.plain(), ensure_ascii=False)


def prove_acknowledged(
    models: Path, events: int, kills: int, database: str | None = None, *, planted: bool = True
) -> Verdict:
    """Prove it with so many events and kills, over an SQLite file or an empty PostgreSQL `database`.

    `models` is a folder of models that were exported before, or becomes one. With `planted`, a service that
    acknowledges too early is tried first, over a file. Raises ProofError where the service does not run.
    """
    found = None
    if planted:
        found = bool(_run(models, 40_000, 3, None, planted=True).missing)
    ran = _run(models, events, kills, database, planted=False)
    return Verdict(ran.store, ran.acknowledged, ran.again, ran.killed, ran.missing, ran.differences, found)


def plant() -> None:
    """Let the writer of this process acknowledge what it has not kept yet."""
    keep_later = EventWriter.keep_later

    def early(self: EventWriter, events: Sequence[Event], told: Told) -> None:
        keep_later(self, events, lambda kept: None)
        told(True)

    EventWriter.keep_later = early  # type: ignore[method-assign]


class _Request(NamedTuple):
    body: bytes
    views: tuple[bytes, ...]


class _Order(msgspec.Struct, frozen=True):
    """What the service is told, as JSON on its standard input."""

    data_dir: str
    key_dir: str
    store: str | None
    port: int
    planted: bool


def main() -> None:
    """Serve as standard input tells, until SIGTERM."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=_Order)
    if order.planted:
        plant()
    serve(
        Config(
            data_dir=Path(order.data_dir),
            key_dir=Path(order.key_dir),
            store=order.store,
            port=order.port,
            workers=WORKERS,
            weather="none",
        )
    )


class _Service:
    """A service that is started, killed and started again."""

    def __init__(self, config: Config, folder: Path, planted: bool) -> None:
        self.port = config.port
        self._order = _Order(str(config.data_dir), str(config.key_dir), config.store, config.port, planted)
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it is ready."""
        command = [sys.executable, "-c", START, msgspec.json.encode(sys.path).decode()]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        if self._process.stdin is not None:
            with self._process.stdin as told:
                told.write(msgspec.json.encode(self._order))
        until = time.monotonic() + READY_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise ProofError(
                    f"the service does not start: {self._log.read_text('utf-8', 'replace')[-500:]}"
                )
            time.sleep(0.05)

    def kill(self, *, whole: bool) -> int:
        """Kill the oldest worker, which is started anew by itself, or the whole; return how many processes."""
        if self._process is None or self._process.poll() is not None:
            return 0
        workers = _children(self._process.pid)
        if whole:
            os.killpg(self._process.pid, signal.SIGKILL)
            return len(workers) + 1
        for pid in workers[:1]:
            os.kill(pid, signal.SIGKILL)
        return len(workers[:1])

    def tend(self) -> None:
        """Start it again where it ended, as a supervisor does."""
        if self._process is not None and self._process.poll() is not None:
            self.start()

    def stop(self) -> None:
        """Stop it as one stops a service."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            asked.request("GET", "/readyz")
            return asked.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asked.close()


class _Teller(threading.Thread):
    """One connection, which tells its share and tells again what was not acknowledged."""

    def __init__(self, port: int, requests: Iterator[_Request], lock: threading.Lock) -> None:
        super().__init__(daemon=True)
        self._port, self._requests, self._lock = port, requests, lock
        self.acknowledged: list[bytes] = []
        self.again = 0
        self.fault: str | None = None

    def run(self) -> None:
        """Tell until there is nothing left."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while self.fault is None:
            with self._lock:
                asked = next(self._requests, None)
            if asked is None:
                break
            self._tell(connection, asked)
        connection.close()

    def _tell(self, connection: http.client.HTTPConnection, asked: _Request) -> None:
        headers = {"Content-Type": "text/plain", "User-Agent": AGENT}
        until = time.monotonic() + AWAY_S
        while time.monotonic() < until:
            try:
                connection.request("POST", "/v1/events", asked.body, headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
            else:
                if answer.status == 204:
                    self.acknowledged.extend(asked.views)
                    return
                if answer.status != 503:
                    self.fault = f"a beacon was answered {answer.status}"
                    return
            self.again += 1
            time.sleep(0.05)
        self.fault = f"no answer for {AWAY_S:.0f} s"


class _Ran(NamedTuple):
    store: str
    acknowledged: int
    again: int
    killed: int
    missing: int
    differences: tuple[str, ...]


def _run(models: Path, events: int, kills: int, database: str | None, *, planted: bool) -> _Ran:
    chance = random.Random(f"{events}/{kills}")  # noqa: S311 - when to kill
    with tempfile.TemporaryDirectory(prefix="tactful-proof-") as name:
        folder = Path(name)
        config = Config(
            data_dir=folder / "data",
            key_dir=folder / "keys",
            store=database,
            port=_free_port(),
            workers=WORKERS,
        )
        models.mkdir(parents=True, exist_ok=True)
        config.data_dir.mkdir()
        (config.data_dir / "models").symlink_to(models.resolve(), target_is_directory=True)
        keyring = Keyring.open(config.key_dir, KEY_PURPOSES, random=secrets.token_bytes)
        tickets = Tickets(Sealer(keyring.key("events")))
        service = _Service(config, folder, planted)
        _check_empty(config)
        try:
            service.start()
            tellers, killed = _under_fire(service, _requests(tickets, events), kills, events, chance)
        finally:
            service.stop()
        faults = [teller.fault for teller in tellers if teller.fault is not None]
        if faults:
            raise ProofError(f"the service did not go on: {faults[0]}")
        told = [view for teller in tellers for view in teller.acknowledged]
        missing, differences = _compare(config, told)
    kind = "sqlite" if database is None else "postgresql"
    return _Ran(kind, len(told), sum(teller.again for teller in tellers), killed, missing, differences)


def _under_fire(
    service: _Service, requests: Iterator[_Request], kills: int, events: int, chance: random.Random
) -> tuple[list[_Teller], int]:
    """Tell, and kill each time that another share of the events was acknowledged."""
    lock = threading.Lock()
    tellers = [_Teller(service.port, requests, lock) for _ in range(CONNECTIONS)]
    for teller in tellers:
        teller.start()
    killed = 0
    for number in range(kills):
        wanted = events * (number + 1) // (kills + 1)
        while sum(len(t.acknowledged) for t in tellers) < wanted and any(t.is_alive() for t in tellers):
            service.tend()
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.02))
        killed += service.kill(whole=number % 3 == 2)
    while any(t.is_alive() for t in tellers):
        service.tend()
        time.sleep(0.05)
    return tellers, killed


def _requests(tickets: Tickets, events: int) -> Iterator[_Request]:
    """Make requests of as many events, each the impression of a page view of its own."""
    chance = random.Random(events)  # noqa: S311 - sizes of requests
    ticket = Ticket("planet", "other", "483", "spring", "spring-1", 0, 0, 0, False, 0, PRICE)
    packed, left = tickets.packed(ticket), events
    while left:
        count = min(left, chance.choice(SIZES))
        left -= count
        tokens, views = [], []
        for _ in range(count):
            at_ms = int(datetime.now(UTC).timestamp() * 1000) - 2000
            random_bytes = secrets.token_bytes(RANDOM_BYTES)
            tokens.append(LETTERS["impression"] + tickets.write(at_ms, 0, packed, random_bytes, 0))
            views.append(tickets.sealer.view(at_ms // DAY_MS, random_bytes))
        yield _Request(" ".join(tokens).encode(), tuple(views))


def _compare(config: Config, told: Sequence[bytes]) -> tuple[int, tuple[str, ...]]:
    """Return how many of what was acknowledged is not there, and where the books differ."""
    store = open_store(config.store_url)
    try:
        rows = store.rows("SELECT view, ivt, price_micros FROM events")
        kept = {bytes(view) for view, _, _ in rows}
        differences = []
        if len(rows) != len(kept):
            differences.append(f"{len(rows) - len(kept)} events are kept twice")
        if strange := kept - set(told):
            differences.append(f"{len(strange)} events are kept that were not acknowledged in the end")
        if invalid := sum(ivt != 0 for _, ivt, _ in rows):
            differences.append(f"{invalid} events are held invalid")
        billed = store.money().billed("spring", 0, 10**6)
        if (billed.events, billed.micros) != (len(kept), PRICE * len(kept)):
            differences.append(f"{billed.events} events are billed at {billed.micros}, {len(kept)} are kept")
        differences += store.money().faults(0)
        return len(set(told) - kept), tuple(differences)
    finally:
        store.close()


def _check_empty(config: Config) -> None:
    """Make the tables. Raises ProofError where a database has events."""
    store = open_store(config.store_url)
    try:
        if store.rows("SELECT 1 FROM events LIMIT 1"):
            raise ProofError("the database has events: name an empty one, that the proof may fill")
    finally:
        store.close()


def _children(pid: int) -> list[int]:
    """Return the worker processes of a main process, oldest first (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            fields = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes()
            if int(fields[1]) == pid and b"resource_tracker" not in command:
                found.append((int(fields[19]), int(stat.parent.name)))  # when it started, and its id
    return [id for _, id in sorted(found)]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
