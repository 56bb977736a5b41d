"""Backup and restore of the store as one file.

The file holds the catalogue, the pictures, the keys' hashes and the journal. The folder of signing and
hashing keys is no part of it and has to be kept by other means, apart from it; so are the keys of subjects,
without which the consents in it open to nobody. After a restore, API keys that were revoked since the backup
are valid again: revoke them anew. What readers withdrew or had erased since stays so.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from engine.change import Versions
from engine.errors import StoreError
from engine.store.copy_sqlite import carry_over, copy_database, in_use
from engine.store.sqlite import SqliteStore


def backup(store: SqliteStore, target: Path, force: bool = False) -> None:
    """Write a checked copy of a store in use to `target`, which appears whole or not at all.

    Raises StoreError where the file exists and `force` is not given, or the copy is damaged.
    """
    _refuse_existing(target, force)
    with _beside(target) as folder:
        copy = Path(folder) / "copy.db"
        copy_database(store.path, copy)
        os.replace(copy, target)


def restore(source: Path, target: Path, force: bool = False) -> None:
    """Put a backup in the place of a store that nobody uses.

    Raises StoreError where the backup is damaged or of another release, where a store exists and `force` is
    not given, or where a running service still has it open. Consents and their log are not taken back: those of
    the store that goes are carried over.
    """
    if not source.is_file():
        raise StoreError(f"{source}: no such backup")
    _refuse_existing(target, force)
    if target.exists() and in_use(target):
        raise StoreError(f"{target}: a service has it open: stop it first")
    with _beside(target) as folder:
        copy = Path(folder) / "copy.db"
        copy_database(source, copy)
        restored = SqliteStore(copy)
        try:
            restored.pass_by(_versions(target))
        finally:
            restored.close()
        if _is_readable(target):
            carry_over(target, copy)
        for ending in ("-wal", "-shm"):  # of the old file: they would be played into the new one
            target.with_name(target.name + ending).unlink(missing_ok=True)
        os.replace(copy, target)


def _versions(path: Path) -> Versions:
    """Return the counters of a store that is about to go; zeros where it is gone or cannot be read."""
    if not path.exists():
        return Versions(0, 0, 0)
    try:
        store = SqliteStore(path)
    except StoreError:
        return Versions(0, 0, 0)
    try:
        return store.versions()
    finally:
        store.close()


def _is_readable(path: Path) -> bool:
    """Say whether there is a store whose consents can be read; opening it has brought it to this release."""
    if not path.exists():
        return False
    try:
        SqliteStore(path).close()
    except StoreError:
        return False
    return True


def _refuse_existing(target: Path, force: bool) -> None:
    if target.exists() and not force:
        raise StoreError(f"{target}: exists already: name another file, or force it")
    if not target.parent.is_dir():
        raise StoreError(f"{target}: its folder does not exist: make it first")


def _beside(target: Path) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(
        prefix=".tactful-", dir=target.parent
    )  # same disk: replacing is atomic
