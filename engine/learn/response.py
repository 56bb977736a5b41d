"""The response model: how much more or less often a component is clicked than its creative, in all and by facet.

A creative's effects are relative to all creatives, a part's to its creative, and those of a facet's value to both:
shared terms first, then what is left to each. Effects are normal beliefs around zero, updated by released counts whose
noise is known: a day weighs by how much it can tell, and a cell that is all noise leaves the belief as it was. A part
that is shown where it is near to pages looks better for that alone; how near is released, and taken out. What a page's
words suggest is added when a message is chosen (engine.assemble), so that a part of which nothing was counted starts by
its match.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from engine.errors import ModelError
from engine.learn.diet import FACETS, Component, Facet, Kind, Sheet
from privacy.workload import NEARNESS

VERSION = 2
DAYS = 84  # that are looked back
HALF_LIFE = 28.0  # days after which a count weighs half: what worked then may not now
SD_CREATIVE = 0.4  # of the belief before anything is counted: relative to the rate
SD_PART = 0.25
SD_FACET = 0.08
SD_NEAR = 0.3  # of what is expected of a message for its page
DAYS_DIFFER = 0.1  # the factor by which a creative gets more or less on a day, around 1
DAYS_ALIKE = 3.0  # degrees of freedom of that factor: the fewer, the sooner a day is another kind of day
SD_SLOPE = 0.5  # of how far the words of pages keep what they promise, around 1
NOISE_TRIED = (
    0.5  # of a doubt (its variance) that is the noise's: it makes one try long, and is settled slowly
)
RATE = 0.002  # clicks an impression, where nothing is known
_LEAST = 0.2  # of a factor that effects make
_MOST_TOLD = 1e6  # of any number of a model: beyond, chances could not be worked out
_LEAST_VARIANCE = 1e-12  # of what a component does: what is told as certain is drawn like the rest
_LEAST_DOUBT = 1e-6  # of a part that is alone in its slot
_MOST_SLOPE = 2.0
_MOST_MEAN = 1.0  # of the mean effect of what was shown in a slot: noise may not drive it further
_LIFTED = (0.3, 3.0)  # of the factor that all slots make
_ROUNDS = 12  # in which parts and what they are held against are worked out in turn

Floats = NDArray[np.float64]


class Counts(Protocol):
    """The learner's released tables."""

    def sheets(self, facet: Facet | None, kind: Kind, days: int) -> Iterable[Sheet]:
        """Yield the table of the last so many closed days."""


class Model(Struct, frozen=True):
    """What was learned. A pure function of released tables and a seed: the same bytes wherever it is made."""

    v: int
    seed: int
    last_day: int  # the last day of the tables, days since 1970
    rate: float
    columns: tuple[str, ...]  # "" and then "facet=value"
    components: tuple[Component, ...]
    mean: tuple[tuple[float, ...], ...]  # (components, columns) relative effects
    variance: tuple[tuple[float, ...], ...]  # that is worth trying out
    known: tuple[
        tuple[float, ...], ...
    ]  # 0 to 1: how far counts have taken the place of what was believed before
    slope: tuple[float, ...]  # (components,) how far a page's words keep what they promise of their creative

    @property
    def body(self) -> bytes:
        """The bytes that stand for it."""
        return msgspec.json.encode(self)

    @property
    def id(self) -> str:
        """16 hex digits over its bytes."""
        return hashlib.sha256(self.body).hexdigest()[:16]


def read_model(body: bytes) -> Model:
    """Read a model. Raises ModelError for bytes that are none, or none of this version."""
    try:
        model = msgspec.json.decode(body, type=Model)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelError(f"a policy: got a body that is no model ({error})") from error
    width, many = len(model.columns), len(model.components)
    tables = (model.mean, model.variance, model.known)
    shapes = {len(row) for table in tables for row in table} - {width}
    if model.v != VERSION or shapes or any(len(table) != many for table in (*tables, model.slope)):
        raise ModelError(
            f"a policy: got another form, expected version {VERSION} with a row for each component"
        )
    for told in (model.components, model.columns):
        if len(set(told)) < len(told):
            raise ModelError("a policy: got a component or column twice, expected each once")
    numbers = np.array([*model.mean, *model.variance, *model.known, [model.rate] * width], float)
    if (
        not (np.abs(numbers) <= _MOST_TOLD).all()  # nor is any that is no number
        or not (np.abs(np.array(model.slope, float)) <= _MOST_TOLD).all()
        or (np.array(model.variance, float) < 0).any()
        or model.rate <= 0
    ):
        raise ModelError(
            f"a policy: got numbers that are none, expected effects up to {_MOST_TOLD:g} and variances from 0"
        )
    return model


def train(
    counts: Counts, seed: int, last_day: int, *, days: int = DAYS, half_life: float = HALF_LIFE
) -> Model:
    """Learn from the tables of the last so many days.

    Which parts stood beside a part changes from day to day, as what is shown follows what was learned. So a part's
    clicks are held, day by day, against what its impressions would have got if it were like the others that were
    shown in its slot; the two depend on each other and are worked out in turn.
    """
    main = _Table.of(counts, None, days)
    rate = main.rate()
    columns = [""]
    age = 0.5 ** ((last_day - main.days) / half_life)
    own, theta, doubt, told, slope = _mains(main, age, rate)
    mean, variance, known = [theta], [doubt], [told]
    daily, near = _daily(main, own), slope * main.nearness(age)
    for facet in FACETS:
        table = _Table.of(counts, facet, days).like(main)
        # What a topic does holds what its pages' words do.
        seen = theta if facet == "topic" else theta + near
        effect, left, told = _facet(
            table, 0.5 ** ((last_day - table.days) / half_life), daily, main, seen, rate
        )
        columns += [f"{facet}={value}" for value in table.values]
        mean += list(effect.T)
        variance += list(left.T)
        known += list(told.T)
    return Model(
        VERSION,
        seed,
        last_day,
        float(rate),
        tuple(columns),
        main.components,
        tuple(tuple(row) for row in np.array(mean).T.tolist()),
        tuple(tuple(row) for row in np.array(variance).T.tolist()),
        tuple(tuple(row) for row in np.array(known).T.tolist()),
        tuple(slope.tolist()),
    )


class _Table:
    """A table over days: impressions and clicks, (days, components, values), and the noise in them by day."""

    def __init__(
        self, components: tuple[Component, ...], values: tuple[str, ...], days: NDArray[np.int64]
    ) -> None:
        self.components, self.values, self.days = components, values, days
        shape = (len(days), len(components), len(values))
        self.shown, self.clicks, self.near = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.noise_shown, self.noise_clicks = np.zeros(len(days)), np.zeros(len(days))
        self.noise_near = np.zeros(len(days))
        place = {component: at for at, component in enumerate(components)}
        # Whose part each is, and the parts of one slot, which are neighbours: sorted by creative, then slot.
        self.whole = np.array([place[creative, ""] for creative, _ in components], np.intp)
        self.is_part = np.array([part != "" for _, part in components], bool)
        slots = [(creative, part.partition("/")[0]) for creative, part in components]
        starts = [at for at, slot in enumerate(slots) if at == 0 or slot != slots[at - 1]]
        self.starts = np.array(starts, np.intp)
        self.group = np.repeat(np.arange(len(starts)), np.diff([*starts, len(slots)]))
        firsts = [n for n, at in enumerate(starts) if n == 0 or slots[at][0] != slots[starts[n - 1]][0]]
        self.first_groups = np.array(firsts, np.intp)  # of each creative
        self.firsts = [starts[n] for n in firsts]
        self.creative = np.searchsorted(self.first_groups, self.group, "right") - 1

    @classmethod
    def of(cls, counts: Counts, facet: Facet | None, days: int) -> _Table:
        shown = {sheet.day: sheet for sheet in counts.sheets(facet, "impressions", days)}
        clicks = {sheet.day: sheet for sheet in counts.sheets(facet, "clicks", days)}
        near = {} if facet else {sheet.day: sheet for sheet in counts.sheets(None, "nearness", days)}
        both = sorted(shown.keys() & clicks.keys())
        named = {c for day in both for c in (*shown[day].components, *clicks[day].components)}
        components = tuple(sorted(named | {(creative, "") for creative, _ in named}))
        values = tuple(sorted({value for day in both for value in shown[day].values}))
        made = cls(components, values, np.array(both, np.int64))
        at, value_at = ({name: n for n, name in enumerate(names)} for names in (components, values))
        for number, day in enumerate(both):
            for sheet, into, noise in (
                (shown[day], made.shown, made.noise_shown),
                (clicks[day], made.clicks, made.noise_clicks),
                (near.get(day), made.near, made.noise_near),
            ):
                if sheet is None:
                    continue
                rows = [at[component] for component in sheet.components]
                into[number][np.ix_(rows, [value_at[value] for value in sheet.values])] = sheet.counts
                noise[number] = sheet.variance
        made.near /= NEARNESS
        made.noise_near /= NEARNESS**2
        return made

    def like(self, other: _Table) -> _Table:
        """Return the same counts of another's components and days; what is not here is zero, and of no weight."""
        made = _Table(other.components, self.values, other.days)
        at = {component: n for n, component in enumerate(other.components)}
        day_at = {int(day): n for n, day in enumerate(other.days)}
        here = [n for n, component in enumerate(self.components) if component in at]
        rows = [at[self.components[n]] for n in here]
        for number, day in enumerate(self.days.tolist()):
            if day in day_at:
                made.shown[day_at[day], rows] = self.shown[number, here]
                made.clicks[day_at[day], rows] = self.clicks[number, here]
                made.noise_shown[day_at[day]] = self.noise_shown[number]
                made.noise_clicks[day_at[day]] = self.noise_clicks[number]
        return made

    def rate(self) -> float:
        """Return clicks an impression, over all creatives."""
        shown, clicks = self.shown[:, ~self.is_part].sum(), self.clicks[:, ~self.is_part].sum()
        return float(clicks / shown) if shown > 0 and clicks > 0 else RATE

    def nearness(self, age: Floats) -> Floats:
        """Return (components,) by how much more the messages with each were expected to be clicked for their pages."""
        sums = (age[:, None, None] * self.near).sum(axis=(0, 2))
        shown = np.maximum((age[:, None, None] * self.shown).sum(axis=(0, 2)), 0.0)
        prior, noise = SD_NEAR**2, float((age**2 * self.noise_near).sum())
        told = np.divide(prior * sums, prior * shown**2 + noise, out=np.zeros_like(sums), where=shown > 0)
        near: Floats = shown * told
        return near

    def lifted(self, effect: Floats) -> tuple[Floats, Floats]:
        """Return what the parts that were shown did to each component's creative, and what those of other slots did.

        Both are (days, components, values): the factor beside a message of no effect, and what is added to 1 by the
        parts of all slots but the component's own.
        """
        above = np.add.reduceat(self.shown * effect, self.starts, axis=1)
        below = np.add.reduceat(self.shown, self.starts, axis=1)
        mean = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
        mean = np.where(self.is_part[self.starts][:, None], np.clip(mean, -_MOST_MEAN, _MOST_MEAN), 0.0)
        together = np.add.reduceat(mean, self.first_groups, axis=1)[:, self.creative]
        lift: Floats = np.clip(1 + together, *_LIFTED)
        return lift, together - mean[:, self.group]


def _mains(main: _Table, age: Floats, rate: float) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return (components,) rates of the creatives; effects of their components, doubt, how far known; slopes."""
    if not main.components:
        none = np.zeros(0)
        return none, none, none, none, none
    sd = np.where(main.is_part, SD_PART, SD_CREATIVE)
    theta, doubt, known = _belief(main, age, np.full(main.shown.shape, rate), sd[:, None])
    own = rate * np.maximum(_LEAST, 1 + theta[main.whole, 0])
    found, slope = (theta[:, 0], doubt[:, 0], known[:, 0]), np.ones(len(own))
    for first, after in zip(main.firsts, [*main.firsts[1:], len(main.components)], strict=True):
        if after - first > 1:
            parts = slice(first + 1, after)
            *columns, slope[first:after] = _parts(main, first, after, age, float(own[first]))
            for into, column in zip(found, columns, strict=True):
                into[parts] = column
    return own, *found, slope


def _parts(
    main: _Table, first: int, after: int, age: Floats, own: float
) -> tuple[Floats, Floats, Floats, float]:
    """Return (parts,) effects of a creative's parts, what of their doubt is worth trying out, how far known; the slope.

    Clicks of a day with a part are what its impressions would get without effects (the base), more by its own effect,
    by the mean one of what stood in each other slot, and by how near to their pages its messages were, as far as that
    keeps what it promises (the slope). All are linear in base and in base times effect; days differ by a factor of
    their own. So the posterior is that of one regression over all days, worked out in turn with how far each day may
    differ: a sale's day takes its clicks out of what parts are held against.
    """
    group = main.group[first + 1 : after] - main.group[first + 1]
    starts = main.starts[main.group[first + 1] : main.group[after - 1] + 1] - first - 1
    same = np.where(group[:, None] == group[None, :], np.eye(len(group)), np.nan)  # nan: of another slot
    many = after - first + 1  # the base, the parts, and nearness
    sums, clear = _Sums(many, age), _Sums(many, age)
    for day in range(len(main.days)):
        shown = main.shown[day, first:after, 0]
        there = np.maximum(shown, 0.0)
        share = there[1:] / np.maximum(np.add.reduceat(there[1:], starts)[group], 1.0)
        rows = np.empty((many - 1, many))  # of the creative itself, then of each part
        rows[:, 0], rows[:, -1] = shown, main.near[day, first:after, 0]
        rows[0, 1:-1], rows[1:, 1:-1] = share, np.where(np.isnan(same), share, same)
        rows[:, 1:-1] *= there[:, None]
        noise = main.noise_clicks[day] + own**2 * (main.noise_shown[day] + main.noise_near[day])
        for into, hidden in ((clear, 0.0), (sums, float(noise))):
            into.add(day, rows, own * there, main.clicks[day, first:after, 0], hidden)
    base, differ = own, np.full(len(main.days), DAYS_DIFFER**2)
    for _ in range(_ROUNDS):
        prior = np.full(many, 1 / (SD_PART * base) ** 2)
        prior[0], prior[-1] = 1 / (SD_CREATIVE * base) ** 2, 1 / (SD_SLOPE * base) ** 2
        info, expected = sums.over(differ)
        doubts = _inverse(info + np.diag(prior))
        expected[[0, -1]] += prior[[0, -1]] * base
        found = (doubts * expected[None, :]).sum(axis=1)
        base = max(float(found[0]), own * _LEAST)
        differ = sums.differing(found, differ)
    # What is chosen among is a slot's parts: doubt that they share, of how all of them do, is none between them.
    seen = np.maximum((age[:, None] * main.shown[:, first + 1 : after, 0]).sum(axis=0), 1.0)
    against = np.where(np.isnan(same), 0.0, (seen / np.add.reduceat(seen, starts)[group])[None, :])
    against = np.eye(many - 2) - against
    left, least, before = (
        ((against[:, :, None] * one[None, :, :]).sum(axis=1) * against).sum(axis=1)
        for one in (
            doubts[1:-1, 1:-1] / base**2,
            _inverse(clear.over(differ)[0] + np.diag(prior))[1:-1, 1:-1] / base**2,
            np.eye(many - 2) * SD_PART**2,
        )
    )
    left, least, before = (np.maximum(one, _LEAST_DOUBT) for one in (left, least, before))
    learned, most = 1 / left - 1 / before, 1 / least - 1 / before  # most: were there no noise
    share = np.clip(np.divide(learned, most, out=np.ones_like(most), where=most > 0), 0.0, 1.0)
    slope = min(max(float(found[-1]) / base, 0.0), _MOST_SLOPE)
    return (
        found[1:-1] / base,
        left * (NOISE_TRIED + (1 - NOISE_TRIED) * share),
        np.clip(1 - left / before, 0.0, 1.0),
        slope,
    )


class _Sums:
    """What the days tell a creative's regression, kept by day, as each of them has a factor of its own."""

    def __init__(self, many: int, age: Floats) -> None:
        days = len(age)
        self._age = age
        self._info, self._told = np.zeros((days, many, many)), np.zeros((days, many))
        self._common, self._weight = np.zeros((days, many)), np.zeros(days)
        self._clicks, self._drawn = np.zeros(days), np.zeros(days)

    def add(self, day: int, rows: Floats, likely: Floats, clicks: Floats, noise: float) -> None:
        """Take a day's rows of the regression, the clicks that they may get and got, and the noise in each."""
        weight = self._age[day] / (likely + 1.0 + noise)
        self._info[day] = (rows[:, :, None] * rows[:, None, :] * weight[:, None, None]).sum(axis=0)
        self._told[day] = (rows * (weight * clicks)[:, None]).sum(axis=0)
        # What all rows have in common: how the day was, whatever was shown.
        self._common[day] = (rows * (weight * likely)[:, None]).sum(axis=0)
        self._weight[day], self._clicks[day] = (weight * likely**2).sum(), (weight * likely * clicks).sum()
        self._drawn[day] = likely[0]

    def over(self, differ: Floats) -> tuple[Floats, Floats]:
        """Return information and what was told, over all days; each differs by a factor of such a variance."""
        scale = 1 / (self._age / differ + self._weight)
        info = self._info - self._common[:, :, None] * self._common[:, None, :] * scale[:, None, None]
        told = self._told - self._common * (self._clicks * scale)[:, None]
        return info.sum(axis=0), told.sum(axis=0)

    def differing(self, found: Floats, differ: Floats) -> Floats:
        """Return (days,) variances of the days' factors after what was found, from those held before.

        Factors have Student's distribution around 1: most days are much alike, and one that is not may be far off.
        """
        off = self._clicks - (self._common * found[None, :]).sum(axis=1)
        off = np.divide(off, self._weight, out=np.zeros_like(off), where=self._weight > 0)
        # Rows of one day count the same clicks in several slots: their chance is counted once.
        doubt = self._age / np.maximum(self._weight, 1e-12) + 1 / (self._drawn + 1.0)
        share = differ / (differ + doubt)
        variances: Floats = (DAYS_ALIKE * DAYS_DIFFER**2 + (share * off) ** 2 + share * doubt) / (
            DAYS_ALIKE + 1
        )
        return variances


def _inverse(matrix: Floats) -> Floats:
    """Invert a symmetric positive matrix by Gauss and Jordan, in one order everywhere, whatever the machine."""
    many = len(matrix)
    work = np.concatenate([matrix, np.eye(many)], axis=1)
    for n in range(many):
        work[n] /= work[n, n]
        factor = work[:, n].copy()
        factor[n] = 0.0
        work -= factor[:, None] * work[n][None, :]
    inverse: Floats = work[:, many:]
    return inverse


def _daily(main: _Table, own: Floats) -> Floats:
    """Return (days, components) how often what each component's creative showed was clicked, as far as a day tells."""
    if not main.components:
        return np.zeros((len(main.days), 0))
    shown = np.maximum(main.shown[:, :, 0], 1.0)
    told = main.clicks[:, :, 0] / shown
    noise = main.noise_clicks[:, None] + own**2 * main.noise_shown[:, None]
    doubt = (own * shown + noise) / shown**2
    believed = (SD_CREATIVE * own) ** 2
    daily: Floats = np.maximum(own * _LEAST, own + (told - own) * believed / (believed + doubt))
    return daily[:, main.whole]


def _facet(
    table: _Table, age: Floats, daily: Floats, main: _Table, theta: Floats, rate: float
) -> tuple[Floats, Floats, Floats]:
    """Return (components, values) effects of a facet's values beside those of the components, doubt, how far known."""
    if not table.components or not table.values:
        none = np.zeros((len(table.components), len(table.values)))
        return none, none, none
    whole = ~table.is_part
    # What a value does to all, then to a creative, then to its parts.
    likely = np.broadcast_to(daily[:, :, None], table.shown.shape)
    sums = np.maximum((age[:, None] * (table.shown * likely)[:, whole].sum(axis=1)).sum(axis=0), 0.0)
    clicks = (age[:, None] * table.clicks[:, whole].sum(axis=1)).sum(axis=0)
    noise = (age**2 * (table.noise_clicks + rate**2 * table.noise_shown)).sum() * whole.sum()
    prior = SD_FACET**2
    shared = (clicks - sums) * prior * sums / np.maximum(prior * sums**2 + sums + noise, 1e-12)
    likely = likely * np.maximum(_LEAST, 1 + shared)
    own, left, known = _belief(table, age, likely, SD_FACET, settled=False)
    likely = likely * np.maximum(_LEAST, 1 + own[table.whole])
    effect = np.zeros_like(own)
    for _ in range(_ROUNDS):
        lift, others = table.lifted(theta[:, None] + effect)
        beside = table.shown * (others + theta[:, None])
        effect, left_part, told = _belief(table, age, likely / lift, SD_FACET, beside, settled=False)
    is_part = table.is_part[:, None]
    return (
        np.where(is_part, effect, own),
        np.where(is_part, left_part, left),
        np.where(is_part, told, known),
    )


def _belief(
    table: _Table,
    age: Floats,
    rates: Floats,
    sd: Floats | float,
    beside: Floats | float = 0.0,
    *,
    settled: bool = True,
) -> tuple[Floats, Floats, Floats]:
    """Return (components, values) what is believed of effects after clicks beside those expected; variance; how known.

    `rates` are those clicks an impression, (days, components, values); `beside` are
    impressions' worth of clicks that come of other effects. Of the
    variance that is the noise's only a part is worth trying out, and with `settled` false nothing: where noise hides an
    effect, that costs clicks and teaches little.
    """
    weight = age[:, None, None]
    mean = np.maximum(rates * table.shown, 0.0)
    drawn = np.maximum(mean + rates * beside, mean * _LEAST)
    doubt = drawn + table.noise_clicks[:, None, None] + rates**2 * table.noise_shown[:, None, None]
    told = np.divide(mean, doubt, out=np.zeros_like(mean), where=doubt > 0)
    least = np.divide(mean, drawn, out=np.zeros_like(mean), where=drawn > 0)
    excess = (weight * told * (table.clicks - rates * (table.shown + beside))).sum(axis=0)
    info, most = (weight * told * mean).sum(axis=0), (weight * least * mean).sum(axis=0)
    prior = np.broadcast_to(np.asarray(sd, float) ** 2, info.shape)
    left = prior / (1 + prior * info)
    clear = np.divide(
        info, most, out=np.ones_like(info), where=most > 0
    )  # of what views tell, what noise leaves
    tried = NOISE_TRIED + (1 - NOISE_TRIED) * clear if settled else clear
    return left * excess, left * tried, 1 - left / prior


class Responses:
    """A model laid out for reading: effects of components in a context, by arrays."""

    def __init__(self, model: Model | None) -> None:
        """Take a model; with none, every belief is what it is before anything is counted."""
        self.model = model
        self.id = "prior" if model is None else model.id
        columns = ("",) if model is None else model.columns
        self._columns = {name: at for at, name in enumerate(columns)}
        self._columns_of = lru_cache(4096)(self._find_columns)
        self._at = (
            {} if model is None else {component: n for n, component in enumerate(model.components, start=1)}
        )
        rows, width = len(self._at) + 1, len(columns) + 1
        # The last column stands for a value that the model has none of, the first row for a component of that kind.
        self._table = np.zeros((3, rows, width))  # means, variances, and how far counts say nothing yet
        self._table[1] = SD_FACET**2
        self._table[1, 0, 0] = SD_PART**2
        self._table[2] = 1.0
        self._slope = np.ones(rows)
        if model is not None and model.components:
            self._table[0, 1:, :-1] = model.mean
            self._table[1, 1:, :-1] = model.variance
            self._table[1, 1:, 0] = np.maximum(self._table[1, 1:, 0], _LEAST_VARIANCE)
            self._table[2, 1:, :-1] -= model.known
            self._slope[1:] = model.slope
        self._flat = self._table.reshape(3, -1)

    def places(self, components: Sequence[Component]) -> NDArray[np.intp]:
        """Return (components,) where each stands; what the model does not know stands at 0."""
        return np.array([self._at.get(component, 0) for component in components], np.intp)

    def columns(self, facets: Mapping[Facet, str]) -> NDArray[np.intp]:
        """Return which columns a context has."""
        return self._columns_of(tuple(facets[facet] for facet in FACETS))

    def _find_columns(self, values: tuple[str, ...]) -> NDArray[np.intp]:
        named = ("", *map("{}={}".format, FACETS, values))
        return np.array([self._columns.get(name, -1) for name in named], np.intp)

    def beliefs(self, places: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Return (components,) relative effects in a context and their standard deviations."""
        mean, variance = np.add.reduce(self._told(places, columns, 2), axis=1)
        return mean, np.sqrt(variance)

    def read(
        self, places: NDArray[np.intp], columns: NDArray[np.intp]
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Return `beliefs`, and of how much worth is still what the page's words, and a preference, make one expect.

        That is as far as counts say nothing yet of the page's topic, and of the moment and the device; of the words it
        is as far as they keep what they promise, too. All are (components,).
        """
        told = self._told(places, columns, 3)
        mean, variance = np.add.reduce(told[:2], axis=1)
        return (
            mean,
            np.sqrt(variance),
            self._slope.take(places) * told[2, 1],
            np.add.reduce(told[2, 2:], axis=0) / (len(columns) - 2),
        )

    def _told(self, places: NDArray[np.intp], columns: NDArray[np.intp], many: int) -> Floats:
        """Return (many, columns, components) of means, variances and how far counts say nothing yet."""
        width = self._table.shape[2]
        cells = (columns % width)[:, None] + places * width  # -1 is the last column
        return self._flat[:many].take(cells, axis=1)
