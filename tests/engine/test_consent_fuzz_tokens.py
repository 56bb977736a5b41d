"""Mutated tokens: nothing is accepted that joserfc refuses, and planted faults show."""

from __future__ import annotations

import dataclasses

import pytest

from engine.prove.consent_fuzz import judge
from engine.prove.consent_fuzz_tokens import PLANTED, ask, fuzz_tokens, make_mutants, read
from privacy.consent_token import Verifier


def test_no_mutant_tells_against_the_reader_and_every_planted_fault_is_found() -> None:
    part = fuzz_tokens(1, 2500)
    assert part.against_oracle == part.unlike == ()
    assert part.agree >= 0.99 * part.plain_accepts > 500
    assert part.agree + sum(part.refused_by_rule.values()) == part.plain_accepts
    assert part.oracle_rejects > 500
    assert [name for name, found in part.planted.items() if not found] == []
    assert part.holds
    assert set(part.planted) == set(PLANTED)


def test_equal_seeds_give_equal_mutants() -> None:
    assert make_mutants(7, 200) == make_mutants(7, 200)
    assert make_mutants(7, 50) != make_mutants(8, 50)


def test_a_group_is_what_it_is_called() -> None:
    mutants = make_mutants(3, 1500)
    strict = 0
    for mutant in mutants:
        ours, others = read(mutant, Verifier()).refused is None, ask(mutant).accepts
        match mutant.damage.partition(":")[0]:
            case "sound":
                assert ours, mutant.damage
                assert others, mutant.damage
            case "wrong":
                assert not ours, mutant.damage
                assert not others, mutant.damage
            case "strict":
                assert not ours, mutant.damage
                strict += others
    assert strict


def test_a_reader_that_accepts_what_the_oracle_refuses_is_not_sound() -> None:
    mutants = make_mutants(1, 300)
    answers = [dataclasses.replace(ask(mutant), accepts=False) for mutant in mutants]
    verifier = Verifier()
    assert not judge("tokens", mutants, answers, lambda mutant: read(mutant, verifier)).sound


@pytest.mark.parametrize("name", PLANTED)
def test_a_faulty_reader_reads_sound_tokens_all_the_same(name: str) -> None:
    sound = [mutant for mutant in make_mutants(5, 60) if mutant.damage.startswith("sound")]
    assert sound
    assert all(PLANTED[name](mutant).refused is None for mutant in sound)
