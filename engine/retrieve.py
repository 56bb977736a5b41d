"""Which creatives may run here, and which of them fit best: bitmaps first, then the nearest by facets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from contexts.context import RISKS, Context, Vector, risk_of
from contexts.facets import (
    SOFT_FACETS,
    Facet,
    SoftFacet,
    effective_weights,
    most_fits,
    normalisers,
    reweighing,
    weather_confidence,
)
from contexts.rungs import blocks_of, page_confidence, page_vector, weather_of
from contexts.senses import Senses
from engine.cache import Bounded
from engine.campaign import Publisher
from engine.catalog import View
from engine.decision import NativeNeeds, Placement
from engine.governor import Limits, group_words, in_words
from engine.index import Eligible, Rows, Words
from engine.snapshot import NATIVE, Snapshot
from engine.targeting import Predicate, conjunction, page_clauses, resolved, surrounding_clauses

LIST_LENGTH = 4096  # creatives in a page's list: so many prove 97 of 100 requests at 100,000 creatives
SPARE = 1.3  # what one search for several placements fetches above the smallest one's share
TOGETHER = 8  # times k: to fetch more costs more than to search for each placement
NESTED = "nested rules"
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

    def best(self, most: int) -> Candidates:
        """Return the best of these, whatever order they have; equal matches by row."""
        rows, matches = self.rows, self.matches
        if len(rows) > most:
            contenders = (matches >= np.partition(matches, len(rows) - most)[len(rows) - most]).nonzero()[0]
            rows, matches = rows[contenders], matches[contenders]
        order = np.lexsort((rows, -matches))[:most]
        return Candidates(rows[order], matches[order])


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
    """The creatives that may become a page's best, whatever device, hour and weather: in no order."""

    rows: NDArray[np.int32]
    pages: Vector  # (len(rows),) what the page facet gives each under the standing weights
    outside: Vector | None  # (prefers,) what it gives at most to a creative that is not in it; None: all are


class Moods:
    """Works out what the soft facets give over one snapshot; of the page it matters only how far it is trusted.

    Of contexts there are many, of what each facet may say few: what one facet gives is worked out once.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._weighings: Bounded[tuple[bool, float, float], _Weighing] = Bounded(256)
        self._parts: Bounded[tuple[_Weighing, SoftFacet, bytes], Vector] = Bounded(1024)

    def of(self, context: Context) -> Mood:
        """Return what the soft facets of a context give."""
        known = page_vector(context) is not None
        key = (known, page_confidence(context), weather_confidence(weather_of(context)))
        weighing = self._weighings.get(key)
        if weighing is None:
            weighing = self._weigh(context)
            self._weighings.put(key, weighing)
        blocks = blocks_of(context)
        parts = {facet: self._part(weighing, facet, blocks[facet]) for facet in SOFT_FACETS}
        device, time, sky = parts.values()
        return Mood(blocks, weighing.weights, weighing.factor, parts, device + time + sky, weighing.reweighed)

    def _weigh(self, context: Context) -> _Weighing:
        snapshot, standing = self._snapshot, self._snapshot.manifest.weights
        known, weather = page_vector(context) is not None, weather_of(context)
        weights = effective_weights(standing, page_known=known, weather=weather)
        weights["page"] *= page_confidence(context)
        factor = reweighing(standing, weights)[snapshot.stated]
        scale = factor / normalisers(snapshot.stated, standing)
        return _Weighing(weights, factor, scale, bool(np.any(factor != 1.0)))

    def _part(self, weighing: _Weighing, facet: SoftFacet, block: Vector) -> Vector:
        key = (weighing, facet, block.tobytes())
        found = self._parts.get(key)
        if found is None:
            found = (self._snapshot.soft[facet] @ block) * (
                np.float32(weighing.weights[facet]) * weighing.scale
            )
            self._parts.put(key, found)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Weighing:
    """The weights of a context, and what they do to each preference."""

    weights: dict[Facet, float]  # effective
    factor: Vector  # (prefers,)
    scale: Vector  # (prefers,) factor over the standing normaliser
    reweighed: bool


def soften(
    snapshot: Snapshot, context: Context, focused: Vector | None = None, mood: Mood | None = None
) -> Soft:
    """Work out a context's side of matching.

    `focused` is the page's vector drawn to the offer, `mood` that of the context, where they are known.
    """
    mood = mood or Moods(snapshot).of(context)
    page = page_vector(context)
    if focused is None and page is not None:
        focused = snapshot.focus(page)
    return Soft(mood, snapshot.layout.query(focused, mood.blocks, mood.weights))


def predicates(
    view: View,
    context: Context,
    topics: frozenset[str],
    placement: Placement,
    senses: Senses | None = None,
    *,
    house: bool = False,
) -> list[Predicate]:
    """Return every hard rule that applies, each with the bitmap of those creatives that pass it.

    `topics` are the page's topics with all their ancestors. The publisher's own `house` creatives pay nothing, so
    floors are not for them.
    """
    publisher = view.snapshot.publishers[context.publisher]
    return [
        *context_rules(view, context, topics, senses),
        *place_rules(view, publisher, placement, house=house),
    ]


def context_rules(
    view: View, context: Context, topics: frozenset[str], senses: Senses | None = None
) -> list[Predicate]:
    """Return the rules that a context meets or does not, whatever the placement."""
    bitmaps = view.snapshot.bitmaps
    parts = surrounding_clauses(bitmaps, context, view.moments(context.clock.at))
    around = [clause for _, clauses in parts for clause in clauses()]
    conditions = view.snapshot.conditions
    nested = conditions.passing(conditions.met(context, topics, senses)) if conditions else None
    return [
        *resolved(bitmaps, [*page_clauses(bitmaps, context.page, topics), *around]),
        *(() if nested is None else [(NESTED, nested)]),
        *_publishers_rules(view, context),
        *_copy_rules(view, context),
    ]


def surroundings(view: View, context: Context) -> Words:
    """Return the creatives that may run in a context, whatever the page and the placement; a copy of one's own."""
    bitmaps, width = view.snapshot.bitmaps, view.snapshot.width
    parts = [
        view.bitmap(key, lambda clauses=clauses: conjunction(resolved(bitmaps, clauses()), width))  # type: ignore[misc]  # mypy does not infer lambdas with defaults
        for key, clauses in surrounding_clauses(bitmaps, context, view.moments(context.clock.at))
    ]
    parts += [words for _, words in _publishers_rules(view, context)]
    parts += [words for _, words in _copy_rules(view, context)]
    passing = parts[0] & parts[1]
    for words in parts[2:]:
        np.bitwise_and(passing, words, out=passing)
    return passing


def _publishers_rules(view: View, context: Context) -> list[Predicate]:
    """Return what a publisher said of creatives, and of what the reader has seen enough."""
    snapshot = view.snapshot
    found: list[Predicate] = []
    for campaign in context.told.capped:
        others = view.bitmap(("not from", campaign), partial(_not_from, snapshot, campaign))
        found.append((f"frequency cap of campaign {campaign}", others))
    sold = snapshot.publishers[context.publisher].risk
    riskier = [
        flag
        for flag in sorted(context.page.sensitive)
        if RISKS.index(risk_of(context.page, flag)) > RISKS.index(sold)
    ]
    if riskier:
        nothing = np.zeros(snapshot.width, np.uint64)
        found.append((f"suitability: about {', '.join(riskier)}, riskier than the publisher sells", nothing))
    approved = view.approved.get(context.publisher)
    if approved is not None:
        found.append(("approved by the publisher, and not stopped there", approved))
    return found


def _copy_rules(view: View, context: Context) -> list[Predicate]:
    """Return what keeps copy from coming too near: see `engine.governor`."""
    bitmaps = view.snapshot.bitmaps
    found: list[Predicate] = [
        (f"copy that does not name a page's topic of {category}", ~words)
        for category in sorted(context.page.special)
        if (words := bitmaps.get(f"speaks:{category}")) is not None
    ]
    found += [
        (f"copy that does not mention {signal}, which the reader agreed to be known by", ~words)
        for signal in context.told.used
        if (words := bitmaps.get(f"mentions:{group_words(signal)}")) is not None
    ]
    if view.snapshot.naming:
        limits = limits_of(view, context)
        found += [
            (f"copy that names {' and '.join(in_words(mask))}: {_too_near(limits, mask)}", ~words)
            for mask in view.snapshot.naming
            if not limits.allows(mask) and (words := bitmaps.get(f"names:{mask}")) is not None
        ]
    return found


def _too_near(limits: Limits, mask: int) -> str:
    bits = limits.bits[mask]
    if bits is None:
        return "too few page views share them"
    return f"{bits:.2f} bits, and the publisher allows {limits.budget:g}"


def limits_of(view: View, context: Context) -> Limits:
    """Return what copy may name in a context, on its publisher's pages."""
    budget = view.snapshot.publishers[context.publisher].specificity_bits
    return view.policy.buckets.limits(context, budget)


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
    if placement.payers not in ("any", "house" if house else "paid"):
        found.append((f"only {placement.payers} campaigns", np.zeros(snapshot.width, np.uint64)))
    if placement.auction or placement.impressions_only:
        by_impressions = view.bitmap(("paid by impressions",), partial(_by_impressions, snapshot))
        found.append(("paid by impressions", by_impressions))
    if placement.native is not None:
        needs = placement.native
        found.append(("native assets", view.bitmap(("native", needs), lambda: _having(snapshot, needs))))
    for advertiser in dict.fromkeys((*publisher.block_advertisers, *placement.block_advertisers)):
        others = view.bitmap(("not of", advertiser), partial(_not_of, snapshot, advertiser))
        found.append((f"advertiser {advertiser} blocked", others))
    political = snapshot.bitmaps.get("political")
    if political is not None and (
        placement.auction or not publisher.political
    ):  # a bid has no place for its notice
        found.append(("political advertisements are not taken", ~political))
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
    asked = (placement.formats, placement.sizes, placement.floor_micros, placement.native)
    paid = (placement.auction, placement.impressions_only, placement.payers)
    key = ("taken", publisher.id, asked, placement.block_advertisers, placement.block_categories, paid, house)
    return view.bitmap(
        key, lambda: conjunction(place_rules(view, publisher, placement, house=house), view.snapshot.width)
    )


def retrieve(
    view: View, soft: Soft, allowed: Eligible, k: int, page_list: PageList | None = None
) -> Candidates:
    """Return the min(k, allowed.count) creatives of the highest exact match.

    The page's list serves only where it provably holds them; else the index is searched.
    """
    return retrieve_together(view, soft, [allowed], k, page_list)[0]


def _search(snapshot: Snapshot, soft: Soft, allowed: Eligible, k: int) -> Candidates:
    k = min(k, allowed.count)
    if k == 0:
        return Candidates(np.empty(0, np.int64), np.empty(0, np.float32))
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
    return Candidates(rows, np.concatenate([exact for _, exact in found])).best(k)


def retrieve_together(
    view: View, soft: Soft, allowed: Sequence[Eligible], k: int, page_list: PageList | None = None
) -> list[Candidates]:
    """Return for each what `retrieve` returns, by one search among all where that holds enough for each."""
    found: list[Candidates | None] = [None] * len(allowed)
    if page_list is not None:
        ahead = _ahead(view.snapshot, soft, page_list)
        found = [_of(ahead, one, k) for one in allowed]
    missing = [at for at, known in enumerate(found) if known is None]
    searched = _search_together(view.snapshot, soft, [allowed[at] for at in missing], k)
    for at, candidates in zip(missing, searched, strict=True):
        found[at] = candidates
    return found  # type: ignore[return-value]  # none is missing any more


def _search_together(snapshot: Snapshot, soft: Soft, allowed: Sequence[Eligible], k: int) -> list[Candidates]:
    counts = [a.count for a in allowed if a.count]
    if len(counts) > 1:
        union = Eligible(np.bitwise_or.reduce([a.words for a in allowed]))
        together = int(k * SPARE * union.count / min(counts))
        if together <= TOGETHER * k:
            found = _search(snapshot, soft, union, together)
            # What is best among all and in a part is best in the part, as far down as it was looked for.
            parts = [found.among(one, k) for one in allowed]
            return [
                part if len(part.rows) == min(k, one.count) else _search(snapshot, soft, one, k)
                for part, one in zip(parts, allowed, strict=True)
            ]
    return [_search(snapshot, soft, one, k) for one in allowed]


def page_list(view: View, page: Vector) -> PageList:
    """Find the creatives that may become a page's best, among those that are on.

    They are ordered by what they can reach: what the page gives them, and their soft facets in the context that suits
    them best. All are scored, so that what is outside is known and not estimated.
    """
    snapshot = view.snapshot
    weights = snapshot.manifest.weights
    nothing = {facet: np.zeros(snapshot.soft[facet].shape[1], np.float32) for facet in SOFT_FACETS}
    rows = Eligible(view.paid).rows
    pages = snapshot.index.scores(snapshot.layout.query(snapshot.focus(page), nothing, weights), rows)
    gains = most_fits(snapshot.soft, weights) / normalisers(snapshot.stated, weights)
    outside = None
    if len(rows) > LIST_LENGTH:
        reach = pages + gains[snapshot.prefer[rows]]
        order = reach.argpartition(len(rows) - LIST_LENGTH)
        outside = reach[order[: len(rows) - LIST_LENGTH]].max() - gains
        rows, pages = rows[order[-LIST_LENGTH:]], pages[order[-LIST_LENGTH:]]
    return PageList(rows.astype(np.int32), pages, outside)


def _ahead(snapshot: Snapshot, soft: Soft, listed: PageList) -> Candidates:
    """Return those of a page's list, in its order, that no creative outside of it can pass in this context."""
    mood = soft.mood
    share = mood.factor * np.float32(mood.weights["page"] / snapshot.manifest.weights["page"])
    prefer = snapshot.prefer[listed.rows]
    exact = listed.pages * share[prefer] + mood.gain[prefer]
    rows = listed.rows.astype(np.int64)
    if listed.outside is None:
        return Candidates(rows, exact)
    ahead = (exact > (listed.outside * share + mood.gain).max() + ROUNDING).nonzero()[0]
    return Candidates(rows[ahead], exact[ahead])


def _of(ahead: Candidates, allowed: Eligible, k: int) -> Candidates | None:
    """Return the best that are allowed, or None where there are too few."""
    here = ahead.among(allowed, len(ahead.rows))
    return here.best(k) if len(here.rows) >= min(k, allowed.count) else None


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


def _by_impressions(snapshot: Snapshot) -> Words:
    """Return the creatives whose campaigns pay for impressions, and those that pay nothing."""
    paid = [c.house or c.terms.kind == "impression" for c in snapshot.manifest.campaigns]
    return Eligible.from_mask(np.array(paid, bool)[snapshot.campaign]).words


def _having(snapshot: Snapshot, needs: NativeNeeds) -> Words:
    """Return the creatives that have what is needed of a native one; banners need nothing of it."""
    has = dict(zip(NATIVE, snapshot.native.T, strict=True))
    enough = np.ones(snapshot.rows, bool)
    for name in NATIVE[:4]:
        most = getattr(needs, name)
        if most is not None:
            enough &= (has[name] > 0) & (has[name] <= most)
    if needs.image is not None:
        w, h = needs.image
        if needs.exact:
            enough &= (has["w"] == w) & (has["h"] == h)
        else:
            enough &= (has["w"] >= max(1, w)) & (has["h"] >= max(1, h))
    native = snapshot.bitmaps.names.get("kind:native")
    found = Eligible.from_mask(enough).words
    return found if native is None else found | ~snapshot.bitmaps.words[native]


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
