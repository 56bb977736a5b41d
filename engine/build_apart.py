"""Builds big snapshots in a process of their own, at low priority: the one that serves keeps its interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import msgspec

from contexts.errors import ContextError
from engine.build import BuildStore, Recipe, build
from engine.config import Config
from engine.errors import BuildError, EngineError
from engine.faiss_index import single_thread
from engine.recipe import open_recipe
from engine.store import open_store

APART = 20_000  # creatives: fewer are built here in less time than a process takes to start
NICENESS = 10
# What imports find here they must find there, however this process was started.
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from engine.build_apart import main; main()"


class Order(msgspec.Struct, frozen=True):
    """What a builder is told, as JSON on its standard input."""

    data_dir: str
    store: str | None  # may hold a password, which is why orders come by standard input
    encoder: str | None
    base_url: str
    folder: str
    previous: str | None


class SizedStore(BuildStore, Protocol):
    """A store that tells how much there is to build."""

    def size(self) -> int:
        """Return the number of creatives."""


class Builder:
    """Builds snapshots for a process that serves: small ones here, big ones apart. One at a time."""

    def __init__(self, config: Config, store: SizedStore, recipe: Recipe, apart: int = APART) -> None:
        self._config = config
        self._store = store
        self._recipe = recipe
        self._apart = apart
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self, folder: Path, previous: Path | None) -> None:
        """Write the snapshot of the store's present version. Raises BuildError where the other process fails."""
        if self._store.size() < self._apart:
            build(self._store, self._recipe, folder, previous)
            return
        order = Order(
            str(self._config.data_dir.resolve()),
            self._config.store,
            self._config.encoder,
            self._config.base_url,
            str(folder.resolve()),
            None if previous is None else str(previous.resolve()),
        )
        command = [sys.executable, "-c", START, msgspec.json.encode(sys.path).decode()]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603 - our own
        try:
            _, said = self._child.communicate(msgspec.json.encode(order))
            if self._child.returncode:
                last = said.decode(errors="replace").strip().rpartition("\n")[2]
                raise BuildError(f"{folder}: not built (exit {self._child.returncode}): {last}")
        finally:
            self._child = None

    def stop(self) -> None:
        """End what is being built; its folder is swept away by the next builder."""
        child = self._child
        if child is not None:
            child.terminate()


def main() -> None:
    """Build what standard input orders."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    os.nice(NICENESS)
    single_thread()
    # No key is needed or read here.
    config = Config(
        data_dir=Path(order.data_dir), store=order.store, encoder=order.encoder, public_url=order.base_url
    )
    folder = Path(order.folder)
    try:
        recipe = open_recipe(config)
        if not folder.name.endswith(recipe.digest):
            raise BuildError(f"{folder}: ordered of another recipe than this process has ({recipe.digest})")
        store = open_store(config.store_url)
        try:
            build(store, recipe, folder, Path(order.previous) if order.previous else None)
        finally:
            store.close()
    except (EngineError, ContextError, OSError) as error:
        sys.exit(str(error))
