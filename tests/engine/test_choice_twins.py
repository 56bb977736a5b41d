"""What is chosen, and with which chance, beside plain twins: the same numbers, bit for bit."""

from itertools import islice

import numpy as np
import pytest

from engine import message
from engine.decision import Ranked
from engine.learn.explore import _NODES, _WEIGHTS, FLOOR, chances, joint, worlds
from engine.learn.response import VERSION, Model, Responses
from engine.policy import Policy
from engine.rank import DIGITS, FEW, PEERS, Shortlist
from engine.retrieve import Candidates, limits_of
from engine.snapshot import id_hash
from engine.worlds import RESPONSES, WORLDS, Lots
from tests.engine.test_message import PARTS, load, site
from tests.world import NOW, World, advertiser, campaign, creative, publisher

FACETS = ("topic", "part", "weather", "device")


def plain_chances(mean, sd, there, floor=FLOOR):
    """Return the chances by the formulas as they are written down."""
    mean = np.where(there, mean, -1e3)
    x = mean[:, :, None] + sd[:, :, None] * _NODES
    z = (x[:, :, None, :] - mean[:, None, :, None]) / sd[:, None, :, None]
    below = 1.0 + np.tanh((z * z * (0.7978845608 * 0.044715) + 0.7978845608) * z)
    others = np.arange(mean.shape[1])
    below[:, others, others, :] = 2.0
    best = below.prod(axis=2) @ _WEIGHTS
    if there.all():
        return best * ((1 - floor) / best.sum(axis=1, keepdims=True)) + floor / mean.shape[1]
    best = best * there
    total, many = best.sum(axis=1, keepdims=True), there.sum(axis=1, keepdims=True)
    even = np.divide(there, many, out=np.zeros(there.shape), where=many > 0)
    best = np.divide(best, total, out=even.copy(), where=total > 0)
    return (1 - floor) * best + floor * even


def plain_joint(slots, messages, allowed):
    chance = slots[0, messages[:, 0]].copy()
    for slot in range(1, messages.shape[1]):
        chance *= slots[slot, messages[:, slot]]
    chance *= allowed
    return chance / chance.sum() if chance.sum() > 0 else np.zeros(len(messages))


def plain_read(model, components, facets):
    """Return what a model says of components in a context: means, deviations, worth of words and of wishes."""
    rows = [
        model.components.index(one) + 1 if one in model.components else 0 for one in components
    ]  # fmt: skip
    named = ("", *(f"{facet}={facets[facet]}" for facet in FACETS))
    columns = [model.columns.index(one) if one in model.columns else -1 for one in named]
    responses = Responses(model)
    told = responses._table.take(rows, axis=1).take(columns, axis=2)
    mean, variance = told[:2].sum(axis=2)
    worth = told[2, :, 2:].sum(axis=1) / (len(columns) - 2)
    return mean, np.sqrt(variance), responses._slope[rows] * told[2, :, 1], worth


def some_model(draw, components):
    columns = ("", "part=night", "part=morning", "device=phone", "topic=1", "weather=rain")
    shape = (len(components), len(columns))
    mean, variance, known = draw.normal(0, 0.2, shape), draw.gamma(1, 0.02, shape), draw.random(shape)
    rows = [tuple(map(tuple, table.tolist())) for table in (mean, variance, known)]
    slope = tuple(draw.random(len(components)).tolist())
    return Model(VERSION, 5, 20_000, 0.002, columns, tuple(components), *rows, slope)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.put(publisher(), *(advertiser(f"a{n}") for n in range(7)))
    for n in range(60):
        at = f"k{n}"
        world.put(campaign(at, f"a{n % 7}", cpm_micros=1_000_000 + 10_000 * (n % 4)), creative(f"c{n}", at))
    yield world
    world.store.close()


@pytest.mark.parametrize("shape", [(1, 2), (4, 5), (5, 12), (3, 1)])
def test_chances_are_those_of_the_formulas(shape):
    draw = np.random.default_rng(sum(shape))
    for _ in range(40):
        mean, sd = draw.normal(0, 0.3, shape), draw.gamma(2, 0.1, shape) + 1e-6
        there = draw.random(shape) < draw.choice([0.5, 1.0])
        assert (chances(mean, sd, there) == plain_chances(mean, sd, there)).all()
        whole = chances(mean, sd, None)
        assert (whole == plain_chances(mean, sd, np.ones(shape, bool))).all()
        assert whole.sum(axis=1) == pytest.approx(1.0)


def test_joint_chances_are_the_products():
    draw = np.random.default_rng(2)
    messages = np.asfortranarray(np.indices((3, 4, 5, 2)).reshape(4, -1).T)
    for share in (0.0, 0.3, 1.0):
        slots = draw.random((4, 5))
        allowed = draw.random(len(messages)) < share
        assert (joint(slots, messages, allowed) == plain_joint(slots, messages, allowed)).all()
    every = np.ones(len(messages), bool)
    assert (joint(slots, messages) == plain_joint(slots, messages, every)).all()


def test_what_a_model_says_is_what_stands_in_it():
    draw = np.random.default_rng(3)
    named = [(f"c{n}", part) for n in range(30) for part in ("", "headline/h1", "body/b1")]
    model = some_model(draw, named)
    responses, asked = Responses(model), [*named[::-2], ("nobody", ""), ("c3", "cta/x")]
    for facets in (
        dict(topic="1", part="night", weather="rain", device="phone"),
        dict(topic="9", part="morning", weather="", device="tv"),
        dict(topic="?", part="?", weather="?", device="?"),
    ):
        places, columns = responses.places(asked), responses.columns(facets)
        plain = plain_read(model, asked, facets)
        for found, wanted in zip(responses.read(places, columns), plain, strict=True):
            assert (found == wanted).all()
        for found, wanted in zip(responses.beliefs(places, columns), plain, strict=False):
            assert (found == wanted).all()
        assert (responses.columns(facets) == columns).all()  # kept, and not changed


def test_responses_in_worlds_are_drawn_by_mean_and_deviation(world):
    draw = np.random.default_rng(4)
    view = world.view
    ids = [view.snapshot.creative_id(row) for row in range(view.snapshot.rows)]
    model = some_model(draw, sorted((id, "") for id in ids[5:]))
    world.catalog.follow(Policy(Responses(model)))
    lots, facets = Lots(world.catalog.view(world.now)), dict.fromkeys(FACETS, "?") | {"device": "phone"}
    for rows in (np.arange(10), draw.permutation(len(ids))[:40], np.arange(len(ids))):
        asked = [ids[row] for row in rows]
        mean, sd, _, _ = plain_read(model, [(id, "") for id in asked], facets)
        drawn = worlds(model.seed, np.array([id_hash(id) for id in asked], np.uint64), WORLDS)
        wanted = np.clip(1.0 + mean[:, None] + sd[:, None] * drawn.astype(np.float32), *RESPONSES)
        assert (lots.responses(rows, facets) == wanted).all()


def plain_order(snapshot, rows, matches, fits=None):
    """Return candidates in their final order, group by group; `fits` are matches × responses."""
    matches = matches.astype(float).round(DIGITS)
    left, order = list(range(len(rows))), []
    while left:
        best = matches[left[0]]
        peers = [at for at in left if matches[at] >= PEERS * best] if best > 0 else left
        worth = matches if fits is None or best <= 0 else fits
        value = {at: worth[at] * (int(snapshot.bid[rows[at]]) if best > 0 else 1) for at in peers}
        group = sorted(
            peers, key=lambda at: (-value[at], -matches[at], -int(snapshot.bid[rows[at]]), rows[at])
        )
        order += [
            Ranked(
                int(rows[at]), matches[at], value[at],
                int(snapshot.advertisers[snapshot.campaign[rows[at]]]), worth[at],
            ) for at in group
        ]  # fmt: skip
        left = [at for at in left if at not in peers]
    return order


def plain_rival(order, row, taken):
    """Return the value of the first behind a row that is a peer of it, of another, and not taken."""
    own, left = next(one for one in order if one.row == row), order
    while True:
        best = max(one.match for one in left)
        peers = [one for one in left if best <= 0 or one.match >= PEERS * best]
        if own in peers:
            break
        left = [one for one in left if one not in peers]
    for one in peers[peers.index(own) + 1 :]:
        if one.advertiser != own.advertiser and one.row not in taken and one.match > 0:
            return one.value
    return None


@pytest.mark.parametrize("kind", ["alike", "spread", "equal", "negative", "steps"])
def test_a_shortlist_is_in_its_whole_order_however_much_of_it_is_asked_for(world, kind):
    snapshot, draw = world.view.snapshot, np.random.default_rng(len(kind))
    for number in range(30):
        rows = draw.permutation(snapshot.rows)[: int(draw.integers(1, snapshot.rows + 1))]
        low, high = {
            "alike": (0.5, 0.6), "spread": (0.05, 0.9), "equal": (0.5, 0.5), "negative": (-0.5, 0.1), "steps": (0, 5),
        }[kind]  # fmt: skip
        matches = np.sort(draw.uniform(low, high, len(rows)).astype(np.float32))[::-1]
        if kind == "steps":
            matches = (np.floor(matches) / 5).astype(np.float32)
        shortlist, fits = Shortlist(snapshot, Candidates(rows, matches)), None
        if number % 2:
            responses = np.asfortranarray(draw.choice([0.5, 1.0, draw.random()], (len(rows), WORLDS)))
            fits = (matches.astype(float).round(DIGITS) * responses[:, 3]).round(DIGITS)
            for winner, world_at in zip(shortlist.winners(responses).tolist(), responses.T, strict=True):
                assert winner == next(iter(shortlist.under(world_at))).row
            shortlist = shortlist.under(responses[:, 3])
        wanted = plain_order(snapshot, rows, matches, fits)
        few = int(draw.integers(1, len(rows) + 1))
        assert list(islice(shortlist, few)) == wanted[:few]  # before the others are asked for
        for pick in wanted[:few]:
            taken = {one.row for one in wanted[: int(draw.integers(0, len(wanted)))]}
            assert shortlist.rival(pick.row, taken) == plain_rival(wanted, pick.row, taken)
        assert list(shortlist) == wanted and list(shortlist) == wanted


def test_a_large_group_is_not_put_in_order_as_a_whole_for_its_first(world):
    snapshot = world.view.snapshot
    rows = np.arange(snapshot.rows)
    shortlist = Shortlist(snapshot, Candidates(rows, np.linspace(0.6, 0.5, len(rows)).astype(np.float32)))
    first = next(iter(shortlist))
    assert first == plain_order(snapshot, rows, np.linspace(0.6, 0.5, len(rows)).astype(np.float32))[0]
    (part,) = shortlist._parts
    assert FEW <= len(part.group[0]) < len(rows) and part.more == len(rows) - len(part.group[0])


EVEN = {
    "headlines": [{"id": f"h{n}", "text": f"Headline {n}"} for n in range(3)],
    "bodies": [{"id": f"b{n}", "text": f"Body {n}"} for n in range(3)],
    "ctas": [{"id": f"c{n}", "text": f"Act {n}"} for n in range(3)],
}


def whole(told, like):
    return np.ones(like, bool) if told is None else told


@pytest.mark.parametrize("device", ["desktop", "phone"])
@pytest.mark.parametrize(
    "parts", [EVEN, EVEN | {"never": [["h1", "b1"]]}, PARTS, {"headlines": EVEN["headlines"]}]
)
def test_a_message_has_the_chance_that_the_plain_formulas_give_it(tmp_path, monkeypatch, parts, device):
    world = World(tmp_path)
    world.put(publisher(), advertiser(), campaign("soup"))
    here = site(world)
    first, *others = parts["headlines"]
    for bound in (parts, parts | {"headlines": [*others, first | {"only": {"devices": ["phone"]}}]}):
        load(world, parts=bound)
        view, draw = world.view, np.random.default_rng(6)
        mixer = view.snapshot.mixer(view.snapshot.row_of("soup-1"))
        responses = Responses(some_model(draw, sorted(mixer.components)))
        visit = here.visit(title="leek soup with potatoes", device_class=device)
        context = here.engine.scene(visit, here.ticker.now + 1).context
        asked = (
            context, "other", NOW, limits_of(view, context), responses, None,
            here.engine.gatherer.facets(context), None,
        )  # fmt: skip
        found = mixer.mix(*asked)
        with monkeypatch.context() as plainly:
            plainly.setattr(message, "chances", lambda m, s, t: plain_chances(m, s, whole(t, m.shape)))
            plainly.setattr(message, "joint", lambda c, m, a: plain_joint(c, m, whole(a, len(m))))
            mixer.even = False
            plain = mixer.mix(*asked)
        assert len(found.chance) > 1 and (plain.kept == found.kept).all()
        assert (plain.chance == found.chance).all() and found.chance.sum() == pytest.approx(1.0)
        assert (plain.offset == found.offset).all() and (plain.learned == found.learned).all()
        chosen = [found.chosen(at) for at in range(len(found.chance))]
        assert [one.nearness for one in chosen] == [
            float(found.match[mixer.flat[number]].sum()) for number in found.kept
        ]
    world.store.close()
