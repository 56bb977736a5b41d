"""/v1/events and /v1/click: what happened to what was decided, told once by a token, and the way to the advertiser.

A beacon learns nothing from its answer: known, unknown, expired, forged and repeated tokens are answered alike. A
click leads where the catalogue says; no address and no identifier is taken from it or given on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any

from flask import Request, Response, request
from msgspec import Meta, Struct

from engine.door import WORTHS, Door
from engine.errors import Busy
from engine.keys import Caller
from engine.record import CLICK_PATH, EVENTS_PATH, PIXEL
from engine.web.api import RETRY_S, SAFE_HEADERS, Api, Body, Ready, Refused
from engine.web.decisions import cors
from engine.web.faults import Fault
from privacy.gate import ARRIVAL, Arrival

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PATH = EVENTS_PATH.rstrip("/")
MEDIA = ("application/json", "text/plain")  # text/plain: what sendBeacon sends without asking first
SCRIPT = PATH + ".js"
SCRIPT_HEADERS = (
    ("Cache-Control", "public, max-age=3600"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
)
MOST = 100  # tokens of a request
MAX_BYTES = 128 * 1024
HEADERS = [*SAFE_HEADERS, ("Vary", "Origin")]
# A picture is loaded from pages of any origin.
PIXEL_HEADERS = [
    *SAFE_HEADERS,
    ("Content-Type", "image/gif"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
]
# The smallest picture there is: one transparent pixel (GIF89a).
GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)

Token = Annotated[
    str, Meta(max_length=2048, description="an event's address from an answer, or the token in it")
]


class EventsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Events that happened. As text/plain, the tokens or addresses alone may stand there, with spaces between."""

    tokens: Annotated[tuple[Token, ...], Meta(min_length=1, max_length=MOST)]


class Taken(Ready):
    """Says that events were taken, and nothing else: 204 without a body."""

    __slots__ = ()
    status_code = 204

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Send it."""
        start_response("204 No Content", self._headers)
        return []


class EventRoutes:
    """Answers beacons, pixels and clicks."""

    def __init__(
        self,
        door: Door,
        landing_url: Callable[[str], str | None],
        caller_of: Callable[[Request], Caller | None],
        count: Callable[[str, int], None],
    ) -> None:
        """`count` is told how many tokens were of each of WORTHS."""
        self._door, self._landing_url, self._caller_of, self._count = door, landing_url, caller_of, count
        self._body: Body[EventsBody] = Body(EventsBody, MEDIA, MAX_BYTES)

    def beacon(self) -> Ready:
        """Tell of events, by the tokens that a decision gave for them."""
        sent, arrival = _sent()
        try:
            tokens = self._tokens(sent)
            publisher = self._publisher(sent, arrival)
            self._take(sent, arrival, tokens, publisher)
        except Refused as refused:
            refused.headers |= dict(cors(arrival.origin))
            raise
        return Taken(b"", [*HEADERS, *cors(arrival.origin)])

    def one(self, token: str) -> Ready:
        """Tell of one event, by a beacon to its address; a body is not read."""
        sent, arrival = _sent()
        self._take(sent, arrival, [token], self._publisher(sent, arrival))
        return Taken(b"", [*HEADERS, *cors(arrival.origin)])

    def pixel(self, token: str) -> Ready:
        """Tell of one event, by loading its address as a picture."""
        sent, arrival = _sent()
        if sent.method != "HEAD":
            self._take(sent, arrival, [token], None)
        return Ready(GIF, PIXEL_HEADERS)

    def click(self, token: str) -> Response:
        """Go where a creative leads, and count the click if its time is not over."""
        sent, arrival = _sent()
        click = self._door.click(token, machine=arrival.ivt)
        landing = None if click is None else self._landing_url(click.creative)
        if click is None or landing is None:
            self._count(WORTHS[2], 1)
            raise Refused(404, "No such advertisement")
        worth = WORTHS[2]
        if click.event is not None and sent.method != "HEAD":
            _let_others_work(sent)
            try:
                self._door.keep(click.event)
                worth = WORTHS[click.event.row.ivt]
            except Busy:  # whoever clicked goes on all the same
                pass
        self._count(worth, 1)
        return Response(b"", 302, [*SAFE_HEADERS, ("Location", landing)])

    def preflight(self) -> Response:
        """Answer a browser that asks whether it may send JSON: from anywhere, for a token is all that counts."""
        _, arrival = _sent()
        headers = [*HEADERS, ("Allow", "OPTIONS, POST"), *cors(arrival.origin)]
        if arrival.preflight:
            headers += [
                ("Access-Control-Allow-Methods", "POST"),
                ("Access-Control-Allow-Headers", "Content-Type, Content-Encoding"),
                ("Access-Control-Max-Age", "7200"),
            ]
        return Response(b"", 204, headers)

    def _tokens(self, sent: Request) -> Sequence[str]:
        data = self._body.read_bytes(sent)
        if sent.environ.get("CONTENT_TYPE") == "text/plain" and not data.lstrip().startswith(b"{"):
            found: Sequence[str] = data.decode("utf-8", "replace").split()[:MOST]
        else:
            found = self._body.decoded(data).tokens
        return [text.rpartition("/")[2].removesuffix(PIXEL) for text in found]

    def _publisher(self, sent: Request, arrival: Arrival) -> str | None:
        """Return the publisher whose own server calls, if one does. Raises Refused where the key is not good."""
        if arrival.api_key is None:
            return None
        caller = self._caller_of(sent)
        if caller is None or caller.scope != "publisher" or caller.tenant is None:
            fault = Fault("Authorization", "another key", "a valid key of a publisher, or none")
            raise Refused(403, "Key of another", None, (fault,))
        return caller.tenant

    def _take(self, sent: Request, arrival: Arrival, tokens: Sequence[str], publisher: str | None) -> None:
        _let_others_work(sent)
        try:
            worths = self._door.take(tokens, machine=arrival.ivt, publisher=publisher)
        except Busy:
            raise Refused(
                503, "Busy", "Nothing of this was counted; send it again.", (), {"Retry-After": str(RETRY_S)}
            ) from None
        for worth, number in zip(WORTHS, worths, strict=True):
            if number:
                self._count(worth, number)


def add_events(api: Api, routes: EventRoutes) -> None:
    """Add the routes."""
    token = {"token": {"type": "string", "minLength": 1}}
    api.raw(
        PATH,
        "POST",
        body=EventsBody,
        media=MEDIA,
        answer=None,
        statuses=(204,),
        problems=(400, 403, 408, 413, 415, 422),
    )(routes.beacon)
    api.raw(PATH, "OPTIONS", name="preflight_events", answer=None, statuses=(204,))(routes.preflight)
    rule = f"{EVENTS_PATH}<token>{PIXEL}"
    api.raw(rule, "GET", answer=bytes, answer_media="image/gif", path=token)(routes.pixel)
    api.raw(rule, "POST", name="beacon_one", answer=None, statuses=(204,), problems=(403,), path=token)(
        routes.one
    )
    script = files("engine").joinpath("web", "static", "events.js").read_text("utf-8")

    @api.route(SCRIPT, "GET", answer=str, answer_media="text/javascript")
    def events_script() -> Response:
        """Load the script that tells when a creative is in view (MRC definition, not accredited)."""
        return Response(script, 200, SCRIPT_HEADERS, content_type="text/javascript; charset=utf-8")

    api.raw(f"{CLICK_PATH}<token>", "GET", answer=None, statuses=(302,), problems=(404,), path=token)(
        routes.click
    )


def _sent() -> tuple[Request, Arrival]:
    sent: Request = request._get_current_object()  # type: ignore[attr-defined]  # Werkzeug's documented way past the proxy
    return sent, sent.environ[ARRIVAL]


def _let_others_work(sent: Request) -> None:
    """Give this request's turn to work back (`engine.intake`): from here on it waits for the disk."""
    leave: Any = getattr(sent.environ["wsgi.input"], "leave", None)
    if leave is not None:
        leave()
