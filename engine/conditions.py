"""Nested rules, compiled to gates over facts: one evaluation tells of every distinct rule whether it holds.

Rules are data and stay data. The facts that rules name are numbered; a context sets those that are met, and each
level of `all`, `any` and `none` is one vectorised step over all rules at once, however many creatives they are of.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from contexts.clock import names_of, part_of_day
from contexts.context import WEEKDAYS, Context, PageFacts, TopicId
from contexts.keyphrases import listed
from contexts.rungs import reads_cohort
from contexts.senses import Senses
from engine.cache import Bounded
from engine.campaign import Condition, Hours, Publisher, Range, Rule, Sense, Targeting
from engine.cohorts import centre_of, nearest
from engine.index import Eligible, Words

# The lists of values of a condition, and what explanations call them.
VALUES = {
    "topics": "topic",
    "keywords": "keyword",
    "languages": "language",
    "devices": "device class",
    "platforms": "platform",
    "parts_of_day": "part of day",
    "weekdays": "weekday",
    "weather": "weather",
    "countries": "country",
    "regions": "region",
    "publishers": "publisher",
    "sections": "section",
    "page_cohorts": "contextual cohort",
    "seasons": "season",
    "holidays": "holiday",
    "intents": "page's intent",
    "cohorts": "cohort",
    "journey_stages": "journey stage",
    "loyalty_tiers": "loyalty tier",
    "sensitive": "page about",
}
CONSENTED = ("cohorts", "journey_stages", "loyalty_tiers")  # known under a reader's consent alone
ZONED = ("parts_of_day", "weekdays")
RANGES = {"temperature_c": "temperature", "wind_ms": "wind"}
UNITS = {"temperature_c": "°C", "wind_ms": "m/s"}
GROUPS: tuple[Literal["all", "any", "none"], ...] = ("all", "any", "none")
# Dimensions of Targeting that are compiled here and nowhere else.
OWN = ("sections", "seasons", "holidays", "intents")
DAY_MIN, WEEK_MIN = 1440, 7 * 1440
_SHOWN = 6  # values of a list that an explanation names
_MOST_UNMET = 5  # alternatives that it names


_Level = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


class Fact(NamedTuple):
    """What a context may meet: a value of a field (in a zone), a daypart, or a range of a number."""

    field: str
    value: str | Hours | Range | Sense
    zone: str = ""  # of ZONED and dayparts: "" is the publisher's


def condition_of(targeting: Targeting, *, whole: bool = False) -> Condition | None:
    """Return the part of a targeting that bitmaps of single values do not say as one condition; None: nothing.

    With `whole`, all that is said of a context.
    """
    parts: list[Condition] = []
    for field in [name for name in VALUES if hasattr(targeting, name)] if whole else OWN:
        rule: Rule = getattr(targeting, field)
        zone = targeting.timezone if field in ZONED else None
        if rule.include:
            parts.append(replace(Condition(timezone=zone), **{field: rule.include}))
        if rule.exclude:
            parts.append(Condition(none=(replace(Condition(timezone=zone), **{field: rule.exclude}),)))
    if targeting.hours or targeting.temperature_c or targeting.wind_ms:
        parts.append(
            Condition(hours=targeting.hours, temperature_c=targeting.temperature_c, wind_ms=targeting.wind_ms)
        )
    if targeting.rule is not None:
        parts.append(targeting.rule)
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else Condition(all=tuple(parts))


def both(campaign: Targeting, creative: Targeting) -> Condition | None:
    """Return what the rules of a campaign and of its creative say together; None: nothing."""
    parts = [
        Condition(name=level, all=(said,))
        for level, said in (("campaign", condition_of(campaign)), ("creative", condition_of(creative)))
        if said is not None
    ]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else Condition(all=tuple(parts))


def facts_of(condition: Condition) -> Iterator[tuple[str, tuple[Fact, ...]]]:
    """Yield each list of a condition itself, of which one fact must be met, under its field's name."""
    for field in VALUES:
        values: tuple[str, ...] = getattr(condition, field)
        if values:
            zone = (condition.timezone or "") if field in ZONED else ""
            said = map(listed, values) if field in ("keywords", "holidays") else values
            yield field, tuple(Fact(field, value, zone) for value in said)
    if condition.senses:
        yield "senses", tuple(Fact("senses", sense) for sense in condition.senses)
    if condition.hours:
        yield "hours", tuple(Fact("hours", hours, hours.timezone or "") for hours in condition.hours)
    for field in RANGES:
        range: Range | None = getattr(condition, field)
        if range is not None:
            yield field, (Fact(field, range),)


def walk(condition: Condition) -> Iterator[Condition]:
    """Yield a condition and all within it."""
    yield condition
    for group in GROUPS:
        for part in getattr(condition, group):
            yield from walk(part)


def asks_consent(*rules: Targeting) -> bool:
    """Say whether rules name anything that is known under a reader's consent alone."""
    said = [condition_of(one, whole=True) for one in rules]
    return any(getattr(part, f) for one in said if one is not None for part in walk(one) for f in CONSENTED)


def groups_asked(condition: Condition) -> Iterator[str]:
    """Yield the groups of consenting readers that a condition asks for; what is in `none` it does not."""
    for field in CONSENTED:
        yield from getattr(condition, field)
    for part in (*condition.all, *condition.any):
        yield from groups_asked(part)


def is_on(hours: Hours, minute: int) -> bool:
    """Say whether a daypart is on at a minute of the local week, from Monday 00:00."""
    day, now = divmod(minute, DAY_MIN)
    start, end = minute_of_day(hours.start), minute_of_day(hours.end)
    if start < end:
        return start <= now < end and _begins(hours, day)
    return (now >= start and _begins(hours, day)) or (now < end and _begins(hours, (day - 1) % 7))


def minute_of_day(time: str) -> int:
    """Return the minute of a day from "00:00" to "24:00"."""
    return int(time[:2]) * 60 + int(time[3:])


def minute_of_week(at: datetime) -> int:
    """Return the minute of the week of a local time, from Monday 00:00."""
    return at.weekday() * DAY_MIN + at.hour * 60 + at.minute


def holds_in(range: Range, number: float | None) -> bool:
    """Say whether a number is known and lies in a range."""
    if number is None:
        return False
    return (range.at_least is None or number >= range.at_least) and (
        range.below is None or number < range.below
    )


def said_of(context: Context, topics: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (field, value) of all that a context meets of closed values and names, the hour aside.

    `topics` are the page's topics with all their ancestors.
    """
    page, place, clock, told, weather = (
        context.page,
        context.place,
        context.clock,
        context.told,
        context.weather,
    )
    for field, several in (
        ("topics", topics),
        ("keywords", page.keyphrases),
        ("sensitive", page.sensitive),
        ("cohorts", told.cohorts),
    ):
        for value in several:
            yield field, value
    region = place.region
    if region and place.country and not region.startswith(place.country + "-"):
        region = f"{place.country}-{region}"
    for field, one in (
        ("languages", page.language),
        ("intents", page.intent),
        ("devices", context.device.cls),
        ("platforms", context.device.platform),
        ("countries", place.country),
        ("regions", region),
        ("publishers", context.publisher),
        ("sections", f"{context.publisher}/{context.section}" if context.section else None),
        ("seasons", clock.season),
        ("journey_stages", told.journey_stage),
        ("loyalty_tiers", told.loyalty_tier),
        ("weather", weather.condition if weather else None),
        ("weather", weather.temperature if weather else None),
    ):
        if one is not None:
            yield field, one
    if clock.holiday is not None:
        yield "holidays", "any"
        for name in names_of(clock.holiday):
            yield "holidays", listed(name)


def stands_for(sense: Sense, page: PageFacts, senses: Senses | None) -> bool:
    """Say whether a word stands in a page in this meaning; where that cannot be told, it does not."""
    if senses is None or page.vector is None or listed(sense.word) not in page.keyphrases:
        return False
    asked = [[TopicId(topic) for topic in topics] for topics in (sense.topics, sense.other)]
    return senses.nearest(sense.word, page.vector, asked) == 0


def pairs_of(senses: Iterable[Sense]) -> set[tuple[str, TopicId]]:
    """Return each word with each topic that its senses name."""
    return {(s.word, TopicId(topic)) for s in senses for topic in (*s.topics, *s.other)}


class Conditions:
    """The distinct rules of a snapshot. `rules` are numbered as they stand; `of_row` (rows,) has -1 for none."""

    def __init__(
        self, rules: Sequence[Condition], of_row: NDArray[np.int32], publishers: Iterable[Publisher] = ()
    ) -> None:
        self.rules = rules
        self._cohorts = {
            one.id: ([c.id for c in one.page_cohorts], np.array([centre_of(c) for c in one.page_cohorts]))
            for one in publishers
            if one.page_cohorts and len({len(centre_of(c)) for c in one.page_cohorts}) == 1
        }
        self._rows = np.flatnonzero(of_row >= 0)
        self._of_row = of_row
        self._facts: dict[Fact, int] = {}
        made = _Gates(self._facts)
        tops = [made.gate(rule) for rule in rules]
        self._levels, numbers = made.levels()
        self._tops = np.array([numbers[top] for top in tops], np.int64)
        self._signals = len(self._facts) + made.count
        self._zones = sorted({fact.zone for fact in self._facts if fact.field in (*ZONED, "hours")})
        self._hours = [(fact, at) for fact, at in self._facts.items() if fact.field == "hours"]
        self._senses = [(fact, at) for fact, at in self._facts.items() if fact.field == "senses"]
        self._ranges = [(fact, at) for fact, at in self._facts.items() if fact.field in RANGES]
        self._has_sections = any(fact.field == "sections" for fact in self._facts)
        self._times: Bounded[tuple[int, object], tuple[int, ...]] = Bounded(4096)

    def __bool__(self) -> bool:
        return bool(self.rules)

    def name(self, field: str, value: str) -> bool:
        """Say whether any of the rules names a value of a field that has no zone."""
        return Fact(field, value) in self._facts

    def around(self, context: Context) -> Hashable:
        """Return what rules can see of a context beside its page and the buckets of its other facts."""
        if not self.rules:
            return None
        return (
            context.section if self._has_sections else None,
            self._on(context.clock.at),
            tuple(holds_in(fact.value, _number(context, fact.field)) for fact, _ in self._ranges),  # type: ignore[arg-type]  # of RANGES
        )

    @property
    def senses(self) -> list[Sense]:
        """Return the words in a meaning that rules name."""
        return [fact.value for fact, _ in self._senses]  # type: ignore[misc]  # of senses

    def met(self, context: Context, topics: Iterable[str], senses: Senses | None = None) -> NDArray[np.bool_]:
        """Return (facts + gates,) what a context meets; `senses` tells in which meaning words stand."""
        signals = np.zeros(self._signals, bool)
        known = self._facts
        met = [known.get(Fact(field, value)) for field, value in said_of(context, topics)]
        signals[[at for at in met if at is not None]] = True
        signals[list(self._on(context.clock.at))] = True
        for fact, at in self._ranges:
            signals[at] = holds_in(fact.value, _number(context, fact.field))  # type: ignore[arg-type]  # of RANGES
        cohort = self._cohort(context)
        at_cohort = None if cohort is None else known.get(Fact("page_cohorts", cohort))
        if at_cohort is not None:
            signals[at_cohort] = True
        for fact, at in self._senses:
            signals[at] = stands_for(fact.value, context.page, senses)  # type: ignore[arg-type]  # of senses
        for gates, children, starts, kinds in self._levels:
            inputs = signals[children]
            some = np.logical_or.reduceat(inputs, starts)
            every = np.logical_and.reduceat(inputs, starts)
            signals[gates] = np.where(kinds == 0, every, np.where(kinds == 1, some, ~some))
        return signals

    def passing(self, signals: NDArray[np.bool_]) -> Words:
        """Return the rows whose rule holds, those without a rule among them."""
        mask = np.ones(len(self._of_row), bool)
        mask[self._rows] = signals[self._tops][self._of_row[self._rows]]
        return Eligible.from_mask(mask).words

    def unmet(self, row: int, signals: NDArray[np.bool_]) -> tuple[str, ...]:
        """Say which parts of a row's rule do not hold; nothing where it holds, or the row has none."""
        at = int(self._of_row[row])
        if at < 0 or signals[self._tops[at]]:
            return ()
        return tuple(unmet(self.rules[at], lambda fact: bool(signals[self._facts[fact]])))

    def _cohort(self, context: Context) -> str | None:
        """Return the contextual cohort of a page on its publisher's site."""
        ids, centres = self._cohorts.get(context.publisher, ((), None))
        if centres is None or context.page.vector is None or not reads_cohort(context):
            return None
        at = nearest(context.page.vector, centres)
        return None if at is None else f"{context.publisher}/{ids[at]}"

    def _on(self, at: datetime) -> tuple[int, ...]:
        """Return the numbers of the facts of time that are met."""
        key = (int(at.timestamp()) // 60, at.tzinfo)
        found = self._times.get(key)
        if found is None:
            there = {zone: at.astimezone(ZoneInfo(zone)) if zone else at for zone in self._zones}
            named = [
                self._facts.get(Fact(field, value, zone))
                for zone, local in there.items()
                for field, value in (
                    ("parts_of_day", part_of_day(local.hour)),
                    ("weekdays", WEEKDAYS[local.weekday()]),
                )
            ]
            on = [
                number
                for fact, number in self._hours
                if is_on(fact.value, minute_of_week(there[fact.zone]))  # type: ignore[arg-type]  # of hours
            ]
            found = (*(number for number in named if number is not None), *on)
            self._times.put(key, found)
        return found


class _Gates:
    """Distinct gates while rules are taken in; equal parts of any rules are one gate."""

    def __init__(self, facts: dict[Fact, int]) -> None:
        self._facts = facts
        self._known: dict[tuple[int, tuple[tuple[bool, int], ...]], int] = {}
        self._depth: list[int] = []

    @property
    def count(self) -> int:
        return len(self._known)

    def gate(self, condition: Condition) -> int:
        parts: list[tuple[bool, int]] = []  # (is a gate, number)
        for _, facts in facts_of(condition):
            numbers = tuple((False, self._facts.setdefault(f, len(self._facts))) for f in facts)
            parts.append((True, self._of(1, numbers)))
        parts += [(True, self.gate(part)) for part in condition.all]
        if condition.any:
            parts.append((True, self._of(1, tuple((True, self.gate(part)) for part in condition.any))))
        if condition.none:
            parts.append((True, self._of(2, tuple((True, self.gate(part)) for part in condition.none))))
        return self._of(0, tuple(parts))

    def _of(self, kind: int, parts: tuple[tuple[bool, int], ...]) -> int:
        known = self._known.get((kind, parts))
        if known is None:
            known = self._known[kind, parts] = len(self._depth)
            self._depth.append(1 + max(self._depth[at] if is_gate else 0 for is_gate, at in parts))
        return known

    def levels(self) -> tuple[list[_Level], list[int]]:
        """Return the gates by depth, as (signals, children, starts, kinds), and the signal of each gate."""
        first = len(self._facts)
        by_depth: dict[int, list[tuple[int, int, tuple[tuple[bool, int], ...]]]] = {}
        for (kind, parts), at in self._known.items():
            by_depth.setdefault(self._depth[at], []).append((at, kind, parts))
        levels: list[_Level] = []
        for _, gates in sorted(by_depth.items()):
            children = [first + n if is_gate else n for _, _, parts in gates for is_gate, n in parts]
            sizes = [len(parts) for _, _, parts in gates]
            levels.append(
                (
                    np.array([first + at for at, _, _ in gates], np.int64),
                    np.array(children, np.int64),
                    np.cumsum([0, *sizes[:-1]], dtype=np.int64),
                    np.array([kind for _, kind, _ in gates], np.int64),
                )
            )
        return levels, [first + at for at in range(len(self._known))]


def unmet(condition: Condition, met: Callable[[Fact], bool]) -> Iterator[str]:
    """Say which parts of a condition do not hold, the names of those around them first."""
    name = f"{condition.name}: " if condition.name else ""
    for field, facts in facts_of(condition):
        if not any(map(met, facts)):
            yield f"{name}{_asked(field, facts)} is not met"
    for part in condition.all:
        yield from (name + told for told in unmet(part, met))
    if condition.any and not any(_holds(part, met) for part in condition.any):
        said = "; or ".join(map(describe, condition.any[:_MOST_UNMET]))
        yield f"{name}none of these is met: {said}"
    for part in condition.none:
        if _holds(part, met):
            yield f"{name}excluded: {describe(part)}"


def describe(condition: Condition) -> str:
    """Say a condition in words."""
    parts = [_asked(field, facts) for field, facts in facts_of(condition)]
    parts += [describe(part) for part in condition.all]
    if condition.any:
        parts.append("any of (" + "; ".join(map(describe, condition.any)) + ")")
    if condition.none:
        parts.append("none of (" + "; ".join(map(describe, condition.none)) + ")")
    said = " and ".join(parts)
    return f"'{condition.name}' ({said})" if condition.name else said


def _holds(condition: Condition, met: Callable[[Fact], bool]) -> bool:
    return (
        all(any(map(met, facts)) for _, facts in facts_of(condition))
        and all(_holds(part, met) for part in condition.all)
        and (not condition.any or any(_holds(part, met) for part in condition.any))
        and not any(_holds(part, met) for part in condition.none)
    )


def _asked(field: str, facts: Sequence[Fact]) -> str:
    if field in RANGES:
        return f"{RANGES[field]} {_in_words(facts[0].value, UNITS[field])}"  # type: ignore[arg-type]
    said = ", ".join(_value(fact) for fact in facts[:_SHOWN]) + (", …" if len(facts) > _SHOWN else "")
    zone = f" in {facts[0].zone}" if facts[0].zone and field != "hours" else ""
    return f"{VALUES.get(field, 'word' if field == 'senses' else 'hours')} {said}{zone}"


def _value(fact: Fact) -> str:
    if isinstance(fact.value, Sense):
        return f"'{fact.value.word}' in the sense of {', '.join(fact.value.topics)}"
    if not isinstance(fact.value, Hours):
        return str(fact.value)
    days = " ".join(fact.value.weekdays)
    zone = f" in {fact.zone}" if fact.zone else ""
    return f"{days + ' ' if days else ''}{fact.value.start}-{fact.value.end}{zone}"


def _in_words(range: Range, unit: str) -> str:
    low = "" if range.at_least is None else f"at least {range.at_least:g} {unit}"
    high = "" if range.below is None else f"below {range.below:g} {unit}"
    return " and ".join(part for part in (low, high) if part)


def _begins(hours: Hours, day: int) -> bool:
    return not hours.weekdays or WEEKDAYS[day] in hours.weekdays


def _number(context: Context, field: str) -> float | None:
    weather = context.weather
    if weather is None:
        return None
    return weather.temperature_c if field == "temperature_c" else weather.wind_ms
