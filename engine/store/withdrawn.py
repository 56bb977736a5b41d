"""Advertisements that were deleted: for a year the repository goes on telling of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from engine.change import LISTED, Withdrawn
from engine.store.database import Connection, Database
from engine.store.forms import moment, withdrawn_of

UNUSED = (  # of a row of images
    "NOT EXISTS (SELECT 1 FROM creative_images AS used WHERE used.hash = images.hash)"
    " AND NOT EXISTS (SELECT 1 FROM withdrawn_images AS used WHERE used.hash = images.hash)"
)


class WithdrawnList(Database):
    """Lists what was deleted."""

    def withdrawn(self, after: str, limit: int, now: datetime) -> list[Withdrawn]:
        """Return up to `limit` creatives deleted within the year with ids above `after`, by id; none that are back."""
        rows = self.rows(
            "SELECT at, json, campaign, advertiser FROM withdrawn WHERE creative > ? AND at >= ?"
            " AND creative NOT IN (SELECT id FROM creatives) ORDER BY creative LIMIT ?",
            (after, moment(now - LISTED), limit),
        )
        return [withdrawn_of(*row) for row in rows]


def withdraw(db: Connection, creatives: Iterable[str], at: str) -> None:
    """Keep what creatives that are about to be deleted say, who paid, and their pictures."""
    gone = [(id,) for id in creatives]
    db.executemany(
        "INSERT INTO withdrawn (creative, at, json, campaign, advertiser)"
        " SELECT c.id, ?, c.json, k.json, a.json FROM creatives AS c JOIN campaigns AS k ON k.id = c.campaign"
        " JOIN advertisers AS a ON a.id = k.advertiser WHERE c.id = ? ON CONFLICT (creative) DO UPDATE SET"
        " at = excluded.at, json = excluded.json, campaign = excluded.campaign, advertiser = excluded.advertiser",
        [(at, *id) for id in gone],
    )
    db.executemany("DELETE FROM withdrawn_images WHERE creative = ?", gone)
    db.executemany(
        "INSERT INTO withdrawn_images (creative, hash) SELECT creative, hash FROM creative_images WHERE creative = ?",
        gone,
    )


def forget_withdrawn(db: Connection, now: datetime) -> int:
    """Delete what was deleted more than a year ago, and let its pictures go; return how many."""
    before = (moment(now - LISTED),)
    hashes = db.execute(
        "SELECT DISTINCT hash FROM withdrawn_images JOIN withdrawn USING (creative) WHERE at < ?", before
    ).fetchall()
    gone = db.execute("DELETE FROM withdrawn WHERE at < ?", before).rowcount
    db.executemany(
        f"UPDATE images SET unused_since = ? WHERE hash = ? AND unused_since IS NULL AND {UNUSED}",  # noqa: S608 - a constant
        [(moment(now), hash) for (hash,) in hashes],
    )
    return gone
