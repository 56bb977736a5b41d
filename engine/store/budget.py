"""The ledger of privacy loss, with a high-water mark beside the keys of each machine.

A charge, the answer it paid for and the log's leaf about them commit together. What was spent is written to
the mark before an answer is given: a ledger restored from an older backup is raised to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from engine.store.database import Connection, Database, Room
from engine.store.high_water import HighWater
from privacy.budget import Charge, QueryId
from privacy.canonical import canonical
from privacy.consent_log import LeafStore, leaf
from privacy.errors import BudgetSpent


def body_of(store: Database, query: QueryId) -> bytes | None:
    """Return the answer that was kept for a query, None where there is none."""
    rows = store.rows("SELECT body FROM releases WHERE query = ?", (query,))
    return bytes(rows[0][0]) if rows else None


class KeptBudget:
    """Satisfies SpendStore."""

    def __init__(self, store: Database, mark: Path, leaves: LeafStore, now: Callable[[], datetime]) -> None:
        """Take the store, the file of the high-water mark and the log. Raises StoreError."""
        self._store, self._leaves, self._now = store, leaves, now
        self._mark = HighWater(mark)
        self.raise_to_mark()

    def raise_to_mark(self) -> None:
        """Let no scope have spent less than the mark says, nor the mark say less than was spent."""
        high = self._mark.read()
        spent = dict(self._store.rows("SELECT scope, spent FROM budget"))
        low = {scope: most for scope, most in high.items() if spent.get(scope, 0) < most}
        if low:
            with self._store.writing() as db:
                self._store.hold(db, Room.LOG)
                db.executemany(
                    "INSERT INTO budget (scope, cap, spent) VALUES (?, ?, ?) ON CONFLICT (scope) DO UPDATE SET"
                    " cap = CASE WHEN budget.cap < excluded.cap THEN excluded.cap ELSE budget.cap END,"
                    " spent = CASE WHEN budget.spent < excluded.spent THEN excluded.spent ELSE budget.spent END",
                    [(scope, most, most) for scope, most in low.items()],
                )
        behind = {scope: amount for scope, amount in spent.items() if amount > high.get(scope, 0)}
        if behind:  # killed between commit and mark, or spent by another machine
            self._mark.write(behind)

    def kept(self, query: QueryId) -> bytes | None:
        """Return the answer that was kept for a query."""
        return body_of(self._store, query)

    def keeps(self, query: QueryId) -> bool:
        """Say whether an answer was kept for a query."""
        return bool(self._store.rows("SELECT 1 FROM releases WHERE query = ?", (query,)))

    def spend(self, query: QueryId, charges: Sequence[Charge], compute: Callable[[], bytes]) -> bytes:
        """Return the answer that was kept, or charge every scope, compute and keep it, all or nothing.

        `compute` runs inside the write transaction: it must be short and must not use this store. Raises BudgetSpent.
        """
        with self._store.writing() as db:
            self._store.hold(db, Room.LOG)
            row = db.execute("SELECT body FROM releases WHERE query = ?", (query,)).fetchone()
            if row is not None:
                return bytes(row[0])
            spent = _charge(db, charges)
            body = compute()
            costs = {charge.scope: charge.micro_epsilon for charge in charges}
            at = self._now()
            db.execute(
                "INSERT INTO releases (query, at, costs, body) VALUES (?, ?, ?, ?)",
                (query, at.isoformat(timespec="seconds"), canonical(costs).decode(), body),
            )
            told = {"query": query, "costs": costs, "body": hashlib.sha256(body).hexdigest()}
            self._leaves.append(db, [lambda seq: leaf(seq, "dp.release", at, data=told)])
        self._mark.write(spent)  # before the answer is told
        return body

    def spent(self, scope: str) -> int:
        """Return what a scope lost so far, in micro-epsilon."""
        rows = self._store.rows("SELECT spent FROM budget WHERE scope = ?", (scope,))
        return int(rows[0][0]) if rows else 0


def _charge(db: Connection, charges: Sequence[Charge]) -> dict[str, int]:
    """Check every scope, then charge every scope; return what each has spent then. Requires the log's room."""
    spent: dict[str, int] = {}
    for charge in charges:
        row = db.execute("SELECT spent FROM budget WHERE scope = ?", (charge.scope,)).fetchone()
        before = spent.get(charge.scope, row[0] if row else 0)
        if before + charge.micro_epsilon > charge.cap:
            raise BudgetSpent(charge.scope, charge.micro_epsilon, before, charge.cap)
        spent[charge.scope] = before + charge.micro_epsilon
    for charge in charges:
        db.execute(
            "INSERT INTO budget (scope, cap, spent) VALUES (?, ?, ?)"
            " ON CONFLICT (scope) DO UPDATE SET cap = excluded.cap, spent = excluded.spent",
            (charge.scope, charge.cap, spent[charge.scope]),
        )
    return spent
