"""The catalogue is swapped whole while requests run: each answer is of one version, and of no other."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime

import msgspec
import pytest

from contexts.context import Context, PageFacts
from contexts.taxonomy import content_taxonomy
from contexts.topic_vectors import TopicVectors
from engine.background import Background
from engine.change import Change
from engine.creative import Creative
from engine.decide import Engine
from engine.decision import Placement
from engine.snapshot import Snapshot
from engine.why import WhyLinks
from privacy.visit import Visit
from tests.world import World, advertiser, campaign, creative, publisher

SWAPS = 20
PLACES = (Placement("top", count=3), Placement("side", count=2), Placement("end"))


class OneContext:
    """Gathers the same context for every visit."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def gather(self, visit: Visit, snapshot: Snapshot, now: datetime, deadline: float) -> Context:
        return self.context

    def topics(self, page: PageFacts) -> frozenset[str]:
        return frozenset()


def write_version(world: World, number: int, entities: dict[str, Creative]) -> dict[str, str]:
    """Change half of the creatives, drop one and add one, in one transaction; return what is to be seen."""
    gone = next(iter(entities))
    changes = [Change(entities.pop(gone), None)]
    for at, (id, old) in enumerate(list(entities.items())):
        if at % 2 == number % 2:
            entities[id] = msgspec.structs.replace(old, headline=f"soup of version {number}, {id}")
            changes.append(Change(old, entities[id]))
    new = creative(f"new{number}", f"c{number % 4}", headline=f"fresh soup of version {number}")
    entities[new.id] = new
    changes.append(Change(None, new))
    world.store.write(changes, [], world.store.versions(), "test", world.now)
    return {id: c.headline for id, c in entities.items()}


@pytest.fixture
def eager() -> Iterator[None]:
    """Have threads take turns fifty times as often: more of a swap meets more of a request."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(before / 50)
    yield
    sys.setswitchinterval(before)


def test_every_answer_during_swaps_is_of_exactly_the_version_that_it_names(tmp_path, eager):
    world = World(tmp_path)
    entities = {f"k{i}": creative(f"k{i}", f"c{i % 4}", headline=f"soup {i}") for i in range(40)}
    world.put(publisher(), *(advertiser(f"a{i}") for i in range(4)))
    world.put(*(campaign(f"c{i}", f"a{i}") for i in range(4)), *entities.values())
    expected = {world.store.versions().catalog: {id: c.headline for id, c in entities.items()}}
    engine = Engine(
        world.catalog,
        OneContext(world.context("soup and bread", weather=None)),
        Background("lists", 10),
        TopicVectors.build(world.encoder, content_taxonomy(), {}),
        WhyLinks("https://ads.example", b"swaps"),
        now=lambda: world.now,
        monotonic=time.monotonic,
        request_id=lambda: "id",
        chance=secrets.token_bytes,
    )
    stop = threading.Event()
    counts, faults = [0, 0], []
    answers = set()  # each kind once: there are many thousands

    def ask(who: int) -> None:
        while not stop.is_set():
            try:
                answer = engine.decide(Visit("planet"), PLACES, explain=True, deadline=time.monotonic() + 30)
            except Exception as error:
                faults.append(error)
            else:
                answers.add((answer.snapshot, tuple(bytes(filled.creative) for filled in answer.decisions)))
                counts[who] += 1

    threads = [threading.Thread(target=ask, args=(who,)) for who in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1, SWAPS + 1):
        held = write_version(world, number, entities)
        expected[world.store.versions().catalog] = held  # no view has it before the refresh
        world.catalog.refresh()
        before = sum(counts)
        while sum(counts) < before + 2 and not faults:
            time.sleep(0.001)
    stop.set()
    for thread in threads:
        thread.join()

    assert not faults
    assert {version for version, _ in answers} == expected.keys()
    for version, creatives in answers:
        held = expected[version]
        shown = [msgspec.json.decode(creative) for creative in creatives]
        assert shown, f"nothing at all in version {version}"
        assert {c["id"]: c["assets"]["headline"] for c in shown}.items() <= held.items()
