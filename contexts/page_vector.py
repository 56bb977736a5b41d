"""The better vector of a page, made off the request path: its opening, its whole, what its parts agree on."""

from __future__ import annotations

import textwrap

import numpy as np

from contexts.context import Vector
from contexts.encode import Encoder, unit

WHOLE = 256  # tokens read at once: what the model was made for
PART_CHARS = 280  # about as many as the encoder reads of a text
PARTS = 12  # some 500 words; what comes later in a page tells little more


def better_vector(encoder: Encoder, text: str) -> Vector:
    """Return (dim,) float32 of norm 1, in the encoder's space; zero where the text has no words.

    A menu or a footer is unlike the rest of the page: parts count by how well they agree with their mean.
    Costs up to PARTS + 5 encodings of an opening.
    """
    opening: Vector = encoder.encode([text])[0]
    parts = encoder.encode(_parts(text))
    if len(parts) < 2:
        return opening
    whole = encoder.encode([text], tokens=WHOLE)[0]
    agreement = np.maximum(parts @ unit(parts.mean(axis=0)), 0) ** 4
    return unit(opening + whole + unit(agreement @ parts))


def _parts(text: str) -> list[str]:
    start = " ".join(text[: PARTS * PART_CHARS * 4].split())[: PARTS * PART_CHARS]
    return textwrap.wrap(start, PART_CHARS, break_on_hyphens=False)
