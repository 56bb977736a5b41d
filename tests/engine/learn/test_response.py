"""The model is a pure function of tables and seed, believes what was counted as far as noise lets it, and forgets."""

import re

import numpy as np
import pytest
from msgspec.structs import replace

from engine.errors import ModelError
from engine.learn.diet import FACETS, Sheet
from engine.learn.response import NOISE_TRIED, RATE, SD_FACET, SD_PART, Responses, read_model, train
from privacy.workload import NEARNESS

FACTS = {"topic": "483", "part": "evening", "weather": "rain", "device": "phone"}


class Tables:
    """Satisfies Counts, on each of some days: (creative, part, facet value) → impressions, clicks and nearness."""

    def __init__(self, main, facets=None, noise=0.0, days=1):
        self.tables, self.noise = {None: main, **(facets or {})}, noise
        self.by_day = [self.tables] * days

    def sheets(self, facet, kind, days):
        for day, tables in enumerate(self.by_day, LAST - len(self.by_day) + 1):
            cells = {key if len(key) == 3 else (*key, ""): n for key, n in tables.get(facet, {}).items()}
            components = tuple(sorted({key[:2] for key in cells}))
            values = tuple(sorted({key[2] for key in cells}))
            at = ("impressions", "clicks", "nearness").index(kind)
            counts = [[(*cells.get((*c, v), ()), 0, 0, 0)[at] for v in values] for c in components]
            shape = (len(components), len(values))
            yield Sheet(day, components, values, np.array(counts, float).reshape(shape), self.noise)


LAST = 20_000
MAIN = {
    ("a", ""): (100_000, 500),
    ("a", "headline/1"): (50_000, 350),
    ("a", "headline/2"): (50_000, 150),
    ("b", ""): (100_000, 500),
}


def effects(model, *components, facts=FACTS):
    responses = Responses(model)
    return responses.beliefs(responses.places(components), responses.columns(facts))


def test_equal_tables_and_seed_give_equal_bytes_and_another_seed_another_model():
    made = [train(Tables(MAIN), 7, LAST) for _ in range(2)]
    assert made[0].body == made[1].body and read_model(made[0].body) == made[0]
    shuffled = dict(reversed(MAIN.items()))
    assert train(Tables(shuffled), 7, LAST).body == made[0].body
    assert train(Tables(MAIN), 8, LAST).id != made[0].id


def test_a_part_that_is_clicked_more_often_is_believed_in():
    parts = [("a", f"headline/{n}") for n in ("1", "2", "new")]
    mean, sd = effects(train(Tables(MAIN), 0, LAST), *parts)
    assert (1 + mean[0]) / (1 + mean[1]) == pytest.approx(350 / 150, rel=0.1) and mean[0] > 0 > mean[1]
    assert mean[2] == 0 and sd[2] == pytest.approx(np.sqrt(SD_PART**2 + 4 * SD_FACET**2))
    assert sd[0] < sd[2]


def test_what_is_all_noise_leaves_the_belief_as_it_was():
    model = train(Tables(MAIN, noise=1e12), 0, LAST)
    mean, sd = effects(model, ("a", "headline/1"))
    assert mean[0] == pytest.approx(0, abs=1e-3)
    # Of the doubt between two parts that noise leaves half is tried out: it would not soon be settled.
    assert sd[0] == pytest.approx(np.sqrt(NOISE_TRIED * SD_PART**2 / 2 + 4 * SD_FACET**2), rel=1e-2)


def test_a_part_that_is_shown_where_it_is_near_is_not_taken_to_be_better():
    shown = {("a", ""): (100_000, 600, 0), ("a", "headline/2"): (50_000, 250, -5_000 * NEARNESS)}
    near = shown | {("a", "headline/1"): (50_000, 350, 5_000 * NEARNESS)}
    far = shown | {("a", "headline/1"): (50_000, 350), ("a", "headline/2"): (50_000, 250)}
    parts = ("a", "headline/1"), ("a", "headline/2")
    told = [train(Tables(counts, days=28), 0, LAST) for counts in (near, far)]
    gaps = [float(np.subtract(*effects(model, *parts)[0])) for model in told]
    assert gaps[1] == pytest.approx(100 / 300, abs=0.05) and gaps[0] < gaps[1] - 0.1
    assert told[1].slope == pytest.approx([1.0] * 3)


def test_how_far_nearness_keeps_what_it_promises_is_learned():
    """Parts are alike; on odd days one is shown where it is near, on even days the other; that does half of it."""
    tables, by_day = Tables({}, days=56), []
    for day in range(56):
        cells = {("a", ""): (100_000, 500, 0)}
        for part, side in (("1", 1), ("2", -1)):
            near = side * (1 if day % 2 else -1) * 0.4
            cells["a", f"headline/{part}"] = (50_000, 250 * (1 + near / 2), 50_000 * near * NEARNESS)
        by_day.append({None: cells})
    tables.by_day = by_day
    model = train(tables, 0, LAST)
    mean, _ = effects(model, ("a", "headline/1"), ("a", "headline/2"))
    assert mean[0] == pytest.approx(mean[1], abs=0.02)
    responses = Responses(model)
    _, _, page, _ = responses.read(responses.places([("a", "headline/1")]), responses.columns(FACTS))
    assert page[0] == pytest.approx(0.5, abs=0.05)


def test_nothing_counted_gives_the_prior_rate_and_no_components():
    model = train(Tables({}), 0, LAST)
    assert model.rate == RATE and model.components == ()
    assert read_model(model.body) == model


def test_an_effect_of_a_facet_is_what_is_left_beside_the_part_and_the_facet_of_all():
    wet, dry = ("a", "headline/1", "rain"), ("a", "headline/1", "clear")
    both = {("a", "", "rain"): (50_000, 375), ("a", "", "clear"): (50_000, 125)}  # rain lifts all by a half
    others = {("a", "headline/2", "rain"): (25_000, 112), ("a", "headline/2", "clear"): (25_000, 37)}
    weather = both | others | {wet: (25_000, 263), dry: (25_000, 88)}  # and h1 by no more than all

    def gap(part):
        model = train(Tables(MAIN, {"weather": weather}), 0, LAST)
        told = [effects(model, ("a", part), facts=FACTS | {"weather": w})[0][0] for w in ("rain", "clear")]
        return told[0] - told[1]

    alike = gap("headline/1") - gap("headline/2")
    assert alike == pytest.approx(0, abs=0.1)
    weather[wet], weather[dry] = (25_000, 330), (25_000, 21)
    assert gap("headline/1") - gap("headline/2") > alike + 0.1


def test_a_part_that_stood_beside_better_ones_is_not_taken_to_be_better():
    """On the second day all is clicked twice as often, and h2 is shown a tenth of the time: it is as good as h1."""
    tables = Tables({}, days=2)
    first = {
        ("a", ""): (100_000, 500),
        ("a", "headline/1"): (50_000, 250),
        ("a", "headline/2"): (50_000, 250),
    }
    second = {
        ("a", ""): (100_000, 1000),
        ("a", "headline/1"): (90_000, 900),
        ("a", "headline/2"): (10_000, 100),
    }
    tables.by_day = [{None: first}, {None: second}]
    mean, _ = effects(train(tables, 0, LAST), ("a", "headline/1"), ("a", "headline/2"))
    assert mean[0] == pytest.approx(mean[1], abs=0.03)


@pytest.mark.parametrize(("sale", "times"), [((27,), 4), ((10, 11, 12), 3), ((13,), 0.2)])
def test_a_sales_days_mislead_nobody_under_noise(sale, times):
    """Parts are alike; on some of four weeks' days all is clicked far more or less often, and h1 is nearly alone."""
    tables, by_day = Tables({}, noise=2700.0), []
    for day in range(28):
        clicks, share = (500 * times, 0.9) if day in sale else (500, 0.5)
        by_day.append(
            {
                None: {
                    ("a", ""): (100_000, clicks),
                    ("a", "headline/1"): (100_000 * share, clicks * share),
                    ("a", "headline/2"): (100_000 * (1 - share), clicks * (1 - share)),
                }
            }
        )
    tables.by_day = by_day
    mean, _ = effects(train(tables, 0, LAST), ("a", "headline/1"), ("a", "headline/2"))
    assert mean == pytest.approx([0, 0], abs=0.02)


def test_what_worked_lately_counts_more_than_what_worked_before():
    tables = Tables({}, days=2)
    was = {("a", ""): (100_000, 500), ("a", "headline/1"): (50_000, 350), ("a", "headline/2"): (50_000, 150)}
    now = {("a", ""): (100_000, 500), ("a", "headline/1"): (50_000, 150), ("a", "headline/2"): (50_000, 350)}
    tables.by_day = [{None: was}] * 28 + [{None: now}] * 28
    mean, _ = effects(train(tables, 0, LAST), ("a", "headline/1"), ("a", "headline/2"))
    assert mean[1] > mean[0] + 0.1


def test_how_far_counts_have_taken_the_place_of_what_was_believed_is_told():
    """An effect is worth 91 clicks: the 125 of those who saw h1 are 1.376 times the base, and vary like 125."""
    weather = {("a", "", "rain"): (50_000, 250), ("a", "headline/1", "rain"): (25_000, 125)}
    theta = effects(train(Tables(MAIN), 0, LAST), ("a", "headline/1"))[0][0]
    told = SD_FACET**2 * (125 / (1 + theta)) ** 2 / 125
    for noise, unknown in ((0.0, 1 / (1 + told)), (1e12, 1.0)):
        responses = Responses(train(Tables(MAIN, {"topic": weather}, noise), 0, LAST))
        columns = responses.columns(FACTS | {"topic": "rain"})
        _, _, topic, moment = responses.read(responses.places([("a", "headline/1")]), columns)
        assert topic[0] == pytest.approx(unknown, abs=1e-3) and moment[0] == pytest.approx(1.0)


def test_counts_below_zero_are_counts_like_others():
    noisy = {("a", ""): (-500, -3), ("a", "headline/1"): (-20, 9)}
    mean, sd = effects(train(Tables(noisy, noise=1e4), 0, LAST), ("a", "headline/1"), ("a", ""))
    assert np.isfinite(mean).all() and (sd > 0).all()


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[:-1],
        lambda body: body.replace(b'"v":2', b'"v":1'),
        lambda body: body.replace(b'"mean":[[', b'"mean":[[9,'),
        lambda body: body.replace(b'"rate":', b'"rate":-'),
        lambda body: body.replace(b"headline/2", b"headline/1"),  # one of them twice
        lambda body: re.sub(rb'"mean":\[\[[^,\]]+', b'"mean":[[1e308', body),
        lambda body: re.sub(rb'"slope":\[[^,\]]+', b'"slope":[-1e7', body),
        lambda body: b"\xff",
    ],
)
def test_bytes_that_are_no_model_are_refused(damage):
    with pytest.raises(ModelError):
        read_model(damage(train(Tables(MAIN), 0, LAST).body))


def test_what_a_model_is_certain_of_can_be_drawn():
    model = train(Tables(MAIN), 0, LAST)
    certain = replace(model, variance=tuple((0.0,) * len(model.columns) for _ in model.components))
    responses = Responses(read_model(certain.body))
    _, deviation = responses.beliefs(responses.places(model.components), responses.columns(FACTS))
    assert (deviation > 0).all()


def test_the_model_knows_every_facet_of_the_diet():
    facets = {facet: {("a", "", "x"): (10, 1)} for facet in FACETS}
    assert set(train(Tables(MAIN, facets), 0, LAST).columns) == {"", *(f"{facet}=x" for facet in FACETS)}
