"""What reports read of the SQLite file: a day of events to be counted, and what the catalogue held in a period."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from engine.store.catalogue import Before, CatalogReader, catalog_since
from engine.store.file_sqlite import SqliteFile
from engine.tally import DuckTally, Tally, Topics

BATCH = 50_000  # rows

_DAY = (
    "SELECT view, slot, kind, day, publisher, section, topic, campaign, creative, device, part, weather, ivt,"
    " price_micros, message, weight_milli, nearness, rung FROM events WHERE day = ? AND ivt != 1"
    " AND (kind != 'viewable' OR price_micros != 0)"
)
_DECIDED = "SELECT day, publisher, section, asked, filled FROM decided WHERE day = ?"


class SqliteReportRows:
    """Satisfies engine.tally.Rows and engine.report_keys.CatalogDays."""

    def __init__(self, store: SqliteFile) -> None:
        self._store = store

    def tally(self, topics: Topics) -> Tally:
        """Return what counts the events here."""
        return DuckTally(self, topics)

    def batches(self, day: int) -> Iterator[list[tuple[Any, ...]]]:
        """Yield those of a day's rows that can be counted, as one consistent state."""
        with self._store.reading() as db:
            found = db.execute(_DAY, (day,))
            while rows := found.fetchmany(BATCH):
                yield rows

    def decided(self, day: int) -> list[tuple[Any, ...]]:
        """Return what a day's decisions were asked, and how much of it was filled, by section."""
        return self._store.rows(_DECIDED, (day,))

    def catalog_since(
        self, since: datetime
    ) -> AbstractContextManager[tuple[CatalogReader, Iterator[Before]]]:
        """Open the catalogue as it stands, with what was changed since then: (at, kind, id, before), newest first."""
        return catalog_since(self._store, since)
