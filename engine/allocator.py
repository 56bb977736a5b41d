"""What glibc's allocator is told, where there is one: few arenas, and to give back what starting leaves behind."""

from __future__ import annotations

import ctypes
from typing import Any

ARENAS = (
    2  # by default 8 a core, of which each keeps what some thread once needed; Python's lock lets one work
)
_M_ARENA_MAX = -8  # malloc.h


def keep_few_arenas() -> None:
    """Bound the arenas of this process; call it before threads begin."""
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Return free memory to the system."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)


def _function(name: str) -> Any | None:
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # no such thing here
        return None
