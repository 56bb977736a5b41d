"""Reports of an installation, put together: ledger, releases, what is due, and the exact invoices beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from engine.campaign import Campaign
from engine.change import Entity, Kind
from engine.config import Config
from engine.errors import NotFound, QueryRefused
from engine.exact_counts import source
from engine.invoices import Invoice, invoice, month_of
from engine.keys import Caller
from engine.learn.diet import Diet
from engine.learn.response import Model, train
from engine.money import MoneyStore
from engine.pricing import terms_of
from engine.releases import Done, Releases, last_closed
from engine.report import REPORTS, Answer, Released, Report, answer, ask
from engine.report_keys import CatalogDays, topics
from engine.report_plan import Spent, State, state_of
from engine.store.high_water import FILE as MARK
from engine.tally import Tally, Topics
from privacy.budget import SpendStore
from privacy.consent_log import LeafStore
from privacy.release import day_number, day_of
from privacy.workload import CONSENTED, TABLES

SINCE = "reports_from"  # setting: the day from which on days are released by themselves
MOST_INVOICES = 100  # beside one report
OWNERS = {"campaign": "advertiser", "publisher": "publisher"}  # dimension → scope of its tenants


class ReportRows(CatalogDays, Protocol):
    """What the store has of the catalogue of past days, and of events."""

    def tally(self, topics: Topics) -> Tally:
        """Return what counts the events there."""


class ReportHome(Protocol):
    """The store, as far as reports ask it."""

    def setting(self, name: str) -> str | None:
        """Return a setting of the installation."""

    def settle(self, name: str, value: str) -> str:
        """Give a setting its value for good; return the value that stands."""

    def find(self, kind: Kind, ids: Sequence[str]) -> Mapping[str, Entity]:
        """Return the things of these ids that exist."""

    def page(self, kind: Kind, after: str, limit: int, advertiser: str | None = None) -> list[Entity]:
        """Return up to `limit` things with ids above `after`; with `advertiser`, only its own."""

    def budget(self, mark: Path, leaves: LeafStore, now: Callable[[], datetime]) -> SpendStore:
        """Return the ledger of privacy loss."""

    def money(self) -> MoneyStore:
        """Return what was billed."""

    def reports(self) -> ReportRows:
        """Return what reports read."""


class Reporting:
    """What a process has of reports."""

    def __init__(
        self,
        config: Config,
        store: ReportHome,
        leaves: LeafStore,
        now: Callable[[], datetime],
        tally: Tally | None = None,
    ) -> None:
        """Take another `tally` where events are counted elsewhere than in the store."""
        self._config, self._store, self._now = config, store, now
        self._rows = store.reports()
        self._tally = tally or self._rows.tally(topics())
        self.use(store.budget(config.key_dir / MARK, leaves, now))
        self._money = store.money()
        self.currency = config.currency

    def use(self, budget: SpendStore) -> None:
        """Go on with another ledger, knowing nothing of what was read: for a proof, on a copy."""
        self.budget = budget
        self.released = Released(budget)
        tables = (*TABLES, *CONSENTED) if self._config.conversions == "clicks" else TABLES
        self.releases = Releases(budget, self._tally, self._rows, self._now, tables)

    def diet(self) -> Diet:
        """Return what ranking may learn from, as the setting has it."""
        return Diet(source(self._config, self.released, self._tally, self._rows), self.closed)

    def learn(self, seed: int) -> Model:
        """Learn from what was released."""
        diet = self.diet()
        return train(diet, seed, diet.last_day)

    def closed(self) -> int:
        """Return the last closed day, days since 1970."""
        return last_closed(self._now())

    def due(self) -> list[int]:
        """Return the closed days that are to be released now. The first time, there are none: days count from then."""
        since = self._store.setting(SINCE)
        if since is None:
            since = self._store.settle(SINCE, self._now().date().isoformat())
        return self.releases.due(day_number(date.fromisoformat(since)))

    def release_due(self) -> Iterator[tuple[int, Done]]:
        """Release what is due, day by day. Raises as Releases.release does."""
        for day in self.due():
            yield day, self.releases.release(day)

    def ask(
        self,
        caller: Caller,
        report: str,
        first: int,
        last: int,
        by: Iterable[str] | None,
        where: dict[str, list[str]],
    ) -> Answer:
        """Answer what a caller asks of its own. Raises QueryRefused, which says what is allowed."""
        if report in REPORTS and not may_see(REPORTS[report], caller):
            raise QueryRefused("report", "one of another scope", f"one of {', '.join(seen_by(caller))}")
        query = ask(report, first, last, by, self._own(caller, report, where))
        return answer(self.released, query, self.closed())

    def _own(self, caller: Caller, report: str, where: dict[str, list[str]]) -> dict[str, Iterable[str]]:
        """Narrow a question to what is the caller's: what is another's is like what does not exist."""
        narrowed: dict[str, Iterable[str]] = dict(where)
        owner = REPORTS[report].owner if report in REPORTS else None
        if owner is None or caller.tenant is None:
            return narrowed
        own = {caller.tenant} if owner == "publisher" else {c.id for c in self.campaigns(caller.tenant)}
        narrowed[owner] = own & set(where[owner]) if owner in where else own
        return narrowed

    def campaigns(self, advertiser: str | None) -> Iterator[Campaign]:
        """Yield an advertiser's campaigns, or all, by id."""
        after = ""
        while page := self._store.page("campaign", after, 1000, advertiser):
            yield from (one for one in page if isinstance(one, Campaign))
            after = page[-1].id

    def invoices(self, told: Answer) -> Iterator[Invoice]:
        """Yield the exact totals of the campaigns of a report, for the billing months of its days that are over.

        They are those that it is narrowed to, below the floor or not, or else those that it has rows of. Of a month
        that still runs nothing is told: from one look to the next it would tell what was shown between.
        """
        wanted: Iterable[str] = told.query.where.get("campaign", ())
        if not wanted and "campaign" in told.query.by:
            place = told.query.by.index("campaign")
            wanted = {row.key[place] or "" for row in told.rows} - {""}
        ids = sorted(wanted)[:MOST_INVOICES]
        found = self._store.find("campaign", ids)
        for id in ids:
            campaign = found.get(id)
            if isinstance(campaign, Campaign):
                yield from self._months(campaign, told.query.first, told.query.last)

    def state(self, campaign: str, advertiser: str | None = None) -> State:
        """Say where a campaign stands, of this advertiser or of any. Raises NotFound."""
        found = self._store.find("campaign", [campaign]).get(campaign)
        if not isinstance(found, Campaign) or advertiser not in (None, found.advertiser):
            raise NotFound(f"campaign: got {ascii(campaign[:80])}, expected the id of a campaign")
        flight, now = found.flight, self._now()
        today = day_number(now.astimezone(ZoneInfo(flight.timezone)).date())
        total = self._money.billed(campaign, 0, today + 1).micros
        least = terms_of(found).least  # of what is left that pays for a placement
        spent = Spent(
            flight.budget_micros is not None and flight.budget_micros - total < least,
            flight.daily_budget_micros is not None
            and flight.daily_budget_micros - self._money.billed(campaign, today, today).micros < least,
        )
        return state_of(found, spent, self.released, self.closed(), now)

    def _months(self, campaign: Campaign, first: int, last: int) -> Iterator[Invoice]:
        month = day_of(first).replace(day=1)
        while month <= day_of(last):
            made = invoice(self._money, campaign, month_of(f"{month:%Y-%m}"), self.currency, self._now())
            if made.final:
                yield made
            month = (month + timedelta(days=32)).replace(day=1)


def may_see(report: Report, caller: Caller) -> bool:
    """Say whether a scope has anything of its own in a report."""
    return caller.tenant is None or report.owner is None or OWNERS[report.owner] == caller.scope


def seen_by(caller: Caller) -> list[str]:
    """Return the names of the reports that a caller may ask for."""
    return [name for name, report in REPORTS.items() if may_see(report, caller)]


def plain_done(day: int, done: Done) -> dict[str, Any]:
    """Say what a run did, as JSON values."""
    return {
        "day": day_of(day).isoformat(),
        "released": [name for name, _ in done.released],
        "refused": [name for name, _ in done.refused],
        "failed": [f"{name}: {why}" for name, _, why in done.failed],
    }
