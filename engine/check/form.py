"""The form of what is loaded: JSON to entities, or all that is wrong in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache

import msgspec
from msgspec.structs import FieldInfo, fields

from engine.change import KINDS, Entity
from engine.check.findings import shown
from engine.errors import CatalogError
from engine.field_types import item_of, item_type, options_of, struct_of

MOST_FAULTS = 1000  # of an object that are looked for

_DECODER = msgspec.json.Decoder(Entity)
_AT = re.compile(r" - at `(key in )?\$(.*)`$")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
_PATTERN = re.compile(r"`str` matching regex (['\"].*['\"])")
_KINDS = re.compile(r"`([a-z |]+)`")
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "datetime": "a date and time with an offset",
    "null": "nothing",
}


def parse(
    data: bytes | object, line: int = 0, *, thorough: bool = True
) -> tuple[Entity | None, list[CatalogError]]:
    """Return the entity that JSON bytes or plain values stand for, or all that is wrong in its form.

    To find it all takes a hundred times as long as to see that something is wrong: one error says so where
    the search is not `thorough`.
    """
    try:
        try:
            entity: Entity = (
                _DECODER.decode(data) if isinstance(data, bytes) else msgspec.convert(data, Entity)
            )
            return entity, []
        except msgspec.ValidationError as error:
            first = str(error)
            if not thorough:
                return None, [CatalogError("(line)", first, "an object of its kind", line)]
            value = msgspec.json.decode(data) if isinstance(data, bytes) else data
    except RecursionError:
        return None, [CatalogError("(line)", "values nested too deeply", "an object", line)]
    except ValueError as error:
        whole = ", whole on one line" if line else ""
        expected = f"an object in JSON (UTF-8){whole}"
        return None, [CatalogError("(line)", f"no JSON: {error}", expected, line)]
    if not isinstance(value, dict):
        return None, [CatalogError("(line)", shown(value), "an object", line)]
    kind = value.get("kind")
    cls = KINDS.get(kind) if isinstance(kind, str) else None  # type: ignore[call-overload]  # any string
    if cls is None:
        return None, [CatalogError("kind", shown(kind), f"one of {', '.join(KINDS)}", line)]
    faults = _faults(cls, value, "", line)
    return None, faults or [CatalogError("(line)", first, f"a {kind}", line)]


def rest_of(data: bytes | object) -> tuple[Entity | None, frozenset[str]]:
    """Return what is left of a faulty object without its malformed fields, and their names.

    None where that is nothing whole: a field that it needs is malformed or missing.
    """
    try:
        value = msgspec.json.decode(data) if isinstance(data, bytes) else data
    except (ValueError, RecursionError):
        return None, frozenset()
    kind = value.get("kind") if isinstance(value, dict) else None
    cls = KINDS.get(kind) if isinstance(kind, str) else None  # type: ignore[call-overload]  # any string
    if cls is None or not isinstance(value, dict):
        return None, frozenset()
    types = {name: info.type for name, info in _fields(cls).items()} | {"kind": str}
    wrong = frozenset(name for name, part in value.items() if not _is_formed(part, types.get(name)))
    try:
        return msgspec.convert({n: v for n, v in value.items() if n not in wrong}, Entity), wrong
    except (msgspec.ValidationError, RecursionError):
        return None, wrong


@cache
def _fields(cls: type[msgspec.Struct]) -> Mapping[str, FieldInfo]:
    """Return the fields of an object, which take a millisecond to find, by the names under which they are written."""
    return {info.encode_name: info for info in fields(cls)}


def _is_formed(value: object, expected: object) -> bool:
    if expected is None:
        return False
    try:
        msgspec.convert(value, expected)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True


def _faults(cls: type[msgspec.Struct], value: dict[str, object], path: str, line: int) -> list[CatalogError]:
    known = _fields(cls)
    found = []
    for name in value:
        if name not in known and not (path == "" and name == "kind"):
            options = f"one of {', '.join(known)}"
            found.append(CatalogError(path or "(object)", shown(name), options, line, unknown_field=True))
    for name, info in known.items():
        before = len(found)
        inner = f"{path}.{name}" if path else name
        if name not in value:
            if info.required:
                found.append(CatalogError(inner, "nothing", "a value: the field is required", line))
            continue
        part, struct = value[name], struct_of(info.type)
        if struct is not None and isinstance(part, dict):
            found += _faults(struct, part, inner, line)
            continue
        item = item_of(info.type)
        if item is not None and isinstance(part, list) and all(isinstance(one, dict) for one in part):
            for number, one in enumerate(part):
                if len(found) >= MOST_FAULTS:
                    break
                found += _faults(item, one, f"{inner}[{number}]", line)
            if len(found) > before:
                continue
        try:
            msgspec.convert(part, type=info.type)
        except msgspec.ValidationError as error:
            found.append(_fault(str(error), part, info.type, inner, line))
    return found


def _fault(message: str, value: object, expected: object, path: str, line: int) -> CatalogError:
    place = _AT.search(message)
    if place is not None:
        message = message[: place.start()]
        path += place[2]
        for key, index in _STEP.findall(place[2]):
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, (list, tuple)) and index:
                value = value[int(index)]
    options = options_of(expected)
    if message.startswith("Invalid enum value"):  # in a list of words
        options = options or options_of(item_type(expected))
    wanted = f"one of {', '.join(options)}" if options else _in_words(message)
    return CatalogError(path, shown(value), wanted, line)


@cache
def _forms() -> Mapping[str, str]:
    """Return what the patterns of fields mean, as their descriptions say it."""
    found: dict[str, str] = {}
    waiting: list[object] = [msgspec.json.schema_components(tuple(KINDS.values()))]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if isinstance(part.get("pattern"), str) and "description" in part:
                found[part["pattern"]] = part["description"]
            waiting += part.values()
        elif isinstance(part, (list, tuple)):
            waiting += part
    return found


def _in_words(message: str) -> str:
    """Say what msgspec expected as those say it who write catalogues and no Python."""
    wanted = message.partition(", got `")[0].removeprefix("Expected ")
    if wanted in ("Invalid RFC3339 encoded datetime", "`datetime` with a timezone component"):
        return "a date and time with an offset, such as 2026-11-23T18:00:00+01:00"
    if form := _PATTERN.fullmatch(wanted):
        return _forms().get(ast.literal_eval(form[1]), wanted)
    return _KINDS.sub(
        lambda named: " or ".join(_WORDS.get(one, one) for one in named[1].split(" | ")), wanted
    )
