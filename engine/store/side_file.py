"""A small SQLite file beside the catalogue's, for what has to leave no trace once it is deleted."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from engine.errors import StoreError
from engine.store.connections_sqlite import Connections
from engine.store.file_bytes import FileBytes
from engine.store.file_sqlite import transaction
from engine.store.scrub import rewrite, scrub

BUSY_TIMEOUT_S = 30.0
FILE_MODE = 0o600
_MAGIC = b"SQLite format 3\0"


class SideFile:
    """One file (WAL), safe with several threads and processes. It is no part of any backup that we make."""

    def __init__(self, path: Path, schema: str, *, synced: bool = True) -> None:
        """Open the file, made with the statements of `schema` where there is none. Raises StoreError.

        Where it is not `synced`, the last transactions may be lost with the power, though with no process.
        """
        self.path = path
        self._synchronous = "FULL" if synced else "NORMAL"
        self._connections = Connections(self._connect)
        self._bytes = FileBytes(path)
        try:
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE))
            with self._connections.lent() as db:
                db.execute("PRAGMA journal_mode = WAL")
            with self.writing() as db:
                if not db.execute("PRAGMA user_version").fetchone()[0]:
                    for statement in schema.split(";"):
                        db.execute(statement)
                    db.execute("PRAGMA user_version = 1")
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{path}: cannot be opened ({error}): check path and rights") from error

    def rows(self, sql: str, arguments: tuple[object, ...] = ()) -> list[Any]:
        """Return the rows of one statement that only reads. Raises StoreError."""
        try:
            with self._connections.lent() as db:
                return db.execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be read: {error}") from error

    @contextmanager
    def writing(self, wait_s: float = BUSY_TIMEOUT_S) -> Iterator[sqlite3.Connection]:
        """Hold the one write transaction of the file: committed at the end, undone where anything is raised.

        Another writer is waited for `wait_s` seconds.
        """
        try:
            with self._connections.lent() as db, transaction(db, wait_s, BUSY_TIMEOUT_S):
                yield db
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be written: {error}") from error

    def scrub(self, needles: Sequence[bytes] = ()) -> None:
        """Take what was deleted out of the write-ahead log, and these bytes out of the file. Raises StoreError.

        The pages themselves are overwritten at the deletion (secure_delete), save for gaps that moving cells
        leaves: see engine.store.scrub.
        """
        with self._connections.lent() as db:
            scrub(db, self._bytes, needles)

    def rewrite(self) -> None:
        """Write the file anew, so that nothing is left of whatever was deleted. Raises StoreError."""
        with self._connections.lent() as db:
            rewrite(db, self.path)

    def copy_to(self, target: sqlite3.Connection) -> None:
        """Write a consistent copy into another database."""
        with self._connections.lent() as db:
            db.backup(target)

    def scrubbed(self) -> bool:
        """Say whether the write-ahead log holds nothing."""
        log = self.path.with_name(self.path.name + "-wal")
        return not log.exists() or not log.stat().st_size

    def check(self) -> None:
        """Look whether the file is still there and sound. Raises StoreError."""
        try:
            sound = self._bytes.head(len(_MAGIC)) == _MAGIC
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be read: {error.strerror}") from error
        if not sound:
            raise StoreError(f"{self.path}: damaged: it is no SQLite file any more")
        self.rows("SELECT count(*) FROM sqlite_schema")

    def close(self) -> None:
        """Close the connections of all threads; the file must not be used after."""
        self._connections.close()
        self._bytes.close()

    def _connect(self) -> sqlite3.Connection:
        # check_same_thread=False: close() closes the connections of other threads.
        db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA secure_delete = ON")
        db.execute(f"PRAGMA synchronous = {self._synchronous}")
        db.execute("PRAGMA temp_store = MEMORY")  # nothing of it in a temporary file
        return db
