"""What a service keeps in its folder, looked at from outside and not through the service's own store."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path

_SQLITE = b"SQLite format 3\0"
_NUMBERS = ("user_version", "application_id")
_PARTS = ("-wal", "-shm", "-journal")  # of a database: read with it


def kept(folder: Path) -> Mapping[str, str]:
    """Digest every file below the folder, and every table of every SQLite database, by name; name its folders."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[f"{name}/"] = "a folder"
        elif path.name.endswith(_PARTS) and _is_part(path):
            continue
        elif _is_database(path):
            found |= {f"{name}:{table}": digest for table, digest in _tables(path).items()}
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _is_part(path: Path) -> bool:
    return any(_is_database(Path(str(path).removesuffix(end))) for end in _PARTS if path.name.endswith(end))


def _is_database(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _tables(path: Path) -> dict[str, str]:
    # The bytes of a database tell its history (free pages, a random salt in the write-ahead log), its rows
    # do not.
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        connection.execute("BEGIN")
        schema = connection.execute(
            "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
        ).fetchall()
        numbers = [connection.execute(f"PRAGMA {name}").fetchone() for name in _NUMBERS]
        found = {"schema": hashlib.sha256(repr((schema, numbers)).encode()).hexdigest()}
        for kind, name, sql in schema:
            if kind == "table":
                found[name] = _digest(connection, name, sql)
        return found
    finally:
        connection.close()


def _digest(connection: sqlite3.Connection, name: str, sql: str | None) -> str:
    quoted = name.replace('"', '""')
    # By the number of a row, too, where it has one: the order in which rows came is kept by it.
    numbered = "*" if "WITHOUT ROWID" in (sql or "").upper() else "rowid, *"
    rows = sorted(map(repr, connection.execute(f'SELECT {numbered} FROM "{quoted}"')))  # noqa: S608 - a table's own name
    return hashlib.sha256("\n".join((repr(sql), *rows)).encode()).hexdigest()
