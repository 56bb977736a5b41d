"""The command line: what it prints, what it changes, and with which code it ends."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.errors import in_words
from engine.store import SqliteStore
from tests.engine.web.conftest import seed_catalogue


class Shell:
    """Runs commands against folders of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "data" / "tactful.db"
        self.environ = {"TACTFUL_DATA_DIR": str(folder / "data"), "TACTFUL_KEY_DIR": str(folder / "keys")}

    def __call__(self, *words: str, code: int = 0, **environ: str) -> Result:
        result = CliRunner().invoke(main, list(words), env=self.environ | environ)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json").stdout)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_interrupted_while_it_loads_it_ends_without_a_traceback() -> None:
    script = """
import sys
class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == "engine.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
from engine.command import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, "Aborted!")


@pytest.fixture
def seeded_shell(shell: Shell) -> Shell:
    shell.database.parent.mkdir()
    seed_catalogue(shell.database)
    return shell


def commands(group: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    for name, command in getattr(group, "commands", {}).items():
        found += commands(command, (*path, name))
    return found


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_every_command_says_what_it_does_and_shows_an_example(shell: Shell, path: tuple[str, ...]) -> None:
    told = shell(*path, "--help").stdout
    assert "Usage:" in told
    assert "Example:" in told or "Commands:" in told


def test_help_loads_nothing_heavy() -> None:
    script = "import sys, engine.cli; print({'flask', 'numpy', 'msgspec', 'torch', 'PIL'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"


def test_init_makes_secrets_apart_from_the_data_and_shows_one_key_once(shell: Shell) -> None:
    first = shell("init")
    assert first.stdout.startswith("tactful_operator_")
    assert str(shell.folder / "keys") in first.stderr
    assert list((shell.folder / "keys").iterdir())
    assert "tactful_operator_" not in shell("init").output
    secret = first.stdout.strip().rpartition("_")[2]
    assert secret.encode() not in shell.database.read_bytes()


def test_a_file_is_loaded_as_a_whole_or_not_at_all(shell: Shell) -> None:
    good = {"kind": "advertiser", "id": "acme", "name": "Acme", "domains": ["acme.test"]}
    file = shell.folder / "catalogue.ndjson"
    file.write_text(json.dumps(good) + "\n" + json.dumps({"kind": "campaign", "id": "k"}) + "\n")
    told = shell("load", str(file), code=1)
    assert "line 2" in told.stderr
    file.write_text(json.dumps(good))
    dry = shell("load", str(file), "--dry-run")
    assert "+ advertiser acme" in dry.stdout and "nothing was changed" in dry.stdout
    assert shell.json("load", str(file)) == {
        "created": {"advertiser": 1},
        "changed": {},
        "unchanged": {},
        "warnings": [],
        "applied": True,
    }
    file.write_text(json.dumps(good | {"name": "Acme & Sons"}))
    assert "~ advertiser acme: name: 'Acme' -> 'Acme & Sons'" in shell("load", str(file), "--dry-run").stdout
    assert shell.json("load", str(file))["changed"] == {"advertiser": 1}


def test_a_load_is_planned_anew_where_the_catalogue_changed_meanwhile(
    seeded_shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine import load

    file = seeded_shell.folder / "catalogue.ndjson"
    file.write_text(json.dumps({"kind": "advertiser", "id": "new", "name": "New", "domains": ["new.test"]}))
    plan = load.plan

    def slow_plan(*asked: Any) -> load.Plan:
        planned = plan(*asked)
        if how := next(rivals, None):
            CliRunner().invoke(main, [how, "k1"], env=seeded_shell.environ)
        return planned

    monkeypatch.setattr(load, "plan", slow_plan)
    rivals = iter(["pause", "resume", "pause"])
    assert "look again" in seeded_shell("load", str(file), code=1).stderr
    rivals = iter(["resume", "pause"])
    assert seeded_shell.json("load", str(file))["created"] == {"advertiser": 1}


def test_a_data_folder_that_cannot_be_written_is_named_with_the_remedy(shell: Shell) -> None:
    (shell.folder / "data").write_text("a file")
    told = shell("init", code=3).stderr
    assert str(shell.folder / "data") in told and "TACTFUL_DATA_DIR" in told


def test_a_campaign_is_paused_and_resumed(seeded_shell: Shell) -> None:
    def status() -> str:
        store = SqliteStore(seeded_shell.database)
        try:
            return store.find("campaign", ["k1"])["k1"].status  # type: ignore[union-attr]
        finally:
            store.close()

    seeded_shell("pause", "k1")
    assert status() == "paused"
    seeded_shell("resume", "k1")
    assert status() == "active"
    assert "nothing" in seeded_shell("pause", "nothing", code=1).stderr


def test_a_publishers_answers_are_kept(seeded_shell: Shell) -> None:
    seeded_shell("approvals", "approve", "globe", "c1")
    assert [row["state"] for row in seeded_shell.json("approvals", "list", "globe")] == ["approved"]
    seeded_shell("approvals", "reject", "globe", "c1")
    assert [row["state"] for row in seeded_shell.json("approvals", "list", "globe")] == ["rejected"]
    seeded_shell("approvals", "approve", "globe", "c9", code=1)


def test_keys_are_made_rotated_and_revoked(seeded_shell: Shell) -> None:
    made = seeded_shell("keys", "create", "publisher", "--tenant", "planet").stdout.strip()
    id = made.split("_")[2]
    new = seeded_shell("keys", "rotate", id, "--grace-hours", "1").stdout.strip()
    assert new != made
    valid = {row["id"]: row["valid"] for row in seeded_shell.json("keys", "list")}
    assert valid[id] and valid[new.split("_")[2]]
    seeded_shell("keys", "revoke", id)
    assert not {row["id"]: row["valid"] for row in seeded_shell.json("keys", "list")}[id]
    assert made.rpartition("_")[2] not in seeded_shell("keys", "list", "--json").output
    seeded_shell("keys", "create", "publisher", "--tenant", "nobody", code=1)
    seeded_shell("keys", "revoke", "nothing", code=1)


def test_a_backup_brings_the_catalogue_back(seeded_shell: Shell) -> None:
    copy = seeded_shell.folder / "backup.db"
    seeded_shell("backup", str(copy))
    assert "exists" in seeded_shell("backup", str(copy), code=3).stderr
    seeded_shell("pause", "k1")
    assert "exists" in seeded_shell("restore", str(copy), code=3).stderr
    seeded_shell("restore", str(copy), "--force")
    assert "paused" in seeded_shell("pause", "k1").stdout


def test_without_a_store_the_remedy_is_named(shell: Shell) -> None:
    assert "tactful init" in shell("keys", "list", code=3).stderr


def test_wrong_usage_and_wrong_settings_end_alike(shell: Shell) -> None:
    shell("pause", code=2)
    told = shell("config", "show", code=2, TACTFUL_PORT="http", TACTFUL_WORKERS="0")
    assert "TACTFUL_PORT" in told.stderr and "TACTFUL_WORKERS" in told.stderr


def test_settings_are_shown_with_their_origin(shell: Shell) -> None:
    rows = {row["setting"]: row for row in shell.json("config", "show")}
    assert rows["data_dir"]["origin"] == "TACTFUL_DATA_DIR"
    assert rows["deadline_ms"] == rows["deadline_ms"] | {"value": "50", "origin": "default"}


@pytest.mark.parametrize("form", ["csv", "jsonld", "dpia", "roles", "svg"])
def test_the_records_of_processing_name_the_operator_and_the_publishers(
    seeded_shell: Shell, form: str
) -> None:
    told = seeded_shell(
        "inventory", "export", "--format", form, TACTFUL_OPERATOR="Example Media, Berlin"
    ).stdout
    assert "Example Media, Berlin" in told
    assert form == "svg" or "planet" in told.lower()


def test_records_can_be_written_before_there_is_a_database(shell: Shell) -> None:
    assert "TO BE STATED" in shell("inventory", "export").stdout
    assert not shell.database.exists()


@pytest.mark.parametrize(
    "server",
    ["javascript:alert(1)", 'https://x" onload="y', "ads.example", "https://a b", "https://x/;script-src *"],
)
def test_no_lines_are_printed_for_what_is_no_address(shell: Shell, server: str) -> None:
    told = shell("tag", "--server", server, code=2)
    assert "--server" in told.stderr and "<script" not in told.output


def test_a_file_that_cannot_be_read_is_named(seeded_shell: Shell, tmp_path: Path) -> None:
    shell = seeded_shell
    for name in ("missing.html", "."):
        told = shell("explain", str(tmp_path / name), "--publisher", "p", code=2)
        assert "cannot be read" in told.stderr
    told = shell("log", "rejudge", "bundle", "--policy", str(tmp_path / "no-policy.txt"), code=3)
    assert told.stderr == f"error: {tmp_path / 'no-policy.txt'}: No such file or directory\n"
    assert in_words(PermissionError(errno.EACCES, "Permission denied", "x/.lock")) == (
        "x/.lock: Permission denied: let this user read and write it"
    )
    assert in_words(OSError(errno.ENOSPC, "No space left on device")).endswith(
        "device: make room on its disk"
    )
    assert in_words(OSError("no number")) == "no number"
    (tmp_path / "log").mkdir()
    told = shell("backup", str(tmp_path / "log"), "--force", code=3)
    assert told.stderr == f"error: {tmp_path / 'log'}: Is a directory\n"


@pytest.mark.parametrize(
    "words",
    [
        ("log", "receipt", "1" + "0" * 30),
        ("changes", "--after", str(2**63)),
        ("prove", "consent-fuzz", "--count", "0"),
    ],
)
def test_a_number_beyond_all_is_wrong_usage(shell: Shell, words: tuple[str, ...]) -> None:
    assert "is not in the range" in shell(*words, code=2).stderr


def test_what_never_ends_is_read_up_to_a_bound(seeded_shell: Shell) -> None:
    told = seeded_shell("explain", "/dev/zero", code=2)
    assert "has more than 2097152 bytes" in told.stderr
