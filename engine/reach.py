"""How many page groups of the last released day a rule could match: told when it is loaded.

A group is a cell of a released table that says what of a page or its moment: a topic, a section, a device class in a
part of the day and a weather. What a group does not say may be anything, so that a rule could match it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from contexts.context import TEMPERATURES
from engine.campaign import Condition
from engine.conditions import Fact, facts_of, walk
from engine.sections import OTHER
from privacy.budget import QueryId
from privacy.release import Release, day_of, query_of
from privacy.workload import table

FLOOR = 50  # page views, and beyond its noise: of fewer a group is none
DAYS = 7  # closed days among which the last released one is looked for
Maybe = tuple[bool, bool]  # whether it can hold, and whether it can fail to
Above = Callable[[str], Sequence[str]]  # the topics above one
Group = Mapping[str, frozenset[str]]  # field of rules → all values that the group's page views have
# What groups are called, the table that tells of them, and the fields of rules that its dimensions decide.
TOLD = (
    ("topics", "topics", ("topics",)),
    ("sections", "placements", ("publishers", "sections")),
    ("moments", "moments", ("publishers", "devices", "parts_of_day", "weather")),
)


class Kept(Protocol):
    """Where releases are kept."""

    def released(self, query: QueryId) -> bytes | None:
        """Return the body of a release, None where there is none."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The page groups of one table."""

    name: str
    fields: frozenset[str]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class ReleasedDay:
    """What a released day told of page groups."""

    day: int  # since 1970
    tables: tuple[Groups, ...]


def told_of(condition: Condition, day: ReleasedDay | None, above: Above) -> str | None:
    """Say how many groups a rule could match, of the tables that bear on it; None where none does."""
    asked = {field for part in walk(condition) for field, _ in facts_of(part)}
    if not any(asked.intersection(fields) for _, _, fields in TOLD):
        return None
    if day is None:
        return f"no page groups were released in the last {DAYS} days to hold its rules against"
    said = [
        f"{sum(could_match(condition, group, above) for group in one.groups)} of {len(one.groups)} {one.name}"
        for one in day.tables
        if one.fields & asked
    ]
    return f"its rules could match {', '.join(said)} of those released for {day_of(day.day).isoformat()}"


def last_released(kept: Kept, closed: int, above: Above) -> ReleasedDay | None:
    """Return the page groups of the last day that was released, of some closed ones; None where none was."""
    for day in range(closed, closed - DAYS, -1):
        bodies = [kept.released(query_of(table(name), day)) for _, name, _ in TOLD]
        if all(bodies):
            releases = [Release.read(body) for body in bodies if body is not None]
            return ReleasedDay(
                day,
                tuple(
                    Groups(name, frozenset(fields), tuple(_groups(release, above)))
                    for (name, _, fields), release in zip(TOLD, releases, strict=True)
                ),
            )
    return None


def could_match(condition: Condition, group: Group, above: Above) -> bool:
    """Say whether a rule could hold of a page view of a group."""
    return _maybe(condition, group, above)[0]


def _groups(release: Release, above: Above) -> Iterator[Group]:
    sums: dict[tuple[tuple[str, str], ...], int] = {}
    for (
        key,
        count,
    ) in release.cells():  # a section's placements are those that were filled and those that were not
        said = tuple((dim, one) for dim, one in zip(release.dims, key, strict=True) if dim != "outcome")
        sums[said] = sums.get(said, 0) + count
    for said, count in sums.items():
        if count >= max(FLOOR, release.margin95):
            yield _group(dict(said), above)


def _group(cell: Mapping[str, str], above: Above) -> Group:
    known = {
        field: frozenset({cell[dim]})
        for dim, field in (
            ("publisher", "publishers"),
            ("device", "devices"),
            ("part", "parts_of_day"),
            ("weather", "weather"),
        )
        if dim in cell
    }
    if "topic" in cell:
        known["topics"] = frozenset({cell["topic"], *above(cell["topic"])} - {""})
    if "section" in cell:
        named = set() if cell["section"] == OTHER else {f"{cell['publisher']}/{cell['section']}"}
        known["sections"] = frozenset(named)
    return known


def _maybe(condition: Condition, group: Group, above: Above) -> Maybe:
    parts = [_some([_fact(fact, group, above) for fact in facts]) for _, facts in facts_of(condition)]
    parts += [_maybe(part, group, above) for part in condition.all]
    if condition.any:
        parts.append(_some([_maybe(part, group, above) for part in condition.any]))
    parts += [tuple(reversed(_maybe(part, group, above))) for part in condition.none]  # type: ignore[misc]  # of two
    return all(can for can, _ in parts), any(fail for _, fail in parts)


def _some(parts: Sequence[Maybe]) -> Maybe:
    return any(can for can, _ in parts), all(fail for _, fail in parts)


def _fact(fact: Fact, group: Group, above: Above) -> Maybe:
    known = group.get(fact.field)
    if known is None or fact.zone or fact.value in TEMPERATURES:
        return True, True  # the group does not say
    if fact.value in known:
        return True, False
    # A topic may be told by one above it: what lies below is not ruled out.
    below = fact.field == "topics" and not known.isdisjoint(above(str(fact.value)))
    return below, True
