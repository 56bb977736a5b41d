"""Phrases of closed vocabularies in a page's text, by spaCy's documents and PhraseMatcher.

Nothing else of a text is ever kept: what a page says is only ever compared with lists that we or the
advertisers wrote. The parser and the entity recogniser are not used: no free phrase leaves this module, so
there is nothing for them to mask.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spacy.matcher import PhraseMatcher
    from spacy.tokens import Doc

MAX_PHRASE_CHARS = 80
# Words, and each other sign for itself. spaCy's own rules take 9 ms for 500 words that they have not met
# before, and are quick only where the words of earlier pages are remembered, which ours must not be.
_TOKEN = re.compile(r"\w+|[^\w\s]")


class Tokenizer:
    """Tokens of any language's text, shared by all matchers of a process.

    What spaCy interns of a text is dropped when the text is done with: no page's words stay in memory.
    One text at a time: spaCy's memory zones are not for threads.
    """

    def __init__(self) -> None:
        self._spacy = _spacy()
        self._vocab = (
            self._spacy.vocab.Vocab()
        )  # without the attributes of a language: 30 µs for each new word
        self._lock = threading.Lock()

    @contextmanager
    def reading(self, text: str) -> Iterator[Doc]:
        """Give the text's tokens, valid inside the block only."""
        with self._lock, self._vocab.memory_zone():
            yield self._doc(text)

    def length(self, text: str) -> int:
        """Return how many tokens a text has."""
        return len(_TOKEN.findall(text))

    def matcher(self, phrases: Iterable[str]) -> Matcher:
        """Return a matcher of these phrases, lower and upper case alike."""
        inner = self._spacy.matcher.PhraseMatcher(self._vocab, attr="ORTH")
        with self._lock:
            for phrase in sorted(set(phrases)):
                doc = self._doc(phrase)
                if len(doc):
                    inner.add(phrase, [doc])
        return Matcher(inner)

    def _doc(self, text: str) -> Doc:
        words = _TOKEN.findall(text.lower().replace("\u2019", "'"))
        doc: Doc = self._spacy.tokens.Doc(self._vocab, words=words)
        return doc


def _spacy() -> Any:
    """Import spaCy. It loads torch where that is installed, 200 MiB and 2 s that words and lists do not need."""
    if "spacy" not in sys.modules and "torch" not in sys.modules:
        sys.modules["torch"] = None  # type: ignore[assignment]  # what the import system takes for "not there"
        try:
            import spacy
        finally:
            del sys.modules["torch"]
    import spacy
    import spacy.matcher
    import spacy.tokens
    import spacy.vocab

    return spacy


def listed(phrase: str) -> str:
    """Return a phrase as it is listed and found: single spaces, lower case."""
    return " ".join(phrase.split()).lower()


class Matcher:
    """Finds phrases of a fixed list. Built by a Tokenizer, for the texts that this one reads."""

    def __init__(self, inner: PhraseMatcher) -> None:
        self._inner = inner

    def find(self, doc: Doc) -> list[tuple[str, int, int]]:
        """Return (phrase as listed, first token, token after the last) ; they may overlap."""
        strings = doc.vocab.strings
        return [(strings[key], start, end) for key, start, end in self._inner(doc)]


class Vocabulary:
    """A closed set of phrases to look for: campaign keywords, brands. Rebuilt when the catalogue changes."""

    def __init__(self, tokenizer: Tokenizer, phrases: Iterable[str]) -> None:
        """Take phrases of at most MAX_PHRASE_CHARS characters; longer ones and blank ones are left out."""
        cleaned = map(listed, phrases)
        self.phrases = frozenset(p for p in cleaned if p and len(p) <= MAX_PHRASE_CHARS)
        self._matcher = tokenizer.matcher(self.phrases)

    def find(self, doc: Doc) -> tuple[str, ...]:
        """Return the phrases that occur, lower case, each once, in the order of their first occurrence."""
        return tuple(dict.fromkeys(phrase for phrase, _, _ in self._matcher.find(doc)))
