"""The element of an advertisement as HTML text. It needs nothing but Python: a copy of this file is enough."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

_SIZE = re.compile(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", re.ASCII)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}", re.ASCII)


def in_template(placement: object, attributes: Mapping[str, object], publisher: str | None) -> str:
    """Return the element for a page that is being made: what is wrong stands in a comment, and breaks nothing.

    `publisher` is who it is where the attributes do not say.
    """
    named = {"publisher": publisher, **attributes}
    if not named["publisher"]:
        return _comment("publisher: got nothing, expected the publisher's id")
    try:
        return contextual_ad(str(placement), **named)  # type: ignore[arg-type]  # checked there
    except (TypeError, ValueError) as error:
        return _comment(str(error))


def contextual_ad(placement: str, *, publisher: str, size: str = "300x250", **attributes: object) -> str:
    """Return the element of a placement; `size` is width and height in CSS pixels.

    Further attributes go along, with hyphens for underscores (`consent_token`): None and False leave one out, True
    gives it without a value. All are escaped. Raises ValueError for a size or a name of an attribute that is none.
    """
    found = _SIZE.fullmatch(str(size))
    if found is None:
        raise ValueError(f"size: got {size!r}, expected width and height such as 300x250")
    width, height = found.groups()
    named = {"publisher": publisher, "placement": placement, "width": width, "height": height, **attributes}
    parts = []
    for name, value in named.items():
        if not _NAME.fullmatch(name) or name.startswith("on"):
            raise ValueError(f"attribute: got {name!r}, expected a small word, no handler of events")
        if value is True:
            parts.append(name.replace("_", "-"))
        elif value is not None and value is not False:
            parts.append(f'{name.replace("_", "-")}="{escape(str(value))}"')
    return f"<contextual-ad {' '.join(parts)}></contextual-ad>"


def _comment(text: str) -> str:
    return f"<!-- contextual_ad: {escape(text).replace('--', '- -')} -->"
