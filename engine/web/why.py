"""/v1/why: the reader's page behind every creative: who paid, why it was shown, what was not used, how to object.

What it tells stands signed in the link itself (`engine.why`). No script, no cookie; a vote is an event of this page's
own view, told with noise among many (`privacy.workload`), and nothing ties it to the page that showed the creative.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Protocol

import msgspec
from flask import Response, request
from jinja2 import Environment, PackageLoader

from engine.campaign import Campaign, PoliticalNotice, Publisher
from engine.change import Entity, Kind
from engine.changes import Entry
from engine.door import Door
from engine.errors import Busy, EngineError
from engine.events import VOTES
from engine.tickets import LETTERS
from engine.web.api import RETRY_S, Api, fault_line
from engine.web.report_pages import HEADERS
from engine.why import WHY_PATH, Trace, Votes, WhyLinks
from privacy.gate import ARRIVAL, Arrival

log = logging.getLogger(__name__)

STYLE = WHY_PATH.rstrip("/") + ".css"
MOST_FIELD = 1000  # characters
MOST_FORM = 16 * 1024  # bytes
FACETS = {
    "page": "What the page is about",
    "device": "The kind of device",
    "time": "The time",
    "weather": "The weather",
    "house": "Nothing else",
}
KINDS = {
    "cohort": "a group that the publisher put you in",
    "journey_stage": "how far along a decision the publisher takes you to be",
    "loyalty_tier": "your level in the publisher's programme",
    "exposure": "how often the publisher showed you a campaign",
}
SAID = {"not_relevant": "not relevant", "too_personal": "too personal"}
_SHOWN = (200, 404, 422, 503)  # all of them with a page


class Catalogue(Protocol):
    """Keeps what is said of political campaigns, and what was said of those that are gone."""

    def find(self, kind: Kind, ids: Sequence[str]) -> Mapping[str, Entity]:
        """Return the things of these ids that exist."""

    def journal_of(self, kind: str, id: str, limit: int) -> list[Entry]:
        """Return (seq, at, actor, kind, id, before, after) of the changes of one thing, the latest first."""


class WhyPages:
    """Answers who asks why."""

    def __init__(
        self,
        links: WhyLinks,
        votes: Votes,
        door: Door,
        publishers: Callable[[], Mapping[str, Publisher]],
        catalogue: Catalogue,
        contact: str | None,
        root: str,
    ) -> None:
        """`contact` is how to reach the operator; `root` the path under which the service is reached."""
        self._links, self._votes, self._door, self._publishers = links, votes, door, publishers
        self._catalogue = catalogue
        self._contact, self._root = contact, root
        self._pages = Environment(loader=PackageLoader("engine", "web/templates/why"), autoescape=True)

    def show(self, token: str) -> Response:
        """Tell a reader why an advertisement was shown, and who paid for it."""
        trace = self._links.read(token)
        return self._shown(trace, token, 404 if trace is None else 200)

    def vote(self, token: str) -> Response:
        """Take what a reader says of an advertisement."""
        trace, arrival = self._links.read(token), _arrival()
        if trace is None:
            return self._shown(None, token, 404)
        request.max_content_length = MOST_FORM
        vote = request.form.get("vote", "")
        ticket = request.form.get("ticket", "")[:MOST_FIELD]
        if vote not in VOTES:
            return self._shown(trace, token, 422, fault="Say either that it is not relevant or too personal.")
        try:
            self._door.take([LETTERS[vote] + ticket], machine=arrival.ivt)
        except Busy:
            return self._shown(trace, token, 503, fault="This was not counted. Please try again.")
        return self._shown(trace, token, 200, said=SAID[vote])

    def _shown(
        self,
        trace: Trace | None,
        token: str,
        status: int,
        *,
        said: str | None = None,
        fault: str | None = None,
    ) -> Response:
        told: dict[str, Any] = {}
        if trace is not None:
            publisher = self._publishers().get(trace.publisher)
            whole = sum(max(share, 0) for _, share, _ in trace.parts) or 1
            told = {
                "parameters": [
                    (FACETS.get(facet, facet), because, round(100 * max(share, 0) / whole))
                    for facet, share, because in trace.parts
                ],
                "kinds": [KINDS.get(kind, kind) for kind in trace.kinds],
                "publisher": trace.publisher if publisher is None else publisher.name,
                "notice": self._notice(trace.campaign),
                "ticket": self._votes.token(trace, ivt=_arrival().ivt),
            }
        text = self._pages.get_template("why.html").render(
            root=self._root,
            trace=trace,
            token=token,
            contact=self._contact,
            said=said,
            fault=fault,
            votes=SAID,
            **told,
        )
        retry = [("Retry-After", str(RETRY_S))] if status == 503 else []
        headers = [*HEADERS, ("Content-Language", "en"), *retry]  # said, so that browsers offer to translate
        return Response(text, status, headers, content_type="text/html; charset=utf-8")

    def _notice(self, id: str) -> PoliticalNotice | None:
        """Return what is said of a political campaign; of one that is gone, what was said last."""
        try:
            found = self._catalogue.find("campaign", [id]).get(id)
            if found is None:
                for *_, before, _ in self._catalogue.journal_of("campaign", id, 1):
                    found = None if before is None else msgspec.json.decode(before, type=Campaign)
        except (EngineError, msgspec.MsgspecError) as error:  # the rest is told all the same
            log.error("notice not read: %s", fault_line(error))
            return None
        return found.political_notice if isinstance(found, Campaign) else None


def add_why(api: Api, pages: WhyPages) -> None:
    """Add the routes."""
    path = {"token": {"type": "string", "minLength": 1}}
    told: dict[str, Any] = {"answer": str, "answer_media": "text/html", "path": path}
    api.raw(f"{WHY_PATH}<token>", "GET", name="why", statuses=(200, 404), **told)(pages.show)
    api.raw(f"{WHY_PATH}<token>", "POST", name="why_vote", statuses=_SHOWN, problems=(413,), **told)(
        pages.vote
    )
    style = files("engine").joinpath("web", "static", "why", "why.css").read_text("utf-8")

    @api.route(STYLE, "GET", answer=str, answer_media="text/css")
    def why_style() -> Response:
        """Load the style of the reader's page."""
        return Response(style, 200, HEADERS, content_type="text/css; charset=utf-8")


def _arrival() -> Arrival:
    found: Arrival = request.environ[ARRIVAL]
    return found
