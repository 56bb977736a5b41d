"""A real PostgreSQL server for tests: its own files in a temporary folder, its own socket, no network."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import quote

_NUMBERS = count(1)
_PR_SET_PDEATHSIG = 1


def binaries() -> Path | None:
    """Return the folder of the server's programs, None where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


def _user() -> str | None:
    """Name whom the server runs as: it refuses root."""
    if os.geteuid() != 0:
        return None
    return "postgres" if any(one.pw_name == "postgres" for one in pwd.getpwall()) else "nobody"


def _die_with_parent() -> None:
    """Let the server end with the tests, however they end."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


class Server:
    """One server for a test session. `crash` and `start` are for tests of what happens then."""

    def __init__(self, programs: Path, **settings: str) -> None:
        """Start it, with settings besides the usual ones."""
        self._programs, self.given = programs, settings
        self.port: int | None = None  # where it listens besides its socket
        self._user = _user()
        self.folder = Path(tempfile.mkdtemp(prefix="tactful-pg-"))
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        # Its collation is not that of bytes, as it is not where people run it.
        options = ["--auth=trust", "--username=tactful", "--encoding=UTF8", "--no-sync"]
        locale = ["--locale-provider=icu", "--icu-locale=en", "--locale=C.UTF-8"]
        self.user = self._user
        self._run("initdb", *options, *locale, "-D", str(self.folder / "data"))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",  # processes are killed here, never the machine
            "max_connections": "60",
            **self.given,
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self.folder / "data"), *words],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self.folder,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        deadline = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "log").read_text("utf-8", "replace"))
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends sessions and writes everything, SIGQUIT is as if it had been killed, children too."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def close(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def own(self, path: Path) -> None:
        """Give a file to the user that the server runs as."""
        if self._user is not None:
            shutil.chown(path, self._user)

    def url(self, database: str) -> str:
        port = "" if self.port is None else f"&port={self.port}"
        return f"postgresql://tactful@/{database}?host={quote(str(self.folder), safe='')}{port}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make a database; it is gone afterwards."""
        name = f"test_{next(_NUMBERS)}"
        self.sql(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.sql(f"DROP DATABASE {name} WITH (FORCE)")

    def sql(self, statement: str, database: str = "postgres") -> list[tuple]:
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as db:
            cursor = db.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *words: str) -> None:
        run = subprocess.run(
            [str(self._programs / program), *words],
            capture_output=True,
            text=True,
            user=self._user,
            cwd=self.folder,
            check=False,
        )
        if run.returncode:
            raise RuntimeError(run.stderr)
