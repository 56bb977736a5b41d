"""What a change to the catalogue is made of: entities, changes, versions, approvals."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from engine.campaign import Advertiser, Campaign, Publisher
from engine.creative import Creative

Entity = Publisher | Advertiser | Campaign | Creative
Kind = Literal["publisher", "advertiser", "campaign", "creative"]
ApprovalState = Literal["approved", "rejected"]

LISTED = timedelta(days=365)  # after its end an advertisement stays in the public repository: DSA, article 39
KINDS: dict[Kind, type[Entity]] = {
    "publisher": Publisher,
    "advertiser": Advertiser,
    "campaign": Campaign,
    "creative": Creative,
}
_NAMES: dict[type[Entity], Kind] = {cls: kind for kind, cls in KINDS.items()}


def kind_of(entity: Entity) -> Kind:
    """Return the tag under which an entity stands in files and in the store."""
    return _NAMES[type(entity)]


def content_hash(entity: Entity) -> str:
    """Return 64 hex digits that stand for what an entity says; its status is no part of that."""
    if not isinstance(entity, Advertiser) and entity.status != "active":
        entity = msgspec.structs.replace(entity, status="active")
    return hashlib.sha256(msgspec.json.encode(entity)).hexdigest()


class Versions(NamedTuple):
    """Counters that only grow. Workers poll them; what has not moved need not be read again.

    `catalog` moves when anything changes that a snapshot is built from; `live` with it, and also when only a
    status or an approval changes; `keys` with the API keys.
    """

    catalog: int
    live: int
    keys: int


class Withdrawn(NamedTuple):
    """A creative as it was when it was deleted, with whose it was."""

    at: datetime
    creative: Creative
    campaign: Campaign
    advertiser: Advertiser


@dataclass(frozen=True, slots=True)
class Change:
    """One entity before and after. `before` None: created. `after` None: deleted."""

    before: Entity | None
    after: Entity | None
    line: int = 0  # of the loaded file

    @property
    def kind(self) -> Kind:
        """Return the kind of what changes."""
        return kind_of(self._entity)

    @property
    def id(self) -> str:
        """Return the id of what changes."""
        return self._entity.id

    @property
    def is_status_only(self) -> bool:
        """Say whether nothing but `status` differs: the snapshot stays, the pause acts at once."""
        before, after = self.before, self.after
        if before is None or after is None or isinstance(before, Advertiser) or isinstance(after, Advertiser):
            return False
        return msgspec.structs.replace(before, status=after.status) == after

    def fields(self) -> list[tuple[str, object, object]]:
        """Return (path, old, new) of every field that differs; absent values are None."""
        return differences(_plain(self.before), _plain(self.after))

    @property
    def _entity(self) -> Entity:
        entity = self.after if self.after is not None else self.before
        if entity is None:
            raise ValueError("a change needs an entity before or after it")
        return entity


@dataclass(frozen=True, slots=True)
class Approval:
    """What a publisher said of a creative. New content ends an approval, not a rejection."""

    publisher: str
    creative: str
    state: ApprovalState


def _plain(entity: Entity | None) -> object:
    return None if entity is None else msgspec.to_builtins(entity)


def differences(old: object, new: object, path: str = "") -> list[tuple[str, object, object]]:
    """Return (path, old, new) of every part of two plain values that differs."""
    if old == new:
        return []
    if isinstance(old, dict) or isinstance(new, dict):
        left = old if isinstance(old, dict) else {}
        right = new if isinstance(new, dict) else {}
        found = []
        for name in [*left, *(name for name in right if name not in left)]:
            inner = f"{path}.{name}" if path else name
            found += differences(left.get(name), right.get(name), inner)
        return found
    return [(path, old, new)]
