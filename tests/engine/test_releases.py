"""Closed days are released once, whatever happens meanwhile: nothing told unpaid, nothing paid untold."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from engine.config import Config
from engine.events import oldest_kept
from engine.releases import Releases, last_closed, start_of
from engine.report import Released, answer, ask
from engine.report_keys import keys_of, topics
from engine.report_show import facts
from engine.reporting import SINCE, Reporting
from engine.store import SqliteStore
from engine.store.budget import KeptBudget
from engine.store.leaves import KeptLeaves
from engine.store.reports_sqlite import SqliteReportRows
from engine.tally import DuckTally
from privacy.budget import Charge, QueryId
from privacy.errors import NoiseError, ReleaseError
from privacy.release import Release, day_number, day_of, period_of, query_of
from privacy.workload import CAP, MONTH, SLOTS, TABLES, table, total
from tests.engine.report_world import DAY, NOW, TODAY, ReportWorld, truth, views
from tests.world import campaign, creative, publisher

DAILY = [one for one in TABLES if one.days == 1]


class Office:
    """A world with what releases its days."""

    def __init__(self, folder, tally=None):
        self.world = ReportWorld(folder)
        self.leaves = KeptLeaves(self.world.store)
        self.rows = SqliteReportRows(self.world.store)
        self.budget = KeptBudget(
            self.world.store, folder / "ledger-high.txt", self.leaves, lambda: self.world.now
        )
        self.tally = tally or DuckTally(self.rows, topics())
        self.releases = Releases(self.budget, self.tally, self.rows, lambda: self.world.now)

    def release(self, name, day=DAY):
        body = self.budget.kept(query_of(table(name), period_of(table(name), day)[0]))
        return None if body is None else Release.read(body)

    def spent(self, day=DAY):
        return self.budget.spent(f"page-views/{day_of(day)}")


@pytest.fixture
def office(tmp_path):
    office = Office(tmp_path)
    yield office
    office.world.store.close()


def test_a_closed_day_is_released_with_noise_around_the_truth(office):
    rows = list(views(3000))
    office.world.add(rows)
    done = office.releases.release(DAY)
    assert sorted(done.released) == sorted((one.name, DAY) for one in DAILY)
    assert not done.refused and not done.failed
    true = truth(rows, DAY, DAILY)
    for one in DAILY:
        release = office.release(one.name)
        assert set(true[one.name]) <= set(release.by_key)
        off = [n - true[one.name].get(key, 0) for key, n in release.cells()]
        assert any(off)
        assert max(map(abs, off)) < 20 * release.scale
    assert office.spent() == total(DAILY)
    assert office.releases.due(DAY) == []


def test_each_release_is_told_of_in_the_log_with_its_cost_and_hash(office):
    office.releases.release(DAY)
    leaves = [json.loads(leaf) for leaf in office.leaves.read(0, office.leaves.count())]
    assert [leaf["type"] for leaf in leaves] == ["dp.release"] * len(DAILY)
    costs = {leaf["data"]["query"]: leaf["data"]["costs"] for leaf in leaves}
    for one in DAILY:
        query = query_of(one, DAY)
        assert costs[query] == {f"page-views/{day_of(DAY)}": one.micro_epsilon, f"once/{query}": 1}


def test_a_day_is_released_once_and_never_again(office):
    office.world.add(views(100))
    office.releases.release(DAY)
    first = {one.name: office.release(one.name) for one in DAILY}
    office.world.add(views(100, seed=2))
    assert not office.releases.release(DAY).released
    assert {one.name: office.release(one.name) for one in DAILY} == first
    assert office.spent() == total(DAILY)


@pytest.mark.parametrize(
    ("at", "closed"), [("2026-11-27T01:59:59", "2026-11-25"), ("2026-11-27T02:00:00", "2026-11-26")]
)
def test_a_day_closes_two_hours_after_its_end(at, closed):
    assert day_of(last_closed(datetime.fromisoformat(at).replace(tzinfo=UTC))).isoformat() == closed


@pytest.mark.parametrize("day", [TODAY, TODAY + 1, TODAY - 40])
def test_an_open_day_and_one_whose_events_are_gone_are_refused(office, day):
    with pytest.raises(ReleaseError, match="expected one from"):
        office.releases.release(day)
    assert office.leaves.count() == 0


def test_a_clock_that_goes_back_releases_nothing_twice(office):
    office.releases.release(DAY)
    office.world.now = NOW - timedelta(days=1)
    with pytest.raises(ReleaseError):
        office.releases.release(DAY)
    office.world.now = NOW
    assert not office.releases.release(DAY).released


def test_without_room_in_the_ledger_nothing_is_counted(office):
    def count(day, tables):
        raise AssertionError("counted")

    office.budget.spend(QueryId("x"), [Charge(f"page-views/{day_of(DAY)}", CAP, CAP)], lambda: b"")
    office.releases = Releases(office.budget, count, office.rows, lambda: NOW)
    done = office.releases.release(DAY)
    assert not done.released
    assert sorted(done.refused) == sorted((one.name, DAY) for one in DAILY)


def test_without_noise_nothing_is_counted_or_spent(office, monkeypatch):
    monkeypatch.setattr("privacy.noise._opendp", _missing)
    from privacy.noise import calibrated

    calibrated.cache_clear()
    with pytest.raises(NoiseError):
        office.releases.release(DAY)
    assert office.spent() == 0
    assert office.leaves.count() == 0


def _missing():
    raise NoiseError("not installed")


def test_a_release_that_breaks_off_goes_on_where_it_ended(office):
    true = office.tally
    office.world.add(views(50))
    spend, done = office.budget.spend, []

    def breaks(*arguments):
        if len(done) == 5:
            raise OSError("the disk is full")
        done.append(spend(*arguments))

    office.budget.spend = breaks
    with pytest.raises(OSError, match="full"):
        office.releases.release(DAY)
    office.budget.spend = spend
    kept = [one.name for one in DAILY if office.release(one.name)]
    assert len(kept) == 5
    assert office.spent() == sum(table(name).micro_epsilon for name in kept)
    assert office.releases.due(DAY) == [DAY]
    assert len(office.releases.release(DAY).released) == len(DAILY) - 5
    assert office.spent() == total(DAILY)
    assert office.tally is true


def test_processes_that_release_at_once_draw_each_table_once(tmp_path):
    office = Office(tmp_path)
    office.world.add(views(200))
    told = []
    threads = [
        threading.Thread(target=lambda: told.extend(office.releases.release(DAY).released)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name for name, _ in told} == {one.name for one in DAILY}
    assert office.spent() == total(DAILY)
    assert office.leaves.count() == len(DAILY)
    office.world.store.close()


def test_the_long_tables_come_with_the_last_of_their_days(office):
    last = TODAY - 1 - TODAY % MONTH  # the day before a multiple of 28
    office.world.now = start_of(last + 1) + timedelta(hours=3)
    rows = [row for day in range(last - MONTH + 1, last + 1) for row in views(30, day)]
    office.world.add(rows)
    done = office.releases.release(last)
    assert ("creatives-28", last - MONTH + 1) in done.released
    release = office.release("creatives-28", last)
    true = sum(row.kind == "impression" and row.slot < SLOTS for row in rows)
    assert sum(release.counts) == pytest.approx(
        true, abs=8 * release.scale * len(release.counts) ** 0.5 * 1.5
    )
    assert office.spent(last) == total()
    assert office.spent(last - 5) == total(one for one in TABLES if one.days == MONTH)
    office.releases.release(last - 5)
    assert office.spent(last - 5) == total() == CAP


def test_of_a_period_that_nobody_closed_in_time_what_is_left_is_told(office):
    last = TODAY - 1 - TODAY % MONTH
    first = last - MONTH + 1
    office.world.now = start_of(last + 1) + timedelta(days=14, hours=3)
    gone = oldest_kept(office.world.now) - first
    assert 0 < gone < MONTH
    rows = [row for day in range(first + gone, last + 1) for row in views(30, day)]
    office.world.add(rows)
    assert last in office.releases.due(first)
    done = office.releases.release(last)
    longs = [one for one in TABLES if one.days == MONTH]
    assert {(one.name, first + gone) for one in longs} <= set(done.released)
    release = office.release("creatives-28", last)
    assert (release.first, release.days) == (first + gone, MONTH - gone)
    true = sum(row.kind == "impression" and row.slot < SLOTS for row in rows)
    assert sum(release.counts) == pytest.approx(true, abs=12 * release.scale * len(release.counts) ** 0.5)
    assert office.spent(first + gone - 1) == 0
    assert office.spent(first + gone) == total(longs)
    assert not office.releases.release(last).released
    told = answer(Released(office.budget), ask("creatives", first + gone, last), last)
    assert told.untold == 0
    assert len(told.releases) == 2  # both of 28 days
    votes = answer(Released(office.budget), ask("votes", first, last), last)
    assert votes.untold == gone
    assert f"{gone}: their events were gone" in dict(facts(votes))["days not told"]


def test_keys_are_those_of_the_day_whatever_changes_later(office):
    world = office.world
    before = keys_of(office.rows, start_of(DAY), start_of(DAY + 1))
    assert ("planet", "sport") in before.sections and ("globe", "other") in before.sections
    assert ("spring", "spring-1") in before.creatives
    world.put(publisher("new"), campaign("fresh"), creative("fresh-1", "fresh"), publisher("planet"))
    world.remove(creative("spring-1"))
    assert keys_of(office.rows, start_of(DAY), start_of(DAY + 1)) == before
    today = keys_of(office.rows, start_of(TODAY), start_of(TODAY + 1))
    assert ("spring", "spring-1") in today.creatives  # it was there for a part of the day
    assert ("fresh", "fresh-1") in today.creatives
    world.now = NOW + timedelta(days=1)
    tomorrow = keys_of(office.rows, start_of(TODAY + 1), start_of(TODAY + 2))
    assert ("spring", "spring-1") not in tomorrow.creatives
    assert ("planet", "sport") not in tomorrow.sections


def test_campaigns_whose_flight_is_over_have_no_keys(office):
    flight = {"start": start_of(DAY - 9), "end": start_of(DAY)}
    office.world.now = NOW - timedelta(days=20)
    office.world.put(campaign("over", flight=flight), creative("over-1", "over"))
    assert "over" in keys_of(office.rows, start_of(DAY - 1), start_of(DAY)).campaigns
    assert "over" not in keys_of(office.rows, start_of(DAY), start_of(DAY + 1)).campaigns


def test_topics_of_special_categories_are_told_by_their_first_tier_alone():
    told = topics()
    assert told["484"][0] == "484"
    assert told["302"] == ("286", "286")  # Reproductive Health is told as Medical Health
    assert {beside for _, beside in told.values()} <= {alone for alone, _ in told.values()}
    assert len({beside for _, beside in told.values()}) < 50


def test_what_is_due_follows_from_the_calendar(office):
    assert office.releases.due(DAY - 2) == [DAY - 2, DAY - 1, DAY]
    assert office.releases.due(0)[0] == day_number((NOW - timedelta(days=35)).date())
    assert office.releases.due(TODAY) == []


@pytest.mark.parametrize("after", [1, 6, 12])
def test_a_release_that_is_killed_leaves_nothing_unpaid_or_untold(tmp_path, after):
    world = ReportWorld(tmp_path)
    world.add(views(200))
    world.store.settle(SINCE, day_of(DAY).isoformat())
    world.store.close()
    (tmp_path / "data").mkdir()
    (tmp_path / "keys").mkdir(mode=0o700)
    shutil.copy(tmp_path / "world.db", tmp_path / "data" / "tactful.db")
    config = Config(data_dir=tmp_path / "data", key_dir=tmp_path / "keys")
    program = (
        "import sys; from pathlib import Path; from datetime import datetime; from engine.config import Config; "
        "from engine.release_apart import release; "
        "release(Config(data_dir=Path(sys.argv[1]), key_dir=Path(sys.argv[2])), datetime.fromisoformat(sys.argv[3]))"
    )
    folders = (str(config.data_dir), str(config.key_dir))
    child = subprocess.Popen([sys.executable, "-c", program, *folders, NOW.isoformat()])
    store = SqliteStore(config.database)
    while child.poll() is None and len(store.rows("SELECT 1 FROM releases")) < after:
        time.sleep(0.001)
    child.kill()
    child.wait()
    reporting = Reporting(config, store, store.leaves(), lambda: NOW)
    kept = [one for one in DAILY if reporting.budget.keeps(query_of(one, DAY))]
    assert after <= len(kept) <= len(DAILY)
    assert reporting.budget.spent(f"page-views/{day_of(DAY)}") == total(kept)
    told = [json.loads(leaf)["data"] for leaf in store.leaves().read(0, store.leaves().count())]
    for one in kept:
        body = reporting.budget.kept(query_of(one, DAY))
        (leaf,) = (data for data in told if data["query"] == query_of(one, DAY))
        assert leaf["body"] == hashlib.sha256(body).hexdigest()
    first = {one.name: reporting.budget.kept(query_of(one, DAY)) for one in kept}
    list(reporting.release_due())
    assert {one.name: reporting.budget.kept(query_of(one, DAY)) for one in kept} == first
    assert reporting.budget.spent(f"page-views/{day_of(DAY)}") == total(DAILY)
    store.close()
