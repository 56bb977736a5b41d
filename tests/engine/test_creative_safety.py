"""Creatives cannot harm the page that shows them."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from engine.creative import Creative, Image
from engine.creative_safety import (
    MAX_HTML,
    check_text,
    clean_html,
    domain,
    hosted_images,
    landing_url,
    with_image_urls,
)
from engine.errors import CatalogError

DOMAINS = ("shop.example", "xn--bcher-kva.example")
HASH = "ab" * 32
NAME = f"{HASH}.png"


def clean(html: str) -> str:
    return clean_html(html, DOMAINS, lambda src: NAME if src in ("image", NAME) else None, "html").html


# --- text ---


@pytest.mark.parametrize(
    "text",
    [
        "<b>bold</b>",
        "a > b",
        "##CLICK##",
        "line\nbreak",
        "tab\tstop",
        "nul\x00",
        "escape\x1b[31m",
        "c1 control\x85",
        "right\u202eto left",
        "isolate\u2066x\u2069",
        "zero\u200bwidth",
        "byte\ufefforder",
        "word\u2060joiner",
        "soft\u00adhyphen",
        "pay\u200dpal",
        "pay\u200cpal",
        "\u200dlead",
        "line\u2028separator",
        "tag\U000e0041letter",
        "filler\u3164",
        "private\ue000use",
        "half\ud800",
        "braille\u2800blank",
    ],
)
def test_text_with_markup_macros_or_hidden_characters_is_refused(text: str):
    with pytest.raises(CatalogError):
        check_text(text, "headline")


@pytest.mark.parametrize(
    "text",
    [
        "Räder & Reifen – 20 % günstiger",
        "Only #1 for $5 {today}",
        "家族 👨‍👩‍👧 ❤️‍🔥 🇩🇪",
        "می‌خواهم",
        "क्‍ष",
        "Здравствуйте",
    ],
)
def test_honest_text_of_any_script_is_taken(text: str):
    check_text(text, "headline")


def test_a_refusal_names_the_character_and_its_place():
    with pytest.raises(CatalogError) as refused:
        check_text("ab\u202ec", "headline", 7)
    assert (refused.value.field, refused.value.line) == ("headline", 7)
    assert refused.value.got == "U+202E at character 3"


# --- links ---


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)//https://shop.example",
        "data:text/html,x",
        "//shop.example/",
        "https:shop.example",
        "https:/shop.example",
        "https:///shop.example",
        "https://",
        "",
        "shop.example",
        " https://shop.example/",
        "https://shop.example/ ",
        "https://shop.example/a b",
        "https://shop.example/\tx",
        "java\nscript:alert(1)",
        "https://shop.example\\@evil.example/",
        "https:\\\\shop.example",
        "https://shop.example@evil.example/",
        "https://evil.example@shop.example/",
        "https://user:word@shop.example/",
        "https://@shop.example/",
        "https://evil.example/?https://shop.example",
        "https://evil.example#shop.example",
        "https://shop.example.evil.example/",
        "https://evilshop.example/",
        "https://shop.example%2eevil.example/",
        "https://shop.example%00.evil.example/",
        "https://shop.example:8443/",
        "https://shop.example:/",
        "https://shop.example:x/",
        "https://shop.example:443@evil.example/",
        "https://[::1]/",
        "https://[shop.example]/",
        "https://127.0.0.1/",
        "https://shop．example.evil.example/",
        "https://shop.example／evil/",
        "https://shop..example/",
        "https://.shop.example/",
        "https://-a.shop.example/",
        "https://a_b.shop.example/",
        "https://shоp.example/",  # a Cyrillic о
        "https://shop.example/%zz",
        "https://shop.example/\u202egpj",
        "https://shop.example/\ud800",
        "https://shop.example/" + "a" * 2048,
        "https://shop.example/" + "ä" * 800,  # longer once escaped
        "vbscript:x",
        "blob:https://shop.example/x",
        "view-source:https://shop.example/",
    ],
)
def test_a_landing_url_that_leads_or_may_be_read_elsewhere_is_refused(url: str):
    with pytest.raises(CatalogError):
        landing_url(url, DOMAINS, "landing_url")


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("https://shop.example", "https://shop.example/"),
        ("HTTPS://SHOP.Example:443/A?b=c#d", "https://shop.example/A?b=c#d"),
        ("https://www.shop.example./x", "https://www.shop.example/x"),
        ("https://bücher.example/ä?q=ß", "https://xn--bcher-kva.example/%C3%A4?q=%C3%9F"),
        ("https://shop。example/", "https://shop.example/"),
        ("https://shop.example/%2e%2E/a", "https://shop.example/%2e%2E/a"),
        ("https://shop.example/?a=1&b[]=2", "https://shop.example/?a=1&b%5B%5D=2"),
        ("https://shop.example/'\"><x>", "https://shop.example/%27%22%3E%3Cx%3E"),
        ("https://shop.example/?u=https://evil.example/", "https://shop.example/?u=https://evil.example/"),
    ],
)
def test_a_landing_url_is_written_anew_and_stays_what_it_is(url: str, stored: str):
    assert landing_url(url, DOMAINS, "landing_url") == stored
    assert landing_url(stored, DOMAINS, "landing_url") == stored


@pytest.mark.parametrize(
    "text",
    ["", "localhost", "*.shop.example", "https://shop.example", "shop.example/x", "shop.example:443",
     "10.0.0.1", "127.1", "0x7f.0.0.1", "a.0x7f", "::1", "a b.example", "a..example", "user@shop.example"],
)  # fmt: skip
def test_what_is_no_domain_is_refused(text: str):
    with pytest.raises(CatalogError):
        domain(text, "domains[0]")


def test_a_domain_is_kept_in_punycode():
    assert domain("BÜCHER.example", "domains[0]") == "xn--bcher-kva.example"


# --- HTML ---


ATTACKS = (
    "<script>alert(1)</script>",
    "<script src=//evil.example></script>",
    "<scr<script>ipt>alert(1)</script>",
    "<b onclick=alert(1)>x</b>",
    "<b onclick\x0c=alert(1)>x</b>",
    "<b/onmouseover=alert(1)>x</b>",
    "<svg onload=alert(1)></svg>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img onerror=alert(1)&gt;'>",
    "<iframe src=https://evil.example></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=https://evil.example></object>",
    "<embed src=https://evil.example>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<style>@import url(https://evil.example)</style>",
    "<b style='background:url(https://evil.example)'>x</b>",
    "<form action=https://evil.example><input name=password></form>",
    "<button formaction=https://evil.example>x</button>",
    "<video src=https://evil.example onerror=alert(1)></video>",
    "<input autofocus onfocus=alert(1)>",
    "<b id=body name=cookie class=site-header>x</b>",
    "<template><img src=x onerror=alert(1)></template>",
    "<textarea></textarea><img title='</textarea><script>alert(1)</script>' alt=x src=image>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?><script>alert(1)</script>",
    "<table background=https://evil.example><tr><td>x</table>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<details open ontoggle=alert(1)>x</details>",
    "<img src=image alt='\"><script>alert(1)</script>'>",
    "<abbr title='\"><img src=x onerror=alert(1)>'>x</abbr>",
    "<img src=image alt=x srcset='https://evil.example/x.png 1x'>",
    "<a href=https://shop.example ping=https://evil.example>x</a>",
    "<a href=https://shop.example target=_top>x</a>",
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_could_run_load_or_lead_away_falls_out(attack: str):
    kept = clean(f"<p>fine</p>{attack}")
    assert_harmless(kept)


def assert_harmless(html: str) -> None:
    tags = Tags()
    tags.feed(html)
    for tag, attributes in tags.found:
        assert tag in {"p", "b", "a", "img", "abbr", "table", "tbody", "tr", "td"}
        for name, value in attributes:
            assert name in {"href", "src", "alt", "title", "rel", "target"}
            assert name != "href" or (value or "").startswith("https://shop.example/")
            assert name != "src" or value == NAME
            assert name != "target" or value == "_blank"
    assert clean(html) == html  # what is stored is stable: parsing it again opens nothing


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


@pytest.mark.parametrize(
    "html",
    [
        "<a href=https://evil.example>x</a>",
        "<a href='https://shop.example@evil.example'>x</a>",
        "<a href='javascript:alert(1)'>x</a>",
        "<a href='javascript&colon;alert(1)'>x</a>",
        "<a href=' https://evil.example'>x</a>",
        "<a href='//evil.example'>x</a>",
        "<a href='/relative'>x</a>",
        "<a href='data:text/html,x'>x</a>",
        "<a href='mailto:a@b.example'>x</a>",
        "<img src=https://evil.example/x.png alt=x>",
        "<img src=//evil.example/x.png alt=x>",
        "<img src='data:image/png;base64,AAAA' alt=x>",
        "<img alt=x>",
        "<img src=image>",
        "<img src=image alt=' '>",
        f"<img src={'cd' * 32}.png alt=x>",  # not hosted
        "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
        "<script>only()</script>",
        "",
        " <p> </p> ",
        "turned \u202e round",
        "<p>zero&#8203;width</p>",
        "half \ud800",
        "<p><b><i>" * 10_000 + "x",
    ],
)
def test_html_that_would_mean_something_else_without_a_part_is_refused(html: str):
    with pytest.raises(CatalogError):
        clean(f"{html}")


def test_a_good_banner_is_kept_and_what_fell_out_is_named():
    cleaned = clean_html(
        '<p onclick="x()">Neu</p><a href="https://shop.example/a?b=c&d=e"><img src=image alt="Ein Rad"></a>'
        "<script>x</script>",
        DOMAINS,
        lambda src: NAME,
        "html",
    )
    assert cleaned.html == (
        '<p>Neu</p><a href="https://shop.example/a?b=c&amp;d=e" target="_blank"'
        f' rel="noopener noreferrer nofollow sponsored"><img src="{NAME}" alt="Ein Rad"></a>'
    )
    assert cleaned.removed == ("onclick of <p>", "<script>")
    assert len(cleaned.html) <= MAX_HTML


def test_stored_names_of_pictures_become_urls_and_nothing_else_does():
    kept = clean(f'<img src=image alt="x"><p>src="{NAME}"</p>')
    shown = with_image_urls(kept, lambda name: f"https://ads.example/img/{name}?a&b")
    assert f'<img src="https://ads.example/img/{NAME}?a&amp;b" alt="x">' in shown
    assert f'<p>src="{NAME}"</p>' in shown


def test_all_pictures_of_a_creative_are_known():
    creative = Creative(
        id="c", campaign="k", format="banner", landing_url="https://shop.example/",
        image=Image(alt="x", hash="cd" * 32), html=clean("<img src=image alt=x><img src=image alt=y>"),
    )  # fmt: skip
    assert hosted_images(creative) == ("cd" * 32, HASH)


# --- anything at all ---

URL_PARTS = st.sampled_from(
    [
        "https",
        ":",
        "/",
        "//",
        "\\",
        "@",
        "shop.example",
        "evil.example",
        ".",
        "%2e",
        "%",
        "?",
        "#",
        ":443",
        "[",
        "]",
        "javascript",
        " ",
        "\t",
        "\n",
        "\0",
        "ä",
        "。",
        "／",
        "\u200b",
        "xn--",
        "-",
        "<",
        '"',
        "'",
        "\ud800",
        "a" * 70,
    ]
)


@seed(20261123)
@settings(max_examples=500, deadline=None, database=None)
@given(
    st.lists(URL_PARTS, max_size=12).map("".join), st.sampled_from(["", "https://shop.example", "https://"])
)
def test_whatever_is_taken_as_a_landing_url_leads_to_the_advertiser(rest: str, start: str):
    try:
        url = landing_url(start + rest, DOMAINS, "landing_url")
    except CatalogError:
        return
    parts = urlsplit(url)
    assert parts.scheme == "https" and parts.netloc == parts.hostname
    assert any(parts.netloc == name or parts.netloc.endswith("." + name) for name in DOMAINS)
    assert url.isascii() and url.isprintable() and not set(url) & set(" <>\"'\\")
    assert landing_url(url, DOMAINS, "landing_url") == url


HTML_PARTS = st.sampled_from(
    [
        "<p>",
        "</p>",
        "<b>",
        "</b>",
        "<table>",
        "<tr><td>",
        "</table>",
        "<a href=https://shop.example>",
        "</a>",
        "<img src=image alt=x>",
        "<svg>",
        "</svg>",
        "<math>",
        "<mtext>",
        "<mglyph>",
        "<style>",
        "</style>",
        "<script>",
        "</script>",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<noscript>",
        "</noscript>",
        "<template>",
        "</template>",
        "<title>",
        "</title>",
        "<textarea>",
        "</textarea>",
        "<xmp>",
        "<select>",
        "<option>",
        "<foreignObject>",
        "<annotation-xml encoding=text/html>",
        "<form>",
        "<iframe>",
        "<plaintext>",
        "<abbr title='",
        "'>",
        '"',
        ">",
        "onerror=alert(1) ",
        "<img src=x onerror=alert(1)>",
        "<a href=javascript:alert(1)>",
        "text",
        "&lt;",
        "&#0;",
        "\0",
    ]
)


@seed(20261123)
@settings(max_examples=500, deadline=None, database=None)
@given(st.lists(HTML_PARTS, max_size=14).map("".join))
def test_whatever_is_kept_of_html_is_harmless(html: str):
    try:
        kept = clean(html)
    except CatalogError:
        return
    assert_harmless(kept)


@pytest.mark.parametrize("html", ["<ul><li>" * 900, "<div>" * 900, "<b>x</b>" * 12_000])
def test_html_that_would_keep_the_parser_busy_is_refused_unread(html: str) -> None:
    with pytest.raises(CatalogError, match="by the thousand"):
        clean(f"{html}<p>Boots</p>")


def test_a_long_banner_is_taken() -> None:
    assert clean("<p><b>Boots</b> for <i>rain</i></p>" * 1_000).startswith("<p><b>Boots</b>")
