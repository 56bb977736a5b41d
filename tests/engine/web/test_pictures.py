"""Hostile pictures over HTTP: each is refused by its field, and costs no memory to speak of."""

from __future__ import annotations

import base64
import io
import json
import resource
import struct
import zlib

import pytest
from PIL import Image

from tests.engine.web.conftest import Service


def png(w: int, h: int, *chunks: tuple[bytes, bytes], pixels: bytes = b"") -> bytes:
    out = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 6, 0, 0, 0)),
        *chunks,
        (b"IDAT", pixels),
        (b"IEND", b""),
    ):
        out += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return out


def saved(kind: str, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, 90).save(out, kind)
    return out.getvalue()


ZEROS = zlib.compress(b"\0" * 100_000_000, 9)
HOSTILE = {
    "pixels that no memory holds": png(60_000, 60_000, pixels=ZEROS),
    "a text that unpacks to 100 MB": png(
        8, 8, (b"zTXt", b"k\0\0" + ZEROS), pixels=zlib.compress(b"\0" * 264)
    ),
    "a truncated picture": saved("JPEG", (900, 900))[:400],
    "a page behind a picture's magic": b"GIF89a/*" + b"<script>alert(1)</script>" * 9,
    "a document of another kind": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a kind that is not taken": saved("TIFF"),
    "sides beyond all banners": saved("PNG", (9000, 2), "L"),
}


def put(service: Service, data: bytes) -> tuple[int, list[str]]:
    body = {
        "campaign": "k1",
        "format": "native",
        "landing_url": "https://acme.test/",
        "headline": "Boots",
        "sponsored_by": "Acme",
        "image": {"data": base64.b64encode(data).decode(), "alt": "Boots"},
    }
    client = service.app.test_client()
    answer = client.put(
        "/v1/creatives/picture",
        data=json.dumps(body),
        headers={"Authorization": f"Bearer {service.keys['acme']}", "Content-Type": "application/json"},
    )
    return answer.status_code, [error["field"] for error in json.loads(answer.data).get("errors", [])]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_is_refused_by_its_field(service: Service, name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB
    assert put(service, HOSTILE[name]) == (422, ["image.data"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 * 1024


@pytest.mark.parametrize(
    "data",
    [
        saved("JPEG", mode="CMYK"),
        saved("GIF", mode="P"),
        saved("JPEG") + b"PK\3\4 and more",
        png(2, 2, pixels=ZEROS),
    ],
)
def test_an_odd_picture_that_is_whole_is_taken(service: Service, data: bytes) -> None:
    assert put(service, data) == (201, [])
