"""The SQLite store: one file for all that the engine keeps, with the side files apart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

from engine.store.budget_sqlite import SqliteBudget, body_of
from engine.store.catalogue_sqlite import SqliteCatalogue
from engine.store.consents_sqlite import SqliteConsents
from engine.store.copy_sqlite import SqliteCopies
from engine.store.events_sqlite import SqliteEvents
from engine.store.forms import UNUSED_IMAGE_DAYS, moment
from engine.store.images_sqlite import SqliteImages
from engine.store.journal_sqlite import bump
from engine.store.keys_sqlite import SqliteKeys
from engine.store.log_sqlite import SqliteLeaves
from engine.store.money_sqlite import SqliteMoney
from engine.store.pages_sqlite import SqlitePages
from engine.store.policies_sqlite import SqlitePolicies
from engine.store.reports_sqlite import SqliteReportRows
from engine.store.uses_sqlite import SqliteUses
from engine.store.withdrawn_sqlite import SqliteWithdrawn, forget_withdrawn
from privacy.budget import QueryId
from privacy.consent_log import LeafStore


class SqliteStore(
    SqliteCatalogue, SqlitePages, SqliteKeys, SqliteImages, SqlitePolicies, SqliteWithdrawn, SqliteCopies
):
    """The catalogue, its keys, its pictures, and what was computed from it, in one file."""

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

    def put_setting(self, name: str, value: str) -> None:
        """Give a setting another value."""
        with self.writing() as db:
            db.execute(
                "INSERT INTO settings (name, value) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )

    # --- the stores beside, which keep their tables in the same file ---

    def leaves(self, random: Callable[[int], bytes] | None = None) -> SqliteLeaves:
        """Return the leaves of the consent log; with `random`, of one that everybody may read."""
        return SqliteLeaves(self, random)

    def uses(self, leaves: LeafStore, random_bytes: Callable[[int], bytes]) -> SqliteUses:
        """Return the receipts of consented uses."""
        return SqliteUses(self, leaves, random_bytes)

    def writer_lock(self) -> None:
        """Return nothing: whoever has the file is on the machine of the lock file beside the log."""

    def consents(self, leaves: LeafStore, random_bytes: Callable[[int], bytes]) -> SqliteConsents:
        """Return the consents."""
        return SqliteConsents(self, leaves, random_bytes=random_bytes)

    def budget(self, mark: Path, leaves: LeafStore, now: Callable[[], datetime]) -> SqliteBudget:
        """Return the ledger of privacy loss, raised to what its mark says."""
        return SqliteBudget(self, mark, leaves, now)

    def released(self, query: QueryId) -> bytes | None:
        """Return the body of a release, None where there is none."""
        return body_of(self, query)

    def events(self) -> SqliteEvents:
        """Return what happened to what was decided."""
        return SqliteEvents(self)

    def money(self) -> SqliteMoney:
        """Return what was billed."""
        return SqliteMoney(self)

    def reports(self) -> SqliteReportRows:
        """Return what reports read: days of events, and the catalogue of past days."""
        return SqliteReportRows(self)

    def purge(self, now: datetime, *, pages_before: datetime) -> dict[str, int]:
        """Delete pages, pictures, deleted advertisements and API keys whose time is over; return how many of each."""
        old, unused = moment(pages_before), moment(now - timedelta(days=UNUSED_IMAGE_DAYS))
        with self.writing() as db:
            gone = {
                "pages": db.execute("DELETE FROM pages WHERE created < ?", (old,)).rowcount,
                "page_urls": db.execute("DELETE FROM page_urls WHERE created < ?", (old,)).rowcount,
                "withdrawn": forget_withdrawn(db, now),
                "images": db.execute("DELETE FROM images WHERE unused_since < ?", (unused,)).rowcount,
                "api_keys": db.execute("DELETE FROM api_keys WHERE expires <= ?", (moment(now),)).rowcount,
            }
            if gone["api_keys"]:
                bump(db, keys=True)
            return gone
