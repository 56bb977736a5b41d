"""Names in rules that no publisher registered: what asks for them can never match as the catalogue stands.

They are told and not refused: who runs a site may register them later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.campaign import Condition, Publisher
from engine.conditions import facts_of, walk
from engine.sections import OTHER

WORDS = {
    "publishers": "publisher",
    "sections": "section",
    "page_cohorts": "cohort of pages",
    "cohorts": "cohort",
    "loyalty_tiers": "loyalty tier",
}


def names_in(condition: Condition) -> list[tuple[str, str]]:
    """Return (field, value) of what a rule names of publishers' own naming, each once, as they come."""
    return list(
        dict.fromkeys(
            (field, str(fact.value))
            for part in walk(condition)
            for field, facts in facts_of(part)
            if field in WORDS
            for fact in facts
        )
    )


def unregistered(named: Iterable[tuple[str, str]], publishers: Iterable[Publisher]) -> Iterator[str]:
    """Say of each name that no publisher registered that it is so."""
    known: dict[str, set[str]] = {field: set() for field in WORDS}
    for one in publishers:
        known["publishers"].add(one.id)
        known["sections"].update(f"{one.id}/{id}" for id in (*(s.id for s in one.sections), OTHER))
        known["page_cohorts"].update(f"{one.id}/{cohort.id}" for cohort in one.page_cohorts)
        known["cohorts"].update(one.first_party.cohorts)
        known["loyalty_tiers"].update(one.first_party.loyalty_tiers)
    for field, value in named:
        if value not in known[field]:
            what = "what asks for it can never match until somebody does"
            yield f"{WORDS[field]} {ascii(value)}: nobody registered it: {what}"
