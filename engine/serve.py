"""Starts the service: worker processes that each open their own services, under granian or gunicorn.

Nothing is opened before a worker is a process of its own: threads and maps do not survive a fork.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from contexts.errors import ContextError
from engine.config import Config
from engine.errors import EngineError, ServeError, in_words
from engine.later import answer_later
from privacy.errors import PrivacyError

SLOW = 28  # threads of a worker, besides those that work, in which requests wait for their bodies
HEADERS_S = 10  # a connection that sends no whole head of a request for so long is closed
CONNECTIONS = 8192  # of a worker, where the limit of open files lets it; more wait to be accepted
BACKLOG = 4096  # that wait to be accepted
OWN_FILES = 512  # that a worker has open besides
FOLLOW_S = 1.0  # between a worker's looks whether the main process lives
ENDING_S = 3.0  # for a worker that is told to stop while it opens its services
STOP_S = 10  # requests in flight may finish; then a worker is killed
# Adds routes to a worker's Flask app over its services, and returns the query parameters that they read. It
# imports what it needs when it is called: the main process stays small, and forks no threads.
Extend = Callable[[Any, Any], Iterable[str]]
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus-client when it is first imported
log = logging.getLogger(__name__)
_OPENED, _REFUSED = "opened", "refused"  # files by which the first workers tell the main process how it went


def serve(config: Config, server: str = "granian", *, extend: Extend | None = None) -> None:
    """Serve until SIGTERM or SIGINT; `extend` adds to each worker's app.

    Raises ServeError where the address is taken, no worker can open its services, or workers die again at once.
    """
    with _claimed(config):
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # until the server sets its own
        folder = Path(tempfile.mkdtemp(prefix="tactful-"))
        os.environ[METRICS_VARIABLE] = str(folder)
        try:
            with suppress(SystemExit):  # how both servers return
                _SERVERS[server](partial(_open_or_stop, config, folder, extend, server), config, folder)
            if (folder / _REFUSED).exists() and not (folder / _OPENED).exists():
                raise ServeError((folder / _REFUSED).read_text())
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def open_app(config: Config, folder: Path, extend: Extend | None = None, *, heads: bool = False) -> Any:
    """Open the services of this process and make its WSGI app; warm up beside the first requests."""
    from prometheus_client.multiprocess import mark_process_dead  # after METRICS_VARIABLE is set

    from engine.intake import Intake
    from engine.record import EVENTS_PATH
    from engine.services import open_services
    from engine.web.app import create_app

    for stale in {file.stem.rpartition("_")[2] for file in folder.glob("gauge_live*.db")}:
        if not _is_alive(int(stale)):
            mark_process_dead(int(stale), str(folder))  # type: ignore[no-untyped-call]
    services = open_services(config)
    Finalize(None, services.close, exitpriority=10)  # atexit does not run in children of multiprocessing
    app = create_app(config, services, folder, extend)
    intake = Intake(
        app,
        turns=config.threads,
        threads=config.threads + SLOW,
        patience_s=config.body_s,
        monotonic=services.monotonic,
        heads=heads,
        light=lambda path: path.startswith(EVENTS_PATH.rstrip("/")),
    )
    threading.Thread(target=intake.watch, args=(threading.Event(),), name="intake", daemon=True).start()
    threading.Thread(target=_warm_up, args=(services,), name="warm-up", daemon=True).start()
    return intake


def _warm_up(services: Any) -> None:
    # What stands now stays: looked at again and again by the collector, it would cost each request a fifth more.
    gc.collect()
    gc.freeze()
    services.warm_up()


@contextmanager
def _claimed(config: Config) -> Iterator[None]:
    """Hold the address. Raises ServeError where something listens already, or another start is under way.

    Workers share a port, and would with a stranger, too. Between two that start at once nothing listens yet: on Linux
    each first takes a name that one process alone can have, in the same network namespace as the port.
    """
    with ExitStack() as held:
        try:
            for family, kind, protocol, _, address in _addresses(config):
                if sys.platform == "linux" and config.port:
                    name = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                    name.bind(f"\0tactful {address[0]} {address[1]}")
                _probe(family, kind, protocol, address)
        except OSError as error:
            raise ServeError(
                f"{config.address} cannot be listened on ({error.strerror}): stop what listens there, or "
                "name another port with --port"
            ) from error
        yield


def _probe(family: int, kind: int, protocol: int, address: Any) -> None:
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: past TIME_WAIT
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)


def _addresses(config: Config) -> list[Any]:
    """Return what a host stands for, IPv4 first, as getaddrinfo has it. Raises ServeError."""
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise ServeError(f"{ascii(config.host)} has no address to listen on: name another --host") from error
    return sorted(found, key=lambda one: one[0] != socket.AF_INET)


def _open_or_stop(config: Config, folder: Path, extend: Extend | None, server: str) -> Any:
    """Open the app; where no worker ever could, tell the main process why and stop it."""
    stopped = threading.Event()

    def stop(number: int, frame: object) -> None:
        stopped.set()
        ending = threading.Timer(
            ENDING_S, os._exit, (0,)
        )  # a callback may have swallowed what is raised here
        ending.daemon = True
        ending.start()
        raise SystemExit(0)

    # Until the server sets its own: a worker has inherited those of the main process, which end nothing here.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    threading.Thread(target=_follow, args=(os.getppid(),), name="follow", daemon=True).start()
    try:
        if server == "granian":
            answer_later()
        app = open_app(config, folder, extend, heads=server == "gunicorn")
    except (EngineError, ContextError, PrivacyError, OSError, ImportError) as error:
        if stopped.is_set():  # an import turned the end into an error of its own
            raise SystemExit(0) from error
        (folder / _REFUSED).write_text(in_words(error))
        if not (folder / _OPENED).exists():
            os.kill(os.getppid(), signal.SIGTERM)
        raise SystemExit(1) from error
    if stopped.is_set():
        raise SystemExit(0)
    with suppress(FileNotFoundError):  # the main process is gone with its folder: we are told to stop, too
        (folder / _OPENED).touch()
    return app


def _follow(parent: int) -> None:
    """Stop this worker when the main process is gone, killed: nobody else would, and the port stays taken."""
    while os.getppid() == parent:
        time.sleep(FOLLOW_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _connections() -> int:
    """Return how many connections a worker may hold, after asking for as many files as they need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + OWN_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return CONNECTIONS if soft == resource.RLIM_INFINITY else max(128, min(CONNECTIONS, soft - OWN_FILES))


def run_granian(load: Callable[[], Any], config: Config, folder: Path | None = None) -> None:
    """Serve the WSGI app that each worker loads, until SIGTERM."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    granian = Granian(
        "tactful",
        address=_addresses(config)[0][4][0],  # granian knows no names
        port=config.port,
        interface=Interfaces.WSGI,
        websockets=False,
        http=HTTPModes.http1,
        workers=config.workers,
        blocking_threads=config.threads + SLOW,
        backlog=BACKLOG,
        backpressure=_connections(),
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_S * 1000),
        respawn_failed_workers=True,
        respawn_interval=1.0,
        workers_kill_timeout=STOP_S,
        log_access=False,  # an access log would keep addresses and query strings
    )

    def unless_stopped() -> Any:
        if granian.interrupt_signal:  # told so between the fork and here, by the main process' handler
            raise SystemExit(0)
        return load()

    # Many threads are meant: most of them wait.
    logging.getLogger("_granian").addFilter(lambda record: "seems quite high" not in record.getMessage())
    with suppress(
        SystemExit
    ):  # how it returns, with an error where workers die again as soon as they are started
        granian.serve(target_loader=unless_stopped, wrap_loader=False)
    if not granian.interrupt_signal:
        raise ServeError("workers died again as soon as they were started: the lines above say of what")


def run_wsgi(load: Callable[[], Any], config: Config) -> None:
    """Serve another app than the service's, until SIGTERM. Raises ServeError as `serve` does."""
    with _claimed(config):
        run_granian(load, config)


def _gunicorn(load: Callable[[], Any], config: Config, folder: Path) -> None:
    try:
        from gunicorn.app.base import BaseApplication
        from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
        from gunicorn.util import write_error
        from gunicorn.workers.gthread import ThreadWorker
    except ImportError:
        raise ServeError("gunicorn is not installed; expected: pip install 'tactful[gunicorn]'") from None
    from prometheus_client.multiprocess import mark_process_dead

    class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
        def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
            """Refuse what is no request. Gunicorn would log who sent it and what, and answer with what was sent."""
            status, reason = 500, "Internal Server Error"
            if isinstance(exc, LimitRequestHeaders):
                status, reason = 431, "Request Header Fields Too Large"
            elif isinstance(exc, LimitRequestLine):
                status, reason = 414, "URI Too Long"
            elif isinstance(exc, ParseException):
                status, reason = 400, "Bad Request"
            else:
                log.error("request failed: %s", type(exc).__name__)
            with suppress(OSError):
                write_error(client, status, reason, "")

    class Gunicorn(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
        def load_config(self) -> None:
            settings = {
                "bind": config.address,
                "workers": config.workers,
                "worker_class": Worker,
                "threads": config.threads + SLOW,
                "worker_connections": _connections(),
                "backlog": BACKLOG,
                "graceful_timeout": STOP_S,
                "accesslog": None,
                "control_socket_disable": True,
                "child_exit": lambda server, worker: mark_process_dead(worker.pid, str(folder)),  # type: ignore[no-untyped-call]
            }
            for name, value in settings.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            return load()

    Gunicorn().run()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


_SERVERS = {"granian": run_granian, "gunicorn": _gunicorn}
SERVERS = tuple(_SERVERS)
