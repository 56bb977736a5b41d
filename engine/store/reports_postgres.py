"""What reports read of PostgreSQL: events are counted in the database, and the catalogue is read as of a period."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime

from engine.store.catalogue import Before, CatalogReader, catalog_since
from engine.store.server_postgres import PostgresServer
from engine.tally import EngineTally, Tally, Topics


class PostgresReportRows:
    """Satisfies engine.reporting.ReportRows."""

    def __init__(self, store: PostgresServer) -> None:
        self._store = store

    def tally(self, topics: Topics) -> Tally:
        """Return what counts the events there."""
        return EngineTally(self._store.url, topics)

    def catalog_since(
        self, since: datetime
    ) -> AbstractContextManager[tuple[CatalogReader, Iterator[Before]]]:
        """Open the catalogue as it stands, with what was changed since then: (at, kind, id, before), newest first."""
        return catalog_since(self._store, since)
