"""The turn of the year: ends a shard of the consent log and begins the next, in one transaction.

The last entry of the one, and the first of the other, which commits to how the one ended, come true together: there
is no moment at which the log has no head, or two. What has to be published and signed follows from them, so that a
crash at any time after leaves nothing open: the writer signs the end of the old shard first, whenever it comes to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from engine.log_record import LoggedKey, RecordStore, record_anew
from engine.log_shards import ShardStore
from engine.log_writer import LogWriter
from privacy.checkpoint import Checkpoint
from privacy.consent_log import Maker
from privacy.log_shards import first_leaf, last_leaf, origin_of_year

_BATCH = 1000

# What stands, as the shard of this name is to tell of it: keys, settings, policy.
Stands = Callable[[str], tuple[Sequence[LoggedKey], Mapping[str, str], Mapping[str, Any]]]


class TurnStore(RecordStore, ShardStore, Protocol):
    """The leaves, with what ends a shard and begins another."""

    def freeze(self, db: Any, end: Maker, begun: int) -> list[bytes]:
        """End a shard by a leaf after which it holds no other; return what was appended.

        Within the caller's transaction, in which nobody else appends. Nothing is, where not so many shards have
        `begun` after the first: somebody else was faster.
        """

    def begin(self, db: Any, origin: str) -> None:
        """Note that the next leaf is the first of a shard of this name, within the caller's transaction."""


class Store(Protocol):
    """The store that keeps the leaves."""

    def writing(self) -> AbstractContextManager[Any]:
        """Hold the write transaction."""


def turn(store: Store, leaves: TurnStore, writer: LogWriter, stands: Stands, now: datetime) -> bool:
    """Begin the shard of this year (UTC) where the newest one began in an earlier year; say whether it did.

    Requires the writer's lock. A clock that goes back changes nothing. An entry that was told after the turn and
    before this call stays in the shard that ends.
    """
    shard, year = writer.shard, now.astimezone(UTC).year
    if shard.size is not None or not writer.is_open:
        return False
    begun = writer.shards.year_of(shard)
    if begun is None or year <= begun:
        return False
    following, begun = origin_of_year(writer.shards.log, year), len(writer.shards.all()) - 1
    with store.writing() as db:
        ended = leaves.freeze(db, partial(last_leaf, at=now, following=following), begun)
        if not ended:
            return False
        size = int(json.loads(ended[-1])["seq"]) + 1 - shard.first
        tree = writer.tree.copy()
        for start in range(tree.size, size - len(ended), _BATCH):
            for leaf in writer.shards.leaves(shard).read(start, min(start + _BATCH, size - len(ended))):
                tree.append(leaf)
        for leaf in ended:
            tree.append(leaf)
        leaves.begin(db, following)
        final = Checkpoint(shard.origin, size, tree.root())
        leaves.append(db, [partial(first_leaf, at=now, before=final)])
        record_anew(db, leaves, *stands(following), now)
    writer.turned()
    return True
