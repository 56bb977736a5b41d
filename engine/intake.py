"""Slow senders: how long a body may take to come, and how many requests are worked on at once.

A server's thread that waits for bytes cannot be called back: neither granian nor gunicorn ends such a wait.
So threads that wait for bodies are many and take no turn, turns to work are few, and a connection whose
sender is too slow is closed for reading, where the system tells how old it is (Linux): the thread comes back
with what there is, and the request is answered 408.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from engine.later import LATER, Send

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

log = logging.getLogger(__name__)

PRESSED = 0.75  # share of the threads; while more wait for bodies, patience is short:
PRESSED_S = 1.0
LOOK_S = 0.25  # between looks at those who wait
LOOK_SHARE = 0.1  # of the time that looks may take, however many connections there are
_WITH_BODY = ("POST", "PUT")
# linux/tcp.h, struct tcp_info: ages in milliseconds of what was last sent and received
_LAST_SENT, _LAST_RECEIVED = 44, 52
_TCP_INFO_BYTES = 104


class Input(Protocol):
    """A body as servers hand it on."""

    def read(self, size: int, /) -> bytes:
        """Wait for so many bytes or the end."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An accepted connection: a file descriptor of our own on it, and for how long each side was silent."""

    socket: socket.socket
    inode: int
    unanswered_s: float  # since we last sent
    silent_s: float  # since the other side last did


class Intake:
    """WSGI middleware: lends the input of each request, gives turns to work, and ends waits for slow senders."""

    def __init__(
        self,
        app: WSGIApplication,
        *,
        turns: int,
        threads: int,
        patience_s: float,
        monotonic: Callable[[], float],
        heads: bool = False,
        light: Callable[[str], bool] = lambda path: False,
    ) -> None:
        """Take the app, how many requests it works on at once, and how many threads the server has.

        `light`: requests of this path are so little work that they take no turn, which would cost more.
        `heads`: the server's threads wait for the heads of requests, too, which is not seen here.
        """
        self._app = app
        self._threads = threads
        self._patience_s = patience_s
        self._monotonic = monotonic
        self._heads = heads
        self._light = light
        self._turns: SimpleQueue[None] = SimpleQueue()
        for _ in range(turns):
            self._turns.put(None)
        self._reading: dict[int, float] = {}  # thread → since when it waits for a body
        self._since: dict[int, float] = {}  # connection → since when it was seen to send without an answer
        self._cut_at = float("-inf")

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Work on a request when it is its turn: one with a body, when that is in."""
        light = self._light(environ["PATH_INFO"])
        body = environ["wsgi.input"] = _Body(environ["wsgi.input"], self, environ.get(LATER), light)
        if environ["REQUEST_METHOD"] not in _WITH_BODY:
            body.take_turn()
        try:
            return self._app(environ, start_response)
        finally:
            body.leave()

    def watch(self, stop: threading.Event) -> None:
        """Look after those who wait until `stop` is set."""
        wait_s = LOOK_S
        while not stop.wait(wait_s):
            began = self._monotonic()
            self.look()
            wait_s = max(LOOK_S, (self._monotonic() - began) / LOOK_SHARE)

    def look(self) -> None:
        """Close for reading the connections of those who are too slow, as many as threads wait for too long.

        Which connection a thread waits for is not known. It is one on which nothing was sent for as long, and
        whose other side is silent as long or sends on without an end: those whose request waits longest go
        first, as servers take them in turn; then those that ask for nothing, to whom it does no harm.
        """
        now = self._monotonic()
        waits_s = [now - began for began in list(self._reading.values())]
        if self._heads:
            waits_s = [self._patience_s] * self._threads  # any of them may wait, for as long
        pressed = len(self._reading) > self._threads * PRESSED
        patience_s = PRESSED_S if pressed else self._patience_s
        if not waits_s or max(waits_s) < (LOOK_S if pressed else PRESSED_S):
            self._since.clear()
            return
        late = sum(wait_s >= (LOOK_S if pressed else patience_s) for wait_s in waits_s)
        seen: dict[int, float] = {}
        slow = []
        for connection in accepted():
            since = now
            if connection.unanswered_s >= PRESSED_S:
                since = seen[connection.inode] = self._since.get(connection.inode, now)
            if connection.unanswered_s >= patience_s and (
                connection.silent_s >= patience_s or now - since >= max(LOOK_S, patience_s - PRESSED_S)
            ):
                slow.append(connection)
            else:
                connection.socket.close()
        self._since = seen
        slow.sort(key=lambda one: (one.silent_s < one.unanswered_s, one.unanswered_s), reverse=True)
        if late and slow:
            self._cut_at = now
            log.warning("slow senders cut off", extra={"connections": min(late, len(slow))})
        for place, connection in enumerate(slow):
            with closing(connection.socket), suppress(OSError):  # gone by itself
                if place < late:
                    connection.socket.shutdown(socket.SHUT_RD)


class _Body:
    """The input of one request, and its turn: taken when bytes are in, given back while it waits for more.

    `later` answers the request from another thread; None where the server lets only this one answer.
    """

    __slots__ = ("_has_turn", "_input", "_intake", "_light", "later")

    def __init__(self, input: Input, intake: Intake, later: Send | None, light: bool) -> None:
        self._input, self._intake, self._has_turn, self._light = input, intake, False, light
        self.later = later

    def read(self, size: int) -> bytes:
        """Return so many bytes, or less where the body ends.

        Raises TimeoutError where they came too slowly, ConnectionError where the body is broken.
        """
        intake, thread = self._intake, threading.get_ident()
        self.leave()
        began = intake._monotonic()
        intake._reading[thread] = began
        data, fault = b"", None
        try:
            data = self._input.read(size)
        except Exception as error:  # noqa: BLE001 - each server has its own for a chunk that is none, say
            fault = error
        finally:
            del intake._reading[thread]
        if len(data) < size and intake._cut_at > began:
            raise TimeoutError(f"{len(data)} bytes of a body within {intake._patience_s:g} s")
        if fault is not None:
            raise ConnectionError("a body that cannot be read") from fault
        self.take_turn()
        return data

    def take_turn(self) -> None:
        if not self._light:
            self._intake._turns.get()
            self._has_turn = True

    def leave(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._intake._turns.put(None)


def accepted() -> Iterator[Connection]:
    """Yield the connections that this process accepted; the caller closes each. None where ages are not told."""
    if not sys.platform.startswith("linux"):
        return
    found = []
    ports = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # closed meanwhile, or no TCP
            status = os.fstat(int(name))
            if not stat.S_ISSOCK(status.st_mode):
                continue
            copy = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, os.dup(int(name)))
            try:
                # Of the copy: the number may stand for another connection by now.
                inode, port = os.fstat(copy.fileno()).st_ino, copy.getsockname()[1]
                if copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    ports.add(port)
                    copy.close()
                    continue
                copy.getpeername()  # what is bound and no more has no other side
                info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
                sent, received = (
                    struct.unpack_from("=I", info, at)[0] for at in (_LAST_SENT, _LAST_RECEIVED)
                )
            except (OSError, IndexError, struct.error):
                copy.close()
                continue
            found.append((port, Connection(copy, inode, sent / 1000, received / 1000)))
    for port, connection in found:
        if port in ports:
            yield connection
        else:
            connection.socket.close()
