"""Regret of choosing messages: a seeded world of pages, contexts and 5×5×5×5 parts whose best message is known.

All policies are told of a day's clicks when the day is over, and choose through the next one by what they then know.
Ours is the product's own code: released tables with the workload's noise, `engine.learn`, the chances of its messages.
A rival shows what can be reached: it is told every part's effect and how far a page's words carry, from the first day
on, and nothing of facets, whose tables noise hides.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.creative import Parts, TextPart, messages
from engine.learn.diet import FACETS, Diet, Facet
from engine.learn.explore import chances, joint
from engine.learn.response import Responses, train
from engine.message import PAGE_SLOPE
from privacy.release import Axis, Key, Release, draw, keys_in
from privacy.workload import NEARNESS, TABLES, Table

Floats = NDArray[np.float64]
VALUES: Mapping[Facet, int] = {"topic": 6, "part": 5, "weather": 4, "device": 3}
SLOTS, EACH = 4, 5
VIEWS = 100_000  # page views a day
BASE = 0.01  # clicks an impression
MAIN, FACET, PAIR, MATCH = (
    0.25,
    0.08,
    0.03,
    0.12,
)  # standard deviations of relative effects; of a page's nearness
TRUE = 0.6  # of what nearness promises, it keeps
TIMES = 1.25  # of noiseless regret, that noise may cost
DAY = 20_000
PLAIN = "all but facets known"


class World:
    """Contexts, how often each comes, and how often each message is clicked in it."""

    def __init__(self, seed: int) -> None:
        draw_ = np.random.default_rng(seed)
        self.messages = messages(
            Parts(*(tuple(TextPart(f"{s}{i}", "x") for i in range(EACH)) for s in "hb"), (),
                  tuple(TextPart(f"c{i}", "x") for i in range(EACH)),
                  tuple(TextPart(f"o{i}", "x") for i in range(EACH)))
        )  # fmt: skip
        named = ("body", "cta", "headline", "offer")
        self.ids = [f"{slot}/{i}" for slot in named for i in range(EACH)]
        self.flat = self.messages.astype(int) + np.arange(SLOTS) * EACH  # (625, slots) numbers of parts
        self.contexts = list(product(*(range(n) for n in VALUES.values())))
        shares = [draw_.dirichlet(np.full(n, 4.0)) for n in VALUES.values()]
        self.often = np.array(
            [np.prod([s[v] for s, v in zip(shares, c, strict=True)]) for c in self.contexts]
        )
        parts = SLOTS * EACH
        self.near = draw_.normal(0, MATCH, (VALUES["topic"], parts))  # cosines of pages of a topic to parts
        self.near -= self.near.reshape(-1, SLOTS, EACH).mean(axis=2).repeat(EACH, axis=1)
        main = draw_.normal(0, MAIN, parts)
        by_value = {f: draw_.normal(0, FACET, (n, parts)) for f, n in VALUES.items()}
        by_value["topic"] += TRUE * PAGE_SLOPE * self.near
        self.plain = main + TRUE * PAGE_SLOPE * self.near  # (topics, parts) effects that are of no facet
        pair = draw_.normal(0, PAIR, (parts, parts))
        effect = np.zeros((len(self.contexts), len(self.flat)))
        for number, context in enumerate(self.contexts):
            part = main + sum(by_value[f][v] for f, v in zip(VALUES, context, strict=True))
            effect[number] = part[self.flat].sum(axis=1)
        for a, b in combinations(range(SLOTS), 2):
            effect += pair[self.flat[:, a], self.flat[:, b]]
        self.rates = BASE * np.maximum(0.1, 1 + effect)
        self.best = self.rates.max(axis=1)

    def day(self, chance: Floats, views: int, draw_: np.random.Generator) -> tuple[Floats, Floats, float]:
        """Return (contexts, messages) impressions and clicks of a day under these chances, and the expected regret."""
        comes = draw_.multinomial(views, self.often)
        shown = np.array([draw_.multinomial(n, p) for n, p in zip(comes, chance, strict=True)])
        clicks = draw_.binomial(shown, self.rates)
        lost = float((comes * (self.best - (chance * self.rates).sum(axis=1))).sum())
        return shown, clicks, lost

    def facts(self, context: Sequence[int]) -> dict[Facet, str]:
        return {facet: str(value) for facet, value in zip(VALUES, context, strict=True)}


class Policy(Protocol):
    """Chooses by (contexts, messages) chances, and is told of each day when it is over."""

    def chances(self) -> Floats: ...

    def learn(self, shown: Floats, clicks: Floats, chance: Floats) -> None: ...


class Fixed:
    """The same chances each day: uniform, or the oracle's."""

    def __init__(self, chance: Floats) -> None:
        self._chance = chance

    def chances(self) -> Floats:
        return self._chance

    def learn(self, shown: Floats, clicks: Floats, chance: Floats) -> None: ...


class Thresholds(Fixed):
    """Whole ads weighed by thresholds on the click rate of seven days, from 1,000 views on: as EthicalAds does."""

    def __init__(self, world: World) -> None:
        self._days: list[tuple[Floats, Floats]] = []
        self._shape = world.rates.shape
        super().__init__(np.full(self._shape, 1 / self._shape[1]))

    def learn(self, shown: Floats, clicks: Floats, chance: Floats) -> None:
        self._days = [*self._days[-6:], (shown.sum(axis=0), clicks.sum(axis=0))]
        views, hits = (sum(day[at] for day in self._days) for at in (0, 1))
        mean = hits.sum() / max(views.sum(), 1)
        rate = hits / np.maximum(views, 1)
        step = np.digitize(rate / max(mean, 1e-9), (0.8, 1.0, 1.25, 1.6))
        weight = np.where(views >= 1000, np.array([1, 2, 4, 7, 10])[step], 4.0)
        self._chance = np.broadcast_to(weight / weight.sum(), self._shape)


class BetaThompson(Fixed):
    """Thompson sampling on whole ads, whatever the context."""

    def __init__(self, world: World, seed: int) -> None:
        self._draw = np.random.default_rng(seed)
        self._shape = world.rates.shape
        self._shown, self._clicks = np.zeros(self._shape[1]), np.zeros(self._shape[1])
        super().__init__(np.full(self._shape, 1 / self._shape[1]))

    def learn(self, shown: Floats, clicks: Floats, chance: Floats) -> None:
        self._shown += shown.sum(axis=0)
        self._clicks += clicks.sum(axis=0)
        a, b = 1 + self._clicks, 1 / BASE + self._shown - self._clicks
        drawn = self._draw.beta(a, b, (4000, len(a))).argmax(axis=1)
        self._chance = np.broadcast_to(np.bincount(drawn, minlength=len(a)) / 4000, self._shape)


class LinUCB(Fixed):
    """One ridge regression over parts, parts × facet values and nearness; by its upper bound, as of each night."""

    def __init__(self, world: World, alpha: float) -> None:
        self._world, self._alpha = world, alpha
        parts, values = SLOTS * EACH, sum(VALUES.values())
        self._width = parts * (1 + values) + SLOTS + 1
        starts = np.cumsum([0, *VALUES.values()])[:-1]
        rows = []
        for context in world.contexts:
            near = world.near[context[0]]
            own = [world.flat]
            own += [parts + (starts[f] + v) * parts + world.flat for f, v in enumerate(context)]
            last = np.full((len(world.flat), 1), self._width - 1)
            at = np.concatenate(
                [*own, parts * (1 + values) + np.tile(np.arange(SLOTS), (len(world.flat), 1)), last], 1
            )
            value = np.ones(at.shape)
            value[:, -1 - SLOTS : -1] = near[world.flat] * PAGE_SLOPE
            rows.append((at, value))
        self._at, self._value = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
        self._a, self._b = np.eye(self._width), np.zeros(self._width)
        super().__init__(np.full(world.rates.shape, 1 / len(world.flat)))

    def learn(self, shown: Floats, clicks: Floats, chance: Floats) -> None:
        seen = np.nonzero(shown)
        at, value = self._at[seen], self._value[seen]
        n, k = shown[seen], clicks[seen]
        for i in range(at.shape[1]):
            np.add.at(self._b, at[:, i], value[:, i] * k)
            for j in range(at.shape[1]):
                np.add.at(self._a, (at[:, i], at[:, j]), value[:, i] * value[:, j] * n)
        inverse = np.linalg.inv(self._a)
        theta = inverse @ self._b
        best = []
        for at, value in zip(self._at, self._value, strict=True):
            mean = (theta[at] * value).sum(axis=1)
            spread = np.einsum("mi,mij,mj->m", value, inverse[at[:, :, None], at[:, None, :]], value)
            best.append(int((mean + self._alpha * np.sqrt(spread)).argmax()))
        self._chance = np.zeros_like(self._chance)
        self._chance[np.arange(len(best)), best] = 1.0


class VowpalWabbit(Fixed):
    """Vowpal Wabbit with its own exploration: `cb_explore_adf` over whole messages, or slates of four slots.

    It learns from the clicks of a day and from a sample of the rest, weighed up; its chances are asked by context.
    """

    def __init__(self, world: World, seed: int, *, slates: bool, sample: int) -> None:
        import vowpalwabbit

        kind = "--slates" if slates else "--cb_explore_adf --cb_type mtr"
        inter = "--interactions SA --interactions AA" if not slates else "--interactions SA"
        self._vw = vowpalwabbit.Workspace(
            f"{kind} --epsilon 0.02 {inter} -b 20 --quiet --random_seed {seed} --power_t 0 -l 0.01"
        )
        self._world, self._slates, self._sample = world, slates, sample
        self._draw = np.random.default_rng(seed)
        self._ids = [id.replace("/", "") for id in world.ids]
        super().__init__(np.full(world.rates.shape, 1 / len(world.flat)))

    def _shared(self, context: Sequence[int]) -> str:
        return " ".join(f"{f}{v}" for f, v in zip(VALUES, context, strict=True))

    def _lines(self, number: int, label: Mapping[int, str] | None = None, whole: str = "") -> list[str]:
        context = self._world.contexts[number]
        near = self._world.near[context[0]] * PAGE_SLOPE
        if not self._slates:
            actions = [
                f"{(label or {}).get(m, '')}|A "
                + " ".join(self._ids[p] for p in row)
                + f" near:{near[row].sum():.3f}"
                for m, row in enumerate(self._world.flat)
            ]
            return [f"shared |S {self._shared(context)}", *actions]
        actions = [f"slates action {p // EACH} |A {id} near:{near[p]:.3f}" for p, id in enumerate(self._ids)]
        slots = [f"slates slot {(label or {}).get(s, '')}|T slot{s}" for s in range(SLOTS)]
        return [f"slates shared {whole}|S {self._shared(context)}", *actions, *slots]

    def learn(self, shown: Floats, clicks: Floats, chance: Floats) -> None:
        hits = np.repeat(np.argwhere(clicks > 0), clicks[clicks > 0].astype(int), axis=0)
        rest = np.argwhere(shown - clicks > 0)
        many = (shown - clicks)[tuple(rest.T)]
        picked = self._draw.choice(len(rest), self._sample, p=many / many.sum())
        rate = self._sample / many.sum()
        told = [(c, m, -1.0, 1.0) for c, m in hits] + [(c, m, 0.0, rate) for c, m in rest[picked]]
        for at in self._draw.permutation(len(told)):
            number, message, cost, share = told[at]
            if self._slates:
                slots = self._slots[number] if hasattr(self, "_slots") else np.full((SLOTS, EACH), 1 / EACH)
                row = self._world.messages[message]
                label = {s: f"{row[s]}:{slots[s, row[s]]:.5f} " for s in range(SLOTS)}
                # A slate has one weight: what was left out is weighed up by its cost beside the mean.
                lines = self._lines(number, label, f"{(cost + BASE) / share:.5f} ")
            else:
                p = max(float(chance[number, message]) * share, 1e-6)
                lines = self._lines(number, {message: f"0:{cost}:{p:.8f} "})
            self._vw.learn(lines)
        self._ask()

    def _ask(self) -> None:
        made = np.zeros(self._chance.shape)
        slots_of = []
        for number in range(len(self._world.contexts)):
            told: Any = self._vw.predict(self._lines(number))
            if self._slates:
                slots = np.zeros((SLOTS, EACH))
                for slot, actions in enumerate(told):
                    for action, p in actions:
                        slots[slot, action] = p
                slots_of.append(slots / slots.sum(axis=1, keepdims=True))
                made[number] = np.prod(
                    [slots_of[-1][s, self._world.messages[:, s]] for s in range(SLOTS)], axis=0
                )
            else:
                made[number] = told
        if self._slates:
            self._slots = np.array(slots_of)
        self._chance = made / made.sum(axis=1, keepdims=True)


class Ours:
    """The product's: tables of each day, released with noise or exact, a model each night, chances by Thompson."""

    def __init__(self, world: World, *, noise: bool) -> None:
        self._world, self._noise = world, noise
        self._tables: dict[tuple[str, int], Release] = {}
        self._day = DAY
        self._responses = Responses(None)

    def chances(self) -> Floats:
        world, responses = self._world, self._responses
        places = responses.places([("ad", id) for id in world.ids])
        there = np.ones((SLOTS, EACH), bool)
        allowed = np.ones(len(world.messages), bool)
        made = np.empty(world.rates.shape)
        for number, context in enumerate(world.contexts):
            columns = responses.columns(world.facts(context))
            mean, sd, unknown, _ = responses.read(places, columns)
            mean = mean + PAGE_SLOPE * world.near[context[0]] * unknown
            slots = chances(mean.reshape(SLOTS, EACH), sd.reshape(SLOTS, EACH), there)
            made[number] = joint(slots, world.messages, allowed)
        return made

    def learn(self, shown: Floats, clicks: Floats, chance: Floats) -> None:
        near = PAGE_SLOPE * self._world.near[:, self._world.flat].sum(axis=2)
        told = np.rint(NEARNESS * near.clip(-1, 1)).astype(int)[[c[0] for c in self._world.contexts]]
        counts = {"impression": shown, "nearness": shown * told, "click": clicks}
        for wanted in (one for one in TABLES if one.use == "learner"):
            self._tables[wanted.name, self._day] = self._release(wanted, counts[wanted.kind])
        diet = Diet(self, lambda: self._day)
        self._responses = Responses(train(diet, 0, self._day))
        self._day += 1

    def table(self, wanted: Table, day: int) -> Release | None:
        return self._tables.get((wanted.name, day))

    def _release(self, wanted: Table, counts: Floats) -> Release:
        facet = next((f for f in FACETS if f in wanted.dims), None)
        truth = dict(_cells(self._world, facet, counts))
        axes = [Axis(("creative", "component"), tuple(sorted({key[:2] for key in truth})))]
        if facet is not None:
            axes.append(Axis((facet,), tuple(sorted({(key[2],) for key in truth}))))
        if self._noise:
            return Release.read(draw(wanted, self._day, axes, truth))
        exact = tuple(truth.get(key, 0) for key in keys_in(axes))
        return Release(wanted.name, self._day, 1, 0, "discrete Laplace", 0.0, 0.0, 0, tuple(axes), exact)


def _cells(world: World, facet: Facet | None, counts: Floats) -> Iterator[tuple[Key, int]]:
    """Yield what the learner's tables count: events of the creative and of each part, by a facet's value."""
    groups: dict[tuple[str, ...], list[int]] = {(): list(range(len(world.contexts)))}
    if facet is not None:
        at = list(VALUES).index(facet)
        groups = {}
        for number, context in enumerate(world.contexts):
            groups.setdefault((str(context[at]),), []).append(number)
    for value, numbers in groups.items():
        of = counts[numbers].sum(axis=0)
        yield ("ad", "", *value), int(of.sum())
        for part, id in enumerate(world.ids):
            yield ("ad", id, *value), int(of[(world.flat == part).any(axis=1)].sum())


def run(world: World, policy: Policy, days: int, views: int, seed: int) -> Floats:
    """Return the regret of each day, in clicks."""
    draw_ = np.random.default_rng(seed)
    lost = []
    for _ in range(days):
        chance = policy.chances()
        shown, clicks, regret = world.day(chance, views, draw_)
        lost.append(regret)
        policy.learn(shown, clicks, chance)
    return np.array(lost)


def main(argv: Sequence[str]) -> int:
    """Print cumulative regret with intervals over worlds, draw it, and return 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks regret", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one world, two weeks, without whole-message VW")
    parser.add_argument("--days", type=int, default=56)
    parser.add_argument("--worlds", type=int, default=3)
    parser.add_argument("--views", type=int, default=VIEWS, help="page views a day (default 100000)")
    parser.add_argument("--plot", type=Path, help="write the mean cumulative regret as SVG into this file")
    parser.add_argument("--only", help="names of policies, parted by commas")
    asked = parser.parse_args(argv)
    days, worlds = (14, 1) if asked.quick else (asked.days, asked.worlds)
    found: dict[str, list[Floats]] = {}
    for seed in range(worlds):
        world = World(seed)
        for name, policy in _policies(world, seed, quick=asked.quick):
            if asked.only and name not in asked.only.split(","):
                continue
            began = time.perf_counter()
            found.setdefault(name, []).append(run(world, policy, days, asked.views, 100 + seed))
            total = found[name][-1].sum()
            print(f"world {seed}  {name:22} {total:10.0f}  {time.perf_counter() - began:6.1f} s", flush=True)
    if asked.plot:
        asked.plot.write_text(chart({n: np.mean(r, axis=0).cumsum() for n, r in found.items()}), "utf-8")
    return _judge(found, days, worlds, asked.views)


def _plain(world: World) -> Floats:
    """Return the chances of who knows every part, and how far words carry, and no facet; with our least exploration."""
    there, allowed = np.ones((SLOTS, EACH), bool), np.ones(len(world.messages), bool)
    sure = np.full((SLOTS, EACH), 1e-3)
    by_topic = [
        joint(chances(plain.reshape(SLOTS, EACH), sure, there), world.messages, allowed)
        for plain in world.plain
    ]
    return np.array([by_topic[context[0]] for context in world.contexts])


def _policies(world: World, seed: int, *, quick: bool) -> Iterator[tuple[str, Policy]]:
    uniform = np.full(world.rates.shape, 1 / len(world.messages))
    oracle = np.zeros_like(uniform)
    oracle[np.arange(len(uniform)), world.rates.argmax(axis=1)] = 1
    yield "oracle", Fixed(oracle)
    yield PLAIN, Fixed(_plain(world))
    yield "ours without noise", Ours(world, noise=False)
    yield "ours", Ours(world, noise=True)
    yield "uniform", Fixed(uniform)
    yield "thresholds", Thresholds(world)
    yield "beta-thompson", BetaThompson(world, seed)
    yield "linucb", LinUCB(world, 1.0)
    try:
        yield "vw slates", VowpalWabbit(world, seed + 1, slates=True, sample=2000)
        if not quick:
            yield "vw cb_explore_adf", VowpalWabbit(world, seed + 1, slates=False, sample=1000)
    except ImportError:
        print("vowpalwabbit is not installed: pip install '.[bench]'")


def _judge(found: Mapping[str, Sequence[Floats]], days: int, worlds: int, views: int) -> int:
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores")
    print(f"{views:,} page views a day, {days} days, {worlds} worlds of {EACH**SLOTS} messages; clicks lost")
    totals = {name: np.array([r.sum() for r in runs]) for name, runs in found.items()}
    for name, total in sorted(totals.items(), key=lambda one: one[1].mean()):
        spread = 1.96 * total.std(ddof=1) / np.sqrt(len(total)) if len(total) > 1 else float("nan")
        print(f"  {name:22} {total.mean():10.0f} ± {spread:6.0f}")
    missed = 0
    ours = totals.get("ours without noise")
    for name, total in totals.items():
        if (
            ours is not None
            and name not in ("oracle", PLAIN, "ours", "ours without noise")
            and not (ours < total).all()
        ):
            print(f"MISSED: ours without noise is not below {name} in every world")
            missed = 1
    if ours is not None and "ours" in totals:
        ratio = totals["ours"].sum() / ours.sum()
        print(f"with noise: {ratio:.2f} × of without (bound {TIMES})")
        missed |= int(ratio > TIMES)
        if PLAIN in totals:
            print(
                f"who is told all but the facets loses {totals[PLAIN].sum() / ours.sum():.2f} × from the first day on"
            )
    return missed


def chart(lines: Mapping[str, Floats]) -> str:
    """Return cumulative regret by day as SVG."""
    w, h, left, bottom = 760, 420, 70, 40
    most, days = max(line[-1] for line in lines.values()) or 1.0, max(len(line) for line in lines.values())
    colours = ("#999", "#0a7", "#06c", "#c33", "#d80", "#94c", "#555", "#b59", "#393")
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" font-family="sans-serif" font-size="12">',
        f'<rect width="{w}" height="{h}" fill="#fff"/>',
        f'<text x="{left}" y="16">Clicks lost to the best message, cumulated, by day</text>',
    ]
    for step in range(5):
        y = h - bottom - (h - bottom - 30) * step / 4
        out.append(f'<line x1="{left}" x2="{w - 160}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{most * step / 4:,.0f}</text>')
    for day in range(0, days, 7):
        x = left + (w - 160 - left) * day / max(days - 1, 1)
        out.append(f'<text x="{x:.1f}" y="{h - bottom + 18}" text-anchor="middle">{day + 1}</text>')
    ends = sorted(lines.items(), key=lambda one: -one[1][-1])
    at = 20.0
    for number, (name, line) in enumerate(ends):
        points = " ".join(
            f"{left + (w - 160 - left) * d / max(days - 1, 1):.1f},{h - bottom - (h - bottom - 30) * v / most:.1f}"
            for d, v in enumerate(line)
        )
        colour = colours[number % len(colours)]
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        at = max(at + 16, h - bottom - (h - bottom - 30) * line[-1] / most)
        out.append(f'<text x="{w - 152}" y="{at:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*out, "</svg>\n"])
