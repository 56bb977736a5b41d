"""Conversions by click: off unless the operator switches it on, and of readers who agreed to be measured alone.

At a click the publisher's page asks for a token of one use and hands it to the advertiser's page that it opened: no
address holds it. What the advertiser tells by it is an event of a view of its own, which nothing ties to the click's
row or to the reader; it counts until an hour after the click's UTC day, before that day is released. A reader gets
one token a day at a publisher, so the table's unit is the reader's day. Exact counts are told to nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from engine.campaign import Publisher
from engine.door import CONVERSION_ENDS_MS, Door
from engine.events import CONVERSION, CONVERSION_SLOT
from engine.tickets import DAY_MS, LETTERS, Tickets
from privacy.consent import Consent
from privacy.event_token import RANDOM_BYTES
from privacy.gate import Claim
from privacy.visit import Visit


class Measured(Protocol):
    """Says whether a reader agreed to be measured."""

    def measured(self, publisher: Publisher, visit: Visit, claim: Claim, *, special: bool) -> Consent:
        """Return the consent under which a reader is measured now; its use is noted. Raises Denied."""

    def once_a_day(self, consent: Consent, use: str, day: int, until: datetime) -> bool:
        """Note a use of a consenting reader's UTC day; False where it was noted before. It is forgotten at `until`."""


class Handed(NamedTuple):
    """What a page hands on."""

    token: str
    creative: str  # whose advertiser gets it


class Conversions:
    """Makes the tokens."""

    def __init__(
        self, door: Door, tickets: Tickets, measured: Measured, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._door, self._tickets, self._measured, self._random = door, tickets, measured, random_bytes

    def token(self, click: str, publisher: Publisher, visit: Visit, claim: Claim) -> Handed | None:
        """Return a token for a click that counts now; None for another, or where the reader had one today.

        Raises Denied where the reader's consent does not allow it.
        """
        read = self._door.clicked(click, machine=visit.ivt)
        if read is None or read.ticket.publisher != publisher.id:
            return None
        day = read.moment.day
        until = datetime.fromtimestamp((day * DAY_MS + CONVERSION_ENDS_MS) / 1000, UTC)
        consent = self._measured.measured(publisher, visit, claim, special=read.ticket.special)
        if not self._measured.once_a_day(consent, CONVERSION, day, until + timedelta(hours=1)):
            return None
        sealed = self._tickets.write(
            read.moment.at_ms,
            read.moment.ahead,
            self._tickets.packed(read.ticket),
            self._random(RANDOM_BYTES),
            CONVERSION_SLOT,
        )
        return Handed(LETTERS[CONVERSION] + sealed, read.ticket.creative)
