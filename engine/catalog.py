"""The catalogue that a worker serves from: one frozen view, swapped whole while requests run."""

from __future__ import annotations

import fcntl
import logging
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np

from contexts.clock import part_of_day
from contexts.context import WEEKDAYS
from engine.build import BuildStore, Reader, Recipe, build
from engine.cache import Bounded
from engine.change import Approval, Versions
from engine.errors import EngineError, IndexFileError
from engine.index import Eligible, Words
from engine.snapshot import Snapshot, open_snapshot

log = logging.getLogger(__name__)


class CatalogStore(BuildStore, Protocol):
    """What serving reads of the store."""

    def versions(self) -> Versions:
        """Return the counters of change; cheap enough to be polled every second."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A snapshot with what has been switched since, as of a moment. Requests read one view from start to end."""

    snapshot: Snapshot
    versions: Versions  # what the store was at when the switches were read
    on: Words  # not paused, and not changed since the snapshot
    approved: Mapping[str, Words]  # by publisher, where approval matters
    paid: Words  # on, in flight, not of the house
    house: Words  # on, in flight, of the house
    until: int  # second since 1970 at which a flight starts or ends
    told: Bounded[tuple[int, tzinfo | None], dict[str, tuple[str, str]]] = field(
        default_factory=lambda: Bounded(4096)
    )  # what time it is elsewhere, by minute and zone

    def moments(self, at: datetime) -> dict[str, tuple[str, str]]:
        """Return the part of day and the weekday in each zone that time rules name ("": the publisher's)."""
        key = (int(at.timestamp()) // 60, at.tzinfo)
        found = self.told.get(key)
        if found is None:
            there = {zone: at.astimezone(ZoneInfo(zone)) if zone else at for zone in self.snapshot.zones}
            found = {zone: (part_of_day(t.hour), WEEKDAYS[t.weekday()]) for zone, t in there.items()}
            self.told.put(key, found)
        return found


def view_of(snapshot: Snapshot, reader: Reader, now: datetime) -> View:
    """Make the view of a snapshot under what the store says now of pauses, approvals and later changes.

    A campaign or creative that changed since the snapshot is off until a snapshot holds its change.
    """
    campaigns, creatives = reader.paused()
    for kind, changed in reader.changed_since(snapshot.version):
        if kind == "campaign":
            campaigns |= {changed}
        elif kind == "creative":
            creatives |= {changed}
    active = np.array([c.id not in campaigns for c in snapshot.manifest.campaigns], bool)
    mask = active[snapshot.campaign] if snapshot.rows else np.zeros(0, bool)
    mask[[row for row in map(snapshot.row_of, creatives) if row is not None]] = False
    on = Eligible.from_mask(mask).words & snapshot.bitmaps.words[snapshot.bitmaps.names["allowed"]]
    live = on & snapshot.running(now)
    house = snapshot.bitmaps.words[snapshot.bitmaps.names["house"]]
    return View(
        snapshot=snapshot,
        versions=reader.versions(),
        on=on,
        approved=_approved(snapshot, reader.approvals()),
        paid=live & ~house,
        house=live & house,
        until=snapshot.next_change(now),
    )


def _approved(snapshot: Snapshot, approvals: Iterable[Sequence[Approval]]) -> dict[str, Words]:
    """Return for each publisher to whom approval matters the creatives that its pages may show."""
    said: dict[tuple[str, str], list[int]] = {}
    for batch in approvals:
        for approval in batch:
            row = snapshot.row_of(approval.creative)
            if row is not None:
                said.setdefault((approval.publisher, approval.state), []).append(row)
    found = {}
    for publisher in snapshot.publishers.values():
        by_hand = publisher.approval == "manual"
        rows = said.get((publisher.id, "approved" if by_hand else "rejected"), [])
        if by_hand or rows:
            mask = np.full(snapshot.rows, not by_hand, bool)
            mask[rows] = by_hand
            found[publisher.id] = Eligible.from_mask(mask).words
    return found


class Catalog:
    """Keeps `view` fresh: reads the store's version, builds or maps the newest snapshot, swaps it in."""

    def __init__(
        self,
        store: CatalogStore,
        recipe: Recipe,
        folder: Path,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._recipe = recipe
        self._folder = folder
        self._now = now
        self._refreshing = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._view = self._newest()

    def view(self, now: datetime) -> View:
        """Return the view to serve a request from."""
        view = self._view
        if now.timestamp() >= view.until:
            with self._refreshing:
                if now.timestamp() >= self._view.until:
                    self._switch(now)
            view = self._view
        return view

    def refresh(self) -> bool:
        """Bring the view up to the store's version; say whether anything changed.

        What was switched acts first, then the new snapshot. Where that cannot be built or read, the old one stays.
        """
        versions = self._store.versions()
        if versions[:2] == self._view.versions[:2] and versions.catalog == self._view.snapshot.version:
            return False
        with self._refreshing:
            self._switch(self._now())
            if versions.catalog != self._view.snapshot.version:
                try:
                    self._view = self._newest()
                except (EngineError, OSError):
                    log.exception("snapshot not replaced", extra={"version": versions.catalog})
        return True

    def _switch(self, now: datetime) -> None:
        with self._store.read() as reader:
            self._view = view_of(self._view.snapshot, reader, now)

    def _newest(self) -> View:
        """Map the snapshot of the store's version, building it where no other process has."""
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            version = self._store.versions().catalog
            folder = self._folder / f"{version}-{self._recipe.digest}"
            if not (folder / "manifest.json").exists():
                self._build(folder)
                self._remove_all_but(folder)
            snapshot = open_snapshot(folder)
        with self._store.read() as reader:
            return view_of(snapshot, reader, self._now())

    def _build(self, folder: Path) -> None:
        """Build, with the help of an earlier snapshot of the same encoder where there is one that can be read."""
        earlier = [
            f for f in self._folder.glob(f"*{folder.name.partition('-')[2]}") if not f.name.startswith(".")
        ]
        try:
            build(
                self._store, self._recipe, folder, max(earlier, key=lambda f: f.stat().st_mtime, default=None)
            )
        except IndexFileError:
            build(self._store, self._recipe, folder)

    def _remove_all_but(self, newest: Path) -> None:
        """Remove older snapshots; workers that still map one keep its pages until they let it go."""
        for folder in self._folder.iterdir():
            if folder.is_dir() and folder != newest and not folder.name.startswith("."):
                shutil.rmtree(folder, ignore_errors=True)
