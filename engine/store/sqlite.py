"""The SQLite store: one file for all that the engine keeps, with the side files apart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from engine.store.budget import KeptBudget, body_of
from engine.store.catalogue import Catalogue
from engine.store.consents import KeptConsents
from engine.store.copy_sqlite import SqliteCopies
from engine.store.events_sqlite import SqliteEvents
from engine.store.images import Images
from engine.store.keys import Keys
from engine.store.leaves import KeptLeaves
from engine.store.money_sqlite import SqliteMoney
from engine.store.pages import Pages
from engine.store.policies import Policies
from engine.store.reports_sqlite import SqliteReportRows
from engine.store.settings import Settings
from engine.store.uses import KeptUses
from engine.store.uses_sqlite import UseFile
from engine.store.withdrawn import WithdrawnList
from privacy.budget import QueryId
from privacy.consent_log import LeafStore


class SqliteStore(Catalogue, Pages, Keys, Images, Policies, WithdrawnList, Settings, SqliteCopies):
    """The catalogue, its keys, its pictures, and what was computed from it, in one file."""

    # --- the stores beside, which keep their tables in the same file ---

    def leaves(self, random: Callable[[int], bytes] | None = None) -> KeptLeaves:
        """Return the leaves of the consent log; with `random`, of one that everybody may read."""
        return KeptLeaves(self, random)

    def uses(self, leaves: LeafStore, random_bytes: Callable[[int], bytes]) -> KeptUses:
        """Return the receipts of consented uses."""
        return KeptUses(self, leaves, random_bytes, UseFile(self))

    def writer_lock(self) -> None:
        """Return nothing: whoever has the file is on the machine of the lock file beside the log."""

    def consents(self, leaves: LeafStore, random_bytes: Callable[[int], bytes]) -> KeptConsents:
        """Return the consents."""
        return KeptConsents(self, leaves, random_bytes, UseFile(self))

    def budget(self, mark: Path, leaves: LeafStore, now: Callable[[], datetime]) -> KeptBudget:
        """Return the ledger of privacy loss, raised to what its mark says."""
        return KeptBudget(self, mark, leaves, now)

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
