"""The public keys of released tables: what the catalogue held in the period, and closed vocabularies.

No event is looked at: a key is there because an owner registered it, and stays where nobody saw it. The same
period gives the same keys, whenever they are asked for: later changes are undone by the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Protocol

from contexts.context import PARTS_OF_DAY
from contexts.rungs import RUNGS
from contexts.taxonomy import content_taxonomy
from engine.campaign import Campaign, Publisher
from engine.change import Entity, Kind
from engine.creative import Creative
from engine.events import VOTES
from engine.sections import OTHER
from privacy.release import Axis, Key
from privacy.special_categories import SPECIAL_CATEGORIES
from privacy.visit import CONDITIONS, DEVICE_CLASSES
from privacy.workload import OUTCOMES, Table

UNKNOWN = ""  # a topic or weather that nobody knows


class Catalog(Protocol):
    """The catalogue as it stands."""

    def publishers(self) -> Iterator[tuple[Publisher, ...]]:
        """Stream the publishers."""

    def campaigns(self) -> Iterator[tuple[Campaign, ...]]:
        """Stream the campaigns."""

    def creatives(self) -> Iterator[tuple[Creative, ...]]:
        """Stream the creatives."""


Changed = tuple[datetime, Kind, str, Entity | None]  # when, what, and what it was before


class CatalogDays(Protocol):
    """Gives the catalogue of past days."""

    def catalog_since(self, since: datetime) -> AbstractContextManager[tuple[Catalog, Iterator[Changed]]]:
        """Open the catalogue as it stands, with what was changed since then, newest first."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What there was in a period."""

    sections: tuple[Key, ...]  # (publisher, section)
    campaigns: tuple[str, ...]  # whose flight touches the period
    creatives: tuple[Key, ...]  # (campaign, creative) of these
    components: tuple[Key, ...]  # (creative, component): "", and "slot/part" of its messages

    def axes(self, table: Table) -> tuple[Axis, ...]:
        """Give the keys of a table."""
        match table.dims:
            case ("publisher", "section") as dims:
                return (Axis(dims, self.sections),)
            case ("publisher", "section", "outcome"):
                return (Axis(("publisher", "section"), self.sections), Axis(("outcome",), _single(OUTCOMES)))
            case ("campaign", "creative") as dims:
                return (Axis(dims, self.creatives),)
            case ("topic",):
                return (Axis(("topic",), _single(alone for alone, _ in topics().values())),)
        if table.dims[:2] == ("creative", "component"):
            rest = tuple(Axis((dim,), self._values(dim)) for dim in table.dims[2:])
            return (Axis(("creative", "component"), self.components), *rest)
        return tuple(Axis((dim,), self._values(dim)) for dim in table.dims)

    def _values(self, dim: str) -> tuple[Key, ...]:
        match dim:
            case "publisher":
                return _single(publisher for publisher, _ in self.sections)
            case "campaign":
                return _single(self.campaigns)
            case "creative":
                return _single(creative for _, creative in self.creatives)
            case "topic":
                return _single(beside for _, beside in topics().values())
            case "vote":
                return _single(VOTES)
            case "rung":
                return _single(rung for rung in RUNGS if rung)
            case "sum":
                return _single(("shown", "gain"))
            case "part":
                return _single(PARTS_OF_DAY)
            case "weather":
                return _single((*CONDITIONS, UNKNOWN))
            case "device":
                return _single(DEVICE_CLASSES)
        raise ValueError(f"dim: got {dim!r}, which has no public keys")


@cache
def topics() -> Mapping[str, tuple[str, str]]:
    """Say of each topic as what it is told: alone, and beside another dimension, where its first tier has to do.

    What Article 9 protects is never told below its first tier.
    """
    taxonomy = content_taxonomy()
    special = {
        below
        for category in SPECIAL_CATEGORIES.values()
        for topic in category.topics
        for below in taxonomy.subtree(topic)  # type: ignore[arg-type]  # the list is of the taxonomy's ids
    }
    told: dict[str, tuple[str, str]] = {UNKNOWN: (UNKNOWN, UNKNOWN)}
    for node in taxonomy:
        tier_1 = taxonomy.tier_1(node.id)
        told[node.id] = (tier_1 if node.id in special else node.id, tier_1)
    return told


def keys_of(days: CatalogDays, start: datetime, end: datetime) -> Keys:
    """Return what existed at any moment from `start` to before `end`."""
    sections: set[Key] = set()
    campaigns: set[str] = set()
    creatives: set[Key] = set()
    components: dict[str, set[str]] = {}
    for entity in _existed(days, start, end):
        if isinstance(entity, Publisher):
            named = (*(section.id for section in entity.sections), OTHER)
            sections.update((entity.id, section) for section in named)
        elif isinstance(entity, Campaign):
            if _flies(entity, start, end):
                campaigns.add(entity.id)
        elif isinstance(entity, Creative):
            creatives.add((entity.campaign, entity.id))
            lists = entity.parts.lists if entity.parts is not None else ()
            parts = {f"{slot}/{part.id}" for slot, some in lists for part in some}
            components.setdefault(entity.id, {""}).update(parts)
    flying = sorted(pair for pair in creatives if pair[0] in campaigns)
    of_parts = sorted({(creative, part) for _, creative in flying for part in components[creative]})
    return Keys(tuple(sorted(sections)), tuple(sorted(campaigns)), tuple(flying), tuple(of_parts))


def _existed(days: CatalogDays, start: datetime, end: datetime) -> Iterator[Entity]:
    with days.catalog_since(start) as (catalog, changes):
        at_end: dict[tuple[Kind, str], Entity | None] = {}  # of what was changed since
        for at, kind, id, before in changes:
            if at >= end:
                at_end[kind, id] = before
            elif before is not None:
                yield before
        streams: tuple[tuple[Kind, Iterator[tuple[Entity, ...]]], ...] = (
            ("publisher", catalog.publishers()),
            ("campaign", catalog.campaigns()),
            ("creative", catalog.creatives()),
        )
        for kind, stream in streams:
            for batch in stream:
                yield from (entity for entity in batch if (kind, entity.id) not in at_end)
        yield from (entity for entity in at_end.values() if entity is not None)


def _flies(campaign: Campaign, start: datetime, end: datetime) -> bool:
    flight = campaign.flight
    return (flight.start is None or flight.start < end) and (flight.end is None or flight.end > start)


def _single(values: Iterable[str]) -> tuple[Key, ...]:
    return tuple((value,) for value in sorted(set(values)))
