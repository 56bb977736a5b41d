"""The PostgreSQL store: one database for all that the engine keeps, whichever machine asks; the side files apart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

from engine.store.budget_postgres import PostgresBudget, body_of
from engine.store.catalogue_postgres import PostgresCatalogue
from engine.store.consents_postgres import PostgresConsents
from engine.store.copy_postgres import PostgresCopies
from engine.store.events_postgres import PostgresEvents
from engine.store.forms import UNUSED_IMAGE_DAYS, moment
from engine.store.images_postgres import PostgresImages
from engine.store.journal_postgres import bump
from engine.store.keys_postgres import PostgresKeys
from engine.store.log_postgres import PostgresLeaves, PostgresWriterLock
from engine.store.money_postgres import PostgresMoney
from engine.store.pages_postgres import PostgresPages
from engine.store.policies_postgres import PostgresPolicies
from engine.store.reports_postgres import PostgresReportRows
from engine.store.server_postgres import Room, hold
from engine.store.uses_postgres import PostgresUses
from engine.store.withdrawn_postgres import PostgresWithdrawn, forget_withdrawn
from privacy.budget import QueryId
from privacy.consent_log import LeafStore


class PostgresStore(
    PostgresCatalogue,
    PostgresPages,
    PostgresKeys,
    PostgresImages,
    PostgresPolicies,
    PostgresWithdrawn,
    PostgresCopies,
):
    """The catalogue, its keys, its pictures, and what was computed from it, in one database."""

    def setting(self, name: str) -> str | None:
        """Return a setting of the installation, such as `currency` or `installation_id`."""
        rows = self.rows("SELECT value FROM settings WHERE name = %s", (name,))
        return cast(str, rows[0][0]) if rows else None

    def settle(self, name: str, value: str) -> str:
        """Give a setting its value for good; return the value that stands, which may be an earlier one."""
        with self.writing() as db:
            db.execute(
                "INSERT INTO settings (name, value) VALUES (%s, %s) ON CONFLICT DO NOTHING", (name, value)
            )
            rows = db.execute("SELECT value FROM settings WHERE name = %s", (name,)).fetchall()
            return cast(str, rows[0][0])

    def put_setting(self, name: str, value: str) -> None:
        """Give a setting another value."""
        with self.writing() as db:
            db.execute(
                "INSERT INTO settings (name, value) VALUES (%s, %s)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )

    # --- the stores beside, which keep their tables in the same database ---

    def leaves(self, random: Callable[[int], bytes] | None = None) -> PostgresLeaves:
        """Return the leaves of the consent log; with `random`, of one that everybody may read."""
        return PostgresLeaves(self, random)

    def uses(self, leaves: LeafStore, random_bytes: Callable[[int], bytes]) -> PostgresUses:
        """Return the receipts of consented uses."""
        return PostgresUses(self, leaves, random_bytes)

    def writer_lock(self) -> PostgresWriterLock:
        """Return the right to write the log, which one process on all machines has."""
        return PostgresWriterLock(self)

    def consents(self, leaves: LeafStore, random_bytes: Callable[[int], bytes]) -> PostgresConsents:
        """Return the consents."""
        return PostgresConsents(self, leaves, random_bytes)

    def budget(self, mark: Path, leaves: LeafStore, now: Callable[[], datetime]) -> PostgresBudget:
        """Return the ledger of privacy loss, raised to what its mark says."""
        return PostgresBudget(self, mark, leaves, now)

    def released(self, query: QueryId) -> bytes | None:
        """Return the body of a release, None where there is none."""
        return body_of(self, query)

    def events(self) -> PostgresEvents:
        """Return what happened to what was decided."""
        return PostgresEvents(self)

    def money(self) -> PostgresMoney:
        """Return what was billed."""
        return PostgresMoney(self)

    def reports(self) -> PostgresReportRows:
        """Return what reports read."""
        return PostgresReportRows(self)

    def purge(self, now: datetime, *, pages_before: datetime) -> dict[str, int]:
        """Delete pages, pictures, deleted advertisements and API keys whose time is over; return how many of each."""
        old, unused = moment(pages_before), moment(now - timedelta(days=UNUSED_IMAGE_DAYS))
        with self.writing() as db:
            hold(db, Room.CATALOGUE, Room.PAGES)
            gone = {
                "pages": db.execute("DELETE FROM pages WHERE created < %s", (old,)).rowcount,
                "page_urls": db.execute("DELETE FROM page_urls WHERE created < %s", (old,)).rowcount,
                "withdrawn": forget_withdrawn(db, now),
                "images": db.execute("DELETE FROM images WHERE unused_since < %s", (unused,)).rowcount,
                "api_keys": db.execute("DELETE FROM api_keys WHERE expires <= %s", (moment(now),)).rowcount,
            }
            if gone["api_keys"]:
                bump(db, keys=True)
            return gone
