"""What an event token says: which placement of which page view it belongs to, and what its event costs.

A token's text begins with the letter of its event, which the seal behind it does not cover: a page gets the tokens of
all of its events, and each counts once.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from msgspec import Struct

from contexts.context import PARTS_OF_DAY
from engine.events import KINDS, TOKEN_S, Event, Kind, Row
from privacy.event_token import Opened, Sealer
from privacy.visit import CONDITIONS, DEVICE_CLASSES

LETTERS: dict[Kind, str] = {"impression": "i", "viewable": "v", "click": "c"}
KIND_OF: dict[str, Kind] = {letter: kind for kind, letter in LETTERS.items()}
WEATHERS = ("", *CONDITIONS)
DAY_MS = 86_400_000


class Ticket(Struct, frozen=True, array_like=True):
    """One placement of a decision."""

    at_ms: int  # of the decision, since 1970
    ahead: int  # days by which the billing day is ahead of the UTC day: -1, 0 or 1
    publisher: str
    section: str
    topic: str
    campaign: str
    creative: str
    device: int  # in DEVICE_CLASSES
    part: int  # in PARTS_OF_DAY
    weather: int  # in WEATHERS
    ivt: bool
    billed: int  # in KINDS: what its price is for
    price_micros: int

    @property
    def day(self) -> int:
        """Return the UTC day of the decision."""
        return self.at_ms // DAY_MS

    @property
    def until(self) -> int:
        """Return the minute at which what was held for it is let go: no token of it counts any more."""
        return hold_until(self.at_ms)


@dataclass(frozen=True, slots=True)
class Read:
    """A token that was opened."""

    kind: Kind
    ticket: Ticket
    sealed: Opened

    def event(self, ivt: bool) -> Event:
        """Return the event that it stands for; `ivt` where it is invalid traffic."""
        ticket = self.ticket
        ivt = ivt or ticket.ivt
        price = ticket.price_micros if self.kind == KINDS[ticket.billed] and not ivt else 0
        row = Row(
            self.sealed.view,
            self.sealed.slot,
            self.kind,
            ticket.day,
            ticket.publisher,
            ticket.section,
            ticket.topic,
            ticket.campaign,
            ticket.creative,
            DEVICE_CLASSES[ticket.device],
            PARTS_OF_DAY[ticket.part],
            WEATHERS[ticket.weather],
            int(ivt),
            price,
        )
        return Event(row, ticket.day + ticket.ahead, ticket.until)


def hold_until(at_ms: int) -> int:
    """Return the minute since 1970 from which on no token of a decision at this moment counts."""
    return (at_ms // 1000 + TOKEN_S) // 60 + 1


class Tickets:
    """Writes tickets into sealed tokens and reads them."""

    def __init__(self, sealer: Sealer) -> None:
        self.sealer = sealer
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Ticket).decode

    def write(self, ticket: Ticket, random: bytes, slot: int) -> str:
        """Return the sealed part of a ticket's tokens: a letter of LETTERS before it makes one."""
        return self.sealer.seal(ticket.at_ms // DAY_MS, random, slot, self._encode(ticket))

    def read(self, token: str, today: int) -> Read | None:
        """Return what a token says; None where it is none of ours."""
        kind = KIND_OF.get(token[:1])
        sealed = None if kind is None else self.sealer.open(token[1:], today)
        if kind is None or sealed is None:
            return None
        try:
            return Read(kind, self._decode(sealed.data), sealed)
        except msgspec.MsgspecError:  # sealed by another release
            return None
