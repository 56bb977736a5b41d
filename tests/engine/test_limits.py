"""Rate limits: a bucket for each publisher."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.limits import RateLimits


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_two_seconds_worth_may_come_at_once() -> None:
    limits = RateLimits(Clock())
    assert [limits.take("p", 5) for _ in range(11)] == [0] * 10 + [1]


def test_the_wait_that_is_told_is_enough_and_not_a_second_too_long() -> None:
    clock = Clock()
    limits = RateLimits(clock, workers=4)  # a quarter of the rate each
    while not (wait_s := limits.take("p", 1)):
        pass
    assert wait_s == 4
    clock.now += wait_s
    assert limits.take("p", 1) == 0


def test_publishers_do_not_wait_for_each_other() -> None:
    limits = RateLimits(Clock())
    while not limits.take("p", 1):
        pass
    assert limits.take("q", 1) == 0


@given(st.lists(st.floats(0, 2), max_size=200), st.integers(1, 20))
def test_no_pattern_of_arrivals_beats_the_rate(pauses: list[float], rate: int) -> None:
    clock = Clock()
    limits = RateLimits(clock)
    taken = 0
    for pause in pauses:
        clock.now += pause
        taken += limits.take("p", rate) == 0
    assert taken <= 2 * rate + clock.now * rate + 1e-6
