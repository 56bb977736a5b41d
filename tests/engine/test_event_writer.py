"""Group commit: what was acknowledged is kept, whatever kills the process; what cannot be kept is refused."""

from __future__ import annotations

import mmap
import multiprocessing
import random
import threading
import time
from pathlib import Path

import pytest

from engine.errors import Busy, StoreError
from engine.event_writer import EventWriter
from engine.events import Asked, Event, Row
from engine.store import open_store

THREADS = 8
MOST = 200_000  # events of the test with kills


def event(number: int) -> Event:
    context = ("planet", "sport", "483", "spring", "spring-1", "phone", "evening", "rain", 0, 7)
    return Event(Row(number.to_bytes(16, "big"), 0, "impression", 20_000, *context), 20_000, 0)


class Held:
    """A store that keeps when it is let, and remembers in what batches."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails = fails
        self.let = threading.Event()
        self.let.set()
        self.batches: list[int] = []
        self.asked: list[Asked] = []

    def keep(self, events, decided=()):
        assert self.let.wait(10)
        if self.fails is not None:
            raise self.fails
        self.batches.append(len(events))
        self.asked += decided


def started(store, **more) -> EventWriter:
    writer = EventWriter(store, **more)
    writer.start()
    return writer


def test_what_comes_together_is_kept_together():
    store = Held()
    writer = started(store, gather_s=0.1)
    threads = [threading.Thread(target=writer.keep, args=([event(n)],)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.stop()
    assert sum(store.batches) == THREADS
    assert len(store.batches) < THREADS


def test_an_event_that_comes_alone_is_acknowledged_within_twenty_milliseconds(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'tactful.db'}")
    writer = started(store.events())
    took = []
    for number in range(30):
        before = time.perf_counter()
        writer.keep([event(number)])
        took.append(time.perf_counter() - before)
    writer.stop()
    store.close()
    assert min(took) < 0.02  # the rest depends on who else uses the machine


def test_nobody_is_told_before_it_is_kept():
    store = Held()
    store.let.clear()
    writer = started(store, gather_s=0)
    told = []
    thread = threading.Thread(target=lambda: told.append(writer.keep([event(1)])))
    thread.start()
    thread.join(0.1)
    assert thread.is_alive() and not told
    store.let.set()
    thread.join(5)
    assert told == [None]
    writer.stop()


def test_a_full_queue_refuses_and_works_again_when_there_is_room():
    store = Held()
    store.let.clear()
    writer = started(store, most=2, gather_s=0)
    threads = [threading.Thread(target=writer.keep, args=([event(n)],)) for n in range(3)]
    for thread in threads:  # one is being kept, two wait
        thread.start()
        time.sleep(0.05)
    with pytest.raises(Busy):
        writer.keep([event(4)])
    store.let.set()
    for thread in threads:
        thread.join(5)
    writer.keep([event(5)])
    writer.stop()
    assert sum(store.batches) == 4


def test_what_cannot_be_kept_is_refused_and_the_thread_goes_on():
    store = Held(StoreError("disk full"))
    writer = started(store, gather_s=0)
    with pytest.raises(Busy):
        writer.keep([event(1)])
    store.fails = None
    writer.keep([event(1)])
    writer.stop()
    assert store.batches == [1]


def test_a_writer_that_is_stopped_refuses():
    writer = EventWriter(Held())
    with pytest.raises(Busy):
        writer.keep([event(1)])
    writer.start()
    writer.stop()
    with pytest.raises(Busy):
        writer.keep([event(1)])


def test_what_nobody_waits_for_is_added_up_and_kept_in_the_end():
    store = Held()
    writer = started(store, gather_s=0)
    for _ in range(5):
        writer.note(Asked(20_000, "planet", "sport", 3, 2), [event(1)])
    writer.note(Asked(20_000, "planet", "other", 1, 0))
    writer.stop()
    assert sorted(store.asked) == [(20_000, "planet", "other", 1, 0), (20_000, "planet", "sport", 15, 10)]
    assert sum(store.batches) == 5


def test_who_wants_all_kept_now_waits_for_no_company():
    store = Held()
    writer = started(store, gather_s=60.0)
    writer.note(Asked(1, "planet", "", 1, 1), [event(1)])
    assert writer.wait(10)
    assert store.batches == [1]
    writer.stop(10)


def tell(path: Path, marks: Path, first: int) -> None:
    """Keep events from many threads, and mark each that was acknowledged."""
    with marks.open("r+b") as file:
        acknowledged = mmap.mmap(file.fileno(), MOST)
    store = open_store(f"sqlite:///{path}")
    writer = started(store.events())

    def work(number: int) -> None:
        for at in range(first + number, MOST, THREADS):
            writer.keep([event(at)])
            acknowledged[at] = 1

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_nothing_acknowledged_is_missing_after_kill_9(tmp_path):
    path, marks = tmp_path / "tactful.db", tmp_path / "marks"
    marks.write_bytes(bytes(MOST))
    spawn = multiprocessing.get_context("spawn")
    chance = random.Random(9)
    for kill in range(4):
        before = marks.read_bytes().count(1)
        process = spawn.Process(target=tell, args=(path, marks, kill * MOST // 4))
        process.start()
        end = time.monotonic() + 60
        while marks.read_bytes().count(1) < before + 50 and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        process.join()
    acknowledged = {at for at, mark in enumerate(marks.read_bytes()) if mark}
    store = open_store(f"sqlite:///{path}")
    kept = {int.from_bytes(view, "big") for (view,) in store.rows("SELECT view FROM events")}
    assert len(acknowledged) >= 200
    assert acknowledged <= kept
    assert store.money().faults(0) == []
    store.close()
