"""Rate limits per publisher: token buckets in the memory of a worker. No address is looked at."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Lock


class RateLimits:
    """Allows each publisher its requests a second over all workers, with a burst of two seconds' worth."""

    def __init__(self, clock: Callable[[], float], workers: int = 1) -> None:
        self._clock, self._workers = clock, workers
        self._lock = Lock()
        self._buckets: dict[str, tuple[float, float]] = {}  # publisher → tokens left, at this time

    def take(self, publisher: str, rate_per_s: int) -> int:
        """Take a token and return 0, or return the whole seconds to wait. `publisher` is a registered one."""
        rate = rate_per_s / self._workers
        burst = max(1.0, 2 * rate)
        now = self._clock()
        with self._lock:
            left, then = self._buckets.get(publisher, (burst, now))
            left = min(burst, left + (now - then) * rate)
            if left < 1:
                self._buckets[publisher] = (left, now)
                return math.ceil((1 - left) / rate)
            self._buckets[publisher] = (left - 1, now)
            return 0
