"""What was computed from texts: vectors of creatives, and what is known of pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import cast

import msgspec
import numpy as np

from contexts.context import PageFacts, Vector
from engine.store.database import Database, Room, marks
from engine.store.forms import BATCH, batches, facts_of, findable, floats, moment


class Pages(Database):
    """Satisfies PageStore, and keeps the vectors that building a snapshot needs."""

    # --- vectors of creatives, by the text that was encoded ---

    def vectors(self, encoder_id: str, hashes: Iterable[str]) -> dict[str, Vector]:
        """Return the float32 vectors, (dim,) each and read-only, that are kept for these texts."""
        found: dict[str, Vector] = {}
        for batch in batches(findable(hashes), BATCH):
            sql = (
                f"SELECT text_hash, vector FROM vectors WHERE encoder_id = ? AND text_hash IN {marks(batch)}"  # noqa: S608 - marks
            )
            for hash, data in self.rows(sql, (encoder_id, *batch)):
                found[hash] = np.frombuffer(data, np.float32)
        return found

    def put_vectors(self, encoder_id: str, vectors: Mapping[str, Vector]) -> None:
        """Keep vectors by the hash of the text that was encoded."""
        for batch in batches(vectors.items(), 10 * BATCH):  # short transactions: others write too
            with self.writing() as db:
                self.hold(db, Room.VECTORS)
                db.executemany(
                    "INSERT INTO vectors (encoder_id, text_hash, vector) VALUES (?, ?, ?)"
                    " ON CONFLICT (encoder_id, text_hash) DO UPDATE SET vector = excluded.vector",
                    ((encoder_id, hash, floats(vector)) for hash, vector in batch),
                )

    # --- what is known of pages: vectors, topics, hashes; never text ---

    def put_pages(self, pages: Iterable[PageFacts], now: datetime) -> None:
        """Keep the facts of pages. Later facts of the same content and encoder replace earlier ones."""
        rows = {
            (page.content_hash, page.encoder_id): (
                msgspec.json.encode(replace(page, vector=None)),
                None if page.vector is None else floats(page.vector),
                moment(now),
            )
            for page in pages
        }
        with self.writing() as db:
            # One at a time: who reads what comes after a number must miss none that commits later.
            self.hold(db, Room.PAGES)
            db.executemany("DELETE FROM pages WHERE content_hash = ? AND encoder_id = ?", list(rows))
            db.executemany(
                "INSERT INTO pages (content_hash, encoder_id, facts, vector, created) VALUES (?, ?, ?, ?, ?)",
                [(*key, *kept) for key, kept in rows.items()],
            )

    def page_facts(self, content_hash: str) -> list[PageFacts]:
        """Return what is known of a page's content, one for each encoder, latest last."""
        sql = "SELECT facts, vector FROM pages WHERE content_hash = ? ORDER BY seq"
        return [facts_of(*row) for row in self.rows(sql, (content_hash,))]

    def pages_since(self, seq: int, limit: int = BATCH) -> list[tuple[int, PageFacts]]:
        """Return (seq, facts) of what was put after `seq`, oldest first: workers learn so from each other."""
        sql = "SELECT seq, facts, vector FROM pages WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = self.rows(sql, (seq, limit))
        return [(row[0], facts_of(row[1], row[2])) for row in rows]

    def last_page(self) -> int:
        """Return the `seq` of the page facts put last; 0 where there are none."""
        return cast(int, self.rows("SELECT coalesce(max(seq), 0) FROM pages")[0][0])

    def put_page_urls(self, urls: Iterable[tuple[str, str, str]], now: datetime) -> None:
        """Say which content URLs stand for, by (publisher, URL hash, content hash).

        Only our own fetch or the publisher's server may call this.
        """
        at = moment(now)
        with self.writing() as db:
            self.hold(db, Room.PAGES)
            db.executemany(
                "INSERT INTO page_urls (publisher, url_hash, content_hash, created) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (publisher, url_hash) DO UPDATE SET"
                " content_hash = excluded.content_hash, created = excluded.created",
                ((*url, at) for url in urls),
            )

    def page_url(self, publisher: str, url_hash: str) -> tuple[str, datetime] | None:
        """Return (content hash, when it was defined) of a publisher's URL."""
        sql = "SELECT content_hash, created FROM page_urls WHERE publisher = ? AND url_hash = ?"
        rows = self.rows(sql, (publisher, url_hash))
        return (rows[0][0], datetime.fromisoformat(rows[0][1])) if rows else None

    def page_urls(self, since: datetime | None = None) -> Iterator[tuple[str, str, str]]:
        """Stream (publisher, URL hash, content hash) of every URL defined since then, the latest last."""
        sql = "SELECT publisher, url_hash, content_hash FROM page_urls WHERE created >= ? ORDER BY created"
        if since is not None:  # few
            yield from self.rows(sql, (moment(since),))
            return
        with self.reading() as db:
            yield from self.stream(db, sql, ("",))

    def forget_pages(self, before: datetime) -> None:
        """Drop page facts and URL definitions that are older."""
        with self.writing() as db:
            self.hold(db, Room.PAGES)
            db.execute("DELETE FROM pages WHERE created < ?", (moment(before),))
            db.execute("DELETE FROM page_urls WHERE created < ?", (moment(before),))
