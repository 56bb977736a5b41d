"""/v1/events and /v1/click: what happened to what was decided, told once by a token, and the way to the advertiser.

A beacon learns nothing from its answer: known, unknown, expired, forged and repeated tokens are answered alike. A
click leads where the catalogue says; no address and no identifier is taken from it or given on.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from flask import Response, request
from msgspec import Meta, Struct

from engine.door import WORTHS, Door, worths
from engine.errors import Busy
from engine.events import Event
from engine.keys import Caller
from engine.later import Send
from engine.record import CLICK_PATH, EVENTS_PATH, PIXEL
from engine.web.api import (
    RETRY_S,
    SAFE_HEADERS,
    Api,
    Body,
    Later,
    Ready,
    Refused,
    Sent,
    fault_line,
    problem,
)
from engine.web.decisions import cors
from engine.web.faults import Fault
from engine.web.shell import Direct
from privacy.gate import ARRIVAL, Arrival

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

PATH = EVENTS_PATH.rstrip("/")
MEDIA = ("application/json", "text/plain")  # text/plain: what sendBeacon sends without asking first
SCRIPT = PATH + ".js"
SCRIPT_HEADERS = (
    ("Cache-Control", "public, max-age=3600"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
)
MOST = 100  # tokens of a request
AGAIN = "Nothing of this was counted; send it again."
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

_ADDRESS = re.compile(f"{EVENTS_PATH}[A-Za-z0-9_-]+{re.escape(PIXEL)}")

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

    def parts(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """Return status, headers and body."""
        return 204, self._headers, b""


class EventRoutes:
    """Answers beacons, pixels and clicks."""

    def __init__(
        self,
        door: Door,
        landing_url: Callable[[str], str | None],
        caller_of: Callable[[Sent], Caller | None],
        count: Callable[[str, int], None],
        answered: Callable[[str, int], None],
    ) -> None:
        """`count` is told how many tokens were of each of WORTHS, `answered` the status of what is answered later."""
        self._door, self._landing_url, self._caller_of = door, landing_url, caller_of
        self._count, self._answered = count, answered
        self._body: Body[EventsBody] = Body(EventsBody, MEDIA, MAX_BYTES)

    def beacon(self, sent: Sent) -> Ready | Response:
        """Tell of events, by the tokens that a decision gave for them."""
        arrival: Arrival = sent.environ[ARRIVAL]
        allowed = cors(arrival.origin)
        try:
            tokens = self._tokens(sent)
            publisher = self._publisher(sent, arrival)
        except Refused as refused:
            refused.headers |= dict(allowed)
            raise
        return self._take("beacon", sent, tokens, publisher, Taken(b"", [*HEADERS, *allowed]))

    def one(self, sent: Sent, token: str) -> Ready | Response:
        """Tell of one event, by a beacon to its address; a body is not read."""
        arrival: Arrival = sent.environ[ARRIVAL]
        publisher = self._publisher(sent, arrival)
        good = Taken(b"", [*HEADERS, *cors(arrival.origin)])
        return self._take("beacon_one", sent, [token], publisher, good)

    def pixel(self, sent: Sent, token: str, name: str = "pixel") -> Ready | Response:
        """Tell of one event, by loading its address as a picture."""
        picture = Ready(GIF, PIXEL_HEADERS)
        if sent.environ["REQUEST_METHOD"] == "HEAD":
            return picture
        return self._take(name, sent, [token], None, picture)

    def click(self, sent: Sent, token: str, name: str = "click") -> Ready | Response:
        """Go where a creative leads, and count the click if its time is not over."""
        arrival: Arrival = sent.environ[ARRIVAL]
        click = self._door.click(token, machine=arrival.ivt)
        landing = None if click is None else self._landing_url(click.creative)
        if click is None or landing is None:
            self._count(WORTHS[2], 1)
            raise Refused(404, "No such advertisement")
        event = None if sent.environ["REQUEST_METHOD"] == "HEAD" else click.event

        def answer(kept: bool) -> Response:  # whoever clicked goes on in either case
            self._count(WORTHS[event.row.ivt] if event is not None and kept else WORTHS[2], 1)
            return Response(b"", 302, [*SAFE_HEADERS, ("Location", landing)])

        return self._answer(name, sent, [] if event is None else [event], answer)

    def preflight(self) -> Response:
        """Answer a browser that asks whether it may send JSON: from anywhere, for a token is all that counts."""
        arrival: Arrival = request.environ[ARRIVAL]
        headers = [*HEADERS, ("Allow", "OPTIONS, POST"), *cors(arrival.origin)]
        if arrival.preflight:
            headers += [
                ("Access-Control-Allow-Methods", "POST"),
                ("Access-Control-Allow-Headers", "Content-Type, Content-Encoding"),
                ("Access-Control-Max-Age", "7200"),
            ]
        return Response(b"", 204, headers)

    def _tokens(self, sent: Sent) -> Sequence[str]:
        data = self._body.read_bytes(sent)
        if sent.environ.get("CONTENT_TYPE") == "text/plain" and not data.lstrip().startswith(b"{"):
            found: Sequence[str] = data.decode("utf-8", "replace").split(maxsplit=MOST)
            if len(found) > MOST:  # what is answered for is counted: all of it or nothing
                fault = Fault("tokens", "more", f"at most {MOST}, with spaces between")
                raise Refused(422, "Invalid body", None, (fault,))
        else:
            found = self._body.decoded(data).tokens
        return [text.rpartition("/")[2].removesuffix(PIXEL) for text in found]

    def _publisher(self, sent: Sent, arrival: Arrival) -> str | None:
        """Return the publisher whose own server calls, if one does. Raises Refused where the key is not good."""
        if arrival.api_key is None:
            return None
        caller = self._caller_of(sent)
        if caller is None or caller.scope != "publisher" or caller.tenant is None:
            fault = Fault("Authorization", "another key", "a valid key of a publisher, or none")
            raise Refused(403, "Key of another", None, (fault,))
        return caller.tenant

    def _take(
        self, name: str, sent: Sent, tokens: Sequence[str], publisher: str | None, good: Ready
    ) -> Ready | Response:
        arrival: Arrival = sent.environ[ARRIVAL]
        events = self._door.events(tokens, machine=arrival.ivt, publisher=publisher)

        def answer(kept: bool) -> Ready | Response:
            if not kept:
                allowed = dict(cors(arrival.origin))
                return problem(Refused(503, "Busy", AGAIN, (), {"Retry-After": str(RETRY_S), **allowed}))
            for worth, number in zip(WORTHS, worths(tokens, events), strict=True):
                if number:
                    self._count(worth, number)
            return good

        return self._answer(name, sent, events, answer)

    def _answer(
        self, name: str, sent: Sent, events: Sequence[Event], answer: Callable[[bool], Ready | Response]
    ) -> Ready | Response:
        """Answer when it is known whether events are kept: by the thread that keeps them, where the server lets it."""
        if not events:
            return answer(True)
        body: Any = sent.environ["wsgi.input"]
        send: Send | None = getattr(body, "later", None)
        try:
            if send is None:
                if leave := getattr(body, "leave", None):
                    leave()  # this request's turn to work (`engine.intake`): from here on it waits for the disk
                self._door.keep(events)
                return answer(True)
            later = send

            def told(kept: bool) -> None:
                try:
                    given = answer(kept)
                    self._answered(name, given.status_code)
                except Exception as error:  # nobody else answers
                    log.error("%s failed: %s", name, fault_line(error))
                    given = problem(Refused(500, "Internal server error"))
                if isinstance(given, Ready):
                    later(*given.parts())
                else:
                    later(given.status_code, given.headers.to_wsgi_list(), given.get_data())

            self._door.keep_later(events, told)
            return Later()
        except Busy:
            return answer(False)


def add_events(api: Api, routes: EventRoutes) -> Direct:
    """Add the routes; return the way to them that is shorter than Flask's."""
    token = {"token": {"type": "string", "minLength": 1}}
    api.raw(
        PATH,
        "POST",
        body=EventsBody,
        media=MEDIA,
        answer=None,
        statuses=(204,),
        problems=(400, 403, 408, 413, 415, 422),
    )(of_request(routes.beacon))
    api.raw(PATH, "OPTIONS", name="preflight_events", answer=None, statuses=(204,))(routes.preflight)
    rule = f"{EVENTS_PATH}<token>{PIXEL}"
    api.raw(rule, "GET", answer=bytes, answer_media="image/gif", path=token)(of_request(routes.pixel))
    api.raw(rule, "POST", name="beacon_one", answer=None, statuses=(204,), problems=(403,), path=token)(
        of_request(routes.one)
    )
    script = files("engine").joinpath("web", "static", "events.js").read_text("utf-8")

    @api.route(SCRIPT, "GET", answer=str, answer_media="text/javascript")
    def events_script() -> Response:
        """Load the script that tells when a creative is in view (MRC definition, not accredited)."""
        return Response(script, 200, SCRIPT_HEADERS, content_type="text/javascript; charset=utf-8")

    api.raw(f"{CLICK_PATH}<token>", "GET", answer=None, statuses=(302,), problems=(404,), path=token)(
        of_request(routes.click)
    )
    return _direct(api, routes)


def of_request(view: Callable[..., Ready | Response]) -> Callable[..., Ready | Response]:
    """Give a view the request that Flask has at hand."""

    @wraps(view)
    def answer(**values: object) -> Ready | Response:
        return view(request, **values)

    return answer


class _Sent(NamedTuple):
    environ: WSGIEnvironment


def _direct(api: Api, routes: EventRoutes) -> Direct:
    beacon = api.counted("beacon", routes.beacon)
    by_address = {
        "GET": api.counted("pixel", routes.pixel),
        "POST": api.counted("beacon_one", routes.one),
    }

    def all_in_body(environ: WSGIEnvironment) -> Ready | Response:
        return beacon(sent=_Sent(environ))

    def find(method: str, path: str) -> Callable[[WSGIEnvironment], Ready | Response] | None:
        if path == PATH:
            return all_in_body if method == "POST" else None
        view = by_address.get(method)
        if view is None or not _ADDRESS.fullmatch(path):
            return None
        token = path[len(EVENTS_PATH) : -len(PIXEL)]
        return lambda environ: view(sent=_Sent(environ), token=token)

    return find
