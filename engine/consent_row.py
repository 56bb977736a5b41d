"""A subject's consent at a publisher, as it is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from privacy.consent import Purpose, State


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """A subject's consent at a publisher."""

    publisher: str
    subject: str  # keyed hash, hex
    record: str  # UUID of the record, which a consent that is given anew after its end gets anew
    generation: int
    state: State
    purposes: frozenset[Purpose]
    expires: datetime
    ended: datetime | None = None  # when it was withdrawn, expired or was invalidated
    status_idx: int | None = None  # its place in the status list, where it did not end


# Gives what is recorded for the leaf at an index: the leaf, and the ciphertext beside it.
Note = Callable[[ConsentRow, int], tuple[bytes, bytes]]
