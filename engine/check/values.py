"""Single values: words of closed lists, shapes, zones."""

from __future__ import annotations

import re
from collections.abc import Container
from zoneinfo import ZoneInfo

from contexts.context import CONDITIONS, PARTS_OF_DAY, SEASONS, TEMPERATURES, WEEKDAYS
from engine.campaign import Prefer
from engine.check.findings import Findings, Known
from engine.creative_safety import check_text
from privacy.visit import DEVICE_CLASSES, PLATFORMS

COUNTRY = re.compile(r"[A-Z]{2}")
REGION = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")
ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TIMES = (*PARTS_OF_DAY, *WEEKDAYS, *SEASONS, "weekend", "holiday")
_DEVICES = (*DEVICE_CLASSES, *PLATFORMS)
WEATHER = (*CONDITIONS, *TEMPERATURES)


def check_word(value: str, path: str, words: Container[str], found: Findings) -> None:
    """Refuse what is not in a closed list."""
    if value not in words:
        found.refuse(path, value, f"one of {', '.join(words)}")  # type: ignore[arg-type]  # all are iterable


def check_topic(value: str, path: str, known: Known, found: Findings) -> None:
    """Refuse what is no topic."""
    if value not in known.topics:
        found.refuse(path, value, "the id of a topic of IAB Content Taxonomy 3.1")


def check_product(value: str, path: str, known: Known, found: Findings) -> None:
    """Refuse what is no category of products."""
    if value not in known.products:
        found.refuse(path, value, "the id of a category of IAB Ad Product Taxonomy 2.0")


def check_shape(value: str, path: str, form: re.Pattern[str], expected: str, found: Findings) -> None:
    """Refuse what has not the form; `expected` says it in words."""
    if not form.fullmatch(value):
        found.refuse(path, value, expected)


def check_country(value: str, path: str, known: Known, found: Findings) -> None:
    """Refuse what is no country."""
    if not COUNTRY.fullmatch(value) or not known.is_place(value):
        found.refuse(path, value, "the two capitals of a country, such as 'GB' (ISO 3166-1)")


def check_region(value: str, path: str, known: Known, found: Findings) -> None:
    """Refuse what is no region of a country."""
    if not REGION.fullmatch(value) or not known.is_place(value):
        found.refuse(path, value, "a country and its region, such as 'DE-BE' (ISO 3166-2)")


def check_zone(name: str, path: str, found: Findings) -> None:
    """Refuse what is no time zone."""
    try:
        if name != "UTC" and "/" not in name:
            raise ValueError(name)  # "localtime" and the like would mean the server's own zone
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, an unsafe path, a folder of zones
        found.refuse(path, name, "an IANA time zone such as 'Europe/Berlin'")


def tidy_words(words: tuple[str, ...], path: str, found: Findings) -> tuple[str, ...]:
    """Return words in lower case, single-spaced, each once."""
    for number, word in enumerate(words):
        with found.collecting():
            check_text(word, f"{path}[{number}]", found.line)
        if not word.strip():
            found.refuse(f"{path}[{number}]", word, "a word or phrase")
    return tuple(dict.fromkeys(" ".join(word.lower().split()) for word in words))


def check_prefer(prefer: Prefer, found: Findings, path: str = "prefer") -> None:
    """Refuse wishes for what there is not."""
    for name, words in (("devices", _DEVICES), ("times", _TIMES), ("weather", WEATHER)):
        for number, value in enumerate(getattr(prefer, name)):
            check_word(value, f"{path}.{name}[{number}]", words, found)
