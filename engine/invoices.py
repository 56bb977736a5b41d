"""Invoices: exact totals of a campaign over a month of its flight's time zone, once that month is over everywhere.

While a month runs, its totals would tell of single page views; so they are not told to advertisers before. A flight's
time zone may be changed and changed back meanwhile: so the last zone in which the month ends is waited for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone

from engine.campaign import Campaign
from engine.errors import CatalogError, MoneyError
from engine.events import EPOCH, TOKEN_S, date_of
from engine.money import Entry, MoneyStore
from engine.pricing import terms_of
from engine.store.forms import findable

NOTE = (
    "Days and months are those of the flight's time zone; reports are in UTC days. The two do not reconcile day by "
    "day, and reports carry noise: the invoice is exact."
)
FINAL = timedelta(seconds=TOKEN_S)  # after a month's end nothing is booked on it any more
LAST_ZONE = timezone(timedelta(hours=-12))  # of those that a flight may have, where days end last
_MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Month:
    """A month, whatever its time zone."""

    text: str  # 2026-11
    first: int  # its days, since 1970
    last: int

    @property
    def final(self) -> datetime:
        """Return the moment from which on nothing is booked on it any more: its totals stand."""
        after = date_of(self.last + 1)
        return datetime(after.year, after.month, 1, tzinfo=LAST_ZONE).astimezone(UTC) + FINAL


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a campaign owes for a month, in micro-units."""

    campaign: str
    advertiser: str
    month: str
    timezone: str
    currency: str
    billed_for: str  # impression, viewable or click, as the campaign is booked now
    events: int
    micros: int
    refunded_micros: int
    due_micros: int
    final: bool
    note: str


def month_of(text: str) -> Month:
    """Read a month such as 2026-11. Raises CatalogError."""
    found = _MONTH.fullmatch(text)
    if found is None:
        raise CatalogError("month", ascii(text[:20]), "a year and a month, such as 2026-11")
    year, month = int(found[1]), int(found[2])
    first = date(year, month, 1)
    after = date(year + month // 12, month % 12 + 1, 1)
    return Month(text, first.toordinal() - EPOCH, after.toordinal() - EPOCH - 1)


def invoice(money: MoneyStore, campaign: Campaign, month: Month, currency: str, now: datetime) -> Invoice:
    """Add up what a campaign owes for a month."""
    terms = terms_of(campaign)
    booked = money.billed(campaign.id, month.first, month.last)
    return Invoice(
        campaign=campaign.id,
        advertiser=campaign.advertiser,
        month=month.text,
        timezone=terms.timezone,
        currency=currency,
        billed_for=terms.kind,
        events=booked.events,
        micros=booked.micros,
        refunded_micros=booked.refunded,
        due_micros=booked.micros - booked.refunded,
        final=now >= month.final,
        note=NOTE,
    )


def refund(
    money: MoneyStore,
    campaign: str,
    month: Month,
    key: str,
    micros: int,
    note: str,
    actor: str,
    now: datetime,
) -> bool:
    """Give back what a campaign was billed for a month; say whether this key was new.

    Raises MoneyError where more would go back than was billed, where the key stands for another refund, or where
    a text has a NUL or half a surrogate pair.
    """
    if micros <= 0:
        raise MoneyError(f"micros: got {micros}, expected at least 1")
    for name, text in (("campaign", campaign), ("key", key), ("reason", note), ("actor", actor)):
        if not findable([text]):
            raise MoneyError(f"{name}: got {ascii(text[:80])}, expected text that can be kept")
    entry = Entry(f"refund/{campaign}/{key}", now, actor, "refund", campaign, month.first, micros, note)
    return money.refund(entry, month.first, month.last)
