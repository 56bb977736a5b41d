"""Leaves commit with what they tell of, numbered without a gap, whoever appends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.store import open_store


@pytest.fixture
def store(store_url):
    with_store = open_store(store_url)
    yield with_store
    with_store.close()


def numbered(seq: int) -> bytes:
    return b"leaf %d" % seq


def test_leaves_are_numbered_from_zero_and_know_their_index(store):
    leaves = store.leaves()
    with store.writing() as db:
        assert leaves.append(db, [numbered] * 3) == [0, 1, 2]
        assert leaves.append(db, [numbered]) == [3]
    assert leaves.count() == 4
    assert leaves.read(1, 9) == [b"leaf 1", b"leaf 2", b"leaf 3"]


def test_a_leaf_is_undone_with_the_transaction_that_made_it(store):
    leaves = store.leaves()
    with pytest.raises(RuntimeError), store.writing() as db:
        leaves.append(db, [numbered])
        raise RuntimeError
    assert leaves.count() == 0


def test_leaves_appended_at_once_from_many_threads_leave_no_gap(store):
    leaves = store.leaves()

    def append(_: int) -> list[int]:
        with store.writing() as db:
            return leaves.append(db, [numbered, numbered])

    with ThreadPoolExecutor(8) as pool:
        given = sorted(seq for seqs in pool.map(append, range(40)) for seq in seqs)
    assert given == list(range(80))
    assert leaves.read(0, 80) == [numbered(seq) for seq in range(80)]


def test_appending_outside_a_transaction_is_refused(store):
    with store.writing() as db:
        pass
    with pytest.raises(ValueError, match="transaction"):
        store.leaves().append(db, [numbered])
