"""The model is a pure function of tables and seed, believes what was counted as far as noise lets it, and forgets."""

import numpy as np
import pytest

from engine.errors import ModelError
from engine.learn.diet import FACETS, Cell
from engine.learn.response import RATE, SD_FACET, SD_PART, Responses, read_model, train

FACTS = {"topic": "483", "part": "evening", "weather": "rain", "device": "phone"}


class Tables:
    """Satisfies Counts: (creative, part, facet value) → impressions and clicks, one table without a facet."""

    def __init__(self, main, facets=None, noise=0.0):
        self.main, self.facets, self.noise = main, facets or {}, noise

    def cells(self, facet, kind, days, half_life=None):
        cells = self.main if facet is None else self.facets.get(facet, {})
        for key, counts in cells.items():
            creative, part, *value = key
            count = counts[kind == "clicks"]
            yield Cell(creative, part, value[0] if value else "", count, self.noise)


MAIN = {
    ("a", ""): (100_000, 500),
    ("a", "h1"): (50_000, 350),
    ("a", "h2"): (50_000, 150),
    ("b", ""): (100_000, 500),
}


def effects(model, *components, facts=FACTS):
    responses = Responses(model)
    return responses.beliefs(responses.places(components), responses.columns(facts))


def test_equal_tables_and_seed_give_equal_bytes_and_another_seed_another_model():
    made = [train(Tables(MAIN), 7, 20_000) for _ in range(2)]
    assert made[0].body == made[1].body and read_model(made[0].body) == made[0]
    shuffled = dict(reversed(MAIN.items()))
    assert train(Tables(shuffled), 7, 20_000).body == made[0].body
    assert train(Tables(MAIN), 8, 20_000).id != made[0].id


def test_a_part_that_is_clicked_more_often_is_believed_in():
    mean, sd = effects(train(Tables(MAIN), 0, 1), ("a", "h1"), ("a", "h2"), ("a", "new"))
    assert mean[0] == pytest.approx(0.4, abs=0.02) and mean[1] == pytest.approx(-0.4, abs=0.02)
    assert mean[2] == 0 and sd[2] == pytest.approx(np.sqrt(SD_PART**2 + 4 * SD_FACET**2))
    assert sd[0] < sd[2]


def test_what_is_all_noise_leaves_the_belief_as_it_was():
    model = train(Tables(MAIN, noise=1e12), 0, 1)
    mean, sd = effects(model, ("a", "h1"))
    assert mean[0] == pytest.approx(0, abs=1e-3)
    assert sd[0] == pytest.approx(np.sqrt(SD_PART**2 + 4 * SD_FACET**2), rel=1e-3)


def test_nothing_counted_gives_the_prior_rate_and_no_components():
    model = train(Tables({}), 0, 1)
    assert model.rate == RATE and model.components == ()
    assert read_model(model.body) == model


def test_an_effect_of_a_facet_is_what_is_left_beside_the_part_and_the_facet_of_all():
    wet, dry = ("a", "h1", "rain"), ("a", "h1", "clear")
    both = {("a", "", "rain"): (50_000, 375), ("a", "", "clear"): (50_000, 125)}  # rain lifts all by a half
    weather = both | {wet: (25_000, 263), dry: (25_000, 88)}  # and h1 by no more than all
    model = train(Tables(MAIN, {"weather": weather}), 0, 1)
    rain, _ = effects(model, ("a", "h1"))
    clear, _ = effects(model, ("a", "h1"), facts=FACTS | {"weather": "clear"})
    assert rain[0] == pytest.approx(clear[0], abs=0.08)
    weather[wet], weather[dry] = (25_000, 330), (25_000, 30)
    model = train(Tables(MAIN, {"weather": weather}), 0, 1)
    rain, _ = effects(model, ("a", "h1"))
    clear, _ = effects(model, ("a", "h1"), facts=FACTS | {"weather": "clear"})
    assert rain[0] > clear[0] + 0.2


def test_counts_below_zero_are_counts_like_others():
    noisy = {("a", ""): (-500, -3), ("a", "h1"): (-20, 9)}
    mean, sd = effects(train(Tables(noisy, noise=1e4), 0, 1), ("a", "h1"), ("a", ""))
    assert np.isfinite(mean).all() and (sd > 0).all()


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[:-1],
        lambda body: body.replace(b'"v":1', b'"v":2'),
        lambda body: body.replace(b'"mean":[[', b'"mean":[[9,'),
        lambda body: body.replace(b'"rate":', b'"rate":-'),
        lambda body: b"\xff",
    ],
)
def test_bytes_that_are_no_model_are_refused(damage):
    with pytest.raises(ModelError):
        read_model(damage(train(Tables(MAIN), 0, 1).body))


def test_the_model_knows_every_facet_of_the_diet():
    facets = {facet: {("a", "", "x"): (10, 1)} for facet in FACETS}
    assert set(train(Tables(MAIN, facets), 0, 1).columns) == {"", *(f"{facet}=x" for facet in FACETS)}
