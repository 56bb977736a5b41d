"""Which creatives may run here, and which of them fit best: bitmaps first, then the nearest by facets."""

from __future__ import annotations

from collections.abc import Sequence
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
from engine.campaign import Publisher
from engine.catalog import View
from engine.decision import Placement
from engine.index import Eligible, Rows, Words
from engine.snapshot import Snapshot
from engine.targeting import Predicate, conjunction, page_predicates, surrounding_predicates

LIST_LENGTH = 2000  # creatives in a page's list
SPARE = 1.3  # what one search for several placements fetches above the smallest one's share
TOGETHER = 8  # times k: to fetch more costs more than to search for each placement
ROUNDING = 1e-6  # two float32 sums of the same parts may differ by this much


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The eligible creatives that fit best, best first, with their exact matches."""

    rows: Rows
    matches: Vector  # (len(rows),) weighted means of the facets' matches, -1 to 1

    def among(self, allowed: Eligible, most: int) -> Candidates:
        """Return the first of these that are allowed."""
        here = allowed.holds(self.rows).nonzero()[0][:most]
        return Candidates(self.rows[here], self.matches[here])


@dataclass(frozen=True, slots=True, eq=False)
class Mood:
    """What the soft facets of a context give each distinct preference, whatever the page is about.

    The index scores under the standing normalisers. A creative's exact match is that score times `factor[prefer]`;
    of it, `gain[prefer]` is the soft facets' part, and `parts` what each of them gave.
    """

    blocks: dict[SoftFacet, Vector]
    weights: dict[Facet, float]  # effective
    factor: Vector  # (prefers,)
    parts: dict[SoftFacet, Vector]  # (prefers,) each
    gain: Vector  # (prefers,) their sum
    reweighed: bool  # whether any factor is not 1


@dataclass(frozen=True, slots=True, eq=False)
class Soft:
    """One context's side of matching."""

    mood: Mood
    query: Vector  # (dim,)


@dataclass(frozen=True, slots=True, eq=False)
class PageList:
    """A page's nearest creatives by the page facet alone, under the standing weights, best first."""

    rows: Rows
    pages: Vector  # (len(rows),) what the page facet gives each
    whole: bool  # every creative is in it


def mood_of(snapshot: Snapshot, context: Context) -> Mood:
    """Work out what the soft facets give; of the page it matters only how far its vector is to be trusted."""
    standing = snapshot.manifest.weights
    weights = effective_weights(standing, page_known=context.page.vector is not None, weather=context.weather)
    weights["page"] *= context.page.confidence
    blocks = context_blocks(context.device, context.clock, context.weather)
    factor = reweighing(standing, weights)[snapshot.stated]
    scale = factor / normalisers(snapshot.stated, standing)
    parts = {
        facet: (snapshot.soft[facet] @ blocks[facet]) * (np.float32(weights[facet]) * scale)
        for facet in SOFT_FACETS
    }
    gain: Vector = np.add.reduce(list(parts.values()))
    return Mood(blocks, weights, factor, parts, gain, bool(np.any(factor != 1.0)))


def soften(
    snapshot: Snapshot, context: Context, focused: Vector | None = None, mood: Mood | None = None
) -> Soft:
    """Work out a context's side of matching.

    `focused` is the page's vector drawn to the offer, `mood` that of the context, where they are known.
    """
    mood = mood or mood_of(snapshot, context)
    page = context.page.vector
    if focused is None and page is not None:
        focused = snapshot.focus(page)
    return Soft(mood, snapshot.layout.query(focused, mood.blocks, mood.weights))


def predicates(
    view: View, context: Context, topics: frozenset[str], placement: Placement, *, house: bool = False
) -> list[Predicate]:
    """Return every hard rule that applies, each with the bitmap of those creatives that pass it.

    `topics` are the page's topics with all their ancestors. The publisher's own `house` creatives pay nothing, so
    floors are not for them.
    """
    publisher = view.snapshot.publishers[context.publisher]
    return [*context_rules(view, context, topics), *place_rules(view, publisher, placement, house=house)]


def context_rules(view: View, context: Context, topics: frozenset[str]) -> list[Predicate]:
    """Return the rules that a context meets or does not, whatever the placement."""
    return [
        *page_predicates(view.snapshot.bitmaps, context.page, topics),
        *surrounding_rules(view, context),
    ]


def surrounding_rules(view: View, context: Context) -> list[Predicate]:
    """Return the rules that a context meets or does not, whatever the page and the placement."""
    snapshot = view.snapshot
    found = surrounding_predicates(snapshot.bitmaps, context, view.moments(context.clock.at))
    for campaign in context.told.capped:
        others = view.bitmap(("not from", campaign), partial(_not_from, snapshot, campaign))
        found.append((f"frequency cap of campaign {campaign}", others))
    approved = view.approved.get(context.publisher)
    if approved is not None:
        found.append(("approved by the publisher", approved))
    return found


def place_rules(view: View, publisher: Publisher, placement: Placement, *, house: bool) -> list[Predicate]:
    """Return the rules of a placement and its publisher, whatever the context."""
    snapshot = view.snapshot
    found: list[Predicate] = []
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


def taken(view: View, publisher: Publisher, placement: Placement, *, house: bool) -> Words:
    """Return the creatives that pass the rules of a placement and its publisher; made once a view."""
    asked = (placement.formats, placement.sizes, placement.floor_micros)
    key = ("taken", publisher.id, asked, placement.block_advertisers, placement.block_categories, house)
    return view.bitmap(
        key, lambda: conjunction(place_rules(view, publisher, placement, house=house), view.snapshot.width)
    )


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
    if not soft.mood.reweighed:
        return Candidates(*snapshot.index.search(soft.query, k, allowed))
    return _reweighed(snapshot, soft, allowed, k)


def _reweighed(snapshot: Snapshot, soft: Soft, allowed: Eligible, k: int) -> Candidates:
    """Search where the weights are not the standing ones, under which the index ranks.

    Creatives whose match the weights change by one factor keep their order: each such group is searched by itself,
    and the k best of all are among the k best of each.
    """
    groups: dict[float, Words] = {}
    for mask, factor in zip(snapshot.stated.tolist(), soft.mood.factor.tolist(), strict=True):
        words = snapshot.stating[mask]
        groups[factor] = groups[factor] | words if factor in groups else words
    found = [
        (rows, scores * np.float32(factor))
        for factor, words in groups.items()
        for rows, scores in [snapshot.index.search(soft.query, k, Eligible(words & allowed.words))]
    ]
    rows = np.concatenate([rows for rows, _ in found])
    exact = np.concatenate([exact for _, exact in found])
    best = np.lexsort((rows, -exact))[:k]
    return Candidates(rows[best], exact[best])


def retrieve_together(
    view: View, soft: Soft, allowed: Sequence[Eligible], k: int, page_list: PageList | None = None
) -> list[Candidates]:
    """Return for each what `retrieve` returns, by one search among all where that holds enough for each."""
    counts = [a.count for a in allowed if a.count]
    if page_list is None and len(counts) > 1:
        union = Eligible(np.bitwise_or.reduce([a.words for a in allowed]))
        together = int(k * SPARE * union.count / min(counts))
        if together <= TOGETHER * k:
            found = retrieve(view, soft, union, together)
            # What is best among all and in a part is best in the part, as far down as it was looked for.
            parts = [found.among(one, k) for one in allowed]
            return [
                part if len(part.rows) == min(k, one.count) else retrieve(view, soft, one, k)
                for part, one in zip(parts, allowed, strict=True)
            ]
    return [retrieve(view, soft, one, k, page_list) for one in allowed]


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
    share = np.float32(soft.mood.weights["page"] / snapshot.manifest.weights["page"])
    prefer = snapshot.prefer[rows]
    exact = listed.pages[here] * share * soft.mood.factor[prefer] + soft.mood.gain[prefer]
    best = np.lexsort((rows, -exact))[:k]
    if not listed.whole:
        rest = float(np.max(listed.pages[-1] * share * soft.mood.factor + soft.mood.gain))
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


def _not_from(snapshot: Snapshot, campaign: str) -> Words:
    others = np.array([c.id != campaign for c in snapshot.manifest.campaigns], bool)
    return Eligible.from_mask(others[snapshot.campaign]).words
