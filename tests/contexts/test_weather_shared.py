"""Workers share what one of them was told of the weather."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contexts.errors import WeatherSourceError
from contexts.place import PlaceCode, Point
from contexts.weather import Reading, Round
from contexts.weather_shared import SharedSource

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BERLIN, PARIS = PlaceCode("DE-BE"), PlaceCode("FR")
POINTS = {BERLIN: Point(52.5, 13.4), PARIS: Point(48.9, 2.4)}


class Fixed:
    """Knows every place's weather, and counts how often it was asked."""

    name = "fixed"

    def __init__(self) -> None:
        self.asked = 0
        self.down = False
        self.delay = threading.Event()
        self.delay.set()

    def read(self, points: Mapping[PlaceCode, Point], now: datetime) -> Round:
        self.asked += 1
        self.delay.wait(10)
        if self.down:
            return Round({}, (WeatherSourceError(self.name, "down"),))
        return Round({code: Reading("rain", "cold", now) for code in points})


@pytest.fixture
def source() -> Fixed:
    return Fixed()


def workers(source: Fixed, folder: Path, count: int = 2) -> list[SharedSource]:
    return [SharedSource(source, folder / "weather.json", 1000.0) for _ in range(count)]


def test_one_worker_asks_and_the_others_read(source: Fixed, tmp_path: Path) -> None:
    told = [worker.read(POINTS, NOW) for worker in workers(source, tmp_path, 4)]
    assert source.asked == 1
    assert all(one == told[0] for one in told) and told[0].readings.keys() == POINTS.keys()


def test_workers_that_start_together_ask_once(source: Fixed, tmp_path: Path) -> None:
    source.delay.clear()
    told: list[Round] = []
    threads = [
        threading.Thread(target=lambda worker=worker: told.append(worker.read(POINTS, NOW)))
        for worker in workers(source, tmp_path, 4)
    ]
    for thread in threads:
        thread.start()
    source.delay.set()
    for thread in threads:
        thread.join()
    assert source.asked == 1
    assert len(told) == 4 and all(one.readings == told[0].readings for one in told)


def test_what_is_old_or_lacks_a_place_or_is_of_another_source_is_asked_for_anew(
    source: Fixed, tmp_path: Path
) -> None:
    first, second = workers(source, tmp_path)
    first.read({BERLIN: POINTS[BERLIN]}, NOW)
    assert second.read(POINTS, NOW).readings.keys() == POINTS.keys()
    assert source.asked == 2
    later = NOW + timedelta(seconds=1001)
    assert first.read(POINTS, later).readings[PARIS].at == later
    assert source.asked == 3
    other = Fixed()
    other.name = "other"
    workers(other, tmp_path)[0].read(POINTS, later)
    assert other.asked == 1


def test_a_damaged_file_is_written_anew(source: Fixed, tmp_path: Path) -> None:
    worker, other = workers(source, tmp_path)
    for damage in (
        b"",
        b"{",
        b'{"source":"fixed","asked":"2026-11-23T12:00:00","readings":{}}',
        b"\xff" * 99,
    ):
        (tmp_path / "weather.json").write_bytes(damage)
        asked = source.asked
        assert worker.read(POINTS, NOW).readings and other.read(POINTS, NOW).readings
        assert source.asked == asked + 1


def test_a_source_that_is_down_leaves_what_is_kept(source: Fixed, tmp_path: Path) -> None:
    worker, other = workers(source, tmp_path)
    worker.read(POINTS, NOW)
    kept = (tmp_path / "weather.json").read_bytes()
    source.down = True
    assert worker.read(POINTS, NOW + timedelta(hours=1)).faults
    assert (tmp_path / "weather.json").read_bytes() == kept
    assert other.read(POINTS, NOW).readings


def test_a_worker_that_hangs_with_its_turn_is_passed_by(source: Fixed, tmp_path: Path) -> None:
    slept: list[float] = []
    worker = SharedSource(source, tmp_path / "weather.json", 1000.0, slept.append, lock_s=5.0)
    with (tmp_path / "weather.json.lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert worker.read(POINTS, NOW).readings.keys() == POINTS.keys()
    assert sum(slept) == pytest.approx(5.0, abs=0.3)


def test_a_folder_that_cannot_be_written_costs_only_the_sharing(source: Fixed, tmp_path: Path) -> None:
    worker = SharedSource(source, tmp_path / "nothing" / "weather.json", 1000.0)
    assert worker.read(POINTS, NOW).readings.keys() == POINTS.keys()
