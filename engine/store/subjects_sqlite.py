"""The keys of subjects, in a SQLite file of their own in the key folder: what it loses is lost for good."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from engine.errors import StoreError
from engine.store.scrub import scrub
from engine.store.sqlite import BUSY_TIMEOUT_S
from privacy.erasure import ERASE_ID_BYTES, KEY_BYTES, SubjectKey
from privacy.keyring import FILE_MODE

APPLICATION_ID = 0x54414B59  # "TAKY"
FILE = "subjects.db"
BACKUP_DAYS = 30  # how long a copy may be kept and restored

_SCHEMA = """
CREATE TABLE IF NOT EXISTS subjects (
    subject TEXT PRIMARY KEY, key BLOB NOT NULL, erase_id TEXT NOT NULL UNIQUE,
    generation INTEGER NOT NULL DEFAULT 0, day TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS copied (one INTEGER PRIMARY KEY CHECK (one = 1), day TEXT NOT NULL)
"""


class SqliteSubjectKeys:
    """Satisfies SubjectKeys. Safe with several threads and processes."""

    def __init__(
        self, path: Path, *, now: Callable[[], datetime], random_bytes: Callable[[int], bytes]
    ) -> None:
        """Open the file, or make it, for its owner alone. Raises StoreError where it is none of ours."""
        self.path = path
        self._now, self._random = now, random_bytes
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[sqlite3.Connection] = []
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(
            os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
        )  # SQLite gives its -wal and -shm the same mode
        try:
            db = self._connection()
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables and db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise StoreError(f"{path}: a SQLite file, but not of subjects' keys: put yours in its place")
            db.execute("PRAGMA journal_mode = WAL")
            with self._writing():
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        except sqlite3.Error as error:
            self.close()
            raise StoreError(
                f"{path}: cannot be opened ({error}): check path and rights, or restore it with "
                "`tactful restore-keys`"
            ) from error
        except StoreError:
            self.close()
            raise

    def make(self, subject: str) -> SubjectKey:
        """Return the key of a subject, drawn now where there is none."""
        known = self.get(subject)
        if known is not None:
            return known
        with self._writing() as db:
            # Another process may have drawn one meanwhile: the first stands.
            db.execute(
                "INSERT OR IGNORE INTO subjects (subject, key, erase_id, day) VALUES (?, ?, ?, ?)",
                (
                    subject,
                    self._random(KEY_BYTES),
                    self._random(ERASE_ID_BYTES).hex(),
                    self._now().date().isoformat(),
                ),
            )
            row = db.execute("SELECT key, erase_id FROM subjects WHERE subject = ?", (subject,)).fetchone()
        return SubjectKey(*row)

    def get(self, subject: str) -> SubjectKey | None:
        """Return the key of a subject, None where it has none."""
        rows = self._rows("SELECT key, erase_id FROM subjects WHERE subject = ?", (subject,))
        return SubjectKey(*rows[0]) if rows else None

    def destroy(self, subject: str) -> None:
        """Destroy a key, and every byte of it in the file and its write-ahead log. Raises StoreError."""
        self._destroy([subject])

    def erase_ids(self) -> list[str]:
        """Return the names of all erasures that are to come."""
        return [row[0] for row in self._rows("SELECT erase_id FROM subjects")]

    def destroy_erased(self, erase_ids: Iterable[str]) -> int:
        """Destroy the keys of all whose erasure was told under these names; return how many there were."""
        ids = list(erase_ids)
        found = [
            row for id in ids for row in self._rows("SELECT subject FROM subjects WHERE erase_id = ?", (id,))
        ]
        self._destroy([row[0] for row in found])
        return len(found)

    def raise_generation(self, subject: str, generation: int) -> None:
        """Note a withdrawal beside the key: a database restored from before it is put right by this."""
        with self._writing() as db:
            db.execute(
                "UPDATE subjects SET generation = max(generation, ?) WHERE subject = ?", (generation, subject)
            )

    def generations(self) -> dict[str, int]:
        """Return the latest generation noted of each subject; 0 where there was no withdrawal."""
        return dict(self._rows("SELECT subject, generation FROM subjects"))

    def older_than(self, day: datetime) -> list[str]:
        """Return the subjects whose keys were drawn before this day."""
        return [
            row[0]
            for row in self._rows("SELECT subject FROM subjects WHERE day < ?", (day.date().isoformat(),))
        ]

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for db in self._open:
                db.close()
            self._open.clear()
        self._local = threading.local()

    def _destroy(self, subjects: list[str]) -> None:
        if not subjects:
            return
        needles: list[bytes] = []
        with self._writing() as db:
            for subject in subjects:
                row = db.execute("SELECT key FROM subjects WHERE subject = ?", (subject,)).fetchone()
                needles += [subject.encode(), *(row or ())]
                db.execute("DELETE FROM subjects WHERE subject = ?", (subject,))
        scrub(self._connection(), self.path, needles)

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection; one must not be carried across a fork."""
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None or self._local.pid != os.getpid():
            db = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = ON")
            db.execute("PRAGMA temp_store = MEMORY")  # no copy of a key in a temporary file
            self._local.db, self._local.pid = db, os.getpid()
            with self._lock:
                self._open.append(db)
        return db

    def _rows(self, sql: str, arguments: tuple[object, ...] = ()) -> list[Any]:
        try:
            return self._connection().execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be read ({error}): check the disk") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            db = self._connection()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be written: {error}") from error


def back_up(keys: SqliteSubjectKeys, target: Path, now: datetime) -> None:
    """Write a copy of the keys that says from when it is; `target` must not exist. Raises StoreError."""
    if target.exists():
        raise StoreError(f"{target}: exists already: name another file")
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE))
    copy = sqlite3.connect(target, isolation_level=None)
    try:
        keys._connection().backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.execute("INSERT OR REPLACE INTO copied (one, day) VALUES (1, ?)", (now.date().isoformat(),))
    except sqlite3.Error as error:
        copy.close()
        target.unlink()
        raise StoreError(f"{target}: cannot be written ({error})") from error
    finally:
        copy.close()


def copied_on(path: Path) -> datetime | None:
    """Return the day on which `back_up` wrote this file; None where it is no such copy."""
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                return None
            row = db.execute("SELECT day FROM copied").fetchone()
        finally:
            db.close()
    except sqlite3.Error:
        return None
    return None if row is None else datetime.fromisoformat(row[0] + "T00:00:00+00:00")


def put_back(
    source: Path,
    keys: SqliteSubjectKeys,
    told: Callable[[Iterable[str]], frozenset[str]],
    now: datetime,
) -> int:
    """Take over what keys a copy holds and the file does not, save those whose erasure was told; return how many.

    Raises StoreError where the copy is none, or older than BACKUP_DAYS.
    """
    made = copied_on(source)
    if made is None:
        raise StoreError(f"{source}: no copy of subjects' keys: name one that `tactful backup-keys` wrote")
    if is_over(made, now):
        raise StoreError(
            f"{source}: written {made.date()}, {BACKUP_DAYS} days ago or more: what was erased since must not "
            "come back. Delete it"
        )
    copy = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
    try:
        rows = copy.execute("SELECT subject, key, erase_id, generation, day FROM subjects").fetchall()
    except sqlite3.Error as error:
        raise StoreError(f"{source}: damaged ({error}): use another copy") from error
    finally:
        copy.close()
    gone = told(row[2] for row in rows)
    with keys._writing() as db:
        done = db.executemany(
            "INSERT OR IGNORE INTO subjects (subject, key, erase_id, generation, day) VALUES (?, ?, ?, ?, ?)",
            [row for row in rows if row[2] not in gone],
        )
    return done.rowcount


def is_over(made: datetime, now: datetime) -> bool:
    """Say whether a copy of this day may no longer be kept."""
    return now - made >= timedelta(days=BACKUP_DAYS)
