"""Publishers, and who pays them."""

from __future__ import annotations

import re

import msgspec
from msgspec.structs import replace

from contexts.first_party import MOST_KEYS, WORD, FirstParty
from contexts.segments import FEWEST, MOST, reached
from engine.campaign import Advertiser, Jwks, PartyKeys, Publisher, Section
from engine.check.findings import Findings, Known, shown
from engine.check.values import (
    check_country,
    check_product,
    check_region,
    check_shape,
    check_topic,
    check_zone,
)
from engine.cohorts import centre_of
from engine.creative_safety import check_text, domain, host_name
from engine.errors import CatalogError
from engine.sections import OTHER, canonical_prefix
from privacy.deletion import pinned_key
from privacy.errors import FieldError
from privacy.jose import public_key, thumbprint
from privacy.raw_identifier import raw_identifier

_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+", re.ASCII
)
_ISSUER = re.compile(r"https?://[!-~]{1,500}")


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
    check_zone(publisher.timezone, "timezone", found)
    if publisher.country is not None:
        check_country(publisher.country, "country", known, found)
    if publisher.region is not None:
        check_region(publisher.region, "region", known, found)
        if publisher.country is not None and not publisher.region.startswith(publisher.country + "-"):
            found.refuse("region", publisher.region, f"a region of {publisher.country}")
    if len(publisher.categories) > 2000:
        found.refuse("categories", f"{len(publisher.categories)} names", "at most 2000")
    for name, topic in publisher.categories.items():
        with found.collecting():
            check_text(name, "categories", found.line)
        check_topic(topic, f"categories[{shown(name)}]", known, found)
    for number, product in enumerate(publisher.block_categories):
        check_product(product, f"block_categories[{number}]", known, found)
    for issuer, jwks in publisher.issuers.items():
        _check_issuer(issuer, jwks, found)
    for name, party in publisher.deletion.items():
        _check_party(name, party, found)
    site = replace(publisher, domains=tuple(hosts))
    if publisher.deletion and not any(map(site.is_at, publisher.deletion)):
        expected = "one at or above `domains` among them, where readers ask: others hand on what it signed"
        found.refuse("deletion", ", ".join(publisher.deletion), expected)
    _check_first_party(publisher.first_party, found)
    for number, cohort in enumerate(publisher.page_cohorts):
        if not len(centre_of(cohort)):
            found.refuse(f"page_cohorts[{number}].centre", cohort.centre, "base64 of float16 numbers")
        if any(cohort.id == other.id for other in publisher.page_cohorts[:number]):
            found.refuse(f"page_cohorts[{number}].id", cohort.id, "each id once")
    sections = _check_sections(publisher.sections, known, found)
    _check_segments(publisher, found)
    _tell_repeated(publisher, found)
    return replace(publisher, domains=tuple(dict.fromkeys(hosts)), sections=sections)


def _check_sections(sections: tuple[Section, ...], known: Known, found: Findings) -> tuple[Section, ...]:
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
        for at, topic in enumerate(section.topics):
            check_topic(topic, f"sections[{number}].topics[{at}]", known, found)
        checked.append(replace(section, prefix=prefix))
    return tuple(checked)


def _check_segments(publisher: Publisher, found: Findings) -> None:
    """Refuse groups of page views that are too few or too many, or into which nothing can fall."""
    if not publisher.segments:
        return
    sections = [section.id for section in publisher.sections]
    groups = reached(publisher.segments, sections)
    for number, segment in enumerate(publisher.segments):
        path = f"segments[{number}]"
        if segment.id == OTHER:
            found.refuse(f"{path}.id", segment.id, f"another id: {OTHER!r} is what falls into no segment")
        elif any(segment.id == earlier.id for earlier in publisher.segments[:number]):
            found.refuse(f"{path}.id", segment.id, "each id once")
        elif unknown := [one for one in segment.sections if one not in (*sections, OTHER)]:
            found.refuse(
                f"{path}.sections", unknown[0], f"the id of one of the publisher's sections, or {OTHER!r}"
            )
        elif segment.id not in groups:
            found.refuse(path, segment.id, "a group that those before it leave something")
    if not FEWEST <= len(groups) <= MOST:
        found.refuse(
            "segments", f"{len(groups)} groups", f"{FEWEST} to {MOST}, with {OTHER!r} for what they leave"
        )


def _tell_repeated(publisher: Publisher, found: Findings) -> None:
    """Tell what is not read because something else of the same name is."""
    sections: dict[str, Section] = {}
    for number, section in enumerate(publisher.sections):
        if section.topics not in ((), sections.setdefault(section.id, section).topics):
            found.warnings.append(
                f"sections[{number}].topics are not read: those of the first section {section.id!r} are"
            )
    last = {one.id: one for one in publisher.placements}
    for number, placement in enumerate(publisher.placements):
        if placement != last[placement.id]:
            found.warnings.append(
                f"placements[{number}] is not read: a later one is {ascii(placement.id)}, too"
            )
    topics = {name.casefold(): topic for name, topic in publisher.categories.items()}
    for name, topic in publisher.categories.items():
        if topic != topics[name.casefold()]:
            found.warnings.append(
                f"categories[{shown(name)}] is not read: another one differs from it in capitals alone"
            )


def _check_issuer(issuer: str, jwks: Jwks, found: Findings) -> None:
    path = f"issuers[{shown(issuer)}]"
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
            pinned_key(msgspec.to_builtins(key), f"deletion[{shown(name)}].keys[{number}]")
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
                check_shape(word, path, WORD, "1-64 of a-z, 0-9, '.', '_' and '-'", found)


def check_advertiser(advertiser: Advertiser, found: Findings) -> Advertiser:
    """Return the advertiser with its domains in punycode."""
    with found.collecting():
        check_text(advertiser.name, "name", found.line)
    names = []
    for number, text in enumerate(advertiser.domains):
        with found.collecting():
            names.append(domain(text, f"domains[{number}]", found.line))
    return replace(advertiser, domains=tuple(dict.fromkeys(names)))
