"""What reports read of the SQLite file: a day of events to be counted, and what the catalogue held in a period."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from engine.events import MACHINE
from engine.store.catalogue import Before, CatalogReader, catalog_since
from engine.store.file_sqlite import SqliteFile
from engine.tally import BETWEEN, COLUMNS, DuckTally, Tally, Topics

BATCH = 122_880  # rows: as many as DuckDB compresses at once

_VALUES = [name for name in COLUMNS if name != "day"]
_LINE = BETWEEN.join("%d" if COLUMNS[name] == "int64" else "%s" for name in _VALUES)
_VALUE = ", ".join("hex(view)" if COLUMNS[name] == "binary" else name for name in _VALUES)
# Lines are put together by SQLite: to make Python's values of each row and take them apart takes five times as long.
_DAY = (
    "SELECT max(row), CAST(group_concat(line, char(10)) AS BLOB) FROM"  # noqa: S608 - constants
    f" (SELECT rowid AS row, printf('{_LINE}', {_VALUE}) AS line FROM events WHERE day = ? AND rowid > ?"
    f" AND ivt != {MACHINE} AND (kind != 'viewable' OR price_micros != 0) ORDER BY rowid LIMIT {BATCH})"
)
_DECIDED = "SELECT day, publisher, section, asked, filled FROM decided WHERE day = ?"


class SqliteReportRows:
    """Satisfies engine.tally.Rows and engine.report_keys.CatalogDays."""

    def __init__(self, store: SqliteFile) -> None:
        self._store = store

    def tally(self, topics: Topics) -> Tally:
        """Return what counts the events here."""
        return DuckTally(self, topics)

    def lines(self, day: int) -> Iterator[bytes]:
        """Yield lines of those of a day's rows that can be counted, as one consistent state."""
        with self._store.reading() as db:
            last = -1
            while (found := db.execute(_DAY, (day, last)).fetchone())[1] is not None:
                last = found[0]
                yield found[1]

    def decided(self, day: int) -> list[tuple[Any, ...]]:
        """Return what a day's decisions were asked, and how much of it was filled, by section."""
        return self._store.rows(_DECIDED, (day,))

    def catalog_since(
        self, since: datetime
    ) -> AbstractContextManager[tuple[CatalogReader, Iterator[Before]]]:
        """Open the catalogue as it stands, with what was changed since then: (at, kind, id, before), newest first."""
        return catalog_since(self._store, since)
