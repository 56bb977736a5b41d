"""A bounded map for what can be computed again; when full it forgets the oldest quarter."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """Reading takes no lock; writing takes one."""

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
