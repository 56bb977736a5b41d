from __future__ import annotations

import numpy as np
import pytest

from benchmarks.relevance import Creative, Page, one_an_advertiser, paired, score

CREATIVES = [
    Creative("c0", "Acme", "…", "cars", "q0"),
    Creative("c1", "Acme", "…", "cars", None),
    Creative("c2", "Bolt", "…", "food", "q2"),
    Creative("c3", "Cook", "…", "food", "q3"),
]
PAGE = Page("p", "…", "cars", "q0", frozenset({"Bolt"}))


def test_a_creative_of_the_pages_own_query_is_skipped() -> None:
    scores = score([PAGE], CREATIVES, [[0, 1, 2, 3]])
    assert scores.topic_p1[0] == 1
    assert scores.topic_p5[0] == pytest.approx(1 / 5)  # c1 alone: c0 leaks
    assert scores.short == 1


def test_a_hand_picked_advertiser_gains_more_than_the_topic() -> None:
    scores = score([PAGE], CREATIVES, [[1, 2, 3]])
    best = 2 + 1 / np.log2(3)
    assert scores.ndcg10[0] == pytest.approx((1 + 2 / np.log2(3)) / best)
    assert scores.curated_hit5[0] == 1


def test_pages_without_an_answer_count_as_nothing() -> None:
    scores = score([Page("p", "…", "art", None, frozenset())], CREATIVES, [[0, 1]])
    assert scores.ndcg5[0] == 0
    assert len(scores.curated_hit5) == 0


def test_diversity_keeps_the_first_creative_of_each_advertiser_in_order() -> None:
    assert one_an_advertiser([[2, 1, 0, 3]], CREATIVES) == [[2, 1, 3]]


def test_a_gain_on_every_page_has_bounds_above_zero() -> None:
    mean, low, high = paired(np.full(50, 0.8), np.full(50, 0.7))
    assert mean == pytest.approx(0.1)
    assert low == pytest.approx(high) == pytest.approx(0.1)
