"""What ranking learns from: released tables by default; exact ones only where the setting and the log say so."""

import json
from dataclasses import replace

import pytest

from engine.config import CONSENT_SETTINGS, Config
from engine.consent_log import consent_settings
from engine.learn.diet import FACETS
from engine.log_record import record_state
from engine.reporting import Reporting
from engine.store.log_sqlite import SqliteLeaves
from privacy.rejudge import POLICY
from privacy.workload import TABLES, table
from tests.engine.report_world import DAY, NOW, ReportWorld, truth, views


@pytest.fixture
def reporting(tmp_path):
    world = ReportWorld(tmp_path)
    rows = [*views(300), *views(300, DAY - 1)]
    world.add(rows)
    made = {
        counts: Reporting(
            Config(data_dir=tmp_path, key_dir=tmp_path, learner_counts=counts),
            world.store,
            SqliteLeaves(world.store),
            lambda: NOW,
        )
        for counts in ("released", "exact")
    }
    for day in (DAY - 1, DAY):
        made["released"].releases.release(day)
    yield made, rows
    world.store.close()


@pytest.mark.parametrize("facet", FACETS)
@pytest.mark.parametrize("kind", ["impressions", "clicks"])
def test_the_diet_is_the_sum_of_released_tables_with_its_noise_stated(reporting, facet, kind):
    made, _ = reporting
    wanted = table(f"component-{facet}-{kind}")
    cells = {(c.creative, c.part, c.value): c for c in made["released"].diet().cells(facet, kind, 2)}
    days = [made["released"].released.table(wanted, day).by_key for day in (DAY - 1, DAY)]
    assert {key: cell.count for key, cell in cells.items()} == {
        key: days[0][key] + days[1][key] for key in days[0]
    }
    scale = wanted.noise().scale
    assert all(cell.variance == pytest.approx(4 * scale**2) for cell in cells.values())


def test_days_without_a_release_are_left_out(reporting):
    made, _ = reporting
    diet = made["released"].diet()
    assert {c.variance for c in diet.cells("part", "clicks", 30)} == {
        c.variance for c in diet.cells("part", "clicks", 2)
    }


def test_exact_counts_are_the_truth_and_off(reporting):
    made, rows = reporting
    assert Config().learner_counts == "released"
    wanted = table("component-part-impressions")
    true = truth(rows, DAY, [wanted])[wanted.name]
    cells = {(c.creative, c.part, c.value): c for c in made["exact"].diet().cells("part", "impressions", 1)}
    assert {key: cell.count for key, cell in cells.items() if cell.count} == true
    assert {cell.variance for cell in cells.values()} == {0.0}


def test_switching_exact_counts_on_is_an_entry_in_the_log(tmp_path):
    world = ReportWorld(tmp_path)
    leaves, config = SqliteLeaves(world.store), Config()
    assert "learner_counts" in CONSENT_SETTINGS
    for settings in (config, config, replace(config, learner_counts="exact")):
        record_state(world.store, leaves, (), consent_settings(settings), POLICY, NOW)
    told = [json.loads(leaf) for leaf in leaves.read(0, leaves.count())]
    changes = [leaf["data"]["learner_counts"] for leaf in told if leaf["type"] == "config.change"]
    assert changes == ["released", "exact"]
    world.store.close()


def test_only_learner_tables_are_in_the_diet(reporting):
    made, _ = reporting
    with pytest.raises(KeyError):
        list(made["released"].diet().cells("campaign", "impressions", 1))
    assert {t.name for t in TABLES if t.use == "learner"} == {
        f"component-{facet}{kind}"
        for facet in ("", *(f"{f}-" for f in FACETS))
        for kind in ("impressions", "clicks")
    }


def test_older_days_weigh_less_and_so_does_their_noise(reporting):
    made, _ = reporting
    wanted = table("component-clicks")
    days = [made["released"].released.table(wanted, day).by_key for day in (DAY - 1, DAY)]
    for cell in made["released"].diet().cells(None, "clicks", 2, half_life=1.0):
        key = (cell.creative, cell.part)
        assert cell.count == days[0][key] / 2 + days[1][key] and cell.value == ""
        assert cell.variance == pytest.approx(2 * wanted.noise().scale ** 2 * 1.25, rel=0.01)
