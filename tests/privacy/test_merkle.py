"""Merkle trees against others' vectors, a slow twin of the RFC's text, and damage of every kind."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy import merkle
from privacy.errors import LogError
from tests.privacy.slow_merkle import merkle_consistency, merkle_path, merkle_root

DATA = Path(os.environ.get("TACTFUL_DATA", "../shared/data")) / "merkle-vectors/vectors.json"
KINDS = {"inclusion": 98, "consistency": 98, "subtreeinclusion": 204, "subtreeconsistency": 118}


def hashes(count: int) -> list[bytes]:
    return [merkle.leaf_hash(b"%d" % number) for number in range(count)]


def decode(text: str | None) -> bytes:
    return b64decode(text or "")


def judge(kind: str, v: dict) -> None:
    proof = [decode(hash) for hash in v["proof"] or []]
    if kind == "inclusion":
        merkle.verify_inclusion(v["leafIdx"], v["treeSize"], decode(v["leafHash"]), proof, decode(v["root"]))
    elif kind == "consistency":
        roots = decode(v["root1"]), decode(v["root2"])
        merkle.verify_consistency(v["size1"], v["size2"], proof, *roots)
    elif kind == "subtreeinclusion":
        leaf, root = decode(v["leafHash"]), decode(v["root"])
        merkle.verify_subtree_inclusion(v["leafIdx"], v["start"], v["end"], leaf, proof, root)
    else:
        roots = decode(v["root1"]), decode(v["root2"])
        merkle.verify_subtree_consistency(v["start"], v["end"], v["size"], proof, *roots)


@pytest.mark.skipif(not DATA.exists(), reason=f"no vectors at {DATA}: set TACTFUL_DATA")
@pytest.mark.parametrize("kind", KINDS)
def test_all_vectors_of_others_get_the_stated_verdict(kind):
    vectors = json.loads(DATA.read_text())["kinds"][kind]
    assert len(vectors) == KINDS[kind]
    wrong = []
    for vector in vectors:
        try:
            judge(kind, vector)
            refused = False
        except LogError:
            refused = True
        if refused != vector["wantErr"]:
            wrong.append((vector["name"], vector["wantErr"]))
    assert wrong == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 70))
def test_roots_are_those_of_the_rfc_s_recursion(size):
    leaves = hashes(size)
    growing = merkle.Frontier()
    for leaf in leaves:
        growing.append(leaf)
    nodes = merkle.nodes_of(leaves)
    assert (
        growing.root()
        == merkle.root(size, nodes)
        == merkle.frontier(size, nodes).root()
        == merkle_root(leaves)
    )


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 70))
def test_every_proof_is_the_rfc_s_and_verifies(data, size):
    leaves = hashes(size)
    nodes, root = merkle.nodes_of(leaves), merkle_root(leaves)
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_proof(index, size, nodes)
    assert path == merkle_path(index, leaves)
    merkle.verify_inclusion(index, size, leaves[index], path, root)
    old = data.draw(st.integers(1, size))
    proof = merkle.consistency_proof(old, size, nodes)
    assert proof == merkle_consistency(old, leaves)
    merkle.verify_consistency(old, size, proof, merkle_root(leaves[:old]), root)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 70))
def test_every_subtree_of_a_tree_is_proved_a_part_of_it(data, size):
    leaves = hashes(size)
    nodes, root = merkle.nodes_of(leaves), merkle_root(leaves)
    width = data.draw(st.integers(1, size))
    unit = 1 << (width - 1).bit_length()
    start = unit * data.draw(st.integers(0, (size - width) // unit))
    subtree = merkle.subtree_root(start, start + width, nodes)
    assert subtree == merkle_root(leaves[start : start + width])
    proof = merkle.subtree_consistency_proof(start, start + width, size, nodes)
    merkle.verify_subtree_consistency(start, start + width, size, proof, subtree, root)
    if proof:
        with pytest.raises(LogError):
            merkle.verify_subtree_consistency(start, start + width, size, proof[:-1], subtree, root)
        with pytest.raises(LogError):
            other = merkle.leaf_hash(b"another")
            merkle.verify_subtree_consistency(start, start + width, size, proof, other, root)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(2, 70))
def test_every_damaged_proof_is_refused(data, size):
    leaves = hashes(size)
    nodes, root = merkle.nodes_of(leaves), merkle_root(leaves)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size - 1))
    path = merkle.inclusion_proof(index, size, nodes)
    proof = merkle.consistency_proof(old, size, nodes)
    older = merkle_root(leaves[:old])
    for bad in damaged(data, path):
        with pytest.raises(LogError):
            merkle.verify_inclusion(index, size, leaves[index], bad, root)
    for bad in damaged(data, proof):
        with pytest.raises(LogError):
            merkle.verify_consistency(old, size, bad, older, root)
    with pytest.raises(LogError):
        merkle.verify_inclusion(index, size, flipped(data, leaves[index]), path, root)
    with pytest.raises(LogError):
        merkle.verify_inclusion(index, size, leaves[index], path, flipped(data, root))
    with pytest.raises(LogError):
        merkle.verify_consistency(old, size, proof, flipped(data, older), root)
    for wrong in {(index + 1) % size, size, -1, index + size} - {index}:
        with pytest.raises(LogError):
            merkle.verify_inclusion(wrong, size, leaves[index], path, root)


def flipped(data, hash: bytes) -> bytes:
    bit = data.draw(st.integers(0, len(hash) * 8 - 1))
    return (int.from_bytes(hash) ^ 1 << bit).to_bytes(len(hash))


def damaged(data, proof: list[bytes]):
    yield [*proof, merkle.EMPTY_ROOT]
    yield [merkle.EMPTY_ROOT, *proof]
    yield proof[:-1]
    at = data.draw(st.integers(0, len(proof) - 1))
    yield [*proof[:at], flipped(data, proof[at]), *proof[at + 1 :]]
    yield [*proof[:at], proof[at][:-1], *proof[at + 1 :]]


@pytest.mark.parametrize(("old", "size"), [(-1, 4), (5, 4)])
def test_a_proof_between_impossible_sizes_is_refused(old, size):
    with pytest.raises(LogError):
        merkle.consistency_proof(old, size, merkle.nodes_of(hashes(4)))


@pytest.mark.parametrize(("start", "end"), [(1, 3), (2, 5), (3, 2), (4, 9), (2, 2)])
def test_leaves_that_make_no_subtree_of_the_tree_are_refused(start, end):
    with pytest.raises(LogError):
        merkle.subtree_consistency_proof(start, end, 8, merkle.nodes_of(hashes(8)))
