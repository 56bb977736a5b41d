"""Every example that a command's help shows runs as it is written."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from engine.cli import main
from tests.engine.test_cli import commands

ROOT = Path(__file__).parents[2]
_EXAMPLE = re.compile(r"Example: ((?:[A-Z_]+=\S+ )*tactful [^.\n]*(?:\.[^.\s][^.\n]*)*)")
SERVING = ("serve", "demo")  # they run until they are stopped
# Run elsewhere: what takes minutes (test_no_identity and test_prove_log make the same proofs), and what names a reader,
# a leaf of a published log, a folder of the machine or a server (test_cli_log, test_cli_rights, test_cli_consent,
# test_copies).
ELSEWHERE = (
    *(("prove",), ("log",), ("subject",), ("consent", "withdraw")),
    ("money", "refund"),  # of what was billed (test_cli_money)
    ("doctor",),  # of a page that is served (test_doctor)
    *(("purge",), ("backup-keys",), ("restore-keys",), ("copy-store",)),
)
# What an example may exit with besides 0: what it found is told by it.
FINDS = {"diagnose": (0, 1), "policy": (0, 1), "report": (0, 1)}
ARTICLE = (
    "<html lang=en><title>Bread</title><p>How to bake sourdough bread at home: flour, water and salt.</p>"
)
REQUEST = (
    '{"publisher":"daily-planet","placements":[{"id":"a","formats":["native"]}],"page":{"title":"Bread"}}'
)
CATALOGUE = """\
{"kind":"publisher","id":"daily-planet","name":"Daily Planet","domains":["planet.example"]}
{"kind":"advertiser","id":"boots","name":"Boots","domains":["boots.example"]}
{"kind":"campaign","id":"spring-campaign","advertiser":"boots","name":"Spring","cpm_micros":1000000}
{"kind":"creative","id":"rain-boots-1","campaign":"spring-campaign","format":"native",\
"landing_url":"https://boots.example/","headline":"Dry feet"}
"""
KEY = "0123456789abcdef"


def examples() -> list[str]:
    found = []
    for path in commands(main):
        told = CliRunner().invoke(main, [*path, "--help"], terminal_width=1000).stdout
        found += [match[1].strip() for match in _EXAMPLE.finditer(told)]
    return found


@pytest.fixture(scope="module")
def shell(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A scratch installation with what the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "bin").mkdir()
    command = folder / "bin" / "tactful"
    command.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom engine.cli import main\nmain()\n"
    )
    command.chmod(0o755)
    for data in (folder / "tactful-data", folder / ".config" / "tactful" / "demo" / "data"):
        data.mkdir(parents=True)
        shutil.copytree(models, data / "models", copy_function=os.link)
    (folder / "catalogue.ndjson").write_text(CATALOGUE)
    (folder / "request.json").write_text(REQUEST)
    (folder / "article.html").write_text(ARTICLE)
    (folder / "notice.txt").write_text("We use what you read here to choose advertisements, if you agree.")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TACTFUL_")}
    environ |= {
        "PATH": f"{folder / 'bin'}{os.pathsep}{environ['PATH']}",
        "TACTFUL_WEATHER": "none",
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "BROWSER": "true",
    }
    yield folder, environ


def run(shell: tuple[Path, dict[str, str]], line: str) -> subprocess.CompletedProcess[str]:
    folder, environ = shell
    return subprocess.run(
        line, shell=True, cwd=folder, env=environ, text=True, capture_output=True, timeout=120
    )


def words(line: str) -> list[str]:
    """The words behind `tactful`."""
    found = shlex.split(line)
    return found[found.index("tactful") + 1 :]


def test_every_command_has_an_example_that_is_found() -> None:
    shown = [words(line) for line in examples()]
    leaves: list[Any] = [path for path in commands(main) if path and not _is_group(path)]
    assert sorted(
        {tuple(one[: len(path)]) for path in leaves for one in shown if tuple(one[: len(path)]) == path}
    ) == (sorted(leaves))


def _is_group(path: tuple[str, ...]) -> bool:
    found: Any = main
    for name in path:
        found = found.commands[name]
    return hasattr(found, "commands")


def test_every_example_runs_as_written(shell: tuple[Path, dict[str, str]]) -> None:
    folder, _ = shell
    assert run(shell, "tactful init").returncode == 0
    assert run(shell, "tactful load catalogue.ndjson").returncode == 0
    key = run(shell, "tactful keys create publisher --tenant daily-planet").stdout.split("_")[2]
    for line in examples():
        if words(line)[0] in SERVING or any(words(line)[: len(path)] == [*path] for path in ELSEWHERE):
            continue
        told = run(shell, line.replace(KEY, key))
        if words(line)[:2] == ["consent", "issue"]:
            (folder / "token.txt").write_text(json.loads(told.stdout)["token"])
        assert told.returncode in FINDS.get(words(line)[0], (0,)), (
            line,
            told.stdout[-500:],
            told.stderr[-500:],
        )
    assert list(folder.glob("tactful-*.db"))


@pytest.mark.parametrize("command", SERVING)
def test_every_example_that_serves_answers(shell: tuple[Path, dict[str, str]], command: str) -> None:
    folder, environ = shell
    (line,) = (one for one in examples() if words(one)[0] == command)
    address = f"http://127.0.0.1:{8081 if '8081' in line else 8080}/readyz"
    process = subprocess.Popen(
        ["sh", "-c", f"exec {line}"],
        cwd=folder,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        for _ in range(1800):
            if process.poll() is not None:
                told = process.stdout.read() if process.stdout else ""
                if "cannot be listened on" in told:
                    pytest.skip("another program listens on the port that the example names")
                pytest.fail(told)
            try:
                with urllib.request.urlopen(address, timeout=1):
                    break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail("not ready within three minutes")
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0
