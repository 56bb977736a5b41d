"""Where events come in: what a token is worth, and whether a machine or a hurry made it invalid traffic.

Invalid traffic is kept apart and never billed. It is known by what the gate read of a request, by impossible timing
and by bursts on one token; never by an address.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from engine.cache import Bounded
from engine.events import CONVERSION, TOKEN_S, Event, Kind, day_of
from engine.tickets import DAY_MS, Read, Tickets

VIEWABLE_MS = 1000  # MRC: half of the pixels in view for one continuous second; before that no view can be
CLICK_MS = 500  # before that nobody read what was clicked on
BURST = 5  # a token that comes more often makes what else comes of its page view invalid
WATCHED = 65_536  # page views whose tokens are counted, in each process
# A conversion counts until an hour after its click's day: before that day is released, nothing ties the two any more.
CONVERSION_ENDS_MS = DAY_MS + 3_600_000
AHEAD_MS = 60_000  # clocks of processes differ by less; a token from further ahead counts for nothing
WORTHS = ("valid", "invalid", "void")  # of a token that came: what is counted of it
_EARLIEST_MS: dict[Kind, int] = {
    "impression": 0,
    "viewable": VIEWABLE_MS,
    "click": CLICK_MS,
    "not_relevant": CLICK_MS,
    "too_personal": CLICK_MS,
    "conversion": CLICK_MS,
}


class Writer(Protocol):
    """Keeps events."""

    def keep(self, events: Sequence[Event]) -> None:
        """Return when the events are on the disk. Raises Busy where they cannot be taken now."""

    def keep_later(self, events: Sequence[Event], told: Callable[[bool], object]) -> None:
        """Have `told` called by another thread with whether the events are on the disk. Raises Busy likewise."""


@dataclass(frozen=True, slots=True)
class Click:
    """Where a click leads."""

    creative: str
    event: Event | None  # None: it does not count any more


class Door:
    """Turns tokens into events."""

    def __init__(
        self,
        tickets: Tickets,
        writer: Writer,
        now: Callable[[], datetime],
    ) -> None:
        self._tickets, self._writer, self._now = tickets, writer, now
        self._seen: Bounded[bytes, int] = Bounded(WATCHED)
        self._lock = threading.Lock()

    def take(
        self, tokens: Sequence[str], *, machine: bool, publisher: str | None = None
    ) -> tuple[int, int, int]:
        """Return how many tokens were of each of WORTHS, when what they are worth is kept.

        Unknown, forged and expired ones are void. `machine`: the request is one of a machine. `publisher` is the one
        whose own server asks: it speaks for readers' browsers, and for its own pages alone. Raises Busy.
        """
        events = self.events(tokens, machine=machine, publisher=publisher)
        self.keep(events)
        return worths(tokens, events)

    def events(self, tokens: Sequence[str], *, machine: bool, publisher: str | None = None) -> list[Event]:
        """Return the events of those tokens that are not void."""
        now = self._now()
        found = []
        for token in tokens:
            read = self._tickets.read(token, day_of(now))
            if read is None or (publisher is not None and read.ticket.publisher != publisher):
                continue
            event = self._event(read, now, machine and publisher is None)
            if event is not None:
                found.append(event)
        return found

    def click(self, token: str, *, machine: bool) -> Click | None:
        """Return where a click's token leads, and its event; None where it is no token of a click."""
        now = self._now()
        read = self._tickets.read(token, day_of(now))
        if read is None or read.kind != "click":
            return None
        return Click(read.ticket.creative, self._event(read, now, machine))

    def clicked(self, token: str, *, machine: bool) -> Read | None:
        """Return what the token of a click says that would count now; None where none would."""
        now = self._now()
        read = self._tickets.read(token, day_of(now))
        if read is None or read.kind != "click" or read.ticket.ivt or machine:
            return None
        return read if CLICK_MS <= _ms(now) - read.moment.at_ms <= TOKEN_S * 1000 else None

    def keep(self, events: Sequence[Event]) -> None:
        """Return when events are on the disk. Raises Busy."""
        if events:
            self._writer.keep(events)

    def keep_later(self, events: Sequence[Event], told: Callable[[bool], object]) -> None:
        """Have `told` called by another thread with whether events, of which there are some, are on the disk.

        Raises Busy where they are not taken: then it is never called.
        """
        self._writer.keep_later(events, told)

    def _event(self, read: Read, now: datetime, machine: bool) -> Event | None:
        """Return the event of a token that was read; None where its time is over, or not come."""
        age_ms = _ms(now) - read.moment.at_ms
        if read.kind == CONVERSION:
            over = _ms(now) >= read.moment.day * DAY_MS + CONVERSION_ENDS_MS
            machine = False  # the advertiser's own server may tell of it, and nothing is billed
        else:
            over = age_ms > TOKEN_S * 1000
        if over or age_ms < -AHEAD_MS:
            return None
        return read.event(machine or age_ms < _EARLIEST_MS[read.kind] or self._is_burst(read))

    def _is_burst(self, read: Read) -> bool:
        """Count the use of a token; say whether one of its page view's came too often."""
        key, view = read.sealed.nonce + read.kind.encode(), read.sealed.view
        with self._lock:
            uses = (self._seen.get(key) or 0) + 1
            self._seen.put(key, uses)
            if uses > BURST:
                self._seen.put(view, uses)
                return True
            return self._seen.get(view) is not None


def _ms(now: datetime) -> int:
    return int(now.timestamp() * 1000)


def worths(tokens: Sequence[str], events: Sequence[Event]) -> tuple[int, int, int]:
    """Return how many tokens, of which these events came, are of each of WORTHS."""
    invalid = sum(event.row.ivt for event in events)
    return len(events) - invalid, invalid, len(tokens) - len(events)
