"""The order of candidates, and who gets which placement: match × bid, no creative twice, advertisers mixed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.decision import Ranked
from engine.retrieve import Candidates
from engine.snapshot import Snapshot


def order(snapshot: Snapshot, candidates: Candidates) -> tuple[Ranked, ...]:
    """Order candidates by match × bid in micro-units, ties by row; what does not match at all comes last."""
    bids = snapshot.bid[candidates.rows]
    matches = candidates.matches.astype(float)
    # A negative match times a high bid would fall behind a low one: there the match alone counts.
    values = np.where(matches > 0, matches * bids, matches)
    best = np.lexsort((candidates.rows, -matches, -values))
    campaigns = snapshot.campaign[candidates.rows]
    entries = snapshot.manifest.campaigns
    return tuple(
        Ranked(row, match, value, entries[campaign].advertiser)
        for row, match, value, campaign in zip(
            candidates.rows[best].tolist(),
            matches[best].tolist(),
            values[best].tolist(),
            campaigns[best].tolist(),
            strict=True,
        )
    )


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
