"""IAB Global Privacy Platform strings, read strictly: a header, and a section for each law that it speaks under.

Format: "GPP Consent String Specification" and the section specifications of the IAB Tech Lab. Known are the European
and Canadian TCF, the US Privacy string, the US national section in versions 1 and 2 and those of twenty states.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

from privacy import tcf
from privacy.iab_bits import Bits, Ids, StringError, check_text

TCF_EU, TCF_CANADA, US_PRIVACY, US_NATIONAL = 2, 5, 6, 7
# Encoders fill up to whole bytes and then to whole characters of six bits, which takes fewer than 12 bits.
_PADDING = 12
_US_PRIVACY = re.compile(r"1[YN-][YN-][YN-]", re.ASCII)
_OPT_OUTS = ("SaleOptOut", "SharingOptOut", "TargetedAdvertisingOptOut")
# 1: no consent to uses beyond what the data was collected for.
_OTHER_USES = ("PersonalDataConsents", "AdditionalDataProcessingConsent")

# A field of a US section: its name, and how many numbers of two bits it holds.
Layout = tuple[tuple[str, int], ...]
_MSPA: Layout = (("MspaCoveredTransaction", 1), ("MspaOptOutOptionMode", 1), ("MspaServiceProviderMode", 1))


@dataclass(frozen=True, slots=True)
class UsSection:
    """What a US section says, in the words of its specification."""

    name: str
    fields: Mapping[str, int | str | tuple[int, ...]]
    gpc: bool | None = None  # None: the section does not say

    def objects(self) -> bool:
        """Say whether the reader opted out of anything that an advertisement could rest on, or is a known child."""
        child = self.fields.get("KnownChildSensitiveDataConsents", 0)
        return (
            self.gpc is True
            or any(self.fields.get(name) == 1 for name in _OPT_OUTS + _OTHER_USES)
            or self.fields.get("OptOutSale") == "Y"
            or (any(child) if isinstance(child, tuple) else child != 0)
        )


@dataclass(frozen=True, slots=True)
class CanadianConsent:
    """What a string of TCF Canada says, as far as express consent goes; implied consent is never relied on."""

    created: datetime
    updated: datetime
    cmp: int
    policy: int
    purpose_consents: Ids
    implied_purposes: Ids
    vendor_consents: Ids
    implied_vendors: Ids
    restrictions: tuple[tcf.Restriction, ...]
    disclosed: Ids | None = None
    publisher: tcf.PublisherPurposes | None = None


_T = TypeVar("_T")
_Ranges = Callable[[Bits, int], Ids]  # how a segment codes its ranges of ids

Section = tcf.ConsentString | CanadianConsent | UsSection


@dataclass(frozen=True, slots=True)
class GppString:
    """A GPP string's sections by their ids."""

    sections: Mapping[int, Section]


@lru_cache(maxsize=256)  # in memory only, as with TC strings
def decode(text: str) -> GppString:
    """Return what a GPP string says. Raises StringError where its form breaks any rule."""
    return read(text)


def read(text: str) -> GppString:
    """Do what `decode` does, and remember nothing."""
    check_text(text)
    header, *bodies = text.split("~")
    numbers = _header(header)
    if len(numbers) != len(bodies):
        raise StringError("sections")
    return GppString({number: _section(number, body) for number, body in zip(numbers, bodies, strict=True)})


def _header(text: str) -> list[int]:
    bits = Bits(text)
    if bits.number(6) != 3 or bits.number(6) != 1:
        raise StringError("version")
    numbers = list(bits.fibonacci_ranges(65535))
    bits.end(_PADDING)
    return numbers


def _section(number: int, body: str) -> Section:
    if number == TCF_EU:
        return tcf.read(body)
    if number == TCF_CANADA:
        return _canadian(body)
    if number == US_PRIVACY:
        return _us_privacy(body)
    if number == US_NATIONAL:
        return _us_national(body)
    if number not in STATES:
        raise StringError("section")
    return _us_state(STATES[number], body)


def _us_privacy(body: str) -> UsSection:
    if not _US_PRIVACY.fullmatch(body):
        raise StringError("value")
    return UsSection(
        "uspv1", {"Version": 1, "Notice": body[1], "OptOutSale": body[2], "LspaCovered": body[3]}
    )


@dataclass(frozen=True, slots=True)
class State:
    """How a US section is laid out: a version of 6 bits, then `layout`, then perhaps a second segment."""

    name: str
    layout: Layout
    version: str = "Version"
    gpc: bool = True  # whether a second segment with the Global Privacy Control is defined
    sensitive: int = 0  # how many numbers a second segment about sensitive data holds


def _us_national(body: str) -> UsSection:
    version = Bits(body.partition(".")[0]).number(6)
    return _us_state(NATIONAL_1 if version == 1 else NATIONAL_2, body, version=1 if version == 1 else 2)


def _us_state(state: State, body: str, version: int = 1) -> UsSection:
    core, *more = body.split(".")
    bits = Bits(core)
    fields: dict[str, Any] = {state.version: bits.number(6)}
    if fields[state.version] != version:
        raise StringError("version")
    _numbers(bits, state.layout, fields)
    bits.end(_PADDING)
    if not 1 <= fields["MspaCoveredTransaction"] <= 2:
        raise StringError("value")
    gpc = None
    second = state.gpc or state.sensitive > 0
    if len(more) > second:
        raise StringError("segments")
    if more:
        bits = Bits(more[0])
        if state.sensitive:
            _numbers(bits, (("SensitiveDataProcessing", state.sensitive),), fields)
        else:
            if bits.number(2) != 1:
                raise StringError("segments")
            gpc = bits.flag()
        bits.end(_PADDING)
    return UsSection(state.name, fields, gpc)


def _numbers(bits: Bits, layout: Layout, fields: dict[str, Any]) -> None:
    for name, count in layout:
        numbers = tuple(bits.number(2) for _ in range(count))
        if 3 in numbers:
            raise StringError("value")
        fields[name] = numbers[0] if count == 1 else numbers


def _canadian(body: str) -> CanadianConsent:
    core, *others = body.split(".")
    said = _either(core, _canadian_core)
    for segment in others:
        kind = Bits(segment).number(3)
        if kind not in (1, 3):
            raise StringError("segments")
        name = "disclosed" if kind == 1 else "publisher"
        if name in said:
            raise StringError("segments")
        said[name] = _either(segment, _canadian_disclosed) if kind == 1 else _canadian_publisher(segment)
    return CanadianConsent(**said)


def _either(segment: str, reader: Callable[[str, _Ranges], _T]) -> _T:
    """Read a segment with ids in Fibonacci coding, as specified, or else in 16 bits, as encoders once did."""
    try:
        return reader(segment, Bits.fibonacci_ranges)
    except StringError:
        return reader(segment, Bits.ranges)


def _canadian_core(segment: str, ranges: _Ranges) -> dict[str, Any]:
    bits = Bits(segment)
    if bits.number(6) != 1:
        raise StringError("version")
    said: dict[str, Any] = {"created": bits.moment(), "updated": bits.moment(), "cmp": bits.number(12)}
    bits.number(12 + 6)  # the CMP's version and screen
    bits.letters()
    bits.number(12)  # the vendor list's version
    said["policy"] = bits.number(6)
    bits.number(1 + 12)  # texts of the CMP's own; special features
    said["purpose_consents"], said["implied_purposes"] = bits.ids(24), bits.ids(24)
    said["vendor_consents"] = _vendors(bits, ranges)
    said["implied_vendors"] = _vendors(bits, ranges)
    # The old coding has bare ranges here, the specified one a whole field of vendors.
    said["restrictions"] = tcf.restrictions(
        bits, lambda bits: bits.ranges(65535) if ranges is Bits.ranges else _vendors(bits, ranges)
    )
    bits.end(_PADDING)
    if said["cmp"] in (0, 1):
        raise StringError("cmp")
    return said


def _canadian_disclosed(segment: str, ranges: _Ranges) -> Ids:
    bits = Bits(segment)
    bits.number(3)
    disclosed = _vendors(bits, ranges)
    bits.end(_PADDING)
    return disclosed


def _canadian_publisher(segment: str) -> tcf.PublisherPurposes:
    bits = Bits(segment)
    bits.number(3)
    purposes = tcf.publisher_purposes(bits)
    bits.end(_PADDING)
    return purposes


def _vendors(bits: Bits, ranges: _Ranges) -> Ids:
    most = bits.number(16)
    return ranges(bits, most) if bits.flag() else bits.ids(most)


def _national(sensitive: int, children: int) -> State:
    return State(
        "usnat",
        (
            ("SharingNotice", 1),
            ("SaleOptOutNotice", 1),
            ("SharingOptOutNotice", 1),
            ("TargetedAdvertisingOptOutNotice", 1),
            ("SensitiveDataProcessingOptOutNotice", 1),
            ("SensitiveDataLimitUseNotice", 1),
            ("SaleOptOut", 1),
            ("SharingOptOut", 1),
            ("TargetedAdvertisingOptOut", 1),
            ("SensitiveDataProcessing", sensitive),
            ("KnownChildSensitiveDataConsents", children),
            ("PersonalDataConsents", 1),
            *_MSPA,
        ),
    )


def _state(
    name: str,
    notice: str,
    sensitive: int,
    children: int,
    *,
    other_uses: bool = True,
    gpc: bool = True,
    sensitive_notice: str | None = None,
) -> State:
    return State(
        name,
        (
            (notice, 1),
            ("SaleOptOutNotice", 1),
            ("TargetedAdvertisingOptOutNotice", 1),
            *(((sensitive_notice, 1),) if sensitive_notice else ()),
            ("SaleOptOut", 1),
            ("TargetedAdvertisingOptOut", 1),
            ("SensitiveDataProcessing", sensitive),
            ("KnownChildSensitiveDataConsents", children),
            *((("AdditionalDataProcessingConsent", 1),) if other_uses else ()),
            *_MSPA,
        ),
        gpc=gpc,
    )


def _later_state(name: str, *, children: int = 1, sensitive: int = 8) -> State:
    return State(
        name,
        (
            ("MspaCoveredTransaction", 1),
            ("MspaMode", 1),
            ("ProcessingNotice", 1),
            ("SaleOptOutNotice", 1),
            ("TargetedAdvertisingOptOutNotice", 1),
            ("SaleOptOut", 1),
            ("TargetedAdvertisingOptOut", 1),
            *((("KnownChildSensitiveDataConsents", children),) if children else ()),
            ("AdditionalDataProcessingConsent", 1),
        ),
        version="MspaVersion",
        gpc=not sensitive,
        sensitive=sensitive,
    )


NATIONAL_1, NATIONAL_2 = _national(12, 2), _national(16, 3)
STATES: Mapping[int, State] = {
    8: State(
        "usca",
        (
            ("SaleOptOutNotice", 1),
            ("SharingOptOutNotice", 1),
            ("SensitiveDataLimitUseNotice", 1),
            ("SaleOptOut", 1),
            ("SharingOptOut", 1),
            ("SensitiveDataProcessing", 9),
            ("KnownChildSensitiveDataConsents", 2),
            ("PersonalDataConsents", 1),
            *_MSPA,
        ),
    ),
    9: _state("usva", "SharingNotice", 8, 1, other_uses=False, gpc=False),
    10: _state("usco", "SharingNotice", 7, 1, other_uses=False),
    11: _state(
        "usut",
        "SharingNotice",
        8,
        1,
        other_uses=False,
        gpc=False,
        sensitive_notice="SensitiveDataProcessingOptOutNotice",
    ),
    12: _state("usct", "SharingNotice", 8, 3, other_uses=False),
    13: _state("usfl", "ProcessingNotice", 8, 3, gpc=False),
    14: _state("usmt", "SharingNotice", 8, 3),
    15: _state("usor", "ProcessingNotice", 11, 3),
    16: _state("ustx", "ProcessingNotice", 8, 1),
    17: _state("usde", "ProcessingNotice", 9, 5),
    18: _state(
        "usia", "ProcessingNotice", 8, 1, other_uses=False, sensitive_notice="SensitiveDataOptOutNotice"
    ),
    19: _state("usne", "ProcessingNotice", 8, 1),
    20: _state("usnh", "ProcessingNotice", 8, 3),
    21: _state("usnj", "ProcessingNotice", 10, 5),
    22: _state("ustn", "ProcessingNotice", 8, 1),
    23: _state("usmn", "ProcessingNotice", 8, 1),
    24: _later_state("usmd", children=0, sensitive=0),
    25: _later_state("usin"),
    26: _later_state("usky"),
    27: _later_state("usri"),
}
