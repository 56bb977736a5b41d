"""What SQL that both kinds of database understand goes through: a value's place is "?", rows come as tuples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from engine.store.forms import BUSY_TIMEOUT_S


class Room(StrEnum):
    """What is changed by one transaction at a time. Whoever takes two takes them in this order."""

    CATALOGUE = "catalogue"  # the counters, and all that moves them
    VECTORS = "vectors"
    PAGES = "pages"
    LOG = "log"  # the leaves, and all that is told of in them
    MONEY = "money"  # which campaigns have an account, and the journal; shared by all who book
    SCHEMA = "schema"
    WRITER = "writer"  # held by the session of the process that publishes the log
    HOUSE = "house"  # shared by all sessions; had alone by who copies or restores


class Result(Protocol):
    """What a statement found."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""

    def fetchone(self) -> Any:
        """Give the next row, None after the last one."""

    def fetchall(self) -> list[Any]:
        """Give the rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """Give the rows that are left, one after the other."""


class Connection(Protocol):
    """A connection within a transaction."""

    def execute(self, sql: str, arguments: Sequence[Any] = ..., /) -> Result:
        """Run a statement."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Run a statement once for each of the rows of its arguments."""


class Database(ABC):
    """The database of a store. One public method of a store is one transaction."""

    broken: ClassVar[type[Exception]]  # raised where rows refer to what does not exist

    @abstractmethod
    def rows(self, sql: str, arguments: tuple[object, ...] = (), wait_s: float = BUSY_TIMEOUT_S) -> list[Any]:
        """Return the rows of one statement that only reads; a page view waits `wait_s` at most. Raises StoreError."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]:
        """Hold one consistent state, on a connection of its own, however long it is read. Raises StoreError."""

    @abstractmethod
    def writing(self, wait_s: float = BUSY_TIMEOUT_S) -> AbstractContextManager[Connection]:
        """Hold a write transaction: committed at the end, undone where anything is raised. They do not nest.

        Others are waited for `wait_s` seconds. Raises StoreError, and `broken` as it comes.
        """

    @abstractmethod
    def is_writing(self, db: Connection) -> bool:
        """Say whether a connection is within a transaction."""

    @abstractmethod
    def hold(self, db: Connection, *rooms: Room) -> None:
        """Keep others from changing what is in these rooms until the write transaction ends."""

    @abstractmethod
    def scrub(self, needles: Sequence[bytes]) -> None:
        """Rid the database of these bytes, whose rows are deleted; `()` rids it of all that no row holds.

        Raises StoreError where that cannot be done now.
        """

    @abstractmethod
    def stream(self, db: Connection, sql: str, arguments: tuple[object, ...] = ()) -> Iterator[Any]:
        """Yield rows as they are needed. Requires a transaction, whose one state they are of."""


def marks(values: Sequence[object]) -> str:
    """Give the places of so many values between parentheses: nothing is IN a list of none."""
    return f"({', '.join('?' * len(values)) or 'NULL'})"
