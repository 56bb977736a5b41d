"""Copies of the main SQLite file as a whole: made while it is in use, checked, and given what a restore must keep."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from engine.errors import StoreError
from engine.store.file_sqlite import APPLICATION_ID, SqliteFile, is_full
from engine.store.forms import BUSY_TIMEOUT_S, Rows
from engine.store.uses_sqlite import UseFile

# What a restored backup must not take back: what readers decided since, what was told, counted and billed, and the
# log that tells of it.
CARRIED = (
    "consents",
    "consent_events",
    "ended_statuses",
    "token_uses",
    "unscrubbed",
    "log_leaves",
    "uses_waiting",
    "use_batches",
    "budget",
    "releases",
    "events",
    "decided",
    "click_bounds",
    "conversions",
    "accounts",
    "ledger",
    "leases",
    "holds",
    "money_journal",
    "policies",
    "policy_acts",
)


def carry_over(old: Path, new: Path) -> None:
    """Put the consents and the log of a store that is about to go into the copy that takes its place.

    Raises StoreError where the old log is not a continuation of the copy's.
    """
    db = sqlite3.connect(new, isolation_level=None)
    try:
        db.execute("ATTACH ? AS old", (str(old),))
        if db.execute("PRAGMA old.user_version").fetchone() != db.execute("PRAGMA user_version").fetchone():
            raise StoreError(f"{old}: of another release: start it once, then restore")
        parted = db.execute(
            "SELECT count(*) FROM main.log_leaves AS new LEFT JOIN old.log_leaves AS o USING (seq)"
            " WHERE o.leaf IS NOT new.leaf"
        ).fetchone()[0]
        if parted:
            raise StoreError(
                f"{old}: its consent log is not that of the backup grown longer: restore beside it, into another "
                "data folder, or look it over with `tactful log fsck`"
            )
        db.execute("BEGIN IMMEDIATE")
        for table in CARRIED:
            db.execute(f"DELETE FROM main.{table}")  # noqa: S608 - a constant
            db.execute(f"INSERT INTO main.{table} SELECT * FROM old.{table}")  # noqa: S608 - a constant
        db.execute("INSERT OR REPLACE INTO main.settings SELECT * FROM old.settings WHERE name LIKE 'log%'")
        db.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreError(f"{old}: its consents cannot be carried over ({error})") from error
    finally:
        db.close()


def in_use(path: Path) -> bool:
    """Say whether a connection is open to this database, of any process."""
    db = sqlite3.connect(path, timeout=0.2, isolation_level=None)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
        db.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        return "locked" in str(error)
    except sqlite3.DatabaseError:
        return False  # damaged: nobody can be using it
    finally:
        db.close()
    return False


def copy_database(source: Path, target: Path) -> None:
    """Write a consistent copy of a database, in use or not, into a new file that stands alone; check it.

    Raises StoreError where the source cannot be read, the copy has no room, or is damaged.
    """
    original = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
    copy = sqlite3.connect(target, isolation_level=None)
    try:
        original.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        if copy.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise StoreError(f"{source}: not Tactful's: name a backup that 'tactful backup' made")
        faults = [row[0] for row in copy.execute("PRAGMA integrity_check(5)") if row[0] != "ok"]
        faults += [f"{row[0]}: hanging reference" for row in copy.execute("PRAGMA foreign_key_check")][:5]
    except sqlite3.Error as error:
        if is_full(getattr(error, "sqlite_errorcode", 0)):
            raise StoreError(
                f"{target.parent}: no room for a copy of {source}: make room, or name another disk"
            ) from error
        faults = [str(error)]
    finally:
        original.close()
        copy.close()
    if faults:
        raise StoreError(f"{source}: damaged ({'; '.join(faults)}): use another backup")


class SqliteCopies(SqliteFile):
    """Gives all rows to another store, or takes them from one, of whichever kind."""

    def gather(self) -> None:
        """Take in the uses of tokens that stand beside the store yet. Raises StoreError."""
        with closing(UseFile(self)) as uses:
            if uses.path.exists():
                uses.settle()

    @contextmanager
    def dump(self) -> Iterator[Iterator[Rows]]:
        """Give the rows of every table, all of one moment, each table's once it is asked for. Raises StoreError.

        `gather` is called before.
        """
        self.gather()
        with self.reading() as db:
            yield (Rows(table, tuple(columns), _all(db, table, columns)) for table, columns in _tables(db))

    def fill(self, tables: Iterable[Rows]) -> None:
        """Put these rows in the place of all that there are, or change nothing.

        Raises StoreError where a table is not as it is here.
        """
        with self.writing() as db:
            db.execute("PRAGMA defer_foreign_keys = ON")  # until this transaction ends
            ours = dict(_tables(db))
            for table in ours:
                db.execute(f"DELETE FROM {table}")  # noqa: S608 - a table's own name
            for table, columns, rows in tables:
                if table in ours and set(columns) == set(ours[table]):
                    names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
                    db.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)  # noqa: S608 - names
                elif table in ours or next(rows, None) is not None:
                    raise StoreError(
                        f"{self.path}: table {table} is not of this release: upgrade both stores"
                    )


def _tables(db: sqlite3.Connection) -> list[tuple[str, dict[str, str]]]:
    """Return (table, its columns with their types) in the order in which they were made."""
    names = db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
    )
    return [
        (name, dict(db.execute("SELECT name, type FROM pragma_table_info(?)", (name,)).fetchall()))
        for (name,) in names.fetchall()
    ]


def _all(db: sqlite3.Connection, table: str, columns: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    # SQLite keeps text in a column of bytes where it is given some.
    named = (f'CAST("{name}" AS BLOB)' if type == "BLOB" else f'"{name}"' for name, type in columns.items())
    for row in db.execute(f"SELECT {', '.join(named)} FROM {table}"):  # noqa: S608, UP028 - a table's own names;
        yield row  # `yield from` would close the cursor of a reader that stops, when its connection is gone
