"""Unmodified Prebid.js in a real browser against the running service: what is asked, rendered, and recorded."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from engine.prove.iab_write import ids, random_consent, tc_string

HERE = Path(__file__).parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NPM = shutil.which("npm")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
FLAGS += ["--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP *.test 127.0.0.1"]
# A headless browser says so, and what it sees is never billed.
AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)
COMMAND = "from engine.cli import main; main()"
START_S = 90
TEXT = (
    "Gravel bikes and wide tyres for a long cycling tour through the rain, and a jacket that keeps you dry."
)
GPP = "DBABLA~BVQVAAAAAgA.YA"  # usnat: no objection in its core
# What ingest lets through and the least careful renderer shows as it is.
HOSTILE = {
    "headline": "Rain &lt;img src=x onerror=top.XSS=1&gt; \" onmouseover='top.XSS=1",
    "body": "&#60;script&#62;top.XSS=1&#60;/script&#62; javascript:top.XSS=1 ${XSS}",
    "sponsored_by": "Acme & Sons `'\"",
}
REFUSED = (
    "Rain <img src=x onerror=top.XSS=1>",
    "Rain ##hb_native_linkurl##",
    "Rain \u202e now",
    "Rain\x00",
    "{{ config }}",
)


def _npm_root() -> Path | None:
    if NPM is None:
        return None
    said = subprocess.run([NPM, "root", "-g"], capture_output=True, text=True, check=False)
    return Path(said.stdout.strip()) if said.returncode == 0 else None


MODULES = _npm_root()
NEEDED = ("prebid.js", "esbuild", "@iabtcf/cmpapi", "@iabgpp/cmpapi")
MISSING = [name for name in NEEDED if MODULES is None or not (MODULES / name).is_dir()]
if (CHROMIUM is None or MISSING) and not os.environ.get("TACTFUL_REQUIRE_ALL"):
    pytest.skip(f"needs Chromium, and by npm {', '.join(NEEDED)}", allow_module_level=True)


class Running:
    """The service as `tactful serve` starts it, on a catalogue that `tactful load` read."""

    def __init__(self, folder: Path, models: Path, **settings: str) -> None:
        self.folder = folder
        self.port = _free_port()
        self.url = f"http://ads.service.test:{self.port}"
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "models").symlink_to(models, target_is_directory=True)
        path = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TACTFUL_")},
            "PYTHONPATH": path,
            "TACTFUL_DATA_DIR": str(folder / "data"),
            "TACTFUL_KEY_DIR": str(folder / "keys"),
            "TACTFUL_PUBLIC_URL": self.url,
            "TACTFUL_PORT": str(self.port),
            "TACTFUL_CURRENCY": "USD",
            "TACTFUL_WEATHER": "none",
            "TACTFUL_DEADLINE_MS": "2000",  # the machine that tests may be slow
            **settings,
        }
        Image.new("RGB", (600, 314), "#487").save(folder / "tyre.png")
        loaded = self.load(catalogue())
        assert loaded.returncode == 0, loaded.stdout + loaded.stderr
        with (folder / "said.txt").open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, "serve"],
                cwd=folder,
                env=self.environ,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._await_ready()

    def load(self, things: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
        (self.folder / "catalogue.ndjson").write_text("\n".join(map(json.dumps, things)))
        return subprocess.run(
            [sys.executable, "-c", COMMAND, "load", "catalogue.ndjson"],
            cwd=self.folder,
            env=self.environ,
            check=False,
            capture_output=True,
            text=True,
        )

    def tell(self, page: dict[str, Any]) -> None:
        """Say what a page is about, as its publisher's server does."""
        made = subprocess.run(
            [sys.executable, "-c", COMMAND, "keys", "create", "publisher", "--tenant", "planet"],
            cwd=self.folder,
            env=self.environ,
            check=True,
            capture_output=True,
            text=True,
        )
        body = {"publisher": "planet", "placements": [{"id": "a"}], "page": page, "test": True}
        headers = {"Authorization": f"Bearer {made.stdout.strip()}", "Content-Type": "application/json"}
        address = f"http://127.0.0.1:{self.port}/v1/decisions"
        for _ in range(100):  # a new key is known within seconds
            try:
                with urllib.request.urlopen(
                    urllib.request.Request(address, json.dumps(body).encode(), headers), timeout=10
                ):
                    return
            except urllib.error.HTTPError as error:
                error.close()
                time.sleep(0.1)
        pytest.fail("the publisher's key does not act")

    def events(self, number: int) -> list[tuple[str, str, int, int]]:
        """Return the events of its records, once there are so many."""
        for _ in range(100):
            with sqlite3.connect(self.folder / "data" / "tactful.db") as db:
                rows = db.execute(
                    "SELECT kind, creative, ivt, price_micros FROM events ORDER BY creative, kind"
                )
                found = rows.fetchall()
            db.close()
            if len(found) >= number:
                break
            time.sleep(0.1)
        return found

    def forget(self) -> None:
        """Forget all events, those too that a page told of as it was closed."""
        forgotten = 1
        while forgotten:
            time.sleep(0.3)
            with sqlite3.connect(self.folder / "data" / "tactful.db") as db:
                forgotten = db.execute("DELETE FROM events").rowcount
            db.close()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def _await_ready(self) -> None:
        for _ in range(START_S * 5):
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        pytest.fail((self.folder / "said.txt").read_text(errors="replace")[-2000:])


class Site:
    """A publisher's page with Prebid on it, opened anew for each scenario."""

    def __init__(self, browser: Any, bundle: Path, running: Running) -> None:
        self.running = running
        self._files = {
            "/": ((HERE / "prebid" / "page.html").read_bytes(), "text/html"),
            "/prebid.js": (bundle.read_bytes(), "text/javascript"),
        }
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.port = self._server.port
        self.window = browser.new_context(user_agent=AGENT, viewport={"width": 800, "height": 900})
        self.page: Any = None
        self.asked: list[dict[str, Any]] = []  # bodies of the auctions
        self.called: list[str] = []  # URLs at the service
        self.errors: list[str] = []

    @Request.application
    def _answer(self, request: Request) -> Response:
        found = self._files.get(request.path)
        return Response(b"", 404) if found is None else Response(found[0], mimetype=found[1])

    def open(
        self, *units: Any, host: str = "www.planet.test", gpc: bool = False, **scenario: Any
    ) -> list[Any]:
        """Open the page, wait for the end of its auction, and return who won."""
        self.page = page = self.window.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._note)
        said = {"service": self.running.url, "text": TEXT, "units": list(units), **scenario}
        page.add_init_script(f"window.SCENARIO = {json.dumps(said)}")
        if gpc:
            page.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})")
            page.set_extra_http_headers({"Sec-GPC": "1"})
        page.goto(f"http://{host}:{self.port}/?uid=7", wait_until="load")
        page.wait_for_function("window.WON !== undefined", timeout=15_000)
        assert self.errors == []
        return list(page.evaluate("WON"))

    def frame(self, unit: str) -> Any:
        return self.page.frame_locator(f"#{unit}")

    def shown(self, text: str, within: str = "p") -> Any:
        """Return the frame, however deep, in which a text is visible in a paragraph."""
        for _ in range(50):
            for frame in self.page.frames:
                found = frame.locator(within, has_text=text)
                if found.count() and found.first.is_visible():
                    return frame
            self.page.wait_for_timeout(100)
        pytest.fail(f"nowhere on the page: {text}")

    def happened(self) -> list[tuple[str, str | None]]:
        return [(one["name"], one["reason"]) for one in self.page.evaluate("HAPPENED")]

    def close(self) -> None:
        self.window.close()
        self._server.shutdown()

    def _note(self, request: Any) -> None:
        if not request.url.startswith(self.running.url):
            return
        self.called.append(request.url.removeprefix(self.running.url))
        if "/openrtb2/auction" in request.url and request.method == "POST":
            data = request.post_data_buffer
            self.asked.append(json.loads(gzip.decompress(data) if "gzip=1" in request.url else data))


def catalogue() -> list[dict[str, Any]]:
    suits_all = {"avoid": [], "accept_unknown": True}
    landing = "https://acme.example/tyres"
    return [
        {
            "kind": "publisher",
            "id": "planet",
            "name": "The Planet",
            "domains": ["www.planet.test"],
            "placements": [{"id": "sport-top", "formats": ["banner"], "sizes": [[300, 250]]}],
        },
        {"kind": "publisher", "id": "evil", "name": "Evil", "domains": ["www.evil.test"]},
        {"kind": "advertiser", "id": "acme", "name": "Acme & Sons", "domains": ["acme.example"]},
        {"kind": "campaign", "id": "tyres", "advertiser": "acme", "name": "Tyres", "cpm_micros": 2_500_000}
        | {"suitability": suits_all, "targeting": {"publishers": {"include": ["planet"]}}},
        {
            "kind": "creative",
            "id": "tyre-banner",
            "campaign": "tyres",
            "format": "banner",
            "landing_url": landing,
        }
        | {"size": [300, 250], "html": '<p><a href="https://acme.example/tyres">Tyres for the rain</a></p>'},
        {
            "kind": "creative",
            "id": "tyre-native",
            "campaign": "tyres",
            "format": "native",
            "landing_url": landing,
        }
        | {
            "headline": "Tyres for the rain",
            "body": "Wide and quiet.",
            "image": {"file": "tyre.png", "alt": "A tyre"},
        },
        {"kind": "campaign", "id": "traps", "advertiser": "acme", "name": "Traps", "cpm_micros": 2_500_000}
        | {"suitability": suits_all, "targeting": {"publishers": {"include": ["evil"]}}},
        {
            "kind": "creative",
            "id": "trap-native",
            "campaign": "traps",
            "format": "native",
            "landing_url": landing,
        }
        | {"image": {"file": "tyre.png", "alt": "A tyre"}, **HOSTILE},
    ]


def banner(code: str = "top", *bids: Any) -> dict[str, Any]:
    return {
        "code": code,
        "mediaTypes": {"banner": {"sizes": [[300, 250], [320, 100]]}},
        "bids": list(bids) or [{"bidder": "tactful", "params": {}}],
    }


def native(code: str = "feed") -> dict[str, Any]:
    assets = [
        {"id": 1, "required": 1, "title": {"len": 80}},
        {"id": 2, "required": 1, "img": {"type": 3, "wmin": 300, "hmin": 157}},
        {"id": 4, "required": 1, "data": {"type": 1}},
        {"id": 5, "required": 0, "data": {"type": 2, "len": 120}},
    ]
    trackers = [{"event": 1, "methods": [1]}]
    return {
        "code": code,
        "mediaTypes": {"native": {"ortb": {"ver": "1.2", "assets": assets, "eventtrackers": trackers}}},
        "bids": [{"bidder": "tactful", "params": {}}],
    }


def tcf(*purposes: int) -> str:
    now = datetime.now(UTC).replace(microsecond=0)
    said = replace(
        random_consent(random.Random(5), now),
        created=now,
        updated=now,
        policy=5,
        purpose_consents=ids(*purposes),
        purpose_legitimate_interests=ids(),
        vendor_consents=ids(7),
        vendor_legitimate_interests=ids(),
        disclosed=ids(7),
        restrictions=(),
        publisher=None,
    )
    return tc_string(said)


def tcf_module(**more: Any) -> dict[str, Any]:
    rules = [
        {"purpose": "storage", "enforcePurpose": True, "enforceVendor": False},
        {"purpose": "basicAds", "enforcePurpose": True, "enforceVendor": False},
    ]
    return {"gdpr": {"cmpApi": "iab", "timeout": 2000, "defaultGdprScope": True, "rules": rules, **more}}


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle Prebid once for all tests."""
    assert not MISSING, f"TACTFUL_REQUIRE_ALL is set, and npm has no {MISSING}"
    made = tmp_path_factory.mktemp("prebid") / "prebid.js"
    assert MODULES is not None
    subprocess.run(
        [MODULES / "esbuild" / "bin" / "esbuild", str(HERE / "prebid" / "entry.js"), "--bundle", "--minify"]
        + ["--format=iife", "--log-level=error", f"--outfile={made}"],
        env={**os.environ, "NODE_PATH": str(MODULES)},
        check=True,
    )
    return made


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Running]:
    service = Running(tmp_path_factory.mktemp("served"), models)
    yield service
    service.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None, "TACTFUL_REQUIRE_ALL is set, and there is no Chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def site(browser: Any, bundle: Path, running: Running) -> Iterator[Site]:
    running.forget()
    site = Site(browser, bundle, running)
    yield site
    assert site.window.cookies() == []
    assert site.page.evaluate("Object.keys(localStorage).length") == 0
    assert not any("/cookie_sync" in url for url in site.called)
    site.close()


def test_banner_and_native_are_rendered_and_billed_once_each(site: Site, running: Running) -> None:
    won = site.open(banner(), native())
    assert [(bid["unit"], bid["bidder"], bid["cpm"], bid["currency"], bid["type"]) for bid in won] == [
        ("top", "tactful", 2.5, "USD", "banner"),
        ("feed", "tactful", 2.5, "USD", "native"),
    ]
    assert won[0]["size"] == [300, 250] and won[0]["meta"]["advertiserDomains"] == ["acme.example"]
    shown = site.shown("Tyres for the rain")
    article = site.frame("feed").locator("article")
    assert article.locator("h3").inner_text() == "Tyres for the rain"
    assert article.locator("small").inner_text() == "Acme & Sons"
    assert article.locator("p").inner_text() == "Wide and quiet."
    picture = article.locator("img")
    picture.evaluate("image => image.decode()")
    assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [600, 314]
    assert running.events(2) == [
        ("impression", "tyre-banner", 0, 2500),
        ("impression", "tyre-native", 0, 2500),
    ]
    site.page.wait_for_timeout(600)  # before that nobody has read what was clicked on
    with site.window.expect_event("request", lambda one: one.url == "https://acme.example/tyres"):
        shown.locator("a").first.click()
    assert ("click", "tyre-banner", 0, 0) in running.events(3)
    assert not any("uid=7" in url for url in site.called)


def test_nothing_is_recorded_of_a_bid_that_loses(site: Site, running: Running) -> None:
    site.open(
        banner("lost") | {"mediaTypes": {"banner": {"sizes": [[300, 250]]}}}, config={"auctionOptions": {}}
    )
    site.page.evaluate("pbjs.removeAdUnit()")
    first = len(running.events(1))
    site.page.evaluate(
        "new Promise(done => pbjs.requestBids({adUnits: SCENARIO.units, bidsBackHandler: () => done(1)}))"
    )
    time.sleep(1)
    assert len(running.events(1)) == first == 1  # the second auction's bid was never rendered


def test_with_all_consent_the_string_is_sent_and_we_bid(site: Site) -> None:
    string = tcf(*range(1, 12))
    assert len(site.open(banner(), tcf=string, consent=tcf_module())) == 1
    (asked,) = site.asked
    assert asked["regs"]["ext"]["gdpr"] == 1 and asked["user"]["ext"]["consent"] == string


def test_where_readers_refuse_prebid_is_silent_and_the_tag_fills_the_same_slot(
    site: Site, running: Running
) -> None:
    assert site.open(banner(), tcf=tcf(), consent=tcf_module()) == []
    assert site.asked == []
    filled = site.page.evaluate(
        """(service) => new Promise((done) => {
            document.addEventListener('contextual-ad', ({detail}) => done(detail.filled));
            document.getElementById('slots').innerHTML =
                '<contextual-ad publisher="planet" placement="top" width="300" height="250"></contextual-ad>';
            const script = document.createElement('script');
            script.src = service + '/v1/tag/1/contextual-ad.js';
            document.head.append(script);
        })""",
        running.url,
    )
    assert filled is True
    site.shown("Tyres for the rain", "p, strong")
    ((_, shown, *_), _) = told = running.events(2)
    assert told == [("impression", shown, 0, 2500), ("viewable", shown, 0, 0)]
    assert site.asked == []  # Prebid stayed silent


def documented(mark: str, running: Running) -> str:
    """Return a block of the documentation, for this service and publisher."""
    text = (HERE.parent / "engine" / "publisher" / "HEADER_BIDDING.md").read_text("utf-8")
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", text, re.S)
    assert found is not None
    return found[1].replace("https://ads.example.com", running.url).replace("daily-planet", "planet")


def test_the_documented_configuration_is_all_that_a_page_needs(site: Site, running: Running) -> None:
    assert site.open(s2s=None) == []
    site.page.evaluate(f"document.querySelector('main').append({TEXT!r})")
    site.page.evaluate(documented("prebid", running))
    site.page.evaluate(
        """(unit) => new Promise((done) =>
            pbjs.requestBids({adUnits: [unit], timeout: 6000, bidsBackHandler: () => done(1)}))""",
        banner(),
    )
    assert [bid["bidder"] for bid in site.page.evaluate("pbjs.getHighestCpmBids()")] == ["tactful"]
    (asked,) = site.asked
    assert asked["site"]["ext"]["data"]["text"].endswith(TEXT)
    assert asked["site"]["content"]["title"] == "A long tour"


def test_the_documented_passback_fills_a_frame_of_the_page(site: Site, running: Running) -> None:
    assert site.open(banner(), tcf=tcf(), consent=tcf_module()) == []
    site.page.evaluate(
        """(html) => {
            const frame = document.createElement('iframe');
            document.getElementById('slots').append(frame);
            frame.contentDocument.open();
            frame.contentDocument.write(html);
            frame.contentDocument.close();
        }""",
        documented("passback", running),
    )
    site.shown("Tyres for the rain", "p, strong")
    assert [row[0] for row in running.events(1)] == ["impression"]
    assert site.asked == []


def test_a_vendor_exception_lets_prebid_ask_in_spite_of_a_refusal(site: Site) -> None:
    rules = [
        {"purpose": purpose, "enforcePurpose": True, "enforceVendor": True, "vendorExceptions": ["tactful"]}
        for purpose in ("storage", "basicAds")
    ]
    assert len(site.open(banner(), tcf=tcf(), consent=tcf_module(rules=rules))) == 1
    assert site.asked[0]["user"]["ext"]["consent"]


def test_without_purpose_1_the_service_is_asked_still(site: Site) -> None:
    assert len(site.open(banner(), tcf=tcf(2), consent=tcf_module())) == 1


def test_gpp_and_gpc_are_sent_and_we_bid_by_the_page(site: Site) -> None:
    won = site.open(banner(), gpp=GPP, gpc=True, consent={"gpp": {"cmpApi": "iab", "timeout": 2000}})
    assert len(won) == 1
    (asked,) = site.asked
    assert asked["regs"]["gpp"] == GPP and asked["regs"]["gpp_sid"] == [7]
    assert asked["regs"]["ext"]["gpc"] == "1"


@pytest.mark.parametrize(("floor", "bids"), [(2.5, 1), (2.51, 0)])
def test_floors_are_sent_and_held(site: Site, floor: float, bids: int) -> None:
    data = {"currency": "USD", "schema": {"fields": ["mediaType"]}, "values": {"banner": floor}}
    won = site.open(banner(), config={"floors": {"enforcement": {"enforceJS": True}, "data": data}})
    assert site.asked[0]["imp"][0]["bidfloor"] == floor
    assert len(won) == bids
    assert not any(name == "bidRejected" for name, _ in site.happened())  # we never sent one too low


def test_a_compressed_request_is_read(site: Site) -> None:
    assert len(site.open(banner(), s2s={"endpointCompression": True})) == 1
    assert any("gzip=1" in url for url in site.called)


@pytest.mark.parametrize(("id", "bids"), [("sport-top", 1), ("nowhere", 0)])
def test_a_stored_request_is_found_by_its_id(site: Site, id: str, bids: int) -> None:
    unit = {
        "code": "top",
        "mediaTypes": {"banner": {"sizes": [[300, 250]]}},
        "bids": [{"module": "pbsBidAdapter", "ortb2Imp": {"ext": {"prebid": {"storedrequest": {"id": id}}}}}],
    }
    won = site.open(unit, s2s={"allowUnknownBidderCodes": True, "bidders": []})
    assert "bidder" not in site.asked[0]["imp"][0]["ext"]["prebid"]
    assert [(bid["unit"], bid["bidder"]) for bid in won] == [("top", "tactful")] * bids


@pytest.mark.parametrize("pubrender", [0, 1, 2])
def test_where_the_dsa_is_asked_for_prebid_takes_what_we_tell(site: Site, pubrender: int) -> None:
    dsa = {"dsarequired": 3, "pubrender": pubrender, "datatopub": 1}
    won = site.open(banner(), native(), config={"ortb2": {"regs": {"ext": {"dsa": dsa}}}})
    assert len(won) == 2 and not any(name == "bidRejected" for name, _ in site.happened())
    for bid in won:
        told = bid["meta"]["dsa"]
        assert (told["behalf"], told["paid"]) == ("Acme & Sons", "Acme & Sons")
        assert told["transparency"] == [{"domain": "ads.service.test", "dsaparams": [2]}]
        assert told["adrender"] == (0 if pubrender == 2 else 1)


def test_rixengine_renders_and_counts_by_what_is_rendered(site: Site, running: Running) -> None:
    params = {"endpoint": f"{running.url}/openrtb2/auction", "sid": "planet", "token": "any"}
    won = site.open(banner("top", {"bidder": "rixengine", "params": params}), s2s=None)
    assert [(bid["bidder"], bid["type"], bid["size"]) for bid in won] == [("rixengine", "banner", [300, 250])]
    site.shown("Tyres for the rain")
    assert running.events(1) == [("impression", "tyre-banner", 0, 2500)]


def test_the_rtd_module_passes_our_categories_on(site: Site, running: Running) -> None:
    url = f"http://www.planet.test:{site.port}/"
    running.tell({"url": url, "text": TEXT, "categories": ["533"]})
    params = {
        "neuwoApiUrl": f"{running.url}/v1/iab",
        "neuwoApiToken": "planet",
        "iabContentTaxonomyVersion": "3.0",
        "stripAllQueryParams": True,
        "stripFragments": True,
        "iabTaxonomyFilters": {"ContentTier1": {"limit": 2, "threshold": 0.9}},
    }
    provider = {"name": "NeuwoRTDModule", "waitForIt": True, "params": params}
    won = site.open(banner(), config={"realTimeData": {"auctionDelay": 5000, "dataProviders": [provider]}})
    assert len(won) == 1
    (asked,) = site.asked
    (data,) = asked["site"]["content"]["data"]
    assert data["ext"]["segtax"] == 7
    assert {"483", "533"} <= {one["id"] for one in data["segment"]}
    assert "IAB17" in asked["site"]["cat"] and "user" not in asked
    (called,) = (one for one in site.called if "/v1/iab" in one)
    assert "uid" not in called


def test_the_worst_text_that_is_let_in_does_nothing_in_an_unescaping_template(
    site: Site, running: Running
) -> None:
    for text in REFUSED:
        trap = {**catalogue()[-1], "headline": text}
        refused = running.load([trap])
        assert refused.returncode != 0 and "headline" in refused.stdout + refused.stderr
    won = site.open(native(), host="www.evil.test", s2s={"accountId": "evil"})
    assert len(won) == 1
    article = site.frame("feed").locator("article")
    assert article.locator("h3").inner_text().startswith("Rain <img src=x onerror")
    assert article.locator("*").evaluate_all("all => all.map(one => one.tagName)") == [
        *("H3", "IMG", "P", "SMALL", "A"),
    ]
    article.hover()
    assert site.page.evaluate("window.XSS") is None


def test_a_page_that_nobody_registered_gets_nothing(site: Site, running: Running) -> None:
    assert site.open(banner(), host="www.stranger.test") == []
    assert len(site.asked) == 1
    assert site.open(banner(), host="www.evil.test") == []  # another publisher's
    assert running.events(0) == []


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
