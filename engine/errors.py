"""Every error that engine raises, one tree."""

from __future__ import annotations


class EngineError(Exception):
    """Something that engine could not do."""


class IndexFileError(EngineError):
    """A file of a vector index is missing, damaged, or from another version; the message says what to do."""
