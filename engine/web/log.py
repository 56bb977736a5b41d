"""The consent log over HTTP (C2SP tlog-tiles): its checkpoint and tiles, as they lie on the disk."""

from __future__ import annotations

from typing import Protocol

from flask import Response

from engine.keys import Scope
from engine.log_files import LogFiles
from engine.web.api import Api, Refused
from privacy.errors import LogError
from privacy.tiles import Tile

READERS: tuple[Scope, ...] = ("compliance", "operator")
CHECKPOINT_HEADERS = (("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff"))
TEXT = "text/plain; charset=utf-8"


class PublishedLog(Protocol):
    """The log as it is published."""

    @property
    def public(self) -> bool:
        """Say whether everybody may read it."""

    @property
    def files(self) -> LogFiles:
        """Return its files."""

    def fault(self) -> str | None:
        """Return why it is not signed, None where it is."""


def add_log(api: Api, log: PublishedLog) -> None:
    """Add the routes: for everybody where the log is public, else for the compliance and operator scopes."""
    scopes: tuple[Scope, ...] = () if log.public else READERS
    age = "public" if log.public else "private"
    tile_headers = (
        ("Cache-Control", f"{age}, max-age=31536000, immutable"),
        ("X-Content-Type-Options", "nosniff"),
    )

    @api.route(
        "/log/checkpoint", "GET", scopes=scopes, answer=str, answer_media="text/plain", problems=(404,)
    )
    def log_checkpoint(caller: object = None) -> Response:
        """Load the consent log's signed checkpoint."""
        data = log.files.checkpoint()
        if data is None:
            raise Refused(404, "No checkpoint yet")
        return Response(data, 200, CHECKPOINT_HEADERS, content_type=TEXT)

    @api.route(
        "/log/tile/<path:tile>",
        "GET",
        scopes=scopes,
        answer=bytes,
        answer_media="application/octet-stream",
        problems=(404,),
        path={
            "tile": {
                "type": "string",
                "pattern": r"^(entries|[0-9]{1,2})/(x[0-9]{3}/)*[0-9]{3}(\.p/[0-9]{1,3})?$",
            }
        },
    )
    def log_tile(tile: str, caller: object = None) -> Response:
        """Load a tile of the consent log: hashes, or entries."""
        try:
            data = log.files.tile(Tile.parse(f"tile/{tile}"))
        except LogError:
            data = None
        if data is None:
            raise Refused(404, "No such tile")
        return Response(data, 200, tile_headers, content_type="application/octet-stream")
