"""Looks a consent log over: recomputes its tree from every entry, and follows its checkpoints from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.errors import LogRefused
from engine.log_files import LogFiles
from privacy.checkpoint import Checkpoint, read_checkpoint, read_note
from privacy.consent_log import LeafStore, is_canonical
from privacy.errors import LogError
from privacy.log_policy import LogPolicy
from privacy.merkle import consistency_proof, verify_consistency
from privacy.tiles import Tile, TileBuilder, tile_nodes

BATCH = 1000
MOST_FAULTS = 20


@dataclass(slots=True)
class Audit:
    """What a look at a log found. `builder` stands at the published size, where there was no fault."""

    leaves: int
    published: int
    faults: list[str] = field(default_factory=list)
    builder: TileBuilder = field(default_factory=TileBuilder)

    @property
    def holds(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.faults

    def plain(self) -> dict[str, Any]:
        """Give it as JSON values."""
        told = {
            "holds": self.holds,
            "leaves": self.leaves,
            "published": self.published,
            "faults": self.faults,
        }
        return told | {"root": self.builder.root().hex()}

    def lines(self) -> Iterator[str]:
        """Yield it in words."""
        yield f"{self.leaves} leaves, {self.published} of them published: {'clean' if self.holds else 'FAULTY'}"
        yield from self.faults


def audit(leaves: LeafStore, files: LogFiles, policy: LogPolicy, *, thorough: bool = True) -> Audit:
    """Recompute the tree from all entries and hold checkpoint, tiles and what was signed last against it.

    With `thorough`, also read each leaf: canonical JSON that knows its index.
    """
    found = Audit(0, 0)
    faults = found.faults
    bounds: list[tuple[str, int, bytes]] = []
    try:
        published = published_checkpoint(files, policy)
        if published is not None:
            found.published = published.size
            bounds.append(("the published checkpoint", published.size, published.root))
        signed = files.signed()
        if signed is not None:
            if signed.origin != policy.logs[0].name:
                faults.append(
                    f"origin: the log signed last is {signed.origin!r}, this is {policy.logs[0].name!r}"
                )
            bounds.append(("what was signed last", signed.size, signed.root))
            if published is not None and published.size > signed.size:
                faults.append(f"checkpoint: has {published.size} leaves, and only {signed.size} were signed")
        elif published is not None:
            faults.append("there is a checkpoint, and the key folder does not know what was signed last")
    except (LogError, LogRefused) as error:
        faults.append(str(error))
        return found
    found.leaves = leaves.count()  # last: a service may append meanwhile
    for name, size, _ in bounds:
        if size > found.leaves:
            faults.append(f"rolled back: {name} has {size} leaves, the store has {found.leaves}")
    if faults:
        return found
    _replay(leaves, files, found, bounds, thorough)
    del faults[MOST_FAULTS:]
    return found


def _replay(
    leaves: LeafStore, files: LogFiles, found: Audit, bounds: Sequence[tuple[str, int, bytes]], thorough: bool
) -> None:
    builder, faults = found.builder, found.faults

    def reach(size: int) -> None:
        for name, bound, root in bounds:
            if bound == size and builder.root() != root:
                faults.append(
                    f"at size {size} the leaves give root {builder.root().hex()}, {name} has {root.hex()}"
                )
        if size == found.published:
            for tile, data in builder.partial():
                _compare(files, tile, data, faults)
            found.builder = builder.copy()

    reach(0)
    for start in range(0, found.leaves, BATCH):
        stop = min(start + BATCH, found.leaves)
        batch = leaves.read(start, stop)
        if len(batch) != stop - start:
            faults.append(f"leaves {start} to {stop}: got {len(batch)}, expected {stop - start}")
            return
        for index, leaf in enumerate(batch, start):
            if thorough:
                _check_leaf(index, leaf, faults)
            for tile, data in builder.append(leaf):
                if index < found.published:
                    _compare(files, tile, data, faults)
            reach(index + 1)
        if len(faults) >= MOST_FAULTS:
            return


def published_checkpoint(files: LogFiles, policy: LogPolicy) -> Checkpoint | None:
    """Return the checkpoint that is published, its signatures verified. Raises LogError."""
    data = files.checkpoint()
    if data is None:
        return None
    note = read_note(data)
    policy.verify(note)
    return read_checkpoint(note.text)


def _compare(files: LogFiles, tile: Tile, data: bytes, faults: list[str]) -> None:
    try:
        there = files.tile(tile)
    except LogError as error:
        faults.append(f"{tile.path}: {error}")
        return
    if there != data:
        faults.append(f"{tile.path}: {'missing' if there is None else 'differs from what the leaves give'}")


def _check_leaf(index: int, leaf: bytes, faults: list[str]) -> None:
    try:
        fields = json.loads(leaf)
        if not is_canonical(leaf, fields) or fields.get("seq") != index or fields.get("v") != 1:
            faults.append(f"leaf {index}: is not canonical, or does not know its index")
    except (ValueError, AttributeError, RecursionError):
        faults.append(f"leaf {index}: is no canonical JSON")


class Source(Protocol):
    """A log as it is published: a folder, or a server."""

    def checkpoint(self) -> bytes:
        """Return the checkpoint. Raises LogError where there is none."""

    def read_tile(self, tile: Tile) -> bytes:
        """Return a tile. Raises LogError where there is none."""


def follow(source: Source, policy: LogPolicy, seen: bytes | None, now: int, stale_s: int) -> bytes:
    """Look at a log's checkpoint once; return it for the next look. `seen` is what the last look returned.

    Raises LogError where its signatures do not hold, where it does not continue what was seen, where the tree
    does not hold its leaves, or where no key stated a time within `stale_s` seconds.
    """
    data = source.checkpoint()
    note = read_note(data)
    signed = policy.verify(note)
    checkpoint = read_checkpoint(note.text)
    times = [time for time in signed.values() if time]
    if seen is not None:
        before = read_checkpoint(read_note(seen).text)
        if before.origin != checkpoint.origin:
            raise LogError(f"monitor: got origin {checkpoint.origin!r}, saw {before.origin!r}")
        if checkpoint.size < before.size:
            raise LogError(f"monitor: rolled back from {before.size} leaves to {checkpoint.size}")
        nodes = tile_nodes(checkpoint.size, source.read_tile)
        proof = consistency_proof(before.size, checkpoint.size, nodes)
        if before.size:
            verify_consistency(before.size, checkpoint.size, proof, before.root, checkpoint.root)
    if times and max(times) > now + stale_s:
        raise LogError(f"monitor: signed {max(times) - now} s from now: a clock is wrong")
    if not times or now - max(times) > stale_s:
        raise LogError(
            f"monitor: stale: signed {now - max(times, default=0)} s ago, expected within {stale_s} s"
        )
    return data
