"""Why a creative was chosen, read off the facets of its match and said in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from contexts.context import ClockFacts, Context, PageFacts, WeatherFacts
from contexts.facets import SOFT_FACETS, because
from contexts.rungs import reads_page
from contexts.topic_vectors import TopicVectors
from engine.decision import PageAnswer, Ranked, Reason, TopicAnswer
from engine.retrieve import Soft
from engine.snapshot import Snapshot
from privacy.visit import Device

DIGITS = 4  # of shares and scores
NEAR = 0.35  # cosine from which a creative is said to be of a topic


def reasons(snapshot: Snapshot, context: Context, soft: Soft, pick: Ranked, about: str) -> tuple[Reason, ...]:
    """Return the facets that the creative states, each with its part of the match; the largest first.

    `about` says what the page is to the creative, as `nearest_topic` finds it.
    """
    prefer = int(snapshot.prefer[pick.row])
    wishes = snapshot.prefers(pick.row)
    unread = unread_of(context)
    mood, stated = soft.mood, int(snapshot.stated[prefer])
    # Plus zero: a part that rounds to nothing is no "-0.0".
    page = round(pick.match - float(mood.gain[prefer]), DIGITS) + 0.0
    found = [Reason("page", page, about)]
    told: tuple[tuple[Device | ClockFacts | WeatherFacts | None, Sequence[str]], ...] = (
        (context.device, wishes.devices),
        (context.clock, wishes.times),
        (context.weather, wishes.weather),
    )
    for bit, (facet, (facts, wished)) in enumerate(zip(SOFT_FACETS, told, strict=True), start=1):
        if stated >> bit & 1:
            part = round(float(mood.parts[facet][prefer]), DIGITS) + 0.0
            found.append(Reason(facet, part, unread or because(facts, wished)))
    if snapshot.entry(pick.row).house:
        found.append(Reason("house", 0.0, "nothing else may run here: the publisher's own"))
    return tuple(sorted(found, key=lambda r: -r.share))


def unread_of(context: Context) -> str | None:
    """Say what stands for page and moment on a rung of the ladder where they are not read; None where they are."""
    if context.segment is not None:
        return f"a page view of the segment '{context.segment.id}'"
    return None if reads_page(context) else "not read: this page view is on the ladder's lowest rung"


def score_of(why: Iterable[Reason]) -> float:
    """Return the score: the sum of the shares as they are told."""
    return round(sum(reason.share for reason in why), DIGITS)


def page_answer(page: PageFacts) -> PageAnswer:
    """Say what was understood of a page."""
    return PageAnswer(
        topics=tuple(TopicAnswer(t.id, t.name, round(t.score, 3)) for t in page.topics),
        cattax=9,
        language=page.language,
        intent=page.intent,
        keyphrases=page.keyphrases,
        sensitive=tuple(sorted(page.sensitive)),
        notes=page.notes,
    )


def nearest_topic(snapshot: Snapshot, page: PageFacts, topics: TopicVectors, row: int) -> str:
    """Name the page's topic that is nearest to a creative."""
    if page.vector is None:
        return "the page could not be read"
    if not page.topics:
        return "the page's words, though no topic stands out"
    creative = snapshot.index.vector(row)[: snapshot.layout.page_dim]
    close = topics.closeness([topic.id for topic in page.topics], creative)
    nearness, nearest = max(
        zip(close, page.topics, strict=True), key=lambda pair: pair[1].score * max(pair[0], 0.01)
    )
    if nearness < NEAR:
        return f"a loose fit to a page about '{page.topics[0].name}' ({page.topics[0].id})"
    return f"topic '{nearest.name}' ({nearest.id})"
