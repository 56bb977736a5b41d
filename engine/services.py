"""Builds every object of a process once, from Config, and runs what goes on beside the requests."""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from contexts import weather_sources
from contexts.clock import Clock
from contexts.context import PlaceFacts
from contexts.extract import PageText
from contexts.fetch import Fetcher, FetchPolicy
from contexts.page import ENGLISH, TopicModel
from contexts.page_vector import better_vector
from contexts.place import Atlas
from contexts.taxonomy import content_taxonomy
from contexts.weather import Source, WeatherTable
from contexts.weather_shared import SharedSource
from engine.admission import Admission
from engine.allocator import give_back, keep_few_arenas
from engine.background import Background
from engine.budgets import Budgets
from engine.build_apart import Builder
from engine.campaign import Publisher
from engine.catalog import Catalog
from engine.conditions import pairs_of
from engine.config import KEY_PURPOSES, Config
from engine.consent_log import ConsentLog, open_consent_keys, publishers_keys
from engine.consents import Consents, ConsentStore, open_consents, open_issuer, restriction
from engine.conversions import Conversions
from engine.decide import Engine
from engine.deletions import Deletions
from engine.door import Door
from engine.errors import ConfigError, EngineError, ModelError, StoreError
from engine.event_writer import EventWriter
from engine.events import day_of
from engine.faiss_index import single_thread
from engine.gather import Gatherer
from engine.governor import Buckets
from engine.keeper import keeps
from engine.keys import KeyTable
from engine.learn.response import Responses
from engine.pacing import resting
from engine.pages import Fetch, Pages
from engine.policies import Standing, model_of, standing
from engine.policy import Policy
from engine.purge import purge_events
from engine.recipe import VectorFiles, open_recipe
from engine.record import Recorder
from engine.release_apart import Releaser
from engine.report import latest
from engine.reporting import Reporting
from engine.snapshot import Snapshot
from engine.status_list import STATUS_PATH, StatusList
from engine.store import open_store
from engine.store.high_water import FILE as MARK
from engine.store.subjects_sqlite import FILE as SUBJECTS
from engine.tickets import Tickets
from engine.today import Today, today
from engine.weeks import Weeks, WeeksElsewhere
from engine.why import Votes, WhyLinks
from privacy.consent_token import Verifier
from privacy.event_token import Sealer
from privacy.gate import Checks
from privacy.keyring import Keyring
from privacy.visit import PlaceInput
from privacy.workload import table

log = logging.getLogger(__name__)

ID_BYTES = 12  # of an answer's id
PREPARE_S = 86_400.0  # between looks at the calendar: years end, and pages are forgotten
LOG_S = 1.0  # between looks whether the consent log is to be signed
TEND_S = 60.0  # between looks whether a week is over
WEATHER = "weather.json"  # of the places of publishers: one worker asks for it
FRESH = 0.75  # of the time between refreshes: what another worker was told so lately is not asked for again
MOMENTS = table("moments")  # what the governor reads
TICK_S = 1.0  # between looks at budgets
CLOSED = timedelta(hours=1)  # into a day, nothing is booked on the one before
EXPIRE_S = 1.0  # between looks for texts whose time is up


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


class Services:
    """The objects of one process. `start` begins what runs beside requests; `close` ends it."""

    def __init__(
        self,
        config: Config,
        *,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        single_thread()
        keep_few_arenas()
        self.config = config
        self.now = now
        self.monotonic = monotonic
        self._random_bytes = random_bytes
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        data = config.data_dir
        data.mkdir(parents=True, exist_ok=True)
        self.keyring = Keyring.open(config.key_dir, KEY_PURPOSES, random=random_bytes)
        self.store = open_store(config.store_url)
        currency = self.store.settle("currency", config.currency)
        if currency != config.currency:
            raise ConfigError(
                f"TACTFUL_CURRENCY is {config.currency}; all amounts in this store are in {currency}"
            )
        self.consent_keys, missing = open_consent_keys(config, random_bytes)
        self._keeps = config.store is None or keeps(self.store, config.key_dir, random_bytes)
        self.consent_log = ConsentLog(
            config,
            self.store,
            self.consent_keys if self._keeps else None,
            now=now,
            monotonic=monotonic,
            random_bytes=random_bytes,
            missing=missing,
            more_keys=lambda: publishers_keys(self.publishers().values()),
        )
        self.reporting = Reporting(config, self.store, self.consent_log.leaves, now)
        self._releaser = Releaser(config)
        self._tried: set[int] = set()
        recipe = open_recipe(config)
        self.encoder = recipe.encoder
        self.topics = recipe.topics
        model = TopicModel.build(
            self.encoder,
            content_taxonomy(),
            VectorFiles(data / "models" / "vectors"),
            languages=ENGLISH if config.encoder is None else None,
        )
        self.pages = Pages(
            self.store,
            self.encoder,
            model,
            lambda text: better_vector(self.encoder, text.for_encoder()),
            fetching(config, monotonic),
            url_hash=lambda url: self.keyring.mac("page-url", url.encode()).hex(),
            now=now,
            monotonic=monotonic,
            most=config.page_cache,
            text_ttl_s=config.text_ttl_s,
        )
        self.pages.load()
        self.background = Background("lists", 1000, monotonic)
        self._builder = Builder(config, self.store, recipe)
        self.catalog = Catalog(self.store, recipe, data / "snapshots", now, self._builder)
        atlas = Atlas.load()
        source = weather_source(config)
        self.weather = WeatherTable(source, interval_s=config.weather_refresh_s) if source else None
        self.clock = Clock(atlas)
        self.events = self.store.events()
        self.money = self.store.money()
        self.budgets = Budgets(self.money, self.new_id(), now=now, monotonic=monotonic)
        self.writer = EventWriter(self.events)
        tickets = self._tickets = Tickets(Sealer(self.keyring.key("events")))
        self.door = Door(tickets, self.writer, now)
        self.why_links = WhyLinks(config.base_url, self.keyring.mac("events", b"why-links"))
        self.votes = Votes(tickets, now=now, random_bytes=random_bytes)
        recorder = Recorder(
            tickets,
            self.budgets,
            self.writer,
            config.base_url,
            now=now,
            random_bytes=random_bytes,
            strict=config.event_profile == "strict",
        )
        self.engine = Engine(
            self.catalog,
            Gatherer(self.pages, self.clock, atlas, self.weather),
            self.background,
            self.topics,
            self.why_links,
            now=now,
            monotonic=monotonic,
            request_id=self.new_id,
            chance=random_bytes,
            recorder=recorder,
            ladder_percent=config.ladder_percent,
            holdout_percent=config.holdout_percent,
        )
        self.weeks: Weeks | WeeksElsewhere | None = None
        self.consents: Consents | None = None
        self.deletions: Deletions | None = None
        self.admission: Admission | None = None
        self.conversions: Conversions | None = None
        self.status_list: StatusList | None = None
        self._consents_fault = missing
        if self.consent_keys is not None:
            try:
                self._open_consents(self.consent_keys)
            except StoreError as error:  # pages get their creatives still
                self._consents_fault = str(error)
        if self._consents_fault is not None:
            log.error("consented signals are off: %s", self._consents_fault)
        self._atlas = atlas
        self._keys = KeyTable(self.store.keys())
        self._keys_version = self.store.versions().keys
        self._adopted: Snapshot | None = None
        self._places: list[PlaceFacts] = []
        self._adopt(self.catalog.view(now()).snapshot)
        self._followed: tuple[Standing, int | None, int] | None = None
        self._try(self.follow_policy)

    def _open_consents(self, keys: Keyring) -> None:
        config = self.config
        weeks: Weeks | WeeksElsewhere
        standings: ConsentStore
        if self._keeps:
            weeks, consents = self._keep_consents(keys)
            standings, issuer = consents.store, consents.issuer
        else:
            log.info("consents and their log are kept on another machine: here they are heeded")
            leaves = self.consent_log.leaves
            weeks = WeeksElsewhere(self.store.budget(config.key_dir / MARK, leaves, self.now))
            standings = self.store.consents(leaves, self._random_bytes)
            issuer = open_issuer(config, self.store, keys)
        self.weeks = weeks
        checks = Checks(
            Verifier(), standings, restriction(config), partial(keys.mac, "subject"), config.token_uses
        )
        self.admission = Admission(
            checks, issuer, weeks.shared, now=self.now, most=config.max_signals, off=self.consents_off
        )
        if config.conversions == "clicks":
            self.conversions = Conversions(self.door, self._tickets, self.admission, self._random_bytes)
        self.status_list = StatusList(issuer, config.base_url + STATUS_PATH, standings.statuses, self.now)

    def _keep_consents(self, keys: Keyring) -> tuple[Weeks, Consents]:
        """Open what lies beside the store on this machine alone."""
        config = self.config
        subjects = config.key_dir / SUBJECTS
        known = self.store.consents(self.consent_log.leaves, self._random_bytes).any()
        if known and not subjects.exists():
            raise StoreError(
                f"{subjects}: this file of keys is gone. Put it back: `tactful restore-keys`; or make an empty file "
                "there, and what was recorded before can be shown to nobody"
            )
        weeks = Weeks.open(
            config, self.store, self.consent_log.leaves, now=self.now, random_bytes=self._random_bytes
        )
        consents = self.consents = open_consents(
            config,
            self.store,
            self.consent_log.leaves,
            keys,
            proof=self.consent_log.proof,
            forget=weeks.shared.forget,
            now=self.now,
            random_bytes=self._random_bytes,
        )
        consents.check()
        self.deletions = Deletions(
            consents,
            lambda: self.publishers().values(),
            service_url=config.base_url,
            seed=keys.key("issuer"),
            now=self.now,
            random_bytes=self._random_bytes,
        )
        return weeks, consents

    def publishers(self) -> Mapping[str, Publisher]:
        """Return the publishers as the snapshot in service has them."""
        return self.catalog.view(self.now()).snapshot.publishers

    def landing_url(self, creative: str) -> str | None:
        """Return where a creative leads, as the snapshot in service has it; None where there is none of this id."""
        snapshot = self.catalog.view(self.now()).snapshot
        row = snapshot.row_of(creative)
        return None if row is None else snapshot.record(row).click_url

    def today(self, publisher: str) -> Today | None:
        """Say coarsely how much may run on a publisher's pages now; None for an unknown one."""
        return today(self.catalog.view(self.now()), publisher)

    def keys(self) -> KeyTable:
        """Return the API keys as they stand."""
        return self._keys

    def new_id(self) -> str:
        """Return an id for an answer; it says nothing."""
        return self._random_bytes(ID_BYTES).hex()

    def new_secret(self) -> bytes:
        """Return 32 random bytes for what a process keeps in memory alone."""
        return self._random_bytes(32)

    def unready(self) -> str | None:
        """Return why decisions are not yet good, or None."""
        return None if self._ready.is_set() else "warming up"

    def consents_off(self) -> str | None:
        """Return why consented signals are off, or None: a key, a file beside the store, or the log is not sound."""
        return self._consents_fault or self.consent_log.fault()

    def warm_up(self) -> None:
        """Touch what the first requests would otherwise wait for."""
        self.encoder.encode(["a page about nothing in particular"])
        give_back()
        self._ready.set()

    def start(self) -> None:
        """Start the threads that work beside requests."""
        self._try(self.tick)
        self.writer.start()
        self.background.start()
        self.pages.background.start()
        self.pages.fetching.start()
        self._thread("refresh", self._look_for_ever)
        self._thread("rebuild", self._rebuild_for_ever)
        self._thread("budgets", self._tick_for_ever)
        self._thread("expire", self._expire_for_ever)
        self._thread("consent-log", self._log_for_ever)
        self._thread("weeks", self._tend_for_ever)
        self._thread("releases", self._release_for_ever)
        if self.weather is not None:
            table, jitter = self.weather, random.Random(self._random_bytes(8))  # noqa: S311 - spreads load, hides nothing
            self._thread(
                "weather", lambda: table.run(self._stopping, self.now, lambda: jitter.uniform(0, 30))
            )

    def close(self) -> None:
        """End the threads and keep what was learned."""
        self._stopping.set()
        self._builder.stop()
        self._releaser.stop()
        for queue in (self.background, self.pages.background, self.pages.fetching):
            queue.stop()
        for thread in self._threads:
            thread.join(5)
        self.writer.stop()
        self._try(self.budgets.close)
        self._try(self.pages.poll)
        self.consent_log.close()
        if self.consents is not None:
            self.consents.close()
        if self.weeks is not None:
            self.weeks.close()
        self.store.close()

    def refresh(self) -> None:
        """Bring catalogue, keys and pages up to the store; what fails leaves the old in place."""
        self._try(self.catalog.switch)
        self._try(self.catalog.rebuild)
        self._look()
        self._try(self.tick)

    def tick(self) -> None:
        """Lease on what campaigns may spend, and stop those whose budget is spent. Raises StoreError."""
        snapshot = self.catalog.view(self.now()).snapshot
        out = self.budgets.tick(snapshot)
        if self.config.event_profile == "strict":  # what is paid for cannot be counted
            out |= {entry.id for entry in snapshot.manifest.campaigns if entry.terms.kind != "impression"}
        shares = [(e.id, e.share_cap) for e in snapshot.manifest.campaigns if e.share_cap is not None]
        self.catalog.stop(out | resting(shares, self.now()))

    def close_days(self) -> None:
        """Write what was booked on the days that are over into the journal of money. Raises StoreError."""
        now = self.now()
        # No token of a day counts any more when half an hour of the next is over.
        self.money.close(day_of(now - CLOSED), now)

    def follow_policy(self) -> None:
        """Let decide what was promoted, beside what is tried, under the counts of the newest day. Raises StoreError."""
        stands = standing(self.store.acts())
        moments = latest(self.reporting.released, MOMENTS, self.reporting.closed())
        snapshot = self.catalog.view(self.now()).snapshot
        stood = (stands, None if moments is None else moments.first, snapshot.version)
        if stood == self._followed:
            return
        live = self._responses(stands.live, snapshot) or Responses(None)
        self.catalog.follow(Policy(live, self._responses(stands.challenger, snapshot), Buckets(moments)))
        self._followed = stood

    def _heed_acts(self) -> None:
        """Let what was promoted or rolled back a moment ago act. Raises StoreError."""
        if self._followed is None or standing(self.store.acts()) != self._followed[0]:
            self.follow_policy()

    def _responses(self, policy: str, snapshot: Snapshot) -> Responses | None:
        """Read a model; None, with a warning, for one that cannot be read or is of another catalogue."""
        try:
            model = model_of(self.store, policy)
        except ModelError as error:
            log.warning("policy ignored, the prior decides: %s", error)
            return None
        if model is None:
            return None
        if all(snapshot.row_of(creative) is None for creative in {c for c, _ in model.components}):
            log.warning("policy ignored, the prior decides: it knows none of the catalogue's creatives")
            return None
        return Responses(model)

    def _look(self) -> None:
        looks = (
            self.catalog.switch,
            self._adopt_newest,
            self._refresh_keys,
            self.pages.poll,
            self._heed_acts,
        )
        for step in looks:
            self._try(step)

    def _try(self, step: Callable[[], object]) -> str | None:
        """Take a step; the store may be busy or away, and the next round tries again. Return what failed."""
        try:
            step()
        except Exception as error:
            # Only our own errors are told in words: others may quote what they were given.
            told = str(error) if isinstance(error, EngineError) else type(error).__name__
            log.error("%s failed: %s", getattr(step, "__name__", "step"), told)
            return told
        return None

    def _adopt_newest(self) -> None:
        self._adopt(self.catalog.view(self.now()).snapshot)

    def _refresh_keys(self) -> None:
        version = self.store.versions().keys
        if version != self._keys_version:
            self._keys, self._keys_version = KeyTable(self.store.keys()), version
        used = self._keys.take_used()
        if used:
            self.store.touch_keys(used, self.now().date())

    def _adopt(self, snapshot: Snapshot) -> None:
        """Do what a new snapshot asks of the sources: phrases to look for, places to watch."""
        if snapshot is self._adopted:
            return
        self.pages.use_phrases(frozenset(snapshot.manifest.phrases))
        self.pages.model.senses.prepare(pairs_of(snapshot.conditions.senses))
        publishers = snapshot.publishers.values()
        self._places = [self._atlas.facts(PlaceInput(p.country, p.region)) for p in publishers]
        self._prepare()
        if self.weather is not None:
            self.weather.watch(self._atlas.points(self._places))
        self._adopted = snapshot

    def _prepare(self) -> None:
        """Work out the holidays of the years around now."""
        self.clock.prepare(self._places, self.now())
        self._prepared = self.monotonic()

    def _forget(self) -> None:
        """Drop what the store knows of pages, and raw days of events, for longer than it may."""
        self.store.forget_pages(self.now() - timedelta(days=self.config.page_days))
        purge_events(self.events, self.money, self.now())

    def _look_for_ever(self) -> None:
        self._try(self._forget)
        while not self._stopping.wait(self.config.poll_ms / 1000):
            self._look()
            if self.monotonic() - self._prepared > PREPARE_S:
                self._try(self._prepare)
                self._try(self._forget)

    def _rebuild_for_ever(self) -> None:
        # Apart from the looks: a pause acts while a snapshot is being built, here or by another worker.
        while not self._stopping.wait(self.config.poll_ms / 1000):
            self._try(self.catalog.rebuild)

    def tend_weeks(self) -> None:
        """Do what is due of the weeks: destroy keys, count who shares what, learn what may act."""
        if self.weeks is not None:
            now = self.now()
            snapshot = self.catalog.view(now).snapshot
            self.weeks.tend(snapshot.publishers, snapshot.caps, now)

    def tend_consents(self) -> None:
        """End consents whose time is over, finish what a process left unfinished, forget tokens that expired."""
        if self.consents is not None:
            self.consents.tend()

    def tend(self) -> None:
        """Do what is due of weeks and consents; while their files are not sound, consented signals are off."""
        for step in (self.tend_weeks, self.tend_consents, self.close_days, self.follow_policy):
            self._try(step)
        if self.admission is not None:  # what could not be opened asks for a new start
            self._consents_fault = self._try(self.check_consents)

    def check_consents(self) -> None:
        """Look whether what consents are held against can be read. Raises StoreError."""
        if self.weeks is not None:
            self.weeks.check()
        if self.consents is not None:
            self.consents.check()

    def _tend_for_ever(self) -> None:
        # Apart from the looks: the first noise takes a second to load.
        while True:
            self.tend()
            if self._stopping.wait(TEND_S):
                return

    def release_due(self) -> None:
        """Have the closed days released that are not yet, in a process apart."""
        due = set(self.reporting.due()) - self._tried
        if due:
            self._releaser(self.now())
            self._tried |= (
                due  # a table of it that cannot be released is not tried again before the next start
            )

    def _release_for_ever(self) -> None:
        while not self._stopping.wait(TEND_S):
            self._try(self.release_due)

    def _tick_for_ever(self) -> None:
        # Apart from the looks: a budget is watched while the store is asked for other things.
        while not self._stopping.wait(TICK_S):
            self._try(self.tick)

    def _expire_for_ever(self) -> None:
        # Apart from all that may wait for the store: texts are let go in time.
        while not self._stopping.wait(EXPIRE_S):
            self.pages.background.expire()

    def _log_for_ever(self) -> None:
        while not self._stopping.is_set():
            self.consent_log.step()
            self._stopping.wait(LOG_S)

    def _thread(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)


def open_services(
    config: Config,
    *,
    now: Callable[[], datetime] = utc_now,
    monotonic: Callable[[], float] = time.monotonic,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> Services:
    """Open everything and start it. Raises EngineError, ContextError or PrivacyError naming what is damaged."""
    services = Services(config, now=now, monotonic=monotonic, random_bytes=random_bytes)
    services.start()
    return services


def fetching(config: Config, monotonic: Callable[[], float]) -> Fetch | None:
    """Return what fetches publishers' pages; None where no contact is configured to sign with."""
    if config.contact is None:
        return None
    contact = config.contact
    fetchers: dict[tuple[str, ...], Fetcher] = {}  # one a publisher, each with its robots rules

    def fetch(url: str, domains: tuple[str, ...]) -> PageText:
        fetcher = fetchers.get(domains)
        if fetcher is None:
            fetcher = fetchers[domains] = Fetcher(FetchPolicy(contact, frozenset(domains)), monotonic)
        return fetcher.fetch(url)

    return fetch


def weather_source(config: Config) -> Source | None:
    """Return the weather source that is configured."""
    kind, _, path = config.weather.partition(":")
    if kind == "metno" and config.contact is None:
        log.warning(
            "no weather but what callers state: MET Norway asks for a contact, and none is configured"
        )
        return None
    if kind == "file":
        return weather_sources.FileSource(Path(path))
    if kind == "none":
        return None
    asked = (
        weather_sources.MetNorway(contact=config.contact or "")
        if kind == "metno"
        else weather_sources.OpenMeteo()
    )
    return SharedSource(asked, config.data_dir / WEATHER, config.weather_refresh_s * FRESH)
