"""robots.txt as RFC 9309 has it."""

from __future__ import annotations

import time

import pytest

from contexts.robots import read_robots


def allowed(rules: str, path: str) -> bool:
    return read_robots(rules, "TactfulBot").allows(path)


def test_the_longest_pattern_decides_and_of_equal_ones_the_one_that_allows():
    rules = "User-agent: *\nDisallow: /a\nAllow: /a/open\nDisallow: /a/open/not\nDisallow: /b\nAllow: /b"
    assert [allowed(rules, path) for path in ("/a/x", "/a/open", "/a/open/not/y", "/b", "/c")] == [
        False,
        True,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("pattern", "hit", "missed"),
    [
        ("/*/private/", "/x/y/private/z", "/private"),
        ("/*.php$", "/a.php", "/a.php5"),
        ("/fish*", "/fishing/rods", "/Fish"),
        ("/end$", "/end", "/ending"),
        ("/a*b*c$", "/a--b--c", "/a--c--b"),
        ("/ab*b$", "/abb", "/ab"),
        ("/stra%c3%9fe", "/straße/1", "/strasse"),
        ("/%7Ejoe/", "/~joe/x", "/joe/x"),
        ("/a%2Fb", "/a%2fb", "/a/b"),
    ],
)
def test_patterns_match_as_the_standard_says(pattern, hit, missed):
    rules = f"User-agent: tactfulbot\nDisallow: {pattern}"
    assert not allowed(rules, hit)
    assert allowed(rules, missed)


def test_all_groups_of_our_name_count_and_then_none_of_the_others():
    rules = (
        "User-agent: *\nDisallow: /\n\nUser-agent: Other\nUser-agent: TACTFULBOT/1.0\nDisallow: /a\n"
        "User-agent: Third\nDisallow: /c\n\nUser-Agent: tactfulbot # us\nDisallow: /b"
    )
    assert [allowed(rules, path) for path in ("/a", "/b", "/c", "/d")] == [False, False, True, True]


def test_a_group_of_ours_without_a_path_allows_all():
    assert allowed("User-agent: *\nDisallow: /\nUser-agent: TactfulBot\nDisallow:", "/a")


@pytest.mark.parametrize(
    "odd",
    [
        "\ufeffUser-agent: *\r\nDisallow: /x\r\n",
        "Sitemap: http://[\nCrawl-delay: \u00b2\nUser-agent: *\nRequest-rate: \u00b2/\u00b2\nDisallow: /x",
        "user-agent:*\ndisallow:/x\n\x00\x00: y",
        "User-agent: *\n\nDisallow: /x",
    ],
)
def test_odd_files_are_read_for_what_they_mean(odd):
    assert not allowed(odd, "/x")
    assert allowed(odd, "/y")


def test_a_page_of_errors_allows_all():
    assert allowed("<!doctype html><title>Not found</title>", "/x")


def test_hostile_patterns_cost_little():
    rules = "User-agent: *\n" + f"Disallow: /{'*a' * 200}\n" * 1200
    started = time.process_time()
    assert allowed(rules, "/" + "a" * 190 + "b" * 1000)
    assert time.process_time() - started < 2.0
