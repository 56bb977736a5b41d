"""What a served process writes holds nothing that its readers said of themselves."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

from engine.prove.written import Written, canaries_written
from tests.engine.small_service import REQUESTS

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="needs strace to see what a process writes"
)
ROOT = Path(__file__).parents[2]


def served(folder: Path, *options: str) -> tuple[Written, ...]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir()
    command = (sys.executable, "-m", "granian", "--interface", "wsgi", "--factory", "--host", "127.0.0.1")
    app = ("--port", str(port), *options, "tests.engine.served:open_app")
    environ = dict(os.environ) | {
        "SMALL_SERVICE_FOLDER": str(folder),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return canaries_written((*command, *app), f"http://127.0.0.1:{port}", REQUESTS, folder, environ)


def test_no_canary_is_written(tmp_path: Path) -> None:
    assert served(tmp_path / "state") == ()


def test_an_access_log_with_the_query_string_is_found(tmp_path: Path) -> None:
    found = served(
        tmp_path / "state", "--access-log", "--access-log-fmt", "%(method)s %(path)s %(query_string)s"
    )
    assert {one.channel for one in found} == {"query"}
