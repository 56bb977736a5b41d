"""/api/v1/decision/ and the /proxy/ addresses, as EthicalAds' clients call them: no client's id, no address, no agent.

Pages load the answer as a script, which sends no origin; a name is called only if it can be nothing but a name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Request, Response, request

from contexts.errors import FactError
from engine.campaign import Publisher
from engine.ethicalads import (
    CALLBACK,
    CLICK_PATH,
    NO_AD,
    VIEW_PATH,
    VIEW_TIME_PATH,
    EthicalAd,
    EthicalBody,
    PlacementAsked,
    ad_of,
    keywords_of,
    place_of,
    placement_of,
    script_of,
)
from engine.keys import Caller
from engine.limits import RateLimits
from engine.openrtb.wire import encode
from engine.tickets import LETTERS
from engine.web.api import SAFE_HEADERS, Api, Body, Ready, Refused, fault_line
from engine.web.decisions import HEADERS, JSON_HEADERS, Decider, cors
from engine.web.events import GIF, PIXEL_HEADERS, EventRoutes
from engine.web.faults import Fault
from engine.web.health import Metrics
from engine.web.origins import Origins
from privacy.errors import FieldError
from privacy.gate import ARRIVAL, Arrival, enter

log = logging.getLogger(__name__)

PATH = "/api/v1/decision/"
QUERY_KEYS = ("publisher", "ad_types", "div_ids", "callback", "keywords", "campaign_types", "format", "url")
MAX_BYTES = 64 * 1024
SCRIPT_HEADERS = [
    *SAFE_HEADERS,
    ("Content-Type", "application/javascript; charset=utf-8"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
]


class EthicalAds:
    """Answers EthicalAds' clients."""

    def __init__(
        self,
        engine: Decider,
        publishers: Callable[[], Mapping[str, Publisher]],
        caller_of: Callable[[Request], Caller | None],
        limits: RateLimits,
        metrics: Metrics,
        events: EventRoutes,
        monotonic: Callable[[], float],
        deadline_ms: int,
        base_url: str,
    ) -> None:
        self._engine, self._publishers, self._caller_of = engine, publishers, caller_of
        self._limits, self._metrics, self._events, self._monotonic = limits, metrics, events, monotonic
        self._deadline_s, self._base_url = deadline_ms / 1000, base_url
        self._body: Body[EthicalBody] = Body(EthicalBody, ("application/json",), MAX_BYTES)

    def get(self) -> Ready:
        """Choose an advertisement for a page, as a script where it asks for one (EthicalAds)."""
        sent: Request = request._get_current_object()  # type: ignore[attr-defined]  # Werkzeug's documented way past the proxy
        arrival: Arrival = sent.environ[ARRIVAL]
        query = sent.args
        callback = query.get("callback", "") if query.get("format") == "jsonp" else None
        if callback is not None and not CALLBACK.fullmatch(callback):
            fault = Fault("callback", "no name", "a name of letters, digits, _ and $, at most 64")
            raise Refused(400, "Invalid query", None, (fault,))
        publisher = self._publishers().get(query.get("publisher", ""))
        ad = NO_AD
        if publisher is not None and (arrival.origin is None or Origins.belongs(arrival.origin, publisher)):
            self._limit(publisher)
            first = PlacementAsked(
                query.get("div_ids", "").partition("|")[0][:200],
                query.get("ad_types", "").partition("|")[0][:50],
            )
            ad = self._ad(
                arrival,
                publisher,
                first,
                keywords_of(query.get("keywords", "").split("|")),
                [one for one in query.get("campaign_types", "").split("|") if one],
                query.get("url"),
                trusted=False,
            )
        if callback is not None:
            return Ready(script_of(ad, callback), SCRIPT_HEADERS)
        return Ready(encode(ad), [*JSON_HEADERS, *cors(arrival.origin)])

    def post(self) -> Ready:
        """Choose an advertisement for a page that the publisher's server makes (EthicalAds)."""
        sent: Request = request._get_current_object()  # type: ignore[attr-defined]  # Werkzeug's documented way past the proxy
        arrival: Arrival = sent.environ[ARRIVAL]
        body = self._body.read(sent)
        publisher = self._publishers().get(body.publisher)
        if publisher is None:
            fault = Fault("publisher", "an unknown id", "the id of a registered publisher")
            raise Refused(404, "Unknown publisher", None, (fault,))
        if arrival.origin is not None and not Origins.belongs(arrival.origin, publisher):
            return Ready(encode(NO_AD), HEADERS)
        if arrival.api_key is not None:
            caller = self._caller_of(sent)
            if caller is None or caller.scope != "publisher" or caller.tenant != publisher.id:
                fault = Fault("Authorization", "another key", "a valid key of this publisher, or none")
                raise Refused(403, "Key of another", None, (fault,))
        self._limit(publisher)
        ad = self._ad(
            arrival,
            publisher,
            place_of(body.placements),
            keywords_of(body.keywords or ()),
            body.campaign_types or (),
            body.url,
            trusted=arrival.api_key is not None,
        )
        return Ready(encode(ad), [*JSON_HEADERS, *cors(arrival.origin)])

    def view(self, creative: str, nonce: str) -> Ready | Response:
        """Tell of an impression (EthicalAds)."""
        return self._events.pixel(request, LETTERS["impression"] + nonce, "ethical_view")

    def click(self, creative: str, nonce: str) -> Ready | Response:
        """Go where an advertisement leads (EthicalAds)."""
        return self._events.click(request, LETTERS["click"] + nonce, "ethical_click")

    def view_time(self, creative: str, nonce: str) -> Ready:
        """Take that an advertisement was in view for a while, and keep nothing of it (EthicalAds)."""
        return Ready(GIF, PIXEL_HEADERS)

    def _limit(self, publisher: Publisher) -> None:
        if wait_s := self._limits.take(publisher.id, publisher.rate_per_s):
            raise Refused(429, "Too many requests for this publisher", headers={"Retry-After": str(wait_s)})

    def _ad(
        self,
        arrival: Arrival,
        publisher: Publisher,
        asked: PlacementAsked,
        keywords: tuple[str, ...],
        campaign_types: Sequence[str],
        url: str | None,
        *,
        trusted: bool,
    ) -> EthicalAd:
        """Return an advertisement, or none; whatever fails inside, the page goes on."""
        started = self._monotonic()
        placement = placement_of(campaign_types)
        if placement is None:
            return NO_AD
        fields: dict[str, Any] = {"keywords": keywords}
        if url and url.startswith(("http://", "https://")) and len(url) <= 2048:
            fields["url"] = url
        try:
            try:
                visit = enter(arrival, publisher.id, trusted=trusted, **fields)
            except FieldError:  # an address that is none
                visit = enter(arrival, publisher.id, trusted=trusted, keywords=keywords)
            answer = self._engine.decide(
                visit,
                (placement,),
                explain=False,
                deadline=started + self._deadline_s,
            )
        except FactError:
            return NO_AD
        except Exception as error:  # the rule of the page: never break it
            log.error("decision failed: %s", fault_line(error))
            return NO_AD
        self._metrics.decided(answer, self._monotonic() - started, False)
        return next((ad_of(filled, asked, self._base_url) for filled in answer.decisions), NO_AD)


def add_ethicalads(api: Api, ads: EthicalAds) -> None:
    """Add the routes."""
    text = {"type": "string"}
    api.raw(
        PATH,
        "GET",
        name="ethical_decision",
        answer=EthicalAd,
        problems=(400, 429),
        query={
            **dict.fromkeys(QUERY_KEYS, text),
            "format": {"type": "string", "description": "json or jsonp"},
        },
    )(ads.get)
    api.raw(
        PATH,
        "POST",
        name="ethical_decision_by_server",
        body=EthicalBody,
        answer=EthicalAd,
        media=("application/json",),
        problems=(400, 403, 404, 408, 413, 415, 422, 429),
    )(ads.post)
    parts = {"creative": {"type": "string", "minLength": 1}, "nonce": {"type": "string", "minLength": 1}}
    for path, name, view in ((VIEW_PATH, "view", ads.view), (VIEW_TIME_PATH, "view_time", ads.view_time)):
        api.raw(
            f"{path}<creative>/<nonce>/",
            "GET",
            name=f"ethical_{name}",
            answer=bytes,
            answer_media="image/gif",
            path=parts,
        )(view)
    api.raw(
        f"{CLICK_PATH}<creative>/<nonce>/",
        "GET",
        name="ethical_click",
        answer=None,
        statuses=(302,),
        problems=(404,),
        path=parts,
    )(ads.click)
