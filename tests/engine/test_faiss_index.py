from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contexts.context import Vector
from engine import faiss_index
from engine.errors import IndexFileError
from engine.faiss_build import Asked, build, refreshed
from engine.faiss_files import bare_index
from engine.faiss_index import FaissIndex
from engine.index import Eligible, ExactIndex

DIM = 64
ROWS = 20_000  # enough for lists
TOPICS = 100

Mask = NDArray[np.bool_]


def catalogue(rows: int, seed: int = 1) -> tuple[Vector, NDArray[np.int64]]:
    """Topics on the sphere, and in the last columns a block that most rows leave empty."""
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((TOPICS, DIM))
    topic = chance.integers(0, TOPICS, rows)
    vectors = centres[topic] + 0.7 * chance.standard_normal((rows, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[:, -16:] = (chance.random((rows, 16)) < 0.2) * (chance.random((rows, 1)) < 0.3)
    return vectors.astype(np.float32), topic


def asked(count: int) -> Vector:
    vectors, _ = catalogue(count, seed=2)
    return vectors * WEIGHTS


WEIGHTS = np.where(np.arange(DIM) < DIM - 16, 0.7, 0.1).astype(np.float32)
ASKED = Asked(WEIGHTS, catalogue(1000, seed=6)[0] * WEIGHTS)


def masks(topic: NDArray[np.int64]) -> dict[str, Mask]:
    chance = np.random.default_rng(3)
    found = {f"{share:g}": chance.random(len(topic)) < share for share in (1, 0.9, 0.45, 0.1, 0.02, 0.001)}
    for share in (0.5, 0.1):
        found[f"topics {share:g}"] = np.isin(topic, chance.choice(TOPICS, int(TOPICS * share), replace=False))
    return found


def share_found(index: FaissIndex, twin: ExactIndex, k: int, eligible: Eligible) -> float:
    """Check that an answer is whole, exact and in order; return its mean recall."""
    recalls = []
    for query in asked(100):
        rows, scores = index.search(query, k, Eligible(eligible.words))
        _, wanted = twin.search(query, k, eligible)
        assert len(rows) == len(set(rows.tolist())) == min(k, eligible.count)
        assert eligible.holds(rows).all()
        np.testing.assert_allclose(scores, twin.vectors[rows] @ query, atol=1e-5)
        assert rows.tolist() == rows[np.lexsort((rows, -scores))].tolist()
        recalls.append((scores >= wanted[-1] - 1e-5).mean())
    return float(np.mean(recalls))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    build(catalogue(ROWS)[0], folder, ASKED)
    return folder


@pytest.mark.parametrize("k", [1, 10, 200])
@pytest.mark.parametrize("name", list(masks(np.zeros(1, np.int64))))
def test_nearly_all_of_the_best_are_found_under_every_filter(built: Path, name: str, k: int) -> None:
    vectors, topic = catalogue(ROWS)
    eligible = Eligible.from_mask(masks(topic)[name])
    assert share_found(FaissIndex.open(built), ExactIndex(vectors), k, eligible) >= 0.99


def test_a_wish_that_few_state_gets_codes_near_it(tmp_path: Path) -> None:
    chance = np.random.default_rng(4)
    vectors, _ = catalogue(ROWS)
    few = np.sort(chance.choice(ROWS, ROWS // 1000, replace=False))
    vectors[:, -1] = (chance.random(ROWS) < 0.05) * chance.choice((0.2, 0.3, 0.4, 0.5), ROWS)
    vectors[few, -1] = 1.2
    build(vectors, tmp_path, ASKED)
    frame = FaissIndex.open(tmp_path).frame
    lists, _ = frame.assigned(vectors[few])
    residuals = frame.residuals(vectors[few], lists)
    quantizer = bare_index(frame)
    coded = quantizer.pq.decode(quantizer.pq.compute_codes(residuals))
    wish = np.zeros(coded.shape[1], np.float32)
    wish[frame.place] = frame.dual[:, -1]
    assert np.abs((coded - residuals) @ wish).mean() < 0.1


WAYS = {
    "estimated": {"COUNTED_ROWS": 0, "SPARSE": np.inf},
    "estimated, then counted": {"COUNTED_ROWS": 0, "SPARSE": 0},
    "scanned where dense": {"COUNTED_ROWS": ROWS, "EXACT_ROWS": 100, "EXACT_A_LIST": 0, "SCAN_ROWS": -np.inf},
    "never scanned": {"COUNTED_ROWS": ROWS, "EXACT_ROWS": 100, "EXACT_A_LIST": 0, "SCAN_ROWS": np.inf},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", list(masks(np.zeros(1, np.int64))))
def test_each_way_through_the_lists_finds_nearly_all(
    built: Path, monkeypatch: pytest.MonkeyPatch, name: str, way: str
) -> None:
    for constant, value in WAYS[way].items():
        monkeypatch.setattr(faiss_index, constant, value)
    vectors, topic = catalogue(ROWS)
    eligible = Eligible.from_mask(masks(topic)[name])
    assert share_found(FaissIndex.open(built), ExactIndex(vectors), 10, eligible) >= 0.99


def test_a_list_of_which_nothing_was_drawn_is_not_taken_for_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_index, "COUNTED_ROWS", 0)
    chance = np.random.default_rng(5)
    directions = chance.standard_normal((TOPICS, DIM))
    size, few = 8, 80  # the rows of a small topic stand together, so that a draw meets all or none
    topic = np.concatenate((np.repeat(np.arange(few), size), chance.integers(few, TOPICS, ROWS - few * size)))
    vectors = directions[topic] + 0.3 * chance.standard_normal((ROWS, DIM))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    build(vectors, tmp_path)
    index, twin = FaissIndex.open(tmp_path), ExactIndex(vectors)
    index._drawn = index._drawn[:24]  # as few as of a large catalogue
    eligible = Eligible.from_mask((topic < few) | (topic < few + 8))
    found = []
    for _ in range(100):  # of half of the small topics a little: none stands out
        query = directions[chance.choice(few, few // 2, replace=False)].mean(axis=0).astype(np.float32)
        rows, _ = index.search(query, 10, eligible)
        found.append(np.isin(twin.search(query, 10, eligible)[0], rows).mean())
    assert np.mean(found) >= 0.99


@pytest.mark.parametrize("dim", [8, 24, 40])
def test_rows_are_scored_in_all_their_columns(tmp_path: Path, dim: int) -> None:
    vectors = np.random.default_rng(dim).standard_normal((300, dim)).astype(np.float32)
    build(vectors, tmp_path)
    index, everything = FaissIndex.open(tmp_path), Eligible.from_mask(np.ones(300, bool))
    for query in vectors[:20, ::-1]:
        rows, scores = index.search(query, 10, everything)
        wanted, best = ExactIndex(vectors).search(query, 10, everything)
        assert rows.tolist() == wanted.tolist()
        np.testing.assert_allclose(scores, best, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(index.vector(7), vectors[7])


def test_filters_pass_through_both_methods(built: Path) -> None:
    _, topic = catalogue(ROWS)
    index = FaissIndex.open(built)
    counts = [int(mask.sum()) for mask in masks(topic).values()]
    assert index.shape.lists > 0
    assert any(count <= faiss_index.EXACT_ROWS for count in counts)
    assert sum(count > faiss_index.EXACT_ROWS for count in counts) >= 3


def test_rows_that_only_a_rare_list_holds_are_found(tmp_path: Path) -> None:
    vectors, _ = catalogue(ROWS)
    lonely = np.random.default_rng(7).choice(ROWS, 10, replace=False)
    vectors[lonely] = np.eye(DIM, dtype=np.float32)[5] * np.linspace(0.5, 1, 10, dtype=np.float32)[:, None]
    build(vectors, tmp_path, ASKED)
    eligible = Eligible.from_mask(np.random.default_rng(8).random(ROWS) < 0.8)
    for query in (np.eye(DIM, dtype=np.float32)[5], -np.eye(DIM, dtype=np.float32)[5]):
        rows, scores = FaissIndex.open(tmp_path).search(query, 5, eligible)
        wanted, best = ExactIndex(vectors).search(query, 5, eligible)
        assert rows.tolist() == wanted.tolist()
        np.testing.assert_allclose(scores, best, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.sampled_from((0, 1, 2, 63, 64, 65, 500, 3000)),
    k=st.sampled_from((0, 1, 10, 64, 5000)),
    share=st.sampled_from((0.0, 0.01, 0.5, 1.0)),
    seed=st.integers(0, 99),
)
def test_small_catalogues_answer_as_the_twin_does(
    tmp_path_factory: pytest.TempPathFactory, rows: int, k: int, share: float, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("small")
    vectors, _ = catalogue(rows, seed)
    build(vectors, folder)
    index, twin = FaissIndex.open(folder), ExactIndex(vectors)
    assert (index.size, index.dim) == (rows, DIM)
    eligible = Eligible.from_mask(np.random.default_rng(seed).random(rows) < share)
    if min(k, eligible.count):
        assert share_found(index, twin, k, eligible) >= 0.99
    else:
        found, scores = index.search(asked(1)[0], k, eligible)
        assert found.shape == scores.shape == (0,)
        assert (found.dtype, scores.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("value", [0.0, 0.25])
@pytest.mark.parametrize("rows", [700, ROWS])
def test_vectors_that_are_all_equal_give_whole_answers(tmp_path: Path, rows: int, value: float) -> None:
    build(np.full((rows, DIM), value, np.float32), tmp_path)
    index = FaissIndex.open(tmp_path)
    for share in (1, 0.7, 0.1):
        eligible = Eligible.from_mask(np.random.default_rng(1).random(rows) < share)
        for query in (np.zeros(DIM, np.float32), np.ones(DIM, np.float32)):
            found, scores = index.search(query, 10, eligible)
            assert len(set(found.tolist())) == 10
            assert eligible.holds(found).all()
            assert found.tolist() == sorted(found.tolist())
            np.testing.assert_allclose(scores, value * query.sum(), rtol=1e-6)


def test_copies_of_a_row_come_in_the_order_of_rows(tmp_path: Path) -> None:
    vectors, _ = catalogue(1000)
    vectors[[900, 17, 400]] = vectors[3]
    build(vectors, tmp_path)
    rows, _ = FaissIndex.open(tmp_path).search(vectors[3], 4, Eligible.from_mask(np.ones(1000, bool)))
    assert rows.tolist() == [3, 17, 400, 900]


def test_threads_get_the_answers_that_one_gets(built: Path) -> None:
    _, topic = catalogue(ROWS)
    index = FaissIndex.open(built)
    sets = [Eligible.from_mask(mask) for mask in masks(topic).values()]
    calls = [(query, eligible.words) for query in asked(30) for eligible in sets]

    def answer(call: tuple[Vector, NDArray[np.uint64]]) -> list[int]:
        rows: list[int] = index.search(call[0], 10, Eligible(call[1]))[0].tolist()
        return rows

    alone = [answer(call) for call in calls]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, calls)) == alone


def test_the_same_vectors_give_the_same_files(built: Path, tmp_path: Path) -> None:
    build(catalogue(ROWS)[0], tmp_path, ASKED)
    names = sorted(path.name for path in built.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in names if (built / name).read_bytes() != (tmp_path / name).read_bytes()] == []


@pytest.mark.parametrize(
    "vectors",
    [
        np.zeros((3, 60), np.float32),
        np.zeros((3, 64)),
        np.zeros(64, np.float32),
        np.zeros((3, 0), np.float32),
    ],
)
def test_vectors_of_another_shape_or_type_are_refused(tmp_path: Path, vectors: Vector) -> None:
    with pytest.raises(ValueError, match=r"vectors: got .*, expected float32"):
        build(vectors, tmp_path)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, number: float) -> None:
    vectors, _ = catalogue(5)
    vectors[3, 9] = number
    with pytest.raises(ValueError, match="row 3"):
        build(vectors, tmp_path)


@pytest.mark.parametrize("weights", [np.ones(8, np.float32), np.zeros(DIM, np.float32), np.full(DIM, np.nan)])
def test_weights_that_cannot_weigh_the_columns_are_refused(tmp_path: Path, weights: Vector) -> None:
    with pytest.raises(ValueError, match="weights: "):
        build(catalogue(5)[0], tmp_path, Asked(weights, asked(5)))


@pytest.mark.parametrize("queries", [np.ones((3, 8)), np.ones(DIM), np.full((3, DIM), np.inf)])
def test_queries_that_tell_nothing_are_refused(tmp_path: Path, queries: Vector) -> None:
    with pytest.raises(ValueError, match="queries: "):
        build(catalogue(5)[0], tmp_path, Asked(WEIGHTS, queries))


def test_a_query_or_a_set_of_another_index_is_refused(built: Path) -> None:
    index = FaissIndex.open(built)
    everything = Eligible.from_mask(np.ones(ROWS, bool))
    with pytest.raises(ValueError, match=r"query: got shape \(8,\), expected \(64,\)"):
        index.search(np.ones(8, np.float32), 10, everything)
    with pytest.raises(ValueError, match="eligible: got 1 words, expected 313"):
        index.search(asked(1)[0], 10, Eligible.from_mask(np.ones(10, bool)))


# Refreshing


def test_a_refreshed_index_finds_what_was_added_and_not_what_was_removed(built: Path, tmp_path: Path) -> None:
    vectors, _ = catalogue(ROWS)
    added, _ = catalogue(500, seed=9)
    after = np.concatenate((vectors[300:9000], added, vectors[9000:]))
    assert refreshed(built, after, tmp_path, ASKED)
    index, twin = FaissIndex.open(tmp_path), ExactIndex(after)
    for share in (1, 0.6, 0.1):
        eligible = Eligible.from_mask(np.random.default_rng(4).random(len(after)) < share)
        assert share_found(index, twin, 10, eligible) >= 0.99
    assert index.shape.strangers == 500


def test_refreshing_with_the_same_rows_changes_no_code(built: Path, tmp_path: Path) -> None:
    assert refreshed(built, catalogue(ROWS)[0], tmp_path, ASKED)
    for path in built.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("rows", "seed", "dim"), [(ROWS, 5, DIM), (4 * ROWS, 1, DIM), (100, 1, DIM), (ROWS, 1, DIM - 8)]
)
def test_codebooks_are_trained_anew_where_they_no_longer_fit(
    built: Path, tmp_path: Path, rows: int, seed: int, dim: int
) -> None:
    after = np.ascontiguousarray(catalogue(rows, seed)[0][:, :dim])
    assert not refreshed(built, after, tmp_path)
    index = FaissIndex.open(tmp_path)
    assert (index.size, index.dim, index.shape.strangers) == (rows, dim, 0)


# Damaged files


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def scramble(path: Path) -> None:
    path.write_bytes(b"\x00" * 3 + path.read_bytes()[3:])


FILES = (
    "shape.json vectors.npy weights.npy centroids.npy basis.npy dual.npy place.npy codebook.npy "
    "spread.npy scatter.npy sizes.npy list_of.npy lists.bin"
).split()


def test_every_file_is_damaged_below(built: Path) -> None:
    assert sorted(path.name for path in built.iterdir()) == sorted(FILES)


DAMAGES = [(name, damage) for name in FILES for damage in (Path.unlink, cut, scramble)]
# Codes have no structure to check; the catalogue's manifest holds their file's hash.
DAMAGES.remove(("lists.bin", scramble))


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_file_is_named_with_what_to_do(
    built: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(built, folder)
    damage(folder / name)
    with pytest.raises(IndexFileError, match=rf"{name}: .*build the index anew"):
        FaissIndex.open(folder)


def test_files_of_two_indexes_do_not_mix(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(built, folder)
    np.save(folder / "sizes.npy", np.load(folder / "sizes.npy")[::-1])
    with pytest.raises(IndexFileError, match=r"list_of.npy"):
        FaissIndex.open(folder)


def test_an_index_of_another_format_is_refused(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(built, folder)
    text = (folder / "shape.json").read_text()
    (folder / "shape.json").write_text(text.replace('"format":3', '"format":2'))
    with pytest.raises(IndexFileError, match="got format 2, expected 3"):
        FaissIndex.open(folder)
