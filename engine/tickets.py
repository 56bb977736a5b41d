"""What an event token says: which placement of which page view it belongs to, and what its event costs.

A token's text begins with the letter of its event, which the seal behind it does not cover: a page gets the tokens of
all of its events, and each counts once. Votes and conversions are of a view of their own, and the seal says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from msgspec import Struct

from contexts.context import PARTS_OF_DAY
from contexts.rungs import RUNGS
from engine.events import (
    CONVERSION,
    CONVERSION_SLOT,
    KINDS,
    TOKEN_S,
    VOTE_SLOT,
    VOTES,
    Event,
    Kind,
    Row,
)
from privacy.event_token import Opened, Sealer
from privacy.visit import CONDITIONS, DEVICE_CLASSES

LETTERS: dict[Kind, str] = {
    "impression": "i",
    "viewable": "v",
    "click": "c",
    "not_relevant": "n",
    "too_personal": "p",
    "conversion": "o",
}
KIND_OF: dict[str, Kind] = {letter: kind for kind, letter in LETTERS.items()}
WEATHERS = ("", *CONDITIONS)
_SLOTS: dict[Kind, int] = {
    **dict.fromkeys(VOTES, VOTE_SLOT),
    CONVERSION: CONVERSION_SLOT,
}  # whose seal says so
DAY_MS = 86_400_000
MOMENT_BYTES = 7


class Ticket(Struct, frozen=True, array_like=True):
    """One placement of a decision, whenever it was made."""

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
    message: str = ""  # ids of the parts that were shown
    propensity_ppm: int = 1_000_000
    weight_milli: int = 0  # how much more often the challenger would have drawn it; 0: there was none
    rung: int = 0  # in RUNGS
    special: bool = True  # of a page on which no consent acts: not understood, or about an Article 9 topic
    nearness: int = 0  # twentieths by which the page's words made a response be expected higher


class Moment(NamedTuple):
    """When a decision was made."""

    at_ms: int  # since 1970
    ahead: int  # days by which the billing day is ahead of the UTC day: -1, 0 or 1

    @property
    def day(self) -> int:
        """Return its UTC day, since 1970."""
        return self.at_ms // DAY_MS


@dataclass(frozen=True, slots=True)
class Read:
    """A token that was opened."""

    kind: Kind
    moment: Moment
    ticket: Ticket
    sealed: Opened

    def event(self, ivt: bool) -> Event:
        """Return the event that it stands for; `ivt` where it is invalid traffic."""
        return event_of(self.kind, self.moment, self.ticket, self.sealed.view, self.sealed.slot, ivt)


def event_of(kind: Kind, moment: Moment, ticket: Ticket, view: bytes, slot: int, ivt: bool) -> Event:
    """Return the event of a placement; `ivt` where it is invalid traffic."""
    ivt = ivt or ticket.ivt
    row = Row(
        view,
        slot,
        kind,
        moment.day,
        ticket.publisher,
        ticket.section,
        ticket.topic,
        ticket.campaign,
        ticket.creative,
        DEVICE_CLASSES[ticket.device],
        PARTS_OF_DAY[ticket.part],
        WEATHERS[ticket.weather],
        int(ivt),
        ticket.price_micros if kind == KINDS[ticket.billed] and not ivt else 0,
        ticket.message,
        ticket.propensity_ppm,
        ticket.weight_milli,
        ticket.nearness,
        RUNGS[ticket.rung],
    )
    return Event(row, moment.day + moment.ahead, hold_until(moment.at_ms))


def hold_until(at_ms: int) -> int:
    """Return the minute since 1970 from which on no token of a decision at this moment counts."""
    return (at_ms // 1000 + TOKEN_S) // 60 + 1


class Tickets:
    """Writes tickets into sealed tokens and reads them: 7 bytes of the moment, then the ticket in MessagePack."""

    def __init__(self, sealer: Sealer) -> None:
        self.sealer = sealer
        self.packed = msgspec.msgpack.Encoder().encode
        self._unpack = msgspec.msgpack.Decoder(Ticket).decode

    def write(self, at_ms: int, ahead: int, packed: bytes, random: bytes, slot: int) -> str:
        """Return the sealed part of a packed ticket's tokens, of a moment: a letter of LETTERS before it makes one."""
        data = (at_ms << 2 | ahead + 1).to_bytes(MOMENT_BYTES, "big") + packed
        return self.sealer.seal(at_ms // DAY_MS, random, slot, data)

    def read(self, token: str, today: int) -> Read | None:
        """Return what a token says; None where it is none of ours."""
        kind = KIND_OF.get(token[:1])
        sealed = None if kind is None else self.sealer.open(token[1:], today)
        if kind is None or sealed is None:
            return None
        if sealed.slot != _SLOTS.get(kind, sealed.slot) or (kind in KINDS and sealed.slot in _SLOTS.values()):
            return None
        said = int.from_bytes(sealed.data[:MOMENT_BYTES], "big")
        try:
            ticket = self._unpack(sealed.data[MOMENT_BYTES:])
        except msgspec.MsgspecError:  # sealed by another release
            return None
        return Read(kind, Moment(said >> 2, (said & 3) - 1), ticket, sealed)
