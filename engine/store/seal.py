"""The last line of a file that is kept: the SHA-256 of every byte before it.

It stands behind the pages of a SQLite file, where SQLite does not look: the file opens with it as without.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from engine.errors import StoreError

_SAYS = b"\nsha256 of all before this line: "
_LENGTH = len(_SAYS) + 64 + 1
_PAGE = 512  # a SQLite file is some of these long; with the line it is not
_BLOCK = 1024 * 1024  # bytes read at a time


def seal(path: Path) -> None:
    """Add the line to a finished SQLite file and bring it to the disk. Raises StoreError."""
    try:
        with path.open("r+b") as file:
            file.write(_line(file, path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(f"{path.parent}: no room for {path.name}, or no right to it ({error})") from error


def is_sealed(path: Path) -> bool:
    """Say whether the file has the line; one of an earlier release has none, and its bytes cannot be checked.

    Raises StoreError where any byte is another than was written, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size % _PAGE == 0:
                return False
            sound = size > _LENGTH and _line(file, size - _LENGTH) == file.read()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}): check path and rights") from error
    if not sound:
        raise StoreError(f"{path}: damaged: it holds other bytes than were written. Use another copy")
    return True


def _line(file: BinaryIO, length: int) -> bytes:
    """Return the line for the next `length` bytes of a file, which then stands behind them."""
    digest = hashlib.sha256()
    while length and (block := file.read(min(length, _BLOCK))):
        digest.update(block)
        length -= len(block)
    return _SAYS + digest.hexdigest().encode() + b"\n"
