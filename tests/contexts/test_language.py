"""Which language a page is in."""

from __future__ import annotations

import pytest

from contexts.language import LanguageDetector

HEADLINES = [
    ("en", "Fed holds rates steady as inflation cools"),
    ("en", "The best mountain bikes for beginners, tested"),
    ("de", "Zehn ruhige Strände für den Spätsommer"),
    ("de", "Die besten Fahrräder im Test"),
    ("fr", "Dix plages calmes pour la fin de l'été"),
    ("fr", "Comment faire du pain maison"),
    ("es", "Diez playas tranquilas para el final del verano"),
    ("es", "Cómo hacer pan en casa"),
    ("it", "Le migliori biciclette alla prova"),
    ("it", "Dieci spiagge tranquille per la fine dell'estate"),
    ("nl", "Hoe bak je zelf brood"),
    ("nl", "Rente blijft gelijk nu de inflatie daalt"),
    ("pl", "Jak upiec chleb w domu"),
    ("pl", "Najlepsze rowery w teście"),
    ("sv", "Så bakar du bröd hemma"),
    ("sv", "Tio lugna stränder för sensommaren"),
    ("pt", "Como fazer pão em casa"),
    ("pt", "As melhores bicicletas testadas"),
]


@pytest.fixture(scope="module")
def detector() -> LanguageDetector:
    return LanguageDetector()


def test_short_headlines_are_told_apart(detector: LanguageDetector) -> None:
    missed = [text for language, text in HEADLINES if detector.detect(text)[0] != language]
    assert missed == []


@pytest.mark.parametrize("text", ["", "   ", "12345 67890", "a b", "!!! ???"])
def test_what_has_no_words_has_no_language(detector: LanguageDetector, text: str) -> None:
    assert detector.decide(None, text) == (None, None)


def test_a_stated_language_wins_over_a_short_text(detector: LanguageDetector) -> None:
    assert detector.decide("de-AT", "Fed holds rates steady") == ("de", None)
    assert detector.decide("PT_br", "Como fazer pão") == ("pt", None)


def test_long_text_that_plainly_speaks_another_language_overrules_the_statement(
    detector: LanguageDetector,
) -> None:
    german = "Die Stadt hat am Montag beschlossen, dass die alte Brücke im Frühjahr erneuert wird. " * 2
    assert detector.decide("en", german) == ("de", "stated language 'en', but the text reads as 'de'")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ru", "Теракт в метро"),
        ("ar", "هجوم انتحاري"),
        ("zh", "枪击案造成五人死亡"),
        ("ja", "がんの治療法"),
        ("he", "מתכון לחלה"),
        (None, "枪击案"),  # too short to be told, and no English
    ],
)
def test_text_in_other_letters_is_of_no_language_in_latin_ones_however_short(
    detector: LanguageDetector, language: str | None, text: str
) -> None:
    note = f"but the text reads as '{language or 'unknown'}'"
    assert detector.decide("en", text) == (language, f"stated language 'en', {note}")
    assert detector.decide("de-DE", text) == (language, f"stated language 'de', {note}")
    assert detector.decide("sr", text) == ("sr", None)
    assert detector.decide("ka", text) == ("ka", None)  # not one that we know: its letters are its own affair


def test_words_of_other_letters_in_an_english_text_leave_it_english(detector: LanguageDetector) -> None:
    for text in ("東京 travel guide", "BTS: 방탄소년단 on their world tour", "α and β, explained"):
        assert detector.decide("en", text) == ("en", None)


def test_english_is_stated_by_default_and_overruled_by_a_sentence(detector: LanguageDetector) -> None:
    for text in (
        "Trois personnes ont été tuées dans un attentat à la bombe",
        "Sequestrati due chili di cocaina al porto: cinque arresti",
    ):
        assert detector.decide("en", text)[0] != "en"
    for text in ("Spaghetti alla carbonara recipe", "Real Madrid 2-1 Atletico Madrid, and what went wrong"):
        assert detector.decide("en", text) == ("en", None)
    assert detector.decide("de", "The best mountain bikes for beginners, tested and compared")[0] == "de"


@pytest.mark.parametrize("stated", ["", "  ", "???", "x", "\0", "<b>", "english please"])
def test_a_statement_that_is_no_language_tag_is_ignored(detector: LanguageDetector, stated: str) -> None:
    assert detector.decide(stated, "The best mountain bikes for beginners, tested")[0] == "en"
