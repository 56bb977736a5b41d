"""The bytes of a SQLite file, read beside SQLite.

A process that closes any descriptor of a file lets go of all its POSIX locks on it, SQLite's among them; another
process then takes itself for the last user and removes the write-ahead log
(https://www.sqlite.org/howtocorrupt.html, section 2.2). So the file is opened once, and closed behind all connections.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

CHUNK = 1 << 20  # bytes read at once


class FileBytes:
    """One file, by whatever name it goes now. Safe with threads."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened before it is read."""
        self.path = path
        self._lock = threading.Lock()
        self._files: list[int] = []  # descriptors; the last is the file's that stands under the path

    def head(self, size: int) -> bytes:
        """Return the first bytes. Raises OSError where there is no file."""
        return os.pread(self._descriptor(), size, 0)

    def holds(self, needles: Sequence[bytes]) -> bool:
        """Say whether any of these bytes stands in the file. Raises OSError where there is none."""
        file, at = self._descriptor(), 0
        overlap = max(map(len, needles), default=1) - 1
        while data := os.pread(file, CHUNK + overlap, at):
            if any(needle in data for needle in needles):
                return True
            at += CHUNK
        return False

    def close(self) -> None:
        """Close the file; no connection to it may be open any more."""
        with self._lock:
            for file in self._files:
                os.close(file)
            self._files.clear()

    def _descriptor(self) -> int:
        with self._lock:
            there = self.path.stat()
            if not self._files or not os.path.samestat(os.fstat(self._files[-1]), there):
                self._files.append(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC))
            return self._files[-1]
