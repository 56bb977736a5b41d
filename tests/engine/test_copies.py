"""An installation moves from one kind of store to the other, and back, with all that it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner, Result

from engine.backup import backup, copy_store, restore, restore_into
from engine.campaign import Advertiser
from engine.change import Approval, Change, content_hash
from engine.cli import main
from engine.config import Config
from engine.creative import Image
from engine.errors import StoreError
from engine.events import Asked
from engine.keys import create_key
from engine.money import Caps, Entry, Use
from engine.prove.erasure import prove_erasure
from engine.prove.log import prove_log
from engine.store import open_store
from engine.store.copy_sqlite import CARRIED
from engine.store.schema_postgres import MIGRATIONS
from privacy.budget import Charge, QueryId
from privacy.errors import BudgetSpent
from tests.engine.log_world import LogWorld
from tests.engine.test_event_stores import LET_GO, TODAY, event
from tests.engine.test_store import PICTURE, creative, facts, fill, write
from tests.postgres import Server
from tests.rights import SUB, Desk

if TYPE_CHECKING:
    from engine.store import Store

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATE = Advertiser("late", "Late", ("late.example",))


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    with postgres.database() as url:
        yield url


def rows(store: Store) -> dict[str, list[tuple]]:
    """Give every row of every table, those without an order sorted."""
    with store.dump() as tables:
        return {one.table: sorted(map(repr, map(list, one.rows))) for one in tables}


def use_everything(desk: Desk) -> None:
    """Leave something in every table."""
    store = desk.store
    fill(store, 3)
    shown = creative("p", image=Image(alt="x", hash=PICTURE.hash, w=4, h=2))
    gone = creative("gone", image=shown.image)
    write(store, Change(None, shown), Change(None, gone), images=(PICTURE,))
    write(store, Change(creative("c000001"), None), Change(gone, None))
    store.approve([Approval("daily", "p", "approved")], {"p": content_hash(shown)}, "test", NOW)
    create_key(store, "operator", None, "test", NOW, desk.chance)
    store.put_vectors("mini", {"h": np.ones(4, np.float32)})
    store.put_pages([facts("a"), facts("b", vector=None)], NOW)
    store.put_page_urls([("daily", "u", "a")], NOW)
    desk.grant(), desk.grant(None)
    desk.consents.withdraw("planet", SUB, "link")
    consents = desk.consents.store
    consents.use("planet", "j", "n", NOW + timedelta(days=1), 9)
    store.uses(desk.leaves, desk.chance).batch(NOW)
    consents.use("planet", "j", "m", NOW + timedelta(days=1), 9)
    consents.erase(
        "planet",
        desk.consents.subject_of("planet", desk.grant(None).sub),
        lambda: "e" * 32,
        lambda n: b"{}",
        NOW,
    )
    books, today = store.money(), TODAY
    books.set_caps({"spring": Caps(10**6, None)})
    store.events().keep([event(1, price=7), event(2, "click", price=9)], [Asked(today, "planet", "s", 2, 1)])
    store.events().put_conversions("spring", [(today, 3)])
    books.lease("w", [Use("spring", today, {(today, LET_GO): 40}, 100, 10)], NOW)
    books.refund(Entry("r", NOW, "test", "refund", "spring", today, 5), today, today)
    ledger = store.budget(desk.folder / "mark", desk.leaves, lambda: NOW)
    store.put_policy("f" * 16, b"{}", NOW)
    store.act("challenge", "f" * 16, "test", NOW)
    ledger.spend(QueryId("q"), [Charge("a", 5, 10)], lambda: b"told")


@pytest.fixture
def desk(tmp_path: Path, setting: str | None) -> Iterator[Desk]:
    desk = Desk(tmp_path, setting=setting)
    use_everything(desk)
    yield desk
    desk.close()


def test_both_stores_have_the_same_tables_and_columns(tmp_path: Path, url: str):
    shapes = []
    for store in (open_store(f"sqlite:///{tmp_path}/a.db"), open_store(url)):
        with closing(store), store.dump() as tables:
            shapes.append({one.table: one.columns for one in tables})
    assert shapes[0] == shapes[1]


def test_a_copy_holds_every_row_and_can_be_worked_with(desk: Desk, tmp_path: Path, postgres: Server):
    there = rows(desk.store)
    assert [table for table, found in there.items() if not found] == []
    with postgres.database() as second:
        for target in (f"sqlite:///{tmp_path}/copy.db", second):
            desk.store.close()
            copy_store(desk.config.store_url, target)
            with closing(open_store(target)) as copy:
                assert rows(copy) == there
                seen = copy.last_page()
                copy.put_pages([facts("new")], NOW)
                write(copy, Change(None, creative("new")))
                assert copy.last_page() > seen
                assert copy.journal()[-1][4] == "new"


def test_a_copy_goes_into_nothing_but_an_empty_store_that_nobody_uses(desk: Desk, tmp_path: Path):
    other = f"sqlite:///{tmp_path}/copy.db"
    with closing(open_store(other)) as copy:
        with pytest.raises(StoreError, match="stop it first"):
            desk.store.close()
            copy_store(desk.config.store_url, other)
        copy.settle("currency", "EUR")
    with pytest.raises(StoreError, match="not empty"):
        copy_store(desk.config.store_url, other)
    with pytest.raises(StoreError, match="no such store"):
        copy_store(f"sqlite:///{tmp_path}/nowhere.db", other)


def test_a_database_that_others_have_open_is_neither_copied_nor_replaced(tmp_path: Path, url: str):
    with closing(open_store(url)) as store:
        backup(store, tmp_path / "backup.db")
        with pytest.raises(StoreError, match="stop it first"):
            copy_store(url, f"sqlite:///{tmp_path}/copy.db")
        with pytest.raises(StoreError, match="stop it first"):
            restore_into(tmp_path / "backup.db", url, force=True)
    with (
        closing(open_store(url)) as alone,
        alone.alone(),
        pytest.raises(StoreError, match="restored or copied"),
    ):
        open_store(url)
    copy_store(url, f"sqlite:///{tmp_path}/copy.db")


def test_a_backup_comes_back_into_either_kind(desk: Desk, tmp_path: Path, postgres: Server):
    backup(desk.store, tmp_path / "backup.db")
    there = rows(desk.store)
    moved = there.pop("versions")
    restore(tmp_path / "backup.db", tmp_path / "new.db")
    with postgres.database() as second:
        restore_into(tmp_path / "backup.db", second)
        with pytest.raises(StoreError, match="holds a store already"):
            restore_into(tmp_path / "backup.db", second)
        for url in (f"sqlite:///{tmp_path}/new.db", second):
            with closing(open_store(url)) as restored:
                found = rows(restored)
                assert found.pop("versions") != moved  # newer than all that were seen
                assert found == there


def test_a_restore_takes_back_the_catalogue_but_no_consent_log_or_ledger(tmp_path: Path, url: str):
    desk = Desk(tmp_path, setting=url)
    use_everything(desk)
    backup(desk.store, tmp_path / "old.db")
    former = desk.store.versions()
    write(desk.store, Change(None, LATE))
    kept = desk.grant(None)
    desk.consents.erase("planet", SUB)
    desk.store.events().keep([event(3, price=70)])
    desk.store.money().refund(Entry("s", NOW, "test", "refund", "spring", TODAY, 60), TODAY, TODAY)
    desk.store.budget(tmp_path / "mark", desk.leaves, lambda: NOW).spend(
        QueryId("r"), [Charge("a", 5, 10)], lambda: b"more"
    )
    after = rows(desk.store)
    desk.close()
    restore_into(tmp_path / "old.db", url, force=True)
    again = Desk(tmp_path, setting=url, seed="again")
    found = rows(again.store)
    for table in CARRIED:
        assert found[table] == after[table]
    booked = again.store.money().billed("spring", TODAY, TODAY)
    assert (booked.events, booked.micros, booked.refunded) == (3, 86, 65)
    assert again.store.money().faults(TODAY) == []
    assert again.store.events().keep([event(3, price=70)]).new == 0
    assert again.store.find("advertiser", ["late"]) == {}
    assert all(new > old for new, old in zip(again.store.versions(), former, strict=True))
    assert again.standing() is None and again.standing(kept.sub).state == "ConsentGiven"
    (tmp_path / "mark").unlink()
    ledger = again.store.budget(tmp_path / "mark", again.leaves, lambda: NOW)
    with pytest.raises(BudgetSpent):
        ledger.spend(QueryId("s"), [Charge("a", 1, 10)], lambda: b"too much")
    again.close()


def test_a_backup_of_another_log_is_not_restored_over_this_one(tmp_path: Path, url: str):
    other = Desk(tmp_path, seed="other")
    other.grant()
    backup(other.store, tmp_path / "other.db")
    other.close()
    (tmp_path / "b").mkdir()
    desk = Desk(tmp_path / "b", setting=url)
    desk.grant()
    before = rows(desk.store)
    desk.close()
    with pytest.raises(StoreError, match="not that of the backup"):
        restore_into(tmp_path / "other.db", url, force=True)
    with closing(open_store(url)) as store:
        assert rows(store) == before


def test_a_table_that_the_other_release_lacks_is_not_lost_silently(tmp_path: Path, url: str):
    import sqlite3

    open_store(f"sqlite:///{tmp_path}/a.db").close()
    db = sqlite3.connect(tmp_path / "a.db")
    db.execute("CREATE TABLE news (x TEXT)")
    db.execute("INSERT INTO news VALUES ('kept')")
    db.commit(), db.close()
    with pytest.raises(StoreError, match="news is not of this release"):
        copy_store(f"sqlite:///{tmp_path}/a.db", url)
    with closing(open_store(url)) as store:
        assert store.versions() == (0, 0, 0)


def test_the_commands_move_an_installation(tmp_path: Path, url: str):
    config = Config(data_dir=tmp_path / "data", key_dir=tmp_path / "keys")
    file = {"TACTFUL_DATA_DIR": str(config.data_dir), "TACTFUL_KEY_DIR": str(config.key_dir)}

    def run(*words: str, **more: str) -> Result:
        return CliRunner().invoke(main, words, env=file | more)

    assert run("init").exit_code == 0
    assert run("upgrade").output.endswith("nothing to do\n")
    assert run("copy-store", config.store_url, url).exit_code == 0
    assert run("keys", "list", TACTFUL_STORE=url).output == run("keys", "list").output
    assert run("upgrade", TACTFUL_STORE=url).output == f"schema {len(MIGRATIONS)}: nothing to do\n"
    assert run("backup", str(tmp_path / "b.db"), TACTFUL_STORE=url).exit_code == 0
    again = run("restore", str(tmp_path / "b.db"), TACTFUL_STORE=url)
    assert again.exit_code == 3 and "force" in again.stderr
    assert run("restore", str(tmp_path / "b.db"), "--force", TACTFUL_STORE=url).exit_code == 0
    assert "An operator's key exists already" in run("init", TACTFUL_STORE=url).output
    shown = run("config", "show", TACTFUL_STORE="postgresql://u:secret@h/d").output
    assert "secret@" not in shown and "(secret)" in shown
    refused = run("upgrade", TACTFUL_STORE="mysql://u:secret@h/d")
    assert refused.exit_code == 2 and "postgresql://" in refused.stderr and "secret@" not in refused.stderr
    refused = run("serve", "--store", "sqlite:///x.db")
    assert refused.exit_code == 2 and "postgresql://" in refused.stderr


def test_the_proofs_are_made_on_copies_of_a_database(tmp_path: Path, url: str):
    world = LogWorld(tmp_path, setting=url)
    world.log.step()
    world.append(3)
    world.later(60)
    world.log.step()
    count = world.leaves.count()
    told = prove_log(world.config, world.time + timedelta(seconds=30))
    assert (told.faults, told.entries) == ((), count)
    verdict = prove_erasure(world.config)
    assert verdict.holds, verdict.plain()
    assert world.leaves.count() == count
    world.close()
