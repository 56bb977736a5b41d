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
_READ_CHARS = 400  # more does not change the answer and costs time
_SURE = 0.2  # of 45 headlines in nine languages, all but one were right from here on
_OVERRULE = (
    0.9  # text this plainly of another language corrects a wrong statement: lang="en" is a common default
)
_OVERRULE_CHARS = 120
_LETTERS = re.compile(r"[^\W\d_]")
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

        `stated` is a BCP 47 tag; it wins but over long text that plainly speaks another language.
        """
        match = _SUBTAG.match(stated.strip()) if stated else None
        said = match.group().lower() if match else None
        found, confidence = self.detect(text)
        if said is None:
            return (found if confidence >= _SURE else None), None
        if found not in (None, said) and confidence >= _OVERRULE and len(text) >= _OVERRULE_CHARS:
            return found, f"stated language '{said}', but the text reads as '{found}'"
        return said, None


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
