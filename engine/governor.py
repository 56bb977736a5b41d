"""The creepiness governor: how near copy may come to a reader's situation.

Copy that names two of place, weather, hour and device says "you, there, now". It runs where at least K page views
of the last released day shared what it names; elsewhere generic copy runs. It never says what a reader agreed to,
and on a page of an Article 9 topic it does not name the topic. How much a message tells apart is counted in bits,
and a publisher says how many it allows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import unescape
from itertools import product
from math import log2
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from contexts.context import PARTS_OF_DAY, Context
from contexts.lexicon import our_lexicon
from contexts.taxonomy import content_taxonomy
from engine.cache import Bounded
from engine.creative import Creative
from engine.wording import words_of
from privacy.release import Release
from privacy.special_categories import SPECIAL_CATEGORIES
from privacy.visit import CONDITIONS, DEVICE_CLASSES

Named = Literal["place", "weather", "hour", "device"]
NAMED: tuple[Named, ...] = ("place", "weather", "hour", "device")
K = 200  # page views of a day that shared what copy names, so that nobody feels meant
MOST_BITS = 8.0  # of a message, where a publisher says nothing else
PLACE, WEATHER, HOUR, DEVICE = (1 << at for at in range(len(NAMED)))

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SIGNS = re.compile(r"[-_.]+")  # that join the words of a group's name
_TAG = re.compile(r"<[^<>]*>")
_WEATHER_WORDS = (
    "rain rains rainy raining rainfall wet drizzle drizzly snow snowy snowing snowfall fog foggy mist misty sun sunny "
    "sunshine cloudy clouds overcast storm stormy thunder thunderstorm windy wind frost frosty freezing icy chilly "
    "heatwave regen regnet regnerisch nass schnee verschneit nebel neblig sonne sonnig bewölkt wolkig sturm stürmisch "
    "gewitter windig frost frostig eisig hitze hitzewelle pluie pluvieux neige neigeux brouillard soleil ensoleillé "
    "orage lluvia lluvioso nieve niebla sol soleado tormenta"
)
_HOUR_WORDS = (
    "morning mornings midday noon afternoon afternoons evening evenings night nights tonight midnight breakfast-time "
    "lunchtime bedtime dawn dusk o'clock morgens mittag mittags nachmittag nachmittags abend abends nacht nachts "
    "mitternacht feierabend matin midi après-midi soir nuit minuit mañana mediodía tarde noche medianoche"
)
_DEVICE_WORDS = (
    "phone phones smartphone mobile iphone android tablet tablets ipad desktop laptop handy telefon handys tablet-pc "
    "fernseher téléphone portable ordinateur teléfono móvil ordenador"
)
_PLACE_WORDS = (
    "austria belgium brazil canada china denmark england finland france germany greece india ireland italy japan "
    "luxembourg mexico netherlands norway poland portugal scotland spain sweden switzerland turkey wales deutschland "
    "österreich schweiz frankreich italien spanien niederlande belgien dänemark polen bayern sachsen hessen thüringen "
    "brandenburg niedersachsen saarland berlin hamburg bremen münchen munich vienna wien paris london madrid rome "
    "london's dublin amsterdam brussels bruxelles lisbon lisboa warsaw prague zürich zurich geneva barcelona milan "
    "manchester birmingham cologne köln frankfurt stuttgart dresden leipzig españa francia allemagne alemania "
    "argentina australia britain bulgaria chile colombia croatia cyprus czechia egypt estonia hungary iceland "
    "indonesia israel kenya latvia lithuania malaysia malta morocco nigeria pakistan peru philippines romania "
    "russia serbia singapore slovakia slovenia taiwan thailand tunisia ukraine uruguay usa venezuela vietnam "
    "bavaria saxony california catalonia florida texas tuscany provence antwerp athens basel beijing belfast bern "
    "boston brisbane bristol bucharest budapest cairo cardiff chicago copenhagen dallas delhi denver detroit dubai "
    "edinburgh ghent glasgow graz hannover helsinki houston istanbul jakarta johannesburg krakow lagos leeds linz "
    "liverpool lyon marseille melbourne miami montreal moscow mumbai naples nuremberg nürnberg oslo perth "
    "philadelphia porto riga rotterdam salzburg seattle seoul seville shanghai sheffield stockholm sydney tallinn "
    "tokyo toronto turin valencia vancouver venice vilnius zagreb "
    "londoners berliners parisians viennese"
)
# What takes more than a word to name: places of several, clock times, and weather by how it feels.
_SAID: Mapping[int, str] = {
    PLACE: (
        r"near you|nearby|around the corner|in your (?:area|town|city|region|neighbou?rhood)|your local"
        r"|in deiner nähe|in ihrer nähe|près de chez vous|cerca de ti|new york(?:ers?)?|new orleans|new zealand"
        r"|los angeles|las vegas|san (?:francisco|diego)|washington,? d\.?c\b|united (?:states|kingdom|arab emirates)"
        r"|great britain|northern ireland|czech republic|(?:north|south) korea|south africa|cape town|hong kong"
        r"|tel aviv|buenos aires|rio de janeiro|s[ãa]o paulo|mexico city|saudi arabia|puerto rico|costa rica|sri lanka"
        r"|kuala lumpur"
    ),
    WEATHER: (
        r"(?:hot|cold|warm|cool|mild|wet|dry|dull|gr[ae]y|muggy) (?:and [a-z]+ )?(?:spring |summer |autumn |winter )?"
        r"(?:days?|mornings?|middays?|noons?|afternoons?|evenings?|nights?|weather|outside|spell)"
        r"|(?:this|such|bad|good|nasty|foul|fine|lovely) weather|cold snap|heat ?waves?|pouring down|minus \d+ degrees"
        r"|weather (?:this|so)|-?\d+ ?°(?: ?[cf])?|sleet|(?:hail|sleet|snow)(?:s|ed|ing|storms?)"
        r"|(?:rain|thunder)storms?|downpours?|blizzards?|drizzl(?:es|ing)"
        r"|(?:regnerisch|sonnig|neblig|windig|frostig|eisig|bewölkt|wolkig|verschneit|stürmisch|gewittrig)(?:e[rsnm]?)"
        r"|(?:heiß|kalt|warm|kühl)e[rsnm]? (?:tag|morgen|mittag|abend|nacht)e?|bei (?:diesem|dem) wetter"
        r"|pluvieuses?|neigeuses?|ensoleillées?|orageu(?:x|ses?)|lluviosas?|soleadas?"
    ),
    HOUR: (
        r"\d{1,2}(?::[0-5]\d)? ?(?:[ap]\.?m\b|uhr)|(?:[01]?\d|2[0-3]):[0-5]\d|\d{1,2} o['’]clock"
        r"|sunrise|sunset|nightfall|(?:after|before) dark"
    ),
    DEVICE: r"smart ?tvs?|tvs? screen|macbooks?|computers?|smartphones|laptops|desktops|iphones|ipads|handhelds?",
}
_PATTERNS = {bit: re.compile(rf"(?<!\w)(?:{said})(?!\w)", re.IGNORECASE) for bit, said in _SAID.items()}


def names(text: str) -> int:
    """Return a mask over NAMED of what plain copy names, in any of the languages that we have words for."""
    found = {word.casefold() for word in _WORD.findall(text)}
    found |= {part for word in found for part in word.split("-")}
    mask = sum(bit if not words.isdisjoint(found) else 0 for bit, words in _named_words().items())
    return mask | sum(bit for bit, said in _PATTERNS.items() if not mask & bit and said.search(text))


def topics_named(text: str) -> frozenset[str]:
    """Return the Article 9 categories whose topic copy names."""
    words = [word.casefold() for word in _WORD.findall(text)]
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
    """Return what a reader can read of a creative's own copy, that of its HTML, too."""
    shown = unescape(_TAG.sub(" ", creative.html or ""))
    return ". ".join(text for text in (creative.headline, creative.body, creative.cta, shown) if text.strip())


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


@cache
def _named_words() -> Mapping[int, frozenset[str]]:
    return {
        PLACE: frozenset(_PLACE_WORDS.split()),
        WEATHER: frozenset((*_WEATHER_WORDS.split(), *(word.casefold() for word in words_of("weather")))),
        HOUR: frozenset((*_HOUR_WORDS.split(), *(word.casefold() for word in words_of("part_of_day")))),
        DEVICE: frozenset(_DEVICE_WORDS.split()),
    }


@cache
def _special_phrases() -> Mapping[str, frozenset[str]]:
    """Return the phrases that speak of Article 9 categories, in lower case, each with its categories."""
    cues = our_lexicon(content_taxonomy()).flag_cues
    found: dict[str, set[str]] = {}
    for phrase, flags in cues.items():
        # Weak cues, too: beside such a page, "therapy" or "church" names its topic.
        for flag in flags.keys() & SPECIAL_CATEGORIES.keys():
            found.setdefault(" ".join(_WORD.findall(phrase)).casefold(), set()).add(flag)
    for category in SPECIAL_CATEGORIES:
        found.setdefault(category.replace("_", " "), set()).add(category)
    return {phrase: frozenset(flags) for phrase, flags in found.items() if phrase}
