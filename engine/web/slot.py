"""GET /v1/slot: one creative as a piece of HTML, for pages that are put together on servers (SSI, ESI) or by htmx.

Whatever goes wrong, the answer is 200 and shows nothing: a comment tells who reads the source what to mend. With
`profile=strict` no address in the piece says anything of the page view: its impression is counted when it is made,
views and clicks are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Any, get_args

import msgspec
from flask import Request, Response, request

from engine.campaign import Format
from engine.decision import CreativeAnswer, Filled, Placement
from engine.web.api import SAFE_HEADERS, Api, Refused
from engine.web.decisions import Asked, Decisions, cors
from engine.web.faults import Fault
from privacy.errors import FieldError
from privacy.gate import ARRIVAL, FOREIGN, SLOT_PATH, Arrival, enter
from privacy.visit import DEVICE_CLASSES, Visit

ONCE = (
    "publisher",
    "placement",
    "size",
    "url",
    "title",
    "language",
    "device",
    "country",
    "region",
    "profile",
)
OFTEN = ("format", "category", "keyword")
QUERY_KEYS = (*ONCE, *OFTEN)
PROFILES = ("tokens", "strict")
MOST = 20  # values of one parameter
MOST_CHARS = 2048
HEADERS = [*SAFE_HEADERS, ("Vary", "Origin")]
# What htmx sends along with each request; the gate drops it.
HTMX = (  # what htmx 2 and 4 send along; nothing of it is read
    "HX-Boosted, HX-Current-URL, HX-Prompt, HX-Request, HX-Request-Type, HX-Source, HX-Target, HX-Trigger,"
    " HX-Trigger-Name"
)
_FORMATS: tuple[Format, ...] = get_args(Format)
_SIZE = re.compile(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", re.ASCII)
_PLACEMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}", re.ASCII)
_WEB = re.compile(r"https?://[^\s/?#@]+", re.ASCII | re.IGNORECASE)
_QUERY: dict[str, Any] = {
    "publisher": {"type": "string", "description": "the publisher's id"},
    "placement": {"type": "string", "description": "the page's name for the place"},
    "size": {"type": "string", "description": "width and height of a banner, such as 300x250; none: any"},
    "format": {"type": "string", "description": "native or banner; both where it is missing"},
    "url": {"type": "string", "description": "the page's address; its query is cut off"},
    "title": {"type": "string", "description": "the page's title"},
    "category": {"type": "string", "description": "an id of IAB Content Taxonomy 3.1; may be repeated"},
    "keyword": {"type": "string", "description": "the publisher's own section or keyword; may be repeated"},
    "language": {"type": "string", "description": "BCP 47"},
    "device": {"type": "string", "description": f"one of {', '.join(DEVICE_CLASSES)}"},
    "country": {"type": "string", "description": "ISO 3166-1 alpha-2"},
    "region": {"type": "string", "description": "ISO 3166-2"},
    "profile": {"type": "string", "description": "strict: no address says anything of the page view"},
}

_creative = msgspec.json.Decoder(CreativeAnswer).decode


class Slots:
    """Answers with pieces of HTML."""

    def __init__(self, decisions: Decisions, *, strict: bool) -> None:
        """`strict`: the installation counts by no tokens, whatever is asked."""
        self._decisions, self._strict = decisions, strict

    def slot(self) -> Response:
        """Show one creative that fits a page, as a piece of HTML."""
        sent: Request = request._get_current_object()  # type: ignore[attr-defined]  # Werkzeug's documented way
        arrival: Arrival = sent.environ[ARRIVAL]
        if sent.method == "HEAD":  # shows nothing, and so counts nothing
            return _piece("", arrival)
        try:
            asked = self._asked(sent, arrival)
            answer = self._decisions.ask(sent, arrival, asked, arrival.deadline_ms)
        except Refused as refused:
            return _piece(_comment(refused), arrival)
        gpc = answer.privacy.gpc
        return _piece("".join(_shown(filled, gpc) for filled in answer.decisions), arrival)

    def preflight(self) -> Response:
        """Answer a browser that asks whether htmx may ask."""
        arrival: Arrival = request.environ[ARRIVAL]
        headers = [*HEADERS, ("Allow", "GET, HEAD, OPTIONS"), *cors(arrival.origin)]
        if arrival.preflight and arrival.origin != FOREIGN:
            headers += [
                ("Access-Control-Allow-Methods", "GET"),
                ("Access-Control-Allow-Headers", HTMX),
                ("Access-Control-Max-Age", "7200"),
            ]
        return Response(b"", 204, headers)

    def _asked(self, sent: Request, arrival: Arrival) -> Asked:
        """Read the query. Raises Refused with every parameter that is wrong."""
        given = {name: sent.args.getlist(name) for name in QUERY_KEYS}
        faults = [
            Fault(name, f"{len(values)} values", f"at most {1 if name in ONCE else MOST}")
            for name, values in given.items()
            if len(values) > (1 if name in ONCE else MOST)
        ]
        faults += [
            Fault(name, "a long value", f"at most {MOST_CHARS} characters")
            for name, values in given.items()
            if any(len(value) > MOST_CHARS for value in values)
        ]
        # An empty one says nothing.
        one: dict[str, str | None] = {name: next(iter(given[name]), "") or None for name in ONCE}
        placement, size, profile = one["placement"] or "", one["size"], one["profile"] or PROFILES[0]
        if not _PLACEMENT.fullmatch(placement):
            faults.append(Fault("placement", "something else", "a name of 1-64 letters, digits, _ . : -"))
        if not one["publisher"]:
            faults.append(Fault("publisher", "nothing", "the id of a registered publisher"))
        found = _SIZE.fullmatch(size or "")
        if size and not found:
            faults.append(Fault("size", "something else", "width and height such as 300x250"))
        if one["url"] and not _WEB.match(one["url"]):
            faults.append(Fault("url", "something else", "an http or https address"))
        if profile not in PROFILES:
            faults.append(Fault("profile", "something else", f"one of {', '.join(PROFILES)}"))
        formats = tuple(name for name in _FORMATS if name in given["format"]) or _FORMATS
        if any(name not in _FORMATS for name in given["format"]):
            faults.append(Fault("format", "something else", f"one of {', '.join(_FORMATS)}"))
        if not (one["url"] or one["title"] or given["category"] or given["keyword"]):
            faults.append(Fault("url", "nothing known of the page", "url, title, category or keyword"))
        if faults:
            raise Refused(422, "Invalid query", None, faults)
        strict = self._strict or profile == "strict"
        return Asked(
            one["publisher"] or "",
            _visit(arrival, one, given),
            (
                Placement(
                    placement,
                    formats,
                    ((int(found[1]), int(found[2])),) if found else (),
                    impressions_only=strict,
                ),
            ),
            None,
            explain=False,
            test=False,
            strict=strict,
        )


def add_slot(api: Api, slots: Slots) -> None:
    """Add the route."""
    api.raw(SLOT_PATH, "GET", answer=str, answer_media="text/html", query=_QUERY)(slots.slot)
    api.raw(SLOT_PATH, "OPTIONS", name="preflight_slot", answer=None, statuses=(204,))(slots.preflight)


def _visit(arrival: Arrival, one: dict[str, str | None], given: dict[str, list[str]]) -> Visit:
    try:
        return enter(
            arrival,
            one["publisher"] or "",
            trusted=arrival.api_key is not None,
            url=one["url"],
            title=one["title"],
            language=one["language"],
            keywords=tuple(given["keyword"]),
            categories=tuple(given["category"]),
            device_class=one["device"],
            country=one["country"],
            region=one["region"],
        )
    except FieldError as error:
        raise Refused(422, "Invalid query", None, (Fault(error.field, error.got, error.expected),)) from None


def _shown(filled: Filled, gpc: str | None) -> str:
    """Write a creative with the addresses of its events, where it has any; the label is within the creative."""
    said = {"data-placement": filled.placement, "data-gpc": gpc}
    pixel = ""
    if filled.events is not None:  # a view is told by /v1/events.js, if the page has it
        said["data-tactful-viewable"] = filled.events.viewable
        pixel = f'<img src="{escape(filled.events.impression)}" width="1" height="1" alt="">'
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in said.items() if value)
    return f'<div class="tactful-slot"{attributes}>{_creative(filled.creative).html}{pixel}</div>'


def _comment(refused: Refused) -> str:
    told = "; ".join(_lines(refused)).replace("--", "- -")  # which would end a comment
    return f"<!-- tactful: {told} -->"


def _lines(refused: Refused) -> Iterator[str]:
    yield escape(refused.problem.title)
    for fault in refused.problem.errors:
        yield escape(f"{fault.field}: got {fault.got}, expected {fault.expected}")


def _piece(html: str, arrival: Arrival) -> Response:
    headers = [*HEADERS, *cors(arrival.origin)]
    return Response(html, 200, headers, content_type="text/html; charset=utf-8")
