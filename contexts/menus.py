"""What stands before a page's own words: text that was scraped begins with menus and with questions for consent.

A first view reads but a text's beginning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

WINDOW = 20  # words looked at together
SIGNS = 3  # different words of menus among the first of them, from which on it is one
FLUENT = 0.3  # share of small words from which on words are somebody's sentence
LONGEST = 240  # words left out at most; what goes on longer is what the page is
ENOUGH = 12  # words that must follow
GLANCE = 400  # characters: without a sign there, nothing stands before the text's own words
LOOKED_AT = 2500  # characters

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
    "analytics personalise personalize personalised personalized preferences settings policy traffic".split()
)


def past_menus(text: str) -> str:
    """Return a text from behind the menus and questions for consent before its own words; else the text.

    A menu is told by words that menus have, and by having hardly any of the small words that hold sentences together.
    """
    first = {word.lower() for word in _WORD.findall(text, 0, GLANCE)}
    if len(_SIGNS & first) < SIGNS and not _ASKED & first:
        return text
    words = list(_WORD.finditer(text, 0, LOOKED_AT))
    told = [word.group().lower() for word in words]
    end = 0
    while end < LONGEST:
        further = _question(text, words[end:], told[end:])
        rest = told[end : end + WINDOW]
        if not further and (end or len(_SIGNS.intersection(rest)) >= SIGNS):
            further = _menu(rest)
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
    return count if asks and _fluent(told[:count]) and len(menu) < SIGNS else 0


def _fluent(words: Sequence[str]) -> bool:
    return sum(word in _SMALL for word in words) >= FLUENT * len(words)
