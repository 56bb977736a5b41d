"""How well creatives fit pages, against others' labels: `python -m benchmarks relevance`.

A folder holds pages.jsonl (id, text, perhaps title; topic, query, curated) and creatives.jsonl (id,
advertiser, text; topic, query). Topic, query and curated are read for scoring only. A creative written for
the page's own query is no valid answer and is skipped wherever it stands. Gain: 2 for an advertiser that was
picked by hand for the page, 1 for the page's topic, else 0.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contexts.clock import Clock
from contexts.context import Context, PageFacts, PlaceFacts, Vector
from contexts.encode import Encoder
from contexts.encoders import open_encoder
from contexts.extract import read as read_page
from contexts.facets import STANDING_WEIGHTS
from contexts.page_vector import WHOLE, better_vector
from contexts.place import Atlas
from contexts.taxonomy import content_taxonomy
from contexts.topic_vectors import TopicVectors
from engine import campaign, creative
from engine.build import Recipe
from engine.catalog import Catalog
from engine.change import Approval, Kind, Versions
from engine.decision import Placement
from engine.index import Eligible, ExactIndex
from engine.rank import Shortlist
from engine.retrieve import eligible, predicates, retrieve, soften
from privacy.visit import Device, PageInput

PLACES = 60  # of each page's ranking that are kept
DEEP = 400  # that are ranked, so that PLACES are left after diversity
RESAMPLES = 2000
RUNS_ANYWHERE = campaign.Suitability(avoid=(), accept_unknown=True)
NOT_BELOW = -0.005  # what the first view may lose against plain MiniLM-64

Per = NDArray[np.float64]  # one value a page
Ranking = list[list[int]]  # rows of creatives for each page, best first


@dataclass(frozen=True)
class Page:
    """A page with the labels that score its answers."""

    id: str
    text: str
    topic: str
    query: str | None
    curated: frozenset[str]
    read: str = ""  # as a request's page is read


@dataclass(frozen=True)
class Creative:
    """A creative with the labels that score it."""

    id: str
    advertiser: str
    text: str
    topic: str
    query: str | None


@dataclass(frozen=True)
class Scores:
    """Metrics, one value a page (curated: of the pages for which an answer exists)."""

    topic_p5: Per
    topic_p1: Per
    curated_hit5: Per
    ndcg5: Per
    ndcg10: Per
    advertisers5: Per
    short: int


@dataclass(frozen=True)
class Row:
    """A method's ranking with its scores."""

    name: str
    ranking: Ranking
    scores: Scores


def read(folder: Path) -> tuple[list[Page], list[Creative]]:
    """Read a folder of the shape above."""
    pages = [
        Page(
            str(line["id"]),
            "\n".join(part for part in (line.get("title"), line.get("text")) if part),
            str(line["topic"]),
            line.get("query"),
            frozenset(line.get("curated") or ()),
            read_page(PageInput(title=line.get("title"), text=line.get("text"))).for_encoder(),
        )
        for line in _lines(folder / "pages.jsonl")
    ]
    creatives = [
        Creative(str(c["id"]), str(c["advertiser"]), str(c["text"]), str(c["topic"]), c.get("query"))
        for c in _lines(folder / "creatives.jsonl")
    ]
    return pages, creatives


def score(pages: Sequence[Page], creatives: Sequence[Creative], ranking: Ranking) -> Scores:
    """Score a ranking page by page."""
    rows: dict[str, list[float]] = {name: [] for name in Scores.__dataclass_fields__ if name != "short"}
    short = 0
    for page, places in zip(pages, ranking, strict=True):
        valid = [c for c in creatives if page.query is None or c.query != page.query]
        answers = [
            c for c in (creatives[row] for row in places) if page.query is None or c.query != page.query
        ]
        short += len(answers) < 10
        gains = [_gain(page, c) for c in answers[:10]]
        ideal = sorted((_gain(page, c) for c in valid), reverse=True)[:10]
        rows["topic_p5"].append(sum(c.topic == page.topic for c in answers[:5]) / 5)
        rows["topic_p1"].append(float(bool(answers) and answers[0].topic == page.topic))
        rows["advertisers5"].append(len({c.advertiser for c in answers[:5]}))
        if any(c.advertiser in page.curated for c in valid):
            rows["curated_hit5"].append(float(any(c.advertiser in page.curated for c in answers[:5])))
        for k in (5, 10):
            best = _dcg(ideal[:k])
            rows[f"ndcg{k}"].append(_dcg(gains[:k]) / best if best else 0.0)
    return Scores(**{name: np.array(values) for name, values in rows.items()}, short=short)


def paired(ours: Per, theirs: Per) -> tuple[float, float, float]:
    """Return the mean gain with its 95 % bounds, by a bootstrap over pages."""
    gain = ours - theirs
    drawn = np.random.default_rng(7).integers(0, len(gain), (RESAMPLES, len(gain)))
    low, high = np.percentile(gain[drawn].mean(axis=1), (2.5, 97.5))
    return float(gain.mean()), float(low), float(high)


class Catalogue:
    """The folder's creatives as a store that snapshots are built from: one campaign an advertiser, all bids alike."""

    def __init__(self, creatives: Sequence[Creative]) -> None:
        names = sorted({creative.advertiser for creative in creatives})
        ids = {name: f"a{number}" for number, name in enumerate(names)}
        self._advertisers = tuple(campaign.Advertiser(ids[name], name, ("shop.example",)) for name in names)
        self._campaigns = tuple(
            campaign.Campaign(ids[name], ids[name], name, 1_000_000, suitability=RUNS_ANYWHERE)
            for name in names
        )
        self._creatives = tuple(
            creative.Creative(c.id, ids[c.advertiser], "native", "https://shop.example/", body=c.text)
            for c in creatives
        )
        self._vectors: dict[str, Vector] = {}

    @contextmanager
    def read(self) -> Iterator[Catalogue]:
        """Read itself: nothing changes."""
        yield self

    def versions(self) -> Versions:
        return Versions(1, 1, 1)

    def publishers(self) -> Iterator[tuple[campaign.Publisher, ...]]:
        yield (campaign.Publisher("bench", "Bench", ("bench.example",)),)

    def advertisers(self) -> Iterator[tuple[campaign.Advertiser, ...]]:
        yield self._advertisers

    def campaigns(self) -> Iterator[tuple[campaign.Campaign, ...]]:
        yield self._campaigns

    def creatives(self) -> Iterator[tuple[creative.Creative, ...]]:
        yield self._creatives

    def approvals(self) -> Iterator[tuple[Approval, ...]]:
        return iter(())

    def paused(self) -> tuple[frozenset[str], frozenset[str]]:
        return frozenset(), frozenset()

    def changed_since(self, catalog: int) -> list[tuple[Kind, str]]:
        return []

    def vectors(self, encoder_id: str, hashes: Iterable[str]) -> dict[str, Vector]:
        return {h: self._vectors[h] for h in hashes if h in self._vectors}

    def put_vectors(self, encoder_id: str, vectors: Mapping[str, Vector]) -> None:
        self._vectors.update(vectors)


class Ranker:
    """Ranks as a decision does: the same snapshot, rules, retrieval and order."""

    def __init__(self, encoder: Encoder, creatives: Sequence[Creative], folder: Path) -> None:
        topics = TopicVectors.build(encoder, content_taxonomy(), {})
        recipe = Recipe(encoder, topics, STANDING_WEIGHTS, str)
        now = datetime.now(UTC)
        self._view = Catalog(Catalogue(creatives), recipe, folder, lambda: now).view(now)
        self._clock = Clock(Atlas.load()).facts(now, "UTC", PlaceFacts())
        self._encoder_id = encoder.id
        self._row = {c.id: row for row, c in enumerate(creatives)}

    def rank(self, vector: Vector) -> list[int]:
        """Return the creatives (by their place in the folder) for a page's vector, best first."""
        usable = vector if vector.any() else None
        page = PageFacts("page", self._encoder_id, usable, language="en", suitability_known=True)
        context = Context("bench", page, Device(), self._clock)
        place = Placement("place", count=DEEP)
        allowed = eligible(self._view, predicates(self._view, context, frozenset(), place), self._view.paid)
        snapshot = self._view.snapshot
        found = Shortlist(snapshot, retrieve(self._view, soften(snapshot, context), allowed, DEEP))
        return [self._row[snapshot.creative_id(one.row)] for one in found]


def rank_by_match(pages: Vector, creatives: Vector) -> Ranking:
    """Rank by inner product alone."""
    index = ExactIndex(creatives)
    everything = Eligible.from_mask(np.ones(index.size, bool))
    return [index.search(page, DEEP, everything)[0].tolist() for page in pages]


def one_an_advertiser(ranking: Ranking, creatives: Sequence[Creative]) -> Ranking:
    """Keep the best creative of each advertiser: a page's places with diversity carried through."""
    kept: Ranking = []
    for places in ranking:
        best: dict[str, int] = {}
        for row in places:
            best.setdefault(creatives[row].advertiser, row)
        kept.append(list(best.values()))
    return kept


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and the bounds; return 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks relevance", description=__doc__)
    data = Path(os.environ.get("TACTFUL_DATA", "../shared/data")) / "relevance" / "native-ads"
    parser.add_argument("--data", type=Path, default=data, help="folder with pages.jsonl and creatives.jsonl")
    parser.add_argument("--run", type=Path, help="write the better vector's ranking here, as TSV")
    parser.add_argument("--models", type=Path, default=Path("tactful-data/models"), help="exported models")
    options = parser.parse_args(argv)
    pages, creatives = read(options.data)
    encoder = open_encoder(options.models)
    print(f"{options.data}: {len(pages)} pages, {len(creatives)} creatives; {encoder.id}")

    rows = {
        name: Row(name, ranking, score(pages, creatives, ranking))
        for name, ranking in _rank_all(encoder, pages, creatives)
    }
    _print_table("before diversity", rows.values())
    diverse = {name: one_an_advertiser(row.ranking, creatives) for name, row in rows.items()}
    _print_table(
        "one creative an advertiser",
        [Row(name, ranking, score(pages, creatives, ranking)) for name, ranking in diverse.items()],
    )
    if options.run is not None:
        _write_run(options.run, pages, creatives, rows["better vector"].ranking)
    held = [
        _compare(rows["first view"], rows["MiniLM-64"], above=NOT_BELOW),
        _compare(rows["better vector"], rows["MiniLM-256"], above=0.0),
    ]
    return 0 if all(held) else 1


def _rank_all(
    encoder: Encoder, pages: Sequence[Page], creatives: Sequence[Creative]
) -> list[tuple[str, Ranking]]:
    """Rank by every method in one run."""
    texts = [page.text for page in pages]
    own = encoder.encode([c.text for c in creatives], tokens=WHOLE)
    opening = encoder.encode(texts)
    whole, whole_ms = _timed(lambda: encoder.encode(texts, tokens=WHOLE))
    first, first_ms = _timed(lambda: encoder.encode([page.read for page in pages]))
    better, better_ms = _timed(lambda: np.stack([better_vector(encoder, page.read) for page in pages]))
    with tempfile.TemporaryDirectory() as folder:
        ranker, build_ms = _timed(lambda: Ranker(encoder, creatives, Path(folder)))
    n = len(pages)
    print(
        f"ms a page: first view {first_ms / n:.1f}, 256 tokens {whole_ms / n:.1f}, "
        f"better {better_ms / n:.1f}; snapshot built in {build_ms:.0f} ms"
    )
    chance = np.random.default_rng(7)
    return [
        ("random", [chance.permutation(len(creatives))[:DEEP].tolist() for _ in pages]),
        ("TF-IDF", _rank_by_words(texts, [c.text for c in creatives])),
        ("MiniLM-64", rank_by_match(opening, own)),
        ("MiniLM-256", rank_by_match(whole, own)),
        ("first view", [ranker.rank(vector) for vector in first]),
        ("better vector", [ranker.rank(vector) for vector in better]),
    ]


def _rank_by_words(pages: Sequence[str], creatives: Sequence[str]) -> Ranking:
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit([*pages, *creatives])
    match = (words.transform(pages) @ words.transform(creatives).T).toarray()
    ranking: Ranking = np.argsort(-match, axis=1, kind="stable")[:, :DEEP].tolist()
    return ranking


def _compare(ours: Row, floor: Row, above: float) -> bool:
    held = True
    for metric in ("topic_p5", "ndcg10"):
        gain, low, high = paired(getattr(ours.scores, metric), getattr(floor.scores, metric))
        ok = low > above
        held = held and ok
        print(
            f"{ours.name} - {floor.name}, {metric}: {gain:+.4f} (95 %: {low:+.4f} to {high:+.4f}); "
            f"lower bound above {above:+.3f}: {'held' if ok else 'MISSED'}"
        )
    return held


def _print_table(caption: str, rows: Iterable[Row]) -> None:
    metrics = ("topic_p5", "topic_p1", "curated_hit5", "ndcg5", "ndcg10", "advertisers5")
    print(f"{caption}:\n{'method':<16}" + "".join(f"{name:>14}" for name in (*metrics, "short")))
    for row in rows:
        values = [getattr(row.scores, name) for name in metrics]
        cells = [f"{v.mean():>14.4f}" if len(v) else f"{'-':>14}" for v in values]
        print(f"{row.name:<16}" + "".join(cells) + f"{row.scores.short:>14}")


def _write_run(path: Path, pages: Sequence[Page], creatives: Sequence[Creative], ranking: Ranking) -> None:
    with path.open("w", encoding="utf-8") as out:
        for page, places in zip(pages, ranking, strict=True):
            out.writelines(f"{page.id}\t{creatives[row].id}\n" for row in places[:PLACES])


def _gain(page: Page, creative: Creative) -> int:
    return 2 if creative.advertiser in page.curated else int(creative.topic == page.topic)


def _dcg(gains: Sequence[int]) -> float:
    return float(sum(gain / np.log2(place + 2) for place, gain in enumerate(gains)))


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return work(), (time.perf_counter() - started) * 1e3


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


if __name__ == "__main__":
    sys.exit(main())
