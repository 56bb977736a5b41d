"""GET /v1/iab: what a page is about, as Prebid's neuwoRtdProvider reads it, for every bidder that the page calls.

Contents only: there are no audiences here, and topics that Article 9 protects are told to nobody. What is known of a
URL was said by the publisher's own server or read by our fetch, never by a reader's browser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Annotated, Any, Protocol

from flask import Request, request
from msgspec import Meta, Struct

from contexts.context import PageFacts
from contexts.taxonomy import (
    CATTAX_CONTENT_1_0,
    CATTAX_CONTENT_3_0,
    CATTAX_CONTENT_3_1,
    CONTENT_1_0_TIER_1,
    Taxonomy,
)
from engine.campaign import Publisher
from engine.limits import RateLimits
from engine.openrtb.wire import encode
from engine.web.api import Api, Ready, Refused
from engine.web.decisions import JSON_HEADERS, cors
from engine.web.faults import Fault
from engine.web.origins import Origins
from privacy.errors import FieldError
from privacy.gate import ARRIVAL, Arrival, enter
from privacy.special_categories import SPECIAL_CATEGORIES
from privacy.visit import Visit

PATH = "/v1/iab"
SEGTAXES = (CATTAX_CONTENT_3_0, CATTAX_CONTENT_3_1, CATTAX_CONTENT_1_0)
TIERS = (1, 2, 3, 4)
MOST_VERSIONS = 10
LONGEST_URL = 2048
QUERY_KEYS = (
    *("token", "url", "iabVersions"),
    *(
        f"filter_{segtax}_{tier}_{name}"
        for segtax in SEGTAXES
        for tier in TIERS
        for name in ("limit", "threshold")
    ),
)


class Category(Struct, frozen=True):
    """A topic; `relevance` is from 0 to 1, as text."""

    id: str
    name: str
    relevance: Annotated[str, Meta(pattern=r"^[01]\.[0-9]{2}$(?!\n)")]


# segtax → tier → topics, best first
Categories = dict[str, dict[str, tuple[Category, ...]]]


class Reader(Protocol):
    """Understands pages."""

    def page(self, visit: Visit, deadline: float) -> PageFacts:
        """Return what is known of a visit's page by `deadline`, a moment of the monotonic clock."""


class Iab:
    """Tells what pages are about."""

    def __init__(
        self,
        reader: Reader,
        taxonomy: Taxonomy,
        publishers: Callable[[], Mapping[str, Publisher]],
        limits: RateLimits,
        monotonic: Callable[[], float],
        deadline_ms: int,
    ) -> None:
        self._reader, self._taxonomy, self._publishers = reader, taxonomy, publishers
        self._limits, self._monotonic, self._deadline_s = limits, monotonic, deadline_ms / 1000
        protected = {topic for category in SPECIAL_CATEGORIES.values() for topic in category.topics}
        self._protected = {
            node.id for node in taxonomy if protected & {node.id, *taxonomy.ancestors(node.id)}
        }
        self._codes = {new: old for old, new in CONTENT_1_0_TIER_1.items()}

    def categories(self) -> Ready:
        """Tell what a page is about, by IAB Content Taxonomy."""
        sent: Request = request._get_current_object()  # type: ignore[attr-defined]  # Werkzeug's documented way past the proxy
        arrival: Arrival = sent.environ[ARRIVAL]
        try:
            told = self._told(arrival, sent.args)
        except Refused as refused:
            refused.headers |= dict(cors(arrival.origin))
            raise
        return Ready(encode(told), [*JSON_HEADERS, *cors(arrival.origin)])

    def _told(self, arrival: Arrival, query: Any) -> Categories:
        publisher = self._publishers().get(query.get("token", ""))
        if publisher is None:
            if arrival.origin is not None:
                return {}  # a page goes on without
            fault = Fault("token", "an unknown id", "the id of a registered publisher")
            raise Refused(404, "Unknown publisher", None, (fault,))
        if arrival.origin is not None and not Origins.belongs(arrival.origin, publisher):
            return {}
        if wait_s := self._limits.take(publisher.id, publisher.rate_per_s):
            raise Refused(429, "Too many requests for this publisher", headers={"Retry-After": str(wait_s)})
        url = query.get("url", "")
        if not url.startswith(("http://", "https://")) or len(url) > LONGEST_URL:
            raise Refused(
                422, "Invalid query", None, (Fault("url", "no address of a page", "an http or https URL"),)
            )
        try:
            visit = enter(arrival, publisher.id, url=url)
        except FieldError as error:
            fault = Fault("url", error.got, error.expected)
            raise Refused(422, "Invalid query", None, (fault,)) from None
        facts = self._reader.page(visit, self._monotonic() + self._deadline_s)
        asked = query.getlist("iabVersions")[:MOST_VERSIONS] or [str(CATTAX_CONTENT_3_1)]
        found = {
            version: self._of(facts, version, query) for version in asked if version in map(str, SEGTAXES)
        }
        return {version: tiers for version, tiers in found.items() if tiers}

    def _of(self, facts: PageFacts, version: str, query: Any) -> dict[str, tuple[Category, ...]]:
        """Return the topics of a page in one taxonomy, by tier."""
        tiers: dict[str, list[Category]] = {}
        for topic in facts.topics:
            if topic.id in self._protected or topic.id not in self._taxonomy:
                continue
            id: str | None = topic.id
            if version == str(CATTAX_CONTENT_1_0):
                id = self._codes.get(topic.id)
            if id is not None:
                tier = str(len(self._taxonomy.ancestors(topic.id)) + 1)
                tiers.setdefault(tier, []).append(Category(id, topic.name, f"{topic.score:.2f}"))
        kept = {
            tier: tuple(_filtered(topics, partial(query.get, type=float), f"filter_{version}_{tier}"))
            for tier, topics in tiers.items()
        }
        return {tier: topics for tier, topics in kept.items() if topics}


def add_iab(api: Api, iab: Iab) -> None:
    """Add the route."""
    api.raw(
        PATH,
        "GET",
        answer=Categories,
        problems=(404, 422, 429),
        query={
            "token": {"type": "string", "description": "the publisher's id"},
            "url": {"type": "string", "description": "the page"},
            "iabVersions": {
                "type": "array",
                "items": {"type": "string"},
                "description": "AdCOM List: Category Taxonomies; 1, 7 and 9 are told",
            },
        },
    )(iab.categories)


def _filtered(topics: Iterable[Category], number: Callable[[str], float | None], name: str) -> list[Category]:
    threshold, limit = number(f"{name}_threshold"), number(f"{name}_limit")
    kept = [one for one in topics if threshold is None or float(one.relevance) >= threshold]
    return kept if limit is None or not limit >= 0 else kept[: int(min(limit, len(kept)))]
