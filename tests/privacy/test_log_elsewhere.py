"""What our log says is checked by code that we did not write: Go's sumdb, sigstore's, noble's and pymerkle's."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from privacy import merkle
from privacy.checkpoint import Checkpoint, Note, Signer, cosigned_message, sign_note
from privacy.tiles import ENTRIES, TileBuilder

HERE = Path(__file__).parent / "elsewhere"
GOPATH = Path("/usr/share/gocode")  # where Debian puts Go's libraries
SUMDB = GOPATH / "src/golang.org/x/mod/sumdb"
PACKAGES = ("@sigstore/verify", "@noble/post-quantum")
ORIGIN = "ads.example/log"
ED25519 = Signer.ed25519(ORIGIN, b"l" * 32)
ML_DSA = Signer.ml_dsa_44(ORIGIN, b"c" * 32)
SIZE = 300
NOW = 1_795_456_800

Judge = Callable[[Iterable[dict[str, Any]]], list[str]]


class Log:
    """A fresh log of random leaves."""

    def __init__(self) -> None:
        chance = random.Random(20261123)
        self.leaves = [chance.randbytes(chance.randrange(0, 200)) for _ in range(SIZE)]
        self.hashes = [merkle.leaf_hash(leaf) for leaf in self.leaves]
        self.nodes = merkle.nodes_of(self.hashes)
        builder = TileBuilder()
        self.tiles = {}
        for leaf in self.leaves:
            self.tiles.update(builder.append(leaf))
        self.tiles.update(builder.partial())
        self.root = builder.root()
        self.note = sign_note(Checkpoint(ORIGIN, SIZE, self.root).text(), [ED25519, ML_DSA], NOW)


LOG = Log()


def checkpoint(note: bytes = LOG.note.encode()) -> dict[str, Any]:
    key = ED25519.verifier.vkey()
    return {"Kind": "checkpoint", "Vkey": key, "Note": note, "Size": SIZE, "Root": LOG.root}


def inclusion(index: int, size: int = SIZE) -> dict[str, Any]:
    return {
        "Kind": "inclusion",
        "Index": index,
        "Size": size,
        "Root": merkle.root(size, LOG.nodes),
        "Leaf": LOG.leaves[index],
        "Proof": merkle.inclusion_proof(index, size, LOG.nodes),
    }


def consistency(old: int, size: int = SIZE) -> dict[str, Any]:
    return {
        "Kind": "consistency",
        "Old": old,
        "Size": size,
        "OldRoot": merkle.root(old, LOG.nodes),
        "Root": merkle.root(size, LOG.nodes),
        "Proof": merkle.consistency_proof(old, size, LOG.nodes),
    }


def inclusions() -> list[dict[str, Any]]:
    return [
        inclusion(index, size) for size in (1, 2, 3, 7, 8, 255, 256, 257, SIZE) for index in range(0, size, 5)
    ]


def flips(claim: dict[str, Any], *fields: str) -> Iterator[dict[str, Any]]:
    """Give the claim with each bit of these fields flipped, one at a time."""
    for field in fields:
        value = claim[field]
        for at, data in enumerate(value) if isinstance(value, list) else [(None, value)]:
            for bit in range(len(data) * 8):
                changed = flip(data, bit)
                whole = [*value[:at], changed, *value[at + 1 :]] if at is not None else changed
                yield claim | {field: whole}


def flipped_notes() -> Iterator[bytes]:
    """Give the signed checkpoint with each bit of its text and of the Ed25519 signature flipped."""
    text, (line, other) = LOG.note.text, LOG.note.signatures
    body = LOG.note.encode()
    for bit in range(len(text.encode()) * 8):
        yield flip(body, bit)
    for bit in range(len(line.signature) * 8):
        yield Note(text, (line._replace(signature=flip(line.signature, bit)), other)).encode()
    for bit in range(32):
        yield Note(text, (line._replace(key_id=flip(line.key_id, bit)), other)).encode()


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def asking(command: list[str]) -> Judge:
    def ask(claims: Iterable[dict[str, Any]]) -> list[str]:
        lines = "".join(
            json.dumps(claim, default=lambda data: b64encode(data).decode()) + "\n" for claim in claims
        )
        run = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
        return run.stdout.splitlines()

    return ask


@pytest.fixture(scope="module")
def sumdb(tmp_path_factory) -> Judge:
    if shutil.which("go") is None or not SUMDB.exists():
        pytest.skip("no Go sumdb: apt-get install golang-go golang-golang-x-mod-dev")
    folder = tmp_path_factory.mktemp("go")
    environ = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": str(GOPATH),
        "GOFLAGS": "",
        "GOCACHE": str(folder / "cache"),
    }
    command = ["go", "build", "-o", str(folder / "verify"), str(HERE / "verify.go")]
    subprocess.run(command, env=environ, check=True, capture_output=True)
    return asking([str(folder / "verify")])


@pytest.fixture(scope="module")
def node() -> Judge:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no Node: apt-get install nodejs npm")
    modules = subprocess.run(
        ["npm", "root", "--global"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if missing := [name for name in PACKAGES if not (Path(modules) / name).exists()]:
        pytest.skip(f"no {missing[0]}: npm install --global {' '.join(PACKAGES)}")
    return asking(["node", str(HERE / "verify.mjs"), modules])


def accepted(verdicts: list[str], count: int) -> int:
    assert len(verdicts) == count
    return verdicts.count("ok")


def test_go_computes_our_root_and_our_tiles_from_the_leaves(sumdb):
    tiles = {tile.path: data for tile, data in LOG.tiles.items() if tile.level != ENTRIES}
    claim = {"Kind": "root", "Leaves": LOG.leaves, "Root": LOG.root, "Tiles": tiles}
    assert sumdb([claim]) == ["ok"]
    assert sumdb([claim | {"Leaves": LOG.leaves[:-1]}]) != ["ok"]
    assert sumdb([claim | {"Tiles": {**tiles, "tile/0/000": bytes(8192)}}]) != ["ok"]


def test_go_accepts_our_checkpoint_and_no_flipped_bit_of_it(sumdb):
    assert sumdb([checkpoint()]) == ["ok"]
    notes = list(flipped_notes())
    assert accepted(sumdb(map(checkpoint, notes)), len(notes)) == 0


def test_go_accepts_our_proofs_and_no_flipped_bit_of_them(sumdb):
    good = [
        *inclusions(),
        *(consistency(old) for old in range(1, SIZE + 1, 7)),
        consistency(256),
        consistency(SIZE),
    ]
    assert accepted(sumdb(good), len(good)) == len(good)
    bad = [
        *flips(inclusion(171), "Proof", "Root", "Leaf"),
        *flips(consistency(171), "Proof", "Root", "OldRoot"),
        *(inclusion(171) | {"Index": index} for index in range(-1, SIZE + 2) if index != 171),
    ]
    assert accepted(sumdb(bad), len(bad)) == 0


def test_sigstore_accepts_our_checkpoint_and_no_flipped_bit_of_it(node):
    assert node([checkpoint()]) == ["ok"]
    notes = list(flipped_notes())
    assert accepted(node(map(checkpoint, notes)), len(notes)) == 0


def test_sigstore_accepts_our_proofs_and_no_flipped_bit_of_them(node):
    good = inclusions()
    assert accepted(node(good), len(good)) == len(good)
    bad = list(flips(inclusion(171), "Proof", "Root", "Leaf"))
    assert accepted(node(bad), len(bad)) == 0


def test_noble_accepts_our_post_quantum_cosignature_and_no_flipped_bit_of_it(node):
    line = LOG.note.signatures[1]
    message = cosigned_message(ORIGIN, NOW, Checkpoint(ORIGIN, SIZE, LOG.root))
    good = {
        "Kind": "ml-dsa-44",
        "Key": ML_DSA.verifier.public,
        "Message": message,
        "Signature": line.signature[8:],
    }
    assert node([good]) == ["ok"]
    bad = [
        *flips(good, "Message"),
        *(good | {"Signature": flip(good["Signature"], bit)} for bit in range(0, 2420 * 8, 61)),
        *(good | {"Key": flip(good["Key"], bit)} for bit in range(0, 1312 * 8, 61)),
    ]
    assert accepted(node(bad), len(bad)) == 0


def test_pymerkle_computes_our_roots_and_accepts_our_proofs_and_no_flipped_bit_of_them():
    pymerkle = pytest.importorskip("pymerkle", reason="no pymerkle: pip install '.[test]'")
    from pymerkle.core import _inclusion_path_layout
    from pymerkle.proof import InclusionProof

    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for leaf in LOG.leaves:
        tree.append_entry(leaf)
    for size in (1, 2, 3, 7, 8, 255, 256, 257, SIZE):
        assert tree.get_root(size) == merkle.root(size, LOG.nodes)

    def judge(claim: dict[str, Any]) -> bool:
        index, size, hash = claim["Index"] + 1, claim["Size"], merkle.leaf_hash(claim["Leaf"])
        rule, _ = _inclusion_path_layout(index, size)
        proof = InclusionProof("sha256", True, size, index, rule, [hash, *claim["Proof"]])
        try:
            pymerkle.verify_inclusion(hash, claim["Root"], proof, index=index, size=size)
        except pymerkle.InvalidProof:
            return False
        return True

    assert all(map(judge, inclusions()))
    assert not any(map(judge, flips(inclusion(171), "Proof", "Root", "Leaf")))
