"""One decision, from a visit to its answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from contexts.context import Admitted, Context, PageFacts, Vector
from contexts.topic_vectors import TopicVectors
from engine.assemble import with_why
from engine.background import Background
from engine.cache import Bounded
from engine.campaign import Size
from engine.catalog import Catalog, View
from engine.decision import Answer, Dsa, Filled, Offer, PageAnswer, Placement, PrivacyAnswer, Ranked, is_usual
from engine.gather import Gatherer
from engine.index import Eligible, Rows, Words
from engine.learn.diet import Facet
from engine.learn.explore import worlds
from engine.message import Mixer, Mixture
from engine.rank import Shortlist, Standing, share_out
from engine.reasons import nearest_topic, page_answer, reasons, score_of
from engine.record import Recorder, Shown, prices
from engine.retrieve import (
    LIST_LENGTH,
    Moods,
    PageList,
    Soft,
    limits_of,
    page_list,
    retrieve_together,
    soften,
    surroundings,
    taken,
)
from engine.sections import OTHER, section_of
from engine.snapshot import Snapshot, id_hash
from engine.targeting import narrow, page_clauses
from engine.why import WhyLinks, trace_of
from privacy.consent import Consented
from privacy.visit import Visit

COMPETING = 16  # candidates for a placement: chosen by match, then ordered by match × bid
LISTED_FROM = (
    8  # searches of a page after which its list is made: it costs as much as so many twice or thrice
)
WORLDS = 16  # ways in which a model's doubts about creatives may fall; a request is decided in one of them
RESPONSES = (0.5, 2.0)  # no creative is taken to be clicked less or more often than so, beside others
CHANCE_BYTES = 7
LIST_WITHIN_S = 60.0  # a page's list that could not be begun by then is not made

# Gives the consented signals that may act on a page of the snapshot's catalogue, or None.
Admit = Callable[[PageFacts, Snapshot], Consented[Admitted] | None]
Key = tuple[object, ...]
Tier = Literal["guaranteed", "paid", "house"]  # who comes first, whatever fits


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for the placements of a page, and told."""

    filled: tuple[Filled, ...]
    unfilled: tuple[str, ...]
    page: PageAnswer | None
    shown: tuple[Shown, ...]  # what fills the placements, and what its events cost
    asked: int  # creatives
    mixtures: tuple[Mixture | None, ...] = ()  # of what fills the placements, where any is put together


class Settled:
    """What was worked out for one scene, to be found again."""

    __slots__ = ("answers", "choices", "mixtures", "shortlists", "soft", "worlds")

    def __init__(self) -> None:
        self.soft: Soft | None = None
        self.shortlists: Bounded[Key, Shortlist] = Bounded(16)
        self.answers: Bounded[Key, Filled] = Bounded(64)
        self.choices: Bounded[Key, Choice] = Bounded(64)
        self.mixtures: Bounded[Key, Mixture] = Bounded(64)
        self.worlds: Bounded[Key, Worlds] = Bounded(4)  # by placements


class Lots:
    """What a model and its worlds hold for the creatives of a snapshot, filled in as they are looked at."""

    __slots__ = ("drawn", "known", "places")

    def __init__(self, rows: int) -> None:
        self.known = np.zeros(rows, bool)
        self.places = np.zeros(rows, np.intp)
        self.drawn = np.zeros((rows, WORLDS), np.float32)


class Kept:
    """What was worked out over one view, to be found again; it goes when the view goes."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.moods = Moods(view.snapshot)
        self.scenes: Bounded[Key, Settled] = Bounded(2048)
        self.grounds: Bounded[Key, Words] = Bounded(256)
        self.clauses: Bounded[PageFacts, tuple[tuple[int, ...], ...]] = Bounded(4096)
        self.focused: Bounded[PageFacts, Vector] = Bounded(4096)
        self.page_lists: Bounded[Key, PageList] = Bounded(512)
        self.about: Bounded[tuple[PageFacts, int], str] = Bounded(16_384)
        self.asked: Bounded[Key, int] = Bounded(1024)  # searches without a page list
        self.mixers: Bounded[int, Mixer] = Bounded(4096)  # by row
        self._lots: Lots | None = None

    def lots(self, rows: Rows) -> Lots:
        """Return what the worlds draw for creatives, those of `rows` filled in."""
        lots = self._lots
        if lots is None:
            lots = self._lots = Lots(self.view.snapshot.rows)
        missing = rows[~lots.known[rows]]
        if len(missing):
            responses = self.view.policy.responses
            ids = [self.view.snapshot.creative_id(row) for row in missing.tolist()]
            seed = 0 if responses.model is None else responses.model.seed
            lots.places[missing] = responses.places([(id, "") for id in ids])
            lots.drawn[missing] = worlds(seed, np.array([id_hash(id) for id in ids], np.uint64), WORLDS)
            lots.known[missing] = True  # last: another thread that fills the same finds the same
        return lots


@dataclass(frozen=True, slots=True, eq=False)
class Worlds:
    """How the ranking for some placements may fall out, by a model's doubts."""

    responses: tuple[NDArray[np.float64], ...]  # of each placement's candidates, (candidates, WORLDS)
    often: Counter[tuple[int, int]]  # (placement, row) → in how many worlds it is shown there


@dataclass(frozen=True, slots=True)
class Scene:
    """What one request is decided on: the view with what is kept of it, and the context."""

    kept: Kept
    context: Context
    key: Key  # facts that were read anew, or got another vector, are another object
    settled: Settled

    @property
    def view(self) -> View:
        """Return the view of the catalogue."""
        return self.kept.view


class Engine:
    """Chooses creatives for page views, from one frozen view of the catalogue; no network, no database."""

    def __init__(
        self,
        catalog: Catalog,
        gatherer: Gatherer,
        background: Background,
        topics: TopicVectors,
        why_links: WhyLinks,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        request_id: Callable[[], str],
        chance: Callable[[int], bytes],
        recorder: Recorder | None = None,
    ) -> None:
        self.catalog = catalog
        self.gatherer = gatherer
        self.topics = topics
        self._why_links = why_links
        self._background = background
        self._now = now
        self._monotonic = monotonic
        self._request_id = request_id
        self._chance = chance
        self._recorder = recorder
        self._kept: Kept | None = None

    def decide(
        self,
        visit: Visit,
        placements: Sequence[Placement],
        *,
        explain: bool,
        deadline: float,
        admit: Admit | None = None,
        test: bool = False,
        strict: bool = False,
    ) -> Answer:
        """Answer for each placement, in the page's order; `deadline` is in seconds of the monotonic clock.

        `admit` is asked for the reader's consented signals once the page is understood. Past the deadline the best
        found so far goes out, then house creatives, marked degraded. A `test` is not recorded; of a `strict` decision
        no address says anything of the page view, and its impressions are counted here.
        Raises UnknownPublisher.
        """
        return self._decided(visit, placements, explain, deadline, admit, test, strict)[0]

    def offer(
        self,
        visit: Visit,
        placements: Sequence[Placement],
        *,
        deadline: float,
        test: bool,
        block_domains: Sequence[str] = (),
    ) -> tuple[Answer, tuple[Offer, ...]]:
        """Answer as `decide` does, and say of each decision who pays for it, and what.

        `block_domains` are advertisers' that must not show.
        """
        if block_domains:
            blocked = self.catalog.view(self._now()).snapshot.owned(block_domains)
            placements = [replace(one, block_advertisers=blocked) for one in placements]
        answer, snapshot, shown = self._decided(visit, placements, False, deadline, None, test, False)
        return answer, tuple(offer_of(snapshot, one) for one in shown)

    def _decided(
        self,
        visit: Visit,
        placements: Sequence[Placement],
        explain: bool,
        deadline: float,
        admit: Admit | None,
        test: bool,
        strict: bool,
    ) -> tuple[Answer, Snapshot, tuple[Shown, ...]]:
        scene = self.scene(visit, deadline, admit)
        snapshot = scene.view.snapshot
        world = self._drawn(WORLDS) if scene.view.policy.responses.model is not None else None
        section = (
            section_of(snapshot.publishers[visit.publisher], visit.page.url) if snapshot.mixes else OTHER
        )
        key = (tuple(placements), explain, section, world)
        choice, late = scene.settled.choices.get(key), False
        if choice is None:
            ranked, late = self._rank(scene, placements, deadline)
            choice = self._choice(
                scene, placements, ranked, section, None if late else world, explain=explain
            )
            if not late and is_usual(placements):
                scene.settled.choices.put(key, choice)
        if choice.mixtures:
            choice = self._put_together(scene, key, choice, is_usual(placements) and not late)
        filled = choice.filled
        if self._recorder is not None and not test:
            filled = self._recorder.record(scene, visit, choice, strict=strict)
        answer = Answer(
            request_id=self._request_id(),
            decisions=filled,
            unfilled=choice.unfilled,
            degraded=late or scene.context.page.pending,
            missing=scene.context.missing,
            privacy=privacy_answer(visit, scene.context),
            snapshot=scene.view.snapshot.version,
            page=choice.page,
        )
        return answer, scene.view.snapshot, choice.shown

    def _drawn(self, count: int) -> int:
        """Return one of so many numbers, all alike likely."""
        return int.from_bytes(self._chance(CHANCE_BYTES), "big") * count >> 8 * CHANCE_BYTES

    def _put_together(self, scene: Scene, key: Key, choice: Choice, keep: bool) -> Choice:
        """Draw a message for each creative that has several."""
        draws = tuple(
            None if mixture is None else mixture.draw(self._drawn(1 << 52) / (1 << 52))
            for mixture in choice.mixtures
        )
        found = scene.settled.choices.get((key, draws)) if keep else None
        if found is None:
            filled, shown = list(choice.filled), list(choice.shown)
            explain = key[1]
            for at, (mixture, drawn) in enumerate(zip(choice.mixtures, draws, strict=True)):
                if mixture is not None and drawn is not None:
                    chosen = mixture.chosen(drawn)
                    shown[at] = shown[at]._replace(chosen=chosen)
                    filled[at] = msgspec.structs.replace(
                        filled[at],
                        creative=msgspec.Raw(
                            with_why(msgspec.json.encode(mixture.answer(drawn)), filled[at].why_url)
                        ),
                        propensity=round(shown[at].share * chosen.propensity, 6),
                        message=mixture.explained(drawn) if explain else None,
                    )
            found = replace(choice, filled=tuple(filled), shown=tuple(shown))
            if keep:
                scene.settled.choices.put((key, draws), found)
        return found

    def _mixture(self, scene: Scene, placement: Placement, row: int, section: str) -> Mixture | None:
        """Return the messages that a creative may show at a placement; None where it has but one."""
        if placement.native is not None:
            return None  # somebody else's lengths, which the default message was held against
        kept, snapshot = scene.kept, scene.view.snapshot
        mixer = kept.mixers.get(row)
        if mixer is None:
            mixer = snapshot.mixer(row)
            if mixer is None:
                return None
            kept.mixers.put(row, mixer)
        size = _size(mixer, placement)
        key = (row, section, size)
        found = scene.settled.mixtures.get(key)
        if found is None:
            policy = scene.view.policy
            found = mixer.mix(
                scene.context,
                section,
                self._now(),
                limits_of(scene.view, scene.context),
                policy.responses,
                policy.challenger,
                self._facets(scene.context),
                size,
            )
            scene.settled.mixtures.put(key, found)
        return found

    def _facets(self, context: Context) -> dict[Facet, str]:
        """Return a context's values as released tables have them."""
        topics, weather = context.page.topics, context.weather
        return {
            "topic": self.gatherer.pages.model.taxonomy.tier_1(topics[0].id) if topics else "",
            "part": context.clock.part,
            "weather": (weather.condition if weather is not None else None) or "",
            "device": context.device.cls,
        }

    def _worlds(
        self,
        scene: Scene,
        placements: Sequence[Placement],
        ranked: Sequence[Shortlist],
        counts: Sequence[int],
        standing: Standing,
    ) -> Worlds:
        """Return how the ranking may fall out, beside what stands on the page already."""
        key = (tuple(placements), tuple(counts))  # who stands there is settled by scene and placements
        found = scene.settled.worlds.get(key)
        if found is None:
            responses = tuple(self._responses(scene, one.rows) for one in ranked)
            often: Counter[tuple[int, int]] = Counter()
            if list(counts) == [1] and len(ranked[0]) and not standing.taken:
                often.update((0, row) for row in ranked[0].winners(responses[0]).tolist())
            else:
                for world in range(WORLDS):
                    fallen = [one.under(r[:, world]) for one, r in zip(ranked, responses, strict=True)]
                    picks = enumerate(share_out(fallen, counts, standing.copy()))
                    often.update((at, pick.row) for at, some in picks for pick in some)
            found = Worlds(responses, often)
            if is_usual(placements):
                scene.settled.worlds.put(key, found)
        return found

    def _responses(self, scene: Scene, rows: Rows) -> NDArray[np.float64]:
        """Return (rows, WORLDS) by what factor each creative is clicked more often, as each world has it."""
        responses, lots = scene.view.policy.responses, scene.kept.lots(rows)
        mean, sd = responses.beliefs(lots.places[rows], responses.columns(self._facets(scene.context)))
        drawn = 1.0 + mean[:, None] + sd[:, None] * lots.drawn[rows]
        return np.clip(drawn, *RESPONSES, out=drawn)

    def page(self, visit: Visit, deadline: float) -> PageFacts:
        """Return what is known of a visit's page. Raises UnknownPublisher."""
        now = self._now()
        return self.gatherer.gather(visit, self.catalog.view(now).snapshot, now, deadline).page

    def scene(self, visit: Visit, deadline: float, admit: Admit | None = None) -> Scene:
        """Gather the context of a visit, with the signals that `admit` lets in."""
        now = self._now()
        view = self.catalog.view(now)
        context = self.gatherer.gather(visit, view.snapshot, now, deadline)
        if admit is not None and (consented := admit(context.page, view.snapshot)) is not None:
            context = replace(context, consented=consented)
        return self.scene_of(view, context)

    def scene_of(self, view: View, context: Context) -> Scene:
        """Set a context before a view."""
        kept = self._kept
        if kept is None or kept.view is not view:
            kept = self._kept = Kept(view)
        key = (context.page, _key(view, context))
        settled = kept.scenes.get(key)
        if settled is None:
            settled = Settled()
            kept.scenes.put(key, settled)
        return Scene(kept, context, key, settled)

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
            view, context = scene.view, scene.context
            publisher = view.snapshot.publishers[context.publisher]
            running: dict[Tier, Words] = {
                "guaranteed": view.guaranteed,
                "paid": view.paid,
                "house": view.house,
            }
            ground, house = self._ground(scene) & running[tier], tier == "house"
            allowed = [
                Eligible(ground & taken(view, publisher, placements[at], house=house)) for at in missing
            ]
            listed = self._page_list(scene) if tier == "paid" else None
            candidates = retrieve_together(view, self.soft(scene), allowed, most, listed)
            for at, best in zip(missing, candidates, strict=True):
                made = found[at] = Shortlist(view.snapshot, best)
                if is_usual(placements):
                    kept.put(keys[at], made)
        return found  # type: ignore[return-value]  # none is missing any more

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
        page, kept = scene.context.page, scene.kept
        if page.vector is None:
            return None
        found = kept.focused.get(page)
        if found is None:
            found = scene.view.snapshot.focus(page.vector)
            kept.focused.put(page, found)
        return found

    def _ground(self, scene: Scene) -> Words:
        """Return the creatives that may run in this context, whatever the placement."""
        kept = scene.kept
        found = kept.grounds.get(scene.key)
        if found is None:
            bitmaps, page = scene.view.snapshot.bitmaps, scene.context.page
            clauses = kept.clauses.get(page)
            if clauses is None:
                rules = page_clauses(bitmaps, page, self.gatherer.topics(page))
                clauses = tuple(at for _, at in rules)
                kept.clauses.put(page, clauses)
            found = narrow(surroundings(scene.view, scene.context), bitmaps, clauses)
            conditions = scene.view.snapshot.conditions
            if conditions:
                met = conditions.met(scene.context, self.gatherer.topics(page), self.gatherer.senses)
                np.bitwise_and(found, conditions.passing(met), out=found)
            kept.grounds.put(scene.key, found)
        return found

    def _rank(
        self, scene: Scene, placements: Sequence[Placement], deadline: float
    ) -> tuple[Sequence[Iterable[Ranked]], bool]:
        most = max(COMPETING, 8 * sum(p.count for p in placements))
        if self._monotonic() < deadline:
            return self._shortlists(scene, placements, tier="paid", most=most), False
        kept = scene.settled.shortlists
        known = [kept.get(_place_key(placement, "paid", most)) for placement in placements]
        return [() if one is None else one for one in known], None in known

    def _add(
        self,
        scene: Scene,
        placements: Sequence[Placement],
        chosen: list[list[Ranked]],
        standing: Standing,
        tier: Tier,
    ) -> list[list[Ranked]]:
        """Fill what is left with a tier's creatives, in the order of their matches; the house bids in no auction."""
        missing = [
            0 if p.auction and tier == "house" else p.count - len(picks)
            for picks, p in zip(chosen, placements, strict=True)
        ]
        if not any(missing):
            return chosen
        ranked = [
            self.shortlist(scene, p, tier=tier) if need else ()
            for p, need in zip(placements, missing, strict=True)
        ]
        more = share_out(ranked, missing, standing)
        return [picks + others for picks, others in zip(chosen, more, strict=True)]

    def _page_list(self, scene: Scene) -> PageList | None:
        """Return the page's list if it was made; else, once a page was searched often, have it made for the next."""
        page, kept = scene.context.page, scene.kept
        vector = page.vector
        if vector is None or kept.view.snapshot.rows <= LIST_LENGTH:
            return None
        key = (page.content_hash, page.better)
        found = kept.page_lists.get(key)
        if found is None:
            asked = kept.asked.get(key, 0) + 1
            kept.asked.put(key, asked)
            if asked == LISTED_FROM:
                self._background.submit(
                    lambda: kept.page_lists.put(key, page_list(kept.view, vector)), LIST_WITHIN_S
                )
        return found

    def _choice(
        self,
        scene: Scene,
        placements: Sequence[Placement],
        ranked: Sequence[Iterable[Ranked]],
        section: str,
        world: int | None,
        *,
        explain: bool,
    ) -> Choice:
        """Choose what fills the placements; `section` is the page's, `world` the one in which it is decided."""
        snapshot, shares = scene.view.snapshot, {}
        standing = Standing(labels=snapshot.labels if snapshot.separates else None)
        first: list[list[Ranked]] = [[] for _ in placements]
        if scene.view.guaranteed.any():
            first = self._add(scene, placements, first, standing, "guaranteed")
        counts = [p.count - len(picks) for picks, p in zip(first, placements, strict=True)]
        if world is None:
            chosen = share_out(ranked, counts, standing)
        else:
            lists = cast("Sequence[Shortlist]", ranked)
            fall = self._worlds(scene, placements, lists, counts, standing)
            ranked = [one.under(r[:, world]) for one, r in zip(lists, fall.responses, strict=True)]
            chosen = share_out(ranked, counts, standing)
            shares = {
                pick.row: max(1, fall.often[at, pick.row]) / WORLDS
                for at, picks in enumerate(chosen)
                for pick in picks
            }
        chosen = [picks + more for picks, more in zip(first, chosen, strict=True)]
        chosen = self._add(scene, placements, chosen, standing, "house")
        filled = [
            (placement, pick) for placement, picks in zip(placements, chosen, strict=True) for pick in picks
        ]
        mixtures: tuple[Mixture | None, ...] = ()
        if snapshot.mixes:
            mixtures = tuple(self._mixture(scene, p, pick.row, section) for p, pick in filled)
        shown = prices(snapshot, scene.context.publisher, placements, ranked, chosen)
        return Choice(
            tuple(self._filled(scene, p.id, pick, explain, shares.get(pick.row)) for p, pick in filled),
            tuple(p.id for p, picks in zip(placements, chosen, strict=True) if not picks),
            page_answer(scene.context.page) if explain else None,
            tuple(one._replace(share=shares.get(one.row, 1.0)) for one in shown) if shares else tuple(shown),
            sum(placement.count for placement in placements),
            mixtures if any(mixtures) else (),
        )

    def _filled(
        self, scene: Scene, placement: str, pick: Ranked, explain: bool, share: float | None = None
    ) -> Filled:
        key = (pick.row, pick.match, placement, explain, share)
        found = scene.settled.answers.get(key)
        if found is None:
            snapshot = scene.view.snapshot
            record = snapshot.record(pick.row)
            entry = snapshot.entry(pick.row)
            why = reasons(snapshot, scene.context, self.soft(scene), pick, self._about(scene, pick.row))
            trace = trace_of(scene.context, snapshot.creative_id(pick.row), entry, why)
            why_url = self._why_links.url(trace)
            found = Filled(
                placement=placement,
                creative=msgspec.Raw(with_why(record.creative, why_url)),
                click_url=record.click_url,
                score=score_of(why),
                reasons=why if explain else (),
                house=entry.house,
                dsa=Dsa(entry.behalf, entry.paid_by or entry.behalf, trace.params),
                why_url=why_url,
                propensity=share,
            )
            scene.settled.answers.put(key, found)
        return found

    def _about(self, scene: Scene, row: int) -> str:
        """Say which of the page's topics is nearest to a creative."""
        page, kept = scene.context.page, scene.kept.about
        found = kept.get((page, row))
        if found is None:
            found = nearest_topic(scene.view.snapshot, page, self.topics, row)
            kept.put((page, row), found)
        return found


def offer_of(snapshot: Snapshot, shown: Shown) -> Offer:
    """Say what is paid for what was chosen, and what it advertises."""
    entry = snapshot.entry(shown.row)
    return Offer(shown.price_micros, snapshot.manifest.domains[entry.advertiser], entry.categories)


def _size(mixer: Mixer, placement: Placement) -> Size | None:
    """Return the size that a creative takes at a placement: the first that is asked for and there."""
    sizes = mixer.kit.creative.sizes
    return next((size for size in placement.sizes if size in sizes), sizes[0] if sizes else None)


def privacy_answer(visit: Visit, context: Context) -> PrivacyAnswer:
    """Say what a decision was based on."""
    gpc: Literal["honored"] | None = "honored" if visit.gpc else None
    if context.consented is None or not context.told.used:
        return PrivacyAnswer(gpc=gpc)
    return PrivacyAnswer("consent", gpc, context.told.used, context.consented.consent.record)


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
    )


def _key(view: View, context: Context) -> Key:
    """Return what matching can see of a context beside its page: with the same page, the same creatives."""
    clock, weather, place = context.clock, context.weather, context.place
    told = None if context.consented is None else context.consented.value
    return (
        context.publisher,
        context.device.cls,
        context.device.platform,
        place.country,
        place.region,
        (weather.condition, weather.temperature, weather.confidence) if weather else None,
        clock.part,
        clock.weekday,
        clock.season,
        clock.holiday,
        tuple(view.moments(clock.at).values()),
        view.snapshot.conditions.around(context),
        told,
    )
