"""The creepiness governor: how near copy may come to a reader's situation.

Copy that names two of place, weather, hour and device says "you, there, now". It runs where at least K page views
of the last released day shared what it names; elsewhere generic copy runs. It never says what a reader agreed to,
and on a page of an Article 9 topic it does not name the topic. How much a message tells apart is counted in bits,
and a publisher says how many it allows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import unescape
from itertools import product
from math import log2

import numpy as np
from numpy.typing import NDArray

from contexts.context import PARTS_OF_DAY, Context
from contexts.lexicon import our_lexicon
from contexts.taxonomy import content_taxonomy
from engine.cache import Bounded
from engine.creative import Creative
from engine.situation_words import PHRASES, STEMS, WITHIN, WORDS, Named
from engine.wording import Token, words_of
from privacy.release import Release
from privacy.special_categories import SPECIAL_CATEGORIES
from privacy.visit import CONDITIONS, DEVICE_CLASSES

NAMED: tuple[Named, ...] = ("place", "weather", "hour", "device")
K = 200  # page views of a day that shared what copy names, so that nobody feels meant
MOST_BITS = 8.0  # of a message, where a publisher says nothing else
PLACE, WEATHER, HOUR, DEVICE = (1 << at for at in range(len(NAMED)))

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_JOINED = re.compile(r"['’-]")  # that joins the parts of a word
_HASHTAG = re.compile(r"#\w+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")  # between words that are written as one: #RainyEvening
_SHOWN_OF_TAG = re.compile(r'\b(?:alt|title)="([^"]*)"')
_LEAST_STEM = 3  # letters
_SIGNS = re.compile(r"[-_.]+")  # that join the words of a group's name
_TAG = re.compile(r"<[^<>]*>")


def names(text: str) -> int:
    """Return a mask over NAMED of what plain copy names, in any of the languages that we have words for."""
    plain = _plain(text)
    found = set(_WORD.findall(plain))
    found |= {part for word in found for part in _JOINED.split(word)}
    for tag in _HASHTAG.findall(text):
        found.update(_WORD.findall(_plain(_HUMP.sub(" ", tag))))
    begun = {word[:n] for word in found for n in range(_LEAST_STEM, len(word) + 1)}
    return sum(
        1 << at
        for at, name in enumerate(NAMED)
        if not _named_words()[name].isdisjoint(found)
        or not _stems()[name].isdisjoint(begun)
        or _phrases()[name].search(plain)
    )


def topics_named(text: str) -> frozenset[str]:
    """Return the Article 9 categories whose topic copy names."""
    words = _WORD.findall(_plain(_JOINED.sub(" ", text)))
    phrases = _special_phrases()
    return frozenset(
        category
        for start, length in product(range(len(words)), range(1, 5))
        if start + length <= len(words)
        for category in phrases.get(" ".join(words[start : start + length]), ())
    )


def mentions(text: str, signals: Iterable[str]) -> bool:
    """Say whether copy holds the words of a consented signal, such as "cohort:viewed-pricing"."""
    return bool(groups_named(text, frozenset(map(group_words, signals))))


def groups_named(text: str, groups: Collection[str]) -> frozenset[str]:
    """Return those of groups, each as `group_words` writes it, whose words copy holds."""
    words = [word.casefold() for word in _WORD.findall(_SIGNS.sub(" ", text))]
    most = max((group.count(" ") + 1 for group in groups), default=0)
    return frozenset(
        said
        for start, length in product(range(len(words)), range(1, most + 1))
        if start + length <= len(words) and (said := " ".join(words[start : start + length])) in groups
    )


def group_words(signal: str) -> str:
    """Return a consented signal's value in words: "viewed pricing" of "cohort:viewed-pricing"."""
    return " ".join(_SIGNS.sub(" ", signal.rpartition(":")[2]).casefold().split())


def copy_of(creative: Creative) -> str:
    """Return what a reader can read, or hear, of a creative's own copy, that of its HTML and pictures, too."""
    html = creative.html or ""
    shown = unescape(". ".join((_TAG.sub(" ", html), *_SHOWN_OF_TAG.findall(html))))
    picture = creative.image.alt if creative.image is not None else ""
    texts = (creative.headline, creative.body, creative.cta, shown, picture)
    return ". ".join(text for text in texts if text.strip())


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """What copy may name in one context. `bits` are of each mask over NAMED; None: too few page views share it."""

    bits: tuple[float | None, ...]  # (16,)
    budget: float
    allowed: NDArray[np.bool_]  # (16,) which masks may run

    @classmethod
    def of(cls, bits: Sequence[float | None], budget: float) -> Limits:
        """Hold bits against a budget."""
        allowed = np.array([told is not None and told <= budget for told in bits], bool)
        return cls(tuple(bits), budget, allowed)

    def allows(self, named: int) -> bool:
        """Say whether copy that names this may run."""
        return bool(self.allowed[named])


class Buckets:
    """How many page views of the last released day shared what copy names. Made of released tables alone."""

    def __init__(self, release: Release | None = None, k: int = K) -> None:
        """Take the newest release of the table "moments"; without one, all copy is generic."""
        self.day = None if release is None else release.first
        self._k = k
        self._sums: dict[tuple[str, str | None, str | None, str | None], int] = {}
        self._limits: Bounded[tuple[object, ...], Limits] = Bounded(4096)
        for (publisher, device, part, weather), count in release.cells() if release else ():
            for some in product((device, None), (part, None), (weather, None)):
                key = (publisher, *some)
                self._sums[key] = self._sums.get(key, 0) + count

    def limits(self, context: Context, budget: float = MOST_BITS) -> Limits:
        """Return what copy may name in a context.

        One thing alone may be named wherever its bits are within the budget; where no table tells how rare it is, each
        of its values counts as likely as the next.
        """
        weather = context.weather.condition if context.weather else None
        key = (context.publisher, context.device.cls, context.clock.part, weather, budget)
        found = self._limits.get(key)
        if found is None:
            found = self._worked_out(context, weather, budget)
            self._limits.put(key, found)
        return found

    def _worked_out(self, context: Context, weather: str | None, budget: float) -> Limits:
        whole = self._sums.get((context.publisher, None, None, None), 0)
        bits: list[float | None] = [0.0]
        for named in range(1, 2 ** len(NAMED)):
            shared = self._sums.get(
                (
                    context.publisher,
                    context.device.cls if named & DEVICE else None,
                    context.clock.part if named & HOUR else None,
                    (weather or "") if named & WEATHER else None,
                ),
                0,
            )
            if shared >= self._k and whole > 0:
                bits.append(max(0.0, log2(whole / shared)) + (_PLACE_BITS if named & PLACE else 0.0))
            elif named.bit_count() == 1:
                bits.append(_UNTOLD[named])
            else:
                bits.append(None)
        return Limits.of(bits, budget)


_PLACE_BITS = (
    1.0  # a place that a publisher states holds all of its readers; to name it singles out those it fits
)
_UNTOLD: Mapping[int, float] = {
    PLACE: _PLACE_BITS,
    WEATHER: log2(len(CONDITIONS)),
    HOUR: log2(len(PARTS_OF_DAY)),
    DEVICE: log2(len(DEVICE_CLASSES)),
}


def in_words(named: int) -> tuple[Named, ...]:
    """Return the names in a mask."""
    return tuple(name for at, name in enumerate(NAMED) if named >> at & 1)


def _plain(text: str) -> str:
    """Return text in lower case without accents, and with letters of any width or weight as usual ones."""
    if text.isascii():
        return text.casefold()
    apart = unicodedata.normalize("NFKD", text)
    bare = "".join(char for char in apart if unicodedata.category(char) != "Mn")
    return unicodedata.normalize("NFC", bare).casefold()


@cache
def _named_words() -> Mapping[Named, frozenset[str]]:
    tokens: Mapping[Named, Token] = {"weather": "weather", "hour": "part_of_day"}
    return {
        name: frozenset(map(_plain, (*said.split(), *(words_of(tokens[name]) if name in tokens else ()))))
        for name, said in WORDS.items()
    }


@cache
def _stems() -> Mapping[Named, frozenset[str]]:
    return {name: frozenset(map(_plain, said.split())) for name, said in STEMS.items()}


@cache
def _phrases() -> Mapping[Named, re.Pattern[str]]:
    return {
        name: re.compile(rf"(?<!\w)(?:{_unaccented(said)})(?!\w)|{_unaccented(WITHIN[name])}")
        for name, said in PHRASES.items()
    }


def _unaccented(pattern: str) -> str:
    """Return a pattern for `_plain` text; its letters keep their cases, which tell classes from their opposites."""
    apart = unicodedata.normalize("NFKD", pattern)
    return unicodedata.normalize("NFC", "".join(c for c in apart if unicodedata.category(c) != "Mn"))


@cache
def _special_phrases() -> Mapping[str, frozenset[str]]:
    """Return the phrases that speak of Article 9 categories, in lower case, each with its categories."""
    cues = our_lexicon(content_taxonomy()).flag_cues
    found: dict[str, set[str]] = {}
    for phrase, flags in cues.items():
        # Weak cues, too: beside such a page, "therapy" or "church" names its topic.
        for flag in flags.keys() & SPECIAL_CATEGORIES.keys():
            found.setdefault(" ".join(_WORD.findall(_plain(_JOINED.sub(" ", phrase)))), set()).add(flag)
    for category in SPECIAL_CATEGORIES:
        found.setdefault(category.replace("_", " "), set()).add(category)
    return {phrase: frozenset(flags) for phrase, flags in found.items() if phrase}
