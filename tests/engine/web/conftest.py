"""A service over small fakes of what stands behind the web."""

from __future__ import annotations

import gzip
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from werkzeug.test import Client, TestResponse

from contexts.context import EncoderId, PageFacts
from engine.admission import Admission
from engine.campaign import Advertiser, Campaign, Publisher
from engine.change import Change
from engine.config import CONSENT_KEYS, Config
from engine.consents import Consents, open_consents
from engine.conversions import Conversions
from engine.creative import Creative
from engine.decide import Admit
from engine.decision import Answer, Filled, Offer, Placement, PrivacyAnswer
from engine.deletions import Deletions
from engine.door import Door
from engine.events import Event
from engine.keys import KeyTable, Scope, create_key
from engine.log_files import LogFiles
from engine.reporting import Reporting
from engine.status_list import StatusList
from engine.store import SqliteStore
from engine.store.events_sqlite import SqliteEvents
from engine.store.leaves import KeptLeaves
from engine.store.money_sqlite import SqliteMoney
from engine.tickets import Tickets
from engine.today import Today
from engine.web import create_app
from engine.web.decisions import Admits
from engine.why import Votes, WhyLinks
from privacy import iab
from privacy.consent_token import Verifier
from privacy.event_token import Sealer
from privacy.gate import Checks
from privacy.keyring import Keyring
from privacy.visit import Visit

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ORIGIN = "https://www.planet.test"
DECIDE = "/v1/decisions"
CALLERS: tuple[tuple[str, Scope, str | None], ...] = (
    ("operator", "operator", None),
    ("compliance", "compliance", None),
    ("planet", "publisher", "planet"),
    ("globe", "publisher", "globe"),
    ("acme", "advertiser", "acme"),
    ("rival", "advertiser", "rival"),
)


class FakeEngine:
    """Fills each placement with one creative and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Visit, tuple[Placement, ...], bool, float]] = []
        self.fails: Exception | None = None

    def decide(
        self,
        visit: Visit,
        placements: Sequence[Placement],
        *,
        explain: bool,
        deadline: float,
        admit: Admit | None = None,
        test: bool = False,
        strict: bool = False,
    ) -> Answer:
        self.asked.append((visit, tuple(placements), explain, deadline))
        if self.fails is not None:
            raise self.fails
        creative = msgspec.Raw(
            b'{"id":"c1","campaign":"k1","advertiser":"a1","format":"native","assets":{},"html":"",'
            b'"landing_domain":"a1.test","size":null}'
        )
        return Answer(
            request_id="r1",
            decisions=tuple(Filled(p.id, creative, "https://a1.test/", 0.5) for p in placements[:1]),
            unfilled=tuple(p.id for p in placements[1:]),
            degraded=False,
            missing=("weather",),
            privacy=PrivacyAnswer(gpc="honored" if visit.gpc else None),
            snapshot=7,
        )

    def offer(
        self,
        visit: Visit,
        placements: Sequence[Placement],
        *,
        deadline: float,
        test: bool,
        block_domains: Sequence[str] = (),
    ) -> tuple[Answer, tuple[Offer, ...]]:
        answer = self.decide(visit, placements, explain=False, deadline=deadline, test=test)
        return answer, tuple(Offer(1000, ("a1.test",), ()) for _ in answer.decisions)

    def page(self, visit: Visit, deadline: float) -> PageFacts:
        return PageFacts("0" * 32, EncoderId("fake"), None)


class FakeLog:
    """The files of a consent log, and why it is not signed."""

    def __init__(self, folder: Path, public: bool = False) -> None:
        self.folder = folder
        self.files = self.published(None)
        self.public = public
        self.reason: str | None = None
        self.shards = self

    def published(self, year: int | None) -> LogFiles:
        folder = self.folder / "log"
        return LogFiles(folder if year is None else folder / str(year), self.folder)

    def fault(self) -> str | None:
        return self.reason


class Shared:
    """Everybody shares every value."""

    def shared(self, publisher: str, key: str, value: str) -> bool:
        return True

    def note(self, *_: Any, **__: Any) -> None:
        """Forget it."""


def admission_of(services: FakeServices) -> Admission:
    """Give what reads consent tokens over the consents that these services keep."""
    consents = services.consents
    assert consents is not None
    restrict = partial(iab.restrict, role="publisher", vendor_id=None)
    checks = Checks(Verifier(), consents.store, restrict, consents._mac, 50)
    return Admission(checks, consents.issuer, Shared(), now=services.now, most=2)


class AtOnce:
    """Keeps each request's events by themselves."""

    def __init__(self, events: SqliteEvents) -> None:
        self.events = events

    def keep(self, events: Sequence[Event]) -> None:
        self.events.keep(events)

    def keep_later(self, events: Sequence[Event], told: Callable[[bool], object]) -> None:
        self.events.keep(events)
        told(True)


class FakeServices:
    """What the web reads of the services, over a real store."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.events, self.money = SqliteEvents(store), SqliteMoney(store)
        self.tickets = Tickets(Sealer(b"e" * 32))
        self.door = Door(self.tickets, AtOnce(self.events), self.now)
        self.why_links = WhyLinks("https://ads.example", b"why")
        self.votes = Votes(self.tickets, now=self.now, random_bytes=secrets.token_bytes)
        self.engine = FakeEngine()
        self.consent_log = FakeLog(store.path.parent)
        self.time = NOW
        self.leaves = KeptLeaves(store)
        config = Config(key_dir=store.path.parent / "consent-keys", public_url="https://ads.example")
        consents = open_consents(
            config,
            store,
            self.leaves,
            Keyring.open(config.key_dir, CONSENT_KEYS, random=secrets.token_bytes),
            proof=lambda index: None,
            forget=lambda publisher, subject, now: None,
            now=self.now,
            random_bytes=secrets.token_bytes,
        )
        self.consents: Consents | None = consents
        self.deletions: Deletions | None = Deletions(
            consents,
            lambda: self.registered.values(),
            service_url="https://ads.example",
            seed=b"i" * 32,
            now=self.now,
            random_bytes=secrets.token_bytes,
        )
        self.admission: Admits | None = None
        self.conversions: Conversions | None = None
        self.status_list: StatusList | None = None
        self.reporting = Reporting(config, store, self.leaves, self.now)
        self.clock = 1000.0
        self.reason: str | None = None
        self.consents_off = self.consent_log.fault
        self.registered = {p.id: p for batch in _publishers(store) for p in batch}
        self._ids = 0

    def publishers(self) -> dict[str, Publisher]:
        return self.registered

    def today(self, publisher: str) -> Today | None:
        return "few" if publisher in self.registered else None

    def keys(self) -> KeyTable:
        return KeyTable(self.store.keys())

    def landing_url(self, creative: str) -> str | None:
        found = self.store.find("creative", [creative]).get(creative)
        return found.landing_url if isinstance(found, Creative) else None

    def unready(self) -> str | None:
        return self.reason

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.clock

    def close(self) -> None:
        if self.consents is not None:
            self.consents.close()
        self.store.close()

    def new_secret(self) -> bytes:
        return bytes(range(32))

    def new_id(self) -> str:
        self._ids += 1
        return f"id{self._ids}"


def _publishers(store: SqliteStore) -> list[tuple[Publisher, ...]]:
    with store.read() as reader:
        return list(reader.publishers())


class Service:
    """A client of the app, with what stands behind it."""

    def __init__(self, services: FakeServices, keys: dict[str, str]) -> None:
        self.services = services
        self.engine = services.engine
        self.keys = keys
        self.app = create_app(Config(), services)
        self.client = Client(self.app)

    def call(self, method: str, path: str, *, key: str | None = None, body: Any = None) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.keys.get(key, key)}"} if key else {}
        data = None if body is None else json.dumps(body)
        return self.client.open(
            path, method=method, headers=headers, data=data, content_type="application/json" if data else None
        )

    def decide(self, body: Any = None, *, raw: bytes | None = None, **headers: str) -> TestResponse:
        data = raw if raw is not None else json.dumps(request() if body is None else body).encode()
        sent = {"Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(DECIDE, data=data, headers=sent)


def request(**changes: Any) -> dict[str, Any]:
    """Give a full, valid body, with fields replaced; None removes one."""
    body: dict[str, Any] = {
        "publisher": "planet",
        "placements": [
            {
                "id": "top",
                "formats": ["native", "banner"],
                "sizes": [[300, 250]],
                "count": 1,
                "floor_cpm": 0.5,
                "block": {"advertisers": ["rival"], "categories": ["1002"]},
            }
        ],
        "page": {
            "url": "https://www.planet.test/rain?session=1#top",
            "title": "Rain ahead",
            "text": "It rains.",
            "language": "en-GB",
            "keywords": ["rain"],
            "categories": ["492"],
            "cattax": 9,
        },
        "device": {"class": "phone", "platform": "android"},
        "time": {"timezone": "Europe/Berlin", "at": "2026-11-23T18:05:00+01:00"},
        "place": {"country": "DE", "region": "BE"},
        "weather": {"condition": "rain", "temperature_c": 4.5},
        "explain": True,
        "test": False,
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


def errors(response: TestResponse, status: int = 422) -> dict[str, tuple[str, str]]:
    """Check that this is a problem of that status, and give its errors by field."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    told = json.loads(response.data)
    assert told["status"] == status
    return {error["field"]: (error["got"], error["expected"]) for error in told.get("errors", [])}


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def seed_catalogue(path: Path) -> dict[str, str]:
    """Make a small catalogue, and one key for each kind of caller."""
    store = SqliteStore(path)
    things = [
        Publisher(id="planet", name="The Planet", domains=("www.planet.test",)),
        Publisher(id="globe", name="The Globe", domains=("globe.test",), rate_per_s=2, approval="manual"),
        Advertiser(id="acme", name="Acme", domains=("acme.test",)),
        Advertiser(id="rival", name="Rival", domains=("rival.test",)),
        Campaign(id="k1", advertiser="acme", name="Boots", cpm_micros=1000),
        Creative(
            id="c1",
            campaign="k1",
            format="native",
            landing_url="https://acme.test/",
            headline="Boots",
            sponsored_by="Acme",
        ),
    ]
    store.write([Change(None, thing) for thing in things], [], store.versions(), "test", NOW)
    count = iter(range(1, 1_000_000))
    keys = {
        name: create_key(store, scope, tenant, "test", NOW, lambda size: next(count).to_bytes(size, "big"))
        for name, scope, tenant in CALLERS
    }
    store.close()
    return keys


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    path = tmp_path_factory.mktemp("seeded") / "catalog.db"
    return path, seed_catalogue(path)


@pytest.fixture
def service(seeded: tuple[Path, dict[str, str]], tmp_path: Path) -> Iterator[Service]:
    services = FakeServices(SqliteStore(Path(shutil.copy(seeded[0], tmp_path))))
    consents = services.consents
    yield Service(services, seeded[1])
    services.consents = consents
    services.close()
