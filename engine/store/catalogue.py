"""The catalogue: what advertisers and publishers own, what changed, and who said what of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import cast

import msgspec

from engine.campaign import Advertiser, Campaign, Publisher
from engine.change import KINDS, Approval, ApprovalState, Change, Entity, Kind, Versions
from engine.creative import Creative
from engine.creative_safety import hosted_images
from engine.errors import CatalogConflict
from engine.images import HostedImage
from engine.store.database import Connection, Database, Room, marks
from engine.store.forms import (
    BATCH,
    TABLES,
    UNUSED_IMAGE_DAYS,
    batches,
    body_of,
    entity_of,
    findable,
    moment,
)
from engine.store.journal import bump, journal
from engine.store.journal import versions as current
from engine.store.withdrawn import UNUSED, withdraw

# When a thing was changed, its kind and id, and what it was before.
Before = tuple[datetime, Kind, str, Entity | None]
_CHANGES = "SELECT at, kind, id, before FROM journal WHERE at >= ? ORDER BY seq DESC"


class Catalogue(Database):
    """Satisfies CatalogStore, LoadStore and ManageStore."""

    def versions(self) -> Versions:
        """Return the counters: one indexed read of one row, fit to be polled every second."""
        return Versions(*self.rows("SELECT catalog, live, keys FROM versions")[0])

    def catalog_version(self) -> int:
        """Return the counter that moves with everything a snapshot is built from."""
        return self.versions().catalog

    def size(self) -> int:
        """Return the number of creatives."""
        return cast(int, self.rows("SELECT count(*) FROM creatives")[0][0])

    @contextmanager
    def read(self) -> Iterator[CatalogReader]:
        """Open one consistent view of the catalogue, on a connection of its own, however long it is read."""
        with self.reading() as db:
            yield CatalogReader(self, db)

    def find(self, kind: Kind, ids: Sequence[str]) -> dict[str, Entity]:
        """Return the entities of these ids that exist, by id."""
        found: dict[str, Entity] = {}
        for batch in batches(findable(ids), BATCH):
            sql = f"SELECT id, json FROM {TABLES[kind]} WHERE id IN {marks(batch)}"  # noqa: S608 - a constant, and marks
            rows = self.rows(sql, tuple(batch))
            found.update((row[0], entity_of(kind, row[1])) for row in rows)
        return found

    def page(
        self, kind: Kind, after: str = "", limit: int = 100, advertiser: str | None = None
    ) -> list[Entity]:
        """Return up to `limit` entities with ids above `after`, in the order of ids.

        With `advertiser`, only its own campaigns and creatives, or the advertiser itself.
        """
        table = TABLES[kind]
        own, arguments = "", [after.partition("\0")[0]]  # no id holds more
        if advertiser is not None:
            own = {
                "publisher": "AND '' = ?",
                "advertiser": "AND id = ?",
                "campaign": "AND advertiser = ?",
                "creative": "AND campaign IN (SELECT id FROM campaigns WHERE advertiser = ?)",
            }[kind]
            arguments.append(advertiser)
        sql = f"SELECT json FROM {table} WHERE id > ? {own} ORDER BY id LIMIT ?"  # noqa: S608 - constants
        rows = self.rows(sql, (*arguments, limit))
        return [entity_of(kind, row[0]) for row in rows]

    def creatives_of(self, advertiser: str) -> Iterator[Creative]:
        """Stream every creative of an advertiser."""
        sql = (
            "SELECT creatives.json FROM campaigns JOIN creatives ON creatives.campaign = campaigns.id"
            " WHERE campaigns.advertiser = ?"
        )
        with self.reading() as db:
            for (data,) in self.stream(db, sql, (advertiser,)):
                yield cast(Creative, entity_of("creative", data))

    def journal(
        self, after: int = 0, limit: int = 1000
    ) -> list[tuple[int, str, str, str, str, bytes | None, bytes | None]]:
        """Return (seq, at, actor, kind, id, before, after) of the changes past `after`, oldest first."""
        sql = (
            'SELECT seq, at, actor, kind, id, before, "after" FROM journal WHERE seq > ? ORDER BY seq LIMIT ?'
        )
        return self.rows(sql, (after, limit))

    def journal_of(
        self, kind: str, id: str, limit: int
    ) -> list[tuple[int, str, str, str, str, bytes | None, bytes | None]]:
        """Return the same of the changes of one thing, the latest first."""
        sql = (
            'SELECT seq, at, actor, kind, id, before, "after" FROM journal'
            " WHERE kind = ? AND id = ? ORDER BY seq DESC LIMIT ?"
        )
        return self.rows(sql, (kind, id, limit)) if findable([kind, id]) == [kind, id] else []

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
        deleted: list[str] = []
        try:
            with self.writing() as db:
                self.hold(db, Room.CATALOGUE)
                found = current(db)
                if found[:2] != expected[:2]:
                    raise CatalogConflict(
                        f"the catalogue moved from version {expected[:2]} to {found[:2]}: look again"
                    )
                db.executemany(
                    "INSERT INTO images (hash, mime, w, h, data) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    ((image.hash, image.mime, image.w, image.h, image.data) for image in images),
                )
                moved = live = False
                for batch in batches(changes, BATCH):
                    only_status = all(change.is_status_only for change in batch)
                    moved, live = moved or not only_status, True
                    deleted += [change.id for change in batch if change.after is None]
                    _write_batch(db, batch, found.catalog + 1, actor, now)
                _drop_unused_images(db, now)
                return bump(db, catalog=moved, live=live)
        except self.broken as error:
            # What the database says would tell whoever deletes a thing of its tables.
            wrong = f"{', '.join(deleted[:5])}: delete first what belongs to it" if deleted else "look again"
            raise CatalogConflict(
                f"something would refer to what does not exist, or is gone: {wrong}"
            ) from error

    def approve(
        self, approvals: Sequence[Approval], hashes: Mapping[str, str], actor: str, now: datetime
    ) -> None:
        """Keep what a publisher said of creatives whose content is still `hashes[creative]`; all or none.

        Raises CatalogConflict if a creative is gone, or says something else than what was looked at.
        """
        at = moment(now)
        with self.writing() as db:
            self.hold(db, Room.CATALOGUE)
            for approval in approvals:
                row = db.execute("SELECT hash FROM creatives WHERE id = ?", (approval.creative,)).fetchone()
                if row is None or row[0] != hashes[approval.creative]:
                    raise CatalogConflict(f"creative {approval.creative} changed meanwhile: look at it again")
            catalog = current(db).catalog
            for approval in approvals:
                key = (approval.publisher, approval.creative)
                row = db.execute(
                    "SELECT state FROM approvals WHERE publisher = ? AND creative = ?", key
                ).fetchone()
                db.execute(
                    "INSERT INTO approvals (publisher, creative, state, updated) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (publisher, creative) DO UPDATE SET"
                    " state = excluded.state, updated = excluded.updated",
                    (*key, approval.state, at),
                )
                before = None if row is None else msgspec.json.encode(row[0])
                after = msgspec.json.encode(approval.state)
                journal(db, [(at, actor, "approval", "/".join(key), before, after, catalog)])
            bump(db, live=True)

    def approvals_of(self, publisher: str, creatives: Sequence[str]) -> dict[str, ApprovalState]:
        """Return what a publisher said of these creatives; those it said nothing of are left out."""
        found: dict[str, ApprovalState] = {}
        for batch in batches(findable(creatives), BATCH):
            sql = f"SELECT creative, state FROM approvals WHERE publisher = ? AND creative IN {marks(batch)}"  # noqa: S608 - marks
            found.update(self.rows(sql, (publisher, *batch)))
        return found

    def pass_by(self, versions: Versions) -> None:
        """Set the counters above these and their own, so that whoever polls them looks anew."""
        with self.writing() as db:
            self.hold(db, Room.CATALOGUE)
            ours = current(db)
            above = [max(pair) + 1 for pair in zip(ours, versions, strict=True)]
            db.execute("UPDATE versions SET catalog = ?, live = ?, keys = ?", above)


class CatalogReader:
    """One consistent view of the catalogue. Streams in the order of ids, in tuples of at most 1,000."""

    def __init__(self, database: Database, db: Connection) -> None:
        self._database = database
        self._db = db

    def versions(self) -> Versions:
        """Return the counters of what is being read."""
        return current(self._db)

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
        sql = "SELECT publisher, creative, state FROM approvals ORDER BY publisher, creative"
        rows = self._database.stream(self._db, sql)
        for batch in batches(rows, BATCH):
            yield tuple(Approval(*row) for row in batch)

    def paused(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the ids of paused campaigns and of paused creatives: small, read when `live` moves."""
        campaigns = self._db.execute("SELECT id FROM campaigns WHERE status = 'paused'")
        creatives = self._db.execute("SELECT id FROM creatives WHERE status = 'paused'")
        return frozenset(row[0] for row in campaigns), frozenset(row[0] for row in creatives)

    def changed_since(self, catalog: int) -> list[tuple[Kind, str]]:
        """Return (kind, id) of what changed in catalogue versions above `catalog`, statuses aside."""
        sql = (
            "SELECT DISTINCT kind, id FROM journal"
            " WHERE catalog > ? AND kind IN ('publisher', 'advertiser', 'campaign', 'creative')"
        )
        return [(kind, id) for kind, id in self._db.execute(sql, (catalog,))]

    def _stream(self, kind: Kind) -> Iterator[tuple[Entity, ...]]:
        rows = self._database.stream(self._db, f"SELECT json FROM {TABLES[kind]} ORDER BY id")  # noqa: S608 - a constant
        for batch in batches(rows, BATCH):
            yield tuple(entity_of(kind, row[0]) for row in batch)


@contextmanager
def catalog_since(database: Database, since: datetime) -> Iterator[tuple[CatalogReader, Iterator[Before]]]:
    """Open the catalogue as it stands, with what was changed since then, newest first."""
    with database.reading() as db:
        yield CatalogReader(database, db), _before(database.stream(db, _CHANGES, (moment(since),)))


def _before(rows: Iterator[tuple[str, Kind, str, bytes | None]]) -> Iterator[Before]:
    for at, kind, id, before in rows:
        if kind in KINDS:
            entity = None if before is None else msgspec.json.decode(before, type=KINDS[kind])
            yield datetime.fromisoformat(at), kind, id, entity


def _write_batch(db: Connection, changes: Sequence[Change], catalog: int, actor: str, now: datetime) -> None:
    at = moment(now)
    entries = []
    for change in changes:
        before = None if change.before is None else msgspec.json.encode(change.before)
        after = None if change.after is None else msgspec.json.encode(change.after)
        # A change of status leaves the snapshot as it is, so it is none of the catalogue's versions.
        version = catalog - 1 if change.is_status_only else catalog
        entries.append((at, actor, change.kind, change.id, before, after, version))
    journal(db, entries)

    withdraw(db, [one.id for one in changes if one.kind == "creative" and one.after is None], at)
    for kind, table in TABLES.items():
        gone = [(change.id,) for change in changes if change.kind == kind and change.after is None]
        db.executemany(f"DELETE FROM {table} WHERE id = ?", gone)  # noqa: S608 - a constant
        if kind in ("publisher", "advertiser") and gone:
            db.executemany(
                "DELETE FROM api_keys WHERE scope = ? AND tenant = ?", [(kind, *id) for id in gone]
            )
            bump(db, keys=True)
    kept = [change.after for change in changes if change.after is not None]
    for kind in ("publisher", "advertiser"):
        db.executemany(
            f"INSERT INTO {TABLES[kind]} (id, json, hash, updated) VALUES (?, ?, ?, ?) ON CONFLICT (id)"  # noqa: S608 - a constant
            " DO UPDATE SET json = excluded.json, hash = excluded.hash, updated = excluded.updated",
            [(entity.id, *body_of(entity), at) for entity in kept if isinstance(entity, KINDS[kind])],
        )
    db.executemany(
        "INSERT INTO campaigns (id, advertiser, status, json, hash, updated) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET advertiser = excluded.advertiser, status = excluded.status,"
        " json = excluded.json, hash = excluded.hash, updated = excluded.updated",
        [(c.id, c.advertiser, c.status, *body_of(c), at) for c in kept if isinstance(c, Campaign)],
    )
    db.executemany(
        "INSERT INTO creatives (id, campaign, status, json, hash, updated) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET campaign = excluded.campaign, status = excluded.status,"
        " json = excluded.json, hash = excluded.hash, updated = excluded.updated",
        [(c.id, c.campaign, c.status, *body_of(c), at) for c in kept if isinstance(c, Creative)],
    )
    _rewire_creatives(db, changes, at)


def _rewire_creatives(db: Connection, changes: Sequence[Change], at: str) -> None:
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
        f"UPDATE images SET unused_since = ? WHERE hash = ? AND {UNUSED}",  # noqa: S608 - a constant
        [(at, hash) for hash in sorted(dropped)],
    )


def _drop_unused_images(db: Connection, now: datetime) -> None:
    db.execute(
        "DELETE FROM images WHERE unused_since < ?", (moment(now - timedelta(days=UNUSED_IMAGE_DAYS)),)
    )
