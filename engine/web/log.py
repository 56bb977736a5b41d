"""The consent log over HTTP (C2SP tlog-tiles): its checkpoint and tiles, as they lie on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from flask import Response

from engine.keys import Scope
from engine.log_files import LogFiles
from engine.web.api import Api, Refused
from privacy.errors import LogError
from privacy.tiles import Tile

READERS: tuple[Scope, ...] = ("compliance", "operator")
CHECKPOINT_HEADERS = (("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff"))
TEXT = "text/plain; charset=utf-8"
_YEAR_DIGITS = 4


class PublishedLog(Protocol):
    """The log as it is published."""

    @property
    def public(self) -> bool:
        """Say whether everybody may read it."""

    @property
    def shards(self) -> PublishedShards:
        """Return its shards."""

    def fault(self) -> str | None:
        """Return why it is not signed, None where it is."""


class PublishedShards(Protocol):
    """The shards of a log as they are published."""

    def published(self, year: int | None) -> LogFiles:
        """Return the files of the shard of a year, of the first one for None, whether or not there are any."""


_TILE: Mapping[str, Any] = {
    "type": "string",
    "pattern": r"^(entries|[0-9]{1,2})/(x[0-9]{3}/)*[0-9]{3}(\.p/[0-9]{1,3})?$",
}
_YEAR: Mapping[str, Any] = {"type": "string", "pattern": "^[0-9]{4}$"}


def add_log(api: Api, log: PublishedLog) -> None:
    """Add the routes: for everybody where the log is public, else for the compliance and operator scopes."""
    scopes: tuple[Scope, ...] = () if log.public else READERS
    age = "public" if log.public else "private"
    tile_headers = (
        ("Cache-Control", f"{age}, max-age=31536000, immutable"),
        ("X-Content-Type-Options", "nosniff"),
    )

    def files_of(year: str | None) -> LogFiles:
        if year is None:
            return log.shards.published(None)
        if len(year) != _YEAR_DIGITS or not (year.isascii() and year.isdigit()):
            raise Refused(404, "No such shard")
        return log.shards.published(int(year))

    def checkpoint_of(year: str | None) -> Response:
        data = files_of(year).checkpoint()
        if data is None:
            raise Refused(404, "No checkpoint yet")
        return Response(data, 200, CHECKPOINT_HEADERS, content_type=TEXT)

    def tile_of(year: str | None, tile: str) -> Response:
        files = files_of(year)
        try:
            data = files.tile(Tile.parse(f"tile/{tile}"))
        except LogError:
            data = None
        if data is None:
            raise Refused(404, "No such tile")
        return Response(data, 200, tile_headers, content_type="application/octet-stream")

    @api.route(
        "/log/checkpoint", "GET", scopes=scopes, answer=str, answer_media="text/plain", problems=(404,)
    )
    def log_checkpoint(caller: object = None) -> Response:
        """Load the signed checkpoint of the consent log, or of its first shard where years have passed."""
        return checkpoint_of(None)

    @api.route(
        "/log/tile/<path:tile>",
        "GET",
        scopes=scopes,
        answer=bytes,
        answer_media="application/octet-stream",
        problems=(404,),
        path={"tile": _TILE},
    )
    def log_tile(tile: str, caller: object = None) -> Response:
        """Load a tile of the consent log, or of its first shard: hashes, or entries."""
        return tile_of(None, tile)

    @api.route(
        "/log/<year>/checkpoint",
        "GET",
        scopes=scopes,
        answer=str,
        answer_media="text/plain",
        problems=(404,),
        path={"year": _YEAR},
    )
    def log_shard_checkpoint(year: str, caller: object = None) -> Response:
        """Load the signed checkpoint of the shard that began in a year."""
        return checkpoint_of(year)

    @api.route(
        "/log/<year>/tile/<path:tile>",
        "GET",
        scopes=scopes,
        answer=bytes,
        answer_media="application/octet-stream",
        problems=(404,),
        path={"year": _YEAR, "tile": _TILE},
    )
    def log_shard_tile(year: str, tile: str, caller: object = None) -> Response:
        """Load a tile of the shard that began in a year: hashes, or entries."""
        return tile_of(year, tile)
