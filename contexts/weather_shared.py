"""One worker asks the weather service, the others read what it was told from a file that they share.

The lock goes with the process that holds it; who holds it for too long is passed by.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from contexts.place import PlaceCode, Point
from contexts.weather import Reading, Round, Source

LOCK_S = 60.0  # to wait for a worker that asks; then it is taken to hang
_STEP_S = 0.2


class _Kept(msgspec.Struct, frozen=True):
    """What the file holds: places of publishers and their weather, nothing of visits."""

    source: str
    asked: datetime
    readings: dict[str, Reading]


@dataclass(frozen=True, slots=True)
class SharedSource:
    """A source whose last round is kept in `file` and asked for again once it is `fresh_s` old."""

    source: Source
    file: Path
    fresh_s: float
    sleep: Callable[[float], None] = time.sleep
    lock_s: float = LOCK_S

    @property
    def name(self) -> str:
        """Name for logs."""
        return self.source.name

    def read(self, points: Mapping[PlaceCode, Point], now: datetime) -> Round:
        """Return what was told to any worker lately; where nobody was, or not of all places, ask."""
        kept = self._fresh(points, now)
        if kept is not None:
            return kept
        with self._turn():
            kept = self._fresh(points, now)  # by who had the turn before
            if kept is not None:
                return kept
            told = self.source.read(points, now)
            if told.readings:
                self._keep(_Kept(self.name, now, {str(code): one for code, one in told.readings.items()}))
            return told

    def _fresh(self, points: Mapping[PlaceCode, Point], now: datetime) -> Round | None:
        try:
            kept = msgspec.json.decode(self.file.read_bytes(), type=_Kept)
            age_s = (now - kept.asked).total_seconds()
        except (OSError, ValueError, TypeError):  # none yet, damaged, or without its zone: it is written anew
            return None
        missing = points.keys() - kept.readings.keys()
        if kept.source != self.name or missing or not 0 <= age_s < self.fresh_s:
            return None
        return Round({code: kept.readings[code] for code in points})

    def _keep(self, kept: _Kept) -> None:
        written = self.file.with_name(f"{self.file.name}.{os.getpid()}")
        try:
            written.write_bytes(msgspec.json.encode(kept))
            os.replace(written, self.file)
        except OSError:  # a full disk, say: then each worker asks for itself
            with suppress(OSError):
                written.unlink(missing_ok=True)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until no other worker asks, or one has for too long."""
        try:
            lock = self.file.with_name(f"{self.file.name}.lock").open("ab")
        except OSError:
            yield
            return
        with lock:
            waited_s = 0.0
            while waited_s < self.lock_s:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    self.sleep(_STEP_S)
                    waited_s += _STEP_S
            yield
