"""The keys of subjects, in a SQLite file of their own in the key folder: what it loses is lost for good."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from engine.errors import StoreError
from engine.store.seal import is_sealed, seal
from engine.store.side_file import FILE_MODE, SideFile
from privacy.erasure import ERASE_ID_BYTES, KEY_BYTES, SubjectKey

APPLICATION_ID = 0x54414B59  # "TAKY"
FILE = "subjects.db"
BACKUP_DAYS = 30  # how long a copy may be kept and restored

_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
CREATE TABLE subjects (
    subject TEXT PRIMARY KEY, key BLOB NOT NULL, erase_id TEXT NOT NULL UNIQUE,
    generation INTEGER NOT NULL DEFAULT 0, day TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE copied (one INTEGER PRIMARY KEY CHECK (one = 1), day TEXT NOT NULL)
"""


class SqliteSubjectKeys:
    """Satisfies SubjectKeys. Safe with several threads and processes."""

    def __init__(
        self, path: Path, *, now: Callable[[], datetime], random_bytes: Callable[[int], bytes]
    ) -> None:
        """Open the file, or make it, for its owner alone. Raises StoreError."""
        self.file = SideFile(path, _SCHEMA)
        self._now, self._random = now, random_bytes

    def make(self, subject: str) -> SubjectKey:
        """Return the key of a subject, drawn now where there is none."""
        known = self.get(subject)
        if known is not None:
            return known
        with self.file.writing() as db:
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
        rows = self.file.rows("SELECT key, erase_id FROM subjects WHERE subject = ?", (subject,))
        return SubjectKey(*rows[0]) if rows else None

    def destroy(self, subject: str) -> None:
        """Destroy a key, and every byte of it in the file and its write-ahead log. Raises StoreError."""
        self._destroy("subject", [subject])

    def erase_ids(self) -> list[str]:
        """Return the names of all erasures that are to come."""
        return [row[0] for row in self.file.rows("SELECT erase_id FROM subjects")]

    def destroy_erased(self, erase_ids: Iterable[str]) -> int:
        """Destroy the keys of all whose erasure was told under these names; return how many there were."""
        return self._destroy("erase_id", list(erase_ids))

    def rewrite(self) -> None:
        """Rid the file of whatever was deleted. Raises StoreError."""
        self.file.rewrite()

    def raise_generation(self, subject: str, generation: int) -> None:
        """Note a withdrawal beside the key: a database restored from before it is put right by this."""
        with self.file.writing() as db:
            db.execute(
                "UPDATE subjects SET generation = max(generation, ?) WHERE subject = ?", (generation, subject)
            )

    def generation(self, subject: str) -> int:
        """Return the latest generation noted of a subject; 0 where there was no withdrawal."""
        rows = self.file.rows("SELECT generation FROM subjects WHERE subject = ?", (subject,))
        return rows[0][0] if rows else 0

    def generations(self) -> dict[str, int]:
        """Return the latest generation noted of each subject; 0 where there was no withdrawal."""
        return dict(self.file.rows("SELECT subject, generation FROM subjects"))

    def older_than(self, day: datetime) -> list[str]:
        """Return the subjects whose keys were drawn before this day."""
        return [
            row[0]
            for row in self.file.rows("SELECT subject FROM subjects WHERE day < ?", (day.date().isoformat(),))
        ]

    def back_up(self, target: Path, now: datetime) -> None:
        """Write a copy of the keys that says from when it is; `target` must not exist. Raises StoreError."""
        if target.exists():
            raise StoreError(f"{target}: exists already: name another file")
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE))
        copy = sqlite3.connect(target, isolation_level=None)
        try:
            self.file.copy_to(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            copy.execute("INSERT OR REPLACE INTO copied (one, day) VALUES (1, ?)", (now.date().isoformat(),))
            copy.close()
            seal(target)
        except (sqlite3.Error, StoreError) as error:
            target.unlink()
            raise StoreError(f"{target}: cannot be written ({error})") from error
        finally:
            copy.close()

    def put_back(self, source: Path, told: Callable[[Iterable[str]], frozenset[str]], now: datetime) -> int:
        """Take over what keys a copy holds and the file does not; return how many.

        Those whose erasure was `told` stay gone. Raises StoreError where the copy is none, damaged, or older than
        BACKUP_DAYS.
        """
        made = copied_on(source)
        if made is None:
            raise StoreError(
                f"{source}: no copy of subjects' keys: name one that `tactful backup-keys` wrote"
            )
        if is_over(made, now):
            raise StoreError(
                f"{source}: written {made.date()}, {BACKUP_DAYS} days ago or more: what was erased since must "
                "not come back. Delete it"
            )
        is_sealed(source)
        copy = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
        try:
            rows = copy.execute("SELECT subject, key, erase_id, generation, day FROM subjects").fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{source}: damaged ({error}): use another copy") from error
        finally:
            copy.close()
        gone = told(row[2] for row in rows)
        with self.file.writing() as db:
            done = db.executemany(
                "INSERT OR IGNORE INTO subjects (subject, key, erase_id, generation, day)"
                " VALUES (?, ?, ?, ?, ?)",
                [row for row in rows if row[2] not in gone],
            )
        return done.rowcount

    def check(self) -> None:
        """Look whether the file is still there and sound. Raises StoreError."""
        self.file.check()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _destroy(self, column: Literal["subject", "erase_id"], values: list[str]) -> int:
        """Delete the rows of these values, from the disk; return how many went."""
        if not values:
            return 0
        needles: list[bytes] = []
        gone = 0
        with self.file.writing() as db:
            for value in values:
                sql = f"DELETE FROM subjects WHERE {column} = ? RETURNING subject, key"  # noqa: S608 - constants
                for subject, key in db.execute(sql, (value,)).fetchall():
                    needles += [subject.encode(), key]
                    gone += 1
        self.file.scrub(needles)  # also where an earlier try could not
        return gone


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
        return None if row is None else datetime.fromisoformat(row[0] + "T00:00:00+00:00")
    except (sqlite3.Error, ValueError, TypeError):  # no such file, or a damaged one
        return None


def is_over(made: datetime, now: datetime) -> bool:
    """Say whether a copy of this day may no longer be kept."""
    return now - made >= timedelta(days=BACKUP_DAYS)
