"""What the proofs do to a copy of the main SQLite file behind the backs of its stores, and to files of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from engine.store.file_sqlite import SqliteFile

Table = Literal["consents", "consent_events"]


def overwrite(file: SqliteFile, leaves: Mapping[int, bytes]) -> None:
    """Put other leaves in the places of those that stand there."""
    with file.writing() as db:
        db.executemany(
            "UPDATE log_leaves SET leaf = ?2 WHERE seq = ?1", [(seq, leaf) for seq, leaf in leaves.items()]
        )


def drop(file: SqliteFile, first: int, last: int) -> None:
    """Delete the leaves from `first` to `last`."""
    with file.writing() as db:
        db.execute("DELETE FROM log_leaves WHERE seq BETWEEN ? AND ?", (first, last))


def replace_all(file: SqliteFile, leaves: Iterable[bytes]) -> None:
    """Put other leaves in the place of all."""
    with file.writing() as db:
        db.execute("DELETE FROM log_leaves")
        db.executemany("INSERT INTO log_leaves (seq, leaf) VALUES (?, ?)", enumerate(leaves))


def rows_of(file: SqliteFile, table: Table, subject: str) -> list[tuple[Any, ...]]:
    """Return the rows of a subject."""
    return file.rows(f"SELECT * FROM {table} WHERE subject = ?", (subject,))  # noqa: S608 - a constant


def put_rows(file: SqliteFile, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Put rows back."""
    with file.writing() as db:
        for row in rows:
            db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - a constant


def leave_row(path: Path, number: int, method: str) -> None:
    """Keep a row in a database of its own whose number tells what its columns do not."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS views (method TEXT)")
        db.execute("INSERT OR IGNORE INTO views (rowid, method) VALUES (?, ?)", (number, method))


def leave_index(path: Path, name: str) -> None:
    """Keep in a database of its own an index whose name tells something, and no row."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS views (method TEXT)")
        db.execute(f"CREATE INDEX IF NOT EXISTS {name} ON views (method)")
