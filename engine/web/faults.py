"""Everything that is wrong with a JSON body, by field; what came is named by its kind, never quoted.

msgspec stops at the first fault. When it refuses a body, this walks the same types over the plain JSON
values and lets msgspec judge each leaf, so that one answer names every field to mend.
"""

from __future__ import annotations

import json
import math
import re
import types
import typing
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from engine.json_names import Path, repeated_name, repeated_paths

MAX_FAULTS = 50
# A value or name is shown only if it can be a word of a closed vocabulary: letters alone hold no e-mail
# address, no number and no token worth the name.
_WORD = re.compile(r"[A-Za-z]{1,16}([_-][A-Za-z]{1,16}){0,3}", re.ASCII)


class Fault(Struct, frozen=True):
    """A field (JSON path, `$` for the body), the kind of thing that came, and what was expected."""

    field: str
    got: str
    expected: str


class Malformed(ValueError):
    """The body is not JSON. `faults` says where."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("malformed JSON")
        self.faults = faults


def faults_of(data: bytes, kind: Any) -> tuple[Fault, ...]:
    """Say what keeps `data` from being a `kind`, up to MAX_FAULTS. Raises Malformed if it is no JSON."""
    try:
        value = msgspec.json.decode(data)
    except RecursionError:
        raise Malformed(Fault("$", "JSON nested too deeply", "at most a few levels")) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(*_malformed(data, kind, error)) from None
    found = tuple(islice(walk(value, kind), MAX_FAULTS))
    return found or (Fault("$", describe(value), "a body as /openapi.json describes it"),)


def repeats_of(data: bytes, kind: Any) -> tuple[Fault, ...]:
    """Name the fields that stand in a JSON body again, which readers of it would understand differently.

    What a Raw field holds is for who reads it.
    """
    if repeated_name(data) is None:
        return ()
    unread = [one.encode_name for one in msgspec.structs.fields(kind) if one.type is msgspec.Raw]
    found = islice(repeated_paths(data, unread), MAX_FAULTS)
    return tuple(Fault(_shown(path), "the field again", "each field once") for path in found)


def describe(value: object) -> str:
    """Name the kind of a JSON value, and its size: `string of 12 characters`."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float() if math.isnan(value):
            return "NaN"
        case float() if math.isinf(value):
            return "infinity"
        case float():
            return "number"
        case str():
            return f"string of {len(value)} characters"
        case list():
            return f"array of {len(value)}"
        case _:
            return "object"


def word(text: str) -> str:
    """Show a name if it could be one of ours misspelt, else only its length."""
    return text if _WORD.fullmatch(text) else f"<name of {len(text)} characters>"


def walk(value: object, kind: Any, path: str = "") -> Iterator[Fault]:
    """Yield each fault of `value` against the type `kind`, in the order of the type's fields."""
    kind, metas = _bare(kind)
    if kind is msgspec.Raw:
        return  # what is read later, by another, or never
    if value is None and _is_optional(kind):
        return
    if _is_optional(kind):
        kind, more = _bare(next(arg for arg in typing.get_args(kind) if arg is not type(None)))
        metas += more
    if isinstance(value, str) and not _is_unicode(value):
        yield Fault(path or "$", "string that is not UTF-8", _expected(kind, metas))
    elif isinstance(value, float) and not math.isfinite(value):
        yield Fault(path or "$", describe(value), _expected(kind, metas))
    elif isinstance(kind, type) and issubclass(kind, Struct):
        yield from _walk_struct(value, kind, path)
    elif typing.get_origin(kind) in (tuple, list):
        yield from _walk_array(value, kind, metas, path)
    elif typing.get_origin(kind) is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, typing.get_args(kind)[1], _join(path, word(key)))
    elif not _fits(value, kind, metas):
        shown = word(value) if typing.get_origin(kind) is Literal and isinstance(value, str) else ""
        got = shown if shown and not shown.startswith("<") else describe(value)
        yield Fault(path or "$", got, _expected(kind, metas))


def _walk_struct(value: object, kind: type[Struct], path: str) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield Fault(path or "$", describe(value), "object")
        return
    hints = typing.get_type_hints(kind, include_extras=True)
    known = {kind.__struct_config__.tag_field}
    for field in msgspec.structs.fields(kind):
        known.add(field.encode_name)
        if field.encode_name in value:
            yield from walk(value[field.encode_name], hints[field.name], _join(path, field.encode_name))
        elif field.required:
            yield Fault(_join(path, field.encode_name), "nothing", _expected(*_bare(hints[field.name])))
    tag_field, tag = kind.__struct_config__.tag_field, kind.__struct_config__.tag
    if tag_field and value.get(tag_field, tag) != tag:
        yield Fault(_join(path, tag_field), describe(value[tag_field]), f"{tag!r}, or nothing")
    for name in value:
        if name not in known:
            yield Fault(
                _join(path, word(name)), "unknown field", f"one of {', '.join(sorted(filter(None, known)))}"
            )


def _walk_array(value: object, kind: Any, metas: tuple[Meta, ...], path: str) -> Iterator[Fault]:
    args = typing.get_args(kind)
    fixed = typing.get_origin(kind) is tuple and Ellipsis not in args
    right_size = isinstance(value, list) and (len(value) == len(args) if fixed else _fits(value, list, metas))
    if not isinstance(value, list) or not right_size:
        yield Fault(path or "$", describe(value), _expected(kind, metas))
        return
    for number, item in enumerate(value):
        yield from walk(item, args[number] if fixed else args[0], f"{path}[{number}]")


def _malformed(data: bytes, kind: Any, error: Exception) -> tuple[Fault, ...]:
    # NaN, Infinity, 1e999, broken UTF-8 and lone surrogates are no JSON, but the standard library reads
    # them, and then the field that holds them has a name.
    try:
        value = json.loads(data.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        where = re.search(r"\(byte (\d+)\)", str(error))
        got = f"malformed JSON at byte {where[1]}" if where else "malformed JSON"
        return (Fault("$", got, "JSON (RFC 8259) in UTF-8"),)
    found = tuple(islice(walk(value, kind), MAX_FAULTS))
    return found or (Fault("$", "malformed JSON", "JSON (RFC 8259) in UTF-8"),)


def _bare(kind: Any) -> tuple[Any, tuple[Meta, ...]]:
    metas: tuple[Meta, ...] = ()
    while typing.get_origin(kind) is Annotated:
        kind, *extras = typing.get_args(kind)
        metas += tuple(extra for extra in extras if isinstance(extra, Meta))
    return kind, metas


def _is_optional(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType) and type(None) in typing.get_args(kind)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fits(value: object, kind: Any, metas: tuple[Meta, ...]) -> bool:
    for meta in metas:
        kind = Annotated[kind, meta]
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _expected(kind: Any, metas: tuple[Meta, ...]) -> str:
    bounds = {
        name: bound
        for meta in metas
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern")
        if (bound := getattr(meta, name)) is not None
    }
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) in (tuple, list):
        args = typing.get_args(kind)
        if typing.get_origin(kind) is tuple and Ellipsis not in args:
            return f"array of {len(args)}"
        return "array" + _length(bounds, "items")
    if kind is datetime:
        return "date-time with an offset from UTC (RFC 3339)"
    if kind is str:
        pattern = f" matching {bounds['pattern']}" if "pattern" in bounds else ""
        return "string" + _length(bounds, "characters") + pattern
    name = {int: "integer", float: "number", bool: "boolean"}.get(kind, "object")
    if "ge" in bounds and "le" in bounds:
        return f"{name} from {bounds['ge']} to {bounds['le']}"
    return name


def _length(bounds: dict[str, Any], unit: str) -> str:
    low, high = bounds.get("min_length", 0), bounds.get("max_length")
    return f" of {low} to {high} {unit}" if high is not None else ""


def _shown(path: Path) -> str:
    shown = ""
    for step in path:
        shown = f"{shown}[{step}]" if isinstance(step, int) else _join(shown, word(step))
    return shown


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
