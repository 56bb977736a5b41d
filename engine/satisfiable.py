"""Whether any page view could meet a rule at all: a search for one that is not ruled out, with bounded effort.

It knows what excludes what: a page view has one device class, country and hour; a topic brings those above it; a
region lies in its country, a section in its publisher; a temperature lies in one bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from contexts.clock import part_of_day
from contexts.context import CONDITIONS, PARTS_OF_DAY, TEMPERATURES, WEEKDAYS
from contexts.weather import band
from engine.campaign import Condition, Hours, Range
from engine.conditions import DAY_MIN, RANGES, WEEK_MIN, ZONED, Fact, facts_of, minute_of_day
from privacy.visit import DEVICE_CLASSES, PLATFORMS

STEPS = 20_000  # branches looked at; what is then not found impossible is taken to be possible
LEAST_STEPS = 100  # of a rule in a file in which many took all of theirs
A_STEP = 20  # values of a page view that are looked at in a step
# Fields of which a page view has at most one value.
ONE = (
    *("languages", "devices", "platforms", "countries", "regions", "publishers", "sections", "page_cohorts"),
    *("seasons", "intents", "journey_stages", "loyalty_tiers"),
)
ALWAYS = {"devices": DEVICE_CLASSES, "platforms": PLATFORMS}  # of which it has always one
_WEEK = (1 << WEEK_MIN) - 1

_Goal = tuple[Condition | tuple[str, tuple[Fact, ...]], bool]  # what it is about, and whether it is to hold
Above = Callable[[str], tuple[str, ...]]  # the topics above one


@dataclass(frozen=True, slots=True)
class _World:
    """What is known of the page view that is looked for."""

    one: Mapping[str, frozenset[str]] = field(default_factory=dict)  # field → values of which it has one
    not_one: Mapping[str, frozenset[str]] = field(default_factory=dict)
    some: tuple[tuple[str, frozenset[str]], ...] = ()  # (field, values) of which it has at least one
    without: Mapping[str, frozenset[str]] = field(default_factory=dict)
    week: Mapping[str, int] = field(default_factory=dict)  # zone → the minutes of a week that are left
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # field → [from, below)
    unknown: frozenset[str] = frozenset()  # numbers that are not known


@dataclass(slots=True)
class Effort:
    """How far each rule of a file is searched: half as far whenever a search was given up."""

    steps: int = STEPS


def is_possible(condition: Condition, above: Above, effort: Effort | None = None) -> bool:
    """Say whether some page view could meet a condition; True also where the search was given up."""
    effort = effort or Effort()
    steps = [effort.steps]
    try:
        found = any(True for _ in _solve([(condition, True)], _World(), above, steps))
    except RecursionError:  # so many parts that nothing is told
        return True
    given_up = steps[0] <= 0
    if given_up:
        effort.steps = max(effort.steps // 2, LEAST_STEPS)
    return found or given_up


def _solve(
    goals: list[_Goal],
    world: _World,
    above: Above,
    steps: list[int],
) -> Iterator[_World]:
    """Yield worlds in which all goals are as they should be."""
    steps[0] -= 1
    if steps[0] <= 0:
        return
    if not goals:
        yield world
        return
    (goal, wanted), rest = goals[0], goals[1:]
    if isinstance(goal, tuple):
        steps[0] -= (len(goal[1]) + len(world.some) + sum(map(len, world.without.values()))) // A_STEP
        for changed in _assume(world, goal[0], goal[1], wanted):
            if _is_consistent(changed, above):
                yield from _solve(rest, changed, above, steps)
        return
    parts: list[_Goal] = [
        *((one, True) for one in facts_of(goal)),
        *((part, True) for part in goal.all),
        *((part, False) for part in goal.none),
    ]
    if wanted and goal.any:
        for one in goal.any:
            yield from _solve([*parts, (one, True), *rest], world, above, steps)
    elif wanted:
        yield from _solve([*parts, *rest], world, above, steps)
    else:
        for part, so in parts:
            yield from _solve([(part, not so), *rest], world, above, steps)
        if goal.any:
            yield from _solve([*((part, False) for part in goal.any), *rest], world, above, steps)


def _assume(world: _World, name: str, facts: tuple[Fact, ...], wanted: bool) -> Iterator[_World]:
    """Yield the worlds in which one of these facts is met, or none of them is."""
    if name in RANGES:
        yield from _assume_range(world, name, facts[0].value, wanted)  # type: ignore[arg-type]  # of RANGES
        return
    if name in (*ZONED, "hours"):
        on = 0
        for fact in facts:
            on |= _minutes(name, fact.value)
        zone = facts[0].zone
        if name == "hours" and len({fact.zone for fact in facts}) > 1:
            if not wanted:
                for fact in facts:
                    world = _at(world, fact.zone, _WEEK & ~_minutes(name, fact.value))
                yield world
            else:
                yield from (_at(world, fact.zone, _minutes(name, fact.value)) for fact in facts)
            return
        yield _at(world, zone, on if wanted else _WEEK & ~on)
        return
    values = frozenset(str(fact.value) for fact in facts)
    if name in ONE:
        if wanted:
            left = world.one[name] & values if name in world.one else values
            yield replace(world, one={**world.one, name: left})
        else:
            out = world.not_one.get(name, frozenset()) | values
            yield replace(world, not_one={**world.not_one, name: out})
    elif wanted and name == "weather":  # a condition and a bucket of temperature, of each one
        for kind in (CONDITIONS, TEMPERATURES):
            part = values & set(kind)
            if part:
                key = f"weather:{kind[0]}"
                yield replace(world, one={**world.one, key: world.one.get(key, part) & part})
    elif name == "weather":
        keys = [f"weather:{kind[0]}" for kind in (CONDITIONS, TEMPERATURES)]
        out_of = {key: world.not_one.get(key, frozenset()) | values for key in keys}
        yield replace(world, not_one={**world.not_one, **out_of})
    elif wanted:
        yield replace(world, some=(*world.some, (name, values)))
    else:
        yield replace(world, without={**world.without, name: world.without.get(name, frozenset()) | values})


def _assume_range(world: _World, name: str, range: Range, wanted: bool) -> Iterator[_World]:
    low = float("-inf") if range.at_least is None else range.at_least
    high = float("inf") if range.below is None else range.below
    if wanted:
        if name not in world.unknown:
            yield _between(world, name, low, high)
        return
    if name not in world.numbers:
        yield replace(world, unknown=world.unknown | {name})
    if name not in world.unknown:
        yield _between(world, name, float("-inf"), low)
        yield _between(world, name, high, float("inf"))


def _between(world: _World, name: str, low: float, high: float) -> _World:
    least, most = world.numbers.get(name, (float("-inf"), float("inf")))
    return replace(world, numbers={**world.numbers, name: (max(low, least), min(high, most))})


def _at(world: _World, zone: str, minutes: int) -> _World:
    return replace(world, week={**world.week, zone: world.week.get(zone, _WEEK) & minutes})


def _is_consistent(world: _World, above: Above) -> bool:
    for name, values in world.one.items():
        if not values - world.not_one.get(name, frozenset()):
            return False
    for name, all_values in ALWAYS.items():
        if not set(all_values) - world.not_one.get(name, frozenset()):
            return False
    if not all(world.week.values()) or not all(low < high for low, high in world.numbers.values()):
        return False
    for inner, outer, end in (
        ("regions", "countries", "-"),
        ("sections", "publishers", "/"),
        ("page_cohorts", "publishers", "/"),
    ):
        if inner in world.one:
            around = {value.partition(end)[0] for value in world.one[inner]}
            if not around & world.one.get(outer, around) or around <= world.not_one.get(outer, frozenset()):
                return False
    bucket = world.one.get(f"weather:{TEMPERATURES[0]}")
    if bucket is not None and "temperature_c" in world.numbers:
        low, high = world.numbers["temperature_c"]
        tried = [max(low, -90.0), *(d for d in range(-90, 60) if low <= d < high)]  # degrees are whole
        if not bucket & {band(degrees) for degrees in tried}:
            return False
    for name, values in world.some:
        out = world.without.get(name, frozenset())
        if not any({value, *(above(value) if name == "topics" else ())}.isdisjoint(out) for value in values):
            return False
    return True


@lru_cache(1024)
def _minutes(name: str, value: object) -> int:
    """Return the minutes of a week at which a fact of time is met, one bit each."""
    if isinstance(value, Hours):
        return _minutes_of(value)
    if name == "weekdays":
        return _bits(0, DAY_MIN) << DAY_MIN * WEEKDAYS.index(value) if value in WEEKDAYS else 0
    day = 0
    for hour in range(24):
        if value in PARTS_OF_DAY and part_of_day(hour) == value:
            day |= _bits(hour * 60, hour * 60 + 60)
    return sum(day << DAY_MIN * number for number in range(7))


def _minutes_of(hours: Hours) -> int:
    """Return the minutes of a week at which a daypart is on (`is_on`), one bit each."""
    start, end = minute_of_day(hours.start), minute_of_day(hours.end)
    # Past midnight it goes on on the next day, and after Sunday on Monday.
    begun = _bits(start, end if start < end else DAY_MIN + end)
    week = 0
    for number, day in enumerate(WEEKDAYS):
        if not hours.weekdays or day in hours.weekdays:
            week |= begun << DAY_MIN * number
    return (week | week >> WEEK_MIN) & _WEEK


def _bits(start: int, end: int) -> int:
    return (1 << end) - (1 << start)
