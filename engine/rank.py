"""The order of candidates, and who gets which placement: match × bid, no creative twice, advertisers mixed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.decision import Ranked
from engine.retrieve import Candidates
from engine.snapshot import Snapshot

PEERS = 0.75  # of the best match: who fits at least so well competes with it by price; others stand behind
DIGITS = 6  # of a match; what differs behind them is how floats were added up


def order(snapshot: Snapshot, candidates: Candidates) -> tuple[Ranked, ...]:
    """Order candidates by match × bid in micro-units among peers, ties by bid, then by row.

    The best match and those nearly as good are peers; behind them come the best of the rest with its peers, and so
    on, so that no bid puts a creative that does not fit before one that does. What does not match comes last.
    """
    bids = snapshot.bid[candidates.rows]
    matches = candidates.matches.astype(float).round(DIGITS)
    # A negative match times a high bid would fall behind a low one: there the match alone counts.
    values = np.where(matches > 0, matches * bids, matches)
    best = np.lexsort((candidates.rows, -bids, -matches, -values, _bands(matches)))
    rows = candidates.rows[best]
    columns = (rows, matches[best], values[best], snapshot.advertisers[snapshot.campaign[rows]])
    return tuple(map(Ranked._make, zip(*(column.tolist() for column in columns), strict=True)))


def _bands(matches: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each match, best first, the number of its group of peers."""
    bands = np.zeros(len(matches), np.int64)
    start, band = 0, 0
    while start < len(matches) and matches[start] > 0:
        end = start + int(np.searchsorted(-matches[start:], -PEERS * matches[start], side="right"))
        bands[start:end] = band
        start, band = end, band + 1
    bands[start:] = band
    return bands


def share_out(
    ranked: Sequence[Sequence[Ranked]], counts: Sequence[int], taken: set[int] | None = None
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
