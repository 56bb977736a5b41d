"""Names that stand twice in one JSON object: readers disagree on which value counts, so what is kept has none."""

from __future__ import annotations

import json
from collections.abc import Sequence


class _Repeated(Exception):
    """A name stood in an object before."""


def repeated_name(data: bytes) -> str | None:
    """Return a name that an object in these bytes has twice, or None; also None where they are no JSON."""
    try:
        json.loads(data, object_pairs_hook=_once)
    except _Repeated as repeated:
        return str(repeated)
    except (ValueError, RecursionError):  # told by who reads it
        pass
    return None


def _once(pairs: Sequence[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Repeated(next(name for at, name in enumerate(names) if name in names[:at]))
