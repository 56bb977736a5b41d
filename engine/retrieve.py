"""Which creatives may run here, and which of them fit best: bitmaps first, then the nearest by facets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from contexts.context import Context, Vector
from contexts.facets import (
    SOFT_FACETS,
    Facet,
    SoftFacet,
    context_blocks,
    effective_weights,
    normalisers,
    reweighing,
)
from engine.catalog import View
from engine.decision import Placement
from engine.index import Eligible, Rows, Words
from engine.snapshot import Snapshot
from engine.targeting import Predicate, conjunction, context_predicates

LIST_LENGTH = 2000  # creatives in a page's list
ROUNDING = 1e-6  # two float32 sums of the same parts may differ by this much


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The eligible creatives that fit best, best first, with their exact matches."""

    rows: Rows
    matches: Vector  # (len(rows),) weighted means of the facets' matches, -1 to 1


@dataclass(frozen=True, slots=True, eq=False)
class Soft:
    """One context's side of matching: its query, and what the soft facets give each distinct preference.

    The index scores under the standing normalisers. A creative's exact match is that score times `factor[prefer]`;
    of it, `gain[prefer]` is the soft facets' part.
    """

    query: Vector  # (dim,)
    blocks: dict[SoftFacet, Vector]
    weights: dict[Facet, float]  # effective
    factor: Vector  # (prefers,)
    gain: Vector  # (prefers,)
    reweighed: bool  # whether any factor is not 1


@dataclass(frozen=True, slots=True, eq=False)
class PageList:
    """A page's nearest creatives by the page facet alone, under the standing weights, best first."""

    rows: Rows
    pages: Vector  # (len(rows),) what the page facet gives each
    whole: bool  # every creative is in it


def soften(snapshot: Snapshot, context: Context) -> Soft:
    """Work out a context's side of matching."""
    standing = snapshot.manifest.weights
    page = context.page.vector
    weights = effective_weights(standing, page_known=page is not None, weather=context.weather)
    weights["page"] *= context.page.confidence
    blocks = context_blocks(context.device, context.clock, context.weather)
    factor = reweighing(standing, weights)[snapshot.stated]
    gain = np.zeros(len(snapshot.stated), np.float32)
    for facet in SOFT_FACETS:
        gain += np.float32(weights[facet]) * (snapshot.soft[facet] @ blocks[facet])
    gain *= factor / normalisers(snapshot.stated, standing)
    return Soft(
        query=snapshot.layout.query(None if page is None else snapshot.focus(page), blocks, weights),
        blocks=blocks,
        weights=weights,
        factor=factor,
        gain=gain,
        reweighed=bool(np.any(factor != 1.0)),
    )


def predicates(
    view: View, context: Context, topics: frozenset[str], placement: Placement, *, house: bool = False
) -> list[Predicate]:
    """Return every hard rule that applies, each with the bitmap of those creatives that pass it.

    `topics` are the page's topics with all their ancestors. The publisher's own `house` creatives pay nothing, so
    floors are not for them.
    """
    snapshot = view.snapshot
    publisher = snapshot.publishers[context.publisher]
    found = context_predicates(snapshot.bitmaps, context, topics, view.moments(context.clock.at))
    approved = view.approved.get(publisher.id)
    if approved is not None:
        found.append(("approved by the publisher", approved))
    kinds = view.bitmap(("kinds", placement.formats, placement.sizes), lambda: _kinds(snapshot, placement))
    found.append(("format and size: " + _kinds_in_words(placement), kinds))
    floor = max(placement.floor_micros, publisher.floor_micros)
    if floor and not house:
        enough = view.bitmap(("floor", floor), lambda: Eligible.from_mask(snapshot.bid >= floor).words)
        found.append((f"floor: {floor} micro-units", enough))
    if not house and snapshot.floors:
        content = view.bitmap(("least", floor), lambda: Eligible.from_mask(snapshot.floor <= floor).words)
        found.append(("least floor that the campaign asks", content))
    for advertiser in dict.fromkeys((*publisher.block_advertisers, *placement.block_advertisers)):
        others = view.bitmap(("not of", advertiser), partial(_not_of, snapshot, advertiser))
        found.append((f"advertiser {advertiser} blocked", others))
    for category in dict.fromkeys((*publisher.block_categories, *placement.block_categories)):
        words = snapshot.bitmaps.get(f"category:{category}")
        if words is not None:
            found.append((f"category {category} blocked", ~words))
    return found


def eligible(view: View, rules: list[Predicate], among: Words) -> Eligible:
    """Return the creatives of `among` that pass all rules."""
    return Eligible(conjunction(rules, view.snapshot.width) & among)


def retrieve(
    view: View, soft: Soft, allowed: Eligible, k: int, page_list: PageList | None = None
) -> Candidates:
    """Return the min(k, allowed.count) creatives of the highest exact match.

    The page's list serves only where it provably holds them; else the index is searched.
    """
    snapshot = view.snapshot
    k = min(k, allowed.count)
    if k == 0:
        return Candidates(np.empty(0, np.int64), np.empty(0, np.float32))
    if page_list is not None:
        found = _from_list(snapshot, soft, allowed, k, page_list)
        if found is not None:
            return found
    fetch = k
    while True:
        rows, scores = snapshot.index.search(soft.query, fetch, allowed)
        if not soft.reweighed:
            return Candidates(rows, scores)
        # The index ranks under the standing weights, so more are fetched until none outside can be better.
        exact = scores * soft.factor[snapshot.prefer[rows]]
        best = np.lexsort((rows, -exact))[:k]
        rest = float(np.max(scores[-1] * soft.factor)) if len(rows) else 0.0
        if len(rows) >= allowed.count or exact[best[-1]] >= rest - ROUNDING:
            return Candidates(rows[best], exact[best])
        fetch = min(fetch * 4, allowed.count)


def page_list(view: View, page: Vector) -> PageList:
    """Find a page's nearest creatives by the page facet alone, among those that are on."""
    snapshot = view.snapshot
    blocks = {facet: np.zeros(snapshot.soft[facet].shape[1], np.float32) for facet in SOFT_FACETS}
    query = snapshot.layout.query(snapshot.focus(page), blocks, snapshot.manifest.weights)
    everyone = Eligible(view.paid)
    rows, scores = snapshot.index.search(query, min(LIST_LENGTH, everyone.count), everyone)
    return PageList(rows, scores, len(rows) == everyone.count)


def _from_list(
    snapshot: Snapshot, soft: Soft, allowed: Eligible, k: int, listed: PageList
) -> Candidates | None:
    """Take the candidates from a page's list where no creative outside of it can be better, else return None."""
    here = allowed.holds(listed.rows)
    rows = listed.rows[here]
    if len(rows) < k:
        return None
    share = np.float32(soft.weights["page"] / snapshot.manifest.weights["page"])
    prefer = snapshot.prefer[rows]
    exact = listed.pages[here] * share * soft.factor[prefer] + soft.gain[prefer]
    best = np.lexsort((rows, -exact))[:k]
    if not listed.whole:
        rest = float(np.max(listed.pages[-1] * share * soft.factor + soft.gain))
        if exact[best[-1]] < rest:
            return None
    return Candidates(rows[best], exact[best])


def _kinds(snapshot: Snapshot, placement: Placement) -> Words:
    """Return the creatives whose format and size the placement takes; a native creative has no size of its own."""
    sizes = {"{}x{}".format(*size) for size in placement.sizes}
    words = np.zeros(snapshot.width, np.uint64)
    for name, at in snapshot.bitmaps.names.items():
        if not name.startswith("kind:"):
            continue
        kind = name.removeprefix("kind:")
        taken = "native" in placement.formats if kind == "native" else "banner" in placement.formats
        if taken and (kind == "native" or not sizes or kind in sizes):
            words |= snapshot.bitmaps.words[at]
    return words


def _kinds_in_words(placement: Placement) -> str:
    sizes = ", ".join("{}x{}".format(*size) for size in placement.sizes)
    return " or ".join(placement.formats) + (f" of {sizes}" if sizes else "")


def _not_of(snapshot: Snapshot, advertiser: str) -> Words:
    try:
        who = snapshot.manifest.advertisers.index(advertiser)
    except ValueError:
        return np.full(snapshot.width, np.iinfo(np.uint64).max, np.uint64)
    others = np.array([c.advertiser != who for c in snapshot.manifest.campaigns], bool)
    return Eligible.from_mask(others[snapshot.campaign]).words
