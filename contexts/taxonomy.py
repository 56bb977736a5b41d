"""Topic ids and names: IAB Content Taxonomy 3.1 and Ad Product Taxonomy 2.0 (IAB Tech Lab, CC BY 3.0)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from contexts.context import TopicId
from contexts.errors import DataError

# AdCOM 1.0, List: Category Taxonomies
CATTAX_CONTENT_1_0 = 1
CATTAX_CONTENT_3_0 = 7
CATTAX_AD_PRODUCT_2_0 = 8
CATTAX_CONTENT_3_1 = 9

# Content Taxonomy 1.0 names its topics "IAB2" or "IAB2-7"; its first tiers have counterparts in 3.1.
# IAB12 News, IAB24 Uncategorized and IAB25 Non-Standard Content say nothing of the subject.
CONTENT_1_0_TIER_1: dict[str, TopicId] = {
    old: TopicId(new)
    for old, new in (
        ("IAB1", "JLBCU7"),
        ("IAB2", "1"),
        ("IAB3", "52"),
        ("IAB4", "123"),
        ("IAB5", "132"),
        ("IAB6", "186"),
        ("IAB7", "223"),
        ("IAB8", "210"),
        ("IAB9", "239"),
        ("IAB10", "274"),
        ("IAB11", "386"),
        ("IAB13", "391"),
        ("IAB15", "464"),
        ("IAB16", "422"),
        ("IAB17", "483"),
        ("IAB18", "552"),
        ("IAB19", "596"),
        ("IAB20", "653"),
        ("IAB21", "441"),
        ("IAB22", "473"),
        ("IAB23", "453"),
    )
}


@dataclass(frozen=True, slots=True)
class Node:
    """A topic with its parent; the parent of a first-tier topic is None."""

    id: TopicId
    parent: TopicId | None
    name: str


class Taxonomy:
    """A tree of topics, in the order of its file. Immutable."""

    def __init__(self, cattax: int, nodes: Iterable[Node]) -> None:
        self.cattax = cattax
        self._nodes = {node.id: node for node in nodes}
        self._children: dict[TopicId, list[TopicId]] = {}
        for node in self._nodes.values():
            if node.parent is not None:
                if node.parent not in self._nodes:
                    raise DataError(f"topic {node.id}: parent {node.parent} is not in the taxonomy")
                self._children.setdefault(node.parent, []).append(node.id)
        for node in self._nodes.values():
            self._require_root(node)

    def __contains__(self, topic: object) -> bool:
        return topic in self._nodes

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def __len__(self) -> int:
        return len(self._nodes)

    def name(self, topic: TopicId) -> str:
        """Return the topic's name. Raises KeyError for an unknown id, as do the following."""
        return self._nodes[topic].name

    def ancestors(self, topic: TopicId) -> tuple[TopicId, ...]:
        """Return parent, grandparent and so on; empty for a first-tier topic."""
        above: list[TopicId] = []
        parent = self._nodes[topic].parent
        while parent is not None:
            above.append(parent)
            parent = self._nodes[parent].parent
        return tuple(above)

    def tier_1(self, topic: TopicId) -> TopicId:
        """Return the first-tier topic that this one lies under; itself if it is one."""
        return (topic, *self.ancestors(topic))[-1]

    def subtree(self, topic: TopicId) -> frozenset[TopicId]:
        """Return the topic and everything under it."""
        found = [topic] if topic in self._nodes else []
        if not found:
            raise KeyError(topic)
        for above in found:  # grows while it is read
            found.extend(self._children.get(above, ()))
        return frozenset(found)

    def path(self, topic: TopicId) -> str:
        """Return the names from the first tier down: "Sports > Cycling"."""
        return " > ".join(self.name(t) for t in (*reversed(self.ancestors(topic)), topic))

    def _require_root(self, node: Node) -> None:
        seen = {node.id}
        parent = node.parent
        while parent is not None:
            if parent in seen:
                raise DataError(f"topic {node.id}: its parents form a circle")
            seen.add(parent)
            parent = self._nodes[parent].parent


@cache
def content_taxonomy() -> Taxonomy:
    """Return IAB Content Taxonomy 3.1: 704 topics."""
    return Taxonomy(CATTAX_CONTENT_3_1, _compact("content_taxonomy_3_1.tsv"))


@cache
def ad_products() -> Taxonomy:
    """Return IAB Ad Product Taxonomy 2.0: 583 categories of what is advertised."""
    return Taxonomy(CATTAX_AD_PRODUCT_2_0, _compact("ad_product_2_0.tsv"))


def products_to_content() -> dict[TopicId, str]:
    """Return for each category of Ad Product 2.0 its counterpart in Content Taxonomy 1.0 ("IAB8-5"): the IAB's map."""
    text = (
        resources.files("contexts").joinpath("data", "ad_product_2_0_to_content_1_0.tsv").read_text("utf-8")
    )
    pairs = (line.split("\t") for line in text.splitlines())
    return {TopicId(product): content for product, content in pairs}


def read_official(path: Path, cattax: int) -> Taxonomy:
    """Read an operator's copy of the official TSV file; its first columns are Unique ID, Parent, Name.

    Raises DataError with the file's name and line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected an official taxonomy TSV in UTF-8, got {error}") from error
    header = next((i for i, line in enumerate(lines) if line.startswith("Unique ID\t")), None)
    if header is None:
        raise DataError(f"{path}: expected a header line that begins with 'Unique ID', found none")
    return Taxonomy(cattax, _rows(lines, first=header + 1, source=str(path)))


def stated_topics(
    categories: Iterable[str], cattax: int, taxonomy: Taxonomy
) -> tuple[frozenset[TopicId], tuple[str, ...]]:
    """Return the topics that a caller's category ids name, and a note for those that name none.

    Takes the taxonomy's own ids (Content 3.0 shares them with 3.1) and Content 1.0, whose second tier
    counts as its first. Notes give numbers, never the values: they are the caller's text.
    """
    ids = [category.strip() for category in categories]
    if not ids:
        return frozenset(), ()
    if cattax in (CATTAX_CONTENT_3_0, CATTAX_CONTENT_3_1):
        known = {TopicId(c) for c in ids if c in taxonomy}
        unknown = sum(c not in taxonomy for c in ids)
    elif cattax == CATTAX_CONTENT_1_0:
        olds = [CONTENT_1_0_TIER_1.get(c.partition("-")[0]) for c in ids]
        known = {t for t in olds if t is not None and t in taxonomy}
        unknown = sum(t is None for t in olds)
    else:
        return frozenset(), (f"categories of taxonomy {cattax} are not read; 1, 7 and 9 are",)
    notes = (f"{unknown} of {len(ids)} stated categories are not in taxonomy {cattax}",) if unknown else ()
    return frozenset(known), notes


def _compact(name: str) -> list[Node]:
    text = resources.files("contexts").joinpath("data", name).read_text(encoding="utf-8")
    return _rows(text.splitlines(), first=0, source=name)


def _rows(lines: list[str], first: int, source: str) -> list[Node]:
    nodes: list[Node] = []
    for number, line in enumerate(lines[first:], start=first + 1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) < 3 or not cells[0] or not cells[2]:
            raise DataError(f"{source}, line {number}: expected id, parent and name, got {len(cells)} cells")
        parent = TopicId(cells[1]) if cells[1] not in ("", cells[0]) else None  # some roots name themselves
        nodes.append(Node(TopicId(cells[0]), parent, cells[2]))
    return nodes
