"""A copy of a deployment that tells of page views over HTTP, under a clock of the proof's own."""

from __future__ import annotations

import json
import secrets
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from engine.backup import copy_store_of
from engine.config import Config
from engine.events import Row
from engine.keys import KeyTable, create_key
from engine.reporting import Reporting
from engine.store import SqliteStore
from engine.store.high_water import FILE as MARK
from engine.web.app import create_reports_app


class Twin:
    """The copy: its store, its reports, and the door by which they are read."""

    def __init__(self, config: Config, store: SqliteStore, now: datetime) -> None:
        self.now = now
        self.store = store
        public = config.log_profile == "public"
        self.leaves = store.leaves(secrets.token_bytes if public else None)
        self.config = config
        self.reporting = self.restart()
        self.key = create_key(store, "operator", None, "proof", now, secrets.token_bytes)

    def restart(self) -> Reporting:
        """Have its reports as a process has them that knows nothing but what is kept."""
        self.reporting = Reporting(self.config, self.store, self.leaves, lambda: self.now)
        return self.reporting

    def insert(self, events: Iterable[Row]) -> None:
        """Let events have happened."""
        marks = ", ".join("?" * len(Row._fields))
        with self.store.writing() as db:
            db.executemany(f"INSERT INTO events ({', '.join(Row._fields)}) VALUES ({marks})", events)  # noqa: S608 - constants

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serve the reports on the loopback; give the address."""
        keys = KeyTable(self.store.keys())
        app = create_reports_app(self.config, self.reporting, keys, lambda: self.now)
        server = make_server("127.0.0.1", 0, app, handler_class=_Quiet)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def get(self, url: str) -> tuple[int, bytes]:
        """Read over HTTP with the operator's key; give status and body."""
        asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.key}"})  # noqa: S310 - the loopback
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def json(self, url: str) -> Any:
        """Read JSON over HTTP."""
        return json.loads(self.get(url)[1])


@contextmanager
def twin(config: Config, folder: Path, now: datetime | None = None) -> Iterator[Twin]:
    """Copy a deployment's database and ledger into a folder; an empty one where there is none."""
    data, keys = folder / "data", folder / "keys"
    data.mkdir(parents=True)
    keys.mkdir(mode=0o700)
    if copy_store_of(config, data / "tactful.db"):
        if (config.key_dir / MARK).exists():
            shutil.copy(config.key_dir / MARK, keys / MARK)
    store = SqliteStore(data / "tactful.db")
    try:
        yield Twin(replace(config, data_dir=data, key_dir=keys, store=None), store, now or datetime.now(UTC))
    finally:
        store.close()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
