"""Closed vocabularies: what is found, that nothing else is told, and that no text stays behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from contexts.keyphrases import MAX_PHRASE_CHARS, Tokenizer, Vocabulary


def found(text: str, *phrases: str) -> tuple[str, ...]:
    tokenizer = Tokenizer()
    vocabulary = Vocabulary(tokenizer, phrases)
    with tokenizer.reading(text) as doc:
        return vocabulary.find(doc)


def test_phrases_are_found_in_any_case_each_once_in_their_order() -> None:
    text = "E-Bikes and MOUNTAIN bikes; mountain bikes again, with Ben & Jerry's."
    assert found(text, "mountain bikes", "e-bikes", "Ben & Jerry's", "road bikes") == (
        "e-bikes",
        "mountain bikes",
        "ben & jerry's",
    )


def test_a_phrase_inside_a_word_is_not_found() -> None:
    assert found("The carpet is oaken", "car", "oak") == ()


def test_a_curly_apostrophe_is_an_apostrophe() -> None:
    assert found("Levi\u2019s jeans", "levi's") == ("levi's",)


def test_nothing_outside_the_list_is_told() -> None:
    assert found("Ada Lovelace of 12 Elm Street likes tea", "tea") == ("tea",)


def test_blank_and_overlong_phrases_are_left_out() -> None:
    vocabulary = Vocabulary(Tokenizer(), ["", "  ", "x" * (MAX_PHRASE_CHARS + 1), " two  words ", "..."])
    assert vocabulary.phrases == {"two words", "..."}


def test_an_empty_vocabulary_finds_nothing() -> None:
    assert found("anything at all") == ()


def test_the_words_of_a_page_do_not_stay_in_memory() -> None:
    tokenizer = Tokenizer()
    vocabulary = Vocabulary(tokenizer, ["tea"])
    with tokenizer.reading("tea") as doc:
        strings = doc.vocab.strings
    before = len(strings)
    for number in range(50):
        with tokenizer.reading(f"tea with secret{number} and zanzibar{number}") as doc:
            assert vocabulary.find(doc) == ("tea",)
    assert len(strings) == before
    assert "secret7" not in strings


def test_many_threads_may_read_at_once() -> None:
    tokenizer = Tokenizer()
    vocabulary = Vocabulary(tokenizer, [f"brand{n}" for n in range(100)])

    def read(number: int) -> tuple[str, ...]:
        with tokenizer.reading(f"word{number} brand{number % 100} other") as doc:
            return vocabulary.find(doc)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(400))) == [(f"brand{n % 100}",) for n in range(400)]
