from __future__ import annotations

import numpy as np
import pytest

from contexts.context import EncoderId, Vector
from contexts.encode import TOKENS, RuntimeEncoder, readable, unit


class Lengths:
    """A runtime whose vector says what it was given."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, text: str, tokens: int) -> Vector:
        self.texts.append(text)
        return np.array([len(text), tokens, 1.0], np.float32)


def encoder() -> tuple[RuntimeEncoder, Lengths]:
    runtime = Lengths()
    return RuntimeEncoder(EncoderId("lengths"), 3, runtime), runtime


def test_rows_have_norm_1_and_keep_the_order_of_the_texts() -> None:
    ours, _ = encoder()
    rows = ours.encode(["a long text", "short", "b"])
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)
    assert rows[0, 0] > rows[1, 0] > rows[2, 0]


def test_no_texts_give_no_rows() -> None:
    ours, _ = encoder()
    assert ours.encode([]).shape == (0, 3)


@pytest.mark.parametrize("text", ["", " \n\t ", "…—!?", "🎮🎮", "\x00\x07", "\ud800"])
def test_a_text_without_words_gives_a_zero_row_unasked(text: str) -> None:
    ours, runtime = encoder()
    assert not ours.encode([text]).any()
    assert runtime.texts == []


def test_what_lies_behind_the_tokens_changes_nothing() -> None:
    ours, _ = encoder()
    start = "every page begins somewhere " * 200
    assert np.array_equal(ours.encode([start]), ours.encode([start + "x " * 5_000_000]))


def test_white_space_is_collapsed_before_the_text_is_cut() -> None:
    assert readable("a" + " \n" * 500 + "b", TOKENS) == "a b"


def test_lone_surrogates_do_not_reach_the_runtime() -> None:
    assert readable("a\ud800b", TOKENS) == "a?b"


def test_vectors_that_are_zero_or_not_finite_become_zero() -> None:
    scaled = unit(np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 0]], np.float32))
    assert np.allclose(scaled, [[0.6, 0.8], [0, 0], [0, 0], [0, 0]])
