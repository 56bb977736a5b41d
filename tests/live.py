"""The whole service on a port, a publisher's site on another, and a real browser that knows both by name."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from engine.campaign import Advertiser, Campaign, Publisher, Section, Suitability
from engine.change import Change
from engine.config import Config
from engine.creative import Creative, Image
from engine.images import EXTENSIONS, HostedImage, clean_image
from engine.services import Services
from engine.store import open_store
from engine.web import create_app

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.example 127.0.0.1",
]
# Of a reader: "HeadlessChrome" is a declared machine, whose events are kept apart.
AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)
SITE, ADS = "www.planet.example", "ads.tactful.example"
COATS = "https://nord.example/coats"
ARTICLE = (
    "Slice three leeks and let them go slowly soft in butter. Add potatoes, stock and a little cream, and simmer the "
    "soup until it is thick. Serve it with bread on a wet evening. "
)


def needs_chromium() -> None:
    """Skip a module where there is no browser."""
    if CHROMIUM is None and not os.environ.get("TACTFUL_REQUIRE_ALL"):
        pytest.skip("needs Chromium", allow_module_level=True)


@contextmanager
def browser() -> Iterator[Any]:
    """Start Chromium."""
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None, "TACTFUL_REQUIRE_ALL is set, and there is no Chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


class Live:
    """The service, with all that is real of it. `mode` spoils its decisions: hang, error or garbage."""

    def __init__(
        self, folder: Path, models: Path, host: str = ADS, coats: str = COATS, **settings: Any
    ) -> None:
        """Take the landing page of the coats, and settings besides the usual ones."""
        data = folder / "data"
        data.mkdir(parents=True)
        (data / "models").symlink_to(models, target_is_directory=True)
        self.mode: str | None = None
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[tuple[str, str]] = []
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://{host}:{self._server.port}"
        self.config = Config(
            data_dir=data,
            key_dir=folder / "keys",
            weather="none",
            public_url=self.url,
            deadline_ms=2000,
            **settings,
        )
        fill(self.config, coats)
        self.services = Services(self.config)
        self.services.start()
        self.services.warm_up()
        self._app = create_app(self.config, self.services)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _answer(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        self.paths.append((request.method, request.path))
        if request.path == "/v1/decisions" and request.method == "POST":
            data = request.get_data()
            environ["wsgi.input"] = io.BytesIO(data)
            self.bodies.append(json.loads(data))
            self.headers.append(dict(request.headers))
            allow = {"Access-Control-Allow-Origin": "*"}
            if self.mode == "hang":
                time.sleep(12)
            if self.mode == "error":
                return Response("oops", 500, allow)(environ, start_response)
            if self.mode is not None and self.mode != "hang":
                return Response(self.mode, 200, allow)(environ, start_response)
        return self._app(environ, start_response)

    def events(self) -> list[tuple[str, str]]:
        """Return (kind, creative) of the valid events that are kept."""
        assert self.services.writer.wait(5)
        rows = self.services.store.rows("SELECT kind, creative FROM events WHERE ivt = 0 ORDER BY kind")
        return [tuple(row) for row in rows]

    def forget(self) -> None:
        """Forget what happened."""
        self.services.writer.wait(5)
        with self.services.store.writing() as db:
            db.execute("DELETE FROM events")
        self.bodies.clear()
        self.headers.clear()
        self.paths.clear()
        self.mode = None

    def close(self) -> None:
        self._server.shutdown()
        self.services.close()


def fill(config: Config, coats: str = COATS) -> None:
    """Register a site, and creatives that fit it, each size with a picture or in words."""
    store = open_store(config.store_url)
    everywhere = Suitability(avoid=(), accept_unknown=True)
    pictures: list[HostedImage] = []
    things: list[Any] = [
        Publisher(
            id="planet",
            name="The Planet",
            domains=(SITE,),
            sections=(Section("food", "/food"),),
            categories={"recipes": "210"},
        ),
        Advertiser(id="kettle", name="Kettle & Way", domains=("kettle.example",)),
        Advertiser(id="velora", name="Velora", domains=("velora.example",)),
    ]
    for advertiser, campaign, text in (
        ("kettle", "soup", "Soup in four minutes"),
        ("velora", "bikes", "The e-bike for wet roads"),
    ):
        things.append(
            Campaign(
                id=campaign,
                advertiser=advertiser,
                name=campaign,
                cpm_micros=2_000_000,
                suitability=everywhere,
            )
        )
        url = f"https://{advertiser}.example/{campaign}"
        for w, h in ((300, 250), (728, 90), (320, 50)):
            name = f"{campaign}-{w}x{h}"
            data = io.BytesIO()
            Picture.new("RGB", (w, h), "#b5651d" if campaign == "soup" else "#1d6fb5").save(data, "PNG")
            made = clean_image(data.getvalue(), "image")
            pictures.append(made)
            image = Image(alt=text, hash=made.hash, ext=EXTENSIONS[made.mime], w=w, h=h)
            things.append(
                Creative(
                    id=name, campaign=campaign, format="banner", landing_url=url, size=(w, h), image=image
                )
            )
    things += [
        Advertiser(id="nord", name="Nord", domains=("nord.example",)),
        Campaign(id="coats", advertiser="nord", name="coats", cpm_micros=1_000_000, suitability=everywhere),
        Creative(
            id="coats-words",
            campaign="coats",
            format="native",
            landing_url=coats,
            headline="A coat for a long winter",
            body="Wool, lined with cotton, and sewn to be mended.",
            cta="See the coats",
        ),
    ]
    store.write(
        [Change(None, thing) for thing in things], pictures, store.versions(), "test", datetime.now(UTC)
    )
    store.close()


class Pages:
    """A publisher's site, or another's: HTML by path, each with its headers."""

    def __init__(self, host: str = SITE) -> None:
        self.pages: dict[str, tuple[str, dict[str, str]]] = {}
        self.reached: list[str] = []
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://{host}:{self._server.port}"

    @Request.application
    def _answer(self, request: Request) -> Response:
        self.reached.append(request.url)
        html, headers = self.pages.get(request.path, ("", {}))
        return Response(html, 200 if html else 404, headers, mimetype="text/html")

    def close(self) -> None:
        self._server.shutdown()


class Window:
    """A window of a fresh reader, with all that its page asked for and complained of."""

    def __init__(self, browser: Any, width: int = 1280, height: int = 900, **options: Any) -> None:
        self.window = browser.new_context(
            viewport={"width": width, "height": height}, **{"user_agent": AGENT} | options
        )
        self.page = self.window.new_page()
        self.page.set_default_timeout(8000)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.faults: list[str] = []  # of scripts
        self.page.on("request", lambda asked: self.asked.append(asked.url))
        self.page.on("requestfailed", self._refuse)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.add_init_script(WATCH)

    def _refuse(self, request: Any) -> None:
        # Of those that a policy held back before they left, Chromium tells of some, by chance.
        if request.failure == "csp":
            self.asked.remove(request.url)

    def _note(self, message: Any) -> None:
        if (
            "about:srcdoc" not in message.text
        ):  # the watching script below, which a creative's frame does not run
            self.complaints.append(message.text)

    def watched(self) -> dict[str, Any]:
        """Return the layout shift, the tasks over 50 ms, and the events of the element."""
        found: dict[str, Any] = self.page.evaluate("window.watched")
        return found

    def close(self) -> None:
        self.window.close()


WATCH = """
window.watched = { shift: 0, long: [], told: [] };
new PerformanceObserver((list) => list.getEntries().forEach((entry) => { window.watched.shift += entry.value; }))
  .observe({ type: 'layout-shift', buffered: true });
new PerformanceObserver((list) => list.getEntries().forEach((entry) => window.watched.long.push(entry.duration)))
  .observe({ type: 'longtask', buffered: true });
addEventListener('contextual-ad', (event) => window.watched.told.push(event.detail));
"""
