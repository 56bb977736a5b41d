"""The ledger holds against an accountant that others wrote, against averaging and against many at once."""

import json

import pytest
from click.testing import CliRunner

from engine.cli import main
from engine.config import Config
from engine.prove import ledger
from engine.prove.ledger import PLANTED, prove


def config(folder):
    return Config(data_dir=folder / "data", key_dir=folder / "keys")


def test_the_ledger_holds(tmp_path):
    verdict = prove(config(tmp_path))
    assert verdict.holds, verdict.faults
    assert (verdict.answers, verdict.spellings, verdict.spenders) == (1, 1000, 100)
    assert verdict.days >= 1


@pytest.mark.parametrize("name", PLANTED)
def test_a_ledger_with_a_fault_is_found_out(tmp_path, name, monkeypatch):
    monkeypatch.setattr(ledger, "SPELLINGS", 40)
    assert prove(config(tmp_path), PLANTED[name]).faults


def test_the_command_tells_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("TACTFUL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TACTFUL_KEY_DIR", str(tmp_path / "keys"))
    monkeypatch.setattr(ledger, "SPELLINGS", 40)
    told = CliRunner().invoke(main, ["prove", "ledger"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["planted_found"] == "6/6"
