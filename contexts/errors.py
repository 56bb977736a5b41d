"""Every error that contexts raises, one tree."""

from __future__ import annotations


class ContextError(Exception):
    """The root: something around a page view could not be found out."""


class ModelError(ContextError):
    """A model folder or file is missing, damaged or unusable; the message names it and the remedy."""
