"""The gate before a policy ships: what the challenger would have got, from released sums of clipped weights alone.

While a challenger is tried, each event of a message carries how much more often the challenger would have drawn it, in
whole thousandths up to MOST_WEIGHT. Of events and of what their weights gain only sums a day are released, with noise,
charged to the ledger. What is estimated is the policy of these limited weights: the challenger, moved towards the live
policy where it differs most. It is promoted only where the lower bound of its lead over the live policy, on the same
page views, is above zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import takewhile
from math import sqrt
from statistics import NormalDist
from typing import Any, NamedTuple, Protocol

from engine.errors import PolicyRefused
from engine.policies import PRIOR, Act, Acted, before_live, standing
from privacy.release import Release, day_number, day_of
from privacy.workload import MOST_WEIGHT, WHOLE, Table, table

CONFIDENCE = 0.95
# Standard deviations by which a challenger has to lead: who asks every day for a year, of whatever traffic, then
# promotes one that is no better in at most one trial of forty (tests/engine/test_policy_gate.py).
LEAD = 3.0
_IMPRESSIONS, _CLICKS = table("policy-impressions"), table("policy-clicks")
_SHOWN, _GAIN = ("shown",), ("gain",)
_MOST = MOST_WEIGHT / WHOLE


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
    lead: Rate  # of the challenger's over the live one; its bounds are LEAD standard deviations away

    @property
    def passes(self) -> bool:
        """Say whether it may be promoted."""
        least = max(0.0, self.live_rate.value)  # noise may say less than nothing of what is live
        return self.days > 0 and self.rate.low > least and self.lead.low > 0

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "passes": self.passes}

    def told(self) -> dict[str, Any]:
        """Return it as the log has it: whole numbers and text."""
        rates = {"rate": self.rate, "live_rate": self.live_rate, "lead": self.lead}
        said = {name: [f"{x:.7f}" for x in (r.value, r.low, r.high)] for name, r in rates.items()}
        return {"days": self.days, "impressions": self.impressions, **said}


def evaluate(source: Source, acts: Sequence[Acted], closed: int) -> Evidence:
    """Read the evidence from the days on which the challenger was tried from start to end. Raises PolicyRefused."""
    stands = standing(acts)
    if stands.challenger == PRIOR:
        raise PolicyRefused("policy: got no challenger, expected one on trial: tactful policy train")
    since = day_number(_tried_since(acts).date())
    days = [
        (shown, clicked)
        for day in range(since + 1, closed + 1)
        if (shown := source.table(_IMPRESSIONS, day)) and (clicked := source.table(_CLICKS, day))
        if _GAIN in clicked.by_key  # before it was told, the weights themselves were, with more noise
    ]
    impressions, clicks = (
        _Sums(
            sum(pair[at].by_key[_SHOWN] for pair in days) / WHOLE,
            sum(pair[at].by_key[_GAIN] for pair in days) / WHOLE,
            sum(pair[at].noise.variance for pair in days) / WHOLE**2,
        )
        for at in (0, 1)
    )
    rate, live = _rate(impressions, clicks, 1.0), _rate(impressions, clicks, 0.0)
    return Evidence(
        stands.challenger, stands.live, len(days), round(impressions.shown), rate, live,
        _lead(impressions, clicks),
    )  # fmt: skip


def _tried_since(acts: Sequence[Acted]) -> datetime:
    """Return when the challenger came to be tried; that it was learned once more, by itself, ends no trial."""
    trial = takewhile(lambda one: (one.act, one.policy) == ("challenge", acts[-1].policy), reversed(acts))
    return list(trial)[-1].at


class _Sums(NamedTuple):
    """Two sums over the days of a trial, in events, each with noise of the same variance."""

    shown: float
    gain: float
    variance: float

    def weighted(self, gained: float = 1.0) -> float:
        """Return what the challenger would have: as was shown, and the gain."""
        return self.shown + gained * self.gain


def _rate(impressions: _Sums, clicks: _Sums, gained: float) -> Rate:
    """Return the challenger's rate (`gained` 1) or the live one (0).

    Clicks vary by at most the largest weight each, and all sums by their noise.
    """
    if impressions.weighted(gained) <= 0:
        return Rate(0.0, 0.0, 1.0)
    value = clicks.weighted(gained) / impressions.weighted(gained)
    most = _MOST if gained else 1.0
    noise = (1 + gained) * (clicks.variance + value**2 * impressions.variance)
    variance = (most * max(clicks.weighted(gained), 0.0) + noise) / impressions.weighted(gained) ** 2
    half = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * sqrt(variance)
    return Rate(value, value - half, value + half)


def _lead(impressions: _Sums, clicks: _Sums) -> Rate:
    """Return by how much the challenger's rate is above the live one, which is of the same clicks and noise.

    By the delta method. A click counts its weight over the mean weight, less one, and weights end at the largest: the
    square of that is at most the chord from weight nothing to the largest.
    """
    shown, weighted = impressions.shown, impressions.weighted()
    if shown <= 0 or weighted <= 0:
        return Rate(0.0, -1.0, 1.0)
    rate, live = clicks.weighted() / weighted, clicks.shown / shown
    mean = weighted / shown
    own = max(0.0, mean**2 * clicks.shown + (_MOST - 2 * mean) * clicks.weighted()) / weighted**2
    noise = clicks.variance * ((1 / weighted) ** 2 + (1 / weighted - 1 / shown) ** 2)
    noise += impressions.variance * ((rate / weighted) ** 2 + (rate / weighted - live / shown) ** 2)
    half = LEAD * sqrt(own + noise)
    return Rate(rate - live, rate - live - half, rate - live + half)


class Desk(Protocol):
    """Where acts are kept, each with its entry in the log."""

    def acts(self) -> list[Acted]:
        """Return all that was done, oldest first."""

    def act(
        self,
        act: Act,
        policy: str,
        actor: str,
        now: datetime,
        beside: Callable[[Any], object] = ...,
        seen: int | None = None,
    ) -> None:
        """Keep that it was done, and do what is to be done beside it in the same transaction.

        Raises PolicyRefused where it follows from the acts that were `seen`, so many, and there are others since.
        """


Tell = Callable[[Act, str, str, dict[str, Any]], Callable[[Any], object]]  # what appends the log's entry


def promote(desk: Desk, source: Source, closed: int, actor: str, now: datetime, tell: Tell) -> Evidence:
    """Let the challenger decide, where the evidence is for it; told in the log. Raises PolicyRefused."""
    acts = desk.acts()
    evidence = evaluate(source, acts, closed)
    if not evidence.passes:
        least = min(evidence.rate.low, evidence.live_rate.value + evidence.lead.low)
        raise PolicyRefused(
            f"policy {evidence.challenger}: got a click rate of at least {least:.5f} over {evidence.days} days "
            f"(to {day_of(closed)}), expected more than {max(0.0, evidence.live_rate.value):.5f}, which the live "
            "policy got"
        )
    beside = tell("promote", evidence.challenger, evidence.live, evidence.told())
    desk.act("promote", evidence.challenger, actor, now, beside, len(acts))
    return evidence


def roll_back(desk: Desk, actor: str, now: datetime, tell: Tell) -> str:
    """Let what decided before decide again; told in the log.

    Raises ModelError where nothing was promoted, and PolicyRefused where another act came between.
    """
    acts = desk.acts()
    earlier = before_live(acts)
    beside = tell("rollback", earlier, standing(acts).live, {})
    desk.act("rollback", earlier, actor, now, beside, len(acts))
    return earlier
