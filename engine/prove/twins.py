"""Two instances of one service, started alike, that are sent the same requests by different readers."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from engine.prove.acts import watched
from engine.prove.channels import Sender
from engine.prove.consents import said
from engine.prove.state import kept

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

Clock = Callable[[], datetime]
Chance = Callable[[int], bytes]

AUCTION = "/openrtb2/auction"
COUNTERS = "/metrics"
_BY_REASON = (
    b"consent_denied_total{"  # the one counter that may tell readers apart: why a consent did not act
)
START = datetime(2026, 11, 23, 18, 5, tzinfo=UTC)
_TICK = timedelta(milliseconds=250)
_BODY_HEADERS = {"Content-Type": "CONTENT_TYPE", "Content-Length": "CONTENT_LENGTH"}
_RECORD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}


@dataclass(frozen=True, slots=True)
class Service:
    """A running instance. `settle` writes out what is still queued; `close` stops it.

    `operator` is a key that may read COUNTERS, where there are any.
    """

    app: WSGIApplication
    settle: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None
    operator: str | None = None


# Starts a service that takes time and chance from the arguments and keeps everything below the folder. Two
# that were started with equal arguments must answer equal requests alike.
MakeService = Callable[[Clock, Chance, Path], Service]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, whoever asks."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    mute: bool = False  # here not even a good consent may act: under GPC, on a page of an Article 9 topic
    still: bool = (
        False  # the same for everybody: asked with many channels at once, and not with each by itself
    )

    @property
    def auction(self) -> bool:
        """Say whether it is a bid request."""
        return self.method == "POST" and self.path.startswith(AUCTION)

    @property
    def name(self) -> str:
        """Name it for a report."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Observation:
    """All that an answered request left to be seen, but for what is kept."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    log: str
    pieces: tuple[int, ...] = ()  # how many bytes of the body come at once
    acts: tuple[str, ...] = ()  # what was done beside, which may be nothing: see engine.prove.acts

    def differs(self, other: Observation) -> tuple[str, ...]:
        """Name the parts that are not equal."""
        looked_at = ("status", "body", "log", "pieces")
        parts = [part for part in looked_at if getattr(self, part) != getattr(other, part)]
        if self.headers != other.headers:
            names = {name for name, _ in {*self.headers} ^ {*other.headers}} or {"order"}
            parts += [f"header {name}" for name in sorted(names)]
        return tuple(parts)


class Instance:
    """One of the twins."""

    def __init__(self, make: MakeService, folder: Path) -> None:
        """Start it in an empty folder, at a fixed moment, with a fixed seed."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder = folder
        self._now = START
        self._asked = 0
        chance = random.Random(20261123)  # noqa: S311 - the twins need equal chance, not unforeseeable chance
        self._service = make(lambda: self._now, chance.randbytes, folder)

    def send(self, request: Request, sender: Sender) -> Observation:
        """Answer one request, a quarter of a second after the last."""
        self._now += _TICK
        return self._answer(request, sender)

    def _answer(self, request: Request, sender: Sender) -> Observation:
        answered: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            answered.append((status, headers))
            return lambda _: None

        self._asked += 1
        body = _body_of(request, sender, self._now, self._asked)
        with _overheard() as said, watched(self._folder) as acts:
            environ = environ_of(request, sender, said, body)
            try:
                pieces = _read(self._service.app(environ, start_response))
            except Exception as error:  # a server answers 500 and goes on
                answered.append((f"500 {type(error).__name__}", []))
                pieces = []
            self._service.settle()
        status, headers = answered[-1]
        return Observation(
            status,
            tuple(headers),
            b"".join(pieces),
            said.getvalue(),
            tuple(map(len, pieces)),
            tuple(sorted(acts)),
        )

    def kept(self) -> Mapping[str, str]:
        """Digest what it keeps and counts."""
        self._service.settle()
        found = dict(kept(self._folder))
        if self._service.operator is not None:
            told = self._answer(
                Request("GET", COUNTERS),
                Sender({"Authorization": f"Bearer {self._service.operator}"}),
            )
            lines = [line for line in told.body.splitlines() if not line.startswith(_BY_REASON)]
            found[COUNTERS] = hashlib.sha256(b"\n".join([told.status.encode(), *lines])).hexdigest()
        return found

    def close(self) -> None:
        """Stop it."""
        self._service.close()

    def left(self) -> Mapping[str, str]:
        """Digest what it keeps after it was stopped."""
        return kept(self._folder)


def environ_of(request: Request, sender: Sender, errors: io.StringIO, body: bytes) -> dict[str, Any]:
    """Make the WSGI environ of a request as a server would for this sender."""
    headers = {**request.headers, **sender.headers, "Content-Length": str(len(body))}
    media_type = request.headers.get("Content-Type", "")
    if parameters := sender.headers.get("Content-Type"):
        headers["Content-Type"] = media_type + parameters if media_type else ""
    named = [
        (_BODY_HEADERS.get(name) or f"HTTP_{name.upper().replace('-', '_')}", value)
        for name, value in headers.items()
    ]
    path, _, query = request.path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "&".join(filter(None, (_query_of(query, sender), sender.query))),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "HTTP_HOST": "127.0.0.1:8080",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": errors,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    environ.update(reversed(named) if sender.reverse else named)
    environ.update(sender.connection)
    return environ


def _query_of(query: str, sender: Sender) -> str:
    """Give the query as this sender says it: where it names a page, with what the sender adds to its address."""
    if "url=" not in query or not (sender.page_userinfo or sender.page_suffix):
        return query
    said = parse_qsl(query, keep_blank_values=True)
    return urlencode([(name, _page_of(value, sender) if name == "url" else value) for name, value in said])


def _page_of(url: str, sender: Sender) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{sender.page_userinfo}{parts.netloc}{parts.path}{sender.page_suffix}"


def _read(parts: Iterable[bytes]) -> list[bytes]:
    try:
        return list(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()


def _body_of(request: Request, sender: Sender, now: datetime, number: int) -> bytes:
    """Give the body as this sender says it at a moment, in its request of this number."""
    body = _said_of(request, sender, now, number)
    return _spelt(body) if sender.spelt else body


def _spelt(body: bytes) -> bytes:
    """Write JSON as another library does: order, blanks and escapes differ, and nothing that is said."""
    try:
        said = json.loads(body)
    except ValueError:
        return body
    if isinstance(said, dict):
        said = dict(reversed(said.items()))
    return json.dumps(said, indent=1, ensure_ascii=True).encode() + b"\n"


def _said_of(request: Request, sender: Sender, now: datetime, number: int) -> bytes:
    if request.auction:
        return _bid_request(request, sender)
    if not (sender.page_userinfo or sender.page_suffix or sender.consent):
        return request.body
    try:
        body = json.loads(request.body)
        url = body["page"]["url"]
    except (ValueError, KeyError, TypeError):
        return request.body
    body["page"]["url"] = _page_of(url, sender)
    if sender.consent:
        body |= said(sender.consent, body["publisher"], now, number)
    return json.dumps(body, ensure_ascii=False).encode()


def _bid_request(request: Request, sender: Sender) -> bytes:
    """Give a bid request as this sender says it."""
    body = json.loads(request.body)
    body["site"]["page"] = _page_of(body["site"]["page"], sender)
    for path, value in sender.ortb.items():
        at, names = body, path.split(".")
        for name in names[:-1]:
            at = at[int(name)] if isinstance(at, list) else at.setdefault(name, {})
        at[names[-1]] = value
    return json.dumps(body).encode()


@contextmanager
def _overheard() -> Iterator[io.StringIO]:
    """Catch what is logged, printed or written to the server's error stream."""
    said = io.StringIO()
    handler = _Overhear(said)
    root = logging.getLogger()
    before, level = root.handlers, root.level
    root.handlers = [handler]
    root.setLevel(logging.DEBUG)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), _streams(said):
            yield said
    finally:
        root.handlers = before
        root.setLevel(level)


@contextmanager
def _streams(said: io.StringIO) -> Iterator[None]:
    """Catch what goes to the process' own output and error streams past Python's."""
    with tempfile.TemporaryFile() as file:
        before = [(stream, os.dup(stream)) for stream in (1, 2)]
        for stream, _ in before:
            os.dup2(file.fileno(), stream)
        try:
            yield
        finally:
            for stream, kept_open in before:
                os.dup2(kept_open, stream)
                os.close(kept_open)
            file.seek(0)
            said.write(file.read().decode("utf-8", "replace"))


class _Overhear(logging.Handler):
    def __init__(self, said: io.StringIO) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        extra = {name: value for name, value in sorted(vars(record).items()) if name not in _RECORD}
        error = repr(record.exc_info[1]) if record.exc_info else ""
        self._said.write(f"{record.levelname} {record.name} {record.getMessage()} {extra} {error}\n")
