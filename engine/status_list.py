"""The Token Status List of an installation: by it others see that a consent has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from privacy.consent_token import Issuer

STATUS_PATH = "/v1/consents/status"
_ANEW = timedelta(seconds=1)  # a list is signed at most so often


class StatusList:
    """Signs the Token Status List by which others see that a consent has ended."""

    def __init__(
        self,
        issuer: Issuer,
        uri: str,
        statuses: Callable[[], tuple[int, list[int]]],
        now: Callable[[], datetime],
    ) -> None:
        """`statuses` gives the list's length and the places whose consents have ended."""
        self._issuer, self._uri, self._statuses, self._now = issuer, uri, statuses, now
        self._lock = threading.Lock()
        self._signed: tuple[datetime, str] | None = None

    def token(self) -> str:
        """Return the signed list, a second old at most."""
        with self._lock:
            now = self._now()
            if self._signed is None or not timedelta() <= now - self._signed[0] < _ANEW:
                self._signed = now, self._issuer.status_list(self._uri, *self._statuses(), now)
            return self._signed[1]
