"""The order of candidates, and who gets which placement: match × bid, no creative twice, advertisers mixed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from engine.decision import Ranked
from engine.retrieve import Candidates
from engine.snapshot import Snapshot

PEERS = 0.75  # of the best match: who fits at least so well competes with it by price; others stand behind
DIGITS = 6  # of a match; what differs behind them is how floats were added up


class Shortlist:
    """Candidates by match × bid in micro-units among peers, ties by match, then bid, then row.

    The best match and those nearly as good are peers; behind them come the best of the rest with its peers, and so
    on, so that no bid puts a creative that does not fit before one that does. What does not match comes last.
    Peers are put in order when they are asked for: most often the first are enough. Any threads may do so at once.
    """

    __slots__ = ("_advertisers", "_bids", "_matches", "_order", "_rows", "_values")

    def __init__(self, snapshot: Snapshot, candidates: Candidates) -> None:
        rows = candidates.rows
        bids, matches = snapshot.bid[rows], candidates.matches.astype(float).round(DIGITS)
        self._rows: list[int] = rows.tolist()
        # Below zero, so that the best is sorted first.
        self._values: list[float] = (-(matches * bids)).tolist()
        self._matches: list[float] = (-matches).tolist()
        self._bids: list[int] = (-bids).tolist()
        self._advertisers: list[int] = snapshot.advertisers[snapshot.campaign[rows]].tolist()
        self._order: tuple[
            tuple[float, float, int, int, int], ...
        ] = ()  # of whole groups, the last number counts

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Ranked]:
        at = 0
        while at < len(self._rows):
            order = self._order
            if at == len(order):
                self._order = order = order + self._peers(at)
            for less, match, _, row, place in order[at:]:
                yield Ranked(row, -match, -less, self._advertisers[place])
            at = len(order)

    def _peers(self, start: int) -> tuple[tuple[float, float, int, int, int], ...]:
        """Return the group that begins here, in order: value, match and bid below zero, row, place in the lists."""
        matches = self._matches
        # A negative match times a high bid would fall behind a low one: there the match alone counts.
        fits = matches[start] < 0
        end = bisect_right(matches, PEERS * matches[start], start) if fits else len(matches)
        values = self._values if fits else matches
        group = slice(start, end)
        return tuple(
            sorted(
                zip(
                    values[group],
                    matches[group],
                    self._bids[group],
                    self._rows[group],
                    range(start, end),
                    strict=True,
                )
            )
        )


def share_out(
    ranked: Sequence[Iterable[Ranked]], counts: Sequence[int], taken: set[int] | None = None
) -> list[list[Ranked]]:
    """Choose for each placement, in the page's order, its `counts` best creatives.

    No creative stands twice on a page (`taken` ones included), and an advertiser stands twice only where there is
    no other to show.
    """
    taken = set() if taken is None else taken
    advertisers: set[int] = set()
    chosen: list[list[Ranked]] = []
    for candidates, count in zip(ranked, counts, strict=True):
        picks: list[Ranked] = []
        for again in (False, True):
            if len(picks) == count:
                break
            for candidate in candidates:
                if candidate.row not in taken and (again or candidate.advertiser not in advertisers):
                    picks.append(candidate)
                    taken.add(candidate.row)
                    advertisers.add(candidate.advertiser)
                    if len(picks) == count:
                        break
        chosen.append(picks)
    return chosen
