"""OpenRTB 2.6 and Native 1.2 as far as they are read and written here.

A request's types name all that may be read of it, by path; whatever else stands there (addresses, user agents,
identifiers, coordinates) is skipped by the decoder and exists nowhere. Kinds are as wide as clients write them: a
flag is 1, "1" or true.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

BANNER, NATIVE = 1, 4  # AdCOM 1.0, List: Creative Subtypes - Markup; `mtype`
BANNER_MARKUP = 2  # OpenRTB 2.6, List: Banner Ad Types: XHTML Banner Ad
ICON, MAIN_IMAGE = 1, 3  # Native 1.2, Image Asset Types
SPONSORED, DESCRIPTION, CALL_TO_ACTION = 1, 2, 12  # Native 1.2, Data Asset Types
IMPRESSION, VIEWABLE_MRC_50 = 1, 2  # Native 1.2, Event Types; AdCOM numbers them otherwise
IMAGE_TRACKER = 1  # Native 1.2, Event Tracking Methods
TECHNICAL_ERROR, BLOCKED_SITE = 1, 7  # AdCOM 1.0, List: No-Bid Reason Codes
# Ours: nothing that was asked for can be answered; nothing fits; no currency; the reader's refusal; no counting.
NOTHING_ASKED, NOTHING_FITS, NO_CURRENCY, REFUSED, UNCOUNTED = 500, 501, 502, 503, 504

Number = float  # whole or not
Flag = bool | float | str | None
Texts = tuple[str, ...]
Words = str | tuple[str, ...] | None  # keywords: with commas between, or an array
Named = Annotated[str, Meta(min_length=1, max_length=512)]


class SizeAsked(Struct, frozen=True):
    """A size in device-independent pixels."""

    w: Number | None = None
    h: Number | None = None


class Banner(Struct, frozen=True):
    """Section 3.2.6."""

    format: tuple[SizeAsked, ...] = ()
    w: Number | None = None
    h: Number | None = None
    btype: tuple[Number, ...] = ()


class TitleAsked(Struct, frozen=True):
    """Native 1.2, 4.3."""

    len: Number | None = None


class ImageAsked(Struct, frozen=True):
    """Native 1.2, 4.4."""

    type: Number | None = None
    w: Number | None = None
    h: Number | None = None
    wmin: Number | None = None
    hmin: Number | None = None
    mimes: Texts = ()


class DataAsked(Struct, frozen=True):
    """Native 1.2, 4.6."""

    type: Number | None = None
    len: Number | None = None


class AssetAsked(Struct, frozen=True):
    """Native 1.2, 4.2. One that asks for something else, such as a video, is never answered."""

    id: int | None = None
    required: Flag = 0
    title: TitleAsked | None = None
    img: ImageAsked | None = None
    data: DataAsked | None = None


class EventTracker(Struct, frozen=True):
    """Native 1.2, 4.7."""

    event: Number | None = None
    methods: tuple[Number, ...] = ()


class NativeRequest(Struct, frozen=True):
    """Native 1.2, 4.1. Older clients wrap it in an object of one field, `native`."""

    assets: tuple[AssetAsked, ...] = ()
    eventtrackers: tuple[EventTracker, ...] = ()
    native: NativeRequest | None = None


class Native(Struct, frozen=True):
    """Section 3.2.9; `request` is JSON in a string."""

    request: str | NativeRequest | None = None


class StoredRequest(Struct, frozen=True):
    """Prebid Server: a stored request."""

    id: str | Number | None = None


class BidderParams(Struct, frozen=True):
    """What a page says to us as its bidder."""

    placement: str | Number | None = None


class ImpPrebid(Struct, frozen=True):
    """Prebid: bidder code → its parameters; of those that are not ours, nothing is read."""

    bidder: dict[str, Raw] = {}
    storedrequest: StoredRequest | None = None


class ImpExt(Struct, frozen=True):
    """Extensions of an impression."""

    prebid: ImpPrebid | None = None


class Pmp(Struct, frozen=True):
    """Section 3.2.11; there are no deals here."""

    private_auction: Flag = 0


class Imp(Struct, frozen=True):
    """Section 3.2.4."""

    id: Named
    banner: Banner | None = None
    native: Native | None = None
    bidfloor: Annotated[float, Meta(ge=0)] | None = None
    bidfloorcur: str | None = None
    pmp: Pmp | None = None
    secure: Flag = None  # whether everything has to come over https
    ext: ImpExt | None = None


class PublisherPart(Struct, frozen=True):
    """Section 3.2.15."""

    id: str | Number | None = None


class Segment(Struct, frozen=True):
    """Section 3.2.22."""

    id: str | Number | None = None


class SegmentExt(Struct, frozen=True):
    """Which taxonomy the segments are of."""

    segtax: Number | None = None


class ContentData(Struct, frozen=True):
    """Section 3.2.21, of the content alone: what is said of users is not read."""

    segment: tuple[Segment, ...] = ()
    ext: SegmentExt | None = None


class ContentPart(Struct, frozen=True):
    """Section 3.2.16."""

    title: str | None = None
    keywords: Words = None
    kwarray: Words = None
    cat: Texts = ()
    cattax: Number | None = None
    language: str | None = None
    data: tuple[ContentData, ...] = ()


class SiteData(Struct, frozen=True):
    """What a page says of itself by `ortb2.site.ext.data`."""

    documentLang: str | None = None  # noqa: N815 - as Prebid writes it
    description: str | None = None
    text: str | None = None


class SiteExt(Struct, frozen=True):
    """Extensions of a site."""

    data: SiteData | None = None


class SitePart(Struct, frozen=True):
    """Section 3.2.13."""

    page: str | None = None
    publisher: PublisherPart | None = None
    cat: Texts = ()
    sectioncat: Texts = ()
    pagecat: Texts = ()
    cattax: Number | None = None
    keywords: Words = None
    kwarray: Words = None
    content: ContentPart | None = None
    ext: SiteExt | None = None


class GeoPart(Struct, frozen=True):
    """Section 3.2.19, no finer than a region."""

    country: str | None = None
    region: str | None = None


class SuaPlatform(Struct, frozen=True):
    """Section 3.2.30, of the platform."""

    brand: str | None = None


class Sua(Struct, frozen=True):
    """Section 3.2.29: what low-entropy client hints say."""

    mobile: Flag = None
    platform: SuaPlatform | None = None


class DevicePart(Struct, frozen=True):
    """Section 3.2.18."""

    devicetype: Number | None = None
    sua: Sua | None = None
    geo: GeoPart | None = None


class DsaAsked(Struct, frozen=True):
    """The IAB's DSA transparency extension, 2023."""

    dsarequired: Number | None = None
    pubrender: Number | None = None


class RegsExt(Struct, frozen=True):
    """Where clients of OpenRTB 2.5 put it."""

    gdpr: Flag = None
    gpc: Flag = None
    gpp: str | None = None
    dsa: DsaAsked | None = None


class RegsPart(Struct, frozen=True):
    """Section 3.2.3."""

    gdpr: Flag = None
    gpc: Flag = None
    gpp: str | None = None
    dsa: DsaAsked | None = None
    ext: RegsExt | None = None


class UserExt(Struct, frozen=True):
    """Where clients of OpenRTB 2.5 put it."""

    consent: str | None = None


class UserPart(Struct, frozen=True):
    """Section 3.2.20: the consent string alone."""

    consent: str | None = None
    ext: UserExt | None = None


Imps = Annotated[tuple[Imp, ...], Meta(min_length=1, max_length=100)]


class Asked(Struct, frozen=True, kw_only=True):
    """Section 3.2.1, without the impressions. What is not named here is not read."""

    id: Named
    site: SitePart | None = None
    device: DevicePart | None = None
    user: UserPart | None = None
    regs: RegsPart | None = None
    test: Flag = 0
    tmax: Number | None = None
    cur: Texts = ()
    bcat: Texts = ()
    badv: Texts = ()
    wseat: Texts = ()  # the seats that alone may bid
    bseat: Texts = ()  # those that may not
    cattax: Number | None = None


class BidRequest(Asked, frozen=True, kw_only=True):
    """Section 3.2.1. What is not named here is not read."""

    imp: Imps


class Outer(Asked, frozen=True, kw_only=True):
    """The same, whose impressions are read by themselves: a page asks for the same ones again and again."""

    imp: Raw


class DsaTransparency(Struct, frozen=True):
    """Who applied which parameters of the IAB's list: 1 profiling, 2 basic advertising, 3 precise location."""

    domain: str
    dsaparams: tuple[int, ...]


class BidDsa(Struct, frozen=True):
    """On whose behalf an advertisement is shown, who paid, and by which parameters it was chosen."""

    behalf: str
    paid: str
    transparency: tuple[DsaTransparency, ...]
    adrender: int  # 1: the advertisement itself says so


class BidPrebid(Struct, frozen=True):
    """What a bid is, for Prebid Server's clients."""

    type: str


class BidExt(Struct, frozen=True, omit_defaults=True):
    """Extensions of a bid."""

    prebid: BidPrebid
    dsa: BidDsa | None = None


class Bid(Struct, frozen=True, omit_defaults=True):
    """Section 4.2.3. `price` is for a thousand impressions."""

    id: str
    impid: str
    price: float
    adm: str
    adomain: tuple[str, ...]
    cid: str
    crid: str
    mtype: int
    cattax: int
    ext: BidExt
    cat: tuple[str, ...] = ()
    w: int | None = None
    h: int | None = None
    burl: str | None = None  # to be loaded when the bid is billed; the price stands in it, sealed
    exp: int | None = None  # seconds


class SeatBid(Struct, frozen=True):
    """Section 4.2.2."""

    seat: str
    bid: tuple[Bid, ...]


class BidResponse(Struct, frozen=True, omit_defaults=True):
    """Section 4.2.1. `nbr` says why there is no bid (AdCOM 1.0, List: No-Bid Reason Codes; ours from 500 on)."""

    id: str
    seatbid: tuple[SeatBid, ...] = ()
    cur: str | None = None
    nbr: int | None = None


class TitleAnswer(Struct, frozen=True):
    """Native 1.2, 5.3."""

    text: str


class ImageAnswer(Struct, frozen=True):
    """Native 1.2, 5.4."""

    url: str
    w: int
    h: int
    type: int = MAIN_IMAGE


class DataAnswer(Struct, frozen=True):
    """Native 1.2, 5.5."""

    value: str
    type: int


class AssetAnswer(Struct, frozen=True, omit_defaults=True):
    """Native 1.2, 5.2."""

    id: int
    required: int = 0
    title: TitleAnswer | None = None
    img: ImageAnswer | None = None
    data: DataAnswer | None = None


class LinkAnswer(Struct, frozen=True):
    """Native 1.2, 5.7."""

    url: str


class TrackerAnswer(Struct, frozen=True):
    """Native 1.2, 5.8."""

    event: int
    method: int
    url: str


class NativeAnswer(Struct, frozen=True, omit_defaults=True):
    """Native 1.2, 5.1."""

    ver: str
    link: LinkAnswer
    assets: tuple[AssetAnswer, ...]
    eventtrackers: tuple[TrackerAnswer, ...] = ()
    privacy: str | None = None


class WrappedNative(Struct, frozen=True):
    """As it is answered to who asked for it wrapped."""

    native: NativeAnswer


decode_outer = msgspec.json.Decoder(Outer).decode
decode_imps = msgspec.json.Decoder(Imps).decode
decode_request = msgspec.json.Decoder(BidRequest).decode
decode_native = msgspec.json.Decoder(NativeRequest).decode
decode_params = msgspec.json.Decoder(BidderParams).decode
encode: Any = msgspec.json.Encoder().encode
