"""Segments: the few groups into which a publisher's page views fall by section, device class and part of day alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from contexts.context import PARTS_OF_DAY, Context, PartOfDay, SegmentFacts, Vector
from contexts.encode import unit
from contexts.facets import SoftFacet, likely
from privacy.visit import DEVICE_CLASSES, DeviceClass

FEWEST, MOST = 3, 10  # groups of a publisher, the rest among them
REST = "other"  # the group of what falls into none, and the section of what lies in none

About = Callable[[str], tuple[Vector | None, str]]  # what a section is about: a vector, and the tier-1 topic


class ViewGroup(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A group of page views. A page view falls into the first whose lists hold it; an empty list holds all."""

    id: Annotated[
        str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$(?!\n)", description="lower-case id, 1-64 characters")
    ]
    sections: Annotated[tuple[str, ...], Meta(max_length=200)] = ()  # ids of the publisher's, or "other"
    devices: tuple[DeviceClass, ...] = ()
    parts_of_day: tuple[PartOfDay, ...] = ()

    def holds(self, section: str, device: str, part: str) -> bool:
        """Say whether a page view lies in it."""
        return (
            (not self.sections or section in self.sections)
            and (not self.devices or device in self.devices)
            and (not self.parts_of_day or part in self.parts_of_day)
        )


# Of a publisher that names none: phones and larger screens, each by part of day.
STANDARD: tuple[ViewGroup, ...] = tuple(
    ViewGroup(f"{name}-{part}", devices=devices, parts_of_day=(part,))
    for name, devices in (("phone", DEVICE_CLASSES[:1]), ("larger", DEVICE_CLASSES[1:]))
    for part in PARTS_OF_DAY
)


@dataclass(frozen=True, slots=True)
class Segments:
    """A publisher's groups in their order, laid out for reading; the last is the rest."""

    groups: tuple[tuple[ViewGroup, SegmentFacts], ...]

    @classmethod
    def of(cls, declared: Sequence[ViewGroup], about: About) -> Segments:
        """Lay out what a publisher declares, or the standard groups where it declares none."""
        named = (*(declared or STANDARD), ViewGroup(REST))
        return cls(tuple((one, _facts(one, about)) for one in named))

    def facts(self, context: Context) -> SegmentFacts:
        """Return what is read of a page view: its group, and nothing finer."""
        seen = context.section or REST, context.device.cls, context.clock.part
        return next(facts for group, facts in self.groups if group.holds(*seen))


def reached(declared: Sequence[ViewGroup], sections: Sequence[str]) -> set[str]:
    """Return the ids of the groups that some page view can fall into; `sections` are the publisher's."""
    named = (*(declared or STANDARD), ViewGroup(REST))
    return {
        next(group.id for group in named if group.holds(*seen))
        for seen in product((*sections, REST), DEVICE_CLASSES, PARTS_OF_DAY)
    }


def _facts(group: ViewGroup, about: About) -> SegmentFacts:
    """Say what a group tells: a value where it has but one, else each of its values alike likely."""
    told = [about(section) for section in group.sections]
    vectors = [vector for vector, _ in told if vector is not None]
    whole = len(vectors) == len(told) > 0  # each of its sections says what it is about
    mean = unit(np.array(vectors).mean(axis=0, keepdims=True))[0] if whole else None
    topics = {topic for _, topic in told}
    return SegmentFacts(
        group.id,
        _single(group.sections),
        _single(group.devices),
        _single(group.parts_of_day),
        topics.pop() if len(topics) == 1 else "",
        mean,
        _spread("device", [(value, None) for value in group.devices]),
        _spread("time", [(value, None, None) for value in group.parts_of_day]),
    )


def _single(values: Sequence[str]) -> str | None:
    return values[0] if len(values) == 1 else None


def _spread(facet: SoftFacet, values: list[tuple[str | None, ...]]) -> Vector:
    """Return the block of a fact that is one of these; a zero block where it may be any."""
    block: Vector = np.mean([likely(facet, one) for one in values or [(None,) * (2 + (facet == "time"))]], 0)
    block.flags.writeable = False
    return block
