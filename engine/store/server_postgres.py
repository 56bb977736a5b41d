"""The PostgreSQL database: its connections, its transactions, its schema. Safe with threads, processes and machines.

Readers see one committed state; a writer first takes the lock of the room that it changes, so that what it
checked is what it changes. One public method of a store is one transaction. A connection that was lost, as when
the server starts anew, costs the call that noticed it one more try; then it fails, and the next call tries again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from typing import Any, TypeVar, cast

import psycopg
from psycopg.abc import Params, QueryNoTemplate
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from engine.errors import StoreError
from engine.store.database import Connection as AnyConnection
from engine.store.database import Database, Room
from engine.store.forms import BATCH, BUSY_TIMEOUT_S
from engine.store.schema_postgres import MIGRATIONS

CONNECTIONS = 8  # of a process: more threads than that wait for their turn
AWAY_S = 5.0  # how long a page view does not try a server that could not be reached, unless others reached it
OLDEST = 130_000  # PostgreSQL 13
RETRIES = 5  # of a transaction that the server undid for the sake of others
NAME = "tactful"  # by which the server knows our sessions
_LOOKS = 5  # for a session that two connections share
_PATIENT_S = 1.0  # whoever waits for less than this answers a page view
_SETTINGS = {
    "application_name": NAME,
    "connect_timeout": 2,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}
# A lock is of one installation: several may live in schemas of one database.
_KEY = "hashtextextended(current_schema() || '.' || %s, 0)"
_STREAMS = count()  # names of cursors
_T = TypeVar("_T")


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that takes "?" for a value's place as well as the driver's "%s"."""

    def execute(  # type: ignore[override]  # of templates it knows nothing
        self,
        query: QueryNoTemplate,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool = False,
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        """Run a statement."""
        return super().execute(_spelled(query), params, prepare=prepare, binary=binary)

    def executemany(self, query: QueryNoTemplate, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once for each of the rows of its arguments."""
        self.cursor().executemany(_spelled(query), rows)


class PostgresServer(Database):
    """What the stores that keep their tables in one database share: they read and write through this."""

    broken = psycopg.IntegrityError

    def __init__(self, url: str) -> None:
        """Open the database, making or migrating its tables where needed. Raises StoreError."""
        self.url = url  # it may hold a password
        self._settings = _settings(url)
        self.name = _named(self._settings)
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(CONNECTIONS)
        self._pid = os.getpid()
        self._away_until = 0.0
        self._is_alone = False
        self._refuse_pools()
        self.migrated_from = self._prepare()

    def rows(
        self,
        sql: str,
        arguments: Sequence[object] | Mapping[str, object] = (),
        wait_s: float = BUSY_TIMEOUT_S,
    ) -> list[Any]:
        """Return the rows of one statement that only reads. Raises StoreError.

        A page view waits for a connection `wait_s` at most.
        """
        with self._turn(wait_s):
            try:
                db, rows = self._first(lambda db: db.execute(sql, arguments, binary=True).fetchall(), wait_s)
            except psycopg.Error as error:
                raise self._unreadable(error) from error
            self._give_back(db)
            return rows

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Hold one consistent state, on a connection of its own, however long it is read. Raises StoreError."""
        try:
            db = self._connect()
            try:
                db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                yield db
            finally:
                db.close()
        except psycopg.Error as error:
            raise self._unreadable(error) from error

    @contextmanager
    def writing(self, wait_s: float = BUSY_TIMEOUT_S, shared: Room | None = None) -> Iterator[Connection]:
        """Hold a write transaction: committed at the end, undone where anything is raised. They do not nest.

        Others are waited for `wait_s` seconds; whoever would hold the room that is `shared` waits for this one. Whoever
        has nothing to do after its last statement may send COMMIT with it. Raises StoreError, and
        psycopg.IntegrityError as it comes.
        """
        begin = (
            "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE;"
            f" SET LOCAL lock_timeout = {max(1, round(wait_s * 1000))}"
        )
        if shared is not None:
            begin += f"; SELECT pg_advisory_xact_lock_shared({_KEY})" % f"'{shared}'"
        with self._turn(wait_s):
            try:
                db, _ = self._first(lambda db: db.execute(begin), wait_s)
                try:
                    yield db
                    if db.info.transaction_status != TransactionStatus.IDLE:
                        db.execute("COMMIT")
                finally:
                    if not db.closed and db.info.transaction_status != TransactionStatus.IDLE:
                        _undo(db)
                    self._give_back(db)
            except psycopg.IntegrityError:
                raise
            except psycopg.Error as error:
                raise StoreError(
                    f"{self.name}: cannot be written ({_told(error)}): {_remedy(error)}"
                ) from error

    def in_turn(self, act: Callable[[Connection], _T], shared: Room | None = None) -> _T:
        """Run `act` in a write transaction of its own; where it and another one waited for each other, anew.

        Raises StoreError.
        """
        for left in range(RETRIES, -1, -1):
            try:
                with self.writing(shared=shared) as db:
                    return act(db)
            except StoreError as error:
                if not left or not _is_undone(error.__cause__):
                    raise
        raise AssertionError("unreachable")

    def is_writing(self, db: AnyConnection) -> bool:
        """Say whether a connection is within a transaction."""
        return cast(Connection, db).info.transaction_status == TransactionStatus.INTRANS

    def hold(self, db: AnyConnection, *rooms: Room) -> None:
        """Keep others from changing what is in these rooms until the write transaction ends."""
        hold(db, *rooms)

    def stream(self, db: AnyConnection, sql: str, arguments: tuple[object, ...] = ()) -> Iterator[Any]:
        """Yield rows as they are needed. Requires a transaction, whose one state they are of."""
        return streamed(cast(Connection, db), sql, arguments)

    def scrub(self, needles: Sequence[bytes]) -> None:
        """Let go of deleted rows; `()` writes the tables of consents anew. Raises StoreError where they are in use.

        What the server keeps beside its tables, as its write-ahead log, is not in our hands: the ciphertexts that
        may stand there have lost their key.
        """
        how = "" if needles else "FULL"
        with self._turn(BUSY_TIMEOUT_S):
            try:
                db = self._connect()
                try:
                    db.execute(f"SET lock_timeout = {round(BUSY_TIMEOUT_S * 1000)}")
                    for table in ("consents", "consent_events"):
                        db.execute(f"VACUUM {how} {table}")
                finally:
                    db.close()
            except psycopg.Error as error:
                raise StoreError(
                    f"{self.name}: deleted rows are still in the tables ({_told(error)}): try again"
                ) from error

    def hold_session(self, room: Room) -> Connection | None:
        """Take a room's lock on a connection of its own, until that is closed or lost; None where another has it.

        Raises StoreError.
        """
        try:
            db = self._connect()
            try:
                if db.execute(f"SELECT pg_try_advisory_lock({_KEY})", (room,)).fetchone() == (True,):
                    return db
            except psycopg.Error:
                db.close()
                raise
            db.close()
            return None
        except psycopg.Error as error:
            raise self._unreadable(error) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep everybody else out meanwhile. Raises StoreError where another process has the database open."""
        self._drop_idle()
        try:
            self._is_alone = True
            db = self._connect()
            try:
                if db.execute(f"SELECT pg_try_advisory_lock({_KEY})", (Room.HOUSE,)).fetchone() != (True,):
                    raise StoreError(f"{self.name}: a service has it open: stop it first")
                yield
            finally:
                _leave(db)
        except psycopg.Error as error:
            raise self._unreadable(error) from error
        finally:
            self._drop_idle()
            self._is_alone = False

    def schema(self) -> int:
        """Return the number of migrations that the tables went through."""
        return cast(int, self.rows("SELECT version FROM tactful_schema")[0][0])

    def close(self) -> None:
        """Close all connections that nobody uses; the store must not be used after."""
        self._drop_idle()

    # --- connections ---

    @contextmanager
    def _turn(self, wait_s: float) -> Iterator[None]:
        if not self._turns.acquire(timeout=wait_s):
            raise StoreError(f"{self.name}: all {CONNECTIONS} connections are in use: try again")
        try:
            yield
        finally:
            self._turns.release()

    def _first(self, act: Callable[[Connection], _T], wait_s: float) -> tuple[Connection, _T]:
        """Give a connection on which the first statement was run; one that turns out to be lost is replaced once."""
        for may_be_lost in (True, False):
            db = self._take(wait_s)
            try:
                return db, act(db)
            except psycopg.Error as error:
                if not _is_lost(db, error):
                    if db.info.transaction_status != TransactionStatus.IDLE:
                        _undo(db)
                    self._give_back(db)
                    raise
                db.close()
                self._drop_idle()  # most likely they went together
                if not may_be_lost:
                    raise
        raise AssertionError("unreachable")

    def _take(self, wait_s: float) -> Connection:
        with self._lock:
            if self._pid != os.getpid():  # none is carried across a fork: both ends would talk at once
                self._idle, self._pid = [], os.getpid()
            if self._idle:
                return self._idle.pop()
        if wait_s < _PATIENT_S and time.monotonic() < self._away_until:
            raise psycopg.OperationalError("the server could not be reached a moment ago")
        return self._connect()

    def _give_back(self, db: Connection) -> None:
        if db.closed or db.info.transaction_status != TransactionStatus.IDLE:
            db.close()
            return
        with self._lock:
            self._idle.append(db)

    def _drop_idle(self) -> None:
        with self._lock:
            dropped, self._idle = self._idle, []
        for db in dropped:
            _leave(db)

    def _connect(self) -> Connection:
        try:
            db = Connection.connect(**self._settings, autocommit=True)
            try:
                self._enter(db)
            except psycopg.Error:
                db.close()
                raise
        except psycopg.OperationalError:
            self._away_until = time.monotonic() + AWAY_S
            raise
        self._away_until = 0.0
        return db

    def _enter(self, db: Connection) -> None:
        """Make a connection ours. Raises psycopg.OperationalError while another process has the database alone."""
        if not self._is_alone:
            sql = f"SELECT pg_try_advisory_lock_shared({_KEY})"
            if db.execute(sql, (Room.HOUSE,)).fetchone() != (True,):
                raise psycopg.OperationalError("it is being restored or copied")
        # What is acknowledged is on the disk, whatever the server's default.
        db.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )

    def _refuse_pools(self) -> None:
        """Raise StoreError where a pooler gives each transaction another session: locks of sessions mean nothing there.

        A pooler tells a process id of its own. In one that pools sessions, two connections never share a server's.
        """
        try:
            with ExitStack() as stack:
                one = self._connect()
                stack.callback(self._give_back, one)
                if _session(one) == one.info.backend_pid:
                    return
                other = self._connect()
                stack.callback(self._give_back, other)
                shared = any(_session(one) == _session(other) for _ in range(_LOOKS))
        except psycopg.Error as error:
            raise self._unreadable(error) from error
        if shared:
            self.close()
            raise StoreError(
                f"{self.name}: a pooler that pools transactions stands before the server, and locks need sessions:"
                " name the server itself, or set the pooler's pool_mode to session"
            )

    # --- the schema ---

    def _prepare(self) -> int:
        """Bring the tables to this release's schema; return which they had."""
        try:
            with self.writing() as db:
                if db.info.server_version < OLDEST:
                    raise StoreError(
                        f"{self.name}: got PostgreSQL {db.info.server_version // 10_000}, expected 13+"
                    )
                encoding = db.execute("SHOW server_encoding").fetchone()
                if encoding != ("UTF8",):
                    raise StoreError(
                        f"{self.name}: got an encoding other than UTF8: make the database anew in it"
                    )
                hold(db, Room.SCHEMA)
                version = self._version(db)
                if version > len(MIGRATIONS):
                    raise StoreError(
                        f"{self.name}: has schema {version}, this release knows {len(MIGRATIONS)}:"
                        " install the newer release, or restore a backup made before it"
                    )
                for number in range(version, len(MIGRATIONS)):
                    db.execute(MIGRATIONS[number])
                if version < len(MIGRATIONS):
                    db.execute("UPDATE tactful_schema SET version = %s", (len(MIGRATIONS),))
                return version
        except StoreError:
            self.close()
            raise

    def _version(self, db: Connection) -> int:
        tables = [
            row[0]
            for row in db.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
            ).fetchall()
        ]
        if "tactful_schema" in tables:
            return cast(int, db.execute("SELECT version FROM tactful_schema").fetchall()[0][0])
        if tables:
            raise StoreError(
                f"{self.name}: its schema holds tables that are not Tactful's: name an empty database, or a schema"
                " by `?options=-csearch_path%3DNAME`"
            )
        db.execute("CREATE TABLE tactful_schema (version bigint NOT NULL)")
        db.execute("INSERT INTO tactful_schema (version) VALUES (0)")
        return 0

    def _unreadable(self, error: psycopg.Error) -> StoreError:
        return StoreError(f"{self.name}: cannot be read ({_told(error)}): {_remedy(error)}")


def hold(db: AnyConnection, *rooms: Room) -> None:
    """Take the locks of rooms until the transaction ends, and with them the right to change what is there."""
    for room in rooms:
        db.execute(f"SELECT pg_advisory_xact_lock({_KEY})", (room,))


def streamed(
    db: Connection, sql: QueryNoTemplate, arguments: Sequence[object] = ()
) -> Iterator[tuple[Any, ...]]:
    """Yield rows as they are needed. Requires a transaction, whose one state they are of."""
    with db.cursor(f"stream-{next(_STREAMS)}") as cursor:
        cursor.itersize = BATCH
        yield from cursor.execute(_spelled(sql), arguments, binary=True)


def _spelled(query: QueryNoTemplate) -> QueryNoTemplate:
    """Put the driver's mark for a value's place where "?" stands, which is no other sign of our SQL."""
    return query.replace("?", "%s") if isinstance(query, str) and "?" in query else query


def _undo(db: Connection) -> None:
    try:
        db.execute("ROLLBACK")
    except psycopg.Error:  # whatever was raised first is what is told
        db.close()


def _settings(url: str) -> dict[str, Any]:
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise StoreError(
            "store: got a URL that PostgreSQL does not read, expected 'postgresql://user@host/database'"
        ) from None
    return {**_SETTINGS, **given}


def _leave(db: Connection) -> None:
    """Close a connection, its locks let go: the server ends a session some time after it was left."""
    with suppress(psycopg.Error):
        db.execute("SELECT pg_advisory_unlock_all()")
    db.close()


def _session(db: Connection) -> int:
    row = db.execute("SELECT pg_backend_pid()").fetchone()
    return 0 if row is None else cast(int, row[0])


def _named(settings: dict[str, Any]) -> str:
    """Name a database without its secrets."""
    return f"postgresql://{settings.get('host', '')}/{settings.get('dbname', '')}"


def _is_lost(db: Connection, error: psycopg.Error) -> bool:
    state = error.sqlstate or ""
    return db.closed or db.broken or state.startswith(("08", "57P"))


def _is_undone(error: BaseException | None) -> bool:
    """Say whether the server undid a transaction for the sake of others."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("40")


def _told(error: psycopg.Error) -> str:
    """Give the first line of what the server said: the rest may quote values."""
    said = error.diag.message_primary or str(error)
    return (said.strip().splitlines() or [type(error).__name__])[0]


def _remedy(error: psycopg.Error) -> str:
    if isinstance(error, psycopg.errors.DiskFull):
        return "make room on its disk"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return "give this user the right to"
    if isinstance(error, psycopg.OperationalError):
        return "look whether the server runs, then try again"
    return "try again, or restore a backup"
