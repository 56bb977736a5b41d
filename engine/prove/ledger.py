"""`tactful prove ledger`: what was told was paid for, once, and no question told more than it paid.

On a copy of the deployment: the ledger is held against its releases, those against what the log was told, and both
against an accountant that others wrote (Google's dp-accounting); one question is asked in a thousand spellings over
HTTP; a hundred spend from one budget at once; a process starts anew, and over a backup from before. How much this
finds is itself measured, by ledgers with a planted fault.
"""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from engine.campaign import Publisher
from engine.change import Change
from engine.config import Config
from engine.errors import ProofError
from engine.events import Row
from engine.prove.reports_twin import Twin, twin
from engine.releases import last_closed, start_of
from engine.report import REPORTS
from engine.store import SqliteStore
from engine.store.copy_sqlite import copy_database
from privacy.budget import Charge, QueryId, SpendStore
from privacy.errors import BudgetSpent
from privacy.noise import MICRO
from privacy.release import SCOPE, Release, day_of, period_of, query_of, scope_of
from privacy.workload import CAP, CONSENTED, TABLES, table

SPELLINGS = 1000
SPENDERS = 100
_VIEWS = 600
_DAYS = 400  # that are looked back at
_LEAVES = 1000  # that are read at once
DELTA = 1e-9  # at which the accountant adds up: its sum is then no more than ours
_ROOMS = ((300_000, 100_000), (1_000_000, 70_000), (CAP, 1), (50, 7))  # cap and cost, in micro-epsilon
Spoil = Callable[[SpendStore], SpendStore]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was tried, and what did not hold."""

    days: int  # whose releases were added up again
    spellings: int
    answers: int  # that they got, of which there may be one
    spenders: int
    faults: tuple[str, ...]
    planted: Mapping[str, bool] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Tell whether the promise held and every planted fault was found."""
        return not self.faults and all(self.planted.values())

    def plain(self) -> dict[str, Any]:
        """Give the verdict as JSON values."""
        return {
            "proof": "ledger",
            "audited": "a copy",
            "holds": self.holds,
            "days_replayed": self.days,
            "spellings": self.spellings,
            "distinct_answers": self.answers,
            "spenders": self.spenders,
            "faults": list(self.faults),
            "planted_found": f"{sum(self.planted.values())}/{len(self.planted)}",
            "planted_missed": [name for name, found in self.planted.items() if not found],
        }

    def lines(self) -> Iterator[str]:
        """Yield the verdict as one line of JSON."""
        yield json.dumps(self.plain(), ensure_ascii=False)


def prove_ledger(config: Config, planted: bool = True) -> Verdict:
    """Prove it on a copy of this deployment, or of none. Raises ProofError where the accountant is not installed."""
    verdict = prove(config)
    if not planted:
        return verdict
    return replace(
        verdict, planted={name: bool(prove(config, spoil).faults) for name, spoil in PLANTED.items()}
    )


def prove(config: Config, spoil: Spoil = lambda ledger: ledger) -> Verdict:
    """Try a copy, with its ledger as it is or spoiled."""
    with tempfile.TemporaryDirectory(prefix="tactful-proof-") as folder:
        with twin(config, Path(folder)) as copy:
            copy.reporting.use(spoil(copy.reporting.budget))
            day = last_closed(datetime.now(UTC)) + 2  # that nobody released
            copy.now = start_of(day)
            _happen(copy, day)
            copy.now = start_of(day + 1) + timedelta(hours=3)
            copy_database(copy.store.path, Path(folder) / "before.db")
            copy.reporting.releases.release(day)
            days, faults = _replayed(copy, day)
            answers, more = _averaged(copy, day)
            faults += more
            faults += _told_once(copy, day)
            faults += _spent_at_once(copy.reporting.budget)
            faults += _forgotten(copy, day, spoil)
            with closing(SqliteStore(Path(folder) / "before.db")) as before:
                faults += _forgotten(Twin(copy.config, before, copy.now), day, spoil)
    return Verdict(days, SPELLINGS, answers, SPENDERS, tuple(faults))


def _happen(copy: Twin, day: int) -> None:
    """Let a site have page views: of a day without any, whatever the noise, no row is told."""
    site = Publisher(id="proof", name="Proof", domains=("proof.example",))
    copy.store.write([Change(None, site)], [], copy.store.versions(), "proof", copy.now)
    seen = (day, site.id, "other", "483", "none", "none", "phone", "evening", "rain", 0, 0)
    copy.insert(Row(number.to_bytes(16), 0, "impression", *seen) for number in range(_VIEWS))


def _replayed(copy: Twin, day: int) -> tuple[int, list[str]]:
    """Add up every day's releases anew, ours and the other accountant's way, and compare with the ledger."""
    accountant = _accountant()
    by_scope: dict[str, list[Release]] = defaultdict(list)
    for one in (*TABLES, *CONSENTED):
        for each in range(day - _DAYS, day + 1):
            body = copy.reporting.budget.kept(query_of(one, each))
            release = None if body is None else Release.read(body)
            if release is not None and release.first <= each:
                by_scope[scope_of(one, each)].append(release)
    faults = []
    known: dict[tuple[tuple[str, float], ...], float] = {}
    for scope, releases in sorted(by_scope.items()):
        spent = copy.reporting.budget.spent(scope)
        told = sum(release.micro_epsilon for release in releases)
        if spent != told or spent > CAP:
            faults.append(
                f"{scope}: the ledger says {spent} micro-epsilon, its releases {told}, the cap is {CAP}"
            )
        kinds = tuple(sorted((one.table, one.scale) for one in releases))
        if kinds not in known:
            known[kinds] = accountant(releases)
        if known[kinds] * MICRO > spent + 1:
            faults.append(
                f"{scope}: the other accountant says {known[kinds]:.6f}, the ledger {spent / MICRO:.6f}"
            )
    return len(by_scope), faults


def _told_once(copy: Twin, day: int) -> Iterator[str]:
    """Yield what is kept as released and what the log was told of otherwise, twice or not at all."""
    told: dict[str, set[str]] = defaultdict(set)
    for start in range(0, copy.leaves.count(), _LEAVES):
        for leaf in map(json.loads, copy.leaves.read(start, start + _LEAVES)):
            if leaf["type"] == "dp.release":
                told[leaf["data"]["query"]].add(leaf["data"]["body"])
    for one in (*TABLES, *CONSENTED):
        for first in {period_of(one, each)[0] for each in range(day - _DAYS, day + 1)}:
            query = query_of(one, first)
            body = copy.reporting.budget.kept(query)
            kept = set() if body is None else {hashlib.sha256(body).hexdigest()}
            if len(told[query]) > 1:
                yield f"{one.name} of {day_of(first)}: the log was told of {len(told[query])} releases"
            elif kept and kept != told[query]:
                yield f"{one.name} of {day_of(first)}: what is kept is not what the log was told of"


def _forgotten(copy: Twin, day: int, spoil: Spoil) -> Iterator[str]:
    """Let a process start over what is kept, and yield what it would tell of a day anew."""
    told = sum(one.micro_epsilon for one in TABLES if one.days == 1)
    copy.restart()
    copy.reporting.use(spoil(copy.reporting.budget))
    scope = f"{SCOPE}/{day_of(day).isoformat()}"
    if (spent := copy.reporting.budget.spent(scope)) < told:
        yield f"{scope}: {told} micro-epsilon were spent, a process that starts anew knows of {spent}"
    if again := copy.reporting.releases.release(day).released:
        yield f"{scope}: a process that starts anew released {len(again)} tables again"


def _accountant() -> Callable[[Sequence[Release]], float]:
    try:
        from dp_accounting import NeighboringRelation, dp_event
        from dp_accounting.pld.pld_privacy_accountant import PLDAccountant
    except ImportError as error:
        raise ProofError("the independent accountant is not installed: pip install dp-accounting") from error

    def epsilon(releases: Sequence[Release]) -> float:
        ledger = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=1e-4)
        for release in releases:
            wanted = table(release.table)
            if release.mechanism == "discrete Laplace":
                ledger.compose(dp_event.LaplaceDpEvent(release.scale / wanted.l1))
            else:
                ledger.compose(dp_event.GaussianDpEvent(release.scale / wanted.l1))
        return float(ledger.get_epsilon(DELTA))

    return epsilon


def _averaged(copy: Twin, day: int) -> tuple[int, list[str]]:
    """Ask one question in a thousand spellings over HTTP, releasing between; return how many answers there were."""
    chance = random.Random(7)  # noqa: S311 - spells a question
    scope = f"{SCOPE}/{day_of(day).isoformat()}"
    before = copy.reporting.budget.spent(scope)
    report = REPORTS["moments"]
    answers = set()
    with copy.served() as address:
        for number in range(SPELLINGS):
            if number % (SPELLINGS // 10) == 0:
                copy.reporting.releases.release(day)
                copy.reporting.use(copy.reporting.budget)  # what was read is forgotten
            status, body = copy.get(
                f"{address}/v1/reports/{report.name}?{_spelling(chance, report.dims, day)}"
            )
            answers.add((status, body))
    faults = []
    if len(answers) != 1 or {status for status, _ in answers} != {200}:
        faults.append(f"averaging: {SPELLINGS} spellings of one question got {len(answers)} answers")
    spent = copy.reporting.budget.spent(scope)
    if spent != before:
        faults.append(f"averaging: asking spent {spent - before} micro-epsilon")
    return len(answers), faults


def _spelling(chance: random.Random, dims: Sequence[str], day: int) -> str:
    date = day_of(day).isoformat()
    by = chance.sample(dims, len(dims))
    parts = [f"from={date}", *([f"to={date}"] if chance.random() < 0.5 else [])]
    if chance.random() < 0.8:
        parts.append("by=" + ",".join(by) + "," * chance.randrange(3))
    parts += [f"unknown{chance.randrange(9)}={chance.random()}"] * chance.randrange(2)
    chance.shuffle(parts)
    return "&".join(parts)


def _spent_at_once(budget: SpendStore) -> list[str]:
    """Let a hundred spend at once from budgets that are too small for all, and count."""
    faults = []
    for cap, cost in _ROOMS:
        scope = f"proof/{cap}.{cost}"
        done: list[bool] = []

        charge = Charge(scope, cost, cap)
        threads = [
            threading.Thread(target=_spend, args=(budget, QueryId(f"{scope}/{number}"), charge, done))
            for number in range(SPENDERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        fit = min(SPENDERS, cap // cost)
        if len(done) != fit or budget.spent(scope) != fit * cost:
            faults.append(
                f"{SPENDERS} at once, cap {cap}, cost {cost}: {len(done)} were let through, {fit} fit; the ledger "
                f"says {budget.spent(scope)}"
            )
    return faults


def _spend(budget: SpendStore, query: QueryId, charge: Charge, done: list[bool]) -> None:
    try:
        budget.spend(query, [charge], lambda: b"{}")
        done.append(True)
    except BudgetSpent:
        pass


# --- ledgers with a planted fault ---


class _Spoiled:
    """A ledger that does as the sound one does, but for what is overridden."""

    def __init__(self, ledger: SpendStore) -> None:
        self._ledger = ledger

    def kept(self, query: QueryId) -> bytes | None:
        return self._ledger.kept(query)

    def keeps(self, query: QueryId) -> bool:
        return self._ledger.keeps(query)

    def spend(self, query: QueryId, charges: Sequence[Charge], compute: Callable[[], bytes]) -> bytes:
        return self._ledger.spend(query, charges, compute)

    def spent(self, scope: str) -> int:
        return self._ledger.spent(scope)


class _Floats(_Spoiled):
    """Adds up epsilon in floats."""

    def __init__(self, ledger: SpendStore) -> None:
        super().__init__(ledger)
        self._floats: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def spend(self, query: QueryId, charges: Sequence[Charge], compute: Callable[[], bytes]) -> bytes:
        with self._lock:
            for charge in charges:
                after = self._floats[charge.scope] + charge.micro_epsilon / MICRO
                if after > charge.cap / MICRO:
                    raise BudgetSpent(charge.scope, charge.micro_epsilon, 0, charge.cap)
                self._floats[charge.scope] = after
            return self._ledger.spend(query, [], compute)

    def spent(self, scope: str) -> int:
        return int(self._floats[scope] * MICRO)


class _Unlocked(_Spoiled):
    """Looks first and spends later."""

    def __init__(self, ledger: SpendStore) -> None:
        super().__init__(ledger)
        self._spent: dict[str, int] = defaultdict(int)

    def spend(self, query: QueryId, charges: Sequence[Charge], compute: Callable[[], bytes]) -> bytes:
        room = all(self._spent[c.scope] + c.micro_epsilon <= c.cap for c in charges)
        body = self._ledger.spend(query, [], compute)
        if not room:
            raise BudgetSpent(charges[0].scope, charges[0].micro_epsilon, 0, charges[0].cap)
        for charge in charges:
            self._spent[charge.scope] += charge.micro_epsilon
        return body

    def spent(self, scope: str) -> int:
        return self._spent[scope]


class _Fresh(_Spoiled):
    """Keeps no answer: each look draws anew."""

    def kept(self, query: QueryId) -> bytes | None:
        body = self._ledger.kept(query)
        if body is None:
            return None
        told = json.loads(body)
        noise = table(told["table"]).noise()
        told["counts"] = noise.add_each([0] * len(told["counts"])) if "counts" in told else []
        return json.dumps(told).encode()


class _Forgetful(_Spoiled):
    """Counts in the process."""

    def __init__(self, ledger: SpendStore) -> None:
        super().__init__(ledger)
        self._spent: dict[str, int] = defaultdict(int)

    def spend(self, query: QueryId, charges: Sequence[Charge], compute: Callable[[], bytes]) -> bytes:
        body = self._ledger.spend(query, charges, compute)
        for charge in charges:
            self._spent[charge.scope] += charge.micro_epsilon
        return body

    def spent(self, scope: str) -> int:
        return self._spent[scope]


class _Redrawn(_Spoiled):
    """Puts other noise in the place of what was released."""

    def kept(self, query: QueryId) -> bytes | None:
        body = self._ledger.kept(query)
        if body is None:
            return None
        told = json.loads(body)
        told["counts"] = [count + 1 for count in told.get("counts", ())]
        return json.dumps(told).encode()


class _Free(_Spoiled):
    """Charges half."""

    def spend(self, query: QueryId, charges: Sequence[Charge], compute: Callable[[], bytes]) -> bytes:
        cheap = [replace(charge, micro_epsilon=charge.micro_epsilon // 2) for charge in charges]
        return self._ledger.spend(query, cheap, compute)


PLANTED: Mapping[str, Spoil] = {
    "a ledger in floats": _Floats,
    "a ledger that looks first and spends later": _Unlocked,
    "fresh noise for each look": _Fresh,
    "a charge of half": _Free,
    "a counter that a process forgets": _Forgetful,
    "a release with other noise than was told": _Redrawn,
}
