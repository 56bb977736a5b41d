"""What was changed in the catalogue, by whom, and what stood there before: read by its owners."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from msgspec import Struct

from engine import manage
from engine.change import KINDS, Kind, differences
from engine.errors import NotFound
from engine.keys import Caller

BATCH = 1000  # entries read at once
MOST_READ = 20_000  # entries that one page looks through; then it says from where to go on

Entry = tuple[int, str, str, str, str, bytes | None, bytes | None]


class ChangeStore(manage.ManageStore, Protocol):
    """What is read."""

    def journal(self, after: int = 0, limit: int = BATCH) -> list[Entry]:
        """Return (seq, at, actor, kind, id, before, after) of the changes past `after`, oldest first."""

    def journal_of(self, kind: str, id: str, limit: int) -> list[Entry]:
        """Return the same of the changes of one thing, the latest first."""


class FieldChange(Struct, frozen=True):
    """A field before and after; null where it was not there."""

    field: str
    before: Any
    after: Any


class Changed(Struct, frozen=True):
    """A change: who made it, when, of what."""

    seq: int
    at: str  # UTC, RFC 3339
    actor: str
    kind: str
    id: str
    did: str  # "created", "changed", "deleted"
    fields: tuple[FieldChange, ...]


def page(
    store: ChangeStore, caller: Caller, after: int = 0, limit: int = 100
) -> tuple[tuple[Changed, ...], int | None]:
    """Return up to `limit` changes past `after` that the caller may see, and what to ask `after` for the next."""
    found: list[Changed] = []
    owners: dict[str, str | None] = {}
    read = 0
    while read < MOST_READ:
        entries = store.journal(after, BATCH)
        for entry in entries:
            after, read = entry[0], read + 1
            if _may_see(store, caller, entry, owners):
                found.append(_told(entry, caller))
                if len(found) == limit:
                    return tuple(found), after
        if len(entries) < BATCH:
            return tuple(found), None
    return tuple(found), after


def of(store: ChangeStore, caller: Caller, kind: Kind, id: str, limit: int = 100) -> tuple[Changed, ...]:
    """Return the latest changes of one thing, the latest first. Raises NotFound where it is not the caller's."""
    owners: dict[str, str | None] = {}
    entries = store.journal_of(kind, id, limit)
    seen = [entry for entry in entries if _may_see(store, caller, entry, owners)]
    if not seen:
        raise NotFound(f"{kind}: got {ascii(id[:80])}, expected the id of a {kind} of yours that was changed")
    return tuple(_told(entry, caller) for entry in seen)


def _may_see(store: ChangeStore, caller: Caller, entry: Entry, owners: dict[str, str | None]) -> bool:
    if caller.scope in ("operator", "compliance"):
        return True
    _, _, _, kind, id, before, after = entry
    if kind == "approval":
        publisher, _, creative = id.partition("/")
        if caller.scope == "publisher":
            return publisher == caller.tenant
        return _owner_of_creative(store, creative, owners) == caller.tenant
    if kind not in KINDS:
        return False
    if caller.scope == "publisher":
        return kind == "publisher" and id == caller.tenant
    if kind == "advertiser":
        return id == caller.tenant
    value: dict[str, Any] = msgspec.json.decode(after or before or b"{}")
    if kind == "campaign":
        return bool(value.get("advertiser") == caller.tenant)
    return kind == "creative" and _owner_of(store, str(value.get("campaign")), owners) == caller.tenant


def _owner_of_creative(store: ChangeStore, creative: str, owners: dict[str, str | None]) -> str | None:
    for *_, before, after in store.journal_of("creative", creative, 1):
        value: dict[str, Any] = msgspec.json.decode(after or before or b"{}")
        return _owner_of(store, str(value.get("campaign")), owners)
    return None


def _owner_of(store: ChangeStore, campaign: str, owners: dict[str, str | None]) -> str | None:
    """Return the advertiser of a campaign, also of one that is gone."""
    if campaign not in owners:
        owners[campaign] = None
        for *_, before, after in store.journal_of("campaign", campaign, 1):
            value: dict[str, Any] = msgspec.json.decode(after or before or b"{}")
            owners[campaign] = value.get("advertiser")
    return owners[campaign]


def _told(entry: Entry, caller: Caller) -> Changed:
    seq, at, actor, kind, id, before, after = entry
    old, new = (None if data is None else msgspec.json.decode(data) for data in (before, after))
    did = "created" if old is None else "deleted" if new is None else "changed"
    scope, _, rest = actor.partition(":")
    tenant, _, _key = rest.partition(":")
    if caller.tenant is not None and tenant not in ("", caller.tenant):  # which key another's was is theirs
        actor = f"{scope}:{tenant}"
    fields = tuple(FieldChange(*told) for told in differences(old, new))
    return Changed(seq, at, actor, kind, id, did, fields)
