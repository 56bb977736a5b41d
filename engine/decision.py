"""What leaves each stage of a decision."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.campaign import Format


@dataclass(frozen=True, slots=True)
class Placement:
    """A place on the page that asks for `count` creatives."""

    id: str
    formats: tuple[Format, ...] = ("native", "banner")
    sizes: tuple[tuple[int, int], ...] = ()  # empty: any
    count: int = 1
    floor_micros: int = 0  # CPM
    block_advertisers: tuple[str, ...] = ()
    block_categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """The share of one facet in a score, and why in words. Shares of a creative's reasons sum to 1."""

    facet: str  # "page", "device", "time", "weather"
    share: float
    because: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """An eligible creative with its match: the weighted mean of its facets' matches, -1 to 1."""

    row: int
    match: float


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate in its final order."""

    row: int
    match: float
    value: float  # match × bid in micro-units
    parts: dict[str, float] = field(default_factory=dict)  # facet → its part of `match`
