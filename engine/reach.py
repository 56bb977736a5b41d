"""How many of the known pages a rule could match, whatever device, hour, place and weather: told when it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from contexts.context import PageFacts
from engine.campaign import Condition
from engine.conditions import Fact, facts_of, walk

PAGE = ("topics", "languages", "intents", "sensitive")  # fields of which a page's facts tell all
Maybe = tuple[bool, bool]  # whether it can hold, and whether it can fail to


def asks_of_pages(condition: Condition) -> bool:
    """Say whether a rule names anything of a page."""
    named = (*PAGE, "keywords", "senses")
    return any(getattr(part, field) for part in walk(condition) for field in named)


def could_match(
    condition: Condition, pages: Iterable[PageFacts], above: Callable[[str], Sequence[str]]
) -> int:
    """Return on how many pages a rule could hold in some context; `above` gives the topics above one."""
    return sum(_maybe(condition, page, above)[0] for page in pages)


def _maybe(condition: Condition, page: PageFacts, above: Callable[[str], Sequence[str]]) -> Maybe:
    topics = {one for topic in page.topics for one in (topic.id, *above(topic.id))}
    parts = [_some([_fact(fact, page, topics) for fact in facts]) for _, facts in facts_of(condition)]
    parts += [_maybe(part, page, above) for part in condition.all]
    if condition.any:
        parts.append(_some([_maybe(part, page, above) for part in condition.any]))
    parts += [tuple(reversed(_maybe(part, page, above))) for part in condition.none]  # type: ignore[misc]  # of two
    return all(can for can, _ in parts), any(fail for _, fail in parts)


def _some(parts: Sequence[Maybe]) -> Maybe:
    return any(can for can, _ in parts), all(fail for _, fail in parts)


def _fact(fact: Fact, page: PageFacts, topics: set[str]) -> Maybe:
    known: dict[str, Iterable[object]] = {
        "topics": topics,
        "languages": [page.language],
        "intents": [page.intent],
        "sensitive": page.sensitive,
    }
    if fact.field in known:
        met = fact.value in known[fact.field]
        return met, not met
    if fact.field == "keywords" and fact.value in page.keyphrases:
        return True, False
    return True, True  # of the context; or a word that was not looked for when the page was read
