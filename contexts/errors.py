"""Every error that contexts raises, one tree."""

from __future__ import annotations


class ContextError(Exception):
    """What is going on around a page view could not be told."""


class DataError(ContextError):
    """A data file does not hold what it should: which file, which line, what was expected."""


class FetchError(ContextError):
    """A publisher's page was not fetched; `reason` is a short fixed word, good for counters."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
