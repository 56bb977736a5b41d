"""What keeps a creative from harming the page that shows it: rules for text, links, domains and HTML.

All of it happens when a creative comes in; what is stored is safe to send. Nothing here reads or stores.
Stored HTML is never rendered as a template again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

import idna
import nh3

from contexts.html_limits import bearable
from engine.creative import Creative
from engine.errors import CatalogError
from engine.images import NAME

MAX_URL = 2048  # characters
MAX_HTML = 100_000  # characters
OWN_PICTURE = "image"  # <img src="image"> in a banner's HTML stands for the creative's own picture

TAGS = {
    "a", "abbr", "b", "blockquote", "br", "caption", "cite", "code", "dd", "div", "dl", "dt", "em",
    "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "mark", "ol", "p",
    "q", "s", "small", "span", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "time", "tr",
    "u", "ul", "wbr",
}  # fmt: skip
ATTRIBUTES = {
    "a": {"href"},
    "abbr": {"title"},
    "img": {"src", "alt", "width", "height"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
}
DROPPED_WITH_CONTENT = {
    "script", "style", "svg", "math", "noscript", "template", "iframe", "object", "embed", "noembed",
    "noframes", "title", "textarea", "xmp", "plaintext", "select", "audio", "video", "canvas", "applet",
}  # fmt: skip

# Letters and marks that show nothing: they hide words from a reader, or make two different texts look alike.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_JOINERS = frozenset("\u200c\u200d")
_ALPHABETS_WITHOUT_JOINERS = ("LATIN", "GREEK", "CYRILLIC", "DIGIT", "SPACE")
_BAD_IN_URL = re.compile(r"[\x00-\x20\x7f\\\u0080-\u00a0\u2028\u2029]")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_HOSTED_SRC = re.compile(r'(<img\b[^>]*? src=")(' + NAME.pattern + r')"')
_HREF = re.compile(r'<a\b[^>]*? href="([^"]*)"')
_TAG_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


# --- text ---


def check_text(text: str, field: str, line: int = 0) -> None:
    """Refuse text that some page would not show as plain text.

    Raises CatalogError at `<`, `>` (markup, where a client does not escape), `##` (macros of native ads),
    control and invisible characters, and those that turn the direction of writing. Joiners may stand where
    emoji and scripts other than Latin, Greek and Cyrillic need them.
    """
    if text.isascii() and text.isprintable():
        bad = next((mark for mark in ("<", ">", "##") if mark in text), None)
        if bad is None:
            return
        raise CatalogError(field, repr(bad), "plain text without '<', '>' and '##'", line)
    for mark in ("<", ">", "##"):
        if mark in text:
            raise CatalogError(field, repr(mark), "plain text without '<', '>' and '##'", line)
    for position, char in enumerate(text):
        if _is_hidden(char) and not (char in _JOINERS and _joins(text[:position])):
            got = f"U+{ord(char):04X} at character {position + 1}"
            raise CatalogError(field, got, "text without control or invisible characters", line)


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") or char in _INVISIBLE


def _joins(before: str) -> bool:
    if not before or before[-1] in _JOINERS:
        return False
    return not unicodedata.name(before[-1], "SPACE").startswith(_ALPHABETS_WITHOUT_JOINERS)


# --- domains and links ---


def domain(text: str, field: str, line: int = 0) -> str:
    """Return a domain in lower case and punycode. Raises CatalogError where it is none, or an address."""
    expected = "a domain such as 'shop.example.com', without scheme, port, path or wildcard"
    name = host_name(text)
    if name is None or "." not in name or _is_address(name):
        raise CatalogError(field, _shown(text), expected, line)
    return name


def host_name(text: str) -> str | None:
    """Return a host name in lower case and punycode, with no dot at its end; None where it is none."""
    try:
        name = idna.encode(text, uts46=True, std3_rules=True).decode("ascii").lower().rstrip(".")
    except (idna.IDNAError, UnicodeError):
        return None
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    return name


def landing_url(text: str, domains: Collection[str] | None, field: str, line: int = 0) -> str:
    """Take a landing URL apart and write it anew: https, ASCII, punycode, default port, no user.

    `domains` are the advertiser's verified ones, as `domain` gives them; the host is one of them or lies
    below one. None leaves that out, for what is refused anyway. Raises CatalogError.
    """
    if len(text) > MAX_URL:
        raise CatalogError(field, f"{len(text)} characters", f"at most {MAX_URL}", line)
    bad = _BAD_IN_URL.search(text)
    if bad or any(_is_hidden(char) for char in text if not char.isascii()):
        raise CatalogError(field, _shown(text), "a URL without spaces, control characters, backslashes", line)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise CatalogError(field, _shown(text), "an https URL", line) from error
    if parts.scheme != "https" or not text[6:].startswith("//") or text[8:9] in ("", "/"):
        raise CatalogError(field, _shown(text), "an https URL with a host", line)
    if "@" in parts.netloc:
        raise CatalogError(field, "a user name before the host", "a URL without one", line)
    if port not in (None, 443) or parts.netloc.endswith(":"):
        raise CatalogError(field, f"port {port}", "no port", line)
    host = host_name(parts.hostname or "")
    if host is None or (domains is not None and not is_below(host, domains)):
        listed = ", ".join(list(domains or ["a domain"])[:5])
        raise CatalogError(field, f"host {_shown(parts.hostname or '')}", f"{listed} or a host below", line)
    if _BROKEN_ESCAPE.search(text):
        raise CatalogError(field, _shown(text), "percent escapes of two hex digits", line)
    url = f"https://{host}{quote(parts.path or '/', safe=_PATH)}"
    url += f"?{quote(parts.query, safe=_QUERY)}" if parts.query else ""
    url += f"#{quote(parts.fragment, safe=_QUERY)}" if parts.fragment else ""
    if len(url) > MAX_URL:
        raise CatalogError(field, f"{len(url)} characters once escaped", f"at most {MAX_URL}", line)
    return url


_PATH = "/%:@!$&()*+,;=~-._"
_QUERY = _PATH + "?"


def is_below(host: str, domains: Iterable[str]) -> bool:
    """Say whether a host is one of the domains or lies below one."""
    return any(host == name or host.endswith("." + name) for name in domains)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        # Browsers read "127.1", "2130706433" and "0x7f.1" as addresses, too: a last label of digits.
        return re.fullmatch(r"\d+|0x[0-9a-f]*", name.rpartition(".")[2]) is not None
    return True


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:79] + "…")


# --- HTML ---


@dataclass(frozen=True, slots=True)
class CleanHtml:
    """A banner's HTML as it is stored, and in words what was taken out of it."""

    html: str
    removed: tuple[str, ...]


def clean_html(
    html: str,
    domains: Collection[str] | None,
    picture: Callable[[str], str | None],
    field: str,
    line: int = 0,
) -> CleanHtml:
    """Keep of a banner what the allow-list knows.

    Links lead to the advertiser's verified `domains`. `picture` takes the `src` of an image and returns the
    name under which it is hosted, or None. Scripts, styles, frames and handlers fall out and are named in
    `removed`. Raises CatalogError where nothing that can be seen is left, where a picture lacks its
    alternative text or is not hosted, where a link leads elsewhere, or where text hides characters: there
    leaving a part out would change what the banner says.
    """
    faults: list[CatalogError] = []

    def filter_attribute(tag: str, name: str, value: str) -> str | None:
        if tag == "a" and name == "href":
            try:
                return landing_url(value, domains, f"{field} <a href>", line)
            except CatalogError as error:
                faults.append(error)
                return None
        if tag == "img" and name == "src":
            hosted = picture(value)
            if hosted is None:
                expected = "the name of a hosted picture, a file beside the loaded one, or 'image'"
                faults.append(CatalogError(f"{field} <img src>", _shown(value), expected, line))
            return hosted
        if name in ("width", "height", "colspan", "rowspan") and not re.fullmatch(r"\d{1,4}", value):
            return None
        return value

    if any("\ud800" <= char <= "\udfff" for char in html):
        raise CatalogError(field, "half a character", "text in Unicode", line)
    if bearable(html) != html:
        raise CatalogError(
            field, "tags within tags by the hundred, or tags by the thousand", "a banner", line
        )
    cleaner = nh3.Cleaner(
        tags=TAGS,
        clean_content_tags=DROPPED_WITH_CONTENT,
        attributes=ATTRIBUTES,
        attribute_filter=filter_attribute,
        url_schemes={"https"},
        link_rel="noopener noreferrer nofollow sponsored",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    safe = cleaner.clean(html)
    if len(safe) > MAX_HTML:  # unclosed tags can multiply when they are closed
        raise CatalogError(field, f"{len(safe)} characters once cleaned", f"at most {MAX_HTML}", line)
    before, after = _Outline(), _Outline()
    before.feed(html)
    after.feed(safe)
    # nh3 drops URLs of other schemes before the filter sees them; a link without a target is a fault, too.
    if not faults and after.count("a", "href") < before.count("a", "href"):
        faults.append(CatalogError(f"{field} <a href>", "another scheme", "https links", line))
    if not faults and any("src" not in tag.values for tag in after.tags if tag.name == "img"):
        faults.append(CatalogError(f"{field} <img>", "no usable src", "a hosted picture", line))
    for tag in after.tags:
        if tag.name == "img" and not tag.values.get("alt", "").strip():
            faults.append(CatalogError(f"{field} <img>", "no alt text", "what the picture shows", line))
    text = "".join(after.text)
    shown = [value for tag in after.tags for name, value in tag.values.items() if name in ("alt", "title")]
    hidden = [
        char for char in "".join([text, *shown]) if _is_hidden(char) and char not in "\n\r\t\u200c\u200d"
    ]
    if hidden:
        got = f"U+{ord(hidden[0]):04X}"
        faults.append(CatalogError(field, got, "text without control or invisible characters", line))
    if not text.strip() and not any(tag.name == "img" for tag in after.tags):
        faults.append(CatalogError(field, "nothing that can be seen", "text or a hosted picture", line))
    if faults:
        raise faults[0]
    if cleaner.clean(safe) != safe:  # mutation: a browser that parses it again would see another tree
        raise CatalogError(field, "tags nested so that they move when read again", "well-formed HTML", line)
    return CleanHtml(safe, before.lost(after))


def with_image_urls(html: str, image_url: Callable[[str], str]) -> str:
    """Replace the names of hosted pictures in stored HTML by their URLs; `image_url` takes a name."""
    return _HOSTED_SRC.sub(lambda found: f'{found[1]}{escape(image_url(found[2]))}"', html)


def hosted_images(creative: Creative) -> tuple[str, ...]:
    """Return the hashes of all hosted pictures that a stored creative shows, each once."""
    parts = () if creative.parts is None else creative.parts.images
    own = (creative.image, *(part.image for part in parts))
    hashes = dict.fromkeys(image.hash for image in own if image is not None and image.hash is not None)
    for found in _HOSTED_SRC.finditer(creative.html or ""):
        hashes[found[3]] = None
    return tuple(hashes)


def linked_hosts(creative: Creative) -> tuple[str, ...]:
    """Return the hosts to which a stored creative leads, each once: its landing page's, then its HTML's."""
    urls = [creative.landing_url, *_HREF.findall(creative.html or "")]
    return tuple(dict.fromkeys(url.removeprefix("https://").partition("/")[0] for url in urls))


@dataclass(frozen=True, slots=True)
class _Tag:
    name: str
    values: dict[str, str] = field(default_factory=dict)


class _Outline(HTMLParser):
    """The tags and the text of a piece of HTML, to tell what a cleaning took away; no judge of safety."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[_Tag] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(_Tag(tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text.append(data)

    def count(self, tag: str, attribute: str) -> int:
        """Return how many tags of a name have an attribute."""
        return sum(attribute in found.values for found in self.tags if found.name == tag)

    def lost(self, after: _Outline) -> tuple[str, ...]:
        """Name the tags and attributes that are there no more, each once, at most 20."""
        tags = {tag.name for tag in after.tags}
        attributes = {(tag.name, name) for tag in after.tags for name in tag.values}
        found: dict[str, None] = {}
        for tag in self.tags:
            name = tag.name if _TAG_NAME.fullmatch(tag.name) else "?"
            if tag.name not in tags:
                found[f"<{name}>"] = None
                continue
            for attribute in tag.values:
                if (tag.name, attribute) not in attributes:
                    shown = attribute if _TAG_NAME.fullmatch(attribute) else "?"
                    found[f"{shown} of <{name}>"] = None
        return tuple(found)[:20]
