"""`tactful serve` over PostgreSQL: it decides, is paused, records consents, outlives its server; its log verifies."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.postgres import Server

ROOT = Path(__file__).parents[2]
CATALOGUE = """\
{"kind":"publisher","id":"daily","name":"Daily","domains":["daily.example"],"first_party":{"cohorts":["riders"]}}
{"kind":"advertiser","id":"bikes","name":"Bikes","domains":["bikes.example"]}
{"kind":"campaign","id":"ride","advertiser":"bikes","name":"Ride","cpm_micros":1000000,"suitability":{"avoid":[],"accept_unknown":true}}
{"kind":"creative","id":"tour","campaign":"ride","format":"native","headline":"Cycling tours with company","landing_url":"https://bikes.example/"}
"""
BODY = {
    "publisher": "daily",
    "placements": [{"id": "top", "formats": ["native"]}],
    "page": {
        "title": "Gravel bikes",
        "text": "Gravel bikes take riders over forest roads and cobbled lanes alike.",
    },
}
GRANT = {
    "publisher": "daily",
    "purposes": ["ads.select.first_party"],
    "notice": {"text_sha256": "0" * 64, "language": "en", "version": "3"},
    "expressed_by": "a button",
}


BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0"
    " Safari/537.36"
}


class Installation:
    """A service that runs, and the commands beside it."""

    def __init__(self, folder: Path, url: str, models: Path) -> None:
        self.url = url
        (folder / "data").mkdir()
        shutil.copytree(models, folder / "data" / "models", copy_function=os.link)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith("TACTFUL_")} | {
            "TACTFUL_DATA_DIR": str(folder / "data"),
            "TACTFUL_KEY_DIR": str(folder / "keys"),
            "TACTFUL_STORE": url,
            "TACTFUL_WEATHER": "none",
            "TACTFUL_DEADLINE_MS": "5000",
            "TACTFUL_PORT": str(self.port),
        }
        (folder / "catalogue.ndjson").write_text(CATALOGUE)
        self.folder = folder

    def tactful(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from engine.cli import main; main()", *words]
        return subprocess.run(
            command, env=self.environ, cwd=ROOT, text=True, capture_output=True, timeout=120
        )

    def serve(self) -> subprocess.Popen[str]:
        environ = self.environ | {"TACTFUL_STORE": ""}
        del environ["TACTFUL_STORE"]  # given on the command line
        words = ["serve", "--workers", "2", "--store", self.url]
        command = [sys.executable, "-c", "from engine.cli import main; main()", *words]
        with (self.folder / "log").open("w") as log:
            return subprocess.Popen(command, env=environ, cwd=ROOT, stdout=log, stderr=log, text=True)

    def call(self, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        headers = BROWSER | {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {key}"} if key else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def beacon(self, url: str) -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{urlsplit(url).path}", headers=BROWSER)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def sql(self, statement: str) -> list[tuple]:
        import psycopg

        with psycopg.connect(self.url) as db:
            found = db.execute(statement)
            return found.fetchall() if found.description else []

    def decisions(self) -> list[str]:
        status, told = self.call("/v1/decisions", BODY)
        assert status == 200, told
        return [one["creative"]["id"] for one in told["decisions"]]

    def until(self, wanted: Any, look: Any, within_s: float = 60) -> float:
        start = time.monotonic()
        while True:
            try:
                if look() == wanted:
                    return time.monotonic() - start
            except OSError:
                pass
            if time.monotonic() - start > within_s:
                pytest.fail(f"not {wanted} within {within_s} s: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)


@pytest.fixture
def running(models: Path, postgres: Server, tmp_path: Path) -> Iterator[Installation]:
    with postgres.database() as url:
        made = Installation(tmp_path, url, models)
        assert made.tactful("init").returncode == 0
        process = made.serve()
        try:
            made.until(200, lambda: made.call("/readyz")[0], 300)
            yield made
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_the_service_over_postgresql_does_what_it_does_over_a_file(
    running: Installation, postgres: Server
) -> None:
    loaded = running.tactful("load", str(running.folder / "catalogue.ndjson"))
    assert loaded.returncode == 0, loaded.stderr
    running.until([200] * 6, lambda: [running.call("/v1/decisions", BODY)[0] for _ in range(6)])
    running.until(["tour"], running.decisions)

    assert running.tactful("pause", "ride").returncode == 0
    # Both workers poll within a second; the rest is what this machine is slow.
    assert running.until([[]] * 6, lambda: [running.decisions() for _ in range(6)], 15) < 5
    assert running.tactful("resume", "ride").returncode == 0
    running.until([["tour"]] * 6, lambda: [running.decisions() for _ in range(6)], 15)

    shown = [running.call("/v1/decisions", BODY)[1]["decisions"][0] for _ in range(4)]
    for _ in range(2):  # each is told twice, of whichever worker
        for one in shown:
            assert [running.beacon(url) for url in one["events"].values()] == [200, 200]
    booked = "SELECT count(*), sum(price_micros)::bigint, count(DISTINCT view) FROM events WHERE ivt = 0"
    assert running.sql(f"{booked} AND kind = 'impression'") == [(4, 4000, 4)]
    assert running.sql("SELECT sum(micros)::bigint FROM ledger") == [(4000,)]
    month = datetime.now(UTC).strftime("%Y-%m")
    (owed,) = json.loads(running.tactful("invoice", month, "--running", "--json").stdout)
    assert (owed["campaign"], owed["events"], owed["micros"]) == ("ride", 4, 4000)
    back = ("money", "refund", "ride", month, "1500", "--key", "r", "--reason", "a test")
    assert [running.tactful(*back).returncode for _ in range(2)] == [0, 0]
    (owed,) = json.loads(running.tactful("invoice", month, "--running", "--json").stdout)
    assert owed["due_micros"] == 2500
    assert json.loads(running.tactful("money", "check", "--json").stdout) == {"agree": True, "faults": []}

    key = running.tactful("keys", "create", "publisher", "--tenant", "daily").stdout.split()[0]
    running.until([201] * 6, lambda: [running.call("/v1/consents", GRANT, key)[0] for _ in range(6)], 15)
    status, given = running.call("/v1/consents", GRANT, key)
    assert status == 201, given
    said = {
        **BODY,
        "signals": {"cohorts": ["riders"]},
        "consent": {"token": given["token"], "nonce": "a" * 32},
    }
    for _ in range(4):  # one use in all workers
        assert running.call("/v1/decisions", said)[0] == 200
    assert running.sql("SELECT count(*) FROM token_uses") == [(1,)]

    later = shown[0]["events"]["viewable"].removesuffix(".gif")  # told before, so counted once whatever comes
    running.sql(  # what the server says when its disk is full
        "CREATE FUNCTION no_room() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$"
        " LANGUAGE plpgsql"
    )
    running.sql("CREATE TRIGGER no_room BEFORE INSERT ON events EXECUTE FUNCTION no_room()")
    for _ in range(6):
        assert running.beacon(f"{later}.gif") == 503
        assert running.decisions() == ["tour"]
    running.sql("DROP TRIGGER no_room ON events")
    running.until(200, lambda: running.beacon(f"{later}.gif"), 15)

    postgres.stop()
    try:
        running.until(503, lambda: running.beacon(f"{later}.gif"), 15)
        for number in range(20):  # the last snapshot serves on, with and without a token
            said["consent"]["nonce"] = f"{number:032x}"
            assert running.decisions() == ["tour"]
            assert running.call("/v1/decisions", said)[1]["privacy"]["basis"] == "context"
    finally:
        postgres.start()
    assert running.tactful("pause", "tour").returncode == 0
    running.until([[]] * 6, lambda: [running.decisions() for _ in range(6)], 15)
    running.until(201, lambda: running.call("/v1/consents", GRANT, key)[0], 15)
    running.until(200, lambda: running.beacon(f"{later}.gif"), 15)

    ended = {"publisher": "daily", "rights_token": given["rights_token"]}
    assert running.call("/v1/consents/withdraw", ended)[1]["state"] == "ConsentWithdrawn"
    said["consent"]["nonce"] = "b" * 32
    assert running.call("/v1/decisions", said)[0] == 200
    assert running.sql("SELECT count(*) FROM token_uses") == [(1,)]
    assert running.call("/v1/subject/erase", ended)[0] == 200
    assert running.sql("SELECT count(*) FROM consents WHERE record = '" + given["record_id"] + "'") == [(0,)]
    checked = running.tactful("log", "fsck")
    assert checked.returncode == 0, checked.stdout + checked.stderr
