"""The soft facets as vectors: one inner product is the weighted mean of how well each facet fits.

A facet has aspects (time: part of day, day, season), an aspect has values. A context's block holds how
likely each value is, each aspect summing to 1: one value where the fact is known, all alike where it is
not. A creative's block holds how well each value suits it, 0 to 1, divided by the number of aspects that
it speaks of. Their inner product is the expected fit, 0 to 1: "phone" on a phone is 1 whatever the
platform, and "rain, snow" in rain is 1 too. (Blocks of norm 1 could promise neither.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from contexts.context import (
    CONDITIONS,
    PARTS_OF_DAY,
    SEASONS,
    TEMPERATURES,
    WEEKDAYS,
    ClockFacts,
    Vector,
    WeatherFacts,
)
from contexts.errors import FactError
from privacy.visit import DEVICE_CLASSES, PLATFORMS, Device

SoftFacet = Literal["device", "time", "weather"]
Facet = Literal["page", "device", "time", "weather"]
Weights = Mapping[Facet, float]
Masks = NDArray[np.uint8]

SOFT_FACETS: tuple[SoftFacet, ...] = ("device", "time", "weather")
FACETS: tuple[Facet, ...] = ("page", *SOFT_FACETS)
STANDING_WEIGHTS: Weights = {"page": 0.7, "device": 0.1, "time": 0.1, "weather": 0.1}

ASPECTS: dict[SoftFacet, tuple[tuple[str, ...], ...]] = {
    "device": (DEVICE_CLASSES, PLATFORMS),
    "time": (PARTS_OF_DAY, (*WEEKDAYS, "holiday"), SEASONS),
    "weather": (CONDITIONS, TEMPERATURES),
}
# Blocks are as wide as their values; one spare number makes the three together a multiple of 8.
WIDTHS: dict[SoftFacet, int] = {"device": 10, "time": 18, "weather": 12}
SOFT_DIM = sum(WIDTHS.values())

# What a preferred value makes suitable besides itself: a neighbour fits half, a synonym fully.
NEIGHBOUR = 0.5
_NEIGHBOURS: dict[str, tuple[str, ...]] = {
    "phone": ("tablet",),
    "tablet": ("phone",),
    **{
        part: (PARTS_OF_DAY[i - 1], PARTS_OF_DAY[(i + 1) % len(PARTS_OF_DAY)])  # the day is a circle
        for i, part in enumerate(PARTS_OF_DAY)
    },
    **{
        band: (*TEMPERATURES[max(i - 1, 0) : i], *TEMPERATURES[i + 1 : i + 2])
        for i, band in enumerate(TEMPERATURES)
    },
    "drizzle": ("rain",),
    "rain": ("drizzle", "thunder"),
    "thunder": ("rain",),
}
_WORDS: dict[str, tuple[str, ...]] = {
    "weekend": ("sat", "sun"),
    "sun": ("sun", "holiday"),  # as in timetables and opening hours: Sundays and public holidays
}
_BITS = ((np.arange(1 << len(FACETS))[:, None] >> np.arange(len(FACETS))) & 1).astype(float)  # mask → facets
_DAYS = dict(
    zip(WEEKDAYS, ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), strict=True)
)
_BANDS = {
    "freezing": "0 °C or less",
    "cold": "0 to 10 °C",
    "mild": "10 to 20 °C",
    "warm": "20 to 28 °C",
    "hot": "28 °C or more",
}


def context_blocks(
    device: Device, clock: ClockFacts, weather: WeatherFacts | None
) -> dict[SoftFacet, Vector]:
    """Return the context's side, read-only arrays; weather that nothing is known of is a zero block."""
    return {
        "device": likely("device", (device.cls, device.platform)),
        # A public holiday is its own kind of day, whatever weekday it falls on.
        "time": likely("time", (clock.part, "holiday" if clock.holiday else clock.weekday, clock.season)),
        "weather": likely("weather", (weather.condition, weather.temperature) if weather else (None, None)),
    }


def prefer_blocks(
    devices: Sequence[str] = (), times: Sequence[str] = (), weather: Sequence[str] = ()
) -> dict[SoftFacet, Vector]:
    """Return a creative's side; a facet of which it says nothing is a zero block.

    Raises FactError for a word that is no value of its facet.
    """
    return {
        "device": _suits("device", devices),
        "time": _suits("time", times),
        "weather": _suits("weather", weather),
    }


def effective_weights(
    standing: Weights, *, page_known: bool, weather: WeatherFacts | None
) -> dict[Facet, float]:
    """Return one request's weights: standing weight times confidence; an unknown facet weighs nothing."""
    return {
        **standing,
        "page": standing["page"] if page_known else 0.0,
        "weather": standing["weather"] * weather_confidence(weather),
    }


def weather_confidence(weather: WeatherFacts | None) -> float:
    """Return how far the weather is known, 0 to 1."""
    if weather is None or not (weather.condition or weather.temperature):
        return 0.0
    return weather.confidence


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each facet stands in a vector: [page | device | time | weather]."""

    page_dim: int

    @property
    def dim(self) -> int:
        """Numbers a vector."""
        return self.page_dim + SOFT_DIM

    def slice(self, facet: Facet) -> slice:
        """Return the facet's columns."""
        start = 0
        for other in FACETS:
            width = self.page_dim if other == "page" else WIDTHS[other]
            if other == facet:
                return slice(start, start + width)
            start += width
        raise FactError("facet", facet, f"one of {', '.join(FACETS)}")

    def query(self, page: Vector | None, blocks: Mapping[SoftFacet, Vector], weights: Weights) -> Vector:
        """Return (dim,) float32: each facet's block times its weight. A page of None is a zero block."""
        out = np.zeros(self.dim, np.float32)
        if page is not None:
            np.multiply(page, np.float32(weights["page"]), out=out[: self.page_dim])
        start = self.page_dim
        for facet in SOFT_FACETS:
            stop = start + WIDTHS[facet]
            np.multiply(blocks[facet], np.float32(weights[facet]), out=out[start:stop])
            start = stop
        return out

    def typical(self, pages: Vector, weights: Weights, chance: np.random.Generator) -> Vector:
        """Return (n, dim) queries: each of the (n, page_dim) pages in a context drawn at random.

        In each aspect of a facet one value stands, as in a context of which all is known.
        """
        columns = [pages * np.float32(weights["page"])]
        for facet in SOFT_FACETS:
            block = np.zeros((len(pages), WIDTHS[facet]), np.float32)
            start = 0
            for values in ASPECTS[facet]:
                block[np.arange(len(pages)), start + chance.integers(len(values), size=len(pages))] = 1
                start += len(values)
            columns.append(block * np.float32(weights[facet]))
        return np.concatenate(columns, axis=1, dtype=np.float32)

    def creatives(self, pages: Vector, blocks: Mapping[SoftFacet, Vector], weights: Weights) -> Vector:
        """Return (n, dim) float32, each row over the sum of the weights of the facets that it states.

        `pages` is (n, page_dim), each of `blocks` (n, width). With a query of the same weights the inner
        product is the weighted mean of the fits of the stated facets; the page is always stated.
        """
        rows = np.concatenate([pages, *(blocks[facet] for facet in SOFT_FACETS)], axis=1, dtype=np.float32)
        return np.divide(rows, normalisers(stated(blocks), weights)[:, None], dtype=np.float32)

    def parts(self, query: Vector, rows: Vector, factors: Vector | float = 1.0) -> dict[Facet, Vector]:
        """Return the (n,) part that each facet gave to the score of each of `rows`; parts sum to the score.

        `factors` are those of `reweighing`, (n,), where the query's weights are not the rows' own.
        """
        return {
            facet: (rows[:, columns] @ query[columns]) * np.float32(factors)
            for facet in FACETS
            for columns in (self.slice(facet),)
        }


def stated(blocks: Mapping[SoftFacet, Vector]) -> Masks:
    """Return (n,) masks of the facets that each creative states: bit i for FACETS[i], the page always.

    Each of `blocks` is (n, width).
    """
    mask = np.ones(len(blocks["device"]), np.uint8)
    for bit, facet in enumerate(SOFT_FACETS, start=1):
        mask |= np.any(blocks[facet] != 0, axis=1).astype(np.uint8) << np.uint8(bit)
    return mask


def normalisers(masks: Masks, weights: Weights) -> Vector:
    """Return (n,) float32: the sum of the weights of the facets in each mask."""
    return _sums(weights).astype(np.float32)[masks]


def reweighing(standing: Weights, effective: Weights) -> Vector:
    """Return (16,) float32 factors by mask, from rows made with `standing` weights to `effective` ones.

    `rows @ query(effective) * reweighing(...)[masks]` is the weighted mean under the effective weights.
    A mask whose facets all weigh nothing has the factor 0.
    """
    old, new = _sums(standing), _sums(effective)
    return np.divide(old, new, out=np.zeros_like(old), where=new > 0).astype(np.float32)


def most_fits(blocks: Mapping[SoftFacet, Vector], weights: Weights) -> Vector:
    """Return (n,) what the soft facets give at most, each of `blocks` (n, width), before it is normalised."""
    most = np.zeros(len(blocks["device"]), np.float32)
    for facet in SOFT_FACETS:
        start = 0
        for vocabulary in ASPECTS[facet]:
            stop = start + len(vocabulary)
            most += np.float32(weights[facet]) * blocks[facet][:, start:stop].max(axis=1)
            start = stop
    return most


def because(facts: Device | ClockFacts | WeatherFacts | None, prefers: Sequence[str]) -> str:
    """Say in words what a soft facet was and what the creative prefers."""
    match facts:
        case Device():
            told = facts.cls if facts.platform == "other" else f"{facts.cls} with {facts.platform}"
        case ClockFacts():
            told = f"{_DAYS[facts.weekday]} {facts.part}"
            told += f" in {facts.season}" if facts.season else ""
            told += f", {facts.holiday}" if facts.holiday else ""
        case WeatherFacts(condition=condition, temperature=temperature) if condition or temperature:
            band = _BANDS[temperature] if temperature else None
            told = " and ".join(word for word in (condition, band) if word)
        case _:
            told = "weather unknown"
    return f"{told}: prefers {', '.join(prefers)}" if prefers else f"{told}: no preference"


@cache  # bounded by the closed vocabularies: 24 devices, 200 times, 48 weathers
def likely(facet: SoftFacet, values: tuple[str | None, ...]) -> Vector:
    """Return a context's block, read-only: of an aspect whose value is not known (None) all are alike likely.

    Where none is known, nothing is said: a zero block.
    """
    block = np.zeros(WIDTHS[facet], np.float32)
    if any(values):
        start = 0
        for vocabulary, value in zip(ASPECTS[facet], values, strict=True):
            if value is None:
                block[start : start + len(vocabulary)] = 1 / len(vocabulary)
            else:
                block[start + vocabulary.index(value)] = 1
            start += len(vocabulary)
    block.flags.writeable = False
    return block


def _suits(facet: SoftFacet, words: Sequence[str]) -> Vector:
    fits: dict[str, float] = {}
    for word in words:
        for synonym in _WORDS.get(word, (word,)):
            for value in _WORDS.get(synonym, (synonym,)):
                fits[value] = 1.0
                for near in _NEIGHBOURS.get(value, ()):
                    fits.setdefault(near, NEIGHBOUR)
    block = np.zeros(WIDTHS[facet], np.float32)
    spoken = 0
    start = 0
    for vocabulary in ASPECTS[facet]:
        fit = [fits.pop(value, 0.0) for value in vocabulary]
        block[start : start + len(vocabulary)] = fit
        spoken += any(fit)
        start += len(vocabulary)
    if fits:
        known = [word for vocabulary in ASPECTS[facet] for word in vocabulary]
        known += ["weekend"] if facet == "time" else []
        raise FactError(f"prefer.{facet}", next(iter(fits)), f"one of {', '.join(known)}")
    return block / np.float32(max(spoken, 1))


def _sums(weights: Weights) -> NDArray[np.float64]:
    return np.asarray(_BITS @ np.array([weights[facet] for facet in FACETS], float))
