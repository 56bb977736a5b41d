"""What a well-formed nested rule is, and whether it can hold at all. Errors go to the caller's findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from contexts.context import SENSITIVE, WEEKDAYS
from engine.campaign import Condition, Hours, Range, Targeting
from engine.conditions import GROUPS, RANGES, VALUES, condition_of, facts_of
from engine.satisfiable import Above, Effort, is_possible

MAX_DEPTH = 8  # of conditions within conditions
MAX_PARTS = 500  # conditions of one rule
MAX_MEANT = (
    500  # topics beside words in a meaning, of one rule: each costs some ten encodings in every worker
)

Refuse = Callable[[str, object, str], None]  # field, what came, what was expected
CheckValue = Callable[[str, str], None]  # value, path


def check_condition(
    rule: Condition,
    path: str,
    checks: Mapping[str, CheckValue],
    check_zone: CheckValue,
    refuse: Refuse,
) -> None:
    """Check a nested rule; `checks` are those of the values of each field that Targeting has, too."""
    waiting = [(rule, path, 1)]
    parts = meant = 0
    while waiting:
        condition, place, depth = waiting.pop()
        parts += 1
        meant += sum(len(sense.topics) + len(sense.other) for sense in condition.senses)
        if depth > MAX_DEPTH:
            refuse(path, f"over {MAX_DEPTH} levels", f"at most {MAX_DEPTH} conditions within each other")
            return
        if parts > MAX_PARTS:
            refuse(path, f"over {MAX_PARTS} conditions", f"at most {MAX_PARTS}")
            return
        if meant > MAX_MEANT:
            refuse(path, f"over {MAX_MEANT} topics of senses", f"at most {MAX_MEANT}, of all words together")
            return
        for field in VALUES:
            check = checks.get(field) or _of_sensitive(refuse)
            for number, value in enumerate(getattr(condition, field)):
                check(value, f"{place}.{field}[{number}]")
        for number, sense in enumerate(condition.senses):
            at = f"{place}.senses[{number}]"
            checks["keywords"](sense.word, f"{at}.word")
            for side in ("topics", "other"):
                for n, topic in enumerate(getattr(sense, side)):
                    checks["topics"](topic, f"{at}.{side}[{n}]")
            if set(sense.topics) & set(sense.other):
                refuse(f"{at}.other", min(set(sense.topics) & set(sense.other)), "topics of another meaning")
        if condition.timezone is not None:
            check_zone(condition.timezone, f"{place}.timezone")
        check_hours(condition.hours, f"{place}.hours", check_zone, refuse)
        for field in RANGES:
            check_range(getattr(condition, field), f"{place}.{field}", refuse)
        if not any(True for _ in facts_of(condition)) and not any(getattr(condition, g) for g in GROUPS):
            refuse(place, "a condition that says nothing", f"all, any, none or one of {', '.join(VALUES)}")
        for group in GROUPS:
            inner: tuple[Condition, ...] = getattr(condition, group)
            waiting += [(part, f"{place}.{group}[{n}]", depth + 1) for n, part in enumerate(inner)]


def check_hours(hours: tuple[Hours, ...], path: str, check_zone: CheckValue, refuse: Refuse) -> None:
    """Check dayparts."""
    for number, one in enumerate(hours):
        place = f"{path}[{number}]"
        if one.start == "24:00":
            refuse(f"{place}.start", one.start, "a time before 24:00; midnight begins at 00:00")
        if one.start == one.end:
            refuse(f"{place}.end", one.end, "another time than the start; 00:00 to 24:00 is the whole day")
        if one.timezone is not None:
            check_zone(one.timezone, f"{place}.timezone")
        for at, day in enumerate(one.weekdays):
            if day not in WEEKDAYS:
                refuse(f"{place}.weekdays[{at}]", day, f"one of {', '.join(WEEKDAYS)}")


def check_range(range: Range | None, path: str, refuse: Refuse) -> None:
    """Check a range of numbers."""
    if range is None:
        return
    if range.at_least is None and range.below is None:
        refuse(path, "neither bound", "at_least, below or both")
    elif range.at_least is not None and range.below is not None and range.at_least >= range.below:
        refuse(f"{path}.below", range.below, f"a number above at_least, {range.at_least:g}")


def check_possible(
    campaign: Targeting,
    creative: Targeting | None,
    above: Above,
    refuse: Refuse,
    effort: Effort | None = None,
) -> None:
    """Refuse rules that no page view can meet, a campaign's alone or with a creative's."""
    said = [condition_of(one, whole=True) for one in (campaign, creative) if one is not None]
    parts = tuple(one for one in said if one is not None)
    if parts and not is_possible(Condition(all=parts), above, effort):
        got = f"rules that contradict {'those of the campaign' if creative else 'each other'}"
        refuse("targeting", got, "rules that some page view can meet: these can never match")


def _of_sensitive(refuse: Refuse) -> CheckValue:
    def check(value: str, path: str) -> Any:
        if value not in SENSITIVE:
            refuse(path, value, f"one of {', '.join(SENSITIVE)}")

    return check
