"""Releases what is due in a process of its own, at low priority: counting takes memory that no request should miss."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from engine.config import Config
from engine.errors import EngineError, ReportError
from engine.reporting import Reporting
from engine.store import open_store
from privacy.errors import PrivacyError

NICENESS = 10
LOCK = "release.lock"  # of the one process that counts; the others' answers would be thrown away
# What imports find here they must find there, however this process was started.
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from engine.release_apart import main; main()"
)


class Order(msgspec.Struct, frozen=True):
    """What the other process is told, as JSON on its standard input."""

    data_dir: str
    key_dir: str
    log_profile: str
    at: datetime
    store: str | None  # where it is not in the data folder
    conversions: str


class Releaser:
    """Has what is due released, one run at a time."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self, now: datetime) -> None:
        """Release it. Raises ReportError where the other process fails: the next run goes on."""
        folders = (str(self._config.data_dir.resolve()), str(self._config.key_dir.resolve()))
        config = self._config
        order = Order(*folders, config.log_profile, now, config.store, config.conversions)
        command = [sys.executable, "-c", START, msgspec.json.encode(sys.path).decode()]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 - our own
        try:
            self._child.communicate(msgspec.json.encode(order))
            if self._child.returncode > 0:
                raise ReportError(f"the process that releases failed (exit {self._child.returncode})")
        finally:
            self._child = None

    def stop(self) -> None:
        """End a run; the next one goes on where it stands."""
        child = self._child
        if child is not None:
            child.terminate()


def main() -> None:
    """Release what is due as of the time that standard input tells."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    os.nice(NICENESS)
    config = Config(
        data_dir=Path(order.data_dir),
        key_dir=Path(order.key_dir),
        log_profile=order.log_profile,
        store=order.store,
        conversions=order.conversions,
    )
    try:
        with FileLock(config.data_dir / LOCK, timeout=0):
            release(config, order.at)
    except Timeout:
        pass  # another process is at it
    except (EngineError, PrivacyError, OSError) as error:
        sys.exit(str(error))


def release(config: Config, at: datetime) -> None:
    """Release what is due as of a time."""
    store = open_store(config.store_url)
    try:
        public = config.log_profile == "public"
        leaves = store.leaves(secrets.token_bytes if public else None)
        reporting = Reporting(config, store, leaves, lambda: at)
        for _ in reporting.release_due():
            pass  # what failed of a table, its log line says
    finally:
        store.close()
