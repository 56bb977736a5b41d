"""RFC 6962 Merkle trees over SHA-256: hashes, roots and proofs. Nothing here reads or stores.

Subtrees are those of draft-ietf-plants-merkle-tree-certs: leaves [start, end) where `start` is a multiple of the
smallest power of two that is not below `end - start`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from privacy.errors import LogError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

# Gives the hash of the complete subtree of 2**level leaves that begins at leaf `number * 2**level`.
Nodes = Callable[[int, int], bytes]

_sha256 = hashlib.sha256


def leaf_hash(leaf: bytes) -> bytes:
    """Hash an entry: SHA-256(0x00 || entry)."""
    return _sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two children: SHA-256(0x01 || left || right)."""
    return _sha256(b"\1" + left + right).digest()


class Frontier:
    """The complete subtrees on the right edge of a growing tree: all that its root depends on."""

    __slots__ = ("_edge", "size")

    def __init__(self, size: int = 0, edge: Iterable[bytes] = ()) -> None:
        """Begin at a tree of `size` leaves whose edge, largest subtree first, has one hash a set bit of `size`."""
        self.size = size
        self._edge = list(edge)
        if len(self._edge) != size.bit_count():
            raise LogError(f"edge: got {len(self._edge)} hashes, expected {size.bit_count()} for size {size}")

    def append(self, leaf_hash: bytes) -> None:
        """Add a leaf by its hash."""
        hash, edge, size = leaf_hash, self._edge, self.size
        while size & 1:
            hash = _sha256(b"\1" + edge.pop() + hash).digest()
            size >>= 1
        edge.append(hash)
        self.size += 1

    def root(self) -> bytes:
        """Return the root of the tree as it stands."""
        return _fold(self._edge) if self._edge else EMPTY_ROOT

    def copy(self) -> Frontier:
        """Return a frontier that grows apart from this one."""
        return Frontier(self.size, self._edge)


def frontier(size: int, nodes: Nodes) -> Frontier:
    """Read the right edge of the tree of the first `size` leaves."""
    return Frontier(size, _complete(0, size, nodes))


def root(size: int, nodes: Nodes) -> bytes:
    """Return the root of the first `size` leaves."""
    return subtree_root(0, size, nodes) if size else EMPTY_ROOT


def subtree_root(start: int, end: int, nodes: Nodes) -> bytes:
    """Return the hash of leaves [start, end). Requires a subtree with at least one leaf."""
    return _fold(_complete(start, end, nodes))


def nodes_of(leaf_hashes: Sequence[bytes]) -> Nodes:
    """Give the nodes over leaf hashes that lie in memory; each is computed anew."""

    def node(level: int, number: int) -> bytes:
        return complete_root(leaf_hashes[number << level : (number + 1) << level])

    return node


def complete_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over 2**n hashes."""
    row = list(hashes)
    while len(row) > 1:
        row = [_sha256(b"\1" + row[i] + row[i + 1]).digest() for i in range(0, len(row), 2)]
    return row[0]


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """Prove that a leaf is in the tree of `size` leaves, from its sibling up (RFC 9162 2.1.3.1).

    Raises LogError unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise LogError(f"index: got {index}, expected one from 0 to below {size}")
    start, end = 0, size
    proof = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append((middle, end))
            end = middle
        else:
            proof.append((start, middle))
            start = middle
    return [subtree_root(low, high, nodes) for low, high in reversed(proof)]


def consistency_proof(old: int, size: int, nodes: Nodes) -> list[bytes]:
    """Prove that the tree of `size` leaves continues the one of `old` leaves (RFC 9162 2.1.4.1).

    Raises LogError unless 0 <= old <= size; a proof from nothing, or to itself, is empty.
    """
    if not 0 <= old <= size:
        raise LogError(f"old size: got {old}, expected one from 0 to {size}")
    return subtree_consistency_proof(0, old, size, nodes) if old else []


def subtree_consistency_proof(start: int, end: int, size: int, nodes: Nodes) -> list[bytes]:
    """Prove that the subtree [start, end) is a part of the tree of `size` leaves.

    Raises LogError where these are no leaves of a tree of that size, or no subtree.
    """
    _check_subtree(start, end)
    if not start < end <= size:
        raise LogError(f"subtree: got [{start}, {end}), expected one with leaves, within size {size}")
    low, high, whole = 0, size, True  # whole: the verifier knows the subtree's own hash
    proof = []
    while (start, end) != (low, high):
        middle = low + _split(high - low)
        if end <= middle:
            proof.append((middle, high))
            high = middle
        elif start >= middle:
            proof.append((low, middle))
            low = middle
        else:  # only where start == low: what lies left of the middle is all of the subtree's
            proof.append((low, middle))
            start = low = middle
            whole = False
    if not whole:
        proof.append((low, high))
    return [subtree_root(first, last, nodes) for first, last in reversed(proof)]


def verify_inclusion(index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check a proof that a leaf stands at an index (RFC 9162 2.1.3.2).

    Raises LogError if 0 <= index < size does not hold, if a hash has not 32 bytes, or if the proof does not
    lead to `root`.
    """
    if not 0 <= index < size:
        raise LogError(f"index: got {index}, expected one from 0 to below {size}")
    _check_hashes("leaf hash", [leaf_hash])
    _check_hashes("proof", proof)
    # The path turns left and right as the index says until it meets the right edge; from there only left.
    inner = (index ^ (size - 1)).bit_length()
    expected = inner + (index >> inner).bit_count()
    if len(proof) != expected:
        raise LogError(f"inclusion proof: got {len(proof)} hashes, expected {expected}")
    hash = leaf_hash
    for level, sibling in enumerate(proof):
        left = level >= inner or index >> level & 1
        hash = node_hash(sibling, hash) if left else node_hash(hash, sibling)
    _check_root(hash, root, "inclusion proof")


def verify_consistency(old: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> None:
    """Check a proof that a tree continues an older one, of at least one leaf (RFC 9162 2.1.4.2).

    Raises LogError if 0 < old <= size does not hold or the proof does not lead from `old_root` to `root`.
    """
    if old <= 0:
        raise LogError(f"old size: got {old}, expected at least 1: every tree continues the empty one")
    verify_subtree_consistency(0, old, size, proof, old_root, root)


def verify_subtree_inclusion(
    index: int, start: int, end: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Check a proof that a leaf of the tree stands in the subtree [start, end) of hash `root`. Raises LogError."""
    _check_subtree(start, end)
    if not start <= index < end:
        raise LogError(f"index: got {index}, expected one from {start} to below {end}")
    verify_inclusion(index - start, end - start, leaf_hash, proof, root)


def verify_subtree_consistency(
    start: int, end: int, size: int, proof: Sequence[bytes], subtree: bytes, root: bytes
) -> None:
    """Check a proof that the subtree [start, end) is a part of the tree of `size` leaves. Raises LogError.

    An empty subtree is a part of every tree.
    """
    _check_subtree(start, end)
    if end > size:
        raise LogError(f"subtree: got an end of {end}, expected at most the size, {size}")
    if (start, end) == (0, size) or start == end:
        if proof:
            raise LogError(f"consistency proof: got {len(proof)} hashes, expected none")
        return _check_root(subtree, EMPTY_ROOT if start == end else root, "subtree")
    _check_hashes("proof", proof)
    _check_hashes("root", [subtree, root])
    first, last, edge = start, end - 1, size - 1
    # draft-ietf-plants-merkle-tree-certs 4.4.3: climb to the largest complete subtree at the right end of ours; its
    # hash begins the proof, unless it is our own.
    at_edge = last == edge
    while first != last and (at_edge or last & 1):
        first, last, edge = first >> 1, last >> 1, edge >> 1
    rest = iter(proof)
    hash = subtree
    if first != last:
        hash = next(rest, b"")
        _check_hashes("consistency proof's first hash", [hash])
    small = large = hash
    for sibling in rest:
        if edge == 0:
            raise LogError(f"consistency proof: got {len(proof)} hashes, expected fewer")
        if last & 1 or last == edge:
            if first < last:
                small = node_hash(sibling, small)
            large = node_hash(sibling, large)
            while last & 1 == 0:
                first, last, edge = first >> 1, last >> 1, edge >> 1
        else:
            large = node_hash(large, sibling)
        first, last, edge = first >> 1, last >> 1, edge >> 1
    if edge:
        raise LogError(f"consistency proof: got {len(proof)} hashes, expected more")
    _check_root(small, subtree, "consistency proof's older part")
    _check_root(large, root, "consistency proof")


def _split(leaves: int) -> int:
    """Return the largest power of two below a number above 1."""
    return 1 << (leaves - 1).bit_length() - 1


def _complete(start: int, end: int, nodes: Nodes) -> list[bytes]:
    """Return the hashes of the complete subtrees that make up [start, end), largest first."""
    hashes = []
    while start < end:
        level = (end - start).bit_length() - 1
        hashes.append(nodes(level, start >> level))
        start += 1 << level
    return hashes


def _fold(edge: Sequence[bytes]) -> bytes:
    hash = edge[-1]
    for left in reversed(edge[:-1]):
        hash = node_hash(left, hash)
    return hash


def _check_subtree(start: int, end: int) -> None:
    if not 0 <= start <= end or (start < end and start % (1 << (end - start - 1).bit_length())):
        raise LogError(f"subtree: got [{start}, {end}), expected a start that its length aligns")


def _check_hashes(name: str, hashes: Iterable[bytes]) -> None:
    for hash in hashes:
        if len(hash) != HASH_BYTES:
            raise LogError(f"{name}: got a hash of {len(hash)} bytes, expected {HASH_BYTES}")


def _check_root(computed: bytes, root: bytes, what: str) -> None:
    if computed != root:
        raise LogError(f"{what}: leads to {computed.hex()}, expected {root.hex()}")
