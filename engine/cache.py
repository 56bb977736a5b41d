"""What can be computed again: a bounded map that forgets the oldest, and a memory of what comes again at all."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Hashable
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """Reading takes no lock; writing takes one."""

    __slots__ = ("_items", "_writing", "get", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._items: dict[K, V] = {}
        self._writing = threading.Lock()
        self.get = self._items.get

    def put(self, key: K, value: V) -> None:
        """Keep a value, forgetting the oldest quarter first where there is no room."""
        with self._writing:
            if len(self._items) >= self.most and key not in self._items:
                for old in list(islice(self._items, self.most // 4 + 1)):
                    del self._items[old]
            self._items[key] = value

    def drop(self, key: K) -> None:
        """Forget a value."""
        with self._writing:
            self._items.pop(key, None)

    def __len__(self) -> int:
        return len(self._items)

    def values(self) -> list[V]:
        """Return what is kept, oldest first."""
        with self._writing:
            return list(self._items.values())


class Returning:
    """Says which keys come again, so that what comes but once is not kept.

    It remembers hashes alone, each in its one place, until another key takes that. What is never kept is freed at once,
    and its memory used again while it is warm: that costs less than to keep it and forget it later.
    """

    def __init__(self, places: int) -> None:
        """`places` is a power of two."""
        self._last = places - 1
        self._hashes = array("q", range(-1, -places - 1, -1))  # none of them is of its place

    def again(self, key: Hashable) -> bool:
        """Say whether a key was asked for before, lately; it was, from now on."""
        told = hash(key)
        at = told & self._last
        if self._hashes[at] == told:
            return True
        self._hashes[at] = told
        return False
