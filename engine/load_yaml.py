"""YAML as objects of the catalogue. Scalars mean what they mean in JSON; aliases and deep nesting are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from engine.errors import CatalogError

MAX_YAML = 4 * 2**20  # bytes of a file, which is read whole; what is larger comes as NDJSON
MAX_DEPTH = 32  # of nested values


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
            _refuse_bombs(data)
            yield from _yaml_records(data)
        except CatalogError as error:
            yield error.line, error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
            yield line, CatalogError("(line)", f"no YAML: {problem}", "YAML in UTF-8", line)


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


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # either is a SafeLoader
    """Safe YAML whose plain scalars mean what they mean in JSON; all others are strings."""

    yaml_implicit_resolvers = _scalars()


def _refuse_bombs(data: bytes) -> None:
    """Refuse aliases (a short file could stand for gigabytes) and deep nesting, before anything is built."""
    depth = 0
    for event in yaml.parse(data, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise CatalogError("(line)", f"the alias *{ascii(event.anchor)[:40]}", "values written out", line)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise CatalogError("(line)", f"over {MAX_DEPTH} levels of nesting", "an object", line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _yaml_records(data: bytes) -> Iterator[tuple[int, object]]:
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
                    line = key.start_mark.line + 1
                    raise CatalogError(key.value[:80], "the field again", "each field once", line)
                seen.add(key.value)
            _refuse_duplicate_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicate_keys(value)
