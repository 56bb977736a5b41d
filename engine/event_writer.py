"""Group commit: one thread of a process keeps what its requests bring, many at a time, and then has them answered.

Nobody is told that its events are kept before they are on the disk. A full queue refuses them; what nobody waits for
(how much decisions were asked, impressions counted at the decision) is dropped then.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from engine.errors import Busy, EngineError
from engine.events import Asked, Event, EventStore

log = logging.getLogger(__name__)

Told = Callable[[bool], object]  # is told whether the events are on the disk

MOST = 20_000  # events that wait
GATHER_S = 0.006  # the first of a batch waits so long for others: with its commit, within 20 ms
NOTED_S = 1.0  # what nobody waits for is kept after so long at the latest
WAIT_S = 10.0  # longer than that a commit does not take where anything works


class _Batch:
    """What is kept together."""

    __slots__ = ("events", "fault", "waiting")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.waiting: list[Told] = []
        self.fault: Exception | None = None

    def done(self) -> None:
        """Tell all who wait."""
        for told in self.waiting:
            try:
                told(self.fault is None)
            except Exception as error:  # of one who is told: the others are told, too
                log.error("an answer failed: %s", type(error).__name__)


class EventWriter:
    """Keeps events in batches."""

    def __init__(self, store: EventStore, *, most: int = MOST, gather_s: float = GATHER_S) -> None:
        self._store, self._most, self._gather_s = store, most, gather_s
        self._changed = threading.Condition()
        self._batch = _Batch()
        self._noted: deque[Asked] = deque(maxlen=most)
        self._awaited = False
        self._hurried = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread. Not before a fork: threads do not survive it."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def keep(self, events: Sequence[Event]) -> None:
        """Return when the events are on the disk. Raises Busy where that cannot be promised."""
        done = _taken_lock()
        batch = self._join(events, lambda kept: done.release())
        if not done.acquire(timeout=WAIT_S):
            raise Busy("events: the store does not answer")
        if batch.fault is not None:
            raise Busy("events: the store cannot keep them") from batch.fault

    def keep_later(self, events: Sequence[Event], told: Told) -> None:
        """Have `told` called by another thread once it is known whether the events are on the disk.

        Raises Busy where they are not taken: then it is never called.
        """
        self._join(events, told)

    def _join(self, events: Sequence[Event], told: Told) -> _Batch:
        with self._changed:
            batch = self._batch
            if self._stopping or self._thread is None or len(batch.events) + len(events) > self._most:
                raise Busy("events: the queue is full")
            batch.events.extend(events)
            batch.waiting.append(told)
            if not self._awaited:
                self._awaited = True
                self._changed.notify_all()
        return batch

    def note(self, asked: Asked, events: Sequence[Event] = ()) -> None:
        """Keep soon what a decision was asked, and what was counted with it; nobody waits, and it may be dropped."""
        self._noted.append(asked)  # the oldest is dropped where there are too many
        if events:
            with self._changed:
                if len(self._batch.events) + len(events) <= self._most:
                    self._batch.events.extend(events)

    def wait(self, timeout_s: float) -> bool:
        """Have all that was brought so far kept now; say whether it was."""
        done = _taken_lock()
        with self._changed:
            self._batch.waiting.append(lambda kept: done.release())
            self._awaited = self._hurried = True
            self._changed.notify_all()
        return done.acquire(timeout=timeout_s)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Keep what waits and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._awaited or self._stopping, NOTED_S)
                if self._gather_s:
                    self._changed.wait_for(lambda: self._hurried or self._stopping, self._gather_s)
                batch, self._batch = self._batch, _Batch()
                self._awaited = self._hurried = False
                stopping = self._stopping
            self._keep(batch, self._take_noted())
            if stopping:
                return

    def _take_noted(self) -> list[Asked]:
        """Return what was noted, added up."""
        sums: dict[tuple[int, str, str], list[int]] = {}
        for _ in range(len(self._noted)):
            one = self._noted.popleft()
            line = sums.setdefault((one.day, one.publisher, one.section), [0, 0])
            line[0] += one.asked
            line[1] += one.filled
        return [Asked(*key, *line) for key, line in sums.items()]

    def _keep(self, batch: _Batch, decided: Sequence[Asked]) -> None:
        try:
            if batch.events or decided:
                self._store.keep(batch.events, decided)
        except Exception as error:  # whoever waits is told; the thread goes on
            batch.fault = error
            told = str(error) if isinstance(error, EngineError) else type(error).__name__
            log.error("events not kept: %s", told)
        finally:
            batch.done()


def _taken_lock() -> threading.Lock:
    """Return a lock that another thread lets go. An Event would have all who wait queue for its own lock again."""
    lock = threading.Lock()
    lock.acquire()
    return lock
