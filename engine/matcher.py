"""From a scene to the creatives that compete for its placements; what was found for one request serves the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from contexts.context import Vector
from contexts.rungs import page_vector
from engine.background import Background
from engine.decision import Placement, Ranked, is_usual
from engine.gather import Gatherer
from engine.index import Eligible, Words
from engine.rank import Shortlist, Standing
from engine.retrieve import (
    LIST_LENGTH,
    PageList,
    Soft,
    page_list,
    retrieve,
    retrieve_together,
    soften,
    surroundings,
    taken,
)
from engine.scene import Key, Scene, Tier
from engine.targeting import narrow, page_clauses

COMPETING = 16  # candidates for a placement: chosen by match, then ordered by match × bid
# Searches of a page after which its list is made: it costs as much as so many, twice or thrice.
LISTED_FROM = 8
LIST_WITHIN_S = 60.0  # a page's list that could not be begun by then is not made


class Matcher:
    """Finds the creatives that may run in a scene and fit it best."""

    def __init__(self, gatherer: Gatherer, background: Background, monotonic: Callable[[], float]) -> None:
        self._gatherer = gatherer
        self._background = background
        self._monotonic = monotonic

    def shortlist(
        self, scene: Scene, placement: Placement, *, tier: Tier = "paid", most: int = COMPETING
    ) -> Shortlist:
        """Return the creatives of a tier that compete for a placement, in their final order."""
        return self._shortlists(scene, (placement,), tier=tier, most=most)[0]

    def _shortlists(
        self, scene: Scene, placements: Sequence[Placement], *, tier: Tier, most: int
    ) -> list[Shortlist]:
        """Return each placement's shortlist; those that were not made before are made together."""
        kept = scene.settled.shortlists
        keys = [_place_key(placement, tier, most) for placement in placements]
        found = [kept.get(key) for key in keys]
        missing = [at for at, known in enumerate(found) if known is None]
        if missing:
            view, running = scene.view, self._running(scene, tier)
            allowed = [Eligible(running & _taken(scene, placements[at], tier)) for at in missing]
            listed = self._page_list(scene) if tier == "paid" else None
            candidates = retrieve_together(view, self.soft(scene), allowed, most, listed)
            usual = is_usual(placements)
            for at, best in zip(missing, candidates, strict=True):
                made = found[at] = Shortlist(view.snapshot, best)
                if usual:
                    kept.put(keys[at], made)
        return found  # type: ignore[return-value]  # none is missing any more

    def further(
        self,
        scene: Scene,
        placement: Placement,
        standing: Standing,
        again: bool,
        *,
        tier: Tier,
        most: int,
    ) -> Shortlist | None:
        """Return those behind a shortlist that may stand beside what stands already; None where it held all."""
        if len(self.shortlist(scene, placement, tier=tier, most=most)) < most:
            return None
        kept, snapshot = scene.settled.shortlists, scene.view.snapshot
        key = (*_place_key(placement, tier, most), standing.key(again))
        found = kept.get(key)
        if found is None:
            left = Eligible.from_mask(standing.leaves(snapshot, again)).words
            allowed = Eligible(left & self._running(scene, tier) & _taken(scene, placement, tier))
            found = Shortlist(snapshot, retrieve(scene.view, self.soft(scene), allowed, most))
            if is_usual((placement,)):
                kept.put(key, found)
        return found

    def rank(
        self, scene: Scene, placements: Sequence[Placement], deadline: float
    ) -> tuple[Sequence[Iterable[Ranked]], bool]:
        """Return each placement's shortlist, and whether time ran out: past the deadline, what is known already."""
        most = competing(placements)
        if self._monotonic() < deadline:
            return self._shortlists(scene, placements, tier="paid", most=most), False
        kept = scene.settled.shortlists
        known = [kept.get(_place_key(placement, "paid", most)) for placement in placements]
        return [() if one is None else one for one in known], None in known

    def soft(self, scene: Scene) -> Soft:
        """Return the context's side of matching."""
        found = scene.settled.soft
        if found is None:
            mood = scene.kept.moods.of(scene.context)
            found = scene.settled.soft = soften(
                scene.view.snapshot, scene.context, self._focused(scene), mood
            )
        return found

    def _focused(self, scene: Scene) -> Vector | None:
        """Return the page's vector drawn to what is on offer."""
        kept, vector = scene.kept, page_vector(scene.context)
        if vector is None:
            return None
        page = scene.context.segment or scene.context.page
        found = kept.focused.get(page)
        if found is None:
            found = scene.view.snapshot.focus(vector)
            kept.focused.put(page, found)
        return found

    def _running(self, scene: Scene, tier: Tier) -> Words:
        """Return the creatives of a tier that may run in this context, whatever the placement."""
        view = scene.view
        tiers: dict[Tier, Words] = {
            "guaranteed": view.guaranteed,
            "paid": view.paid,
            "house": view.house,
        }
        return self._ground(scene) & tiers[tier]

    def _ground(self, scene: Scene) -> Words:
        """Return the creatives that may run in this context, whatever the placement."""
        kept = scene.kept
        found = kept.grounds.get(scene.key)
        if found is None:
            bitmaps, page = scene.view.snapshot.bitmaps, scene.context.page
            clauses = kept.clauses.get(page)
            if clauses is None:
                rules = page_clauses(bitmaps, page, self._gatherer.topics(page))
                clauses = tuple(at for _, at in rules)
                kept.clauses.put(page, clauses)
            found = narrow(surroundings(scene.view, scene.context), bitmaps, clauses)
            conditions = scene.view.snapshot.conditions
            if conditions:
                met = conditions.met(scene.context, self._gatherer.topics(page), self._gatherer.senses)
                np.bitwise_and(found, conditions.passing(met), out=found)
            if scene.settled.lasting:
                kept.grounds.put(scene.key, found)
        return found

    def _page_list(self, scene: Scene) -> PageList | None:
        """Return the page's list if it was made; else, once a page was searched often, have it made for the next."""
        page, segment, kept = scene.context.page, scene.context.segment, scene.kept
        vector = page_vector(scene.context)
        if vector is None or kept.view.snapshot.rows <= LIST_LENGTH:
            return None
        key: Key = (page.content_hash, page.better)
        if segment is not None:
            key = (scene.context.publisher, segment.id)
        found = kept.page_lists.get(key)
        if found is None:
            asked = kept.asked.get(key, 0) + 1
            kept.asked.put(key, asked)
            if asked == LISTED_FROM:
                self._background.submit(
                    lambda: kept.page_lists.put(key, page_list(kept.view, vector)), LIST_WITHIN_S
                )
        return found


def competing(placements: Sequence[Placement]) -> int:
    """Return how many candidates a page's placements get each."""
    return max(COMPETING, 8 * sum(p.count for p in placements))


def _taken(scene: Scene, placement: Placement, tier: Tier) -> Words:
    publisher = scene.view.snapshot.publishers[scene.context.publisher]
    return taken(scene.view, publisher, placement, house=tier == "house")


def _place_key(placement: Placement, tier: Tier, most: int) -> Key:
    """Return the key of a placement's shortlist in a scene."""
    return (
        tier,
        most,
        placement.formats,
        placement.sizes,
        placement.floor_micros,
        placement.block_advertisers,
        placement.block_categories,
        placement.native,
        placement.auction,
        placement.impressions_only,
        placement.payers,
    )
