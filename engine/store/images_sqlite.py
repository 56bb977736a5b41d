"""Hosted pictures in the main SQLite file; they come and go with the creatives that show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from engine.store.file_sqlite import SqliteFile
from engine.store.forms import findable, json_text


class SqliteImages(SqliteFile):
    """Satisfies ImageStore."""

    def image(self, hash: str) -> tuple[bytes, str] | None:
        """Return (bytes, media type) of a hosted picture."""
        sql = "SELECT data, mime FROM images WHERE hash IN (SELECT value FROM json_each(?))"
        rows = self.rows(sql, (json_text(findable([hash])),))
        return cast("tuple[bytes, str]", rows[0]) if rows else None

    def image_sizes(self, hashes: Sequence[str]) -> dict[str, tuple[str, int, int]]:
        """Return (media type, width, height) in pixels of the hosted pictures among these."""
        sql = "SELECT hash, mime, w, h FROM images WHERE hash IN (SELECT value FROM json_each(?))"
        rows = self.rows(sql, (json_text(findable(hashes)),))
        return {hash: (mime, w, h) for hash, mime, w, h in rows}
