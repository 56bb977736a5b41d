"""Targeting rules compiled to bitmaps: one bit a creative, one bitmap a value that some rule names.

Rules are data and stay data: compiling looks each distinct rule up once for each value and never evaluates text.
A rule names values to meet (any of `include`) and not to meet (`exclude`). An unknown value (no country stated)
fails an `include` and passes an `exclude`. Campaign and creative rules are ANDed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contexts.context import RISKS, Context, PageFacts, risk_of
from contexts.keyphrases import listed
from engine.campaign import Rule, Suitability, Targeting
from engine.index import Eligible, Words

Mask = NDArray[np.bool_]
Predicate = tuple[str, Words]
Clause = tuple[str, tuple[int, ...]]  # a rule's name, and the bitmaps of which one must hold

LEVELS = ("campaign", "creative")
# Dimensions of which a page view has at most one value.
SINGLE = (
    *("publishers", "devices", "platforms", "languages", "countries", "regions"),
    *("journey_stages", "loyalty_tiers"),
)
# Dimensions of which it may have several at once.
MULTIPLE = ("topics", "keywords", "weather", "cohorts")
# What a rule that excluded a creative is called in explanations.
WORDS = {
    "publishers": "publisher",
    "devices": "device class",
    "platforms": "platform",
    "languages": "language",
    "countries": "country",
    "regions": "region",
    "topics": "topic",
    "keywords": "keyword",
    "weather": "weather",
    "cohorts": "cohort",
    "journey_stages": "journey stage",
    "loyalty_tiers": "loyalty tier",
}


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of one creative: its campaign's, its own, and which sensitive pages it shuns."""

    campaign: Targeting
    creative: Targeting
    suitability: Suitability


class Bitmaps:
    """Named bitmaps over the same rows: (len(names), ceil(rows / 64)) words, little bit order."""

    def __init__(self, names: Mapping[str, int], words: NDArray[np.uint64]) -> None:
        self.names = names
        self.words = words

    def get(self, name: str) -> Words | None:
        """Return the bitmap of this name, or None."""
        at = self.names.get(name)
        return None if at is None else self.words[at]


def compile_rules(sets: Sequence[RuleSet], row_set: NDArray[np.int32], sensitive: Iterable[str]) -> Bitmaps:
    """Compile rule sets to bitmaps over rows; `row_set` (rows,) says which set each row has."""
    masks: dict[str, Mask] = {}

    for dimension in SINGLE:
        rules = [(rule_of(s.campaign, dimension), rule_of(s.creative, dimension)) for s in sets]
        named = {v for pair in rules for rule in pair for v in (*rule.include, *rule.exclude)}
        if not named:
            continue
        for name, value in [
            *((f"{dimension}={v}", v) for v in named),
            (f"{dimension}=*", ""),
            (f"{dimension}=?", None),
        ]:
            ok = [all(_meets(rule, value) for rule in pair) for pair in rules]
            masks[name] = np.array(ok, bool)[row_set]
    for dimension in MULTIPLE:
        for level in LEVELS:
            level_rules = [rule_of(getattr(s, level), dimension) for s in sets]
            included = {v for rule in level_rules for v in rule.include}
            excluded = {v for rule in level_rules for v in rule.exclude}
            if included:
                masks[f"{dimension}:{level}+"] = np.array([not r.include for r in level_rules], bool)[row_set]
            for value in included:
                masks[f"{dimension}:{level}+{value}"] = np.array(
                    [value in r.include for r in level_rules], bool
                )[row_set]
            for value in excluded:
                ok = [value not in r.exclude for r in level_rules]
                masks[f"{dimension}:{level}-{value}"] = np.array(ok, bool)[row_set]
    for level in LEVELS:
        _compile_times([getattr(s, level) for s in sets], level, row_set, masks)
    suits = [s.suitability for s in sets]
    for flag in sensitive:
        ok = [s.avoid is not None and flag not in s.avoid for s in suits]
        masks[f"suits:{flag}"] = np.array(ok, bool)[row_set]
        for level in RISKS if any(s.risk != "none" for s in suits) else ():
            up_to = [s.risk != "none" and RISKS.index(level) <= RISKS.index(s.risk) for s in suits]
            masks[f"suits:{flag} up to {level}"] = (
                np.array(ok, bool)[row_set] | np.array(up_to, bool)[row_set]
            )
    masks["suits?"] = np.array([s.accept_unknown for s in suits], bool)[row_set]
    return pack(masks, len(row_set))


def pack(masks: Mapping[str, Mask], rows: int) -> Bitmaps:
    """Pack masks of (rows,) booleans to bitmaps."""
    width = -(-rows // 64)
    words = np.zeros((len(masks), width), np.uint64)
    for at, mask in enumerate(masks.values()):
        words[at] = Eligible.from_mask(mask).words
    return Bitmaps({name: at for at, name in enumerate(masks)}, words)


def rule_of(targeting: Targeting, dimension: str) -> Rule:
    """Return the rule of one dimension; keywords as they are found in pages."""
    rule: Rule = getattr(targeting, dimension)
    if dimension == "keywords":
        return Rule(tuple(map(listed, rule.include)), tuple(map(listed, rule.exclude)))
    return rule


def _meets(rule: Rule, value: str | None) -> bool:
    if value is None:
        return not rule.include
    return (not rule.include or value in rule.include) and value not in rule.exclude


def _compile_times(
    targetings: Sequence[Targeting], level: str, row_set: NDArray[np.int32], masks: dict[str, Mask]
) -> None:
    """For each zone that a rule names ("" is the publisher's): which rows may run in a part of day, on a weekday.

    Rows whose rule is of another zone have their bit set, so that all zones' bitmaps can be ANDed.
    """
    zones = {t.timezone or "" for t in targetings if t.parts_of_day != Rule() or t.weekdays != Rule()}
    for zone in zones:
        for dimension in ("parts_of_day", "weekdays"):
            rules = [rule_of(t, dimension) if (t.timezone or "") == zone else Rule() for t in targetings]
            named = {v for rule in rules for v in (*rule.include, *rule.exclude)}
            for name, value in [*((v, v) for v in named), *([("*", "")] if named else [])]:
                ok = np.array([_meets(rule, value) for rule in rules], bool)
                masks[f"{dimension}:{level}@{zone}={name}"] = ok[row_set]


def zones_of(bitmaps: Bitmaps) -> tuple[str, ...]:
    """Return the zones that time rules name, "" for the publisher's own."""
    found = {name.split("@", 1)[1].split("=", 1)[0] for name in bitmaps.names if "@" in name}
    return tuple(sorted(found))


def page_clauses(bitmaps: Bitmaps, page: PageFacts, topics: frozenset[str]) -> list[Clause]:
    """Return what a page's facts select, each with the name of the rule it stands for.

    `topics` are the page's topics with all their ancestors.
    """
    found = _single(bitmaps, {"languages": page.language})
    for dimension, several in (("topics", topics), ("keywords", page.keyphrases)):
        for level in LEVELS:
            found += _multiple(bitmaps, dimension, level, several)
    for flag in sorted(page.sensitive):
        risk = risk_of(page, flag)
        told = f"suitability: page about {flag} ({risk} risk)"
        found += _named(bitmaps, f"suits:{flag} up to {risk}", told) or _named(bitmaps, f"suits:{flag}", told)
    if not page.suitability_known:
        found += _named(bitmaps, "suits?", "suitability: page not understood")
    return found


def surrounding_clauses(
    bitmaps: Bitmaps, context: Context, moments: Mapping[str, tuple[str, str]]
) -> Iterator[tuple[Hashable, Callable[[], list[Clause]]]]:
    """Yield the same for all that is no fact of the page, in parts of few values, each with the key of its value.

    `moments` gives for each zone of `zones_of` the part of day and the weekday there.
    """
    device, place, weather, told = context.device, context.place, context.weather, context.told
    yield (
        ("device", device.cls, device.platform),
        lambda: _single(bitmaps, {"devices": device.cls, "platforms": device.platform}),
    )
    region = place.region
    if region and place.country and not region.startswith(place.country + "-"):
        region = f"{place.country}-{region}"
    yield (
        ("place", context.publisher, place.country, region),
        lambda: _single(
            bitmaps, {"publishers": context.publisher, "countries": place.country, "regions": region}
        ),
    )
    seen = tuple(v for v in (weather.condition, weather.temperature) if v) if weather else ()
    yield ("weather", seen), lambda: _levels(bitmaps, "weather", seen)
    yield ("moments", *moments.values()), lambda: _times(bitmaps, moments)
    yield (
        ("told", told.journey_stage, told.loyalty_tier, told.cohorts),
        lambda: [
            *_single(bitmaps, {"journey_stages": told.journey_stage, "loyalty_tiers": told.loyalty_tier}),
            *_levels(bitmaps, "cohorts", told.cohorts),
        ],
    )


def resolved(bitmaps: Bitmaps, clauses: Iterable[Clause]) -> list[Predicate]:
    """Return the bitmap of each clause."""
    return [(name, _any_of(bitmaps, at)) for name, at in clauses]


def narrow(words: Words, bitmaps: Bitmaps, clauses: Iterable[tuple[int, ...]]) -> Words:
    """Take away in place the rows that do not meet all of these clauses, given without their names."""
    for at in clauses:
        np.bitwise_and(words, _any_of(bitmaps, at), out=words)
    return words


def _any_of(bitmaps: Bitmaps, at: tuple[int, ...]) -> Words:
    words: Words = bitmaps.words[at[0]]
    for other in at[1:]:
        words = words | bitmaps.words[other]
    return words


def _times(bitmaps: Bitmaps, moments: Mapping[str, tuple[str, str]]) -> list[Clause]:
    found: list[Clause] = []
    for zone, (part, weekday) in moments.items():
        for dimension, value in (("parts_of_day", part), ("weekdays", weekday)):
            name = "part of day" if dimension == "parts_of_day" else "weekday"
            told = f"{name}: {value}" + (f" in {zone}" if zone else "")
            for level in LEVELS:
                prefix = f"{dimension}:{level}@{zone}="
                found += _named(bitmaps, prefix + value, told) or _named(bitmaps, prefix + "*", told)
    return found


def _named(bitmaps: Bitmaps, name: str, told: str) -> list[Clause]:
    at = bitmaps.names.get(name)
    return [] if at is None else [(told, (at,))]


def _single(bitmaps: Bitmaps, values: Mapping[str, str | None]) -> list[Clause]:
    found: list[Clause] = []
    for dimension, value in values.items():
        own = f"{dimension}=?" if value is None else f"{dimension}={value}"
        told = f"{WORDS[dimension]}: {value or 'unknown'}"
        found += _named(bitmaps, own, told) or _named(bitmaps, f"{dimension}=*", told)
    return found


def _levels(bitmaps: Bitmaps, dimension: str, values: Iterable[str]) -> list[Clause]:
    return [clause for level in LEVELS for clause in _multiple(bitmaps, dimension, level, values)]


def _multiple(bitmaps: Bitmaps, dimension: str, level: str, values: Iterable[str]) -> list[Clause]:
    found: list[Clause] = []
    values = sorted(values)
    names = bitmaps.names
    without = names.get(f"{dimension}:{level}+")
    if without is not None:
        asked = [names.get(f"{dimension}:{level}+{value}") for value in values]
        met = (without, *(at for at in asked if at is not None))
        found.append((f"{WORDS[dimension]}: none that the {level} asks for", met))
    for value in values:
        found += _named(
            bitmaps, f"{dimension}:{level}-{value}", f"{WORDS[dimension]}: {value} excluded by the {level}"
        )
    return found


def conjunction(predicates: Sequence[Predicate], width: int) -> Words:
    """AND the predicates' bitmaps; with none of them, every bit is set (mask by the live rows)."""
    if not predicates:
        return np.full(width, np.iinfo(np.uint64).max, np.uint64)
    result = predicates[0][1].copy()
    for _, words in predicates[1:]:
        np.bitwise_and(result, words, out=result)
    return result
