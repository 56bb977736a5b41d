"""Lots drawn from random bytes."""

from __future__ import annotations

from collections.abc import Callable

BYTES = 7
BITS = 52


class Chance:
    """Draws numbers, all alike likely, from a source of random bytes."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._bytes = random_bytes

    def below(self, count: int) -> int:
        """Return one of `count` numbers, from 0."""
        return int.from_bytes(self._bytes(BYTES), "big") * count >> 8 * BYTES

    def share(self) -> float:
        """Return a number from 0 up to 1."""
        return self.below(1 << BITS) / (1 << BITS)
