"""The audit from outside: a sound build stands, and builds with too little noise are found out."""

import json

import pytest
from click.testing import CliRunner
from scipy.stats import binom

from engine.cli import main
from engine.config import Config
from engine.errors import ProofError
from engine.prove.noise import AUDITED, CANARIES, PLANTED, PLANTED_DRAWN, audit, epsilon_lower, prove_noise
from engine.prove.noise_drawn import faults_of
from privacy.noise import MICRO
from privacy.workload import TABLES


def config(folder):
    return Config(data_dir=folder / "data", key_dir=folder / "keys")


def test_a_sound_build_stands_and_its_loss_is_nearly_seen(tmp_path):
    verdict = audit(config(tmp_path), 1.0, 3 * CANARIES)  # with so many the bound varies little
    assert verdict.sound
    assert {one.table: one.claimed for one in verdict.seen} == {
        t.name: t.micro_epsilon / MICRO for t in TABLES if t in AUDITED
    }
    assert verdict.epsilon_lower > 0.4 * max(
        one.claimed for one in verdict.seen
    )  # the guesser is no straw man
    assert not (tmp_path / "data").exists()  # what is audited is a copy


@pytest.mark.parametrize("name", PLANTED)
def test_a_build_with_too_little_noise_is_found_out(tmp_path, name):
    canaries = 5000 if name == "a threshold in place of noise" else CANARIES
    verdict = audit(config(tmp_path), 1.0, canaries, PLANTED[name])
    assert not verdict.sound


def test_fresh_processes_draw_each_table_anew_and_as_large_as_it_says():
    assert list(faults_of("sound")) == []


@pytest.mark.parametrize("name", PLANTED_DRAWN)
def test_noise_that_canaries_cannot_judge_is_found_out(name):
    assert any(faults_of(name))


def test_the_bound_is_that_of_the_binomial_law():
    for right, guesses in ((70, 100), (900, 1000), (500, 1000), (1999, 2000)):
        bound = epsilon_lower(right, guesses, 0.999)
        p = 1 / (1 + 2.718281828459045**-bound)
        assert binom.sf(right - 1, guesses, p) == pytest.approx(0.001, rel=1e-3) or bound < 1e-9


def test_the_command_says_that_it_audited_a_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("TACTFUL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TACTFUL_KEY_DIR", str(tmp_path / "keys"))
    told = CliRunner().invoke(main, ["prove", "noise", "--epsilon", "1", "--canaries", "600", "--no-planted"])
    assert told.exit_code == 0, told.output
    verdict = json.loads(told.stdout)
    assert verdict["audited"] == "a copy" and verdict["holds"]
    refuted = CliRunner().invoke(main, ["prove", "noise", "--epsilon", "0.001", "--no-planted"])
    assert refuted.exit_code == 1
    with pytest.raises(ProofError):
        prove_noise(config(tmp_path), 0, 300)
