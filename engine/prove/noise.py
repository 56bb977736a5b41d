"""`tactful prove noise`: what one page view loses to a day's releases, audited from outside in one run.

After Steinke, Nasr and Jagielski (2023): into a copy of the deployment go canaries, each a page view as heavy as the
workload allows, in cells that nobody else touches; a fair coin decides for each whether it happened. The day is
released and read once over HTTP, and from each table it is guessed, canary by canary, whether it was there. Under
epsilon, no guesser is right more often than by a binomial law: a number of right guesses that is too unlikely refutes
what the table says that it costs. Beside that, fresh processes draw the noise of every table, which is never twice the
same. How much this finds is itself measured, by builds with too little noise.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import exp, lgamma, log
from pathlib import Path
from typing import Any

import numpy as np

from engine.campaign import Advertiser, Campaign
from engine.change import Change
from engine.config import Config
from engine.creative import Creative
from engine.errors import ProofError
from engine.events import Row
from engine.prove.noise_drawn import faults_of
from engine.prove.reports_twin import Twin, twin
from engine.releases import Draw, start_of
from engine.report import FLOOR
from privacy.noise import MICRO, laplace
from privacy.release import Axis, Key, Release, day_number, draw, query_of
from privacy.workload import SLOTS, TABLES, Table

CONFIDENCE = 0.999  # that no bound on epsilon of a run is too high
CANARIES = 20_000
_BASED = 20  # of so many canaries one has a base: views besides, so that a threshold would tell of one more
_BASE = FLOOR // SLOTS
_OWNER, _TOPIC, _PART, _WEATHER, _DEVICE = "canary", "483", "evening", "rain", "phone"
# In which each canary has a cell of its own. Those by topic and of 28 days are left out: the same noise, long drawn.
AUDITED = tuple(t for t in TABLES if "creative" in t.dims and "topic" not in t.dims and t.days == 1)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a table says that a page view loses to it, and what the guesses prove that it loses at least."""

    table: str
    claimed: float
    lower: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was claimed of a page view in all, and what was seen of each table."""

    claimed: float
    canaries: int
    seen: tuple[Seen, ...]
    faults: tuple[str, ...] = ()  # what noise was drawn that may not be
    planted: Mapping[str, bool] = field(default_factory=dict)  # planted fault → whether it was found

    @property
    def epsilon_lower(self) -> float:
        """A lower bound on what a page view loses."""
        return max(one.lower for one in self.seen)

    @property
    def sound(self) -> bool:
        """Tell whether no claim was refuted."""
        refuted = self.epsilon_lower > self.claimed or any(one.lower > one.claimed for one in self.seen)
        return not refuted and not self.faults

    @property
    def holds(self) -> bool:
        """Tell whether the promise held and every planted fault was found."""
        return self.sound and all(self.planted.values())

    def plain(self) -> dict[str, Any]:
        """Give the verdict as JSON values."""
        return {
            "proof": "noise",
            "audited": "a copy",
            "holds": self.holds,
            "epsilon_lower": round(self.epsilon_lower, 4),
            "claimed": self.claimed,
            "confidence": CONFIDENCE,
            "canaries": self.canaries,
            "faults": list(self.faults),
            "tables": {one.table: [round(one.lower, 4), one.claimed] for one in self.seen},
            "planted_found": f"{sum(self.planted.values())}/{len(self.planted)}",
            "planted_missed": [name for name, found in self.planted.items() if not found],
        }

    def lines(self) -> Iterator[str]:
        """Yield the verdict as one line of JSON."""
        yield json.dumps(self.plain(), ensure_ascii=False)


def prove_noise(config: Config, epsilon: float, canaries: int = CANARIES, planted: bool = True) -> Verdict:
    """Audit a copy of this deployment, or of none; with `planted`, measure the proof. Raises ProofError."""
    if not 0 < epsilon <= 10 or not 100 <= canaries <= 100_000:
        raise ProofError("got numbers out of range, expected an epsilon up to 10 and 100 to 100,000 canaries")
    verdict = replace(audit(config, epsilon, canaries), faults=tuple(faults_of("sound")))
    if not planted:
        return verdict
    found = {name: not audit(config, epsilon, canaries, build).sound for name, build in PLANTED.items()}
    found |= {name: any(faults_of(name)) for name in PLANTED_DRAWN}
    return replace(verdict, planted=found)


def build_of(name: str) -> Draw:
    """Return what draws releases: a build of PLANTED_DRAWN by its name, or the sound one."""
    return PLANTED_DRAWN.get(name, draw)


def audit(config: Config, epsilon: float, canaries: int, build: Draw = draw) -> Verdict:
    """Release a day with canaries on a copy, read it over HTTP and guess."""
    with tempfile.TemporaryDirectory(prefix="tactful-proof-") as folder:
        day = day_number(datetime.now(UTC).date()) + 1
        with twin(config, Path(folder), start_of(day)) as copy:
            copy.reporting.releases = copy.reporting.releases.of(AUDITED, build)
            coins = [bool(secrets.randbelow(2)) for _ in range(canaries)]
            _register(copy, canaries)
            _happen(copy, day, coins)
            copy.now = start_of(day + 1) + timedelta(hours=3)
            done = copy.reporting.releases.release(day)
            if done.failed or done.refused:
                raise ProofError(
                    "the copy does not release the day of the proof: its budget is spent, or failed"
                )
            with copy.served() as address:
                seen = tuple(_seen(copy, address, table, day, coins) for table in AUDITED)
    return Verdict(epsilon, canaries, seen)


def epsilon_lower(right: int, guesses: int, confidence: float) -> float:
    """Return the largest epsilon that so many right guesses refute: right ≤ Binomial(guesses, e^ε / (1 + e^ε))."""
    low, high = 0.0, 12.0
    for _ in range(50):
        middle = (low + high) / 2
        if _tail(right, guesses, 1 / (1 + exp(-middle))) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def _tail(least: int, n: int, p: float) -> float:
    """Return the probability of `least` or more of n."""
    if least <= n * p:
        return 1.0  # a half or more: nothing is refuted
    term = exp(
        lgamma(n + 1) - lgamma(least + 1) - lgamma(n - least + 1) + least * log(p) + (n - least) * log(1 - p)
    )
    total = 0.0
    for k in range(least, n + 1):
        total += term
        term *= (n - k) / (k + 1) * p / (1 - p)
        if term < total * 1e-15:
            break
    return total


def _register(copy: Twin, canaries: int) -> None:
    things: list[Any] = [
        Advertiser(id=_OWNER, name="Canary", domains=("canary.example",)),
        Campaign(id=_OWNER, advertiser=_OWNER, name="Canary", cpm_micros=1, status="paused"),
    ]
    for number in range(canaries):
        id, url = _name(number), "https://canary.example/"
        things.append(Creative(id=id, campaign=_OWNER, format="native", headline="Canary", landing_url=url))
    changes = [Change(None, thing) for thing in things]
    copy.store.write(changes, [], copy.store.versions(), "proof", copy.now)


def _name(number: int) -> str:
    return f"canary-{number}"


def _happen(copy: Twin, day: int, coins: Sequence[bool]) -> None:
    """Let the canaries of the coins happen, and the bases."""

    def rows() -> Iterator[Row]:
        for number, coin in enumerate(coins):
            about = (day, _OWNER, "other", _TOPIC, _OWNER, _name(number), _DEVICE, _PART, _WEATHER, 0, 0)
            for view in range(_base(number) + coin):
                name = number.to_bytes(8) + view.to_bytes(8)
                yield from (Row(name, slot, "impression", *about) for slot in range(SLOTS))
                if view >= _base(number):
                    yield Row(name, 0, "click", *about)

    copy.insert(rows())


def _base(number: int) -> int:
    return _BASE if number % _BASED == 0 else 0


def _seen(copy: Twin, address: str, table: Table, day: int, coins: Sequence[bool]) -> Seen:
    """Read a table over HTTP and guess from it which canaries were there."""
    status, body = copy.get(f"{address}/v1/releases/{query_of(table, day)}")
    if status != 200:
        raise ProofError(f"{table.name}: got HTTP {status}, expected its release")
    release = Release.read(body)
    values = {"component": "", "campaign": _OWNER, "part": _PART, "weather": _WEATHER, "device": _DEVICE}
    right: dict[bool, list[bool]] = {False: [], True: []}  # of canaries without a base and with one
    for number, coin in enumerate(coins):
        key = tuple({**values, "creative": _name(number)}[dim] for dim in table.dims)
        without = _base(number) * SLOTS if table.kind == "impression" else 0
        # The likelier of the two by any noise that falls off to both sides.
        guess = 2 * (release.by_key[key] - without) > (SLOTS if table.kind == "impression" else 1)
        right[_base(number) > 0].append(guess == coin)
    looks = 2 * len(AUDITED)
    bounds = (epsilon_lower(sum(each), len(each), 1 - (1 - CONFIDENCE) / looks) for each in right.values())
    return Seen(table.name, release.micro_epsilon / MICRO, max(bounds))


# --- builds with too little noise ---


def _told(spoil: Callable[[Table, list[int]], list[int]]) -> Draw:
    """Give a build that says of itself what a sound one says, and draws otherwise."""

    def built(table: Table, first: int, axes: Sequence[Axis], truth: Mapping[Key, int]) -> bytes:
        body = json.loads(draw(table, first, axes, truth))
        keys = (key for key, _ in Release.read(json.dumps(body).encode()).cells())
        body["counts"] = spoil(table, [truth.get(key, 0) for key in keys])
        return json.dumps(body).encode()

    return built


def _half(table: Table, counts: list[int]) -> list[int]:
    return laplace(table.l1, 2 * table.micro_epsilon).add_each(counts)


def _one_slot(table: Table, counts: list[int]) -> list[int]:
    return laplace(1, table.micro_epsilon).add_each(counts)


def _threshold(table: Table, counts: list[int]) -> list[int]:
    return [count if count >= FLOOR else 0 for count in counts]


def _seeded(table: Table, counts: list[int]) -> list[int]:
    noise = np.random.default_rng(7).laplace(0, table.noise().scale, len(counts))
    return [count + round(each) for count, each in zip(counts, noise, strict=True)]


def _half_of_one_table(table: Table, counts: list[int]) -> list[int]:
    noise = laplace(table.l1, 2 * table.micro_epsilon) if table.name == "moments" else table.noise()
    return noise.add_each(counts)


PLANTED: Mapping[str, Draw] = {
    "half of the noise": _told(_half),
    "noise for one placement where there are three": _told(_one_slot),
    "a threshold in place of noise": _told(_threshold),
}
PLANTED_DRAWN: Mapping[str, Draw] = {
    "noise from a seed": _told(_seeded),
    "half of the noise in a table without canaries": _told(_half_of_one_table),
}
