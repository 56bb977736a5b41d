"""Work off the path: a bounded queue and one thread. What does not fit in the queue is dropped, never waited for."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)


YOUNG_S = 0.05  # a job waits so long: by then the request that brought it has its answer


class Background:
    """Runs jobs one after another. A job that is not begun in time is let go with all that it holds."""

    def __init__(self, name: str, most: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.dropped = 0
        self.failed = 0
        self._name = name
        self._most = most
        self._monotonic = monotonic
        self._jobs: deque[tuple[float, float, Callable[[], None]]] = deque()  # not before, until, job
        self._changed = threading.Condition()
        self._busy = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread. Not before a fork: threads do not survive it."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None], within_s: float) -> bool:
        """Queue a job to be begun within so many seconds; say whether there was room."""
        with self._changed:
            if len(self._jobs) >= self._most:
                self.dropped += 1
                return False
            self._jobs.append((time.monotonic() + YOUNG_S, self._monotonic() + within_s, job))
            self._changed.notify_all()
        return True

    def expire(self) -> None:
        """Let go of the jobs whose time is up, also while another one runs."""
        now = self._monotonic()
        with self._changed:
            kept = [item for item in self._jobs if item[1] >= now]
            self.dropped += len(self._jobs) - len(kept)
            self._jobs = deque(kept)

    def wait(self, timeout_s: float) -> bool:
        """Wait until all that is queued is done; say whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._busy, timeout_s)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Finish the job at hand, leave the rest, end the thread."""
        with self._changed:
            self._stopping = True
            self._jobs.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._jobs or self._stopping)
                if self._stopping:
                    return
                young_s = self._jobs[0][0] - time.monotonic()
                if young_s > 0:
                    self._changed.wait(young_s)
                    continue
                _, until, job = self._jobs.popleft()
                self._busy = True
            try:
                if self._monotonic() > until:
                    self.dropped += 1
                else:
                    job()
            except Exception as error:
                # A job that fails costs its own result, never the thread; its error may quote a page.
                self.failed += 1
                log.error("background job failed", extra={"queue": self._name, "error": type(error).__name__})
            finally:
                del job  # else what it holds would stay until the next one comes
