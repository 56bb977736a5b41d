"""What is kept is what the inventory lists: every table and column of a real database, no more and no less."""

import sqlite3
from pathlib import Path

import yaml

import privacy
from engine.store import open_store
from engine.store.subjects_sqlite import SqliteSubjectKeys
from tests.world import NOW

INVENTORY = yaml.safe_load((Path(privacy.__file__).parent / "inventory.yaml").read_text("utf-8"))


def test_the_database_keeps_what_the_inventory_lists(tmp_path):
    path = tmp_path / "kept.db"
    open_store(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        kept = {
            table: [column[1] for column in db.execute(f"PRAGMA table_info({table})")]
            for table in tables
            if not table.startswith("sqlite_")
        }
    db.close()
    assert kept == {table: entry["columns"] for table, entry in INVENTORY["kept"].items()}


def test_the_file_of_subjects_keys_keeps_what_the_inventory_lists(tmp_path):
    path = tmp_path / "subjects.db"
    SqliteSubjectKeys(path, now=lambda: NOW, random_bytes=bytes).close()
    with sqlite3.connect(path) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        kept = {
            table: [column[1] for column in db.execute(f"PRAGMA table_info({table})")] for table in tables
        }
    db.close()
    assert kept == INVENTORY["keys"]["subjects.db"]["columns"]
