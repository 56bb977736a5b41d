"""IAB TCF 2.2 and 2.3 consent strings, read strictly: what a reader agreed to, as a CMP wrote it down.

Format: "Consent string and vendor list formats v2" of the IAB Tech Lab. A string is personal data (CJEU C-604/22): it
is read in memory, never logged and never written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from privacy.iab_bits import Bits, Broken, Ids, Rule, StringError, check_text

_STALE = timedelta(days=397)  # 13 months
_CLOCKS_DIFFER = timedelta(minutes=5)
# Encoders fill a segment up to whole bytes and whole characters, which takes fewer than 24 bits.
_PADDING = 24
_POLICY = 5  # the newest whose purposes and special features are known here
_PURPOSES = 11
_REQUIRE_CONSENT = 1
_REQUIRE_INTEREST = 2
_SPECIAL_FEATURES = 2


@dataclass(frozen=True, slots=True)
class Restriction:
    """What a publisher forbids some vendors: a purpose at all (0), without consent (1) or with consent (2)."""

    purpose: int
    kind: int
    vendors: Ids


@dataclass(frozen=True, slots=True)
class PublisherPurposes:
    """The segment PublisherTC: what the reader agreed to towards the publisher itself."""

    consents: Ids
    legitimate_interests: Ids
    custom: int  # how many purposes of its own the publisher defines
    custom_consents: Ids
    custom_legitimate_interests: Ids


@dataclass(frozen=True, slots=True)
class ConsentString:
    """All that a TC string says."""

    version: int
    created: datetime
    updated: datetime
    cmp: int
    cmp_version: int
    screen: int
    language: str
    vendor_list: int
    policy: int
    service_specific: bool
    non_standard_texts: bool
    special_features: Ids
    purpose_consents: Ids
    purpose_legitimate_interests: Ids
    purpose_one_treatment: bool
    country: str
    vendor_consents: Ids
    vendor_legitimate_interests: Ids
    restrictions: tuple[Restriction, ...]
    disclosed: Ids | None = None  # None: the string does not say
    allowed: Ids | None = None  # the deprecated segment of vendors allowed out of band
    publisher: PublisherPurposes | None = None


@lru_cache(maxsize=256)  # in memory only; a page's calls come in bursts with the same string
def decode(text: str) -> ConsentString:
    """Return what a TC string says. Raises StringError where its form breaks any rule."""
    consent, broken = read(text)
    if broken:
        raise StringError(broken[0])
    return consent


def unlawful(consent: ConsentString, now: datetime) -> Rule | None:
    """Return why a well-formed string must not be relied on at `now` (aware), None where it may be."""
    if consent.policy < 4:
        return "policy"
    if not consent.service_specific:
        return "scope"
    if consent.policy >= 5 and consent.disclosed is None:
        return "undisclosed"
    return out_of_time(consent.created, consent.updated, now)


def out_of_time(created: datetime, updated: datetime, now: datetime) -> Rule | None:
    """Return why a string of this date must not be relied on at `now` (all aware), None where it may be."""
    if not created <= updated <= now + _CLOCKS_DIFFER:
        return "future"
    return "stale" if now - updated > _STALE else None


def restricted(
    restrictions: Iterable[Restriction], purpose: int, vendor: int, *, by_interest: bool = False
) -> bool:
    """Say whether a publisher forbids a vendor to use a purpose by consent, or by a legitimate interest."""
    left = _REQUIRE_INTEREST if by_interest else _REQUIRE_CONSENT
    return any(r.purpose == purpose and r.kind != left and vendor in r.vendors for r in restrictions)


def read(text: str) -> tuple[ConsentString, tuple[Rule, ...]]:
    """Return what a TC string's bits say, and each rule of its form that they break. Nothing is remembered.

    A string that breaks any rule must not be relied on: `decode` refuses it. Raises StringError where bits are missing
    or their meaning is not known.
    """
    check_text(text)
    broken = Broken()
    return read_segments(text, broken), tuple(broken.rules)


def read_segments(text: str, broken: Broken) -> ConsentString:
    """Do what `read` does with the section of a GPP string."""
    said: dict[str, Any] = {}
    for segment in text.split("."):
        bits = Bits(segment, broken)
        found = _segment(bits)
        bits.end(_PADDING)
        if not found.keys().isdisjoint(said) or ("version" in found) == bool(said):
            broken.note("segments")
        said |= found
    if "version" not in said:
        raise broken.stop("segments")
    consent = ConsentString(**said)
    if consent.policy <= _POLICY and _reserved(consent):
        broken.note("reserved")
    return consent


def _segment(bits: Bits) -> dict[str, Any]:
    kind = bits.number(3)
    if kind == 0:  # the core segment has no kind: its version is below 8
        return _core(bits)
    if kind == 1:
        return {"disclosed": bits.vendors()}
    if kind == 2:
        return {"allowed": bits.vendors()}
    if kind == 3:
        return {"publisher": publisher_purposes(bits)}
    raise bits.broken.stop("segments")


def _core(bits: Bits) -> dict[str, Any]:
    version = bits.number(3)
    if version != 2:
        raise bits.broken.stop("version")
    said: dict[str, Any] = {
        "version": version,
        "created": bits.moment(),
        "updated": bits.moment(),
        "cmp": bits.number(12),
        "cmp_version": bits.number(12),
        "screen": bits.number(6),
        "language": bits.letters(),
        "vendor_list": bits.number(12),
        "policy": bits.number(6),
        "service_specific": bits.flag(),
        "non_standard_texts": bits.flag(),
        "special_features": bits.ids(12),
        "purpose_consents": bits.ids(24),
        "purpose_legitimate_interests": bits.ids(24),
        "purpose_one_treatment": bits.flag(),
        "country": bits.letters(),
        "vendor_consents": bits.vendors(),
        "vendor_legitimate_interests": bits.vendors(),
        "restrictions": restrictions(bits, lambda bits: bits.ranges(65535)),
    }
    if said["cmp"] in (0, 1):
        bits.broken.note("cmp")
    return said


def _reserved(consent: ConsentString) -> bool:
    fields = [consent.purpose_consents, consent.purpose_legitimate_interests]
    if consent.publisher is not None:
        fields += [consent.publisher.consents, consent.publisher.legitimate_interests]
    return consent.special_features.mask >> _SPECIAL_FEATURES + 1 != 0 or any(
        field.mask >> _PURPOSES + 1 for field in fields
    )


def publisher_purposes(bits: Bits) -> PublisherPurposes:
    """Read what follows the kind of a segment PublisherTC."""
    consents, interests, custom = bits.ids(24), bits.ids(24), bits.number(6)
    return PublisherPurposes(consents, interests, custom, bits.ids(custom), bits.ids(custom))


def restrictions(bits: Bits, vendors: Callable[[Bits], Ids]) -> tuple[Restriction, ...]:
    """Read a publisher's restrictions, whose vendors `vendors` reads."""
    found: dict[tuple[int, int], int] = {}  # what is stated twice adds up
    for _ in range(bits.number(12)):
        purpose, kind = bits.number(6), bits.number(2)
        if kind == 3 or not 0 < purpose <= _PURPOSES:
            bits.broken.note("restriction")
        found[purpose, kind] = found.get((purpose, kind), 0) | vendors(bits).mask
    return tuple(Restriction(purpose, kind, Ids(mask)) for (purpose, kind), mask in found.items())
