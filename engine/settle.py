"""How events are settled and budgets leased, as arithmetic: what a store reads goes in, what it writes comes out.

Whoever calls these holds the accounts concerned, so that nobody else books on them meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from engine.events import BEYOND, Event
from engine.money import ALLOWED_CLICKS, ALLOWED_PER_MILLE, Caps, Entry, Use
from engine.pricing import held

SHARE = 4  # of what is left of a budget, a worker leases one part in so many
AT_ONCE = 200  # campaigns leased by one transaction: events are kept between them

Key = tuple[bytes, int, str]  # view, slot, kind
Sums = dict[tuple[str, int, int], list[int]]  # (campaign, billing day, UTC day) → events, micros
Day = tuple[str, int]  # of a publisher
Short = dict[str, tuple[int | None, dict[int, int]]]  # campaign → left in all, left of its billing days


def once(events: Sequence[Event]) -> list[Event]:
    """Leave out what is told twice. As invalid and as not: the invalid one stands, for bursts are."""
    found: dict[Key, Event] = {event[0][:3]: event for event in events}
    if len(found) < len(events):
        found |= {event[0][:3]: event for event in events if event.row.ivt}
    return list(found.values())


def counted(events: Iterable[Event]) -> tuple[dict[Day, int], dict[Day, int]]:
    """Count the valid impressions, and the clicks that cost something, of each publisher and day."""
    shown: dict[Day, int] = defaultdict(int)
    clicked: dict[Day, int] = defaultdict(int)
    for row, _, _ in events:
        kind = row[2]
        if kind == "impression":
            if not row.ivt:
                shown[row.publisher, row.day] += 1
        elif kind == "click" and row.price_micros:
            clicked[row.publisher, row.day] += 1
    return shown, clicked


def clicks_left(impressions: int, clicks: int) -> int:
    """Return how many more clicks of a publisher are billed on a day."""
    return ALLOWED_CLICKS + impressions * ALLOWED_PER_MILLE // 1000 - clicks


def bounded(events: Sequence[Event], left: dict[Day, int]) -> Sequence[Event]:
    """Return the events, clicks beyond what is `left` of their publisher's bound invalid; uses `left` up."""
    found = []
    for event in events:
        row = event.row
        if row.kind == "click" and row.price_micros:
            left[row.publisher, row.day] -= 1
            if left[row.publisher, row.day] < 0:
                event = event._replace(row=row._replace(ivt=BEYOND, price_micros=0))
        found.append(event)
    return found


def sums_of(events: Iterable[Event]) -> Sums:
    """Add up what events cost, by line of the ledger."""
    sums: Sums = {}
    for row, billing_day, _ in events:
        if row.price_micros:
            line = sums.setdefault((row.campaign, billing_day, row.day), [0, 0])
            line[0] += 1
            line[1] += row.price_micros
    return sums


def let_go(events: Iterable[Event]) -> dict[tuple[str, int, int], int]:
    """Return how much less is held for these events, if anything: (campaign, billing day, minute) → micros, below zero.

    A hold may come after its event: until then its sum is below zero.
    """
    less: dict[tuple[str, int, int], int] = defaultdict(int)
    for row, billing_day, until in events:
        if row.price_micros:
            less[row.campaign, billing_day, until] -= held(row.kind, row.price_micros)
    return less


def short(accounts: Mapping[str, tuple[Caps, int]], sums: Sums, spent_on: Callable[[str, int], int]) -> Short:
    """Return what is left of the budgets that these sums exceed. `accounts` have caps and what was spent."""
    days: dict[str, dict[int, int]] = {campaign: defaultdict(int) for campaign in accounts}
    for (campaign, day, _), (_, micros) in sums.items():
        if campaign in accounts:
            days[campaign][day] += micros
    found: Short = {}
    for campaign, (caps, spent) in accounts.items():
        asked = days[campaign]
        total = None if caps.total is None else max(0, caps.total - spent)
        daily = (
            {} if caps.daily is None else {day: max(0, caps.daily - spent_on(campaign, day)) for day in asked}
        )
        if (total is not None and sum(asked.values()) > total) or any(
            asked[day] > left for day, left in daily.items()
        ):
            found[campaign] = (total, daily)
    return found


def cut(events: Sequence[Event], short: Short, sums: Sums) -> tuple[Sequence[Event], dict[str, int]]:
    """Bill no more than is left of the budgets that run short; return the events, and what each campaign is spared.

    `short` is used up; `sums` become what is billed.
    """
    found = []
    over: dict[str, int] = defaultdict(int)
    for event in events:
        row = event.row
        if row.price_micros and row.campaign in short:
            total, daily = short[row.campaign]
            left = [some for some in (total, daily.get(event.billing_day)) if some is not None]
            billed = min((row.price_micros, *left))
            if total is not None:
                short[row.campaign] = (total - billed, daily)
            if event.billing_day in daily:
                daily[event.billing_day] -= billed
            lost = row.price_micros - billed
            if lost:
                over[row.campaign] += lost
                line = sums[row.campaign, event.billing_day, row.day]
                line[0] -= not billed
                line[1] -= lost
                event = event._replace(row=row._replace(price_micros=billed))
        found.append(event)
    return found, over


def slice_of(use: Use, lease: tuple[int, int] | None, left: int) -> int:
    """Return how much a worker leases, of what is left to it. `lease` is what it has: billing day and micros."""
    mine = 0
    if lease is not None and lease[0] == use.day:  # what is left of another day's slice goes back
        shown = sum(micros for (day, _), micros in use.shown.items() if day == use.day)
        mine = max(0, lease[1] - shown)
    free = max(0, left)
    # Less than it has where the budget was cut; else what it wants, so far as that leaves something to others.
    share = mine + max(use.least, (free - mine) // SHARE)
    leased = min(free, max(mine, min(use.want, share)))
    # What is of no use here, others may put theirs to.
    return leased if use.want and leased >= use.least else 0


def settled(campaign: str, day: int, utc_day: int) -> str:
    """Return the key in the journal of a line of the ledger."""
    return f"settled/{campaign}/{day}/{utc_day}"


def line_of(entry: Entry) -> tuple[str, str, str, str, str, int, int, str]:
    """Return an entry as the journal has it."""
    at = entry.at.isoformat(timespec="seconds")
    return (
        entry.key,
        at,
        entry.actor,
        entry.kind,
        entry.campaign,
        entry.day,
        entry.micros,
        entry.note,
    )
