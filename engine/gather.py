"""Ask every source what it knows of a visit. A source that knows nothing is named, and costs nothing more."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from contexts import weather
from contexts.clock import Clock
from contexts.context import ClockFacts, Context, PageFacts, PlaceFacts, WeatherFacts
from contexts.facets import weather_confidence
from contexts.place import Atlas
from contexts.rungs import device_of, part_of, reads_page
from contexts.senses import Senses
from contexts.weather import WeatherTable
from engine.campaign import Publisher
from engine.errors import UnknownPublisher
from engine.learn.diet import Facet
from engine.pages import Pages
from engine.sections import section_of
from engine.snapshot import Snapshot
from privacy.visit import Device, PlaceInput, Visit

UNREAD = "?"  # a value that no table has
CONFIDENCE_STEPS = 8  # weather fades in so many steps, so that what was found for one is found again


class Gatherer:
    """Gathers the facts of a page view from clock, place, weather and page."""

    def __init__(self, pages: Pages, clock: Clock, atlas: Atlas, table: WeatherTable | None) -> None:
        self.pages = pages
        self.clock = clock
        self.atlas = atlas
        self.table = table

    def gather(self, visit: Visit, snapshot: Snapshot, now: datetime, deadline: float) -> Context:
        """Return the context of a visit. Raises UnknownPublisher, and FactError for a fact that cannot be."""
        publisher = snapshot.publishers.get(visit.publisher)
        if publisher is None:
            raise UnknownPublisher(visit.publisher)
        place = self._place(visit, publisher)
        return self._context(
            publisher,
            self.pages.facts(visit, publisher, deadline),
            visit.device,
            self.clock.facts(visit.at or now, visit.timezone or publisher.timezone, place),
            place,
            (weather.stated(visit.weather) if visit.weather else None) or self._weather(place, now),
            None if visit.page.url is None else section_of(publisher, visit.page.url),
        )

    def on_page(self, publisher: Publisher, page: PageFacts, now: datetime) -> Context:
        """Return the context of a known page on a publisher's site, as of now, on the default device."""
        place = self.atlas.facts(PlaceInput(publisher.country, publisher.region))
        clock = self.clock.facts(now, publisher.timezone, place)
        return self._context(publisher, page, Device(), clock, place, self._weather(place, now))

    @property
    def senses(self) -> Senses:
        """Return what tells in which meaning words stand on pages."""
        return self.pages.model.senses

    def topics(self, page: PageFacts) -> frozenset[str]:
        """Return a page's topics with all their ancestors, for rules that name a subtree."""
        taxonomy = self.pages.model.taxonomy
        return frozenset(
            above
            for topic in page.topics
            if topic.id in taxonomy
            for above in (topic.id, *taxonomy.ancestors(topic.id))
        )

    def facets(self, context: Context) -> dict[Facet, str]:
        """Return a context's values as released tables have them."""
        topics, weather = context.page.topics, context.weather
        page, segment = reads_page(context), context.segment
        topic = self.pages.model.taxonomy.tier_1(topics[0].id) if topics else ""
        if segment is not None:
            topic = segment.topic or UNREAD
        condition = (weather.condition if weather is not None else None) or ""
        return {
            "topic": topic if page or segment is not None else UNREAD,
            "part": part_of(context) or UNREAD,
            "weather": condition if page else UNREAD,
            "device": device_of(context) or UNREAD,
        }

    def _place(self, visit: Visit, publisher: Publisher) -> PlaceFacts:
        if visit.place.country is not None:
            return self.atlas.facts(visit.place)
        return self.atlas.facts(PlaceInput(publisher.country, publisher.region))

    def _weather(self, place: PlaceFacts, now: datetime) -> WeatherFacts | None:
        """Return the table's weather, its confidence in steps."""
        found = self.table.facts(place, now) if self.table is not None else None
        steps = round(found.confidence * CONFIDENCE_STEPS) if found is not None else 0
        if found is None or steps == 0 or not (found.condition or found.temperature):
            return None
        return replace(found, confidence=steps / CONFIDENCE_STEPS)

    @staticmethod
    def _context(
        publisher: Publisher,
        page: PageFacts,
        device: Device,
        clock: ClockFacts,
        place: PlaceFacts,
        seen: WeatherFacts | None,
        section: str | None = None,
    ) -> Context:
        missing = (
            *(("page",) if page.vector is None else ()),
            *(() if weather_confidence(seen) else ("weather",)),
        )
        return Context(publisher.id, page, device, clock, place, seen, missing, section=section)
