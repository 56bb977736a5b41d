"""Trains a FAISS index and writes its files, or carries an older one's codes over to changed rows."""

from __future__ import annotations

import math
from dataclasses import replace
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
SEED = 20261123
TINY = np.float32(1e-12)


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
        faiss_files.write(folder, vectors, _train(vectors, weights), strangers=0)
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
        files = faiss_files.read(old)
        rows, dim = vectors.shape
        known = _same_rows(files, vectors) if dim == files.shape.dim else np.full(rows, -1)
        strangers = files.shape.strangers + int((known < 0).sum())
        wanted = _list_count(rows)
        fits = dim == files.shape.dim and strangers <= RETRAIN_SHARE * rows
        if fits and wanted and files.shape.lists / 2 < wanted < files.shape.lists * 2:
            faiss_files.write(folder, vectors, files.frame, strangers=strangers, old=(files, known))
            return True
        faiss_files.write(folder, vectors, _train(vectors, weights), strangers=0)
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
