"""What happened to a creative that was decided on: an impression, a viewable impression, a click; and invalid ones.

An event belongs to a page view by a number that says nothing else, and to the UTC day of its decision, however
late it comes. Each (view, slot, kind) counts once, in whatever order and however often it is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple, Protocol

Kind = Literal["impression", "viewable", "click", "not_relevant", "too_personal", "conversion"]
KINDS: tuple[Kind, ...] = ("impression", "viewable", "click")  # that a campaign may pay for
VOTES: tuple[Kind, ...] = (
    "not_relevant",
    "too_personal",
)  # what a reader says of a creative, on a page of its own
CONVERSION: Kind = "conversion"  # what a consenting reader did at the advertiser's after a click
VOTE_SLOT = 255  # the place of a vote, where no placement is
CONVERSION_SLOT = 254  # and of a conversion: both are of a view of their own
MACHINE = 1  # `ivt` of what a request itself shows to be invalid
BEYOND = 2  # `ivt` of a click beyond its publisher's bound: not billed, but counted, for others decided on it
TOKEN_S = 1800  # from a decision on, its events count for so long
KEPT_DAYS = 35  # raw events go so many days after theirs
EPOCH = date(1970, 1, 1).toordinal()


class Row(NamedTuple):
    """An event as it is kept."""

    view: bytes  # 16 bytes
    slot: int
    kind: Kind
    day: int  # UTC, of the decision, days since 1970
    publisher: str
    section: str
    topic: str
    campaign: str
    creative: str
    device: str
    part: str
    weather: str
    ivt: int  # 0: valid
    price_micros: int
    message: str = ""  # "slot/part" of what was shown, with a space between; "": it was not put together
    propensity_ppm: int = 1_000_000  # the chance with which creative and message were drawn
    weight_milli: int = 0  # how much more often the challenger would have drawn the message; 0: no challenger
    nearness: int = 0  # twentieths by which the page's words made more be expected of the message
    rung: str = ""  # of contexts.rungs, on which the page view was put by lot


class Event(NamedTuple):
    """An event, with what its money is booked by."""

    row: Row
    billing_day: int  # of the decision, in the flight's time zone, days since 1970
    until: int  # minute since 1970 at which what was held for it is let go


class Asked(NamedTuple):
    """What a decision was asked for, and how much of it was filled: of both at most privacy.workload.SLOTS."""

    day: int
    publisher: str
    section: str
    asked: int
    filled: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a batch: how many events were new, and how many had come before."""

    new: int
    again: int


class EventStore(Protocol):
    """Where events are kept."""

    def keep(self, events: Sequence[Event], decided: Iterable[Asked] = ()) -> Kept:
        """Keep the events that are new and settle them, all or none; they are on the disk when this returns.

        An event that was kept before changes nothing. Invalid ones are never billed.
        """

    def purge(self, now: datetime) -> dict[str, int]:
        """Delete the raw days that are over; return how many rows of each table."""

    def put_conversions(self, campaign: str, counts: Sequence[tuple[int, int]]) -> None:
        """Set (day, count) of a campaign's conversions, as the advertiser counted them; said twice, once set."""

    def conversions(self, campaign: str) -> list[tuple[int, int]]:
        """Return (day, count) of a campaign, by day."""


def day_of(at: datetime) -> int:
    """Return the UTC day of a moment, days since 1970. Requires an aware time."""
    return at.astimezone(UTC).date().toordinal() - EPOCH


def date_of(day: int) -> date:
    """Return the date of a day."""
    return date.fromordinal(day + EPOCH)


def oldest_kept(now: datetime) -> int:
    """Return the oldest day whose raw events may still be kept."""
    return day_of(now - timedelta(days=KEPT_DAYS))
