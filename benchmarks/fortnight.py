"""A fortnight of the demo with one advertiser's assembled messages: `python -m benchmarks fortnight`.

The advertiser's file is loaded as `tactful load` loads it. Readers open the articles beside which its campaigns run,
and click by a truth that only they know: what each part does, and in which weather. Each night is released. From the
sixth day on a policy is tried that was made to show what is clicked least; from the tenth, one that was learned from
the released tables. Each stands before the gate at the end of its trial. Clicks are frequent, so that a small
fortnight has as many as a busy site's.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.month import FIRST, Month
from engine.check.findings import known_vocabularies
from engine.creative import Creative
from engine.demo.magazine import ASSEMBLED
from engine.errors import PolicyRefused
from engine.learn.diet import Component
from engine.learn.response import VERSION, Model, Responses
from engine.load import apply, plan
from engine.load_files import open_source
from engine.policy_gate import Evidence, evaluate, promote
from engine.store import open_store
from engine.tickets import WEATHERS, Ticket
from privacy.release import day_number
from privacy.visit import CONDITIONS

DAYS, BAD_FROM, LEARNED_FROM = 14, 5, 9
ADVERTISER = "longacre"
ARTICLES = (
    "a-good-walk-in-bad-weather",
    "mornings-in-java",
    "three-pots-of-winter-soup",
    "books-that-wait-for-you",
)
BASE = 0.03  # clicks an impression
MAIN, BY_WEATHER = 0.4, 0.25  # standard deviations of the logarithm of what a part does


def main(argv: Sequence[str]) -> int:
    """Print how the fortnight went; return 1 where an answer failed or the bad policy was not refused."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fortnight", description=__doc__)
    parser.add_argument("--views", type=int, default=140_000, help="page views in all (default 140000)")
    parser.add_argument("--quick", action="store_true", help="2,800 page views: too few to learn from")
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--state", type=Path, help="keep the installation in this new folder")
    asked = parser.parse_args(argv)
    views = 2_800 if asked.quick else asked.views
    with ExitStack() as stack:
        temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="tactful-fortnight-"))
        state = asked.state or Path(temporary) / "state"
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", temporary)
        played = Fortnight(state, random.Random(asked.seed))  # noqa: S311 - a simulation
        stack.callback(played.close)
        began = time.perf_counter()
        for day in range(DAYS):
            played.play(day, views // DAYS)
            if day in (BAD_FROM - 1, LEARNED_FROM - 1):
                played.wait(hours=3)  # until the day is released
            if day == BAD_FROM - 1:
                played.put_on_trial("bad", played.bad())
            if day == LEARNED_FROM - 1:
                played.judge("bad")
                played.put_on_trial("learned", played.services.reporting.learn(0))
        played.end(DAYS)
        played.judge("learned")
        print(
            f"{played.views:,} page views in {DAYS} days, {played.impressions.total():,} impressions of "
            f"{ADVERTISER}, {time.perf_counter() - began:.0f} s; answers: {dict(played.answers)}"
        )
        played.tell()
        good = played.answers.keys() <= {200, 204, 302} and "bad" in played.refused
        return 0 if good else 1


class Fortnight(Month):
    """The month's demo with the advertiser's file, its readers' truth, and what is on trial."""

    def __init__(self, state: Path, chance: random.Random) -> None:
        super().__init__(state, chance)
        self.articles = [article for article in self.articles if article.id in ARTICLES]
        creatives = self.services.store.creatives_of(ADVERTISER)
        self.creatives: dict[str, Creative] = {one.id: one for one in creatives}
        self.truth_of: dict[Component, Mapping[str, float]] = {
            (creative.id, f"{slot}/{part.id}"): _truth(creative.id, part.id)
            for creative in self.creatives.values()
            if creative.parts is not None
            for slot, some in creative.parts.lists
            for part in some
        }
        self.impressions: Counter[int] = Counter()  # by day
        self.clicks: Counter[int] = Counter()
        self.shown: Counter[Component] = Counter()
        self.refused: set[str] = set()

    def _book(self) -> None:
        super()._book()
        store = open_store(self.config.store_url)
        try:
            with plan(open_source(ASSEMBLED), store, known_vocabularies(), self.now) as planned:
                apply(planned, store, "fortnight", self.now)
                print(
                    f"loaded {ASSEMBLED.name}: {dict(planned.created)}, warnings: {planned.warnings or 'none'}"
                )
        finally:
            store.close()

    def _view(self, sky: str) -> None:
        super()._view(self.chance.choice(CONDITIONS))

    def _plan(self, shown: dict[str, Any]) -> None:
        """Click on an assembled message by what its parts do in this weather."""
        creative = shown["creative"]["id"]
        if creative in self.creatives:
            token = shown["events"]["impression"].rpartition("/")[2].removesuffix(".gif")
            read = self.services.door._tickets.read(token, day_number(self.now.date()))
            if read is not None:
                self.ctr[creative] = self._rate(creative, read.ticket)
                if not read.ticket.ivt:
                    day = day_number(self.now.date()) - day_number(FIRST)
                    self.impressions[day] += 1
                    self.clicks[day] += self.ctr[creative]  # type: ignore[assignment]  # expected, not drawn
                    self.shown.update((creative, part) for part in read.ticket.message.split())
        super()._plan(shown)

    def _rate(self, creative: str, ticket: Ticket) -> float:
        sky = WEATHERS[ticket.weather]
        parts = [(creative, part) for part in ticket.message.split()]
        return min(0.5, BASE * math.exp(sum(self.truth_of[part][sky] for part in parts)))

    def wait(self, hours: int) -> None:
        """Let time pass without readers."""
        self._go_on(self.now + timedelta(hours=hours))

    def bad(self) -> Model:
        """Return a policy that knows the truth and shows what is clicked least, for certain."""
        mains = {component: by[""] for component, by in self.truth_of.items()}
        slots: dict[tuple[str, str], list[Component]] = defaultdict(list)
        for creative, part in mains:
            slots[creative, part.partition("/")[0]].append((creative, part))
        worst = {min(some, key=mains.__getitem__) for some in slots.values()}
        components = tuple(sorted({*mains, *((creative, "") for creative in self.creatives)}))
        mean = tuple((0.0 if one[1] == "" or one in worst else -2.0,) for one in components)
        sure = ((1e-6,),) * len(components)
        known = ((1.0,),) * len(components)
        last = day_number(FIRST) + BAD_FROM - 1
        return Model(VERSION, 0, last, BASE, ("",), components, mean, sure, known, (1.0,) * len(components))

    def put_on_trial(self, name: str, model: Model) -> None:
        """Let a model be tried beside the one that decides."""
        store = self.services.store
        store.put_policy(model.id, model.body, self.now)
        store.act("challenge", model.id, name, self.now)
        self.services.follow_policy()
        print(f"day {(self.now.date() - FIRST).days + 1}: {name} policy {model.id} on trial")

    def judge(self, name: str) -> None:
        """Ask the gate to let the model on trial decide."""
        reporting, store = self.services.reporting, self.services.store
        evidence = evaluate(reporting.released, store.acts(), reporting.closed())
        _print(name, evidence)
        try:
            promote(store, reporting.released, reporting.closed(), "fortnight", self.now, _untold)
            print(f"  promoted: {evidence.challenger} decides")
        except PolicyRefused as error:
            self.refused.add(name)
            print(f"  refused: {error}")
        self.services.follow_policy()

    def tell(self) -> None:
        """Print what messages were worth, and what was learned of parts beside the truth."""
        for first, last in ((0, BAD_FROM), (BAD_FROM, LEARNED_FROM), (LEARNED_FROM, DAYS)):
            seen = sum(self.impressions[day] for day in range(first, last))
            hits = sum(self.clicks[day] for day in range(first, last))
            print(
                f"days {first + 1} to {last}: {seen:,} impressions, true click rate {hits / max(seen, 1):.4f}"
            )
        model = self.services.reporting.learn(0)
        components = [one for one in self.truth_of if self.shown[one]]
        responses = Responses(model)
        learned = responses.read(responses.places(components), responses.columns(_NOWHERE))[0]
        true = np.array([self.truth_of[one][""] for one in components])
        slots: dict[tuple[str, str], list[int]] = defaultdict(list)
        for at, (creative, part) in enumerate(components):
            slots[creative, part.partition("/")[0]].append(at)
        for some in slots.values():  # parts are better or worse than the others of their slot
            true[some] -= true[some].mean()
            learned[some] -= learned[some].mean()
        choice = np.concatenate([some for some in slots.values() if len(some) > 1])
        best = Counter(
            int(np.argmax(true[some]) == np.argmax(learned[some])) for some in slots.values() if len(some) > 1
        )
        print(
            f"learned model {model.id}: of {best.total()} slots with a choice, {best[1]} have the truly best part "
            f"first; correlation of learned and true effects {np.corrcoef(learned[choice], true[choice])[0, 1]:.2f}"
        )


_NOWHERE = {
    "topic": "-",
    "part": "-",
    "weather": "-",
    "device": "-",
}  # values that no table has: main effects alone


def _truth(creative: str, part: str) -> Mapping[str, float]:
    """Return what a part does to clicks (logarithm), in all ("") and in each weather."""
    chance = random.Random(f"{creative}/{part}")  # noqa: S311 - a simulation
    main = chance.gauss(0, MAIN)
    return {"": main, **{sky: main + chance.gauss(0, BY_WEATHER) for sky in CONDITIONS}}


def _untold(*_: object) -> Any:
    """Keep an act without an entry in the log: the simulation's signer is not the installation's."""
    return lambda connection: None


def _print(name: str, evidence: Evidence) -> None:
    print(f"gate, {name} policy: {evidence.days} days, {evidence.impressions:,} impressions")
    for who, rate in ((name, evidence.rate), (evidence.live or "prior", evidence.live_rate)):
        print(f"  {who:16} {rate.value:.5f} clicks an impression, from {rate.low:.5f} to {rate.high:.5f}")
    lead = evidence.lead
    print(f"  {'lead':16} {lead.value:+.5f}, from {lead.low:+.5f} to {lead.high:+.5f}")
