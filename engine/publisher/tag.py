"""The tag's files, each version for good, with their hashes (Subresource Integrity); and the lines that load them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from typing import NamedTuple

VERSION = "1"  # what new pages load; a changed file is a new version, and old ones are served on
PATH = "/v1/tag/"
SCRIPT, STYLE, CREATIVE_STYLE, SLOT_STYLE = (
    "contextual-ad.js",
    "contextual-ad.css",
    "creative.css",
    "slot.css",
)
MEDIA = {".js": "text/javascript", ".css": "text/css"}


class TagFile(NamedTuple):
    """A file of a version, as it is served."""

    path: str  # from the service's URL
    media: str
    data: bytes

    @property
    def integrity(self) -> str:
        """Return the hash for an `integrity` attribute."""
        return integrity(self.data)


def integrity(data: bytes) -> str:
    """Return the Subresource Integrity metadata of some bytes."""
    return "sha384-" + base64.b64encode(hashlib.sha384(data).digest()).decode()


def tag_file(name: str, version: str = VERSION) -> TagFile:
    """Read a file of a version."""
    data = files("engine").joinpath("web", "static", "tag", version, name).read_bytes()
    return TagFile(f"{PATH}{version}/{name}", MEDIA[name[name.rindex(".") :]], data)


def tag_files() -> Iterator[TagFile]:
    """Yield every file of every version."""
    for folder in files("engine").joinpath("web", "static", "tag").iterdir():
        for name in (SCRIPT, STYLE, CREATIVE_STYLE, SLOT_STYLE):
            yield tag_file(name, folder.name)


def head_lines(base_url: str, version: str = VERSION) -> tuple[str, str]:
    """Return what a page has in its head: the style that reserves the boxes, then the script."""
    style, script = tag_file(STYLE, version), tag_file(SCRIPT, version)
    base = escape(base_url)
    return (
        f'<link rel="stylesheet" href="{base}{style.path}" integrity="{style.integrity}" crossorigin>',
        f'<script defer src="{base}{script.path}" integrity="{script.integrity}" crossorigin></script>',
    )


def policy(base_url: str) -> dict[str, str]:
    """Return what a page's Content-Security-Policy has to allow, by directive: one origin, and nothing inline."""
    scheme, _, rest = base_url.partition("://")
    origin = f"{scheme}://{rest.partition('/')[0]}"
    return dict.fromkeys(("script-src", "style-src", "img-src", "connect-src"), origin)
