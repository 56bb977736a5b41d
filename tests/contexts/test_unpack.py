"""A body is unpacked piece by piece, up to a bound, however it is packed and cut."""

from __future__ import annotations

import gzip
import itertools
import random
from collections.abc import Iterator

import pytest

from contexts.errors import FetchError
from contexts.unpack import unpacked

TEXT = random.Random(1).randbytes(70_000) + b"leek " * 60_000


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1000, 65_536, 10**6])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("behind", [b"", b"\x1f", b"\0" * 100, b"<!-- cached -->"])
def test_what_was_packed_comes_out_whatever_follows(size: int, members: int, behind: bytes) -> None:
    step = len(TEXT) // members + 1
    packed = b"".join(gzip.compress(TEXT[at : at + step]) for at in range(0, len(TEXT), step)) + behind
    assert b"".join(unpacked(cut(packed, size), "gzip", 10**6)) == TEXT
    assert b"".join(unpacked(cut(TEXT, size), "", 10**6)) == TEXT


def test_members_are_found_where_each_byte_comes_alone() -> None:
    packed = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")
    assert b"".join(unpacked(cut(packed, 1), "x-gzip", 1000)) == b"one two"


def test_a_bomb_is_unpacked_up_to_the_bound_in_small_pieces() -> None:
    bomb = gzip.compress(b"\0" * 20_000_000)
    pieces = []
    with pytest.raises(FetchError) as refused:
        for piece in unpacked([bomb], "gzip", 100_000):
            pieces.append(len(piece))
    assert refused.value.reason == "size"
    assert max(pieces) <= 65_536 and sum(pieces) <= 100_000


@pytest.mark.parametrize("chunk", [gzip.compress(b"", mtime=0), b"\0" * 20, b"x" * 20])
def test_what_unpacks_to_nothing_has_an_end_too(chunk: bytes) -> None:
    endless = itertools.chain([gzip.compress(b"x")], itertools.repeat(chunk))
    with pytest.raises(FetchError) as refused:
        list(unpacked(endless, "gzip", 1000))
    assert refused.value.reason == "size"


@pytest.mark.parametrize(
    ("encoding", "data"), [("br", b"x"), ("deflate", b"x"), ("gzip, gzip", b"x"), ("gzip", b"xyz")]
)
def test_another_coding_is_refused(encoding: str, data: bytes) -> None:
    def chunks() -> Iterator[bytes]:
        yield data

    with pytest.raises(FetchError) as refused:
        list(unpacked(chunks(), encoding, 1000))
    assert refused.value.reason == "encoding"
