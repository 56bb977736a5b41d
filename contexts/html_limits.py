"""What of an HTML page the parser can bear: its time grows with the square of nesting, attributes and options.

A first view is answered within the deadline however long the page is: so a page is read up to where its tags would take
the parser some 20 ms. Real pages stay below the limits of nesting and attributes by a factor of ten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_HTML_CHARS = 2_000_000
_MAX_MARKS = 60_000  # "<", whether they begin a tag or not
_MAX_TAGS = 10_000  # 2 µs each; few pages have as many, and their words stand before
_MAX_DEPTH = 800
_MAX_DEPTHS = 1_000_000  # summed over the tags: 20 ns each
_MAX_ATTRIBUTES_SQUARED = 20_000_000  # summed over long tags: about 50 ms
_MAX_OPTIONS = 400  # of choices, which are no page's words

_MARKUP = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]{0,30})")
_LONG_TAG = re.compile(r"<[a-zA-Z][^>]{2000,}")
_OPTION = re.compile(r"<option\b[^<>]*>?[^<]*", re.IGNORECASE)
_UNREAD = re.compile(r"<(script|style|noscript|template|svg|title)\b", re.IGNORECASE)
_CAPITALS = re.compile(r"[A-Z]+")
_VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())
_SELF_CLOSING = frozenset("p li dt dd option tr td th thead tbody tfoot html head body a button".split())


def bearable(source: str) -> str | None:
    """Return what a parser is to be given of a page: most often all; None where it should not be parsed at all."""
    source = source[:MAX_HTML_CHARS]
    # An inline image is one long attribute and harmless; only words can be attributes.
    if sum(len(tag.split()) ** 2 for tag in _LONG_TAG.findall(source)) > _MAX_ATTRIBUTES_SQUARED:
        return None
    if source.count("<") <= _MAX_OPTIONS:
        return source
    if source.count("<") > _MAX_TAGS:  # of scripts and styles, often: they are not read, whatever they hold
        source = without_unread(source, but_json_ld=True)
    if source.count("<") > _MAX_MARKS:
        source = "<".join(source.split("<", _MAX_MARKS)[:-1])
    if source.lower().count("<option") > _MAX_OPTIONS:
        source = _OPTION.sub(" ", source)
    end = _end(source)
    return None if end is None else source[:end]


def without_unread(source: str, *, but_json_ld: bool = False) -> str:
    """Leave out scripts, styles, drawings and the title, each up to its end tag; what never ends, ends the page."""
    return " ".join(_kept(source, but_json_ld))


def _kept(source: str, but_json_ld: bool) -> Iterator[str]:
    lowered, at, search = source.lower(), 0, 0
    if len(lowered) != len(source):  # a few letters are longer in lower case, and places would not fit
        lowered = _CAPITALS.sub(lambda found: found[0].lower(), source)
    while (found := _UNREAD.search(source, search)) is not None:
        name, start = found.group(1).lower(), found.start()
        close = lowered.find(f"</{name}", found.end())
        end = -1 if close < 0 else lowered.find(">", close)
        end = len(source) if end < 0 else end + 1
        search = end
        if but_json_ld and (name == "title" or "ld+json" in lowered[start : lowered.find(">", start) + 1]):
            continue
        yield source[at:start]
        at = end
    yield source[at:]


def _end(source: str) -> int | None:
    """Return where to stop reading, or None where the page could nest deeper than the parser bears."""
    depth = depths = tags = 0
    open_tags: dict[str, int] = {}
    for markup in _MARKUP.finditer(source):
        tags += 1
        depths += depth
        if tags > _MAX_TAGS or depths > _MAX_DEPTHS:
            return markup.start()
        close, name = markup.groups()
        name = name.lower()
        if name in _VOID:
            continue
        if close:
            # A stray end tag closes nothing, so it must not make room for more depth.
            if open_tags.get(name, 0):
                open_tags[name] -= 1
                depth -= 1
            continue
        if name in _SELF_CLOSING and open_tags.get(name, 0):
            continue  # a new one of these ends the one before
        open_tags[name] = open_tags.get(name, 0) + 1
        depth += 1
        if depth > _MAX_DEPTH:
            return None
    return len(source)
