"""The catalogue in one SQLite file (WAL): safe with several threads and processes.

Readers see one consistent state however long they read; a writer takes the write lock first (BEGIN
IMMEDIATE), so that what it checked is what it changes. One public method is one transaction.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import numpy as np

from contexts.context import PageFacts, Vector
from engine.campaign import Advertiser, Campaign, Publisher
from engine.change import KINDS, Approval, ApprovalState, Change, Entity, Kind, Versions, content_hash
from engine.creative import Creative
from engine.creative_safety import hosted_images
from engine.errors import CatalogConflict, StoreError
from engine.images import HostedImage
from engine.keys import ApiKey, Scope
from engine.store.scrub import rewrite, scrub

APPLICATION_ID = 0x54414354  # "TACT": tells our files from other SQLite files
BATCH = 1000  # rows read or written at a time
BUSY_TIMEOUT_S = 30.0  # how long a writer waits for another one
PAGE_WAIT_S = (
    0.05  # how long a page view waits for one: after that it is decided without its reader's consent
)
UNUSED_IMAGE_DAYS = 1  # pages that were answered before a change may still load the old picture

# Migration N takes a database from schema N to schema N + 1. Never edit one that was released; append.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE versions (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        catalog INTEGER NOT NULL, live INTEGER NOT NULL, keys INTEGER NOT NULL
    );
    INSERT INTO versions (one, catalog, live, keys) VALUES (1, 0, 0, 0);
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE publishers (
        id TEXT PRIMARY KEY, json BLOB NOT NULL, hash TEXT NOT NULL, updated TEXT NOT NULL
    );
    CREATE TABLE advertisers (
        id TEXT PRIMARY KEY, json BLOB NOT NULL, hash TEXT NOT NULL, updated TEXT NOT NULL
    );
    CREATE TABLE campaigns (
        id TEXT PRIMARY KEY,
        advertiser TEXT NOT NULL REFERENCES advertisers (id) DEFERRABLE INITIALLY DEFERRED,
        status TEXT NOT NULL, json BLOB NOT NULL, hash TEXT NOT NULL, updated TEXT NOT NULL
    );
    CREATE INDEX campaigns_of ON campaigns (advertiser, id);
    CREATE INDEX campaigns_paused ON campaigns (id) WHERE status = 'paused';
    CREATE TABLE creatives (
        id TEXT PRIMARY KEY,
        campaign TEXT NOT NULL REFERENCES campaigns (id) DEFERRABLE INITIALLY DEFERRED,
        status TEXT NOT NULL, json BLOB NOT NULL, hash TEXT NOT NULL, updated TEXT NOT NULL
    );
    CREATE INDEX creatives_of ON creatives (campaign, id);
    CREATE INDEX creatives_paused ON creatives (id) WHERE status = 'paused';
    CREATE TABLE approvals (
        publisher TEXT NOT NULL REFERENCES publishers (id) ON DELETE CASCADE,
        creative TEXT NOT NULL REFERENCES creatives (id) ON DELETE CASCADE,
        state TEXT NOT NULL CHECK (state IN ('approved', 'rejected')), updated TEXT NOT NULL,
        PRIMARY KEY (publisher, creative)
    ) WITHOUT ROWID;
    CREATE INDEX approvals_of ON approvals (creative);

    CREATE TABLE images (
        hash TEXT PRIMARY KEY, mime TEXT NOT NULL, w INTEGER NOT NULL, h INTEGER NOT NULL,
        unused_since TEXT, data BLOB NOT NULL
    );
    CREATE INDEX images_unused ON images (unused_since) WHERE unused_since IS NOT NULL;
    CREATE TABLE creative_images (
        creative TEXT NOT NULL REFERENCES creatives (id) ON DELETE CASCADE,
        hash TEXT NOT NULL REFERENCES images (hash) DEFERRABLE INITIALLY DEFERRED,
        PRIMARY KEY (hash, creative)
    ) WITHOUT ROWID;
    CREATE INDEX creative_images_of ON creative_images (creative);

    CREATE TABLE api_keys (
        id TEXT PRIMARY KEY, scope TEXT NOT NULL, tenant TEXT, secret_hash TEXT NOT NULL,
        created TEXT NOT NULL, expires TEXT, last_used_day TEXT
    ) WITHOUT ROWID;

    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, actor TEXT NOT NULL, kind TEXT NOT NULL,
        id TEXT NOT NULL, before BLOB, after BLOB, catalog INTEGER NOT NULL
    );
    CREATE INDEX journal_by_catalog ON journal (catalog);

    CREATE TABLE vectors (encoder_id TEXT NOT NULL, text_hash TEXT NOT NULL, vector BLOB NOT NULL);
    CREATE UNIQUE INDEX vectors_by_text ON vectors (encoder_id, text_hash);

    CREATE TABLE pages (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, content_hash TEXT NOT NULL, encoder_id TEXT NOT NULL,
        facts BLOB NOT NULL, vector BLOB, created TEXT NOT NULL, UNIQUE (content_hash, encoder_id)
    );
    CREATE INDEX pages_by_age ON pages (created);
    CREATE TABLE page_urls (
        publisher TEXT NOT NULL, url_hash TEXT NOT NULL, content_hash TEXT NOT NULL, created TEXT NOT NULL,
        PRIMARY KEY (publisher, url_hash)
    ) WITHOUT ROWID;
    CREATE INDEX page_urls_by_age ON page_urls (created);
    """,
    """
    CREATE TABLE log_leaves (seq INTEGER PRIMARY KEY, leaf BLOB NOT NULL)
    """,
    """
    CREATE TABLE consents (
        publisher TEXT NOT NULL, subject TEXT NOT NULL, record TEXT NOT NULL, generation INTEGER NOT NULL,
        state TEXT NOT NULL, purposes TEXT NOT NULL, expires TEXT NOT NULL, ended TEXT,
        status_idx INTEGER UNIQUE,
        PRIMARY KEY (publisher, subject)
    ) WITHOUT ROWID;
    CREATE INDEX consents_by_expiry ON consents (expires) WHERE ended IS NULL;
    CREATE INDEX consents_by_end ON consents (ended) WHERE ended IS NOT NULL;
    CREATE TABLE consent_events (seq INTEGER PRIMARY KEY, subject TEXT NOT NULL, ct BLOB NOT NULL);
    CREATE INDEX consent_events_of ON consent_events (subject, seq);
    CREATE TABLE ended_statuses (status_idx INTEGER PRIMARY KEY, until TEXT NOT NULL);
    CREATE TABLE unscrubbed (erase_id TEXT PRIMARY KEY) WITHOUT ROWID
    """,
    """
    CREATE TABLE budget (
        scope TEXT PRIMARY KEY, cap INTEGER NOT NULL, spent INTEGER NOT NULL CHECK (spent BETWEEN 0 AND cap)
    ) WITHOUT ROWID;
    CREATE TABLE releases (
        query TEXT PRIMARY KEY, at TEXT NOT NULL, costs TEXT NOT NULL, body BLOB NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE use_batches (seq INTEGER PRIMARY KEY, hour INTEGER NOT NULL, receipts BLOB NOT NULL);
    CREATE INDEX use_batches_by_hour ON use_batches (hour)
    """,
)

_TABLES: dict[Kind, str] = {
    "publisher": "publishers",
    "advertiser": "advertisers",
    "campaign": "campaigns",
    "creative": "creatives",
}
_DECODERS: dict[Kind, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(cls) for kind, cls in KINDS.items()
}
_FACTS = msgspec.json.Decoder(PageFacts)
_T = TypeVar("_T")


class SqliteStore:
    """The catalogue, its keys, its pictures, and what was computed from it, in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[sqlite3.Connection] = []
        self._prepare()

    # --- versions and settings ---

    def versions(self) -> Versions:
        """Return the counters: one indexed read of one row, fit to be polled every second."""
        return Versions(*self.rows("SELECT catalog, live, keys FROM versions")[0])

    def catalog_version(self) -> int:
        """Return the counter that moves with everything a snapshot is built from."""
        return self.versions().catalog

    def setting(self, name: str) -> str | None:
        """Return a setting of the installation, such as `currency` or `installation_id`."""
        sql = "SELECT value FROM settings WHERE name = ?"
        rows = self.rows(sql, (name,))
        return cast(str, rows[0][0]) if rows else None

    def settle(self, name: str, value: str) -> str:
        """Give a setting its value for good; return the value that stands, which may be an earlier one."""
        with self.writing() as db:
            db.execute("INSERT OR IGNORE INTO settings (name, value) VALUES (?, ?)", (name, value))
            row = db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
            return cast(str, row[0])

    # --- reading the catalogue ---

    def size(self) -> int:
        """Return the number of creatives."""
        return cast(int, self.rows("SELECT count(*) FROM creatives")[0][0])

    @contextmanager
    def read(self) -> Iterator[CatalogReader]:
        """Open one consistent view of the catalogue, on a connection of its own, however long it is read."""
        try:
            db = self._connect()
            try:
                db.execute("BEGIN")
                yield CatalogReader(db)
            finally:
                db.close()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def find(self, kind: Kind, ids: Sequence[str]) -> dict[str, Entity]:
        """Return the entities of these ids that exist, by id."""
        sql = f"SELECT id, json FROM {_TABLES[kind]} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - the table name is a constant
        found: dict[str, Entity] = {}
        for batch in _batches(ids, BATCH):
            rows = self.rows(sql, (_json(batch),))
            found.update((row[0], _entity(kind, row[1])) for row in rows)
        return found

    def page(
        self, kind: Kind, after: str = "", limit: int = 100, advertiser: str | None = None
    ) -> list[Entity]:
        """Return up to `limit` entities with ids above `after`, in the order of ids.

        With `advertiser`, only its own campaigns and creatives, or the advertiser itself.
        """
        table = _TABLES[kind]
        own, arguments = "", [after]
        if advertiser is not None:
            own = {
                "publisher": "AND 0 = ?",
                "advertiser": "AND id = ?",
                "campaign": "AND advertiser = ?",
                "creative": "AND campaign IN (SELECT id FROM campaigns WHERE advertiser = ?)",
            }[kind]
            arguments.append(advertiser)
        sql = f"SELECT json FROM {table} WHERE id > ? {own} ORDER BY id LIMIT ?"  # noqa: S608 - constants
        rows = self.rows(sql, (*arguments, limit))
        return [_entity(kind, row[0]) for row in rows]

    def creatives_of(self, advertiser: str) -> Iterator[Creative]:
        """Stream every creative of an advertiser."""
        sql = (
            "SELECT creatives.json FROM campaigns JOIN creatives ON creatives.campaign = campaigns.id"
            " WHERE campaigns.advertiser = ?"
        )
        with self.read() as reader:
            for (data,) in reader.db.execute(sql, (advertiser,)):
                yield cast(Creative, _entity("creative", data))

    def journal(
        self, after: int = 0, limit: int = 1000
    ) -> list[tuple[int, str, str, str, str, bytes | None, bytes | None]]:
        """Return (seq, at, actor, kind, id, before, after) of the changes past `after`, oldest first."""
        sql = (
            'SELECT seq, at, actor, kind, id, before, "after" FROM journal WHERE seq > ? ORDER BY seq LIMIT ?'
        )
        return self.rows(sql, (after, limit))

    # --- changing the catalogue ---

    def write(
        self,
        changes: Iterable[Change],
        images: Iterable[HostedImage],
        expected: Versions,
        actor: str,
        now: datetime,
    ) -> Versions:
        """Apply all changes in one transaction, or none.

        Raises CatalogConflict if the catalogue is no longer at `expected` (keys aside), or if a campaign or
        creative would refer to something that does not exist.
        """
        try:
            with self.writing() as db:
                current = _versions(db)
                if current[:2] != expected[:2]:
                    raise CatalogConflict(
                        f"the catalogue moved from version {expected[:2]} to {current[:2]}: look again"
                    )
                db.executemany(
                    "INSERT OR IGNORE INTO images (hash, mime, w, h, data) VALUES (?, ?, ?, ?, ?)",
                    ((image.hash, image.mime, image.w, image.h, image.data) for image in images),
                )
                moved = live = False
                for batch in _batches(changes, BATCH):
                    only_status = all(change.is_status_only for change in batch)
                    moved, live = moved or not only_status, True
                    _write_batch(db, batch, current.catalog + 1, actor, now)
                _drop_unused_images(db, now)
                return _bump(db, catalog=moved, live=live)
        except sqlite3.IntegrityError as error:
            raise CatalogConflict(f"something refers to what does not exist, or is gone: {error}") from error

    def approve(
        self, approvals: Sequence[Approval], hashes: Mapping[str, str], actor: str, now: datetime
    ) -> None:
        """Keep what a publisher said of creatives whose content is still `hashes[creative]`; all or none.

        Raises CatalogConflict if a creative is gone, or says something else than what was looked at.
        """
        at = _time(now)
        with self.writing() as db:
            for approval in approvals:
                row = db.execute("SELECT hash FROM creatives WHERE id = ?", (approval.creative,)).fetchone()
                if row is None or row[0] != hashes[approval.creative]:
                    raise CatalogConflict(f"creative {approval.creative} changed meanwhile: look at it again")
            catalog = _versions(db).catalog
            for approval in approvals:
                key = (approval.publisher, approval.creative)
                row = db.execute(
                    "SELECT state FROM approvals WHERE publisher = ? AND creative = ?", key
                ).fetchone()
                db.execute(
                    "INSERT INTO approvals (publisher, creative, state, updated) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT DO UPDATE SET state = excluded.state, updated = excluded.updated",
                    (*key, approval.state, at),
                )
                before = None if row is None else _json(row[0])
                _journal(db, [(at, actor, "approval", "/".join(key), before, _json(approval.state), catalog)])
            _bump(db, live=True)

    def approvals_of(self, publisher: str, creatives: Sequence[str]) -> dict[str, ApprovalState]:
        """Return what a publisher said of these creatives; those it said nothing of are left out."""
        sql = (
            "SELECT creative, state FROM approvals"
            " WHERE publisher = ? AND creative IN (SELECT value FROM json_each(?))"
        )
        return dict(self.rows(sql, (publisher, _json(list(creatives)))))

    # --- pictures ---

    def image(self, hash: str) -> tuple[bytes, str] | None:
        """Return (bytes, media type) of a hosted picture."""
        sql = "SELECT data, mime FROM images WHERE hash = ?"
        rows = self.rows(sql, (hash,))
        return cast("tuple[bytes, str]", rows[0]) if rows else None

    def image_sizes(self, hashes: Sequence[str]) -> dict[str, tuple[str, int, int]]:
        """Return (media type, width, height) in pixels of the hosted pictures among these."""
        sql = "SELECT hash, mime, w, h FROM images WHERE hash IN (SELECT value FROM json_each(?))"
        rows = self.rows(sql, (_json(list(hashes)),))
        return {hash: (mime, w, h) for hash, mime, w, h in rows}

    # --- API keys ---

    def keys(self) -> list[ApiKey]:
        """Return all keys, without their secrets, oldest first."""
        sql = (
            "SELECT id, scope, tenant, secret_hash, created, expires, last_used_day"
            " FROM api_keys ORDER BY created, id"
        )
        return [_key(row) for row in self.rows(sql)]

    def put_keys(self, keys: Sequence[ApiKey], actor: str, now: datetime) -> None:
        """Add keys, or give those that exist another expiry, in one step."""
        with self.writing() as db:
            catalog = _versions(db).catalog
            for key in keys:
                row = db.execute("SELECT expires FROM api_keys WHERE id = ?", (key.id,)).fetchone()
                expires = None if key.expires is None else _time(key.expires)
                db.execute(
                    "INSERT INTO api_keys (id, scope, tenant, secret_hash, created, expires)"
                    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET expires = excluded.expires",
                    (key.id, key.scope, key.tenant, key.secret_hash, _time(key.created), expires),
                )
                before = None if row is None else _json({"expires": row[0]})
                after = _json({"scope": key.scope, "tenant": key.tenant, "expires": expires})
                _journal(db, [(_time(now), actor, "key", key.id, before, after, catalog)])
            _bump(db, keys=True)

    def touch_keys(self, ids: Iterable[str], day: date) -> None:
        """Note that keys were used on a day. Nothing finer is kept."""
        with self.writing() as db:
            db.executemany(
                "UPDATE api_keys SET last_used_day = ?1"
                " WHERE id = ?2 AND (last_used_day IS NULL OR last_used_day < ?1)",
                [(day.isoformat(), id) for id in ids],
            )

    # --- vectors of creatives, by the text that was encoded ---

    def vectors(self, encoder_id: str, hashes: Iterable[str]) -> dict[str, Vector]:
        """Return the float32 vectors, (dim,) each and read-only, that are kept for these texts."""
        sql = (
            "SELECT text_hash, vector FROM vectors"
            " WHERE encoder_id = ? AND text_hash IN (SELECT value FROM json_each(?))"
        )
        found: dict[str, Vector] = {}
        for batch in _batches(hashes, BATCH):
            for hash, data in self.rows(sql, (encoder_id, _json(batch))):
                found[hash] = np.frombuffer(data, np.float32)
        return found

    def put_vectors(self, encoder_id: str, vectors: Mapping[str, Vector]) -> None:
        """Keep vectors by the hash of the text that was encoded."""
        for batch in _batches(vectors.items(), 10 * BATCH):  # short transactions: others write too
            with self.writing() as db:
                db.executemany(
                    "INSERT OR REPLACE INTO vectors (encoder_id, text_hash, vector) VALUES (?, ?, ?)",
                    ((encoder_id, hash, _floats(vector)) for hash, vector in batch),
                )

    # --- what is known of pages: vectors, topics, hashes; never text ---

    def put_pages(self, pages: Iterable[PageFacts], now: datetime) -> None:
        """Keep the facts of pages. Later facts of the same content and encoder replace earlier ones."""
        rows = [
            (
                page.content_hash,
                page.encoder_id,
                msgspec.json.encode(replace(page, vector=None)),
                None if page.vector is None else _floats(page.vector),
                _time(now),
            )
            for page in pages
        ]
        with self.writing() as db:
            db.executemany(
                "INSERT OR REPLACE INTO pages (content_hash, encoder_id, facts, vector, created)"
                " VALUES (?, ?, ?, ?, ?)",
                rows,
            )

    def page_facts(self, content_hash: str) -> list[PageFacts]:
        """Return what is known of a page's content, one for each encoder, latest last."""
        sql = "SELECT facts, vector FROM pages WHERE content_hash = ? ORDER BY seq"
        return [_facts(*row) for row in self.rows(sql, (content_hash,))]

    def pages_since(self, seq: int, limit: int = BATCH) -> list[tuple[int, PageFacts]]:
        """Return (seq, facts) of what was put after `seq`, oldest first: workers learn so from each other."""
        sql = "SELECT seq, facts, vector FROM pages WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = self.rows(sql, (seq, limit))
        return [(row[0], _facts(row[1], row[2])) for row in rows]

    def last_page(self) -> int:
        """Return the `seq` of the page facts put last; 0 where there are none."""
        return cast(int, self.rows("SELECT coalesce(max(seq), 0) FROM pages")[0][0])

    def put_page_urls(self, urls: Iterable[tuple[str, str, str]], now: datetime) -> None:
        """Say which content URLs stand for, by (publisher, URL hash, content hash).

        Only our own fetch or the publisher's server may call this.
        """
        at = _time(now)
        with self.writing() as db:
            db.executemany(
                "INSERT OR REPLACE INTO page_urls (publisher, url_hash, content_hash, created)"
                " VALUES (?, ?, ?, ?)",
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
        with self.read() as reader:
            yield from reader.db.execute(sql, ("" if since is None else _time(since),))

    def forget_pages(self, before: datetime) -> None:
        """Drop page facts and URL definitions that are older."""
        with self.writing() as db:
            db.execute("DELETE FROM pages WHERE created < ?", (_time(before),))
            db.execute("DELETE FROM page_urls WHERE created < ?", (_time(before),))

    def purge(self, now: datetime, *, pages_before: datetime) -> dict[str, int]:
        """Delete pages, unused pictures and ended API keys whose time is over; return how many of each."""
        old, unused = _time(pages_before), _time(now - timedelta(days=UNUSED_IMAGE_DAYS))
        with self.writing() as db:
            gone = {
                "pages": db.execute("DELETE FROM pages WHERE created < ?", (old,)).rowcount,
                "page_urls": db.execute("DELETE FROM page_urls WHERE created < ?", (old,)).rowcount,
                "images": db.execute("DELETE FROM images WHERE unused_since < ?", (unused,)).rowcount,
                "api_keys": db.execute("DELETE FROM api_keys WHERE expires <= ?", (_time(now),)).rowcount,
            }
            if gone["api_keys"]:
                _bump(db, keys=True)
            return gone

    # --- for the stores beside this one, which keep their tables in this file ---

    def rows(self, sql: str, arguments: tuple[object, ...] = ()) -> list[Any]:
        """Return the rows of one statement that only reads. Raises StoreError."""
        try:
            return self._connection().execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    @contextmanager
    def writing(self, wait_s: float = BUSY_TIMEOUT_S) -> Iterator[sqlite3.Connection]:
        """Hold the one write transaction of the file: committed at the end, undone where anything is raised.

        What must come true together is written inside one of these; they do not nest. Another writer is waited for
        `wait_s` seconds. Raises StoreError, and sqlite3.IntegrityError as it comes.
        """
        try:
            db = self._connection()
            begin(db, wait_s, BUSY_TIMEOUT_S)
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise StoreError(
                f"{self.path}: cannot be written ({error}): {_remedy(error, 'try again, or check the disk')}"
            ) from error

    def scrub(self, needles: Sequence[bytes]) -> None:
        """Rid the file of these bytes, whose rows are deleted; `()` rids it of all that no row holds.

        Raises StoreError where another process keeps it in use.
        """
        db = self._connection()
        if needles:
            scrub(db, self.path, needles)
        else:
            rewrite(db, self.path)

    # --- the file ---

    def pass_by(self, versions: Versions) -> None:
        """Set the counters above these and their own, so that whoever polls them looks anew."""
        with self.writing() as db:
            db.execute(
                "UPDATE versions SET catalog = max(catalog, ?) + 1, live = max(live, ?) + 1,"
                " keys = max(keys, ?) + 1",
                versions,
            )

    def close(self) -> None:
        """Close the connections of all threads; the store must not be used after."""
        with self._lock:
            for db in self._open:
                db.close()
            self._open.clear()
        self._local = threading.local()

    def _prepare(self) -> None:
        try:
            db = self._connection()
            # Tables are counted first: whoever makes them sets the id with them, in one transaction.
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            ours = db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
            if tables and not ours:
                raise StoreError(f"{self.path}: a SQLite file, but not Tactful's: name another file")
            schema = _schema(db)
            if schema > len(MIGRATIONS):
                raise StoreError(
                    f"{self.path}: has schema {schema}, this release knows {len(MIGRATIONS)}:"
                    " install the newer release, or restore a backup made before it"
                )
            db.execute("PRAGMA journal_mode = WAL")  # stays with the file
            if schema < len(MIGRATIONS):
                with self.writing():
                    self._migrate(db)
        except sqlite3.Error as error:
            self.close()
            remedy = _remedy(error, "check path and rights, or restore a backup")
            raise StoreError(f"{self.path}: cannot be opened ({error}): {remedy}") from error
        except StoreError:
            self.close()
            raise

    def _migrate(self, db: sqlite3.Connection) -> None:
        # Another process may have migrated while this one waited for the lock: read the schema again.
        for number in range(_schema(db), len(MIGRATIONS)):
            for statement in MIGRATIONS[number].split(";"):  # executescript would commit first
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number + 1}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _connect(self) -> sqlite3.Connection:
        # check_same_thread=False: close() closes the connections of other threads.
        db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = ON")  # what is erased is zeroed, see engine.store.scrub
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection. One must not be carried across a fork: SQLite would lose locks."""
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None or self._local.pid != os.getpid():
            db = self._local.db = self._connect()
            self._local.pid = os.getpid()
            with self._lock:
                self._open.append(db)
        return db

    def _unreadable(self, error: sqlite3.Error) -> StoreError:
        return StoreError(
            f"{self.path}: cannot be read ({error}): {_remedy(error, 'check the disk, or restore a backup')}"
        )


class CatalogReader:
    """One consistent view of the catalogue. Streams in the order of ids, in tuples of at most 1,000."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def versions(self) -> Versions:
        """Return the counters of what is being read."""
        return _versions(self.db)

    def publishers(self) -> Iterator[tuple[Publisher, ...]]:
        """Stream the publishers."""
        return cast("Iterator[tuple[Publisher, ...]]", self._stream("publisher"))

    def advertisers(self) -> Iterator[tuple[Advertiser, ...]]:
        """Stream the advertisers."""
        return cast("Iterator[tuple[Advertiser, ...]]", self._stream("advertiser"))

    def campaigns(self) -> Iterator[tuple[Campaign, ...]]:
        """Stream the campaigns, paused ones too."""
        return cast("Iterator[tuple[Campaign, ...]]", self._stream("campaign"))

    def creatives(self) -> Iterator[tuple[Creative, ...]]:
        """Stream the creatives, paused ones too."""
        return cast("Iterator[tuple[Creative, ...]]", self._stream("creative"))

    def approvals(self) -> Iterator[tuple[Approval, ...]]:
        """Stream what publishers said of creatives, by publisher and creative."""
        rows = self.db.execute(
            "SELECT publisher, creative, state FROM approvals ORDER BY publisher, creative"
        )
        for batch in _batches(rows, BATCH):
            yield tuple(Approval(*row) for row in batch)

    def paused(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the ids of paused campaigns and of paused creatives: small, read when `live` moves."""
        campaigns = self.db.execute("SELECT id FROM campaigns WHERE status = 'paused'")
        creatives = self.db.execute("SELECT id FROM creatives WHERE status = 'paused'")
        return frozenset(row[0] for row in campaigns), frozenset(row[0] for row in creatives)

    def changed_since(self, catalog: int) -> list[tuple[Kind, str]]:
        """Return (kind, id) of what changed in catalogue versions above `catalog`, statuses aside."""
        sql = (
            "SELECT DISTINCT kind, id FROM journal"
            " WHERE catalog > ? AND kind IN ('publisher', 'advertiser', 'campaign', 'creative')"
        )
        return self.db.execute(sql, (catalog,)).fetchall()

    def _stream(self, kind: Kind) -> Iterator[tuple[Entity, ...]]:
        rows = self.db.execute(f"SELECT json FROM {_TABLES[kind]} ORDER BY id")  # noqa: S608 - a constant
        for batch in _batches(rows, BATCH):
            yield tuple(_entity(kind, row[0]) for row in batch)


def begin(db: sqlite3.Connection, wait_s: float, usual_s: float) -> None:
    """Begin a write transaction, waiting so long for another writer, whatever the connection usually does."""
    if wait_s == usual_s:
        db.execute("BEGIN IMMEDIATE")
        return
    db.execute(f"PRAGMA busy_timeout = {round(wait_s * 1000)}")
    try:
        db.execute("BEGIN IMMEDIATE")
    finally:
        db.execute(f"PRAGMA busy_timeout = {round(usual_s * 1000)}")


def _schema(db: sqlite3.Connection) -> int:
    return cast(int, db.execute("PRAGMA user_version").fetchone()[0])


def _versions(db: sqlite3.Connection) -> Versions:
    return Versions(*db.execute("SELECT catalog, live, keys FROM versions").fetchone())


def _bump(
    db: sqlite3.Connection, *, catalog: bool = False, live: bool = False, keys: bool = False
) -> Versions:
    row = db.execute(
        "UPDATE versions SET catalog = catalog + ?, live = live + ?, keys = keys + ?"
        " RETURNING catalog, live, keys",
        (catalog, live, keys),
    ).fetchone()
    return Versions(*row)


def _write_batch(
    db: sqlite3.Connection, changes: Sequence[Change], catalog: int, actor: str, now: datetime
) -> None:
    at = _time(now)
    entries = []
    for change in changes:
        before = None if change.before is None else msgspec.json.encode(change.before)
        after = None if change.after is None else msgspec.json.encode(change.after)
        # A change of status leaves the snapshot as it is, so it is none of the catalogue's versions.
        version = catalog - 1 if change.is_status_only else catalog
        entries.append((at, actor, change.kind, change.id, before, after, version))
    _journal(db, entries)

    for kind, table in _TABLES.items():
        gone = [(change.id,) for change in changes if change.kind == kind and change.after is None]
        db.executemany(f"DELETE FROM {table} WHERE id = ?", gone)  # noqa: S608 - a constant
        if kind in ("publisher", "advertiser") and gone:
            db.executemany(
                "DELETE FROM api_keys WHERE scope = ? AND tenant = ?", [(kind, *id) for id in gone]
            )
            _bump(db, keys=True)
    kept = [change.after for change in changes if change.after is not None]
    for kind in ("publisher", "advertiser"):
        db.executemany(
            f"INSERT INTO {_TABLES[kind]} (id, json, hash, updated) VALUES (?, ?, ?, ?) ON CONFLICT (id)"  # noqa: S608 - a constant
            " DO UPDATE SET json = excluded.json, hash = excluded.hash, updated = excluded.updated",
            [(entity.id, *_body(entity), at) for entity in kept if isinstance(entity, KINDS[kind])],
        )
    db.executemany(
        "INSERT INTO campaigns (id, advertiser, status, json, hash, updated) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET advertiser = excluded.advertiser, status = excluded.status,"
        " json = excluded.json, hash = excluded.hash, updated = excluded.updated",
        [(c.id, c.advertiser, c.status, *_body(c), at) for c in kept if isinstance(c, Campaign)],
    )
    db.executemany(
        "INSERT INTO creatives (id, campaign, status, json, hash, updated) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET campaign = excluded.campaign, status = excluded.status,"
        " json = excluded.json, hash = excluded.hash, updated = excluded.updated",
        [(c.id, c.campaign, c.status, *_body(c), at) for c in kept if isinstance(c, Creative)],
    )
    _rewire_creatives(db, changes, at)


def _rewire_creatives(db: sqlite3.Connection, changes: Sequence[Change], at: str) -> None:
    """End the approvals of changed creatives, and keep count of who uses which picture."""
    changed = [
        change
        for change in changes
        if change.kind == "creative" and change.before is not None and not change.is_status_only
    ]
    db.executemany(
        "DELETE FROM approvals WHERE creative = ? AND state = 'approved'",
        [(change.id,) for change in changed],
    )
    db.executemany("DELETE FROM creative_images WHERE creative = ?", [(change.id,) for change in changed])
    used = [
        (change.after.id, hash)
        for change in changes
        if isinstance(change.after, Creative) and not change.is_status_only
        for hash in hosted_images(change.after)
    ]
    db.executemany("INSERT INTO creative_images (creative, hash) VALUES (?, ?)", used)
    db.executemany("UPDATE images SET unused_since = NULL WHERE hash = ?", [(hash,) for _, hash in used])
    dropped = {
        hash
        for change in changed
        if isinstance(change.before, Creative)
        for hash in hosted_images(change.before)
    }
    db.executemany(
        "UPDATE images SET unused_since = ?1 WHERE hash = ?2"
        " AND NOT EXISTS (SELECT 1 FROM creative_images WHERE hash = ?2)",
        [(at, hash) for hash in sorted(dropped)],
    )


def _drop_unused_images(db: sqlite3.Connection, now: datetime) -> None:
    db.execute("DELETE FROM images WHERE unused_since < ?", (_time(now - timedelta(days=UNUSED_IMAGE_DAYS)),))


def _journal(
    db: sqlite3.Connection,
    entries: Sequence[tuple[str, str, str, str, bytes | str | None, bytes | str | None, int]],
) -> None:
    db.executemany(
        'INSERT INTO journal (at, actor, kind, id, before, "after", catalog) VALUES (?, ?, ?, ?, ?, ?, ?)',
        entries,
    )


def _entity(kind: Kind, data: bytes) -> Entity:
    try:
        return cast(Entity, _DECODERS[kind].decode(data))
    except ValueError as error:
        raise StoreError(f"a stored {kind} cannot be read: {error}: restore a backup") from error


def _body(entity: Entity) -> tuple[bytes, str]:
    return msgspec.json.encode(entity), content_hash(entity)


def _key(row: tuple[str, Scope, str | None, str, str, str | None, str | None]) -> ApiKey:
    id, scope, tenant, secret_hash, created, expires, day = row
    return ApiKey(
        id=id,
        scope=scope,
        tenant=tenant,
        secret_hash=secret_hash,
        created=datetime.fromisoformat(created),
        expires=None if expires is None else datetime.fromisoformat(expires),
        last_used_day=None if day is None else date.fromisoformat(day),
    )


def _facts(facts: bytes, vector: bytes | None) -> PageFacts:
    page = _FACTS.decode(facts)
    return page if vector is None else replace(page, vector=np.frombuffer(vector, np.float32))


def _floats(vector: Vector) -> bytes:
    return np.ascontiguousarray(vector, dtype=np.float32).tobytes()


def _time(at: datetime) -> str:
    """Write a time so that text order is time order. Requires an aware time."""
    if at.tzinfo is None:
        raise ValueError("got a time without a zone, expected an aware one")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


# What a restored backup must not take back: what readers decided since, and the log that tells of it.
CARRIED = (
    "consents",
    "consent_events",
    "ended_statuses",
    "unscrubbed",
    "log_leaves",
    "use_batches",
)


def carry_over(old: Path, new: Path) -> None:
    """Put the consents and the log of a store that is about to go into the copy that takes its place.

    Raises StoreError where the old log is not a continuation of the copy's.
    """
    db = sqlite3.connect(new, isolation_level=None)
    try:
        db.execute("ATTACH ? AS old", (str(old),))
        if db.execute("PRAGMA old.user_version").fetchone() != db.execute("PRAGMA user_version").fetchone():
            raise StoreError(f"{old}: of another release: start it once, then restore")
        parted = db.execute(
            "SELECT count(*) FROM main.log_leaves AS new LEFT JOIN old.log_leaves AS o USING (seq)"
            " WHERE o.leaf IS NOT new.leaf"
        ).fetchone()[0]
        if parted:
            raise StoreError(
                f"{old}: its consent log is not that of the backup grown longer: restore beside it, into another "
                "data folder, or look it over with `tactful log fsck`"
            )
        db.execute("BEGIN IMMEDIATE")
        for table in CARRIED:
            db.execute(f"DELETE FROM main.{table}")  # noqa: S608 - a constant
            db.execute(f"INSERT INTO main.{table} SELECT * FROM old.{table}")  # noqa: S608 - a constant
        db.execute("INSERT OR REPLACE INTO main.settings SELECT * FROM old.settings WHERE name LIKE 'log%'")
        db.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreError(f"{old}: its consents cannot be carried over ({error})") from error
    finally:
        db.close()


def _remedy(error: sqlite3.Error, otherwise: str) -> str:
    """Say what to do about an error: mostly it is known by its kind alone that the disk is full."""
    code = getattr(error, "sqlite_errorcode", 0)  # misuse of the module has none
    return "make room on its disk" if _is_full(code) else otherwise


def _is_full(code: int) -> bool:
    # A limit on the size of files or of a user's share shows as a write that fails.
    return code == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_WRITE


def in_use(path: Path) -> bool:
    """Say whether a connection is open to this database, of any process."""
    db = sqlite3.connect(path, timeout=0.2, isolation_level=None)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
        db.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        return "locked" in str(error)
    except sqlite3.DatabaseError:
        return False  # damaged: nobody can be using it
    finally:
        db.close()
    return False


def copy_database(source: Path, target: Path) -> None:
    """Write a consistent copy of a database, in use or not, into a new file that stands alone; check it.

    Raises StoreError where the source cannot be read, the copy has no room, or is damaged.
    """
    original = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
    copy = sqlite3.connect(target, isolation_level=None)
    try:
        original.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        if copy.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise StoreError(f"{source}: not Tactful's: name a backup that 'tactful backup' made")
        faults = [row[0] for row in copy.execute("PRAGMA integrity_check(5)") if row[0] != "ok"]
        faults += [f"{row[0]}: hanging reference" for row in copy.execute("PRAGMA foreign_key_check")][:5]
    except sqlite3.Error as error:
        if _is_full(getattr(error, "sqlite_errorcode", 0)):
            raise StoreError(
                f"{target.parent}: no room for a copy of {source}: make room, or name another disk"
            ) from error
        faults = [str(error)]
    finally:
        original.close()
        copy.close()
    if faults:
        raise StoreError(f"{source}: damaged ({'; '.join(faults)}): use another backup")
