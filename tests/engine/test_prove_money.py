"""The proof of money holds for the books as they are, and finds every fault that is planted in them."""

import json

import pytest

from engine.prove.money import KILLED, SMALL, _run, prove_money
from engine.prove.money_planted import PLANTED


def test_the_books_equal_the_truth_though_a_process_is_killed():
    verdict = prove_money(SMALL, 2, planted=False)
    told = json.loads(next(verdict.lines()))
    assert told["holds"], told
    assert (told["proof"], told["processes"], told["killed"]) == ("money", 2, 1)
    assert told["events"] > 4000 and told["billed_micros"] > 10**6


def test_the_books_of_a_database_equal_the_truth_too(postgres):
    with postgres.database() as url:
        ran = _run(SMALL, 3, None, url)
    assert not ran.differences
    assert ran.killed and ran.events > 4000 and ran.billed_micros > 10**6


@pytest.mark.parametrize("fault", [fault for fault in PLANTED if fault not in KILLED])
def test_a_planted_fault_is_found(fault):
    assert _run(SMALL, 0, fault).differences


def test_what_was_acknowledged_and_not_kept_is_missed():
    ran = _run(SMALL, 2, *KILLED)
    assert ran.killed and ran.differences
