"""What a page view loses in all, table by table, and that no table forgets how much one page view can change."""

from itertools import pairwise
from math import sqrt

import pytest

from privacy.budget import query_id
from privacy.errors import ReleaseError
from privacy.margins import Drawn, margin
from privacy.release import MOST_CELLS, Axis, Release, charges, day_number, day_of, draw, period_of, query_of
from privacy.workload import CAP, CONSENTED, MONTH, SHARES, SLOTS, TABLES, Table, table, total

DAY = 20_780
ONE = table("creatives")
KEYS = (Axis(("campaign", "creative"), (("k1", "a"), ("k1", "b"), ("k2", "c"))),)


def test_a_page_view_loses_at_most_one_epsilon_in_all():
    assert total() <= CAP == 1_000_000
    for use, share in SHARES.items():
        assert total(one for one in TABLES if one.use == use) <= share, use
    assert sum(SHARES.values()) <= CAP


def test_every_day_is_charged_for_every_table_over_it_once():
    charged: dict[str, int] = {}
    for one in TABLES:
        for first in {period_of(one, day)[0] for day in range(DAY, DAY + 2 * MONTH)}:
            *days, once = charges(one, first)
            assert (once.micro_epsilon, once.cap, once.scope) == (1, 1, f"once/{query_of(one, first)}")
            for charge in days:
                charged[charge.scope] = charged.get(charge.scope, 0) + charge.micro_epsilon
                assert charge.cap == CAP
    assert max(charged.values()) == total()
    assert charged[f"page-views/{day_of(DAY + MONTH).isoformat()}"] == total()


def test_what_readers_agreed_to_is_charged_to_a_ledger_of_their_own():
    assert total(CONSENTED) <= CAP
    for one in CONSENTED:
        charge, _ = charges(one, DAY)
        assert charge.scope == f"readers/{day_of(DAY).isoformat()}"
        assert b'"unit":"one consenting reader' in draw(one, DAY, KEYS, {})


@pytest.mark.parametrize("one", [*TABLES, *CONSENTED], ids=lambda one: one.name)
def test_the_noise_of_a_table_costs_what_the_ledger_is_charged(one: Table):
    noise = one.noise()
    most = {"impression": SLOTS, "placement": SLOTS, "nearness": 20 * SLOTS, "money": 200_000}
    worst = most.get(one.kind, 1)
    worst *= 6 if "component" in one.dims else 1  # a creative, and five parts at most
    worst *= 4000 if "sum" in one.dims else 1  # a whole, and at most three times as much above it
    assert noise.loss(worst) <= one.micro_epsilon  # by OpenDP's own map
    assert noise.delta == 0


def test_names_are_unique_and_periods_tile_the_calendar():
    every = (*TABLES, *CONSENTED)
    assert len({one.name for one in every}) == len(every)
    for one in every:
        periods = sorted({tuple(period_of(one, day)) for day in range(DAY, DAY + 100)})
        assert all(a[-1] + 1 == b[0] for a, b in pairwise(periods))
        assert len({query_of(one, period[0]) for period in periods}) == len(periods)


def test_four_weeks_are_told_better_by_a_long_table_and_weeks_between_would_double_the_noise_of_days():
    cost = ONE.micro_epsilon + table("creatives-28").micro_epsilon
    days_alone = margin([Drawn("discrete Laplace", SLOTS * 1e6 / cost, 28)])
    long = table("creatives-28").noise().margin95
    assert long < 0.9 * days_alone
    third = SLOTS * 1e6 / (cost / 3)  # the scale of days, weeks and 28 days at the same cost
    day = SLOTS * 1e6 / ONE.micro_epsilon
    assert third >= 2 * day
    assert third > 0.75 * sqrt(7) * day


def test_a_release_holds_every_key_and_says_what_it_is():
    body = draw(ONE, DAY, KEYS, {("k1", "a"): 4000, ("k9", "unheard-of"): 9})
    release = Release.read(body)
    assert [key for key, _ in release.cells()] == list(KEYS[0].keys)
    assert release.by_key["k1", "a"] == pytest.approx(4000, abs=1000)
    assert b"unheard-of" not in body
    for told in (
        b'"margin95":',
        b'"unit":',
        b'"group":[[1,80000],[2,160000]',
        b'"mechanism":"discrete Laplace"',
    ):
        assert told in body
    assert (release.first, release.days, release.micro_epsilon) == (DAY, 1, 80_000)


def test_absent_keys_get_noise_like_all_others():
    draws = [Release.read(draw(ONE, DAY, KEYS, {})).by_key["k2", "c"] for _ in range(40)]
    assert len(set(draws)) > 10
    assert min(draws) < 0 < max(draws)  # signed, never clamped


def test_axes_are_multiplied_out():
    axes = (Axis(("campaign",), (("k1",), ("k2",))), Axis(("topic",), (("1",), ("2",), ("",))))
    release = Release.read(draw(table("contexts"), DAY, axes, {("k2", "2"): 100_000}))
    assert list(release.by_key) == [(c, t) for c in ("k1", "k2") for t in ("1", "2", "")]
    assert release.by_key["k2", "2"] == pytest.approx(100_000, abs=2000)


def test_wanted_cells_are_found_without_the_others():
    axes = (Axis(("publisher",), (("a",), ("b",))), *(Axis((d,), (("x",), ("y",), ("z",))) for d in "dpw"))
    named = tuple(axis._replace(dims=(dim,)) for axis, dim in zip(axes, table("moments").dims, strict=True))
    release = Release.read(draw(table("moments"), DAY, named, {}))
    wanted = {"publisher": frozenset("b"), "part": frozenset("xz"), "weather": frozenset("q")}
    for some in ({}, wanted, {k: v for k, v in wanted.items() if k != "weather"}):
        slow = [
            (key, n)
            for key, n in release.cells()
            if all(key[release.dims.index(dim)] in values for dim, values in some.items())
        ]
        assert list(release.where(some)) == slow
    assert not list(release.where(wanted))


def test_wrong_axes_and_too_many_cells_are_refused():
    with pytest.raises(ReleaseError, match="campaign, topic"):
        draw(table("contexts"), DAY, KEYS, {})
    many = Axis(("campaign",), tuple((str(i),) for i in range(2000)))
    other = Axis(("topic",), tuple((str(i),) for i in range(MOST_CELLS // 2000 + 1)))
    with pytest.raises(ReleaseError, match="at most"):
        draw(table("contexts"), DAY, (many, other), {})


@pytest.mark.parametrize("body", [b"{}", b"[]", b"x", b'{"counts":[]}'])
def test_another_body_is_no_release(body):
    with pytest.raises(ReleaseError):
        Release.read(body)
    assert query_id({"a": 1, "b": 2}) == query_id({"b": 2, "a": 1})
    assert day_of(day_number(day_of(DAY))) == day_of(DAY)
