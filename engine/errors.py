"""Every error that the engine raises, one tree."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path


class EngineError(Exception):
    """The root of the engine's errors."""


# --- store and catalogue ---


class StoreError(EngineError):
    """A database that cannot be used; the text names the file and what to do."""


class CatalogError(EngineError):
    """One value of the catalogue that is wrong: where it stands, what came and what was expected.

    `line` counts from 1 in the loaded file; 0 where there is no file. `unknown_field` marks a field that
    does not exist: `got` is then its name, which an answer over HTTP must not echo.
    """

    def __init__(
        self, field: str, got: str, expected: str, line: int = 0, *, unknown_field: bool = False
    ) -> None:
        self.field = field
        self.got = got
        self.expected = expected
        self.line = line
        self.unknown_field = unknown_field
        where = f"line {line}: " if line else ""
        super().__init__(f"{where}{field}: got {got}, expected {expected}")


class CatalogErrors(EngineError):
    """What is wrong with a file or an object: all, or the first of at least `total` errors."""

    def __init__(self, errors: Sequence[CatalogError], total: int) -> None:
        self.errors = tuple(errors)
        self.total = total
        more = f"\n… and at least {total - len(errors)} more" if total > len(errors) else ""
        super().__init__("\n".join(map(str, errors)) + more)


class CatalogConflict(EngineError):
    """The catalogue changed between looking and writing, or the change would leave a reference hanging."""


class Overtaken(CatalogConflict):
    """What was to be changed says something else by now than when it was looked at."""


class Forbidden(EngineError):
    """The key's scope or tenant does not allow this."""


class NotFound(EngineError):
    """There is no such thing, or it belongs to another tenant: the two are not told apart."""


# --- starting and serving ---


class ConfigError(EngineError):
    """Settings that cannot be used; the text names each variable, what came and what was expected."""


class ServeError(EngineError):
    """The service cannot be started; the text says what to do."""


# --- deciding ---


class UnknownPublisher(EngineError):
    """No publisher of this id is registered."""

    def __init__(self, publisher: str) -> None:
        self.publisher = publisher
        super().__init__(f"publisher: got {publisher!r}, expected the id of a registered publisher")


class Forgotten(EngineError):
    """What stands for a page's words does not suffice any more: the words are needed again."""


class ModelError(EngineError):
    """Bytes that are no response model, or one that cannot be used."""


class PolicyRefused(EngineError):
    """A policy that may not decide: what the evidence is, and what it would have to be."""


class SnapshotError(EngineError):
    """A snapshot's file is missing or damaged; names it and says what to do."""

    def __init__(self, path: Path, fault: str) -> None:
        self.path = path
        super().__init__(
            f"{path}: {fault}; delete the folder {path.parent} and start again: it is built from the database"
        )


class BuildError(EngineError):
    """A snapshot was not built by the process that was to build it."""


# --- index ---


class IndexFileError(EngineError):
    """A file of a vector index is missing, damaged, or from another version; the message says what to do."""


# --- reporting ---


class ReportError(EngineError):
    """A report that cannot be made here; the text says what is missing."""


class QueryRefused(EngineError):
    """A question that no released table answers: which part of it, and what is allowed.

    `now` marks one that is refused as things stand: a day that is not released, or never will be.
    """

    def __init__(self, field: str, got: str, expected: str, *, now: bool = False) -> None:
        super().__init__(f"{field}: got {got}, expected {expected}")
        self.field, self.got, self.expected, self.now = field, got, expected, now


# --- proving ---


class ProofError(EngineError):
    """A promise cannot be tried here; the text says what is missing."""


# --- consent log ---


class LogRefused(EngineError):
    """The consent log is not signed any further: says what is wrong with it and what to do."""


# --- money ---


class MoneyError(EngineError):
    """A booking that cannot be: it would give back what was never billed, or its key stands for another."""


# --- events ---


class Busy(EngineError):
    """Events that cannot be kept now: they were not acknowledged, and may be sent again."""


_REMEDIES = {
    errno.EACCES: "let this user read and write it",
    errno.EROFS: "name a folder that can be written",
    errno.ENOSPC: "make room on its disk",
}


def in_words(error: Exception) -> str:
    """Say what failed; of what the system refused, which file it was and what to do."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    name, remedy = error.filename2 or error.filename, _REMEDIES.get(error.errno or 0)
    return ": ".join(str(part) for part in (name, error.strerror, remedy) if part)
