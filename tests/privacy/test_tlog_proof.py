"""Receipts: whoever holds one needs neither the service nor the network to check it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy import merkle
from privacy.checkpoint import Checkpoint, Signer, sign_note
from privacy.errors import LogError
from privacy.log_policy import LogPolicy
from privacy.tlog_proof import Proof, read_proof, verify_proof

SIGNERS = (Signer.ed25519("ads.example/log", b"l" * 32), Signer.ml_dsa_44("ads.example/log", b"c" * 32))
POLICY = LogPolicy(tuple(signer.verifier for signer in SIGNERS), {}, {})
LEAVES = [b"leaf %d" % number for number in range(11)]


def receipt(index: int, extra: bytes = b"") -> bytes:
    hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES]
    nodes = merkle.nodes_of(hashes)
    checkpoint = Checkpoint("ads.example/log", 11, merkle.root(11, nodes))
    note = sign_note(checkpoint.text(), SIGNERS, 1_795_456_800)
    return Proof(index, tuple(merkle.inclusion_proof(index, 11, nodes)), note, extra).encode()


@pytest.mark.parametrize("index", range(11))
def test_a_receipt_proves_its_leaf_and_no_other(index):
    proof = read_proof(receipt(index, b"more"))
    assert verify_proof(proof, LEAVES[index], POLICY).size == 11
    for other in LEAVES:
        if other != LEAVES[index]:
            with pytest.raises(LogError):
                verify_proof(proof, other, POLICY)


SAMPLE = receipt(4)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SAMPLE) * 8 - 1))
def test_no_flipped_bit_of_a_receipt_passes(bit):
    flipped = bytearray(SAMPLE)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(LogError):
        verify_proof(read_proof(bytes(flipped)), LEAVES[4], POLICY)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace(b"proof@v1", b"proof@v2"),
        lambda text: text.replace(b"index 4", b"index 04"),
        lambda text: text.replace(b"index 4\n", b""),
        lambda text: text.replace(b"index 4\n", b"index 4\n" + b"A" * 43 + b"=\n"),
        lambda text: text.replace(b"\n\nads", b"\nads"),
        lambda text: text.replace(b"index 4\n", b"index 4\nAAAA\n"),
        lambda text: text[:30],
        lambda text: b"",
        lambda text: b"\xff" + text,
    ],
)
def test_a_malformed_receipt_is_refused(damage):
    with pytest.raises(LogError):
        verify_proof(read_proof(damage(SAMPLE)), LEAVES[4], POLICY)
