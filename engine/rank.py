"""The order of candidates, and who gets which placement: match × bid, no creative twice, advertisers mixed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from engine.decision import Ranked
from engine.index import Rows
from engine.retrieve import Candidates
from engine.snapshot import Snapshot

PEERS = 0.75  # of the best match: who fits at least so well competes with it by price; others stand behind
DIGITS = 6  # of a match; what differs behind them is how floats were added up


# Peers in their order: rows, matches, values, advertisers, fits.
Group = tuple[list[int], list[float], list[float], list[int], list[float]]


class Shortlist:
    """Candidates by match × bid (× response) in micro-units among peers, ties by match, then bid, then row.

    The best match and those nearly as good are peers; behind them come the best of the rest with its peers, and so
    on, so that no bid puts a creative that does not fit before one that does. What does not match comes last.
    Peers are put in order when they are asked for: most often the first are enough. Any threads may do so at once.
    """

    __slots__ = ("_advertisers", "_bids", "_fits", "_groups", "_matches", "_rows")

    def __init__(self, snapshot: Snapshot, candidates: Candidates) -> None:
        rows = candidates.rows
        self._rows = rows
        self._fits: NDArray[np.float64] | None = None  # matches × responses, where these are known
        self._matches = candidates.matches.astype(float).round(DIGITS)
        self._bids = snapshot.bid[rows]
        self._advertisers = snapshot.advertisers[snapshot.campaign[rows]]
        self._groups: tuple[Group, ...] = ()  # those that were asked for, from the best

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> Rows:
        """The candidates' rows, best match first."""
        return self._rows

    def under(self, responses: NDArray[np.float64]) -> Shortlist:
        """Return the same candidates, each worth match × bid × response; (candidates,), in the order of `rows`."""
        other = copy(self)
        other._fits = (self._matches * responses).round(DIGITS)
        other._groups = ()
        return other

    def __iter__(self) -> Iterator[Ranked]:
        at = number = 0
        while at < len(self._rows):
            if number == len(self._groups):
                self._groups = (*self._groups[:number], self._peers(at))
            group = self._groups[number]
            yield from map(Ranked, *group)
            at += len(group[0])
            number += 1

    def winners(self, responses: NDArray[np.float64]) -> Rows:
        """Return (worlds,) which row comes first under each column of responses, (candidates, worlds)."""
        best = self._matches[0]
        if best <= 0:  # there the match alone counts
            return np.repeat(self._rows[:1], responses.shape[1])
        end = int(np.searchsorted(-self._matches, -PEERS * best, "right"))
        worth = (self._matches[:end, None] * responses[:end]).round(DIGITS) * self._bids[:end, None]
        first: Rows = self._rows[worth.argmax(axis=0)]
        return first

    def rival(self, row: int, taken: Collection[int]) -> float | None:
        """Return the value (match × bid) of the candidate that a row stands before by its price, or None.

        That is the next of its peers, of another advertiser and not in `taken`. The row was iterated before.
        """
        for rows, matches, values, advertisers, _ in self._groups:
            if row not in rows:
                continue
            at = rows.index(row)
            for after in range(at + 1, len(rows)):
                if advertisers[after] != advertisers[at] and rows[after] not in taken and matches[after] > 0:
                    return values[after]
            return None
        return None

    def _peers(self, start: int) -> Group:
        """Return the group that begins here, in order."""
        best = self._matches[start]
        # A negative match times a high bid would fall behind a low one: there the match alone counts.
        fits = best > 0
        end = int(np.searchsorted(-self._matches, -PEERS * best, "right")) if fits else len(self._rows)
        here = slice(start, max(end, start + 1))
        matches, bids, rows = self._matches[here], self._bids[here], self._rows[here]
        worth = matches if self._fits is None or not fits else self._fits[here]
        values = worth * bids if fits else matches
        order = np.lexsort((rows, -bids, -matches, -values))
        who = self._advertisers[here]
        return (
            rows[order].tolist(),
            matches[order].tolist(),
            values[order].tolist(),
            who[order].tolist(),
            worth[order].tolist(),
        )


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

    def add(self, pick: Ranked) -> None:
        """Let a creative stand there."""
        self.taken.add(pick.row)
        self.advertisers.add(pick.advertiser)
        if self._labels is not None:
            for label in self._labels(pick.row):
                self._by_label.setdefault(label, pick.advertiser)


def share_out(
    ranked: Sequence[Iterable[Ranked]], counts: Sequence[int], standing: Standing | None = None
) -> list[list[Ranked]]:
    """Choose for each placement, in the page's order, its `counts` best creatives; `standing` goes on from what it has.

    No creative stands twice on a page, and an advertiser stands twice only where there is no other to show. Of
    campaigns that share a label of separation, those of one advertiser stand there alone.
    """
    standing = Standing() if standing is None else standing
    chosen: list[list[Ranked]] = []
    for candidates, count in zip(ranked, counts, strict=True):
        picks: list[Ranked] = []
        for again in (False, True):
            if len(picks) == count:
                break
            for candidate in candidates:
                if standing.takes(candidate, again):
                    picks.append(candidate)
                    standing.add(candidate)
                    if len(picks) == count:
                        break
        chosen.append(picks)
    return chosen
