"""Where the catalogue lives: `open_store(url)` gives the store that the URL names."""

from __future__ import annotations

from pathlib import Path

from engine.errors import StoreError
from engine.store.sqlite import SqliteStore

__all__ = ["SqliteStore", "open_store", "sqlite_path"]

_SCHEME = "sqlite:///"


def sqlite_path(url: str) -> Path:
    """Return the file of `sqlite:///relative.db` or `sqlite:////absolute.db`. Raises StoreError."""
    if not url.startswith(_SCHEME) or len(url) == len(_SCHEME):
        scheme = url.partition(":")[0][:20]
        raise StoreError(f"store: got a URL of scheme {scheme!r}, expected 'sqlite:///path/to/file.db'")
    return Path(url.removeprefix(_SCHEME))


def open_store(url: str) -> SqliteStore:
    """Open the store, making or migrating its tables where needed.

    Raises StoreError where the URL is not understood, the file is no database of ours, is damaged, or was
    written by a newer release.
    """
    return SqliteStore(sqlite_path(url))
