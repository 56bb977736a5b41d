"""Pictures as they come in, made safe: recognised by their first bytes, re-encoded, stripped, hashed.

SVG is no picture here: it is a document with scripts.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
from dataclasses import dataclass
from typing import Literal, Protocol

from PIL import Image, ImageCms, ImageOps

from engine.errors import CatalogError

MAX_BYTES = 5 * 2**20  # of the file as it comes in
MAX_PIXELS = 16_000_000  # width × height, known from the header before anything is decoded
MAX_SIDE = 8192  # pixels
MAX_PROFILE = 2**20  # bytes of a colour profile; those of printers have some 500,000

EXTENSIONS: dict[str, Literal["png", "jpg", "webp", "avif"]] = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/avif": "avif",
}
NAME = re.compile(r"([0-9a-f]{64})\.(png|jpg|webp|avif)")  # of a hosted picture: its hash and its kind
_ONE = (
    threading.Lock()
)  # a large AVIF takes 500 MB while it is encoded: one picture at a time, however many come
_HASH = re.compile(r"[0-9a-f]{64}")

_ACCEPTED = "a PNG, JPEG, WebP, AVIF or GIF picture"


@dataclass(frozen=True, slots=True)
class HostedImage:
    """A picture as it is hosted. `hash` is the SHA-256 of `data`, in 64 hex digits."""

    hash: str
    mime: str
    w: int  # pixels
    h: int
    data: bytes

    @property
    def name(self) -> str:
        """Return the name under which it is hosted, which can never mean another picture."""
        return image_name(self.hash, self.mime)


class ImageStore(Protocol):
    """Where hosted pictures lie."""

    def image(self, hash: str) -> tuple[bytes, str] | None:
        """Return (bytes, media type)."""


def image_name(hash: str, mime: str) -> str:
    """Return `<hash>.<extension>`."""
    return f"{hash}.{EXTENSIONS[mime]}"


def hosted_image(store: ImageStore, name: str) -> tuple[bytes, str] | None:
    """Return (bytes, media type) of the picture hosted as `<hash>` or `<hash>.<extension>`, or None."""
    hash = name.partition(".")[0]
    if not _HASH.fullmatch(hash):
        return None
    found = store.image(hash)
    if found is None or name not in (hash, image_name(hash, found[1])):
        return None
    return found


def clean_image(data: bytes, field: str, line: int = 0) -> HostedImage:
    """Decode a picture and encode it anew, upright, without metadata; of an animation the first frame.

    Raises CatalogError where it is too large, in bytes or in pixels, damaged, or no picture that we take.
    """
    if len(data) > MAX_BYTES:
        raise CatalogError(field, f"{len(data)} bytes", f"a picture of at most {MAX_BYTES} bytes", line)
    kind = _kind(data)
    if kind is None:
        raise CatalogError(field, _guess(data), _ACCEPTED, line)
    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as picture:
            w, h = picture.size
            if w * h > MAX_PIXELS or max(w, h) > MAX_SIDE:
                limit = f"at most {MAX_PIXELS} pixels and {MAX_SIDE} a side"
                raise CatalogError(field, f"{w}x{h} pixels", limit, line)
            with _ONE:
                picture.seek(0)
                picture.load()
                if kind == "PNG":
                    _scale_key(picture, depth=data[24])
                return _encode(picture, kind)
    # RuntimeError: how Pillow's AVIF decoder says that a file is damaged
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, RuntimeError) as error:
        raise CatalogError(field, f"a damaged {kind} file", _ACCEPTED, line) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise CatalogError(field, "a decompression bomb", f"at most {MAX_PIXELS} pixels", line) from error


def _kind(data: bytes) -> str | None:
    """Return Pillow's name of the format, by magic bytes alone: names and media types can lie."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    return None


def _guess(data: bytes) -> str:
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<svg", b"<?xml", b"<!doctype svg")) or b"<svg" in head:
        return "an SVG document"
    return "an empty file" if not data else "a file of another kind"


def _scale_key(picture: Image.Image, depth: int) -> None:
    """Give the colour that stands for transparency in 8 bits, as Pillow reads all others of a PNG."""
    key = picture.info.get("transparency")
    if depth not in (2, 4, 16) or isinstance(key, bytes | None):  # bytes: of a palette
        return
    scaled = [
        level >> 8 if depth == 16 else level * (255 // (2**depth - 1))
        for level in ([key] if isinstance(key, int) else key)
    ]
    picture.info["transparency"] = scaled[0] if isinstance(key, int) else tuple(scaled)


def _encode(picture: Image.Image, kind: str) -> HostedImage:
    ImageOps.exif_transpose(picture, in_place=True)  # a copy would be 64 MB, of 16 million pixels
    if picture.mode.startswith("I;16"):
        picture = picture.convert("I").point([v >> 8 for v in range(65536)], "L")  # convert("L") would clip
    pixels = _in_srgb(picture)
    pixels.info = {}  # encoders write what they find here: EXIF, XMP, comments, colour profiles
    out = io.BytesIO()
    if kind == "JPEG":
        mime = "image/jpeg"
        pixels.save(out, "JPEG", quality=88, optimize=True, progressive=True)
    elif kind == "WEBP":
        mime = "image/webp"
        pixels.save(out, "WEBP", quality=85, method=4)
    elif kind == "AVIF":
        mime = "image/avif"
        pixels.save(out, "AVIF", quality=75, speed=8)
    else:
        mime = "image/png"
        pixels.save(out, "PNG", optimize=True)
    data = out.getvalue()
    return HostedImage(hashlib.sha256(data).hexdigest(), mime, *pixels.size, data)


def _in_srgb(picture: Image.Image) -> Image.Image:
    """Return RGB or RGBA as browsers show it without a profile; colours mean what the picture's own profile says."""
    mode: Literal["RGB", "RGBA"] = "RGBA" if picture.has_transparency_data else "RGB"
    profile = picture.info.get("icc_profile")
    plain = picture if picture.mode == mode else picture.convert(mode)
    if not isinstance(profile, bytes) or len(profile) > MAX_PROFILE:
        return plain
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        # A profile speaks of the values as they are stored; those of a palette are RGB.
        source = picture if picture.mode in ("CMYK", "L") else plain.convert("RGB")
        shown = ImageCms.profileToProfile(source, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):  # damaged, or of another kind of picture
        return plain
    if shown is None:
        return plain
    if mode == "RGBA":
        shown.putalpha(plain.getchannel("A"))
    return shown
