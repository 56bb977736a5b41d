"""Request bodies of /v1, as msgspec checks them and /openapi.json describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from contexts.context import Condition
from engine.campaign import Format, Id, Size, Word
from engine.decision import Placement
from engine.web.faults import Fault
from privacy.gate import Claim
from privacy.visit import DeviceClass, Platform

# Python lets `$` match before a final line break; `(?!\n)` takes that back, in every regex dialect.
PlacementId = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}$(?!\n)",
        description="the page's name for a place, 1-64 characters",
    ),
]
MICROS = 1_000_000
MOST_SECTIONS = 100  # of a GPP string that are named as those to heed
NO_WORD = "?"  # no token, nonce, TC or GPP string


class BlockBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Who and what must not show: advertisers by id, categories by IAB Ad Product Taxonomy 2.0 id."""

    advertisers: Annotated[tuple[Id, ...], Meta(max_length=100)] = ()
    categories: Annotated[tuple[Word, ...], Meta(max_length=100)] = ()


class PlacementBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A place on the page. `floor_cpm` is in units of the installation's currency; no sizes: any size."""

    id: PlacementId
    formats: Annotated[tuple[Format, ...], Meta(min_length=1, max_length=2)] = ("native", "banner")
    sizes: Annotated[tuple[Size, ...], Meta(max_length=20)] = ()
    count: Annotated[int, Meta(ge=1, le=10)] = 1
    floor_cpm: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.0
    block: BlockBody = BlockBody()


class PageBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What the caller says of the page: at least one of url, title, text, html."""

    url: Annotated[str, Meta(max_length=2048, pattern=r"^https?://[^\s/?#@]+")] | None = None
    title: Annotated[str, Meta(max_length=1000)] | None = None
    description: Annotated[str, Meta(max_length=5000)] | None = None
    text: Annotated[str, Meta(max_length=200_000)] | None = None
    html: Annotated[str, Meta(max_length=1_000_000)] | None = None
    language: Annotated[str, Meta(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}$(?!\n)")] | None = (
        None  # BCP 47
    )
    keywords: Annotated[tuple[Word, ...], Meta(max_length=100)] = ()
    categories: Annotated[tuple[Word, ...], Meta(max_length=50)] = ()
    cattax: Annotated[int, Meta(ge=1, le=1000, description="AdCOM List: Category Taxonomies")] = 9


# The same in JSON Schema, so that the document refuses what the service refuses.
Page = Annotated[
    PageBody,
    Meta(
        extra_json_schema={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": "string", "minLength": 1}}}
                for name in ("url", "title", "text", "html")
            ]
        }
    ),
]


class DeviceBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The device as the caller knows it; what is left out is read from the headers."""

    cls: DeviceClass | None = msgspec.field(default=None, name="class")
    platform: Platform | None = None


class TimeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The reader's hour; left out: now, in the publisher's zone."""

    timezone: Annotated[str, Meta(max_length=64, extra_json_schema={"format": "iana-timezone"})] | None = None
    at: Annotated[datetime, Meta(tz=True, extra_json_schema={"pattern": "^20"})] | None = None


class PlaceBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Country (ISO 3166-1 alpha-2) and region (the subdivision part of ISO 3166-2); no finer."""

    country: (
        Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)", extra_json_schema={"format": "iso-3166-1"})] | None
    ) = None
    region: Annotated[str, Meta(pattern=r"^[A-Z0-9]{1,3}$(?!\n)")] | None = None


Place = Annotated[
    PlaceBody,
    Meta(
        extra_json_schema={
            "anyOf": [
                {"required": ["country"], "properties": {"country": {"type": "string"}}},
                {"properties": {"region": {"type": "null"}}},
            ]
        }
    ),
]


class WeatherBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The weather as the caller knows it; left out: from the service's table of regions."""

    condition: Condition | None = None
    temperature_c: Annotated[float, Meta(ge=-90, le=60)] | None = None
    wind_ms: Annotated[float, Meta(ge=0, le=120)] | None = None


class ClaimBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A reader's consent. A token that is not good in every way is as good as none: the answer is the same.

    So is a value of another type: it comes from the reader's side, and a page is not refused for it.
    """

    token: Annotated[Any, Meta(description="compact JWS, typ consent+jwt, as text")] = None
    nonce: Annotated[Any, Meta(description="128 random bits of this request, base64url or hex, as text")] = (
        None
    )
    tcf: Annotated[Any, Meta(description="IAB TC string")] = None
    gpp: Annotated[Any, Meta(description="IAB GPP string")] = None
    gpp_sid: Annotated[Any, Meta(description="list of at most 100 section numbers")] = ()

    def words(self) -> Words:
        """Give the values as text and numbers; one of another type as text that says nothing, and is counted."""
        sections = self.gpp_sid if isinstance(self.gpp_sid, list | tuple) else None
        if self.gpp_sid is None:
            sections = ()
        known = sections is not None and len(sections) <= MOST_SECTIONS and set(map(type, sections)) <= {int}
        return Words(
            _text(self.token),
            _text(self.nonce),
            _text(self.tcf),
            _text(self.gpp) if known else NO_WORD,
            tuple(sections or ()) if known else (),
        )


class Words(NamedTuple):
    """What a body says of consent, unread."""

    token: str | None = None
    nonce: str | None = None
    tcf: str | None = None
    gpp: str | None = None
    gpp_sid: tuple[int, ...] = ()


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else NO_WORD


class RegsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What the law asks for on this page view, as the caller knows it. It only ever takes away."""

    gdpr: Literal[0, 1] | None = None
    coppa: Literal[0, 1] = 0
    minor: bool = False


class DecisionBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A page view asks for creatives. Required: publisher, placements, and one way to know the page."""

    publisher: Id
    placements: Annotated[tuple[PlacementBody, ...], Meta(min_length=1, max_length=20)]
    page: Page
    device: DeviceBody | None = None
    time: TimeBody | None = None
    place: Place | None = None
    weather: WeatherBody | None = None
    consent: ClaimBody | None = None
    regs: RegsBody = RegsBody()
    # The reader's, under their consent: skipped unparsed where there is none. A factory, since no schema tells a Raw.
    signals: Raw = msgspec.field(default_factory=Raw)
    explain: bool = False
    test: bool = False  # left out of the service's counters: nothing of it is counted or billed


def inconsistencies(body: DecisionBody) -> tuple[Fault, ...]:
    """Give what is wrong between fields, each of which is well-formed."""
    page, ids = body.page, [placement.id for placement in body.placements]
    if (page.url or page.title or page.text or page.html) and len(set(ids)) == len(ids):
        return ()
    faults = [
        Fault(f"placements[{number}].id", "an id used before", "an id of its own for each placement")
        for number, id in enumerate(ids)
        if id in ids[:number]
    ]
    if not (page.url or page.title or page.text or page.html):
        faults.append(Fault("page", "no url, title, text or html", "at least one of them, not empty"))
    return tuple(faults)


def claim_of(body: DecisionBody) -> Claim | None:
    """Give what the body says of consent, for the gate to judge; None where it names no token."""
    signals = bytes(body.signals)
    return claim_from(body.consent, body.regs, None if signals in (b"", b"null") else signals)


def claim_from(consent: ClaimBody | None, regs: RegsBody, signals: bytes | None = None) -> Claim | None:
    """Give what is said of consent, for the gate to judge; None where it names no token."""
    said = (consent or ClaimBody()).words()
    if not said.token:
        return None
    return Claim(
        token=said.token,
        nonce=said.nonce,
        tcf=said.tcf,
        gpp=said.gpp,
        gpp_sid=said.gpp_sid,
        gdpr=regs.gdpr,
        coppa=regs.coppa == 1,
        minor=regs.minor,
        signals=signals,
    )


def placements_of(body: DecisionBody) -> tuple[Placement, ...]:
    """Give the placements as the engine takes them."""
    return tuple(
        Placement(
            id=asked.id,
            formats=asked.formats,
            sizes=asked.sizes,
            count=asked.count,
            floor_micros=round(asked.floor_cpm * MICROS),
            block_advertisers=asked.block.advertisers,
            block_categories=asked.block.categories,
        )
        for asked in body.placements
    )
