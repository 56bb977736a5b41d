"""The proof of erasure holds of the service as it is built, and finds every planted fault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.config import Config
from engine.prove.erasure import copied, prove
from engine.prove.erasure_planted import PLANTED
from tests.rights import Desk


@pytest.fixture
def config(tmp_path):
    return Config(data_dir=tmp_path / "none" / "data", key_dir=tmp_path / "none" / "keys")


@pytest.mark.parametrize("profile", ["auditors", "public"])
def test_nothing_is_left_of_an_erased_reader(config, tmp_path, profile):
    verdict = prove(copied(replace(config, log_profile=profile), tmp_path / "proof"))
    assert verdict.plain()["found"] == [] and verdict.plain()["faults"] == []
    assert verdict.holds and verdict.needles > 30 and verdict.files > 15


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(config, tmp_path, fault):
    assert not prove(copied(config, tmp_path / "proof"), PLANTED[fault]).holds


def test_at_least_six_faults_are_planted():
    assert len(PLANTED) >= 6


def test_the_proof_works_on_a_copy_and_leaves_the_deployment_alone(tmp_path):
    desk = Desk(tmp_path)
    desk.grant()
    before = desk.leaves.read(0, 99)
    verdict = prove(copied(desk.config, tmp_path / "proof"))
    assert verdict.holds, verdict.plain()
    assert desk.leaves.read(0, 99) == before and desk.standing().state == "ConsentGiven"
    desk.close()
