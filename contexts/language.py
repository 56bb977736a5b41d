"""The language of a page: what the caller says, unless the text plainly speaks another."""

from __future__ import annotations

import re
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

# The languages of most pages on the web. A closed list makes short headlines surer: fewer rivals.
LANGUAGES = (
    *("ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "he", "hi", "hr"),
    *("hu", "id", "it", "ja", "ko", "lt", "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv"),
    *("th", "tr", "uk", "ur", "vi", "zh"),
)
_OTHER_LETTERS = frozenset(
    ("ar", "bg", "bn", "el", "fa", "he", "hi", "ja", "ko", "ru", "sr", "th", "uk", "ur", "zh")
)
_LATIN_LETTERS = frozenset(LANGUAGES) - _OTHER_LETTERS  # they are written in nothing else
_READ_CHARS = 400  # more does not change the answer and costs time
_SURE = 0.2  # of 45 headlines in nine languages, all but one were right from here on
_OVERRULE = 0.9  # text this plainly of another language corrects a wrong statement
_OVERRULE_CHARS = 120
# lang="en" stands in templates by default, and of 3,900 English texts of 20 characters and more none read as
# anything else by half as much.
_DEFAULT, _OVERRULE_DEFAULT_CHARS = "en", 40
_LETTERS = re.compile(r"[^\W\d_]")
_LATIN = re.compile(r"[A-Za-z\u00aa-\u024f\u1e00-\u1eff]")
_SUBTAG = re.compile(r"[A-Za-z]{2,3}(?=$|[-_])")


class LanguageDetector:
    """Tells ISO 639-1 codes of LANGUAGES apart. Immutable; calls may run at once."""

    def __init__(self) -> None:
        self._identifier = _identifier()

    def detect(self, text: str) -> tuple[str | None, float]:
        """Return the language and how sure it is, 0 to 1; (None, 0.0) for fewer than 6 letters."""
        text = text[:_READ_CHARS]
        if len(_LETTERS.findall(text)) < 6:
            return None, 0.0
        language, confidence = self._identifier.classify(text)
        return language, confidence

    def decide(self, stated: str | None, text: str) -> tuple[str | None, str | None]:
        """Return the language and a note where the text overruled the statement.

        `stated` is a BCP 47 tag; it wins but over long text that plainly speaks another language, and over any
        in letters that it is not written in. Where the text is not told either, no language is returned.
        """
        match = _SUBTAG.match(stated.strip()) if stated else None
        said = match.group().lower() if match else None
        found, confidence = self.detect(text)
        if said is None:
            return (found if confidence >= _SURE else None), None
        note = f"stated language '{said}', but the text reads as '{found or 'unknown'}'"
        if said in _LATIN_LETTERS and _in_other_letters(text):
            return (found, note) if found in _OTHER_LETTERS else (None, note)
        enough = _OVERRULE_DEFAULT_CHARS if said == _DEFAULT else _OVERRULE_CHARS
        if found not in (None, said) and confidence >= _OVERRULE and len(text) >= enough:
            return found, note
        return said, None


def _in_other_letters(text: str) -> bool:
    """Whether most letters are not Latin."""
    letters = _LETTERS.findall(text[:_READ_CHARS])
    return 2 * sum(map(bool, map(_LATIN.match, letters))) < len(letters)


@cache
def _identifier() -> LanguageIdentifier:
    """Unpack the model, which takes half a second, once in a process: nothing changes it."""
    every = LanguageIdentifier.from_model_file(MODEL_FILE)
    every.set_languages(LANGUAGES)
    # A copy without the other languages' numbers, which are 27 MB.
    return LanguageIdentifier(
        every.nb_ptc,
        every.nb_pc,
        every.nb_classes,
        every.tk_nextmove,
        every.tk_output,
        norm_probs=True,
        tk_row=every.tk_row,
    )
