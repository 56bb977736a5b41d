"""A creative: what is shown, and where it leads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from engine.campaign import Format, Id, Prefer, Size, Targeting, Word


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


class Offer(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a creative offers, as an advertiser's feed says it: outside of its dates, or sold out, it never renders."""

    start: Annotated[datetime, Meta(tz=True)] | None = None  # inclusive
    end: Annotated[datetime, Meta(tz=True)] | None = None  # exclusive
    price: Annotated[str, Meta(pattern=r"^[0-9]{1,9}([.][0-9]{1,3})?$(?!\n)")] | None = None
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217")] | None = None
    stock: Annotated[int, Meta(ge=0, le=10**9)] | None = None  # None: not counted


class Creative(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="creative", tag_field="kind"
):
    """Native text and picture, or a banner (picture or HTML) of one size."""

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
    language: Annotated[str, Meta(pattern=r"^[a-z]{2}$(?!\n)")] | None = None
    status: Literal["active", "paused"] = "active"
    keywords: Annotated[tuple[Word, ...], Meta(max_length=100)] = ()
    targeting: Targeting = Targeting()  # ANDed with the campaign's
    prefer: Prefer | None = None  # None: the campaign's
    offer: Offer | None = None
