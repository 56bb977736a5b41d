"""What we teach the page reader: example sentences and cue phrases of topics, flags and intents.

The file `data/lexicon.txt` is ours. Its lines, under headers:
    @ 492 +drugs ^decision   what follows is about these topics (ids), flags and intents
    a plain line             an example sentence
    : a line                 what a page of these topics says: senses of words are told by it, nothing else
    = took her own life       sure cues: they have one meaning, and one is enough in a short text
    ~ cycle*; bike lane       strong cues; "word*" stands for word, words, worded, wording, worder(s)
    ? pedal*                 weak cues: they count only in company
    ! shooting star          harmless phrases: no cue inside one counts
    - options                taxonomy names too common to be cues
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources

from contexts.context import INTENTS, SENSITIVE
from contexts.errors import DataError
from contexts.taxonomy import Taxonomy
from privacy.special_categories import SPECIAL_CATEGORIES

SURE = 4.0
STRONG = 1.0
WEAK = 0.4

_WEIGHTS = {"=": SURE, "~": STRONG, "?": WEAK}
FLAGS = frozenset({*SENSITIVE, *SPECIAL_CATEGORIES})
_NAME_PARTS = re.compile(r"\s*(?:&|/|,|\band\b|\(|\))\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence and what it is about; no marks at all: about nothing in particular."""

    text: str
    topics: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    intents: frozenset[str] = frozenset()


@dataclass(slots=True)
class Lexicon:
    """Examples, and cues: phrase in lower case → what it speaks for, with its weight."""

    examples: list[Example] = field(default_factory=list)
    topic_cues: dict[str, dict[str, float]] = field(default_factory=dict)
    flag_cues: dict[str, dict[str, float]] = field(default_factory=dict)
    intent_cues: dict[str, dict[str, float]] = field(default_factory=dict)
    harmless: set[str] = field(default_factory=set)
    common: set[str] = field(default_factory=set)
    said: dict[str, list[str]] = field(default_factory=dict)  # by topic

    def phrases(self) -> set[str]:
        """Return everything that a matcher must look for."""
        return {*self.topic_cues, *self.flag_cues, *self.intent_cues, *self.harmless}


def our_lexicon(taxonomy: Taxonomy) -> Lexicon:
    """Return our lexicon with the taxonomy's own names as cues besides."""
    source = resources.files("contexts").joinpath("data", "lexicon.txt").read_text(encoding="utf-8")
    return read_lexicon(source.splitlines(), taxonomy)


def read_lexicon(lines: Iterable[str], taxonomy: Taxonomy) -> Lexicon:
    """Read the format above. Raises DataError with the line's number for a mark that nobody knows."""
    lexicon = Lexicon()
    topics: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    intents: frozenset[str] = frozenset()
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        kind, _, rest = line.partition(" ")
        if kind == "@":
            marks = rest.split()
            flags = frozenset(m[1:] for m in marks if m[0] == "+")
            intents = frozenset(m[1:] for m in marks if m[0] == "^")
            topics = frozenset(m for m in marks if m[0] not in "+^")
            unknown = (flags - FLAGS) | (intents - set(INTENTS)) | {t for t in topics if t not in taxonomy}
            if unknown:
                raise DataError(
                    f"lexicon, line {number}: expected topic ids, flags or intents, got {unknown}"
                )
        elif kind in _WEIGHTS:
            weight = _WEIGHTS[kind]
            for phrase in _spellings(rest):
                for cues, targets in (
                    (lexicon.topic_cues, topics),
                    (lexicon.flag_cues, flags),
                    (lexicon.intent_cues, intents),
                ):
                    for target in targets:
                        known = cues.setdefault(phrase, {})
                        known[target] = max(known.get(target, 0.0), weight)
        elif kind == "!":
            lexicon.harmless.update(_spellings(rest))
        elif kind == ":":
            for topic in topics:
                lexicon.said.setdefault(topic, []).append(rest)
        elif kind == "-":
            lexicon.common.update(_spellings(rest))
        else:
            lexicon.examples.append(Example(line, topics, flags, intents))
    _add_names(lexicon, taxonomy)
    return lexicon


def _spellings(rest: str) -> list[str]:
    found: list[str] = []
    for phrase in rest.split(";"):
        phrase = " ".join(phrase.lower().split())
        if phrase.endswith("*"):
            found.extend(_inflected(phrase[:-1]))
        elif phrase:
            found.append(phrase)
    return found


def _inflected(word: str) -> list[str]:
    """Return the forms that English endings may give; some are no words, which harms nothing."""
    stem = word[:-1] if word.endswith("e") else word
    plural = word[:-1] + "ies" if word.endswith("y") else word + "s"
    forms = [word, plural, stem + "ed", stem + "ing", stem + "er", stem + "ers", stem + "ings"]
    if word.endswith(("s", "x", "ch", "sh")):
        forms.append(word + "es")
    if word.endswith("y"):
        forms.append(word[:-1] + "ied")
    return forms


def _add_names(lexicon: Lexicon, taxonomy: Taxonomy) -> None:
    """Let a topic's name speak for it, and the parts of a double name weakly."""
    for node in taxonomy:
        name = node.name.lower()
        parts = [part for part in _NAME_PARTS.split(name) if len(part) > 3]
        names = {name: STRONG if " " in name else WEAK, **{part: WEAK for part in parts if part != name}}
        for phrase, weight in names.items():
            if phrase not in lexicon.common and phrase not in lexicon.harmless:
                lexicon.topic_cues.setdefault(phrase, {}).setdefault(node.id, weight)
