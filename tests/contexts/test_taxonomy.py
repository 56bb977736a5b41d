"""The taxonomies: their size, their tree, and what a caller's category ids name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contexts.context import SENSITIVE, TopicId
from contexts.errors import DataError
from contexts.taxonomy import (
    CATTAX_CONTENT_3_1,
    CONTENT_1_0_TIER_1,
    Node,
    Taxonomy,
    ad_products,
    content_taxonomy,
    read_official,
    stated_topics,
)
from privacy.special_categories import SPECIAL_CATEGORIES

OFFICIAL = Path(os.environ.get("TACTFUL_DATA", "../shared/data")) / "iab-taxonomies"
official = pytest.mark.skipif(not OFFICIAL.is_dir(), reason=f"no taxonomies in {OFFICIAL} (set TACTFUL_DATA)")

CYCLING = TopicId("492")
RESUMES = TopicId("129")


def test_the_content_taxonomy_has_704_topics_under_37_first_tiers() -> None:
    taxonomy = content_taxonomy()
    assert len(taxonomy) == 704
    assert sum(node.parent is None for node in taxonomy) == 37


def test_a_topic_knows_what_lies_above_and_below_it() -> None:
    taxonomy = content_taxonomy()
    assert taxonomy.path(CYCLING) == "Sports > Cycling"
    assert taxonomy.path(RESUMES) == "Careers > Job Search > Resume Writing and Advice"
    assert taxonomy.ancestors(RESUMES) == ("127", "123")
    assert taxonomy.tier_1(RESUMES) == "123"
    assert taxonomy.tier_1(TopicId("123")) == "123"
    assert taxonomy.subtree(TopicId("127")) == {"127", "128", "129"}


def test_every_topic_lies_in_the_subtree_of_its_first_tier() -> None:
    taxonomy = content_taxonomy()
    below = {node.id: taxonomy.subtree(node.id) for node in taxonomy if node.parent is None}
    assert sum(len(topics) for topics in below.values()) == len(taxonomy)
    assert all(node.id in below[taxonomy.tier_1(node.id)] for node in taxonomy)


def test_flags_and_special_categories_name_topics_that_exist() -> None:
    taxonomy = content_taxonomy()
    assert set(SENSITIVE.values()) == taxonomy.subtree(TopicId("v9i3On")) - {"v9i3On"}
    assert all(topic in taxonomy for category in SPECIAL_CATEGORIES.values() for topic in category.topics)
    assert all(topic in taxonomy for topic in CONTENT_1_0_TIER_1.values())


def test_an_unknown_topic_is_a_key_error() -> None:
    taxonomy = content_taxonomy()
    for ask in (taxonomy.name, taxonomy.ancestors, taxonomy.subtree, taxonomy.tier_1, taxonomy.path):
        with pytest.raises(KeyError):
            ask(TopicId("no such"))


@pytest.mark.parametrize("cattax", [7, 9])
def test_ids_of_content_3_are_taken_as_they_are(cattax: int) -> None:
    topics, notes = stated_topics(["492", " 210 ", "v9i3On"], cattax, content_taxonomy())
    assert topics == {"492", "210", "v9i3On"}
    assert notes == ()


def test_ids_of_content_1_become_first_tiers() -> None:
    topics, notes = stated_topics(["IAB17-3", "IAB8", "IAB24"], 1, content_taxonomy())
    assert topics == {"483", "210"}
    assert notes == ("1 of 3 stated categories are not in taxonomy 1",)


def test_unknown_ids_are_noted_without_their_text() -> None:
    topics, notes = stated_topics(["492", "mail@reader.example"], 9, content_taxonomy())
    assert topics == {"492"}
    assert notes == ("1 of 2 stated categories are not in taxonomy 9",)


def test_another_taxonomy_is_noted() -> None:
    assert stated_topics(["210"], 6, content_taxonomy()) == (
        frozenset(),
        ("categories of taxonomy 6 are not read; 1, 7 and 9 are",),
    )


def test_a_circle_of_parents_and_a_missing_parent_are_refused() -> None:
    a, b = TopicId("a"), TopicId("b")
    with pytest.raises(DataError, match="circle"):
        Taxonomy(9, [Node(a, b, "A"), Node(b, a, "B")])
    with pytest.raises(DataError, match="parent b is not in the taxonomy"):
        Taxonomy(9, [Node(a, b, "A")])


@official
def test_the_compact_files_say_what_the_official_ones_say() -> None:
    theirs = read_official(OFFICIAL / "Content Taxonomy 3.1.tsv", CATTAX_CONTENT_3_1)
    assert list(theirs) == list(content_taxonomy())
    assert list(read_official(OFFICIAL / "Ad Product Taxonomy 2.0.tsv", 8)) == list(ad_products())


def test_a_file_that_is_no_taxonomy_is_refused_with_its_name(tmp_path: Path) -> None:
    for name, content in (("empty.tsv", b""), ("binary.tsv", b"\xff\xfe\x00"), ("headless.tsv", b"1\t\tA\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            read_official(tmp_path / name, 9)
    (tmp_path / "short.tsv").write_text("Unique ID\tParent\tName\n1\t\n")
    with pytest.raises(DataError, match="line 2"):
        read_official(tmp_path / "short.tsv", 9)
    with pytest.raises(DataError, match=r"absent\.tsv"):
        read_official(tmp_path / "absent.tsv", 9)
