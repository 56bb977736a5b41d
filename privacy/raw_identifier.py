"""Tells whether a word that should name a group holds an e-mail address or a telephone number instead.

It is for closed vocabularies, where neither belongs: it looks through other alphabets' digits, full-width
letters, invisible characters, percent and HTML escapes, spacing, and "at" and "dot" in words. It is no search
through running text.
"""

from __future__ import annotations

import html
import re
from datetime import date
from typing import Literal
from unicodedata import category, decimal, normalize
from urllib.parse import unquote

RawIdentifier = Literal["an e-mail address", "a telephone number"]

_ESCAPES = 3  # rounds of undoing escapes within escapes
_BLANKS = re.compile(r"\s+")
_AT = re.compile(r"[\s_.+-]*(?:[\[({<]\s*(?:at|arroba|@)\s*[\])}>])[\s_.+-]*")
_DOT = re.compile(r"[\s_+-]*(?:[\[({<]\s*(?:dot|punkt|point|punto|\.)\s*[\])}>])[\s_+-]*")
_EMAIL = re.compile(r"[^@]@[^@]")
# Spelled out: "jane at example dot com", "jane_at_example.com", with any one mark or blank between.
_SPELLED = re.compile(r"[a-z0-9][\W_]+at[\W_]+[a-z0-9-]+(?:[\W_]+dot[\W_]+|\.)[a-z]{2,}")
_MARKS = r"[\s().\-/_,:|*·]"  # what people write between the digits of a number
_NUMBER = re.compile(rf"\d(?:{_MARKS}{{0,3}}\d){{6,}}")
_CALLED = re.compile(rf"(?:\+|tel:|phone:|(?<!\d)00){_MARKS}{{0,3}}\Z")
_LOCAL = re.compile(r"\d{3}[\s.-]\d{4}")
_DATES = re.compile(r"(\d{4})([-/._]?)(\d{2})\2(\d{2})(?!\d)|(\d{2})([-/._]?)(\d{2})\6(\d{4})(?!\d)")


def raw_identifier(text: str) -> RawIdentifier | None:
    """Say what the text holds, or None: numbers of 8 digits and more that are no date, and all with an @."""
    plain = _plain(text)
    if _holds_email(plain):
        return "an e-mail address"
    for found in _NUMBER.finditer(plain):
        digits = sum(c.isdigit() for c in found[0])
        called = plain[found.start()] == "0" and found[0].startswith("00")
        if called or _CALLED.search(plain[: found.start()]) or _LOCAL.fullmatch(found[0]):
            return "a telephone number"
        if digits >= 8 and not _is_date(found[0]):
            return "a telephone number"
    return None


def _plain(text: str) -> str:
    for _ in range(_ESCAPES):
        undone = html.unescape(unquote(text))
        if undone == text:
            break
        text = undone
    # Full-width and circled forms become ASCII, digits of all scripts too; what cannot be seen goes.
    text = normalize("NFKC", text).casefold()
    return "".join(
        str(decimal(c)) if c.isdecimal() else "-" if category(c) == "Pd" else c
        for c in text
        if category(c) not in ("Cf", "Mn", "Cc") or c.isspace()
    )


def _holds_email(plain: str) -> bool:
    undone = _DOT.sub(".", _AT.sub("@", plain))
    return bool(_EMAIL.search(_BLANKS.sub("", undone)) or _SPELLED.search(undone))


def _is_date(text: str) -> bool:
    found = _DATES.match(text)
    if found is None:
        return False
    year, month, day = (found[1], found[3], found[4]) if found[1] else (found[8], found[7], found[5])
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return False
    rest = sum(c.isdigit() for c in text[found.end() :])
    return 1900 <= int(year) < 2100 and rest <= 6  # a counter or a time of day may follow a date
