"""A creative: what is shown, and where it leads; fixed, or a message that is put together from parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Literal, NamedTuple

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from engine.campaign import Format, Id, Prefer, Size, Targeting, Word

Slot = Literal["headline", "body", "image", "cta", "offer"]
SLOTS: tuple[Slot, ...] = ("headline", "body", "image", "cta", "offer")
LISTS: Mapping[Slot, str] = {slot: f"{slot}s" for slot in SLOTS} | {"body": "bodies"}  # as files name them
MOST_MESSAGES = 4096  # combinations of a creative's parts, before its rules
PartId = Annotated[
    str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,23}$(?!\n)", description="lower-case id, 1-24 characters")
]
Messages = NDArray[np.uint8]  # (messages, slots) which part of each slot a message shows


class Lengths(NamedTuple):
    """How many characters a format shows; 0: none at all."""

    headline: int
    body: int
    cta: int
    offer: int


NATIVE = Lengths(90, 300, 25, 40)
# The IAB's fixed sizes, in CSS pixels (New Ad Portfolio 2017, and those that it replaced and pages still have).
SIZES: Mapping[Size, Lengths] = {
    (300, 250): Lengths(60, 100, 20, 30),
    (336, 280): Lengths(60, 120, 20, 30),
    (250, 250): Lengths(45, 80, 20, 25),
    (728, 90): Lengths(50, 80, 18, 25),
    (970, 90): Lengths(60, 100, 20, 30),
    (970, 250): Lengths(80, 160, 25, 40),
    (468, 60): Lengths(40, 50, 15, 20),
    (320, 50): Lengths(30, 0, 12, 16),
    (300, 50): Lengths(28, 0, 12, 16),
    (320, 100): Lengths(40, 50, 15, 20),
    (160, 600): Lengths(50, 140, 18, 25),
    (120, 600): Lengths(40, 110, 15, 20),
    (300, 600): Lengths(70, 200, 25, 40),
    (300, 1050): Lengths(80, 300, 25, 40),
}


class Image(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A picture as it comes in: a file beside the loaded file, or base64. Kept by the hash of its re-encoding."""

    alt: Annotated[str, Meta(min_length=1, max_length=200)]
    file: str | None = None
    data: str | None = None
    hash: str | None = None  # of a picture that the service hosts already (64 hex digits)
    ext: Literal["png", "jpg", "webp", "avif"] | None = None  # of a hosted picture, with its size in pixels
    w: int | None = None
    h: int | None = None

    @property
    def name(self) -> str | None:
        """Return the name under which a picture is hosted, `<hash>.<ext>`; None where it is not hosted yet."""
        return f"{self.hash}.{self.ext}" if self.hash and self.ext else None


Price = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,9}([.][0-9]{1,3})?$(?!\n)",
        description="a number as text, with up to three digits behind a point: '12.50'",
    ),
]
Currency = Annotated[
    str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="three upper-case letters, 'EUR' (ISO 4217)")
]
Stock = Annotated[int, Meta(ge=0, le=10**9)]


class Offer(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a creative offers, as an advertiser's feed says it: outside of its dates, or sold out, it never renders."""

    start: Annotated[datetime, Meta(tz=True)] | None = None  # inclusive
    end: Annotated[datetime, Meta(tz=True)] | None = None  # exclusive
    price: Price | None = None
    currency: Currency | None = None
    stock: Stock | None = None  # None: not counted


class Only(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a part may stand: one value of each list that is not empty must be met. All but this is public."""

    devices: Annotated[tuple[Word, ...], Meta(max_length=10)] = ()  # DEVICE_CLASSES
    parts_of_day: Annotated[
        tuple[Word, ...], Meta(max_length=10)
    ] = ()  # PARTS_OF_DAY, in the publisher's zone
    weekdays: Annotated[tuple[Word, ...], Meta(max_length=7)] = ()  # WEEKDAYS
    seasons: Annotated[tuple[Word, ...], Meta(max_length=4)] = ()  # SEASONS
    weather: Annotated[tuple[Word, ...], Meta(max_length=12)] = ()  # CONDITIONS and TEMPERATURES
    countries: Annotated[tuple[Word, ...], Meta(max_length=100)] = ()  # ISO 3166-1 alpha-2, upper case
    publishers: Annotated[tuple[Id, ...], Meta(max_length=100)] = ()
    sections: Annotated[tuple[Id, ...], Meta(max_length=100)] = ()


class TextPart(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line of a message. Its text may hold tokens with their fall-backs: `{{ weather | cool }}`."""

    id: PartId
    text: Annotated[str, Meta(min_length=1, max_length=400)]
    only: Only = Only()
    prefer: Prefer = Prefer()  # moves it up before anything is learned


class ImagePart(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A picture of a message."""

    id: PartId
    image: Image
    only: Only = Only()
    prefer: Prefer = Prefer()


class OfferPart(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line that holds from `start` (inclusive) to `end` (exclusive), with an offset from UTC, while in stock."""

    id: PartId
    text: Annotated[str, Meta(min_length=1, max_length=400)]
    start: Annotated[datetime, Meta(tz=True)] | None = None
    end: Annotated[datetime, Meta(tz=True)] | None = None
    price: Price | None = None
    currency: Currency | None = None
    stock: Stock | None = None  # None: not counted
    only: Only = Only()
    prefer: Prefer = Prefer()


Part = TextPart | ImagePart | OfferPart
Together = Annotated[tuple[PartId, ...], Meta(min_length=2, max_length=12)]


class Parts(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a creative's messages are put together from: one part of each list that is not empty.

    The creative's own headline, body, image and call to action are its default message, which is shown where no other
    may be. What no list gives is taken from them.
    """

    headlines: Annotated[tuple[TextPart, ...], Meta(max_length=12)] = ()
    bodies: Annotated[tuple[TextPart, ...], Meta(max_length=12)] = ()
    images: Annotated[tuple[ImagePart, ...], Meta(max_length=12)] = ()
    ctas: Annotated[tuple[TextPart, ...], Meta(max_length=12)] = ()
    offers: Annotated[tuple[OfferPart, ...], Meta(max_length=12)] = ()
    never: Annotated[tuple[Together, ...], Meta(max_length=100)] = ()  # no two of these in one message
    always: Annotated[tuple[Together, ...], Meta(max_length=100)] = ()  # all of these, or none
    locked: Annotated[tuple[PartId, ...], Meta(max_length=5)] = ()  # in every message: the brand's lock
    sizes: Annotated[tuple[Size, ...], Meta(max_length=20)] = ()  # of a banner, besides its own

    @property
    def lists(self) -> tuple[tuple[Slot, tuple[Part, ...]], ...]:
        """The slots that have parts, with them, in the order of SLOTS."""
        given: tuple[tuple[Part, ...], ...] = (
            self.headlines, self.bodies, self.images, self.ctas, self.offers
        )  # fmt: skip
        return tuple((slot, parts) for slot, parts in zip(SLOTS, given, strict=True) if parts)

    def __iter__(self) -> Iterator[Part]:
        """Yield all parts, slot by slot."""
        return (part for _, parts in self.lists for part in parts)


def messages(parts: Parts) -> Messages:
    """Return the combinations that the rules leave. Requires parts whose rules name parts that there are."""
    lists = parts.lists
    shape = tuple(len(some) for _, some in lists)
    combinations = np.indices(shape, np.uint8).reshape(len(shape), -1).T
    where = {part.id: (slot, at) for slot, (_, some) in enumerate(lists) for at, part in enumerate(some)}
    shows = {id: combinations[:, slot] == at for id, (slot, at) in where.items()}
    left = np.ones(len(combinations), bool)
    for group in parts.never:
        left &= sum(shows[id].astype(np.int64) for id in dict.fromkeys(group)) <= 1
    for group in parts.always:
        together = [shows[id] for id in group]
        left &= np.logical_and.reduce(together) | ~np.logical_or.reduce(together)
    for id in parts.locked:
        left &= shows[id]
    return np.ascontiguousarray(combinations[left])


class Creative(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="creative", tag_field="kind"
):
    """Native text and picture, or a banner (picture, HTML or text) of one size; with parts, many messages."""

    id: Id
    campaign: Id
    format: Format
    landing_url: Annotated[str, Meta(max_length=2048)]
    headline: Annotated[str, Meta(max_length=90)] = ""
    body: Annotated[str, Meta(max_length=300)] = ""
    cta: Annotated[str, Meta(max_length=25)] = ""
    sponsored_by: Annotated[str, Meta(max_length=60)] = ""
    image: Image | None = None
    html: Annotated[str, Meta(max_length=100_000)] | None = None
    size: Size | None = None  # of a banner
    language: (
        Annotated[str, Meta(pattern=r"^[a-z]{2}$(?!\n)", description="two lower-case letters (ISO 639-1)")]
        | None
    ) = None
    status: Literal["active", "paused"] = "active"
    keywords: Annotated[tuple[Word, ...], Meta(max_length=100)] = ()
    targeting: Targeting = Targeting()  # ANDed with the campaign's
    prefer: Prefer | None = None  # None: the campaign's
    offer: Offer | None = None
    parts: Parts | None = None

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The sizes of a banner, its own first."""
        own = () if self.size is None else (self.size,)
        return own if self.parts is None else tuple(dict.fromkeys((*own, *self.parts.sizes)))
