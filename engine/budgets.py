"""Budgets as one process sees them: slices that it leased, what it showed against them, which campaigns are out.

Requests only add up what they show. A tick beside them (each second) leases on and stops what is out: so a budget is
looked at once a tick, and a campaign shows at most a tick's worth beyond its slice.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime

from engine.errors import StoreError
from engine.money import LEASE_S, Caps, MoneyStore, Use
from engine.pacing import ceilings
from engine.pricing import billing_day
from engine.snapshot import CampaignEntry, Snapshot

RENEW_S = LEASE_S / 2  # a slice is renewed after so long, whatever is left of it
RETRY_S = 10.0  # a campaign that is out is asked for again after so long
AHEAD = 30  # ticks of showing as in the last one that a slice is to last for
FEW = 20  # placements that a slice is to pay for at least
Shown = dict[tuple[int, int], int]


class Slice:
    """What was leased of one campaign's budget."""

    __slots__ = ("day", "leased_at", "left", "out", "used")

    def __init__(self) -> None:
        self.day = 0  # billing day
        self.left = 0  # when it was leased
        self.used = 0  # of it, up to the last tick
        self.leased_at = float("-inf")
        self.out = True


class Budgets:
    """Slices of the budgets of campaigns that have one."""

    def __init__(
        self, store: MoneyStore, worker: str, *, now: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        """`worker` names this process among all that lease."""
        self._store, self._worker, self._now, self._monotonic = store, worker, now, monotonic
        self._lock = threading.Lock()
        self._shown: dict[str, Shown] = {}
        self._slices: dict[str, Slice] = {}
        self._capped: Snapshot | None = None

    def show(self, campaign: str, day: int, until: int, micros: int) -> None:
        """Note that a placement was given to a campaign, and what is held for it; any number of threads may."""
        with self._lock:
            shown = self._shown.get(campaign)
            if shown is None:
                shown = self._shown[campaign] = {}
            shown[day, until] = shown.get((day, until), 0) + micros

    def tick(self, snapshot: Snapshot) -> frozenset[str]:
        """Lease on; return the campaigns that may show nothing now. Raises nothing where the store is away."""
        bounded = {
            entry.id: entry
            for entry in snapshot.manifest.campaigns
            if entry.terms.bounded and not entry.house
        }
        now, moment = self._now(), self._monotonic()
        self._slices = {id: slice for id, slice in self._slices.items() if id in bounded}
        with self._lock:
            shown, self._shown = self._shown, {}
        try:
            self._set_caps(snapshot, bounded)
            uses = [
                use
                for entry in bounded.values()
                if (use := self._use(entry, shown.get(entry.id, {}), now, moment)) is not None
            ]
            leased = self._store.lease(self._worker, uses, now) if uses else {}
        except StoreError:
            self._put_back(shown)
            if not bounded:
                raise
            return frozenset(
                id for id in bounded if id not in self._slices or self._is_stale(self._slices[id], moment)
            )
        for use in uses:
            slice = self._slices[use.campaign]
            slice.day, slice.left, slice.leased_at = use.day, leased.get(use.campaign, 0), moment
            slice.out, slice.used = slice.left < use.least, 0
        # What was shown and needs no lease yet waits for the tick that leases.
        asked = {use.campaign for use in uses}
        self._put_back({id: sums for id, sums in shown.items() if id in bounded and id not in asked})
        return frozenset(id for id in bounded if self._slices[id].out)

    def close(self) -> None:
        """Give back what is left of the slices. Raises StoreError."""
        with self._lock:
            shown, self._shown = self._shown, {}
        now = self._now()
        uses = [
            Use(campaign, slice.day, shown.get(campaign, {}), 0, 0)
            for campaign, slice in self._slices.items()
            if slice.left or campaign in shown
        ]
        if uses:
            self._store.lease(self._worker, uses, now)
        self._slices = {}

    def _set_caps(self, snapshot: Snapshot, bounded: Mapping[str, CampaignEntry]) -> None:
        if snapshot is self._capped:
            return
        caps = {id: Caps(entry.terms.total, entry.terms.daily) for id, entry in bounded.items()}
        here = {entry.id for entry in snapshot.manifest.campaigns}
        # One that is in the catalogue without a budget is free of the one that it had.
        caps |= {id: Caps(None, None) for id in self._store.capped() if id in here and id not in bounded}
        if caps:
            self._store.set_caps(caps)
        for slice in self._slices.values():
            slice.leased_at = float("-inf")  # budgets may have been changed
        self._capped = snapshot

    def _use(self, entry: CampaignEntry, shown: Shown, now: datetime, moment: float) -> Use | None:
        """Return what to ask for a campaign, or None where its slice lasts."""
        terms, slice = entry.terms, self._slices.setdefault(entry.id, Slice())
        day, used = billing_day(terms.timezone, now), sum(shown.values())
        rate, slice.used = used - slice.used, used  # micros a tick
        few, waited = FEW * terms.least, moment - slice.leased_at
        if slice.day == day and (
            (waited < RETRY_S and not shown)
            if slice.out
            else (slice.left - used >= max(few // 2, 2 * rate) and waited < RENEW_S)
        ):
            return None
        return Use(entry.id, day, shown, max(few, AHEAD * rate), terms.least, *ceilings(terms, now))

    def _is_stale(self, slice: Slice, moment: float) -> bool:
        return slice.out or moment - slice.leased_at > LEASE_S

    def _put_back(self, shown: Mapping[str, Shown]) -> None:
        with self._lock:
            for campaign, sums in shown.items():
                kept: Shown = defaultdict(int, self._shown.get(campaign, {}))
                for key, micros in sums.items():
                    kept[key] += micros
                self._shown[campaign] = dict(kept)
