"""Connections to SQLite: they stay few, however many threads come and go, and a writer sees what it wrote."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.store.file_sqlite import SqliteFile
from engine.store.side_file import SideFile

SCHEMA = "CREATE TABLE kept (number INTEGER)"


@pytest.fixture(params=["main", "side"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteFile | SideFile]:
    path = tmp_path / "kept.db"
    file = SideFile(path, SCHEMA) if request.param == "side" else SqliteFile(path)
    if isinstance(file, SqliteFile):
        with file.writing() as db:
            db.execute(SCHEMA)
    yield file
    file.close()


def open_files(path: Path) -> int:
    """Return how many descriptors this process has on a file."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}") == str(path)
        except FileNotFoundError:
            continue
    return found


def in_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux tells them")
def test_threads_that_end_leave_no_connection_behind(file):
    before = open_files(file.path)
    for _ in range(20):
        in_a_thread(lambda: file.rows("SELECT count(*) FROM kept"))
    assert open_files(file.path) == before


def test_a_writer_reads_what_it_wrote_and_nobody_else_does(file):
    seen = []
    with file.writing() as db:
        db.execute("INSERT INTO kept VALUES (1)")
        assert file.rows("SELECT number FROM kept") == [(1,)]
        in_a_thread(lambda: seen.append(file.rows("SELECT number FROM kept")))
    assert seen == [[]]
    assert file.rows("SELECT number FROM kept") == [(1,)]


def test_a_write_that_fails_leaves_its_connection_fit_for_others(file):
    with pytest.raises(RuntimeError), file.writing() as db:
        db.execute("INSERT INTO kept VALUES (1)")
        raise RuntimeError
    with file.writing() as db:
        db.execute("INSERT INTO kept VALUES (2)")
    assert file.rows("SELECT number FROM kept") == [(2,)]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_process_uses_no_connection_of_its_parent(file):
    with file.writing() as db:
        db.execute("INSERT INTO kept VALUES (1)")
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(write, b"%d" % len(file.rows("SELECT number FROM kept")))
            os._exit(0)
        assert os.read(read, 1) == b"0"  # what the parent has not committed
        os.waitpid(pid, 0)
    os.close(read)
    os.close(write)
