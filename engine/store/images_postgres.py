"""Hosted pictures in PostgreSQL; they come and go with the creatives that show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from engine.store.forms import findable
from engine.store.server_postgres import PostgresServer


class PostgresImages(PostgresServer):
    """Satisfies ImageStore."""

    def image(self, hash: str) -> tuple[bytes, str] | None:
        """Return (bytes, media type) of a hosted picture."""
        rows = self.rows("SELECT data, mime FROM images WHERE hash = ANY (%s)", (findable([hash]),))
        return cast("tuple[bytes, str]", rows[0]) if rows else None

    def image_sizes(self, hashes: Sequence[str]) -> dict[str, tuple[str, int, int]]:
        """Return (media type, width, height) in pixels of the hosted pictures among these."""
        rows = self.rows("SELECT hash, mime, w, h FROM images WHERE hash = ANY (%s)", (findable(hashes),))
        return {hash: (mime, w, h) for hash, mime, w, h in rows}
