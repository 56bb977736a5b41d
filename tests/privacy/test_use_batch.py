"""A batch of uses proves each that is in it, and tells no number."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.checkpoint import Checkpoint, Signer, encode64, sign_note
from privacy.errors import LogError
from privacy.log_policy import LogPolicy
from privacy.merkle import leaf_hash
from privacy.tlog_proof import Proof
from privacy.use_batch import FEWEST, UseProof, batch_root, fill, prove_use, receipt, verify_use

CHANCE = random.Random(3)


@settings(max_examples=40)
@given(st.integers(0, 300))
def test_a_batch_has_a_power_of_two_of_receipts_and_all_that_were_given(count):
    given_ = [receipt(f"{number:064x}", "0" * 64) for number in range(count)]
    batch = fill(given_, CHANCE.randbytes)
    assert len(batch) >= FEWEST and len(batch).bit_count() == 1
    assert len(batch) <= max(FEWEST, 2 * count)
    assert set(given_) <= set(batch) and batch == sorted(batch)


def test_uses_have_receipts_of_their_own():
    assert len({receipt("a" * 64, "b" * 64), receipt("b" * 64, "a" * 64), receipt("a" * 63, "ab" * 32)}) == 3


def test_the_root_does_not_depend_on_the_order_of_uses():
    given_ = [receipt(f"{number:064x}", "0" * 64) for number in range(FEWEST)]
    assert batch_root(fill(given_, CHANCE.randbytes)) == batch_root(fill(given_[::-1], CHANCE.randbytes))


def test_a_use_that_was_not_told_is_not_proved():
    with pytest.raises(LogError, match="stands not in this batch"):
        prove_use(fill([], CHANCE.randbytes), receipt("a" * 64, "b" * 64), "", "")


def test_a_leaf_that_is_nested_without_end_commits_to_no_batch():
    leaf, signer = "[" * 100_000, Signer.ed25519("ads.example/log", b"l" * 32)
    note = sign_note(Checkpoint("ads.example/log", 1, leaf_hash(leaf.encode())).text(), [signer], 0)
    told = UseProof(encode64(b"r" * 32), 0, 1, (), leaf, Proof(0, (), note).encode().decode())
    with pytest.raises(LogError, match="commits to no batch"):
        verify_use(told, LogPolicy((signer.verifier,), {}, {}))
