"""What an index promises, and its exact twin: every eligible row scored, nothing approximated."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from contexts.context import Vector

Words = NDArray[np.uint64]
Rows = NDArray[np.int64]


class Eligible:
    """A set of rows as a bitmap of 64-bit words, little bit order; bits past the last row are zero."""

    __slots__ = ("_rows", "count", "words")

    def __init__(self, words: Words) -> None:
        self.words = words
        self.count = int(np.bitwise_count(words).sum())
        self._rows: Rows | None = None

    @classmethod
    def from_mask(cls, mask: NDArray[np.bool_]) -> Eligible:
        """Take a mask of (rows,) booleans."""
        bits = np.packbits(mask, bitorder="little")
        padded = np.zeros(-(-len(mask) // 64) * 8, np.uint8)
        padded[: len(bits)] = bits
        return cls(padded.view(np.uint64))

    @property
    def rows(self) -> Rows:
        """Return the rows' numbers, ascending; computed once."""
        if self._rows is None:
            if self.count * 10 > len(self.words) * 64:
                bits = np.unpackbits(self.words.view(np.uint8), bitorder="little")
                self._rows = bits.view(bool).nonzero()[0]
            else:
                # Empty bytes are skipped: twice as fast and more, up to the tenth from which NumPy has no branches.
                octets = self.words.view(np.uint8)
                filled = (octets != 0).nonzero()[0]
                bits = np.unpackbits(octets[filled], bitorder="little")
                places = bits.view(bool).nonzero()[0]
                rows = filled[places >> 3]
                rows <<= 3
                places &= 7
                rows |= places
                self._rows = rows
        return self._rows

    def holds(self, rows: Rows) -> NDArray[np.bool_]:
        """Say for each row whether it is in the set."""
        bits: NDArray[np.uint8] = self.words.view(np.uint8)[rows >> 3] >> (rows & 7).astype(np.uint8)
        return (bits & 1).astype(bool)


class Index(Protocol):
    """Finds the rows nearest to a query by inner product, among the eligible ones."""

    dim: int
    size: int

    def search(self, query: Vector, k: int, eligible: Eligible) -> tuple[Rows, Vector]:
        """Return min(k, eligible.count) rows, best first, with their exact scores.

        `query` is (dim,) float32. Never short: where approximation finds too few, the rest is searched.
        """

    def vector(self, row: int) -> Vector:
        """Return the (dim,) vector of a row."""

    def scores(self, query: Vector, rows: Rows) -> Vector:
        """Return the exact score of each of these rows."""


class ExactIndex:
    """The slow, obvious twin."""

    def __init__(self, vectors: Vector) -> None:
        self.vectors = vectors
        self.size, self.dim = vectors.shape

    def search(self, query: Vector, k: int, eligible: Eligible) -> tuple[Rows, Vector]:
        """Score every eligible row."""
        rows = eligible.rows
        scores = self.scores(query, rows)
        order = np.lexsort((rows, -scores))[:k]
        return rows[order], scores[order]

    def vector(self, row: int) -> Vector:
        """Return the vector of a row."""
        vector: Vector = self.vectors[row]
        return vector

    def scores(self, query: Vector, rows: Rows) -> Vector:
        """Return the score of each row."""
        scores: Vector = self.vectors[rows] @ query
        return scores
