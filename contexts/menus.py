"""What stands before a page's own words: text that was scraped begins with menus, teasers and questions for consent.

A first view reads but a text's beginning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

WINDOW = 20  # words looked at together
SIGNS = 3  # different words of menus among the first of them, from which on it is one
FLUENT = 0.3  # share of small words from which on words are somebody's sentence
ASKS_FLUENTLY = 0.2  # a question for consent tells off what it asks for
PROSE = 30  # words in which sentences show, among which some names may stand
LISTED = 40  # words before them, fewer of which may be a headline with who wrote it, when and where
NAMED = 0.65  # share of words in capitals or digits from which on they are no sentences: sections, teasers, places
LONGEST = 400  # words left out at most; what goes on longer is what the page is
ENOUGH = 12  # words that must follow
GLANCE = 400  # characters: without a sign there, or many names, nothing stands before the text's own words
LOOKED_AT = 4000  # characters

_WORD = re.compile(r"[^\W_]+(?:['\N{RIGHT SINGLE QUOTATION MARK}][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?]\s")
_SMALL = frozenset(
    "a an the of to in and for is are was were it its that this these with on as by be been from at you we i he she "
    "they his her their but not have has had can will would when if or which who than so do does did there what how "
    "after before into over while because about up out no one all more most some any only also just".split()
)
_SIGNS = frozenset(
    "home homepage menu navigation search login log logout signin sign signup register subscribe subscription "
    "newsletter newsletters account profile basket cart checkout wishlist contact faq faqs help support privacy "
    "policy terms imprint sitemap cookie cookies accept consent preferences settings skip toggle close share tweet "
    "facebook twitter instagram youtube linkedin pinterest whatsapp tiktok reddit rss print email follow careers "
    "advertise advertisement sponsored blog forum forums shop store categories archive archives posted comments "
    "reply".split()
)
# Who asks for consent says of each of these one. Who bakes cookies says of the first two.
_ASKED = frozenset("cookie cookies consent privacy gdpr".split())
_ASKERS = frozenset("we our us uses".split())
_ASKED_FOR = frozenset(
    "partners accept agree consent site website websites device devices browser browsing experience ads advertising "
    "advertisements analytics personalise personalize personalised personalized personalization preferences settings "
    "policy traffic".split()
)


def past_menus(text: str) -> str:
    """Return a text from behind the menus and questions for consent before its own words; else the text.

    A menu is told by words that menus have, and by having hardly any of the small words that hold sentences together;
    or by being long, mostly names, and followed by sentences.
    """
    beginning = _WORD.findall(text, 0, GLANCE)
    first = {word.lower() for word in beginning}
    if len(_SIGNS & first) < SIGNS and not _ASKED & first and not _named(beginning[:WINDOW]):
        return text
    words = list(_WORD.finditer(text, 0, LOOKED_AT))
    spelt = [word.group() for word in words]
    told = [word.lower() for word in spelt]
    end = 0
    while end < LONGEST:
        further = _question(text, words[end:], told[end:])
        rest = told[end : end + WINDOW]
        if not further and (end or len(_SIGNS.intersection(rest)) >= SIGNS):
            further = _menu(rest)
        further = further or _list(spelt[end:])
        if not further:
            break
        end += further
    return text[words[end].start() :] if 0 < end <= len(words) - ENOUGH else text


def _menu(words: Sequence[str]) -> int:
    """Return how many of these words, up to the last that menus have, are no sentence."""
    return next(
        (
            count
            for count in range(len(words), 0, -1)
            if words[count - 1] in _SIGNS and not _fluent(words[:count])
        ),
        0,
    )


def _list(words: Sequence[str]) -> int:
    """Return how many words stand before the first sentences, if these are many and mostly names."""
    small = [0, *accumulate(word in _SMALL for word in words)]  # "The Best Of" are names, too
    last = len(words) - PROSE
    start = next((at for at in range(last + 1) if small[at + PROSE] - small[at] >= FLUENT * PROSE), 0)
    return start if start >= LISTED and _named(words[:WINDOW]) and _named(words[:start]) else 0


def _named(words: Sequence[str]) -> bool:
    return sum(word[0].isupper() or word[0].isdigit() for word in words) >= NAMED * len(words)


def _question(text: str, words: Sequence[re.Match[str]], told: Sequence[str]) -> int:
    """Return how many words the first sentence has, if it asks for consent."""
    if not words:
        return 0
    end = _SENTENCE_END.search(text, words[0].start(), LOOKED_AT)
    count = next((at for at, word in enumerate(words) if end is None or word.start() > end.start()), 0)
    said = set(told[:count])
    asked = said & _ASKED
    asks = asked and said & _ASKERS and said & (_ASKED_FOR - asked)
    menu = _SIGNS.intersection(told[:WINDOW]) - _ASKED - _ASKED_FOR
    return count if asks and _fluent(told[:count], ASKS_FLUENTLY) and len(menu) < SIGNS else 0


def _fluent(words: Sequence[str], share: float = FLUENT) -> bool:
    return sum(word in _SMALL for word in words) >= share * len(words)
