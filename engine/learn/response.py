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
from engine.learn.diet import FACETS, Cell, Facet, Kind

VERSION = 1
DAYS = 56  # that are looked back
HALF_LIFE = 14.0  # days after which a count weighs half: what worked then may not now
SD_CREATIVE = 0.4  # of the belief before anything is counted: relative to the rate
SD_PART = 0.3
SD_FACET = 0.2
RATE = 0.002  # clicks an impression, where nothing is known
_LEAST = 0.2  # of a factor that effects make

Component = tuple[str, str]  # creative, and its part; "" is the creative itself
Floats = NDArray[np.float64]


class Counts(Protocol):
    """The learner's released tables, summed."""

    def cells(self, facet: Facet | None, kind: Kind, days: int, half_life: float | None) -> Iterable[Cell]:
        """Yield the sums over the last so many closed days, where a count weighs less by its age."""


class Model(Struct, frozen=True):
    """What was learned. A pure function of released tables and a seed: the same bytes wherever it is made."""

    v: int
    seed: int
    last_day: int  # the last day of the tables, days since 1970
    rate: float
    columns: tuple[str, ...]  # "" and then "facet=value"
    components: tuple[Component, ...]
    mean: tuple[tuple[float, ...], ...]  # (components, columns) relative effects
    variance: tuple[tuple[float, ...], ...]

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
    shapes = {len(row) for row in (*model.mean, *model.variance)} - {width}
    if model.v != VERSION or shapes or len(model.mean) != many or len(model.variance) != many:
        raise ModelError(
            f"a policy: got another form, expected version {VERSION} with a row for each component"
        )
    numbers = np.array([*model.mean, *model.variance, [model.rate] * width], float)
    if not np.isfinite(numbers).all() or (np.array(model.variance, float) < 0).any() or model.rate <= 0:
        raise ModelError("a policy: got numbers that are none, expected finite effects and variances from 0")
    return model


def train(
    counts: Counts, seed: int, last_day: int, *, days: int = DAYS, half_life: float = HALF_LIFE
) -> Model:
    """Learn from the tables of the last so many days."""
    main = _table(counts, None, days, half_life)
    by_facet = {facet: _table(counts, facet, days, half_life) for facet in FACETS}
    ages = np.arange(days)
    weights = 0.5 ** (ages / half_life)
    spread = float((weights**2).sum() / weights.sum())  # of a weighted Poisson count, over its mean
    whole = [0.0, 0.0]
    for (_, part, _), (shown, clicked, _, _) in main.items():
        if part == "":
            whole[0] += shown
            whole[1] += clicked
    rate = whole[1] / whole[0] if whole[0] > 0 and whole[1] > 0 else RATE
    columns = ("", *(f"{facet}={value}" for facet in FACETS for value in _values(by_facet[facet])))
    components = tuple(sorted({(creative, part) for creative, part, _ in main}))
    place = {name: at for at, name in enumerate(columns)}
    mean = np.zeros((len(components), len(columns)))
    variance = np.zeros((len(components), len(columns)))
    at = {component: number for number, component in enumerate(components)}

    def belief(cell: tuple[float, float, float, float] | None, base: float, sd: float) -> tuple[float, float]:
        if cell is None:
            return 0.0, sd**2
        shown, clicked, noise_shown, noise_clicked = cell
        expected = max(shown, 0.0) * base
        doubt = expected * spread + noise_clicked + base**2 * noise_shown
        least = sd**2 * expected**2 + doubt
        if least <= 0:
            return 0.0, sd**2
        return (clicked - expected) * sd**2 * expected / least, sd**2 * doubt / least

    # Creatives before their parts, and both before their facets: what is relative stands on what it is relative to.
    for number, (creative, part) in enumerate(components):  # sorted: "" comes before every part
        sd, base = (SD_CREATIVE, rate) if part == "" else (SD_PART, rate * _factor(mean[at[creative, ""], 0]))
        mean[number, 0], variance[number, 0] = belief(main.get((creative, part, "")), base, sd)
    shared = _shared(by_facet, rate)
    for number, (creative, part) in enumerate(components):
        own = rate * _factor(mean[at[creative, ""], 0])
        for facet in FACETS:
            for value in _values(by_facet[facet]):
                column = place[f"{facet}={value}"]
                base = own * shared.get((facet, value), 1.0)
                if part:
                    base *= _factor(mean[at[creative, ""], column]) * _factor(mean[number, 0])
                cell = by_facet[facet].get((creative, part, value))
                mean[number, column], variance[number, column] = belief(cell, base, SD_FACET)
    return Model(
        VERSION,
        seed,
        last_day,
        float(rate),
        columns,
        components,
        tuple(tuple(map(float, row)) for row in mean),
        tuple(tuple(map(float, row)) for row in variance),
    )


_Table = dict[tuple[str, str, str], tuple[float, float, float, float]]


def _table(counts: Counts, facet: Facet | None, days: int, half_life: float) -> _Table:
    """Return (creative, part, value) → impressions, clicks, and the variance of the noise in each."""
    shown = {(c.creative, c.part, c.value): c for c in counts.cells(facet, "impressions", days, half_life)}
    clicked = {(c.creative, c.part, c.value): c for c in counts.cells(facet, "clicks", days, half_life)}
    return {
        key: (shown[key].count, clicked[key].count, shown[key].variance, clicked[key].variance)
        for key in sorted(shown.keys() & clicked.keys())
    }


def _values(table: _Table) -> tuple[str, ...]:
    return tuple(sorted({value for _, _, value in table}))


def _shared(tables: Mapping[Facet, _Table], rate: float) -> dict[tuple[Facet, str], float]:
    """Return by what factor each value of a facet changes the rate, whatever is shown."""
    found: dict[tuple[Facet, str], float] = {}
    for facet, table in tables.items():
        sums: dict[str, list[float]] = {}
        for (_, part, value), cell in table.items():
            if part == "":
                sums[value] = [had + one for had, one in zip(sums.get(value, [0.0] * 4), cell, strict=True)]
        for value, (shown, clicked, noise_shown, noise_clicked) in sums.items():
            expected = max(shown, 0.0) * rate
            doubt = expected + noise_clicked + rate**2 * noise_shown
            least = SD_FACET**2 * expected**2 + doubt
            effect = (clicked - expected) * SD_FACET**2 * expected / least if least > 0 else 0.0
            found[facet, value] = _factor(effect)
    return found


def _factor(effect: float) -> float:
    return max(_LEAST, 1.0 + float(effect))


class Responses:
    """A model laid out for reading: effects of components in a context, by arrays."""

    def __init__(self, model: Model | None) -> None:
        """Take a model; with none, every belief is what it is before anything is counted."""
        self.model = model
        columns = ("",) if model is None else model.columns
        self._columns = {name: at for at, name in enumerate(columns)}
        self._at = (
            {} if model is None else {component: n for n, component in enumerate(model.components, start=1)}
        )
        rows, width = len(self._at) + 1, len(columns) + 1
        # The last column stands for a value that the model has none of, the first row for a component of that kind.
        self._mean = np.zeros((rows, width))
        self._variance = np.full((rows, width), SD_FACET**2)
        self._variance[0, 0] = SD_PART**2
        if model is not None and model.components:
            self._mean[1:, :-1] = model.mean
            self._variance[1:, :-1] = model.variance

    @property
    def id(self) -> str:
        """Name the model; "prior" where there is none."""
        return "prior" if self.model is None else self.model.id

    def places(self, components: Sequence[Component]) -> NDArray[np.intp]:
        """Return (components,) where each stands; what the model does not know stands at 0."""
        return np.array([self._at.get(component, 0) for component in components], np.intp)

    def columns(self, facets: Mapping[Facet, str]) -> NDArray[np.intp]:
        """Return which columns a context has."""
        named = ("", *(f"{facet}={facets[facet]}" for facet in FACETS))
        return np.array([self._columns.get(name, -1) for name in named], np.intp)

    def beliefs(self, places: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Return (components,) relative effects in a context and their standard deviations."""
        rows = places[:, None]
        return self._mean[rows, columns].sum(axis=1), np.sqrt(self._variance[rows, columns].sum(axis=1))
