"""What publishers and advertisers own: their wire and file form, validated by msgspec.

Amounts are integer micro-units (1,000,000 = one unit) of the installation's one currency.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from contexts.first_party import FirstParty
from contexts.segments import MOST, ViewGroup

Id = Annotated[
    str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$(?!\n)", description="lower-case id, 1-64 characters")
]
Name = Annotated[str, Meta(min_length=1, max_length=120)]
Word = Annotated[str, Meta(min_length=1, max_length=80)]
Micros = Annotated[int, Meta(ge=0, le=10**15)]
Size = tuple[Annotated[int, Meta(ge=1, le=10000)], Annotated[int, Meta(ge=1, le=10000)]]
Format = Literal["native", "banner"]
TimeOfDay = Annotated[
    str,
    Meta(
        pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$(?!\n)",
        description="hours and minutes, '06:30', from 00:00 to 24:00",
    ),
]
Conditions = Annotated[tuple["Condition", ...], Meta(max_length=50)]
PRICES = (
    "cpm_micros",
    "vcpm_micros",
    "cpc_micros",
)  # of a campaign: which of them it gives says what is bid for


class Rule(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Values that must be met (any of `include`, where it is not empty) and that must not (`exclude`)."""

    include: Annotated[tuple[Word, ...], Meta(max_length=1000)] = ()
    exclude: Annotated[tuple[Word, ...], Meta(max_length=1000)] = ()


class SizeRule(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A rule over sizes, [width, height] in CSS pixels."""

    include: Annotated[tuple[Size, ...], Meta(max_length=100)] = ()
    exclude: Annotated[tuple[Size, ...], Meta(max_length=100)] = ()


class Hours(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A daypart: from `start` (inclusive) to `end` (exclusive), local time, on the weekdays on which it begins.

    An end before its start is on the next day.
    """

    start: TimeOfDay
    end: TimeOfDay
    timezone: str | None = None  # IANA name; None: the publisher's zone
    weekdays: Annotated[tuple[Word, ...], Meta(max_length=7)] = ()  # WEEKDAYS; empty: all


class Range(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Numbers from `at_least` (inclusive) up to `below` (exclusive)."""

    at_least: float | None = None
    below: float | None = None


Values = Annotated[tuple[Word, ...], Meta(max_length=1000)]


class Sense(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A word in one of its meanings: nearer to one of `topics` than to any of `other`, IAB Content Taxonomy 3.1 ids."""

    word: Word
    topics: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=20)]
    other: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=20)]


class Condition(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A nested rule. It holds where each of its parts does; a list of values does where one of them is met.

    What is not known (no country stated, no weather) meets no value, so that `none` of it holds.
    """

    name: Annotated[str, Meta(max_length=80)] = ""  # as explanations call it
    all: Conditions = ()
    any: Conditions = ()
    none: Conditions = ()
    topics: Values = ()  # as in Targeting, to `publishers`
    keywords: Values = ()
    languages: Values = ()
    devices: Values = ()
    platforms: Values = ()
    parts_of_day: Values = ()
    weekdays: Values = ()
    timezone: str | None = None  # of `parts_of_day` and `weekdays`
    weather: Values = ()
    countries: Values = ()
    regions: Values = ()
    publishers: Values = ()
    sections: Values = ()  # "publisher/section"
    page_cohorts: Values = ()  # "publisher/cohort": the contextual cohort that a page is in
    seasons: Values = ()  # SEASONS
    holidays: Values = ()  # "any", or names of public holidays in English, such as "christmas day"
    intents: Values = ()  # INTENTS, of the page
    cohorts: Values = ()  # these three are known under a reader's consent alone
    journey_stages: Values = ()
    loyalty_tiers: Values = ()
    senses: Annotated[
        tuple[Sense, ...], Meta(max_length=50)
    ] = ()  # words that stand in the page in a meaning
    sensitive: Values = ()  # keys of contexts.context.SENSITIVE
    hours: Annotated[tuple[Hours, ...], Meta(max_length=50)] = ()
    temperature_c: Range | None = None
    wind_ms: Range | None = None


class Targeting(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Hard rules: where a campaign or creative may run. Closed vocabularies stand in contexts.context."""

    topics: Rule = Rule()  # IAB Content Taxonomy 3.1 ids; a topic stands for its whole subtree
    keywords: Rule = Rule()  # lower-cased phrases looked for in the page
    languages: Rule = Rule()  # ISO 639-1
    devices: Rule = Rule()  # DEVICE_CLASSES
    platforms: Rule = Rule()  # PLATFORMS
    parts_of_day: Rule = Rule()  # PARTS_OF_DAY, in `timezone`
    weekdays: Rule = Rule()  # WEEKDAYS, in `timezone`
    timezone: str | None = None  # IANA name; None: the publisher's zone
    weather: Rule = Rule()  # CONDITIONS and TEMPERATURES
    countries: Rule = Rule()  # ISO 3166-1 alpha-2, upper case
    regions: Rule = Rule()  # "DE-BE": ISO 3166-2
    publishers: Rule = Rule()  # publisher ids
    sections: Rule = Rule()  # "publisher/section"
    seasons: Rule = Rule()  # SEASONS, where the reader's country has them
    holidays: Rule = Rule()  # "any", or names of public holidays in English, such as "christmas day"
    intents: Rule = Rule()  # INTENTS, of the page
    cohorts: Rule = (
        Rule()
    )  # of a publisher's own naming; these three are known under a reader's consent alone
    journey_stages: Rule = Rule()  # INTENTS
    loyalty_tiers: Rule = Rule()  # of a publisher's own naming
    formats: Rule = Rule()  # "native", "banner"
    sizes: SizeRule = SizeRule()
    min_floor_micros: Micros | None = None  # run only where the placement asks at least this
    hours: Annotated[tuple[Hours, ...], Meta(max_length=50)] = ()  # dayparts, of which one must be on
    temperature_c: Range | None = None  # in degrees Celsius
    wind_ms: Range | None = None  # in metres a second
    rule: Condition | None = None  # all, any and none of conditions, nested


class Prefer(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Soft preferences: they move a creative up where they fit and exclude nothing."""

    devices: Annotated[tuple[Word, ...], Meta(max_length=10)] = ()  # DEVICE_CLASSES and PLATFORMS
    times: Annotated[
        tuple[Word, ...], Meta(max_length=20)
    ] = ()  # PARTS_OF_DAY, WEEKDAYS, SEASONS, "weekend", "holiday"
    weather: Annotated[tuple[Word, ...], Meta(max_length=12)] = ()  # CONDITIONS and TEMPERATURES


class Suitability(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Sensitive pages that a campaign shuns (keys of contexts.context.SENSITIVE; default: all of them)."""

    avoid: tuple[Word, ...] | None = None  # None: all
    # Pages about what is avoided are taken all the same up to this risk.
    risk: Literal["none", "low", "medium", "high"] = "none"
    accept_unknown: bool = False  # may run where the page's text is not known


class Flight(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """When a campaign runs: from `start` (inclusive) to `end` (exclusive), both with an offset from UTC.

    What it may spend in all, and on a day of its own time zone; None: no bound.
    """

    start: Annotated[datetime, Meta(tz=True)] | None = None
    end: Annotated[datetime, Meta(tz=True)] | None = None
    budget_micros: Micros | None = None
    daily_budget_micros: Micros | None = None
    timezone: str = "UTC"  # IANA name: where its days, and the months of its invoices, begin
    # How the daily budget (without one: the whole one, over the flight) is spread over hours. "asap": not at all.
    pacing: Literal["asap", "even", "front"] = "asap"


class PoliticalNotice(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What must be said with a political advertisement: Regulation (EU) 2024/900, articles 11 and 12."""

    sponsor: Annotated[str, Meta(max_length=200)] = ""  # who pays, and the address that is published
    controlled_by: Annotated[str, Meta(max_length=200)] = (
        ""  # who controls the sponsor in the end; empty: nobody
    )
    amount: Annotated[str, Meta(max_length=200)] = ""  # paid in all, with its currency, such as "12000 EUR"
    process: Annotated[str, Meta(max_length=200)] = ""  # the election, referendum or law that it is linked to
    notice_url: Annotated[str, Meta(max_length=2048)] = ""  # of the transparency notice


class Advertiser(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="advertiser", tag_field="kind"
):
    """Who pays. `domains` are those whose ownership was verified; landing pages lie on them or below."""

    id: Id
    name: Name
    domains: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=50)]


class Campaign(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="campaign", tag_field="kind"
):
    """A bid with its rules. One of the three prices says what is bid for, and how much."""

    id: Id
    advertiser: Id
    name: Name
    cpm_micros: Micros = 0  # for a thousand impressions
    vcpm_micros: Micros = 0  # for a thousand viewable impressions
    cpc_micros: Micros = 0  # for a click
    status: Literal["active", "paused"] = "active"
    flight: Flight = Flight()
    targeting: Targeting = Targeting()
    prefer: Prefer = Prefer()
    suitability: Suitability = Suitability()
    keywords: Annotated[tuple[Word, ...], Meta(max_length=200)] = ()  # what it is about; part of the vector
    categories: Annotated[tuple[Word, ...], Meta(max_length=20)] = ()  # IAB Ad Product Taxonomy 2.0 ids
    guaranteed: bool = False  # before all others, at the booked price, until its budget is spent
    house: bool = False  # a house campaign: last resort, never paid
    paid_by: Annotated[str, Meta(max_length=120)] = ""  # who pays, where it is not the advertiser
    # Of the time so much at most is this campaign in the running, 0 to 1: what it can win of page views.
    share_cap: Annotated[float, Meta(gt=0, le=1)] | None = None
    # Labels of competitive separation: campaigns of two advertisers that share one never stand on one page.
    separation: Annotated[tuple[Word, ...], Meta(max_length=10)] = ()
    political: bool = False  # as Regulation (EU) 2024/900, article 3, has it: declared by who books
    political_notice: PoliticalNotice | None = None
    # Shown to a reader so often at most, as the publisher counts under the reader's consent; without one, no cap.
    frequency_cap: Annotated[int, Meta(ge=1, le=255)] | None = None


class Jwk(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A public Ed25519 key (RFC 8037)."""

    x: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}$(?!\n)", description="32 bytes in base64url")]
    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    kid: str | None = None  # its RFC 7638 thumbprint, where it is given
    alg: Literal["Ed25519"] | None = None
    use: Literal["sig"] | None = None


class Jwks(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The keys of an issuer, those of before and after a change side by side."""

    keys: Annotated[tuple[Jwk, ...], Meta(min_length=1, max_length=8)]


class PartyKey(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A public key (RFC 7517) of one who may ask for deletions: OKP Ed25519, EC P-256 or RSA."""

    kty: Literal["OKP", "EC", "RSA"]
    crv: Literal["Ed25519", "P-256"] | None = None
    x: Annotated[str, Meta(max_length=100)] | None = None
    y: Annotated[str, Meta(max_length=100)] | None = None
    n: Annotated[str, Meta(max_length=1400)] | None = None
    e: Annotated[str, Meta(max_length=12)] | None = None
    kid: Annotated[str, Meta(max_length=200)] | None = None
    alg: Annotated[str, Meta(max_length=20)] | None = None
    use: Literal["sig"] | None = None


class PartyKeys(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The keys of one who may ask for deletions, those of before and after a change side by side."""

    keys: Annotated[tuple[PartyKey, ...], Meta(min_length=1, max_length=8)]


class Section(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a site: the pages whose path is `prefix`, or lies below it."""

    id: Id
    prefix: Annotated[
        str, Meta(min_length=1, max_length=200, pattern=r"^/", description="a path, which begins with '/'")
    ]
    # What its pages are about, of CT 3.1: all that a view is known by of which its segment alone may be read.
    topics: Annotated[tuple[Word, ...], Meta(max_length=10)] = ()


class StoredPlacement(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A place on a publisher's pages that header bidding names by its id; it narrows what a request asks for."""

    id: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,63}$(?!\n)",
            description="letters, digits and _.:/- (1-64 characters, the first a letter, a digit or _)",
        ),
    ]
    formats: Annotated[tuple[Format, ...], Meta(min_length=1, max_length=2)] = ("native", "banner")
    sizes: Annotated[tuple[Size, ...], Meta(max_length=20)] = ()  # none: those that the request names
    floor_micros: Micros = 0  # for a thousand impressions


class PageCohort(Struct, frozen=True, forbid_unknown_fields=True):
    """A contextual cohort: pages that are about much the same (engine.cohorts). It says nothing of readers."""

    id: Id
    centre: Annotated[str, Meta(min_length=1, max_length=8192)]  # base64 of float16, little-endian, of norm 1


class Publisher(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="publisher", tag_field="kind"
):
    """A site. `domains` are its registered origins' hosts: browsers may call from them, we may fetch from them."""

    id: Id
    name: Name
    domains: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=50)]
    timezone: str = "UTC"
    country: str | None = None
    region: str | None = None
    status: Literal["active", "stopped"] = "active"  # stopped: nothing is shown on its pages
    approval: Literal["automatic", "manual"] = "automatic"
    floor_micros: Micros = 0
    block_advertisers: tuple[Id, ...] = ()
    block_categories: tuple[Word, ...] = ()  # IAB Ad Product Taxonomy 2.0 ids, each with all below it
    categories: dict[str, str] = msgspec.field(default_factory=dict)  # its own category names → CT 3.1 ids
    fetch: bool = False  # may its pages be fetched in the background
    rate_per_s: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    first_party: FirstParty = FirstParty()  # what it may say of its readers, under their consent
    # Who besides this service may attest consent on its pages: `iss` → keys. Nothing is ever fetched.
    issuers: Annotated[dict[str, Jwks], Meta(max_length=8)] = msgspec.field(default_factory=dict)
    # Who may ask, by the IAB's Data Deletion Request Framework, that its readers' data go: domain → keys.
    # Requests begin at a domain at or above one of `domains`; others hand them on.
    deletion: Annotated[dict[str, PartyKeys], Meta(max_length=32)] = msgspec.field(default_factory=dict)
    risk: Literal["low", "medium", "high", "floor"] = "high"  # its riskier pages carry no advertisements
    page_cohorts: Annotated[
        tuple[PageCohort, ...], Meta(max_length=50)
    ] = ()  # by which rules may ask for pages
    political: bool = False  # takes political advertisements
    # How much copy may tell a reader's situation apart: 3 bits hold for one page view in eight, 0 for all alike.
    specificity_bits: Annotated[float, Meta(ge=0, le=32)] = 8.0
    sections: Annotated[tuple[Section, ...], Meta(max_length=200)] = ()  # by which its views are told
    segments: Annotated[tuple[ViewGroup, ...], Meta(max_length=MOST)] = ()  # none: contexts.segments.STANDARD
    placements: Annotated[
        tuple[StoredPlacement, ...], Meta(max_length=200)
    ] = ()  # none: whatever is asked for

    def is_at(self, domain: str) -> bool:
        """Say whether the site is at a domain or below it."""
        return any(host == domain or host.endswith(f".{domain}") for host in self.domains)
