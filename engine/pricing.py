"""What a campaign bids, what that is worth beside others, and what it pays: whole micro-units all through.

Our own creatives compete in a second-price auction: who wins pays the least bid that would still have won against the
next of its peers (`engine.rank`), and no less than the floor. Where no other advertiser fits as well, nothing was
outbid: the booked price is paid.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from engine.campaign import Campaign
from engine.events import EPOCH, KINDS, Kind

# What a thousand impressions lead to, where a bid is not for impressions: until anything better is known.
VIEWABLE_PER_MILLE = 600
CLICKS_PER_MILLE = 1
HELD_CLICKS_PER_MILLE = 5  # of a click's price, held for each impression: more than clicks are expected
MATCH_PARTS = 10**6  # matches are rounded to so many parts (`engine.rank`)


Pacing = Literal["asap", "even", "front"]


class Terms(Struct, frozen=True):
    """What a campaign pays for and may spend, in micro-units. The price is for `per` events of a kind."""

    kind: Kind = "impression"
    price: int = 0
    per: int = 1000
    total: int | None = None
    daily: int | None = None
    timezone: str = "UTC"
    pacing: Pacing = "asap"
    start: int | None = None  # of the flight, seconds since 1970
    end: int | None = None

    @property
    def bounded(self) -> bool:
        """Say whether it has a budget."""
        return self.total is not None or self.daily is not None

    @property
    def event_price(self) -> int:
        """Return the most that one event costs: a thousand never cost more than what was bid for them."""
        return self.price // self.per

    @property
    def least(self) -> int:
        """Return what a slice of its budget must hold to pay for one placement."""
        return max(1, held(self.kind, self.event_price))


def terms_of(campaign: Campaign) -> Terms:
    """Return what a campaign pays for and may spend."""
    flight, kind, price, per = campaign.flight, KINDS[0], campaign.cpm_micros, 1000
    if campaign.vcpm_micros:
        kind, price = "viewable", campaign.vcpm_micros
    elif campaign.cpc_micros:
        kind, price, per = "click", campaign.cpc_micros, 1
    return Terms(
        kind,
        price,
        per,
        flight.budget_micros,
        flight.daily_budget_micros,
        flight.timezone,
        flight.pacing,
        None if flight.start is None else int(flight.start.timestamp()),
        None if flight.end is None else int(flight.end.timestamp()),
    )


def value_of(campaign: Campaign) -> int:
    """Return what a thousand impressions are worth to a campaign: its bid beside others."""
    if campaign.vcpm_micros:
        return max(1, campaign.vcpm_micros * VIEWABLE_PER_MILLE // 1000)
    if campaign.cpc_micros:
        return max(1, campaign.cpc_micros * CLICKS_PER_MILLE)
    return campaign.cpm_micros


def event_price(terms: Terms, bid: int, match: float, floor: int, rival: float | None) -> int:
    """Return what one event costs. `bid` and `floor` are for a thousand impressions.

    `rival` is the value, match × bid, of the one that was outbid; None where nobody was.
    """
    if rival is None or match <= 0 or bid <= 0:
        return terms.event_price
    # Matches have so few digits that both are whole; what is left over is rounded in favour of who pays.
    least = max(floor, -(-round(rival * MATCH_PARTS) // round(match * MATCH_PARTS)))
    return terms.price * min(bid, least) // (bid * terms.per)


def held(kind: Kind, price: int) -> int:
    """Return what is held of a budget for one placement until its event, of this price, comes or can come no more."""
    return max(1, price * HELD_CLICKS_PER_MILLE // 1000) if kind == "click" and price else price


def billing_day(timezone: str, at: datetime) -> int:
    """Return the day that it is where a campaign is billed, days since 1970. Requires an aware time."""
    return at.astimezone(ZoneInfo(timezone)).date().toordinal() - EPOCH
