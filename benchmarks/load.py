"""Load over keep-alive connections from one thread: closed loop, or open loop with Poisson arrivals.

Raw sockets and epoll, so that a Python client on one core can saturate a server on another. An open loop counts
latency from the moment at which a request was due, so that a slow answer is not hidden by what waits behind it.
"""

from __future__ import annotations

import random
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle


@dataclass(slots=True)
class Outcome:
    """What a run of load saw."""

    seconds: float = 0.0
    answers: int = 0
    errors: int = 0  # neither 200 nor 204, or a connection lost
    degraded: int = 0
    unfilled: int = 0  # answers with an empty placement
    latencies: list[float] = field(default_factory=list)  # seconds, in no order

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds if self.seconds else 0.0


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    due: float = 0.0
    received: bytearray = field(default_factory=bytearray)
    whole: int = 0  # length of the answer that is coming in, once it is known
    busy: bool = False


def request_bytes(path: str, host: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Return a POST of JSON as it goes over the wire."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def closed_loop(
    port: int,
    requests: Sequence[bytes],
    connections: int,
    seconds: float,
    check: Callable[[bytes], None] | None = None,
) -> Outcome:
    """Ask on every connection as soon as its last answer is there; `check` is given each good answer's body."""
    return _Run(port, requests, connections, check).run(seconds, rate=None)


def open_loop(
    port: int, requests: Sequence[bytes], connections: int, seconds: float, rate: float, seed: int
) -> Outcome:
    """Ask `rate` times a second on average, whatever the answers do."""
    return _Run(port, requests, connections).run(seconds, rate, random.Random(seed))


class _Run:
    """One run; its connections are closed at its end."""

    def __init__(
        self,
        port: int,
        requests: Sequence[bytes],
        connections: int,
        check: Callable[[bytes], None] | None = None,
    ) -> None:
        self._port = port
        self._check = check
        self._requests: Iterator[bytes] = cycle(requests)
        self._poll = select.epoll()
        self._open: dict[int, _Connection] = {}
        self._outcome = Outcome()
        self._idle: deque[_Connection] = deque(self._connect() for _ in range(connections))

    def run(self, seconds: float, rate: float | None, chance: random.Random | None = None) -> Outcome:
        outcome, started = self._outcome, time.perf_counter()
        end = started + seconds
        waiting: deque[float] = deque()  # moments at which requests were due that no connection was free for
        next_due = started
        while True:
            now = time.perf_counter()
            if rate is None or chance is None:
                while self._idle and now < end:
                    self._ask(self._idle.popleft(), now)
            else:
                while next_due <= now and next_due < end:
                    waiting.append(next_due)
                    next_due += chance.expovariate(rate)
                while self._idle and waiting:
                    self._ask(self._idle.popleft(), waiting.popleft())
            busy = len(self._open) - len(self._idle)
            if now >= end and not waiting and not busy or now > end + 10:
                break
            # Sleeping is coarser than the gaps between requests: within a millisecond it waits awake.
            gap = (next_due if rate is not None and next_due < end else end) - now
            self._receive(0.0 if rate is not None and gap < 0.001 else max(0.001, min(gap, 0.05)))
        outcome.seconds = time.perf_counter() - started if rate is None else seconds
        outcome.errors += len(self._open) - len(self._idle) + len(waiting)
        for connection in self._open.values():
            connection.socket.close()
        self._poll.close()
        return outcome

    def _connect(self) -> _Connection:
        made = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(made)
        self._open[made.fileno()] = connection
        self._poll.register(made.fileno(), select.EPOLLIN)
        return connection

    def _ask(self, connection: _Connection, due: float) -> None:
        connection.due, connection.busy = due, True
        connection.socket.sendall(next(self._requests))

    def _receive(self, timeout: float) -> None:
        for number, _ in self._poll.poll(timeout):
            connection = self._open[number]
            try:
                data = connection.socket.recv(262_144)
            except OSError:
                data = b""
            if not data:
                self._reconnect(connection)
                continue
            connection.received += data
            if not connection.whole:
                connection.whole = _length(connection.received)
            if connection.whole and len(connection.received) >= connection.whole:
                self._count(connection)

    def _count(self, connection: _Connection) -> None:
        outcome, answer = self._outcome, bytes(connection.received)
        outcome.latencies.append(time.perf_counter() - connection.due)
        outcome.answers += 1
        good = answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 204"))
        outcome.errors += not good
        if good and self._check is not None:
            self._check(answer.partition(b"\r\n\r\n")[2])
        outcome.degraded += b'"degraded":true' in answer
        outcome.unfilled += b'"unfilled":["' in answer
        connection.received.clear()
        connection.whole, connection.busy = 0, False
        self._idle.append(connection)

    def _reconnect(self, connection: _Connection) -> None:
        self._outcome.errors += connection.busy
        self._poll.unregister(connection.socket.fileno())
        del self._open[connection.socket.fileno()]
        connection.socket.close()
        if not connection.busy:
            self._idle.remove(connection)
        self._idle.append(self._connect())


def _length(received: bytearray) -> int:
    """Return how long the answer is with its head, or 0 where the head is not whole yet."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = bytes(received[:end]).lower()
    at = head.find(b"content-length:")
    return end + 4 + (int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
