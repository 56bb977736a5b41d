"""The catalogue that a worker serves from: one frozen view, swapped whole while requests run."""

from __future__ import annotations

import fcntl
import logging
import shutil
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np

from contexts.clock import part_of_day
from contexts.context import WEEKDAYS
from engine.build import BuildStore, Reader, Recipe, build
from engine.cache import Bounded
from engine.campaign import Publisher
from engine.change import Approval, Versions
from engine.index import Eligible, Words
from engine.policy import Policy
from engine.snapshot import Snapshot, open_snapshot

log = logging.getLogger(__name__)

RETRY = timedelta(seconds=15)  # after a build that failed: the next would most likely fail too

Build = Callable[[Path, Path | None], None]  # writes a snapshot's folder, with the help of an earlier one


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
    paid: Words  # on, in flight, neither of the house nor guaranteed
    house: Words  # on, in flight, of the house
    guaranteed: Words  # on, in flight, before all others
    until: int  # second since 1970 at which a flight starts or ends
    stopped: frozenset[str] = frozenset()  # campaigns whose budget is spent
    told: Bounded[tuple[int, tzinfo | None], dict[str, tuple[str, str]]] = field(
        default_factory=lambda: Bounded(4096)
    )  # what time it is elsewhere, by minute and zone

    bitmaps: Bounded[Hashable, Words] = field(default_factory=lambda: Bounded(256))
    policy: Policy = field(default_factory=Policy)

    def bitmap(self, key: Hashable, make: Callable[[], Words]) -> Words:
        """Return the bitmap of a placement's or publisher's rule, made once."""
        found = self.bitmaps.get(key)
        if found is None:
            found = make()
            self.bitmaps.put(key, found)
        return found

    def moments(self, at: datetime) -> dict[str, tuple[str, str]]:
        """Return the part of day and the weekday in each zone that time rules name ("": the publisher's)."""
        key = (int(at.timestamp()) // 60, at.tzinfo)
        found = self.told.get(key)
        if found is None:
            there = {zone: at.astimezone(ZoneInfo(zone)) if zone else at for zone in self.snapshot.zones}
            found = {zone: (part_of_day(t.hour), WEEKDAYS[t.weekday()]) for zone, t in there.items()}
            self.told.put(key, found)
        return found

    def moved(self, now: datetime) -> View:
        """Copy as of another moment: some flights have begun, others are over."""
        live, house = self.on & self.snapshot.running(now), self.snapshot.house
        paid = live & ~house
        if self.stopped:
            going = np.array([c.id not in self.stopped for c in self.snapshot.manifest.campaigns], bool)
            paid &= Eligible.from_mask(going[self.snapshot.campaign]).words
        first = self.snapshot.bitmaps.get("guaranteed")
        guaranteed = np.zeros_like(paid) if first is None else paid & first
        return replace(
            self,
            paid=paid & ~guaranteed,
            house=live & house,
            guaranteed=guaranteed,
            until=self.snapshot.next_change(now),
        )

    def without(self, campaigns: frozenset[str], now: datetime) -> View:
        """Copy without what these campaigns show."""
        return self if campaigns == self.stopped else replace(self, stopped=campaigns).moved(now)


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
    latest = {one.id: one for batch in reader.publishers() for one in batch}
    approved = _approved(snapshot, latest, reader.approvals())
    return View(snapshot, reader.versions(), on, approved, paid=on, house=on, guaranteed=on, until=0).moved(
        now
    )


def _approved(
    snapshot: Snapshot, latest: Mapping[str, Publisher], approvals: Iterable[Sequence[Approval]]
) -> dict[str, Words]:
    """Return for each publisher to whom it matters the creatives that its pages may show.

    `latest` are the publishers as they are now: what one of them stops or blocks waits for no new snapshot.
    """
    said: dict[tuple[str, str], list[int]] = {}
    for batch in approvals:
        for approval in batch:
            row = snapshot.row_of(approval.creative)
            if row is not None:
                said.setdefault((approval.publisher, approval.state), []).append(row)
    found = {}
    for known in snapshot.publishers.values():
        publisher = latest.get(known.id, known)
        by_hand, stopped = publisher.approval == "manual", publisher.status == "stopped"
        rows = said.get((publisher.id, "approved" if by_hand else "rejected"), [])
        blocked = set(publisher.block_advertisers) - set(known.block_advertisers)
        categories = set(publisher.block_categories) - set(known.block_categories)
        if by_hand or rows or stopped or blocked or categories:
            mask = np.full(snapshot.rows, not by_hand, bool)
            mask[rows] = by_hand
            if blocked:
                names = snapshot.manifest.advertisers
                others = np.array([names[who] not in blocked for who in snapshot.advertisers], bool)
                mask &= others[snapshot.campaign]
            words = Eligible.from_mask(mask & (not stopped)).words
            for category in categories:
                if (within := snapshot.bitmaps.get(f"category:{category}")) is not None:
                    words &= ~within
            found[publisher.id] = words
    return found


class Catalog:
    """Keeps `view` fresh: `switch` reads what was switched, `rebuild` builds or maps the newest snapshot.

    Each may run in a thread of its own, so that a pause acts while a snapshot is being built. Requests take no lock
    that either holds for long, and never the store.
    """

    def __init__(
        self,
        store: CatalogStore,
        recipe: Recipe,
        folder: Path,
        now: Callable[[], datetime],
        build_beside: Build | None = None,
    ) -> None:
        """Map the newest snapshot, or build it here; later ones are built by `build_beside`, if it is given."""
        self._store = store
        self._recipe = recipe
        self._folder = folder
        self._now = now
        self._switching = threading.Lock()  # one `switch` at a time
        self._rebuilding = threading.Lock()
        self._swapping = threading.Lock()  # held for a swap only
        self._stopped: frozenset[str] = frozenset()
        self._policy = Policy()
        self._refused: tuple[int, datetime] | None = None  # version that was not built, and when to try again
        self._build_here: Build = lambda folder, previous: build(store, recipe, folder, previous)
        folder.mkdir(parents=True, exist_ok=True)
        self._view = self._newest(self._build_here)
        self._build_beside = build_beside or self._build_here

    def view(self, now: datetime) -> View:
        """Return the view to serve a request from."""
        view = self._view
        if now.timestamp() >= view.until:
            moved = view.moved(now)
            with self._swapping:
                if self._view is view:
                    self._view = moved
            view = moved
        return view

    def refresh(self) -> bool:
        """Bring the view up to the store's version; say whether anything changed.

        What was switched acts first, then the new snapshot. Raises StoreError, and leaves the view as it was.
        """
        return self.switch() | self.rebuild()

    def switch(self) -> bool:
        """Let pauses and approvals act, and stop what was changed; say whether anything was switched."""
        with self._switching:
            view = self._view
            if self._store.versions()[:2] == view.versions[:2]:
                return False
            with self._store.read() as reader:
                switched = view_of(view.snapshot, reader, self._now())
            with self._swapping:
                if self._view.snapshot is view.snapshot:
                    switched = replace(switched, policy=self._policy)
                    self._view = switched.without(self._stopped, self._now())
        return True

    def stop(self, campaigns: frozenset[str]) -> None:
        """Show nothing of these campaigns, whose budget is spent, and of others again."""
        with self._swapping:
            self._stopped = campaigns
            self._view = self._view.without(campaigns, self._now())

    def follow(self, policy: Policy) -> None:
        """Let another model, or newer counts, decide from now on."""
        with self._swapping:
            self._policy = policy
            self._view = replace(self._view, policy=policy)

    @property
    def policy(self) -> Policy:
        """What decides now."""
        return self._policy

    def rebuild(self) -> bool:
        """Serve the newest snapshot; say whether there was one. What cannot be built or read leaves the old one."""
        with self._rebuilding:
            version = self._store.versions().catalog
            if version == self._view.snapshot.version:
                return False
            if self._refused is not None and self._refused[0] == version and self._now() < self._refused[1]:
                return False
            try:
                newest = self._newest(self._build_beside)
            except Exception:
                # Whatever a catalogue or a disk may do to a build: pages are served from the old snapshot.
                self._refused = version, self._now() + RETRY
                log.exception("snapshot not replaced", extra={"version": version})
                return False
            self._refused = None
            with self._swapping:
                self._view = replace(newest, policy=self._policy).without(self._stopped, self._now())
        return True

    def _newest(self, build: Build) -> View:
        """Map the snapshot of the store's version, building it where no other process has."""
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            version = self._store.versions().catalog
            folder = self._folder / f"{version}-{self._recipe.digest}"
            if not (folder / "manifest.json").exists():
                self._make(build, folder)
                self._remove_all_but(folder)
            # Under the lock: no other process removes what is being mapped.
            snapshot = open_snapshot(folder)
        with self._store.read() as reader:
            return view_of(snapshot, reader, self._now())

    def _make(self, build: Build, folder: Path) -> None:
        """Build, with the help of an earlier snapshot of the same recipe where there is one."""
        earlier = [
            f for f in self._folder.glob(f"*{folder.name.partition('-')[2]}") if not f.name.startswith(".")
        ]
        build(folder, max(earlier, key=lambda f: f.stat().st_mtime, default=None))

    def _remove_all_but(self, newest: Path) -> None:
        """Remove older snapshots, and what killed builders left; workers that still map one keep its pages."""
        for folder in self._folder.iterdir():
            if folder.is_dir() and folder != newest:
                shutil.rmtree(folder, ignore_errors=True)
