"""The Flask app over services that are open: routes, the gate before them, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from flask import Flask

from contexts.taxonomy import ad_products, content_taxonomy, products_to_content
from engine.campaign import Publisher
from engine.changes import ChangeStore
from engine.check.findings import known_vocabularies
from engine.config import Config
from engine.consents import Consents
from engine.conversions import Conversions
from engine.deletions import Deletions
from engine.door import Door
from engine.events import EventStore
from engine.images import ImageStore
from engine.keys import Caller, KeyTable
from engine.limits import RateLimits
from engine.money import MoneyStore
from engine.openrtb.market import Categories, Market
from engine.reporting import Reporting
from engine.status_list import StatusList
from engine.today import Today
from engine.web.api import MAX_BODY, Api, Sent
from engine.web.audit import add_audit
from engine.web.catalogue import QUERY_KEYS, add_catalogue
from engine.web.consents import ConsentDesk, add_consents
from engine.web.conversions import Handovers, add_conversions
from engine.web.decisions import Admits, Decider, Decisions, add_decisions
from engine.web.deletions import add_deletions
from engine.web.ethicalads import QUERY_KEYS as ETHICAL_KEYS
from engine.web.ethicalads import EthicalAds, add_ethicalads
from engine.web.events import EventRoutes, add_events
from engine.web.health import Metrics, add_health
from engine.web.iab import QUERY_KEYS as IAB_KEYS
from engine.web.iab import Iab, Reader, add_iab
from engine.web.images import add_images
from engine.web.log import PublishedLog, add_log
from engine.web.manage_pages import add_manage_pages
from engine.web.money import add_money
from engine.web.openrtb import QUERY_KEYS as AUCTION_KEYS
from engine.web.openrtb import Auctions, Offerer, add_openrtb
from engine.web.origins import Origins, is_trustworthy
from engine.web.published import add_published
from engine.web.publisher_pages import PublisherPages, add_publisher_pages
from engine.web.report_pages import add_report_pages
from engine.web.reports import QUERY_KEYS as REPORT_KEYS
from engine.web.reports import Reports, add_reports
from engine.web.repository import Repository, RepositoryStore, add_repository
from engine.web.shell import Shell
from engine.web.slot import QUERY_KEYS as SLOT_KEYS
from engine.web.slot import Slots, add_slot
from engine.web.tag import add_tag
from engine.web.why import WhyPages, add_why
from engine.why import Votes, WhyLinks
from privacy.gate import ARRIVAL, Arrival, Gate
from privacy.iab import Role, refuses_selection

DESCRIPTION = (
    "Creatives that fit a page view, chosen by what is known of the page and the moment, never of the person."
)


class Store(ChangeStore, ImageStore, RepositoryStore, Protocol):
    """Keeps the catalogue, its pictures, and what was deleted of it."""


class Engine(Decider, Offerer, Reader, Protocol):
    """Decides, for pages and for auctions, and understands pages."""


class Services(Protocol):
    """What the web reads of a process' services."""

    @property
    def engine(self) -> Engine:
        """Decides."""

    @property
    def store(self) -> Store:
        """Keeps the catalogue."""

    @property
    def door(self) -> Door:
        """Takes events in."""

    @property
    def why_links(self) -> WhyLinks:
        """Writes and reads the links to why a creative was chosen."""

    @property
    def votes(self) -> Votes:
        """Lets readers say what they think of one."""

    @property
    def conversions(self) -> Conversions | None:
        """What hands readers' tokens of conversions on; None where they are not told by click."""

    @property
    def events(self) -> EventStore:
        """Keeps events."""

    @property
    def money(self) -> MoneyStore:
        """Keeps what was billed."""

    def landing_url(self, creative: str) -> str | None:
        """Return where a creative leads, or None where there is none of this id."""

    @property
    def consents(self) -> Consents | None:
        """Keeps readers' consents; None where the keys of consent are not complete."""

    @property
    def deletions(self) -> Deletions | None:
        """Answers deletion requests; None where the keys of consent are not complete."""

    @property
    def consent_log(self) -> PublishedLog:
        """Tells of consents."""

    @property
    def admission(self) -> Admits | None:
        """Lets consented signals in; None where consents cannot be checked."""

    @property
    def status_list(self) -> StatusList | None:
        """Signs which consents have ended; None where consents cannot be checked."""

    @property
    def reporting(self) -> Reporting:
        """Tells of many page views at once."""

    def publishers(self) -> Mapping[str, Publisher]:
        """Return the publishers as they stand; another mapping only where something changed."""

    def today(self, publisher: str) -> Today | None:
        """Say coarsely how much may run on a publisher's pages now."""

    def keys(self) -> KeyTable:
        """Return the keys as they stand."""

    def unready(self) -> str | None:
        """Return why decisions are not yet good, or None."""

    def consents_off(self) -> str | None:
        """Return why consented signals are off, or None."""

    def now(self) -> datetime:
        """Return the time, aware."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""

    def new_id(self) -> str:
        """Return an id for an answer."""

    def new_secret(self) -> bytes:
        """Return 32 random bytes."""


def create_reports_app(
    config: Config, reporting: Reports, keys: KeyTable, now: Callable[[], datetime]
) -> Flask:
    """Make an app of the reports alone, behind the same gate."""
    app = Shell("tactful", config.base_url)

    def caller_of(sent: Sent) -> Caller | None:
        arrival: Arrival = sent.environ[ARRIVAL]
        return None if arrival.api_key is None else keys.verify(arrival.api_key, now())

    api = Api(app, caller_of, lambda title, status: None, "Tactful", "1.0", DESCRIPTION)
    add_reports(api, reporting)
    app.wsgi_app = Gate(  # type: ignore[method-assign]  # as below
        app.wsgi_app, public_url=config.base_url, registered=lambda origin: False, query_keys=REPORT_KEYS
    )
    return app


def create_app(
    config: Config,
    services: Services,
    metrics_folder: Path | None = None,
    extend: Callable[[Any, Any], Iterable[str]] | None = None,
) -> Flask:
    """Make the app. In `metrics_folder` several workers share their counters (multiprocess mode).

    `extend` adds routes, given the app and the services, and returns the query parameters that they read.
    """
    app = Shell("tactful", config.base_url)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    metrics = Metrics(metrics_folder)
    origins = Origins(services.publishers)

    def caller_of(sent: Sent) -> Caller | None:
        arrival: Arrival = sent.environ[ARRIVAL]
        return None if arrival.api_key is None else services.keys().verify(arrival.api_key, services.now())

    api = Api(app, caller_of, metrics.count, "Tactful", "1.0", DESCRIPTION)
    limits = RateLimits(services.monotonic, config.workers)
    role, _, vendor = config.tcf_role.partition(":")

    def refused(*, tcf: str | None, gpp: str | None, gdpr: int | None) -> bool:
        return config.silent_on_refusal and refuses_selection(
            tcf=tcf,
            gpp=gpp,
            gdpr=gdpr,
            role=cast(Role, role),
            vendor_id=int(vendor) if vendor else None,
            now=services.now(),
        )

    decisions = Decisions(
        services.engine,
        services.publishers,
        caller_of,
        limits,
        metrics,
        services.monotonic,
        services.new_id,
        config.deadline_ms,
        services.new_secret(),
        services.admission,
        refused,
    )
    known = known_vocabularies()
    add_decisions(api, decisions)
    auctions = Auctions(
        services.engine,
        services.publishers,
        caller_of,
        limits,
        metrics,
        services.monotonic,
        Market(
            urlsplit(config.base_url).hostname or "",
            config.currency,
            config.rates,
            Categories(ad_products(), content_taxonomy(), products_to_content()),
            is_trustworthy(config.base_url),
        ),
        config.deadline_ms,
        refused,
        services.new_secret(),
        counts=config.event_profile != "strict",
    )
    add_openrtb(api, auctions)
    iab = Iab(
        services.engine,
        content_taxonomy(),
        services.publishers,
        limits,
        services.monotonic,
        config.deadline_ms,
    )
    add_iab(api, iab)
    events = EventRoutes(services.door, services.landing_url, caller_of, metrics.beacons, metrics.count)
    app.direct = add_events(api, events)
    handovers = Handovers(
        services.conversions, services.publishers, services.landing_url, decisions.allow, metrics.denied
    )
    add_conversions(api, handovers)
    add_tag(api)
    ethical = EthicalAds(
        services.engine,
        services.publishers,
        caller_of,
        limits,
        metrics,
        events,
        services.monotonic,
        config.deadline_ms,
        config.base_url,
    )
    add_ethicalads(api, ethical)
    add_slot(api, Slots(decisions, strict=config.event_profile == "strict"))
    add_money(api, services.store, services.events, services.money, config.currency, services.now)
    add_catalogue(api, services.store, known, services.now)
    add_images(api, services.store)
    add_reports(api, services.reporting)

    def holder(key: str) -> Caller | None:
        return services.keys().verify(key, services.now())

    root = urlsplit(config.base_url).path.rstrip("/")
    add_report_pages(api, services.reporting, holder, root)
    add_repository(
        api, Repository(services.store, services.reporting, content_taxonomy(), services.now), root
    )
    publisher_pages = PublisherPages(
        services.reporting, services.today, holder, services.publishers, config.base_url
    )
    add_publisher_pages(api, publisher_pages)
    contact = config.officer or config.operator or config.contact
    add_why(
        api,
        WhyPages(
            services.why_links,
            services.votes,
            services.door,
            services.publishers,
            services.store,
            contact,
            root,
        ),
    )
    add_manage_pages(api, services.store, known, holder, config.currency, services.now, root)
    add_log(api, services.consent_log)
    add_audit(api)
    add_published(api, services.status_list)
    desk = ConsentDesk(
        services.consents, services.admission, services.publishers, caller_of, services.consent_log.fault
    )
    add_consents(api, desk)
    add_deletions(api, lambda: services.deletions)
    add_health(api, metrics, services.unready, services.consents_off, services.consent_log.fault)
    app.extensions["tactful"] = api
    query_keys = {
        *QUERY_KEYS,
        *REPORT_KEYS,
        *AUCTION_KEYS,
        *IAB_KEYS,
        *ETHICAL_KEYS,
        *SLOT_KEYS,
        *(extend(app, services) if extend is not None else ()),
    }
    app.wsgi_app = Gate(  # type: ignore[method-assign]  # Flask's documented place for middleware
        app.wsgi_app, public_url=config.base_url, registered=origins.is_registered, query_keys=query_keys
    )
    return app
