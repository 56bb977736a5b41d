"""The files of a FAISS index, which all processes of a machine map: what they hold, how they are read and written.

vectors.npy holds the rows padded to cache lines; lists.bin, for each list, its blocks of codes as FAISS scans them,
then its rows' numbers; shape.json is written last, so that a half-written folder has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import faiss
import msgspec
import numpy as np
from numpy.typing import NDArray

from contexts.context import Vector
from engine.errors import IndexFileError
from engine.index import Rows

FORMAT = 3

SPREAD_DIM = 128
GROUP = 4  # coordinates at most that are coded together, in 4 bits
LINE = 16  # numbers in a cache line; rows begin on one: scored an eighth faster
BLOCK = 32  # rows that FAISS interleaves in one block of codes
CHUNK = 65_536  # rows encoded at once
REMEDY = "build the index anew from the catalogue"


@dataclass(frozen=True, slots=True)
class Shape:
    """What the files of an index hold; written last, so that a half-written folder has none."""

    format: int
    rows: int
    dim: int
    lists: int  # 0: too few rows to need lists
    kept: int  # coordinates
    groups: int  # of coordinates
    strangers: int  # rows added since the codebooks were trained
    rest: float  # Frame.rest


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What training learns. Without lists, arrays of no rows."""

    weights: Vector  # (dim,), what a column counts when rows are put in lists
    centroids: Vector  # (lists, dim)
    basis: Vector  # (kept, dim), makes coordinates of a residual: those that scores depend on most
    dual: Vector  # (kept, dim), makes coordinates of a query, so that the two have the score as inner product
    place: NDArray[np.int64]  # (kept,), where each stands among the (groups x GROUP) that are coded
    codebook: Vector  # (groups, 16, GROUP), of residuals' coordinates
    spread: Vector  # (SPREAD_DIM, dim), root of the residuals' second moments, the largest part
    rest: float  # second moment in each direction that `spread` leaves out
    scatter: Vector  # (lists,), root of a list's mean squared residual over that of all rows

    def assigned(self, vectors: Vector) -> tuple[NDArray[np.int32], Vector]:
        """Return the list of each row, and its squared distance from there."""
        squares, nearest = faiss.knn(vectors * self.weights, self.centroids * self.weights, 1)
        return nearest[:, 0].astype(np.int32), np.maximum(squares[:, 0], 0)

    def residuals(self, vectors: Vector, lists: NDArray[np.int32]) -> Vector:
        """Return the (rows, groups x GROUP) coordinates that the codes code."""
        coordinates = np.zeros((len(vectors), GROUP * len(self.codebook)), np.float32)
        coordinates[:, self.place] = (vectors - self.centroids[lists]) @ self.basis.T
        return coordinates


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """The mapped files of a folder."""

    folder: Path
    shape: Shape
    vectors: Vector  # (rows, padded(dim))
    frame: Frame
    sizes: NDArray[np.int64]  # (lists,) rows of each
    list_of: NDArray[np.int32]  # (rows,), of none without lists

    @property
    def rows(self) -> Vector:
        """Return the (rows, dim) vectors."""
        return self.vectors[:, : self.shape.dim]


def read(folder: Path) -> Files:
    """Map the files of a folder.

    Raises IndexFileError, naming the file, where one is missing, cut short or of another shape.
    """
    shape = _read_shape(folder / "shape.json")
    rows, dim, lists, kept = shape.rows, shape.dim, shape.lists, shape.kept
    vectors = _load(folder / "vectors.npy", (rows, padded(dim)), np.float32)
    width = dim if lists else 0
    shapes: dict[str, tuple[int, ...]] = {
        "weights": (width,),
        "centroids": (lists, dim),
        "basis": (kept, dim),
        "dual": (kept, dim),
        "codebook": (shape.groups, 16, GROUP),
        "spread": (min(SPREAD_DIM, width), dim),
        "scatter": (lists,),
    }
    frame = Frame(
        place=_load(folder / "place.npy", (kept,), np.int64),
        rest=shape.rest,
        **{name: _load(folder / f"{name}.npy", size, np.float32) for name, size in shapes.items()},
    )
    sizes = _load(folder / "sizes.npy", (lists,), np.int64)
    list_of = _load(folder / "list_of.npy", (rows if lists else 0,), np.int32)
    if rows and lists and (list_of.min() < 0 or (np.bincount(list_of, minlength=lists) != sizes).any()):
        raise IndexFileError(
            f"{folder / 'list_of.npy'}: rows do not lie in lists as sizes.npy says; {REMEDY}"
        )
    return Files(folder, shape, vectors, frame, sizes, list_of)


def write(
    folder: Path,
    vectors: Vector,
    frame: Frame,
    *,
    strangers: int,
    old: tuple[Files, NDArray[np.int64]] | None = None,
) -> None:
    """Write all files into an empty folder; rows that old files hold, by their row there, keep their codes and list."""
    rows, dim = vectors.shape
    lists = len(frame.centroids)
    with (folder / "vectors.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, padded(dim))}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, CHUNK):
            np.pad(vectors[start : start + CHUNK], ((0, 0), (0, padded(dim) - dim))).tofile(file)
    list_of = np.empty(rows if lists else 0, np.int32)
    sizes = np.zeros(lists, np.int64)
    if lists:
        quantizer = bare_index(frame)
        codes = np.empty((rows, len(frame.codebook) // 2), np.uint8)
        fresh = np.arange(rows)
        if old is not None:
            files, known = old
            kept = known >= 0
            list_of[kept] = files.list_of[known[kept]]
            codes[kept] = _read_codes(files)[known[kept]]
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
    shape = Shape(FORMAT, rows, dim, lists, len(frame.basis), len(frame.codebook), strangers, frame.rest)
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


def _read_codes(files: Files) -> NDArray[np.uint8]:
    """Return (rows, groups / 2) codes, unpacked from the lists."""
    width = files.shape.groups // 2
    codes = np.empty((files.shape.rows, width), np.uint8)
    packed = np.memmap(files.folder / "lists.bin", np.uint8, mode="r")
    packer = bare_index(files.frame).get_CodePacker()
    for size, room, start in _places(files.frame, files.sizes).astype(np.int64).tolist():
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


def map_lists(files: Files) -> Any:
    """Return a FAISS index over the mapped lists. Raises IndexFileError where the file is not as long as it must be."""
    path, frame, sizes = files.folder / "lists.bin", files.frame, files.sizes
    index = bare_index(frame)
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
    index.ntotal = files.shape.rows
    # FAISS maps the file of on-disk lists when it reads their header, not when one is made by hand.
    return faiss.deserialize_index(faiss.serialize_index(index), faiss.IO_FLAG_READ_ONLY)


def bare_index(frame: Frame) -> Any:
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


def padded(dim: int) -> int:
    """Return how many numbers a row of `dim` takes, zeros at its end."""
    return -(-dim // LINE) * LINE


def inner_products(vectors: Vector, query: Vector, rows: Rows) -> Vector:
    """Return the inner product of each named row with the query. The rows must exist: FAISS does not look."""
    scores = np.empty(len(rows), np.float32)
    by_idx: Any = faiss.fvec_inner_products_by_idx  # type: ignore[attr-defined]  # not in FAISS's stubs
    by_idx(
        faiss.swig_ptr(scores),
        faiss.swig_ptr(query),
        faiss.swig_ptr(vectors),
        faiss.swig_ptr(rows),
        vectors.shape[1],
        1,
        len(rows),
    )
    return scores


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
