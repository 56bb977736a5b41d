"""Backup and restore of the store as one file, and copies from one store into another.

The file is a SQLite store, whichever kind it was made of, and comes back into either. It holds the catalogue, the
pictures, the keys' hashes and the journal. The folder of signing and hashing keys is no part of it and has to be
kept by other means, apart from it; so are the keys of subjects, without which the consents in it open to nobody.
After a restore, API keys that were revoked since the backup are valid again: revoke them anew. What readers
withdrew or had erased since stays so, and no ledger has spent less.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from engine.change import Versions
from engine.errors import StoreError
from engine.store import SqliteStore, open_store, sqlite_path
from engine.store.copy_sqlite import carry_over, copy_database, in_use
from engine.store.seal import is_sealed, seal

if TYPE_CHECKING:
    from engine.config import Config
    from engine.store import Store

_COUNTERS = "versions"  # the one table that is never empty


def backup(store: Store, target: Path, force: bool = False) -> None:
    """Write a checked copy of a store in use to `target`, which appears whole or not at all, and sealed.

    Raises StoreError where the file exists and `force` is not given, or the copy is damaged.
    """
    _refuse_existing(target, force)
    with _beside(target) as folder:
        write_copy(store, folder / "copy.db")
        seal(folder / "copy.db")
        os.replace(folder / "copy.db", target)


def write_copy(store: Store, target: Path) -> None:
    """Write a checked copy of a store in use into a new SQLite file that stands alone. Raises StoreError."""
    if isinstance(store, SqliteStore):
        store.gather()
        copy_database(store.path, target)
        return
    with _beside(target) as folder:
        with closing(SqliteStore(folder / "rows.db")) as copy, store.dump() as tables:
            copy.fill(tables)
        copy_database(folder / "rows.db", target)


def copy_store_of(config: Config, target: Path) -> bool:
    """Write a copy of an installation's store, if there is one; say whether there is. Raises StoreError."""
    if config.store is None:
        if config.database.exists():
            copy_database(config.database, target)
        return config.database.exists()
    with closing(open_store(config.store)) as store:
        write_copy(store, target)
    return True


def restore(source: Path, target: Path, force: bool = False) -> bool:
    """Put a backup in the place of a SQLite store that nobody uses; say whether each of its bytes was checked.

    Those of a backup that an earlier release wrote cannot be: only its form is.

    Raises StoreError where the backup is damaged or of another release, where a store exists and `force` is
    not given, or where a running service still has it open. Consents, what was told and the log of both are not
    taken back: those of the store that goes are carried over.
    """
    checked = _look_at(source)
    _refuse_existing(target, force)
    if target.exists() and in_use(target):
        raise StoreError(f"{target}: a service has it open: stop it first")
    with _beside(target) as folder:
        copy = folder / "copy.db"
        copy_database(source, copy)
        _pass_by(copy, _versions(target))
        if _is_readable(target):
            carry_over(target, copy)
        for ending in ("-wal", "-shm"):  # of the old file: they would be played into the new one
            target.with_name(target.name + ending).unlink(missing_ok=True)
        os.replace(copy, target)
    return checked


def restore_into(source: Path, url: str, force: bool = False) -> bool:
    """Put a backup in the place of what a database holds, in one transaction; as `restore` does it."""
    checked = _look_at(source)
    with (
        tempfile.TemporaryDirectory(prefix="tactful-") as name,
        closing(open_store(url)) as store,
        _alone(store),
    ):
        empty = _is_empty(store)
        if not force and not empty:
            raise StoreError("the database holds a store already: name another one, or force it")
        copy, old = Path(name) / "copy.db", Path(name) / "old.db"
        copy_database(source, copy)
        _pass_by(copy, store.versions())
        if not empty:
            write_copy(store, old)
            carry_over(old, copy)
        with closing(SqliteStore(copy)) as restored, restored.dump() as tables:
            store.fill(tables)
    return checked


def copy_store(source: str, target: str) -> None:
    """Copy all that a store holds, which nobody uses, into another one that is empty.

    Raises StoreError where a running service has the source open, or the target holds anything.
    """
    path = sqlite_path(source)
    if path is not None and not path.exists():
        raise StoreError(f"{path}: there is no such store")
    with closing(open_store(source)) as old, closing(open_store(target)) as new, _alone(old), _alone(new):
        if not _is_empty(new):
            raise StoreError("the store to copy into is not empty: name another one")
        with old.dump() as tables:
            new.fill(tables)


def _look_at(source: Path) -> bool:
    """Check the bytes of a backup; say whether it tells what they were. Raises StoreError."""
    if not source.is_file():
        raise StoreError(f"{source}: no such backup")
    return is_sealed(source)


def _pass_by(copy: Path, versions: Versions) -> None:
    """Bring a copy to this release, and its counters above those that were seen."""
    with closing(SqliteStore(copy)) as restored:
        restored.pass_by(versions)


def _versions(path: Path) -> Versions:
    """Return the counters of a store that is about to go; zeros where it is gone or cannot be read."""
    if not path.exists():
        return Versions(0, 0, 0)
    try:
        with closing(SqliteStore(path)) as store:
            return store.versions()
    except StoreError:
        return Versions(0, 0, 0)


def _is_readable(path: Path) -> bool:
    """Say whether there is a store whose consents can be read; opening it has brought it to this release."""
    if not path.exists():
        return False
    try:
        SqliteStore(path).close()
    except StoreError:
        return False
    return True


def _is_empty(store: Store) -> bool:
    with store.dump() as tables:
        return all(next(one.rows, None) is None for one in tables if one.table != _COUNTERS)


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Hold a store that nobody else has open. Raises StoreError."""
    if isinstance(store, SqliteStore):
        store.close()  # it opens again at the next use
        if in_use(store.path):
            raise StoreError(f"{store.path}: a service has it open: stop it first")
        yield
        return
    with store.alone():
        yield


def _refuse_existing(target: Path, force: bool) -> None:
    if target.exists() and not force:
        raise StoreError(f"{target}: exists already: name another file, or force it")
    if not target.parent.is_dir():
        raise StoreError(f"{target}: its folder does not exist: make it first")


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".tactful-", dir=target.parent) as name:
        yield Path(name)  # same disk: replacing is atomic
