"""Tables (RFC 4180) as objects of the catalogue: a row each, a column a field by its path, `flight.start`.

A blank cell is a field that is left out. A cell of a list holds its values with ";" between them, or JSON; what is
nested deeper holds JSON. Numbers, true and false are read as the field's type asks; what cannot be is told.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec.structs import fields

from engine.change import KINDS
from engine.errors import CatalogError
from engine.field_types import struct_of
from engine.json_names import repeated_name

MAX_CSV = 64 * 2**20  # bytes of a file
MAX_CELL = 2**20  # characters
MAX_COLUMNS = 1000  # three times as many as there are fields
SEPARATOR = ";"


class CsvFile:
    """A table with a header; each row says its `kind`, or the file has that column once for all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder: Path | None = path.parent

    def __iter__(self) -> Iterator[tuple[int, bytes | object]]:
        """Yield each row as an object, with the line on which it ends."""
        if self.path.stat().st_size > MAX_CSV:
            size = f"{self.path.stat().st_size} bytes"
            yield 1, CatalogError("file", size, f"at most {MAX_CSV} bytes of CSV, or NDJSON", 1)
            return
        csv.field_size_limit(MAX_CELL)
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                yield from _rows(csv.reader(file, strict=True))
        except UnicodeDecodeError:
            line = _line_without_utf8(self.path.read_bytes())
            yield line, CatalogError("(line)", "no UTF-8", "CSV in UTF-8", line)


def _line_without_utf8(data: bytes) -> int:
    try:
        data.decode()
    except UnicodeDecodeError as error:  # the reader's own counts from where its last piece began
        return data.count(b"\n", 0, error.start) + 1
    return 1


def _rows(table: Any) -> Iterator[tuple[int, object]]:
    header: list[str] | None = None
    while True:
        try:
            cells = next(table)
        except StopIteration:
            return
        except csv.Error as error:
            yield (
                table.line_num,
                CatalogError("(line)", f"no CSV: {error}", "rows of RFC 4180", table.line_num),
            )
            return
        line = table.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            fault = _fault_of(header, line)
            if fault is not None:
                yield line, fault
                return
        elif len(cells) != len(header):
            yield (
                line,
                CatalogError("(line)", f"{len(cells)} cells", f"{len(header)}, as the header has", line),
            )
        else:
            yield line, _object(dict(zip(header, cells, strict=True)), line)


def _fault_of(header: list[str], line: int) -> CatalogError | None:
    if len(header) > MAX_COLUMNS:
        return CatalogError("(line)", f"{len(header)} columns", f"at most {MAX_COLUMNS}", line)
    twice = next((name for at, name in enumerate(header) if name in header[:at]), None)
    if twice is not None:
        return CatalogError(ascii(twice)[:80], "the column again", "each column once", line)
    parting = next((mark for mark in (";", "\t") if len(header) == 1 and mark in header[0]), None)
    if parting is not None:  # as spreadsheets write where a comma is in numbers
        return CatalogError("(line)", f"cells parted by {ascii(parting)}", "cells parted by commas", line)
    if "kind" not in header:
        expected = f"a column 'kind' ({', '.join(KINDS)}), and columns of fields such as flight.start"
        return CatalogError("(line)", "a header without 'kind'", expected, line)
    return None


def _object(cells: dict[str, str], line: int) -> dict[str, object] | CatalogError:
    """Nest a row's cells by their paths, each as its field's type asks; or say which field is there twice."""
    made: dict[str, Any] = {}
    cls = KINDS.get(cells["kind"].strip())  # type: ignore[call-overload]  # any string
    given = {path for path, cell in cells.items() if cell.strip()}
    for path, cell in cells.items():
        if path not in given:
            continue
        steps = path.split(".")
        whole = next((name for n in range(1, len(steps)) if (name := ".".join(steps[:n])) in given), None)
        if whole is not None:
            expected = "each field once: the whole, or columns of its parts"
            return CatalogError(
                ascii(whole)[1:-1][:80], f"the field again, in {ascii(path)[:80]}", expected, line
            )
        place = made
        for step in steps[:-1]:
            place = place.setdefault(step, {})
        kind = str if path == "kind" or cls is None else _type_at(cls, path)
        again = repeated_name(cell.encode()) if _is_json(cell.strip(), kind) else None
        if again is not None:
            return CatalogError(ascii(again)[1:-1][:80], "the field again", "each field once", line)
        place[steps[-1]] = _value(cell, kind)
    return made


@lru_cache(len(KINDS) * MAX_COLUMNS)
def _type_at(cls: type[msgspec.Struct], path: str) -> object:
    """Return the type of the field at a path; None where there is no such field."""
    kind: object = cls
    for step in path.split("."):
        struct = struct_of(kind)
        found = None if struct is None else {f.encode_name: f.type for f in fields(struct)}.get(step)
        if found is None:
            return None
        kind = found
    return kind


def _value(cell: str, kind: object) -> object:
    """Read a cell; what does not read as its type stays text, for the checks to tell."""
    text = cell.strip()
    if _is_json(text, kind):
        try:
            return msgspec.json.decode(text)
        except (ValueError, RecursionError):
            return cell
    if _is_list(kind):
        return _items([part.strip() for part in text.split(SEPARATOR) if part.strip()], kind)
    if kind is None or struct_of(kind) is not None:
        return cell
    try:
        value: object = msgspec.to_builtins(msgspec.convert(text, type=kind, strict=False))
    except msgspec.ValidationError:
        return cell
    return cell if isinstance(value, str) else value


def _items(parts: list[str], kind: object) -> list[object]:
    try:
        return list(msgspec.to_builtins(msgspec.convert(parts, type=kind, strict=False)))
    except msgspec.ValidationError:
        return list(parts)


def _is_json(text: str, kind: object) -> bool:
    return text[0] in "[{" and not _is_text(kind)


def _is_text(kind: object) -> bool:
    if get_origin(kind) in (Union, UnionType):
        return any(map(_is_text, get_args(kind)))
    return (get_args(kind)[0] if get_origin(kind) is Annotated else kind) is str


def _is_list(kind: object) -> bool:
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is tuple:
        return True
    return any(_is_list(option) for option in get_args(kind) if option is not type(None)) and not isinstance(
        kind, type
    )
