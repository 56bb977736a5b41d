"""Starts the demo: its magazine, its catalogue, everything embedded, on this machine alone."""

from __future__ import annotations

import secrets
import threading
import webbrowser
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from engine.check.findings import known_vocabularies
from engine.config import KEY_PURPOSES, Config, make_folder
from engine.demo.magazine import CATALOG, HERE
from engine.demo.readers import make_readers
from engine.errors import CatalogConflict, StoreError
from engine.load import apply, plan
from engine.load_files import open_source
from engine.serve import serve
from engine.store import open_store
from privacy.errors import PrivacyError
from privacy.keyring import Keyring

READY_WITHIN_S = 120
TRIES = 3  # how often the catalogue is planned anew where another process changed it meanwhile


def demo_config(state: Path, port: int) -> Config:
    """Return the demo's settings: one worker, the packaged model, the weather of a file."""
    return Config(
        data_dir=state / "data",
        key_dir=state / "keys",
        port=port,
        currency="EUR",
        deadline_ms=300,  # a first view may share a laptop with much else
        weather=f"file:{HERE / 'weather.json'}",
    )


def prepare(config: Config, now: datetime) -> list[str]:
    """Make store and keys where they are missing, bring the catalogue up to date; say what was made."""
    make_folder(config.data_dir)
    said = list(Keyring.open(config.key_dir, KEY_PURPOSES, random=secrets.token_bytes).created)
    store = open_store(config.store_url)
    try:
        known = known_vocabularies()
        for left in reversed(range(TRIES)):
            with plan(open_source(CATALOG), store, known, now) as planned:
                try:
                    apply(planned, store, "demo", now)
                    break
                except CatalogConflict:  # another demo prepares the same state: against what it made
                    if not left:
                        raise
        try:
            make_readers(config, store, now)
        except (PrivacyError, StoreError) as error:  # pages are served without
            said.append(f"no reader's consent acts in this demo: {error}")
    finally:
        store.close()
    return said


def run_demo(state: Path, port: int, *, open_browser: bool, say: Callable[[str], None]) -> None:
    """Serve the demo until it is interrupted. `state` is kept, so that the next start is faster."""
    config = demo_config(state, port)
    for line in prepare(config, datetime.now(UTC)):
        say(line)
    threading.Thread(target=_announce, args=(config.base_url, open_browser, say), daemon=True).start()
    serve(config, extend=_add_pages)


def _add_pages(app: Any, services: Any) -> Iterable[str]:
    from engine.web.demo_site import add_demo  # in the worker, never before it is forked

    return add_demo(app, services)


def _announce(address: str, open_browser: bool, say: Callable[[str], None]) -> None:
    """Print the address once the demo answers."""
    waiting = threading.Event()
    for _ in range(READY_WITHIN_S * 5):
        waiting.wait(0.2)
        try:
            with urlopen(f"{address}/readyz", timeout=1):  # noqa: S310 - our own address
                break
        except (URLError, OSError):
            continue
    say(f"The demo is at {address}/ (publisher id: demo). Ctrl-C ends it.")
    if open_browser:
        webbrowser.open(f"{address}/")
