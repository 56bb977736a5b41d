"""Tiles: paths in one spelling, the tree out of its tiles, entries in bundles."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy import merkle
from privacy.errors import LogError
from privacy.tiles import ENTRIES, WIDTH, Tile, TileBuilder, pack, tile_nodes, tiles_of, unpack

SIZES = (0, 1, 2, 255, 256, 257, 511, 512, 513, 1000, 65_535, 65_536, 65_537, 70_000)


def leaf(number: int) -> bytes:
    return b"leaf %d" % number


@pytest.fixture(scope="module")
def grown():
    """Grow one tree, keeping the tiles as they stand at each of SIZES."""
    builder, files, stands = TileBuilder(), {}, {}
    for size in range(SIZES[-1] + 1):
        if size in SIZES:
            stands[size] = ({**files, **{tile: data for tile, data in builder.partial()}}, builder.root())
        files.update(builder.append(leaf(size)))
    return stands


@pytest.fixture(scope="module")
def hashes():
    return [merkle.leaf_hash(leaf(number)) for number in range(SIZES[-1])]


@pytest.mark.parametrize("size", SIZES)
def test_the_files_of_a_tree_are_those_that_the_standard_names(grown, size):
    files, _ = grown[size]
    assert sorted(files) == sorted(tiles_of(size))


def test_the_specification_s_example_has_these_tiles():
    counted = [(tile.level, tile.width) for tile in tiles_of(70_000)]
    assert counted.count((0, WIDTH)) == 273
    assert [one for one in counted if one[1] != WIDTH or one[0] > 0] == [
        (ENTRIES, 112),
        (0, 112),
        (1, WIDTH),
        (1, 17),
        (2, 1),
    ]


@pytest.mark.parametrize("size", SIZES)
def test_the_root_of_the_tiles_is_the_root_of_the_leaves(grown, hashes, size):
    files, root = grown[size]
    assert root == merkle.root(size, tile_nodes(size, files.__getitem__))
    edge = merkle.Frontier()
    for hash in hashes[:size]:
        edge.append(hash)
    assert root == edge.root()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_proofs_out_of_tiles_verify(grown, hashes, data):
    size = data.draw(st.sampled_from([size for size in SIZES if size]))
    files, root = grown[size]
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_proof(index, size, tile_nodes(size, files.__getitem__))
    merkle.verify_inclusion(index, size, hashes[index], path, root)
    old = data.draw(st.sampled_from([old for old in SIZES if 0 < old <= size]))
    proof = merkle.consistency_proof(old, size, tile_nodes(size, files.__getitem__))
    merkle.verify_consistency(old, size, proof, grown[old][1], root)


def test_a_tile_of_the_wrong_length_is_refused(grown):
    files, _ = grown[1000]
    with pytest.raises(LogError, match="got"):
        merkle.root(1000, tile_nodes(1000, lambda tile: files[tile][:-32]))


def test_a_copy_grows_apart():
    builder = TileBuilder()
    for number in range(300):
        builder.append(leaf(number))
    before = (builder.root(), list(builder.partial()))
    other = builder.copy()
    for number in range(300):
        other.append(leaf(number))
    assert (builder.root(), list(builder.partial())) == before


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1234067), "tile/0/x001/x234/067"),
        (Tile(5, 999, 17), "tile/5/999.p/17"),
        (Tile(ENTRIES, 1000, 255), "tile/entries/x001/000.p/255"),
        (Tile(63, 0, 1), "tile/63/000.p/1"),
    ],
)
def test_a_path_reads_back_as_its_tile(tile, path):
    assert tile.path == path
    assert Tile.parse(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "tile/0",
            "tile/64/000",
            "tile/00/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000/001",
            "tile/0/x001",
        ),
        *(
            "tile/0/001/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p",
            "checkpoint",
        ),
        *(
            "tile/-1/000",
            "tile/0/../000",
            "tile/entries/000/",
            "tile/0/٠٠٠",
            "tile/0/" + "x001/" * 40 + "000",
        ),
        *("../tile/0/000", "tile/0/000\n", "tile/0/000.new"),
    ],
)
def test_another_spelling_of_a_path_is_refused(path):
    with pytest.raises(LogError):
        Tile.parse(path)


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=300), max_size=20), st.data())
def test_bundles_read_back_and_no_cut_one_does(entries, data):
    bundle = pack(entries)
    assert unpack(bundle, len(entries)) == entries
    with pytest.raises(LogError):
        unpack(bundle, len(entries) + 1)
    if bundle:
        cut = data.draw(st.integers(0, len(bundle) - 1))
        with pytest.raises(LogError):
            unpack(bundle[:cut], len(entries))


def test_an_entry_that_no_bundle_can_hold_is_refused():
    assert unpack(pack([b"x" * 65_535]), 1) == [b"x" * 65_535]
    with pytest.raises(LogError):
        pack([b"x" * 65_536])


def test_a_bundle_of_more_entries_than_a_tile_holds_is_refused_at_the_first_that_is_too_many():
    with pytest.raises(LogError, match="more than 256"):
        unpack(
            b"\0\0" * 256 + b"\0\0" + b"\xff", 1
        )  # the last byte, which is within an entry, is not come to
