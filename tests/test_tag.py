"""`<contextual-ad>` in a real browser, on a publisher's page of another origin, against the real service."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.creative_safety import clean_html
from engine.publisher.markup import contextual_ad
from engine.publisher.tag import CREATIVE_STYLE, SCRIPT, SLOT_STYLE, STYLE, head_lines, policy, tag_file
from tests.engine.test_creative_safety import ATTACKS
from tests.live import ARTICLE, SITE, Live, Pages, Window, browser, needs_chromium

needs_chromium()

FOLDER = Path(engine.__file__).parent / "web" / "static" / "tag" / "1"
MOST_BYTES = 2500  # gzipped
# A version is for good: pages carry these hashes. What has to change is a new version, in a folder of its own.
RELEASED = {
    SCRIPT: "sha384-X316cJhw6WQ3w5BbPUXj61F8Cee/ysj9aSc7cpkh3Rg/XO9Bdx1qK+4L3TM4BiZ+",
    STYLE: "sha384-ICDuHspAB/VOfFFYbHTsHUlhbuSKbXGyjerndnykgYVhxQkvbAlLaAW8zyiUTPLL",
    SLOT_STYLE: "sha384-Qs7hInOpa4iF1zbv5fykXBH3HVTiB3sCX70q08G/tZ6J7ScIlXcEOuFuKeHGBe/R",
    CREATIVE_STYLE: "sha384-7rJfI95TRykrE3EC69D0wNvK54CIgMJTydBEyvsV03NE9YdKA9/BIZleTEZzn75P",
}
LD_JSON = """<script type="application/ld+json">{"@context":"https://schema.org","@graph":[{"@type":"Article",
"articleSection":["Recipes"],"keywords":"leeks, soup"}]}</script>"""
HOSTILE = """<style>*{box-sizing:content-box!important;font-size:70px!important;letter-spacing:9px!important;
color:red!important;transform:none;float:left}iframe{display:none!important;width:9px!important}
small,a,img,div{position:fixed!important;left:-9999px!important;opacity:0!important}</style>"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Live]:
    service = Live(tmp_path_factory.mktemp("live"), models)
    yield service
    service.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Pages]:
    pages = Pages()
    yield pages
    pages.close()


Open = Callable[..., Window]


@pytest.fixture
def visit(chromium: Any, live: Live, site: Pages) -> Iterator[Open]:
    """Open a page with advertisements; whatever happens, nothing is kept and nobody else is asked."""
    live.forget()
    opened = []

    def show(
        body: str = "",
        *,
        head: str = "",
        path: str = "/food/leeks",
        csp: str | None = None,
        script: str = "",
        **more: Any,
    ) -> Window:
        lines = "\n".join(head_lines(live.url))
        strict = "; ".join(f"{name} {source}" for name, source in policy(live.url).items())
        site.pages[path] = (
            f"""<!doctype html><html lang="en-GB"><head><title>Leek soup</title>
<meta name="description" content="A soup for wet evenings">{LD_JSON}{head}{lines}</head>
<body><main><h1>Leek soup</h1><p>{ARTICLE}</p></main>
{body or contextual_ad("top", publisher="planet")}<footer>Imprint</footer>{script}</body></html>""",
            {"Content-Security-Policy": f"default-src 'none'; {strict}" if csp is None else csp},
        )
        window = Window(chromium, **more)
        opened.append(window)
        window.page.goto(site.url + path + "?uid=7&email=jane@mail.example#part")
        return window

    yield show
    for window in opened:
        assert window.window.cookies() == []
        assert window.page.evaluate("localStorage.length + sessionStorage.length") == 0
        assert window.page.evaluate("indexedDB.databases()") == []
        hosts = {url.split("/")[2] for url in window.asked if url.startswith("http")}
        assert hosts <= {site.url.split("/")[2], live.url.split("/")[2]}
        assert window.faults == []
        window.close()


def settled(window: Window, times: int = 1) -> None:
    # Not by `wait_for_function`: the page's policy forbids to evaluate strings.
    assert until(lambda: len(window.watched()["told"]) >= times), window.complaints


def frame(window: Window, at: int = 0) -> Any:
    """Return the frame of the creative in an element."""
    element = window.page.locator("contextual-ad").nth(at).locator("iframe").element_handle()
    inner = element.content_frame()
    inner.wait_for_load_state("load")
    return inner


def spoiled(html: str, events: Any) -> str:
    """Give an answer as no service of ours gives it."""
    return json.dumps({"decisions": [{"placement": "top", "creative": {"html": html}, "events": events}]})


def until(check: Callable[[], bool], seconds: float = 6.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.05)
    return check()


# --- the files ---


def test_the_script_is_small_and_needs_nothing() -> None:
    data = (FOLDER / SCRIPT).read_bytes()
    assert len(gzip.compress(data, 9, mtime=0)) <= MOST_BYTES
    forbidden = (
        "eval import cookie localStorage sessionStorage indexedDB userAgent screen canvas plugins platform"
    )
    for word in (
        *forbidden.split(),
        "hardwareConcurrency",
        "deviceMemory",
        "document.referrer",
        "performance",
    ):
        assert word.encode() not in data, word


def test_what_is_served_is_made_of_what_is_read() -> None:
    root = (
        subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False)
        if shutil.which("npm")
        else None
    )
    esbuild = Path(root.stdout.strip(), "esbuild", "bin", "esbuild") if root else Path("none")
    if not esbuild.exists():
        pytest.skip("needs esbuild: npm install -g esbuild")
    options = ("--minify", "--target=es2022", "--mangle-props=^_[a-z]", "--charset=utf8")
    made = subprocess.run(
        [esbuild, FOLDER / "contextual-ad.src.js", *options], capture_output=True, check=True
    )
    assert made.stdout == (FOLDER / SCRIPT).read_bytes()


@pytest.mark.parametrize("name", RELEASED)
def test_a_version_never_changes(name: str) -> None:
    assert tag_file(name, "1").integrity == RELEASED[name]


# --- on a page ---


def test_a_fitting_creative_stands_in_its_box_under_a_strict_policy(visit: Open, live: Live) -> None:
    window = visit()
    settled(window)
    inner = frame(window)
    assert inner.locator("img").evaluate("it => it.complete && it.naturalWidth") == 300
    assert inner.locator(".tactful-label").inner_text().startswith("Advertisement")
    box = window.page.locator("contextual-ad").bounding_box()
    assert (box["width"], box["height"]) == (300, 250)
    assert window.page.evaluate("document.querySelector('contextual-ad').getAttribute('empty')") is None
    assert window.watched()["told"] == [{"filled": True, "gpc": None}]
    assert window.complaints == []


def test_exactly_one_impression_and_one_view_are_told(visit: Open, live: Live) -> None:
    window = visit()
    settled(window)
    assert until(lambda: len(live.events()) == 2)
    time.sleep(1.5)
    assert [kind for kind, _ in live.events()] == ["impression", "viewable"]
    assert sum(path.startswith("/v1/events/") for _, path in live.paths) == 2


def test_what_a_style_hides_is_viewed_once_it_is_shown(visit: Open, live: Live) -> None:
    box = contextual_ad("top", publisher="planet")
    window = visit(f'<div style="opacity:0">{box}</div>', csp="")
    settled(window)
    assert until(lambda: len(live.events()) == 1)
    time.sleep(1.5)
    assert [kind for kind, _ in live.events()] == ["impression"]
    window.page.evaluate("document.querySelector('div').style.opacity = 1")
    assert until(lambda: len(live.events()) == 2)


def test_one_box_whose_name_or_size_is_none_leaves_the_others_theirs(visit: Open, live: Live) -> None:
    names = ("top", "my box", "-x", "é", "x" * 65, "right")
    boxes = "".join(
        f'<contextual-ad publisher="planet" placement="{name}"></contextual-ad>' for name in names
    )
    boxes += contextual_ad("low", publisher="planet").replace('"300"', '"30000"')
    window = visit(boxes, height=2400)
    settled(window, 7)
    assert [[place["id"] for place in body["placements"]] for body in live.bodies] == [
        ["top", "right", "low"]
    ]
    assert live.bodies[0]["placements"][2]["sizes"] == [[300, 250]]
    assert [told["filled"] for told in window.watched()["told"]].count(True) == 3
    assert window.page.locator("contextual-ad[empty]").count() == 4


def test_a_box_of_a_size_of_its_own_has_it_and_shifts_nothing(visit: Open, live: Live) -> None:
    sizes = ((640, 480), (333, 77), (300, 250))
    boxes = "".join(contextual_ad(f"p{w}", publisher="planet", size=f"{w}x{h}") for w, h in sizes)
    window = visit(boxes + "<p>Text below.</p>", height=2000)
    settled(window, 3)
    found = [one.bounding_box() for one in window.page.locator("contextual-ad").all()]
    assert [(box["width"], box["height"]) for box in found] == list(sizes)
    assert window.watched()["shift"] == 0
    assert [place["sizes"] for place in live.bodies[0]["placements"]] == [[list(size)] for size in sizes]


def test_nothing_shifts_and_nothing_takes_long(visit: Open) -> None:
    took = []
    for _ in range(3):  # a task is also long where the machine has other things to do
        window = visit(contextual_ad("top", publisher="planet") + "<p>Text below.</p>" * 40)
        settled(window)
        time.sleep(0.5)
        assert window.watched()["shift"] == 0
        took.append(max(window.watched()["long"], default=0))
    assert min(took) <= 50


def test_what_is_sent_is_about_the_page_and_nothing_else(visit: Open, live: Live) -> None:
    window = visit()
    settled(window)
    (body,), (headers,) = live.bodies, live.headers
    assert set(body) == {"publisher", "placements", "page"}
    assert body["placements"] == [{"id": "top", "sizes": [[300, 250]]}]
    page = body["page"]
    assert set(page) == {"url", "title", "description", "text", "keywords", "language"}
    assert page["url"].endswith("/food/leeks")
    assert page["title"] == "Leek soup"
    assert page["description"] == "A soup for wet evenings"
    assert page["keywords"] == ["Recipes", "leeks", "soup"]
    assert page["language"] == "en"
    assert page["text"].startswith("Leek soup") and "slowly soft in butter" in page["text"]
    assert "Imprint" not in page["text"] and "schema.org" not in page["text"]
    assert headers["Content-Type"].startswith("text/plain")
    assert "Cookie" not in headers and "Referer" not in headers
    assert not any("uid" in url or "jane" in url for url in window.asked[1:])


def test_a_click_on_the_label_tells_why_and_a_click_on_the_creative_lands(visit: Open, live: Live) -> None:
    window = visit()
    settled(window)
    inner = frame(window)
    time.sleep(0.6)  # as a reader's does
    with window.window.expect_page() as opened:
        inner.click(".tactful-why")
    why = opened.value
    why.wait_for_load_state("load")
    assert "on behalf of" in why.inner_text("#who + p")
    assert "topic" in why.inner_text("dl")
    time.sleep(0.6)
    why.click("button[value=not_relevant]")
    assert why.locator("[role=status]").inner_text().startswith("Thank you")
    window.page.route("https://*.example/**", lambda route: route.abort())
    with window.window.expect_page() as opened:
        inner.click("a.tactful-banner")
    assert until(lambda: any(path.startswith("/v1/click/") for _, path in live.paths))
    assert {kind for kind, _ in live.events()} >= {"click", "impression", "not_relevant"}
    window.asked = [url for url in window.asked if "kettle" not in url and "velora" not in url]


@pytest.mark.parametrize("csp", [None, ""], ids=["strict page", "page without a policy"])
def test_the_creative_runs_no_script_and_reaches_no_other_host(
    visit: Open, live: Live, site: Pages, csp: str | None
) -> None:
    evil = site.url.replace(SITE, "evil.example")
    site.reached.clear()
    html = (
        f"<script>parent.hacked=1</script><img src={evil}/x onerror=parent.hacked=1>"
        f"<form action={evil}><button id=b>x</button></form>"
    )
    events = {"impression": f"{evil}/i", "viewable": f"{live.url}.evil.example/v"}
    live.mode = spoiled(html, events)
    window = visit(csp=csp)
    settled(window)
    frame(window).click("#b")
    time.sleep(1.5)
    assert window.page.evaluate("window.hacked") is None
    assert [url for url in site.reached if "evil" in url] == []
    assert not any("evil" in url for url in window.asked)


def test_no_hostile_creative_does_anything_rendered_as_it_came_or_as_it_is_kept(
    visit: Open, live: Live, site: Pages
) -> None:
    evil = site.url.replace(SITE, "evil.example")
    raw = [
        attack.replace("https://evil.example", evil).replace("alert(1)", "top.hacked=1") for attack in ATTACKS
    ]
    kept = [
        clean_html(f"<p>fine</p>{one}", ("shop.example",), lambda src: f"{'ab' * 32}.png", "html").html
        for one in raw
    ]
    shown = [*raw, *kept]
    ids = [f"p{number}" for number in range(len(shown))]
    told = [{"placement": id, "creative": {"html": html}} for id, html in zip(ids, shown, strict=True)]
    live.mode = json.dumps({"decisions": told})
    boxes = "".join(contextual_ad(id, publisher="planet", size="88x31") for id in ids)
    site.reached.clear()
    window = visit(f'<div style="display:grid;grid-template-columns:repeat(12,90px)">{boxes}</div>', csp="")
    assert until(lambda: len(window.watched()["told"]) == len(shown), 30), len(window.watched()["told"])
    time.sleep(1)
    assert window.page.locator("contextual-ad iframe").count() == len(shown)
    assert window.page.evaluate("window.hacked") is None
    assert [url for url in site.reached if "evil" in url] == []


@pytest.mark.parametrize(
    "mode",
    ["error", "", "{", "[]", "null", '{"decisions":7}', '{"decisions":[null,{"placement":"top"}]}',
     '{"decisions":[{"placement":"top","creative":{"html":7}}]}', '{"decisions":[],"privacy":3}', "\u0000" * 999],
)  # fmt: skip
def test_whatever_the_service_answers_the_box_stays_and_the_page_is_whole(
    visit: Open, live: Live, mode: str
) -> None:
    live.mode = mode or " "
    window = visit()
    settled(window)
    box = window.page.locator("contextual-ad").bounding_box()
    assert (box["width"], box["height"]) == (300, 250)
    assert window.page.locator("contextual-ad[empty]").count() == 1
    assert window.page.locator("contextual-ad iframe").count() == 0
    assert window.watched()["shift"] == 0
    assert live.events() == []


def test_events_that_are_no_addresses_break_nothing(visit: Open, live: Live) -> None:
    live.mode = spoiled("<b>x</b>", {"impression": 7, "viewable": {}})
    window = visit()
    settled(window)
    time.sleep(1.5)
    assert frame(window).inner_text("b") == "x"


def test_a_service_that_hangs_holds_nothing_up(visit: Open, live: Live) -> None:
    live.mode = "hang"
    window = visit()
    assert window.page.evaluate("document.readyState") == "complete"
    time.sleep(1)
    assert window.page.locator("contextual-ad").bounding_box()["height"] == 250
    assert until(lambda: bool(window.watched()["told"]), 15)
    assert window.watched()["told"] == [{"filled": False, "gpc": None}]
    assert window.watched()["shift"] == 0


def test_an_unknown_publisher_gets_an_empty_box(visit: Open) -> None:
    window = visit(contextual_ad("top", publisher="nobody"))
    settled(window)
    assert window.page.locator("contextual-ad[empty]").count() == 1


def test_a_hostile_style_does_not_reach_the_creative(visit: Open, live: Live) -> None:
    window = visit(head=HOSTILE, csp="")
    settled(window)
    inner = frame(window)
    assert inner.locator("img").bounding_box()["width"] == 300
    assert inner.locator(".tactful-label").evaluate("it => getComputedStyle(it).fontSize") == "11px"
    window.page.evaluate("document.querySelector('contextual-ad').scrollIntoView()")
    assert until(lambda: len(live.events()) == 2)


def test_under_trusted_types_it_works_where_its_policy_is_named(visit: Open, live: Live) -> None:
    allowed = "; ".join(f"{name} {source}" for name, source in policy(live.url).items())
    window = visit(
        csp=f"default-src 'none'; {allowed}; require-trusted-types-for 'script'; trusted-types contextual-ad"
    )
    settled(window)
    assert frame(window).locator("img").count() == 1


def test_a_box_far_below_is_asked_for_when_it_comes_near(visit: Open, live: Live) -> None:
    far = "<style>.far{height:6000px}</style>"
    window = visit('<div class="far"></div>' + contextual_ad("top", publisher="planet"), head=far, csp="")
    time.sleep(1)
    assert live.bodies == []
    window.page.mouse.wheel(0, 4800)
    settled(window)
    assert until(lambda: [kind for kind, _ in live.events()] == ["impression"])
    time.sleep(1.3)
    assert [kind for kind, _ in live.events()] == ["impression"]  # not in view yet
    window.page.mouse.wheel(0, 3000)
    assert until(lambda: len(live.events()) == 2)


def test_boxes_of_one_page_are_decided_together_and_no_creative_comes_twice(visit: Open, live: Live) -> None:
    body = "".join(contextual_ad(name, publisher="planet") for name in ("a", "b", "b"))
    window = visit(body)
    settled(window, 3)
    assert sorted([p["id"] for p in asked["placements"]] for asked in live.bodies) == [["a", "b"], ["b"]]
    shown = [frame(window, at).locator(".tactful-label").inner_text() for at in (0, 1)]
    assert len(set(shown)) == 2


def test_a_single_page_app_gets_another_decision_when_it_moves_on(visit: Open, live: Live) -> None:
    window = visit()
    settled(window)
    window.page.evaluate("history.pushState({}, '', '?page=2')")
    time.sleep(0.6)
    assert len(live.bodies) == 1  # the same page still
    window.page.evaluate(
        "history.pushState({}, '', '/bikes/new'); document.title = 'Bikes'; "
        "document.querySelector('main').textContent = 'Gravel bikes and wide tyres for wet roads, and a long tour.'"
    )
    settled(window, 2)
    assert live.bodies[1]["page"]["url"].endswith("/bikes/new")
    assert live.bodies[1]["page"]["text"].startswith("Gravel bikes")
    assert frame(window).locator("img").get_attribute("alt") == "The e-bike for wet roads"
    assert until(lambda: sum(kind == "impression" for kind, _ in live.events()) == 2)
    window.page.go_back()
    window.page.go_back()
    settled(window, 3)


def test_an_app_that_puts_a_new_box_in_place_as_it_moves_on_gets_one_decision_for_it(
    visit: Open, live: Live
) -> None:
    window = visit()
    assert until(lambda: "viewable" in dict(live.events()))
    live.forget()
    window.page.evaluate(
        "history.pushState({}, '', '/bikes/new');"
        "(it => it.replaceWith(it.cloneNode()))(document.querySelector('contextual-ad'))"
    )
    settled(window, 2)
    time.sleep(0.6)
    assert [body["page"]["url"][-10:] for body in live.bodies] == ["/bikes/new"]
    assert until(lambda: sum(kind == "impression" for kind, _ in live.events()) == 1)


def test_an_attribute_that_is_set_to_what_it_was_asks_nothing(visit: Open, live: Live) -> None:
    window = visit()
    settled(window)
    window.page.evaluate(
        "(it => it.setAttribute('placement', it.getAttribute('placement')))(document.querySelector('contextual-ad'))"
    )
    time.sleep(0.3)
    assert len(live.bodies) == 1


def test_more_boxes_than_a_request_has_are_asked_for_in_several(visit: Open, live: Live) -> None:
    body = "".join(contextual_ad(f"p{number}", publisher="planet", size="88x31") for number in range(45))
    window = visit(f"<style>contextual-ad{{float:left;width:88px;height:31px}}</style>{body}", csp="")
    settled(window, 45)
    assert sorted(len(body["placements"]) for body in live.bodies) == [5, 20, 20]
    assert any(told["filled"] for told in window.watched()["told"])


PAGES_OWN = {
    "a variable of the page's": ("var navigation = {}, URL = '/x'", True),
    "a wrapped fetch that throws": (
        "(own => { fetch = (url, how) => { if (!/decisions/.test(url)) throw 'no'; return own(url, how); }; })(fetch)",
        True,
    ),
    "a wrapped fetch that gives nothing": (
        "(own => { fetch = (url, how) => { if (/decisions/.test(url)) return own(url, how); }; })(fetch)",
        True,
    ),
    "Prototype.js 1.6": (
        "Array.prototype.toJSON = function () { return '[' + this.join() + ']' };"
        "Array.from = (it) => [].slice.call(it)",
        True,
    ),
    "an array that finds nothing": ("Array.prototype.find = () => { throw 'no' }", False),
    "no observer": ("delete window.IntersectionObserver", None),
}


@pytest.mark.parametrize("name", PAGES_OWN)
def test_whatever_a_page_did_to_its_window_no_fault_is_the_tags(visit: Open, name: str) -> None:
    script, filled = PAGES_OWN[name]
    window = visit(head=f"<script>{script}</script>", csp="")
    if filled is None:
        assert window.page.locator("contextual-ad").bounding_box()["height"] == 250
        return
    settled(window)
    assert window.watched()["told"][0]["filled"] is filled
    if filled:
        frame(window)
        time.sleep(1.2)  # until a view is told


def test_a_changed_attribute_asks_anew_and_once(visit: Open, live: Live) -> None:
    window = visit()
    settled(window)
    window.page.evaluate(
        "const it = document.querySelector('contextual-ad');"
        "it.setAttribute('width', 320); it.setAttribute('height', 50)"
    )
    settled(window, 2)
    time.sleep(0.3)
    assert [body["placements"][0]["sizes"] for body in live.bodies] == [[[300, 250]], [[320, 50]]]
    assert window.page.locator("contextual-ad").bounding_box()["height"] == 50


def test_a_box_that_is_taken_away_and_put_back_is_one_impression(visit: Open, live: Live) -> None:
    window = visit()
    settled(window)
    assert until(lambda: len(live.events()) == 2)
    window.page.evaluate(
        "(it => { const to = it.parentNode; it.remove(); to.append(it); })(document.querySelector('contextual-ad'))"
    )
    time.sleep(1.5)
    assert len(live.bodies) == 1
    assert len(live.events()) == 2


def test_gpc_is_told_to_the_page_and_sends_no_token(visit: Open, live: Live, chromium: Any) -> None:
    body = contextual_ad("top", publisher="planet", consent_token="a.b.c")
    window = visit(body, extra_http_headers={"Sec-GPC": "1"})
    settled(window)
    assert window.watched()["told"] == [{"filled": True, "gpc": "honored"}]
    script = "<script>Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })</script>"
    window = visit(body, head=script, csp="")
    settled(window)
    assert window.watched()["told"] == [{"filled": True, "gpc": "honored"}]
    assert "consent" not in live.bodies[-1]


CMP = """<script>
window.__tcfapi = (command, version, hear) => hear({ tcString: 'CTC', gdprApplies: true, listenerId: 1 }, true);
window.__gpp = (command, hear) => hear({ gppString: 'DBA', applicableSections: [7, -1] }, true);
</script>"""


def test_beside_a_token_the_strings_of_the_cmp_go_along(visit: Open, live: Live) -> None:
    body = contextual_ad("top", publisher="planet", consent_token="a.b.c")
    settled(visit(body, head=CMP, csp=""))
    consent = live.bodies[-1]["consent"]
    assert consent.pop("nonce") and len(live.bodies[-1]) == 5
    assert consent == {"token": "a.b.c", "tcf": "CTC", "gpp": "DBA", "gpp_sid": [7]}
    assert live.bodies[-1]["regs"] == {"gdpr": 1}
    settled(visit(body, csp=""))
    assert set(live.bodies[-1]["consent"]) == {"token", "nonce"}
    settled(visit(head=CMP, csp=""))
    assert "consent" not in live.bodies[-1]


@pytest.mark.parametrize(
    "cmp",
    [
        "window.__tcfapi = () => {}",
        "window.__tcfapi = () => { throw new Error('no') }",
        "window.__tcfapi = 7",
        "window.__gpp = (command, hear) => hear(null, false)",
        "window.__tcfapi = (c, v, hear) => setTimeout(() => hear({ tcString: 'x' }, true), 50)",
    ],
)
def test_nobody_waits_for_a_cmp_and_while_it_is_silent_no_token_goes_along(
    visit: Open, live: Live, cmp: str
) -> None:
    body = contextual_ad("top", publisher="planet", consent_token="a.b.c")
    window = visit(body, head=f"<script>{cmp}</script>", csp="")
    settled(window)
    assert "consent" not in live.bodies[-1]
    assert window.watched()["told"][0]["filled"]


def test_words_that_are_no_words_break_nothing(visit: Open, live: Live) -> None:
    head = (
        '<script type="application/ld+json">{"keywords": [{"name": "soup"}, 7, null], "articleSection": {}}</script>'
        '<script type="application/ld+json">[null, 7, "x", {"keywords": ""}]</script>'
        '<script type="application/ld+json">{</script>'
        f'<meta name="keywords" content="{"k" * 200},{",".join(map(str, range(200)))}">'
        "<script>document.title = 'a\\ud800b' + '\\ud83d\\ude00'.repeat(400)</script>"
    )
    window = visit(head=head, csp="", body="<p></p>" * 3000 + contextual_ad("top", publisher="planet"))
    window.page.evaluate("document.querySelector('contextual-ad').scrollIntoView()")
    settled(window)
    page = live.bodies[-1]["page"]
    assert page["title"].startswith("ab") and len(page["title"].encode("utf-16-le")) // 2 <= 300
    assert len(page["keywords"]) <= 40 and max(map(len, page["keywords"])) <= 80
    assert window.watched()["told"][0]["filled"]


def test_a_reader_who_is_in_the_creative_by_keyboard_stays_there(visit: Open, live: Live) -> None:
    from playwright.sync_api import TimeoutError

    window = visit(contextual_ad("top", publisher="planet") + '<a href="/after">After</a>')
    settled(window)
    frame(window)
    with suppress(TimeoutError):  # the like where it enters one
        window.page.locator("body").press("Tab", timeout=3000)
    active = "document.querySelector('contextual-ad').shadowRoot.activeElement?.tagName"
    assert until(lambda: window.page.evaluate(active) == "IFRAME")  # a frame is a process of its own
    focused = frame(window).locator(":focus")  # waits for so long and no longer
    assert focused.evaluate("it => getComputedStyle(it).outlineStyle") == "solid"
    window.page.evaluate("document.querySelector('contextual-ad').setAttribute('placement', 'side')")
    assert until(lambda: len(live.bodies) == 2)
    time.sleep(0.4)
    assert window.page.evaluate(active) == "IFRAME"
    assert len(window.watched()["told"]) == 1
    for _ in range(2):  # past the creative's link and its label's
        with suppress(TimeoutError):  # a key that leaves a frame's process may never be acknowledged
            frame(window).locator(":focus").press("Tab", timeout=3000)
    assert until(lambda: window.page.evaluate("document.activeElement.textContent") == "After")
    settled(window, 2)


def test_in_a_narrow_window_the_box_shrinks_and_nothing_scrolls_sideways(visit: Open) -> None:
    window = visit(
        contextual_ad("top", publisher="planet", size="728x90"),
        width=360,
        height=700,
        reduced_motion="reduce",
    )
    settled(window)
    assert window.page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    assert frame(window).evaluate("document.getAnimations().length") == 0


def test_the_script_twice_is_the_script_once(visit: Open, live: Live) -> None:
    window = visit(script=head_lines(live.url)[1])
    settled(window)
    time.sleep(0.3)
    assert len(live.bodies) == 1
