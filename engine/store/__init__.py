"""Where the engine keeps what it keeps: `open_store(url)` gives the store that the URL names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from engine.errors import StoreError
from engine.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from engine.store.postgres import PostgresStore

    Store: TypeAlias = SqliteStore | PostgresStore

__all__ = ["SqliteStore", "open_store", "sqlite_path"]

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def sqlite_path(url: str) -> Path | None:
    """Return the file of `sqlite:///relative.db` or `sqlite:////absolute.db`, None for PostgreSQL."""
    if url.startswith(_POSTGRES):
        return None
    if not url.startswith(_SQLITE) or len(url) == len(_SQLITE):
        scheme = url.partition(":")[0][:20]
        raise StoreError(
            f"store: got a URL of scheme {scheme!r}, expected 'sqlite:///path/to/file.db' or"
            " 'postgresql://user@host/database'"
        )
    return Path(url.removeprefix(_SQLITE))


def open_store(url: str) -> Store:
    """Open the store, making or migrating its tables where needed.

    Raises StoreError where the URL is not understood, the file or database is not ours, is damaged, cannot be
    reached, or was written by a newer release.
    """
    path = sqlite_path(url)
    if path is not None:
        return SqliteStore(path)
    try:
        from engine.store.postgres import PostgresStore
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("psycopg"):
            raise
        raise StoreError("store: PostgreSQL needs one more package: pip install '.[postgres]'") from error
    return PostgresStore(url)
