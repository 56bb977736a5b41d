"""What leaves each stage of a decision, down to the answer that goes over the wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from msgspec import Raw, Struct

from engine.campaign import Format

MOST_NAMED = 100  # placements, sizes, advertisers and categories that a usual request names


class NativeNeeds(NamedTuple):
    """What a native creative must have to be shown: lengths in characters, sizes in pixels; None: not asked for."""

    headline: int | None = None  # at most so long
    body: int | None = None
    cta: int | None = None
    sponsored_by: int | None = None
    image: tuple[int, int] | None = None  # at least
    exact: bool = False  # the picture is of just that size


@dataclass(frozen=True, slots=True)
class Placement:
    """A place on the page that asks for `count` creatives."""

    id: str
    formats: tuple[Format, ...] = ("native", "banner")
    sizes: tuple[tuple[int, int], ...] = ()  # empty: any
    count: int = 1
    floor_micros: int = 0  # CPM
    block_advertisers: tuple[str, ...] = ()
    block_categories: tuple[str, ...] = ()
    native: NativeNeeds | None = None  # what a native creative must have
    auction: bool = (
        False  # somebody else's: whoever pays for impressions bids, at first price; never the house
    )
    impressions_only: bool = False  # nothing else of what it shows is counted: what pays otherwise stays away
    payers: Literal["any", "paid", "house"] = "any"  # whose campaigns the page takes


def is_usual(placements: Sequence[Placement]) -> bool:
    """Say whether what is asked is short enough to be kept in memory by the thousand: a stranger chose its length."""
    return MOST_NAMED >= sum(
        1 + len(p.sizes) + len(p.block_advertisers) + len(p.block_categories) for p in placements
    )


class Ranked(NamedTuple):
    """An eligible creative in its final order."""

    row: int
    match: float  # the weighted mean of its facets' matches, -1 to 1
    value: float  # fit × bid in micro-units
    advertiser: int  # index into the snapshot's advertisers
    fit: float  # its match, times the response that the model expects where there is one


class Offer(NamedTuple):
    """What is paid for a creative that was chosen, and what it advertises."""

    price_micros: int  # for one impression, where the placement is an auction
    domains: tuple[str, ...]  # the advertiser's
    categories: tuple[str, ...]  # IAB Ad Product Taxonomy 2.0


class Reason(Struct, frozen=True):
    """The part of a score that one facet gave, and why in words. A creative's shares sum to its score."""

    facet: str  # "page", "device", "time", "weather", "house"
    share: float
    because: str


class Asset(Struct, frozen=True, omit_defaults=True):
    """A hosted picture: an immutable URL, its size in pixels, its alternative text."""

    url: str
    w: int
    h: int
    alt: str


class Assets(Struct, frozen=True, omit_defaults=True):
    """Native text and picture."""

    headline: str = ""
    body: str = ""
    cta: str = ""
    sponsored_by: str = ""
    image: Asset | None = None
    offer: str = ""


class PoliticalAnswer(Struct, frozen=True):
    """What must stand beside a political advertisement (Regulation (EU) 2024/900, article 11)."""

    sponsor: str
    process: str
    notice_url: str
    controlled_by: str = ""  # who controls the sponsor in the end


class CreativeAnswer(Struct, frozen=True):
    """A creative as it is answered. Encoded once, when the catalogue snapshot is built."""

    id: str
    campaign: str
    advertiser: str
    format: Format
    assets: Assets
    html: str
    landing_domain: str
    size: tuple[int, int] | None = None
    political: PoliticalAnswer | None = None


class Events(Struct, frozen=True):
    """Addresses to load (GET: a pixel) or to beacon to (POST) when it happened; good once, for half an hour."""

    impression: str  # it began to render
    viewable: str  # MRC definition, not accredited: half of its pixels in view for one continuous second


class Dsa(Struct, frozen=True):
    """Transparency by Article 26 of the Digital Services Act, in the words of OpenRTB's extension."""

    behalf: str  # on whose behalf it is shown
    paid: str  # who paid
    params: tuple[int, ...]  # 2: the context; 1 beside it: signals of a consenting reader


class MessageAnswer(Struct, frozen=True, omit_defaults=True):
    """With explain: what a message was put together from, and how near it comes to a reader's situation."""

    parts: dict[str, str]  # slot → id of the part that fills it; none: the default message
    policy: str  # "prior", or the id of the model that chose
    of: int  # messages among which it was drawn
    because: tuple[str, ...]  # of each part, what spoke for it
    names: tuple[str, ...]  # of place, weather, hour and device, what its copy names
    specificity_bits: float  # how much that tells apart: 3 bits hold for one page view in eight
    budget_bits: float  # that the publisher allows


class Filled(Struct, frozen=True, omit_defaults=True):
    """One creative for one placement."""

    placement: str
    creative: Raw  # the JSON of a CreativeAnswer
    click_url: str
    score: float
    reasons: tuple[Reason, ...] = ()  # with explain
    house: bool = False
    events: Events | None = None  # none for tests, and in the strict profile
    dsa: Dsa | None = None
    why_url: str = ""  # the reader's page: who paid, and why this creative; the same for all views of a scene
    propensity: float | None = None  # the chance with which this was drawn; none where nothing was
    message: MessageAnswer | None = None


class PrivacyAnswer(Struct, frozen=True):
    """What the decision was based on."""

    basis: Literal["context", "consent"] = "context"  # "consent" where a consented signal was used
    gpc: Literal["honored"] | None = None
    signals_used: tuple[str, ...] = ()  # such as "cohort viewed-pricing"
    receipt: str | None = None  # UUID of the consent record


class TopicAnswer(Struct, frozen=True):
    """A topic that the page was found to be about."""

    id: str
    name: str
    score: float


class PageAnswer(Struct, frozen=True):
    """With explain: what was understood of the page."""

    topics: tuple[TopicAnswer, ...]
    cattax: int  # 9: IAB Content Taxonomy 3.1
    language: str | None
    intent: str | None
    keyphrases: tuple[str, ...]
    sensitive: tuple[str, ...]
    notes: tuple[str, ...]


class Answer(Struct, frozen=True, omit_defaults=False):
    """The answer to POST /v1/decisions."""

    request_id: str
    decisions: tuple[Filled, ...]
    unfilled: tuple[str, ...]
    degraded: bool
    missing: tuple[str, ...]  # facets that could not be had
    privacy: PrivacyAnswer
    snapshot: int  # version of the catalogue that answered
    page: PageAnswer | None = None
