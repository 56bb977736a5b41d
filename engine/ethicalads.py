"""Between EthicalAds' decisions (version 1 of its API) and our own: a publisher moves by changing a host.

What its clients say of readers (`user_ip`, `user_ua`, a client's id) is named in no type and read nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from engine.assemble import REL, notice_link, notice_words
from engine.campaign import Id
from engine.decision import CreativeAnswer, Filled, Placement
from engine.record import PIXEL

VIEW_PATH, CLICK_PATH, VIEW_TIME_PATH = "/proxy/view/", "/proxy/click/", "/proxy/viewtime/"
CALLBACK = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,63}", re.ASCII)
PAID, HOUSE = frozenset({"paid"}), frozenset({"house", "publisher-house", "community"})
PLACEMENT = "ad"
TEXT = "text"  # ad types that show no picture begin so
MOST_KEYWORDS, LONGEST_KEYWORD = 100, 80

_creative = msgspec.json.Decoder(CreativeAnswer).decode
_encode = msgspec.json.Encoder().encode
# Of JSON within a script: what would end it or a line of it.
_IN_SCRIPT = ((b"<", b"\\u003c"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


class PlacementAsked(Struct, frozen=True):
    """A place on the page."""

    div_id: Annotated[str, Meta(max_length=200)] = ""
    ad_type: Annotated[str, Meta(max_length=50)] = ""
    priority: int = 1  # of EthicalAds' 1 to 10


class EthicalBody(Struct, frozen=True):
    """What a publisher's server asks. What is not named here is not read."""

    publisher: Id
    placements: Annotated[tuple[PlacementAsked, ...], Meta(min_length=1, max_length=10)]
    keywords: Annotated[tuple[str, ...], Meta(max_length=1000)] | None = None
    campaign_types: Annotated[tuple[str, ...], Meta(max_length=20)] | None = None
    url: Annotated[str, Meta(max_length=2048)] | None = None


class EthicalCopy(Struct, frozen=True):
    """An advertisement's words."""

    headline: str
    content: str
    cta: str


class EthicalAd(Struct, frozen=True, omit_defaults=True):
    """An advertisement; an empty object where there is none."""

    id: str | None = None
    text: str | None = None
    body: str | None = None
    html: str | None = None
    copy: EthicalCopy | None = None
    image: str | None = None
    link: str | None = None
    link_domain: str | None = None
    view_url: str | None = None
    view_time_url: str | None = None
    nonce: str | None = None
    display_type: str | None = None
    campaign_type: str | None = None
    div_id: str | None = None


NO_AD = EthicalAd()


def keywords_of(words: Sequence[str]) -> tuple[str, ...]:
    """Return a page's keywords as the gate takes them."""
    kept = (word.strip()[:LONGEST_KEYWORD] for word in words)
    return tuple(dict.fromkeys(word for word in kept if word))[:MOST_KEYWORDS]


def placement_of(campaign_types: Sequence[str]) -> Placement | None:
    """Return what to ask for a page that takes these kinds of campaigns, all where it names none; None: nothing."""
    paid, house = (not campaign_types or not kind.isdisjoint(campaign_types) for kind in (PAID, HOUSE))
    if not (paid or house):
        return None
    return Placement(PLACEMENT, ("native",), payers="any" if paid and house else "paid" if paid else "house")


def place_of(asked: Sequence[PlacementAsked]) -> PlacementAsked:
    """Return the place that the one advertisement of an answer is for: of the highest priority, the first such."""
    return max(asked, key=lambda one: one.priority)


def ad_of(filled: Filled, asked: PlacementAsked, base_url: str) -> EthicalAd:
    """Return an advertisement as EthicalAds' client takes it: its `html` is one element."""
    creative = _creative(filled.creative)
    assets, link, nonce = creative.assets, filled.click_url, ""
    view = view_time = None
    if filled.events is not None:
        # A token's first letter names its event; what stands behind it is the same for all of a placement's.
        nonce = filled.events.impression.rpartition("/")[2].removesuffix(PIXEL)[1:]
        link, view, view_time = (
            f"{base_url}{path}{creative.id}/{nonce}/" for path in (CLICK_PATH, VIEW_PATH, VIEW_TIME_PATH)
        )
    display = asked.ad_type or "image-v1"
    image = None if display.startswith(TEXT) or assets.image is None else assets.image.url
    words = " ".join(filter(None, (assets.headline, assets.body, assets.cta)))
    return EthicalAd(
        id=creative.id,
        text=words,
        body=words,
        html=_html(creative, link, image, display, filled.why_url),
        copy=EthicalCopy(assets.headline, assets.body, assets.cta),
        image=image,
        link=link,
        link_domain=creative.landing_domain,
        view_url=view or f"{base_url}{VIEW_PATH}{creative.id}/none/",
        view_time_url=view_time,
        nonce=nonce or None,
        display_type=display,
        campaign_type="house" if filled.house else "paid",
        div_id=asked.div_id or None,
    )


def script_of(ad: EthicalAd, callback: str) -> bytes:
    """Return an answer as a script that calls `callback`. Requires that CALLBACK matches it."""
    data: bytes = _encode(ad)
    for character, escaped in _IN_SCRIPT:
        data = data.replace(character, escaped)
    return b"/**/" + callback.encode() + b"(" + data + b");"


def _html(creative: CreativeAnswer, link: str, image: str | None, display: str, why_url: str) -> str:
    assets, label, notice = creative.assets, "Advertisement", ""
    if creative.political is not None:
        label = "Political advertisement"
        notice = f"{notice_words(creative.political)} {notice_link(creative.political)} "
    opening = f'<a href="{escape(link)}" rel="{REL}" target="_blank">'
    picture = ""
    if image is not None and assets.image is not None:
        picture = f'{opening}<img src="{escape(image)}" alt="{escape(assets.image.alt)}"></a>'
    words = "".join(
        f'<{tag} class="ea-{name}">{escape(text)} </{tag}>'
        for tag, name, text in (
            ("strong", "headline", assets.headline),
            ("span", "body", assets.body),
            ("strong", "cta", assets.cta),
        )
        if text
    )
    kind = "text" if image is None else display.partition("-")[0]
    return (
        f'<div class="ea-content ea-type-{escape(kind)}">{picture}<div class="ea-text">{opening}{words}</a></div>'
        f'<div class="ea-callout"><small>{label}: {escape(assets.sponsored_by)} {notice}'
        f'<a href="{escape(why_url)}" rel="noopener noreferrer" target="_blank">Why this ad?</a></small></div></div>'
    )
