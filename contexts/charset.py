"""Bytes of a page into text, as browsers read them: https://encoding.spec.whatwg.org says what a label means."""

from __future__ import annotations

import re

from resiliparse.parse.encoding import map_encoding_to_html5

_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_IN_HEADER = re.compile(r"""charset\s*=\s*["']?([\w-]{2,30})""", re.IGNORECASE)
_IN_META = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([a-zA-Z0-9_-]{2,30})""", re.IGNORECASE)
_IN_XML = re.compile(rb"""<\?xml[^>]{0,200}encoding\s*=\s*["']([a-zA-Z0-9_-]{2,30})""")
_LOOKED_THROUGH = 2048  # bytes from the beginning: where a document says how it is written


def decoded(body: bytes, content_type: str = "") -> str:
    """Decode by byte order mark, header or document; else as UTF-8, and what is none as Windows-1252.

    What cannot be read is replaced. No other codec than the web's is used, whatever a page names.
    """
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    named = _IN_HEADER.search(content_type)
    encoding = _known(named[1]) if named else ""
    declared = _IN_META.search(body[:_LOOKED_THROUGH]) or _IN_XML.match(body)
    if not encoding and declared:
        encoding = _known(declared[1].decode("ascii"))
        if encoding.startswith("utf-16"):  # it could be read, so it is not
            encoding = "utf-8"
    if encoding:
        return body.decode(encoding, "replace")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def _known(label: str) -> str:
    """Return the codec of a label, or ""."""
    return map_encoding_to_html5(label, fallback_utf8=False) or ""
