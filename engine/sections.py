"""Parts of a publisher's site, by path: the public names under which its page views are told of."""

from __future__ import annotations

from engine.campaign import Publisher
from privacy.page_url import canonical

OTHER = "other"  # what lies in no section, and pages without a URL
_SITE = "https://site.example"


def section_of(publisher: Publisher, canonical_url: str | None) -> str:
    """Return the id of the section that a page belongs to: of the longest prefix that its path has."""
    if not publisher.sections or canonical_url is None:
        return OTHER
    # A canonical URL has a path, and neither query nor fragment.
    path = canonical_url[canonical_url.index("/", canonical_url.index("//") + 2) :]
    found, longest = OTHER, 0
    for section in publisher.sections:
        if len(section.prefix) > longest and _is_below(path, section.prefix):
            found, longest = section.id, len(section.prefix)
    return found


def canonical_prefix(prefix: str) -> str:
    """Return a prefix as canonical URLs write paths. Raises FieldError where no path begins so."""
    return canonical(_SITE + prefix).removeprefix(_SITE)


def _is_below(path: str, prefix: str) -> bool:
    """Say whether a path is the prefix or lies below it: /sport holds /sport/tennis, and not /sportswear."""
    return path.startswith(prefix) and (
        prefix.endswith("/") or len(path) == len(prefix) or path[len(prefix)] == "/"
    )
