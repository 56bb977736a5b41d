"""The most that each scope of privacy loss ever spent, in a file beside the keys: no restore takes it back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from errno import ENOSPC
from pathlib import Path

FILE = "ledger-high.txt"
FILE_MODE = 0o600


class HighWater:
    """One line a change. A line that was torn off is passed over."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, int]:
        """Return the mark of each scope."""
        return _marks(self.path.read_bytes()) if self.path.exists() else {}

    def write(self, spent: Mapping[str, int]) -> None:
        """Add marks, on the disk when this returns; those that are lower than what stands change nothing."""
        new = not self.path.exists()
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
        try:
            lines = _lines(spent.items())
            if os.write(file, lines) < len(lines):  # one write: processes append at once
                raise OSError(ENOSPC, os.strerror(ENOSPC), str(self.path))
            os.fsync(file)
        finally:
            os.close(file)
        if new:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _lines(marks: Iterable[tuple[str, int]]) -> bytes:
    # A line end before each, so that one that was torn off spoils no other.
    return "".join(f"\n{scope} {spent} ." for scope, spent in marks).encode()


def _marks(data: bytes) -> dict[str, int]:
    marks: dict[str, int] = {}
    for line in data.decode("utf-8", "replace").split("\n"):
        scope, _, rest = line.partition(" ")
        amount, _, end = rest.partition(" ")
        if end == "." and amount.isdigit():
            marks[scope] = max(marks.get(scope, 0), int(amount))
    return marks
