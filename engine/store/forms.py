"""The forms in which stores keep values: entities, keys, vectors and times as columns, and back. No SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
import numpy as np

from contexts.context import PageFacts, Vector
from engine.change import KINDS, Entity, Kind, Withdrawn, content_hash
from engine.consent_row import ConsentRow
from engine.errors import StoreError
from engine.keys import ApiKey, Scope
from privacy.consent import Purpose, State

BATCH = 1000  # rows read or written at a time
BUSY_TIMEOUT_S = 30.0  # how long a writer waits for another one
PAGE_WAIT_S = (
    0.05  # how long a page view waits for one: after that it is decided without its reader's consent
)
KEPT = timedelta(days=35)  # how long it can be shown which receipts a batch of uses has
UNUSED_IMAGE_DAYS = 1  # pages that were answered before a change may still load the old picture
TABLES: dict[Kind, str] = {
    "publisher": "publishers",
    "advertiser": "advertisers",
    "campaign": "campaigns",
    "creative": "creatives",
}

_DECODERS: dict[Kind, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(cls) for kind, cls in KINDS.items()
}
_FACTS = msgspec.json.Decoder(PageFacts)
_T = TypeVar("_T")


class Rows(NamedTuple):
    """What a table holds, on its way from one store to another."""

    table: str
    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


def entity_of(kind: Kind, data: bytes) -> Entity:
    """Read an entity as it is kept. Raises StoreError."""
    try:
        return cast(Entity, _DECODERS[kind].decode(data))
    except ValueError as error:
        raise StoreError(f"a stored {kind} cannot be read: {error}: restore a backup") from error


def withdrawn_of(at: str, creative: bytes, campaign: bytes, advertiser: bytes) -> Withdrawn:
    """Read what was kept of a creative that was deleted. Raises StoreError."""
    bodies = (("creative", creative), ("campaign", campaign), ("advertiser", advertiser))
    return Withdrawn(datetime.fromisoformat(at), *(entity_of(kind, data) for kind, data in bodies))  # type: ignore[arg-type]  # each of its kind


def body_of(entity: Entity) -> tuple[bytes, str]:
    """Give an entity as it is kept, and the hash of its content."""
    return msgspec.json.encode(entity), content_hash(entity)


def key_of(row: tuple[str, Scope, str | None, str, str, str | None, str | None]) -> ApiKey:
    """Read a key's columns, in the order of ApiKey's fields."""
    id, scope, tenant, secret_hash, created, expires, day = row
    return ApiKey(
        id=id,
        scope=scope,
        tenant=tenant,
        secret_hash=secret_hash,
        created=datetime.fromisoformat(created),
        expires=None if expires is None else datetime.fromisoformat(expires),
        last_used_day=None if day is None else date.fromisoformat(day),
    )


def consent_of(publisher: str, subject: str, row: tuple[Any, ...]) -> ConsentRow:
    """Read a consent's columns: record, generation, state, purposes, expires, ended, status_idx."""
    record, generation, state, purposes, expires, ended, status = row
    return ConsentRow(
        publisher=publisher,
        subject=subject,
        record=record,
        generation=generation,
        state=cast(State, state),
        purposes=frozenset(cast("list[Purpose]", purposes.split())),
        expires=datetime.fromisoformat(expires),
        ended=None if ended is None else datetime.fromisoformat(ended),
        status_idx=status,
    )


def facts_of(facts: bytes, vector: bytes | None) -> PageFacts:
    """Read a page's facts and its vector."""
    page = _FACTS.decode(facts)
    return page if vector is None else replace(page, vector=np.frombuffer(vector, np.float32))


def bytes_of(value: bytes | str) -> bytes:
    """Give the bytes of a column of bytes, in which SQLite keeps text where somebody wrote some."""
    return value.encode() if isinstance(value, str) else value


def floats(vector: Vector) -> bytes:
    """Give a vector as float32 bytes."""
    return np.ascontiguousarray(vector, dtype=np.float32).tobytes()


def moment(at: datetime) -> str:
    """Write a time so that text order is time order. Requires an aware time."""
    if at.tzinfo is None:
        raise ValueError("got a time without a zone, expected an aware one")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def second(at: datetime) -> str:
    """Write a time to the second so that text order is time order. Requires an aware time."""
    return at.astimezone(UTC).isoformat(timespec="seconds")


def json_text(value: object) -> str:
    """Give plain values as JSON text."""
    return msgspec.json.encode(value).decode()


def findable(texts: Iterable[str]) -> list[str]:
    """Leave out texts that no store can hold, and so none can find: with a NUL or half a surrogate pair."""
    return [text for text in texts if _is_whole(text)]


def batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield the items in lists of at most `size`."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _is_whole(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)
