"""A small world for tests: a real store, a real snapshot, and an encoder that hashes words instead of reading them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from contexts.clock import Clock
from contexts.context import Context, EncoderId, PageFacts, PlaceFacts, Topic, TopicId, Vector, WeatherFacts
from contexts.encode import unit
from contexts.facets import STANDING_WEIGHTS
from contexts.page import TopicModel
from contexts.place import Atlas
from contexts.taxonomy import content_taxonomy
from contexts.topic_vectors import TopicVectors
from engine.background import Background
from engine.build import Recipe
from engine.campaign import Advertiser, Campaign, Publisher, Suitability
from engine.catalog import Catalog, View
from engine.change import Change, Entity
from engine.creative import Creative
from engine.decide import Engine
from engine.decision import Placement
from engine.gather import Gatherer
from engine.pages import Pages
from engine.store import SqliteStore, open_store
from engine.why import WhyLinks
from privacy.gate import Arrival, enter
from privacy.visit import Device

NOW = datetime(2026, 11, 23, 18, 5, tzinfo=UTC)  # a Monday, 19:05 in Berlin


class WordEncoder:
    """Each word is a fixed random direction; a text is the direction of their sum."""

    id = EncoderId("words-1")
    dim = 64

    def encode(self, texts: Sequence[str], tokens: int = 64) -> Vector:
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().replace(".", " ").replace(",", " ").split():
                row += direction(word)
        return unit(rows)


@cache
def direction(word: str) -> Vector:
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
    return np.random.default_rng(seed).standard_normal(WordEncoder.dim).astype(np.float32)


def publisher(id: str = "planet", **more) -> Publisher:
    return Publisher(
        **{"id": id, "name": id, "domains": (f"{id}.example",), "timezone": "Europe/Berlin", "country": "DE"}
        | more
    )


def advertiser(id: str = "acme") -> Advertiser:
    return Advertiser(id=id, name=id.title(), domains=(f"{id}.example",))


def campaign(id: str = "spring", advertiser: str = "acme", **more) -> Campaign:
    suits_all = Suitability(avoid=(), accept_unknown=True)
    return Campaign(
        **{"id": id, "advertiser": advertiser, "name": id, "cpm_micros": 1_000_000, "suitability": suits_all}
        | more
    )


def creative(id: str = "spring-1", campaign: str = "spring", **more) -> Creative:
    return Creative(
        **{
            "id": id,
            "campaign": campaign,
            "format": "native",
            "headline": f"headline of {id}",
            "landing_url": "https://acme.example/",
        }
        | more
    )


@dataclass
class World:
    """A store with a catalogue over it, as of NOW unless told."""

    folder: Path
    now: datetime = NOW
    encoder: WordEncoder = field(default_factory=WordEncoder)

    def __post_init__(self) -> None:
        self.store: SqliteStore = open_store(f"sqlite:///{self.folder / 'world.db'}")
        self._catalog: Catalog | None = None

    def put(self, *entities: Entity) -> None:
        """Store entities, replacing those of their ids."""
        changes = []
        for entity in entities:
            kind = type(entity).__name__.lower()
            before = self.store.find(kind, [entity.id]).get(entity.id)
            if before != entity:
                changes.append(Change(before, entity))
        self.store.write(changes, [], self.store.versions(), "test", self.now)

    def remove(self, entity: Entity) -> None:
        self.store.write([Change(entity, None)], [], self.store.versions(), "test", self.now)

    @property
    def catalog(self) -> Catalog:
        if self._catalog is None:
            kept: dict[str, Vector] = {}
            topics = TopicVectors.build(self.encoder, content_taxonomy(), kept)
            recipe = Recipe(
                self.encoder, topics, STANDING_WEIGHTS, lambda name: f"https://ads.example/images/{name}"
            )
            self._catalog = Catalog(self.store, recipe, self.folder / "snapshots", lambda: self.now)
        return self._catalog

    @property
    def view(self) -> View:
        self.catalog.refresh()
        return self.catalog.view(self.now)

    def page(self, text: str = "", **more) -> PageFacts:
        vector = self.encoder.encode([text])[0] if text else None
        known = {
            "content_hash": text or "nothing",
            "encoder_id": self.encoder.id,
            "vector": vector,
            "language": "en",
        }
        return PageFacts(**known | {"suitability_known": bool(text)} | more)

    def context(self, text: str = "", *, page: PageFacts | None = None, **more) -> Context:
        place = more.pop("place", PlaceFacts("DE"))
        clock = Clock(Atlas.load()).facts(
            more.pop("at", self.now), more.pop("timezone", "Europe/Berlin"), place
        )
        facts = {"publisher": "planet", "page": page or self.page(text), "device": Device(), "clock": clock}
        return Context(**facts | {"place": place} | more)


def topics(*ids: str) -> tuple[Topic, ...]:
    return tuple(Topic(TopicId(id), id, 0.9) for id in ids)


def rain() -> WeatherFacts:
    return WeatherFacts("rain", "cold")


class Ticker:
    """A monotonic clock that goes when it is told, and a little with each look where `step` says so."""

    def __init__(self, step: float = 0.0):
        self.now, self.step = 1000.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@cache
def topic_model() -> TopicModel:
    """A reader of pages in the space of WordEncoder; built once, for it is frozen."""
    return TopicModel.build(WordEncoder(), content_taxonomy())


class Site:
    """A world with an engine over it: pages by the word encoder, clocks that stand still."""

    def __init__(
        self,
        world: World,
        *,
        table=None,
        fetch=None,
        encoder=None,
        store=None,
        recorder=None,
        ladder_percent=0,
        holdout_percent=0,
        **more,
    ):
        self.world, self.ticker = world, Ticker()
        self.encoder = encoder or world.encoder
        self.texts: list[str] = []

        def better(text):
            self.texts.append(text.for_encoder())
            return unit(world.encoder.encode([text.for_encoder() + " better"]))[0]

        settings = {"most": 1000, "text_ttl_s": 60.0, "url_hash": lambda url: f"hash of {url}"} | more
        self.pages = Pages(
            store or world.store,
            self.encoder,
            topic_model(),
            better,
            fetch,
            now=lambda: world.now,
            monotonic=self.ticker,
            **settings,
        )
        self.pages.use_phrases(frozenset(world.view.snapshot.manifest.phrases))
        self.gatherer = Gatherer(self.pages, Clock(Atlas.load()), Atlas.load(), table)
        self.lists = Background("lists", 100, self.ticker)
        kept: dict[str, Vector] = {}
        self.chance: Callable[[int], bytes] = secrets.token_bytes
        self.engine = Engine(
            world.catalog,
            self.gatherer,
            self.lists,
            TopicVectors.build(world.encoder, content_taxonomy(), kept),
            WhyLinks("https://ads.example", b"world"),
            now=lambda: world.now,
            monotonic=self.ticker,
            request_id=lambda: "id",
            chance=lambda count: self.chance(count),
            recorder=recorder,
            ladder_percent=ladder_percent,
            holdout_percent=holdout_percent,
        )

    def visit(self, *, trusted: bool = False, **said):
        return enter(Arrival(), said.pop("publisher", "planet"), trusted=trusted, **said)

    def read(self, *, trusted: bool = False, time_left: float = 1.0, **said) -> PageFacts:
        """Return the facts of a page as of now."""
        visit = self.visit(trusted=trusted, **said)
        publisher = self.world.view.snapshot.publishers[visit.publisher]
        return self.pages.facts(visit, publisher, self.ticker.now + time_left)

    def work(self) -> None:
        """Let the queues do what they hold."""
        for queue in (self.pages.background, self.pages.fetching, self.lists):
            queue.start()
            assert queue.wait(20)
            queue.stop()

    def ask(self, *placements, explain=True, time_left=1.0, **said):
        """Return the answer for a page view."""
        return self.engine.decide(
            self.visit(**said),
            placements or (Placement("top", count=9),),
            explain=explain,
            deadline=self.ticker.now + time_left,
        )

    def shown(self, *placements, **said) -> list[str]:
        """Return the ids of the creatives that a page view gets, in their order."""
        answer = self.ask(*placements, **said)
        return [msgspec.json.decode(filled.creative)["id"] for filled in answer.decisions]
