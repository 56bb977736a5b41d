"""The demo's scenes: what each product and article is drawn as, and in which colours."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from engine.demo.canvas import PAPER, WHITE, Canvas, Point, mix

Scene = Callable[[Canvas], None]


def bicycle(c: Canvas) -> None:
    """Draw a bicycle on a path through hills."""
    p = c.p
    c.circle(0.75, -0.75, 0.3, mix(p.spark, WHITE, 0.4))
    c.hills(0.1, 0.16, mix(p.ground, p.sky, 0.55), 0.4)
    c.hills(0.42, 0.12, mix(p.ground, p.sky, 0.2), 2.1)
    c.ground(0.72, p.ground)
    for x in (-0.52, 0.52):
        c.ring(x, 0.38, 0.38, 0.055, p.ink)
        for a in range(0, 180, 30):
            dx, dy = 0.35 * math.cos(math.radians(a)), 0.35 * math.sin(math.radians(a))
            c.line([(x - dx, 0.38 - dy), (x + dx, 0.38 + dy)], 0.01, mix(p.ink, p.glow, 0.45))
        c.arc(x, 0.38, 0.45, 190, 320, 0.03, p.main)
    for bar in (
        [(-0.52, 0.38), (-0.05, 0.4), (0.36, -0.12), (-0.22, -0.12), (-0.05, 0.4)],
        [(-0.52, 0.38), (-0.22, -0.12)],
        [(0.52, 0.38), (0.33, -0.28)],
    ):
        c.line(bar, 0.06, p.main)
    c.line([(-0.22, -0.12), (-0.26, -0.27)], 0.05, p.ink)
    c.line([(-0.4, -0.28), (-0.14, -0.28)], 0.08, p.ink)
    c.line([(0.33, -0.28), (0.3, -0.38), (0.5, -0.4)], 0.05, p.ink)
    c.circle(-0.05, 0.4, 0.09, p.ink)
    c.rect(-0.82, -0.12, -0.42, 0.08, mix(p.main, p.ink, 0.35), 0.05)


def soup(c: Canvas) -> None:
    """Draw a steaming bowl on a table."""
    p = c.p
    c.circle(0, -0.1, 1.05, mix(p.sky, p.glow, 0.75))
    c.ground(0.62, p.ground)
    c.ground(0.68, mix(p.ground, p.ink, 0.25))
    c.steam(0, -0.18, mix(p.glow, WHITE, 0.6))
    c.oval(0, 0.64, 0.7, 0.07, mix(p.ground, p.ink, 0.45))
    c.pen.pieslice((*c.at(-0.75, -0.78), *c.at(0.75, 0.62)), 0, 180, fill=p.main)
    c.pen.pieslice((*c.at(-0.75, -0.78), *c.at(0.75, 0.62)), 0, 62, fill=mix(p.main, p.ink, 0.22))
    c.oval(0, -0.08, 0.75, 0.17, mix(p.main, WHITE, 0.25))
    c.oval(0, -0.06, 0.66, 0.13, p.spark)
    for x, y in ((-0.3, -0.08), (0.1, -0.02), (0.34, -0.1), (-0.06, -0.13)):
        c.oval(x, y, 0.07, 0.03, (110, 140, 70))
    c.line([(0.5, -0.1), (0.98, -0.52)], 0.06, mix(p.ink, p.glow, 0.25))


def pot(c: Canvas) -> None:
    """Draw a heavy pot over a low flame."""
    p = c.p
    c.circle(0, 0, 1.0, mix(p.sky, p.glow, 0.7))
    c.ground(0.7, p.ink)
    c.steam(0, -0.5, WHITE)
    c.rect(-0.7, -0.22, 0.7, 0.58, p.main, 0.16)
    c.rect(0.3, -0.22, 0.7, 0.58, mix(p.main, p.ink, 0.2), 0.16)
    for x in (-0.8, 0.8):
        c.ring(x, 0.05, 0.14, 0.06, mix(p.main, p.ink, 0.4))
    c.rect(-0.76, -0.34, 0.76, -0.18, mix(p.main, WHITE, 0.18), 0.08)
    c.circle(0, -0.4, 0.09, p.ink)
    for x in (-0.36, -0.12, 0.12, 0.36):
        c.poly([(x - 0.07, 0.72), (x, 0.56), (x + 0.07, 0.72)], p.spark)


def growth(c: Canvas) -> None:
    """Draw steps that climb to the right, and a line above them."""
    p = c.p
    c.circle(0.55, -0.55, 0.32, mix(p.spark, WHITE, 0.35))
    c.ground(0.72, p.ground)
    tops = [0.45, 0.34, 0.38, 0.14, 0.0, -0.24, -0.46]
    for i, top in enumerate(tops):
        x = -0.98 + i * 0.28
        c.rect(x, top, x + 0.21, 0.72, mix(p.main, p.sky, 0.55 - i * 0.09), 0.04)
    c.line([(-0.88 + i * 0.28, top - 0.14) for i, top in enumerate(tops)], 0.035, p.ink)
    for i, top in enumerate(tops):
        c.circle(-0.88 + i * 0.28, top - 0.14, 0.05, p.spark)


def jar(c: Canvas) -> None:
    """Draw a jar of coins beside a small tree."""
    p = c.p
    c.ground(0.66, p.ground)
    c.rect(-0.85, -0.3, -0.05, 0.68, mix(p.glow, WHITE, 0.5), 0.14)
    for row in range(5):
        for k in range(4):
            c.oval(
                -0.7 + k * 0.17 + (row % 2) * 0.05, 0.56 - row * 0.13, 0.11, 0.06, mix(p.spark, p.ink, 0.12)
            )
            c.oval(-0.7 + k * 0.17 + (row % 2) * 0.05, 0.54 - row * 0.13, 0.11, 0.06, p.spark)
    c.rect(-0.8, -0.42, -0.1, -0.28, p.ink, 0.05)
    c.line([(0.5, 0.66), (0.5, 0.0)], 0.06, p.ink)
    for x, y, r in ((0.5, -0.3, 0.36), (0.28, -0.08, 0.24), (0.74, -0.1, 0.25)):
        c.circle(x, y, r, p.main)
    c.circle(0.42, -0.38, 0.16, mix(p.main, WHITE, 0.2))


def fuji(c: Canvas) -> None:
    """Draw a mountain with a snow cap behind a red gate."""
    p = c.p
    c.circle(0.1, -0.42, 0.46, mix(p.spark, WHITE, 0.25))
    c.poly([(-1.9, 0.7), (-0.25, -0.62), (0.2, -0.62), (1.9, 0.7)], mix(p.ground, p.ink, 0.25))
    c.poly(
        [
            (-0.62, -0.32),
            (-0.25, -0.62),
            (0.2, -0.62),
            (0.58, -0.32),
            (0.3, -0.4),
            (0.1, -0.22),
            (-0.1, -0.38),
            (-0.3, -0.2),
        ],
        PAPER,
    )
    c.hills(0.52, 0.08, mix(p.ground, p.ink, 0.45), 1.2)
    c.ground(0.72, mix(p.ground, p.ink, 0.6))
    red = (200, 62, 46)
    for x in (0.42, 1.02):
        c.rect(x - 0.045, 0.06, x + 0.045, 0.8, red)
    c.rect(0.22, -0.02, 1.22, 0.07, red, 0.03)
    c.rect(0.34, 0.2, 1.1, 0.26, red)
    for x, s in ((-0.95, 1.0), (-0.7, 0.7), (-1.25, 0.8)):
        c.poly([(x - 0.14 * s, 0.76), (x, 0.76 - 0.6 * s), (x + 0.14 * s, 0.76)], p.ink)


def viaduct(c: Canvas) -> None:
    """Draw a train crossing a viaduct at dusk."""
    p = c.p
    c.circle(-0.55, -0.35, 0.3, p.spark)
    c.hills(0.2, 0.22, mix(p.ground, p.glow, 0.45), 0.2, 1.8)
    c.hills(0.5, 0.16, mix(p.ground, p.glow, 0.2), 1.9)
    left, right = -c.cx / c.r - 0.1, (c.w - c.cx) / c.r + 0.1
    c.rect(left, 0.14, right, 0.26, mix(p.main, p.ink, 0.35))
    x = math.floor(left / 0.44) * 0.44
    while x < right:
        c.rect(x, 0.2, x + 0.1, 1.6, mix(p.main, p.ink, 0.35))
        c.arc(x + 0.27, 0.42, 0.21, 180, 360, 0.06, mix(p.main, p.ink, 0.35))
        x += 0.44
    for i in range(3):
        x0 = -0.95 + i * 0.62
        c.rect(x0, -0.16, x0 + 0.58, 0.12, PAPER if i < 2 else p.main, 0.06)
        c.rect(x0, 0.02, x0 + 0.58, 0.08, (186, 62, 52))
        for k in range(4):
            c.rect(x0 + 0.06 + k * 0.13, -0.1, x0 + 0.14 + k * 0.13, -0.01, p.spark, 0.02)
    c.ground(1.3, p.ink)


def garden(c: Canvas) -> None:
    """Draw tulips in three colours."""
    p = c.p
    c.circle(-0.7, -0.68, 0.24, mix(p.spark, WHITE, 0.35))
    c.hills(0.45, 0.1, mix(p.ground, p.sky, 0.4), 0.8)
    c.ground(0.66, mix(p.ground, p.ink, 0.5))
    tints = [(196, 62, 72), (240, 186, 84), (236, 132, 116), (150, 84, 140)]
    for i, x in enumerate((-0.8, -0.42, -0.05, 0.34, 0.74)):
        top = -0.1 - 0.22 * ((i * 2) % 3) / 2
        stem, bloom = p.main, tints[i % 4]
        c.line([(x, 0.68), (x, top + 0.15)], 0.04, stem)
        c.poly([(x, 0.66), (x - 0.2, 0.24), (x - 0.12, 0.5)], stem)
        c.poly([(x, 0.66), (x + 0.2, 0.2), (x + 0.12, 0.5)], mix(stem, WHITE, 0.15))
        c.pen.pieslice((*c.at(x - 0.16, top - 0.24), *c.at(x + 0.16, top + 0.24)), 0, 180, fill=bloom)
        c.poly([(x - 0.16, top + 0.02), (x - 0.14, top - 0.28), (x - 0.03, top + 0.02)], bloom)
        c.poly([(x + 0.16, top + 0.02), (x + 0.14, top - 0.28), (x + 0.03, top + 0.02)], bloom)
        c.poly([(x - 0.1, top + 0.04), (x, top - 0.3), (x + 0.1, top + 0.04)], mix(bloom, WHITE, 0.25))


def pitch(c: Canvas) -> None:
    """Draw a football pitch from above with a ball."""
    p = c.p
    green = (86, 140, 84)
    c.backdrop(green, mix(green, p.ink, 0.12))
    stripe = math.ceil(c.w / c.r / 0.36)
    for i in range(0, stripe + 2, 2):
        x = -c.cx / c.r + i * 0.36
        c.rect(x, -3, x + 0.36, 3, mix(green, WHITE, 0.08))
    c.line([(0, -3), (0, 3)], 0.035, PAPER)
    c.ring(0, 0, 0.62, 0.035, PAPER)
    c.circle(0, 0, 0.05, PAPER)
    c.oval(0.36, 0.44, 0.26, 0.1, mix(green, p.ink, 0.35))
    ball(c, 0.32, 0.22, 0.27)


def ball(c: Canvas, x: float, y: float, r: float) -> None:
    """Draw a football."""
    c.circle(x, y, r, PAPER)
    c.poly(_ngon(x, y, r * 0.36, 5, -90), c.p.ink)
    for k in range(5):
        a = math.radians(-90 + k * 72)
        c.line(
            [
                (x + r * 0.36 * math.cos(a), y + r * 0.36 * math.sin(a)),
                (x + r * 0.72 * math.cos(a), y + r * 0.72 * math.sin(a)),
            ],
            r * 0.06,
            c.p.ink,
        )
        c.poly(
            _ngon(x + r * 0.82 * math.cos(a), y + r * 0.82 * math.sin(a), r * 0.17, 5, 90 + k * 72), c.p.ink
        )


def corner(c: Canvas) -> None:
    """Draw a ball in the corner of a pitch, with the flag."""
    p = c.p
    c.ground(0.3, (86, 140, 84))
    c.ground(0.62, (74, 124, 74))
    c.poly([(-3, 0.34), (0.2, 0.5), (-1.6, 3), (-3, 3)], (98, 152, 94))
    c.line([(0.55, 0.5), (0.55, -0.7)], 0.045, PAPER)
    c.poly([(0.55, -0.72), (1.05, -0.52), (0.55, -0.32)], p.main)
    c.oval(-0.25, 0.66, 0.36, 0.08, (50, 90, 56))
    ball(c, -0.28, 0.34, 0.34)


def gamepad(c: Canvas) -> None:
    """Draw a game controller among floating shapes."""
    p = c.p
    c.scatter(
        26,
        7,
        lambda x, y, t: c.poly(_ngon(x, y, 0.04 + 0.05 * t, 3 + int(t * 3), t * 90), mix(p.glow, p.spark, t)),
    )
    body = p.main
    c.rect(-0.78, -0.3, 0.78, 0.28, body, 0.28)
    for s in (-1, 1):
        c.poly([(s * 0.77, -0.05), (s * 0.9, 0.5), (s * 0.72, 0.62), (s * 0.5, 0.5), (s * 0.26, 0.2)], body)
        c.circle(s * 0.76, 0.5, 0.14, body)
        c.circle(s * 0.27, 0.14, 0.15, mix(body, p.ink, 0.55))
        c.circle(s * 0.27, 0.11, 0.11, mix(body, p.ink, 0.8))
    c.rect(-0.6, -0.13, -0.36, -0.05, p.ink, 0.02)
    c.rect(-0.52, -0.21, -0.44, 0.03, p.ink, 0.02)
    for dx, dy, tint in (
        (0, -0.12, p.spark),
        (0.12, 0, (214, 92, 84)),
        (0, 0.12, (96, 164, 140)),
        (-0.12, 0, (108, 132, 200)),
    ):
        c.circle(0.48 + dx, -0.09 + dy, 0.055, tint)


def moonbed(c: Canvas) -> None:
    """Draw a moon over a small bed."""
    p = c.p
    c.scatter(40, 3, lambda x, y, t: c.circle(x, y, 0.008 + 0.014 * t, mix(p.glow, WHITE, 0.5)))
    c.circle(0.5, -0.5, 0.34, p.spark)
    c.circle(0.64, -0.58, 0.29, mix(p.sky, p.glow, 0.18))
    c.ground(0.66, p.ink)
    c.rect(-1.0, 0.0, -0.9, 0.8, mix(p.main, p.ink, 0.35), 0.03)
    c.rect(0.9, 0.2, 1.0, 0.8, mix(p.main, p.ink, 0.35), 0.03)
    c.rect(-0.95, 0.42, 0.95, 0.68, mix(p.main, p.ink, 0.15), 0.04)
    c.rect(-0.84, 0.2, -0.36, 0.44, PAPER, 0.1)
    c.circle(-0.48, 0.2, 0.15, (236, 190, 156))
    c.arc(-0.48, 0.18, 0.14, 180, 360, 0.07, (92, 58, 44))
    c.rect(-0.42, 0.22, 0.92, 0.56, mix(p.glow, p.main, 0.25), 0.12)
    for k in range(5):
        c.circle(-0.2 + k * 0.24, 0.38, 0.04, p.spark)


def blocks(c: Canvas) -> None:
    """Draw coloured wooden blocks in a tower."""
    p = c.p
    c.ground(0.72, p.ground)
    tints = [p.main, p.spark, (96, 150, 140), (110, 120, 180), (226, 140, 110)]
    spots = [
        (-0.72, 0.32, 0),
        (-0.3, 0.32, 1),
        (0.12, 0.32, 2),
        (-0.52, -0.08, 3),
        (-0.08, -0.08, 4),
        (-0.3, -0.48, 0),
        (0.66, 0.32, 3),
    ]
    for x, y, k in spots:
        c.rect(x, y, x + 0.38, y + 0.38, tints[k], 0.04)
        c.rect(x + 0.06, y + 0.06, x + 0.32, y + 0.32, mix(tints[k], WHITE, 0.22), 0.03)
    c.poly([(-0.34, -0.5), (-0.11, -0.84), (0.12, -0.5)], tints[2])
    c.circle(0.85, 0.16, 0.16, p.main)


def house(c: Canvas) -> None:
    """Draw a small house with warm windows."""
    _house(c, snow=False)


def snowhouse(c: Canvas) -> None:
    """Draw a roof under snow."""
    _house(c, snow=True)
    c.scatter(70, 5, lambda x, y, t: c.circle(x, y, 0.012 + 0.018 * t, WHITE))


def _house(c: Canvas, snow: bool) -> None:
    p = c.p
    c.hills(0.4, 0.14, mix(p.ground, p.sky, 0.45), 1.0)
    c.ground(0.68, mix(p.ground, WHITE, 0.75) if snow else p.ground)
    for x, s in ((-1.05, 1.0), (1.1, 0.8), (1.4, 1.1)):
        c.poly([(x - 0.2 * s, 0.7), (x, 0.7 - 0.8 * s), (x + 0.2 * s, 0.7)], mix(p.main, p.ink, 0.3))
    c.rect(0.28, -0.72, 0.46, -0.2, mix(p.ink, p.ground, 0.3))
    c.rect(-0.62, -0.12, 0.62, 0.72, PAPER)
    c.rect(0.0, -0.12, 0.62, 0.72, mix(PAPER, p.ink, 0.06))
    c.poly([(-0.8, -0.08), (0, -0.72), (0.8, -0.08)], p.main)
    if snow:
        c.poly([(-0.8, -0.08), (0, -0.72), (0.8, -0.08), (0.5, -0.22), (0, -0.56), (-0.5, -0.22)], WHITE)
    for x in (-0.42, 0.2):
        c.rect(x, 0.06, x + 0.24, 0.34, p.spark, 0.02)
        c.line([(x + 0.12, 0.06), (x + 0.12, 0.34)], 0.02, p.ink)
        c.line([(x, 0.2), (x + 0.24, 0.2)], 0.02, p.ink)
    c.rect(-0.1, 0.36, 0.12, 0.72, mix(p.main, p.ink, 0.4), 0.04)
    c.circle(0.07, 0.55, 0.02, p.spark)


def stars(c: Canvas) -> None:
    """Draw a night sky with a ringed planet and a hill."""
    p = c.p
    c.scatter(130, 11, lambda x, y, t: c.circle(x, y, 0.006 + 0.016 * t * t, mix(p.main, WHITE, t)))
    c.oval(0.28, -0.22, 0.74, 0.16, mix(p.spark, p.sky, 0.35))
    c.oval(0.28, -0.22, 0.6, 0.1, mix(p.sky, p.glow, 0.4))
    c.circle(0.28, -0.22, 0.4, p.spark)
    c.circle(0.22, -0.28, 0.3, mix(p.spark, WHITE, 0.25))
    c.pen.arc(
        (*c.at(-0.42, -0.36), *c.at(0.98, -0.08)),
        8,
        172,
        fill=mix(p.spark, p.sky, 0.35),
        width=round(0.055 * c.r),
    )
    orion = [
        (-0.98, -0.72),
        (-0.62, -0.62),
        (-0.72, -0.28),
        (-0.66, 0.12),
        (-1.02, 0.08),
        (-0.86, -0.26),
        (-0.98, -0.72),
    ]
    c.line(orion, 0.01, mix(p.glow, WHITE, 0.3))
    for x, y in [*orion, (-0.79, -0.27)]:
        c.circle(x, y, 0.028, WHITE)
    c.hills(0.72, 0.12, p.ground, 0.3)
    c.line([(-0.5, 0.72), (-0.5, 0.5)], 0.07, p.ink)
    c.circle(-0.5, 0.44, 0.055, p.ink)


def network(c: Canvas) -> None:
    """Draw points in layers, joined by fine lines."""
    p = c.p
    c.circle(0, 0, 1.05, mix(p.sky, p.glow, 0.5))
    layers = [(-0.85, 3), (-0.3, 5), (0.3, 5), (0.85, 2)]
    spots = [[(x, (i - (n - 1) / 2) * 0.36) for i in range(n)] for x, n in layers]
    for a, b in zip(spots, spots[1:], strict=False):
        for i, s in enumerate(a):
            for j, t in enumerate(b):
                c.line(
                    [s, t],
                    0.026 if (i + j) % 3 == 0 else 0.01,
                    mix(p.main, p.glow, 0.35 if (i + j) % 3 == 0 else 0.6),
                )
    for k, layer in enumerate(spots):
        for i, (x, y) in enumerate(layer):
            c.circle(x, y, 0.12, p.ink)
            c.circle(x, y, 0.085, p.spark if (k + i) % 3 == 0 else p.main)


def code(c: Canvas) -> None:
    """Draw a window with lines of code."""
    p = c.p
    c.circle(0.1, 0, 1.1, mix(p.sky, p.glow, 0.6))
    c.rect(-0.92, -0.66, 0.92, 0.66, p.ink, 0.08)
    for i, tint in enumerate(((224, 108, 96), p.spark, (120, 180, 130))):
        c.circle(-0.8 + i * 0.12, -0.54, 0.035, tint)
    rows = [
        (0, 0.5, p.spark),
        (0.14, 0.62, p.sky),
        (0.14, 0.4, p.glow),
        (0.28, 0.72, p.main),
        (0.28, 0.3, p.spark),
        (0, 0.36, p.sky),
    ]
    for i, (indent, length, tint) in enumerate(rows):
        y = -0.34 + i * 0.16
        c.line([(-0.74 + indent, y), (-0.74 + indent + length, y)], 0.055, mix(tint, WHITE, 0.1))
        if i in (1, 3):
            c.line([(-0.6 + indent + length, y), (-0.3 + indent + length, y)], 0.055, p.glow)


def car(c: Canvas) -> None:
    """Draw a small electric car by a charging post."""
    p = c.p
    c.circle(-0.6, -0.5, 0.26, mix(p.spark, WHITE, 0.4))
    c.hills(0.3, 0.1, mix(p.ground, p.sky, 0.5), 0.6)
    c.ground(0.58, p.ground)
    c.ground(0.66, mix(p.ground, p.ink, 0.45))
    c.poly([(-0.62, 0.1), (-0.42, -0.26), (-0.3, -0.32), (0.24, -0.32), (0.38, -0.26), (0.62, 0.1)], p.main)
    c.rect(-0.92, 0.04, 0.82, 0.48, p.main, 0.14)
    c.rect(-0.92, 0.3, 0.82, 0.48, mix(p.main, p.ink, 0.2), 0.09)
    c.poly([(-0.5, 0.08), (-0.36, -0.2), (-0.06, -0.22), (-0.06, 0.08)], mix(p.glow, p.sky, 0.4))
    c.poly([(0.02, 0.08), (0.02, -0.22), (0.26, -0.2), (0.46, 0.08)], mix(p.glow, p.sky, 0.4))
    for x in (-0.52, 0.46):
        c.circle(x, 0.48, 0.2, p.ink)
        c.circle(x, 0.48, 0.1, mix(p.glow, p.ink, 0.2))
    c.oval(-0.86, 0.2, 0.06, 0.05, p.spark)
    c.rect(1.08, -0.36, 1.28, 0.62, PAPER, 0.05)
    c.rect(1.12, -0.28, 1.24, -0.12, (96, 164, 120), 0.02)
    c.line([(1.08, 0.0), (0.98, 0.34), (0.9, 0.3), (0.8, 0.16)], 0.03, p.ink)


def plug(c: Canvas) -> None:
    """Draw a charging plug and a moon."""
    p = c.p
    c.scatter(40, 9, lambda x, y, t: c.circle(x, y, 0.006 + 0.012 * t, WHITE))
    c.circle(-0.55, -0.48, 0.3, p.spark)
    c.circle(-0.44, -0.56, 0.26, mix(p.sky, p.glow, 0.2))
    c.line([(-1.6, 0.62), (-0.7, 0.72), (-0.1, 0.5), (0.14, 0.18)], 0.11, p.ink)
    c.poly([(0.02, 0.24), (0.3, 0.36), (0.66, -0.06), (0.34, -0.34), (0.1, -0.06)], p.main)
    c.line([(0.42, -0.24), (0.58, -0.46)], 0.07, p.glow)
    c.line([(0.58, -0.1), (0.76, -0.32)], 0.07, p.glow)
    c.poly([(0.26, 0.14), (0.42, -0.08), (0.36, 0.06), (0.48, 0.04), (0.3, 0.26), (0.36, 0.12)], p.spark)


def coat(c: Canvas) -> None:
    """Draw a coat on a broad hanger."""
    p = c.p
    c.circle(0, 0.05, 1.0, mix(p.sky, p.glow, 0.7))
    c.arc(0, -0.82, 0.1, 150, 400, 0.035, p.ink)
    c.line([(0, -0.72), (0, -0.64)], 0.035, p.ink)
    c.line([(-0.5, -0.48), (0, -0.66), (0.5, -0.48)], 0.06, p.spark)
    for s in (-1, 1):
        c.poly(
            [(s * 0.46, -0.5), (s * 0.64, -0.36), (s * 0.76, 0.46), (s * 0.56, 0.5), (s * 0.42, 0.0)],
            mix(p.main, p.ink, 0.22),
        )
    c.poly([(-0.48, -0.5), (-0.14, -0.62), (0.14, -0.62), (0.48, -0.5), (0.5, 0.86), (-0.5, 0.86)], p.main)
    c.poly([(-0.14, -0.62), (0, -0.1), (0.14, -0.62)], p.glow)
    c.poly([(-0.15, -0.63), (-0.32, -0.3), (-0.18, -0.24), (0, -0.08)], mix(p.main, p.ink, 0.3))
    c.poly([(0.15, -0.63), (0.32, -0.3), (0.18, -0.24), (0, -0.08)], mix(p.main, p.ink, 0.3))
    c.line([(0, -0.08), (0, 0.86)], 0.02, mix(p.main, p.ink, 0.5))
    for y in (0.1, 0.34, 0.58):
        c.circle(0.1, y, 0.04, p.spark)
    c.rect(-0.38, 0.36, -0.14, 0.42, mix(p.main, p.ink, 0.35), 0.02)
    c.rect(0.62, 0.02, 0.7, 0.14, p.spark, 0.02)


def shirt(c: Canvas) -> None:
    """Draw a pale shirt under a high sun."""
    p = c.p
    c.circle(0.7, -0.66, 0.34, p.spark)
    left, right = -c.cx / c.r, (c.w - c.cx) / c.r
    c.line([(left - 0.1, -0.5), (0, -0.42), (right + 0.1, -0.52)], 0.02, p.ink)
    c.ground(0.8, p.ground)
    c.poly(
        [
            (-0.42, -0.42),
            (-0.86, -0.02),
            (-0.66, 0.2),
            (-0.42, 0.0),
            (-0.42, 0.7),
            (0.42, 0.7),
            (0.42, 0.0),
            (0.66, 0.2),
            (0.86, -0.02),
            (0.42, -0.42),
        ],
        PAPER,
    )
    c.poly([(-0.16, -0.42), (0, -0.2), (0.16, -0.42)], mix(p.sky, p.ink, 0.1))
    c.line([(0, -0.2), (0, 0.7)], 0.015, mix(PAPER, p.ink, 0.25))
    for x in (-0.24, 0.22):
        c.line([(x, 0.1), (x + 0.04, 0.7)], 0.012, mix(PAPER, p.ink, 0.15))
    for x in (-0.3, 0.3):
        c.rect(x - 0.03, -0.52, x + 0.03, -0.34, p.main, 0.02)


def needle(c: Canvas) -> None:
    """Draw a needle with a looped thread over darned cloth."""
    p = c.p
    c.rect(-0.9, 0.0, 0.9, 3, p.main)
    for i in range(8):
        for j in range(4):
            x, y = -0.44 + i * 0.12, 0.16 + j * 0.14
            c.line([(x, y), (x + 0.07, y + 0.07 * (1 if (i + j) % 2 else -1))], 0.03, p.spark)
    thread = [(-0.6 + t * 0.042, -0.42 + 0.24 * math.sin(t / 4.4) - t * 0.004) for t in range(32)]
    c.line(thread, 0.028, p.spark)
    c.line([(0.62, -0.62), (0.98, 0.12)], 0.045, mix(WHITE, p.ink, 0.25))
    c.oval(0.65, -0.56, 0.03, 0.05, p.ink)
    c.line([thread[-1], (0.65, -0.56)], 0.028, p.spark)


def vinyl(c: Canvas) -> None:
    """Draw a record on a turntable."""
    p = c.p
    c.ground(0.86, p.ink)
    c.rect(-1.08, -0.78, 1.08, 0.86, p.main, 0.08)
    c.rect(-1.08, 0.7, 1.08, 0.86, mix(p.main, p.ink, 0.35), 0.05)
    c.circle(-0.2, -0.02, 0.7, p.ink)
    for r in (0.62, 0.54, 0.46, 0.38):
        c.ring(-0.2, -0.02, r, 0.008, mix(p.ink, WHITE, 0.25))
    c.circle(-0.2, -0.02, 0.25, p.spark)
    c.circle(-0.2, -0.02, 0.03, p.ink)
    c.circle(0.82, -0.5, 0.13, mix(p.ink, p.main, 0.35))
    c.line([(0.82, -0.5), (0.76, 0.16), (0.4, 0.36)], 0.05, mix(WHITE, p.ink, 0.12))
    c.rect(0.28, 0.3, 0.44, 0.42, p.ink, 0.02)


def waves(c: Canvas) -> None:
    """Draw sound waves in warm colours."""
    p = c.p
    chance = random.Random(4)  # noqa: S311 - decoration, the same on every run
    half = max(c.cx, c.w - c.cx) / c.r
    count = int(half / 0.085)
    for i in range(-count, count + 1):
        envelope = 0.12 + 0.62 * math.exp(-((i / 9) ** 2)) + 0.1 * math.exp(-(((abs(i) - 13) / 4) ** 2))
        tall = envelope * (0.45 + 0.55 * chance.random())
        tint = mix(p.spark, p.main, min(1.0, abs(i) / 11))
        c.rect(i * 0.085 - 0.027, -tall, i * 0.085 + 0.027, tall, tint, 0.027)


def books(c: Canvas) -> None:
    """Draw a row of books on a shelf."""
    p = c.p
    c.circle(0.55, -0.42, 0.5, mix(p.sky, p.glow, 0.7))
    c.ground(0.62, mix(p.ground, p.ink, 0.4))
    c.ground(0.7, mix(p.ground, p.ink, 0.6))
    tints = [
        p.main,
        mix(p.ink, p.main, 0.25),
        p.spark,
        (96, 140, 132),
        (176, 96, 84),
        mix(p.main, WHITE, 0.35),
        p.ink,
    ]
    x = -1.05
    for i, (wide, tall) in enumerate(
        ((0.2, 1.1), (0.26, 0.94), (0.15, 1.18), (0.24, 1.02), (0.18, 0.86), (0.22, 1.12))
    ):
        c.rect(x, 0.62 - tall, x + wide, 0.62, tints[i], 0.02)
        c.rect(x + 0.03, 0.62 - tall + 0.12, x + wide - 0.03, 0.62 - tall + 0.17, mix(tints[i], WHITE, 0.55))
        c.rect(x + 0.03, 0.46, x + wide - 0.03, 0.5, mix(tints[i], WHITE, 0.55))
        x += wide + 0.02
    c.poly([(0.36, 0.62), (0.62, -0.28), (0.82, -0.22), (0.58, 0.62)], tints[6])
    c.rect(0.78, 0.5, 1.3, 0.62, tints[4], 0.02)
    c.rect(0.84, 0.38, 1.26, 0.5, tints[3], 0.02)
    c.rect(0.95, 0.16, 1.16, 0.38, PAPER, 0.04)
    c.arc(1.18, 0.26, 0.08, -80, 80, 0.03, PAPER)


def dumbbell(c: Canvas) -> None:
    """Draw a dumbbell on the floor of a bright room."""
    p = c.p
    c.circle(0, -0.1, 1.0, mix(p.sky, p.glow, 0.7))
    c.ground(0.5, p.ground)
    c.oval(0, 0.54, 1.0, 0.09, mix(p.ground, p.ink, 0.3))
    c.rect(-0.5, 0.02, 0.5, 0.16, mix(WHITE, p.ink, 0.3), 0.06)
    for s in (-1, 1):
        for k, (x, tall, tint) in enumerate(
            ((0.44, 0.44, p.main), (0.62, 0.36, mix(p.main, p.ink, 0.25)), (0.78, 0.26, p.spark))
        ):
            wide = 0.16 if k < 2 else 0.12
            a, b = sorted((s * x, s * (x + wide)))
            c.rect(a, 0.09 - tall, b, 0.09 + tall, tint, 0.05)
        a, b = sorted((s * 0.9, s * 1.02))
        c.rect(a, 0.03, b, 0.15, p.ink, 0.03)


def paw(c: Canvas) -> None:
    """Draw a dog who rests his chin by a bowl."""
    p = c.p
    coat_, dark = mix(p.main, p.glow, 0.25), mix(p.main, p.ink, 0.4)
    c.circle(0, -0.1, 1.02, mix(p.sky, p.glow, 0.75))
    c.ground(0.6, p.ground)
    c.oval(-0.1, 0.66, 0.74, 0.5, coat_)
    c.circle(-0.1, -0.08, 0.46, coat_)
    c.poly([(-0.5, -0.3), (-0.66, 0.2), (-0.5, 0.3), (-0.34, -0.1)], dark)
    c.poly([(0.3, -0.3), (0.48, 0.2), (0.32, 0.3), (0.14, -0.1)], dark)
    c.oval(-0.1, 0.14, 0.28, 0.22, mix(coat_, WHITE, 0.55))
    c.oval(-0.1, 0.04, 0.1, 0.07, p.ink)
    c.line([(-0.1, 0.08), (-0.1, 0.2)], 0.02, p.ink)
    c.arc(-0.2, 0.18, 0.1, 0, 120, 0.02, p.ink)
    c.arc(0.0, 0.18, 0.1, 60, 180, 0.02, p.ink)
    for x in (-0.28, 0.08):
        c.circle(x, -0.14, 0.05, p.ink)
        c.circle(x + 0.015, -0.155, 0.015, WHITE)
    c.poly([(0.5, 0.86), (0.58, 0.6), (1.06, 0.6), (1.14, 0.86)], p.spark)
    c.oval(0.82, 0.6, 0.24, 0.06, dark)


def dogbed(c: Canvas) -> None:
    """Draw a dog asleep by a fire."""
    p = c.p
    c.ground(0.6, mix(p.ground, p.ink, 0.35))
    c.rect(0.42, -0.6, 1.22, 0.62, mix(p.ink, p.main, 0.25), 0.04)
    c.rect(0.54, -0.34, 1.1, 0.6, p.ink, 0.2)
    for x, s in ((0.7, 0.4), (0.84, 0.62), (0.98, 0.42)):
        c.poly([(x - 0.12, 0.6), (x, 0.6 - s), (x + 0.12, 0.6)], p.spark)
        c.poly([(x - 0.06, 0.6), (x, 0.6 - s * 0.55), (x + 0.06, 0.6)], (238, 122, 70))
    c.oval(-0.4, 0.68, 0.78, 0.17, p.main)
    c.oval(-0.42, 0.42, 0.56, 0.26, (150, 104, 72))
    c.circle(-0.84, 0.42, 0.21, (150, 104, 72))
    c.poly([(-0.86, 0.3), (-1.0, 0.46), (-0.86, 0.56), (-0.76, 0.4)], (104, 68, 48))
    c.oval(-1.0, 0.5, 0.09, 0.06, (104, 68, 48))
    c.oval(-0.4, 0.62, 0.78, 0.1, mix(p.main, WHITE, 0.18))
    c.line([(0.06, 0.4), (0.2, 0.52), (0.04, 0.56)], 0.07, (150, 104, 72))


def ladder(c: Canvas) -> None:
    """Draw a ladder against a bright wall with a window."""
    p = c.p
    c.rect(-0.2, -3, 3, 3, mix(p.glow, p.main, 0.14))
    c.rect(0.42, -0.74, 1.0, -0.16, p.spark, 0.04)
    c.line([(0.71, -0.74), (0.71, -0.16)], 0.03, p.ink)
    c.line([(0.42, -0.45), (1.0, -0.45)], 0.03, p.ink)
    c.ground(0.74, p.ground)
    for dx in (0.0, 0.36):
        c.line([(-0.72 + dx, 0.8), (-0.02 + dx, -0.8)], 0.06, p.main)
    for i in range(7):
        t = (i + 0.6) / 7.4
        x, y = -0.72 + 0.7 * t, 0.8 - 1.6 * t
        c.line([(x, y), (x + 0.36, y)], 0.05, mix(p.main, p.ink, 0.3))
    c.poly([(0.5, 0.8), (0.54, 0.42), (0.9, 0.42), (0.94, 0.8)], mix(p.main, WHITE, 0.25))
    c.arc(0.72, 0.42, 0.18, 180, 360, 0.025, p.ink)
    c.line([(0.62, 0.44), (0.56, 0.12)], 0.04, p.ink)


def umbrella(c: Canvas) -> None:
    """Draw an umbrella in the rain."""
    p = c.p
    _rain(c, 90)
    c.ground(0.84, mix(p.ground, p.ink, 0.15))
    c.line([(0, -0.5), (0, 0.6)], 0.05, p.ink)
    c.arc(0.12, 0.6, 0.12, 0, 180, 0.05, p.ink)
    c.pen.pieslice((*c.at(-0.88, -0.7), *c.at(0.88, 0.9)), 180, 360, fill=p.main)
    c.pen.pieslice((*c.at(-0.3, -0.7), *c.at(0.3, 0.9)), 180, 360, fill=mix(p.main, WHITE, 0.25))
    sky = mix(p.sky, p.glow, 0.6)
    for x in (-0.59, 0.0, 0.59):
        c.oval(x, 0.12, 0.295, 0.1, sky if x else mix(p.main, p.ink, 0.4))
    c.line([(0, -0.8), (0, -0.66)], 0.04, p.ink)
    c.line([(0, 0.02), (0, 0.6)], 0.05, p.ink)


def rainhills(c: Canvas) -> None:
    """Draw rain over green hills, and somebody with a red hat."""
    p = c.p
    for x, y, s in ((-0.6, -0.66, 1.0), (0.5, -0.78, 1.3)):
        for dx, dy, r in ((-0.26, 0.05, 0.18), (0, -0.04, 0.24), (0.28, 0.04, 0.19)):
            c.circle(x + dx * s, y + dy * s, r * s, mix(p.glow, WHITE, 0.4))
    c.hills(0.12, 0.2, mix(p.ground, p.sky, 0.5), 0.1)
    c.hills(0.42, 0.16, mix(p.ground, p.sky, 0.2), 1.7)
    c.hills(0.78, 0.1, mix(p.ground, p.ink, 0.2), 3.1)
    _rain(c, 80)
    c.poly([(0.1, 0.74), (0.16, 0.34), (0.3, 0.34), (0.38, 0.74)], p.main)
    c.circle(0.23, 0.27, 0.075, (236, 190, 156))
    c.oval(0.23, 0.22, 0.12, 0.035, (190, 62, 52))
    c.circle(0.23, 0.18, 0.06, (190, 62, 52))
    c.line([(0.42, 0.46), (0.48, 0.78)], 0.025, p.ink)


def _rain(c: Canvas, count: int) -> None:
    tint = mix(c.p.glow, WHITE, 0.55)
    c.scatter(count, 2, lambda x, y, t: c.line([(x, y), (x - 0.04, y + 0.1 + 0.08 * t)], 0.012, tint))


def train(c: Canvas) -> None:
    """Draw a model locomotive on a shelf."""
    p = c.p
    c.circle(0.1, -0.2, 1.0, mix(p.sky, p.glow, 0.75))
    c.ground(0.56, mix(p.ground, p.ink, 0.2))
    c.ground(0.64, mix(p.ground, p.ink, 0.5))
    left, right = -c.cx / c.r, (c.w - c.cx) / c.r
    c.line([(left, 0.54), (right, 0.54)], 0.03, mix(WHITE, p.ink, 0.4))
    c.rect(-0.3, -0.12, 0.66, 0.28, p.main, 0.16)
    for x in (-0.06, 0.2, 0.46):
        c.rect(x, -0.12, x + 0.03, 0.28, p.spark)
    c.rect(-0.86, -0.4, -0.26, 0.32, mix(p.main, p.ink, 0.3), 0.03)
    c.rect(-0.94, -0.5, -0.18, -0.38, p.ink, 0.04)
    c.rect(-0.72, -0.28, -0.4, -0.04, p.spark, 0.03)
    c.rect(0.38, -0.42, 0.54, -0.1, p.ink)
    c.poly([(0.32, -0.44), (0.6, -0.44), (0.54, -0.34), (0.38, -0.34)], p.ink)
    c.circle(0.06, -0.14, 0.1, p.spark)
    c.rect(-0.9, 0.24, 0.74, 0.36, p.ink, 0.03)
    c.poly([(0.74, 0.28), (0.94, 0.5), (0.66, 0.5)], mix(p.main, p.ink, 0.4))
    for x, r in ((-0.64, 0.18), (-0.2, 0.18), (0.24, 0.14), (0.56, 0.14)):
        c.circle(x, 0.52 - r, r, p.ink)
        c.ring(x, 0.52 - r, r * 0.72, 0.03, p.spark)
    for x, y, r in ((0.5, -0.6, 0.1), (0.3, -0.74, 0.15), (0.0, -0.84, 0.2)):
        c.circle(x, y, r, mix(p.glow, WHITE, 0.7))


def jaguar(c: Canvas) -> None:
    """Draw a spotted cat's face beside a river."""
    p = c.p
    gold, cream = (226, 168, 84), (250, 234, 206)
    c.circle(0, -0.05, 1.1, mix(p.sky, p.glow, 0.7))
    for k in range(-9, 10):
        x = k * 0.36
        c.poly(
            [(x - 0.1, 1.4), (x + 0.12 * math.sin(k * 2.2), 0.2 - 0.2 * math.cos(k * 1.7)), (x + 0.1, 1.4)],
            mix(p.main, p.ground, (k % 3) / 3),
        )
    for s in (-1, 1):
        c.circle(s * 0.48, -0.5, 0.2, mix(gold, p.ink, 0.25))
        c.circle(s * 0.48, -0.48, 0.12, p.ink)
    c.oval(0, -0.02, 0.66, 0.64, gold)
    c.oval(0, 0.36, 0.4, 0.3, cream)
    spots = [
        (-0.3, -0.42),
        (0.3, -0.42),
        (0, -0.5),
        (-0.14, -0.34),
        (0.14, -0.34),
        (-0.5, -0.1),
        (0.5, -0.1),
        (-0.54, 0.14),
        (0.54, 0.14),
        (-0.44, 0.34),
        (0.44, 0.34),
        (-0.34, -0.24),
        (0.34, -0.24),
    ]
    for x, y in spots:
        c.ring(x, y, 0.055, 0.028, mix(p.ink, gold, 0.1))
    for s in (-1, 1):
        c.oval(s * 0.24, -0.06, 0.12, 0.085, cream)
        c.circle(s * 0.23, -0.06, 0.075, (110, 140, 60))
        c.oval(s * 0.23, -0.06, 0.025, 0.065, p.ink)
        for y in (0.3, 0.38, 0.46):
            c.line([(s * 0.2, y), (s * 0.72, y - 0.06)], 0.008, WHITE)
            c.circle(s * 0.17, y, 0.014, p.ink)
    c.poly([(-0.13, 0.16), (0.13, 0.16), (0, 0.3)], (196, 104, 92))
    c.line([(0, 0.3), (0, 0.42)], 0.02, p.ink)
    c.arc(-0.1, 0.4, 0.1, 10, 140, 0.02, p.ink)
    c.arc(0.1, 0.4, 0.1, 40, 170, 0.02, p.ink)


def snake(c: Canvas) -> None:
    """Draw a coiled snake on warm stone."""
    p = c.p
    c.circle(0, -0.2, 1.05, mix(p.sky, p.glow, 0.7))
    c.ground(0.56, p.ground)
    c.oval(0, 0.66, 1.05, 0.2, mix(p.ground, p.ink, 0.25))
    dark = mix(p.main, p.ink, 0.5)
    for y, rx in ((0.5, 0.78), (0.28, 0.62), (0.08, 0.44)):
        c.oval(0, y, rx, 0.17, dark)
        c.oval(0, y - 0.03, rx, 0.16, p.main)
        for k in range(-3, 4):
            c.oval(k * rx / 3.8, y - 0.02 + 0.02 * (k % 2), 0.075, 0.06, mix(p.spark, p.main, 0.15))
    neck = [(0.2, 0.0), (0.34, -0.2), (0.16, -0.38), (-0.08, -0.44), (-0.22, -0.56)]
    c.line(neck, 0.19, p.main)
    c.oval(-0.3, -0.62, 0.23, 0.14, p.main)
    c.circle(-0.36, -0.66, 0.04, p.spark)
    c.circle(-0.365, -0.66, 0.018, p.ink)
    c.line([(-0.52, -0.6), (-0.66, -0.58), (-0.74, -0.62)], 0.018, (190, 62, 62))
    c.line([(-0.66, -0.58), (-0.74, -0.54)], 0.018, (190, 62, 62))


def lamp(c: Canvas) -> None:
    """Draw a floor lamp with three shades."""
    p = c.p
    c.ground(0.82, mix(p.ground, p.ink, 0.3))
    for x, y in ((-0.5, -0.3), (0, -0.62), (0.5, -0.2)):
        for r, t in ((0.5, 0.12), (0.36, 0.24), (0.24, 0.36)):
            c.circle(x, y + 0.12, r, mix(mix(p.sky, p.glow, 0.4), p.spark, t))
    c.line([(0, 0.84), (0, -0.5)], 0.045, p.ink)
    for x, y in ((-0.5, -0.3), (0.5, -0.2)):
        c.line([(0, y + 0.36), (x, y + 0.1), (x, y)], 0.035, p.ink)
    for x, y, tint in (
        (-0.5, -0.3, p.main),
        (0, -0.62, mix(p.main, WHITE, 0.2)),
        (0.5, -0.2, mix(p.main, p.ink, 0.2)),
    ):
        c.poly([(x - 0.12, y - 0.16), (x + 0.12, y - 0.16), (x + 0.26, y + 0.14), (x - 0.26, y + 0.14)], tint)
        c.oval(x, y + 0.14, 0.26, 0.045, p.spark)
    c.oval(0, 0.84, 0.3, 0.06, p.ink)


def hoop(c: Canvas) -> None:
    """Draw a basketball dropping towards a hoop."""
    p = c.p
    c.rect(-0.1, -0.86, 1.12, 0.06, PAPER, 0.04)
    c.rect(0.24, -0.5, 0.78, -0.08, p.main)
    c.rect(0.29, -0.45, 0.73, -0.08, PAPER)
    c.ground(0.92, p.ground)
    orange = (226, 116, 58)
    c.oval(0.5, 0.08, 0.36, 0.07, orange)
    c.oval(0.5, 0.07, 0.3, 0.045, PAPER)
    for i in range(7):
        x = 0.18 + i * 0.107
        c.line([(x, 0.1), (0.5 + (x - 0.5) * 0.55 + 0.06, 0.58)], 0.014, mix(p.ink, p.sky, 0.5))
        c.line([(x, 0.1), (0.5 + (x - 0.5) * 0.55 - 0.06, 0.58)], 0.014, mix(p.ink, p.sky, 0.5))
    for k in range(6):
        c.circle(-1.1 + k * 0.14, 0.3 - 0.62 * math.sin((k + 1) / 4.4), 0.02, mix(p.ink, p.glow, 0.4))
    x, y, r = -0.26, -0.38, 0.3
    c.circle(x, y, r, orange)
    c.ring(x, y, r, 0.02, p.ink)
    c.line([(x - r, y), (x + r, y)], 0.02, p.ink)
    c.line([(x, y - r), (x, y + r)], 0.02, p.ink)
    c.arc(x - 0.34, y, 0.27, -52, 52, 0.02, p.ink)
    c.arc(x + 0.34, y, 0.27, 128, 232, 0.02, p.ink)


def apple(c: Canvas) -> None:
    """Draw apples beneath a leaf."""
    p = c.p
    c.circle(0, -0.05, 1.05, mix(p.sky, p.glow, 0.7))
    c.ground(0.66, p.ground)
    for x, y, r, tint in (
        (-0.62, 0.36, 0.36, (214, 168, 74)),
        (0.66, 0.4, 0.32, (136, 160, 76)),
        (0.04, 0.12, 0.52, (190, 58, 52)),
    ):
        c.oval(x, y + r * 0.98, r, 0.06, mix(p.ground, p.ink, 0.35))
        for s in (-1, 1):
            c.oval(x + s * r * 0.32, y, r * 0.72, r * 0.96, tint)
        c.oval(x - r * 0.46, y - r * 0.3, r * 0.16, r * 0.26, mix(tint, WHITE, 0.45))
        c.oval(x, y - r * 0.82, r * 0.24, r * 0.09, mix(tint, p.ink, 0.45))
        c.line([(x, y - r * 0.82), (x + 0.05, y - r * 1.25)], 0.035, (92, 62, 40))
    c.poly([(0.1, -0.46), (0.24, -0.72), (0.62, -0.78), (0.46, -0.5), (0.2, -0.42)], p.main)
    c.line([(0.1, -0.46), (0.54, -0.72)], 0.014, mix(p.main, WHITE, 0.4))


def iced(c: Canvas) -> None:
    """Draw a tall glass of iced coffee in the sun."""
    p = c.p
    c.circle(0.62, -0.56, 0.36, p.spark)
    c.ground(0.76, p.ground)
    c.poly([(-0.42, -0.6), (0.42, -0.6), (0.32, 0.8), (-0.32, 0.8)], mix(p.glow, WHITE, 0.5))
    c.poly([(-0.385, -0.3), (0.385, -0.3), (0.31, 0.76), (-0.31, 0.76)], (116, 70, 44))
    c.poly([(-0.385, -0.3), (0.385, -0.3), (0.36, 0.06), (-0.36, 0.06)], (190, 140, 98))
    for x, y, t in (
        (-0.18, -0.26, 12),
        (0.14, -0.2, 40),
        (-0.04, 0.02, 70),
        (0.2, 0.14, 20),
        (-0.2, 0.24, 50),
    ):
        c.poly(_ngon(x, y, 0.14, 4, t), (226, 214, 200))
        c.poly(_ngon(x - 0.02, y - 0.02, 0.09, 4, t), (242, 236, 228))
    c.line([(0.12, 0.3), (0.34, -0.92)], 0.06, p.main)


def cup(c: Canvas) -> None:
    """Draw a cup of coffee before a volcano."""
    p = c.p
    c.circle(-0.5, -0.5, 0.28, mix(p.spark, WHITE, 0.2))
    c.poly([(-0.4, 0.7), (0.55, -0.56), (0.82, -0.56), (1.9, 0.7)], mix(p.ground, p.sky, 0.35))
    for x, y, r in ((0.68, -0.68, 0.1), (0.8, -0.82, 0.14), (1.0, -0.94, 0.17)):
        c.circle(x, y, r, mix(p.glow, WHITE, 0.5))
    c.ground(0.62, p.ground)
    c.steam(-0.2, -0.14, WHITE)
    c.oval(-0.2, 0.72, 0.74, 0.11, PAPER)
    c.ring(0.28, 0.24, 0.2, 0.07, p.main)
    c.pen.pieslice((*c.at(-0.72, -0.7), *c.at(0.32, 0.74)), 0, 180, fill=p.main)
    c.oval(-0.2, 0.02, 0.52, 0.11, mix(p.main, WHITE, 0.3))
    c.oval(-0.2, 0.03, 0.45, 0.08, (72, 42, 28))


def lock(c: Canvas) -> None:
    """Draw a door with a keyhole, and a key."""
    p = c.p
    c.ground(0.86, p.ground)
    c.rect(-0.66, -0.84, 0.3, 0.88, mix(p.main, p.ink, 0.45), 0.03)
    c.rect(-0.6, -0.78, 0.24, 0.88, p.main, 0.02)
    for y in (-0.68, 0.1):
        c.rect(-0.48, y, 0.12, y + 0.62, mix(p.main, p.ink, 0.18), 0.03)
    c.circle(0.14, 0.0, 0.1, p.spark)
    c.circle(0.14, -0.02, 0.025, p.ink)
    c.poly([(0.14, -0.02), (0.11, 0.06), (0.17, 0.06)], p.ink)
    c.ring(0.86, -0.26, 0.2, 0.07, p.spark)
    c.line([(0.86, -0.04), (0.86, 0.5)], 0.07, p.spark)
    for y in (0.3, 0.44):
        c.line([(0.86, y), (1.0, y)], 0.06, p.spark)


def dawn(c: Canvas) -> None:
    """Draw a calm sunrise over water."""
    p = c.p
    for r, t in ((0.95, 0.2), (0.72, 0.4), (0.5, 0.7)):
        c.circle(0, 0.16, r, mix(mix(p.sky, p.glow, 0.6), p.spark, t * 0.6))
    c.circle(0, 0.16, 0.32, mix(p.spark, WHITE, 0.35))
    c.ground(0.2, p.ground)
    for i in range(7):
        y = 0.28 + i * 0.1
        half = 0.34 - 0.03 * i + 0.05 * (i % 2)
        c.line([(-half, y), (half, y)], 0.03, mix(p.spark, p.ground, 0.15 + i * 0.08))
    c.hills(0.26, 0.05, mix(p.ground, p.ink, 0.25), 2.4, 0.9)
    c.ground(0.34, p.ground)
    for i in range(6):
        y = 0.4 + i * 0.1
        half = 0.32 - 0.03 * i + 0.05 * (i % 2)
        c.line([(-half, y), (half, y)], 0.03, mix(p.spark, p.ground, 0.2 + i * 0.08))


def hands(c: Canvas) -> None:
    """Draw a loaf of bread under a roof, and its light."""
    p = c.p
    c.circle(0, 0.1, 0.98, mix(p.sky, p.glow, 0.75))
    c.poly([(-1.0, -0.2), (0, -0.86), (1.0, -0.2), (0.86, -0.14), (0, -0.7), (-0.86, -0.14)], p.main)
    c.ground(0.62, p.ground)
    c.oval(0, 0.36, 0.62, 0.32, (196, 134, 76))
    c.oval(-0.05, 0.28, 0.5, 0.2, (216, 158, 98))
    for x in (-0.28, 0.0, 0.28):
        c.line([(x - 0.08, 0.36), (x + 0.08, 0.14)], 0.05, (246, 220, 176))
    c.rect(-0.8, 0.6, 0.8, 0.7, mix(p.main, p.ink, 0.3), 0.03)
    c.steam(0, 0.0, WHITE)


def track(c: Canvas) -> None:
    """Draw a winding path at sunrise with a runner's dots."""
    p = c.p
    c.circle(0.3, -0.3, 0.4, p.spark)
    c.hills(0.1, 0.14, mix(p.ground, p.sky, 0.4), 0.9)
    c.ground(0.2, p.ground)
    path = [(0.3 + 0.5 * math.sin(t / 9) * (1 - t / 70), 1.3 - t / 40) for t in range(45)]
    for i in range(len(path) - 1):
        c.line([path[i], path[i + 1]], 0.3 * (1 - i / 50), mix(p.glow, p.main, 0.2))
    for i in range(2, 42, 5):
        c.circle(*path[i], 0.03 * (1.3 - i / 50), p.main)


def sun(c: Canvas) -> None:
    """Draw a large sun above a calm sea."""
    p = c.p
    for k in range(16):
        a = math.radians(k * 22.5)
        c.line(
            [
                (0.62 * math.cos(a), -0.2 + 0.62 * math.sin(a)),
                (0.82 * math.cos(a), -0.2 + 0.82 * math.sin(a)),
            ],
            0.05,
            p.spark,
        )
    c.circle(0, -0.2, 0.5, p.spark)
    c.circle(-0.06, -0.26, 0.38, mix(p.spark, WHITE, 0.3))
    c.ground(0.44, p.ground)
    for i in range(4):
        c.hills(0.52 + i * 0.12, 0.02, mix(p.ground, WHITE, 0.12 + i * 0.07), i * 1.3, 0.4)
    c.poly([(0.62, 0.44), (0.62, 0.02), (0.94, 0.4)], PAPER)
    c.poly([(0.5, 0.46), (1.02, 0.46), (0.92, 0.56), (0.58, 0.56)], p.main)


def plane(c: Canvas) -> None:
    """Draw a small aeroplane over clouds."""
    p = c.p
    c.circle(0.66, -0.5, 0.3, mix(p.spark, WHITE, 0.2))
    for x, y, s in ((-1.0, 0.62, 1.5), (0.1, 0.82, 1.8), (1.2, 0.6, 1.5)):
        for dx, dy, r in ((-0.3, 0.06, 0.22), (0, -0.06, 0.3), (0.32, 0.05, 0.22)):
            c.circle(x + dx * s, y + dy * s, r * s, WHITE if r > 0.25 else mix(WHITE, p.sky, 0.18))
    c.line([(-1.5, 0.42), (-0.5, 0.12)], 0.02, WHITE)
    c.poly([(-0.62, 0.16), (0.4, -0.28), (0.62, -0.3), (0.6, -0.16), (-0.52, 0.3)], PAPER)
    c.poly([(-0.1, 0.06), (-0.34, 0.6), (-0.18, 0.56), (0.26, -0.08)], p.main)
    c.poly([(0.0, -0.1), (-0.4, -0.3), (-0.28, -0.34), (0.24, -0.22)], mix(p.main, p.ink, 0.25))
    c.poly([(-0.56, 0.14), (-0.76, -0.1), (-0.64, -0.12), (-0.38, 0.06)], p.main)
    for k in range(5):
        c.circle(-0.2 + k * 0.14, 0.06 - k * 0.062, 0.025, p.ink)


def peaks(c: Canvas) -> None:
    """Draw mountains in the evening light."""
    p = c.p
    c.circle(-0.4, -0.44, 0.26, p.spark)
    c.poly([(-1.9, 0.8), (-0.8, -0.3), (0.1, 0.8)], mix(p.ground, p.sky, 0.35))
    c.poly([(-0.9, 0.8), (0.36, -0.72), (1.7, 0.8)], mix(p.ground, p.ink, 0.2))
    c.poly([(0.0, -0.28), (0.36, -0.72), (0.76, -0.26), (0.5, -0.34), (0.34, -0.16), (0.18, -0.34)], PAPER)
    c.hills(0.62, 0.12, p.main, 0.6)
    c.hills(0.86, 0.08, mix(p.main, p.ink, 0.35), 2.3)


def puzzle(c: Canvas) -> None:
    """Draw interlocking pieces in four colours."""
    p = c.p
    tints = [[p.main, p.spark], [(96, 150, 140), (112, 122, 182)]]
    for i in (0, 1):
        for j in (0, 1):
            gap = 0.1 if (i, j) == (1, 1) else 0
            x, y = -0.72 + i * 0.72 + gap, -0.72 + j * 0.72 + gap
            c.rect(x, y, x + 0.7, y + 0.7, tints[j][i], 0.03)
    for x, y, tint in ((0.02, -0.36, tints[0][0]), (-0.36, 0.02, tints[0][0]), (0.36, -0.02, tints[0][1])):
        c.circle(x, y, 0.13, tint)
    c.circle(0.02, 0.36, 0.13, tints[1][0])
    c.ring(0.46, 0.06, 0.13, 0.02, mix(p.glow, p.ink, 0.15))


def weathervane(c: Canvas) -> None:
    """Draw a weathervane above a roof."""
    p = c.p
    for x, y, s in ((-0.85, -0.5, 0.9), (0.9, -0.66, 0.7)):
        for dx, r in ((-0.24, 0.15), (0, 0.22), (0.26, 0.16)):
            c.circle(x + dx * s, y, r * s, mix(p.glow, WHITE, 0.6))
    c.poly([(-1.2, 1.2), (0, 0.46), (1.2, 1.2)], mix(p.main, p.ink, 0.2))
    c.line([(0, 0.52), (0, -0.42)], 0.045, p.ink)
    c.line([(-0.42, 0.14), (0.42, 0.14)], 0.03, p.ink)
    for x in (-0.42, 0.42):
        c.circle(x, 0.14, 0.05, p.spark)
    c.line([(-0.72, -0.26), (0.72, -0.26)], 0.04, p.ink)
    c.poly([(0.66, -0.42), (0.96, -0.26), (0.66, -0.1)], p.main)
    c.poly([(-0.9, -0.44), (-0.6, -0.26), (-0.9, -0.08), (-0.74, -0.26)], p.main)
    c.poly(
        [
            (-0.3, -0.3),
            (-0.5, -0.72),
            (-0.28, -0.52),
            (-0.06, -0.5),
            (0.1, -0.76),
            (0.22, -0.8),
            (0.32, -0.7),
            (0.2, -0.62),
            (0.2, -0.42),
            (0.06, -0.3),
        ],
        p.spark,
    )
    c.poly([(0.12, -0.78), (0.16, -0.9), (0.22, -0.8), (0.28, -0.88), (0.28, -0.74)], (196, 66, 54))
    c.circle(0, -0.26, 0.05, p.ink)


def court(c: Canvas) -> None:
    """Draw the columns of a court house, and scales."""
    p = c.p
    c.ground(0.72, p.ground)
    c.poly([(-1.1, -0.36), (0, -0.86), (1.1, -0.36)], mix(PAPER, p.ink, 0.08))
    c.poly([(-0.74, -0.42), (0, -0.76), (0.74, -0.42)], mix(PAPER, p.ink, 0.22))
    c.rect(-1.04, -0.36, 1.04, -0.22, PAPER)
    for k in range(6):
        x = -0.96 + k * 0.36
        c.rect(x, -0.22, x + 0.14, 0.6, PAPER if k % 2 else mix(PAPER, p.ink, 0.06))
    c.rect(-1.1, 0.6, 1.1, 0.7, mix(PAPER, p.ink, 0.1))
    c.rect(-1.24, 0.7, 1.24, 0.82, mix(PAPER, p.ink, 0.18))
    c.line([(0, -0.66), (0, -0.48)], 0.025, p.main)
    c.line([(-0.2, -0.62), (0.2, -0.62)], 0.02, p.main)
    for x in (-0.2, 0.2):
        c.pen.pieslice((*c.at(x - 0.09, -0.64), *c.at(x + 0.09, -0.46)), 0, 180, fill=p.main)


def ruins(c: Canvas) -> None:
    """Draw broken house fronts by a river, one window lit."""
    p = c.p
    c.circle(0.7, -0.56, 0.22, mix(p.glow, p.sky, 0.3))
    c.poly([(-1.9, 0.6), (-1.9, -0.2), (-1.5, -0.4), (-1.1, -0.1), (-0.9, 0.6)], mix(p.ground, p.sky, 0.4))
    c.poly(
        [
            (-0.86, 0.6),
            (-0.86, -0.44),
            (-0.66, -0.52),
            (-0.56, -0.3),
            (-0.4, -0.34),
            (-0.3, -0.08),
            (-0.1, -0.14),
            (-0.1, 0.6),
        ],
        p.main,
    )
    c.poly([(0.0, 0.6), (0.0, -0.1), (0.34, -0.36), (0.68, -0.1), (0.68, 0.6)], mix(p.main, p.ink, 0.3))
    c.poly(
        [(0.8, 0.6), (0.84, 0.06), (1.0, 0.14), (1.14, -0.2), (1.4, -0.1), (1.5, 0.6)],
        mix(p.ground, p.ink, 0.3),
    )
    for x, y in ((-0.74, -0.26), (-0.74, 0.06), (-0.44, 0.06), (-0.44, 0.32), (-0.74, 0.36)):
        c.rect(x, y, x + 0.14, y + 0.18, mix(p.ink, p.main, 0.2))
    c.rect(0.24, 0.3, 0.46, 0.5, p.spark)
    c.ground(0.6, mix(p.ground, p.ink, 0.5))
    c.ground(0.72, mix(p.sky, p.ink, 0.35))
    c.line([(0.24, 0.8), (0.46, 0.8)], 0.03, p.spark)
    c.line([(0.28, 0.88), (0.42, 0.88)], 0.025, mix(p.spark, p.ink, 0.4))


def ballot(c: Canvas) -> None:
    """Draw a paper going into a ballot box."""
    p = c.p
    c.circle(0, -0.05, 1.02, mix(p.sky, p.glow, 0.7))
    c.ground(0.72, p.ground)
    c.poly([(-0.3, -0.76), (0.34, -0.66), (0.26, 0.1), (-0.34, 0.1)], PAPER)
    for i, y in enumerate((-0.54, -0.36, -0.18)):
        c.rect(-0.2, y, -0.1, y + 0.1, mix(p.ink, PAPER, 0.8))
        c.line([(-0.02, y + 0.06), (0.2, y + 0.06)], 0.03, mix(p.ink, PAPER, 0.6))
        if i == 1:
            c.line([(-0.2, y + 0.02), (-0.15, y + 0.08), (-0.06, y - 0.06)], 0.03, p.main)
    c.rect(-0.72, 0.02, 0.72, 0.8, p.main, 0.05)
    c.rect(-0.78, 0.0, 0.78, 0.14, mix(p.main, WHITE, 0.18), 0.04)
    c.rect(-0.44, 0.04, 0.44, 0.09, p.ink, 0.02)
    c.rect(-0.3, 0.32, 0.3, 0.6, mix(p.main, p.ink, 0.3), 0.04)
    c.circle(0, 0.46, 0.07, p.spark)


def spade(c: Canvas) -> None:
    """Draw a spade in dark soil, and one green shoot."""
    p = c.p
    c.circle(0.5, -0.5, 0.3, mix(p.spark, WHITE, 0.4))
    c.line([(-0.2, 0.3), (-0.2, -0.62)], 0.07, (150, 104, 68))
    c.line([(-0.38, -0.7), (-0.02, -0.7)], 0.09, (122, 80, 50))
    c.poly([(-0.46, 0.1), (0.06, 0.1), (0.06, 0.6), (-0.2, 0.86), (-0.46, 0.6)], mix(WHITE, p.ink, 0.35))
    c.ground(0.5, mix(p.ground, p.ink, 0.6))
    c.hills(0.54, 0.03, mix(p.ground, p.ink, 0.72), 0.2, 0.3)
    c.line([(0.55, 0.54), (0.55, 0.14)], 0.035, p.main)
    c.poly([(0.55, 0.28), (0.82, 0.04), (0.76, 0.26)], p.main)
    c.poly([(0.55, 0.36), (0.3, 0.16), (0.36, 0.36)], mix(p.main, WHITE, 0.2))


def _ngon(x: float, y: float, r: float, sides: int, turn: float) -> list[Point]:
    angles = [math.radians(turn + 360 * k / sides) for k in range(sides)]
    return [(x + r * math.cos(a), y + r * math.sin(a)) for a in angles]


# Which scene a campaign's pictures show, in which colours.
CAMPAIGNS: dict[str, tuple[Scene, str]] = {
    "velora-touring": (bicycle, "meadow"),
    "velora-ebike": (bicycle, "sea"),
    "kettleway-soup": (soup, "ember"),
    "kettleway-pots": (pot, "slate"),
    "larch-index": (growth, "leaf"),
    "larch-saver": (jar, "sea"),
    "northline-rail": (viaduct, "dusk"),
    "komorebi-inns": (fuji, "rose"),
    "thornbury-bulbs": (garden, "leaf"),
    "thornbury-tools": (spade, "leaf"),
    "pitchside-app": (pitch, "meadow"),
    "pitchside-boots": (corner, "frost"),
    "tidepool-lanternfall": (gamepad, "plum"),
    "hushaby-light": (moonbed, "night"),
    "hushaby-blocks": (blocks, "sand"),
    "hearthwell-pump": (house, "frost"),
    "hearthwell-loft": (snowhouse, "frost"),
    "perigee-binoculars": (stars, "night"),
    "quillbox-local": (network, "slate"),
    "quillbox-course": (code, "sea"),
    "ampelo-one": (car, "frost"),
    "ampelo-charger": (plug, "night"),
    "fernfold-coat": (coat, "frost"),
    "fernfold-linen": (shirt, "sand"),
    "goodneedle-kit": (needle, "frost"),
    "tonewood-deck": (vinyl, "ember"),
    "tonewood-interface": (waves, "plum"),
    "inkwell-box": (books, "rose"),
    "ironfern-weights": (dumbbell, "slate"),
    "oldfriend-food": (paw, "sand"),
    "oldfriend-bed": (dogbed, "ember"),
    "secondladder-trades": (ladder, "sand"),
    "drizzle-umbrella": (umbrella, "rain"),
    "moorland-jacket": (rainhills, "rain"),
    "halfinch-kits": (train, "leaf"),
    "corridor-cats": (jaguar, "leaf"),
    "warmrock-vivarium": (snake, "sand"),
    "lumenshade-lamps": (lamp, "ember"),
    "hoopyard-shoes": (hoop, "frost"),
    "coldharbour-juice": (apple, "leaf"),
    "icehouse-iced": (iced, "sand"),
    "redcherry-beans": (cup, "ember"),
    "boltlatch-locks": (lock, "slate"),
    "steady-helpline": (dawn, "sea"),
    "openhands-bread": (hands, "slate"),
    "stridewell-app": (track, "meadow"),
    "highnoon-lotion": (sun, "sea"),
    "passage-travel": (plane, "sea"),
    "alpenglanz-schuhe": (peaks, "dusk"),
    "pennyweight-jigsaw": (puzzle, "slate"),
    "weathervane-house": (weathervane, "sea"),
}

# The pictures of messages' parts, by their files' names.
PART_SCENES: dict[str, tuple[Scene, str]] = {
    "longacre-rainwear-1": (rainhills, "slate"),
    "longacre-rainwear-2": (peaks, "meadow"),
    "longacre-coffee-1": (cup, "sand"),
    "longacre-coffee-2": (iced, "sea"),
    "longacre-kitchen-1": (pot, "ember"),
    "longacre-kitchen-2": (soup, "frost"),
    "longacre-lamp-1": (lamp, "sand"),
    "longacre-lamp-2": (books, "dusk"),
}

# The scenes and colours that articles name in their front matter.
HERO_SCENES: dict[str, tuple[Scene, str]] = {
    "bicycle": (bicycle, "dusk"),
    "soup": (soup, "sand"),
    "growth": (growth, "frost"),
    "fuji": (fuji, "dusk"),
    "garden": (garden, "rose"),
    "pitch": (pitch, "leaf"),
    "gamepad": (gamepad, "night"),
    "moonbed": (moonbed, "plum"),
    "house": (snowhouse, "dusk"),
    "stars": (stars, "night"),
    "network": (network, "sea"),
    "car": (car, "slate"),
    "coat": (coat, "rose"),
    "vinyl": (vinyl, "plum"),
    "books": (books, "sand"),
    "dumbbell": (dumbbell, "sea"),
    "paw": (paw, "meadow"),
    "ladder": (ladder, "frost"),
    "rainhills": (rainhills, "rain"),
    "train": (train, "sand"),
    "jaguar": (jaguar, "meadow"),
    "snake": (snake, "leaf"),
    "lamp": (lamp, "plum"),
    "hoop": (hoop, "sand"),
    "apple": (apple, "meadow"),
    "coffee": (cup, "dusk"),
    "court": (court, "slate"),
    "dawn": (dawn, "dusk"),
    "ruins": (ruins, "slate"),
    "ballot": (ballot, "frost"),
}
