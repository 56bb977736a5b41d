"""The order of candidates, and who gets which placement: match × bid, no creative twice, advertisers mixed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.decision import Ranked
from engine.index import Rows
from engine.retrieve import Candidates
from engine.snapshot import Snapshot

PEERS = 0.75  # of the best match: who fits at least so well competes with it by price; others stand behind
DIGITS = 6  # of a match; what differs behind them is how floats were added up


FEW = 16  # peers that are put in order at first; the others of a large group when they are asked for

# Peers in their order: rows, matches, values, advertisers, fits.
Group = tuple[list[int], list[float], list[float], list[int], list[float]]


class Part(NamedTuple):
    """Peers in their order, or a part of them."""

    group: Group
    start: int  # where the peers begin in the order of matches
    more: int  # how many of these peers come after


class Shortlist:
    """Candidates by match × bid (× response) in micro-units among peers, ties by match, then bid, then row.

    The best match and those nearly as good are peers; behind them come the best of the rest with its peers, and so
    on, so that no bid puts a creative that does not fit before one that does. What does not match comes last.
    Peers are put in order when they are asked for: most often the first are enough. Any threads may do so at once.
    """

    __slots__ = ("_advertisers", "_bids", "_fits", "_matches", "_parts", "_rows")

    def __init__(self, snapshot: Snapshot, candidates: Candidates) -> None:
        rows = candidates.rows
        self._rows = rows
        self._fits: NDArray[np.float64] | None = None  # matches × responses, where these are known
        self._matches = candidates.matches.astype(float).round(DIGITS)
        self._bids = snapshot.bid[rows]
        self._advertisers = snapshot.advertisers[snapshot.campaign[rows]]
        self._parts: tuple[Part, ...] = ()  # those that were asked for, from the best

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> Rows:
        """The candidates' rows, best match first."""
        return self._rows

    def under(self, responses: NDArray[np.float64]) -> Shortlist:
        """Return the same candidates, each worth match × bid × response; (candidates,), in the order of `rows`."""
        other = Shortlist.__new__(Shortlist)
        other._rows, other._matches = self._rows, self._matches
        other._bids, other._advertisers = self._bids, self._advertisers
        other._fits = _rounded(self._matches * responses)
        other._parts = ()
        return other

    def __iter__(self) -> Iterator[Ranked]:
        number = 0
        while (part := self._part(number)) is not None:
            yield from map(Ranked, *part.group)
            number += 1

    def winners(self, responses: NDArray[np.float64]) -> Rows:
        """Return (worlds,) which row comes first under each column of responses, (candidates, worlds)."""
        best = self._matches[0]
        if best <= 0:  # there the match alone counts
            return np.repeat(self._rows[self._by_ties(self._matches == best)[:1]], responses.shape[1])
        end = int(np.searchsorted(-self._matches, -PEERS * best, "right"))
        # By worlds: they lie so in memory (engine.worlds).
        worth = _rounded(responses[:end].T * self._matches[:end])
        worth *= self._bids[:end]
        # Of several that are worth most the first counts, in the order of ties.
        ties = worth == worth.max(axis=1, keepdims=True)
        at = ties.argmax(axis=1)
        for world in (ties.sum(axis=1) > 1).nonzero()[0]:
            at[world] = self._by_ties(ties[world])[0]
        first: Rows = self._rows[at]
        return first

    def _by_ties(self, alike: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the places of candidates that are worth the same, in their order."""
        places = alike.nonzero()[0]
        matches, bids, rows = self._matches[places], self._bids[places], self._rows[places]
        return places[_order(matches, matches, bids, rows)]

    def rival(self, row: int, taken: Collection[int]) -> float | None:
        """Return the value (match × bid) of the candidate that a row stands before by its price, or None.

        That is the next of its peers, of another advertiser and not in `taken`. The row was iterated before.
        """
        parts = self._parts
        number = next((n for n, part in enumerate(parts) if row in part.group[0]), None)
        if number is None:
            return None
        own = parts[number].group
        first, advertiser = own[0].index(row) + 1, own[3][own[0].index(row)]
        while (part := self._part(number)) is not None:
            rows, matches, values, advertisers, _ = part.group
            for after in range(first, len(rows)):
                if advertisers[after] != advertiser and rows[after] not in taken and matches[after] > 0:
                    return values[after]
            if not part.more:
                return None
            number, first = number + 1, 0
        return None

    def _part(self, number: int) -> Part | None:
        """Return one of the parts; None behind the last. Those before it were asked for."""
        parts = self._parts
        if number < len(parts):
            return parts[number]
        last = parts[-1] if parts else None
        if last is not None and last.more:
            made = self._peers(last.start, len(last.group[0]))
        else:
            begins = sum(len(part.group[0]) for part in parts)
            if begins == len(self._rows):
                return None
            made = self._peers(begins)
        self._parts = (*parts[:number], made)
        return made

    def _peers(self, start: int, before: int | None = None) -> Part:
        """Return the first of the peers that begin here, in order, or those behind so many `before`."""
        best = self._matches[start]
        # A negative match times a high bid would fall behind a low one: there the match alone counts.
        fits = best > 0
        end = int(np.searchsorted(-self._matches, -PEERS * best, "right")) if fits else len(self._rows)
        here = slice(start, max(end, start + 1))
        matches, bids, rows = self._matches[here], self._bids[here], self._rows[here]
        worth = matches if self._fits is None or not fits else self._fits[here]
        values = worth * bids if fits else matches
        many = len(rows)
        if before is None and many > 2 * FEW:
            # All that are worth as much as the last of a few: what is behind them in the whole order is worth less.
            first = (values >= np.partition(values, many - FEW)[many - FEW]).nonzero()[0]
            few = _order(values.take(first), matches.take(first), bids.take(first), rows.take(first))
            order = first.take(few)
        else:
            order = _order(values, matches, bids, rows)[before or 0 :]
        group = (rows, matches, values, self._advertisers[here], worth)
        found = tuple(of.take(order).tolist() for of in group)
        return Part(found, start, many - len(order) - (before or 0))


def _order(
    values: NDArray[Any], matches: NDArray[np.float64], bids: NDArray[np.int64], rows: Rows
) -> NDArray[np.intp]:
    return np.lexsort((rows, -bids, -matches, -values))


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to DIGITS in place, as numpy's round does."""
    values *= 10.0**DIGITS
    np.rint(values, out=values)
    values /= 10.0**DIGITS
    return values


class Standing:
    """What stands on a page so far, while its placements are filled."""

    __slots__ = ("_by_label", "_labels", "advertisers", "taken")

    def __init__(
        self, taken: Iterable[int] = (), labels: Callable[[int], Collection[str]] | None = None
    ) -> None:
        """`taken` rows are not to stand again; `labels` gives a row's labels of competitive separation."""
        self.taken = set(taken)
        self.advertisers: set[int] = set()
        self._labels = labels
        self._by_label: dict[str, int] = {}  # label → the advertiser that has it to itself

    def copy(self) -> Standing:
        """Return another that goes on from here."""
        other = Standing(self.taken, self._labels)
        other.advertisers, other._by_label = set(self.advertisers), dict(self._by_label)
        return other

    def takes(self, pick: Ranked, again: bool) -> bool:
        """Say whether a creative may stand there, too; `again`: of an advertiser that stands there already."""
        if pick.row in self.taken or not (again or pick.advertiser not in self.advertisers):
            return False
        if self._labels is None:
            return True
        return all(
            self._by_label.get(label, pick.advertiser) == pick.advertiser for label in self._labels(pick.row)
        )

    def leaves(self, snapshot: Snapshot, again: bool) -> NDArray[np.bool_]:
        """Return (rows,) which creatives may stand there, too; `again` as in `takes`."""
        if again:
            free = np.ones(len(snapshot.advertisers), bool)
        else:
            free = ~np.isin(snapshot.advertisers, list(self.advertisers))
        for label, advertiser in self._by_label.items():
            shares = np.array([label in campaign.separation for campaign in snapshot.manifest.campaigns])
            free &= ~shares | (snapshot.advertisers == advertiser)
        rows: NDArray[np.bool_] = free[snapshot.campaign]
        rows[list(self.taken)] = False
        return rows

    def key(self, again: bool) -> Hashable:
        """Return what `leaves` follows from: what is taken is of advertisers that stand there."""
        return again, frozenset(self.taken if again else self.advertisers), frozenset(self._by_label.items())

    def add(self, pick: Ranked) -> None:
        """Let a creative stand there."""
        self.taken.add(pick.row)
        self.advertisers.add(pick.advertiser)
        if self._labels is not None:
            for label in self._labels(pick.row):
                self._by_label.setdefault(label, pick.advertiser)


# Gives what stands behind a placement's candidates and may stand beside what stands already; `again` as in `takes`.
Further = Callable[[int, Standing, bool], Iterable[Ranked]]


def share_out(
    ranked: Sequence[Iterable[Ranked]],
    counts: Sequence[int],
    standing: Standing | None = None,
    further: Further | None = None,
) -> list[list[Ranked]]:
    """Choose for each placement, in the page's order, its `counts` best creatives; `standing` goes on from what it has.

    No creative stands twice on a page, and an advertiser stands twice only where there is no other to show. Of
    campaigns that share a label of separation, those of one advertiser stand there alone. Where none of a placement's
    candidates may stand there any more, `further` is asked.
    """
    standing = Standing() if standing is None else standing
    chosen: list[list[Ranked]] = []
    for at, (candidates, count) in enumerate(zip(ranked, counts, strict=True)):
        picks: list[Ranked] = []
        for again in (False, True):
            _pick(picks, candidates, count, standing, again)
            while further is not None and len(picks) < count:
                before = len(picks)
                _pick(picks, further(at, standing, again), count, standing, again)
                if len(picks) == before:
                    break
        chosen.append(picks)
    return chosen


def _pick(
    picks: list[Ranked], candidates: Iterable[Ranked], count: int, standing: Standing, again: bool
) -> None:
    """Add to `picks` of these candidates what may stand, up to so many."""
    if len(picks) == count:
        return
    for candidate in candidates:
        if standing.takes(candidate, again):
            picks.append(candidate)
            standing.add(candidate)
            if len(picks) == count:
                return
