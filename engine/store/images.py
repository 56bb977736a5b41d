"""Hosted pictures; they come and go with the creatives that show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from engine.store.database import Database, marks
from engine.store.forms import BATCH, batches, findable


class Images(Database):
    """Satisfies ImageStore."""

    def image(self, hash: str) -> tuple[bytes, str] | None:
        """Return (bytes, media type) of a hosted picture."""
        rows = self.rows("SELECT data, mime FROM images WHERE hash = ?", (hash,)) if findable([hash]) else []
        return cast("tuple[bytes, str]", rows[0]) if rows else None

    def image_sizes(self, hashes: Sequence[str]) -> dict[str, tuple[str, int, int]]:
        """Return (media type, width, height) in pixels of the hosted pictures among these."""
        found: dict[str, tuple[str, int, int]] = {}
        for batch in batches(findable(hashes), BATCH):
            sql = f"SELECT hash, mime, w, h FROM images WHERE hash IN {marks(batch)}"  # noqa: S608 - marks
            found.update((hash, (mime, w, h)) for hash, mime, w, h in self.rows(sql, tuple(batch)))
        return found
