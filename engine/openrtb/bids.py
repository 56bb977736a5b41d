"""The bids that answer a request of OpenRTB 2.6.

What is bid is held to what was asked once more when the bid is written: no id, size, price or currency leaves that the
request did not allow.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from contexts.taxonomy import CATTAX_CONTENT_3_1
from engine.assemble import adm
from engine.decision import Answer, Asset, CreativeAnswer, Filled, Offer
from engine.events import TOKEN_S
from engine.openrtb.asked import Lot, image_asked, is_on, text_asked
from engine.openrtb.market import Market
from engine.openrtb.wire import (
    BANNER,
    IMAGE_TRACKER,
    IMPRESSION,
    MAIN_IMAGE,
    NATIVE,
    NOTHING_FITS,
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
    LinkAnswer,
    NativeAnswer,
    NativeRequest,
    SeatBid,
    TitleAnswer,
    TrackerAnswer,
    WrappedNative,
    encode,
)

DIGITS = 6  # of a price
EXPIRES_S = TOKEN_S - 300  # a bid may be shown so long: its impression then counts for five minutes more
LONGEST_NAME = 100  # characters, of DSA's behalf and paid
MIMES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "avif": "image/avif"}

_decode_creative = msgspec.json.Decoder(CreativeAnswer).decode


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
    name, most = text_asked(asked)
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
    (w, h), exact = image_asked(asked)
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
