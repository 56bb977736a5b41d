"""The ledger: nothing is spent without its answer, nothing is told without being spent, no restore lowers it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from engine.backup import backup, restore, restore_into
from engine.store import open_store
from engine.store.high_water import HighWater
from privacy.budget import Charge, QueryId
from privacy.errors import BudgetSpent

NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
ONE, TWO = QueryId("one"), QueryId("two")


class Ledger:
    def __init__(self, folder, setting=None):
        self.store = open_store(setting or f"sqlite:///{folder}/tactful.db")
        self.leaves = self.store.leaves()
        self.budget = self.store.budget(folder / "ledger-high.txt", self.leaves, lambda: NOW)


@pytest.fixture
def ledger(tmp_path, setting):
    ledger = Ledger(tmp_path, setting)
    yield ledger
    ledger.store.close()


def test_an_answer_is_paid_once_and_given_again_for_nothing(ledger):
    drawn = iter((b"first", b"second"))
    for _ in range(3):
        answer = ledger.budget.spend(ONE, [Charge("day/1", 600_000, 1_000_000)], lambda: next(drawn))
        assert answer == b"first"
    assert ledger.budget.spent("day/1") == 600_000
    assert ledger.budget.kept(ONE) == b"first"
    assert ledger.budget.kept(TWO) is None
    assert ledger.budget.spent("day/2") == 0


def test_a_scope_without_room_refuses_and_nothing_is_computed_or_charged(ledger):
    ledger.budget.spend(ONE, [Charge("b", 900_000, 1_000_000)], lambda: b"one")
    charges = [Charge("a", 200_000, 1_000_000), Charge("b", 100_001, 1_000_000)]
    with pytest.raises(BudgetSpent) as refused:
        ledger.budget.spend(TWO, charges, lambda: pytest.fail("computed"))
    assert (refused.value.scope, refused.value.spent, refused.value.cap) == ("b", 900_000, 1_000_000)
    assert ledger.budget.spent("a") == 0
    assert ledger.budget.kept(TWO) is None
    assert ledger.budget.spend(TWO, [Charge("b", 100_000, 1_000_000)], lambda: b"two") == b"two"


def test_a_scope_that_is_charged_twice_pays_twice(ledger):
    twice = [Charge("a", 600_000, 1_000_000)] * 2
    with pytest.raises(BudgetSpent):
        ledger.budget.spend(ONE, twice, lambda: b"")
    ledger.budget.spend(ONE, [Charge("a", 400_000, 1_000_000)] * 2, lambda: b"")
    assert ledger.budget.spent("a") == 800_000


def test_an_answer_that_fails_costs_nothing(ledger):
    with pytest.raises(ZeroDivisionError):
        ledger.budget.spend(ONE, [Charge("a", 5, 10)], lambda: bytes(1 // 0))
    assert ledger.budget.spent("a") == 0
    assert ledger.leaves.count() == 0


def test_a_cap_that_falls_below_what_was_spent_lets_nothing_more_be(ledger):
    ledger.budget.spend(ONE, [Charge("a", 8, 10)], lambda: b"")
    with pytest.raises(BudgetSpent):
        ledger.budget.spend(TWO, [Charge("a", 1, 5)], lambda: b"")
    ledger.budget.spend(TWO, [Charge("a", 1, 9)], lambda: b"")
    assert ledger.budget.spent("a") == 9


def test_the_log_gets_the_cost_and_the_hash_and_not_the_answer(ledger):
    ledger.budget.spend(ONE, [Charge("a", 5, 10), Charge("b", 7, 10)], lambda: b"the body")
    ledger.budget.spend(ONE, [Charge("a", 5, 10), Charge("b", 7, 10)], lambda: b"the body")
    (leaf,) = ledger.leaves.read(0, 9)
    told = json.loads(leaf)
    assert told["type"] == "dp.release"
    assert told["data"]["costs"] == {"a": 5, "b": 7}
    assert told["data"]["body"] == hashlib.sha256(b"the body").hexdigest()
    assert b"the body" not in leaf


def test_a_hundred_spenders_meet_the_cap_exactly(tmp_path, ledger):
    refused = []

    def spend(number):
        try:
            ledger.budget.spend(QueryId(f"q{number}"), [Charge("a", 10, 300)], lambda: b"x")
        except BudgetSpent:
            refused.append(number)

    threads = [threading.Thread(target=spend, args=(n,)) for n in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.budget.spent("a") == 300
    assert len(refused) == 70
    assert ledger.leaves.count() == 30
    assert HighWater(tmp_path / "ledger-high.txt").read() == {"a": 300}


CHILD = """
import os, signal, sys
from pathlib import Path
from tests.engine.test_budget_sqlite import Ledger, ONE, Charge
ledger = Ledger(Path(sys.argv[1]), sys.argv[3] or None)
def die():
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "mark":
    ledger.budget._mark.write = lambda spent: die()
ledger.budget.spend(ONE, [Charge("a", 5, 10)], die if sys.argv[2] == "compute" else lambda: b"told")
"""


def killed(folder, at, setting):
    command = [sys.executable, "-c", CHILD, str(folder), at, setting or ""]
    done = subprocess.run(command, check=False, cwd=os.getcwd())
    return done.returncode == -9


def test_a_process_killed_while_it_computes_has_spent_nothing(tmp_path, setting):
    assert killed(tmp_path, "compute", setting)
    ledger = Ledger(tmp_path, setting)
    assert ledger.budget.spent("a") == 0
    assert ledger.budget.kept(ONE) is None
    assert HighWater(tmp_path / "ledger-high.txt").read() == {}
    ledger.store.close()


def test_a_process_killed_before_the_mark_has_spent_what_the_answer_cost(tmp_path, setting):
    assert killed(tmp_path, "mark", setting)
    assert HighWater(tmp_path / "ledger-high.txt").read() == {}
    ledger = Ledger(tmp_path, setting)
    assert (ledger.budget.spent("a"), ledger.budget.kept(ONE)) == (5, b"told")
    assert HighWater(tmp_path / "ledger-high.txt").read() == {"a": 5}
    ledger.store.close()


def test_a_restored_ledger_has_spent_no_less_than_before(tmp_path, setting):
    ledger = Ledger(tmp_path, setting)
    ledger.budget.spend(ONE, [Charge("a", 300, 1000)], lambda: b"one")
    backup(ledger.store, tmp_path / "old.db")
    ledger.budget.spend(TWO, [Charge("a", 600, 1000), Charge("b", 7, 1000)], lambda: b"two")
    ledger.store.close()
    if setting is None:
        restore(tmp_path / "old.db", tmp_path / "tactful.db", force=True)
    else:
        restore_into(tmp_path / "old.db", setting, force=True)
    restored = Ledger(tmp_path, setting)
    assert restored.budget.spent("a") == 900
    assert restored.budget.spent("b") == 7
    # What was told since the backup is told again, for nothing.
    assert restored.budget.spend(TWO, [Charge("a", 600, 1000)], lambda: b"another draw") == b"two"
    with pytest.raises(BudgetSpent):
        restored.budget.spend(QueryId("three"), [Charge("a", 101, 1000)], lambda: b"three")
    restored.store.close()


def test_a_lost_store_leaves_the_budgets_spent(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.budget.spend(ONE, [Charge("a", 1000, 1000)], lambda: b"one")
    ledger.store.close()
    for path in tmp_path.glob("tactful.db*"):
        path.unlink()
    again = Ledger(tmp_path)
    with pytest.raises(BudgetSpent):
        again.budget.spend(ONE, [Charge("a", 1000, 1000)], lambda: b"one")
    again.store.close()


@pytest.mark.parametrize("torn", [b"\na 90", b"\na", b"\n", b"\na 900", b"\na 900 "])
def test_a_torn_line_of_the_mark_spoils_no_other(tmp_path, torn):
    mark = HighWater(tmp_path / "mark")
    mark.write({"a": 20, "b": 3})
    with mark.path.open("ab") as file:
        file.write(torn)
    assert mark.read() == {"a": 20, "b": 3}
    mark.write({"a": 30})
    mark.write({"a": 25})
    assert mark.read() == {"a": 30, "b": 3}
    shutil.copy(mark.path, tmp_path / "copy")
    assert HighWater(tmp_path / "copy").read() == mark.read()
