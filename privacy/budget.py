"""A ledger of privacy loss in integer micro-epsilon: what was told, what it cost, and what is left.

Look, spend and keep in one step: an answer that was given once is given again for nothing, and none is given
that was not paid for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

from privacy.canonical import canonical

_SCOPE = re.compile(r"[a-z0-9._-]+(?:/[a-z0-9._-]+)*")

QueryId = NewType("QueryId", str)
Json = str | int | bool | None | Sequence["Json"] | Mapping[str, "Json"]


@dataclass(frozen=True, slots=True)
class Charge:
    """A cost to one scope, which may lose `cap` in all."""

    scope: str  # such as "shared-values/daily-planet/2963"
    micro_epsilon: int
    cap: int  # may rise; where it falls below what was spent, nothing more is

    def __post_init__(self) -> None:
        if not _SCOPE.fullmatch(self.scope):
            raise ValueError(
                f"scope: got {self.scope!r}, expected words of a-z, 0-9, '.', '_', '-', parted by '/'"
            )
        for name in ("micro_epsilon", "cap"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(
                    f"{self.scope}: {name}: got {value!r}, expected a whole number of micro-epsilon"
                )


class SpendStore(Protocol):
    """Where the ledger and the answers are kept. No restore of a backup lowers what was spent."""

    def kept(self, query: QueryId) -> bytes | None:
        """Return the answer that was kept for a query."""

    def keeps(self, query: QueryId) -> bool:
        """Say whether an answer was kept for a query, without reading it."""

    def spend(self, query: QueryId, charges: Sequence[Charge], compute: Callable[[], bytes]) -> bytes:
        """Return the answer that was kept, or charge every scope, compute and keep it: one atomic step, or nothing.

        Raises BudgetSpent where a scope lacks room, before anything is computed; then nothing is charged. Any
        number of processes may ask for the same query: it is computed and paid for once.
        """

    def spent(self, scope: str) -> int:
        """Return what a scope lost so far, in micro-epsilon."""


def query_id(query: Mapping[str, Json]) -> QueryId:
    """Name a query so that its spellings share one name: the order of keys says nothing, the order in lists does.

    Numbers are whole; a caller sorts lists whose order means nothing.
    """
    return QueryId(hashlib.sha256(canonical(query)).hexdigest())
