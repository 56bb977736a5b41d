"""Looks a consent log over: recomputes its tree from every entry, and follows its checkpoints from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.errors import LogRefused
from engine.log_files import LogFiles
from engine.log_shards import Shards
from privacy.checkpoint import Checkpoint, read_checkpoint, read_note
from privacy.consent_log import LeafReader, is_canonical
from privacy.errors import LogError
from privacy.log_policy import LogPolicy
from privacy.log_shards import Shard, check_first, next_of
from privacy.tiles import Tile, TileBuilder

BATCH = 1000
MOST_FAULTS = 20


@dataclass(slots=True)
class Audit:
    """What a look at a log, or at a shard of one, found.

    Where there was no fault, `builder` stands at the published size, of a whole log at that of its newest shard, and
    `whole` is the root over all leaves.
    """

    leaves: int
    published: int
    shards: int = 1
    whole: bytes = b""
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
            "shards": self.shards,
            "faults": self.faults,
        }
        return told | {"root": self.builder.root().hex()}

    def lines(self) -> Iterator[str]:
        """Yield it in words."""
        shards = f" in {self.shards} shards" if self.shards > 1 else ""
        clean = "clean" if self.holds else "FAULTY"
        yield f"{self.leaves} leaves{shards}, {self.published} of them published: {clean}"
        yield from self.faults


def audit_log(shards: Shards, policy: LogPolicy) -> Audit:
    """Recompute every shard from its entries, and the chain that they make. Each leaf is read."""
    chain = shards.all()
    found = Audit(0, 0, len(chain))
    published: list[int] = []
    for place, shard in enumerate(chain):
        one = audit(shards.leaves(shard), shards.files(shard), policy, shard=shard)
        said = list(one.faults)
        if one.holds and shard.size is not None:
            said += _chained(shards, shard, chain[place + 1], one.whole)
        found.faults += [fault if len(chain) == 1 else f"{shard.origin}: {fault}" for fault in said]
        found.leaves += one.leaves
        found.published += one.published
        published.append(one.published)
        found.builder = one.builder
    for place, shard in enumerate(chain[:-1]):
        if published[place] != shard.size and any(published[place + 1 :]):
            found.faults.append(
                f"{shard.origin}: ended with {shard.size} entries, {published[place]} of them are published"
            )
    found.faults += strange_memories(shards)
    del found.faults[MOST_FAULTS:]
    return found


def strange_memories(shards: Shards) -> list[str]:
    """Return what is wrong with the list of the shards that were signed: a log that is not here, or another order."""
    try:
        remembered = [one.origin for one in shards.files(shards.newest()).remembered()]
    except LogRefused:
        return []  # told of the shard that asks for it
    origins = [shard.origin for shard in shards.all()]
    strange = [origin for origin in remembered if origin not in origins]
    if strange:
        return [f"origin: the log signed last is {strange[-1]!r}, this is {origins[-1]!r}"]
    if remembered != origins[: len(remembered)]:
        return [f"origin: got signed trees of {', '.join(remembered)}, expected {', '.join(origins)}"]
    return []


def finished(shards: Shards, shard: Shard, following: Shard, policy: LogPolicy) -> bool:
    """Say whether a shard that is over is published to its end, as what was signed last and the next one have it.

    Raises LogError where they contradict each other. Its entries are not read again: `audit_log` does that.
    """
    files = shards.files(shard)
    published, signed = published_checkpoint(files, policy), files.signed()
    size = shard.size
    if published is None or size is None or published.size < size:
        return False
    if published.size > size:
        raise LogError(f"{shard.origin}: was opened again: ended with {size} entries, signs {published.size}")
    if signed is None or (signed.size, signed.root) != (size, published.root):
        raise LogError(f"{shard.origin}: its final checkpoint is not what was signed last of it")
    for fault in _chained(shards, shard, following, published.root):
        raise LogError(f"{shard.origin}: {fault}")
    return True


def _chained(shards: Shards, shard: Shard, following: Shard, root: bytes) -> Iterator[str]:
    """Yield what is wrong between a shard that is over and the next one."""
    size = shard.size or 0
    last = shards.leaves(shard).read(size - 1, size)
    first = shards.leaves(following).read(0, 1)
    if not last or next_of(last[0]) != following.origin:
        yield f"its last entry does not name {following.origin} as the next"
    try:
        check_first(first[0] if first else b"", Checkpoint(shard.origin, size, root))
    except LogError as error:
        yield f"{following.origin}: {error}"


def audit(
    leaves: LeafReader,
    files: LogFiles,
    policy: LogPolicy,
    *,
    shard: Shard | None = None,
    thorough: bool = True,
) -> Audit:
    """Recompute the tree from all entries and hold checkpoint, tiles and what was signed last against it.

    With `thorough`, also read each leaf: canonical JSON that knows its number, in a `shard` through all of them.
    """
    shard = shard or Shard(policy.logs[0].name, 0)
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
    _replay(leaves, files, found, bounds, shard if thorough else None)
    del faults[MOST_FAULTS:]
    return found


def _replay(
    leaves: LeafReader,
    files: LogFiles,
    found: Audit,
    bounds: Sequence[tuple[str, int, bytes]],
    shard: Shard | None,
) -> None:
    """Hold everything against the tree of the leaves; with `shard`, read each leaf."""
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
            if shard is not None:
                _check_leaf(index, leaf, shard, faults)
            for tile, data in builder.append(leaf):
                if index < found.published:
                    _compare(files, tile, data, faults)
            reach(index + 1)
        if len(faults) >= MOST_FAULTS:
            return
    found.whole = builder.root()


def published_checkpoint(files: LogFiles, policy: LogPolicy) -> Checkpoint | None:
    """Return the checkpoint that is published, its signatures verified. Raises LogError."""
    data = files.checkpoint()
    if data is None:
        return None
    note = read_note(data)
    policy.verify(note)
    checkpoint = read_checkpoint(note.text)
    if files.origin not in (None, checkpoint.origin):
        raise LogError(f"checkpoint: of {checkpoint.origin!r}, expected one of {files.origin!r}")
    return checkpoint


def _compare(files: LogFiles, tile: Tile, data: bytes, faults: list[str]) -> None:
    try:
        there = files.tile(tile)
    except LogError as error:
        faults.append(f"{tile.path}: {error}")
        return
    if there != data:
        faults.append(f"{tile.path}: {'missing' if there is None else 'differs from what the leaves give'}")


def _check_leaf(index: int, leaf: bytes, shard: Shard, faults: list[str]) -> None:
    seq = shard.first + index
    try:
        fields = json.loads(leaf)
        if not is_canonical(leaf, fields) or fields.get("seq") != seq or fields.get("v") != 1:
            faults.append(f"leaf {seq}: is not canonical, or does not know its index")
            return
    except (ValueError, AttributeError, RecursionError):
        faults.append(f"leaf {seq}: is no canonical JSON")
        return
    type = fields.get("type")
    if (type == "log.begin") is not (index == 0 and shard.first > 0):
        faults.append(f"leaf {seq}: begins a shard where none begins, or does not where one does")
    if (type == "log.freeze") is not (index + 1 == shard.size):
        faults.append(f"leaf {seq}: ends a shard where none ends, or does not where one does")
