"""RFC 6962 2.1 word for word, recursive and slow: roots, audit paths and consistency proofs over leaf hashes."""

from __future__ import annotations

import hashlib


def merkle_root(hashes: list[bytes]) -> bytes:
    """MTH(D[n])."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = split(len(hashes))
    return hashlib.sha256(b"\x01" + merkle_root(hashes[:k]) + merkle_root(hashes[k:])).digest()


def merkle_path(index: int, hashes: list[bytes]) -> list[bytes]:
    """PATH(m, D[n])."""
    if len(hashes) == 1:
        return []
    k = split(len(hashes))
    if index < k:
        return [*merkle_path(index, hashes[:k]), merkle_root(hashes[k:])]
    return [*merkle_path(index - k, hashes[k:]), merkle_root(hashes[:k])]


def merkle_consistency(old: int, hashes: list[bytes], known: bool = True) -> list[bytes]:
    """SUBPROOF(m, D[n], b)."""
    if old == len(hashes):
        return [] if known else [merkle_root(hashes)]
    k = split(len(hashes))
    if old <= k:
        return [*merkle_consistency(old, hashes[:k], known), merkle_root(hashes[k:])]
    return [*merkle_consistency(old - k, hashes[k:], False), merkle_root(hashes[:k])]


def split(count: int) -> int:
    """Return the largest power of two smaller than `count`."""
    k = 1
    while k * 2 < count:
        k *= 2
    return k
