"""Damaged consent strings: what the IAB's own decoders refuse is refused here, and every planted fault is found."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import main
from engine.errors import ProofError
from engine.prove.consent_fuzz import TARGET, Answer, FuzzVerdict, Mutant, Part, Reading, judge
from engine.prove.string_fuzz import PACKAGES, PLANTED, ask, fuzz_strings, make_mutants, read
from privacy import gpp, tcf
from privacy.iab_bits import StringError
from tests.iab import FOLDER, INVALID, VALID

COUNT = 2400
RECORDED = [(vector["kind"], vector["text"]) for vector in VALID]


def oracle_is_here() -> str:
    """Return why the oracle cannot be asked, "" where it can."""
    try:
        ask([Mutant("gpp", "DBAA", "none")])
    except ProofError as error:
        return str(error)
    return ""


MISSING = oracle_is_here()
needs_oracle = pytest.mark.skipif(bool(MISSING), reason=MISSING or PACKAGES)


@pytest.fixture(scope="module")
def part() -> Part:
    return fuzz_strings(1, COUNT, recorded=RECORDED)


@needs_oracle
def test_nothing_is_accepted_that_the_oracle_refuses(part: Part) -> None:
    assert part.against_oracle == ()
    assert part.oracle_rejects > COUNT / 4
    assert part.plain_mutants == COUNT


@needs_oracle
def test_what_the_oracle_accepts_is_read_alike_or_refused_by_a_named_rule(part: Part) -> None:
    assert part.unlike == ()
    assert part.agree + sum(part.refused_by_rule.values()) == part.plain_accepts > COUNT / 4
    assert part.agree_share >= TARGET
    assert part.undecided == 0
    assert part.holds


@needs_oracle
def test_what_is_read_and_not_admitted_is_told_by_its_rule(part: Part) -> None:
    """More than half of what the oracle takes breaks a specification: it is read as it stands, and never relied on."""
    assert part.admitted + sum(part.denied_by_rule.values()) == part.agree
    assert {"padding", "reserved", "value", "segments", "future"} <= part.denied_by_rule.keys()
    assert "none" not in part.refused_by_rule
    assert part.admitted > COUNT / 8


def test_what_is_decoded_breaks_a_rule_or_is_what_is_relied_on() -> None:
    decoders = {"tcf": (tcf.read, tcf.decode), "gpp": (gpp.read, gpp.decode)}
    for mutant in make_mutants(7, 1500, RECORDED):
        read_on, decode = decoders[mutant.kind]
        try:
            said, broken = read_on(mutant.text)
        except StringError as error:
            with pytest.raises(StringError, match=error.rule):
                decode(mutant.text)
        else:
            if broken:
                with pytest.raises(StringError, match=broken[0]):
                    decode(mutant.text)
            else:
                assert decode(mutant.text) == said


def test_a_plain_mutant_differs_from_what_it_was_made_of_by_chance_alone() -> None:
    mutants = make_mutants(2, 1400)
    assert sum(mutant.plain for mutant in mutants) == 1400
    counts = Counter(mutant.damage for mutant in mutants if mutant.plain)
    assert len(counts) == 7
    assert min(counts.values()) > 100


@needs_oracle
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(part: Part, name: str) -> None:
    assert part.planted[name]


@needs_oracle
def test_the_recorded_strings_are_what_the_generator_writes() -> None:
    written = subprocess.run(
        ["node", FOLDER / "make_vectors.mjs"], capture_output=True, text=True, check=True
    )
    assert json.loads(written.stdout) == {"valid": VALID, "invalid": INVALID}


@needs_oracle
def test_the_command_prints_one_verdict() -> None:
    result = CliRunner().invoke(main, ["prove", "consent-fuzz", "--count", "600", "--seed", "5"])
    said = json.loads(result.output)
    assert said["promise"] == "consent-fuzz"
    assert said["strings"]["mutants"] == 900
    assert said["strings"]["plain_mutants"] == 600
    assert said["strings"]["accepted_against_oracle"] == 0
    assert said["strings"]["decoding"]["target"] == 0.99
    assert result.exit_code == (0 if said["holds"] else 1)


def test_an_oracle_without_its_packages_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ProofError, match="npm install --global|Node"):
        ask([Mutant("tcf", "C", "none")], tmp_path)


def test_the_same_seed_makes_the_same_mutants() -> None:
    assert make_mutants(3, 40) == make_mutants(3, 40)
    assert make_mutants(3, 40) != make_mutants(4, 40)


def test_a_verdict_fails_by_each_of_its_reasons() -> None:
    mutants = [Mutant("tcf", "a", "none"), Mutant("tcf", "b", "cut")]
    fine = judge(
        "strings",
        mutants,
        [Answer(True, {"x": 1}), Answer(False)],
        lambda mutant: Reading({"x": 1}) if mutant.text == "a" else Reading(None, "truncated"),
        {"lenient": True},
    )
    doubted = judge(
        "strings", mutants, [Answer(True, 1, doubted=True), Answer(False)], lambda mutant: Reading(1)
    )
    assert len(doubted.against_oracle) == 2
    assert doubted.plain_accepts == 0
    assert doubted.plain_doubted == 1
    assert fine.holds
    assert FuzzVerdict(1, (fine,)).holds
    assert not FuzzVerdict(1, ()).holds
    for worse in (
        replace(fine, against_oracle=("cut: b",)),
        replace(fine, unlike=("none: a",)),
        replace(fine, agree=98, plain_accepts=100),
        replace(fine, planted={"lenient": False}),
        replace(fine, plain_accepts=0, agree=0),
        replace(fine, oracle_rejects=0),
        replace(fine, undecided=1),
    ):
        assert not worse.holds
        assert not FuzzVerdict(1, (fine, worse)).holds


def test_every_recorded_string_is_read_without_a_broken_rule() -> None:
    assert [v["name"] for v in VALID if read(Mutant(v["kind"], v["text"], "none")).refused] == []
