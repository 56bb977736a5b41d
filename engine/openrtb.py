"""Between OpenRTB 2.6 and our own decisions: what a request asks for, and the bids that answer it.

Nothing here reads the network, a store or the clock. What is bid is held to what was asked once more when the bid is
written: no id, size, price or currency leaves that the request did not allow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from contexts.context import TopicId
from contexts.country import alpha_2
from contexts.taxonomy import (
    CATTAX_AD_PRODUCT_2_0,
    CATTAX_CONTENT_1_0,
    CATTAX_CONTENT_3_0,
    CATTAX_CONTENT_3_1,
    CONTENT_1_0_TIER_1,
    Taxonomy,
)
from engine.assemble import adm
from engine.campaign import Format, Publisher, StoredPlacement
from engine.decision import Answer, Asset, CreativeAnswer, Filled, NativeNeeds, Offer, Placement
from engine.events import TOKEN_S
from engine.openrtb_wire import (
    BANNER,
    BANNER_MARKUP,
    CALL_TO_ACTION,
    DESCRIPTION,
    IMAGE_TRACKER,
    IMPRESSION,
    MAIN_IMAGE,
    NATIVE,
    SPONSORED,
    VIEWABLE_MRC_50,
    Asked,
    AssetAnswer,
    AssetAsked,
    Bid,
    BidDsa,
    BidExt,
    BidPrebid,
    BidResponse,
    DataAnswer,
    DsaAsked,
    DsaTransparency,
    ImageAnswer,
    ImageAsked,
    Imp,
    LinkAnswer,
    NativeAnswer,
    NativeRequest,
    SeatBid,
    TitleAnswer,
    TrackerAnswer,
    WrappedNative,
    decode_native,
    decode_params,
    encode,
)
from privacy.visit import DeviceClass, Platform

# AdCOM 1.0, List: No-Bid Reason Codes.
TECHNICAL_ERROR, INVALID_REQUEST, BLOCKED_SITE = 1, 2, 7
# Ours: nothing that was asked for can be answered; nothing fits; no currency; the reader's refusal; no counting.
NOTHING_ASKED, NOTHING_FITS, NO_CURRENCY, REFUSED, UNCOUNTED = 500, 501, 502, 503, 504

SEAT = "tactful"  # where a request names no bidder
EXPIRES_S = TOKEN_S - 300  # a bid may be shown so long: its impression then counts for five minutes more
PARTS = 1_000_000  # of a unit of currency
THOUSAND = 1000  # impressions that prices are told for
DIGITS = 6  # of a price
LONGEST_NAME = 100  # characters, of DSA's behalf and paid
LONGEST = 2**15 - 1
MOST_KEYWORDS, LONGEST_KEYWORD, MOST_CATEGORIES, MOST_SIZES = 100, 80, 50, 20
LONGEST_URL, LONGEST_TITLE, LONGEST_DESCRIPTION, LONGEST_TEXT = 2048, 1000, 5000, 200_000
# Content Taxonomy 2.x shares most ids of its subjects with 3.x.
CONTENT_TAXONOMIES = (2, 5, 6, CATTAX_CONTENT_3_0, CATTAX_CONTENT_3_1)
DEVICE_TYPES: Mapping[int, DeviceClass] = {2: "desktop", 3: "tv", 4: "phone", 5: "tablet", 7: "tv"}  # AdCOM
PLATFORMS: Mapping[str, Platform] = {
    "android": "android",
    "ios": "ios",
    "windows": "windows",
    "macos": "macos",
    "linux": "linux",
}
DATA_PARTS: Mapping[int, Literal["sponsored_by", "body", "cta"]] = {
    SPONSORED: "sponsored_by",
    DESCRIPTION: "body",
    CALL_TO_ACTION: "cta",
}
MIMES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "avif": "image/avif"}

_decode_creative = msgspec.json.Decoder(CreativeAnswer).decode


class Categories:
    """What requests say of advertisers' categories, in whichever taxonomy, in our own: Ad Product 2.0."""

    def __init__(self, products: Taxonomy, content: Taxonomy, counterparts: Mapping[TopicId, str]) -> None:
        """`counterparts` are the products' in Content Taxonomy 1.0."""
        self._products, self._content = products, content
        self._by_1_0: dict[str, set[str]] = {}  # a code of Content 1.0, or what stands above it
        self._by_tier_1: dict[TopicId, set[str]] = {}  # a first tier of Content 3.1
        self._tier_1: dict[str, TopicId] = {}
        for product, code in counterparts.items():
            above = code.partition("-")[0]
            for known in {code, above}:
                self._by_1_0.setdefault(known, set()).add(product)
            tier_1 = CONTENT_1_0_TIER_1.get(above)
            if tier_1 is not None:
                self._by_tier_1.setdefault(tier_1, set()).add(product)
                self._tier_1[product] = tier_1

    def blocked(self, categories: Iterable[str], cattax: int) -> tuple[str, ...] | None:
        """Return all products that a request's `bcat` blocks; None where it is in a taxonomy that is not read.

        What is coarser there than here blocks more, never less.
        """
        found: set[str] = set()
        for category in categories:
            if cattax == CATTAX_CONTENT_1_0:
                found |= self._by_1_0.get(category, set())
            elif cattax == CATTAX_AD_PRODUCT_2_0:
                if category in self._products:
                    found |= self._products.subtree(TopicId(category))
            elif cattax in CONTENT_TAXONOMIES:
                if category in self._content:
                    found |= self._by_tier_1.get(self._content.tier_1(TopicId(category)), set())
            else:
                return None
        return tuple(sorted(found))

    def told(self, products: Sequence[str], cattax: int) -> tuple[tuple[str, ...], int]:
        """Return what is advertised in the taxonomy that was asked in, and which that is: 7, 8 or 9."""
        if cattax == CATTAX_AD_PRODUCT_2_0:
            return tuple(products), cattax
        topics = dict.fromkeys(self._tier_1[one] for one in products if one in self._tier_1)
        return tuple(topics), cattax if cattax == CATTAX_CONTENT_3_0 else CATTAX_CONTENT_3_1


@dataclass(frozen=True, slots=True)
class Market:
    """What the service is in other people's auctions."""

    domain: str  # its own, for DSA
    currency: str  # of its amounts
    rates: Mapping[
        str, float
    ]  # how much one unit of it is, in each currency that may be told, itself among them
    categories: Categories
    secure: bool = True  # whether its addresses may stand in a page that came over https

    def bids_in(self, allowed: Sequence[str]) -> str | None:
        """Return the currency to bid in, our own if it may be; None where none may."""
        if not allowed or self.currency in allowed:
            return self.currency
        return next((name for name in allowed if name in self.rates), None)

    def micros(self, amount: float, currency: str) -> int | None:
        """Return the least amount of ours that is no less, in whole micro-units; None in an unknown currency."""
        if amount <= 0:
            return 0
        rate = self.rates.get(currency)
        return None if rate is None else math.ceil(round(amount / rate * PARTS, 3))

    def price(self, micros: int, currency: str) -> float:
        """Return what a thousand events of a price are in a currency, rounded down."""
        amount = micros * THOUSAND / PARTS * self.rates[currency]
        return math.floor(round(amount * PARTS, 3)) / PARTS


@dataclass(frozen=True, slots=True)
class Lot:
    """An impression that can be bid on."""

    imp: str
    seat: str
    placement: Placement
    native: NativeRequest | None
    wrapped: bool
    floor: float  # in `floor_currency`
    floor_currency: str


@dataclass(frozen=True, slots=True)
class Said:
    """What a request says of consent and the law, from either of the places where it may stand."""

    gdpr: int | None
    tcf: str | None
    gpp: str | None
    gpc: bool
    dsa: DsaAsked | None


def publisher_of(request: Asked, sid: str | None) -> str | None:
    """Return the publisher's id: of the site, else of the address that was called."""
    part = request.site.publisher if request.site else None
    return (None if part is None else _text(part.id)) or sid


def said_of(request: Asked) -> Said:
    """Return what the request says of consent; the places of OpenRTB 2.6 come before those of 2.5."""
    regs, user = request.regs, request.user
    outer = None if regs is None else regs.ext
    tcf = None if user is None else user.consent or (user.ext.consent if user.ext else None)
    if regs is None:
        return Said(None, tcf, None, False, None)
    gdpr = regs.gdpr if regs.gdpr is not None or outer is None else outer.gdpr
    return Said(
        gdpr=None if gdpr is None else int(is_on(gdpr)),
        tcf=tcf,
        gpp=regs.gpp or (outer.gpp if outer else None),
        gpc=is_on(regs.gpc) or (outer is not None and is_on(outer.gpc)),
        dsa=regs.dsa or (outer.dsa if outer else None),
    )


def is_on(flag: object) -> bool:
    """Say whether a flag is set: 1, "1" or true."""
    return flag is True or flag == 1 or flag == "1"


def is_plain(request: Asked) -> bool:
    """Say whether the page came over http: whatever clients say by habit, it may load what comes so, too."""
    return request.site is not None and (request.site.page or "").startswith("http://")


def page_of(request: Asked) -> dict[str, Any]:
    """Return what is said of page, device and place, as the gate takes it (`privacy.gate.enter`)."""
    site = request.site
    content = None if site is None else site.content
    data = None if site is None or site.ext is None else site.ext.data
    found: dict[str, Any] = dict(_device(request))
    if site is None:
        return found
    if site.page and len(site.page) <= LONGEST_URL and site.page.startswith(("http://", "https://")):
        found["url"] = site.page
    if content is not None and content.title:
        found["title"] = content.title[:LONGEST_TITLE]
    if data is not None:
        if data.description:
            found["description"] = data.description[:LONGEST_DESCRIPTION]
        if data.text:
            found["text"] = data.text[:LONGEST_TEXT]
    language = (content.language if content else None) or (data.documentLang if data else None)
    if language:
        found["language"] = language
    found["keywords"] = tuple(
        dict.fromkeys(
            word[:LONGEST_KEYWORD]
            for words in (
                site.keywords,
                site.kwarray,
                *((content.keywords, content.kwarray) if content else ()),
            )
            for word in _words(words)
        )
    )[:MOST_KEYWORDS]
    found["categories"] = tuple(dict.fromkeys(_topics(request)))[:MOST_CATEGORIES]
    return found


def lots_of(imps: Sequence[Imp], request: Asked, publisher: Publisher, market: Market) -> tuple[Lot, ...]:
    """Return the impressions that can be bid on; their placements are named by their number."""
    blocked: tuple[str, ...] | None = ()
    if request.bcat:
        blocked = market.categories.blocked(request.bcat, int(request.cattax or CATTAX_CONTENT_1_0))
    if blocked is None:
        return ()
    stored = {one.id: one for one in publisher.placements}
    lots: list[Lot] = []
    for imp in imps:
        if is_on(imp.secure) and not market.secure and not is_plain(request):
            continue
        lot = _lot(imp, str(len(lots)), stored, blocked, market)
        if lot is not None and lot.seat not in request.bseat and lot.seat in (request.wseat or (lot.seat,)):
            lots.append(lot)
    return tuple(lots)


def response_of(
    request: Asked,
    lots: Sequence[Lot],
    answer: Answer,
    offers: Sequence[Offer],
    market: Market,
    currency: str,
    dsa: DsaAsked | None,
) -> BidResponse:
    """Return the bids of a decision, or that nothing fits."""
    cattax = int(request.cattax or CATTAX_CONTENT_3_1)
    seats: dict[str, list[Bid]] = {}
    for number, (filled, offer) in enumerate(zip(answer.decisions, offers, strict=True)):
        lot = lots[int(filled.placement)]
        bid = _bid(f"{answer.request_id}-{number}", lot, filled, offer, market, currency, cattax, dsa)
        if bid is not None:
            seats.setdefault(lot.seat, []).append(bid)
    if not seats:
        return BidResponse(request.id, nbr=NOTHING_FITS)
    seatbid = tuple(SeatBid(seat, tuple(bids)) for seat, bids in seats.items())
    return BidResponse(request.id, seatbid, currency)


def _lot(
    imp: Imp,
    name: str,
    stored: Mapping[str, StoredPlacement],
    blocked: tuple[str, ...],
    market: Market,
) -> Lot | None:
    """Return what an impression asks for; None where nothing of it can be answered."""
    seat, own, wanted = _addressed(imp)
    if own is not None and own not in stored and (stored and wanted):
        return None  # a publisher that registered its placements has no other
    registered = stored.get(own) if own is not None else None
    if imp.pmp is not None and is_on(imp.pmp.private_auction):
        return None  # for holders of a deal alone
    floor, currency = imp.bidfloor or 0.0, imp.bidfloorcur or "USD"
    floor_micros = market.micros(floor, currency)
    if floor_micros is None:
        return None
    sizes = _sizes(imp)
    formats: list[Format] = []
    native, wrapped, needs = None, False, None
    if registered is not None:
        floor_micros = max(floor_micros, registered.floor_micros)
        if registered.sizes:
            sizes = [one for one in sizes if one in registered.sizes] if sizes else list(registered.sizes)
    if (imp.banner is not None or (registered is not None and imp.native is None)) and sizes:
        if imp.banner is None or BANNER_MARKUP not in imp.banner.btype:
            formats.append("banner")
    if imp.native is not None:
        native, wrapped = _native_asked(imp)
        needs = None if native is None else _needs(native)
        if needs is not None:
            formats.append("native")
    if registered is not None:
        formats = [one for one in formats if one in registered.formats]
    if not formats:
        return None
    placement = Placement(
        id=name,
        formats=tuple(formats),
        sizes=tuple(sizes[:MOST_SIZES]) if "banner" in formats else (),
        # Prices are whole micro-units an impression.
        floor_micros=-(-floor_micros // THOUSAND) * THOUSAND,
        block_categories=blocked,
        native=needs if "native" in formats else None,
        auction=True,
    )
    return Lot(imp.id, seat, placement, native, wrapped, floor, currency)


def _addressed(imp: Imp) -> tuple[str, str | None, bool]:
    """Return the seat to bid from, the id of a registered placement, and whether only that can be meant."""
    prebid = imp.ext.prebid if imp.ext else None
    if prebid is None:
        return SEAT, None, False
    seat = SEAT if SEAT in prebid.bidder else next(iter(prebid.bidder), SEAT)
    if prebid.storedrequest is not None and prebid.storedrequest.id is not None:
        return seat, _text(prebid.storedrequest.id), True
    if seat in prebid.bidder:
        try:
            return seat, _text(decode_params(prebid.bidder[seat]).placement), False
        except msgspec.MsgspecError:
            pass
    return seat, None, False


def _sizes(imp: Imp) -> list[tuple[int, int]]:
    """Return the sizes that a banner may have: its formats, else its own."""
    if imp.banner is None:
        return []
    asked = [(one.w, one.h) for one in imp.banner.format] or [(imp.banner.w, imp.banner.h)]
    return list(dict.fromkeys((int(w), int(h)) for w, h in asked if w and h and w >= 1 and h >= 1))


def _native_asked(imp: Imp) -> tuple[NativeRequest | None, bool]:
    """Return what a native impression asks for, and whether it came wrapped; None where it cannot be read."""
    asked = imp.native.request if imp.native else None
    if isinstance(asked, str):
        try:
            asked = decode_native(asked)
        except (msgspec.MsgspecError, RecursionError):
            return None, False
    if asked is not None and asked.native is not None:
        return asked.native, True
    return asked, False


def _needs(native: NativeRequest) -> NativeNeeds | None:
    """Return what a native creative must have; None where no creative of ours has what is required."""
    if not native.assets:
        return None
    needs: dict[str, Any] = {}
    for asset in native.assets:
        if not is_on(asset.required):
            continue
        if asset.id is None:
            return None
        name, most = _text_asked(asset)
        if name is not None:
            needs[name] = min(needs.get(name, LONGEST), most)
        elif asset.img is not None and asset.img.type == MAIN_IMAGE and "image" not in needs:
            needs["image"], needs["exact"] = _image_asked(asset.img)
        else:
            return None
    return NativeNeeds(**needs)


def _text_asked(asset: AssetAsked) -> tuple[str | None, int]:
    """Return which text an asset asks for, and its length at most; None where it asks for none of ours."""
    if asset.title is not None:
        return "headline", _most(asset.title.len)
    if asset.data is not None and asset.data.type is not None:
        return DATA_PARTS.get(int(asset.data.type)), _most(asset.data.len)
    return None, 0


def _most(length: float | None) -> int:
    return LONGEST if not length or length < 1 else min(LONGEST, int(length))


def _image_asked(image: ImageAsked) -> tuple[tuple[int, int], bool]:
    """Return the size of a picture, and whether it is to be just that; otherwise it is the least."""
    if image.w and image.h and not (image.wmin or image.hmin):
        return (_pixels(image.w), _pixels(image.h)), True
    return (_pixels(image.wmin), _pixels(image.hmin)), False


def _pixels(value: float | None) -> int:
    return 0 if not value or value < 0 else min(LONGEST, math.ceil(value))


def _bid(
    id: str,
    lot: Lot,
    filled: Filled,
    offer: Offer,
    market: Market,
    currency: str,
    cattax: int,
    dsa: DsaAsked | None,
) -> Bid | None:
    """Return the bid for an impression; None where it is not just what was asked for."""
    creative = _decode_creative(filled.creative)
    price = market.price(offer.price_micros, currency)
    least = lot.floor * market.rates[currency] / market.rates[lot.floor_currency] if lot.floor else 0.0
    if price <= 0 or round(price - least, DIGITS) < 0:
        return None
    events = filled.events
    if creative.format == "native":
        markup = None if lot.native is None else _native_markup(lot, lot.native, filled, creative)
        mtype, kind, size = NATIVE, "native", None
    else:
        markup = adm(creative.html, events.impression if events else None)
        mtype, kind, size = BANNER, "banner", creative.size
        if size is None or size not in lot.placement.sizes:
            return None
    if markup is None:
        return None
    cat, told_in = market.categories.told(offer.categories, cattax)
    return Bid(
        id=id,
        impid=lot.imp,
        price=price,
        adm=markup,
        adomain=(_advertised(creative.landing_domain, offer.domains),),
        cid=creative.campaign,
        crid=creative.id,
        mtype=mtype,
        cattax=told_in,
        cat=cat,
        w=size[0] if size else None,
        h=size[1] if size else None,
        burl=events.impression if events else None,
        exp=EXPIRES_S,
        ext=BidExt(BidPrebid(kind), None if dsa is None else _dsa(dsa, filled, market)),
    )


def _native_markup(lot: Lot, asked: NativeRequest, filled: Filled, creative: CreativeAnswer) -> str | None:
    """Return the native response, JSON in a string; None where something required is not there."""
    assets: list[AssetAnswer] = []
    for asset in asked.assets:
        answered = None if asset.id is None else _asset(asset.id, asset, creative)
        if answered is not None:
            assets.append(answered)
        elif is_on(asset.required):
            return None
    events = filled.events
    urls = {} if events is None else {IMPRESSION: events.impression, VIEWABLE_MRC_50: events.viewable}
    trackers = tuple(
        TrackerAnswer(int(one.event), IMAGE_TRACKER, urls[int(one.event)])
        for one in asked.eventtrackers
        if one.event in urls and IMAGE_TRACKER in one.methods
    )
    answer = NativeAnswer(
        "1.2", LinkAnswer(filled.click_url), tuple(assets), trackers, filled.why_url or None
    )
    return str(encode(WrappedNative(answer) if lot.wrapped else answer), "utf-8")


def _asset(id: int, asked: AssetAsked, creative: CreativeAnswer) -> AssetAnswer | None:
    """Return what a creative has for an asset."""
    assets = creative.assets
    name, most = _text_asked(asked)
    if name is not None:
        text: str = getattr(assets, name)
        if not 0 < len(text) <= most:
            return None
        if name == "headline":
            return AssetAnswer(id, title=TitleAnswer(text))
        return AssetAnswer(id, data=DataAnswer(text, int(asked.data.type)))  # type: ignore[union-attr,arg-type]  # named by it
    if asked.img is None or asked.img.type != MAIN_IMAGE or assets.image is None:
        return None
    if not _suits(assets.image, asked.img):
        return None
    return AssetAnswer(id, img=ImageAnswer(assets.image.url, assets.image.w, assets.image.h))


def _suits(image: Asset, asked: ImageAsked) -> bool:
    (w, h), exact = _image_asked(asked)
    fits = (image.w, image.h) == (w, h) if exact else image.w >= w and image.h >= h
    kind = MIMES.get(image.url.rpartition(".")[2])
    return fits and (not asked.mimes or kind in asked.mimes)


def _dsa(asked: DsaAsked, filled: Filled, market: Market) -> BidDsa | None:
    """Return what the DSA asks to be told, so that just one side shows it: the publisher's where it says it will.

    Every creative of ours is labelled, so that it is shown in any case.
    """
    told = filled.dsa
    if told is None:
        return None
    transparency = (DsaTransparency(market.domain, told.params),)
    names = told.behalf[:LONGEST_NAME], told.paid[:LONGEST_NAME]
    return BidDsa(*names, transparency, 0 if asked.pubrender == 2 else 1)


def _advertised(landing: str, domains: Sequence[str]) -> str:
    """Return the advertiser's domain that a creative leads to."""
    below = [one for one in domains if landing == one or landing.endswith("." + one)]
    return max(below, key=len, default=landing)


def _topics(request: Asked) -> Iterator[str]:
    """Yield the page's topics as ids of Content Taxonomy 3.x: segments of the content first, then categories."""
    site = request.site
    if site is None:
        return
    content = site.content
    for data in content.data if content else ():
        taxonomy = None if data.ext is None else data.ext.segtax
        yield from _in_3_x((_text(one.id) or "" for one in data.segment), taxonomy)
    if content is not None:
        yield from _in_3_x(content.cat, content.cattax or CATTAX_CONTENT_1_0)
    for named in (site.pagecat, site.sectioncat, site.cat):
        yield from _in_3_x(named, site.cattax or CATTAX_CONTENT_1_0)


def _in_3_x(categories: Iterable[str], cattax: float | None) -> Iterator[str]:
    if cattax in (CATTAX_CONTENT_3_0, CATTAX_CONTENT_3_1):
        yield from (one[:LONGEST_KEYWORD] for one in categories if one)
    elif cattax == CATTAX_CONTENT_1_0:
        for one in categories:
            known = CONTENT_1_0_TIER_1.get(one.partition("-")[0])
            if known is not None:
                yield known


def _device(request: Asked) -> Iterator[tuple[str, str]]:
    """Yield what is said of device and place, each in the gate's own words."""
    device = request.device
    if device is None:
        return
    kind = DEVICE_TYPES.get(int(device.devicetype)) if device.devicetype is not None else None
    if kind is None and device.sua is not None and is_on(device.sua.mobile):
        kind = "phone"
    if kind is not None:
        yield "device_class", kind
    brand = device.sua.platform.brand if device.sua and device.sua.platform else None
    platform = PLATFORMS.get(brand.lower()) if brand else None
    if platform is not None:
        yield "platform", platform
    country = alpha_2(device.geo.country) if device.geo and device.geo.country else None
    if country is not None:
        yield "country", country
        if device.geo is not None and device.geo.region:
            yield "region", device.geo.region.upper()


def _words(words: str | tuple[str, ...] | None) -> Iterator[str]:
    for word in words.split(",") if isinstance(words, str) else words or ():
        if word := word.strip():
            yield word


def _text(value: str | float | None) -> str | None:
    """Return an id as text; a number as it is written without a point."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return value
