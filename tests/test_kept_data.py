"""What is kept, logged and answered is what the inventory lists, no more and no less; a service is looked at."""

import ast
import json
import sqlite3
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

import privacy
from engine.config import Config
from engine.services import Services
from engine.web import create_app
from tests.world import NOW, Ticker

ROOT = Path(privacy.__file__).parents[1]
INVENTORY = yaml.safe_load((Path(privacy.__file__).parent / "inventory.yaml").read_text("utf-8"))


class Looked:
    """The folders of a service that was opened, worked and was closed, and its description."""

    def __init__(self, folder: Path, models: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir()
        (folder / "data" / "models").symlink_to(models, target_is_directory=True)
        config = Config(data_dir=folder / "data", key_dir=folder / "keys", weather="none")
        services = Services(config, now=lambda: NOW, monotonic=Ticker(1e-4))
        app = create_app(config, services)
        services.consent_log.step()
        services.tend_weeks()
        self.openapi = app.test_client().get("/openapi.json").json
        services.close()

    def files(self) -> list[str]:
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return [path.relative_to(self.folder).as_posix() for path in paths]

    def tables(self, file: str) -> dict[str, list[str]]:
        with sqlite3.connect(self.folder / file) as db:
            names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            columns = {
                name: [column[1] for column in db.execute(f"PRAGMA table_info({name})")]
                for name in names
                if not name.startswith("sqlite_")
            }
        db.close()
        return columns


@pytest.fixture(scope="module")
def looked(tmp_path_factory, models):
    return Looked(tmp_path_factory.mktemp("looked"), models)


def test_the_database_keeps_what_the_inventory_lists(looked):
    listed = {table: entry["columns"] for table, entry in INVENTORY["kept"].items()}
    assert looked.tables("data/tactful.db") == listed


def test_the_databases_beside_it_keep_what_the_inventory_lists(looked):
    databases = [name for name in looked.files() if name.endswith(".db") and name != "data/tactful.db"]
    kept = {f"{name}/{table}": c for name in databases for table, c in looked.tables(name).items()}
    assert kept == {name: entry["columns"] for name, entry in INVENTORY["beside"].items()}


def test_the_folders_hold_no_file_that_the_inventory_does_not_list(looked):
    plain = [name for name in looked.files() if not name.endswith(("-wal", "-shm", ".lock"))]
    assert len(plain) > 8
    unlisted = [n for n in plain if not any(fnmatchcase(n, pattern) for pattern in INVENTORY["files"])]
    assert not unlisted


def answers(openapi) -> dict[str, list[str]]:
    """Return the fields of every schema that an answer has, and the paths that answer without a schema."""

    def schemas(value) -> Iterator[str]:
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"].rpartition("/")[2]
            for inner in value.values():
                yield from schemas(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from schemas(inner)

    found: dict[str, list[str]] = {}
    wanted = []
    for path, operations in openapi["paths"].items():
        for operation in operations.values():
            for response in operation["responses"].values() if isinstance(operation, dict) else ():
                named = list(schemas(response))
                wanted += named
                if response.get("content") and not named:
                    found[path] = []
    while wanted:
        name = wanted.pop()
        if name not in found:
            schema = openapi["components"]["schemas"][name]
            found[name] = list(schema.get("properties", {}))
            wanted += schemas(schema)
    return found


def test_answers_have_the_fields_that_the_inventory_lists(looked):
    listed = {name: entry.get("fields", []) for name, entry in INVENTORY["released"].items()}
    answered = answers(looked.openapi)
    assert len(answered) > 20
    for name, fields in answered.items():
        patterns = [pattern for pattern in listed if name == pattern or fnmatchcase(name, pattern)]
        assert patterns, f"{name} is answered and not in the inventory"
        assert listed[patterns[0]] == fields, name
    gone = [
        pattern for pattern in listed if not any(n == pattern or fnmatchcase(n, pattern) for n in answered)
    ]
    assert not gone


LOGS = {"log", "logger", "logging"}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def logged(source: str, path: str) -> tuple[set[str], set[str], list[str]]:
    """Return the fields of log calls, the texts that have gaps, and the calls that cannot be read off."""
    fields: set[str] = set()
    lines: set[str] = set()
    unread: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if not (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in LOGS
        ):
            continue
        text, *gaps = node.args
        plain = isinstance(text, ast.Constant)
        if not plain:
            unread.append(f"{path}: {ast.unparse(text)}")
        elif gaps:
            lines.add(text.value)
        for keyword in node.keywords:
            if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
                fields |= {key.value for key in keyword.value.keys if isinstance(key, ast.Constant)}
            elif keyword.arg not in ("exc_info", "stacklevel"):
                unread.append(f"{path}: {ast.unparse(keyword)}")
    return fields, lines, unread


def test_log_lines_say_what_the_inventory_lists():
    files = [file for package in ("privacy", "contexts", "engine") for file in (ROOT / package).rglob("*.py")]
    found = [
        logged(file.read_text("utf-8"), file.relative_to(ROOT).as_posix())
        for file in files
        if not file.name.endswith("planted.py")  # leaks, to be found
    ]
    assert sorted(set().union(*(fields for fields, _, _ in found))) == sorted(
        INVENTORY["logged"]["fields"]["fields"]
    )
    lines = set().union(*(texts for _, texts, _ in found), *(unread for _, _, unread in found))
    assert sorted(lines) == sorted(INVENTORY["logged"]["lines"]["fields"])


@pytest.mark.parametrize(
    "planted",
    ['log.info("seen", extra={"address": a})', 'log.info("seen by %s", a)', 'log.info(f"seen by {a}")'],
)
def test_a_new_log_field_would_be_noticed(planted):
    fields, lines, unread = logged(planted, "a.py")
    assert fields - set(INVENTORY["logged"]["fields"]["fields"]) or lines or unread


def test_a_new_answer_field_would_be_noticed(looked):
    openapi = json.loads(json.dumps(looked.openapi))
    openapi["components"]["schemas"]["Reason"]["properties"]["reader"] = {"type": "string"}
    with pytest.raises(AssertionError):
        test_answers_have_the_fields_that_the_inventory_lists(type("Fake", (), {"openapi": openapi}))
