"""How the ranking may fall out by what a model is not sure of: a request is decided in one of so many worlds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.catalog import View
from engine.decision import Placement, is_usual
from engine.index import Rows
from engine.learn.diet import Facet
from engine.learn.explore import worlds
from engine.rank import Further, Shortlist, Standing, share_out
from engine.snapshot import id_hash

if TYPE_CHECKING:
    from engine.scene import Scene


WORLDS = 16  # ways in which a model's doubts about creatives may fall
RESPONSES = (0.5, 2.0)  # no creative is taken to be clicked less or more often than so, beside others


class Lots:
    """What a model and its worlds hold for the creatives of a view, filled in as they are looked at."""

    def __init__(self, view: View) -> None:
        rows = view.snapshot.rows
        self._view = view
        self._known = np.zeros(rows, bool)
        self._places = np.zeros(rows, np.intp)
        self._drawn = np.zeros((rows, WORLDS), np.float32)

    def responses(self, rows: Rows, facets: dict[Facet, str]) -> NDArray[np.float64]:
        """Return (rows, WORLDS) by what factor each creative is clicked more often, as each world has it."""
        self._fill(rows)
        responses = self._view.policy.responses
        mean, sd = responses.beliefs(self._places.take(rows), responses.columns(facets))
        # World by world in memory, as what follows reads it.
        drawn = np.multiply(sd, self._drawn.take(rows, axis=0).T, order="C")
        drawn += 1.0 + mean
        np.maximum(drawn, RESPONSES[0], out=drawn)
        np.minimum(drawn, RESPONSES[1], out=drawn)
        return drawn.T

    def _fill(self, rows: Rows) -> None:
        known = self._known.take(rows)
        if not known.all():
            missing = rows[~known]
            responses = self._view.policy.responses
            ids = [self._view.snapshot.creative_id(row) for row in missing.tolist()]
            seed = 0 if responses.model is None else responses.model.seed
            self._places[missing] = responses.places([(id, "") for id in ids])
            self._drawn[missing] = worlds(seed, np.array([id_hash(id) for id in ids], np.uint64), WORLDS)
            self._known[missing] = True  # last: another thread that fills the same finds the same


@dataclass(frozen=True, slots=True, eq=False)
class Worlds:
    """How the ranking for some placements may fall out, by a model's doubts."""

    responses: tuple[NDArray[np.float64], ...]  # of each placement's candidates, (candidates, WORLDS)
    often: Counter[tuple[int, int]]  # (placement, row) → in how many worlds it is shown there


def worlds_of(
    scene: Scene,
    facets: dict[Facet, str],
    placements: Sequence[Placement],
    ranked: Sequence[Shortlist],
    counts: Sequence[int],
    standing: Standing,
    further: Further | None = None,
) -> Worlds:
    """Return how the ranking may fall out, beside what stands on the page already; `facets` are the context's.

    What `further` finds (`engine.rank`) is ordered by match and bid alone.
    """
    key = (tuple(placements), tuple(counts))  # who stands there is settled by scene and placements
    found = scene.settled.worlds.get(key)
    if found is None:
        lots = scene.kept.lots()
        responses = tuple(lots.responses(one.rows, facets) for one in ranked)
        often: Counter[tuple[int, int]] = Counter()
        if list(counts) == [1] and len(ranked[0]) and not standing.taken:
            often.update(zip(repeat(0), ranked[0].winners(responses[0]).tolist(), strict=False))
        else:
            for world in range(WORLDS):
                fallen = [one.under(r[:, world]) for one, r in zip(ranked, responses, strict=True)]
                picks = enumerate(share_out(fallen, counts, standing.copy(), further))
                often.update((at, pick.row) for at, some in picks for pick in some)
        found = Worlds(responses, often)
        if is_usual(placements):
            scene.settled.worlds.put(key, found)
    return found
