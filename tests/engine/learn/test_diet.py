"""What ranking learns from: released tables by default; exact ones only where the setting and the log say so."""

import json
from dataclasses import replace

import pytest

from engine.config import CONSENT_SETTINGS, Config
from engine.consent_log import consent_settings
from engine.learn.diet import FACETS
from engine.log_record import record_state
from engine.reporting import Reporting
from engine.store.leaves import KeptLeaves
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
            KeptLeaves(world.store),
            lambda: NOW,
        )
        for counts in ("released", "exact")
    }
    for day in (DAY - 1, DAY):
        made["released"].releases.release(day)
    yield made, rows
    world.store.close()


def cells(sheet):
    named = {}
    for component, row in zip(sheet.components, sheet.counts.tolist(), strict=True):
        named |= {(*component, value): n for value, n in zip(sheet.values, row, strict=True)}
    return named


@pytest.mark.parametrize("facet", FACETS)
@pytest.mark.parametrize("kind", ["impressions", "clicks"])
def test_the_diet_is_the_released_tables_with_their_noise_stated(reporting, facet, kind):
    made, _ = reporting
    wanted = table(f"component-{facet}-{kind}")
    sheets = list(made["released"].diet().sheets(facet, kind, 2))
    assert [sheet.day for sheet in sheets] == [DAY - 1, DAY]
    for sheet in sheets:
        assert cells(sheet) == made["released"].released.table(wanted, sheet.day).by_key
        assert sheet.variance == pytest.approx(2 * wanted.noise().scale ** 2)


def test_days_without_a_release_are_left_out(reporting):
    made, _ = reporting
    days = [sheet.day for sheet in made["released"].diet().sheets(None, "clicks", 30)]
    assert days == [DAY - 1, DAY]


def test_exact_counts_are_the_truth_and_off(reporting):
    made, rows = reporting
    assert Config().learner_counts == "released"
    wanted = table("component-part-impressions")
    true = truth(rows, DAY, [wanted])[wanted.name]
    (sheet,) = made["exact"].diet().sheets("part", "impressions", 1)
    assert {key: count for key, count in cells(sheet).items() if count} == true
    assert sheet.variance == 0.0


def test_switching_exact_counts_on_is_an_entry_in_the_log(tmp_path):
    world = ReportWorld(tmp_path)
    leaves, config = KeptLeaves(world.store), Config()
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
        list(made["released"].diet().sheets("campaign", "impressions", 1))
    assert {t.name for t in TABLES if t.use == "learner"} == {
        f"component-{facet}{kind}"
        for facet in ("", *(f"{f}-" for f in FACETS))
        for kind in ("impressions", "clicks")
    } | {"component-nearness"}
