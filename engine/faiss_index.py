"""The FAISS index over memory-mapped files: a search that picks its method by how many rows are eligible.

Two methods; each ends with the exact scores of the true vectors.

exact   Score every eligible row. A row costs 40 to 100 ns, so this wins while the rows are few. Short
        forms of a row do not help here: 128 principal components of 424 columns cost half, but put one of
        the best 10 behind 600 of 1,000 rows.
lists   The rows are clustered into lists; a 4-bit product quantizer's codes are scanned 32 rows at a time.
        A fixed number of lists fails under filters (the eligible rows may all lie elsewhere), so lists are
        chosen by the hits they are expected to hold: within a list, scores are close to normal, around the
        centroid's score, with a few rows farther out. The search ends when the lists left out are expected
        to hold too few rows above the k-th best score found. Where eligible rows are few, each list's are
        counted, and scored exactly if the list holds few beside its codes.
"""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from contexts.context import Vector
from engine.faiss_files import GROUP, LINE, Files, inner_products, map_lists, padded, read
from engine.index import Eligible, Rows

EXACT_ROWS = 3072  # as many rows as can be scored in the time that the lists take
EXACT_A_LIST = 5  # the same, for each list: centroids are scored too

EXPECTED_MISSES = 0.004  # share of k that may be expected in the lists that a search leaves out
HEAVY_TAILS = 1.2  # times the sigma that is measured: a list's rows are no perfect normal distribution
OUTLIERS = 0.001  # share of a list's rows, such as a small topic put to others, that
FARTHER = 2.0  # times as far scatter
SEED = 20261123
FIRST_LISTS = 12  # that are scanned before there is a score to beat
CODES_A_CANDIDATE = 400  # of so many rows scanned, one more is scored exactly
MOST = 0.5  # share of eligible rows from which on it is not looked how many each list holds
SPARSE = 5.0  # rows scanned for each eligible one
COUNTED_ROWS = 8192  # up to here, lists' eligible rows are counted, not estimated
CODES_A_ROW = 24.0  # codes that can be scanned in the time that one row takes to be scored exactly
SCAN_ROWS = 400  # rows that can be scored exactly in the time that a scan takes before its first code
UNSEEN = 1.0  # rows drawn of a list that the share among all counts for, in estimating the list's
TINY = np.float32(1e-12)
STEPS = 64  # of a sigma, in which the share of rows above is tabled
FARTHEST = 16  # sigmas that are tabled


def single_thread() -> None:
    """Keep FAISS and BLAS on one thread in this process.

    Call it at start, before any search: a fork after a multi-threaded search hangs the child.
    """
    threadpool_limits(1)
    faiss.omp_set_num_threads(1)


class FaissIndex:
    """An index read from files that all processes of a machine share. Safe to search from many threads."""

    def __init__(self, files: Files) -> None:
        self.shape, self.frame, self.sizes = files.shape, files.frame, files.sizes
        self.size, self.dim = self.shape.rows, self.shape.dim
        self._padded, self._vectors = files.vectors, files.rows
        self._lists: Any = map_lists(files) if self.shape.lists else None
        self._list_of = files.list_of
        self._sizes = self.sizes.astype(np.float32)
        # Eligible rows a list are estimated from words drawn without order: rows that stand together in a
        # catalogue are alike.
        self._drawn = np.random.default_rng(SEED).permutation(-(-self.size // 64))

    @classmethod
    def open(cls, folder: Path) -> FaissIndex:
        """Map the files of a folder that `build` or `refreshed` wrote.

        Raises IndexFileError, naming the file, where one is missing, cut short or of another shape.
        """
        return cls(read(folder))

    def search(self, query: Vector, k: int, eligible: Eligible) -> tuple[Rows, Vector]:
        """Return min(k, eligible.count) rows, best first and equal scores by row, with their exact scores.

        Raises ValueError where `query` is not (dim,) or `eligible` is not of this index's rows.
        """
        if query.shape != (self.dim,):
            raise ValueError(f"query: got shape {query.shape}, expected ({self.dim},)")
        if len(eligible.words) != -(-self.size // 64):
            got, expected = len(eligible.words), -(-self.size // 64)
            raise ValueError(f"eligible: got {got} words, expected {expected} for {self.size} rows")
        k = min(k, eligible.count)
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        query = _rooms.aligned(query)
        if self._lists is None or eligible.count <= max(EXACT_ROWS, EXACT_A_LIST * self.shape.lists, 4 * k):
            return self._best(query, k, eligible.rows)
        return self._by_lists(query, k, eligible)

    def vector(self, row: int) -> Vector:
        """Return the (dim,) vector of a row."""
        vector: Vector = self._vectors[row]
        return vector

    def scores(self, query: Vector, rows: Rows) -> Vector:
        """Return the exact score of each of these rows."""
        return inner_products(self._padded, _rooms.aligned(query), rows)

    def _by_lists(self, query: Vector, k: int, eligible: Eligible) -> tuple[Rows, Vector]:
        frame = self.frame
        asked = query[: self.dim]
        centre = frame.centroids @ asked
        part = frame.spread @ asked
        variance = part @ part + frame.rest * (asked @ asked)
        sigma = frame.scatter * (HEAVY_TAILS * math.sqrt(variance)) + TINY
        parameters = _rooms.every if eligible.count == self.size else _rooms.among(eligible)
        placed = np.zeros(GROUP * len(frame.codebook), np.float32)
        placed[frame.place] = frame.dual @ asked
        rows, list_of = np.empty(0, np.int64), np.empty(0, np.int32)
        counted = eligible.count <= COUNTED_ROWS
        if counted:
            rows, list_of, held = self._counted(eligible)
        else:
            held = self._held(eligible)

        def among(lists: Rows, expected: float) -> tuple[Rows, Vector]:
            """Return the eligible rows of these lists that may be best with scores by codes; of sparse lists, all."""
            if not counted:
                return self._scan(
                    placed, _shortlist(k, expected, self._sizes[lists].sum()), lists, centre, parameters
                )
            sizes, eligible_there = self._sizes[lists], held[lists]
            dense = sizes <= CODES_A_ROW * eligible_there
            if eligible_there[dense].sum() <= SCAN_ROWS + sizes[dense].sum() / CODES_A_ROW:
                dense[:] = False
            sparse = np.zeros(len(held), bool)
            sparse[lists[~dense]] = True
            found = rows[sparse[list_of].nonzero()[0]]
            scores = inner_products(self._padded, query, found)
            if not dense.any():
                return found, scores
            most = _shortlist(k, expected, sizes[dense].sum())
            coded, near = self._scan(placed, most, lists[dense], centre, parameters)
            return np.concatenate((found, coded)), np.concatenate((scores, near))

        # First the lists where the best rows are expected; then, with a score to beat, all that may beat it.
        promise = centre + sigma * np.sqrt(2 * np.log1p(held))
        if counted:
            promise[held == 0] = -np.inf
        order = (-promise).argsort()
        enough = int(held[order].cumsum().searchsorted(8 * k + 64)) + 1
        lists = order[: enough if counted else max(FIRST_LISTS, enough)]
        scanned = self._sizes[lists].sum()
        found, near = among(lists, k)
        kth = np.partition(near, len(near) - k)[len(near) - k] if len(near) >= k else -np.inf
        held[lists] = 0
        hits = held * _share_above((kth - centre) / sigma)
        if hits.sum() > EXPECTED_MISSES * k:
            more = _worth_scanning(hits, k)
            if not counted and self._sizes[more].sum() > SPARSE * eligible.count:
                # So few rows of these lists are eligible that counting them all is the smaller work.
                rows, list_of, held = self._counted(eligible)
                counted = True
                held[lists] = 0
                hits = held * _share_above((kth - centre) / sigma)
                more = _worth_scanning(hits, k)
            scanned += self._sizes[more].sum()
            farther, near_there = among(more, float(hits[more].sum()))
            found, near = np.concatenate((found, farther)), np.concatenate((near, near_there))
        most = _shortlist(k, k, scanned)
        if len(found) > most:
            found = found[near.argpartition(len(near) - most)[len(near) - most :]]
        best, scores = self._best(query, k, found)
        return (best, scores) if len(best) == k else self._best(query, k, eligible.rows)

    def _counted(self, eligible: Eligible) -> tuple[Rows, NDArray[np.int32], Vector]:
        """Return the eligible rows, the list of each, and how many each list holds."""
        rows = eligible.rows
        list_of = self._list_of[rows]
        return rows, list_of, np.bincount(list_of, minlength=len(self._sizes)).astype(np.float32)

    def _held(self, eligible: Eligible) -> Vector:
        """Return how many eligible rows each list holds, estimated from a few thousand of them.

        Where most rows are eligible, a list's share is taken to be that of all: at most twice as many are.
        """
        if eligible.count > MOST * self.size:
            return self._sizes * np.float32(eligible.count / self.size)
        lists = len(self._sizes)
        words = self._drawn[: max(128, 4 * lists * len(self._drawn) // eligible.count)]
        drawn = eligible.words[words]
        places = np.unpackbits(drawn.view(np.uint8), bitorder="little").view(bool).nonzero()[0]
        rows = (words[places >> 6] << 6) | (places & 63)
        seen = np.bincount(self._list_of[rows], minlength=lists).astype(np.float32)
        # A list of which little was drawn is thought to hold the share that all rows do, not nothing.
        drawn_there = self._sizes * np.float32(64 * len(words) / self.size)
        usual = np.float32(eligible.count / self.size * UNSEEN)
        held: Vector = self._sizes * (seen + usual) / (drawn_there + np.float32(UNSEEN))
        return held

    def _scan(
        self, placed: Vector, most: int, lists: Rows, centre: Vector, parameters: Any
    ) -> tuple[Rows, Vector]:
        """Return the best `most` eligible rows of the lists, judged by their codes, with those scores."""
        parameters.nprobe = len(lists)
        rows = np.empty(most, np.int64)
        near = np.empty(most, np.float32)
        bias = centre[lists]
        self._lists.search_preassigned_c(
            1,
            faiss.swig_ptr(placed),
            most,
            faiss.swig_ptr(lists),
            faiss.swig_ptr(bias),
            faiss.swig_ptr(near),
            faiss.swig_ptr(rows),
            False,
            parameters,
        )
        whole = rows >= 0
        return (rows, near) if whole.all() else (rows[whole], near[whole])

    def _best(self, query: Vector, k: int, rows: Rows) -> tuple[Rows, Vector]:
        """Return the best k of the rows by their true vectors."""
        scores = inner_products(self._padded, query, rows)
        if len(rows) > k:
            kth = np.partition(scores, len(scores) - k)[len(scores) - k]
            contenders = (scores >= kth).nonzero()[0]
            rows, scores = rows[contenders], scores[contenders]
        order = np.lexsort((rows, -scores))[:k]
        return rows[order], scores[order]


def _worth_scanning(hits: Vector, k: int) -> Rows:
    """Return the lists to scan, given the hits that each is expected to hold; the most first."""
    order = hits.argsort()
    worth = order[int(hits[order].cumsum().searchsorted(EXPECTED_MISSES * k, side="right")) :]
    return np.ascontiguousarray(worth[::-1])  # what is found first keeps the rest out


def _shortlist(k: int, expected: float, scanned: float) -> int:
    """Return how many rows to take by their codes where `expected` of the best k are among those scanned."""
    return int(3 * min(k, expected) + 80 + scanned / CODES_A_CANDIDATE)


def _normal_above(z: Vector) -> Vector:
    """Return the share of a normal distribution above z >= 0 sigmas, to a few per cent."""
    share: Vector = np.float32(0.5) * np.exp(-z * (np.float32(0.717) + np.float32(0.416) * z))
    return share


def _share_above(z: Vector) -> Vector:
    """Return the share of a list's rows above z sigmas, to a step of the table; a half where z < 0."""
    steps = z * np.float32(STEPS)
    np.minimum(np.maximum(steps, np.float32(0), out=steps), np.float32(len(_SHARES) - 1), out=steps)
    share: Vector = _SHARES[steps.astype(np.intp)]
    return share


_SIGMAS: Vector = np.arange(FARTHEST * STEPS, dtype=np.float32) / np.float32(STEPS)
_SHARES = _normal_above(_SIGMAS) + np.float32(OUTLIERS) * _normal_above(_SIGMAS * np.float32(1 / FARTHER))


class _Rooms(threading.local):
    """What a thread lends to each of its searches, one after the other: no search makes these anew."""

    def __init__(self) -> None:
        self._room = np.zeros(0, np.float32)
        self._words = np.zeros(0, np.uint64)
        self.every: Any = faiss.SearchParametersIVF()
        self._some: Any = faiss.SearchParametersIVF()
        self._selector: Any = None

    def aligned(self, query: Vector) -> Vector:
        """Return the query, padded as rows are, at the start of a cache line; until the thread's next."""
        if len(self._room) != padded(len(query)):
            room = np.zeros(padded(len(query)) + LINE, np.float32)
            start = -(room.__array_interface__["data"][0] // room.itemsize) % LINE
            self._room = room[start : start + padded(len(query))]
        self._room[: len(query)] = query
        self._room[len(query) :] = 0
        return self._room

    def among(self, eligible: Eligible) -> Any:
        """Return parameters that let the eligible rows through; until the thread's next."""
        if len(self._words) != len(eligible.words):
            self._words = np.empty(len(eligible.words), np.uint64)
            bits = self._words.view(np.uint8)
            self._selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            self._some.sel = self._selector  # held here, too: not every FAISS keeps it
        self._words[:] = eligible.words
        return self._some


_rooms = _Rooms()
