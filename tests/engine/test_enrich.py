from __future__ import annotations

import numpy as np
import pytest

from contexts.context import Vector
from contexts.encode import unit
from engine.enrich import ANCHORS, focus, offer, topical


def random_rows(count: int, seed: int = 1, dim: int = 16) -> Vector:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


def test_a_creative_is_drawn_to_the_topic_nearest_to_it() -> None:
    topics = np.eye(4, dtype=np.float32)
    own = unit(np.array([[0.6, 0.4, 0.3, 0.3]], np.float32))
    assert (topical(own, topics) @ topics[0])[0] > (own @ topics[0])[0] + 0.1


def test_a_topical_row_depends_on_its_creative_alone() -> None:
    own, topics = random_rows(5000), random_rows(30, seed=2)
    assert np.allclose(topical(own, topics)[4321], topical(own[4321:4322], topics)[0], atol=1e-5)


def test_a_creative_without_words_has_no_topic() -> None:
    assert not topical(np.zeros((1, 16), np.float32), random_rows(3)).any()


def test_without_topics_a_creative_stays_as_it_is() -> None:
    own = random_rows(3)
    assert np.allclose(topical(own, np.zeros((0, 16), np.float32)), own, atol=1e-6)


def test_a_creative_without_words_is_found_by_its_siblings() -> None:
    creatives = np.stack([np.zeros(16, np.float32), *random_rows(2)])
    drawn = offer(creatives, ["a", "a", "b"]).creatives
    assert np.allclose(drawn[0], creatives[1], atol=1e-6)


def test_a_group_without_words_stays_without_a_vector() -> None:
    drawn = offer(np.zeros((2, 16), np.float32), ["a", "a"])
    assert not drawn.creatives.any()
    assert np.isfinite(focus(random_rows(1)[0], drawn.anchors)).all()


def test_a_lone_creative_stays_as_it_is() -> None:
    creatives = random_rows(3)
    assert np.allclose(offer(creatives, ["a", "b", "c"]).creatives, creatives, atol=1e-6)


def test_a_new_creative_moves_its_own_group_only() -> None:
    creatives, groups = random_rows(9), list("aaabbbccc")
    before = offer(creatives[:8], groups[:8]).creatives
    after = offer(creatives, groups).creatives
    assert np.array_equal(before[:6], after[:6])
    assert not np.allclose(before[6:8], after[6:8])


def test_the_order_of_the_creatives_does_not_matter() -> None:
    creatives, groups = random_rows(60), [f"g{i % 7}" for i in range(60)]
    order = np.random.default_rng(3).permutation(60)
    mixed = offer(creatives[order], [groups[i] for i in order])
    straight = offer(creatives, groups)
    assert np.allclose(mixed.creatives, straight.creatives[order], atol=1e-6)
    assert np.allclose(mixed.anchors, straight.anchors, atol=1e-6)


def test_siblings_that_contradict_each_other_say_nothing() -> None:
    x, y = np.eye(16, dtype=np.float32)[:2]
    drawn = offer(np.stack([x, unit(0.1 * y - x)]), ["a", "a"]).creatives
    assert drawn[0] @ x > 0.99


def test_an_ambiguous_page_is_drawn_to_what_is_on_offer() -> None:
    tennis, insects, bats = np.eye(3, dtype=np.float32)
    page = unit(tennis + insects)
    shown = offer(np.stack([tennis, unit(tennis + 0.2 * bats)]), ["racket", "racket"])
    assert focus(page, shown.anchors) @ tennis > page @ tennis + 0.05


def test_focus_takes_one_page_or_many() -> None:
    shown, pages = offer(random_rows(20), [str(i % 5) for i in range(20)]), random_rows(4, seed=5)
    many = focus(pages, shown.anchors)
    assert np.allclose(np.linalg.norm(many, axis=1), 1, atol=1e-5)
    assert np.allclose(many[2], focus(pages[2], shown.anchors), atol=1e-5)


def test_a_page_without_words_stays_without_a_vector() -> None:
    assert not focus(np.zeros(16, np.float32), offer(random_rows(4), list("abcd")).anchors).any()


def test_an_empty_catalogue_leaves_pages_as_they_are() -> None:
    nothing = offer(np.zeros((0, 16), np.float32), [])
    page = random_rows(1)[0]
    assert np.allclose(focus(page, nothing.anchors), page, atol=1e-6)


def test_anchors_are_bounded_and_one_more_group_replaces_one_at_most() -> None:
    creatives = random_rows(ANCHORS + 201)
    groups = [f"campaign-{i}" for i in range(len(creatives))]
    before = {row.tobytes() for row in offer(creatives[:-1], groups[:-1]).anchors}
    after = {row.tobytes() for row in offer(creatives, groups).anchors}
    assert len(before) == len(after) == ANCHORS
    assert len(before - after) <= 1


def test_groups_that_do_not_fit_the_creatives_are_refused() -> None:
    with pytest.raises(ValueError, match="2 creatives, 3 groups"):
        offer(random_rows(2), ["a", "b", "c"])
