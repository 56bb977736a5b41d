"""API keys, without their secrets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime

import msgspec

from engine.keys import ApiKey
from engine.store.database import Database, Room
from engine.store.forms import key_of, moment
from engine.store.journal import bump, journal, versions


class Keys(Database):
    """Keeps what KeyStore asks for of keys."""

    def keys(self) -> list[ApiKey]:
        """Return all keys, without their secrets, oldest first."""
        sql = (
            "SELECT id, scope, tenant, secret_hash, created, expires, last_used_day"
            " FROM api_keys ORDER BY created, id"
        )
        return [key_of(row) for row in self.rows(sql)]

    def put_keys(self, keys: Sequence[ApiKey], actor: str, now: datetime) -> None:
        """Add keys, or give those that exist another expiry, in one step."""
        with self.writing() as db:
            self.hold(db, Room.CATALOGUE)
            catalog = versions(db).catalog
            for key in keys:
                row = db.execute("SELECT expires FROM api_keys WHERE id = ?", (key.id,)).fetchone()
                expires = None if key.expires is None else moment(key.expires)
                db.execute(
                    "INSERT INTO api_keys (id, scope, tenant, secret_hash, created, expires)"
                    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET expires = excluded.expires",
                    (key.id, key.scope, key.tenant, key.secret_hash, moment(key.created), expires),
                )
                before = None if row is None else msgspec.json.encode({"expires": row[0]})
                after = msgspec.json.encode({"scope": key.scope, "tenant": key.tenant, "expires": expires})
                journal(db, [(moment(now), actor, "key", key.id, before, after, catalog)])
            bump(db, keys=True)

    def touch_keys(self, ids: Iterable[str], day: date) -> None:
        """Note that keys were used on a day. Nothing finer is kept."""
        with self.writing() as db:
            db.executemany(  # in one order, so that no two writers wait for each other
                "UPDATE api_keys SET last_used_day = ? WHERE id = ? AND (last_used_day IS NULL OR last_used_day < ?)",
                [(day.isoformat(), id, day.isoformat()) for id in sorted(ids)],
            )
