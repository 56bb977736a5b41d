"""The auditor's page, in a real browser over a real log: what it shows and verifies, and what it does not let pass."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from click.testing import CliRunner
from msgspec import structs
from werkzeug.test import Client

from engine.cli import main
from engine.config import CONSENT_KEYS, Config
from engine.consent_log import ConsentLog
from engine.consents import open_consents
from engine.keys import create_key
from engine.store import SqliteStore
from engine.web import create_app
from privacy.checkpoint import read_checkpoint, read_note, sign_note
from privacy.consent_log import leaf
from privacy.errors import LogError
from privacy.inventory import load
from privacy.keyring import Keyring
from privacy.rejudge import judge, read_bundle
from tests.engine.web.conftest import NOW, FakeServices
from tests.rights import PLANET, SUB, grant

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
STATES = ("consent.grant", "consent.grant", "consent.refuse", "consent.withdraw", "subject.erase")
LEAVES = 600  # three tiles of entries, of two full ones and a part


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


class House:
    """The app over a real log with entries of three days."""

    def __init__(self, folder: Path) -> None:
        self.store = SqliteStore(folder / "tactful.db")
        self.time = NOW + timedelta(days=3)
        config = Config(data_dir=folder, key_dir=folder / "keys", public_url="http://ads.example")
        keys = Keyring.open(config.key_dir, CONSENT_KEYS, random=secrets.token_bytes)
        self.log = ConsentLog(
            config,
            self.store,
            keys,
            now=lambda: self.time,
            monotonic=iter(range(0, 10**9, 1000)).__next__,
            random_bytes=secrets.token_bytes,
        )
        self.log.record()
        consents = open_consents(
            config,
            self.store,
            self.log.leaves,
            keys,
            proof=self.log.proof,
            forget=lambda *_: None,
            now=lambda: NOW,
            random_bytes=secrets.token_bytes,
        )
        consents.grant(PLANET, SUB, grant())
        self.export = folder / "export.jsonld"
        self.export.write_text(json.dumps(consents.export("planet", SUB)))  # not yet in a checkpoint
        consents.close()
        makers = [
            partial(
                leaf,
                type=STATES[n % len(STATES)],
                at=NOW + timedelta(hours=n * 72 // LEAVES),
                commit=secrets.token_bytes(32),
            )
            for n in range(LEAVES)
        ]
        with self.store.writing() as db:
            self.log.leaves.append(db, makers)
        self.log.step()
        services = FakeServices(self.store)
        services.consent_log = self.log
        self.app = create_app(config, services)
        self.key = create_key(self.store, "compliance", None, "test", NOW, secrets.token_bytes)
        self.tiles = folder / "log" / "tile"
        self.services = services

    def turn(self, year: int) -> None:
        """Let a year begin, and 300 entries follow."""
        self.time = datetime(year, 1, 1, 0, 0, 5, tzinfo=UTC)
        self.log.step()
        made = [partial(leaf, type="consent.grant", at=self.time, commit=secrets.token_bytes(32))] * 300
        with self.store.writing() as db:
            self.log.leaves.append(db, made)
        self.log.step()

    def close(self) -> None:
        self.log.close()
        self.services.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("audit"))
    yield house
    house.close()


def test_the_page_asks_no_other_host_and_holds_no_entry(house: House) -> None:
    client = Client(house.app)
    for path in ("/audit", "/audit/audit.css", "/audit/audit.js"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert not re.search(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]", answer.text), path
        assert "Set-Cookie" not in answer.headers
    page = client.get("/audit").text
    for what in load().never:
        assert what.split(",")[0].split("'")[0] in page
    assert client.post("/audit").status_code == 405


def test_the_log_behind_the_page_is_for_the_compliance_scope(house: House) -> None:
    client = Client(house.app)
    assert client.get("/log/checkpoint").status_code == 401
    assert client.get("/log/checkpoint", headers={"Authorization": f"Bearer {house.key}"}).status_code == 200


@pytest.fixture(scope="module")
def address(house: House) -> Iterator[str]:
    with served(house) as address:
        yield address


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Three shards."""
    house = House(tmp_path_factory.mktemp("turned"))
    house.turn(2027)
    house.turn(2029)
    yield house
    house.close()


@contextmanager
def served(house: House) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, house.app, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None and not os.environ.get("TACTFUL_REQUIRE_ALL"):
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with looking(browser, address) as page:
        yield page


@pytest.fixture
def turned_page(browser: Any, turned: House) -> Iterator[Any]:
    with served(turned) as address, looking(browser, address) as page:
        yield page


@contextmanager
def looking(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1200, "height": 1600})
    page = context.new_page()
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(f"{address}/audit")
    yield page
    assert page.errors == []
    assert all(url.startswith((address, "blob:")) for url in page.asked)
    context.close()


def opened(page: Any, key: str) -> Any:
    page.fill("#key", key)
    page.click("text=Open the log")
    page.locator("#state", has_text=re.compile("entries|could not")).wait_for()
    return page


def verdicts(page: Any, button: str, lines: int) -> list[str]:
    page.click(button)
    page.locator("#verdict li").nth(lines - 1).wait_for()
    return page.locator("#verdict li").all_text_contents()


def test_the_page_shows_the_log_and_verifies_any_entry(page: Any, house: House) -> None:
    opened(page, house.key)
    size = house.log.leaves.count()
    assert page.text_content("#state") == f"{size} entries."
    assert page.locator("#keys tr").count() == size - LEAVES - 1
    page.click("summary")
    days = [row.split() for row in page.locator("#days tbody tr").all_inner_texts()]
    assert sum(sum(map(int, counts)) for _, *counts in days) == LEAVES + 1
    for index in (0, 1, 255, 256, 511, 512, size - 1):
        page.fill("#index", str(index))
        told = verdicts(page, "#verify", 3)
        assert [line[0] for line in told] == ["✓"] * 3, told
    told = verdicts(page, "#verify-all", 3)
    assert [line[0] for line in told] == ["✓"] * 3, told
    if folder := os.environ.get("TACTFUL_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/audit.png", full_page=True)


def test_the_page_verifies_any_entry_of_any_shard_down_from_the_newest(
    turned_page: Any, turned: House
) -> None:
    page, first, newest = turned_page, *(turned.log.shards.all()[place].first for place in (1, 2))
    opened(page, turned.key)
    size = turned.log.leaves.count()
    assert page.text_content("#state") == f"{size} entries in 3 shards."
    assert page.text_content("#checkpoint").count("ads.example/log") >= 3
    for index, lines in ((0, 5), (first - 1, 5), (first, 4), (newest - 1, 4), (newest, 3), (size - 1, 3)):
        page.fill("#index", str(index))
        told = verdicts(page, "#verify", lines)
        assert [line[0] for line in told] == ["✓"] * lines, told
    told = verdicts(page, "#verify-all", 9)
    assert [line[0] for line in told] == ["✓"] * 9, told
    if folder := os.environ.get("TACTFUL_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/audit-shards.png", full_page=True)


@pytest.mark.parametrize("how", ["opened again", "another first entry"])
def test_the_page_tells_a_chain_that_is_broken(turned_page: Any, turned: House, how: str) -> None:
    page, shard = turned_page, turned.log.shards.all()[1]
    if how == "opened again":
        note = turned.log.shards.files(turned.log.shards.all()[0]).checkpoint() or b""
        text = read_checkpoint(read_note(note).text)
        root = replace(text, root=bytes(32)).text()
        signed = sign_note(root, turned.log.writer.keys(text.origin), 1_800_000_000).encode()
        page.route("**/log/checkpoint", lambda route: route.fulfill(body=signed))
    else:
        tile = turned.tiles.parent / "2027/tile/entries/000"
        changed = tile.read_bytes().replace(b'"size":', b'"size":1', 1).replace(b"log.begin", b"log.begi", 1)
        page.route("**/log/2027/tile/entries/000", lambda route: route.fulfill(body=changed))
    opened(page, turned.key)
    page.fill("#index", "5")
    told = verdicts(page, "#verify", 5)
    assert any(line.startswith("✗ ads.example/log ended with") for line in told), told
    assert shard.origin in "".join(told)


def test_a_wrong_key_opens_nothing(page: Any) -> None:
    opened(page, "tactful_" + "x" * 40)
    assert "401" in page.text_content("#state")
    assert not page.is_visible("#opened")


def test_another_key_of_the_log_is_told(page: Any, house: House) -> None:
    opened(page, house.key)
    vkey = page.input_value("#vkey")
    page.fill("#vkey", vkey[:-2] + ("A=" if vkey[-2] != "A" else "E="))
    told = verdicts(page, "#verify", 3)
    assert told[0].startswith("✗")


@pytest.mark.parametrize("which", ["entries/000", "0/000"])
def test_a_changed_tile_is_told(page: Any, house: House, which: str) -> None:
    sound = (house.tiles / which).read_bytes()
    entry = json.loads(house.log.leaves.read(9, 10)[0])["commit"].encode()
    neighbour = bytes([sound[8 * 32] ^ 1])  # the hash of entry 8, the first on the path of entry 9
    hashes = sound[: 8 * 32] + neighbour + sound[8 * 32 + 1 :]
    changed = sound.replace(entry, b"0" * 64) if which.startswith("entries") else hashes
    assert changed != sound
    page.route("**/log/tile/" + which, lambda route: route.fulfill(body=changed))
    opened(page, house.key)
    page.fill("#index", "9")
    told = verdicts(page, "#verify", 3)
    assert [line[0] for line in told] == ["✓", "✗", "✓"], told


def saved_by(page: Any, folder: Path, button: str) -> str:
    with page.expect_download() as download:
        page.click(button)
    target = folder / "saved"
    download.value.save_as(target)
    return target.read_text("utf-8")


def test_what_is_saved_is_what_the_log_holds(page: Any, house: House, tmp_path: Path) -> None:
    opened(page, house.key)
    saved = partial(saved_by, page, tmp_path)
    leaves = [json.loads(entry) for entry in house.log.leaves.read(0, 10**6)]
    assert [json.loads(line) for line in saved("#jsonl").splitlines()] == leaves
    rows = list(csv.DictReader(io.StringIO(saved("#csv"))))
    assert [(int(row["seq"]), row["type"]) for row in rows] == [(e["seq"], e["type"]) for e in leaves]


def test_evidence_over_shards_is_judged_offline(turned_page: Any, turned: House, tmp_path: Path) -> None:
    page = turned_page
    opened(page, turned.key)
    page.fill("#publisher", "planet")
    page.fill("#at", (NOW + timedelta(days=4)).strftime("%Y-%m-%dT%H:%M:%S"))
    page.set_input_files("#export", turned.export)
    evidence = read_bundle(saved_by(page, tmp_path, "#bundle").encode())
    assert turned.log.writer is not None
    policy = turned.log.writer.policy
    assert judge(evidence, policy).in_force
    for left_out in ("log.begin", "log.freeze"):
        kept = tuple(one for one in evidence.log if f'"{left_out}"' not in one.leaf)
        assert len(kept) == len(evidence.log) - 2
    with pytest.raises(LogError, match="after no other one"):
        judge(
            structs.replace(evidence, log=tuple(e for e in evidence.log if '"log.begin"' not in e.leaf)),
            policy,
        )


@pytest.mark.parametrize(
    ("days", "purpose", "in_force"),
    [
        (4, "ads.select.first_party", True),
        (4, "measure.first_party", False),
        (1, "ads.select.first_party", False),
    ],
)
def test_what_is_saved_of_a_consent_is_judged_offline(
    page: Any, house: House, tmp_path: Path, days: int, purpose: str, in_force: bool
) -> None:
    opened(page, house.key)
    page.fill("#publisher", "planet")
    page.select_option("#purpose", purpose)
    page.fill("#at", (NOW + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S"))
    page.set_input_files("#export", house.export)
    (tmp_path / "evidence.json").write_text(saved_by(page, tmp_path, "#bundle"))
    assert house.log.writer is not None
    (tmp_path / "policy.txt").write_text(house.log.writer.policy.text())
    command = ["log", "rejudge", tmp_path / "evidence.json", "--policy", tmp_path / "policy.txt", "--json"]
    told = CliRunner().invoke(main, [str(word) for word in command], env={"TACTFUL_DATA_DIR": "/nonexistent"})
    assert told.exit_code == (0 if in_force else 1), told.output
    assert json.loads(told.stdout)["in_force"] is in_force


def test_a_file_that_is_no_export_is_refused_in_words(page: Any, house: House, tmp_path: Path) -> None:
    opened(page, house.key)
    for number, text in enumerate(
        ("{", "[]", '{"@graph": 7}', '{"@graph": [{"dpv:hasConsentStatus": [{}]}]}')
    ):
        (tmp_path / f"{number}.json").write_text(text)
        page.fill("#publisher", "planet")
        page.set_input_files("#export", tmp_path / f"{number}.json")
        page.evaluate("document.querySelector('#bundle-state').textContent = ''")
        page.click("#bundle")
        page.locator("#bundle-state", has_text="no export of a reader").wait_for(timeout=5000)
