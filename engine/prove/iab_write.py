"""IAB consent strings written at random: what the proof of strict decoding starts from, and where tests take theirs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from privacy.gpp import NATIONAL_1, NATIONAL_2, STATES, State
from privacy.iab_bits import Ids
from privacy.tcf import ConsentString, PublisherPurposes, Restriction

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def ids(*numbers: int) -> Ids:
    """Return a set of ids."""
    return Ids(sum(1 << number for number in set(numbers)))


def random_consent(chance: Random, now: datetime) -> ConsentString:
    """Return what a CMP may write: policy 4 or 5, granted since less than a year, vendors dense or in blocks."""
    updated = (now - timedelta(days=chance.randrange(1, 360))).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    most = chance.choice((12, 60, 300, 1300))
    policy = chance.choice((4, 5, 5))
    restrictions = {
        (chance.randrange(1, 12), chance.randrange(3)): _some(chance, 60)
        for _ in range(chance.choice((0, 0, 1, 3)))
    }
    custom = chance.choice((0, 0, 3, 20))
    return ConsentString(
        version=2,
        created=updated,
        updated=updated,
        cmp=chance.randrange(2, 500),
        cmp_version=chance.randrange(4096),
        screen=chance.randrange(64),
        language=chance.choice(("EN", "DE", "FR", "PL")),
        vendor_list=chance.randrange(4096),
        policy=policy,
        service_specific=True,
        non_standard_texts=chance.random() < 0.2,
        special_features=_bits(chance, 2),
        purpose_consents=_bits(chance, 11),
        purpose_legitimate_interests=_bits(chance, 11),
        purpose_one_treatment=chance.random() < 0.2,
        country=chance.choice(("AA", "DE", "FR")),
        vendor_consents=_some(chance, most),
        vendor_legitimate_interests=_some(chance, most),
        restrictions=tuple(
            Restriction(purpose, kind, found) for (purpose, kind), found in restrictions.items()
        ),
        disclosed=_some(chance, most) if policy == 5 or chance.random() < 0.5 else None,
        allowed=_some(chance, 20) if chance.random() < 0.1 else None,
        publisher=PublisherPurposes(
            _bits(chance, 11), _bits(chance, 11), custom, _bits(chance, custom), _bits(chance, custom)
        )
        if chance.random() < 0.6
        else None,
    )


def tc_string(said: ConsentString) -> str:
    """Write a TC string: ids as the shorter of field and ranges, each segment filled up to 24 bits."""
    core = Pen()
    core.number(said.version, 6)
    core.moment(said.created)
    core.moment(said.updated)
    core.number(said.cmp, 12)
    core.number(said.cmp_version, 12)
    core.number(said.screen, 6)
    core.letters(said.language)
    core.number(said.vendor_list, 12)
    core.number(said.policy, 6)
    core.number(said.service_specific, 1)
    core.number(said.non_standard_texts, 1)
    core.field(said.special_features, 12)
    core.field(said.purpose_consents, 24)
    core.field(said.purpose_legitimate_interests, 24)
    core.number(said.purpose_one_treatment, 1)
    core.letters(said.country)
    core.vendors(said.vendor_consents)
    core.vendors(said.vendor_legitimate_interests)
    core.number(len(said.restrictions), 12)
    for restriction in said.restrictions:
        core.number(restriction.purpose, 6)
        core.number(restriction.kind, 2)
        core.ranges(restriction.vendors)
    segments = [core]
    for kind, vendors in ((1, said.disclosed), (2, said.allowed)):
        if vendors is not None:
            segments.append(Pen().number(kind, 3).vendors(vendors))
    if (own := said.publisher) is not None:
        pen = Pen().number(3, 3).field(own.consents, 24).field(own.legitimate_interests, 24)
        pen.number(own.custom, 6).field(own.custom_consents, own.custom)
        segments.append(pen.field(own.custom_legitimate_interests, own.custom))
    return ".".join(segment.text(24) for segment in segments)


def random_gpp(chance: Random, now: datetime) -> str:
    """Write a GPP string of one to three sections, a TC string, a US Privacy string and US sections among them."""
    written: dict[int, str] = {}
    for number in chance.sample((2, 6, 7, 7, *STATES), chance.choice((1, 1, 2, 3))):
        if number == 2:
            written[2] = tc_string(random_consent(chance, now))
        elif number == 6:
            written[6] = "1" + "".join(chance.choice("YN-") for _ in range(3))
        elif number == 7:
            version = chance.choice((1, 2, 2))
            written[7] = _us(NATIONAL_1 if version == 1 else NATIONAL_2, version, chance)
        else:
            written[number] = _us(STATES[number], 1, chance)
    return gpp_string(written)


def gpp_string(sections: dict[int, str]) -> str:
    """Write a GPP string of sections that are written already."""
    header = Pen().number(3, 6).number(1, 6).number(len(sections), 12)
    last = 0
    for number in sorted(sections):
        header.number(0, 1).fibonacci(number - last)
        last = number
    return "~".join([header.text(6), *(sections[number] for number in sorted(sections))])


def us_section(
    state: State, version: int, values: dict[str, int | tuple[int, ...]], gpc: bool | None = None
) -> str:
    """Write a US section; what `values` does not name is 0, a covered transaction 2 (no)."""
    pen = Pen().number(version, 6)
    for name, count in state.layout:
        value = values.get(name, 2 if name == "MspaCoveredTransaction" else 0)
        for number in value if isinstance(value, tuple) else (value,) * count:
            pen.number(number, 2)
    if gpc is None:
        return pen.text(24)[: -(-len(pen.digits) // 6)]
    return f"{us_section(state, version, values)}.{Pen().number(1, 2).number(gpc, 1).text(6)}"


def _us(state: State, version: int, chance: Random) -> str:
    values = {
        name: tuple(chance.randrange(3) for _ in range(count)) if count > 1 else chance.randrange(3)
        for name, count in state.layout
    }
    values["MspaCoveredTransaction"] = chance.randrange(1, 3)
    gpc = chance.random() < 0.3 if state.gpc and chance.random() < 0.7 else None
    written = us_section(state, version, values, gpc)
    if state.sensitive and chance.random() < 0.5:
        pen = Pen()
        for _ in range(state.sensitive):
            pen.number(chance.randrange(3), 2)
        written += f".{pen.text(6)}"
    return written


def _bits(chance: Random, width: int) -> Ids:
    return Ids(chance.getrandbits(width) << 1 if width else 0)


def _some(chance: Random, most: int) -> Ids:
    if chance.random() < 0.5:
        return _bits(chance, most)
    mask = 0
    for _ in range(chance.randrange(5)):
        start = chance.randrange(1, most + 1)
        end = min(most, start + chance.choice((0, 0, 5, 40)))
        mask |= (1 << end + 1) - (1 << start)
    return Ids(mask)


class Pen:
    """A segment on the way: digits of bits, and how each kind of field is written."""

    def __init__(self) -> None:
        self.digits = ""

    def number(self, value: int, width: int) -> Pen:
        """Write an unsigned integer."""
        self.digits += f"{value:0{width}b}"
        return self

    def moment(self, at: datetime) -> Pen:
        """Write tenths of a second since 1970."""
        return self.number((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=100), 36)

    def letters(self, two: str) -> Pen:
        """Write two capital letters."""
        return self.number(ord(two[0]) - 65, 6).number(ord(two[1]) - 65, 6)

    def field(self, found: Ids, width: int) -> Pen:
        """Write ids from 1 to `width`, a bit each."""
        if width:
            self.digits += f"{found.mask >> 1:0{width}b}"[::-1]
        return self

    def fibonacci(self, value: int) -> Pen:
        """Write an integer from 1 in Fibonacci coding."""
        numbers = [1, 2]
        while numbers[-1] <= value:
            numbers.append(numbers[-1] + numbers[-2])
        digits = ""
        for number in reversed(numbers[:-1]):
            digits = ("1" if number <= value else "0") + digits
            value -= number if number <= value else 0
        self.digits += digits.rstrip("0") + "1"
        return self

    def vendors(self, found: Ids) -> Pen:
        """Write ids as the shorter of a field and of ranges."""
        most = max(found.mask.bit_length() - 1, 0)
        ranged = Pen().ranges(found)
        self.number(most, 16)
        if len(ranged.digits) < most:
            self.number(1, 1).digits += ranged.digits
            return self
        return self.number(0, 1).field(found, most)

    def ranges(self, found: Ids) -> Pen:
        """Write ids as ranges of 16 bits an end."""
        pairs: list[list[int]] = []
        for number in found:
            if pairs and pairs[-1][1] == number - 1:
                pairs[-1][1] = number
            else:
                pairs.append([number, number])
        self.number(len(pairs), 12)
        for start, end in pairs:
            self.number(start != end, 1).number(start, 16)
            if start != end:
                self.number(end, 16)
        return self

    def text(self, whole: int) -> str:
        """Return base64url, filled with zeros up to a multiple of `whole` bits."""
        digits = self.digits + "0" * (-len(self.digits) % whole)
        return "".join(_ALPHABET[int(digits[at : at + 6], 2)] for at in range(0, len(digits), 6))
