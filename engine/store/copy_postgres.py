"""Copies of the PostgreSQL database as a whole: every row to another store, or from one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import sql

from engine.errors import StoreError
from engine.store.forms import Rows
from engine.store.server_postgres import Connection, PostgresServer, streamed

_COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, NULL), a.attidentity <> ''
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND c.relname <> 'tactful_schema'
    AND a.attnum > 0 AND NOT a.attisdropped ORDER BY c.oid, a.attnum
"""


class PostgresCopies(PostgresServer):
    """Gives all rows to another store, or takes them from one, of whichever kind."""

    @contextmanager
    def dump(self) -> Iterator[Iterator[Rows]]:
        """Give the rows of every table, all of one moment, each table's once it is asked for. Raises StoreError."""
        with self.reading() as db:
            yield (
                Rows(table, tuple(columns), _all(db, table, tuple(columns)))
                for table, columns in _tables(db).items()
            )

    def fill(self, tables: Iterable[Rows]) -> None:
        """Put these rows in the place of all that there are, or change nothing.

        Raises StoreError where a table is not as it is here.
        """
        with self.writing() as db:
            ours = _tables(db)
            db.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(map(sql.Identifier, ours))))
            for table, columns, rows in tables:
                if table in ours and set(columns) == set(ours[table]):
                    _copy_in(db, table, {name: ours[table][name] for name in columns}, rows)
                elif table in ours or next(rows, None) is not None:
                    raise StoreError(
                        f"{self.name}: table {table} is not of this release: upgrade both stores"
                    )


def _tables(db: Connection) -> dict[str, dict[str, tuple[str, bool]]]:
    """Return the tables, in the order in which they were made, with (type, is numbered here) of each column."""
    found: dict[str, dict[str, tuple[str, bool]]] = {}
    for table, column, type, numbered in db.execute(_COLUMNS).fetchall():
        found.setdefault(table, {})[column] = (type, numbered)
    return found


def _all(db: Connection, table: str, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    yield from streamed(db, sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(table)))


def _copy_in(
    db: Connection, table: str, columns: dict[str, tuple[str, bool]], rows: Iterable[tuple[Any, ...]]
) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table), names)
    with db.cursor().copy(into) as copy:
        copy.set_types([type for type, _ in columns.values()])
        for row in rows:
            copy.write_row(row)
    for column, (_, numbered) in columns.items():
        if numbered:
            go_on = sql.SQL("SELECT setval(pg_get_serial_sequence({}, {}), max({})) FROM {}")
            db.execute(go_on.format(table, column, sql.Identifier(column), sql.Identifier(table)))
