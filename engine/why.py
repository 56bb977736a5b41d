"""Why a creative was chosen, in a link: the trace of the choice itself, signed. Nothing in it is of a view or a reader.

Equal scenes give equal links: a link is made once for a choice, tells no page view from another, and is looked up
nowhere. Base64url without padding of a keyed BLAKE2b (16 bytes) and the trace in MessagePack.
"""

from __future__ import annotations

import hmac
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b

import msgspec
from msgspec import Struct

from contexts.context import PARTS_OF_DAY, Context
from engine.decision import Reason
from engine.events import VOTE_SLOT
from engine.sections import OTHER
from engine.snapshot import CampaignEntry
from engine.tickets import WEATHERS, Ticket, Tickets
from privacy.event_token import RANDOM_BYTES
from privacy.visit import DEVICE_CLASSES

WHY_PATH = "/v1/why/"
LONGEST = 4096  # characters of a token
_MAC_BYTES = 16
_TOKEN = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_PARTS = 10_000  # of a share
_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")


class Trace(Struct, frozen=True, array_like=True):
    """A choice: what was shown, who pays, and the parameters that led to it, with their shares of the match."""

    publisher: str
    campaign: str
    creative: str
    behalf: str
    paid_by: str  # "": who is in `behalf`
    parts: tuple[tuple[str, int, str], ...]  # facet, ten-thousandths of the score, because
    topic: str  # IAB Content Taxonomy 3.1 id, or "": this and the next three are what votes are counted by
    device: int  # in DEVICE_CLASSES
    part: int  # in PARTS_OF_DAY
    weather: int  # in WEATHERS
    kinds: tuple[str, ...] = ()  # of consented signals that were used, such as "cohort"; never their values

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Give the parameters as an explained decision does."""
        return tuple(Reason(facet, share / _PARTS, because) for facet, share, because in self.parts)

    @property
    def params(self) -> tuple[int, ...]:
        """Give the parameters in the words of OpenRTB's DSA transparency: 2 is the context, 1 a reader's profile."""
        return (1, 2) if self.kinds else (2,)


def trace_of(
    context: Context,
    creative: str,
    entry: CampaignEntry,
    reasons: tuple[Reason, ...],
) -> Trace:
    """Tell how a creative of a campaign was chosen in a context."""
    condition = None if context.weather is None else context.weather.condition
    return Trace(
        publisher=context.publisher,
        campaign=entry.id,
        creative=creative,
        behalf=entry.behalf,
        paid_by=entry.paid_by,
        parts=tuple((reason.facet, round(reason.share * _PARTS), reason.because) for reason in reasons),
        topic=context.page.topics[0].id if context.page.topics else "",
        device=DEVICE_CLASSES.index(context.device.cls),
        part=PARTS_OF_DAY.index(context.clock.part),
        weather=WEATHERS.index(condition or ""),
        kinds=tuple(sorted({used.partition(":")[0] for used in context.told.used})),
    )


class Votes:
    """Makes the tokens by which a reader says once what they think of a creative, each for a view of its own."""

    def __init__(
        self, tickets: Tickets, *, now: Callable[[], datetime], random_bytes: Callable[[int], bytes]
    ) -> None:
        self._tickets, self._now, self._random = tickets, now, random_bytes

    def token(self, trace: Trace, *, ivt: bool) -> str:
        """Return the sealed part of a vote's token: a letter of LETTERS before it says which vote it is."""
        ticket = Ticket(
            trace.publisher,
            OTHER,
            trace.topic,
            trace.campaign,
            trace.creative,
            trace.device,
            trace.part,
            trace.weather,
            ivt,
            billed=0,
            price_micros=0,
        )
        at_ms = int(self._now().timestamp() * 1000)
        return self._tickets.write(
            at_ms, 0, self._tickets.packed(ticket), self._random(RANDOM_BYTES), VOTE_SLOT
        )


class WhyLinks:
    """Writes and reads the links. Any number of processes with one secret agree."""

    def __init__(self, base_url: str, secret: bytes) -> None:
        self._url, self._secret = base_url + WHY_PATH, secret
        self._pack = msgspec.msgpack.Encoder().encode
        self._unpack = msgspec.msgpack.Decoder(Trace).decode

    def url(self, trace: Trace) -> str:
        """Return the page that tells of a choice."""
        packed = self._pack(trace)
        text = b2a_base64(self._mac(packed) + packed, newline=False).rstrip(b"=").translate(_TO_URL)
        return self._url + text.decode()

    def read(self, token: str) -> Trace | None:
        """Return what a token tells; None where it is none of ours."""
        if len(token) > LONGEST or not _TOKEN.fullmatch(token):
            return None
        try:
            plain = token.encode("ascii").translate(_FROM_URL) + b"=" * (-len(token) % 4)
            data = a2b_base64(plain, strict_mode=True)
        except ValueError:
            return None
        if not hmac.compare_digest(self._mac(data[_MAC_BYTES:]), data[:_MAC_BYTES]):
            return None
        try:
            return self._unpack(data[_MAC_BYTES:])
        except msgspec.MsgspecError:  # signed by another release
            return None

    def _mac(self, data: bytes) -> bytes:
        return blake2b(data, key=self._secret, digest_size=_MAC_BYTES).digest()
