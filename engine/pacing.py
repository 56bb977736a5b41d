"""How much of a budget may be spent by now: evenly, or more of it in the first hours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from engine.pricing import Pacing, Terms

SLOT_S = 10  # how long a campaign with a share cap is on or off
HOURS = 24  # parts into which a day or a flight is cut; within one, spending goes on evenly


def ceilings(terms: Terms, now: datetime) -> tuple[int | None, int | None]:
    """Return the micro-units that may be spent by now in all, and of this billing day; None: what the budgets say.

    A daily budget is spread over its day, as far as the flight covers it; without one, the whole budget over the
    flight. What was not spent in time may be made up for later. Requires an aware time.
    """
    if terms.pacing == "asap":
        return None, None
    at = now.timestamp()
    if terms.daily is not None:
        zone = ZoneInfo(terms.timezone)
        today = now.astimezone(zone).date()
        begins, ends = (
            datetime.combine(day, time(), zone).timestamp() for day in (today, today + timedelta(days=1))
        )
        first, last = max(begins, terms.start or begins), min(ends, terms.end or ends)
        return None, round(terms.daily * part_by(terms.pacing, _elapsed(at, first, last)))
    if terms.total is not None and terms.start is not None and terms.end is not None:
        return round(terms.total * part_by(terms.pacing, _elapsed(at, terms.start, terms.end))), None
    return None, None


def part_by(pacing: Pacing, elapsed: float) -> float:
    """Return the part of a budget, 0 to 1, that may be spent once a part of the time has passed.

    "front": the first hour's share is twice the average, and each one's after it smaller by the same step.
    """
    if pacing == "asap" or elapsed >= 1:
        return 1.0
    if pacing == "even":
        return elapsed
    whole, within = divmod(elapsed * HOURS, 1)
    weights = [HOURS - hour for hour in range(HOURS)]
    done = sum(weights[: int(whole)]) + within * weights[int(whole)]
    return done / sum(weights)


def resting(campaigns: Iterable[tuple[str, float]], now: datetime) -> frozenset[str]:
    """Return those of (id, share cap) whose turn it is not: each is on for its share of the slots of SLOT_S.

    Which slots are whose follows from ids and the clock, so that all processes agree, and from nothing of a visit.
    """
    slot = int(now.timestamp()) // SLOT_S
    return frozenset(
        id
        for id, share in campaigns
        if int.from_bytes(hashlib.blake2b(f"{id} {slot}".encode(), digest_size=6).digest(), "big")
        >= share * (1 << 48)
    )


def _elapsed(at: float, first: float, last: float) -> float:
    return 1.0 if last <= first else min(1.0, max(0.0, (at - first) / (last - first)))
