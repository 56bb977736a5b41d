"""What reports read of the SQLite file: a day of events to be counted, and what the catalogue held in a period."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from engine.change import KINDS, Entity, Kind
from engine.events import MACHINE
from engine.store.catalogue_sqlite import CatalogReader, SqliteCatalogue
from engine.tally import BETWEEN, COLUMNS, DuckTally, Tally, Topics

BATCH = 122_880  # rows: as many as DuckDB compresses at once

_VALUES = [name for name in COLUMNS if name != "day"]
_LINE = BETWEEN.join("%d" if COLUMNS[name] == "int64" else "%s" for name in _VALUES)
_VALUE = ", ".join("hex(view)" if COLUMNS[name] == "binary" else name for name in _VALUES)
# Lines are put together by SQLite: to make Python's values of each row and take them apart takes five times as long.
_DAY = (
    "SELECT max(row), CAST(group_concat(line, char(10)) AS BLOB) FROM"  # noqa: S608 - constants
    f" (SELECT rowid AS row, format('{_LINE}', {_VALUE}) AS line FROM events WHERE day = ? AND rowid > ?"
    f" AND ivt != {MACHINE} AND (kind != 'viewable' OR price_micros != 0) ORDER BY rowid LIMIT {BATCH})"
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

    def lines(self, day: int) -> Iterator[bytes]:
        """Yield lines of those of a day's rows that can be counted, as one consistent state."""
        with self._store.read() as reader:
            last = -1
            while (found := reader.db.execute(_DAY, (day, last)).fetchone())[1] is not None:
                last = found[0]
                yield found[1]

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
