import gc
import threading
import weakref

import pytest

from engine.background import Background
from engine.cache import Bounded, Returning


class Ticker:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def queue():
    made = []

    def make(most=10, monotonic=None):
        made.append(Background("test", most, monotonic or Ticker()))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_jobs_run_in_order(queue):
    jobs, done = queue(), []
    for n in range(5):
        jobs.submit(lambda n=n: done.append(n), 60)
    jobs.start()
    assert jobs.wait(5)
    assert done == [0, 1, 2, 3, 4]


def test_a_full_queue_drops_and_says_so(queue):
    jobs = queue(most=2)
    assert [jobs.submit(lambda: None, 60) for _ in range(3)] == [True, True, False]
    assert jobs.dropped == 1


def test_a_job_that_fails_costs_only_itself(queue):
    jobs, done = queue(), []
    jobs.submit(lambda: 1 / 0, 60)
    jobs.submit(lambda: done.append(1), 60)
    jobs.start()
    assert jobs.wait(5)
    assert done == [1]
    assert jobs.failed == 1


def test_an_overdue_job_is_let_go_with_what_it_holds_even_while_another_runs(queue):
    clock, release, begun, done = Ticker(), threading.Event(), threading.Event(), []
    jobs = queue(monotonic=clock)
    jobs.submit(lambda: (begun.set(), release.wait(5)), 60)
    jobs.submit(lambda: done.append("late"), 60)
    jobs.start()
    begun.wait(5)
    clock.now = 61
    jobs.expire()
    assert len(jobs._jobs) == 0
    release.set()
    assert jobs.wait(5)
    assert done == []
    assert jobs.dropped == 1


def test_a_bounded_map_forgets_the_oldest_first():
    kept = Bounded(8)
    for n in range(9):
        kept.put(n, n)
    assert len(kept) <= 8
    assert kept.get(8) == 8
    assert kept.get(0) is None
    kept.put(8, "new")
    assert kept.get(8) == "new"
    kept.drop(8)
    assert kept.get(8) is None


def test_a_job_whose_time_is_up_is_let_go_with_what_it_holds(queue):
    class Text:
        pass

    ticker = Ticker()
    jobs, text = queue(monotonic=ticker), Text()
    gone = weakref.ref(text)
    jobs.submit(lambda text=text: None, 10)
    del text
    ticker.now = 11.0
    jobs.start()
    assert jobs.wait(5)
    gc.collect()
    assert gone() is None
    assert jobs.dropped == 1


def test_a_key_returns_from_its_second_time_on_until_another_takes_its_place():
    keys = Returning(8)
    assert not keys.again(3)
    assert keys.again(3)
    assert keys.again(3)
    assert not keys.again(11)  # of eight places, the same
    assert not keys.again(3)


def test_a_key_that_hashes_to_nothing_is_new_the_first_time():
    keys = Returning(8)
    assert not keys.again(0)
    assert keys.again(0)
