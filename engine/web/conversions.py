"""POST /v1/conversions: at a click, the page of a reader who agreed gets what it may hand to the advertiser's page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Annotated
from urllib.parse import urlsplit

from flask import Request, Response, request
from msgspec import Meta, Struct

from engine.campaign import Id, Publisher
from engine.conversions import Conversions
from engine.web.api import SAFE_HEADERS, Api, Body, Ready, Refused, reply
from engine.web.decisions import MEDIA, cors
from engine.web.events import SCRIPT_HEADERS, Taken, Token
from engine.web.wire import ClaimBody, RegsBody, claim_from
from privacy.gate import ARRIVAL, Arrival, Denied, enter

PATH = "/v1/conversions"
SCRIPT = PATH + ".js"
HEADERS = [*SAFE_HEADERS, ("Vary", "Origin")]


class HandoverBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A click of a reader who agreed to be measured."""

    publisher: Id
    click: Annotated[Token, Meta(description="the click's address from the answer, or the token in it")]
    consent: ClaimBody
    regs: RegsBody = RegsBody()


class Handover(Struct, frozen=True):
    """What the page may hand to a window of this origin, and to no other."""

    token: str
    origin: str


class Handovers:
    """Answers pages at a click. `conversions` is None where they are not told by click: then nobody gets a token."""

    def __init__(
        self,
        conversions: Conversions | None,
        publishers: Callable[[], Mapping[str, Publisher]],
        landing_url: Callable[[str], str | None],
        allow: Callable[[Request, Arrival, str], None],
        denied: Callable[[str], None],
    ) -> None:
        """`allow` raises Refused where a call is not allowed in the publisher's name."""
        self._conversions, self._publishers, self._landing_url = conversions, publishers, landing_url
        self._allow, self._denied = allow, denied
        self._body: Body[HandoverBody] = Body(HandoverBody, MEDIA)

    def answer(self) -> Ready | Response:
        """Get the token that tells once of a conversion. Whoever may not be measured gets nothing, whatever the why."""
        arrival: Arrival = request.environ[ARRIVAL]
        headers = [*HEADERS, *cors(arrival.origin)]
        try:
            body = self._body.read(request)
            self._allow(request, arrival, body.publisher)
        except Refused as refused:
            refused.headers |= dict(cors(arrival.origin))
            raise
        told = self._handover(arrival, body)
        if told is None:
            return Taken(b"", headers)
        return reply(told, headers=headers[len(SAFE_HEADERS) :])

    def _handover(self, arrival: Arrival, body: HandoverBody) -> Handover | None:
        claim = claim_from(body.consent, body.regs)
        if self._conversions is None or claim is None:
            return None
        visit = enter(arrival, body.publisher, trusted=arrival.api_key is not None)
        try:
            handed = self._conversions.token(
                body.click.rpartition("/")[2], self._publishers()[body.publisher], visit, claim
            )
        except Denied as denied:
            self._denied(denied.reason)
            return None
        landing = None if handed is None else self._landing_url(handed.creative)
        if handed is None or landing is None:
            return None
        there = urlsplit(landing)
        return Handover(handed.token, f"{there.scheme}://{there.netloc}")


def add_conversions(api: Api, handovers: Handovers) -> None:
    """Add the routes."""
    api.raw(
        PATH,
        "POST",
        name="handover",
        body=HandoverBody,
        media=MEDIA,
        answer=Handover,
        statuses=(200,),
        empty=(204,),
        problems=(400, 403, 404, 408, 413, 415, 422, 429),
    )(handovers.answer)
    script = files("engine").joinpath("web", "static", "conversions.js").read_text("utf-8")

    @api.route(SCRIPT, "GET", answer=str, answer_media="text/javascript")
    def conversions_script() -> Response:
        """Load the script that hands a token from the publisher's page to the advertiser's, without any address."""
        return Response(script, 200, SCRIPT_HEADERS, content_type="text/javascript; charset=utf-8")
