"""The main SQLite file (WAL): its connections, its one write transaction, its schema. Safe with threads and processes.

Readers see one consistent state however long they read; a writer takes the write lock first (BEGIN
IMMEDIATE), so that what it checked is what it changes. One public method of a store is one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from engine.errors import StoreError
from engine.store.connections_sqlite import Connections
from engine.store.database import Connection, Database, Room
from engine.store.file_bytes import FileBytes
from engine.store.forms import BUSY_TIMEOUT_S
from engine.store.schema_sqlite import MIGRATIONS
from engine.store.scrub import rewrite, scrub

APPLICATION_ID = 0x54414354  # "TACT": tells our files from other SQLite files


class SqliteFile(Database):
    """What the stores that keep their tables in one file share: they read and write through this."""

    broken = sqlite3.IntegrityError

    def __init__(self, path: Path) -> None:
        """Open the file, making or migrating its tables where needed. Raises StoreError."""
        self.path = path
        self._connections = Connections(self._connect)
        self._bytes = FileBytes(path)
        self.migrated_from = self._prepare()

    def rows(self, sql: str, arguments: tuple[object, ...] = (), wait_s: float = BUSY_TIMEOUT_S) -> list[Any]:
        """Return the rows of one statement that only reads: it waits for nobody. Raises StoreError."""
        try:
            with self._connections.lent() as db:
                return db.execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Hold one consistent state, on a connection of its own, however long it is read. Raises StoreError."""
        try:
            db = self._connect()
            try:
                db.execute("BEGIN")
                yield db
            finally:
                db.close()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    @contextmanager
    def writing(self, wait_s: float = BUSY_TIMEOUT_S) -> Iterator[sqlite3.Connection]:
        """Hold the one write transaction of the file: committed at the end, undone where anything is raised.

        What must come true together is written inside one of these; they do not nest. Another writer is waited for
        `wait_s` seconds. Raises StoreError, and sqlite3.IntegrityError as it comes.
        """
        try:
            with self._connections.lent() as db, transaction(db, wait_s, BUSY_TIMEOUT_S):
                yield db
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise StoreError(
                f"{self.path}: cannot be written ({error}): {_remedy(error, 'try again, or check the disk')}"
            ) from error

    def is_writing(self, db: Connection) -> bool:
        """Say whether a connection is within a transaction."""
        return cast(sqlite3.Connection, db).in_transaction

    def hold(self, db: Connection, *rooms: Room) -> None:
        """Do nothing: a write transaction has the file alone."""

    def stream(self, db: Connection, sql: str, arguments: tuple[object, ...] = ()) -> Iterator[Any]:
        """Yield rows as they are needed. Requires a transaction, whose one state they are of."""
        for row in db.execute(sql, arguments):  # noqa: UP028 - `yield from` would close the cursor
            yield row  # of a reader that stops, when its connection is gone

    def scrub(self, needles: Sequence[bytes]) -> None:
        """Rid the file of these bytes, whose rows are deleted; `()` rids it of all that no row holds.

        Raises StoreError where another process keeps it in use.
        """
        with self._connections.lent() as db:
            if needles:
                scrub(db, self._bytes, needles)
            else:
                rewrite(db, self.path)

    def schema(self) -> int:
        """Return the number of migrations that the tables went through."""
        with self._connections.lent() as db:
            return _schema(db)

    def close(self) -> None:
        """Close the connections of all threads; the store must not be used after."""
        self._connections.close()
        self._bytes.close()

    def _prepare(self) -> int:
        """Bring the tables to this release's schema; return which they had."""
        try:
            with self._connections.lent() as db:
                # Tables are counted first: whoever makes them sets the id with them, in one transaction.
                tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                ours = db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
                if tables and not ours:
                    raise StoreError(f"{self.path}: a SQLite file, but not Tactful's: name another file")
                schema = _schema(db)
                if schema > len(MIGRATIONS):
                    raise StoreError(
                        f"{self.path}: has schema {schema}, this release knows {len(MIGRATIONS)}:"
                        " install the newer release, or restore a backup made before it"
                    )
                db.execute("PRAGMA journal_mode = WAL")  # stays with the file
                if schema < len(MIGRATIONS):
                    with self.writing():
                        self._migrate(db)
                return schema
        except sqlite3.Error as error:
            self.close()
            remedy = _remedy(error, "check path and rights, or restore a backup")
            raise StoreError(f"{self.path}: cannot be opened ({error}): {remedy}") from error
        except StoreError:
            self.close()
            raise

    def _migrate(self, db: sqlite3.Connection) -> None:
        # Another process may have migrated while this one waited for the lock: read the schema again.
        for number in range(_schema(db), len(MIGRATIONS)):
            for statement in MIGRATIONS[number].split(";"):  # executescript would commit first
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number + 1}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _connect(self) -> sqlite3.Connection:
        # check_same_thread=False: close() closes the connections of other threads.
        db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = ON")  # what is erased is zeroed, see engine.store.scrub
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _unreadable(self, error: sqlite3.Error) -> StoreError:
        return StoreError(
            f"{self.path}: cannot be read ({error}): {_remedy(error, 'check the disk, or restore a backup')}"
        )


@contextmanager
def transaction(db: sqlite3.Connection, wait_s: float, usual_s: float) -> Iterator[None]:
    """Hold a write transaction: committed at the end, undone where anything is raised.

    Another writer is waited for `wait_s` seconds, whatever the connection usually does.
    """
    _begin(db, wait_s, usual_s)
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _begin(db: sqlite3.Connection, wait_s: float, usual_s: float) -> None:
    if wait_s == usual_s:
        db.execute("BEGIN IMMEDIATE")
        return
    db.execute(f"PRAGMA busy_timeout = {round(wait_s * 1000)}")
    try:
        db.execute("BEGIN IMMEDIATE")
    finally:
        db.execute(f"PRAGMA busy_timeout = {round(usual_s * 1000)}")


def _schema(db: sqlite3.Connection) -> int:
    return cast(int, db.execute("PRAGMA user_version").fetchone()[0])


def _remedy(error: sqlite3.Error, otherwise: str) -> str:
    """Say what to do about an error: mostly it is known by its kind alone that the disk is full."""
    code = getattr(error, "sqlite_errorcode", 0)  # misuse of the module has none
    return "make room on its disk" if is_full(code) else otherwise


def is_full(code: int) -> bool:
    """Say whether this code of an error means that the disk is full."""
    # A limit on the size of files or of a user's share shows as a write that fails.
    return code == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_WRITE
