"""Every error that the engine raises, one tree."""

from __future__ import annotations


class EngineError(Exception):
    """Something that the engine refuses; the message says what came and what was expected."""


class ConfigError(EngineError):
    """A setting that cannot be used."""


class ServeError(EngineError):
    """The service cannot be started."""
