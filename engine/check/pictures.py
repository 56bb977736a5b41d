"""Pictures of creatives."""

from __future__ import annotations

from engine.check.findings import Findings, Pictures
from engine.creative import Image
from engine.creative_safety import check_text


def check_image(image: Image, pictures: Pictures, found: Findings, path: str = "image") -> Image:
    """Return the picture as it is hosted, by its hash."""
    if not image.alt.strip():
        found.refuse(f"{path}.alt", image.alt, "what the picture shows")
    with found.collecting():
        check_text(image.alt, f"{path}.alt", found.line)
    given = [name for name in ("file", "data", "hash") if getattr(image, name) is not None]
    if len(given) != 1:
        found.refuse(path, " and ".join(given) or None, "one of file, data (base64), hash")
        return image
    with found.collecting():
        if image.file is not None:
            picture = pictures.from_file(image.file, f"{path}.file", found.line)
        elif image.data is not None:
            picture = pictures.from_base64(image.data, f"{path}.data", found.line)
        else:
            picture = pictures.hosted(image.hash or "", f"{path}.hash", found.line)
        return Image(alt=image.alt, hash=picture.hash, ext=picture.ext, w=picture.w, h=picture.h)
    return image
