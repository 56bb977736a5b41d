"""What a request of OpenRTB 2.6 asks for, and says of page, device, consent and the law, in our own terms.

Nothing here reads the network, a store or the clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from contexts.country import alpha_2
from contexts.taxonomy import (
    CATTAX_CONTENT_1_0,
    CATTAX_CONTENT_3_0,
    CATTAX_CONTENT_3_1,
    CONTENT_1_0_TIER_1,
)
from engine.campaign import Format, Publisher, StoredPlacement
from engine.decision import NativeNeeds, Placement
from engine.openrtb.market import THOUSAND, Market
from engine.openrtb.wire import (
    BANNER_MARKUP,
    CALL_TO_ACTION,
    DESCRIPTION,
    MAIN_IMAGE,
    SPONSORED,
    Asked,
    AssetAsked,
    DsaAsked,
    ImageAsked,
    Imp,
    NativeRequest,
    decode_native,
    decode_params,
)
from privacy.visit import DeviceClass, Platform

SEAT = "tactful"  # where a request names no bidder
LONGEST = 2**15 - 1
MOST_KEYWORDS, LONGEST_KEYWORD, MOST_CATEGORIES, MOST_SIZES = 100, 80, 50, 20
LONGEST_URL, LONGEST_TITLE, LONGEST_DESCRIPTION, LONGEST_TEXT = 2048, 1000, 5000, 200_000
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
    # What no creative has is not read: Python takes its time for numbers of 300 digits.
    known = ((int(w), int(h)) for w, h in asked if w and h and 1 <= w <= LONGEST and 1 <= h <= LONGEST)
    return list(dict.fromkeys(known))


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
        name, most = text_asked(asset)
        if name is not None:
            needs[name] = min(needs.get(name, LONGEST), most)
        elif asset.img is not None and asset.img.type == MAIN_IMAGE and "image" not in needs:
            needs["image"], needs["exact"] = image_asked(asset.img)
        else:
            return None
    return NativeNeeds(**needs)


def text_asked(asset: AssetAsked) -> tuple[str | None, int]:
    """Return which text an asset asks for, and its length at most; None where it asks for none of ours."""
    if asset.title is not None:
        return "headline", _most(asset.title.len)
    if asset.data is not None and asset.data.type is not None:
        return DATA_PARTS.get(int(asset.data.type)), _most(asset.data.len)
    return None, 0


def _most(length: float | None) -> int:
    return LONGEST if not length or length < 1 else min(LONGEST, int(length))


def image_asked(image: ImageAsked) -> tuple[tuple[int, int], bool]:
    """Return the size of a picture, and whether it is to be just that; otherwise it is the least."""
    if image.w and image.h and not (image.wmin or image.hmin):
        return (_pixels(image.w), _pixels(image.h)), True
    return (_pixels(image.wmin), _pixels(image.hmin)), False


def _pixels(value: float | None) -> int:
    return 0 if not value or value < 0 else min(LONGEST, math.ceil(value))


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
