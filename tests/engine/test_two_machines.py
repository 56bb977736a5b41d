"""Machines that share a database: each has its own folders; consents act on all of them and are kept on one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import main
from engine.config import CONSENT_KEYS, KEY_PURPOSES, Config
from engine.keeper import FILE, keeps
from engine.keys import create_key
from engine.log_audit import published_checkpoint
from engine.prove.service import PUBLISHER, consent, fill
from engine.store import open_store
from privacy.keyring import Keyring
from tests.engine.log_world import LogWorld
from tests.postgres import Server
from tests.test_consent_flow import GRANT, NOW, SIGNALS, Worker


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    with postgres.database() as url:
        yield url


def machine(folder: Path, keys: Path, url: str) -> Path:
    """Give a second machine the keys that all machines share."""
    (folder / "keys").mkdir(parents=True, mode=0o700)
    for path in keys.iterdir():
        if path.suffix == ".key" or path.name == "keys.txt":
            shutil.copy2(path, folder / "keys" / path.name)
    return folder


def test_one_machine_writes_the_log_and_the_next_continues_it(tmp_path: Path, url: str):
    one = LogWorld(tmp_path / "one", setting=url)
    two = LogWorld(machine(tmp_path / "two", one.config.key_dir, url), setting=url, seed=8)

    def size(world: LogWorld) -> int | None:
        published = published_checkpoint(world.files, world.writer.policy)
        return None if published is None else published.size

    one.log.step()
    two.append(2)
    two.log.step()
    assert (size(one), size(two)) == (5, None)
    for world in (one, two):
        world.later(3600)
        world.log.step()
    assert (size(one), size(two)) == (7, None)
    one.log.close()
    two.log.step()
    assert size(two) == 7
    one.log.step()
    assert (one.writer.is_open, two.writer.is_open) == (False, True)
    assert one.files.checkpoint() is not None
    old, new = (published_checkpoint(world.files, world.writer.policy) for world in (one, two))
    assert old is not None and new is not None and old.root == new.root
    one.close(), two.close()


def test_a_writer_that_lost_its_server_writes_again_only_as_the_one(
    tmp_path: Path, url: str, postgres: Server
):
    one = LogWorld(tmp_path / "one", setting=url)
    two = LogWorld(machine(tmp_path / "two", one.config.key_dir, url), setting=url, seed=8)
    one.log.step()
    postgres.stop()
    one.later(60), one.log.step()
    assert "cannot be read" in str(one.log.fault())
    postgres.start()
    two.log.step()  # is faster
    one.log.step()
    assert (one.writer.is_open, two.writer.is_open) == (False, True)
    two.log.close()
    one.append(3)
    one.later(3600), one.log.step()
    assert one.writer.is_open and one.log.fault() is None
    one.close(), two.close()


def test_a_machine_that_does_not_keep_consents_heeds_them(tmp_path: Path, models: Path, url: str):
    config = Config(
        data_dir=tmp_path / "one" / "data",
        key_dir=tmp_path / "one" / "keys",
        public_url="https://ads.example",
        deadline_ms=10_000,
        store=url,
    )
    config.data_dir.mkdir(parents=True)
    (config.data_dir / "models").symlink_to(models, target_is_directory=True)
    fill(config, NOW)
    first = Worker(config)
    consent(first.services, NOW)
    two = machine(tmp_path / "two", config.key_dir, url)
    (two / "data").mkdir()
    (two / "data" / "models").symlink_to(models, target_is_directory=True)
    second = Worker(replace(config, data_dir=two / "data", key_dir=two / "keys"))
    try:
        for worker in (first, second):
            worker.services.refresh()
            worker.services.tend_weeks()
        key = create_key(first.services.store, "publisher", PUBLISHER, "test", NOW, bytes)
        for worker in (first, second):
            worker.services.refresh()
        given = first.post("/v1/consents", GRANT, key).json
        said = {"token": given["token"], "nonce": "a" * 32}
        told = second.decide(consent=said, signals=SIGNALS)["privacy"]
        assert (told["basis"], told["signals_used"]) == ("consent", [f"cohort:{SIGNALS['cohorts'][0]}"])
        assert first.decide(consent=said, signals=SIGNALS)["privacy"]["basis"] == "context"  # used up there
        assert second.post("/v1/consents", GRANT, key).status_code == 503
        ended = {"publisher": PUBLISHER, "rights_token": given["rights_token"]}
        assert second.post("/v1/consents/withdraw", ended).status_code == 503
        assert first.post("/v1/consents/withdraw", ended).status_code == 200
        said["nonce"] = "b" * 32
        assert second.decide(consent=said, signals=SIGNALS)["privacy"]["basis"] == "context"
        assert not list((two / "keys").glob("*.db")) and not (two / "data" / "shared.db").exists()
        second.services.tend()
        assert second.client.get("/readyz").status_code == 200
        assert "consents" not in second.client.get("/readyz").json
    finally:
        for worker in (first, second):
            worker.services.close()


def test_a_keeper_that_is_gone_is_replaced_by_a_command(tmp_path: Path, url: str):
    with closing(open_store(url)) as store:
        folders = [tmp_path / "one", tmp_path / "two"]
        for folder in folders:
            Keyring.open(folder, (*KEY_PURPOSES, *CONSENT_KEYS), random=bytes)
        assert [keeps(store, folder, os.urandom) for folder in folders] == [True, False]
        assert not (folders[1] / FILE).exists()
        environ = {
            "TACTFUL_STORE": url,
            "TACTFUL_DATA_DIR": str(tmp_path / "data"),
            "TACTFUL_KEY_DIR": str(folders[1]),
        }
        refused = CliRunner().invoke(main, ["purge"], env=environ)
        assert refused.exit_code == 3 and "take-over" in refused.stderr
        assert CliRunner().invoke(main, ["take-over"], env=environ).exit_code == 0
        assert keeps(store, folders[1], os.urandom)
        assert not keeps(store, folders[0], os.urandom)
