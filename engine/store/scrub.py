"""Erasing from SQLite for real: after a row is deleted, no file of the database holds a byte of it.

Deleting a row leaves it in the write-ahead log until that is truncated. `PRAGMA secure_delete` zeroes what is
freed, but not what moving cells between pages leaves behind in the gaps of a page: one deletion in a few
hundred stays so. Hence the files are searched, and where something is found the database is written anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from engine.errors import StoreError
from engine.store.file_bytes import FileBytes

BESIDE = ("-wal", "-journal")  # nobody locks these


def scrub(db: sqlite3.Connection, data: FileBytes, needles: Sequence[bytes]) -> None:
    """Rid the files of a database of these bytes, whose rows are deleted. Requires no open transaction.

    Waits for readers of older states, as long as the connection's timeout. Raises StoreError where they do
    not go; nothing is lost then, and the next call finishes.
    """
    path = data.path
    truncate(db, path)
    if not found(data, needles):
        return
    rewrite(db, path)
    if found(data, needles):
        raise StoreError(
            f"{path}: what was deleted is still in the file: stop the service and start it again"
        )


def rewrite(db: sqlite3.Connection, path: Path) -> None:
    """Write the database anew, without what its rows do not hold. Raises StoreError where it is in use."""
    try:
        db.execute("VACUUM")
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be written anew ({error}): try again") from error
    truncate(db, path)


def truncate(db: sqlite3.Connection, path: Path) -> None:
    """Move all of the write-ahead log into the database and cut it to nothing. Raises StoreError where readers wait."""
    try:
        busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.Error as error:
        raise StoreError(f"{path}: the write-ahead log cannot be truncated ({error}): try again") from error
    if busy:
        raise StoreError(f"{path}: the write-ahead log is in use and was not truncated: try again")


def found(data: FileBytes, needles: Sequence[bytes]) -> bool:
    """Say whether any of these bytes stands in any file of a database."""
    if not needles:
        return False
    if data.path.exists() and data.holds(needles):
        return True
    beside = (data.path.with_name(data.path.name + part) for part in BESIDE)
    return any(path.exists() and any(needle in path.read_bytes() for needle in needles) for path in beside)
