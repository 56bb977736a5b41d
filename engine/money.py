"""Money in whole micro-units: what campaigns may spend, what they spent, what was given back.

The ledger has one line a campaign, billing day (in the flight's time zone) and UTC day. An event is booked in the
transaction that keeps it, so it is booked once. A worker leases a slice of a budget; what it decided to show is held
until the event comes or can come no more; so spent, held and leased never exceed a budget, and where more was shown
than that (a worker died, a click was rarer than thought) the excess is never billed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

LEASE_S = 60  # a worker that could not renew its slices for so long shows nothing against them
ALLOWED_CLICKS = 100  # a publisher's billed clicks on a UTC day: so many,
ALLOWED_PER_MILLE = 50  # and so many for a thousand of its valid impressions; more are invalid traffic


class Caps(NamedTuple):
    """What a campaign may spend, in micro-units: in all, and on a billing day. None: no bound."""

    total: int | None
    daily: int | None


@dataclass(frozen=True, slots=True)
class Use:
    """What a worker asks of one campaign's budget."""

    campaign: str
    day: int  # the billing day that it is now
    shown: Mapping[tuple[int, int], int]  # (billing day, minute until which it is held) → micros decided on
    want: int  # micros that it would like to have leased; 0: what it has goes back
    least: int  # what one event may cost: less is of no use
    total_by_now: int | None = (
        None  # what may be spent by now in all, and of the day, where spending is paced
    )
    daily_by_now: int | None = None

    def within(self, caps: Caps) -> Caps:
        """Return what may be spent by now under these caps."""
        total, daily = (
            cap if cap is None or by_now is None else min(cap, by_now)
            for cap, by_now in zip(caps, (self.total_by_now, self.daily_by_now), strict=True)
        )
        return Caps(total, daily)


@dataclass(frozen=True, slots=True)
class Booked:
    """What a campaign was billed over some days."""

    events: int
    micros: int
    refunded: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the journal."""

    key: str  # of the one who writes it: the same key is written once
    at: datetime
    actor: str
    kind: Literal["settled", "refund"]
    campaign: str
    day: int
    micros: int
    note: str = ""


class MoneyStore(Protocol):
    """Where money is booked."""

    def set_caps(self, caps: Mapping[str, Caps]) -> None:
        """Let these campaigns spend so much; what they spent before counts."""

    def capped(self) -> list[str]:
        """Return the ids of the campaigns that may not spend without bound."""

    def lease(self, worker: str, uses: Sequence[Use], now: datetime) -> dict[str, int]:
        """Note what was shown, renew the worker's leases, and return what it may spend of each campaign.

        A campaign without caps is not bounded and is left out.
        """

    def sweep(self, now: datetime) -> dict[str, int]:
        """Delete what was held or leased until now at the latest; return how many of each."""

    def billed(self, campaign: str, first: int, last: int) -> Booked:
        """Return what was billed and refunded on the billing days from `first` to `last`."""

    def billed_campaigns(self, first: int, last: int) -> list[str]:
        """Return the ids of the campaigns that were billed or refunded anything on these days, in order."""

    def refund(self, entry: Entry, first: int, last: int) -> bool:
        """Write a refund, unless it was written before; say whether it is new.

        Raises MoneyError where more would go back than was billed on the billing days from `first` to `last`, or
        where the key stands for something else.
        """

    def close(self, before: int, at: datetime) -> int:
        """Write the ledger's lines of the UTC days before `before` into the journal; return how many were new."""

    def faults(self, since: int) -> list[str]:
        """Compare events (from the UTC day `since` on), ledger, accounts and journal; say where they do not agree."""
