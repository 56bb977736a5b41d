"""The learner's tables without noise: a release that no ledger knows, for installations that switched it on.

The setting is off; where it is on, the consent log says so (engine.config.CONSENT_SETTINGS).
"""

from __future__ import annotations

from engine.config import Config
from engine.learn.diet import Source
from engine.releases import start_of
from engine.report import Released
from engine.report_keys import CatalogDays, keys_of
from engine.tally import Tally
from privacy.release import Release, keys_in, period_of
from privacy.workload import Table


class ExactCounts:
    """Satisfies engine.learn.diet.Source with counts as they are, of closed days whose events are still there."""

    def __init__(self, tally: Tally, days: CatalogDays) -> None:
        self._tally, self._days = tally, days

    def table(self, wanted: Table, day: int) -> Release | None:
        """Return the true counts of a day."""
        first = period_of(wanted, day)[0]
        keys = keys_of(self._days, start_of(first), start_of(first + 1))
        ((_, counts),) = self._tally(first, [wanted])
        axes = keys.axes(wanted)
        exact = tuple(counts.get(key, 0) for key in keys_in(axes))
        return Release(wanted.name, first, wanted.days, 0, "discrete Laplace", 0.0, 0.0, 0, axes, exact)


def source(config: Config, released: Released, tally: Tally, days: CatalogDays) -> Source:
    """Return what the learner's diet is served from, as the setting has it."""
    return ExactCounts(tally, days) if config.learner_counts == "exact" else released
