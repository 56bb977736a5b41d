"""Every error that contexts raises, one tree."""

from __future__ import annotations


class ContextError(Exception):
    """Something about a context could not be said."""


class FactError(ContextError):
    """A stated fact is outside of what its field may say. Carries both sides of the mismatch."""

    def __init__(self, field: str, got: object, expected: str) -> None:
        self.field = field
        self.got = got if len(repr(got)) <= 60 else f"{repr(got)[:57]}..."
        self.expected = expected
        super().__init__(f"{field}: got {self.got!r}, expected {expected}")


class WeatherSourceError(ContextError):
    """A weather source did not answer, or not with weather. Carries the source's name and what went wrong."""

    def __init__(self, source: str, reason: str) -> None:
        self.source = source
        self.reason = reason
        super().__init__(f"weather source {source}: {reason}")


class ModelError(ContextError):
    """A model folder or file is missing, damaged or unusable; the message names it and the remedy."""


class DataError(ContextError):
    """A data file does not hold what it should: which file, which line, what was expected."""


class FetchError(ContextError):
    """A publisher's page was not fetched; `reason` is a short fixed word, good for counters."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class WeatherSourceDown(WeatherSourceError):
    """The source cannot be asked at all for now; asking for another place would not help."""
