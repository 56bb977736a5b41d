"""Connections to one SQLite file, lent to one thread at a time: a server's threads come and go, connections stay."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class _Made:
    """The connections that one process made, and those of them that are lent to nobody."""

    all: list[sqlite3.Connection] = field(default_factory=list)
    free: list[sqlite3.Connection] = field(default_factory=list)


class Connections:
    """As many connections as were ever in use at once. None is carried across a fork: SQLite would lose its locks."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """`connect` makes one that may be used, and closed, in any thread."""
        self._connect = connect
        self._made: dict[int, _Made] = {}  # process → what it made
        self._held = threading.local()

    @contextmanager
    def lent(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection; whoever holds one is lent the same again, and sees what it has not committed yet."""
        pid = os.getpid()
        holder, db = getattr(self._held, "by", (pid, None))
        if db is not None and holder == pid:
            yield db
            return
        made = self._made.setdefault(pid, _Made())
        try:
            db = made.free.pop()
        except IndexError:
            db = self._connect()
            made.all.append(db)
        self._held.by = pid, db
        try:
            yield db
        finally:
            self._held.by = pid, None
            made.free.append(db)

    def close(self) -> None:
        """Close all that this process made, lent or not."""
        made = self._made.pop(os.getpid(), _Made())
        for db in made.all:
            db.close()
