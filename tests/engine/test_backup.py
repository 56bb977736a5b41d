"""What was backed up comes back whole, and never over something else by accident."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from engine.backup import backup, restore
from engine.campaign import Advertiser, Campaign
from engine.change import Change, Entity
from engine.cli import main
from engine.creative import Creative, Image
from engine.errors import StoreError
from engine.images import HostedImage
from engine.store import SqliteStore, open_store

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PICTURE = HostedImage("ab" * 32, "image/png", 4, 2, b"picture" * 9999)
LATE = Advertiser("late", "Late", ("late.example",))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    (tmp_path / "live").mkdir()
    store = open_store(f"sqlite:///{tmp_path}/live/tactful.db")
    entities: list[Entity] = [
        Advertiser("bikes", "Bikes", ("bikes.example",)),
        Campaign("ride", "bikes", "Ride", 5),
        Creative(
            "c",
            "ride",
            "native",
            "https://bikes.example/",
            headline="Hi",
            image=Image("x", hash=PICTURE.hash),
        ),
    ]
    store.write([Change(None, e) for e in entities], [PICTURE], store.versions(), "test", NOW)
    store.put_vectors("mini", {"h": np.ones(4, np.float32)})
    yield store
    store.close()


def damage(path: Path) -> None:
    """Overwrite the middle of a file."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 9000] = b"\xa5" * 9000
    path.write_bytes(data)


def test_a_backup_of_a_running_store_is_one_file_and_comes_back_whole(store: SqliteStore, tmp_path: Path):
    target = tmp_path / "backup.db"
    with store.read() as reader:
        next(reader.creatives())  # someone reads meanwhile
        backup(store, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.db", "live"]
    journal = store.journal()
    restore(target, tmp_path / "new.db")
    restored = open_store(f"sqlite:///{tmp_path}/new.db")
    assert restored.journal() == journal
    assert restored.find("creative", ["c"]) == store.find("creative", ["c"])
    assert restored.image(PICTURE.hash) == (PICTURE.data, "image/png")
    assert restored.vectors("mini", ["h"])["h"].tolist() == [1, 1, 1, 1]
    restored.close()


def test_backups_under_writes_hold_one_moment_each(store: SqliteStore, tmp_path: Path):
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            pair = [Advertiser(f"{side}{number}", "A", ("a.example",)) for side in ("left", "right")]
            store.write([Change(None, one) for one in pair], [], store.versions(), "test", NOW)

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    try:
        for number in range(5):
            backup(store, tmp_path / f"{number}.db")
            restore(tmp_path / f"{number}.db", tmp_path / f"{number}-restored.db")
            copy = SqliteStore(tmp_path / f"{number}-restored.db")
            with copy.read() as reader:
                ids = {one.id for batch in reader.advertisers() for one in batch}
            copy.close()
            left, right = (
                {id.removeprefix(side) for id in ids if id.startswith(side)} for side in ("left", "right")
            )
            assert left == right
            seen.add(len(ids))
    finally:
        stop.set()
        writer.join()
    assert len(seen) > 1  # there were writes between


@pytest.mark.parametrize("command", ["backup", "load"])
def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    store: SqliteStore, tmp_path: Path, command: str
):
    file = tmp_path / "catalogue.ndjson"
    with file.open("w") as lines:
        for number in range(9000):
            lines.write(
                f'{{"kind":"advertiser","id":"n{number}","name":"{"N" * 100}","domains":["n{number}.example"]}}\n'
            )
    words = ["backup", str(tmp_path / "backup.db")] if command == "backup" else ["load", str(file)]
    (tmp_path / "keys").mkdir(mode=0o700)
    environ = {"TACTFUL_DATA_DIR": str(store.path.parent), "TACTFUL_KEY_DIR": str(tmp_path / "keys")}
    before = store.versions()

    def run(most: int) -> subprocess.CompletedProcess[str]:
        script = (
            "import resource, sys; from engine.cli import main;"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most})); main(sys.argv[1:])"
        )
        return subprocess.run(
            [sys.executable, "-c", script, *words], env=os.environ | environ, text=True, capture_output=True
        )

    told = run(200_000)
    assert told.returncode == 3, told
    assert ("room" if command == "backup" else "too large") in told.stderr
    assert not (tmp_path / "backup.db").exists()
    assert not [path for path in tmp_path.rglob(".tactful-*")]
    assert store.versions() == before
    assert run(2**40).returncode == 0


def test_nothing_is_overwritten_without_force(store: SqliteStore, tmp_path: Path):
    target = tmp_path / "backup.db"
    target.write_text("precious")
    with pytest.raises(StoreError, match="exists already"):
        backup(store, target)
    assert target.read_text() == "precious"
    backup(store, target, force=True)
    store.write([Change(None, LATE)], [], store.versions(), "test", NOW)
    store.close()
    with pytest.raises(StoreError, match="exists already"):
        restore(target, store.path)
    assert open_store(f"sqlite:///{store.path}").find("advertiser", ["late"])


def test_a_restored_store_is_newer_than_the_one_it_replaces(store: SqliteStore, tmp_path: Path):
    backup(store, tmp_path / "backup.db")
    store.write([Change(None, LATE)], [], store.versions(), "test", NOW)
    former = store.versions()
    store.close()
    restore(tmp_path / "backup.db", store.path, force=True)
    restored = open_store(f"sqlite:///{store.path}")
    assert restored.find("advertiser", ["late", "bikes"]).keys() == {"bikes"}
    assert all(new > old for new, old in zip(restored.versions(), former, strict=True))
    restored.close()


def test_a_store_in_use_is_not_replaced(store: SqliteStore, tmp_path: Path):
    backup(store, tmp_path / "backup.db")
    with pytest.raises(StoreError, match="stop it first"):
        restore(tmp_path / "backup.db", store.path, force=True)
    store.write([Change(None, LATE)], [], store.versions(), "test", NOW)  # and works on


def test_a_damaged_backup_is_refused_and_the_store_stays(store: SqliteStore, tmp_path: Path):
    backup(store, tmp_path / "backup.db")
    damage(tmp_path / "backup.db")
    store.close()
    before = store.path.read_bytes()
    with pytest.raises(StoreError, match=r"backup\.db"):
        restore(tmp_path / "backup.db", store.path, force=True)
    assert store.path.read_bytes() == before
    assert [path.name for path in store.path.parent.iterdir()] == ["tactful.db"]


def test_a_backup_with_any_byte_changed_or_gone_is_refused_and_the_store_stays(
    store: SqliteStore, tmp_path: Path
):
    whole, copy = tmp_path / "backup.db", tmp_path / "damaged.db"
    backup(store, whole)
    store.close()
    before, data = store.path.read_bytes(), whole.read_bytes()
    places = {
        *range(100),
        *range(100, len(data), 4999),
        *range(len(data) - 120, len(data)),
    }  # header, pages, line
    faulty = [data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] for place in sorted(places)]
    for damaged in (*faulty, data[:-1], data + b"\n", data[:-4096], data[:50]):
        copy.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"damaged\.db: damaged"):
            restore(copy, store.path, force=True)
    assert store.path.read_bytes() == before
    assert restore(whole, store.path, force=True)


def test_a_backup_of_an_earlier_release_comes_back_and_that_it_has_no_checksum_is_said(
    store: SqliteStore, tmp_path: Path
):
    backup(store, tmp_path / "new.db")
    with (tmp_path / "new.db").open("rb") as file:
        pages = file.read().rpartition(b"\nsha256 of all before this line: ")[0]
    (tmp_path / "old.db").write_bytes(pages)
    (tmp_path / "keys").mkdir(mode=0o700)
    store.close()
    environ = {"TACTFUL_DATA_DIR": str(store.path.parent), "TACTFUL_KEY_DIR": str(tmp_path / "keys")}

    def told(name: str) -> str:
        run = CliRunner().invoke(main, ["restore", str(tmp_path / name), "--force"], env=environ)
        assert run.exit_code == 0, run.output
        return run.output

    assert "without a checksum" in told("old.db")
    assert "without a checksum" not in told("new.db")


def test_a_damaged_store_is_not_backed_up_as_if_it_were_whole(store: SqliteStore, tmp_path: Path):
    store.close()
    damage(store.path)
    with pytest.raises(StoreError):
        backup(SqliteStore(store.path), tmp_path / "backup.db")
    assert not (tmp_path / "backup.db").exists()


def test_a_damaged_store_is_replaced(store: SqliteStore, tmp_path: Path):
    backup(store, tmp_path / "backup.db")
    store.close()
    store.path.write_bytes(b"\xa5" * 20_000)
    restore(tmp_path / "backup.db", store.path, force=True)
    restored = open_store(f"sqlite:///{store.path}")
    assert restored.find("campaign", ["ride"])
    restored.close()


def test_what_is_no_backup_is_refused(tmp_path: Path):
    (tmp_path / "text.db").write_text("not a database " * 99)
    (tmp_path / "empty.db").write_bytes(b"")
    for name in ("text.db", "empty.db", "none.db"):
        with pytest.raises(StoreError):
            restore(tmp_path / name, tmp_path / "new.db")
        assert not (tmp_path / "new.db").exists()


def test_a_folder_that_is_not_there_is_named(store: SqliteStore, tmp_path: Path):
    with pytest.raises(StoreError, match="does not exist"):
        backup(store, tmp_path / "no" / "backup.db")
