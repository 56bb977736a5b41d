from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from contexts.context import EncoderId, Vector
from contexts.encode import TOKENS, readable, unit
from contexts.page_vector import better_vector

BODY = "Cyclists climb slowly through alpine passes while mountain weather turns cold and rain falls. " * 12
MENU = "Home News Sport Shop Login Register Basket Help Contact Cookies Privacy Terms Search Menu. " * 3


class WordCounts:
    """An encoder of one dimension a word (hashed), which reads `tokens` words."""

    id = EncoderId("words")
    dim = 512

    def encode(self, texts: Sequence[str], tokens: int = TOKENS) -> Vector:
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in readable(text, tokens).split()[:tokens]:
                row[int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest()) % self.dim] += 1
        return unit(rows)


def test_a_text_that_the_opening_holds_keeps_the_openings_vector() -> None:
    encoder = WordCounts()
    assert np.array_equal(better_vector(encoder, "Rain in Spain"), encoder.encode(["Rain in Spain"])[0])


def test_a_text_without_words_gives_a_zero_vector() -> None:
    for text in ("", "… " * 5000):
        assert not better_vector(WordCounts(), text).any()


def test_a_menu_above_the_text_moves_the_better_vector_less_than_the_opening() -> None:
    encoder = WordCounts()
    body = encoder.encode([BODY])[0]
    assert better_vector(encoder, MENU + BODY) @ body > encoder.encode([MENU + BODY])[0] @ body + 0.2


def test_the_better_vector_has_norm_1_for_text_of_any_length() -> None:
    for text in (BODY, BODY * 2000, "字" * 100_000, "x" * 1_000_000, "a \x00 \ud800 " * 1000):
        assert np.isclose(np.linalg.norm(better_vector(WordCounts(), text)), 1, atol=1e-5)
