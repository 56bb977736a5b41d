from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.index import Eligible, ExactIndex

MASKS = st.integers(0, 400).flatmap(
    lambda rows: st.tuples(
        st.just(rows), st.integers(0, 2**32), st.sampled_from((0.0, 0.01, 0.2, 0.3, 0.9, 1.0))
    )
)


def mask_of(drawn: tuple[int, int, float]) -> NDArray[np.bool_]:
    rows, seed, share = drawn
    return np.random.default_rng(seed).random(rows) < share


@given(MASKS)
def test_a_set_gives_back_the_rows_it_was_made_of(drawn: tuple[int, int, float]) -> None:
    mask = mask_of(drawn)
    eligible = Eligible.from_mask(mask)
    assert eligible.rows.tolist() == [row for row, chosen in enumerate(mask) if chosen]
    assert eligible.rows.dtype == np.int64
    assert eligible.count == mask.sum()
    assert eligible.holds(np.arange(len(mask))).tolist() == mask.tolist()


@given(MASKS, st.integers(0, 2**32))
def test_two_sets_are_cut_by_their_words(drawn: tuple[int, int, float], seed: int) -> None:
    mask = mask_of(drawn)
    other = np.random.default_rng(seed).random(len(mask)) < 0.5
    both = Eligible(Eligible.from_mask(mask).words & Eligible.from_mask(other).words)
    assert both.rows.tolist() == (mask & other).nonzero()[0].tolist()


@pytest.mark.parametrize("k", [0, 1, 2, 5, 9])
def test_the_twin_puts_the_best_first_and_equal_scores_by_row(k: int) -> None:
    index = ExactIndex(np.array([[0.5], [0.9], [0.5], [0.1], [0.9]], np.float32))
    rows, scores = index.search(
        np.ones(1, np.float32), k, Eligible.from_mask(np.array([1, 1, 1, 0, 1], bool))
    )
    assert rows.tolist() == [1, 4, 0, 2][:k]
    assert scores.tolist() == index.vectors[rows, 0].tolist()
