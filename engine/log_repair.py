"""Puts a damaged consent log right from whichever copy of its entries still gives the root that was signed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.errors import LogRefused
from engine.log_audit import BATCH, published_checkpoint
from engine.log_files import LogFiles
from engine.log_shards import RepairStore, Shards
from privacy.consent_log import LeafReader
from privacy.errors import LogError
from privacy.log_policy import LogPolicy
from privacy.tiles import ENTRIES, WIDTH, Tile, TileBuilder, unpack


def repair(leaves: RepairStore, shards: Shards, policy: LogPolicy) -> list[str]:
    """Bring leaves and tiles back to what the published checkpoints sign; return what was done.

    Requires that nobody writes the log. Raises LogRefused where no copy of a shard's entries gives the signed root.
    """
    done = []
    for shard in shards.all():
        files = shards.files(shard)
        published = published_checkpoint(files, policy)
        if published is None:
            if shard.first:
                continue  # a shard that just began, or whose files the writer writes anew
            raise LogRefused("there is no checkpoint to go by; put the log's folder back from your copy")
        size, root = published.size, published.root
        if _root(_stored(shards.leaves(shard), size)) != root:
            if _root(_bundled(files, size)) != root:
                raise LogRefused(
                    f"{shard.origin}: neither the store's leaves nor the entry tiles give the root that was signed at "
                    f"size {size}; put the database or the log's folder back from a copy"
                )
            if changed := leaves.put_back(_bundled(files, size), shard.first):
                done.append(f"put {changed} leaves back into the store, from the entry tiles")
        if written := _rewrite(shards.leaves(shard), files, size):
            done.append(f"wrote {written} tiles anew, from the store's leaves")
    return done


def _rewrite(leaves: LeafReader, files: LogFiles, size: int) -> int:
    builder, written = TileBuilder(), 0
    for leaf in _stored(leaves, size):
        written += _put_tiles(files, builder.append(leaf))
    return written + _put_tiles(files, builder.partial())


def _root(entries: Iterator[bytes]) -> bytes | None:
    builder = TileBuilder()
    try:
        for leaf in entries:
            builder.append(leaf)
    except LogError:
        return None
    return builder.root()


def _stored(leaves: LeafReader, size: int) -> Iterator[bytes]:
    for start in range(0, size, BATCH):
        yield from leaves.read(start, min(start + BATCH, size))


def _bundled(files: LogFiles, size: int) -> Iterator[bytes]:
    for start in range(0, size, WIDTH):
        width = min(WIDTH, size - start)
        yield from unpack(files.read_tile(Tile(ENTRIES, start // WIDTH, width)), width)


def _put_tiles(files: LogFiles, tiles: Iterable[tuple[Tile, bytes]]) -> int:
    return files.put_tiles([(tile, data) for tile, data in tiles if not _there(files, tile, data)])


def _there(files: LogFiles, tile: Tile, data: bytes) -> bool:
    try:
        return files.tile(tile) == data
    except LogError:
        return False
