"""A creative as it is answered: native assets, and HTML that is safe to put into a page, labelled as what it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape, unescape
from urllib.parse import urlsplit

from msgspec.structs import replace

from contexts.extract import read_html
from engine.campaign import Advertiser, Campaign, Size
from engine.creative import SIZES, Creative, Image
from engine.creative_safety import with_image_urls
from engine.decision import Asset, Assets, CreativeAnswer, PoliticalAnswer

# Of HTML as ingest leaves it: attributes in double quotes, their contents escaped.
_ALT = re.compile(r'<img\b[^>]*?\salt="([^"]*)"')
REL = "noopener noreferrer nofollow sponsored"
WHY = "tactful:why"  # stands in a creative's label for the link to why it was chosen; no other link has this scheme
_WHY_IN_JSON = f'href=\\"{WHY}\\"'.encode()


def text_of(creative: Creative, campaign: Campaign, advertiser: Advertiser) -> str:
    """Return what a creative says, for its vector: its own words first, then what its campaign is about."""
    said = [creative.headline, creative.body]
    if creative.html:
        said.append(read_html(creative.html).text or " ".join(map(unescape, _ALT.findall(creative.html))))
    if creative.image and not (creative.headline or creative.body):
        said.append(creative.image.alt)
    about = ", ".join(dict.fromkeys((*creative.keywords, *campaign.keywords)))
    who = creative.sponsored_by or advertiser.name
    parts = [part.rstrip(".") for part in (*said, creative.cta, who, about) if part]
    return ". ".join(parts)


def creative_answer(
    creative: Creative, campaign: Campaign, advertiser: Advertiser, image_url: Callable[[str], str]
) -> CreativeAnswer:
    """Build the answer of one creative; `image_url` says where a picture is hosted, by its name."""
    assets = Assets(
        headline=creative.headline,
        body=creative.body,
        cta=creative.cta,
        sponsored_by=creative.sponsored_by or advertiser.name,
        image=asset_of(creative.image, image_url),
    )
    html = with_image_urls(creative.html, image_url) if creative.html else None
    return answered(
        creative, campaign.id, advertiser.id, assets, html, creative.size,
        advertiser.name, campaign.paid_by, political_answer(campaign),
    )  # fmt: skip


def asset_of(image: Image | None, image_url: Callable[[str], str]) -> Asset | None:
    """Return a picture as it is answered; `image_url` says where it is hosted, by its name."""
    if image is None or (name := image.name) is None:
        return None
    return Asset(image_url(name), image.w or 0, image.h or 0, image.alt)


def answered(
    creative: Creative,
    campaign: str,
    advertiser: str,
    assets: Assets,
    html: str | None,
    size: Size | None,
    behalf: str,
    paid_by: str,
    political: PoliticalAnswer | None,
) -> CreativeAnswer:
    """Build an answer of what a creative shows; without HTML of its own, that is laid out here."""
    return CreativeAnswer(
        id=creative.id,
        campaign=campaign,
        advertiser=advertiser,
        format=creative.format,
        assets=assets,
        html=labelled(
            html or _html(creative, assets, size),
            behalf,
            paid_by,
            political,
            small=not html and creative.parts is not None and size is not None,
        ),
        landing_domain=urlsplit(creative.landing_url).hostname or "",
        size=size,
        political=political,
    )


def adm(html: str, impression_url: str | None) -> str:
    """Return a creative's HTML as another's page renders it, with the picture that tells that it did."""
    if impression_url is None:
        return html
    return f'{html}<img src="{escape(impression_url)}" width="1" height="1" alt="" hidden>'


def labelled(
    html: str,
    behalf: str,
    paid_by: str = "",
    political: PoliticalAnswer | None = None,
    *,
    small: bool = False,
) -> str:
    """Label a creative's HTML as advertising of `behalf`, with a link to why it is shown (DSA Article 26).

    A `small` label has letters of its own, whatever those of the page are, and fits the lines that are left to it.

    Of political advertising the label says more (Regulation (EU) 2024/900, article 11).

    The link is WHY, until `with_why` names the page that tells of one choice.
    """
    who = escape(behalf) + (f", paid for by {escape(paid_by)}" if paid_by and paid_by != behalf else "")
    kind, link, notice = "", "", ""
    if political is not None:  # links first: in a small box the words behind them are scrolled to
        kind, link = " tactful-political", f"{notice_link(political)} "
        notice = f" {notice_words(political)}"
    style = f' style="{_LABEL_FONT}"' if small else ""
    return (
        f'{html}<small class="tactful-label{kind}"{style}>{"Political advertisement" if kind else "Advertisement"}'
        f'<span class="tactful-who">: {who}</span> {link}'
        f'<a class="tactful-why" href="{WHY}" rel="noopener noreferrer" target="_blank">Why this ad?</a>'
        f"{notice}</small>"
    )


def with_why(creative: bytes, url: str) -> bytes:
    """Let the label in the JSON of a CreativeAnswer link to a URL that needs no escaping."""
    before, found, after = creative.rpartition(_WHY_IN_JSON)
    return before + f'href=\\"{url}\\"'.encode() + after if found else creative


def political_answer(campaign: Campaign) -> PoliticalAnswer | None:
    """Return what is told with a political campaign's creatives."""
    notice = campaign.political_notice
    if notice is None:
        return None
    return PoliticalAnswer(notice.sponsor, notice.process, notice.notice_url, notice.controlled_by)


def notice_link(political: PoliticalAnswer) -> str:
    """Link to the transparency notice of a political advertisement."""
    url = escape(political.notice_url)
    return f'<a href="{url}" rel="noopener noreferrer nofollow" target="_blank">Transparency notice</a>'


def notice_words(political: PoliticalAnswer) -> str:
    """Write who stands behind a political advertisement, and what it is linked to."""
    sponsor = escape(political.sponsor)
    if political.controlled_by:
        sponsor += f", controlled by {escape(political.controlled_by)}"
    return f"Sponsor: {sponsor}. Linked to: {escape(political.process)}."


def _html(creative: Creative, assets: Assets, size: Size | None) -> str:
    kind, style = f"tactful-{creative.format}", ""
    if creative.format == "native":
        inside = _picture(assets.image, None) + "".join(_texts(assets))
    elif creative.parts is not None and size is not None:
        inside, style = _laid_out(assets, size)
        kind += " tactful-wide" if _is_wide(size) else " tactful-tall"
    else:
        inside = _picture(assets.image, size)
    link = f'<a class="{kind}" href="{escape(creative.landing_url)}" rel="{REL}" target="_blank"'
    return f"{link}{style}>{inside}</a>"


def _texts(assets: Assets) -> list[str]:
    return [
        f'<{tag} class="tactful-{name}">{escape(text)}</{tag}>'
        for tag, name, text in (
            ("strong", "headline", assets.headline),
            ("span", "body", assets.body),
            ("span", "offer", assets.offer),
            ("span", "cta", assets.cta),
            ("small", "sponsor", assets.sponsored_by),
        )
        if text
    ]


_THUMB = 0.35  # of a wide banner's width that its picture takes at most
_HEAD = 0.42  # of another's height
_SMALL = 100  # pixels of height up to which letters are smaller
_LABEL = 18  # pixels of a line of its label, to which they are left
_LABEL_FONT = "display:block;font:10px/16px sans-serif"
_LINES = ((150, 4), (200, 3), (300, 2))  # of the label, below widths


def _is_wide(size: Size) -> bool:
    return size[0] > 2 * size[1]


def _laid_out(assets: Assets, size: Size) -> tuple[str, str]:
    """Return a banner's insides, and the attributes that hold it to its size: side by side where it is wide.

    The same is in creative.css, for the tag's frame, whose policy forbids styles in attributes.
    """
    w, h = size[0], size[1] - _LABEL * next((lines for width, lines in _LINES if size[0] < width), 1)
    picture = ""
    if assets.image is not None:
        room = (int(w * _THUMB), h) if _is_wide(size) else (w, int(h * _HEAD))
        scale = min(room[0] / max(assets.image.w, 1), room[1] / max(assets.image.h, 1))
        shown = max(1, int(assets.image.w * scale)), max(1, int(assets.image.h * scale))
        picture = _picture(assets.image, shown)
    body = assets.body if SIZES[size].body else ""
    sponsor = "" if size[1] <= _SMALL else assets.sponsored_by  # the label names who advertises
    texts = " ".join(_texts(replace(assets, body=body, sponsored_by=sponsor)))
    texts = texts.replace("<strong ", '<strong style="display:block" ')
    style = (
        f"display:flex;flex-direction:{'row' if _is_wide(size) else 'column'};align-items:center;gap:4px;"
        f"box-sizing:border-box;width:{w}px;height:{h}px;overflow:hidden;color:inherit;text-decoration:none;"
        f"font:{'12px/1.15' if size[1] <= _SMALL else '14px/1.2'} sans-serif"
    )
    return f'{picture}<span class="tactful-copy">{texts}</span>', f' style="{style}"'


def _picture(image: Asset | None, size: tuple[int, int] | None) -> str:
    if image is None:
        return ""
    w, h = size or (image.w, image.h)
    return f'<img src="{escape(image.url)}" width="{w}" height="{h}" alt="{escape(image.alt)}">'
