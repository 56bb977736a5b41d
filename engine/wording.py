"""Copy with tokens: `{{ weather | cool }}` becomes a word of a closed list, or its fall-back where nothing is known.

Nothing that a reader agreed to has a token, so copy cannot say it. `{{ price | … }}` is the price of the offer that
stands in the same message, or else of the creative's own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from engine.errors import CatalogError
from engine.offers import price_in

Token = Literal["weather", "part_of_day", "section", "price"]
TOKENS: tuple[Token, ...] = ("weather", "part_of_day", "section", "price")
FALL_BACK = 40  # characters of a fall-back, at most
_SECTION = 24  # characters of a section's name that copy has room for; a longer one is not named
_MARKS, _JOINER, _TONES = ("Mn", "Me", "Cf"), "\u200d", "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
_TOKEN = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
# Words by language, of the closed values; a language without words gets fall-backs.
_WORDS: Mapping[str, Mapping[Token, Mapping[str, str]]] = {
    "en": {
        "weather": {
            "clear": "clear", "cloudy": "cloudy", "fog": "foggy", "drizzle": "drizzly", "rain": "rainy",
            "snow": "snowy", "thunder": "stormy",
        },
        "part_of_day": {
            "night": "night", "morning": "morning", "midday": "midday", "afternoon": "afternoon",
            "evening": "evening",
        },
    },
    "de": {
        "weather": {
            "clear": "klar", "cloudy": "bewölkt", "fog": "neblig", "drizzle": "nieselig", "rain": "regnerisch",
            "snow": "verschneit", "thunder": "stürmisch",
        },
        "part_of_day": {
            "night": "Nacht", "morning": "Morgen", "midday": "Mittag", "afternoon": "Nachmittag",
            "evening": "Abend",
        },
    },
    "fr": {
        "weather": {
            "clear": "clair", "cloudy": "nuageux", "fog": "brumeux", "drizzle": "bruineux", "rain": "pluvieux",
            "snow": "neigeux", "thunder": "orageux",
        },
        "part_of_day": {
            "night": "nuit", "morning": "matin", "midday": "midi", "afternoon": "après-midi",
            "evening": "soir",
        },
    },
    "es": {
        "weather": {
            "clear": "despejado", "cloudy": "nublado", "fog": "brumoso", "drizzle": "lluvioso",
            "rain": "lluvioso", "snow": "nevado", "thunder": "tormentoso",
        },
        "part_of_day": {
            "night": "noche", "morning": "mañana", "midday": "mediodía", "afternoon": "tarde",
            "evening": "noche",
        },
    },
}  # fmt: skip


class Said(NamedTuple):
    """What tokens stand for in one context; None: not known, or not to be named."""

    weather: str | None = None  # a condition
    part_of_day: str | None = None
    section: str | None = None  # the id of a publisher's section
    price: str | None = None  # of the message's offer, as it is written in the creative's language


class Piece(NamedTuple):
    """Plain text, or a token with its fall-back in the place of the text."""

    text: str
    token: Token | None = None


Wording = tuple[Piece, ...]


def read(text: str, field: str, line: int = 0) -> Wording:
    """Take copy apart. Raises CatalogError at a token that nobody knows, or without a fall-back."""
    pieces: list[Piece] = []
    end = 0
    for found in _TOKEN.finditer(text):
        name, bar, fall_back = (part.strip() for part in found[1].partition("|"))
        if name not in TOKENS:
            expected = f"one of the tokens {', '.join('{{ ' + one + ' | … }}' for one in TOKENS)}"
            raise CatalogError(field, ascii(found[0][:60]), expected, line)
        if not bar or not fall_back:
            expected = (
                f"a fall-back for where it is not known: '{{{{ {name} | … }}}}' with words for the dots"
            )
            raise CatalogError(field, ascii(found[0][:60]), expected, line)
        if len(fall_back) > FALL_BACK:
            raise CatalogError(
                field, f"a fall-back of {len(fall_back)} characters", f"at most {FALL_BACK}", line
            )
        pieces += [Piece(text[end : found.start()]), Piece(fall_back, name)]
        end = found.end()
    pieces.append(Piece(text[end:]))
    if any(piece.token is None and ("{{" in piece.text or "}}" in piece.text) for piece in pieces):
        raise CatalogError(field, "a brace that is not closed", "tokens as '{{ weather | cool }}'", line)
    return tuple(piece for piece in pieces if piece.text)


def plain(text: str, field: str, line: int = 0) -> None:
    """Refuse tokens where copy is shown as it is. Raises CatalogError."""
    if "{{" in text or "}}" in text:
        raise CatalogError(
            field, "a token", "plain text: tokens stand in parts alone, this is the default", line
        )


def render(wording: Wording, said: Said, language: str | None) -> str:
    """Return what a reader reads. Words are those of the language, or English where none is given."""
    return "".join(
        piece.text if piece.token is None else _word(piece.token, said, language) or piece.text
        for piece in wording
    )


def renderings(wording: Wording, language: str | None, prices: Iterable[str] = ()) -> Iterator[str]:
    """Yield the fall-back text, and the longest one that each token can make of it with the others at their longest.

    `prices` are those of the offers, as they are written.
    """
    yield render(wording, Said(), language)
    words = _WORDS.get(language or "en", {})
    longest = {
        token: max(words.get(token, {}).values(), key=room, default="")
        for token in ("weather", "part_of_day")
    } | {"section": "x" * _SECTION, "price": max(prices, key=room, default="")}
    yield "".join(
        max((piece.text, longest[piece.token]), key=room) if piece.token else piece.text for piece in wording
    )


def room(text: str, wide: int = 2) -> int:
    """Return how many letters' room text takes: one as wide as it is high `wide`, marks on a letter none.

    What a joiner puts into one sign with what stands before it, as with emoji, takes none, either.
    """
    if text.isascii():
        return len(text)
    taken, before = 0, ""
    for char in text:
        if unicodedata.category(char) not in _MARKS and before != _JOINER and char not in _TONES:
            taken += wide if unicodedata.east_asian_width(char) in "WF" else 1
        before = char
    return taken


def has_words(name: Token, language: str | None) -> bool:
    """Say whether a token can ever be more than its fall-back in a language."""
    if name == "price":
        return price_in(language, "1", "EUR") is not None
    return name == "section" or (language or "en") in _WORDS


def words_of(kind: Token) -> Iterator[str]:
    """Yield the words that a token can become, in all languages."""
    for words in _WORDS.values():
        yield from words.get(kind, {}).values()


def spoken(wording: Wording, said: Said, language: str | None) -> frozenset[Token]:
    """Return the tokens that would become more than their fall-back."""
    return frozenset(p.token for p in wording if p.token and _word(p.token, said, language))


def _word(name: Token, said: Said, language: str | None) -> str | None:
    value: str | None = getattr(said, name)
    if value is None or name == "price":
        return value
    if name == "section":
        words = re.sub(r"[-_.]+", " ", value)
        return words if len(words) <= _SECTION else None
    return _WORDS.get(language or "en", {}).get(name, {}).get(value)
