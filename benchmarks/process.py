"""A server in a process group of its own: started, pinned to a core, measured from outside, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from engine.config import PREFIX, Config

READY_S = 300.0
QUIET = 0.02  # of a core: below it a server counts as idle
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server and all of its processes."""

    process: subprocess.Popen[bytes]
    port: int
    ready_s: float  # from start to ready

    def members(self) -> list[int]:
        """Return the ids of its processes."""
        return [pid for pid, fields in _stats() if int(fields[2]) == self.process.pid]

    def cpu_s(self) -> float:
        """Return user and system time of all of its processes so far."""
        ticks = sum(int(f[11]) + int(f[12]) for _, f in _stats() if int(f[2]) == self.process.pid)
        return ticks / _TICKS

    def wait_until_quiet(self, timeout_s: float = 600.0) -> None:
        """Wait until what goes on beside the requests is done. Raises TimeoutError."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            before = self.cpu_s()
            time.sleep(2)
            if self.cpu_s() - before <= 2 * QUIET:
                return
        raise TimeoutError(f"the server on port {self.port} is still busy after {timeout_s:.0f} s")


@contextmanager
def service(config: Config, core: int | None = None) -> Iterator[Server]:
    """Run `tactful serve` with these settings until the block ends."""
    settings = {
        "data_dir": config.data_dir,
        "key_dir": config.key_dir,
        "public_url": config.base_url,  # whatever the port: pictures' addresses stand in the snapshot
        "workers": config.workers,
        "threads": config.threads,
        "poll_ms": config.poll_ms,
        "deadline_ms": config.deadline_ms,
    }
    environ = {PREFIX + name.upper(): str(value) for name, value in settings.items()}
    with running(["engine.cli", "serve"], environ, core, ready="/readyz") as server:
        yield server


@contextmanager
def running(
    command: Sequence[str], environ: Mapping[str, str], core: int | None, ready: str | None = None
) -> Iterator[Server]:
    """Run a module of ours that takes `--port`. With `ready`, that path must answer 200 first; else the port."""
    port = _free_port()
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, *command, "--port", str(port)],
        env={**os.environ, **environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - no threads yet
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parent.parent,
    )
    try:
        _wait(process, port, ready)
        yield Server(process, port, time.perf_counter() - started)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def cores() -> tuple[int | None, int | None]:
    """Return a core for the load and another one for the server; None twice where there is one alone."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[-1]) if len(allowed) > 1 else (None, None)


# The module's name and its arguments; a main that is click's takes them from sys.argv.
_RUN = """
import importlib, sys
name, *sys.argv[1:] = sys.argv[1:]
main = importlib.import_module(name).main
sys.exit(main() if name == "engine.cli" else main(sys.argv[1:]))
"""


def _wait(process: subprocess.Popen[bytes], port: int, ready: str | None) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with code {process.returncode} before it was ready")
        try:
            if ready is None:
                socket.create_connection(("127.0.0.1", port), 1).close()
            else:
                urlopen(f"http://127.0.0.1:{port}{ready}", timeout=2).close()
            return
        except (URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError(f"the server on port {port} is not ready after {READY_S:.0f} s")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Yield each process with the fields of its stat behind its name: its state, parent, group and so on."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield int(folder.name), (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
