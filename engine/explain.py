"""Why a creative runs here or does not, why a campaign delivers or does not, and how well each facet is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import chain, islice

import numpy as np
from msgspec import Struct

from contexts.context import Context
from engine.catalog import View
from engine.decide import Engine
from engine.decision import MessageAnswer, PageAnswer, Placement, Ranked, Reason
from engine.errors import NotFound
from engine.index import Eligible, Rows, Words
from engine.rank import DIGITS
from engine.reasons import nearest_topic, page_answer, reasons, score_of
from engine.retrieve import NESTED, eligible, predicates, retrieve
from engine.scene import Scene, Tier
from engine.sections import OTHER
from engine.snapshot import Snapshot
from engine.targeting import Predicate, conjunction
from privacy.visit import Visit

ANYWHERE = Placement("any")
MOST_PAGES = 1000  # that a diagnosis looks at
MOST_MESSAGES = 5  # that are told of a creative
MOST_ROWS = 20  # of a campaign's creatives whose nested rules it looks into


class Likely(Struct, frozen=True):
    """A message that a creative may show here, and the chance that it does."""

    chance: float
    headline: str
    body: str
    cta: str
    offer: str
    message: MessageAnswer


class Considered(Struct, frozen=True, omit_defaults=True):
    """A creative, how well it fits, and the rules that keep it out: with none of them it competes."""

    creative: str
    campaign: str
    advertiser: str
    score: float
    value: float  # score × bid in micro-units
    reasons: tuple[Reason, ...]
    excluded_by: tuple[str, ...]
    messages: tuple[Likely, ...] = ()  # of the one creative that was asked for: its likeliest


class Explanation(Struct, frozen=True):
    """What was understood of a page view, and the creatives that fit it best, the excluded ones among them."""

    snapshot: int
    page: PageAnswer
    signals: dict[str, str | None]
    missing: tuple[str, ...]
    eligible: int
    creatives: int
    candidates: tuple[Considered, ...]


class Diagnosis(Struct, frozen=True):
    """A campaign's rules against the pages that are known, as of now."""

    campaign: str
    creatives: int
    stopped: tuple[str, ...]  # what stops it everywhere: paused, flight over, not approved
    pages: int  # that were looked at: each known page on each publisher's site, or a sample of them
    pages_known: int
    could_run_on: int  # pages on which at least one of its creatives passes every rule
    would_show_on: int  # pages on which one of them is among the first
    kept_out_by: dict[str, int]  # rule → pages on which it keeps the campaign's creatives out
    outbid_on: int  # pages on which it could run, but others fit or pay better


class FacetQuality(Struct, frozen=True):
    """How much of a facet is known, how old it is, what failed."""

    facet: str
    known: int
    of: int
    oldest_s: float | None
    failures: int
    note: str


def explain(
    engine: Engine,
    visit: Visit,
    deadline: float,
    placement: Placement = ANYWHERE,
    most: int = 20,
    creative: str | None = None,
) -> Explanation:
    """Explain one page view: the `most` best creatives of the whole catalogue, with what excludes each.

    With `creative` that one alone, however well it fits, and what it would say. Raises NotFound.
    """
    scene = engine.scene(visit, deadline)
    view, snapshot = scene.view, scene.view.snapshot
    topics, senses = engine.gatherer.topics(scene.context.page), engine.gatherer.senses
    rules, house_rules = (
        [*predicates(view, scene.context, topics, placement, senses, house=house), *_live_rules(view)]
        for house in (False, True)
    )
    nested = snapshot.conditions
    met = nested.met(scene.context, topics, senses) if nested else None
    everyone = Eligible.from_mask(np.ones(snapshot.rows, bool))
    asked = everyone if creative is None else _only(snapshot, creative)
    found = retrieve(view, engine.matcher.soft(scene), asked, most)
    considered = []
    matches = found.matches.astype(float).round(DIGITS).tolist()  # as they are ranked
    for row, match in zip(found.rows.tolist(), matches, strict=True):
        held_against = house_rules if snapshot.entry(row).house else rules
        about = nearest_topic(snapshot, scene.context.page, engine.topics, row)
        why = reasons(
            snapshot, scene.context, engine.matcher.soft(scene), Ranked(row, match, 0.0, 0, match), about
        )
        considered.append(
            Considered(
                creative=snapshot.creative_id(row),
                campaign=snapshot.entry(row).id,
                advertiser=snapshot.advertiser(row),
                score=score_of(why),
                value=round(match * float(snapshot.bid[row])),
                reasons=why,
                excluded_by=(
                    *(name for name, words in held_against if name != NESTED and not _holds(words, row)),
                    *(() if met is None else nested.unmet(row, met)),
                ),
                messages=() if creative is None else _messages(engine, scene, placement, row),
            )
        )
    passing = (eligible(view, rules, ~snapshot.house), eligible(view, house_rules, snapshot.house))
    return Explanation(
        snapshot=snapshot.version,
        page=page_answer(scene.context.page),
        signals={
            **signals(scene.context),
            "segment": engine.segment(scene.kept, scene.context).id,
        },
        missing=scene.context.missing,
        eligible=sum(one.count for one in passing),
        creatives=snapshot.rows,
        candidates=tuple(considered),
    )


def _live_rules(view: View) -> list[Predicate]:
    """Return what keeps a creative from running anywhere, each told of the first that does."""
    snapshot = view.snapshot
    allowed = snapshot.bitmaps.words[snapshot.bitmaps.names["allowed"]]
    spent = np.array([c.id in view.stopped and not c.house for c in snapshot.manifest.campaigns], bool)
    going = ~Eligible.from_mask(spent[snapshot.campaign]).words
    return [
        ("of a format and size that its own rules take, and not sold out", allowed),
        ("active, and not changed a moment ago", view.on | ~allowed),
        ("within its budget and its share of the time", going),
        (
            "in its flight, and its offer's dates",
            view.paid | view.house | view.guaranteed | ~view.on | ~going,
        ),
    ]


def _only(snapshot: Snapshot, creative: str) -> Eligible:
    row = snapshot.row_of(creative)
    if row is None:
        raise NotFound(f"creative {creative}: not in the catalogue, expected the id of a creative")
    mask = np.zeros(snapshot.rows, bool)
    mask[row] = True
    return Eligible.from_mask(mask)


def _messages(engine: Engine, scene: Scene, placement: Placement, row: int) -> tuple[Likely, ...]:
    """Return the likeliest messages of a creative that is put together from parts."""
    mixture = engine.messages.mixture(scene, placement, row, scene.context.section or OTHER)
    if mixture is None:
        return ()
    likeliest = np.argsort(-mixture.chance, kind="stable")[:MOST_MESSAGES].tolist()
    told = []
    for drawn in likeliest or [-1]:  # where none may be shown, the default message
        says = mixture.answer(drawn).assets
        chance = round(mixture.chosen(drawn).propensity, 6)
        told.append(Likely(chance, says.headline, says.body, says.cta, says.offer, mixture.explained(drawn)))
    return tuple(told)


def diagnose(engine: Engine, campaign: str, now: datetime, first: int = 3) -> Diagnosis:
    """Hold a campaign's rules against every known page, on a desktop at this hour, for each publisher.

    Where these are more than MOST_PAGES, so many of them are looked at, evenly spread. Raises NotFound.
    """
    view = engine.catalog.view(now)
    snapshot = view.snapshot
    rows = _rows_of(snapshot, campaign)
    kept_out: Counter[str] = Counter()
    could = shown = 0
    mine = np.zeros(snapshot.rows, bool)
    mine[rows] = True
    own = Eligible.from_mask(mine).words
    running = own & (view.paid | view.house | view.guaranteed)
    # What does not run anyway keeps nobody out; where nothing runs, the rules are told all the same.
    held_against = Eligible(running if running.any() else own)
    house = len(rows) > 0 and snapshot.entry(int(rows[0])).house
    publishers, known = list(snapshot.publishers.values()), engine.gatherer.pages.known()
    total = len(publishers) * len(known)
    pages = min(total, MOST_PAGES)
    for number in range(pages):
        publisher, at = divmod(number * total // pages, len(known))
        context = engine.gatherer.on_page(publishers[publisher], known[at], now)
        scene = engine.scene_of(view, context)
        topics, senses = engine.gatherer.topics(context.page), engine.gatherer.senses
        rules = predicates(view, context, topics, ANYWHERE, senses, house=house)
        if not (conjunction(rules, snapshot.width) & running).any():
            if not held_against.count:
                continue
            told = [(name, words) for name, words in rules if name != NESTED]
            rows_told = held_against.rows[:MOST_ROWS].tolist()
            unmet: list[set[str]] = [set() for _ in rows_told]
            if nested := snapshot.conditions:
                met = nested.met(context, topics, senses)
                unmet = [set(nested.unmet(row, met)) for row in rows_told]
            of_all = {name for name, words in told if not (held_against.words & words).any()}
            of_all |= set.intersection(*unmet)
            # Where no rule keeps all of them out, each is kept out by its own.
            of_some = set().union(*unmet, *({n for n, w in told if not _holds(w, row)} for row in rows_told))
            kept_out.update(of_all or (f"{name} (some of its creatives)" for name in of_some))
            continue
        could += 1
        shown += any(mine[row] for row in _first(engine, scene, first))
    return Diagnosis(
        campaign=campaign,
        creatives=len(rows),
        stopped=_stopped(view, rows, now),
        pages=pages,
        pages_known=total,
        could_run_on=could,
        would_show_on=shown,
        kept_out_by=dict(kept_out.most_common()),
        outbid_on=could - shown,
    )


def quality(engine: Engine, now: datetime) -> tuple[FacetQuality, ...]:
    """Say of each facet how much is known, how old it is and what failed."""
    pages, table = engine.gatherer.pages, engine.gatherer.table
    counts, known = pages.counts, pages.known()
    with_vector = sum(facts.vector is not None for facts in known)
    better = sum(facts.better for facts in known)
    doubtful = sum(facts.confidence < 1 for facts in known)
    page = FacetQuality(
        "page",
        with_vector,
        len(known),
        None,
        counts.failed + pages.background.failed + pages.fetching.failed + counts.fetches_failed,
        f"{better} with the better vector, {doubtful} of few words and so of less weight, "
        f"{counts.without_vector} views without time to encode, {counts.unknown} views of nothing known",
    )
    if table is None:
        weather = FacetQuality("weather", 0, 0, None, 0, "no source is configured: only what callers state")
    else:
        found = table.quality(now)
        note = found.last_fault or "readings lose weight once they are past their time"
        weather = FacetQuality("weather", found.known, found.watched, found.oldest_s, found.failures, note)
    publishers = engine.catalog.view(now).snapshot.publishers.values()
    placed = sum(p.country is not None for p in publishers)
    place = FacetQuality("place", placed, len(publishers), None, 0, "publishers that state their country")
    always = "read from every request's own headers or body"
    device = FacetQuality("device", len(publishers), len(publishers), None, 0, always)
    time = FacetQuality(
        "time", len(publishers), len(publishers), None, 0, "the clock, in each publisher's zone"
    )
    return page, device, time, weather, place


def signals(context: Context) -> dict[str, str | None]:
    """Say what else than the page was known."""
    clock, weather = context.clock, context.weather
    return {
        "device": context.device.cls,
        "platform": context.device.platform,
        "part_of_day": clock.part,
        "weekday": clock.weekday,
        "season": clock.season,
        "daylight": clock.daylight,
        "holiday": clock.holiday,
        "country": context.place.country,
        "region": context.place.region,
        "condition": weather.condition if weather else None,
        "temperature": weather.temperature if weather else None,
        "weather_confidence": f"{weather.confidence:.2f}" if weather else None,
        "consented": ", ".join(context.told.used) or None,
    }


def _holds(words: Words, row: int) -> bool:
    return bool(int(words[row >> 6]) >> (row & 63) & 1)


def _first(engine: Engine, scene: Scene, most: int) -> Iterator[int]:
    """Yield the rows that would be shown first: the guaranteed ones, those that compete, then the house's."""
    tiers: tuple[Tier, ...] = ("guaranteed", "paid", "house")
    picks = chain.from_iterable(engine.matcher.shortlist(scene, ANYWHERE, tier=tier) for tier in tiers)
    return islice((pick.row for pick in picks), most)


def _rows_of(snapshot: Snapshot, campaign: str) -> Rows:
    for at, entry in enumerate(snapshot.manifest.campaigns):
        if entry.id == campaign:
            return np.flatnonzero(snapshot.campaign == at)
    raise NotFound(f"campaign {campaign}: not in the catalogue, expected the id of a campaign")


def _stopped(view: View, rows: Rows, now: datetime) -> tuple[str, ...]:
    """Return what keeps all of these creatives from running anywhere."""
    snapshot, second = view.snapshot, int(now.timestamp())
    found = []
    if not len(rows):
        return ("it has no creatives",)
    if not Eligible(snapshot.bitmaps.words[snapshot.bitmaps.names["allowed"]]).holds(rows).any():
        found.append("its format or size rules exclude its own creatives, or their offers are sold out")
    elif not Eligible(view.on).holds(rows).any():
        found.append("paused, or changed a moment ago")
    if (snapshot.start[rows] > second).all():
        found.append("its flight or its offers have not begun")
    if (snapshot.end[rows] <= second).all():
        found.append("its flight or its offers are over")
    if snapshot.entry(int(rows[0])).id in view.stopped:
        found.append(
            "its budget is spent, in all, for today or for now; or its share cap lets others have their turn"
        )
    for publisher, words in view.approved.items():
        if not Eligible(words).holds(rows).any():
            found.append(f"not approved by publisher {publisher}, or stopped there")
    return tuple(found)
