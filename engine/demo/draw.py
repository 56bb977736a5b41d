"""Draws the demo's pictures: the scenes, set with type where they are banners.

`python -m engine.demo.draw` draws all of them again, from the catalogue and the articles beside it. They are
committed, so only somebody who changes a picture needs the fonts (Debian: fonts-urw-base35).
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from engine.creative import Creative
from engine.demo.canvas import PALETTES, PAPER, SCALE, Canvas, Palette, Point, mix
from engine.demo.magazine import read_articles, read_catalog
from engine.demo.scenes import CAMPAIGNS, HERO_SCENES, PART_SCENES, Scene

FOLDER = Path(__file__).parent
HEROES = FOLDER.parent / "web" / "static" / "demo" / "articles"
NATIVE = (600, 400)
HERO = (960, 540)
SERIF = "P052-Bold.otf"
SANS = "NimbusSans-Bold.otf"


def native(scene: Scene, palette: Palette) -> Image.Image:
    """Draw the picture of a native creative: the scene and no type."""
    w, h = NATIVE
    return _paint(NATIVE, (w * 0.5, h * 0.52, h * 0.42), scene, palette)


def hero(scene: Scene, palette: Palette) -> Image.Image:
    """Draw the picture at the head of an article."""
    w, h = HERO
    return _paint(HERO, (w * 0.5, h * 0.52, h * 0.4), scene, palette)


def banner(size: tuple[int, int], scene: Scene, palette: Palette, words: tuple[str, str, str]) -> Image.Image:
    """Draw a banner. `words`: headline, call to action, advertiser."""
    w, h = size
    if h > w:
        image = _paint(size, (w * 0.5, h * 0.62, w * 0.42), scene, palette)
        _panel(image, (0, 0, w, round(h * 0.36)), palette, words, 26, pill=False)
        _pill(image, words[1], (w / 2, h - 34), palette, 13)
    elif w / h > 2:
        image = _paint(size, (h * 0.9 if w > 500 else h * 0.55, h * 0.52, h * 0.4), scene, palette)
        _panel(image, (round(h * (1.8 if w > 500 else 1.1)), 0, w, h), palette, words, 27 if w > 500 else 20)
    else:
        image = _paint(size, (w * 0.5, h * 0.29, h * 0.25), scene, palette)
        _panel(image, (0, round(h * 0.56), w, h), palette, words, 23)
    return image


def _paint(
    size: tuple[int, int], focus: tuple[float, float, float], scene: Scene, palette: Palette
) -> Image.Image:
    canvas = Canvas(size, focus, palette)
    scene(canvas)
    return canvas.finish()


def _panel(
    image: Image.Image,
    box: tuple[int, int, int, int],
    palette: Palette,
    words: tuple[str, str, str],
    largest: int,
    pill: bool = True,
) -> None:
    """Set the words on a pale panel; a wide one has the call to action at its right."""
    headline, action, name = words
    pen = ImageDraw.Draw(image)
    x0, y0, x1, y1 = box
    pen.rectangle((x0, y0, x1, y1), fill=PAPER)
    wide, margin = (x1 - x0) > 400, 14
    room = (x1 - x0) - 2 * margin
    if wide:
        room -= round(ImageFont.truetype(SANS, 15).getlength(action)) + 60
    small = ImageFont.truetype(SANS, 11)
    lines, font = _fit(headline, room, largest, 1 if wide else (4 if not pill else 2))
    step = round(font.size * 1.14)
    top = y0 + ((y1 - y0) - (step * len(lines) + 18)) // 2 if wide or not pill else y0 + 9
    pen.text((x0 + margin, top), name.upper(), font=small, fill=mix(palette.ink, palette.main, 0.35))
    for i, row in enumerate(lines):
        pen.text((x0 + margin, top + 16 + i * step), row, font=font, fill=palette.ink)
    if not pill:
        return
    if wide:
        _pill(
            image,
            action,
            (x1 - margin - (ImageFont.truetype(SANS, 15).getlength(action) + 32) / 2, (y0 + y1) / 2),
            palette,
            15,
        )
    elif y1 - y0 >= 100 and top + 16 + step * len(lines) < y1 - 28:
        length = ImageFont.truetype(SANS, 12).getlength(action) + 26
        _pill(image, action, (x0 + margin + length / 2, y1 - 19), palette, 12)


def _pill(image: Image.Image, text: str, centre: Point, palette: Palette, points: int) -> None:
    """Draw a call to action: dark, with pale type."""
    font = ImageFont.truetype(SANS, points)
    half, tall = font.getlength(text) / 2 + points, points * 0.95 + 2
    big = Image.new("L", (round(half * 2) * SCALE, round(tall * 2) * SCALE))
    ImageDraw.Draw(big).rounded_rectangle(
        (0, 0, big.width - 1, big.height - 1), radius=big.height / 2, fill=255
    )
    mask = big.resize((round(half * 2), round(tall * 2)), Image.Resampling.LANCZOS)
    image.paste(palette.ink, (round(centre[0] - half), round(centre[1] - tall)), mask)
    ImageDraw.Draw(image).text(centre, text, font=font, fill=PAPER, anchor="mm")


def _fit(text: str, width: float, largest: int, rows: int) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """Return the lines, and the largest type in which they fit."""
    for points in range(largest, 11, -1):
        font = ImageFont.truetype(SERIF, points)
        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            if font.getlength(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        if len(lines) <= rows and all(font.getlength(row) <= width for row in lines):
            return lines, font
    raise ValueError(f"headline {text!r} does not fit {width:.0f} pixels in {rows} rows")


def draw_all(folder: Path = FOLDER, heroes: Path = HEROES) -> int:
    """Draw every picture that the catalogue and the articles name; return how many."""
    count = 0
    for creative in read_catalog(folder / "catalog.ndjson"):
        if not isinstance(creative, Creative) or creative.image is None or creative.image.file is None:
            continue
        scene, name = CAMPAIGNS[creative.campaign]
        words = (creative.headline, creative.cta, creative.sponsored_by)
        size = creative.size
        picture = (
            native(scene, PALETTES[name]) if size is None else banner(size, scene, PALETTES[name], words)
        )
        _save(picture, folder / creative.image.file)
        count += 1
    for file, (scene, name) in PART_SCENES.items():
        _save(native(scene, PALETTES[name]), folder / "pictures" / f"{file}.webp")
        count += 1
    for article in read_articles(folder / "articles"):
        scene, name = HERO_SCENES[article.scene]
        _save(hero(scene, PALETTES[name]), heroes / f"{article.id}.webp")
        count += 1
    return count


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "WEBP", quality=82, method=6)


if __name__ == "__main__":
    print(f"{draw_all()} pictures")
