"""A released table: noisy counts over public keys, with unit, cost, mechanism, margin and period in the same bytes.

The keys are known before anybody looks at an event, and every one of them has its count, zeros included. Counts are
signed as they were drawn: sums of clamped ones would be too high.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, NamedTuple

from privacy.budget import Charge, QueryId, query_id
from privacy.canonical import canonical
from privacy.errors import ReleaseError
from privacy.margins import Drawn
from privacy.workload import CAP, Table

VERSION = 1
SCOPE = "page-views"  # of the ledger, one a day
ONCE = "once"  # of the ledger, one a release
READERS = "readers"  # of the ledger of those who agreed, one a day
GROUPS = (1, 2, 5, 10)  # views of one person in a day, of which a release tells what they lose together
MOST_CELLS = 1_000_000  # of a table: five seconds of noise

Key = tuple[str, ...]


class Axis(NamedTuple):
    """Some dimensions, and the values that they have together."""

    dims: tuple[str, ...]
    keys: tuple[Key, ...]  # sorted, each as long as `dims`


def day_of(day: int) -> date:
    """Return the date of a day that is counted from 1970-01-01."""
    return date(1970, 1, 1) + timedelta(days=day)


def day_number(day: date) -> int:
    """Count the days from 1970-01-01."""
    return (day - date(1970, 1, 1)).days


def period_of(table: Table, day: int) -> range:
    """Return the days of the table that holds a day: its own, or the 28 that begin at a multiple of 28."""
    first = day - day % table.days
    return range(first, first + table.days)


def rest_of(table: Table, first: int) -> range:
    """Return the days of a period from one of them on: those that a release tells of which begins there."""
    return range(first, period_of(table, first)[-1] + 1)


def query_of(table: Table, day: int) -> QueryId:
    """Name the release of a table's period in the ledger: there is one name for it, however it is asked for."""
    start = day_of(period_of(table, day)[0]).isoformat()
    return query_id({"table": table.name, "version": VERSION, "from": start, "days": table.days})


def charges(table: Table, first: int) -> list[Charge]:
    """Give what a release costs: each of its days, since a page view lies in one of them, and itself.

    The ledger forgets no charge, so that a store that lost a release does not draw it anew while its days have room.
    """
    days = [Charge(scope_of(table, day), table.micro_epsilon, CAP) for day in rest_of(table, first)]
    return [*days, Charge(f"{ONCE}/{query_of(table, first)}", 1, 1)]


def scope_of(table: Table, day: int) -> str:
    """Name the ledger's line that pays for a day of a table."""
    return f"{READERS if table.use == 'consented' else SCOPE}/{day_of(day).isoformat()}"


def draw(table: Table, first: int, axes: Sequence[Axis], truth: Mapping[Key, int]) -> bytes:
    """Return the body of a release: the true counts of the keys, with noise. Other keys of `truth` are left out.

    It tells of its period from `first` on: where the days before are gone, of what is left. Raises NoiseError, and
    ReleaseError where there are too many cells.
    """
    if tuple(dim for axis in axes for dim in axis.dims) != table.dims:
        raise ReleaseError(f"{table.name}: got axes of other dimensions, expected {', '.join(table.dims)}")
    cells = prod(len(axis.keys) for axis in axes)
    if cells > MOST_CELLS:
        raise ReleaseError(f"{table.name}: got {cells:,} cells, expected at most {MOST_CELLS:,}")
    noise = table.noise()
    exact = [truth.get(key, 0) for key in keys_in(axes)]
    return canonical(
        {
            "v": VERSION,
            "table": table.name,
            "kind": table.kind,
            "from": day_of(first).isoformat(),
            "days": len(rest_of(table, first)),
            "unit": table.unit,
            "l1": table.l1,
            "micro_epsilon": table.micro_epsilon,
            "group": [[views, views * table.micro_epsilon] for views in GROUPS],
            "mechanism": noise.mechanism,
            "scale": repr(noise.scale),
            "delta": repr(noise.delta),
            "margin95": noise.margin95,
            "axes": [{"dims": list(axis.dims), "keys": [list(key) for key in axis.keys]} for axis in axes],
            "counts": noise.add_each(exact) if exact else [],
        }
    )


@dataclass(frozen=True)
class Release:
    """A released table as it is read back."""

    table: str
    first: int
    days: int
    micro_epsilon: int
    mechanism: Any
    scale: float
    delta: float
    margin95: int
    axes: tuple[Axis, ...]
    counts: tuple[int, ...]

    @classmethod
    def read(cls, body: bytes) -> Release:
        """Read a body. Raises ReleaseError for one that is none."""
        try:
            told = json.loads(body)
            axes = tuple(Axis(tuple(a["dims"]), tuple(map(tuple, a["keys"]))) for a in told["axes"])
            first = day_number(date.fromisoformat(told["from"]))
            release = cls(
                table=told["table"],
                first=first,
                days=told["days"],
                micro_epsilon=told["micro_epsilon"],
                mechanism=told["mechanism"],
                scale=float(told["scale"]),
                delta=float(told["delta"]),
                margin95=told["margin95"],
                axes=axes,
                counts=tuple(told["counts"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ReleaseError("a release: got a body that is none of ours") from error
        if len(release.counts) != prod(len(axis.keys) for axis in axes):
            raise ReleaseError(
                f"{release.table}: got {len(release.counts)} counts, expected one for each key"
            )
        return release

    @property
    def dims(self) -> tuple[str, ...]:
        """The dimensions, in the order of a key."""
        return tuple(dim for axis in self.axes for dim in axis.dims)

    @property
    def noise(self) -> Drawn:
        """The noise of one cell."""
        return Drawn(self.mechanism, self.scale, 1)

    def cells(self) -> Iterator[tuple[Key, int]]:
        """Yield each key with its noisy count."""
        return zip(keys_in(self.axes), self.counts, strict=True)

    def where(self, wanted: Mapping[str, frozenset[str]]) -> Iterator[tuple[Key, int]]:
        """Yield the cells whose dimensions have one of the wanted values, without a look at the others."""
        kept: list[list[tuple[int, Key]]] = []
        steps: list[int] = []
        step = 1
        for axis in reversed(self.axes):
            limits = [(i, wanted[dim]) for i, dim in enumerate(axis.dims) if dim in wanted]
            fit = [(n, key) for n, key in enumerate(axis.keys) if all(key[i] in some for i, some in limits)]
            kept.insert(0, fit)
            steps.insert(0, step)
            step *= len(axis.keys)
        for parts in product(*kept):
            place = sum(n * size for (n, _), size in zip(parts, steps, strict=True))
            yield tuple(part for _, key in parts for part in key), self.counts[place]

    @cached_property
    def by_key(self) -> Mapping[Key, int]:
        """The noisy counts by key."""
        return dict(self.cells())


def keys_in(axes: Sequence[Axis]) -> Iterator[Key]:
    """Yield the keys of a table in the order of its counts."""
    if len(axes) == 1:
        return iter(axes[0].keys)
    return (sum(parts, ()) for parts in product(*(a.keys for a in axes)))
