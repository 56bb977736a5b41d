"""What the parser is given of a page: never so much that it takes longer than a first view may."""

from __future__ import annotations

import pytest

from contexts.html_limits import bearable, without_unread

PAGE = "<html><head><title>Snow</title></head><body>{}<p>The pass was closed.</p></body></html>"


def tags(source: str | None) -> int:
    """Count the tags of what is parsed."""
    assert source is not None
    return source.count("<")


@pytest.mark.parametrize("name", ["div", "nav", "em", "x-y"])
def test_usual_pages_are_given_as_they_are(name: str) -> None:
    page = PAGE.format(f"<{name} class=a>words</{name}>" * 2_000)
    assert bearable(page) == page


def test_a_long_page_is_cut_at_a_tag() -> None:
    page = PAGE.format("<p>words</p>" * 20_000)
    given = bearable(page)
    assert given is not None
    assert page.startswith(given)
    assert tags(given) == 10_000
    assert page[len(given)] == "<"


def test_scripts_do_not_count_as_tags() -> None:
    page = PAGE.format("<script>" + "a<b;" * 20_000 + "</script>")
    given = bearable(page)
    assert given is not None
    assert given.endswith("<p>The pass was closed.</p></body></html>")
    assert "a<b" not in given


def test_of_scripts_that_are_left_out_json_ld_stays() -> None:
    said = '<script type="application/ld+json">{"headline": "Snow"}</script>'
    given = bearable(PAGE.format(said + "<script>" + "a<b;" * 20_000 + "</script>"))
    assert given is not None
    assert said in given


def test_a_page_that_nests_a_little_everywhere_is_cut_early() -> None:
    # The parser's time is the sum of all tags' depths: 400 on average here, of 790 at most.
    given = bearable(("<div>" * 790 + "x" + "</div>" * 790) * 6)
    assert 2_000 < tags(given) < 4_000


@pytest.mark.parametrize("name", ["div", "optgroup", "svg"])
def test_a_page_that_nests_too_deep_is_not_parsed(name: str) -> None:
    assert bearable(f"<{name}>" * 900) is None


@pytest.mark.parametrize(
    "option", ["<option>Alba", "<OPTION value=1>Alba</OPTION>", "<option selected>Alba\n"]
)
def test_thousands_of_choices_are_left_out(option: str) -> None:
    # The parser's time grows with their square: eight seconds for 49,000.
    given = bearable(PAGE.format("<select>" + option * 3_000 + "</select>"))
    assert given is not None
    assert "Alba" not in given
    assert "The pass was closed." in given


def test_a_few_choices_stay() -> None:
    page = PAGE.format("<select>" + "<option>Alba" * 300 + "</select>" + "<p>words</p>" * 200)
    assert bearable(page) == page


@pytest.mark.parametrize(
    ("source", "left"),
    [
        ("a<script>b</script>c", "a c"),
        ("a<SCRIPT src=x>b</Script >c", "a c"),
        ("a<style>b<script>c</style>d", "a d"),
        ("a<script>b", "a "),
        ("a<svg><title>b</title></svg>c", "a c"),
        ("\u0130<script>b</script>c", "\u0130 c"),
        ("\u0130<SCRIPT>b</SCRIPT>c", "\u0130 c"),
    ],
)
def test_what_nobody_reads_is_left_out(source: str, left: str) -> None:
    assert without_unread(source) == left
