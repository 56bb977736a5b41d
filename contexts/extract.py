"""What a page says, from whatever the caller sends: HTML or stated fields to title, description and text.

Nothing here is stored: a PageText lives as long as the request and its re-encoding.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from contexts.html_limits import MAX_HTML_CHARS, bearable, without_unread
from contexts.menus import past_menus
from privacy.visit import PageInput

# Text is cut here: topics show early, and the cost of reading must not grow with the page.
MAX_TITLE_CHARS = 300
MAX_DESCRIPTION_CHARS = 1_000
MAX_TEXT_CHARS = 6_000
MAX_KEYWORDS = 40
MAX_KEYWORD_CHARS = 80

_MAX_METAS = 400
_MAX_JSON_LD_CHARS = 100_000
_MAX_JSON_LD_BLOCKS = 8
_MAX_JSON_LD_NODES = 400
_MAX_JSON_LD_DEPTH = 4  # of a recipe's sections and their steps

# What asks for consent stands before the page's own words, and is not what it is about. Not any "cookie": there are
# recipes for them.
_ASKING = ("banner", "bar", "notice", "popup", "modal", "message", "overlay", "layer")
_ASKERS = ("consent", "gdpr", "onetrust", "didomi", "usercentrics", "sp_message", "qc-cmp", "cybotcookiebot")
_ASKS = (*(f"cookie{mark}{what}" for mark in ("", "-", "_") for what in _ASKING), *_ASKERS)
_CONSENT = ", ".join(f'[{name}*="{what}" i]' for name in ("id", "class") for what in _ASKS)
# What a reader does not see: what waits to be opened, or is written for machines. AMP asks for consent in its own tag.
_UNSEEN = '[hidden], [style*="display:none" i], [style*="display: none" i], amp-consent'
_WITHIN = 'a[href^="#"]'  # "Skip to content", notes' numbers, buttons: they lead nowhere else
_FURNITURE = 'nav, footer, [role="navigation"], [id*="comment" i], [class*="comment" i], #disqus_thread'
_ENOUGH = (200, 80, 1)  # characters: with so many there is no need to take more of the page

_TITLE = re.compile(r"<title\b[^>]{0,500}>([^<]{0,2000})", re.IGNORECASE)
_NOSCRIPT = re.compile(r"</?noscript\b[^<>]{0,500}>", re.IGNORECASE)
_ANY_TAG = re.compile(r"<[a-zA-Z/!?][^<>]*>?")
_SPACE = re.compile(r"\s+")
# What schema.org calls things that pages have besides what they are about. All else with a name is of the page itself.
_BESIDES = re.compile(
    r".*(Organization|Corporation|WebSite|Person|Brand|Offer|Action|List|ListItem|Element|ImageObject)"
)
_BODIES = ("articleBody", "text", "recipeIngredient", "recipeInstructions", "step", "acceptedAnswer")
# Marks without a letter. To put them in order takes time with the square of their number.
_PILE = re.compile(r"[^\w\s\x00-\x7f]{100,}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class PageText:
    """What was read of a page. Whitespace is single; no control characters, no lone surrogates."""

    title: str = ""
    description: str = ""
    text: str = ""
    language: str | None = None  # BCP 47, as the caller or the page states it; not yet checked
    section: str | None = None  # the publisher's own section: "Sport"
    keywords: tuple[str, ...] = ()
    content_hash: str = ""  # 32 hex digits over all of the above
    menus: int = 0  # characters of the text before the page's own words

    @property
    def empty(self) -> bool:
        """Whether there is nothing to understand."""
        return not (self.title or self.description or self.text or self.keywords)

    def for_encoder(self) -> str:
        """Return title, description and text as one, the most telling first: encoders read the beginning."""
        return ". ".join(part for part in (self.title, self.description, self.text[self.menus :]) if part)


def read(page: PageInput, section: str | None = None) -> PageText:
    """Read a page; what the caller states wins over what its HTML says. Never raises on hostile input."""
    found = read_html(page.html) if page.html else PageText()
    text = _clean(page.text, MAX_TEXT_CHARS) or found.text
    return _sealed(
        PageText(
            title=_clean(page.title, MAX_TITLE_CHARS) or found.title,
            description=_clean(page.description, MAX_DESCRIPTION_CHARS) or found.description,
            text=text,
            language=_clean(page.language, 35) or found.language,
            section=section or found.section,
            keywords=_keywords(page.keywords) or found.keywords,
            menus=len(text) - len(past_menus(text)),
        )
    )


def read_html(source: str) -> PageText:
    """Return what an HTML page says of itself, and its main text without boilerplate where it can be told."""
    sent = _CONTROL.sub(" ", source[:MAX_HTML_CHARS])
    parsed = bearable(sent)
    if parsed is None:
        return _sealed(_strip(sent))
    tree = HTMLTree.parse(parsed)
    if "</" in (tree.title or ""):  # it was never closed, and has swallowed the page
        tree = HTMLTree.parse(_TITLE.sub(r"\g<0></title>", parsed))
    if tree.document is None or tree.head is None or tree.body is None:
        return _sealed(_strip(sent))
    metas = _metas(tree.document)
    facts = _json_ld(tree.document)
    root = tree.document.query_selector("html")
    lowered = parsed.lower()
    asks = [_CONSENT] if any(word in lowered for word in ("cookie", *_ASKERS)) else []
    # The classes of the whole often say that readers were asked; its style, that scripts will show it.
    marks = ("class", "id", "style", "hidden") if asks else ("style", "hidden")
    for whole in filter(None, (root, tree.body)):
        for mark in filter(whole.hasattr, marks):
            whole.delattr(mark)
    asks += [_UNSEEN, _WITHIN]
    text = _clean(_extract(tree, asks, main_content=True, comments=False), MAX_TEXT_CHARS)
    title = metas.get("og:title") or tree.title or facts.get("headline") or _heading(tree)
    if len(text) < _ENOUGH[0]:
        # Scripts put the page together: what they will show stands in its JSON-LD, too.
        named = "" if facts.get("headline") == title else facts.get("headline")
        told = ". ".join(part for part in (named, facts.get("body")) if part)
        text = max(text, _clean(told, MAX_TEXT_CHARS), key=len)
    for skipped, enough in zip(([*asks, _FURNITURE], asks, []), _ENOUGH, strict=True):
        if len(text) >= enough:
            break
        # The heuristic for main content found next to nothing: take what there is, the less sure the less it is.
        text = max(text, _clean(_extract(tree, skipped), MAX_TEXT_CHARS), key=len)
    if not text and "<noscript" in lowered:
        # Who opens an element in one noscript and closes it in another has the whole page in the first.
        opened = HTMLTree.parse(_NOSCRIPT.sub("", parsed))
        held = _clean(_extract(opened, asks, main_content=True, comments=False), MAX_TEXT_CHARS)
        text = held if len(held) >= _ENOUGH[0] else ""  # less only asks for scripts
    return _sealed(
        PageText(
            title=_clean(title, MAX_TITLE_CHARS),
            description=_clean(
                metas.get("description") or metas.get("og:description") or facts.get("description"),
                MAX_DESCRIPTION_CHARS,
            ),
            text=text,
            language=_clean(root.getattr("lang", "") if root else "", 35) or facts.get("inLanguage"),
            section=_clean(
                facts.get("articleSection", "").split(",")[0] or metas.get("article:section"),
                MAX_KEYWORD_CHARS,
            )
            or None,
            keywords=_keywords(
                (facts.get("keywords") or metas.get("keywords") or metas.get("news_keywords") or "").split(
                    ","
                )
            ),
        )
    )


def _extract(tree: HTMLTree, skipped: list[str], **kept: bool) -> str:
    plain = {"alt_texts": False, "preserve_formatting": False, "list_bullets": False}
    return extract_plain_text(tree, skip_elements=skipped, **plain, **kept)


def _sealed(page: PageText) -> PageText:
    """Put the content hash on: over every field, each with its length, so that none can pose as another."""
    parts = (page.title, page.description, page.text, page.language or "", page.section or "", *page.keywords)
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8")
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return replace(page, content_hash=digest.hexdigest())


def _clean(value: object, limit: int) -> str:
    """Return one line of at most `limit` characters, NFC; "" for anything but a string."""
    if not isinstance(value, str) or not value:
        return ""
    value = _SPACE.sub(" ", _CONTROL.sub(" ", value[: limit * 4])).strip()
    if not value.isascii():
        value = unicodedata.normalize("NFC", _PILE.sub(_without_marks, value))
    return value[:limit].rstrip()


def _without_marks(pile: re.Match[str]) -> str:
    return "".join(sign for sign in pile[0] if not unicodedata.category(sign).startswith("M"))


def _keywords(values: object) -> tuple[str, ...]:
    if not isinstance(values, (list, tuple)):
        return ()
    cleaned = (_clean(v, MAX_KEYWORD_CHARS) for v in values[: MAX_KEYWORDS * 4])
    return tuple(dict.fromkeys(v for v in cleaned if v))[:MAX_KEYWORDS]


def _strip(source: str) -> PageText:
    """Read without a parser: unread elements and tags go, the rest is text. Linear in the page's length."""
    title = _TITLE.search(source)
    text = html.unescape(_ANY_TAG.sub(" ", without_unread(source)[:400_000])[: MAX_TEXT_CHARS * 10])
    return PageText(
        title=_clean(html.unescape(title.group(1)) if title else "", MAX_TITLE_CHARS),
        text=_clean(text, MAX_TEXT_CHARS),
    )


def _heading(tree: HTMLTree) -> str:
    first = tree.body.query_selector("h1") if tree.body is not None else None
    return (first.text if first is not None else None) or ""


def _metas(document: Any) -> dict[str, str]:
    """Return what metas say by name, wherever templates put them."""
    found: dict[str, str] = {}
    # A slice is one walk through the document; going through the collection would be one for each element.
    for meta in document.get_elements_by_tag_name("meta")[:_MAX_METAS]:
        name = (meta.getattr("name") or meta.getattr("property") or "").lower()
        content = meta.getattr("content")
        if name and content:
            found.setdefault(name, html.unescape(content))  # many are escaped twice
    return found


def _json_ld(document: Any) -> dict[str, str]:
    """Return what schema.org says of the page: articles first, then things; lists as one string with commas.

    "body" is what it says at length.
    """
    wanted = ("headline", "description", "articleSection", "keywords", "inLanguage")
    articles: list[dict[str, Any]] = []
    things: list[dict[str, Any]] = []
    scripts = document.query_selector_all('script[type="application/ld+json"]')
    for script in scripts[:_MAX_JSON_LD_BLOCKS]:
        source = script.text
        if len(source) > _MAX_JSON_LD_CHARS:
            break
        try:
            data = json.loads(source)
        except (ValueError, RecursionError):
            continue
        for node, is_article in _objects(data):
            (articles if is_article else things).append(node)
    found: dict[str, str] = {}
    for node in articles:
        for key in wanted:
            value = node.get(key)
            if isinstance(value, list):
                value = ",".join(v for v in value if isinstance(v, str))
            if isinstance(value, str) and value and key not in found:
                found[key] = html.unescape(value)
    for node in [] if articles else things:
        for key, named in (("headline", "name"), ("description", "description")):
            value = node.get(named)
            if isinstance(value, str) and value and key not in found:
                found[key] = html.unescape(value)
    found["body"] = _words([node.get(key) for node in articles or things for key in _BODIES])
    return found


def _words(value: Any, depth: int = 0) -> str:
    """Return the words of a text, or of lists of steps and answers, as one; without tags, which some put there."""
    if isinstance(value, dict):
        value = value.get("text") or value.get("itemListElement") or value.get("name")
    if isinstance(value, list) and depth < _MAX_JSON_LD_DEPTH:
        parts = (_words(part, depth + 1).strip().rstrip(".") for part in value[:_MAX_JSON_LD_NODES])
        return ". ".join(part for part in parts if part)[: MAX_TEXT_CHARS * 4]
    return _ANY_TAG.sub(" ", html.unescape(value[: MAX_TEXT_CHARS * 4])) if isinstance(value, str) else ""


def _objects(data: Any) -> Iterator[tuple[dict[str, Any], bool]]:
    """Walk a JSON-LD document: its top, its lists, its @graph and what a page is mainly of; yield what is an article.

    And, marked False, what else has a name or says something: recipes, products, questions, the page itself.
    """
    queue = [data]
    for seen, item in enumerate(queue):  # grows while it is read
        if seen >= _MAX_JSON_LD_NODES:
            return
        if isinstance(item, list):
            queue.extend(item[:_MAX_JSON_LD_NODES])
        elif isinstance(item, dict):
            queue.append(item.get("@graph"))
            queue.append(item.get("mainEntity"))
            kind = item.get("@type")
            if "Article" in str(kind) or "Posting" in str(kind) or "headline" in item:
                yield item, True
            elif kind and not any(
                _BESIDES.fullmatch(str(k)) for k in (kind if isinstance(kind, list) else [kind])
            ):
                yield item, False
