"""What the SQLite store does with its file: refuses what is not ours, brings the old forward, names the damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.errors import StoreError
from engine.store import SqliteStore, open_store
from tests.engine.test_store import fill, ids


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "tactful.db")
    yield store
    store.close()


def test_a_newer_schema_is_refused_with_the_remedy(store: SqliteStore):
    store.close()
    db = sqlite3.connect(store.path)
    db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(StoreError, match="schema 999.*install the newer release"):
        open_store(f"sqlite:///{store.path}")


def test_an_older_schema_is_brought_forward_with_its_rows(store: SqliteStore, monkeypatch):
    from engine.store import file_sqlite

    fill(store)
    store.close()
    newer = (
        *file_sqlite.MIGRATIONS,
        "ALTER TABLE creatives ADD COLUMN note TEXT; UPDATE creatives SET note = 'kept'",
    )
    monkeypatch.setattr(file_sqlite, "MIGRATIONS", newer)
    reopened = open_store(f"sqlite:///{store.path}")
    assert len(ids(reopened)) == 3
    reopened.close()
    db = sqlite3.connect(store.path)
    assert db.execute("SELECT DISTINCT note FROM creatives").fetchall() == [("kept",)]
    assert db.execute("PRAGMA user_version").fetchone() == (len(newer),)
    db.close()


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: bytes):
    path = tmp_path / "broken.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"broken\.db.*restore a backup"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == content


def test_another_programs_database_is_left_alone(tmp_path: Path):
    db = sqlite3.connect(tmp_path / "other.db")
    db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(StoreError, match="not Tactful's"):
        open_store(f"sqlite:///{tmp_path}/other.db")


@pytest.mark.parametrize("url", ["", "sqlite:///", "sqlite:x.db", "mysql://host/db", "/tmp/x.db"])
def test_a_url_that_is_not_understood_is_refused(url: str):
    with pytest.raises(StoreError, match="expected 'sqlite:///"):
        open_store(url)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(f"sqlite:///{tmp_path}/no/x.db")


def test_a_row_that_cannot_be_read_is_named_as_such(store: SqliteStore):
    fill(store)
    db = sqlite3.connect(store.path)
    db.execute("UPDATE creatives SET json = '{\"kind\":\"creative\"' WHERE id = 'c000001'")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="a stored creative cannot be read"):
        ids(store)
    with pytest.raises(StoreError, match="a stored creative cannot be read"):
        store.find("creative", ["c000001"])


def test_a_file_that_breaks_while_in_use_is_named(store: SqliteStore):
    fill(store, 3000)
    store.close()
    data = bytearray(store.path.read_bytes())
    data[8192:] = b"\xa5" * (len(data) - 8192)
    store.path.write_bytes(data)
    with pytest.raises(StoreError, match=r"tactful\.db.*restore a backup"):
        ids(store)
    with pytest.raises(StoreError, match=r"tactful\.db"):
        store.find("creative", ["c000001"])
    with pytest.raises(StoreError, match=r"tactful\.db"):
        store.put_vectors("mini", {"a": np.ones(2, np.float32)})
