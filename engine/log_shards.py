"""The shards of an installation's consent log: which entries each holds, and where its files lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from engine.log_files import LogFiles
from privacy.checkpoint import read_checkpoint, read_note
from privacy.consent_log import LeafReader, hour_of
from privacy.log_shards import Shard, origin_of_year
from privacy.merkle import inclusion_proof
from privacy.tiles import tile_nodes
from privacy.tlog_proof import Proof


class ShardStore(LeafReader, Protocol):
    """The leaves of all shards, and where each begins."""

    def shards(self) -> list[tuple[int, str]]:
        """Return the number of the first entry, and the name, of each shard after the first."""


class RepairStore(ShardStore, Protocol):
    """A ShardStore whose leaves can be put right."""

    def put_back(self, leaves: Iterable[bytes], first: int = 0) -> int:
        """Put leaves where they were signed to stand, from `first` on, in one step; return how many were not there."""


class ShardLeaves:
    """The leaves of one shard, numbered from 0."""

    def __init__(self, leaves: LeafReader, shard: Shard) -> None:
        self._leaves = leaves
        self.shard = shard

    def count(self) -> int:
        """Return how many are committed."""
        there = max(0, self._leaves.count() - self.shard.first)
        return there if self.shard.size is None else min(there, self.shard.size)

    def read(self, start: int, stop: int) -> list[bytes]:
        """Return the leaves from `start` to before `stop`, fewer where the shard ends."""
        if self.shard.size is not None:
            stop = min(stop, self.shard.size)
        return self._leaves.read(self.shard.first + start, self.shard.first + stop) if stop > start else []


class Shards:
    """The shards of a log, oldest first: the first lies in the log's folder, each later one below it by its year."""

    def __init__(self, leaves: ShardStore, folder: Path, key_dir: Path, log: str, at_once: int = 8) -> None:
        """`log` is the name of the log, which is that of its first shard; for `at_once` see LogFiles."""
        self.log = log
        self.at_once = at_once
        self._leaves = leaves
        self._folder, self._key_dir = folder, key_dir

    def all(self) -> tuple[Shard, ...]:
        """Return them as they stand."""
        begun = [(0, self.log), *self._leaves.shards()]
        shards = [Shard(origin, first) for first, origin in begun]
        ended = [
            replace(shard, size=after.first - shard.first)
            for shard, after in zip(shards, shards[1:], strict=False)
        ]
        return (*ended, shards[-1])

    def newest(self) -> Shard:
        """Return the one that grows."""
        return self.all()[-1]

    def of(self, seq: int) -> Shard:
        """Return the one that holds an entry."""
        return next(shard for shard in reversed(self.all()) if shard.first <= seq)

    def leaves(self, shard: Shard) -> ShardLeaves:
        """Return the leaves of one."""
        return ShardLeaves(self._leaves, shard)

    def files(self, shard: Shard) -> LogFiles:
        """Return the files of one."""
        year = shard.origin.rpartition("/")[2] if shard.first else ""
        return LogFiles(self._folder / year, self._key_dir, self.at_once, shard.origin)

    def published(self, year: int | None) -> LogFiles:
        """Return the files of the shard of a year, of the first one for None, whether or not there are any."""
        if year is None:
            return LogFiles(self._folder, self._key_dir, self.at_once, self.log)
        origin = origin_of_year(self.log, year)
        return LogFiles(self._folder / f"{year:04}", self._key_dir, self.at_once, origin)

    def year_of(self, shard: Shard) -> int | None:
        """Return the year (UTC) in which one began, None where it has no entry yet."""
        first = self.leaves(shard).read(0, 1)
        return datetime.fromtimestamp(hour_of(first[0]) * 3600, UTC).year if first else None

    def receipt(self, seq: int) -> Proof | None:
        """Return the proof that an entry stands in the published log, None where no checkpoint covers it yet."""
        shard = self.of(seq)
        files = self.files(shard)
        data = files.checkpoint()
        if data is None:
            return None
        note = read_note(data)
        size, index = read_checkpoint(note.text).size, seq - shard.first
        if index >= size:
            return None
        return Proof(index, tuple(inclusion_proof(index, size, tile_nodes(size, files.read_tile))), note)
