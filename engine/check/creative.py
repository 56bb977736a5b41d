"""Creatives: as they are stored."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from engine.campaign import Campaign
from engine.check.findings import Findings, Known, Pictures
from engine.check.offers import check_offer
from engine.check.parts import check_parts
from engine.check.pictures import check_image
from engine.check.targeting import check_targeting
from engine.check.values import check_prefer, tidy_words
from engine.conditions import asks_consent, condition_of, groups_asked
from engine.creative import LISTS, Creative, Image, ImagePart
from engine.creative_safety import OWN_PICTURE, check_text, clean_html, landing_url
from engine.errors import CatalogError
from engine.governor import copy_of, group_words, groups_named, in_words, names
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
        check_offer(creative.offer, "offer", found)
    return replace(
        creative,
        landing_url=url,
        image=image,
        html=html,
        parts=parts,
        keywords=tidy_words(creative.keywords, "keywords", found),
        targeting=check_targeting(creative.targeting, known, found),
    )


def check_beside(creative: Creative, campaign: Campaign, found: Findings) -> None:
    """Hold a creative against its campaign: what is asked for by consent is not named, nor asked for in politics."""
    if campaign.political and asks_consent(creative.targeting):
        expected = "nothing known under consent: political advertisements use no consented signal"
        found.refuse("targeting", "a rule over readers", expected)
    both = (campaign.targeting, creative.targeting)
    said = [one for one in (condition_of(rules, whole=True) for rules in both) if one is not None]
    groups = frozenset(group_words(group) for one in said for group in groups_asked(one))
    if not groups:
        return
    texts = [(name, getattr(creative, name)) for name in ("headline", "body", "cta", "sponsored_by")]
    if creative.image is not None:
        texts.append(("image.alt", creative.image.alt))
    texts.append(("html", copy_of(replace(creative, headline="", body="", cta="", image=None))))
    if creative.parts is not None:
        for slot, parts in creative.parts.lists:
            shown = [part.image.alt if isinstance(part, ImagePart) else part.text for part in parts]
            ends = "image.alt" if slot == "image" else "text"
            texts += [(f"parts.{LISTS[slot]}[{n}].{ends}", text) for n, text in enumerate(shown)]
    for path, text in texts:
        if groups_named(text, groups):
            found.refuse(path, text, "copy that does not name the group of readers that it is shown to")


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
    """Look at what is shown as it is: no tokens, and of what is near to a reader one thing alone."""
    for name in ("headline", "body", "cta", "sponsored_by"):
        with found.collecting():
            plain(getattr(creative, name), name, found.line)
    named = in_words(names(copy_of(creative)))
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
