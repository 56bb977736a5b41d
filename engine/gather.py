"""Ask every source what it knows of a visit. A source that knows nothing is named, and costs nothing more."""

from __future__ import annotations

from datetime import datetime

from contexts import weather
from contexts.clock import Clock
from contexts.context import Context, PageFacts, PlaceFacts, WeatherFacts
from contexts.place import Atlas
from contexts.weather import WeatherTable
from engine.campaign import Publisher
from engine.errors import UnknownPublisher
from engine.pages import Pages
from engine.snapshot import Snapshot
from privacy.visit import PlaceInput, Visit

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
        seen = self._weather(visit, place, now)
        page = self.pages.facts(visit, publisher, deadline)
        missing = []
        if page.vector is None:
            missing.append("page")
        if seen is None:
            missing.append("weather")
        return Context(
            publisher=publisher.id,
            page=page,
            device=visit.device,
            clock=self.clock.facts(visit.at or now, visit.timezone or publisher.timezone, place),
            place=place,
            weather=seen,
            missing=tuple(missing),
        )

    def topics(self, page: PageFacts) -> frozenset[str]:
        """Return a page's topics with all their ancestors, for rules that name a subtree."""
        taxonomy = self.pages.model.taxonomy
        return frozenset(
            above for topic in page.topics if topic.id in taxonomy for above in (topic.id, *taxonomy.ancestors(topic.id))
        )

    def _place(self, visit: Visit, publisher: Publisher) -> PlaceFacts:
        if visit.place.country is not None:
            return self.atlas.facts(visit.place)
        return self.atlas.facts(PlaceInput(publisher.country, publisher.region))

    def _weather(self, visit: Visit, place: PlaceFacts, now: datetime) -> WeatherFacts | None:
        if visit.weather is not None:
            return weather.stated(visit.weather)
        if self.table is None:
            return None
        found = self.table.facts(place, now)
        if found is None:
            return None
        steps = round(found.confidence * CONFIDENCE_STEPS)
        if steps == 0:
            return None
        return WeatherFacts(found.condition, found.temperature, steps / CONFIDENCE_STEPS)
