"""What is going on around a page view: the facts that matching and targeting read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NewType

import numpy as np
from numpy.typing import NDArray

from privacy.consent import Consented
from privacy.visit import CONDITIONS as CONDITIONS
from privacy.visit import Condition as Condition
from privacy.visit import Device

Vector = NDArray[np.float32]
TopicId = NewType("TopicId", str)
EncoderId = NewType("EncoderId", str)

PartOfDay = Literal["night", "morning", "midday", "afternoon", "evening"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Season = Literal["spring", "summer", "autumn", "winter"]
Daylight = Literal["day", "golden", "twilight", "night"]
Temperature = Literal["freezing", "cold", "mild", "warm", "hot"]
Intent = Literal["awareness", "consideration", "decision"]

PARTS_OF_DAY: tuple[PartOfDay, ...] = ("night", "morning", "midday", "afternoon", "evening")
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SEASONS: tuple[Season, ...] = ("spring", "summer", "autumn", "winter")
DAYLIGHTS: tuple[Daylight, ...] = ("day", "golden", "twilight", "night")
TEMPERATURES: tuple[Temperature, ...] = ("freezing", "cold", "mild", "warm", "hot")
INTENTS: tuple[Intent, ...] = ("awareness", "consideration", "decision")

# IAB Content Taxonomy 3.1, the children of Sensitive Topics (v9i3On), by short names that targeting uses.
SENSITIVE: dict[str, TopicId] = {
    "adult": TopicId("Rm3SiT"),
    "arms": TopicId("avbNf2"),
    "conflict": TopicId("I4GWl6"),
    "crime": TopicId("XtODT3"),
    "drugs": TopicId("pg0WhF"),
    "hate": TopicId("HxqYV1"),
    "obscenity": TopicId("j9PaO9"),
    "piracy": TopicId("mm3UXx"),
    "social_issues": TopicId("Z7rJBM"),
    "spam": TopicId("6i4dB6"),
    "terrorism": TopicId("8FD8nI"),
}


Risk = Literal["low", "medium", "high", "floor"]
# Of sensitive pages, from mentions of a matter to what nobody ought to be seen beside.
RISKS: tuple[Risk, ...] = ("low", "medium", "high", "floor")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of IAB Content Taxonomy 3.1 with how sure we are, 0 to 1."""

    id: TopicId
    name: str
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class PageFacts:
    """What a page is about. Never its text."""

    content_hash: str  # 32 hex digits over what was read; the key of every cache of this page
    encoder_id: EncoderId
    vector: Vector | None  # (dim,) float32 of norm 1; None where no text was to be had
    topics: tuple[Topic, ...] = ()  # best first, tier-1 parents included
    keyphrases: tuple[str, ...] = ()  # from closed vocabularies only, lower case
    language: str | None = None  # ISO 639-1
    intent: Intent | None = None
    sensitive: frozenset[str] = frozenset()  # keys of SENSITIVE
    risks: dict[str, Risk] = field(default_factory=dict)  # of `sensitive`; what is not here is high
    special: frozenset[str] = frozenset()  # keys of privacy.special_categories
    suitability_known: bool = False  # False: only creatives that accept unknown suitability
    confidence: float = 1.0  # how far the vector is to be trusted: short texts and old readings less
    better: bool = False  # the vector is the better one, made off the path
    pending: bool = False  # the vector is still to be made: no time was left for it, or the encoder failed
    notes: tuple[str, ...] = ()  # said in the explanation: "language 'de': no topics, as none are stated"


def risk_of(page: PageFacts, flag: str) -> Risk:
    """Return how risky a page is by one of its sensitive flags."""
    return page.risks.get(flag, "high")


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """The hour in the publisher's zone, coarsened."""

    at: datetime  # aware, in the publisher's zone
    part: PartOfDay
    weekday: Weekday
    season: Season | None
    daylight: Daylight | None
    holiday: str | None


@dataclass(frozen=True, slots=True)
class PlaceFacts:
    """Country and region as the publisher states them; no finer."""

    country: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class WeatherFacts:
    """Weather in buckets. `confidence` fades from 1 to 0 as the observation ages; at 0 it is unknown."""

    condition: Condition | None = None
    temperature: Temperature | None = None
    confidence: float = 1.0
    temperature_c: float | None = None  # in whole degrees
    wind_ms: float | None = None  # in whole metres a second


@dataclass(frozen=True, slots=True, eq=False)
class SegmentFacts:
    """What is read of a page view of which no more than its segment may be (contexts.segments)."""

    id: str
    section: str | None  # None: of several
    device: str | None
    part: str | None
    topic: (
        str  # the tier-1 topic that its sections are about; "" where these are several, or none is declared
    )
    vector: Vector | None  # of what its sections are about
    device_block: Vector  # how likely each value is, as in contexts.facets
    time_block: Vector


@dataclass(frozen=True, slots=True)
class Admitted:
    """What a reader lets the publisher say of them, as far as it may act in one decision."""

    cohorts: tuple[str, ...] = ()
    journey_stage: str | None = None
    loyalty_tier: str | None = None
    capped: tuple[str, ...] = ()  # campaigns that were shown to them often enough
    used: tuple[str, ...] = ()  # the signals that these are, by name


NOTHING_TOLD = Admitted()


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """The facts of one page view that were admitted."""

    publisher: str
    page: PageFacts
    device: Device
    clock: ClockFacts
    place: PlaceFacts = PlaceFacts()
    weather: WeatherFacts | None = None
    missing: tuple[str, ...] = field(default=())  # facets that could not be had: "page", "weather"
    consented: Consented[Admitted] | None = None  # made by privacy.gate alone
    section: str | None = None  # of the publisher's site; None where the page's URL is not known
    rung: str = ""  # of contexts.rungs, where the view was put on one by lot
    segment: SegmentFacts | None = None  # on the rung of that name

    @property
    def told(self) -> Admitted:
        """Return the consented signals; without consent there are none."""
        return NOTHING_TOLD if self.consented is None else self.consented.value
