"""The installation's settings, and the end of what is kept for a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

from engine.store.database import Database, Room
from engine.store.forms import UNUSED_IMAGE_DAYS, moment
from engine.store.journal import bump
from engine.store.withdrawn import forget_withdrawn


class Settings(Database):
    """Keeps what holds for the installation, and lets go of what is over."""

    def setting(self, name: str) -> str | None:
        """Return a setting of the installation, such as `currency` or `installation_id`."""
        sql = "SELECT value FROM settings WHERE name = ?"
        rows = self.rows(sql, (name,))
        return cast(str, rows[0][0]) if rows else None

    def settle(self, name: str, value: str) -> str:
        """Give a setting its value for good; return the value that stands, which may be an earlier one."""
        with self.writing() as db:
            db.execute(
                "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, value)
            )
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

    def purge(self, now: datetime, *, pages_before: datetime) -> dict[str, int]:
        """Delete pages, pictures, deleted advertisements and API keys whose time is over; return how many of each."""
        old, unused = moment(pages_before), moment(now - timedelta(days=UNUSED_IMAGE_DAYS))
        with self.writing() as db:
            self.hold(db, Room.CATALOGUE, Room.PAGES)
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
