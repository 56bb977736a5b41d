"""Readers' rights by command: what comes by mail is done, shown, purged and proved."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import main
from engine.config import Config
from engine.rights import open_rights
from engine.store import SqliteStore
from tests.engine.test_cli import Shell
from tests.rights import PLANET, SUB, grant


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    shell("init")
    config = Config.from_env(shell.environ)
    store = SqliteStore(config.database)
    with open_rights(config, store, now=now, random_bytes=secrets.token_bytes) as rights:
        rights.consents.grant(PLANET, SUB, grant())
    store.close()
    return shell


ABOUT = ("--publisher", "planet", "--sub")


def test_a_reader_is_shown_withdrawn_and_erased(shell: Shell) -> None:
    told = json.loads(shell("subject", "export", *ABOUT, SUB).stdout)
    assert told["@graph"][0]["dpv:hasDataSubject"]["dct:identifier"] == SUB
    assert shell.json("consent", "withdraw", *ABOUT, SUB)["state"] == "ConsentWithdrawn"
    assert shell.json("consent", "withdraw", *ABOUT, SUB)["index"] is None
    done = shell.json("subject", "erase", *ABOUT, SUB)
    assert done["index"] == 2 and len(done["erase_id"]) == 32
    for command in (("subject", "export"), ("subject", "erase"), ("consent", "withdraw")):
        refused = shell(*command, *ABOUT, SUB, code=1)
        assert SUB not in refused.output


def test_the_name_can_come_by_standard_input(shell: Shell) -> None:
    result = CliRunner().invoke(main, ["subject", "export", *ABOUT, "-"], env=shell.environ, input=SUB + "\n")
    assert result.exit_code == 0 and SUB in result.output


def test_a_name_that_is_no_utf_8_is_refused_in_words(shell: Shell) -> None:
    told = CliRunner().invoke(
        main, ["subject", "export", *ABOUT, "-"], env=shell.environ, input=b"\xff\xfe\n"
    )
    assert told.exit_code == 2 and "standard input: got bytes that are no UTF-8" in told.stderr
    for command in (("subject", "export", *ABOUT), ("log", "use", "token")):
        assert "an argument that is no UTF-8" in shell(*command, "r\udcffd", code=2).stderr


def test_a_purge_says_what_went(shell: Shell, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    shell("backup-keys", str(copies / "one"))
    gone = shell.json("purge", "--copies", str(copies))
    assert set(gone.values()) == {0}
    assert {"pages", "images", "api_keys", "token_uses", "consents", "copies of subject keys"} <= gone.keys()


def test_keys_are_copied_and_put_back_but_not_those_of_the_erased(shell: Shell, tmp_path: Path) -> None:
    copy = str(tmp_path / "copy")
    assert "delete it by" in shell("backup-keys", copy).stdout
    shell("backup-keys", copy, code=3)
    (tmp_path / "keys" / "subjects.db").unlink()
    assert shell.json("restore-keys", copy) == {"keys": 1}
    shell("subject", "erase", *ABOUT, SUB)
    assert shell.json("restore-keys", copy) == {"keys": 0}
    shell("restore-keys", str(tmp_path / "data" / "tactful.db"), code=3)


def test_a_restored_store_has_nobody_back_who_was_erased(shell: Shell, tmp_path: Path) -> None:
    shell("backup", str(tmp_path / "copy.db"))
    shell("subject", "erase", *ABOUT, SUB)
    for file in (tmp_path / "data").glob("tactful.db*"):
        file.unlink()
    assert "1 erased" in shell("restore", str(tmp_path / "copy.db")).stdout
    shell("subject", "export", *ABOUT, SUB, code=1)


def test_without_the_keys_nothing_is_taken_for_erased(shell: Shell, tmp_path: Path) -> None:
    shell("backup", str(tmp_path / "copy.db"))
    (tmp_path / "keys").rename(tmp_path / "away")
    assert "put them back" in shell("restore", str(tmp_path / "copy.db"), "--force").stdout
    shell("subject", "erase", *ABOUT, SUB, code=3)
    assert not (tmp_path / "keys" / "issuer.key").exists()
    for left in (tmp_path / "keys").iterdir():
        left.unlink()
    (tmp_path / "keys").rmdir()
    (tmp_path / "away").rename(tmp_path / "keys")
    assert SUB in shell("subject", "export", *ABOUT, SUB).stdout


def test_the_proof_of_erasure_is_a_command(shell: Shell) -> None:
    verdict = shell.json("prove", "erasure")
    assert verdict["holds"] and verdict["found"] == []
    found, planted = verdict["planted_found"].split("/")
    assert found == planted and int(planted) >= 6
