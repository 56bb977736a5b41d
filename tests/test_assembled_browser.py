"""An assembled message stands whole in each of the IAB's sizes, above its label: in the tag's frame and in others'."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.assemble import answered
from engine.creative import SIZES, Creative, Parts, TextPart
from engine.decision import Asset, Assets
from engine.wording import room
from tests.live import browser, needs_chromium

needs_chromium()

CSS = Path(engine.__file__).parent / "web" / "static" / "tag" / "1" / "creative.css"
ORIGIN = "https://ads.example"
PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="600" height="400"><rect width="600" height="400"/></svg>'
)
WORDS = "The quick warm jackets outlive all seasons and any weather that one may meet on a moor or a hill at night "
SQUARE = (
    '<i style="display:inline-block;width:1em;height:1em;vertical-align:bottom"></i>'  # what fonts may lack
)
WIDE = "雨の夜に温かいスープを四分で作る料理人のための新しい鍋とお皿を全国へお届けします"
FRAMES = {
    "tag": "<meta http-equiv=Content-Security-Policy "
    f"content=\"default-src 'none';img-src {ORIGIN};style-src {ORIGIN}\">"
    f'<link rel=stylesheet href="{ORIGIN}/creative.css">',
    "others": "<style>body{margin:0}</style>",
}
# What of each text or picture lies outside of the window, or under the label, in pixels.
LOST = """() => {
  const small = document.querySelector('.tactful-label'), label = small.getBoundingClientRect(), lost = {};
  if (small.scrollWidth > small.clientWidth + 1 && small.clientWidth) lost.label = small.scrollWidth;
  const why = document.querySelector('.tactful-why').getBoundingClientRect();
  for (const e of document.querySelectorAll('img, .tactful-headline, .tactful-body, .tactful-offer, .tactful-cta')) {
    for (const box of e.getClientRects()) {
      const out = Math.max(-box.top, -box.left, box.right - innerWidth, box.bottom - innerHeight);
      const under = Math.min(box.bottom, label.bottom) - Math.max(box.top, label.top);
      const beside = Math.min(box.right, label.right) - Math.max(box.left, label.left);
      const worst = Math.max(out, Math.min(under, beside));
      if (worst > 1) lost[e.className || e.tagName] = Math.round(worst);
    }
  }
  if (Math.max(-why.left, why.right - innerWidth, why.bottom - innerHeight) > 1) lost.why = why.bottom;
  return lost;
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


def longest(characters: int, words: str = WORDS) -> str:
    """Return words of just this length."""
    text = (words * 6)[: characters // (room(words) // len(words))]
    return text[:-1] + "x" if text.endswith(" ") else text


def html(size: tuple[int, int], *, picture: bool, words: str = WORDS) -> str:
    lengths = SIZES[size]
    assets = Assets(
        headline=longest(lengths.headline, words),
        body=longest(lengths.body, words),
        cta=longest(lengths.cta, words),
        offer=longest(lengths.offer, words),
        sponsored_by="Longacre & Daughters",
        image=Asset(f"{ORIGIN}/picture.svg", 600, 400, "A hill") if picture else None,
    )
    creative = Creative(
        "c", "k", "banner", "https://a.example/", size=size, headline="H",
        parts=Parts((TextPart("h", "H"),), (), (), (), ()),
    )  # fmt: skip
    return answered(creative, "k", "a", assets, None, size, "Longacre & Daughters", "", None).html


def opened(
    chromium: Any, frame: str, size: tuple[int, int], *, picture: bool = True, words: str = WORDS
) -> Any:
    page = chromium.new_page(viewport={"width": size[0], "height": size[1]})
    page.route(f"{ORIGIN}/creative.css", lambda route: route.fulfill(path=CSS, content_type="text/css"))
    page.route(
        f"{ORIGIN}/picture.svg", lambda route: route.fulfill(body=PICTURE, content_type="image/svg+xml")
    )
    shown = re.sub(r"[\u3040-\u9fff]", SQUARE, html(size, picture=picture, words=words))
    page.set_content(f"<!doctype html>{FRAMES[frame]}{shown}", wait_until="load")
    return page


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_the_longest_message_stands_whole_in_each_size_beside_its_label(chromium, size, frame):
    for picture in (True, False):
        page = opened(chromium, frame, size, picture=picture)
        assert page.evaluate(LOST) == {}
        page.close()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_letters_as_wide_as_they_are_high_stand_whole_as_well(chromium, size):
    page = opened(chromium, "others", size, words=WIDE)
    assert page.evaluate(LOST) == {}
    page.close()


@pytest.mark.parametrize("frame", FRAMES)
def test_parts_do_not_run_into_each_other(chromium, frame):
    page = opened(chromium, frame, (300, 250))
    said = page.evaluate("() => document.querySelector('.tactful-copy').innerText")
    lengths = SIZES[300, 250]
    assert said.startswith(longest(lengths.headline) + "\n")
    assert f"{longest(lengths.body)} {longest(lengths.offer)} {longest(lengths.cta)} Longacre" in said
    colour, line = page.evaluate(
        "() => { const s = getComputedStyle(document.querySelector('a')); return [s.color, s.textDecorationLine]; }"
    )
    assert colour != "rgb(0, 0, 238)" and line == "none"  # as text, and not as a link of 1995
    page.close()
