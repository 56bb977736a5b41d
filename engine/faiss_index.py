"""The FAISS index: memory-mapped files, and a search that picks its method by how many rows are eligible.

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
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import faiss
import msgspec
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from contexts.context import Vector
from engine.errors import IndexFileError
from engine.index import Eligible, Rows

FORMAT = 2

EXACT_ROWS = 3072  # as many rows as can be scored in the time that the lists take
EXACT_A_LIST = 5  # the same, for each list: centroids are scored too
LISTED_ROWS = 8192  # catalogues below this size have no lists
SPREAD_DIM = 128
GROUP = 2  # dimensions coded together, in 4 bits
LINE = 16  # numbers in a cache line; rows begin on one: scored an eighth faster
BLOCK = 32  # rows that FAISS interleaves in one block of codes

EXPECTED_MISSES = 0.004  # share of k that may be expected in the lists that a search leaves out
HEAVY_TAILS = 1.2  # times the sigma that is measured: a list's rows are no perfect normal distribution
OUTLIERS = 0.001  # share of a list's rows, such as a small topic put to others, that
FARTHER = 2.0  # times as far scatter
RETRAIN_SHARE = 0.25  # of rows that the codebooks have never seen; from here on they are trained anew
TRAIN_POINTS = 64  # a list
SEED = 20261123
FIRST_LISTS = 12  # that are scanned before there is a score to beat
CODES_A_CANDIDATE = 200  # of so many rows scanned, one more is scored exactly
MOST = 0.5  # share of eligible rows from which on it is not looked how many each list holds
SPARSE = 5.0  # rows scanned for each eligible one
COUNTED_ROWS = 16_384  # up to here, lists' eligible rows are counted, not estimated
CODES_A_ROW = 8.0  # codes that can be scanned in the time that one row takes to be scored exactly
SCAN_ROWS = 800  # rows that can be scored exactly in the time that a scan takes before its first code
UNSEEN_WEIGHT = 32.0  # rows that the even spread counts for beside those drawn, in estimating a list's share
TINY = np.float32(1e-12)
CHUNK = 65_536  # rows encoded at once
REMEDY = "build the index anew from the catalogue"


@dataclass(frozen=True, slots=True)
class Shape:
    """What the files of an index hold; written last, so that a half-written folder has none."""

    format: int
    rows: int
    dim: int
    lists: int  # 0: too few rows to need lists
    strangers: int  # rows added since the codebooks were trained
    rest: float  # Frame.rest


def single_thread() -> None:
    """Keep FAISS and BLAS on one thread in this process.

    Call it at start, before any search: a fork after a multi-threaded search hangs the child.
    """
    threadpool_limits(1)
    faiss.omp_set_num_threads(1)


def build(vectors: Vector, folder: Path, *, weights: Vector | None = None, threads: int = 1) -> None:
    """Train and write an index of (rows, dim) float32 vectors into an empty folder.

    `weights`, (dim,) above 0, say how much queries make of each column: lists are made of rows that are
    alike to such queries. Without them all columns count alike, which costs time where columns with large
    numbers weigh little in the score. The same arguments give the same files.
    `dim` must be divisible by 8, numbers finite: raises ValueError where they are not.
    """
    _check(vectors, weights)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        _write(folder, vectors, _train(vectors, weights), strangers=0)
    finally:
        faiss.omp_set_num_threads(before)


def refreshed(
    old: Path, vectors: Vector, folder: Path, *, weights: Vector | None = None, threads: int = 1
) -> bool:
    """Write an index of `vectors` into an empty folder, keeping the codebooks of the one in `old`.

    Rows that `old` holds too, wherever they stood, keep their codes. Returns False and trains anew where
    the dimension changed, where a quarter of the rows are strangers to the codebooks, or where the number
    of rows asks for twice or half as many lists. Raises IndexFileError where `old` cannot be read.
    """
    _check(vectors, weights)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        index = FaissIndex.open(old)
        rows, dim = vectors.shape
        known = _same_rows(index, vectors) if dim == index.dim else np.full(rows, -1)
        strangers = index.shape.strangers + int((known < 0).sum())
        wanted = _list_count(rows)
        fits = dim == index.dim and index.frame is not None and strangers <= RETRAIN_SHARE * rows
        if fits and wanted and index.shape.lists / 2 < wanted < index.shape.lists * 2:
            _write(folder, vectors, index.frame, strangers=strangers, old=(old / "lists.bin", index, known))
            return True
        _write(folder, vectors, _train(vectors, weights), strangers=0)
        return False
    finally:
        faiss.omp_set_num_threads(before)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What training learns. Without lists, arrays of no rows."""

    weights: Vector  # (dim,), what a column counts when rows are put in lists
    centroids: Vector  # (lists, dim)
    order: NDArray[np.int64]  # (dim,), dimensions dealt out so that each four has a like share of the score
    codebook: Vector  # (dim / GROUP, 16, GROUP), of residuals in `order`
    spread: Vector  # (SPREAD_DIM, dim), root of the residuals' second moments, the largest part
    rest: float  # second moment in each direction that `spread` leaves out
    scatter: Vector  # (lists,), root of a list's mean squared residual over that of all rows

    def assigned(self, vectors: Vector) -> tuple[NDArray[np.int32], Vector]:
        """Return the list of each row, and its squared distance from there."""
        squares, nearest = faiss.knn(vectors * self.weights, self.centroids * self.weights, 1)
        return nearest[:, 0].astype(np.int32), np.maximum(squares[:, 0], 0)

    def residuals(self, vectors: Vector, lists: NDArray[np.int32]) -> Vector:
        """Return what the codes code."""
        return np.ascontiguousarray((vectors - self.centroids[lists])[:, self.order])


class FaissIndex:
    """An index read from files that all processes of a machine share. Safe to search from many threads."""

    def __init__(
        self,
        shape: Shape,
        vectors: Vector,
        frame: Frame,
        lists: Any,
        sizes: NDArray[np.int64],
        list_of: NDArray[np.int32],
    ) -> None:
        self.shape = shape
        self.size, self.dim = shape.rows, shape.dim
        self.frame = frame
        self._padded = vectors  # (rows, _padded(dim))
        self._vectors = vectors[:, : shape.dim]
        self._lists = lists
        self.sizes = sizes
        self._sizes = sizes.astype(np.float32)
        self._list_of = list_of
        # Eligible rows a list are estimated from words drawn without order: rows that stand together in a
        # catalogue are alike.
        self._drawn = np.random.default_rng(SEED).permutation(-(-self.size // 64))

    @classmethod
    def open(cls, folder: Path) -> FaissIndex:
        """Map the files of a folder that `build` or `refreshed` wrote.

        Raises IndexFileError, naming the file, where one is missing, cut short or of another shape.
        """
        shape = _read_shape(folder / "shape.json")
        rows, dim, lists = shape.rows, shape.dim, shape.lists
        vectors = _load(folder / "vectors.npy", (rows, _padded(dim)), np.float32)
        width = dim if lists else 0
        shapes: dict[str, tuple[int, ...]] = {
            "weights": (width,),
            "centroids": (lists, dim),
            "codebook": (width // GROUP, 16, GROUP),
            "spread": (min(SPREAD_DIM, width), dim),
            "scatter": (lists,),
        }
        frame = Frame(
            order=_load(folder / "order.npy", (width,), np.int64),
            rest=shape.rest,
            **{name: _load(folder / f"{name}.npy", size, np.float32) for name, size in shapes.items()},
        )
        sizes = _load(folder / "sizes.npy", (lists,), np.int64)
        list_of = _load(folder / "list_of.npy", (rows if lists else 0,), np.int32)
        if rows and lists and (list_of.min() < 0 or (np.bincount(list_of, minlength=lists) != sizes).any()):
            raise IndexFileError(
                f"{folder / 'list_of.npy'}: rows do not lie in lists as sizes.npy says; {REMEDY}"
            )
        mapped = _map_lists(folder / "lists.bin", frame, sizes, rows) if lists else None
        return cls(shape, vectors, frame, mapped, sizes, list_of)

    def search(self, query: Vector, k: int, eligible: Eligible) -> tuple[Rows, Vector]:
        """Return min(k, eligible.count) rows, best first and equal scores by row, with their exact scores.

        Raises ValueError where `query` is not (dim,) or `eligible` is not of this index's rows.
        """
        if query.shape != (self.dim,):
            raise ValueError(f"query: got shape {query.shape}, expected ({self.dim},)")
        if len(eligible.words) != -(-self.size // 64):
            got, expected = len(eligible.words), -(-self.size // 64)
            raise ValueError(f"eligible: got {got} words, expected {expected} for {self.size} rows")
        query = _aligned(query)
        k = min(k, eligible.count)
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if self._lists is None or eligible.count <= max(EXACT_ROWS, EXACT_A_LIST * self.shape.lists, 4 * k):
            return self._best(query, k, eligible.rows)
        return self._by_lists(query, k, eligible)

    def vector(self, row: int) -> Vector:
        """Return the (dim,) vector of a row."""
        vector: Vector = self._vectors[row]
        return vector

    def scores(self, query: Vector, rows: Rows) -> Vector:
        """Return the exact score of each of these rows."""
        return _scores(self._padded, _aligned(query), rows)

    def _by_lists(self, query: Vector, k: int, eligible: Eligible) -> tuple[Rows, Vector]:
        frame = self.frame
        asked = query[: self.dim]
        centre = frame.centroids @ asked
        part = frame.spread @ asked
        variance = part @ part + frame.rest * (asked @ asked)
        sigma = frame.scatter * (HEAVY_TAILS * math.sqrt(variance)) + TINY
        selector = self._selector(eligible)
        permuted = query[frame.order]
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
                    permuted, _shortlist(k, expected, self._sizes[lists].sum()), lists, centre, selector
                )
            sizes, eligible_there = self._sizes[lists], held[lists]
            dense = sizes <= CODES_A_ROW * eligible_there
            if eligible_there[dense].sum() <= SCAN_ROWS + sizes[dense].sum() / CODES_A_ROW:
                dense[:] = False
            sparse = np.zeros(len(held), bool)
            sparse[lists[~dense]] = True
            found = rows[sparse[list_of].nonzero()[0]]
            scores = _scores(self._padded, query, found)
            if not dense.any():
                return found, scores
            most = _shortlist(k, expected, sizes[dense].sum())
            coded, near = self._scan(permuted, most, lists[dense], centre, selector)
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

    def _selector(self, eligible: Eligible) -> Any | None:
        if eligible.count == self.size:
            return None
        bits = eligible.words.view(np.uint8)
        return faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))

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
        seen = np.bincount(self._list_of[rows], minlength=lists)
        # What was not seen is thought to be spread like all rows, with the weight of a list's mean share.
        prior = self._sizes * (UNSEEN_WEIGHT / self.size)
        held: Vector = (seen + prior) * np.float32(eligible.count / (len(rows) + UNSEEN_WEIGHT))
        return held

    def _scan(
        self, permuted: Vector, most: int, lists: Rows, centre: Vector, selector: Any | None
    ) -> tuple[Rows, Vector]:
        """Return the best `most` eligible rows of the lists, judged by their codes, with those scores."""
        parameters = faiss.SearchParametersIVF()
        parameters.nprobe = len(lists)
        if selector is not None:
            parameters.sel = selector
        rows = np.empty(most, np.int64)
        near = np.empty(most, np.float32)
        bias = centre[lists]
        self._lists.search_preassigned_c(
            1,
            faiss.swig_ptr(permuted),
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
        scores = _scores(self._padded, query, rows)
        if len(rows) > k:
            kth = np.partition(scores, len(scores) - k)[len(scores) - k]
            contenders = (scores >= kth).nonzero()[0]
            rows, scores = rows[contenders], scores[contenders]
        order = np.lexsort((rows, -scores))[:k]
        return rows[order], scores[order]


def _padded(dim: int) -> int:
    return -(-dim // LINE) * LINE


def _aligned(query: Vector) -> Vector:
    """Return the query, padded as rows are, at the start of a cache line."""
    room = np.zeros(_padded(len(query)) + LINE, np.float32)
    start = -(room.__array_interface__["data"][0] // room.itemsize) % LINE
    aligned = room[start : start + _padded(len(query))]
    aligned[: len(query)] = query
    return aligned


def _scores(vectors: Vector, query: Vector, rows: Rows) -> Vector:
    """Return the inner product of each named row with the query. The rows must exist: FAISS does not look."""
    scores = np.empty(len(rows), np.float32)
    inner_products: Any = faiss.fvec_inner_products_by_idx  # type: ignore[attr-defined]  # not in FAISS's stubs
    inner_products(
        faiss.swig_ptr(scores),
        faiss.swig_ptr(query),
        faiss.swig_ptr(vectors),
        faiss.swig_ptr(rows),
        vectors.shape[1],
        1,
        len(rows),
    )
    return scores


def _worth_scanning(hits: Vector, k: int) -> Rows:
    """Return the lists to scan, given the hits that each is expected to hold; the most first."""
    order = hits.argsort()
    worth = order[int(hits[order].cumsum().searchsorted(EXPECTED_MISSES * k, side="right")) :]
    return np.ascontiguousarray(worth[::-1])  # what is found first keeps the rest out


def _shortlist(k: int, expected: float, scanned: float) -> int:
    """Return how many rows to take by their codes where `expected` of the best k are among those scanned."""
    return int(3 * min(k, expected) + 80 + scanned / CODES_A_CANDIDATE)


def _share_above(z: Vector) -> Vector:
    """Return the share of a list's rows above z sigmas; a half where z < 0."""
    near = np.maximum(z, np.float32(0))
    return _normal_above(near) + np.float32(OUTLIERS) * _normal_above(near * np.float32(1 / FARTHER))


def _normal_above(z: Vector) -> Vector:
    """Return the share of a normal distribution above z >= 0 sigmas, to a few per cent."""
    share: Vector = np.float32(0.5) * np.exp(-z * (np.float32(0.717) + np.float32(0.416) * z))
    return share


# Building


def _check(vectors: Vector, weights: Vector | None) -> None:
    dim = vectors.shape[1] if vectors.ndim == 2 else 0
    if not dim or dim % 8 or vectors.dtype != np.float32:
        got = f"{vectors.dtype} of shape {vectors.shape}"
        raise ValueError(f"vectors: got {got}, expected float32 of (rows, a multiple of 8)")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise ValueError(f"vectors: row {int(finite.argmin())} holds numbers that are not finite")
    if weights is not None and (weights.shape != (dim,) or not (weights > 0).all()):
        raise ValueError(f"weights: got shape {weights.shape}, expected ({dim},) numbers above 0")


def _list_count(rows: int) -> int:
    """Return the power of two near 1.6 √rows: scoring centroids and scanning lists then cost alike."""
    return 0 if rows < LISTED_ROWS else 1 << round(math.log2(1.6 * math.sqrt(rows)))


def _train(vectors: Vector, weights: Vector | None) -> Frame:
    rows, dim = vectors.shape
    lists = _list_count(rows)
    chance = np.random.default_rng(SEED)
    drawn = np.sort(chance.permutation(rows)[: max(lists * TRAIN_POINTS, LISTED_ROWS)])
    sample = np.ascontiguousarray(vectors[drawn])
    nothing = np.empty(0, np.float32)
    frame = Frame(
        weights=nothing,
        centroids=nothing.reshape(0, dim),
        order=np.empty(0, np.int64),
        codebook=nothing.reshape(0, 16, GROUP),
        spread=nothing.reshape(0, dim),
        rest=0.0,
        scatter=nothing,
    )
    if not lists:
        return frame
    means = faiss.Kmeans(
        dim, lists, niter=10, seed=SEED, max_points_per_centroid=TRAIN_POINTS, min_points_per_centroid=1
    )
    weights = np.ones(dim, np.float32) if weights is None else np.ascontiguousarray(weights, np.float32)
    means.train(sample * weights)
    frame = replace(frame, weights=weights, centroids=np.asarray(means.centroids, np.float32) / weights)
    nearest, squares = frame.assigned(sample)
    residuals = sample - frame.centroids[nearest]
    moments, directions = _moments(residuals)
    kept = min(SPREAD_DIM, dim)
    # A list with few rows in the sample is thought to scatter like the mean.
    count = np.bincount(nearest, minlength=lists) + 8
    share = np.bincount(nearest, weights=squares, minlength=lists) + 8 * squares.mean()
    order = _deal(np.square(residuals).mean(axis=0))
    frame = replace(
        frame,
        order=order,
        spread=np.ascontiguousarray(directions[:kept] * np.sqrt(moments[:kept, None]), np.float32),
        rest=float(moments[kept:].sum() / max(1, dim - kept)),
        scatter=np.sqrt(share / count / (squares.mean() + TINY)).astype(np.float32),
    )
    quantizer = faiss.ProductQuantizer(dim, dim // GROUP, 4)
    quantizer.cp.seed = SEED
    quantizer.cp.min_points_per_centroid = 1
    quantizer.train(_spread_out(frame.residuals(sample, nearest), chance))
    return replace(
        frame, codebook=faiss.vector_to_array(quantizer.centroids).reshape(dim // GROUP, 16, GROUP)
    )


def _spread_out(residuals: Vector, chance: np.random.Generator) -> Vector:
    """Draw what to train codes on: of each group half as it comes, half in proportion to its square.

    A column that is seldom but then far from zero, such as that of a rare wish, else gets no code near its values.
    """
    count, dim = residuals.shape
    drawn = np.empty_like(residuals)
    half = chance.permutation(count)[: count // 2]
    for start in range(0, dim, GROUP):
        group = residuals[:, start : start + GROUP]
        mass = np.cumsum(np.square(group).sum(axis=1, dtype=float))
        far = mass.searchsorted(chance.random(count - len(half)) * mass[-1]).clip(max=count - 1)
        drawn[:, start : start + GROUP] = group[np.concatenate((half, far))]
    return drawn


def _moments(rows: Vector) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return second moments, largest first, and their (dim, dim) directions, one a row."""
    moments, directions = np.linalg.eigh((rows.T @ rows).astype(np.float64) / max(1, len(rows)))
    return np.maximum(moments[::-1], 0), directions.T[::-1]


def _deal(weights: Vector) -> NDArray[np.int64]:
    """Deal dimensions out in groups of like weight: one scale serves all groups' tables of 8-bit numbers."""
    groups: list[list[int]] = [[] for _ in range(len(weights) // GROUP)]
    load = np.zeros(len(groups))
    for dimension in (-weights).argsort(kind="stable"):
        lightest = int(load.argmin())
        groups[lightest].append(int(dimension))
        full = len(groups[lightest]) == GROUP
        load[lightest] = np.inf if full else load[lightest] + weights[dimension]
    return np.array(groups, np.int64).reshape(-1)


def _quantizer(frame: Frame) -> Any:
    """Return a FAISS index with the frame's codebook and no rows."""
    groups, dim = len(frame.codebook), GROUP * len(frame.codebook)
    index = faiss.IndexIVFPQFastScan(
        faiss.IndexFlatIP(dim), dim, len(frame.centroids), groups, 4, faiss.METRIC_INNER_PRODUCT, BLOCK
    )
    faiss.copy_array_to_vector(frame.codebook.reshape(-1), index.pq.centroids)
    index.by_residual = True
    index.is_trained = True
    index.implem = 11  # a query by itself, candidates in a reservoir: a quarter faster than FAISS chooses
    return index


def _write(
    folder: Path,
    vectors: Vector,
    frame: Frame,
    *,
    strangers: int,
    old: tuple[Path, FaissIndex, NDArray[np.int64]] | None = None,
) -> None:
    """Write all files; rows known to the old index, by their row there, keep their codes and list."""
    rows, dim = vectors.shape
    lists = len(frame.centroids)
    with (folder / "vectors.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, _padded(dim))}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, CHUNK):
            np.pad(vectors[start : start + CHUNK], ((0, 0), (0, _padded(dim) - dim))).tofile(file)
    list_of = np.empty(rows if lists else 0, np.int32)
    sizes = np.zeros(lists, np.int64)
    if lists:
        quantizer = _quantizer(frame)
        codes = np.empty((rows, dim // GROUP // 2), np.uint8)
        fresh = np.arange(rows)
        if old is not None:
            path, index, known = old
            kept = known >= 0
            list_of[kept] = index._list_of[known[kept]]
            codes[kept] = _read_codes(path, index)[known[kept]]
            fresh = (~kept).nonzero()[0]
        for start in range(0, len(fresh), CHUNK):
            part = fresh[start : start + CHUNK]
            nearest, _ = frame.assigned(vectors[part])
            codes[part] = quantizer.pq.compute_codes(frame.residuals(vectors[part], nearest))
            list_of[part] = nearest
        sizes = np.bincount(list_of, minlength=lists)
        _write_lists(folder / "lists.bin", quantizer, codes, list_of, sizes)
    learnt = {field.name: getattr(frame, field.name) for field in fields(Frame) if field.name != "rest"}
    arrays = {**learnt, "sizes": sizes, "list_of": list_of}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    shape = Shape(FORMAT, rows, dim, lists, strangers, frame.rest)
    (folder / "shape.json").write_bytes(msgspec.json.encode(shape))


def _write_lists(
    path: Path, quantizer: Any, codes: NDArray[np.uint8], list_of: NDArray[np.int32], sizes: NDArray[np.int64]
) -> None:
    """Write for each list its blocks of codes, then its rows' numbers, the last block filled up."""
    packer = quantizer.get_CodePacker()
    members = np.split(list_of.argsort(kind="stable"), sizes.cumsum()[:-1])
    with path.open("wb") as file:
        for rows in members:
            room = -(-len(rows) // BLOCK) * BLOCK
            flat = np.zeros((room, codes.shape[1]), np.uint8)
            flat[: len(rows)] = codes[rows]
            packed = np.zeros_like(flat)
            for start in range(0, room, BLOCK):
                packer.pack_all(faiss.swig_ptr(flat[start:]), faiss.swig_ptr(packed[start:]))
            numbers = np.full(room, -1, np.int64)
            numbers[: len(rows)] = rows
            file.write(packed.tobytes())
            file.write(numbers.tobytes())


def _read_codes(path: Path, index: FaissIndex) -> NDArray[np.uint8]:
    """Return (rows, dim / GROUP / 2) codes, unpacked from the lists."""
    width = index.dim // GROUP // 2
    codes = np.empty((index.size, width), np.uint8)
    packed = np.memmap(path, np.uint8, mode="r")
    packer = _quantizer(index.frame).get_CodePacker()
    for size, room, start in _places(index.frame, index.sizes).astype(np.int64).tolist():
        flat = np.empty((room, width), np.uint8)
        for first in range(0, room, BLOCK):
            block = np.array(packed[start + first * width :][: BLOCK * width])
            packer.unpack_all(faiss.swig_ptr(block), faiss.swig_ptr(flat[first:]))
        numbers = packed[start + room * width :][: 8 * size].view(np.int64)
        codes[numbers] = flat[:size]
    return codes


def _places(frame: Frame, sizes: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return (lists, 3): rows, room for rows, and the byte where each list begins in the file."""
    room = -(-sizes // BLOCK) * BLOCK
    length = room * (len(frame.codebook) // 2 + 8)
    return np.stack((sizes, room, length.cumsum() - length), axis=1).astype(np.uint64)


def _map_lists(path: Path, frame: Frame, sizes: NDArray[np.int64], rows: int) -> Any:
    """Return a FAISS index over the mapped file."""
    index = _quantizer(frame)
    places = _places(frame, sizes)
    expected = int((places[:, 1] * np.uint64(len(frame.codebook) // 2 + 8)).sum())
    got = path.stat().st_size if path.is_file() else -1
    if got != expected:
        raise IndexFileError(f"{path}: {_found(got)}, expected {expected} bytes; {REMEDY}")
    lists: Any = faiss.OnDiskInvertedLists()
    lists.nlist = len(sizes)
    lists.code_size = index.code_size
    lists.filename = str(path)
    lists.totsize = expected
    lists.read_only = True
    lists.lists.resize(len(sizes))
    faiss.memcpy(lists.lists.data(), faiss.swig_ptr(places), places.nbytes)
    index.replace_invlists(lists, False)
    index.ntotal = rows
    # FAISS maps the file of on-disk lists when it reads their header, not when one is made by hand.
    return faiss.deserialize_index(faiss.serialize_index(index), faiss.IO_FLAG_READ_ONLY)


def _same_rows(old: FaissIndex, vectors: Vector) -> NDArray[np.int64]:
    """Return for each vector the row of the old index that holds the same numbers, or -1."""
    known = np.full(len(vectors), -1, np.int64)
    if not len(vectors) or not old.size:
        return known
    # Two projections tell the candidates, by one kernel: equal numbers, equal marks. The numbers decide.
    chance = np.random.default_rng(SEED).standard_normal((2, old.dim)).astype(np.float32)
    every = np.arange(CHUNK)

    def marked(rows: Vector) -> NDArray[np.uint64]:
        marks = np.empty((len(rows), 2), np.float32)
        for start in range(0, len(rows), CHUNK):
            part = np.ascontiguousarray(rows[start : start + CHUNK])
            for number, projection in enumerate(chance):
                marks[start : start + CHUNK, number] = _scores(part, projection, every[: len(part)])
        return marks.view(np.uint64)[:, 0]

    marks = marked(old._vectors)
    order = marks.argsort(kind="stable")
    found = order[marks[order].searchsorted(marked(vectors)).clip(max=old.size - 1)]
    for start in range(0, len(vectors), CHUNK):
        part = slice(start, start + CHUNK)
        same = (vectors[part] == old._vectors[found[part]]).all(axis=1)
        known[part][same] = found[part][same]
    return known


def _read_shape(path: Path) -> Shape:
    try:
        shape = msgspec.json.decode(path.read_bytes(), type=Shape)
    except (OSError, msgspec.MsgspecError) as error:
        raise IndexFileError(f"{path}: {error}; {REMEDY}") from error
    if shape.format != FORMAT:
        raise IndexFileError(f"{path}: got format {shape.format}, expected {FORMAT}; {REMEDY}")
    return shape


def _load(path: Path, shape: tuple[int, ...], dtype: type) -> Any:
    """Map an array. Raises IndexFileError unless it is of this shape and type."""
    try:
        array = np.load(path, mmap_mode="r" if math.prod(shape) else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise IndexFileError(f"{path}: {error}; {REMEDY}") from error
    if array.shape != shape or array.dtype != dtype:
        got = f"{array.dtype} of shape {array.shape}"
        raise IndexFileError(f"{path}: got {got}, expected {np.dtype(dtype)} of shape {shape}; {REMEDY}")
    return np.asarray(array)


def _found(size: int) -> str:
    return "is missing" if size < 0 else f"got {size} bytes"
