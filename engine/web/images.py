"""Hosted pictures: an address that names its content never changes it."""

from __future__ import annotations

from flask import Response

from engine.images import ImageStore, hosted_image
from engine.web.api import Api, Refused

PATH = "/images/<name>"
HEADERS = (
    ("Cache-Control", "public, max-age=31536000, immutable"),
    ("X-Content-Type-Options", "nosniff"),
    # Opened by itself a picture is a document: one that may do nothing.
    ("Content-Security-Policy", "default-src 'none'; sandbox"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
)


def add_images(api: Api, store: ImageStore) -> None:
    """Add the route."""
    name = {"name": {"type": "string", "pattern": r"^[0-9a-f]{64}(\.(png|jpg|webp|avif))?$"}}

    @api.route(PATH, "GET", answer=bytes, answer_media="image/*", problems=(404,), path=name)
    def image(name: str) -> Response:
        """Load a hosted picture."""
        found = hosted_image(store, name)
        if found is None:
            raise Refused(404, "No such picture")
        return Response(found[0], 200, HEADERS, content_type=found[1])
