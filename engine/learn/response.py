"""The response model: how much more or less often a component is clicked than its creative, in all and by facet.

A creative's effects are relative to all creatives, a part's to its creative, and those of a facet's value to both:
shared terms first, then what is left to each. Effects are normal beliefs around zero, updated by released counts whose
noise is known; a cell that is all noise leaves the belief as it was. What a page's words suggest is added when a
message is chosen (engine.assemble), so that a part of which nothing was counted starts by its match.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from engine.errors import ModelError
from engine.learn.diet import FACETS, Component, Facet, Kind, Sheet

VERSION = 1
DAYS = 84  # that are looked back
HALF_LIFE = 28.0  # days after which a count weighs half: what worked then may not now
SD_CREATIVE = 0.4  # of the belief before anything is counted: relative to the rate
SD_PART = 0.25
SD_FACET = 0.08
RATE = 0.002  # clicks an impression, where nothing is known
_LEAST = 0.2  # of a factor that effects make
_MIXED = (0.3, 3.0)  # of the mean factor of what was shown: noise may not drive it further
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
    if model.v != VERSION or shapes or any(len(table) != many for table in tables):
        raise ModelError(
            f"a policy: got another form, expected version {VERSION} with a row for each component"
        )
    numbers = np.array([*model.mean, *model.variance, *model.known, [model.rate] * width], float)
    if not np.isfinite(numbers).all() or (np.array(model.variance, float) < 0).any() or model.rate <= 0:
        raise ModelError("a policy: got numbers that are none, expected finite effects and variances from 0")
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
    own, theta, doubt, told = _mains(main, age, rate)
    mean, variance, known = [theta], [doubt], [told]
    daily = _daily(main, own)
    for facet in FACETS:
        table = _Table.of(counts, facet, days).like(main)
        effect, left, told = _facet(
            table, 0.5 ** ((last_day - table.days) / half_life), daily, main, theta, rate
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
    )


class _Table:
    """A table over days: impressions and clicks, (days, components, values), and the noise in them by day."""

    def __init__(
        self, components: tuple[Component, ...], values: tuple[str, ...], days: NDArray[np.int64]
    ) -> None:
        self.components, self.values, self.days = components, values, days
        shape = (len(days), len(components), len(values))
        self.shown, self.clicks = np.zeros(shape), np.zeros(shape)
        self.noise_shown, self.noise_clicks = np.zeros(len(days)), np.zeros(len(days))
        place = {component: at for at, component in enumerate(components)}
        # Whose part each is, and the parts of one slot, which are neighbours: sorted by creative, then slot.
        self.whole = np.array([place[creative, ""] for creative, _ in components], np.intp)
        self.is_part = np.array([part != "" for _, part in components], bool)
        slots = [(creative, part.partition("/")[0]) for creative, part in components]
        starts = [at for at, slot in enumerate(slots) if at == 0 or slot != slots[at - 1]]
        self.starts = np.array(starts, np.intp)
        self.group = np.repeat(np.arange(len(starts)), np.diff([*starts, len(slots)]))

    @classmethod
    def of(cls, counts: Counts, facet: Facet | None, days: int) -> _Table:
        shown = {sheet.day: sheet for sheet in counts.sheets(facet, "impressions", days)}
        clicks = {sheet.day: sheet for sheet in counts.sheets(facet, "clicks", days)}
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
            ):
                rows = [at[component] for component in sheet.components]
                into[number][np.ix_(rows, [value_at[value] for value in sheet.values])] = sheet.counts
                noise[number] = sheet.variance
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

    def mixed(self, factor: Floats) -> Floats:
        """Return (days, components, values) the mean factor of what was shown in each part's slot."""
        above = np.add.reduceat(self.shown * factor, self.starts, axis=1)
        below = np.add.reduceat(self.shown, self.starts, axis=1)
        mixed = np.divide(above, below, out=np.ones_like(above), where=below > 0)
        return np.clip(mixed, *_MIXED)[:, self.group]


def _mains(main: _Table, age: Floats, rate: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Return (components,) rates of the creatives; effects of their components, doubt of these, and how far known."""
    if not main.components:
        none = np.zeros(0)
        return none, none, none, none
    sd = np.where(main.is_part, SD_PART, SD_CREATIVE)
    theta, doubt, known = _belief(main, age, np.full(main.shown.shape, rate), sd[:, None])
    own = rate * np.maximum(_LEAST, 1 + theta[main.whole, 0])
    daily = _daily(main, own)[:, :, None]
    for _ in range(_ROUNDS):
        factor = np.where(main.is_part[:, None], np.maximum(_LEAST, 1 + theta), 1.0)
        found, left, told = _belief(main, age, daily / main.mixed(factor[None]), sd[:, None])
        known = np.where(main.is_part[:, None], told, known)
        theta = np.where(main.is_part[:, None], found, theta)
        doubt = np.where(main.is_part[:, None], left, doubt)
    return own, theta[:, 0], doubt[:, 0], known[:, 0]


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
    factor = np.where(table.is_part, np.maximum(_LEAST, 1 + theta), 1.0)[:, None]
    effect = np.zeros_like(own)
    for _ in range(_ROUNDS):
        mixed = table.mixed((factor * np.maximum(_LEAST, 1 + effect))[None])
        effect, left_part, told = _belief(table, age, likely * factor / mixed, SD_FACET, settled=False)
    is_part = table.is_part[:, None]
    return (
        np.where(is_part, effect, own),
        np.where(is_part, left_part, left),
        np.where(is_part, told, known),
    )


def _belief(
    table: _Table, age: Floats, rates: Floats, sd: Floats | float, *, settled: bool = True
) -> tuple[Floats, Floats, Floats]:
    """Return (components, values) what is believed of effects after clicks beside those expected; variance; how known.

    `rates` are those clicks an impression, (days, components, values). With `settled` false the variance is only the
    doubt that more views would settle: where noise hides an effect, to try it out would cost clicks and teach nothing.
    """
    weight = age[:, None, None]
    expected = rates * table.shown
    mean = np.maximum((weight * expected).sum(axis=0), 0.0)
    clicks = (weight * table.clicks).sum(axis=0)
    drawn = np.maximum((weight**2 * expected).sum(axis=0), 0.0)
    noise = weight**2 * (table.noise_clicks[:, None, None] + rates**2 * table.noise_shown[:, None, None])
    doubt = drawn + noise.sum(axis=0)
    prior = np.broadcast_to(np.asarray(sd, float) ** 2, mean.shape)
    least = prior * mean**2 + doubt
    known = least > 0
    effect = np.divide((clicks - mean) * prior * mean, least, out=np.zeros_like(mean), where=known)
    left = np.divide(prior * (doubt if settled else drawn), least, out=prior.copy(), where=known)
    told = np.divide(prior * mean**2, least, out=np.zeros_like(mean), where=known)
    return effect, left, told


class Responses:
    """A model laid out for reading: effects of components in a context, by arrays."""

    def __init__(self, model: Model | None) -> None:
        """Take a model; with none, every belief is what it is before anything is counted."""
        self.model = model
        self.id = "prior" if model is None else model.id
        columns = ("",) if model is None else model.columns
        self._columns = {name: at for at, name in enumerate(columns)}
        self._at = (
            {} if model is None else {component: n for n, component in enumerate(model.components, start=1)}
        )
        rows, width = len(self._at) + 1, len(columns) + 1
        # The last column stands for a value that the model has none of, the first row for a component of that kind.
        self._table = np.zeros((3, rows, width))  # means, variances, and how far counts say nothing yet
        self._table[1] = SD_FACET**2
        self._table[1, 0, 0] = SD_PART**2
        self._table[2] = 1.0
        if model is not None and model.components:
            self._table[0, 1:, :-1] = model.mean
            self._table[1, 1:, :-1] = model.variance
            self._table[2, 1:, :-1] -= model.known

    def places(self, components: Sequence[Component]) -> NDArray[np.intp]:
        """Return (components,) where each stands; what the model does not know stands at 0."""
        return np.array([self._at.get(component, 0) for component in components], np.intp)

    def columns(self, facets: Mapping[Facet, str]) -> NDArray[np.intp]:
        """Return which columns a context has."""
        named = ("", *(f"{facet}={facets[facet]}" for facet in FACETS))
        return np.array([self._columns.get(name, -1) for name in named], np.intp)

    def beliefs(self, places: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Return (components,) relative effects in a context and their standard deviations."""
        mean, sd, _, _ = self.read(places, columns)
        return mean, sd

    def read(
        self, places: NDArray[np.intp], columns: NDArray[np.intp]
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Return `beliefs`, and how far counts say nothing yet of the page's topic, and of the moment and the device.

        As far is what the page's words, or a preference, make one expect still of worth. All are (components,).
        """
        told = self._table.take(places, axis=1).take(columns, axis=2)
        mean, variance = told[:2].sum(axis=2)
        return mean, np.sqrt(variance), told[2, :, 1], told[2, :, 2:].sum(axis=1) / (len(columns) - 2)
