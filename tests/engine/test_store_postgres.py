"""What the PostgreSQL store does with its server: refuses what is not ours, outlives restarts, waits for its turn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace as with_
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

psycopg = pytest.importorskip("psycopg", reason="needs the extra 'postgres'")

from engine.change import Change  # noqa: E402 - after the skip
from engine.errors import StoreError  # noqa: E402
from engine.store import open_store, server_postgres  # noqa: E402
from engine.store.database import Room  # noqa: E402
from engine.store.postgres import PostgresStore  # noqa: E402
from engine.store.server_postgres import hold  # noqa: E402
from tests.engine.test_store import creative, facts, fill, ids, write  # noqa: E402
from tests.postgres import Server  # noqa: E402

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    with postgres.database() as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    store = PostgresStore(url)
    yield store
    store.close()


def sql(url: str, statement: str) -> list[tuple]:
    with psycopg.connect(url, autocommit=True) as db:
        cursor = db.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_a_newer_schema_is_refused_with_the_remedy(store: PostgresStore, url: str):
    sql(url, "UPDATE tactful_schema SET version = 999")
    with pytest.raises(StoreError, match="schema 999.*install the newer release"):
        open_store(url)


def test_an_older_schema_is_brought_forward_with_its_rows(store: PostgresStore, url: str, monkeypatch):
    fill(store)
    first = "ALTER TABLE creatives ADD note text; UPDATE creatives SET note = 'kept'"
    newer = (*server_postgres.MIGRATIONS, first)
    monkeypatch.setattr(server_postgres, "MIGRATIONS", newer)
    reopened = PostgresStore(url)
    assert (reopened.migrated_from, reopened.schema()) == (len(newer) - 1, len(newer))
    assert len(ids(reopened)) == 3
    reopened.close()
    assert sql(url, "SELECT DISTINCT note FROM creatives") == [("kept",)]


def test_a_migration_that_fails_leaves_the_older_schema(store: PostgresStore, url: str, monkeypatch):
    fill(store)
    newer = (
        *server_postgres.MIGRATIONS,
        "ALTER TABLE creatives ADD note text",
        "ALTER TABLE nowhere ADD x text",
    )
    monkeypatch.setattr(server_postgres, "MIGRATIONS", newer)
    with pytest.raises(StoreError, match="nowhere"):
        PostgresStore(url)
    monkeypatch.undo()
    again = PostgresStore(url)
    assert again.migrated_from == len(server_postgres.MIGRATIONS)
    again.close()


def test_another_programs_database_is_left_alone(url: str):
    sql(url, "CREATE TABLE theirs (x text)")
    with pytest.raises(StoreError, match="not Tactful's"):
        open_store(url)
    assert sql(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]


def test_two_installations_live_in_two_schemas_of_a_database(url: str):
    sql(url, "CREATE SCHEMA one; CREATE SCHEMA two")
    one, two = (PostgresStore(f"{url}&options=-csearch_path%3D{name}") for name in ("one", "two"))
    fill(one, 2)
    assert (len(ids(one)), ids(two)) == (2, [])
    locks = [store.writer_lock() for store in (one, two)]
    assert [lock.take() for lock in locks] == [True, True]
    for lock in locks:
        lock.release()
    one.close(), two.close()


def test_a_database_of_another_encoding_is_refused(postgres: Server):
    postgres.sql(
        "CREATE DATABASE narrow ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
    )
    try:
        with pytest.raises(StoreError, match="UTF8"):
            open_store(postgres.url("narrow"))
    finally:
        postgres.sql("DROP DATABASE narrow WITH (FORCE)")


@pytest.mark.parametrize("place", ["postgresql://no:secret@/x?host=/nowhere", "postgresql://u:secret@[/x"])
def test_a_server_that_is_not_there_is_named_without_its_password(place: str):
    with pytest.raises(StoreError) as told:
        open_store(place)
    assert "secret" not in str(told.value)


def test_ids_are_ordered_by_their_bytes_whatever_the_database_says(store: PostgresStore, url: str):
    fill(store, 0)
    names = ["a", "a-b", "a.b", "a_b", "ab", "b", "0"]
    write(store, *(Change(None, creative(name)) for name in names))
    assert sql(url, 'SELECT id FROM creatives ORDER BY id COLLATE "default"') != [
        (one,) for one in sorted(names)
    ]
    assert ids(store) == sorted(names)
    assert [one.id for one in store.page("creative", after="a-b")] == ["a.b", "a_b", "ab", "b"]


def test_a_restart_of_the_server_costs_nothing_but_a_try(store: PostgresStore, postgres: Server):
    fill(store)
    threads = [threading.Thread(target=store.versions) for _ in range(6)]  # several connections lie ready
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for how in (signal.SIGINT, signal.SIGQUIT):
        postgres.stop(how)
        postgres.start()
        assert len(ids(store)) == 3
        assert store.versions().catalog == 1
        store.put_vectors("mini", {"a": np.ones(2, np.float32)})
        assert store.settle("currency", "EUR") == "EUR"


def test_while_the_server_is_away_calls_fail_and_page_views_do_not_wait(
    store: PostgresStore, postgres: Server
):
    consents = store.consents(store.leaves(), os.urandom)
    postgres.stop()
    try:
        with pytest.raises(StoreError, match="cannot be read"):
            store.versions()
        with pytest.raises(StoreError, match="cannot be written"):
            store.settle("a", "b")
        start = time.monotonic()
        for _ in range(200):
            with pytest.raises(StoreError):
                consents.standing("planet", "s")
            with pytest.raises(StoreError):
                consents.use("planet", "j", "n", NOW, 9)
        assert time.monotonic() - start < 1
    finally:
        postgres.start()
    assert store.versions().catalog == 0  # whoever polls finds the server again, and so page views do
    assert consents.standing("planet", "s") is None


def test_a_page_view_does_not_wait_for_another_ones_lock(store: PostgresStore):
    consents = store.consents(store.leaves(), os.urandom)
    with store.writing() as db:
        db.execute("SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.jti.j', 0))")
        start = time.monotonic()
        with pytest.raises(StoreError):
            consents.use("planet", "j", "n", NOW + HOUR, 9)
        assert time.monotonic() - start < 1
        assert consents.use("planet", "other", "n", NOW + HOUR, 9)
    assert consents.use("planet", "j", "n", NOW + HOUR, 9)


def test_more_threads_than_connections_take_turns(store: PostgresStore, url: str):
    done = []

    def add(name: str) -> None:
        for number in range(5):
            store.put_pages([facts(f"{name}{number}")], NOW)
            done.append(store.last_page())

    threads = [threading.Thread(target=add, args=(f"t{n}-",)) for n in range(4 * server_postgres.CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 20 * server_postgres.CONNECTIONS
    sessions = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    assert len(sql(url, f"{sessions} AND application_name = 'tactful'")) <= server_postgres.CONNECTIONS


def test_page_facts_are_numbered_in_the_order_in_which_they_come_true(store: PostgresStore, url: str):
    """Whoever reads what comes after a number would otherwise miss what was numbered first and committed last."""
    other = PostgresStore(url)
    late = threading.Thread(target=other.put_pages, args=([facts("late")], NOW))
    with store.writing() as db:
        hold(db, Room.PAGES)
        early = msgspec.json.encode(with_(facts("early"), vector=None))
        insert = (
            "INSERT INTO pages (content_hash, encoder_id, facts, created) VALUES (%s, 'mini', %s, '2026')"
        )
        db.execute(insert, ("early", early))
        late.start()
        time.sleep(0.3)
        assert store.last_page() == 0
    late.join()
    assert [page.content_hash for _, page in other.pages_since(0)] == ["early", "late"]
    other.close()


ON_ANOTHER_MACHINE = """
import sys
from datetime import UTC, datetime, timedelta
from engine.errors import StoreError
from engine.store import open_store
store = open_store(sys.argv[1])
consents = store.consents(store.leaves(), lambda size: bytes(size))
until = datetime(2026, 11, 23, 13, tzinfo=UTC)
def used(nonce):
    while True:
        try:
            return consents.use("planet", "j", nonce, until, 50)
        except StoreError as error:  # a page does not wait for a busy machine; what was refused was not counted
            if "lock timeout" not in str(error):
                raise
print(sum(used(f"{sys.argv[2]}{n % 40}") for n in range(80)))
store.close()
"""


def test_a_token_shown_to_several_machines_at_once_is_good_so_often_and_no_more(
    store: PostgresStore, url: str
):
    command = [sys.executable, "-c", ON_ANOTHER_MACHINE, url]
    children = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        for name in "aab"
    ]
    counts = [int(child.communicate(timeout=60)[0]) for child in children]
    assert sum(counts) == 50
    assert sql(url, "SELECT count(*), count(DISTINCT nonce) FROM token_uses") == [(50, 50)]
    assert sql(url, "SELECT count(*) FROM uses_waiting") == [(50,)]


WRITES_UNTIL_KILLED = """
import sys
from datetime import UTC, datetime
from engine.change import Change
from engine.store import open_store
from tests.engine.test_store import creative
store = open_store(sys.argv[1])
n = 0
while True:
    batch = [Change(None, creative(f"k{n:05}-{i}")) for i in range(7)]
    store.write(batch, [], store.versions(), "test", datetime(2026, 11, 23, tzinfo=UTC))
    print(n, flush=True)
    n += 1
"""


@pytest.mark.parametrize("dies", ["writer", "server"])
def test_what_was_acknowledged_outlives_a_kill_and_nothing_comes_by_halves(store, url, postgres, dies):
    fill(store, 0)
    child = subprocess.Popen(
        [sys.executable, "-c", WRITES_UNTIL_KILLED, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    for _ in range(5):
        child.stdout.readline()
    if dies == "server":
        postgres.stop(signal.SIGQUIT)
        postgres.start()
    else:
        child.kill()
    rest = child.communicate(timeout=30)[0].split()
    acknowledged = int(rest[-1]) if rest else 4
    found = ids(store)
    batches = {id.partition("-")[0] for id in found}
    assert len(found) == 7 * len(batches)
    assert len(batches) in (acknowledged + 1, acknowledged + 2)
    write(store, Change(None, creative("next")))


def test_a_connection_is_not_shared_with_a_forked_process(store: PostgresStore):
    store.versions()
    child = os.fork()
    if child == 0:
        try:
            for _ in range(50):
                store.versions()
        except BaseException:
            os._exit(1)
        os._exit(0)
    for _ in range(50):
        store.versions()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
