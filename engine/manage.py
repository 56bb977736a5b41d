"""The catalogue as its owners change it, one thing at a time: who may see and touch what.

An operator may do everything, compliance may read everything. An advertiser sees and changes its own
campaigns and creatives; its verified domains are the operator's matter, and so are house campaigns. A
publisher sees and changes its own record, save what says which sites are its own and how much it may ask;
it approves the creatives that its pages may show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast

import msgspec

from engine.campaign import Advertiser, Campaign, Publisher
from engine.change import Approval, ApprovalState, Change, Entity, Kind, content_hash
from engine.check.findings import Known
from engine.check.form import parse
from engine.creative import Creative
from engine.errors import CatalogConflict, CatalogError, CatalogErrors, Forbidden, NotFound, Overtaken
from engine.json_names import repeated_name
from engine.keys import Caller
from engine.load import LoadStore, apply, plan
from engine.load_files import Values

TRIES = 5  # how often a change is planned anew when another one came between
OPERATORS_FIELDS = ("domains", "rate_per_s", "fetch")  # of a publisher


class ManageStore(LoadStore, Protocol):
    """What is read and changed."""

    def approve(
        self, approvals: Sequence[Approval], hashes: Mapping[str, str], actor: str, now: datetime
    ) -> None:
        """Keep approvals of creatives whose content has these hashes; all, or raise CatalogConflict."""

    def approvals_of(self, publisher: str, creatives: Sequence[str]) -> dict[str, ApprovalState]:
        """Return what a publisher said of these creatives."""


@dataclass(frozen=True, slots=True)
class Put:
    """What a `put` did."""

    entity: Entity  # as it is stored
    created: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Review:
    """A creative before a publisher's eyes. `hash` says which content was seen; the answer names it."""

    creative: Creative
    hash: str
    state: ApprovalState | None


def get(store: ManageStore, caller: Caller, kind: Kind, id: str) -> Entity:
    """Return a thing. Raises NotFound where it does not exist or is not the caller's to see."""
    entity = store.find(kind, [id]).get(id)
    if entity is None or not _may_read(store, caller, entity):
        raise NotFound(f"{kind}: got {ascii(id[:80])}, expected the id of a {kind} of yours")
    return entity


def list_page(
    store: ManageStore, caller: Caller, kind: Kind, after: str = "", limit: int = 100
) -> list[Entity]:
    """Return up to `limit` of the things that the caller may see, with ids above `after`, by id."""
    if caller.scope in ("operator", "compliance"):
        return store.page(kind, after, limit)
    if caller.scope == "advertiser":
        return store.page(kind, after, limit, advertiser=caller.tenant)
    own = caller.tenant or ""
    return list(store.find("publisher", [own]).values()) if kind == "publisher" and own > after else []


@dataclass(frozen=True, slots=True)
class Over:
    """What a body was made from; None: there was no such thing."""

    entity: Entity | None


def put(
    store: ManageStore,
    known: Known,
    caller: Caller,
    kind: Kind,
    id: str,
    body: bytes,
    now: datetime,
    *,
    over: Over | None = None,
) -> Put:
    """Create or replace a thing from its JSON, which may leave out `kind` and `id`.

    With `over` it is written only where that still stands: it is compared with what was read under the counters that
    the transaction holds the write against. Raises CatalogErrors with all that is wrong in it, Forbidden where it is
    another's, Overtaken where something else stands, CatalogConflict where others keep changing the catalogue
    meanwhile.
    """
    value = _body(kind, id, body)
    entity, errors = parse(value)
    if entity is None:
        raise CatalogErrors(errors, len(errors))
    for attempt in range(TRIES):
        expected = store.versions()
        before = store.find(kind, [id]).get(id)
        if over is not None and before != over.entity:
            raise Overtaken(f"{kind} {id} was changed since you opened it: open it again")
        _check_rights(store, caller, before, entity)
        with plan(Values([value]), store, known, now) as planned:
            if planned.expected[:2] != expected[:2]:
                continue  # the rights were read from an older state
            changes = list(planned.changes())
            try:
                apply(planned, store, caller.name, now)
            except CatalogConflict:
                if attempt + 1 == TRIES:
                    raise
                continue
            after = cast(Entity, changes[0].after if changes else before)
            return Put(after, before is None, tuple(planned.warnings))
    raise CatalogConflict(f"{kind} {id}: others keep changing the catalogue: try again")


def says(kind: Kind, id: str, body: bytes, entity: Entity) -> bool:
    """Tell whether a body says what an entity is."""
    return parse(_body(kind, id, body))[0] == entity


def edit(
    store: ManageStore,
    known: Known,
    caller: Caller,
    kind: Kind,
    id: str,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    now: datetime,
) -> Put:
    """Change some of what a thing says, whatever else others change of it meanwhile. Raises as `get` and `put` do."""
    for attempt in range(TRIES):
        entity = get(store, caller, kind, id)
        body = msgspec.json.encode(change(plain(entity)))
        try:
            return put(store, known, caller, kind, id, body, now, over=Over(entity))
        except Overtaken:
            if attempt + 1 == TRIES:
                raise
    raise AssertionError("the last try returned or raised")


def plain(entity: Entity) -> dict[str, Any]:
    """Return an entity as the JSON of a body, which says neither kind nor id."""
    value: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(entity))
    return {name: part for name, part in value.items() if name not in ("kind", "id")}


def delete(store: ManageStore, caller: Caller, kind: Kind, id: str, now: datetime) -> None:
    """Remove a thing. Raises NotFound, Forbidden, or CatalogConflict where others still refer to it."""
    for attempt in range(TRIES):
        expected = store.versions()
        entity = get(store, caller, kind, id)
        own = caller.scope == "advertiser" and isinstance(entity, (Campaign, Creative))
        if caller.scope != "operator" and not own:
            raise Forbidden(f"{kind}: scope {caller.scope!r} may not delete it")
        try:
            store.write([Change(entity, None)], [], expected, caller.name, now)
            return
        except CatalogConflict:
            if attempt + 1 == TRIES or store.versions()[:2] == expected[:2]:
                raise


def review(
    store: ManageStore, caller: Caller, publisher: str, after: str = "", limit: int = 100
) -> list[Review]:
    """Return creatives that may come to a publisher's pages, above `after`, and what it said of them.

    Fewer than `limit` do not mean that there are no more: go on behind the last one until none comes.
    """
    _check_publisher(store, caller, publisher)
    found: list[Review] = []
    while not found:
        creatives = cast("list[Creative]", store.page("creative", after, limit))
        if not creatives:
            break
        after = creatives[-1].id
        campaigns = store.find("campaign", sorted({creative.campaign for creative in creatives}))
        shown = [
            creative
            for creative in creatives
            if _runs_on(creative, publisher) and _runs_on(campaigns.get(creative.campaign), publisher)
        ]
        states = store.approvals_of(publisher, [creative.id for creative in shown])
        for creative in shown:
            found.append(Review(creative, content_hash(creative), states.get(creative.id)))
    return found


def approve(
    store: ManageStore,
    caller: Caller,
    publisher: str,
    hashes: Mapping[str, str],
    state: ApprovalState,
    now: datetime,
) -> None:
    """Approve or reject creatives for a publisher's pages; `hashes` are those that `review` gave, by id.

    Raises CatalogConflict where a creative changed since it was looked at: nothing is approved unseen.
    """
    _check_publisher(store, caller, publisher)
    approvals = [Approval(publisher, creative, state) for creative in hashes]
    store.approve(approvals, hashes, caller.name, now)


def _body(kind: Kind, id: str, body: bytes) -> dict[str, object]:
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        expected = f"an object in JSON (UTF-8) that is a {kind}"
        raise CatalogErrors([CatalogError("(body)", "no JSON", expected)], 1) from error
    if not isinstance(value, dict):
        raise CatalogErrors([CatalogError("(body)", type(value).__name__, f"an object: a {kind}")], 1)
    if (name := repeated_name(body)) is not None:
        raise CatalogErrors([CatalogError(ascii(name)[1:-1][:80], "the field again", "each field once")], 1)
    errors = [
        CatalogError(name, ascii(value[name])[:80], f"{wanted!r}, as in the path")
        for name, wanted in (("kind", kind), ("id", id))
        if value.get(name, wanted) != wanted
    ]
    if errors:
        raise CatalogErrors(errors, len(errors))
    return {**value, "kind": kind, "id": id}


def _check_rights(store: ManageStore, caller: Caller, before: Entity | None, after: Entity) -> None:
    """Raise Forbidden where the caller may not make this change."""
    if caller.scope == "operator":
        return
    if caller.scope == "publisher" and isinstance(after, Publisher):
        if not isinstance(before, Publisher) or after.id != caller.tenant:
            raise Forbidden("publisher: your key belongs to another publisher")
        for name in OPERATORS_FIELDS:
            if getattr(before, name) != getattr(after, name):
                raise Forbidden(f"{name}: only the operator changes it")
        return
    if caller.scope == "advertiser" and isinstance(after, (Campaign, Creative)):
        if before is not None and _owner(store, before) != caller.tenant:
            raise Forbidden("id: it is taken by another advertiser")
        owner = _owner(store, after)
        if isinstance(after, Campaign) and owner != caller.tenant:
            raise Forbidden("advertiser: your key belongs to another advertiser")
        if owner != caller.tenant:  # another's campaign and none at all are not told apart
            expected = "the id of a campaign of yours"
            raise CatalogErrors([CatalogError("campaign", ascii(_campaign(after)), expected)], 1)
        if isinstance(after, Campaign) and after.house:
            raise Forbidden("house: only the operator makes house campaigns")
        first = isinstance(before, Campaign) and before.guaranteed
        if isinstance(after, Campaign) and after.guaranteed != first:
            raise Forbidden("guaranteed: only the operator lets a campaign come first, or takes that away")
        return
    raise Forbidden(f"kind: scope {caller.scope!r} may not change it")


def _may_read(store: ManageStore, caller: Caller, entity: Entity) -> bool:
    if caller.scope in ("operator", "compliance"):
        return True
    if caller.scope == "publisher":
        return isinstance(entity, Publisher) and entity.id == caller.tenant
    return caller.tenant is not None and _owner(store, entity) == caller.tenant


def _owner(store: ManageStore, entity: Entity) -> str | None:
    """Return the advertiser to whom a thing belongs."""
    if isinstance(entity, Advertiser):
        return entity.id
    if isinstance(entity, Creative):
        campaign = store.find("campaign", [entity.campaign]).get(entity.campaign)
        return None if campaign is None else _owner(store, campaign)
    return entity.advertiser if isinstance(entity, Campaign) else None


def _campaign(entity: Entity) -> str | None:
    return entity.campaign if isinstance(entity, Creative) else None


def _check_publisher(store: ManageStore, caller: Caller, publisher: str) -> None:
    own = caller.scope == "operator" or (caller.scope == "publisher" and caller.tenant == publisher)
    if not own or not store.find("publisher", [publisher]):
        raise NotFound(f"publisher: got {ascii(publisher[:80])}, expected the id of a publisher of yours")


def _runs_on(entity: Entity | None, publisher: str) -> bool:
    if not isinstance(entity, (Campaign, Creative)):
        return False
    rule = entity.targeting.publishers
    return publisher not in rule.exclude and (not rule.include or publisher in rule.include)
