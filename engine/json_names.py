"""Names that stand twice in one JSON object: readers disagree on which value counts, so none is taken."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence

Path = tuple[str | int, ...]  # names, and places in arrays, from the outside in


class _Repeated(Exception):
    """A name stood in an object before."""


class _Pairs(list[tuple[str, object]]):
    """A JSON object with every name that was sent."""


def repeated_name(data: bytes) -> str | None:
    """Return a name that an object in these bytes has twice, or None; also None where they are no JSON."""
    try:
        _look(data.decode())
    except _Repeated as repeated:
        return str(repeated)
    except (ValueError, RecursionError):  # told by who reads it
        pass
    return None


def repeated_paths(data: bytes, unread: Collection[str] = ()) -> Iterator[Path]:
    """Yield where in these bytes of JSON an object has a name again; what is in `unread` fields is not looked at."""
    yield from _paths(json.loads(data, object_pairs_hook=_Pairs, parse_int=str), (), unread)


def _once(pairs: Sequence[tuple[str, object]]) -> None:
    if len(dict(pairs)) == len(pairs):
        return
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise _Repeated(name)
        seen.add(name)


# Numbers stay text: what they are is another's matter, and Python refuses some that are long.
_look = json.JSONDecoder(object_pairs_hook=_once, parse_int=str, parse_float=str).decode


def _paths(value: object, path: Path, unread: Collection[str] = ()) -> Iterator[Path]:
    """`unread` are names of the outermost object."""
    if isinstance(value, _Pairs):
        seen = set()
        for name, inner in value:
            if name in seen:
                yield (*path, name)
            seen.add(name)
            if name not in unread:
                yield from _paths(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _paths(inner, (*path, number))
