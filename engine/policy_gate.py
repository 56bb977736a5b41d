"""The gate before a policy ships: what the challenger would have got, from released sums of clipped weights alone.

While a challenger is tried, each event of a message carries how much more often the challenger would have drawn it, in
whole thousandths up to MOST_WEIGHT. Of these weights only sums a day are released, with noise, charged to the ledger.
It is promoted only where the lower bound of its click rate is above what the live policy got on the same page views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from math import sqrt
from statistics import NormalDist
from typing import Any, Protocol

from engine.errors import PolicyRefused
from engine.policies import PRIOR, Act, Acted, before_live, standing
from privacy.release import Release, day_number, day_of
from privacy.workload import MOST_WEIGHT, WHOLE, Table, table

CONFIDENCE = 0.95
_IMPRESSIONS, _CLICKS = table("policy-impressions"), table("policy-clicks")


class Source(Protocol):
    """Gives tables by day."""

    def table(self, wanted: Table, day: int) -> Release | None:
        """Return the table of a day, None where there is none."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Clicks per impression, with the interval that holds it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a challenger beside the live policy, on the same page views."""

    challenger: str
    live: str
    days: int
    impressions: int  # noisy
    rate: Rate  # of the challenger
    live_rate: Rate

    @property
    def passes(self) -> bool:
        """Say whether it may be promoted."""
        least = max(0.0, self.live_rate.value)  # noise may say less than nothing of what is live
        return self.days > 0 and self.impressions > 0 and self.rate.low > least

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "passes": self.passes}

    def told(self) -> dict[str, Any]:
        """Return it as the log has it: whole numbers and text."""
        rates = {"rate": self.rate, "live_rate": self.live_rate}
        said = {name: [f"{x:.7f}" for x in (r.value, r.low, r.high)] for name, r in rates.items()}
        return {"days": self.days, "impressions": self.impressions, **said}


def evaluate(source: Source, acts: Sequence[Acted], closed: int) -> Evidence:
    """Read the evidence from the days on which the challenger was tried from start to end. Raises PolicyRefused."""
    stands = standing(acts)
    if stands.challenger == PRIOR:
        raise PolicyRefused("policy: got no challenger, expected one on trial: tactful policy train")
    since = next(day_number(one.at.date()) for one in reversed(acts) if one.act == "challenge")
    days = [
        (shown, clicked)
        for day in range(since + 1, closed + 1)
        if (shown := source.table(_IMPRESSIONS, day)) and (clicked := source.table(_CLICKS, day))
    ]
    sums = {
        (kind, name): sum(pair[at].by_key[name,] for pair in days) / WHOLE
        for at, kind in enumerate(("impressions", "clicks"))
        for name in ("shown", "weighted")
    }
    noise = [sum(pair[at].noise.variance for pair in days) / WHOLE**2 for at in (0, 1)]
    most = MOST_WEIGHT / WHOLE
    return Evidence(
        stands.challenger,
        stands.live,
        len(days),
        round(sums["impressions", "shown"]),
        _rate(sums["clicks", "weighted"], sums["impressions", "weighted"], noise, most),
        _rate(sums["clicks", "shown"], sums["impressions", "shown"], noise, 1.0),
    )


def _rate(clicks: float, impressions: float, noise: Sequence[float], most: float) -> Rate:
    """Return a rate: clicks vary by at most `most` of a weight each, and both by their noise."""
    if impressions <= 0:
        return Rate(0.0, 0.0, 1.0)
    value = clicks / impressions
    variance = (most * max(clicks, 0.0) + noise[1] + value**2 * noise[0]) / impressions**2
    half = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * sqrt(variance)
    return Rate(value, value - half, value + half)


class Desk(Protocol):
    """Where acts are kept, each with its entry in the log."""

    def acts(self) -> list[Acted]:
        """Return all that was done, oldest first."""

    def act(
        self, act: Act, policy: str, actor: str, now: datetime, beside: Callable[[Any], object] = ...
    ) -> None:
        """Keep that it was done, and do what is to be done beside it in the same transaction."""


Tell = Callable[[Act, str, str, dict[str, Any]], Callable[[Any], object]]  # what appends the log's entry


def promote(desk: Desk, source: Source, closed: int, actor: str, now: datetime, tell: Tell) -> Evidence:
    """Let the challenger decide, where the evidence is for it; told in the log. Raises PolicyRefused."""
    evidence = evaluate(source, desk.acts(), closed)
    if not evidence.passes:
        rate, live = evidence.rate, evidence.live_rate
        raise PolicyRefused(
            f"policy {evidence.challenger}: got a click rate of at least {rate.low:.5f} over {evidence.days} days "
            f"(to {day_of(closed)}), expected more than {live.value:.5f}, which the live policy got"
        )
    beside = tell("promote", evidence.challenger, evidence.live, evidence.told())
    desk.act("promote", evidence.challenger, actor, now, beside)
    return evidence


def roll_back(desk: Desk, actor: str, now: datetime, tell: Tell) -> str:
    """Let what decided before decide again; told in the log. Raises ModelError where nothing was promoted."""
    acts = desk.acts()
    earlier = before_live(acts)
    desk.act("rollback", earlier, actor, now, tell("rollback", earlier, standing(acts).live, {}))
    return earlier
