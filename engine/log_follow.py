"""Follows a consent log from outside, shard by shard: signatures, growth that only appends, freshness."""

from __future__ import annotations

from typing import Protocol

from privacy.checkpoint import Checkpoint, Note, Verifier, read_checkpoint, read_note
from privacy.errors import LogError
from privacy.log_policy import LogPolicy
from privacy.log_shards import check_first, next_of, year_in
from privacy.merkle import consistency_proof, inclusion_proof, verify_consistency
from privacy.tiles import ENTRIES, WIDTH, Tile, tile_nodes, unpack
from privacy.tlog_proof import verify_leaf


class Source(Protocol):
    """A log as it is published: a folder, or a server."""

    def checkpoint(self) -> bytes | None:
        """Return the checkpoint, None where there is none. Raises LogError."""

    def read_tile(self, tile: Tile) -> bytes:
        """Return a tile. Raises LogError where there is none."""

    def of_year(self, year: int) -> Source:
        """Return the shard that lies below this one's prefix, by its year."""


def follow(source: Source, policy: LogPolicy, seen: bytes | None, now: int, stale_s: int) -> bytes:
    """Look at a log once, from its first shard to the newest; return the newest checkpoint for the next look.

    `seen` is what the last look returned. Raises LogError where signatures do not hold, where a shard does not
    commit to how the one before ended, where the log does not continue what was seen, where a tree does not hold its
    leaves, or where no key stated a time within `stale_s` seconds.
    """
    before = None if seen is None else read_checkpoint(read_note(seen).text)
    data, checkpoint, signed = _load(source, policy)
    if data is None or checkpoint is None:
        raise LogError("monitor: the log has no checkpoint")
    log = policy.log_of(checkpoint.origin) or checkpoint.origin
    at, continued = source, before is None
    while True:
        if before is not None and before.origin == checkpoint.origin:
            _check_growth(at, before, checkpoint)
            continued = True
        named = next_of(entry(at, checkpoint, checkpoint.size - 1)) if checkpoint.size else None
        if named is None:
            break
        year = year_in(log, named)
        if year is None or year <= (year_in(log, checkpoint.origin) or 0):
            raise LogError(
                f"monitor: {checkpoint.origin} names {named!r} as the next shard, which is none of later"
            )
        at = source.of_year(year)
        found, following, signed_next = _load(at, policy)
        if found is None or following is None:
            break  # it begins within the hour; if it does not, what was signed last gets too old
        if following.origin != named:
            raise LogError(f"monitor: got origin {following.origin!r}, expected {named!r}")
        if following.size:
            check_first(entry(at, following, 0), checkpoint)
        data, checkpoint, signed = found, following, signed_next
    if not continued and before is not None:
        raise LogError(
            f"monitor: saw {before.origin} at {before.size} entries; the log ends with {checkpoint.origin} at "
            f"{checkpoint.size}: rolled back, or a shard is opened again or left out"
        )
    _check_age([time for time in signed.values() if time], now, stale_s)
    return data


def entry(source: Source, checkpoint: Checkpoint, index: int) -> bytes:
    """Return an entry of the tree of a checkpoint that was verified, proved by its tiles. Raises LogError."""
    number, place = divmod(index, WIDTH)
    width = min(WIDTH, checkpoint.size - number * WIDTH)
    leaf = unpack(source.read_tile(Tile(ENTRIES, number, width)), width)[place]
    path = inclusion_proof(index, checkpoint.size, tile_nodes(checkpoint.size, source.read_tile))
    verify_leaf(leaf, index, path, checkpoint)
    return leaf


def _load(
    source: Source, policy: LogPolicy
) -> tuple[bytes | None, Checkpoint | None, dict[Verifier, int | None]]:
    data = source.checkpoint()
    if data is None:
        return None, None, {}
    note: Note = read_note(data)
    signed = policy.verify(note)
    return data, read_checkpoint(note.text), signed


def _check_growth(source: Source, before: Checkpoint, checkpoint: Checkpoint) -> None:
    if checkpoint.size < before.size:
        raise LogError(f"monitor: rolled back from {before.size} leaves to {checkpoint.size}")
    if before.size:
        nodes = tile_nodes(checkpoint.size, source.read_tile)
        proof = consistency_proof(before.size, checkpoint.size, nodes)
        verify_consistency(before.size, checkpoint.size, proof, before.root, checkpoint.root)


def _check_age(times: list[int], now: int, stale_s: int) -> None:
    if times and max(times) > now + stale_s:
        raise LogError(f"monitor: signed {max(times) - now} s from now: a clock is wrong")
    if not times or now - max(times) > stale_s:
        raise LogError(
            f"monitor: stale: signed {now - max(times, default=0)} s ago, expected within {stale_s} s"
        )
