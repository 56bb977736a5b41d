"""Encoders: text to vectors. Each heavy one has its own module; this one holds what they promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from contexts.context import EncoderId, Vector


class Encoder(Protocol):
    """Turns texts into vectors of one space, named by `id`; vectors of two spaces are never compared."""

    @property
    def id(self) -> EncoderId:
        """Name of the space: model, its weights' hash, tokens read. Changes whenever vectors would."""

    @property
    def dim(self) -> int:
        """Numbers a vector."""

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return (len(texts), dim) float32 rows of norm 1; a text with no words gives a zero row."""
