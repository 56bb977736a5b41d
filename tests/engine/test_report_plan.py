"""What a plan promises holds in simulation; states are coarse; forecasts hold the days that come."""

import itertools
from dataclasses import astuple
from datetime import timedelta
from math import isfinite, sqrt

import numpy as np
import pytest

from engine.campaign import Flight
from engine.config import Config
from engine.errors import QueryRefused
from engine.events import day_of as day_of_moment
from engine.releases import start_of
from engine.report import Released
from engine.report_plan import LEAST, Spent, forecast, plan, state_of
from engine.reporting import Reporting
from privacy.release import Axis, day_of, draw, query_of
from privacy.workload import table
from tests.engine.report_world import DAY
from tests.engine.test_event_stores import event
from tests.engine.test_report import FIRST, Spends, months  # noqa: F401 - a fixture
from tests.world import World, advertiser, campaign


def test_the_lift_of_a_plan_is_found_in_four_of_five_cases():
    told = plan(20_000, 0.01, 0.2)
    for horizon in (told.horizons[1], told.horizons[3]):
        draws, days = np.random.default_rng(horizon.days), horizon.days
        runs, shown = 4000, 20_000 * horizon.days

        def noisy(name, count, draws=draws, days=days, runs=runs):
            each = table(f"{name}-28" if days >= 28 else name).noise().scale
            p, cells = 1 - np.exp(-1 / each), days // 28 or days
            return count + (draws.geometric(p, (runs, cells)) - draws.geometric(p, (runs, cells))).sum(1)

        ctr = [0.01, 0.01 * (1 + horizon.smallest_lift)]
        rates = [
            noisy("clicks", draws.binomial(shown, rate, runs)) / noisy("creatives", shown) for rate in ctr
        ]
        spread = np.std(rates[0]) * sqrt(2)
        assert 0.75 < np.mean((rates[1] - rates[0]) > 1.96 * spread) < 0.87


def test_more_days_and_more_impressions_tell_more():
    told = plan(5000, 0.005, 0.2)
    lifts = [h.smallest_lift for h in told.horizons]
    assert lifts == sorted(lifts, reverse=True)
    assert plan(50_000, 0.005, 0.2).horizons[0].smallest_lift < lifts[0]
    assert told.days_needed is not None
    assert plan(5000, 0.005, 0.1).days_needed > told.days_needed
    assert plan(1, 0.0001, 0.01).days_needed is None


@pytest.mark.parametrize(
    ("numbers", "field"), [((0, 0.1, 0.2), "impressions"), ((9, 1.0, 0.2), "ctr"), ((9, 0.1, 0.0), "lift"),
                           ((9, float("nan"), 0.2), "ctr"), ((9, 0.1, float("nan")), "lift"),
                           ((9, 5e-324, 0.2), "ctr"), ((9, 0.1, 5e-324), "lift")]
)  # fmt: skip
def test_numbers_that_cannot_be_are_refused(numbers, field):
    with pytest.raises(QueryRefused) as refused:
        plan(*numbers)
    assert refused.value.field == field


def test_the_least_and_the_most_that_may_be_planned_has_finite_numbers():
    for numbers in itertools.product((1, 10**12), (LEAST, 1 - LEAST), (LEAST, 100)):
        told = plan(*numbers)
        assert all(isfinite(number) for one in told.horizons for number in astuple(one))


NOON = start_of(DAY + 1) + timedelta(hours=12)
RELEASED = Released(Spends())


@pytest.mark.parametrize(
    ("changes", "spent", "why"),
    [
        ({"status": "paused"}, Spent(), "paused"),
        ({"flight": {"start": NOON + timedelta(days=1)}}, Spent(), "not begun"),
        ({"flight": {"end": NOON}}, Spent(), "over"),
        ({}, Spent(total=True), "its budget"),
        ({}, Spent(today=True), "this day"),
    ],
)
def test_a_campaign_that_stopped_says_why(changes, spent, why):
    flight = changes.pop("flight", {})
    base = campaign(**changes)
    base = type(base)(
        **{f: getattr(base, f) for f in base.__struct_fields__} | {"flight": type(base.flight)(**flight)}
    )
    state = state_of(base, spent, RELEASED, DAY, NOON)
    assert state.state == "stopped" and why in state.why


def flying(budget, start=None, **more):
    base = campaign(**more)
    flight = type(base.flight)(
        start=start or start_of(FIRST), end=start_of(FIRST + 28) + timedelta(days=28), budget_micros=budget
    )
    return type(base)(**{f: getattr(base, f) for f in base.__struct_fields__} | {"flight": flight})


@pytest.mark.parametrize(("budget", "state"), [(10_000, "on track"), (10**12, "behind")])
def test_a_campaign_that_lags_by_released_days_is_behind(months, budget, state):  # noqa: F811
    now = start_of(FIRST + 35) + timedelta(hours=12)
    assert state_of(flying(budget), Spent(), months[0], FIRST + 34, now).state == state


@pytest.mark.parametrize(("budget", "state"), [(900_000, "on track"), (10**12, "behind")])
def test_a_flight_that_is_longer_than_a_report_has_a_state(budget, state):
    ledger, keys = Spends(), [Axis(("campaign", "creative"), (("spring", "spring-1"),))]
    for day, name in itertools.product(range(FIRST - 500, FIRST), ("creatives", "clicks")):
        ledger.bodies[query_of(table(name), day)] = draw(
            table(name), day, keys, {("spring", "spring-1"): 1000}
        )
    now = start_of(FIRST) + timedelta(hours=12)
    long = flying(budget, start=start_of(FIRST - 500))
    assert state_of(long, Spent(), Released(ledger), FIRST - 1, now).state == state


def test_without_releases_a_campaign_is_on_track():
    assert state_of(flying(10**12), Spent(), RELEASED, DAY, NOON).state == "on track"


def test_a_forecast_holds_the_days_that_come(months):  # noqa: F811
    released, told = months
    held = tried = 0
    closed, days = FIRST + 27, 7
    for report, name in (("topics", "topics"), ("sections", "placements")):
        for one in forecast(released, report, closed, days, {}):
            key = one.key if report == "topics" else (*one.key, "shown")
            true = sum(told[day][name].get(key, 0) for day in range(closed + 1, closed + 1 + days))
            held += one.low <= true <= one.high
            tried += 1
            assert one.low <= one.expected <= one.high
    assert tried >= 6
    assert held >= 0.8 * tried
    only = list(forecast(released, "sections", closed, days, {"publisher": ["planet"]}))
    assert {one.key[0] for one in only} == {"planet"}


def test_without_two_days_nothing_is_foretold(months):  # noqa: F811
    with pytest.raises(QueryRefused, match="two released days"):
        list(forecast(RELEASED, "topics", DAY, 7, {}))
    with pytest.raises(QueryRefused):
        list(forecast(months[0], "topics", FIRST + 3, 0, {}))
    assert day_of(FIRST)


@pytest.mark.parametrize("name", ["budget_micros", "daily_budget_micros"])
def test_a_budget_of_which_less_is_left_than_an_event_costs_is_spent(tmp_path, name):
    world = World(tmp_path, NOON)
    world.put(advertiser(), campaign(cpm_micros=10_000_000, flight=Flight(**{name: 25_000})))
    config = Config(data_dir=tmp_path, key_dir=tmp_path)
    reporting = Reporting(config, world.store, world.store.leaves(), lambda: NOON)
    told = []
    for number in (1, 2):
        world.store.events().keep(
            [event(number, price=10_000, day=day_of_moment(NOON), billing_day=day_of_moment(NOON))]
        )
        told.append(reporting.state("spring").state)
    assert told == ["on track", "stopped"]
    world.store.close()
