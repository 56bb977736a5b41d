"""Creatives: as they are stored."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from engine.check.findings import Findings, Known, Pictures
from engine.check.parts import check_parts
from engine.check.pictures import check_image
from engine.check.targeting import check_targeting
from engine.check.values import check_prefer, tidy_words
from engine.creative import Creative, Image, Offer
from engine.creative_safety import OWN_PICTURE, check_text, clean_html, landing_url
from engine.errors import CatalogError
from engine.governor import in_words, mentions, names
from engine.images import NAME
from engine.wording import plain

_RATIO = 0.01  # how far a banner's picture may be from the banner's proportions


def check_creative(
    creative: Creative, domains: Collection[str] | None, pictures: Pictures, known: Known, found: Findings
) -> Creative:
    """Return the creative as it is stored: URL written anew, HTML cleaned, pictures hosted.

    `domains` are the verified ones of its advertiser; None where it is not known: all other errors are found.
    """
    url = creative.landing_url
    with found.collecting():
        url = landing_url(url, domains, "landing_url", found.line)
    for name in ("headline", "body", "cta", "sponsored_by"):
        with found.collecting():
            check_text(getattr(creative, name), name, found.line)
    image = creative.image and check_image(creative.image, pictures, found)
    parts = creative.parts and check_parts(creative, creative.parts, pictures, known, found)
    _check_copy(creative, found)
    html = creative.html
    if html is not None:
        html = _check_html(html, image, domains, pictures, found)
    _check_format(creative, image, found)
    if creative.prefer is not None:
        check_prefer(creative.prefer, found)
    if creative.offer is not None:
        _check_offer(creative.offer, found)
    return replace(
        creative,
        landing_url=url,
        image=image,
        html=html,
        parts=parts,
        keywords=tidy_words(creative.keywords, "keywords", found),
        targeting=check_targeting(creative.targeting, known, found),
    )


def _check_offer(offer: Offer, found: Findings) -> None:
    if offer.start is not None and offer.end is not None and offer.start >= offer.end:
        expected = f"a time after the start, {offer.start.isoformat()}"
        found.refuse("offer.end", offer.end.isoformat(), expected)
    if (offer.price is None) != (offer.currency is None):
        missing = "currency" if offer.currency is None else "price"
        found.refuse(f"offer.{missing}", None, "a price with its currency, or neither")


def _check_format(creative: Creative, image: Image | None, found: Findings) -> None:
    if creative.format == "native":
        if not creative.headline.strip():
            found.refuse("headline", creative.headline, "a headline: a native creative needs one")
        for name in ("html", "size"):
            if getattr(creative, name) is not None:
                found.refuse(name, getattr(creative, name), "nothing: only banners have it")
        return
    if creative.parts is not None:
        if creative.size is None:
            found.refuse("size", None, "[width, height] in CSS pixels: a banner needs it")
        return  # its messages are text and picture, of which it has a default
    if creative.image is None and creative.html is None:
        found.refuse("image", None, "a picture, or html: a banner needs one of them")
    if creative.size is None:
        found.refuse("size", None, "[width, height] in CSS pixels: a banner needs it")
    elif creative.html is None and image is not None and image.w and image.h:
        w, h = creative.size
        if abs(image.w * h - image.h * w) > _RATIO * image.h * w:
            found.refuse("image", f"{image.w}x{image.h} pixels", f"the proportions of the banner, {w}x{h}")


def _check_copy(creative: Creative, found: Findings) -> None:
    """Look at what is shown as it is: no tokens, and no words of what a reader agreed to be known by."""
    told = (*creative.targeting.cohorts.include, *creative.targeting.loyalty_tiers.include)
    for name in ("headline", "body", "cta", "sponsored_by"):
        text = getattr(creative, name)
        with found.collecting():
            plain(text, name, found.line)
        if mentions(text, told):
            found.refuse(name, text, "copy that does not name the group of readers that it is shown to")
    named = in_words(names(f"{creative.headline} {creative.body} {creative.cta}"))
    if len(named) > 1:
        what = " and ".join(named)
        if creative.parts is not None:
            expected = "a default message that names at most one of place, weather, hour and device"
            found.refuse("headline", f"copy that names {what}", expected)
        else:
            found.warnings.append(f"its copy names {what}: it runs only where enough page views share them")


def _check_html(
    html: str, image: Image | None, domains: Collection[str] | None, pictures: Pictures, found: Findings
) -> str:
    def hosted(src: str) -> str | None:
        try:
            form = NAME.fullmatch(src)
            if form is not None or (src == OWN_PICTURE and image is not None):
                hash = form[1] if form is not None else image and image.hash
                return pictures.hosted(hash or "", "html <img src>", found.line).name
            return pictures.from_file(src, "html <img src>", found.line).name
        except CatalogError as error:
            found.errors.append(error)
            return None

    before = len(found.errors)
    try:
        cleaned = clean_html(html, domains, hosted, "html", found.line)
    except CatalogError as error:
        if len(found.errors) == before:  # else the pictures' own errors say more
            found.errors.append(error)
        return html
    if cleaned.removed:
        found.warnings.append(f"html: removed {', '.join(cleaned.removed)}")
    return cleaned.html
