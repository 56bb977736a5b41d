"""`tactful log`: what an operator, an auditor and a witness do with the log."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from engine.cli import main
from engine.log_client import Witnesses
from engine.log_witness import WitnessFiles
from engine.web.witness import create_witness_app
from privacy.checkpoint import Signer
from privacy.log_policy import read_policy
from privacy.witness import origin_hash
from tests.engine.log_world import LogWorld


class Shell:
    """Runs commands on a log of 300 entries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = LogWorld(folder)
        self.world.log.step()
        self.world.append(295)
        self.world.later(60)
        self.world.log.step()
        self.policy = self.file("policy.txt", self.run("log", "policy").stdout)

    def run(self, *command: object) -> Result:
        environ = {
            "TACTFUL_DATA_DIR": str(self.folder / "data"),
            "TACTFUL_KEY_DIR": str(self.folder / "keys"),
        }
        return CliRunner().invoke(main, [str(word) for word in command], env=environ)

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path


@pytest.fixture
def shell(tmp_path):
    made = Shell(tmp_path)
    yield made
    made.world.close()


def test_a_receipt_verifies_offline_and_for_its_own_leaf_only(shell):
    leaf, other = shell.folder / "17.leaf", shell.folder / "18.leaf"
    proof = shell.file("17.tlog-proof", shell.run("log", "receipt", 17, "--leaf", leaf).stdout)
    shell.run("log", "receipt", 18, "--leaf", other)
    verify = ("log", "verify", proof)
    told = shell.run(*verify, leaf, "--policy", shell.policy)
    assert (told.exit_code, told.stdout) == (0, "entry 17 of ads.example/log at 300 entries: verified\n")
    told = shell.run(*verify, other, "--policy", shell.policy)
    assert told.exit_code == 1
    assert "inclusion proof" in told.stderr


def test_an_entry_that_is_not_signed_yet_has_no_receipt(shell):
    shell.world.append(1)
    told = shell.run("log", "receipt", 300)
    assert told.exit_code == 1
    assert "no published checkpoint covers" in told.stderr


def test_fsck_says_what_is_wrong_and_repairs_what_a_copy_allows(shell):
    assert json.loads(shell.run("log", "fsck", "--json").stdout)["holds"]
    told = shell.run("log", "fsck", "--repair")
    assert told.exit_code == 3
    assert "stop it first" in told.stderr
    shell.world.close()
    db = sqlite3.connect(shell.world.config.database)
    with db:
        db.execute("UPDATE log_leaves SET leaf = 'forged' WHERE seq = 7")
        db.execute("DELETE FROM log_leaves WHERE seq > 290")
    db.close()
    told = shell.run("log", "fsck", "--json")
    assert told.exit_code == 1
    assert "rolled back" in json.loads(told.stdout)["faults"][0]
    told = shell.run("log", "fsck", "--repair")
    assert told.exit_code == 0, told.output
    assert "put 10 leaves back" in told.stderr
    assert "300 leaves, 300 of them published: clean" in told.stdout
    tile = shell.world.files.folder / "tile/0/000"
    tile.write_bytes(bytes(8192))
    assert shell.run("log", "fsck").exit_code == 1
    assert "wrote 1 tiles anew" in shell.run("log", "fsck", "--repair").stderr
    assert shell.run("log", "fsck").exit_code == 0


def test_what_no_copy_gives_back_is_not_repaired(shell):
    shell.world.close()
    db = sqlite3.connect(shell.world.config.database)
    with db:
        db.execute("UPDATE log_leaves SET leaf = 'forged' WHERE seq = 7")
    db.close()
    bundle = shell.world.files.folder / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b'"seq":9,', b'"seq":8,'))
    told = shell.run("log", "fsck", "--repair")
    assert told.exit_code == 3
    assert "neither the store's leaves nor the entry tiles" in told.stderr


def test_fsck_reads_every_leaf(shell):
    with shell.world.store.writing() as db:
        shell.world.leaves.append(db, [lambda seq: b'{"seq": 300}'])
    told = shell.run("log", "fsck")
    assert told.exit_code == 1
    assert "leaf 300: is not canonical" in told.stdout


def test_a_monitor_follows_a_log_that_grows_and_notices_one_that_does_not_continue(shell):
    log = shell.world.files.folder
    # As old as you like: the world's clock does not run with the monitor's.
    watch = (
        "log",
        "monitor",
        log,
        "--policy",
        shell.policy,
        "--seen",
        shell.folder / "seen",
        "--stale-s",
        10**9,
    )
    first = shell.run(*watch)
    assert (first.exit_code, first.stdout.split(",")[0]) == (0, "ads.example/log: 300 entries")
    older = (log / "checkpoint").read_bytes()
    shell.world.append(500)
    shell.world.later(60)
    shell.world.log.step()
    assert "800 entries" in shell.run(*watch).stdout
    (log / "checkpoint").write_bytes(older)
    told = shell.run(*watch)
    assert told.exit_code == 1
    assert "rolled back from 800 leaves to 300" in told.stderr


@pytest.fixture
def served(shell):
    """Serve the log's folder as a plain web server does, to those who show a key."""

    def app(environ, start_response):
        path = shell.world.files.folder / environ["PATH_INFO"].removeprefix("/log/")
        if environ.get("HTTP_AUTHORIZATION") != "Bearer key":
            start_response("401 Unauthorized", [])
            return [b""]
        start_response("200 OK" if path.is_file() else "404 Not Found", [])
        return [path.read_bytes() if path.is_file() else b""]

    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/log/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_monitor_follows_over_http_with_a_key_and_across_partial_tiles_that_are_gone(shell, served):
    watch = (
        "log",
        "monitor",
        served,
        "--policy",
        shell.policy,
        "--seen",
        shell.folder / "seen",
        "--stale-s",
        10**9,
    )
    assert "answered 401" in shell.run(*watch).stderr
    key = ("--key-file", shell.file("key", "key\n"))
    assert shell.run(*watch, *key).exit_code == 0
    for count in (100, 300):
        shell.world.append(count)
        shell.world.later(60)
        shell.world.log.step()
        told = shell.run(*watch, *key)
        assert told.exit_code == 0, told.output
    assert "700 entries" in told.stdout
    shell.world.append(100)
    shell.world.later(60)
    shell.world.log.step()
    (shell.world.files.folder / "tile/0/002").write_bytes(b"short")
    assert "got 5 bytes" in shell.run(*watch, *key).stderr
    (shell.world.files.folder / "checkpoint").unlink()
    assert "has no checkpoint" in shell.run(*watch, *key).stderr


def test_a_monitor_notices_another_history_of_the_same_log(shell):
    watch = ("log", "monitor", shell.world.files.folder, "--policy", shell.policy, "--stale-s", 10**9)
    seen = ("--seen", shell.folder / "seen")
    assert shell.run(*watch, *seen).exit_code == 0
    # The same keys sign another log of the same name.
    shell.world.close()
    for path in (
        shell.world.config.key_dir / "log-signed.json",
        *sorted(shell.world.config.data_dir.iterdir()),
    ):
        if path.is_dir():
            path.rename(shell.folder / path.name)
        else:
            path.unlink()
    other = LogWorld(shell.folder, seed=99)
    other.log.step()
    other.append(500)
    other.later(60)
    other.log.step()
    told = shell.run(*watch, *seen)
    other.close()
    assert told.exit_code == 1
    assert "consistency proof" in told.stderr


def test_a_monitor_notices_a_log_that_nobody_signs_any_more(shell):
    watch = ("log", "monitor", shell.world.files.folder, "--policy", shell.policy)
    told = shell.run(*watch, "--seen", shell.folder / "seen", "--stale-s", 1)
    assert told.exit_code == 1
    assert "monitor: s" in told.stderr  # stale, or signed in a future that the world's clock has seen


@pytest.fixture
def witness(shell):
    signer = Signer.ml_dsa_44("witness.example/w", b"w" * 32)
    logs = read_policy(shell.policy.read_text())
    store = WitnessFiles(shell.folder / "cosigned")
    app = create_witness_app(logs, signer, store, lambda: shell.world.time)
    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    line = f"witness w {signer.verifier.vkey()} http://127.0.0.1:{server.port}\nquorum w\n"
    policy = shell.policy.read_text().replace("quorum none\n", line)
    yield app.test_client(), read_policy(policy)
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_log_carries_what_its_witness_cosigned_and_a_receipt_meets_the_quorum(shell, witness):
    client, policy = witness
    with_witness = shell.file("witnessed.txt", policy.text())
    shell.world.writer._witnessing = Witnesses(policy)
    for _ in range(3):
        shell.world.append(400)
        shell.world.later(60)
        shell.world.log.step()
    leaf = shell.folder / "leaf"
    proof = shell.file("proof", shell.run("log", "receipt", 1400, "--leaf", leaf).stdout)
    told = shell.run("log", "verify", proof, leaf, "--policy", with_witness)
    assert (told.exit_code, told.stdout) == (0, "entry 1400 of ads.example/log at 1500 entries: verified\n")
    served = client.get(f"/{origin_hash('ads.example/log')}/checkpoint")
    assert served.data.startswith(b"ads.example/log\n1500\n")
    assert client.get(f"/{origin_hash('other')}/checkpoint").status_code == 404
    assert client.get("/../keys/checkpoint").status_code == 404
    assert client.post("/add-checkpoint", data=b"x" * (1 << 21)).status_code == 413
    assert shell.run("log", "fsck").exit_code == 0


def test_a_witness_that_is_away_costs_its_cosignature_only(shell):
    gone = Signer.ml_dsa_44("witness.example/gone", b"g" * 32).verifier.vkey()
    policy = read_policy(f"witness w {gone} http://127.0.0.1:9\nquorum none\n")
    shell.world.writer._witnessing = Witnesses(policy)
    shell.world.append(1)
    shell.world.later(60)
    shell.world.log.step()
    assert shell.world.log.fault() is None
    assert json.loads(shell.run("log", "fsck", "--json").stdout)["published"] == 301
