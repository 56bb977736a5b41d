"""The PostgreSQL store: one database for all that the engine keeps, whichever machine asks; the side files apart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from engine.store.budget import KeptBudget, body_of
from engine.store.catalogue import Catalogue
from engine.store.consents import KeptConsents
from engine.store.copy_postgres import PostgresCopies
from engine.store.events_postgres import PostgresEvents
from engine.store.images import Images
from engine.store.keys import Keys
from engine.store.leaves import KeptLeaves
from engine.store.money_postgres import PostgresMoney
from engine.store.pages import Pages
from engine.store.policies import Policies
from engine.store.reports_postgres import PostgresReportRows
from engine.store.settings import Settings
from engine.store.uses import KeptUses
from engine.store.uses_postgres import PostgresTokenUses
from engine.store.withdrawn import WithdrawnList
from engine.store.writer_lock_postgres import PostgresWriterLock
from privacy.budget import QueryId
from privacy.consent_log import LeafStore


class PostgresStore(Catalogue, Pages, Keys, Images, Policies, WithdrawnList, Settings, PostgresCopies):
    """The catalogue, its keys, its pictures, and what was computed from it, in one database."""

    # --- the stores beside, which keep their tables in the same database ---

    def leaves(self, random: Callable[[int], bytes] | None = None) -> KeptLeaves:
        """Return the leaves of the consent log; with `random`, of one that everybody may read."""
        return KeptLeaves(self, random)

    def uses(self, leaves: LeafStore, random_bytes: Callable[[int], bytes]) -> KeptUses:
        """Return the receipts of consented uses."""
        return KeptUses(self, leaves, random_bytes, PostgresTokenUses(self))

    def writer_lock(self) -> PostgresWriterLock:
        """Return the right to write the log, which one process on all machines has."""
        return PostgresWriterLock(self)

    def consents(self, leaves: LeafStore, random_bytes: Callable[[int], bytes]) -> KeptConsents:
        """Return the consents."""
        return KeptConsents(self, leaves, random_bytes, PostgresTokenUses(self))

    def budget(self, mark: Path, leaves: LeafStore, now: Callable[[], datetime]) -> KeptBudget:
        """Return the ledger of privacy loss, raised to what its mark says."""
        return KeptBudget(self, mark, leaves, now)

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
