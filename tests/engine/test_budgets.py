"""Budgets as processes see them: none is exceeded, none lies idle, and a store that is away stops what it must."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from engine.budgets import RETRY_S, Budgets
from engine.campaign import Flight
from engine.errors import StoreError
from engine.events import day_of
from engine.money import LEASE_S
from tests.world import NOW, World, advertiser, campaign, creative, publisher

TODAY = day_of(NOW)
UNTIL = int(NOW.timestamp()) // 60 + 31


class Away:
    """A store of money that can be gone."""

    def __init__(self, money):
        self.money, self.gone = money, False

    def __getattr__(self, name):
        if self.gone:
            raise StoreError("away")
        return getattr(self.money, name)


class Desk:
    """A campaign of 1,000 micro-units an impression, and processes that show it."""

    def __init__(self, folder, **flight):
        self.world = World(folder)
        self.now: datetime = NOW
        self.put(publisher(), advertiser(), creative(), **flight)
        self.money = Away(self.world.store.money())

    def put(self, *more, **flight):
        self.world.put(*more[:2], campaign(flight=Flight(**flight)), *more[2:])

    def worker(self, name="a"):
        return Budgets(self.money, name, now=lambda: self.now, monotonic=lambda: self.now.timestamp())

    def out(self, worker) -> bool:
        return "spring" in worker.tick(self.world.view.snapshot)

    def show(self, worker, times=1, day=TODAY):
        for _ in range(times):
            worker.show("spring", day, UNTIL, 1000)

    def later(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path, budget_micros=100_000)


def test_a_campaign_without_a_budget_is_never_out(tmp_path):
    desk = Desk(tmp_path)
    worker = desk.worker()
    assert not desk.out(worker)
    desk.show(worker, 1000)
    assert not desk.out(worker)


def test_several_processes_show_all_of_a_budget_and_no_more(desk):
    workers = [desk.worker(name) for name in "abc"]
    shown = 0
    for _ in range(400):
        for worker in workers:
            if not desk.out(worker):
                desk.show(worker)
                shown += 1
        desk.later(1)
    assert shown == 100


def test_what_is_shown_beyond_a_slice_is_a_ticks_worth_and_counts(desk):
    worker = desk.worker()
    assert not desk.out(worker)
    desk.show(worker, 130)  # within one tick
    assert desk.out(worker)
    assert desk.out(desk.worker("b"))


def test_a_budget_that_was_raised_acts_at_the_next_tick(desk):
    worker = desk.worker()
    desk.out(worker)
    desk.show(worker, 100)
    assert desk.out(worker)
    desk.put(budget_micros=200_000)
    assert not desk.out(worker)
    desk.put()
    assert not desk.out(worker)


def test_what_was_shown_and_never_happened_is_shown_again_later(desk):
    worker = desk.worker()
    desk.out(worker)
    desk.show(worker, 100)
    assert desk.out(worker)
    desk.later(32 * 60 + RETRY_S)
    assert not desk.out(worker)


def test_a_slice_that_is_given_back_is_anothers_at_once(desk):
    first, second = desk.worker("a"), desk.worker("b")
    desk.out(first)
    desk.show(first, 3)
    first.close()
    assert not desk.out(second)
    held = desk.world.store.rows("SELECT sum(micros) FROM holds")
    leased = desk.world.store.rows("SELECT sum(micros) FROM leases WHERE worker = 'a'")
    assert (held, leased) == ([(3000,)], [(0,)])


def test_a_store_that_is_away_stops_campaigns_only_when_their_slices_are_stale(desk):
    worker = desk.worker()
    assert not desk.out(worker)
    desk.show(worker, 2)
    desk.money.gone = True
    assert not desk.out(worker)
    desk.later(LEASE_S + 1)
    assert desk.out(worker)
    desk.money.gone = False
    assert not desk.out(worker)
    assert desk.world.store.rows("SELECT sum(micros) FROM holds") == [(2000,)]  # nothing shown was forgotten


def test_a_process_that_never_leased_shows_nothing(desk):
    worker = desk.worker()
    desk.money.gone = True
    assert desk.out(worker)
