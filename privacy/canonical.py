"""JSON in the one way that RFC 8785 allows, of what consent needs: text, whole numbers, lists, mappings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_SAFE_INTEGER = 2**53 - 1  # RFC 8785 writes numbers as doubles do: exact up to here


def canonical(value: Any) -> bytes:
    """Write text, integers, lists, mappings, true, false and null so that equal values have equal bytes.

    Raises ValueError for anything else, naming where it stands. Names are ASCII: beyond, RFC 8785 orders them by
    UTF-16, which this does not.
    """
    _check(value, "value")
    return _ENCODER.encode(value).encode()


_ENCODER = json.JSONEncoder(
    default=dict, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)


def _check(value: Any, where: str) -> None:
    if isinstance(value, bool | str) or value is None:
        pass
    elif isinstance(value, int):
        if abs(value) > _SAFE_INTEGER:
            raise ValueError(f"{where}: got an integer of {value.bit_length()} bits, expected at most 53")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str) or not name.isascii():
                raise ValueError(f"{where}: got a name that is no ASCII text")
            _check(item, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        if set(map(type, value)) == {int} and max(map(abs, value)) <= _SAFE_INTEGER:
            return  # a million counts, say
        for number, item in enumerate(value):
            _check(item, f"{where}[{number}]")
    else:
        raise ValueError(
            f"{where}: got {value.__class__.__name__}, expected text, whole number, list, mapping or none"
        )
