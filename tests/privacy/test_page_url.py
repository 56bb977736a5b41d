"""A canonical URL names the page and not its reader."""

from __future__ import annotations

import base64
import random
import re
import uuid
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from privacy.errors import FieldError
from privacy.page_url import _PLAIN, LONGEST, LONGEST_INPUT, MASK, canonical


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example", "https://a.example/"),
        ("https://a.example/x?gclid=1&uid=2#top", "https://a.example/x"),
        ("https://a.example#uid=7", "https://a.example/"),
        ("https://a.example?uid=7", "https://a.example/"),
        ("https://jane:secret@a.example/x", "https://a.example/x"),
        ("https://a:b@c@a.example/x", "https://a.example/x"),
        ("HTTPS://WWW.A.Example/X", "https://www.a.example/X"),
        ("https://a.example:443/x", "https://a.example/x"),
        ("http://a.example:80/x", "http://a.example/x"),
        ("https://a.example:8443/x", "https://a.example:8443/x"),
        ("https://a.example:/x", "https://a.example/x"),
        ("https://a.example./x", "https://a.example/x"),
        ("https://bücher.example/straße", "https://xn--bcher-kva.example/stra%C3%9Fe"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://B%C3%BCcher.example/", "https://xn--bcher-kva.example/"),
        ("https://a.example/%7euser/%41b%20c", "https://a.example/~user/Ab%20c"),
        ("https://a.example/a%2fb", "https://a.example/a%2Fb"),
        ("https://a.example/100%", "https://a.example/100%25"),
        ("https://a.example/%ff", "https://a.example/%FF"),
        ("https://a.example/a/./b/../c", "https://a.example/a/c"),
        ("https://a.example/a/%2e%2e/c", "https://a.example/c"),
        ("https://a.example/../../c", "https://a.example/c"),
        ("https://a.example/a/..", "https://a.example/"),
        ("https://a.example/a/;jsessionid=1A530637289A03B0", "https://a.example/a/"),
        ("https://a.example/a;jsessionid=1A530637/b;v=1", "https://a.example/a/b"),
        ("https://a.example\\b\\c", "https://a.example/b/c"),
        ("  https://a.example/x\n", "https://a.example/x"),
        ("https://a.exa\tmple/x", "https://a.example/x"),
        ("http://127.0.0.1:5000/x", "http://127.0.0.1:5000/x"),
        ("http://[2001:DB8::0:1]/x", "http://[2001:db8::1]/x"),
        ("http://localhost:5000/", "http://localhost:5000/"),
        ("https://a.example/@author/a-post", "https://a.example/@author/a-post"),
        (
            "https://a.example/2026/11/23/top-10-bikes-of-2026",
            "https://a.example/2026/11/23/top-10-bikes-of-2026",
        ),
        ("https://a.example/2026-11-23-news", "https://a.example/2026-11-23-news"),
        ("https://a.example/wiki/Recent_Changes_(Linked)", "https://a.example/wiki/Recent_Changes_(Linked)"),
        (
            "https://a.example/Donaudampfschifffahrtsgesellschaft",
            "https://a.example/Donaudampfschifffahrtsgesellschaft",
        ),
        (
            "https://a.example/The-Quick-Brown-Fox-Jumps-Over",
            "https://a.example/The-Quick-Brown-Fox-Jumps-Over",
        ),
    ],
)
def test_what_names_the_page_stays(url: str, expected: str) -> None:
    assert canonical(url) == expected


@pytest.mark.parametrize(
    "hidden",
    [
        "jane.doe@mail.example",
        "jane+news@mail.example",
        "jane.doe%40mail.example",
        "jane%2540mail.example",
        "jane%252525252540mail.example",
        "jane＠mail.example",
        "%6aane%EF%BC%A0mail.example",
        "mailto:jane@mail.example",
        "jane@localhost",
        "jürgen@müller.example",
        "123456",
        "4917012345678",
        "%31%32%33%34%35%36%37",
        "+49-170-1234567",
        "(555)-123-4567",
        "555.123.4567",
        "１２３４５６７",
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "d41d8cd98f00b204e9800998ecf8427e",
        "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0",
        "AKfycbx9a3Kd82mQz71LpQ",
        "dGhpcyBpcyBqYW5lIGRvZQ==",
    ],
)
@pytest.mark.parametrize("around", ["{}", "user-{}.html", "{}-mail", "a-{}"])
def test_what_can_name_the_reader_is_masked(hidden: str, around: str) -> None:
    found = canonical(f"https://a.example/u/{around.format(hidden)}/x")
    path = found.removeprefix("https://a.example/u/")
    assert MASK in path
    for secret in (
        "jane",
        "mail.ex",
        "123",
        "4567",
        "４５",
        "3f2504",
        "d41d8",
        "eyJ",
        "AKfy",
        "dGhp",
        "müller",
    ):
        assert secret not in path, found


def test_readers_who_differ_in_what_is_masked_share_one_url() -> None:
    names = ("jane@mail.example", "bob%40post.example")
    assert len({canonical(f"https://a.example/u/{name}/inbox") for name in names}) == 1


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            " ",
            "a.example/x",
            "//a.example/x",
            "/x",
            "ftp://a.example/",
            "javascript:alert(1)",
            "data:,x",
        ),
        *(
            "https:",
            "https://",
            "https:///x",
            "https:a.example",
            "https://:443/",
            "https://user@/",
            "https://?x",
        ),
        *("https://a b.example/", "https://a..example/", "https://-.example/", "https://a.example:x/"),
        *("https://a.example:99999/", "https://a.example:-1/", "https://127.1/", "https://0x7f000001/"),
        *(
            "https://2130706433/",
            "https://1.2.3.256/",
            "https://[::1/",
            "https://[fe80::1%25eth0]/",
            "https://[x]/",
        ),
        *("https://xn--a.example\x00/", "https://a<b>.example/", "https://" + "a" * 64 + ".example/"),
        *("https://" + "a." * 130 + "example/", "https://a.example/\ud800", "https://\udc80.example/"),
        *("https://a.example/" + "x" * LONGEST, "https://a.example/" + "é" * 700),
        *("https://a.example/?" + "x" * LONGEST_INPUT,),
    ],
)
def test_what_is_no_web_address_is_refused_by_field_without_quoting_it(url: str) -> None:
    with pytest.raises(FieldError) as raised:
        canonical(url)
    assert raised.value.field == "page.url"
    assert len(str(raised.value)) < 120
    assert "a.example" not in str(raised.value)


hosts = st.sampled_from(
    ["a.example", "WWW.B.example:443", "bücher.example", "127.0.0.1", "[::1]:8080", "u:p@c.example"]
)
pieces = st.text("abcXYZ0159-_.~%@;/=+()*'\\,: é＠٣ß", max_size=40) | st.text(max_size=20)
words = (
    st.text("abcdefgxyz", min_size=1, max_size=20)
    | st.integers(0, 10**7).map(str)
    | st.sampled_from(["Gravel", "A"])
)
slugs = st.lists(words, min_size=1, max_size=6).flatmap(
    lambda parts: st.sampled_from("-_.,/").map(lambda mark: mark.join(parts))
)


@given(hosts, pieces | slugs)
@example("a.example", "%%34%30")
@example("a.example", "a@b.c@d.e")
@example("a.example", "％40x")
@example("a.example", "..;/x")
def test_a_canonical_url_is_its_own_canonical_form(host: str, path: str) -> None:
    try:
        found = canonical(f"https://{host}/{path}")
    except FieldError:
        return
    assert canonical(found) == found
    assert found.isascii()
    assert "?" not in found
    assert "#" not in found
    assert not re.search(r"\d{6}", found.partition("/")[2])
    assert "u:p" not in found.partition("/")[0]


@given(slugs, st.text(max_size=30), st.text("abc:", max_size=5))
def test_query_fragment_and_userinfo_change_nothing(path: str, tail: str, userinfo: str) -> None:
    plain = canonical(f"https://a.example/{path}")
    assert canonical(f"https://a.example/{path}?{tail}") == plain
    assert canonical(f"https://a.example/{path}#{tail}") == plain
    assert canonical(f"https://{userinfo}@a.example/{path}") == plain


@given(slugs)
def test_the_quick_way_agrees_with_the_long_one(path: str) -> None:
    url = f"https://a.example/{path}"
    if _PLAIN.fullmatch(url):
        assert canonical(url) == canonical(url.replace("https", "HTTPS")) == url


@given(st.binary(min_size=24, max_size=64))
def test_a_long_random_token_is_masked(secret: bytes) -> None:
    for token in (secret.hex(), secret.hex().upper(), str(uuid.UUID(bytes=secret[:16]))):
        assert token not in canonical(f"https://a.example/t/{token}")


def test_nearly_all_random_base64_is_masked() -> None:
    chance = random.Random(3)
    tokens = [base64.urlsafe_b64encode(chance.randbytes(18)).decode() for _ in range(1000)]
    left = [token for token in tokens if MASK not in canonical(f"https://a.example/t/{token}")]
    assert len(left) <= 30


@given(st.emails())
def test_an_address_is_masked_however_it_is_escaped(address: str) -> None:
    local, _, domain = address.partition("@")
    for written in (quote(address, safe=""), quote(quote(address, safe=""), safe="")):
        found = canonical(f"https://a.example/u/{written}")
        assert "%40" not in found
        assert f"@{domain}" not in found


@pytest.mark.parametrize("percent", ["%", "\uff05"])
def test_escapes_within_escapes_without_end_are_masked(percent: str) -> None:
    # Each pass through "%3%3%31" opens one.
    assert (
        canonical(f"https://a.example/u/{percent}3" + f"{percent}3" * 200 + "1/x")
        == "https://a.example/u/*/x"
    )
