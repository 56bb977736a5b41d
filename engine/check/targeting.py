"""Where campaigns and creatives may run."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from functools import partial
from typing import get_args

from msgspec.structs import replace

from contexts.context import INTENTS, PARTS_OF_DAY, SEASONS, WEEKDAYS
from engine.campaign import Format, Rule, Targeting
from engine.check.conditions import check_condition, check_hours, check_possible, check_range
from engine.check.findings import Findings, Known
from engine.check.values import (
    ID,
    WEATHER,
    check_country,
    check_region,
    check_shape,
    check_topic,
    check_word,
    check_zone,
    tidy_words,
)
from engine.conditions import RANGES
from privacy.visit import DEVICE_CLASSES, PLATFORMS

_LANGUAGE = re.compile(r"[a-z]{2}")
_SECTION = re.compile(rf"{ID.pattern}/{ID.pattern}")


def check_targeting(targeting: Targeting, known: Known, found: Findings) -> Targeting:
    """Return the rules with their keywords in lower case."""
    one_of: Callable[[Container[str]], Callable[[str, str], None]] = lambda words: (  # noqa: E731
        lambda value, path: check_word(value, path, words, found)
    )
    shape = partial(check_shape, found=found)

    def check_words(words: tuple[str, ...], path: str) -> None:
        tidy_words(words, path, found)

    checks: dict[str, Callable[[str, str], None]] = {
        "topics": lambda value, path: check_topic(value, path, known, found),
        "languages": lambda v, p: shape(v, p, _LANGUAGE, "two lower-case letters (ISO 639-1)"),
        "devices": one_of(DEVICE_CLASSES),
        "platforms": one_of(PLATFORMS),
        "parts_of_day": one_of(PARTS_OF_DAY),
        "weekdays": one_of(WEEKDAYS),
        "weather": one_of(WEATHER),
        "countries": lambda value, path: check_country(value, path, known, found),
        "regions": lambda value, path: check_region(value, path, known, found),
        "publishers": lambda v, p: shape(v, p, ID, "a publisher's id"),
        "sections": lambda v, p: shape(v, p, _SECTION, "'publisher/section', two ids"),
        "page_cohorts": lambda v, p: shape(v, p, _SECTION, "'publisher/cohort', two ids"),
        "seasons": one_of(SEASONS),
        "holidays": lambda v, p: check_words((v,), p),
        "intents": one_of(INTENTS),
        "cohorts": lambda v, p: shape(v, p, ID, "a cohort's name"),
        "journey_stages": one_of(INTENTS),
        "loyalty_tiers": lambda v, p: shape(v, p, ID, "a loyalty tier's name"),
        "formats": one_of(get_args(Format)),
    }
    for name, check in checks.items():
        rule: Rule = getattr(targeting, name, Rule())  # some fields only nested rules have
        for side in ("include", "exclude"):
            for number, value in enumerate(getattr(rule, side)):
                check(value, f"targeting.{name}.{side}[{number}]")
    keywords = Rule(
        include=tidy_words(targeting.keywords.include, "targeting.keywords.include", found),
        exclude=tidy_words(targeting.keywords.exclude, "targeting.keywords.exclude", found),
    )
    targeting = replace(targeting, keywords=keywords) if keywords != targeting.keywords else targeting
    for name in (*checks, "keywords", "sizes"):
        rule = getattr(targeting, name, Rule())
        both = set(rule.include) & set(rule.exclude)
        if both:
            found.refuse(f"targeting.{name}.exclude", min(both), "a value that is not included, too")
    zone: Callable[[str, str], None] = lambda value, path: check_zone(value, path, found)  # noqa: E731
    if targeting.timezone is not None:
        zone(targeting.timezone, "targeting.timezone")
    check_hours(targeting.hours, "targeting.hours", zone, found.refuse)
    for name in RANGES:
        check_range(getattr(targeting, name), f"targeting.{name}", found.refuse)
    if targeting.rule is not None:
        words = {"keywords": lambda v, p: check_words((v,), p)}
        check_condition(targeting.rule, "targeting.rule", {**checks, **words}, zone, found.refuse)
    if not found.errors:
        check_possible(targeting, None, known.above, found.refuse, found.effort)
    return targeting
