"""What publishers' servers and pages are told to write, as it stands there: nginx, Varnish and htmx show creatives."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import httpx
import pytest

from tests.live import ARTICLE, SITE, Live, Pages, Window, browser
from tests.test_readme import ROOT

SAID = (ROOT / "engine" / "publisher" / "README.md").read_text("utf-8")
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
READER = {"User-Agent": AGENT, "Sec-GPC": "1", "Cookie": "sid=secret", "X-Forwarded-For": "203.0.113.7"}
SPOILT = ("away", "hangs", "error")


def blocks(title: str) -> list[str]:
    """Return the blocks of code below a heading."""
    return re.findall(r"```\w+\n(.*?)```", SAID.split(f"\n## {title}")[1].split("\n## ")[0], re.DOTALL)


def needed(program: str, package: str) -> str:
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"needs Debian's {package}")
    return found


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Live]:
    service = Live(tmp_path_factory.mktemp("includes"), models, host="127.0.0.1")
    yield service
    service.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder that servers may read which give up the rights of root."""
    with tempfile.TemporaryDirectory(prefix="tactful-includes-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def backend(request: pytest.FixtureRequest, live: Live) -> Iterator[int]:
    """Give the port of the service, or of one that is spoilt."""
    if request.param == "live":
        yield int(live.url.rpartition(":")[2])
    elif request.param == "away":
        yield free_port()
    else:
        with ThreadingHTTPServer(("127.0.0.1", 0), _Error if request.param == "error" else _Hangs) as server:
            Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            yield server.server_port
            server.shutdown()


class _Error(BaseHTTPRequestHandler):
    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_error(500, "oops")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Hangs(_Error):
    def do_GET(self) -> None:
        time.sleep(2)


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    with (
        (folder / "said.txt").open("w+") as said,
        subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT) as server,
    ):
        try:
            until = time.monotonic() + 30
            while not _listens(port):
                assert server.poll() is None and time.monotonic() < until, (folder / "said.txt").read_text()
                time.sleep(0.05)
            yield
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def nginx(folder: Path, backend: int) -> Iterator[str]:
    config, include = blocks("nginx")
    port, site = free_port(), folder / "site"
    (site / "article").mkdir(parents=True)
    (site / "article" / "soup.html").write_text(
        f"<h1>Soup</h1><main>{ARTICLE}</main>{include}<footer>end</footer>"
    )
    (site / "plain.html").write_text(include)
    for old, new in (
        ("listen 80", f"listen 127.0.0.1:{port}"),
        ("/srv/site", str(site)),
        ("127.0.0.1:8137", f"127.0.0.1:{backend}"),
        ("daily-planet", "planet"),
        ("https://planet.example", f"https://{SITE}/food"),
    ):
        assert old in config
        config = config.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    whole = f"pid {folder}/pid; error_log {folder}/errors; events {{}} http {{ access_log off; {temporary} {config} }}"
    (folder / "nginx.conf").write_text(whole)
    command = [needed("nginx", "nginx-light"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with running([*command, "-g", "daemon off;"], port, folder):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def varnish(folder: Path, backend: int, site: Pages) -> Iterator[str]:
    config, include = blocks("Varnish")
    port = free_port()
    include = include.replace("daily-planet", "planet").replace("planet.example/soup", f"{SITE}/food/soup")
    html = f"<h1>Soup</h1><main>{ARTICLE}</main>{include}<footer>end</footer>"
    site.pages["/article/soup.html"] = (html, {"Cache-Control": "max-age=600"})
    site.pages["/plain.html"] = (include, {})
    config = config.replace('"8080"', f'"{site.url.rpartition(":")[2]}"').replace('"8137"', f'"{backend}"')
    (folder / "site.vcl").write_text(config)
    shown, work = f"127.0.0.1:{port}", str(folder / "work")
    command = [needed("varnishd", "varnish"), "-F", "-n", work, "-a", shown, "-s", "malloc,16m"]
    with running([*command, "-f", str(folder / "site.vcl")], port, folder):
        yield f"http://{shown}"


@pytest.mark.parametrize("backend", ["live"], indirect=True)
def test_nginx_shows_a_creative_and_passes_on_what_it_should(folder: Path, live: Live, backend: int) -> None:
    live.forget()
    with nginx(folder, backend) as site:
        page = httpx.get(f"{site}/article/soup.html?uid=7&publisher=other&x=y", headers=READER).text
        assert page.startswith("<h1>Soup</h1>") and page.endswith("<footer>end</footer>")
        assert '<div class="tactful-slot" data-placement="top" data-gpc="honored"' in page
        assert "Why this ad?" in page
        again = httpx.get(f"{site}/article/soup.html", headers={"User-Agent": AGENT}).text
        assert 'class="tactful-slot"' in again and "data-gpc" not in again
        assert "include virtual" in httpx.get(f"{site}/plain.html").text  # only where it is on
        assert httpx.get(f"{site}/_slot").text == ""


@pytest.mark.parametrize("backend", ["live"], indirect=True)
def test_varnish_keeps_the_page_and_asks_for_the_piece_anew(folder: Path, live: Live, backend: int) -> None:
    live.forget()
    pages = Pages()
    with varnish(folder, backend, pages) as site:
        reader = {
            name: value for name, value in READER.items() if name != "Cookie"
        }  # with one, nothing is cached
        told = [httpx.get(f"{site}/article/soup.html", headers=reader).text for _ in range(3)]
        for page in told:
            assert page.startswith("<h1>Soup</h1>") and page.endswith("<footer>end</footer>")
            assert '<div class="tactful-slot" data-placement="top" data-gpc="honored"' in page
        pixels = {re.findall(r'<img src="([^"]+)" width="1"', page)[0] for page in told}
        assert len(pixels) == 3 and len(pages.reached) == 1
        assert "data-gpc" not in httpx.get(f"{site}/article/soup.html", headers={"User-Agent": AGENT}).text
        assert "esi:include" in httpx.get(f"{site}/plain.html").text
        assert httpx.get(f"{site}/v1/slot?publisher=planet&placement=top&title=x").status_code == 404
    pages.close()


@pytest.mark.parametrize("backend", SPOILT, indirect=True)
def test_a_service_that_is_spoilt_costs_a_page_of_nginx_nothing(folder: Path, backend: int) -> None:
    with nginx(folder, backend) as site:
        _is_whole(f"{site}/article/soup.html")


@pytest.mark.parametrize("backend", SPOILT, indirect=True)
def test_a_service_that_is_spoilt_costs_a_page_of_varnish_nothing(folder: Path, backend: int) -> None:
    pages = Pages()
    with varnish(folder, backend, pages) as site:
        _is_whole(f"{site}/article/soup.html")
    pages.close()


def _is_whole(url: str) -> None:
    _Error.seen.clear()
    started = time.monotonic()
    page = httpx.get(url, headers=READER).text
    assert page == f"<h1>Soup</h1><main>{ARTICLE}</main>\n<footer>end</footer>"
    assert time.monotonic() - started < 1.5  # the other would have hung for two seconds
    for headers in _Error.seen:
        assert not {"cookie", "x-forwarded-for", "referer"} & set(headers)
        assert (headers["sec-gpc"], headers["tactful-deadline-ms"]) == ("1", "100")


def test_htmx_shows_a_creative_when_its_box_comes_into_view(live: Live) -> None:
    htmx = _htmx()
    markup, style = blocks("htmx")
    for old, new in (
        ("http://127.0.0.1:8137", live.url),
        ("daily-planet", "planet"),
        ("https://planet.example/soup", f"https://{SITE}/food/soup"),
    ):
        assert old in markup
        markup = markup.replace(old, new)
    head, _, box = markup.partition("<div")
    live.forget()
    pages = Pages()
    html = (
        f"<!doctype html><title>Soup</title><style>{style} main {{ height: 3000px }} img {{ width: 100% }}</style>"
        f"{head}<script src=/htmx.js></script><main>{ARTICLE}</main><div{box}"
    )
    pages.pages = {"/": (html, {}), "/htmx.js": (htmx, {"Content-Type": "text/javascript"})}
    with browser() as started:
        window = Window(started)
        window.page.goto(f"{pages.url}/?uid=7")
        window.page.wait_for_timeout(700)
        assert not any("/v1/slot" in url for url in window.asked)
        window.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        window.page.wait_for_selector(".slot .tactful-label")
        window.page.wait_for_function("[...document.images].every((it) => it.complete)")
        assert "Why this ad?" in window.page.inner_text(".slot")
        sizes = (
            "all => all.map((it) => [it.getBoundingClientRect().width, it.getBoundingClientRect().height])"
        )
        assert window.page.locator(".slot img").evaluate_all(sizes) == [[300, 250], [1, 1]]
        assert (window.faults, window.watched()["shift"]) == ([], 0)
        window.close()
    pages.close()
    assert [kind for kind, _ in live.events()] == ["impression"]


def _htmx() -> str:
    npm = shutil.which("npm")
    folder = (
        npm and subprocess.run([npm, "root", "-g"], capture_output=True, text=True, check=True).stdout.strip()
    )
    file = Path(folder or "/nowhere") / "htmx.org" / "dist" / "htmx.min.js"
    if not file.exists():
        pytest.skip("needs npm's htmx.org")
    return file.read_text("utf-8")
