"""Files of a catalogue as objects with the lines on which they start: NDJSON, YAML, CSV, or what is at hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from engine.errors import CatalogError, CatalogErrors
from engine.load_csv import CsvFile

MAX_LINE = 12 * 2**20  # bytes of one NDJSON line: room for a picture of 5 MiB in base64, escapes included
MAX_YAML = 4 * 2**20  # bytes of a YAML file, which is read whole; what is larger comes as NDJSON
MAX_DEPTH = 32  # of nested values in YAML

_NDJSON = (".ndjson", ".jsonl", ".json")
_YAML = (".yaml", ".yml")
_CSV = ".csv"


class Source(Protocol):
    """Objects with the lines on which they start. Read twice."""

    @property
    def folder(self) -> Path | None:
        """Return where the pictures that they name lie; None: they may name no files."""

    def __iter__(self) -> Iterator[tuple[int, bytes | object]]:
        """Yield (line, JSON bytes or plain values); a CatalogError stands for what could not be read."""


def open_source(path: Path) -> Source:
    """Return the objects of an NDJSON, YAML or CSV file, by its name's ending. Raises CatalogErrors."""
    ending = path.suffix.lower()
    if not path.is_file():
        raise CatalogErrors([CatalogError("file", ascii(str(path)), "a file that exists")], 1)
    if ending in _NDJSON:
        return NdjsonFile(path)
    if ending in _YAML:
        return YamlFile(path)
    if ending == _CSV:
        return CsvFile(path)
    expected = f"a name ending in {', '.join((*_NDJSON, *_YAML, _CSV))}"
    raise CatalogErrors([CatalogError("file", ascii(path.name), expected)], 1)


class NdjsonFile:
    """One JSON object a line, streamed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder: Path | None = path.parent

    def __iter__(self) -> Iterator[tuple[int, bytes | object]]:
        """Yield each line that is not blank."""
        with self.path.open("rb") as file:
            line = 0
            while data := file.readline(MAX_LINE + 1):
                line += 1
                if len(data) > MAX_LINE:
                    yield line, CatalogError("(line)", f"over {MAX_LINE} bytes", "a shorter line", line)
                    while data and not data.endswith(b"\n"):
                        data = file.readline(MAX_LINE)
                    continue
                data = data.removeprefix(b"\xef\xbb\xbf").strip() if line == 1 else data.strip()
                if data:
                    yield line, data


class YamlFile:
    """YAML documents, each an object or a list of objects. Scalars as in JSON: `NO` is a country."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder: Path | None = path.parent

    def __iter__(self) -> Iterator[tuple[int, bytes | object]]:
        """Yield each object; the rest of a file that breaks off cannot be read."""
        if self.path.stat().st_size > MAX_YAML:
            size = f"{self.path.stat().st_size} bytes"
            yield 1, CatalogError("file", size, f"at most {MAX_YAML} bytes of YAML, or NDJSON", 1)
            return
        data = self.path.read_bytes()
        try:
            yield from _records(data)
        except CatalogError as error:
            yield error.line, error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            at = getattr(error, "position", 0)  # of a byte that is no UTF-8
            line = mark.line + 1 if mark else data.count(b"\n", 0, at) + 1
            problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
            yield line, CatalogError("(line)", f"no YAML: {problem}", "YAML in UTF-8", line)


@dataclass(frozen=True, slots=True)
class Values:
    """Objects that are at hand already."""

    values: Sequence[object]
    folder: Path | None = None

    def __iter__(self) -> Iterator[tuple[int, bytes | object]]:
        """Yield each with line 0: there is no file."""
        return iter([(0, value) for value in self.values])


def _scalars() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """Return what plain scalars may mean, by their first character: null, true, false and numbers."""
    forms = (
        ("null", r"(?:null|~|)", ["n", "~", ""]),
        ("bool", r"(?:true|false)", ["t", "f"]),
        ("int", r"-?(?:0|[1-9][0-9]{0,18})", list("-0123456789")),
        ("float", r"-?[0-9]+\.[0-9]+", list("-0123456789")),
    )
    found: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for name, form, starts in forms:
        for start in starts:
            found.setdefault(start, []).append((f"tag:yaml.org,2002:{name}", re.compile(rf"^{form}\Z")))
    return found


_SCALARS = _scalars()
_READ: dict[str, Callable[[str], object]] = {
    "tag:yaml.org,2002:null": lambda text: None,
    "tag:yaml.org,2002:bool": lambda text: text == "true",
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # either is a SafeLoader
    """Safe YAML whose plain scalars mean what they mean in JSON; all others are strings."""

    yaml_implicit_resolvers = _SCALARS


class _Rare(Exception):
    """Tags, anchors, or keys that are no scalars, for PyYAML's own constructor, which takes several times as long."""


def _records(data: bytes) -> Iterator[tuple[int, object]]:
    """Yield the objects of YAML, or a CatalogError in the place of one. Raises CatalogError and YAMLError."""
    try:
        found: Iterable[tuple[int, object]] = list(_built(data))
    except _Rare:
        for _ in _events(data):
            pass
        found = _composed(data)
    yield from found


def _events(data: bytes) -> Iterator[Any]:  # the stubs of yaml.Event know neither tag nor anchor
    """Yield what YAML is made of; refuse aliases (a short file could stand for gigabytes) and deep nesting."""
    depth = 0
    for event in yaml.parse(data, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise CatalogError(
                "(line)", f"the alias *{ascii(event.anchor)[:40]}", "values written out", _line(event)
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise CatalogError("(line)", f"over {MAX_DEPTH} levels of nesting", "an object", _line(event))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        yield event


def _line(event: Any) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _built(data: bytes) -> Iterator[tuple[int, object]]:
    """Yield objects as `_composed` does, built as they are parsed. Raises _Rare as well."""
    events = _events(data)
    for event in events:
        if isinstance(event, yaml.SequenceStartEvent) and event.tag is event.anchor is None:
            for part in events:
                if isinstance(part, yaml.SequenceEndEvent):
                    break
                yield from _record(part, events)
        elif isinstance(event, yaml.NodeEvent):
            yield from _record(event, events)


def _record(event: Any, events: Iterator[Any]) -> Iterator[tuple[int, object]]:
    again: list[CatalogError] = []
    value = _value(event, events, again)
    if again:
        yield _line(event), again[0]
    elif value is not None:
        yield _line(event), value


def _value(event: Any, events: Iterator[Any], again: list[CatalogError]) -> object:
    """Return what begins with an event; note the fields that a mapping has again."""
    if event.tag is not None or event.anchor is not None:
        raise _Rare
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event)
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        for item in events:
            if isinstance(item, yaml.SequenceEndEvent):
                break
            items.append(_value(item, events, again))
        return items
    made: dict[object, object] = {}
    seen = set()
    for key in events:
        if isinstance(key, yaml.MappingEndEvent):
            break
        if not isinstance(key, yaml.ScalarEvent) or key.tag is not None or key.anchor is not None:
            raise _Rare
        if key.value in seen:
            again.append(_twice(key.value, _line(key)))
        seen.add(key.value)
        made[_scalar(key)] = _value(next(events), events, again)
    return made


def _twice(name: str, line: int) -> CatalogError:
    return CatalogError(name[:80], "the field again", "each field once", line)


def _scalar(event: yaml.ScalarEvent) -> object:
    text: str = event.value
    if event.implicit[0]:  # plain
        for tag, form in _SCALARS.get(text[:1], ()):
            if form.match(text):
                return _READ[tag](text)
    return text


def _composed(data: bytes) -> Iterator[tuple[int, object]]:
    loader = _Loader(data)
    try:
        while loader.check_node():
            node = loader.get_node()
            nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
            for part in nodes:
                line = part.start_mark.line + 1
                try:
                    _refuse_duplicate_keys(part)
                    value = loader.construct_document(part)
                except CatalogError as error:
                    yield line, error
                    continue
                if value is not None:
                    yield line, value
    finally:
        loader.dispose()


def _refuse_duplicate_keys(node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _twice(key.value, key.start_mark.line + 1)
                seen.add(key.value)
            _refuse_duplicate_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicate_keys(value)
