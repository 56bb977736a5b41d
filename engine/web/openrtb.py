"""POST /openrtb2/auction: header bidding by OpenRTB 2.6, as Prebid's clients send it.

Whatever keeps us from bidding is 200 with a reason (`nbr`): a page goes on with its other bidders. Browsers call with
credentials, so the origin is echoed by name where a publisher registered it; no cookie is read or set.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Protocol

import msgspec
from flask import Request, Response, request

from contexts.errors import FactError
from engine.cache import Bounded
from engine.campaign import Publisher
from engine.decision import Answer, Offer, Placement, is_usual
from engine.keys import Caller
from engine.limits import RateLimits
from engine.openrtb.asked import Lot, Said, is_on, is_plain, lots_of, page_of, publisher_of, said_of
from engine.openrtb.bids import response_of
from engine.openrtb.market import Market
from engine.openrtb.wire import (
    BLOCKED_SITE,
    NO_CURRENCY,
    NOTHING_ASKED,
    REFUSED,
    TECHNICAL_ERROR,
    UNCOUNTED,
    BidRequest,
    BidResponse,
    Imp,
    Outer,
    decode_imps,
    decode_outer,
    encode,
)
from engine.web.api import Api, Body, Ready, Refused, fault_line
from engine.web.decisions import GATE_NAMES, HEADERS, JSON_HEADERS, Silences, cors
from engine.web.faults import Fault
from engine.web.health import Metrics
from engine.web.origins import Origins
from privacy.errors import FieldError
from privacy.gate import ARRIVAL, FOREIGN, Arrival, enter
from privacy.visit import Visit

log = logging.getLogger(__name__)

PATH = "/openrtb2/auction"
QUERY_KEYS = ("gzip", "sid")  # how Prebid marks a compressed body; how rixengine names its publisher
MEDIA = ("application/json", "text/plain")  # documented; JSON is read whatever the request calls it
MAX_BYTES = 512 * 1024
LONGEST_KNOWN = 16 * 1024  # bytes of what is known again
KNOWN_IMPRESSIONS = 1024  # pages' sets of them that are known again


class Offerer(Protocol):
    """Decides, and says who pays what."""

    def offer(
        self,
        visit: Visit,
        placements: Sequence[Placement],
        *,
        deadline: float,
        test: bool,
        block_domains: Sequence[str] = (),
    ) -> tuple[Answer, tuple[Offer, ...]]:
        """Answer by `deadline`, a moment of the monotonic clock, and say of each decision who pays for it."""


class Auctions:
    """Answers bid requests."""

    def __init__(
        self,
        engine: Offerer,
        publishers: Callable[[], Mapping[str, Publisher]],
        caller_of: Callable[[Request], Caller | None],
        limits: RateLimits,
        metrics: Metrics,
        monotonic: Callable[[], float],
        market: Market,
        deadline_ms: int,
        refused: Silences,
        secret: bytes,
        *,
        counts: bool,
    ) -> None:
        """`refused` says which readers get nothing; impressions are known again by digests under `secret`.

        `counts`: impressions are told by tokens, without which a bid that was never shown would be billed.
        """
        self._engine, self._publishers, self._caller_of = engine, publishers, caller_of
        self._limits, self._metrics, self._monotonic = limits, metrics, monotonic
        self._market, self._deadline_s, self._refused, self._counts = (
            market,
            deadline_ms / 1000,
            refused,
            counts,
        )
        self._secret = secret
        self._known: Bounded[tuple[object, ...], tuple[Publisher, tuple[Lot, ...]]] = Bounded(
            KNOWN_IMPRESSIONS
        )
        self._body: Body[BidRequest] = Body(BidRequest, (), MAX_BYTES)

    def auction(self) -> Ready | Response:
        """Bid on the impressions of a page view."""
        sent: Request = request._get_current_object()  # type: ignore[attr-defined]  # Werkzeug's documented way past the proxy
        arrival: Arrival = sent.environ[ARRIVAL]
        query = sent.args if sent.environ["QUERY_STRING"] else {}
        try:
            data = self._body.read_bytes(sent, gzipped=query.get("gzip") == "1")
            started = self._monotonic()
            try:
                asked = decode_outer(data)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                raise Refused(400, "Malformed body") from None
            response = self._respond(sent, arrival, asked, query.get("sid"), started)
        except Refused as refused:
            if refused.problem.status == 400:  # OpenRTB 2.6, 4.1: malformed is 400, without content
                return Response(b"", 400, [*HEADERS, *credentialed(arrival.origin)])
            refused.headers |= dict(credentialed(arrival.origin))
            raise
        return Ready(encode(response), [*JSON_HEADERS, *credentialed(arrival.origin)])

    def preflight(self) -> Response:
        """Answer a browser that asks whether it may send JSON."""
        arrival: Arrival = request.environ[ARRIVAL]
        headers = [*HEADERS, ("Allow", "OPTIONS, POST")]
        if arrival.preflight and arrival.origin != FOREIGN:
            headers += [
                *credentialed(arrival.origin),
                ("Access-Control-Allow-Methods", "POST"),
                ("Access-Control-Allow-Headers", "Content-Type"),
                ("Access-Control-Max-Age", "7200"),
            ]
        return Response(b"", 204, headers)

    def _lots(self, asked: Outer, publisher: Publisher) -> tuple[Lot, ...]:
        """Return what can be bid on; read once for all requests of the same impressions. Raises Refused."""
        digest = blake2b(asked.imp, digest_size=16, key=self._secret)
        if asked.bcat or asked.wseat or asked.bseat:
            digest.update(encode((asked.bcat, asked.wseat, asked.bseat)))
        key = (digest.digest(), asked.cattax, publisher.id, is_plain(asked))
        found = self._known.get(key)
        if found is not None and found[0] is publisher:
            return found[1]
        lots = lots_of(_imps(asked), asked, publisher, self._market)
        if len(bytes(asked.imp)) <= LONGEST_KNOWN and is_usual([lot.placement for lot in lots]):
            self._known.put(key, (publisher, lots))
        return lots

    def _respond(
        self, sent: Request, arrival: Arrival, asked: Outer, sid: str | None, started: float
    ) -> BidResponse:
        """Return bids, or why there are none. Raises Refused."""
        publisher = self._publishers().get(publisher_of(asked, sid) or "")
        if publisher is None or (
            arrival.origin is not None and not Origins.belongs(arrival.origin, publisher)
        ):
            _imps(asked)
            return BidResponse(asked.id, nbr=BLOCKED_SITE)
        if arrival.api_key is not None:
            caller = self._caller_of(sent)
            if caller is None or caller.scope != "publisher" or caller.tenant != publisher.id:
                fault = Fault("Authorization", "another key", "a valid key of this publisher, or none")
                raise Refused(403, "Key of another", None, (fault,))
        if wait_s := self._limits.take(publisher.id, publisher.rate_per_s):
            raise Refused(429, "Too many requests for this publisher", headers={"Retry-After": str(wait_s)})
        lots = self._lots(asked, publisher)
        if not lots:
            return BidResponse(asked.id, nbr=NOTHING_ASKED)
        said, test = said_of(asked), is_on(asked.test)
        if not (self._counts or test):
            return BidResponse(asked.id, nbr=UNCOUNTED)
        if self._refused(tcf=said.tcf, gpp=said.gpp, gdpr=said.gdpr):
            return BidResponse(asked.id, nbr=REFUSED)
        currency = self._market.bids_in(asked.cur)
        if currency is None:
            return BidResponse(asked.id, nbr=NO_CURRENCY)
        within_s = self._deadline_s
        if asked.tmax is not None and asked.tmax > 0:
            within_s = min(within_s, asked.tmax / 1000)
        try:
            answer, offers = self._offer(
                arrival, publisher, asked, said, [lot.placement for lot in lots], started + within_s, test
            )
        except Exception as error:  # the rule of the page: never break it
            log.error("decision failed: %s", fault_line(error))
            return BidResponse(asked.id, nbr=TECHNICAL_ERROR)
        if not test:
            self._metrics.decided(answer, self._monotonic() - started, False)
        return response_of(asked, lots, answer, offers, self._market, currency, said.dsa)

    def _offer(
        self,
        arrival: Arrival,
        publisher: Publisher,
        asked: Outer,
        said: Said,
        placements: Sequence[Placement],
        deadline: float,
        test: bool,
    ) -> tuple[Answer, tuple[Offer, ...]]:
        """Decide on what is well said of the page; what is not is left out."""
        fields = page_of(asked)
        while True:
            try:
                visit = enter(
                    arrival, publisher.id, trusted=arrival.api_key is not None, gpc=said.gpc, **fields
                )
                return self._engine.offer(
                    visit, placements, deadline=deadline, test=test, block_domains=asked.badv
                )
            except (FieldError, FactError) as error:
                fewer = _without(fields, error.field)
                if len(fewer) == len(fields):
                    raise
                fields = fewer


def add_openrtb(api: Api, auctions: Auctions) -> None:
    """Add the routes."""
    api.raw(
        PATH,
        "POST",
        body=BidRequest,
        answer=BidResponse,
        media=MEDIA,
        empty=(400,),
        problems=(403, 408, 413, 415, 429),
        query={
            "gzip": {"type": "string", "description": "1: the body is compressed, as Prebid marks it"},
            "sid": {"type": "string", "description": "the publisher, where site.publisher.id names none"},
        },
    )(auctions.auction)
    api.raw(PATH, "OPTIONS", name="preflight_auction", answer=None, statuses=(204,))(auctions.preflight)


def _imps(asked: Outer) -> Sequence[Imp]:
    """Return the impressions of a request. Raises Refused."""
    try:
        imps = decode_imps(asked.imp)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Refused(400, "Malformed body") from None
    if len({imp.id for imp in imps}) != len(imps):
        raise Refused(400, "Two impressions of one id")
    return imps


def credentialed(origin: str | None) -> list[tuple[str, str]]:
    """Let a registered origin read the answer to a call with credentials: none of them reaches the service."""
    found = list(cors(origin))
    return [*found, ("Access-Control-Allow-Credentials", "true")] if found else []


def _without(fields: Mapping[str, Any], field: str) -> dict[str, Any]:
    left_out = GATE_NAMES.get(field, ())
    return {name: value for name, value in fields.items() if name not in left_out}
