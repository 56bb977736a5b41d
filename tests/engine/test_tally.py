"""Counts before noise: on DuckDB and on a PostgreSQL server, equal to a slow twin that looks at each view alone."""

from collections import Counter

import psycopg
import pytest

from engine.errors import ReportError
from engine.events import Row
from engine.report_keys import topics
from engine.store import reports_sqlite
from engine.store.reports_sqlite import SqliteReportRows
from engine.tally import COLUMNS, DECIDED_COLUMNS, DuckTally, EngineTally
from privacy.workload import CONSENTED, SLOTS, TABLES
from tests.engine.report_world import DAY, ReportWorld, decisions, truth, views

ROWS = [*views(400, unruly=True), *views(100, seed=2), *views(50, DAY - 1)]
ASKED = list(decisions(ROWS))
EVERY = (*TABLES, *CONSENTED)
TYPES = {"binary": "bytea", "int64": "bigint", "string": "text"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = ReportWorld(tmp_path_factory.mktemp("world"))
    world.add(ROWS, ASKED)
    yield world
    world.store.close()


def without_zeros(counts):
    return {name: {key: n for key, n in cells.items() if n} for name, cells in counts.items()}


def test_the_embedded_store_is_counted_like_the_slow_twin(world):
    counted = dict(DuckTally(SqliteReportRows(world.store), topics())(DAY, EVERY))
    assert without_zeros(counted) == without_zeros(truth(ROWS, DAY, EVERY, ASKED))
    assert counted["placements"]["planet", "sport", "unfilled"] > 0
    assert all(counted[table.name] for table in EVERY)


def test_a_postgresql_server_counts_the_same_by_the_same_expression(postgres):
    with postgres.database() as url:
        with psycopg.connect(url) as db:
            for name, held, rows in (("events", COLUMNS, ROWS), ("decided", DECIDED_COLUMNS, ASKED)):
                columns = ", ".join(f"{name} {TYPES[kind]}" for name, kind in held.items())
                db.execute(f"CREATE TABLE {name} ({columns})")
                marks = ", ".join(["%s"] * len(held))
                told = [tuple(row._asdict()[name] for name in held) for row in rows]
                db.cursor().executemany(f"INSERT INTO {name} VALUES ({marks})", told)
        for day in (DAY, DAY - 1):
            counted = dict(EngineTally(url, topics())(day, EVERY))
            assert without_zeros(counted) == without_zeros(truth(ROWS, day, EVERY, ASKED))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_no_page_view_whatever_changes_a_table_by_more_than_its_l1(table):
    """Of the counts each view has a share, and all lose just that with it: what the noise was made for."""

    def counts(rows):
        told = truth(rows, DAY, [table], decisions(rows))[table.name]
        return Counter({key: n for key, n in told.items() if n})

    by_view = {}
    for row in ROWS:
        by_view.setdefault(row.view, []).append(row)
    shares = {view: counts(rows) for view, rows in by_view.items()}
    whole = Counter()
    for share in shares.values():
        whole.update(share)
    assert {key: n for key, n in whole.items() if n} == counts(ROWS)
    for view in list(by_view)[::25]:
        rest = whole.copy()
        rest.subtract(shares[view])
        assert {key: n for key, n in rest.items() if n} == counts([row for row in ROWS if row.view != view])
    assert 0 < max(sum(map(abs, share.values())) for share in shares.values()) <= table.l1


def test_a_day_without_events_counts_nothing(world):
    counted = dict(DuckTally(SqliteReportRows(world.store), topics())(DAY - 20, TABLES))
    assert counted == {table.name: {} for table in TABLES}


def test_an_engine_that_is_not_there_is_told_of_without_its_address():
    with pytest.raises(ReportError) as told:
        dict(EngineTally("postgresql://somebody:secret@127.0.0.1:1/nothing", topics())(DAY, TABLES))
    assert "secret" not in str(told.value)


def test_the_rows_of_the_test_break_every_rule_that_is_enforced():
    assert any(row.slot >= SLOTS for row in ROWS)
    assert any(row.ivt == 1 for row in ROWS)
    clicks = [row.view for row in ROWS if row.kind == "click"]
    assert len(clicks) > len(set(clicks))
    assert tuple(name for name in Row._fields if name in COLUMNS) == tuple(COLUMNS)


def test_a_day_is_read_in_blocks_without_a_row_lost_or_read_twice(world, monkeypatch):
    monkeypatch.setattr(reports_sqlite, "_DAY", reports_sqlite._DAY.replace(str(reports_sqlite.BATCH), "7"))
    counted = dict(DuckTally(SqliteReportRows(world.store), topics())(DAY, EVERY))
    assert without_zeros(counted) == without_zeros(truth(ROWS, DAY, EVERY, ASKED))


def test_a_kept_event_that_is_damaged_is_told_of_and_nothing_is_counted(tmp_path):
    other = ReportWorld(tmp_path)
    (row,) = [row for row in views(1) if row.slot == 0 and row.kind == "impression"]
    other.add([row, row._replace(slot=1, section="sport\nplanet")])
    with pytest.raises(ReportError, match="cannot be read"):
        dict(DuckTally(SqliteReportRows(other.store), topics())(DAY, TABLES))
    other.store.close()


def test_each_table_is_told_before_the_next_is_counted(world):
    counted = DuckTally(SqliteReportRows(world.store), topics())(DAY, TABLES)
    names = [next(counted)[0], next(counted)[0]]
    counted.close()
    assert names == [table.name for table in TABLES[:2]]
