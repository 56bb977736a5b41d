"""A served process under strace: no byte that it writes may hold what its readers said of themselves.

Twins in one process never see the server's access log, a library's own files or what is sent elsewhere; the
system calls do. Every channel carries its own canary, a text that nothing else could produce.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from engine.prove.channels import KINDS, channels
from engine.prove.twins import Request

_CALLS = "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg"
_READY_S = 60.0
_STOP_S = 15.0
_KEPT_BACK = frozenset(
    {"host", "expect", "te", "content-type", "connection", "transfer-encoding"}
)  # these change how a server reads the rest
_CANARY = re.compile(r"zq[0-9]{5}qz")
_CALL = re.compile(r"(?:\[pid +[0-9]+\] |[0-9]+ +)?([a-z0-9]+)\([0-9]+<([^>]*)")


@dataclass(frozen=True, slots=True)
class Written:
    """A canary that came out of the process."""

    channel: str
    where: str  # the system call and what it wrote to, or the file in which it was found


def canaries_written(
    command: Sequence[str], url: str, requests: Sequence[Request], folder: Path, environ: Mapping[str, str]
) -> tuple[Written, ...]:
    """Serve with `command`, ask for each request with a canary in each channel, and look for them.

    `url` is where the service then answers, `folder` holds all that it keeps, `environ` is its environment.
    Needs strace. Raises TimeoutError if it does not answer.
    """
    trace = folder.parent / f"{folder.name}.trace"
    planted: dict[str, str] = {}
    with _traced(command, trace, environ) as process:
        _await(url, requests[0], process)
        for request in requests:
            for name, marked, target in _marked(request, planted):
                _ask(url, marked, target, name)
    return (*_in_trace(trace, planted), *_in_files(folder, planted))


def _marked(request: Request, planted: dict[str, str]) -> Iterator[tuple[str, Request, str]]:
    """Yield the request with a canary in one channel after another, and the target to ask for."""
    names = [name for channel in channels(KINDS[0]) for value in channel.values for name in value.headers]
    for name in dict.fromkeys(("User-Agent", *names)):
        if name.lower() in _KEPT_BACK:
            continue
        canary = _new(planted, name)
        said = KINDS[0].senders[0].headers["User-Agent"] + f" {canary}" if name == "User-Agent" else canary
        yield (
            name,
            Request(request.method, request.path, request.body, {**request.headers, name: said}),
            request.path,
        )
    canary = _new(planted, "query")
    yield "query", request, f"{request.path}{'&' if '?' in request.path else '?'}uid={canary}"
    for name, prefix, suffix in (
        ("page.url query", "", "?uid={}"),
        ("page.url userinfo", "{}@", ""),
        ("page.url fragment", "", "#{}"),
    ):
        canary = _new(planted, name)
        if body := _with_url(request.body, prefix.format(canary), suffix.format(canary)):
            yield name, Request(request.method, request.path, body, request.headers), request.path


def _new(planted: dict[str, str], channel: str) -> str:
    canary = f"zq{len(planted):05}qz"
    planted[canary] = channel
    return canary


def _with_url(body: bytes, userinfo: str, suffix: str) -> bytes | None:
    try:
        asked = json.loads(body)
        parts = urlsplit(asked["page"]["url"])
    except (ValueError, KeyError, TypeError):
        return None
    asked["page"]["url"] = f"{parts.scheme}://{userinfo}{parts.netloc}{parts.path}{suffix}"
    return json.dumps(asked).encode()


@contextlib.contextmanager
def _traced(
    command: Sequence[str], trace: Path, environ: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    strace = ("strace", "-f", "-qq", "-y", "-s", "1048576", "-e", f"trace={_CALLS}", "-o", str(trace))
    process = subprocess.Popen(  # noqa: S603 - the command is the caller's own
        (*strace, *command),
        env=dict(environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(url: str, request: Request, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            _ask(url, request, request.path, "")
            return
        time.sleep(0.1)
    raise TimeoutError(f"{url}: no answer within {_READY_S:.0f} s")


def _ask(url: str, request: Request, target: str, channel: str) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(request.method, target, request.body or None, dict(request.headers))
        connection.getresponse().read()
    finally:
        connection.close()


def _in_trace(trace: Path, planted: Mapping[str, str]) -> Iterator[Written]:
    found: set[Written] = set()
    with trace.open(errors="replace") as lines:
        for line in lines:
            for canary in _CANARY.findall(line):
                call = _CALL.match(line)
                where = f"{call[1]} to {_named(call[2])}" if call else "a write"
                found.add(Written(planted.get(canary, "an unknown channel"), where))
    yield from sorted(found, key=lambda one: (one.channel, one.where))


def _named(target: str) -> str:
    return re.sub(r":\[.*|[0-9]+$", "", target)  # a socket's or pipe's number says nothing


def _in_files(folder: Path, planted: Mapping[str, str]) -> Iterator[Written]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            text = path.read_bytes().decode("latin-1")
            for canary in dict.fromkeys(_CANARY.findall(text)):
                yield Written(planted.get(canary, "an unknown channel"), path.relative_to(folder).as_posix())
