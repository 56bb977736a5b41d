"""What reports read of PostgreSQL: events are counted in the database, and the catalogue is read as of a period."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec

from engine.change import KINDS, Entity, Kind
from engine.store.catalogue_postgres import PostgresCatalogue, PostgresReader
from engine.store.server_postgres import streamed
from engine.tally import EngineTally, Tally, Topics

_CHANGES = "SELECT at, kind, id, before FROM journal WHERE at >= %s ORDER BY seq DESC"


class PostgresReportRows:
    """Satisfies engine.reporting.ReportRows."""

    def __init__(self, store: PostgresCatalogue) -> None:
        self._store = store

    def tally(self, topics: Topics) -> Tally:
        """Return what counts the events there."""
        return EngineTally(self._store.url, topics)

    @contextmanager
    def catalog_since(
        self, since: datetime
    ) -> Iterator[tuple[PostgresReader, Iterator[tuple[datetime, Kind, str, Entity | None]]]]:
        """Open the catalogue as it stands, with what was changed since then: (at, kind, id, before), newest first."""
        with self._store.read() as reader:
            yield reader, _changes(reader, since)


def _changes(reader: PostgresReader, since: datetime) -> Iterator[tuple[datetime, Kind, str, Entity | None]]:
    first = since.astimezone(UTC).isoformat(timespec="microseconds")
    for at, kind, id, before in streamed(reader.db, _CHANGES, (first,)):
        if kind in KINDS:
            entity = None if before is None else msgspec.json.decode(before, type=KINDS[kind])
            yield datetime.fromisoformat(at), kind, id, entity
