"""Trains a FAISS index and writes its files, or carries an older one's codes over to changed rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from contexts.context import Vector
from engine import faiss_files
from engine.faiss_files import CHUNK, GROUP, SPREAD_DIM, Files, Frame, inner_products

LISTED_ROWS = 8192  # catalogues below this size have no lists
RETRAIN_SHARE = 0.25  # of rows that the codebooks have never seen; from here on they are trained anew
TRAIN_POINTS = 64  # a list
GROUPS = 128  # of coordinates, and as many codes of 4 bits a row, where there are columns enough
GROUPS_A_COLUMN = 0.3  # where there are many columns
GROUP_MEAN = 2  # coordinates kept, for each group
QUERIES = 4096  # enough to tell what is asked
SELDOM = 8.0  # times its squared second moment: the fourth of a column that is seldom far from zero; of a normal one, 3
OTHER_QUERIES = 0.1  # share of what is asked that may be anything
SEED = 20261123
TINY = np.float32(1e-12)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What is known of the queries to come."""

    weights: Vector  # (dim,) above 0: what they make of each column; lists hold rows that are alike to them
    queries: Vector  # (n, dim): some of their like; codes say most of what the scores of such depend on


def build(vectors: Vector, folder: Path, asked: Asked | None = None, *, threads: int = 1) -> None:
    """Train and write an index of (rows, dim) float32 vectors into an empty folder.

    Without `asked` all columns count alike, which costs time where columns with large numbers weigh little in
    the score. The same arguments give the same files.
    `dim` must be divisible by 8, numbers finite: raises ValueError where they are not.
    """
    _check(vectors, asked)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        faiss_files.write(folder, vectors, _train(vectors, asked), strangers=0)
    finally:
        faiss.omp_set_num_threads(before)


def refreshed(
    old: Path, vectors: Vector, folder: Path, asked: Asked | None = None, *, threads: int = 1
) -> bool:
    """Write an index of `vectors` into an empty folder, keeping the codebooks of the one in `old`.

    Rows that `old` holds too, wherever they stood, keep their codes. Returns False and trains anew where
    the dimension changed, where a quarter of the rows are strangers to the codebooks, or where the number
    of rows asks for twice or half as many lists. Raises IndexFileError where `old` cannot be read.
    """
    _check(vectors, asked)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        files = faiss_files.read(old)
        rows, dim = vectors.shape
        known = _same_rows(files, vectors) if dim == files.shape.dim else np.full(rows, -1)
        strangers = files.shape.strangers + int((known < 0).sum())
        wanted = _list_count(rows)
        fits = dim == files.shape.dim and strangers <= RETRAIN_SHARE * rows
        if fits and wanted and files.shape.lists / 2 < wanted < files.shape.lists * 2:
            faiss_files.write(folder, vectors, files.frame, strangers=strangers, old=(files, known))
            return True
        faiss_files.write(folder, vectors, _train(vectors, asked), strangers=0)
        return False
    finally:
        faiss.omp_set_num_threads(before)


def _same_rows(old: Files, vectors: Vector) -> NDArray[np.int64]:
    """Return for each vector the row of the old index that holds the same numbers, or -1."""
    known = np.full(len(vectors), -1, np.int64)
    if not len(vectors) or not old.shape.rows:
        return known
    # Two projections tell the candidates, by one kernel: equal numbers, equal marks. The numbers decide.
    chance = np.random.default_rng(SEED).standard_normal((2, old.shape.dim)).astype(np.float32)
    every = np.arange(CHUNK)

    def marked(rows: Vector) -> NDArray[np.uint64]:
        marks = np.empty((len(rows), 2), np.float32)
        for start in range(0, len(rows), CHUNK):
            part = np.ascontiguousarray(rows[start : start + CHUNK])
            for number, projection in enumerate(chance):
                marks[start : start + CHUNK, number] = inner_products(part, projection, every[: len(part)])
        return marks.view(np.uint64)[:, 0]

    marks = marked(old.rows)
    order = marks.argsort(kind="stable")
    found = order[marks[order].searchsorted(marked(vectors)).clip(max=old.shape.rows - 1)]
    for start in range(0, len(vectors), CHUNK):
        part = slice(start, start + CHUNK)
        same = (vectors[part] == old.rows[found[part]]).all(axis=1)
        known[part][same] = found[part][same]
    return known


def _check(vectors: Vector, asked: Asked | None) -> None:
    dim = vectors.shape[1] if vectors.ndim == 2 else 0
    if not dim or dim % 8 or vectors.dtype != np.float32:
        got = f"{vectors.dtype} of shape {vectors.shape}"
        raise ValueError(f"vectors: got {got}, expected float32 of (rows, a multiple of 8)")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise ValueError(f"vectors: row {int(finite.argmin())} holds numbers that are not finite")
    if asked is None:
        return
    weights, queries = asked.weights, asked.queries
    if weights.shape != (dim,) or not (weights > 0).all():
        raise ValueError(f"weights: got shape {weights.shape}, expected ({dim},) numbers above 0")
    if queries.shape[1:] != (dim,) or not np.isfinite(queries).all():
        raise ValueError(f"queries: got shape {queries.shape}, expected (n, {dim}) finite numbers")


def _list_count(rows: int) -> int:
    """Return the power of two near 1.6 √rows: scoring centroids and scanning lists then cost alike."""
    return 0 if rows < LISTED_ROWS else 1 << round(math.log2(1.6 * math.sqrt(rows)))


def _train(vectors: Vector, asked: Asked | None) -> Frame:
    rows, dim = vectors.shape
    lists = _list_count(rows)
    chance = np.random.default_rng(SEED)
    drawn = np.sort(chance.permutation(rows)[: max(lists * TRAIN_POINTS, LISTED_ROWS)])
    sample = np.ascontiguousarray(vectors[drawn])
    nothing = np.empty(0, np.float32)
    frame = Frame(
        weights=nothing,
        centroids=nothing.reshape(0, dim),
        basis=nothing.reshape(0, dim),
        dual=nothing.reshape(0, dim),
        place=np.empty(0, np.int64),
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
    asked = asked or Asked(np.ones(dim, np.float32), sample)
    weights = np.ascontiguousarray(asked.weights, np.float32)
    means.train(sample * weights)
    frame = replace(frame, weights=weights, centroids=np.asarray(means.centroids, np.float32) / weights)
    nearest, squares = frame.assigned(sample)
    residuals = sample - frame.centroids[nearest]
    # A list with few rows in the sample is thought to scatter like the mean.
    count = np.bincount(nearest, minlength=lists) + 8
    share = np.bincount(nearest, weights=squares, minlength=lists) + 8 * squares.mean()
    groups = min(max(GROUPS, int(GROUPS_A_COLUMN * dim)), dim // GROUP_MEAN) // 2 * 2
    spread, rest = _spread(residuals)
    basis, dual, moments = _coordinates(residuals, asked.queries)
    kept = GROUP_MEAN * groups
    frame = replace(
        frame,
        basis=basis[:kept],
        dual=dual[:kept],
        place=_deal(moments[:kept], groups),
        codebook=np.empty((groups, 16, GROUP), np.float32),
        spread=spread,
        rest=rest,
        scatter=np.sqrt(share / count / (squares.mean() + TINY)).astype(np.float32),
    )
    quantizer = faiss.ProductQuantizer(groups * GROUP, groups, 4)
    quantizer.cp.seed = SEED
    quantizer.cp.min_points_per_centroid = 1
    quantizer.train(_spread_out(frame.residuals(sample, nearest), chance))
    return replace(frame, codebook=faiss.vector_to_array(quantizer.centroids).reshape(groups, 16, GROUP))


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


def _spread(residuals: Vector) -> tuple[Vector, float]:
    """Return the root of the second moments where they are largest, (SPREAD_DIM, dim), and what is left a direction."""
    moments, directions = np.linalg.eigh(_second_moments(residuals))
    moments, directions = np.maximum(moments[::-1], 0), directions.T[::-1]
    kept = min(SPREAD_DIM, len(moments))
    spread = np.ascontiguousarray(directions[:kept] * np.sqrt(moments[:kept, None]), np.float32)
    return spread, float(moments[kept:].sum() / max(1, len(moments) - kept))


def _coordinates(residuals: Vector, queries: Vector) -> tuple[Vector, Vector, Vector]:
    """Return (dim, dim) coordinates of residuals and of queries, and the (dim,) second moments of the former.

    In them what is asked has no direction that it prefers, so that the coordinates of the largest moments are
    those that scores depend on most: the rest can be left out, and a code errs least where its squared error is least.
    Columns that are seldom far from zero, such as that of a rare wish, stay as they are: in others their peaks would
    be lost.
    """
    asked, left = _second_moments(queries), _second_moments(residuals)
    asked += OTHER_QUERIES * max(np.trace(asked), float(TINY)) / len(asked) * np.eye(len(asked))
    seldom = np.mean(residuals**4, axis=0) > SELDOM * np.diag(left) ** 2 + TINY**2
    apart = seldom[:, None] | seldom
    np.fill_diagonal(apart, False)
    asked[apart] = left[apart] = 0
    squares, directions = np.linalg.eigh(asked)
    roots = np.sqrt(squares)
    moments, axes = np.linalg.eigh((directions * roots).T @ left @ (directions * roots))
    axes = axes[:, ::-1]
    basis, dual = axes.T @ (directions * roots).T, axes.T @ (directions / roots).T
    return basis.astype(np.float32), dual.astype(np.float32), np.maximum(moments[::-1], 0).astype(np.float32)


def _second_moments(rows: Vector) -> NDArray[np.float64]:
    return (rows.T @ rows).astype(np.float64) / max(1, len(rows))


def _deal(moments: Vector, groups: int) -> NDArray[np.int64]:
    """Return where each coordinate stands, largest moment first: dealt to the groups so that their products are alike.

    So codes of one length err least (T. Ge et al., Optimized Product Quantization, 2013, section 3.2); a coordinate
    that scores depend on much has a group of its own.
    """
    bits = np.log2(np.maximum(moments, moments.max() * 1e-6 + TINY))
    bits -= bits.min()
    load, filled = np.zeros(groups), np.zeros(groups, np.int64)
    place = np.empty(len(moments), np.int64)
    for coordinate, size in enumerate(bits):
        group = int(load.argmin())
        place[coordinate] = group * GROUP + filled[group]
        filled[group] += 1
        load[group] = load[group] + size if filled[group] < GROUP else np.inf
    return place
