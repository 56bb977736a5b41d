"""The catalogue that a worker serves from: one frozen view, swapped whole while requests run."""

from __future__ import annotations

import fcntl
import logging
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np

from contexts.clock import moment
from contexts.encode import Encoder
from contexts.facets import Weights
from engine.build import CatalogSource, build
from engine.cache import Bounded
from engine.errors import EngineError
from engine.index import Eligible, Words
from engine.snapshot import Snapshot, open_snapshot

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the catalogue since a version.

    `status` is the new status where nothing else of a campaign or creative changed, None otherwise.
    """

    kind: str  # "publisher", "advertiser", "campaign", "creative", "approval"
    id: str  # of an approval: "publisher/creative"
    status: str | None = None


class CatalogStore(CatalogSource, Protocol):
    """What serving reads of the store."""

    def changes_since(self, version: int) -> Iterable[Change]:
        """Yield the changes that versions after this one brought, oldest first."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A snapshot with what has been switched since, as of a moment. Requests read one view from start to end."""

    snapshot: Snapshot
    version: int  # of the catalogue, with the switches that `on` holds
    on: Words  # active, approved for nobody in particular, and not changed since the snapshot
    approved: Mapping[str, Words]  # by publisher, where approval matters
    paid: Words  # on, in flight, not of the house
    house: Words  # on, in flight, of the house
    until: int  # second since 1970 at which a flight starts or ends
    lists: Bounded[tuple[object, ...], object] = field(default_factory=lambda: Bounded(4096))

    def moments(self, at: datetime) -> dict[str, tuple[str, str]]:
        """Return the part of day and the weekday in each zone that time rules name ("": the publisher's)."""
        key = ("moments", int(at.timestamp()) // 60, at.tzinfo)
        found = self.lists.get(key)
        if found is None:
            found = {zone: moment(at, zone or None) for zone in self.snapshot.zones}
            self.lists.put(key, found)
        return found  # type: ignore[return-value]  # what is kept under "moments"


def view_of(snapshot: Snapshot, changes: Iterable[Change], version: int, now: datetime) -> View:
    """Make the view of a snapshot with later changes applied.

    A changed campaign or creative is off until a snapshot holds its change; where only its status changed, that acts
    at once.
    """
    mask = np.unpackbits(snapshot.bitmaps.words[snapshot.bitmaps.names["on"]].view(np.uint8), bitorder="little")
    on = mask[: snapshot.rows].astype(bool)
    campaigns = {c.id: at for at, c in enumerate(snapshot.manifest.campaigns)}
    active = np.array([c.active for c in snapshot.manifest.campaigns], bool)
    approved = {
        name.split(":", 1)[1]: snapshot.bitmaps.words[at]
        for name, at in snapshot.bitmaps.names.items()
        if name.startswith("approved:")
    }
    for change in changes:
        if change.kind == "campaign" and change.id in campaigns:
            active[campaigns[change.id]] = change.status == "active"
        elif change.kind == "creative" and (row := snapshot.row_of(change.id)) is not None:
            on[row] = change.status == "active"
        elif change.kind == "approval":
            publisher, creative = change.id.split("/", 1)
            _approve(snapshot, approved, publisher, creative, change.status == "approved")
    words = Eligible.from_mask(on & active[snapshot.campaign]).words
    running = snapshot.running(now)
    house = snapshot.bitmaps.words[snapshot.bitmaps.names["house"]]
    live = words & running
    return View(
        snapshot=snapshot,
        version=version,
        on=words,
        approved=approved,
        paid=live & ~house,
        house=live & house,
        until=snapshot.next_change(now),
    )


def _approve(snapshot: Snapshot, approved: dict[str, Words], publisher: str, creative: str, yes: bool) -> None:
    row = snapshot.row_of(creative)
    if row is None or publisher not in snapshot.publishers:
        return
    words = approved.get(publisher)
    if words is None:  # automatic approval, nothing rejected so far
        words = np.full(snapshot.width, np.iinfo(np.uint64).max, np.uint64)
    words = words.copy()
    bit = np.uint64(1) << np.uint64(row & 63)
    words[row >> 6] = words[row >> 6] | bit if yes else words[row >> 6] & ~bit
    approved[publisher] = words


class Catalog:
    """Keeps `view` fresh: reads the store's version, builds or maps the newest snapshot, swaps it in."""

    def __init__(
        self,
        store: CatalogStore,
        encoder: Encoder,
        weights: Weights,
        image_url: Callable[[str], str],
        folder: Path,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._weights = weights
        self._image_url = image_url
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
                view = self._view
                if now.timestamp() >= view.until:
                    changes = list(self._store.changes_since(view.snapshot.version))
                    view = self._view = view_of(view.snapshot, changes, view.version, now)
        return view

    def refresh(self) -> bool:
        """Bring the view up to the store's version; say whether anything changed.

        What was switched acts first, then the new snapshot. Where that cannot be built or read, the old one stays.
        """
        with self._refreshing:
            version = self._store.catalog_version()
            if version == self._view.version == self._view.snapshot.version:
                return False
            changed = version != self._view.version
            if changed:
                snapshot = self._view.snapshot
                self._view = view_of(snapshot, list(self._store.changes_since(snapshot.version)), version, self._now())
            try:
                self._view = self._newest()
            except (EngineError, OSError):
                log.exception("snapshot not replaced", extra={"version": version})
                return changed
            return True

    def _newest(self) -> View:
        """Map the snapshot of the store's version, building it where no other process has."""
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            version = self._store.catalog_version()
            folder = self._folder / f"{version}-{self._encoder.id.replace('/', '_')}"
            if not (folder / "manifest.json").exists():
                build(self._store, self._encoder, self._weights, self._image_url, folder)
                self._remove_all_but(folder)
            snapshot = open_snapshot(folder)
        now = self._now()
        changes = list(self._store.changes_since(snapshot.version))
        return view_of(snapshot, changes, max(snapshot.version, version), now)

    def _remove_all_but(self, newest: Path) -> None:
        """Remove older snapshots; workers that still map one keep its pages until they let it go."""
        for folder in self._folder.iterdir():
            if folder.is_dir() and folder != newest and not folder.name.startswith("."):
                shutil.rmtree(folder, ignore_errors=True)


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)
