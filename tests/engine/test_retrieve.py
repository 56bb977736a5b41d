import random

import numpy as np
import pytest

import engine.retrieve
from contexts.context import CONDITIONS, PARTS_OF_DAY, TEMPERATURES, WeatherFacts
from contexts.facets import SOFT_FACETS
from engine.campaign import Prefer
from engine.index import Eligible
from engine.retrieve import _ahead, _of, page_list, retrieve, soften
from privacy.visit import DEVICE_CLASSES, Device
from tests.world import World, advertiser, campaign, creative, publisher

WORDS = "soup bread bike tent lamp coat train piano garden robot castle river snow beach coffee novel".split()


def some_prefer(chance):
    return Prefer(
        devices=tuple(chance.sample(DEVICE_CLASSES, k=chance.choice((0, 0, 1)))),
        times=tuple(chance.sample((*PARTS_OF_DAY, "weekend"), k=chance.choice((0, 0, 1, 2)))),
        weather=tuple(chance.sample((*CONDITIONS, *TEMPERATURES), k=chance.choice((0, 0, 1, 2)))),
    )


@pytest.fixture
def world(tmp_path):
    chance = random.Random(5)
    world = World(tmp_path)
    campaigns = [campaign(f"c{i}", f"a{i % 4}", prefer=some_prefer(chance)) for i in range(12)]
    creatives = [
        creative(
            f"k{i}", f"c{i % 12}", headline=" ".join(chance.choices(WORDS, k=4)), prefer=some_prefer(chance)
        )
        for i in range(2600)
    ]
    world.put(publisher(), *(advertiser(f"a{i}") for i in range(4)), *campaigns, *creatives)
    return world


def some_contexts(world, count):
    chance = random.Random(6)
    for _ in range(count):
        weather = WeatherFacts(
            chance.choice(CONDITIONS), chance.choice(TEMPERATURES), chance.choice((1.0, 0.5, 0.125))
        )
        page = world.page(" ".join(chance.choices(WORDS, k=5)), confidence=chance.choice((1.0, 1.0, 0.5)))
        yield world.context(
            page=page, device=Device(chance.choice(DEVICE_CLASSES)), weather=chance.choice((None, weather))
        )


def exact_matches(snapshot, context):
    """The weighted mean of the stated facets' fits under the weights in force, spelled out."""
    soft = soften(snapshot, context)
    page = (
        np.zeros(snapshot.layout.page_dim)
        if context.page.vector is None
        else snapshot.focus(context.page.vector)
    )
    standing = snapshot.manifest.weights
    matches = []
    for row in range(snapshot.rows):
        prefer = snapshot.prefer[row]
        stated = [f for f in SOFT_FACETS if snapshot.soft[f][prefer].any()]
        stored = snapshot.index.vector(row)[: snapshot.layout.page_dim]
        own = stored * (standing["page"] + sum(standing[f] for f in stated))  # undo the standing normaliser
        total = soft.mood.weights["page"] * float(own @ page)
        total += sum(
            soft.mood.weights[f] * float(snapshot.soft[f][prefer] @ soft.mood.blocks[f]) for f in stated
        )
        weight = soft.mood.weights["page"] + sum(soft.mood.weights[f] for f in stated)
        matches.append(total / weight if weight else 0.0)
    return np.array(matches)


def test_candidates_are_the_best_under_the_weights_in_force(world):
    snapshot = world.view.snapshot
    chance = np.random.default_rng(1)
    for context in some_contexts(world, 12):
        allowed = Eligible.from_mask(chance.random(snapshot.rows) < chance.choice([0.02, 0.3, 1.0]))
        found = retrieve(world.view, soften(snapshot, context), allowed, 20)
        expected = exact_matches(snapshot, context)
        best = np.sort(expected[allowed.rows])[::-1][:20]
        np.testing.assert_allclose(found.matches, expected[found.rows], atol=2e-5)
        np.testing.assert_allclose(found.matches, best, atol=2e-5)


@pytest.mark.parametrize("length", [300, 1000, 5000])
def test_a_pages_list_serves_only_what_the_search_would_find(world, monkeypatch, length):
    monkeypatch.setattr(engine.retrieve, "LIST_LENGTH", length)
    view, served = world.view, 0
    snapshot = view.snapshot
    chance = np.random.default_rng(2)
    for context in some_contexts(world, 30):
        soft = soften(snapshot, context)
        listed = page_list(view, context.page.vector)
        allowed = Eligible.from_mask(chance.random(snapshot.rows) < chance.choice([0.05, 0.5, 1.0]))
        searched = retrieve(view, soft, allowed, 20)
        found = retrieve(view, soft, allowed, 20, listed)
        np.testing.assert_allclose(found.matches, searched.matches, atol=2e-5)

        served += _of(_ahead(snapshot, soft, listed), allowed, 20) is not None
    assert served > 5  # else lists are of no use


def test_nothing_eligible_gives_nothing(world):
    view = world.view
    nobody = Eligible.from_mask(np.zeros(view.snapshot.rows, bool))
    assert len(retrieve(view, soften(view.snapshot, world.context("soup")), nobody, 5).rows) == 0


def test_a_page_without_words_still_finds_by_the_other_facets(world):
    view = world.view
    context = world.context("", device=Device("phone"))
    everyone = Eligible.from_mask(np.ones(view.snapshot.rows, bool))
    found = retrieve(view, soften(view.snapshot, context), everyone, 10)
    assert len(found.rows) == 10
    assert found.matches[0] > 0.9
