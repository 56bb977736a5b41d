"""Segments of the IAB's consent strings: base64url, bit by bit, and the rules that a strict reader holds them to."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from privacy.errors import PrivacyError

# Why a string is refused. Reading stops where bits are missing or of no known layout; a string that breaks any other
# rule of its form (up to "value") is read to its end and refused then, and the rest concerns what it may mean today.
Rule = Literal[
    "empty",
    "macro",  # a placeholder that nobody filled in, such as ${GDPR_CONSENT_755}
    "too_long",
    "alphabet",  # something else than base64url
    "version",
    "truncated",
    "too_much",  # more than the padding that an encoder may add
    "padding",  # padding that is not zero
    "segments",  # no core segment first, or one twice, or an unknown one
    "cmp",  # 0 and 1 are nobody's
    "letters",  # a language or country that is no two letters
    "reserved",  # a purpose or special feature that does not exist under the string's policy: a new one raises it
    "range",  # of vendor ids: from 0, backwards, or beyond the stated maximum
    "restriction",  # of a purpose that does not exist, or of the kind that is "UNDEFINED (not used)"
    "sections",  # not as many sections as the GPP header names
    "section",  # one that is not known here: it may hold an objection, so it is not passed over
    "value",  # outside what the section's specification lists
    "policy",  # before TCF 2.2
    "scope",  # global: "when a vendor encounters IsServiceSpecific=0 then it is considered invalid"
    "undisclosed",  # mandatory from policy 5 (TCF 2.3): which vendors the reader was shown
    "future",
    # "fulfill the requirements of remaining users of their choices, as appropriate and at least every 13 months"
    # (Consent string and vendor list formats v2, "What happened to Created and LastUpdated?")
    "stale",
]

LONGEST = 8192  # characters; 1300 vendors in three bit fields and many restrictions stay below 3000
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_MACRO = re.compile(r"\$\{|\{\{|%%|\[[A-Z]|%24%7B", re.ASCII)


class StringError(PrivacyError, ValueError):
    """A consent string that is refused. Names the rule, never the string."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(f"consent string refused by rule {rule!r}")
        self.rule: Rule = rule


@dataclass(frozen=True, slots=True)
class Ids:
    """A set of ids from 1, as bits: bit i of `mask` stands for id i."""

    mask: int = 0

    def __contains__(self, number: int) -> bool:
        return bool(self.mask >> number & 1)

    def __iter__(self) -> Iterator[int]:
        digits = bin(self.mask)[:1:-1]
        return (number for number, digit in enumerate(digits) if digit == "1")


def check_text(text: str) -> None:
    """Raise StringError for what is no string of any version: empty, too long, an unfilled macro."""
    if not text:
        raise StringError("empty")
    if len(text) > LONGEST:
        raise StringError("too_long")
    if _MACRO.search(text):
        raise StringError("macro")


class Broken:
    """The rules that a string breaks, each once, in the order in which they were found."""

    __slots__ = ("rules",)

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def note(self, rule: Rule) -> None:
        """Note a rule, and let reading go on."""
        if rule not in self.rules:
            self.rules.append(rule)

    def stop(self, rule: Rule) -> StringError:
        """Return the error of a string that cannot be read on: it names the first rule that was broken."""
        self.note(rule)
        return StringError(self.rules[0])


class Bits:
    """A segment in base64url, read from its front.

    What a broken rule leaves readable is read as it stands, and the rule is noted in `broken`. Raises StringError
    where bits are missing.
    """

    __slots__ = ("_at", "_bits", "broken")

    def __init__(self, segment: str, broken: Broken) -> None:
        self.broken = broken
        if not _BASE64URL.fullmatch(segment):
            raise broken.stop("alphabet" if segment else "segments")
        padded = segment + "A" * (-len(segment) % 4)
        value = int.from_bytes(binascii.a2b_base64(padded.replace("-", "+").replace("_", "/")))
        # A text of digits and not a number: slices of it cost their own length and not the whole string's.
        self._bits = f"{value:0{len(padded) * 6}b}"[: len(segment) * 6]
        self._at = 0

    def number(self, width: int) -> int:
        """Read an unsigned integer of `width` bits."""
        start = self._at
        self._at = end = start + width
        if end > len(self._bits):
            raise self.broken.stop("truncated")
        return int(self._bits[start:end], 2)

    def flag(self) -> bool:
        """Read one bit."""
        return self.number(1) == 1

    def moment(self) -> datetime:
        """Read tenths of a second since 1970."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.number(36) * 100)

    def letters(self) -> str:
        """Read two letters of six bits each."""
        first, second = self.number(6), self.number(6)
        if first > 25 or second > 25:
            self.broken.note("letters")
        return chr(65 + first) + chr(65 + second)

    def ids(self, width: int) -> Ids:
        """Read a field of `width` bits, the first of which stands for id 1."""
        start = self._at
        self._at = end = start + width
        if end > len(self._bits):
            raise self.broken.stop("truncated")
        # One zero more for id 0, which does not exist.
        return Ids(int(self._bits[start:end][::-1] + "0", 2))

    def vendors(self) -> Ids:
        """Read vendor ids, as a field of bits or as ranges."""
        most = self.number(16)
        return self.ranges(most) if self.flag() else self.ids(most)

    def ranges(self, most: int) -> Ids:
        """Read ranges of ids, none above `most`; they may come in any order and overlap. One backwards is empty."""
        mask = 0
        for _ in range(self.number(12)):
            pair = self.flag()
            start = self.number(16)
            end = self.number(16) if pair else start
            if not 0 < start <= end <= most:
                self.broken.note("range")
            if start <= end:
                mask |= (1 << end + 1) - (1 << start)
        return Ids(mask)

    def fibonacci(self) -> int:
        """Read an integer from 1 in Fibonacci coding: the two last ones end it."""
        stop = self._bits.find("11", self._at)
        # Ids are below 2^16, whose code is 24 digits long.
        if not 0 <= stop - self._at <= 24:
            raise self.broken.stop("truncated" if stop < 0 else "range")
        value, a, b = 0, 1, 2
        for digit in self._bits[self._at : stop + 1]:
            if digit == "1":
                value += a
            a, b = b, a + b
        self._at = stop + 2
        return value

    def fibonacci_ranges(self, most: int) -> Ids:
        """Read ranges of ids, each told by its distance from the last; none may pass `most`."""
        mask = last = 0
        for _ in range(self.number(12)):
            pair = self.flag()
            start = last + self.fibonacci()
            end = last = start + self.fibonacci() if pair else start
            if end > most:
                raise self.broken.stop("range")
            mask |= (1 << end + 1) - (1 << start)
        return Ids(mask)

    def end(self, padding: int) -> None:
        """Require that nothing stands after the last field but the zeros, fewer than `padding`, that fill up."""
        rest = self._bits[self._at :]
        if len(rest) >= padding:
            self.broken.note("too_much")
        if "1" in rest:
            self.broken.note("padding")
