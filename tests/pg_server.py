"""A PostgreSQL server of a test's own: Debian's binaries, a temporary folder, a port of the loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def _as_user(*command: str) -> list[str]:
    """Run as somebody who is not root, which the server refuses to be."""
    return ["runuser", "-u", "nobody", "--", *command] if os.getuid() == 0 else list(command)


@contextmanager
def postgres() -> Iterator[str]:
    """Start a server, give its URL, and end it."""
    if not BINARIES:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    binaries = BINARIES[-1]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="tactful-pg-"))
    try:
        if os.getuid() == 0:
            shutil.chown(folder, "nobody", "nogroup")
        data = str(folder / "data")
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        init = ("-D", data, "-A", "trust", "-U", "tactful", "--no-sync", "-E", "UTF8", "--locale=C")
        subprocess.run(_as_user(str(binaries / "initdb"), *init), **quiet)
        told = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off"
        control = (str(binaries / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"))
        subprocess.run(_as_user(*control, "-o", told, "start"), **quiet)
        try:
            yield f"postgresql://tactful@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run(_as_user(*control, "-m", "immediate", "stop"), **quiet)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
