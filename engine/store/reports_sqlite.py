"""What reports read of the SQLite file: a day of events to be counted, and what the catalogue held in a period."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from engine.change import KINDS, Entity, Kind
from engine.store.catalogue_sqlite import CatalogReader, SqliteCatalogue
from engine.tally import DuckTally, Tally, Topics

BATCH = 50_000  # rows

_DAY = (
    "SELECT view, slot, kind, day, publisher, section, topic, campaign, creative, device, part, weather, ivt,"
    " price_micros, message, weight_milli, nearness, rung FROM events WHERE day = ? AND ivt != 1"
    " AND (kind != 'viewable' OR price_micros != 0)"
)
_DECIDED = "SELECT day, publisher, section, asked, filled FROM decided WHERE day = ?"
_CHANGES = "SELECT at, kind, id, before FROM journal WHERE at >= ? ORDER BY seq DESC"


class SqliteReportRows:
    """Satisfies engine.tally.Rows and engine.report_keys.CatalogDays."""

    def __init__(self, store: SqliteCatalogue) -> None:
        self._store = store

    def tally(self, topics: Topics) -> Tally:
        """Return what counts the events here."""
        return DuckTally(self, topics)

    def batches(self, day: int) -> Iterator[list[tuple[Any, ...]]]:
        """Yield those of a day's rows that can be counted, as one consistent state."""
        with self._store.read() as reader:
            found = reader.db.execute(_DAY, (day,))
            while rows := found.fetchmany(BATCH):
                yield rows

    def decided(self, day: int) -> list[tuple[Any, ...]]:
        """Return what a day's decisions were asked, and how much of it was filled, by section."""
        return self._store.rows(_DECIDED, (day,))

    @contextmanager
    def catalog_since(
        self, since: datetime
    ) -> Iterator[tuple[CatalogReader, Iterator[tuple[datetime, Kind, str, Entity | None]]]]:
        """Open the catalogue as it stands, with what was changed since then: (at, kind, id, before), newest first."""
        with self._store.read() as reader:
            yield reader, _changes(reader, since)


def _changes(reader: CatalogReader, since: datetime) -> Iterator[tuple[datetime, Kind, str, Entity | None]]:
    for at, kind, id, before in reader.db.execute(
        _CHANGES, (since.astimezone(UTC).isoformat(timespec="microseconds"),)
    ):
        if kind in KINDS:
            entity = None if before is None else msgspec.json.decode(before, type=KINDS[kind])
            yield datetime.fromisoformat(at), kind, id, entity
