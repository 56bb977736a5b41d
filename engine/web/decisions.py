"""POST /v1/decisions: a page view asks which creatives fit. The hot route: no hooks, one decoder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import msgspec
from flask import Request, Response, request

from contexts.context import Admitted, PageFacts
from contexts.errors import FactError
from engine.cache import Bounded, Returning
from engine.campaign import Publisher
from engine.decide import Admit
from engine.decision import Answer, CreativeAnswer, Placement, PrivacyAnswer, is_usual
from engine.errors import Forgotten
from engine.keys import Caller
from engine.limits import RateLimits
from engine.pages import without_words
from engine.snapshot import Snapshot
from engine.web.api import SAFE_HEADERS, Api, Body, Ready, Refused, fault_line
from engine.web.faults import Fault, word
from engine.web.health import Metrics
from engine.web.origins import Origins
from engine.web.wire import (
    ClaimBody,
    DecisionBody,
    DeviceBody,
    PlaceBody,
    TimeBody,
    WeatherBody,
    claim_of,
    inconsistencies,
    placements_of,
)
from privacy.consent import Consented
from privacy.consent_token import Token
from privacy.errors import FieldError
from privacy.gate import ARRIVAL, FOREIGN, Arrival, Claim, Denied, enter
from privacy.visit import Visit

log = logging.getLogger(__name__)

PATH = "/v1/decisions"
MEDIA = ("application/json", "text/plain")  # text/plain: a browser sends it without asking first
KNOWN_BODIES = 4096  # that are known again, each by 16 bytes
HEADERS = [*SAFE_HEADERS, ("Vary", "Origin")]
JSON_HEADERS = [*HEADERS, ("Content-Type", "application/json")]
# What each field of the body is called at the gate. A region means nothing without its country.
GATE_NAMES = {
    "page.url": ("url",),
    "page.language": ("language",),
    "device.class": ("device_class",),
    "device.platform": ("platform",),
    "time.timezone": ("timezone",),
    "time.at": ("at",),
    "place.country": ("country", "region"),
    "place.region": ("region",),
    "weather.condition": ("condition",),
    "weather.temperature_c": ("temperature_c",),
    "weather.wind_ms": ("wind_ms",),
}

NO_DEVICE, NO_TIME, NO_PLACE, NO_WEATHER, NO_CONSENT = (
    DeviceBody(),
    TimeBody(),
    PlaceBody(),
    WeatherBody(),
    ClaimBody(),
)

_encode = msgspec.json.Encoder().encode


class Asked(NamedTuple):
    """What a body asks for. Kept without the page's words, to be found again when the same body comes."""

    publisher: str
    visit: Visit
    placements: tuple[Placement, ...]
    claim: Claim | None
    explain: bool
    test: bool
    refused: bool = False  # the reader gets nothing
    strict: bool = False


class Decider(Protocol):
    """Decides."""

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
        """Answer by `deadline`, a moment of the monotonic clock, with the best so far.

        `admit` is asked, at most once, which consented signals may act on the page. Raises Forgotten where the words
        of the visit's page were let go and are needed. A `test` is not recorded; a `strict` decision counts its
        impressions itself.
        """


class Admits(Protocol):
    """Lets consented signals in."""

    def admit(self, visit: Visit, claim: Claim, page: PageFacts, snapshot: Snapshot) -> Consented[Admitted]:
        """Return the signals that act on this page. Raises Denied, and FieldError where they are wrong."""

    def token(self, text: str, publisher: Publisher) -> Token:
        """Return what a consent token says, whether its consent still stands or not. Raises TokenError."""


class Silences(Protocol):
    """Says whether a reader gets nothing: one who refused TCF Purpose 2, where the operator has it so."""

    def __call__(self, *, tcf: str | None, gpp: str | None, gdpr: int | None) -> bool:
        """Return whether."""


class Decisions:
    """Answers page views. Whatever fails inside, the page gets a well-formed answer."""

    def __init__(
        self,
        engine: Decider,
        publishers: Callable[[], Mapping[str, Publisher]],
        caller_of: Callable[[Request], Caller | None],
        limits: RateLimits,
        metrics: Metrics,
        monotonic: Callable[[], float],
        new_id: Callable[[], str],
        deadline_ms: int,
        secret: bytes,
        admission: Admits | None = None,
        refused: Silences = lambda *, tcf, gpp, gdpr: False,
    ) -> None:
        """`refused` says which readers get nothing. `admission` is None where consents cannot be checked.

        Bodies are known again by digests under `secret`.
        """
        self._engine, self._publishers, self._caller_of = engine, publishers, caller_of
        self._limits, self._metrics, self._monotonic, self._new_id = (
            limits,
            metrics,
            monotonic,
            new_id,
        )
        self._admission, self._refused = admission, refused
        self._deadline_s = deadline_ms / 1000
        self._body: Body[DecisionBody] = Body(DecisionBody, MEDIA)
        self._secret = secret
        self._asked: Bounded[tuple[bytes, Arrival], Asked] = Bounded(KNOWN_BODIES)  # what came twice
        self._returning = Returning(2 * KNOWN_BODIES)

    def decide(self) -> Ready:
        """Choose creatives that fit a page view."""
        sent = request._get_current_object()  # type: ignore[attr-defined]  # Werkzeug's documented way past the proxy
        arrival: Arrival = sent.environ[ARRIVAL]
        try:
            data = self._body.read_bytes(sent)
            started = self._monotonic()  # what a sender takes is no time of ours
            key = (blake2b(data, digest_size=16, key=self._secret).digest(), arrival)
            known, found = self._asked.get(key), None
            if known is not None:
                self.allow(sent, arrival, known.publisher)
                found = self._again(known, started + self._deadline_s)
            if known is not None and found is not None:
                asked, (answer, failed) = known, found
            else:
                body = self._body.decoded(data)
                if known is None:
                    self.allow(sent, arrival, body.publisher)
                asked = asked_of(arrival, body)
                said = (body.consent or NO_CONSENT).words()
                if self._refused(tcf=said.tcf, gpp=said.gpp, gdpr=body.regs.gdpr):
                    asked = asked._replace(refused=True)
                answer, failed = self._answer(asked, started + self._deadline_s)
                keep = asked.claim is None and not failed and is_usual(asked.placements)
                if keep and self._returning.again(key):
                    self._asked.put(key, asked._replace(visit=without_words(asked.visit)))
        except Refused as refused:
            refused.headers |= dict(cors(arrival.origin))
            raise
        if not asked.test:
            self._metrics.decided(answer, self._monotonic() - started, failed)
        headers = JSON_HEADERS if arrival.origin is None else [*JSON_HEADERS, *cors(arrival.origin)]
        return Ready(_encode(answer), headers)

    def ask(self, sent: Request, arrival: Arrival, asked: Asked, deadline_ms: int | None) -> Answer:
        """Answer what is asked otherwise than by a body of JSON. Raises Refused."""
        started = self._monotonic()
        self.allow(sent, arrival, asked.publisher)
        deadline_s = self._deadline_s if deadline_ms is None else deadline_ms / 1000
        answer, failed = self._answer(asked, started + deadline_s)
        self._metrics.decided(answer, self._monotonic() - started, failed)
        return answer

    def preflight(self) -> Response:
        """Answer a browser that asks whether it may send JSON."""
        arrival: Arrival = request.environ[ARRIVAL]
        headers = [*HEADERS, ("Allow", "OPTIONS, POST")]
        if not arrival.preflight:
            return Response(b"", 204, headers)
        if arrival.origin == FOREIGN:
            raise _foreign()
        headers += cors(arrival.origin)
        headers += [
            ("Access-Control-Allow-Methods", "POST"),
            ("Access-Control-Allow-Headers", "Content-Type, Content-Encoding"),
            ("Access-Control-Max-Age", "7200"),
        ]
        return Response(b"", 204, headers)

    def allow(self, sent: Request, arrival: Arrival, publisher_id: str) -> None:
        """Check that the call is allowed in the publisher's name. Raises Refused."""
        publisher = self._publishers().get(publisher_id)
        if publisher is None:
            fault = Fault("publisher", "an unknown id", "the id of a registered publisher")
            raise Refused(404, "Unknown publisher", None, (fault,))
        if arrival.origin is not None and not Origins.belongs(arrival.origin, publisher):
            raise _foreign()
        if arrival.api_key is not None:
            caller = self._caller_of(sent)
            if caller is None or caller.scope != "publisher" or caller.tenant != publisher.id:
                fault = Fault("Authorization", "another key", "a valid key of this publisher, or none")
                raise Refused(403, "Key of another", None, (fault,))
        if wait_s := self._limits.take(publisher.id, publisher.rate_per_s):
            raise Refused(429, "Too many requests for this publisher", headers={"Retry-After": str(wait_s)})

    def _again(self, known: Asked, deadline: float) -> tuple[Answer, bool] | None:
        """Answer a body that was seen before, or return None where its words are needed."""
        try:
            return self._answer(known, deadline)
        except Forgotten:
            return None

    def _answer(self, asked: Asked, deadline: float) -> tuple[Answer, bool]:
        """Answer, and say whether that failed. Raises Refused and Forgotten."""
        visit, claim = asked.visit, asked.claim
        if asked.refused:
            return self._empty(asked, degraded=False), False
        try:
            admit = None if claim is None else partial(self._consented, visit, claim, asked.test)
            answer = self._engine.decide(
                visit,
                asked.placements,
                explain=asked.explain,
                deadline=deadline,
                admit=admit,
                test=asked.test,
                strict=asked.strict,
            )
            return answer, False
        except Forgotten:
            raise
        except FieldError as error:
            raise Refused(
                422, "Invalid body", None, (Fault(error.field, error.got, error.expected),)
            ) from None
        except FactError as error:  # a region that its country does not have, say
            fault = Fault(error.field, word(str(error.got)), error.expected)
            raise Refused(422, "Invalid body", None, (fault,)) from None
        except Exception as error:  # the rule of the page: never break it
            log.error("decision failed: %s", fault_line(error))
            return self._empty(asked, degraded=True), True

    def _consented(
        self, visit: Visit, claim: Claim, test: bool, page: PageFacts, snapshot: Snapshot
    ) -> Consented[Admitted] | None:
        try:
            if self._admission is None:
                raise Denied("unavailable")
            return self._admission.admit(visit, claim, page, snapshot)
        except Denied as denied:
            reason = denied.reason
        except FieldError:
            raise
        except Exception as error:  # a consent that cannot be looked up is none
            log.error("consent not checked: %s", fault_line(error))
            reason = "unavailable"
        if not test:
            self._metrics.denied(reason)
        return None

    def _empty(self, asked: Asked, *, degraded: bool) -> Answer:
        return Answer(
            request_id=self._new_id(),
            decisions=(),
            unfilled=tuple(placement.id for placement in asked.placements),
            degraded=degraded,
            missing=(),
            privacy=PrivacyAnswer(gpc="honored" if asked.visit.gpc else None),
            snapshot=0,
        )


def add_decisions(api: Api, decisions: Decisions) -> None:
    """Add the route."""
    problems = (400, 403, 404, 408, 413, 415, 422, 429)
    api.raw(
        PATH,
        "POST",
        body=DecisionBody,
        answer=Answer,
        media=MEDIA,
        problems=problems,
        embedded={("Filled", "creative"): CreativeAnswer},
    )(decisions.decide)
    api.raw(PATH, "OPTIONS", answer=None, statuses=(204,), problems=(403,))(decisions.preflight)


def asked_of(arrival: Arrival, body: DecisionBody) -> Asked:
    """Give what a body asks for. Raises Refused with every field that is wrong."""
    visit = visit_of(arrival, body, trusted=arrival.api_key is not None)
    return Asked(body.publisher, visit, placements_of(body), claim_of(body), body.explain, body.test)


def visit_of(arrival: Arrival, body: DecisionBody, *, trusted: bool) -> Visit:
    """Let the gate make the visit. Raises Refused with every field that is wrong."""
    page, device, time = body.page, body.device or NO_DEVICE, body.time or NO_TIME
    place, weather = body.place or NO_PLACE, body.weather or NO_WEATHER
    fields = {
        "url": page.url,
        "title": page.title,
        "description": page.description,
        "text": page.text,
        "html": page.html,
        "language": page.language,
        "keywords": page.keywords,
        "categories": page.categories,
        "cattax": page.cattax,
        "device_class": device.cls,
        "platform": device.platform,
        "timezone": time.timezone,
        "at": time.at,
        "country": place.country,
        "region": place.region,
        "condition": weather.condition,
        "temperature_c": weather.temperature_c,
        "wind_ms": weather.wind_ms,
    }
    faults = inconsistencies(body)
    if not faults:
        try:
            return enter(arrival, body.publisher, trusted=trusted, **fields)  # type: ignore[arg-type]  # each of its own type
        except FieldError:
            pass
    raise Refused(422, "Invalid body", None, (*faults, *_gate_faults(arrival, body.publisher, fields)))


def cors(origin: str | None) -> Iterator[tuple[str, str]]:
    """Let a registered origin read the answer; without credentials, for there are none."""
    if origin is not None and origin != FOREIGN:
        yield "Access-Control-Allow-Origin", origin


def _gate_faults(arrival: Arrival, publisher: str, fields: dict[str, Any]) -> Iterator[Fault]:
    """Yield all that the gate refuses: it names one field at a time, which is then left out."""
    while True:
        try:
            enter(arrival, publisher, **fields)
        except FieldError as error:
            yield Fault(error.field, error.got, error.expected)
            fields = {name: value for name, value in fields.items() if name not in GATE_NAMES[error.field]}
        else:
            return


def _foreign() -> Refused:
    fault = Fault(
        "Origin",
        "an origin that is not the publisher's",
        "an origin on a domain that the publisher registered",
    )
    return Refused(403, "Foreign origin", None, (fault,))
