"""Whether the service lives and is ready, and what it counts of its work: never of a visitor or a page.

The counters are exact, and page views are told exactly nowhere else; so they carry no publisher, page,
creative or device, and only an operator's key reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flask import Response
from msgspec import Struct
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from engine.decision import Answer
from engine.door import WORTHS
from engine.web.api import SAFE_HEADERS, Api, Refused

BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
FACETS = ("page", "device", "time", "weather", "place")
TEXT = "text/plain; version=0.0.4; charset=utf-8"
# Anyone may ask: what is wrong, and no path, key or error of the machine. The service's log names those.
CONSENTS_OFF = (
    "off: a key or a file that consents need is missing or damaged, or the consent log is not signed. Pages are "
    "served without them. The service's log says which; put it back, and start anew where the log says so."
)
LOG_UNSIGNED = (
    "not signed: the consent log is damaged, was taken back, or its keys or its disk are not at hand. The service's "
    "log says why; `tactful log fsck` looks it over."
)


class Health(Struct, frozen=True, omit_defaults=True):
    """The process answers. `consents` says why consented signals are off, `consent_log` why the log is not signed."""

    status: str
    consents: str | None = None
    consent_log: str | None = None


class Metrics:
    """The counters of one worker; in multiprocess mode `told` sums them over all workers of the service.

    Labels are bound once, so that counting on the hot path is an addition.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        disable_created_metrics()  # type: ignore[no-untyped-call]  # when a counter began is when a first visitor came
        registry = self._registry = CollectorRegistry()
        self._by_route = Counter(
            "tactful_requests", "Requests answered", ["route", "status"], registry=registry
        )
        self._requests: dict[tuple[str, int], Counter] = {}
        seconds = Histogram(
            "tactful_decision_seconds", "Time from arrival to answer", buckets=BUCKETS_S, registry=registry
        )
        outcomes = Counter("tactful_placements", "Placements by outcome", ["outcome"], registry=registry)
        self._filled, self._house, self._unfilled = (
            outcomes.labels(o) for o in ("filled", "house", "unfilled")
        )
        degraded = Counter("tactful_degraded", "Answers cut short", ["cause"], registry=registry)
        self._late, self._failed = degraded.labels("deadline"), degraded.labels("error")
        denials = Counter(
            "consent_denied", "Consent tokens that did not act, by reason", ["reason"], registry=registry
        )
        self._denials = denials
        beacons = Counter("tactful_beacons", "Event tokens that came, by worth", ["worth"], registry=registry)
        self._beacons = {worth: beacons.labels(worth) for worth in WORTHS}
        missing = Counter(
            "tactful_missing_facets", "Facets that could not be had", ["facet"], registry=registry
        )
        self._missing = {facet: missing.labels(facet) for facet in FACETS}
        version = Gauge(
            "tactful_snapshot_version",
            "Version of the catalogue; the oldest that a worker answers from",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._version, self._seen_version = version, -1
        self._observe = seconds.observe

    def count(self, route: str, status: int) -> None:
        """Count an answered request."""
        counter = self._requests.get((route, status))
        if counter is None:
            counter = self._requests[route, status] = self._by_route.labels(route, str(status))
        counter.inc()

    def decided(self, answer: Answer, seconds: float, failed: bool) -> None:
        """Count what became of a decision."""
        self._observe(seconds)
        house = sum(filled.house for filled in answer.decisions)
        if filled := len(answer.decisions) - house:
            self._filled.inc(filled)
        if house:
            self._house.inc(house)
        if answer.unfilled:
            self._unfilled.inc(len(answer.unfilled))
        if answer.degraded:
            (self._failed if failed else self._late).inc()
        for facet in answer.missing:
            if facet in self._missing:
                self._missing[facet].inc()
        if answer.snapshot != self._seen_version:
            self._seen_version = answer.snapshot
            self._version.set(answer.snapshot)

    def beacons(self, worth: str, number: int) -> None:
        """Count event tokens; `worth` is one of engine.door.WORTHS."""
        self._beacons[worth].inc(number)

    def denied(self, reason: str) -> None:
        """Count a consent that did not act; `reason` is one of privacy.gate.DENIALS."""
        self._denials.labels(reason).inc()

    def told(self) -> bytes:
        """Write the counters in Prometheus' text format."""
        if self._folder is None:
            return generate_latest(self._registry)
        whole = CollectorRegistry()
        MultiProcessCollector(whole, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(whole)


def add_health(
    api: Api,
    metrics: Metrics,
    unready: Callable[[], str | None],
    consents_off: Callable[[], str | None],
    log_fault: Callable[[], str | None],
) -> None:
    """Add /healthz, /readyz and /metrics.

    `unready` gives the reason while the service cannot decide well, which is told; `consents_off` why consented
    signals do not act and `log_fault` why the consent log is not signed, which are told in general words alone.
    """

    @api.route("/healthz", "GET", answer=Health)
    def healthz() -> Health:
        """Say that the process answers."""
        return Health("ok")

    @api.route("/readyz", "GET", answer=Health, problems=(503,))
    def readyz() -> Health:
        """Say whether decisions can be asked for."""
        if reason := unready():
            raise Refused(503, "Not ready", reason, headers={"Retry-After": "1"})
        return Health(
            "ready",
            None if consents_off() is None else CONSENTS_OFF,
            None if log_fault() is None else LOG_UNSIGNED,
        )

    @api.route("/metrics", "GET", scopes=("operator",), answer=str, answer_media="text/plain")
    def read_metrics(caller: object) -> Response:
        """Read the operational counters (Prometheus text format)."""
        return Response(metrics.told(), 200, SAFE_HEADERS, content_type=TEXT)
