"""Pictures are recognised by their bytes, encoded anew and stripped."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from engine import images
from engine.errors import CatalogError
from engine.images import MAX_BYTES, MAX_PIXELS, clean_image, hosted_image


def picture(kind: str, size: tuple[int, int] = (40, 20), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.effect_mandelbrot(size, (-2, -1, 1, 1), 20).convert(mode).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(w: int, h: int) -> bytes:
    """Return a PNG whose header promises w × h pixels and whose data is a few bytes."""
    header = struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 999))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("kind", "mime"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("WEBP", "image/webp"),
        ("AVIF", "image/avif"),
        ("GIF", "image/png"),
    ],
)
def test_each_kind_is_taken_and_named_by_its_content(kind: str, mime: str):
    image = clean_image(picture(kind), "image.file")
    assert (image.mime, image.w, image.h) == (mime, 40, 20)
    assert image.hash == hashlib.sha256(image.data).hexdigest()
    assert image.name.startswith(image.hash + ".")
    with Image.open(io.BytesIO(image.data)) as again:
        assert (Image.MIME[again.format or ""], again.size) == (mime, (40, 20))
    assert clean_image(picture(kind), "image.file") == image


def test_metadata_is_gone_and_the_picture_stands_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    exif[0x010E] = "SECRET PLACE"
    for kind in ("JPEG", "WEBP", "PNG", "AVIF"):
        image = clean_image(picture(kind, exif=exif), "image.file")
        assert (image.w, image.h) == (20, 40)
        assert b"SECRET" not in image.data
        with Image.open(io.BytesIO(image.data)) as again:
            assert not again.getexif()
            assert "icc_profile" not in again.info


def test_comments_and_appended_files_are_gone():
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "SECRET")
    data = picture("PNG", pnginfo=notes) + b"<script>SECRET</script>"
    assert b"SECRET" not in clean_image(data, "image.file").data
    assert b"SECRET" not in clean_image(picture("JPEG", comment=b"SECRET") + b"SECRET", "image.file").data


def test_transparency_stays():
    frame = Image.new("RGBA", (4, 4), (255, 0, 0, 10))
    out = io.BytesIO()
    frame.save(out, "PNG")
    with Image.open(io.BytesIO(clean_image(out.getvalue(), "image.file").data)) as again:
        assert again.convert("RGBA").getpixel((0, 0)) == (255, 0, 0, 10)


@pytest.mark.parametrize(
    ("depth", "colour", "row", "key", "shown"),
    [
        (2, 0, b"\xaa", (2,), (170, 170, 170, 0)),
        (4, 0, b"\x77\x77", (7,), (119, 119, 119, 0)),
        (4, 0, b"\x77\x77", (6,), (119, 119, 119, 255)),
        (16, 0, b"\x80\x40" * 4, (0x8040,), (128, 128, 128, 0)),
        (16, 2, b"\x80\x40\x10\0\x20\0" * 4, (0x8040, 0x1000, 0x2000), (128, 16, 32, 0)),
    ],
)
def test_a_colour_that_stands_for_transparency_does_so_at_each_depth(depth, colour, row, key, shown):
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, depth, colour, 0, 0, 0))
        + chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
        + chunk(b"IDAT", zlib.compress((b"\0" + row) * 4))
        + chunk(b"IEND", b"")
    )
    with Image.open(io.BytesIO(clean_image(data, "image.file").data)) as again:
        assert again.convert("RGBA").getpixel((1, 1)) == shown


def test_a_picture_is_copied_no_more_than_it_needs():
    for kind in ("JPEG", "WEBP", "AVIF"):
        data = picture(kind)
        before = Image.core.get_stats()["new_count"]
        clean_image(data, "image.file")
        assert Image.core.get_stats()["new_count"] - before <= 1, kind


def test_pictures_are_encoded_one_at_a_time(monkeypatch):
    at_once = []

    def encode(*asked: object) -> None:
        at_once.append(images._ONE.locked())

    monkeypatch.setattr(images, "_encode", encode)
    clean_image(picture("PNG"), "image.file")
    assert at_once == [True]


def test_of_an_animation_the_first_frame_is_kept():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    for kind in ("GIF", "WEBP"):
        out = io.BytesIO()
        frames[0].save(out, kind, save_all=True, append_images=frames[1:], lossless=True)
        with Image.open(io.BytesIO(clean_image(out.getvalue(), "image.file").data)) as again:
            assert getattr(again, "n_frames", 1) == 1
            red, _, blue = again.convert("RGB").getpixel((3, 3))
            assert red > 200 and blue < 50


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<?xml version='1.0'?><!DOCTYPE svg><svg/>",
        b"\xef\xbb\xbf <svg/>",
        b"GIF89a<script>alert(1)</script>",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n<svg/>",
        b"\xff\xd8\xff\xe0<html>",
        b"RIFF\0\0\0\0WEBP",
        b"\0\0\0\x18ftypavif" + b"\0" * 40,
        b"BM" + b"\0" * 100,
        b"II*\0" + b"\0" * 100,
        b"%PDF-1.7",
        b"%!PS-Adobe",
        picture("PNG")[:200],
        picture("JPEG")[:200],
        picture("WEBP")[:100],
        picture("BMP"),
        picture("TIFF"),
    ],
)
def test_what_is_no_whole_picture_is_refused(data: bytes):
    with pytest.raises(CatalogError, match=r"^image\.file: "):
        clean_image(data, "image.file")


def test_a_svg_is_called_by_its_name():
    with pytest.raises(CatalogError, match="an SVG document"):
        clean_image(b"<svg/>", "image.file")


@pytest.mark.parametrize(
    "size", [(4001, 4000), (9000, 10), (10, 9000), (12_000, 12_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)]
)
def test_a_picture_of_too_many_pixels_is_refused_by_its_header(size: tuple[int, int]):
    with pytest.raises(CatalogError, match=f"{MAX_PIXELS}|damaged"):
        clean_image(png_header(*size), "image.file")


def test_a_file_of_too_many_bytes_is_refused():
    with pytest.raises(CatalogError, match=f"got {MAX_BYTES + 1} bytes"):
        clean_image(b"\0" * (MAX_BYTES + 1), "image.file")


def test_a_picture_is_found_by_its_name_alone():
    image = clean_image(picture("PNG"), "image.file")

    class OnePicture:
        def image(self, hash: str) -> tuple[bytes, str] | None:
            return (image.data, image.mime) if hash == image.hash else None

    assert hosted_image(OnePicture(), image.name) == (image.data, "image/png")
    assert hosted_image(OnePicture(), image.hash) == (image.data, "image/png")
    for name in (
        f"{image.hash}.jpg",
        f"{image.hash}.",
        f"{image.hash}.png.png",
        "../" + image.name,
        "",
        image.name.upper(),
    ):
        assert hosted_image(OnePicture(), name) is None


def test_deep_and_foreign_colours_come_out_as_they_look():
    for frame, kind in (
        (Image.fromarray(np.full((4, 4), 0x8040, np.uint16)), "PNG"),
        (Image.new("CMYK", (4, 4), (0, 0, 0, 127)), "JPEG"),
        (
            Image.new(
                "P",
                (4, 4),
                128,
            ),
            "GIF",
        ),
    ):
        if frame.mode == "P":
            frame.putpalette([n for n in range(256) for _ in range(3)])
        out = io.BytesIO()
        frame.save(out, kind)
        with Image.open(io.BytesIO(clean_image(out.getvalue(), "image.file").data)) as again:
            assert all(abs(level - 128) < 4 for level in again.convert("RGB").getpixel((1, 1)))


def swapped_profile() -> bytes:
    """Return a colour profile like sRGB whose first channel is blue and whose third is red."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    count = struct.unpack_from(">I", profile, 128)[0]
    table = profile[132 : 132 + 12 * count]
    table = table.replace(b"rXYZ", b"tmp_").replace(b"bXYZ", b"rXYZ").replace(b"tmp_", b"bXYZ")
    return profile[:132] + table + profile[132 + 12 * count :]


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGB"), ("PNG", "RGBA"), ("JPEG", "RGB"), ("WEBP", "RGB"), ("WEBP", "RGBA")],
)
def test_colours_mean_what_the_pictures_own_profile_says(kind: str, mode: str):
    out = io.BytesIO()
    red = Image.new(mode, (16, 16), (255, 0, 0, 128)[: len(mode)])
    red.save(out, kind, icc_profile=swapped_profile(), **({"quality": 100} if kind != "PNG" else {}))
    with Image.open(io.BytesIO(clean_image(out.getvalue(), "image.file").data)) as shown:
        assert "icc_profile" not in shown.info
        colour = shown.convert("RGBA").getpixel((8, 8))
    assert isinstance(colour, tuple)
    assert np.abs(np.array(colour) - (0, 0, 255, 128 if mode == "RGBA" else 255)).max() <= 6


@pytest.mark.parametrize("profile", [b"junk" * 100, swapped_profile()[:200], b"\0" * 2_000_000])
def test_a_profile_that_cannot_be_read_is_left_out(profile: bytes):
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (255, 0, 0)).save(out, "JPEG", icc_profile=profile)
    with Image.open(io.BytesIO(clean_image(out.getvalue(), "image.file").data)) as shown:
        assert "icc_profile" not in shown.info
        colour = shown.getpixel((8, 8))
    assert isinstance(colour, tuple)
    assert np.abs(np.array(colour) - (255, 0, 0)).max() <= 6


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "GIF"])
def test_a_file_damaged_anywhere_is_taken_or_refused(kind: str):
    whole = picture(kind)
    random = np.random.default_rng(7)
    for _ in range(60):
        data = bytearray(whole)
        for at in random.integers(12, len(data), 8):
            data[at] = random.integers(256)
        try:
            clean_image(bytes(data[: random.integers(len(data) // 2, len(data) + 1)]), "image.file")
        except CatalogError as error:
            assert error.field == "image.file"
