"""Reports of an installation that moved to PostgreSQL: released rows byte for byte, and equal counts before noise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from werkzeug.test import Client

from engine.backup import copy_store
from engine.config import Config
from engine.keys import KeyTable, create_key
from engine.release_apart import release
from engine.releases import start_of
from engine.report_keys import keys_of, topics
from engine.reporting import Reporting
from engine.store import open_store
from engine.web.app import create_reports_app
from privacy.release import period_of, query_of
from privacy.workload import TABLES
from tests.engine.report_world import DAY, NOW, TODAY, ReportWorld, decisions, truth, views
from tests.postgres import Server

DAILY = [one for one in TABLES if one.days == 1]


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    with postgres.database() as url:
        yield url


def test_released_rows_are_the_same_bytes_and_counts_before_noise_are_equal(tmp_path: Path, url: str):
    config = Config(data_dir=tmp_path / "data", key_dir=tmp_path / "keys")
    config.key_dir.mkdir()
    world = ReportWorld(tmp_path)
    rows = [*views(400, unruly=True), *views(60, seed=2), *views(60, TODAY)]
    asked = list(decisions(rows))
    world.add(rows, asked)
    leaves = world.store.leaves()
    reporting = Reporting(config, world.store, leaves, lambda: NOW)
    done = reporting.releases.release(DAY)
    assert len(done.released) == len(DAILY)
    world.store.close()
    copy_store(f"sqlite:///{world.store.path}", url)

    with closing(open_store(url)) as moved:
        again = Reporting(config, moved, moved.leaves(), lambda: NOW)
        for table in DAILY:
            query = query_of(table, period_of(table, DAY)[0])
            body = reporting.budget.kept(query)
            assert body is not None and again.budget.kept(query) == body
        assert not again.releases.release(DAY).released
        key = create_key(moved, "operator", None, "test", NOW, lambda size: b"k" * size)
        keys = KeyTable(moved.keys())
        served = [Client(create_reports_app(config, one, keys, lambda: NOW)) for one in (reporting, again)]
        for report in ("creatives", "contexts", "topics", "moments"):
            for form in ("", "/csv", "/parquet"):
                path = f"/v1/reports/{report}{form}?from={start_of(DAY).date().isoformat()}"
                first, second = (one.get(path, headers={"Authorization": f"Bearer {key}"}) for one in served)
                assert first.status_code == 200 and first.data == second.data, first.text
        here, there = (store.reports() for store in (world.store, moved))
        for day in (DAY, TODAY):
            counts = dict(there.tally(topics())(day, TABLES))
            assert counts == dict(here.tally(topics())(day, TABLES))
            true = truth(rows, day, TABLES, asked)
            assert {name: {k: n for k, n in cells.items() if n} for name, cells in counts.items()} == {
                name: {k: n for k, n in cells.items() if n} for name, cells in true.items()
            }
        start = start_of(DAY)
        assert keys_of(there, start, start_of(TODAY)) == keys_of(here, start, start_of(TODAY))

        # The next day is released there, by the process that does so beside the service.
        spent = again.budget.spent
        moved.settle("reports_from", (NOW - timedelta(days=1)).date().isoformat())
        release(
            Config(data_dir=tmp_path / "data", key_dir=config.key_dir, store=url), NOW + timedelta(days=1)
        )
        for table in DAILY:
            assert again.budget.kept(query_of(table, period_of(table, TODAY)[0])) is not None
        assert spent(f"page-views/{(NOW.date()).isoformat()}") > 0
    world.store.close()
