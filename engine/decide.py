"""One decision, from a visit to its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Literal, cast

import msgspec

from contexts.context import Admitted, Context, PageFacts, SegmentFacts
from contexts.rungs import LOTS, hold_out, put_on, uses_model
from contexts.segments import Segments
from contexts.topic_vectors import TopicVectors
from engine.assemble import with_why
from engine.background import Background
from engine.catalog import Catalog, View
from engine.chance import Chance
from engine.decision import Answer, Dsa, Filled, Offer, Placement, PrivacyAnswer, Ranked, is_usual
from engine.gather import Gatherer
from engine.matcher import COMPETING, Matcher, competing
from engine.message import Mixture
from engine.messages import Messages
from engine.rank import Further, Shortlist, Standing, share_out
from engine.reasons import nearest_topic, page_answer, reasons, score_of, unread_of
from engine.record import Recorder, Shown, prices
from engine.scene import Choice, Kept, Scene, Settled, Tier, scene_key
from engine.sections import OTHER, about, section_of
from engine.snapshot import Snapshot
from engine.why import WhyLinks, trace_of
from engine.worlds import WORLDS, worlds_of
from privacy.consent import Consented
from privacy.visit import Visit

# Gives the consented signals that may act on a page of the snapshot's catalogue, or None.
Admit = Callable[[PageFacts, Snapshot], Consented[Admitted] | None]


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
        ladder_percent: int = 0,
        holdout_percent: int = 0,
    ) -> None:
        self.catalog = catalog
        self.gatherer = gatherer
        self.topics = topics
        self.matcher = Matcher(gatherer, background, monotonic)
        self._why_links = why_links
        self._now = now
        self._request_id = request_id
        self._chance = Chance(chance)
        self.messages = Messages(gatherer, now, self._chance)
        self._recorder = recorder
        self._ladder_percent = ladder_percent  # of page views, that are put on a rung by lot
        self._holdout_percent = (
            holdout_percent  # of the others, that are held out; as many are compared with them
        )
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
        scene = self.scene(visit, deadline, admit, lots=not (test or visit.ivt))
        snapshot = scene.view.snapshot
        learned = scene.view.policy.responses.model is not None and uses_model(scene.context)
        world = self._chance.below(WORLDS) if learned else None
        section = (
            section_of(snapshot.publishers[visit.publisher], visit.page.url) if snapshot.mixes else OTHER
        )
        key = (tuple(placements), explain, section, world)
        choice, late, usual = scene.settled.choices.get(key), False, is_usual(placements)
        if choice is None:
            ranked, late = self.matcher.rank(scene, placements, deadline)
            choice = self._choice(
                scene, placements, ranked, section, None if late else world, late, explain=explain
            )
            if not late and usual:
                scene.settled.choices.put(key, choice)
        if choice.mixtures:
            choice = self.messages.put_together(scene, key, choice, keep=usual and not late)
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

    def page(self, visit: Visit, deadline: float) -> PageFacts:
        """Return what is known of a visit's page. Raises UnknownPublisher."""
        now = self._now()
        return self.gatherer.gather(visit, self.catalog.view(now).snapshot, now, deadline).page

    def scene(
        self, visit: Visit, deadline: float, admit: Admit | None = None, *, lots: bool = False
    ) -> Scene:
        """Gather the context of a visit, with the signals that `admit` lets in; with `lots`, some go on a rung."""
        now = self._now()
        view = self.catalog.view(now)
        context = self.gatherer.gather(visit, view.snapshot, now, deadline)
        if admit is not None and (consented := admit(context.page, view.snapshot)) is not None:
            context = replace(context, consented=consented)
        if lots and self._ladder_percent and self._chance.below(100) < self._ladder_percent:
            context = put_on(context, self._chance.below(len(LOTS)), self._chance.below(2))
        elif lots and self._holdout_percent and self._chance.below(100) < 2 * self._holdout_percent:
            context = hold_out(context, self._chance.below(2))
        return self.scene_of(view, context)

    def scene_of(self, view: View, context: Context) -> Scene:
        """Set a context before a view."""
        kept = self._kept
        if kept is None or kept.view is not view:
            kept = self._kept = Kept(view)
        if context.rung == "segment" and context.segment is None:
            context = replace(context, segment=self.segment(kept, context))
        key = (context.page, scene_key(view, context))
        settled = kept.scenes.get(key)
        if settled is None:
            before = kept.choices.get(key)
            settled = Settled(before)
            if before is None:
                kept.choices.put(key, settled.choices)
            else:
                kept.scenes.put(key, settled)
        return Scene(kept, context, key, settled)

    def segment(self, kept: Kept, context: Context) -> SegmentFacts:
        """Return the segment that a page view falls into, and what that tells."""
        publisher = kept.view.snapshot.publishers[context.publisher]
        found = kept.segments.get(publisher.id)
        if found is None:
            taxonomy = self.gatherer.pages.model.taxonomy
            found = Segments.of(publisher.segments, partial(about, publisher, self.topics, taxonomy))
            kept.segments.put(publisher.id, found)
        return found.facts(context)

    def _choice(
        self,
        scene: Scene,
        placements: Sequence[Placement],
        ranked: Sequence[Iterable[Ranked]],
        section: str,
        world: int | None,
        late: bool,
        *,
        explain: bool,
    ) -> Choice:
        """Choose what fills the placements; `section` is the page's, `world` the one in which it is decided.

        Where it is `late`, of those that compete no more are looked for than `ranked` holds.
        """
        snapshot, shares = scene.view.snapshot, {}
        standing = Standing(labels=snapshot.labels if snapshot.separates else None)
        first: list[list[Ranked]] = [[] for _ in placements]
        if scene.view.guaranteed.any():
            first = self._add(scene, placements, first, standing, "guaranteed")
        counts = [p.count - len(picks) for picks, p in zip(first, placements, strict=True)]
        further = None if late else self._further(scene, placements, "paid", competing(placements))
        behind: list[list[Shortlist]] = [[] for _ in placements]
        if world is None:
            chosen = share_out(ranked, counts, standing, _noting(further, behind))
        else:
            lists = cast("Sequence[Shortlist]", ranked)
            facets = self.gatherer.facets(scene.context)
            fall = worlds_of(scene, facets, placements, lists, counts, standing, further)
            ranked = [one.under(r[:, world]) for one, r in zip(lists, fall.responses, strict=True)]
            chosen = share_out(ranked, counts, standing, _noting(further, behind))
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
            mixtures = tuple(self.messages.mixture(scene, p, pick.row, section) for p, pick in filled)
        looked_at = [(one, *others) for one, others in zip(ranked, behind, strict=True)]
        shown = prices(snapshot, scene.context.publisher, placements, looked_at, chosen)
        return Choice(
            tuple(self._filled(scene, p.id, pick, explain, shares.get(pick.row)) for p, pick in filled),
            tuple(p.id for p, picks in zip(placements, chosen, strict=True) if not picks),
            page_answer(scene.context.page) if explain else None,
            tuple(one._replace(share=shares.get(one.row, 1.0)) for one in shown) if shares else tuple(shown),
            sum(placement.count for placement in placements),
            mixtures if any(mixtures) else (),
        )

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
            self.matcher.shortlist(scene, p, tier=tier) if need else ()
            for p, need in zip(placements, missing, strict=True)
        ]
        more = share_out(ranked, missing, standing, self._further(scene, placements, tier, COMPETING))
        return [picks + others for picks, others in zip(chosen, more, strict=True)]

    def _further(self, scene: Scene, placements: Sequence[Placement], tier: Tier, most: int) -> Further:
        def further(at: int, standing: Standing, again: bool) -> Iterable[Ranked]:
            return self.matcher.further(scene, placements[at], standing, again, tier=tier, most=most) or ()

        return further

    def _filled(
        self, scene: Scene, placement: str, pick: Ranked, explain: bool, share: float | None = None
    ) -> Filled:
        key = (pick.row, pick.match, placement, explain, share)
        found = scene.settled.answers.get(key)
        if found is None:
            snapshot = scene.view.snapshot
            record = snapshot.record(pick.row)
            entry = snapshot.entry(pick.row)
            why = reasons(
                snapshot, scene.context, self.matcher.soft(scene), pick, self._about(scene, pick.row)
            )
            trace = trace_of(scene.context, record.id, entry, why)
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
        if (unread := unread_of(scene.context)) is not None:
            return unread
        found = kept.get((page, row))
        if found is None:
            found = nearest_topic(scene.view.snapshot, page, self.topics, row)
            if scene.settled.lasting:
                kept.put((page, row), found)
        return found


def _noting(further: Further | None, behind: Sequence[list[Shortlist]]) -> Further | None:
    """Ask `further`, and note for each placement what it gave."""
    if further is None:
        return None

    def noted(at: int, standing: Standing, again: bool) -> Iterable[Ranked]:
        found = further(at, standing, again)
        if isinstance(found, Shortlist):
            behind[at].append(found)
        return found

    return noted


def offer_of(snapshot: Snapshot, shown: Shown) -> Offer:
    """Say what is paid for what was chosen, and what it advertises."""
    entry = snapshot.entry(shown.row)
    return Offer(shown.price_micros, snapshot.manifest.domains[entry.advertiser], entry.categories)


def privacy_answer(visit: Visit, context: Context) -> PrivacyAnswer:
    """Say what a decision was based on."""
    gpc: Literal["honored"] | None = "honored" if visit.gpc else None
    if context.consented is None or not context.told.used:
        return PrivacyAnswer(gpc=gpc)
    return PrivacyAnswer("consent", gpc, context.told.used, context.consented.consent.record)
