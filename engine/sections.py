"""Parts of a publisher's site, by path: the public names under which its page views are told of."""

from __future__ import annotations

from contexts.context import TopicId, Vector
from contexts.encode import unit
from contexts.segments import REST, STANDARD, reached
from contexts.taxonomy import Taxonomy
from contexts.topic_vectors import TopicVectors
from engine.campaign import Publisher
from privacy.page_url import canonical

OTHER = REST  # what lies in no section, and pages without a URL
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


def about(
    publisher: Publisher, topics: TopicVectors, taxonomy: Taxonomy, section: str
) -> tuple[Vector | None, str]:
    """Return the vector of what a section is declared to be about, and its first topic's first tier; None, ""."""
    named = next((one.topics for one in publisher.sections if one.id == section), ())
    if not named:
        return None, ""
    rows = [topics.rows[TopicId(topic)] for topic in named]
    return unit(topics.matrix[rows].mean(axis=0, keepdims=True))[0], taxonomy.tier_1(TopicId(named[0]))


def segment_ids(publisher: Publisher) -> tuple[str, ...]:
    """Return the ids of the groups into which a publisher's page views can fall, in their order."""
    groups = reached(publisher.segments, [section.id for section in publisher.sections])
    named = [*(one.id for one in publisher.segments or STANDARD), OTHER]
    return tuple(id for id in named if id in groups)


def canonical_prefix(prefix: str) -> str:
    """Return a prefix as canonical URLs write paths. Raises FieldError where no path begins so."""
    return canonical(_SITE + prefix).removeprefix(_SITE)


def _is_below(path: str, prefix: str) -> bool:
    """Say whether a path is the prefix or lies below it: /sport holds /sport/tennis, and not /sportswear."""
    return path.startswith(prefix) and (
        prefix.endswith("/") or len(path) == len(prefix) or path[len(prefix)] == "/"
    )
