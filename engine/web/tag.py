"""/v1/tag: the files of `<contextual-ad>`, at addresses that never change what they give."""

from __future__ import annotations

from flask import Response

from engine.publisher.tag import TagFile, tag_files
from engine.web.api import Api

HEADERS = (
    ("Cache-Control", "public, max-age=31536000, immutable"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("Access-Control-Allow-Origin", "*"),  # a browser checks the integrity of what it may read
)


def add_tag(api: Api) -> None:
    """Add a route for each file."""
    for file in tag_files():
        _add(api, file)


def _add(api: Api, file: TagFile) -> None:
    def load() -> Response:
        return Response(file.data, 200, HEADERS, content_type=f"{file.media}; charset=utf-8")

    name = "tag_" + file.path.removeprefix("/v1/tag/").replace("/", "_").replace("-", "_").replace(".", "_")
    api.raw(
        file.path, "GET", name=name, summary="Load a file of the tag", answer=str, answer_media=file.media
    )(load)
