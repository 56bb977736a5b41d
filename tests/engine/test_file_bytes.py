"""SQLite files are looked into without letting go of SQLite's locks on them."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

from engine.store import open_store
from engine.store.file_bytes import CHUNK, FileBytes
from engine.store.side_file import SideFile

OPENS_AND_LEAVES = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("CREATE TABLE IF NOT EXISTS others (n INTEGER)")
db.execute("INSERT INTO others VALUES (1)")
db.close()
"""


def another_process_uses(path: Path) -> None:
    subprocess.run([sys.executable, "-c", OPENS_AND_LEAVES, str(path)], check=True, timeout=60)


def test_a_file_that_was_scrubbed_is_shared_with_other_processes_as_before(tmp_path: Path) -> None:
    path = tmp_path / "main.db"
    with closing(open_store(f"sqlite:///{path}")) as store:
        store.scrub([b"nowhere in it"])
        for _ in range(2):
            another_process_uses(path)
            assert path.with_name("main.db-wal").exists()  # whoever closes last removes it
            with store.reading() as db:
                assert db.execute("SELECT count(*) FROM others").fetchone()[0]
            with store.writing() as db:
                db.execute("INSERT INTO others VALUES (2)")


def test_a_side_file_that_was_checked_is_shared_with_other_processes_as_before(tmp_path: Path) -> None:
    path = tmp_path / "side.db"
    with (
        closing(SideFile(path, "CREATE TABLE kept (n INTEGER)")) as side,
        closing(SideFile(path, "")) as same,
    ):
        side.check()
        for _ in range(2):
            another_process_uses(path)
            assert path.with_name("side.db-wal").exists()
            side.check()
            assert same.rows("SELECT count(*) FROM others")[0][0]
            with side.writing() as db:
                db.execute("INSERT INTO others VALUES (2)")


def test_bytes_are_found_where_two_reads_meet_and_in_the_file_that_took_anothers_place(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (CHUNK - 2) + b"needle" + b"x" * 9)
    with closing(FileBytes(path)) as data:
        assert data.holds([b"absent", b"needle"]) and not data.holds([b"absent"])
        assert data.head(3) == b"xxx"
        (tmp_path / "other").write_bytes(b"absent")
        (tmp_path / "other").rename(path)
        assert data.holds([b"absent"]) and not data.holds([b"needle"])
