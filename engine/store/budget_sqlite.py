"""The ledger of privacy loss in the catalogue's SQLite file, with a high-water mark beside the keys.

A charge, the answer it paid for and the log's leaf about them commit together. What was spent is written to
the mark before an answer is given: a ledger restored from an older backup is raised to it.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from engine.store.sqlite import SqliteStore
from privacy.budget import Charge, QueryId
from privacy.canonical import canonical
from privacy.consent_log import LeafStore, leaf
from privacy.errors import BudgetSpent

FILE = "ledger-high.txt"
FILE_MODE = 0o600


class SqliteBudget:
    """Satisfies SpendStore."""

    def __init__(
        self, store: SqliteStore, mark: Path, leaves: LeafStore, now: Callable[[], datetime]
    ) -> None:
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
                db.executemany(
                    "INSERT INTO budget (scope, cap, spent) VALUES (?1, ?2, ?2) ON CONFLICT (scope)"
                    " DO UPDATE SET cap = max(cap, ?2), spent = max(spent, ?2)",
                    low.items(),
                )
        behind = {scope: amount for scope, amount in spent.items() if amount > high.get(scope, 0)}
        if behind:  # killed between commit and mark
            self._mark.write(behind)

    def kept(self, query: QueryId) -> bytes | None:
        """Return the answer that was kept for a query."""
        rows = self._store.rows("SELECT body FROM releases WHERE query = ?", (query,))
        return bytes(rows[0][0]) if rows else None

    def keeps(self, query: QueryId) -> bool:
        """Say whether an answer was kept for a query."""
        return bool(self._store.rows("SELECT 1 FROM releases WHERE query = ?", (query,)))

    def spend(self, query: QueryId, charges: Sequence[Charge], compute: Callable[[], bytes]) -> bytes:
        """Return the answer that was kept, or charge every scope, compute and keep it, all or nothing.

        `compute` runs inside the write transaction: it must be short and must not use this store. Raises BudgetSpent.
        """
        with self._store.writing() as db:
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


class HighWater:
    """The most that each scope ever spent, one line a change. A line that was torn off is passed over."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, int]:
        """Return the mark of each scope."""
        return _marks(self.path.read_bytes()) if self.path.exists() else {}

    def write(self, spent: Mapping[str, int]) -> None:
        """Add marks, on the disk when this returns; those that are lower than what stands change nothing."""
        new = not self.path.exists()
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
        try:
            os.write(file, _lines(spent.items()))  # one write: processes append at once
            os.fsync(file)
        finally:
            os.close(file)
        if new:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _charge(db: sqlite3.Connection, charges: Sequence[Charge]) -> dict[str, int]:
    """Check every scope, then charge every scope; return what each has spent then."""
    spent: dict[str, int] = {}
    for charge in charges:
        row = db.execute("SELECT spent FROM budget WHERE scope = ?", (charge.scope,)).fetchone()
        before = spent.get(charge.scope, row[0] if row else 0)
        if before + charge.micro_epsilon > charge.cap:
            raise BudgetSpent(charge.scope, charge.micro_epsilon, before, charge.cap)
        spent[charge.scope] = before + charge.micro_epsilon
    for charge in charges:
        db.execute(
            "INSERT INTO budget (scope, cap, spent) VALUES (?1, ?2, ?3) ON CONFLICT (scope)"
            " DO UPDATE SET cap = ?2, spent = ?3",
            (charge.scope, charge.cap, spent[charge.scope]),
        )
    return spent


def _lines(marks: Iterable[tuple[str, int]]) -> bytes:
    # A line end before each, so that one that was torn off spoils no other.
    return "".join(f"\n{scope} {spent} ." for scope, spent in marks).encode()


def _marks(data: bytes) -> dict[str, int]:
    marks: dict[str, int] = {}
    for line in data.decode("utf-8", "replace").split("\n"):
        scope, _, rest = line.partition(" ")
        amount, _, end = rest.partition(" ")
        if end == "." and amount.isdigit():
            marks[scope] = max(marks.get(scope, 0), int(amount))
    return marks
