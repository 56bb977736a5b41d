"""Facets: the inner product is the weighted mean of the fits, and can be taken apart again."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contexts.context import (
    CONDITIONS,
    PARTS_OF_DAY,
    SEASONS,
    TEMPERATURES,
    WEEKDAYS,
    ClockFacts,
    WeatherFacts,
)
from contexts.errors import FactError
from contexts.facets import (
    ASPECTS,
    FACETS,
    SOFT_DIM,
    SOFT_FACETS,
    STANDING_WEIGHTS,
    WIDTHS,
    Layout,
    because,
    context_blocks,
    effective_weights,
    normalisers,
    prefer_blocks,
    reweighing,
    stated,
)
from privacy.visit import DEVICE_CLASSES, PLATFORMS, Device

AT = datetime(2026, 11, 23, 18, tzinfo=UTC)
PAGE_DIM = 16

devices = st.builds(Device, st.sampled_from(DEVICE_CLASSES), st.sampled_from(PLATFORMS))
clocks = st.builds(
    ClockFacts,
    at=st.just(AT),
    part=st.sampled_from(PARTS_OF_DAY),
    weekday=st.sampled_from(WEEKDAYS),
    season=st.sampled_from((None, *SEASONS)),
    daylight=st.none(),
    holiday=st.sampled_from((None, "New Year's Day")),
)
weathers = st.none() | st.builds(
    WeatherFacts,
    st.sampled_from((None, *CONDITIONS)),
    st.sampled_from((None, *TEMPERATURES)),
    st.floats(0.01, 1),
)
TIMES = (*PARTS_OF_DAY, *WEEKDAYS, *SEASONS, "weekend", "holiday")
preferences = st.fixed_dictionaries(
    {
        "devices": st.lists(st.sampled_from((*DEVICE_CLASSES, *PLATFORMS)), max_size=4),
        "times": st.lists(st.sampled_from(TIMES), max_size=5),
        "weather": st.lists(st.sampled_from((*CONDITIONS, *TEMPERATURES)), max_size=4),
    }
)


def clock(part="evening", weekday="mon", season="autumn", holiday=None):
    return ClockFacts(AT, part, weekday, season, None, holiday)


def fit(facet, prefers, *, device=Device(), at=clock(), weather=None):  # noqa: B008 - frozen values
    words = {"device": "devices", "time": "times", "weather": "weather"}[facet]
    return float(context_blocks(device, at, weather)[facet] @ prefer_blocks(**{words: prefers})[facet])


def stack(rows):
    return {facet: np.stack([row[facet] for row in rows]) for facet in SOFT_FACETS}


def pages(n, seed):
    vectors = np.random.default_rng(seed).standard_normal((n, PAGE_DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("device_class", DEVICE_CLASSES)
def test_a_preferred_device_class_fits_fully_on_any_platform(device_class):
    for platform in PLATFORMS:
        assert fit("device", [device_class], device=Device(device_class, platform)) == 1


def test_a_phone_fits_a_tablet_half_and_a_desktop_not_at_all():
    assert fit("device", ["phone"], device=Device("tablet", "ios")) == 0.5
    assert fit("device", ["phone"], device=Device("desktop", "ios")) == 0
    assert fit("device", ["phone", "ios"], device=Device("phone", "android")) == 0.5
    assert fit("device", ["phone", "ios"], device=Device("phone", "ios")) == 1


def test_the_day_is_a_circle_in_which_neighbours_overlap():
    fits = [fit("time", ["evening"], at=clock(part)) for part in PARTS_OF_DAY]
    assert fits == [0.5, 0, 0, 0.5, 1]
    assert fit("time", ["morning"], at=clock("night")) == fit("time", ["night"], at=clock("morning")) == 0.5


def test_any_of_several_preferred_values_fits_fully():
    for part in ("morning", "evening"):
        assert fit("time", ["morning", "evening"], at=clock(part)) == 1
    for condition in ("rain", "snow"):
        assert fit("weather", ["rain", "snow"], weather=WeatherFacts(condition, "cold")) == 1


def test_every_weekday_fits_itself_alone():
    for preferred, day in product(WEEKDAYS, WEEKDAYS):
        assert fit("time", [preferred], at=clock(weekday=day)) == (preferred == day)


def test_the_weekend_is_saturday_and_sunday():
    assert [fit("time", ["weekend"], at=clock(weekday=day)) for day in WEEKDAYS] == [0, 0, 0, 0, 0, 1, 1]


def test_a_public_holiday_is_like_a_sunday_and_not_like_its_weekday():
    new_year = clock(weekday="thu", holiday="New Year's Day")
    assert fit("time", ["holiday"], at=new_year) == 1
    assert fit("time", ["sun"], at=new_year) == fit("time", ["weekend"], at=new_year) == 1
    assert fit("time", ["thu"], at=new_year) == 0
    assert fit("time", ["holiday"], at=clock(weekday="sun")) == 0


def test_aspects_that_are_spoken_of_count_alike():
    assert fit("time", ["evening", "weekend"], at=clock("evening", "sat")) == 1
    assert fit("time", ["evening", "weekend"], at=clock("evening", "mon")) == 0.5
    assert fit("weather", ["rain", "cold"], weather=WeatherFacts("rain", "cold")) == 1
    assert fit("weather", ["rain", "cold"], weather=WeatherFacts("rain", "mild")) == 0.75
    assert fit("weather", ["rain", "cold"], weather=WeatherFacts("clear", "hot")) == 0


def test_an_unknown_aspect_is_expected_evenly():
    assert fit("time", ["winter"], at=clock(season=None)) == 0.25
    assert fit("weather", ["mild"], weather=WeatherFacts("rain", None)) == pytest.approx((1 + 0.5 + 0.5) / 5)


@given(devices, clocks, weathers, preferences)
def test_a_fit_lies_between_0_and_1(device, at, weather, prefer):
    context, creative = context_blocks(device, at, weather), prefer_blocks(**prefer)
    for facet in SOFT_FACETS:
        assert -1e-6 <= float(context[facet] @ creative[facet]) <= 1 + 1e-6


@given(devices, clocks, weathers, st.lists(preferences, min_size=1, max_size=8), st.integers(0, 2**32))
def test_the_inner_product_is_the_weighted_mean_of_the_fits(device, at, weather, prefers, seed):
    layout = Layout(PAGE_DIM)
    context, creatives = context_blocks(device, at, weather), stack([prefer_blocks(**p) for p in prefers])
    vectors, page = pages(len(prefers), seed), pages(1, seed + 1)[0]
    rows = layout.creatives(vectors, creatives, STANDING_WEIGHTS)
    scores = rows @ layout.query(page, context, STANDING_WEIGHTS)
    for row, prefer in enumerate(prefers):
        fits = {"page": float(vectors[row] @ page)}
        fits |= {f: float(creatives[f][row] @ context[f]) for f in SOFT_FACETS if creatives[f][row].any()}
        assert (len(fits) - 1) == sum(bool(words) for words in prefer.values())
        mean = sum(STANDING_WEIGHTS[f] * fits[f] for f in fits) / sum(STANDING_WEIGHTS[f] for f in fits)
        assert scores[row] == pytest.approx(mean, abs=1e-5)


@given(devices, clocks, weathers, st.lists(preferences, min_size=1, max_size=8), st.booleans())
def test_reweighing_gives_the_mean_under_the_weights_of_the_request(device, at, weather, prefers, page_known):
    layout = Layout(PAGE_DIM)
    context, creatives = context_blocks(device, at, weather), stack([prefer_blocks(**p) for p in prefers])
    vectors, page = pages(len(prefers), 1), pages(1, 2)[0] if page_known else None
    effective = effective_weights(STANDING_WEIGHTS, page_known=page_known, weather=weather)
    masks = stated(creatives)
    factors = reweighing(STANDING_WEIGHTS, effective)[masks]
    query = layout.query(page, context, effective)
    scores = layout.creatives(vectors, creatives, STANDING_WEIGHTS) @ query * factors
    direct = sum(layout.parts(query, np.concatenate([vectors, *creatives.values()], axis=1)).values())
    weight = normalisers(masks, effective)
    expected = np.divide(direct, weight, out=np.zeros_like(direct), where=weight > 0)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@given(devices, clocks, weathers, st.lists(preferences, min_size=1, max_size=8))
def test_parts_sum_to_the_score(device, at, weather, prefers):
    layout = Layout(PAGE_DIM)
    creatives = stack([prefer_blocks(**p) for p in prefers])
    rows = layout.creatives(pages(len(prefers), 3), creatives, STANDING_WEIGHTS)
    effective = effective_weights(STANDING_WEIGHTS, page_known=True, weather=weather)
    query = layout.query(pages(1, 4)[0], context_blocks(device, at, weather), effective)
    factors = reweighing(STANDING_WEIGHTS, effective)[stated(creatives)]
    parts = layout.parts(query, rows, factors)
    assert tuple(parts) == FACETS
    np.testing.assert_allclose(sum(parts.values()), (rows @ query) * factors, atol=1e-5)
    for facet in SOFT_FACETS:
        assert not parts[facet][~creatives[facet].any(axis=1)].any()


def test_a_facet_that_is_not_stated_neither_rewards_nor_punishes():
    layout = Layout(PAGE_DIM)
    vector = pages(1, 5)
    row = layout.creatives(vector, stack([prefer_blocks()]), STANDING_WEIGHTS)[0]
    for weather in (None, WeatherFacts("rain", "cold"), WeatherFacts("clear", "hot")):
        query = layout.query(vector[0], context_blocks(Device(), clock(), weather), STANDING_WEIGHTS)
        assert float(row @ query) == pytest.approx(1, abs=1e-6)


def test_a_facet_that_is_unknown_punishes_nobody():
    layout = Layout(PAGE_DIM)
    vectors = np.repeat(pages(1, 6), 2, axis=0)
    creatives = stack([prefer_blocks(), prefer_blocks(weather=["rain"])])
    effective = effective_weights(STANDING_WEIGHTS, page_known=True, weather=None)
    query = layout.query(vectors[0], context_blocks(Device(), clock(), None), effective)
    scores = layout.creatives(vectors, creatives, STANDING_WEIGHTS) @ query
    scores *= reweighing(STANDING_WEIGHTS, effective)[stated(creatives)]
    np.testing.assert_allclose(scores, 1, atol=1e-6)


def test_where_nothing_that_a_creative_states_is_known_its_score_is_0():
    layout = Layout(PAGE_DIM)
    creatives = stack([prefer_blocks(), prefer_blocks(devices=["phone"])])
    effective = effective_weights(STANDING_WEIGHTS, page_known=False, weather=None)
    query = layout.query(None, context_blocks(Device("phone"), clock(), None), effective)
    scores = layout.creatives(pages(2, 7), creatives, STANDING_WEIGHTS) @ query
    scores *= reweighing(STANDING_WEIGHTS, effective)[stated(creatives)]
    np.testing.assert_allclose(scores, [0, 1], atol=1e-6)


def test_weather_weighs_as_much_as_we_are_sure_of_it():
    half = effective_weights(STANDING_WEIGHTS, page_known=True, weather=WeatherFacts("rain", None, 0.5))
    assert half["weather"] == STANDING_WEIGHTS["weather"] / 2
    for nothing in (None, WeatherFacts()):
        assert effective_weights(STANDING_WEIGHTS, page_known=True, weather=nothing)["weather"] == 0


def test_typical_queries_hold_one_value_of_each_aspect():
    layout = Layout(8)
    pages = np.eye(8, dtype=np.float32)[:5]
    queries = layout.typical(pages, STANDING_WEIGHTS, np.random.default_rng(1))
    assert queries.dtype == np.float32
    np.testing.assert_allclose(queries[:, layout.slice("page")], 0.7 * pages)
    for facet in SOFT_FACETS:
        start = layout.slice(facet).start
        for values in ASPECTS[facet]:
            aspect = queries[:, start : start + len(values)]
            np.testing.assert_allclose(np.sort(aspect, axis=1)[:, -2:], [[0, 0.1]] * 5)
            start += len(values)


def test_the_layout_covers_every_column_once():
    layout = Layout(384)
    columns = [i for facet in FACETS for i in range(layout.dim)[layout.slice(facet)]]
    assert columns == list(range(layout.dim))
    assert SOFT_DIM % 8 == 0
    for facet in SOFT_FACETS:
        assert sum(len(vocabulary) for vocabulary in ASPECTS[facet]) <= WIDTHS[facet]


def test_vectors_are_float32():
    layout = Layout(PAGE_DIM)
    creatives = stack([prefer_blocks(times=["evening", "mon", "autumn"])])
    assert layout.creatives(pages(1, 8), creatives, STANDING_WEIGHTS).dtype == np.float32
    assert layout.query(None, context_blocks(Device(), clock(), None), STANDING_WEIGHTS).dtype == np.float32


def test_a_context_block_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        context_blocks(Device(), clock(), None)["device"][0] = 1


@pytest.mark.parametrize(
    ("words", "field"),
    [({"devices": ["toaster"]}, "prefer.device"), ({"times": ["phone"]}, "prefer.time"),
     ({"weather": ["cold", "sunny"]}, "prefer.weather"), ({"times": ["Evening"]}, "prefer.time")],
)  # fmt: skip
def test_a_word_outside_of_its_vocabulary_is_refused_by_name(words, field):
    with pytest.raises(FactError) as caught:
        prefer_blocks(**words)
    assert caught.value.field == field
    assert caught.value.got == next(iter(words.values()))[-1]
    assert "one of" in caught.value.expected


def test_explanations_say_what_was_and_what_was_preferred():
    assert (
        because(WeatherFacts("rain", "cold"), ("rain", "cold")) == "rain and 0 to 10 °C: prefers rain, cold"
    )
    assert because(WeatherFacts(None, "hot"), ("hot",)) == "28 °C or more: prefers hot"
    assert because(None, ("rain",)) == because(WeatherFacts(), ("rain",)) == "weather unknown: prefers rain"
    assert because(Device("phone", "ios"), ("phone",)) == "phone with ios: prefers phone"
    assert because(Device(), ()) == "desktop: no preference"
    said = because(clock("evening", "fri", "winter", "New Year's Day"), ("evening",))
    assert said == "Friday evening in winter, New Year's Day: prefers evening"
