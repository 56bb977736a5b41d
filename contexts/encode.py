"""Encoders: text to vectors. Each heavy one has its own module; this one holds what they promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from contexts.context import EncoderId, Vector

TOKENS = 64  # read of a text on first view: matches about as well as 256, at a quarter of the time
CHARS_PER_TOKEN = 12  # more than prose of any language needs; what lies behind cannot reach a token


class Encoder(Protocol):
    """Turns texts into vectors of one space, named by `id`; vectors of two spaces are never compared."""

    @property
    def id(self) -> EncoderId:
        """Name of the space: model, its weights' hash, tokens read, runtime. Changes when vectors would."""

    @property
    def dim(self) -> int:
        """Numbers a vector."""

    def encode(self, texts: Sequence[str], tokens: int = TOKENS) -> Vector:
        """Return (len(texts), dim) float32 rows of norm 1; a text with no words gives a zero row.

        `tokens` of each text are read; the rest of it costs nothing and changes nothing. A row depends on
        its own text alone, never on its neighbours. Safe from several threads.
        """


class Runtime(Protocol):
    """One loaded model. Safe from several threads."""

    def embed(self, text: str, tokens: int) -> Vector:
        """Return (dim,) float32 for the first `tokens` tokens of a readable text."""


@dataclass(frozen=True, slots=True)
class RuntimeEncoder:
    """An encoder over one runtime.

    Texts are run one by one: on one core a batch gains nothing (measured: padding costs what it saves), and
    int8 scales are taken over a whole batch, so that a row would depend on its neighbours.
    """

    id: EncoderId
    dim: int
    runtime: Runtime

    def encode(self, texts: Sequence[str], tokens: int = TOKENS) -> Vector:
        """Return (len(texts), dim) float32 rows of norm 1; a text with no words gives a zero row."""
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            words = readable(text, tokens)
            if words:
                row[:] = unit(self.runtime.embed(words, tokens))
        return rows


def readable(text: str, tokens: int) -> str:
    """Return the start of a text that can reach the first `tokens` tokens, white space collapsed.

    Empty where there is no letter and no digit in it. Only a bounded part of `text` is looked at.
    """
    chars = tokens * CHARS_PER_TOKEN
    start = " ".join(text[: chars * 8].split())[:chars]
    if not any(map(str.isalnum, start)):
        return ""
    return start.encode("utf-8", "replace").decode("utf-8")  # lone surrogates: tokenizers refuse them


def unit(vectors: Vector) -> Vector:
    """Scale vectors along the last axis to norm 1; zero (or not finite) ones become zero."""
    norms = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))[..., None]
    usable = np.isfinite(norms) & (norms > 0)
    scaled: Vector = (vectors / np.where(usable, norms, 1)).astype(np.float32, copy=False)
    scaled[~usable[..., 0]] = 0
    return scaled
