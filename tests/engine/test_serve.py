"""Worker processes: they answer, count together, finish what they began, and say why they cannot."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from engine.config import Config
from engine.errors import ServeError
from engine.serve import _claimed, run_granian, serve
from tests.engine.web.conftest import seed_catalogue

# The services behind the workers are the small fakes: what is tried here are processes.
SCRIPT = """
import sys, time, types
from pathlib import Path
from engine.config import Config
from engine.errors import EngineError, StoreError

def open_services(config):
    from engine.store import SqliteStore
    from tests.engine.web.conftest import FakeServices

    time.sleep({opening_s})
    if {broken}:
        raise StoreError("tactful.db: damaged: restore a backup")
    services = FakeServices(SqliteStore(Path({store!r})))
    services.monotonic = time.monotonic
    services.warm_up = lambda: None
    if {commit_s}:
        from engine.door import Door
        from engine.event_writer import EventWriter

        class Slow:
            def keep(self, events, decided=()):
                time.sleep({commit_s})

        writer = EventWriter(Slow())
        writer.start()
        services.door = Door(services.tickets, writer, services.now)
    services.close = lambda: Path({log!r}).open("a").write("closed\\n")
    decide = services.engine.decide
    def slow(*asked, **how):
        time.sleep({slow_s})
        return decide(*asked, **how)
    services.engine.decide = slow
    return services

sys.modules["engine.services"] = types.SimpleNamespace(open_services=open_services)
from engine.serve import serve
try:
    serve(Config(port={port}, workers=2, deadline_ms=1000, body_s=2), {server!r})
except EngineError as error:
    sys.exit(f"refused: {{error}}")
"""
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
BODY = b'{"publisher":"planet","placements":[{"id":"a"}],"page":{"title":"x"}}'


class Served:
    def __init__(self, process: subprocess.Popen[str], port: int, keys: dict[str, str], log: Path) -> None:
        self.process, self.port, self.keys, self.log = process, port, keys, log

    def get(self, path: str, key: str = "") -> str:
        headers = {"Authorization": f"Bearer {self.keys[key]}"} if key else {}
        return self._read(urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers))

    def decide(self) -> str:
        headers = {"Content-Type": "text/plain"}
        url = f"http://127.0.0.1:{self.port}/v1/decisions"
        return self._read(urllib.request.Request(url, BODY, headers))

    def _read(self, request: urllib.request.Request) -> str:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            raise


@contextmanager
def served(
    folder: Path,
    slow_s: float = 0,
    broken: bool = False,
    server: str = "granian",
    opening_s: float = 0,
    commit_s: float = 0,
) -> Iterator[Served]:
    keys = seed_catalogue(folder / "catalog.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "log"
    script = SCRIPT.format(
        store=str(folder / "catalog.db"),
        port=port,
        slow_s=slow_s,
        broken=broken,
        log=str(log),
        server=server,
        opening_s=opening_s,
        commit_s=commit_s,
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield Served(process, port, keys, log)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def until_ready(service: Served) -> None:
    for _ in range(200):
        try:
            service.get("/readyz")
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the service did not become ready")


@pytest.mark.parametrize("server", ["granian", "gunicorn"])
def test_workers_count_together_and_finish_what_they_began(tmp_path: Path, server: str) -> None:
    if server == "gunicorn":
        pytest.importorskip("gunicorn")
    with served(tmp_path, slow_s=0.4, server=server) as service:
        until_ready(service)
        for _ in range(4):
            assert '"placement":"a"' in service.decide()
        for _ in range(4):
            told = service.get("/metrics", key="operator")
            assert 'tactful_requests_total{route="decide",status="200"} 4.0' in told
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(service.decide()))
        asking.start()
        time.sleep(0.15)
        service.process.send_signal(signal.SIGTERM)
        asking.join()
        assert '"placement":"a"' in answers[0]
        assert service.process.wait(timeout=20) == 0
    assert service.log.read_text() == "closed\n" * 2


def test_what_waits_for_the_disk_holds_no_thread(tmp_path: Path) -> None:
    from engine.tickets import LETTERS, Ticket, Tickets
    from privacy.event_token import RANDOM_BYTES, Sealer
    from tests.engine.web.conftest import NOW

    tickets = Tickets(Sealer(b"e" * 32))
    ticket = tickets.packed(Ticket("planet", "other", "1", "k1", "c1", 0, 0, 0, False, 0, 7))
    at_ms = int(NOW.timestamp() * 1000) - 2000
    with served(tmp_path, commit_s=1.0) as service:
        until_ready(service)

        def tell(number: int) -> socket.socket:  # each of a page view of its own
            random = number.to_bytes(RANDOM_BYTES, "big")
            token = LETTERS["impression"] + tickets.write(at_ms, 0, ticket, random, 0)
            reader = socket.create_connection(("127.0.0.1", service.port), timeout=20)
            reader.sendall(
                f"POST /v1/events/{token}.gif HTTP/1.1\r\nHost: x\r\nUser-Agent: {BROWSER}\r\n"
                "Content-Length: 0\r\n\r\n".encode()
            )
            return reader

        began = time.monotonic()
        readers = [tell(number) for number in range(200)]  # more than both workers have threads
        assert '"placement":"a"' in service.decide()
        for reader in readers:
            with reader:
                assert reader.recv(4096).startswith(b"HTTP/1.1 204 ")
        # One after another in 64 threads they would take four commits and more.
        assert 0.9 < time.monotonic() - began < 3.5
        told = service.get("/metrics", key="operator")
        assert 'tactful_requests_total{route="beacon_one",status="204"} 200.0' in told
        assert 'tactful_beacons_total{worth="valid"} 200.0' in told
        readers = [tell(number) for number in range(200, 220)]
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)  # what is being kept is answered before the end
        for reader in readers:
            with reader:
                assert reader.recv(4096).startswith(b"HTTP/1.1 204 ")
        assert service.process.wait(timeout=20) == 0


@pytest.mark.parametrize("server", ["granian", "gunicorn"])
def test_of_what_is_no_request_nothing_is_logged_or_said_back(tmp_path: Path, server: str) -> None:
    if server == "gunicorn":
        pytest.importorskip("gunicorn")
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    with served(tmp_path, server=server) as service:
        until_ready(service)
        for raw in (
            b"GET /jane-7 \r\n\r\n",
            b"PROXY TCP4 203.0.113.9 203.0.113.9 jane-7 443\r\n\r\n",
            head + b"jane-7\r\n\r\n",
            head + b"jane-7 : x\r\n\r\n",
            head + b"Cookie: a\r\n jane-7\r\n\r\n",
            head + 300 * b"X-Jane: jane-7\r\n" + b"\r\n",
        ):
            with socket.create_connection(("127.0.0.1", service.port), timeout=20) as sender:
                sender.sendall(raw)
                with sender.makefile("rb") as told:
                    answer = told.read()
            assert answer.startswith(b"HTTP/1.1 4") and b"jane" not in answer.lower(), raw
        service.process.terminate()
        logged, _ = service.process.communicate(timeout=30)
    assert "jane" not in logged.lower() and "ip=" not in logged


@pytest.mark.parametrize("server", ["granian", "gunicorn"])
def test_who_sends_too_much_is_told_so_once_it_is_sent(tmp_path: Path, server: str) -> None:
    if server == "gunicorn":
        pytest.importorskip("gunicorn")
    with served(tmp_path, server=server) as service:
        until_ready(service)
        for _ in range(5):
            request = urllib.request.Request(
                f"http://127.0.0.1:{service.port}/v1/decisions",
                b" " * 12_000_000,
                {"Content-Type": "application/json"},
            )
            with pytest.raises(urllib.error.HTTPError) as refused:
                service._read(request)
            assert refused.value.code == 413


@pytest.mark.parametrize("server", ["granian", "gunicorn"])
def test_senders_that_never_end_are_answered_408_and_keep_nobody_waiting(tmp_path: Path, server: str) -> None:
    if server == "gunicorn":
        pytest.importorskip("gunicorn")
    head = b"POST /v1/decisions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    begun = (
        b"Content-Length: 99\r\n\r\n",
        b"Content-Length: 99\r\n\r\n" + BODY[:20],
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + BODY[:5] + b"\r\n",
    )
    with served(tmp_path, server=server) as service:
        until_ready(service)
        slow = [socket.create_connection(("127.0.0.1", service.port), timeout=20) for _ in range(24)]
        for number, sender in enumerate(slow):
            sender.sendall(head + begun[number % 3])
        time.sleep(0.2)
        began = time.monotonic()
        for _ in range(20):
            assert '"placement":"a"' in service.decide()
        assert time.monotonic() - began < 1.5  # before anyone's patience ends
        for number, sender in enumerate(slow):
            if number % 3 == 0:  # what goes on without an end is no better than what ends
                sender.sendall(b" ")
            with sender, sender.makefile("rb") as told:
                answer = told.read()
            assert answer.startswith(b"HTTP/1.1 408 "), answer
            assert b"problem+json" in answer
        assert '"placement":"a"' in service.decide()
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as broken:
            broken.sendall(head + b"Transfer-Encoding: chunked\r\n\r\nno number\r\n")
            assert broken.recv(4096).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("server", ["granian", "gunicorn"])
def test_a_service_that_is_stopped_while_it_opens_ends_at_once(tmp_path: Path, server: str) -> None:
    if server == "gunicorn":
        pytest.importorskip("gunicorn")
    with served(tmp_path, server=server, opening_s=60) as service:
        time.sleep(2.5)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=8) == 0


def test_workers_do_not_outlive_a_main_process_that_was_killed(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        until_ready(service)
        service.process.kill()
        service.process.wait()
        for _ in range(200):
            try:
                service.get("/healthz")
            except OSError:
                break
            time.sleep(0.05)
        else:
            pytest.fail("a worker still answers")


def test_workers_that_die_again_at_once_end_the_service_with_an_error(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        until_ready(service)
        for _ in range(100):
            for pid in (
                Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
            ):
                if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(int(pid), signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                service.process.wait(0.3)
                break
        told, _ = service.process.communicate(timeout=20)
        assert service.process.returncode == 1
        assert "workers died again as soon as they were started" in told


def test_services_that_cannot_be_opened_stop_the_start_and_say_why(tmp_path: Path) -> None:
    with served(tmp_path, broken=True) as service:
        told, _ = service.process.communicate(timeout=30)
        assert service.process.returncode == 1
        assert "refused: tactful.db: damaged: restore a backup" in told


def test_a_port_where_something_listens_is_refused(tmp_path: Path) -> None:
    # Workers share their port by SO_REUSEPORT: without a look before, two services would share it, too.
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = Config(port=taken.getsockname()[1], data_dir=tmp_path / "data", key_dir=tmp_path / "keys")
        with pytest.raises(ServeError, match=rf"{config.port} cannot be listened on .* --port"):
            serve(config)


@pytest.mark.skipif(sys.platform != "linux", reason="names of sockets without a file are Linux's")
def test_of_two_services_that_start_at_once_on_one_port_one_is_refused(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = Config(port=port, data_dir=tmp_path / "data", key_dir=tmp_path / "keys")
    for _ in range(2):  # the port is free again when the first is done
        with _claimed(config), pytest.raises(ServeError, match=rf"{port} cannot be listened on .* --port"):
            serve(config)


def test_a_host_may_be_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    listened = []

    def started(*target: str, address: str, **settings: object) -> None:
        listened.append(address)
        raise ServeError("enough")

    def found(host: str, port: int, **how: object) -> list[object]:
        kind = (socket.SOCK_STREAM, 6, "")
        return [(socket.AF_INET6, *kind, ("::1", port, 0, 0)), (socket.AF_INET, *kind, ("127.0.0.1", port))]

    monkeypatch.setattr("granian.Granian", started)
    monkeypatch.setattr(socket, "getaddrinfo", found)
    with pytest.raises(ServeError, match="enough"):
        run_granian(lambda: None, Config(host="ads.internal"))
    assert listened == ["127.0.0.1"]


def test_a_host_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unknown(host: str, port: int, **how: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ServeError, match="'\\[::1\\]' has no address to listen on"):
        serve(Config(host="[::1]", data_dir=tmp_path / "data", key_dir=tmp_path / "keys"))
