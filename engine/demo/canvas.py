"""A canvas on which flat pictures are drawn from circles, lines and polygons, and the colours for them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

SCALE = 3  # drawn this many times larger and reduced, which smooths the edges

Colour = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Palette:
    """Six colours: two of the sky, the near ground, the subject, its highlight, and the darkest."""

    sky: Colour
    glow: Colour
    ground: Colour
    main: Colour
    spark: Colour
    ink: Colour


def _palette(*colours: str) -> Palette:
    return Palette(*((int(c[:2], 16), int(c[2:4], 16), int(c[4:], 16)) for c in colours))


PALETTES = {
    "meadow": _palette("cfe3dc", "f6efdc", "7fa58b", "d9573f", "f4c56a", "22352f"),
    "dusk": _palette("4a5684", "f0a988", "35406b", "f3d9b8", "ffd27a", "1b2140"),
    "ember": _palette("f3c9a2", "fbeedb", "b9603f", "8f3327", "f7b84b", "3a1a16"),
    "night": _palette("141b3c", "38437c", "0d1229", "e9e3cf", "ffd98a", "0a0d20"),
    "frost": _palette("bcd3e3", "f4f7f8", "8aa9bf", "2f5d7e", "f3b35c", "1c3245"),
    "leaf": _palette("dfe8c4", "f8f5e4", "7c9a4e", "3f6b3a", "e8864a", "23351f"),
    "rose": _palette("f2d2cd", "fcf1ea", "c98a8a", "a33d4f", "f2b56b", "421c29"),
    "slate": _palette("c4ccd2", "eef0ee", "7d8a93", "41515d", "e0a84e", "20292f"),
    "rain": _palette("8fa3ad", "ced8d6", "5f7f74", "f2c230", "e9eef0", "24353a"),
    "plum": _palette("5a3f73", "d98fa0", "3d2a54", "f4d6c6", "f6b75e", "21152f"),
    "sand": _palette("f4dfae", "fdf5df", "d8a35f", "b5612f", "f6c84c", "45260f"),
    "sea": _palette("a9d6d8", "eef8f3", "3f8f96", "14606b", "f6c667", "0d3339"),
}
WHITE: Colour = (255, 255, 255)
PAPER: Colour = (253, 250, 243)


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """Return the colour a share `t` of the way from `a` to `b`."""
    return tuple(round(x + (y - x) * t) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


class Canvas:
    """A picture with a focus: subjects are drawn in units of its radius, x to the right and y down."""

    def __init__(self, size: tuple[int, int], focus: tuple[float, float, float], palette: Palette) -> None:
        self.w, self.h = size[0] * SCALE, size[1] * SCALE
        self.cx, self.cy, self.r = (part * SCALE for part in focus)
        self.p = palette
        self.image = Image.new("RGB", (self.w, self.h))
        self.pen = ImageDraw.Draw(self.image)
        self.backdrop(palette.sky, palette.glow)

    def backdrop(self, top: Colour, bottom: Colour) -> None:
        """Fill the picture with a vertical gradient."""
        for y in range(self.h):
            self.pen.line([(0, y), (self.w, y)], fill=mix(top, bottom, y / self.h))

    def at(self, x: float, y: float) -> Point:
        """Return the pixel of a point in units of the focus."""
        return self.cx + x * self.r, self.cy + y * self.r

    def circle(self, x: float, y: float, r: float, fill: Colour) -> None:
        """Draw a filled circle."""
        self.oval(x, y, r, r, fill)

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        """Draw a filled ellipse with straight axes."""
        px, py = self.at(x, y)
        self.pen.ellipse((px - rx * self.r, py - ry * self.r, px + rx * self.r, py + ry * self.r), fill=fill)

    def ring(self, x: float, y: float, r: float, width: float, fill: Colour) -> None:
        """Draw a circle's outline."""
        px, py = self.at(x, y)
        box = (px - r * self.r, py - r * self.r, px + r * self.r, py + r * self.r)
        self.pen.ellipse(box, outline=fill, width=max(1, round(width * self.r)))

    def arc(self, x: float, y: float, r: float, start: float, end: float, width: float, fill: Colour) -> None:
        """Draw part of a circle's outline, degrees clockwise from the right."""
        px, py = self.at(x, y)
        box = (px - r * self.r, py - r * self.r, px + r * self.r, py + r * self.r)
        self.pen.arc(box, start, end, fill=fill, width=max(1, round(width * self.r)))

    def poly(self, points: Sequence[Point], fill: Colour) -> None:
        """Draw a filled polygon."""
        self.pen.polygon([self.at(x, y) for x, y in points], fill=fill)

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """Draw a line with round joints and ends."""
        thick = max(1, round(width * self.r))
        pixels = [self.at(x, y) for x, y in points]
        self.pen.line(pixels, fill=fill, width=thick, joint="curve")
        for px, py in (pixels[0], pixels[-1]):
            self.pen.ellipse((px - thick / 2, py - thick / 2, px + thick / 2, py + thick / 2), fill=fill)

    def rect(self, x0: float, y0: float, x1: float, y1: float, fill: Colour, round_: float = 0.0) -> None:
        """Draw a filled rectangle, its corners rounded."""
        a, b = self.at(x0, y0), self.at(x1, y1)
        self.pen.rounded_rectangle((*a, *b), radius=round_ * self.r, fill=fill)

    def ground(self, y: float, fill: Colour) -> None:
        """Fill everything below a height, over the whole width."""
        self.pen.rectangle((0, min(self.at(0, y)[1], self.h), self.w, self.h), fill=fill)

    def hills(self, y: float, rise: float, fill: Colour, phase: float, length: float = 2.2) -> None:
        """Draw a chain of rounded hills over the whole width."""
        base = self.at(0, y)[1]
        points: list[Point] = [(0, self.h)]
        for px in range(0, self.w + 8, 8):
            t = (px - self.cx) / self.r / length + phase
            points.append((px, base - rise * self.r * (math.sin(t * 2.1) + 0.5 * math.sin(t * 4.7 + 1))))
        self.pen.polygon([*points, (self.w, self.h)], fill=fill)

    def steam(self, x: float, y: float, fill: Colour) -> None:
        """Draw three curls that rise."""
        for k in (-0.22, 0.0, 0.22):
            curl = [(x + k + 0.07 * math.sin(i / 3 + k * 9), y - i * 0.035) for i in range(17)]
            self.line(curl, 0.045, fill)

    def scatter(self, count: int, seed: int, draw: Callable[[float, float, float], None]) -> None:
        """Call `draw` at points spread over the whole picture, each with a number from 0 to 1."""
        chance = random.Random(seed)  # noqa: S311 - decoration, the same on every run
        left, top = -self.cx / self.r, -self.cy / self.r
        for _ in range(count):
            x, y = left + chance.random() * self.w / self.r, top + chance.random() * self.h / self.r
            draw(x, y, chance.random())

    def finish(self) -> Image.Image:
        """Return the picture at its true size."""
        return self.image.resize((self.w // SCALE, self.h // SCALE), Image.Resampling.LANCZOS)
