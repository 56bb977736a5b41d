"""Names in rules that no publisher registered, or of days that are no holiday: what asks for them can never match.

They are told and not refused: who runs a site may register them later, and a country may name a new day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from contexts.clock import holidays_near
from contexts.context import PlaceFacts
from contexts.keyphrases import listed
from contexts.place import codes
from engine.campaign import Condition, Publisher
from engine.conditions import facts_of, walk
from engine.creative import Parts
from engine.sections import OTHER

HOLIDAYS = "holidays"
WORDS = {
    "publishers": "publisher",
    "sections": "section",
    "page_cohorts": "cohort of pages",
    "cohorts": "cohort",
    "loyalty_tiers": "loyalty tier",
    "only.publishers": "publisher",
    "only.sections": "section",
}
Named = tuple[str, str]  # a field and a value


def names_in(condition: Condition) -> list[Named]:
    """Return what a rule names of publishers' own naming and of holidays, each once, as they come."""
    return list(
        dict.fromkeys(
            (field, str(fact.value))
            for part in walk(condition)
            for field, facts in facts_of(part)
            if field in WORDS or field == HOLIDAYS
            for fact in facts
        )
    )


def names_in_parts(parts: Parts) -> list[Named]:
    """Return what parts of messages are bound to of publishers' own naming, each once."""
    return list(
        dict.fromkeys(
            (f"only.{field}", value)
            for part in parts
            for field in ("publishers", "sections")
            for value in getattr(part.only, field)
        )
    )


def unregistered(named: Iterable[Named], publishers: Sequence[Publisher], year: int) -> Iterator[str]:
    """Say of each name that no publisher registered, or of whose country it is no holiday, that it is so."""
    known: dict[str, set[str]] = {field: set() for field in WORDS}
    for one in publishers:
        sections = (*(section.id for section in one.sections), OTHER)
        known["publishers"].add(one.id)
        known["sections"].update(f"{one.id}/{id}" for id in sections)
        known["only.sections"].update(sections)
        known["page_cohorts"].update(f"{one.id}/{cohort.id}" for cohort in one.page_cohorts)
        known["cohorts"].update(one.first_party.cohorts)
        known["loyalty_tiers"].update(one.first_party.loyalty_tiers)
    known["only.publishers"] = known["publishers"]
    asked = []
    for field, value in named:
        if field == HOLIDAYS:
            asked.append(value)
        elif value not in known[field]:
            what = "what asks for it can never match until somebody does"
            yield f"{WORDS[field]} {ascii(value)}: nobody registered it: {what}"
    yield from _no_holidays(asked, publishers, year) if asked else ()


def _no_holidays(asked: Iterable[str], publishers: Iterable[Publisher], year: int) -> Iterator[str]:
    places = {code for one in publishers for code in codes(PlaceFacts(one.country, one.region))}
    days = {listed(name) for code in places for name in holidays_near(code, year)}
    for name in asked:
        if name in days or (name == "any" and days):
            continue
        near = get_close_matches(name, sorted(days), 1)
        said = f"; the nearest is {ascii(near[0])}" if near else ""
        where = "of a country of the publishers" if days else "of publishers, which state no country"
        yield (
            f"holiday {ascii(name)}: no public holiday {where} is called so in {year - 1} to {year + 1}{said}: "
            "what asks for it can never match"
        )
