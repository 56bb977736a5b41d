"""`tactful doctor` looks at real pages that a real server serves, and names what is wrong with each."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from engine.change import Change
from engine.cli import main
from engine.doctor import MOST_BYTES, DoctorError, Finding, Got, _lets, examine, http
from engine.publisher.markup import contextual_ad
from engine.publisher.tag import head_lines, policy
from tests.live import ARTICLE, SITE, Live, Pages

STRICT = "default-src 'none'"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Live]:
    service = Live(tmp_path_factory.mktemp("doctor"), models, host="127.0.0.1")
    yield service
    service.close()


@pytest.fixture
def site() -> Iterator[Pages]:
    pages = Pages()
    yield pages
    pages.close()


def ask(method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> Got:
    """Reach the site by its name, which no name server knows."""
    return http(method, url.replace(SITE, "127.0.0.1"), headers, body)


Look = Callable[..., dict[str, str]]


@pytest.fixture
def look(live: Live, site: Pages) -> Look:
    """Serve a page with changes and give what is to be changed in it, with the remedies."""

    def found(
        *changes: tuple[str, str], body: str = "", csp: str | None = None, policy_of: str | None = None
    ) -> dict[str, str]:
        style, script = head_lines(live.url)
        html = (
            f"<!doctype html><title>Leeks</title>{style}{script}<main>{ARTICLE}</main>"
            f"{body or contextual_ad('top', publisher='planet')}"
        )
        for old, new in changes:
            assert old in html, old
            html = html.replace(old, new)
        allowed = "; ".join(f"{name} {source}" for name, source in policy(policy_of or live.url).items())
        headers = {"Content-Security-Policy": f"{STRICT}; {allowed}" if csp is None else csp}
        site.pages["/"] = (html, headers)
        return {one.what: one.remedy for one in examine(site.url + "/", ask) if one.state == "change"}

    return found


def test_a_page_that_is_right_has_nothing_to_change(look: Look) -> None:
    assert look() == {}


@pytest.mark.parametrize(
    ("changes", "what", "remedy"),
    [
        ([("planet", "nobody")], "publisher 'nobody' is not known", "id that was registered"),
        ([('width="300"', 'width="301"')], "no style reserves its width", '[width="301"]{width:301px}'),
        ([('height="250"', 'height="25%"')], "height is '25%'", "whole number"),
        ([('placement="top"', 'placement="my box"')], "placement is 'my box': its box stays", "_ . : -"),
        ([("sha384-", "sha384-x")], "integrity that is not the file's", 'integrity="sha384-'),
        ([(" crossorigin>", ">")], "cannot be checked", "crossorigin"),
        ([(" crossorigin></script>", "></script>")], "cannot be checked", "crossorigin"),
        ([("<script defer", "<script async")], "is not deferred", "defer"),
        ([("/v1/tag/1/contextual-ad.js", "/v1/tag/9/contextual-ad.js")], "answers 404", "tactful tag"),
        ([("contextual-ad.js", "other.js")], "script is missing", "tactful tag"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_with_its_remedy(
    look: Look, changes: list[tuple[str, str]], what: str, remedy: str
) -> None:
    found = look(*changes)
    ((told, cure),) = [(w, r) for w, r in found.items() if what in w]
    assert remedy in cure


def test_a_style_behind_the_script_is_told(look: Look, live: Live) -> None:
    style, script = head_lines(live.url)
    assert "stands behind the script" in next(iter(look((style + script, script + style))))
    assert "nothing reserves" in next(iter(look((style, ""))))


def test_a_style_of_the_pages_own_is_enough(look: Look, live: Live) -> None:
    own = "<style>contextual-ad{display:block;max-width:100%;width:300px;height:250px}</style>"
    style, _ = head_lines(live.url)
    assert look((style, own), csp="") == {}


@pytest.mark.parametrize(
    ("csp", "missing"),
    [
        ("default-src 'self'", ["script-src", "style-src", "img-src", "connect-src"]),
        ("default-src *; connect-src 'self'", ["connect-src"]),
        ("default-src http:; img-src https://cdn.example", ["img-src"]),
        ("img-src 'none'", ["img-src"]),
        ("frame-ancestors 'none'", []),
    ],
)
def test_what_a_policy_keeps_out_is_told(look: Look, csp: str, missing: list[str]) -> None:
    found = look(csp=csp)
    told = " ".join(found.values())
    assert [name for name in ("script-src", "style-src", "img-src", "connect-src") if name in told] == missing


def test_each_of_several_policies_has_to_let_it_in(look: Look) -> None:
    meta = '<meta http-equiv="Content-Security-Policy" content="img-src \'self\'">'
    assert "img-src" in " ".join(look(("<title>", meta + "<title>")).values())
    assert "trusted-types" in " ".join(
        look(csp="require-trusted-types-for 'script'; trusted-types other").values()
    )


@pytest.mark.parametrize(
    ("source", "address", "lets"),
    [
        ("https://ads.example", "https://ads.example/x", True),
        ("http://ads.example", "https://ads.example/x", True),
        ("https://ads.example", "http://ads.example/x", False),
        ("ads.example", "https://ads.example/x", True),
        ("*.example", "https://ads.example/x", True),
        ("*.ads.example", "https://ads.example/x", False),
        ("https://ads.example:8443", "https://ads.example/x", False),
        ("https://ads.example:*", "https://ads.example:8443/x", True),
        ("https:", "https://ads.example/x", True),
        ("https:", "http://ads.example/x", False),
        ("http:", "https://ads.example/x", True),
        ("*", "https://ads.example/x", True),
        ("'self'", "https://ads.example/x", False),
        ("https://evil.example", "https://ads.example/x", False),
        ("https://ads.example.evil.example", "https://ads.example/x", False),
    ],
)
def test_sources_of_policies_are_read_as_browsers_do(source: str, address: str, lets: bool) -> None:
    assert _lets(source, address) is lets


def test_a_foreign_page_is_told_to_register_its_domain(look: Look, site: Pages, live: Live) -> None:
    look()
    found = examine(site.url.replace(SITE, "127.0.0.1") + "/", http)
    assert [one.remedy for one in found if one.state == "change"] == ["Register the domain 127.0.0.1."]


def test_a_page_that_nothing_may_be_shown_on_is_told_so(look: Look, site: Pages, live: Live) -> None:
    def stop(status: str) -> None:
        store = live.services.store
        before = store.find("publisher", ["planet"])["planet"]
        changes = [Change(before, replace(before, status=status))]
        store.write(changes, [], store.versions(), "test", datetime.now(UTC))
        live.services.catalog.switch()

    look()
    stop("stopped")
    try:
        found = [one for one in examine(site.url + "/", ask) if one.state != "ok"]
    finally:
        stop("active")
    assert [(one.state, one.what) for one in found] == [
        ("note", "the test decision stays empty: boxes may, too")
    ]
    assert "whether all is stopped" in found[0].remedy
    assert {one.state for one in examine(site.url + "/", ask)} == {"ok"}


def test_what_the_service_wrote_into_the_page_is_told(look: Look) -> None:
    found = look(body="<!-- tactful: Invalid query; size: got something else, expected 300x250 --><p>x</p>")
    assert any("size: got something else" in what for what in found)


def test_pieces_that_do_not_heed_gpc_are_told(site: Pages) -> None:
    site.pages["/"] = ('<p>x</p><div class="tactful-slot" data-placement="top">ad</div>', {})
    (found,) = examine(site.url + "/", ask)
    assert found.state == "change" and "Sec-GPC" in found.remedy
    site.pages["/"] = ('<div class="tactful-slot" data-placement="top" data-gpc="honored">ad</div>', {})
    assert examine(site.url + "/", ask) == [
        Finding("ok", "Global Privacy Control is passed on to /v1/slot"),
    ]


def test_a_page_without_advertisements_is_told_how_to_begin(site: Pages) -> None:
    site.pages["/"] = ("<p>x</p>", {})
    (found,) = examine(site.url + "/", ask)
    assert "tactful tag" in found.remedy


@pytest.mark.parametrize(
    "url", ["nowhere", "ftp://x.example/", "http://127.0.0.1:1/", "http://[::1", "http://", "http://a b/"]
)
def test_what_cannot_be_reached_is_an_error(url: str) -> None:
    with pytest.raises(DoctorError):
        examine(url)


def test_no_more_is_read_of_an_answer_than_a_page_has(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def endless(url: str) -> Iterator[bytes]:
        while True:
            read.append(url)
            yield gzip.compress(b"x" * MOST_BYTES)

    def answer(request: httpx.Request) -> httpx.Response:
        headers = {"Content-Encoding": "gzip", "Location": "/page"}
        status = 302 if request.url.path == "/" else 200
        return httpx.Response(status, headers=headers, content=endless(request.url.path))

    client = partial(httpx.Client, transport=httpx.MockTransport(answer))
    monkeypatch.setattr("engine.doctor.httpx.Client", client)
    with pytest.raises(DoctorError, match=f"at most {MOST_BYTES} bytes"):
        http("GET", "http://planet.example/", {})
    assert read == ["/page", "/page"]
    monkeypatch.setattr("engine.doctor.WHOLE_S", 0)
    with pytest.raises(DoctorError, match="was not done answering"):
        http("GET", "http://planet.example/", {})


def test_the_command_exits_1_where_there_is_something_to_change(site: Pages) -> None:
    site.pages["/"] = ("<p>x</p>", {})
    url = site.url.replace(SITE, "127.0.0.1") + "/"
    told = CliRunner().invoke(main, ["doctor", url])
    assert told.exit_code == 1 and "change  no advertisement" in told.stdout
    assert json.loads(CliRunner().invoke(main, ["doctor", url, "--json"]).stdout)[0]["state"] == "change"
    assert CliRunner().invoke(main, ["doctor", url + "missing"]).exit_code == 3
    site.pages["/"] = ('<div class="tactful-slot" data-gpc="honored">ad</div>', {})
    assert CliRunner().invoke(main, ["doctor", url]).exit_code == 0
