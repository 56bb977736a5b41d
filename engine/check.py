"""What a well-formed publisher, advertiser, campaign or creative is, and what is wrong with others.

`parse` looks at the form, the `check_…` functions at the meaning. Nothing here reads or stores; every error
is collected, not only the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Literal, Protocol, get_args
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import fields, replace

from contexts.context import (
    CONDITIONS,
    INTENTS,
    PARTS_OF_DAY,
    SEASONS,
    SENSITIVE,
    TEMPERATURES,
    WEEKDAYS,
    TopicId,
)
from contexts.first_party import MOST_KEYS, WORD, FirstParty
from contexts.taxonomy import ad_products, content_taxonomy
from engine.campaign import (
    PRICES,
    Advertiser,
    Campaign,
    Format,
    Jwks,
    PartyKeys,
    PoliticalNotice,
    Prefer,
    Publisher,
    Rule,
    Section,
    Targeting,
)
from engine.change import KINDS, Entity
from engine.check_conditions import check_condition, check_hours, check_possible, check_range
from engine.conditions import RANGES, walk
from engine.creative import (
    MOST_MESSAGES,
    NATIVE,
    SIZES,
    Creative,
    Image,
    ImagePart,
    Lengths,
    Offer,
    OfferPart,
    Only,
    Part,
    Parts,
    messages,
)
from engine.creative_safety import (
    OWN_PICTURE,
    check_text,
    clean_html,
    domain,
    host_name,
    landing_url,
)
from engine.errors import CatalogError
from engine.field_types import item_of, options_of, struct_of
from engine.governor import in_words, mentions, names
from engine.images import NAME
from engine.sections import OTHER, canonical_prefix
from engine.wording import has_words, plain, read, renderings
from privacy.deletion import pinned_key
from privacy.errors import FieldError
from privacy.jose import public_key, thumbprint
from privacy.raw_identifier import raw_identifier
from privacy.visit import DEVICE_CLASSES, PLATFORMS

_DECODER = msgspec.json.Decoder(Entity)
_AT = re.compile(r" - at `(key in )?\$(.*)`$")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
_LANGUAGE = re.compile(r"[a-z]{2}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_REGION = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")
_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+", re.ASCII
)
_ISSUER = re.compile(r"https?://[!-~]{1,500}")
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SECTION = re.compile(rf"{_ID.pattern}/{_ID.pattern}")
_TIMES = (*PARTS_OF_DAY, *WEEKDAYS, *SEASONS, "weekend", "holiday")
_DEVICES = (*DEVICE_CLASSES, *PLATFORMS)
_WEATHER = (*CONDITIONS, *TEMPERATURES)
_RATIO = 0.01  # how far a banner's picture may be from the banner's proportions


@dataclass(frozen=True, slots=True)
class Known:
    """The closed vocabularies that are not in the code."""

    topics: Container[str]  # ids of IAB Content Taxonomy 3.1
    products: Container[str]  # ids of IAB Ad Product Taxonomy 2.0
    above: Callable[[str], tuple[str, ...]] = lambda topic: ()  # the topics above one


def known_vocabularies() -> Known:
    """Return the IAB's taxonomies."""
    topics = content_taxonomy()
    return Known(topics, ad_products(), lambda topic: topics.ancestors(TopicId(topic)))


@dataclass(frozen=True, slots=True)
class Picture:
    """A hosted picture, or one that will be once the change is made."""

    hash: str
    ext: Literal["png", "jpg", "webp", "avif"]
    w: int
    h: int

    @property
    def name(self) -> str:
        """Return the name under which it is hosted."""
        return f"{self.hash}.{self.ext}"


class Pictures(Protocol):
    """Where a creative's pictures come from. Each method raises CatalogError where there is none."""

    def from_file(self, name: str, field: str, line: int) -> Picture:
        """Take in a file that lies beside the loaded one."""

    def from_base64(self, data: str, field: str, line: int) -> Picture:
        """Take in a picture that came with the creative."""

    def hosted(self, hash: str, field: str, line: int) -> Picture:
        """Find one that is hosted already."""


@dataclass(slots=True)
class Findings:
    """What was found at one object: errors that refuse it, warnings that are told."""

    line: int = 0
    errors: list[CatalogError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def refuse(self, field: str, got: object, expected: str) -> None:
        """Note an error."""
        self.errors.append(CatalogError(field, _shown(got), expected, self.line))

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Note the CatalogError that comes out of the block, and go on behind it."""
        try:
            yield
        except CatalogError as error:
            self.errors.append(error)


# --- form ---


def parse(
    data: bytes | object, line: int = 0, *, thorough: bool = True
) -> tuple[Entity | None, list[CatalogError]]:
    """Return the entity that JSON bytes or plain values stand for, or all that is wrong in its form.

    To find it all takes a hundred times as long as to see that something is wrong: one error says so where
    the search is not `thorough`.
    """
    try:
        try:
            entity: Entity = (
                _DECODER.decode(data) if isinstance(data, bytes) else msgspec.convert(data, Entity)
            )
            return entity, []
        except msgspec.ValidationError as error:
            first = str(error)
            if not thorough:
                return None, [CatalogError("(line)", first, "an object of its kind", line)]
            value = msgspec.json.decode(data) if isinstance(data, bytes) else data
    except RecursionError:
        return None, [CatalogError("(line)", "values nested too deeply", "an object", line)]
    except ValueError as error:
        return None, [CatalogError("(line)", f"no JSON: {error}", "an object in JSON (UTF-8)", line)]
    if not isinstance(value, dict):
        return None, [CatalogError("(line)", _shown(value), "an object", line)]
    kind = value.get("kind")
    cls = KINDS.get(kind) if isinstance(kind, str) else None  # type: ignore[call-overload]  # any string
    if cls is None:
        return None, [CatalogError("kind", _shown(kind), f"one of {', '.join(KINDS)}", line)]
    faults = _faults(cls, value, "", line)
    return None, faults or [CatalogError("(line)", first, f"a {kind}", line)]


def _faults(cls: type[msgspec.Struct], value: dict[str, object], path: str, line: int) -> list[CatalogError]:
    known = {info.encode_name: info for info in fields(cls)}
    found = []
    for name in value:
        if name not in known and not (path == "" and name == "kind"):
            options = f"one of {', '.join(known)}"
            found.append(CatalogError(path or "(object)", _shown(name), options, line, unknown_field=True))
    for name, info in known.items():
        before = len(found)
        inner = f"{path}.{name}" if path else name
        if name not in value:
            if info.required:
                found.append(CatalogError(inner, "nothing", "a value: the field is required", line))
            continue
        part, struct = value[name], struct_of(info.type)
        if struct is not None and isinstance(part, dict):
            found += _faults(struct, part, inner, line)
            continue
        item = item_of(info.type)
        if item is not None and isinstance(part, list) and all(isinstance(one, dict) for one in part):
            for number, one in enumerate(part):
                found += _faults(item, one, f"{inner}[{number}]", line)
            if len(found) > before:
                continue
        try:
            msgspec.convert(part, type=info.type)
        except msgspec.ValidationError as error:
            found.append(_fault(str(error), part, info.type, inner, line))
    return found


def _fault(message: str, value: object, expected: object, path: str, line: int) -> CatalogError:
    place = _AT.search(message)
    if place is not None:
        message = message[: place.start()]
        path += place[2]
        for key, index in _STEP.findall(place[2]):
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, (list, tuple)) and index:
                value = value[int(index)]
    options = options_of(expected)
    wanted = message.partition(", got `")[0].removeprefix("Expected ")
    return CatalogError(path, _shown(value), f"one of {', '.join(options)}" if options else wanted, line)


def _shown(value: object) -> str:
    text = ascii(value) if not isinstance(value, (dict, list, tuple)) else f"{type(value).__name__} {value!a}"
    return text if len(text) <= 80 else text[:79] + "..."


# --- meaning ---


def check_publisher(publisher: Publisher, known: Known, found: Findings) -> Publisher:
    """Return the publisher with its hosts in punycode."""
    with found.collecting():
        check_text(publisher.name, "name", found.line)
    hosts = []
    for number, text in enumerate(publisher.domains):
        host = host_name(text)
        if host is None:
            found.refuse(f"domains[{number}]", text, "a host name such as 'news.example.com', without port")
        else:
            hosts.append(host)
    _check_zone(publisher.timezone, "timezone", found)
    if publisher.country is not None:
        _check_shape(publisher.country, "country", _COUNTRY, "two upper-case letters (ISO 3166-1)", found)
    if publisher.region is not None:
        _check_shape(publisher.region, "region", _REGION, "such as 'DE-BE' (ISO 3166-2)", found)
        if publisher.country is not None and not publisher.region.startswith(publisher.country + "-"):
            found.refuse("region", publisher.region, f"a region of {publisher.country}")
    if len(publisher.categories) > 2000:
        found.refuse("categories", f"{len(publisher.categories)} names", "at most 2000")
    for name, topic in publisher.categories.items():
        with found.collecting():
            check_text(name, "categories", found.line)
        _check_topic(topic, f"categories[{_shown(name)}]", known, found)
    for number, product in enumerate(publisher.block_categories):
        _check_product(product, f"block_categories[{number}]", known, found)
    for issuer, jwks in publisher.issuers.items():
        _check_issuer(issuer, jwks, found)
    for name, party in publisher.deletion.items():
        _check_party(name, party, found)
    _check_first_party(publisher.first_party, found)
    sections = _check_sections(publisher.sections, found)
    return replace(publisher, domains=tuple(dict.fromkeys(hosts)), sections=sections)


def _check_sections(sections: tuple[Section, ...], found: Findings) -> tuple[Section, ...]:
    """Return the sections with their prefixes as canonical URLs write paths."""
    checked: list[Section] = []
    for number, section in enumerate(sections):
        if section.id == OTHER:
            found.refuse(
                f"sections[{number}].id", section.id, f"another id: {OTHER!r} is what lies in no section"
            )
        try:
            prefix = canonical_prefix(section.prefix)
        except FieldError:
            found.refuse(
                f"sections[{number}].prefix", section.prefix, "the beginning of a path, such as '/sport/'"
            )
            continue
        if any(prefix == earlier.prefix for earlier in checked):
            found.refuse(f"sections[{number}].prefix", section.prefix, "each prefix once")
        checked.append(Section(section.id, prefix))
    return tuple(checked)


def _check_issuer(issuer: str, jwks: Jwks, found: Findings) -> None:
    path = f"issuers[{_shown(issuer)}]"
    if not _ISSUER.fullmatch(issuer):
        found.refuse("issuers", issuer, "the issuer's http or https URL")
    for number, jwk in enumerate(jwks.keys):
        place = f"{path}.keys[{number}]"
        try:
            public_key(jwk.x, f"{place}.x")
        except FieldError as error:
            found.refuse(error.field, jwk.x, error.expected)
        if jwk.kid not in (None, expected := thumbprint(jwk.x)):
            found.refuse(f"{place}.kid", jwk.kid, f"its RFC 7638 thumbprint, {expected}, or none")


def _check_party(name: str, party: PartyKeys, found: Findings) -> None:
    if not _DOMAIN.fullmatch(name):
        found.refuse("deletion", name, "a domain in small letters, such as www.planet.example")
    for number, key in enumerate(party.keys):
        try:
            pinned_key(msgspec.to_builtins(key), f"deletion[{_shown(name)}].keys[{number}]")
        except FieldError as error:
            found.refuse(error.field, key.kty, error.expected)


def _check_first_party(vocabulary: FirstParty, found: Findings) -> None:
    if vocabulary.keys > MOST_KEYS:
        expected = f"at most {MOST_KEYS}: each cohort, the tiers and the journey stage are one each"
        found.refuse("first_party", f"{vocabulary.keys} keys", expected)
    for name in ("cohorts", "loyalty_tiers"):
        words: tuple[str, ...] = getattr(vocabulary, name)
        if len(set(words)) < len(words):
            found.refuse(f"first_party.{name}", "a name twice", "each name once")
        for number, word in enumerate(words):
            raw = raw_identifier(word)
            path = f"first_party.{name}[{number}]"
            if raw is not None:  # not to be quoted: errors are printed and answered
                found.errors.append(CatalogError(path, raw, "the name of a group of readers", found.line))
            else:
                _check_shape(word, path, WORD, "1-64 of a-z, 0-9, '.', '_' and '-'", found)


def check_advertiser(advertiser: Advertiser, found: Findings) -> Advertiser:
    """Return the advertiser with its domains in punycode."""
    with found.collecting():
        check_text(advertiser.name, "name", found.line)
    names = []
    for number, text in enumerate(advertiser.domains):
        with found.collecting():
            names.append(domain(text, f"domains[{number}]", found.line))
    return replace(advertiser, domains=tuple(dict.fromkeys(names)))


def check_campaign(campaign: Campaign, known: Known, found: Findings) -> Campaign:
    """Return the campaign with its words in lower case."""
    with found.collecting():
        check_text(campaign.name, "name", found.line)
        check_text(campaign.paid_by, "paid_by", found.line)
    _check_price(campaign, found)
    _check_zone(campaign.flight.timezone, "flight.timezone", found)
    _check_flight(campaign, found)
    _check_political(campaign, found)
    for number, product in enumerate(campaign.categories):
        _check_product(product, f"categories[{number}]", known, found)
    for number, key in enumerate(campaign.suitability.avoid or ()):
        _check_word(key, f"suitability.avoid[{number}]", SENSITIVE, found)
    _check_prefer(campaign.prefer, found)
    return replace(
        campaign,
        keywords=_words(campaign.keywords, "keywords", found),
        separation=_words(campaign.separation, "separation", found),
        targeting=_check_targeting(campaign.targeting, known, found),
    )


def check_ended(campaign: Campaign, before: Campaign | None, now: datetime, found: Findings) -> None:
    """Refuse a flight that is over, unless it is one that was booked before."""
    end = campaign.flight.end
    if end is not None and end <= now and (before is None or before.flight != campaign.flight):
        found.refuse(
            "flight.end", end.isoformat(), f"a time to come: it is {now.isoformat(timespec='seconds')}"
        )


def check_sold_to(campaign: Campaign, publishers: Mapping[str, Publisher], found: Findings) -> None:
    """Refuse a political campaign that no publisher takes; `publishers` are all of them."""
    if not campaign.political:
        return
    named = campaign.targeting.publishers.include
    takers = sorted(id for id, publisher in publishers.items() if publisher.political)
    for number, id in enumerate(named):
        if id not in takers:
            expected = "a publisher that takes political advertisements (political: true)"
            found.refuse(f"targeting.publishers.include[{number}]", id, expected)
    if not named and not takers:
        found.refuse("political", True, "false: no publisher takes political advertisements")


def _check_flight(campaign: Campaign, found: Findings) -> None:
    flight = campaign.flight
    start, end = flight.start, flight.end
    if start is not None and end is not None and start >= end:
        found.refuse("flight.end", end.isoformat(), f"a time after the start, {start.isoformat()}")
    for name in ("budget_micros", "daily_budget_micros"):
        if getattr(flight, name) == 0:
            expected = "at least 1, or nothing: without a budget it is not bounded; status paused stops it"
            found.refuse(f"flight.{name}", 0, expected)
    if flight.pacing == "asap":
        return
    spread = flight.daily_budget_micros is not None or (flight.budget_micros and start and end)
    if not spread:
        expected = "asap, or a daily budget, or a budget with start and end, to be spread"
        found.refuse("flight.pacing", flight.pacing, expected)


def _check_political(campaign: Campaign, found: Findings) -> None:
    notice = campaign.political_notice
    if not campaign.political:
        if notice is not None:
            found.refuse("political_notice", "a notice", "nothing, or political: true")
        return
    told = notice or PoliticalNotice()
    for name, what in (
        ("sponsor", "who pays, with the address that is published"),
        ("amount", "what is paid in all, with its currency"),
        ("process", "the election, referendum or law that it is linked to"),
        ("notice_url", "the address of the transparency notice"),
    ):
        value = getattr(told, name)
        with found.collecting():
            check_text(value, f"political_notice.{name}", found.line)
        if not value.strip():
            found.refuse(f"political_notice.{name}", value, f"{what} (Regulation (EU) 2024/900, article 12)")
    if told.notice_url.strip():
        with found.collecting():
            landing_url(told.notice_url, None, "political_notice.notice_url", found.line)
    targeting = campaign.targeting
    rules = [targeting, *(walk(targeting.rule) if targeting.rule else ())]
    for name in ("cohorts", "journey_stages", "loyalty_tiers"):
        if any(getattr(rule, name) not in ((), Rule()) for rule in rules):
            expected = "nothing: political advertisements use no consented signal"
            found.refuse(f"targeting.{name}", "a rule", expected)
    if campaign.frequency_cap is not None:
        found.refuse("frequency_cap", campaign.frequency_cap, "nothing: it uses a consented signal")


def _check_price(campaign: Campaign, found: Findings) -> None:
    prices = {name: getattr(campaign, name) for name in PRICES if getattr(campaign, name)}
    if campaign.house:
        for name, micros in prices.items():
            found.refuse(name, micros, "0: a house campaign is never paid")
        if campaign.guaranteed:
            found.refuse("guaranteed", True, "false: a house campaign comes last")
        if campaign.share_cap is not None:
            found.refuse("share_cap", campaign.share_cap, "nothing: a house campaign takes what is left")
        return
    if not prices:
        found.refuse("cpm_micros", 0, f"at least 1 (or {' or '.join(PRICES[1:])}), or house: true")
    for name in list(prices)[1:]:
        found.refuse(name, prices[name], f"one price alone: {next(iter(prices))} is given")


def check_creative(
    creative: Creative, domains: Collection[str] | None, pictures: Pictures, known: Known, found: Findings
) -> Creative:
    """Return the creative as it is stored: URL written anew, HTML cleaned, pictures hosted.

    `domains` are the verified ones of its advertiser; None where it is not known: all other errors are found.
    """
    url = creative.landing_url
    with found.collecting():
        url = landing_url(url, domains, "landing_url", found.line)
    for name in ("headline", "body", "cta", "sponsored_by"):
        with found.collecting():
            check_text(getattr(creative, name), name, found.line)
    image = creative.image and _check_image(creative.image, pictures, found)
    parts = creative.parts and _check_parts(creative, creative.parts, pictures, found)
    _check_copy(creative, found)
    html = creative.html
    if html is not None:
        html = _check_html(html, image, domains, pictures, found)
    _check_format(creative, image, found)
    if creative.prefer is not None:
        _check_prefer(creative.prefer, found)
    if creative.offer is not None:
        _check_offer(creative.offer, found)
    return replace(
        creative,
        landing_url=url,
        image=image,
        html=html,
        parts=parts,
        keywords=_words(creative.keywords, "keywords", found),
        targeting=_check_targeting(creative.targeting, known, found),
    )


def _check_offer(offer: Offer, found: Findings) -> None:
    if offer.start is not None and offer.end is not None and offer.start >= offer.end:
        expected = f"a time after the start, {offer.start.isoformat()}"
        found.refuse("offer.end", offer.end.isoformat(), expected)
    if (offer.price is None) != (offer.currency is None):
        missing = "currency" if offer.currency is None else "price"
        found.refuse(f"offer.{missing}", None, "a price with its currency, or neither")


def _check_format(creative: Creative, image: Image | None, found: Findings) -> None:
    if creative.format == "native":
        if not creative.headline.strip():
            found.refuse("headline", creative.headline, "a headline: a native creative needs one")
        for name in ("html", "size"):
            if getattr(creative, name) is not None:
                found.refuse(name, getattr(creative, name), "nothing: only banners have it")
        return
    if creative.parts is not None:
        if creative.size is None:
            found.refuse("size", None, "[width, height] in CSS pixels: a banner needs it")
        return  # its messages are text and picture, of which it has a default
    if creative.image is None and creative.html is None:
        found.refuse("image", None, "a picture, or html: a banner needs one of them")
    if creative.size is None:
        found.refuse("size", None, "[width, height] in CSS pixels: a banner needs it")
    elif creative.html is None and image is not None and image.w and image.h:
        w, h = creative.size
        if abs(image.w * h - image.h * w) > _RATIO * image.h * w:
            found.refuse("image", f"{image.w}x{image.h} pixels", f"the proportions of the banner, {w}x{h}")


def _check_copy(creative: Creative, found: Findings) -> None:
    """Look at what is shown as it is: no tokens, and no words of what a reader agreed to be known by."""
    told = (*creative.targeting.cohorts.include, *creative.targeting.loyalty_tiers.include)
    for name in ("headline", "body", "cta", "sponsored_by"):
        text = getattr(creative, name)
        with found.collecting():
            plain(text, name, found.line)
        if mentions(text, told):
            found.refuse(name, text, "copy that does not name the group of readers that it is shown to")
    named = in_words(names(f"{creative.headline} {creative.body} {creative.cta}"))
    if len(named) > 1:
        what = " and ".join(named)
        if creative.parts is not None:
            expected = "a default message that names at most one of place, weather, hour and device"
            found.refuse("headline", f"copy that names {what}", expected)
        else:
            found.warnings.append(f"its copy names {what}: it runs only where enough page views share them")


def _check_parts(creative: Creative, parts: Parts, pictures: Pictures, found: Findings) -> Parts:
    """Return the parts with their pictures hosted."""
    if creative.html is not None:
        found.refuse("parts", "parts beside html", "one of the two")
    if not creative.headline.strip():
        found.refuse("headline", creative.headline, "a headline: the default message needs one")
    if not parts.lists:
        found.refuse("parts", "no part", "headlines, bodies, images, ctas or offers")
        return parts
    limits = _limits(creative, found)
    seen: dict[str, str] = {}
    changed: dict[str, tuple[Part, ...]] = {}
    for name in ("headlines", "bodies", "images", "ctas", "offers"):
        checked: list[Part] = []
        for number, part in enumerate(getattr(parts, name)):
            path = f"parts.{name}[{number}]"
            if part.id in seen:
                found.refuse(f"{path}.id", part.id, f"an id once: {seen[part.id]} has it, too")
            seen[part.id] = path
            _check_only(part.only, f"{path}.only", found)
            _check_prefer(part.prefer, found, f"{path}.prefer")
            if isinstance(part, ImagePart):
                part = replace(part, image=_check_image(part.image, pictures, found, f"{path}.image"))
            else:
                _check_wording(creative, part.text, f"{path}.text", name, limits, found)
            if isinstance(part, OfferPart) and part.start and part.end and part.start >= part.end:
                found.refuse(f"{path}.end", part.end.isoformat(), f"a time after {part.start.isoformat()}")
            checked.append(part)
        changed[name] = tuple(checked)
    _check_rules(parts, seen, found)
    return replace(parts, **changed)


def _limits(creative: Creative, found: Findings) -> dict[str, Lengths]:
    """Return how long copy may be in each format that the creative has."""
    if creative.format == "native":
        if creative.parts is not None and creative.parts.sizes:
            found.refuse("parts.sizes", creative.parts.sizes, "nothing: only banners have sizes")
        return {"native": NATIVE}
    limits = {}
    for size in creative.sizes:
        if size in SIZES:
            limits["{}x{}".format(*size)] = SIZES[size]
        else:
            path = "size" if size == creative.size else "parts.sizes"
            known = ", ".join("{}x{}".format(*one) for one in SIZES)
            found.refuse(
                path, "{}x{}".format(*size), f"one of the sizes that messages are laid out in: {known}"
            )
    for name in ("headline", "body", "cta"):
        _check_length(getattr(creative, name), name, name, limits, found)
    return limits


def _check_wording(
    creative: Creative, text: str, path: str, name: str, limits: dict[str, Lengths], found: Findings
) -> None:
    try:
        wording = read(text, path, found.line)
        for piece in wording:
            check_text(piece.text, path, found.line)
    except CatalogError as error:
        found.errors.append(error)
        return
    language = creative.language
    field = {"headlines": "headline", "bodies": "body", "ctas": "cta", "offers": "offer"}[name]
    shown = list(renderings(wording, language))
    if not shown[0].strip():
        found.refuse(path, text, "words that can be seen")
    _check_length(max(shown, key=len), path, field, limits, found)
    if mentions(text, (*creative.targeting.cohorts.include, *creative.targeting.loyalty_tiers.include)):
        found.refuse(path, text, "copy that does not name the group of readers that it is shown to")
    for token in {piece.token for piece in wording if piece.token}:
        if not has_words(token, language):
            found.warnings.append(
                f"{path}: {{{{ {token} }}}} has no words in '{language}': its fall-back is shown"
            )


def _check_length(text: str, path: str, field: str, limits: dict[str, Lengths], found: Findings) -> None:
    for kind, lengths in limits.items():
        most: int = getattr(lengths, field)
        if len(text) > most and most:
            expected = f"at most {most} characters in {kind}, tokens at their longest"
            found.refuse(path, f"{len(text)} characters", expected)
            return


def _check_only(only: Only, path: str, found: Findings) -> None:
    for name, words in (
        ("devices", DEVICE_CLASSES),
        ("parts_of_day", PARTS_OF_DAY),
        ("weekdays", WEEKDAYS),
        ("seasons", SEASONS),
        ("weather", _WEATHER),
    ):
        for number, value in enumerate(getattr(only, name)):
            _check_word(value, f"{path}.{name}[{number}]", words, found)
    for number, country in enumerate(only.countries):
        _check_shape(
            country, f"{path}.countries[{number}]", _COUNTRY, "two upper-case letters (ISO 3166-1)", found
        )


def _check_rules(parts: Parts, seen: dict[str, str], found: Findings) -> None:
    slot_of = {part.id: slot for slot, some in parts.lists for part in some}
    before = len(found.errors)
    for name in ("never", "always"):
        for number, group in enumerate(getattr(parts, name)):
            for id in group:
                if id not in seen:
                    found.refuse(f"parts.{name}[{number}]", id, "ids of parts of this creative")
            slots = [slot_of[id] for id in dict.fromkeys(group) if id in slot_of]
            if name == "always" and len(set(slots)) < len(slots):
                expected = "parts of different lists: of one list, a message shows one part"
                found.refuse(f"parts.always[{number}]", list(group), expected)
    for number, id in enumerate(parts.locked):
        if id not in seen:
            found.refuse(f"parts.locked[{number}]", id, "ids of parts of this creative")
    count = 1
    for _, some in parts.lists:
        count *= len(some)
    if count > MOST_MESSAGES:
        found.refuse(
            "parts", f"{count} combinations", f"at most {MOST_MESSAGES}: fewer parts, or two creatives"
        )
    if len(found.errors) > before or len(slot_of) < len(list(parts)):
        return
    left = messages(parts)
    if not len(left):
        rules = [n for n in ("never", "always", "locked") if getattr(parts, n)]
        expected = "rules that leave at least one combination: take one away, or add parts"
        found.refuse("parts", f"no combination that {', '.join(rules)} leave", expected)
        return
    for slot, (_, some) in enumerate(parts.lists):
        for at, part in enumerate(some):
            if not (left[:, slot] == at).any():
                found.warnings.append(f"{seen[part.id]}: part {part.id!r} stands in no combination")


def _check_image(image: Image, pictures: Pictures, found: Findings, path: str = "image") -> Image:
    if not image.alt.strip():
        found.refuse(f"{path}.alt", image.alt, "what the picture shows")
    with found.collecting():
        check_text(image.alt, f"{path}.alt", found.line)
    given = [name for name in ("file", "data", "hash") if getattr(image, name) is not None]
    if len(given) != 1:
        found.refuse(path, " and ".join(given) or None, "one of file, data (base64), hash")
        return image
    with found.collecting():
        if image.file is not None:
            picture = pictures.from_file(image.file, f"{path}.file", found.line)
        elif image.data is not None:
            picture = pictures.from_base64(image.data, f"{path}.data", found.line)
        else:
            picture = pictures.hosted(image.hash or "", f"{path}.hash", found.line)
        return Image(alt=image.alt, hash=picture.hash, ext=picture.ext, w=picture.w, h=picture.h)
    return image


def _check_html(
    html: str, image: Image | None, domains: Collection[str] | None, pictures: Pictures, found: Findings
) -> str:
    def hosted(src: str) -> str | None:
        try:
            form = NAME.fullmatch(src)
            if form is not None or (src == OWN_PICTURE and image is not None):
                hash = form[1] if form is not None else image and image.hash
                return pictures.hosted(hash or "", "html <img src>", found.line).name
            return pictures.from_file(src, "html <img src>", found.line).name
        except CatalogError as error:
            found.errors.append(error)
            return None

    before = len(found.errors)
    try:
        cleaned = clean_html(html, domains, hosted, "html", found.line)
    except CatalogError as error:
        if len(found.errors) == before:  # else the pictures' own errors say more
            found.errors.append(error)
        return html
    if cleaned.removed:
        found.warnings.append(f"html: removed {', '.join(cleaned.removed)}")
    return cleaned.html


def _check_targeting(targeting: Targeting, known: Known, found: Findings) -> Targeting:
    one_of: Callable[[Container[str]], Callable[[str, str], None]] = lambda words: (  # noqa: E731
        lambda value, path: _check_word(value, path, words, found)
    )
    shape = partial(_check_shape, found=found)

    def check_words(words: tuple[str, ...], path: str) -> None:
        _words(words, path, found)

    checks: dict[str, Callable[[str, str], None]] = {
        "topics": lambda value, path: _check_topic(value, path, known, found),
        "languages": lambda v, p: shape(v, p, _LANGUAGE, "two lower-case letters (ISO 639-1)"),
        "devices": one_of(DEVICE_CLASSES),
        "platforms": one_of(PLATFORMS),
        "parts_of_day": one_of(PARTS_OF_DAY),
        "weekdays": one_of(WEEKDAYS),
        "weather": one_of(_WEATHER),
        "countries": lambda v, p: shape(v, p, _COUNTRY, "two upper-case letters (ISO 3166-1)"),
        "regions": lambda v, p: shape(v, p, _REGION, "such as 'DE-BE' (ISO 3166-2)"),
        "publishers": lambda v, p: shape(v, p, _ID, "a publisher's id"),
        "sections": lambda v, p: shape(v, p, _SECTION, "'publisher/section', two ids"),
        "seasons": one_of(SEASONS),
        "holidays": lambda v, p: check_words((v,), p),
        "intents": one_of(INTENTS),
        "cohorts": lambda v, p: shape(v, p, _ID, "a cohort's name"),
        "journey_stages": one_of(INTENTS),
        "loyalty_tiers": lambda v, p: shape(v, p, _ID, "a loyalty tier's name"),
        "formats": one_of(get_args(Format)),
    }
    for name, check in checks.items():
        rule: Rule = getattr(targeting, name)
        for side in ("include", "exclude"):
            for number, value in enumerate(getattr(rule, side)):
                check(value, f"targeting.{name}.{side}[{number}]")
    keywords = Rule(
        include=_words(targeting.keywords.include, "targeting.keywords.include", found),
        exclude=_words(targeting.keywords.exclude, "targeting.keywords.exclude", found),
    )
    targeting = replace(targeting, keywords=keywords) if keywords != targeting.keywords else targeting
    for name in (*checks, "keywords", "sizes"):
        rule = getattr(targeting, name)
        both = set(rule.include) & set(rule.exclude)
        if both:
            found.refuse(f"targeting.{name}.exclude", min(both), "a value that is not included, too")
    zone: Callable[[str, str], None] = lambda value, path: _check_zone(value, path, found)  # noqa: E731
    if targeting.timezone is not None:
        zone(targeting.timezone, "targeting.timezone")
    check_hours(targeting.hours, "targeting.hours", zone, found.refuse)
    for name in RANGES:
        check_range(getattr(targeting, name), f"targeting.{name}", found.refuse)
    if targeting.rule is not None:
        words = {"keywords": lambda v, p: check_words((v,), p)}
        check_condition(targeting.rule, "targeting.rule", {**checks, **words}, zone, found.refuse)
    if not found.errors:
        check_possible(targeting, None, known.above, found.refuse)
    return targeting


def _check_prefer(prefer: Prefer, found: Findings, path: str = "prefer") -> None:
    for name, words in (("devices", _DEVICES), ("times", _TIMES), ("weather", _WEATHER)):
        for number, value in enumerate(getattr(prefer, name)):
            _check_word(value, f"{path}.{name}[{number}]", words, found)


def _check_word(value: str, path: str, words: Container[str], found: Findings) -> None:
    if value not in words:
        found.refuse(path, value, f"one of {', '.join(words)}")  # type: ignore[arg-type]  # all are iterable


def _check_topic(value: str, path: str, known: Known, found: Findings) -> None:
    if value not in known.topics:
        found.refuse(path, value, "the id of a topic of IAB Content Taxonomy 3.1")


def _check_product(value: str, path: str, known: Known, found: Findings) -> None:
    if value not in known.products:
        found.refuse(path, value, "the id of a category of IAB Ad Product Taxonomy 2.0")


def _check_shape(value: str, path: str, form: re.Pattern[str], expected: str, found: Findings) -> None:
    if not form.fullmatch(value):
        found.refuse(path, value, expected)


def _check_zone(name: str, path: str, found: Findings) -> None:
    try:
        if name != "UTC" and "/" not in name:
            raise ValueError(name)  # "localtime" and the like would mean the server's own zone
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, an unsafe path, a folder of zones
        found.refuse(path, name, "an IANA time zone such as 'Europe/Berlin'")


def _words(words: tuple[str, ...], path: str, found: Findings) -> tuple[str, ...]:
    """Return words in lower case, single-spaced, each once."""
    for number, word in enumerate(words):
        with found.collecting():
            check_text(word, f"{path}[{number}]", found.line)
        if not word.strip():
            found.refuse(f"{path}[{number}]", word, "a word or phrase")
    return tuple(dict.fromkeys(" ".join(word.lower().split()) for word in words))
