"""The proof of the log finds all that is planted, and says so of a deployment whose log was meddled with."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from engine.prove.erasure import copied
from engine.prove.log import prove_log
from engine.prove.log_planted import PLANTED, PLANTED_IN_SHARDS, scores
from tests.engine.log_world import LogWorld
from tests.engine.test_log_rotation import change_keys


@pytest.fixture
def world(tmp_path):
    made = LogWorld(tmp_path)
    made.log.step()
    made.append(400)
    made.later(60)
    made.log.step()
    yield made
    made.close()


def test_every_planted_fault_is_found(tmp_path):
    found = scores(tmp_path)
    assert len(found) == len(PLANTED) + len(PLANTED_IN_SHARDS) >= 50
    assert [name for name, seen in found.items() if not seen] == []


def test_a_sound_deployment_is_proved_while_it_runs_and_left_as_it_was(world):
    before = {path: path.read_bytes() for path in world.files.folder.rglob("*") if path.is_file()}
    verdict = prove_log(world.config, world.time)
    assert (verdict.holds, verdict.entries, verdict.faults) == (True, 405, ())
    assert verdict.receipts > 10
    assert {path: path.read_bytes() for path in world.files.folder.rglob("*") if path.is_file()} == before
    assert world.leaves.count() == 405


def test_a_deployment_of_several_years_and_keys_is_proved_and_no_witness_asked(world, tmp_path):
    for year in (2027, 2028):
        world.time = datetime(year, 1, 1, 0, 5, tzinfo=UTC)
        world.log.step()
        world.append(3)
        change_keys(world)
        world = world.again()
    world.time = datetime(2030, 1, 1, 0, 5, tzinfo=UTC)
    world.log.step()
    world.log.step()
    assert len(world.log.shards.all()) == 4
    config = replace(world.config, log_witnesses=tmp_path / "a file that is not there, or it would be read")
    verdict = prove_log(config, world.time)
    assert (verdict.holds, verdict.faults) == (True, ())
    assert copied(config, tmp_path / "twin").log_witnesses is None
    world.close()


@pytest.mark.parametrize("profile", ["auditors", "public"])
def test_a_deployment_without_a_log_is_proved_on_a_fresh_one(tmp_path, profile):
    world = LogWorld(tmp_path, profile)
    world.close()
    assert prove_log(world.config, world.time + timedelta(days=1)).holds


def test_a_deployment_whose_log_was_meddled_with_is_not_proved(world):
    db = sqlite3.connect(world.config.database)
    with db:
        db.execute("UPDATE log_leaves SET leaf = x'00' WHERE seq = 7")
    db.close()
    verdict = prove_log(world.config, world.time)
    assert not verdict.holds
    assert any("differs from what the leaves give" in fault for fault in verdict.faults)
