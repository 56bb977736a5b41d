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
from privacy.iab_bits import Bits, Broken, Ids, Rule, StringError, check_text

TCF_EU, TCF_CANADA, US_PRIVACY, US_NATIONAL = 2, 5, 6, 7
# Encoders fill up to whole bytes and then to whole characters of six bits, which takes fewer than 12 bits.
_PADDING = 12
_US_PRIVACY = re.compile(r"[0-9A-Za-z_-]{4}", re.ASCII)
_NATIONAL_1_CHARACTERS = (10, 11)  # 60 bits, filled up or not
_US_PRIVACY_FIELDS = ("Notice", "OptOutSale", "LspaCovered")
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
    said, broken = read(text)
    if broken:
        raise StringError(broken[0])
    return said


def read(text: str) -> tuple[GppString, tuple[Rule, ...]]:
    """Return what a GPP string's bits say, and each rule of its form that they break. Nothing is remembered.

    Sections that are not known are left out. A string that breaks any rule must not be relied on: `decode` refuses it.
    Raises StringError where bits are missing or their meaning is not known.
    """
    if not text:
        return GppString({}), ("empty",)
    check_text(text)
    broken = Broken()
    header, *bodies = text.split("~")
    numbers = _header(header, broken)
    if len(numbers) != len(bodies):
        raise broken.stop("sections")
    sections: dict[int, Section] = {}
    for number, body in zip(numbers, bodies, strict=True):
        found = _section(number, body, broken)
        if found is None:
            broken.note("section")
        else:
            sections[number] = found
    return GppString(sections), tuple(broken.rules)


def _header(text: str, broken: Broken) -> list[int]:
    bits = Bits(text, broken)
    if bits.number(6) != 3 or bits.number(6) != 1:
        raise broken.stop("version")
    numbers = list(bits.fibonacci_ranges(65535))
    bits.end(_PADDING)
    return numbers


def _section(number: int, body: str, broken: Broken) -> Section | None:
    if number == TCF_EU:
        return tcf.read_segments(body, broken)
    if number == TCF_CANADA:
        return _canadian(body, broken)
    if number == US_PRIVACY:
        return _us_privacy(body, broken)
    if number == US_NATIONAL:
        return _us_national(body, broken)
    if number not in STATES:
        return None
    return _us_state(STATES[number], body, broken)


def _us_privacy(body: str, broken: Broken) -> UsSection:
    if not _US_PRIVACY.fullmatch(body):
        raise broken.stop("value")
    version, said = body[0], body[1:]
    if version != "1" or not {*said} <= {*"YN-"}:
        broken.note("value")
    number = int(version) if version.isdigit() else version
    return UsSection("uspv1", {"Version": number, **dict(zip(_US_PRIVACY_FIELDS, said, strict=True))})


@dataclass(frozen=True, slots=True)
class State:
    """How a US section is laid out: a version of 6 bits, then `layout`, then perhaps a second segment."""

    name: str
    layout: Layout
    version: str = "Version"
    gpc: bool = True  # whether a second segment with the Global Privacy Control is defined
    sensitive: int = 0  # how many numbers a second segment about sensitive data holds


def _us_national(body: str, broken: Broken) -> UsSection:
    # The length tells the two layouts apart, also where the version was damaged.
    if len(body.partition(".")[0]) in _NATIONAL_1_CHARACTERS:
        return _us_state(NATIONAL_1, body, broken)
    return _us_state(NATIONAL_2, body, broken, version=2)


def _us_state(state: State, body: str, broken: Broken, version: int = 1) -> UsSection:
    core, *more = body.split(".")
    bits = Bits(core, broken)
    fields: dict[str, Any] = {state.version: bits.number(6)}
    if fields[state.version] != version:
        broken.note("version")  # what follows is read as the known one is laid out
    _numbers(bits, state.layout, fields)
    bits.end(_PADDING)
    if not 1 <= fields["MspaCoveredTransaction"] <= 2:
        broken.note("value")
    gpc = None
    second = state.gpc or state.sensitive > 0
    if len(more) > second:
        broken.note("segments")
    if more and second:
        bits = Bits(more[0], broken)
        if state.sensitive:
            _numbers(bits, (("SensitiveDataProcessing", state.sensitive),), fields)
        else:
            if bits.number(2) != 1:
                broken.note("segments")
            gpc = bits.flag()
        bits.end(_PADDING)
    return UsSection(state.name, fields, gpc)


def _numbers(bits: Bits, layout: Layout, fields: dict[str, Any]) -> None:
    for name, count in layout:
        numbers = tuple(bits.number(2) for _ in range(count))
        if 3 in numbers:
            bits.broken.note("value")
        fields[name] = numbers[0] if count == 1 else numbers


def _canadian(body: str, broken: Broken) -> CanadianConsent:
    core, *others = body.split(".")
    said = _either(core, _canadian_core, broken)
    for segment in others:
        kind = Bits(segment, broken).number(3)
        if kind not in (1, 3):
            raise broken.stop("segments")
        name = "disclosed" if kind == 1 else "publisher"
        if name in said:
            broken.note("segments")
        said[name] = (
            _either(segment, _canadian_disclosed, broken)
            if kind == 1
            else _canadian_publisher(Bits(segment, broken))
        )
    return CanadianConsent(**said)


def _either(segment: str, reader: Callable[[Bits, _Ranges], _T], broken: Broken) -> _T:
    """Read a segment with ids in Fibonacci coding, as specified, or else in 16 bits, as encoders once did."""
    trial = Broken()
    try:
        found = reader(Bits(segment, trial), Bits.fibonacci_ranges)
    except StringError:
        return reader(Bits(segment, broken), Bits.ranges)
    return reader(Bits(segment, broken), Bits.ranges) if trial.rules else found


def _canadian_core(bits: Bits, ranges: _Ranges) -> dict[str, Any]:
    if bits.number(6) != 1:
        raise bits.broken.stop("version")
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
        bits.broken.note("cmp")
    return said


def _canadian_disclosed(bits: Bits, ranges: _Ranges) -> Ids:
    bits.number(3)
    disclosed = _vendors(bits, ranges)
    bits.end(_PADDING)
    return disclosed


def _canadian_publisher(bits: Bits) -> tcf.PublisherPurposes:
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
