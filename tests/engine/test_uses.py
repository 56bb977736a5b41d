"""Consented uses are told to the log by the hour; each can be shown to have been told, and their number cannot."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial

import msgspec
import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.config import CONSENT_KEYS
from engine.store.forms import KEPT
from engine.store.sqlite import SqliteStore
from engine.store.uses_sqlite import UseFile
from privacy.errors import LogError
from privacy.gate import hashes_of
from privacy.keyring import Keyring
from privacy.use_batch import FEWEST, prove_use, receipt, verify_use
from tests.engine.log_world import LogWorld

HOUR = 3600


@pytest.fixture
def world(tmp_path, setting):
    made = LogWorld(tmp_path, setting=setting)
    made.log.step()
    yield made
    made.close()


@pytest.fixture
def sqlite_world(tmp_path):
    made = LogWorld(tmp_path)
    made.log.step()
    yield made
    made.close()


def use(world: LogWorld, number: int) -> bytes:
    consents = world.store.consents(world.leaves, bytes)
    jti, nonce = f"{number:064x}", "0" * 64
    assert consents.use("planet", jti, nonce, world.time + timedelta(hours=1), 50)
    return receipt(jti, nonce)


def batches(world: LogWorld) -> list[dict]:
    leaves = map(json.loads, world.leaves.read(0, world.leaves.count()))
    return [leaf for leaf in leaves if leaf["type"] == "decision.batch"]


def test_uses_of_an_hour_are_told_in_one_leaf_that_tells_no_number(world):
    use(world, 1)
    world.log.step()
    assert len(batches(world)) == 1
    for number in range(2, 9):
        use(world, number)
        world.later(60)
        world.log.step()
    assert len(batches(world)) == 1
    world.later(HOUR)
    world.log.step()
    first, second = batches(world)
    assert set(first) == set(second) == {"v", "seq", "type", "t", "commit"}
    sizes = world.store.rows("SELECT length(receipts) / 32 FROM use_batches")
    assert sizes == [(FEWEST,), (FEWEST,)]
    world.later(HOUR)
    world.log.step()
    assert len(batches(world)) == 2


def test_uses_that_wait_for_the_next_hour_make_no_writer_wait(world, monkeypatch):
    use(world, 1)
    world.log.step()
    use(world, 2)
    world.log.step()
    held = []
    hold = type(world.store).hold
    monkeypatch.setattr(type(world.store), "hold", lambda *args: held.append(args) or hold(*args))
    for _ in range(3):
        assert world.log.uses.batch(world.time) is None
    assert held == []
    assert len(batches(world)) == 1
    world.later(HOUR)
    assert world.log.uses.batch(world.time) is not None
    assert held


def test_a_replayed_use_is_told_once(world):
    consents = world.store.consents(world.leaves, bytes)
    until = world.time + timedelta(hours=1)
    for _ in range(3):
        consents.use("planet", "a" * 64, "b" * 64, until, 50)
    for _ in range(2):
        if isinstance(world.store, SqliteStore):
            UseFile(world.store).settle()
        assert world.store.rows("SELECT count(*) FROM uses_waiting") == [(1,)]


def test_uses_that_moved_before_a_crash_are_told_once(sqlite_world):
    world = sqlite_world
    use(world, 1)
    world.log.step()
    assert len(batches(world)) == 1
    with closing(sqlite3.connect(world.store.path.with_name("uses.db"))) as db, db:
        db.execute("UPDATE uses SET moved = 0")  # the process ended between the two files
    world.later(HOUR)
    world.log.step()
    assert len(batches(world)) == 1
    use(world, 2)
    world.log.step()
    assert len(batches(world)) == 2


def test_uses_of_both_files_count_against_a_token_and_a_copy_of_the_store_knows_those_that_moved(
    sqlite_world,
):
    world = sqlite_world
    consents = world.store.consents(world.leaves, bytes)
    until = world.time + timedelta(hours=1)
    assert [consents.use("planet", "a" * 64, f"{n:064x}", until, 4) for n in range(2)] == [True, True]
    UseFile(world.store).settle()
    assert consents.use("planet", "a" * 64, f"{2:064x}", until, 4)
    world.store.path.with_name("uses.db").unlink()
    again = world.store.consents(world.leaves, bytes)
    assert not again.use("planet", "a" * 64, f"{1:064x}", until, 4)
    assert [again.use("planet", "a" * 64, f"{n:064x}", until, 4) for n in range(3, 6)] == [True, True, False]


def test_a_nonce_acts_once_among_processes_while_the_store_is_busy(sqlite_world):
    world = sqlite_world
    """A use neither waits for the store's writers nor is lost where a process is killed."""
    until = world.time + timedelta(hours=1)
    script = textwrap.dedent(
        """
        import os, signal, sys
        from datetime import datetime
        from engine.errors import StoreError
        from engine.store import open_store
        from engine.store.uses_sqlite import UseFile
        file, until, told, left = UseFile(open_store("sqlite:///" + sys.argv[1])), sys.argv[2], 0, list(range(300))
        while left:
            try:
                told += file.note("a" * 64, f"{left[-1]:064x}", datetime.fromisoformat(until), 1000)
            except StoreError:  # another process held it for longer than a page waits
                continue
            left.pop()
        print(told, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    with world.store.writing():
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", script, str(world.store.path), until.isoformat()],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        told = [int(worker.communicate(timeout=120)[0]) for worker in workers]
    assert sum(told) == 300
    assert {worker.returncode for worker in workers} == {-signal.SIGKILL}
    consents = world.store.consents(world.leaves, bytes)
    assert not any(consents.use("planet", "a" * 64, f"{n:064x}", until, 1000) for n in range(300))


def test_a_use_is_proved_to_have_been_told_and_another_is_not(world):
    wanted = use(world, 7)
    world.log.step()
    world.later(60)
    world.log.step()
    seq, receipts = world.log.uses.find(wanted)
    leaf = world.leaves.read(seq, seq + 1)[0].decode()
    told = prove_use(receipts, wanted, leaf, world.log.shards.receipt(seq).encode().decode())
    assert verify_use(told, world.writer.policy).origin == "ads.example/log"
    assert world.log.uses.find(receipt("f" * 64, "0" * 64)) is None
    for damage in (
        {"receipt": "A" * 43 + "="},
        {"place": told.place + 1},
        {"size": told.size * 2},
        {"path": told.path[:-1]},
        {"leaf": leaf.replace('"t":', '"t":1')},
    ):
        with pytest.raises(LogError):
            verify_use(msgspec.structs.replace(told, **damage), world.writer.policy)
    with pytest.raises(LogError):
        verify_use(told, replace(world.writer.policy, logs=world.writer.policy.logs[:0]))


def test_batches_go_when_their_time_is_over_and_their_leaves_stay(world):
    wanted = use(world, 7)
    world.log.step()
    consents = world.store.consents(world.leaves, bytes)
    assert consents.forget(world.time + KEPT)["use_batches"] == 0
    assert consents.forget(world.time + KEPT + timedelta(hours=1))["use_batches"] == 1
    assert world.log.uses.find(wanted) is None
    assert len(batches(world)) == 1


def test_the_command_proves_a_use_by_what_the_publisher_has_and_another_checks_it(world):
    keys = Keyring.open(world.config.key_dir, CONSENT_KEYS, random=bytes)
    token_id, nonce = "5f1e8a4e00004000800000000000aaaa", "00112233445566778899aabbccddeeff"
    consents = world.store.consents(world.leaves, bytes)
    consents.use(
        "planet",
        *hashes_of(partial(keys.mac, "subject"), token_id, nonce),
        world.time + timedelta(hours=1),
        9,
    )
    environ = {"TACTFUL_DATA_DIR": str(world.config.data_dir), "TACTFUL_KEY_DIR": str(world.config.key_dir)}
    environ |= {"TACTFUL_STORE": world.config.store} if world.config.store else {}

    def run(*words: object) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words], env=environ)

    world.log.step()
    assert run("log", "use", token_id, nonce).exit_code == 1
    world.later(60)
    world.log.step()
    told = run("log", "use", token_id, nonce)
    assert told.exit_code == 0, told.output
    (world.folder / "use.json").write_text(told.stdout)
    (world.folder / "policy.txt").write_text(run("log", "policy").stdout)
    check = ("log", "verify", world.folder / "use.json", "--policy", world.folder / "policy.txt")
    assert run(*check).stdout.startswith("use of ads.example/log at")
    (world.folder / "use.json").write_text(told.stdout.replace('"place":', '"place":1'))
    assert run(*check).exit_code == 1
    assert run("log", "use", token_id, nonce[::-1]).exit_code == 1
