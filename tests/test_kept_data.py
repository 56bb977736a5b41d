"""What is kept is what the inventory lists: every table and column of a real database, no more and no less."""

import sqlite3
from pathlib import Path

import yaml

import privacy
from engine.store import open_store

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
