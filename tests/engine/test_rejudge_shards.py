"""Evidence that reaches over yearly shards holds as one chain, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from msgspec import structs

from privacy.checkpoint import Checkpoint, read_checkpoint, sign_note
from privacy.errors import LogError
from privacy.log_shards import first_leaf
from privacy.merkle import inclusion_proof, leaf_hash, nodes_of
from privacy.rejudge import Bundle, Entry, judge, read_bundle
from privacy.tiles import TileBuilder
from privacy.tlog_proof import Proof, read_proof
from tests.engine.log_world import LogWorld
from tests.engine.test_rejudge import Story

LOG = "ads.example/log"


@pytest.fixture(scope="module", params=["auditors", "public"])
def story(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest):
    """Granted in 2026, renewed in 2027, withdrawn in 2029."""
    world = LogWorld(tmp_path_factory.mktemp("log"), request.param)
    world.log.step()
    made = Story(world, [])
    made.tell("consent.grant")
    made.publish()
    for year, change in (
        (2027, {"type": "consent.grant", "state": "RenewedConsentGiven", "expires": "2030-01-01T00:00:00Z"}),
        (2029, {"type": "consent.withdraw", "state": "ConsentWithdrawn", "purposes": (), "generation": 2}),
    ):
        world.time = datetime(year, 1, 1, 0, 5, tzinfo=UTC)
        world.log.step()
        made.tell(**change)
        made.publish()
    yield made
    world.close()


@pytest.mark.parametrize(("days", "in_force"), [(1, True), (200, True), (790, False)])
def test_a_moment_of_any_year_is_judged_by_the_whole_chain(story: Story, days: int, in_force: bool):
    judgement = story.judge(story.evidence(days))
    assert judgement.in_force is in_force
    assert sum(LOG in line for line in judgement.rests_on) == 3


def evidence(story: Story) -> Bundle:
    return read_bundle(story.evidence(200))


def without(type: str, which: int) -> Callable[[Story, Bundle], Bundle]:
    def damage(story: Story, bundle: Bundle) -> Bundle:
        left_out = [one for one in bundle.log if json.loads(one.leaf)["type"] == type][which]
        return structs.replace(bundle, log=tuple(one for one in bundle.log if one is not left_out))

    return damage


def shard_left_out(story: Story, bundle: Bundle) -> Bundle:
    def of_middle(proof: str) -> bool:
        return read_checkpoint(read_proof(proof.encode()).note.text).origin == f"{LOG}/2027"

    return structs.replace(
        bundle,
        log=tuple(one for one in bundle.log if not of_middle(one.proof)),
        events=tuple(one for one in bundle.events if not of_middle(str(one.proof))),
    )


def retold(story: Story, leaves: list[bytes], index: int, origin: str) -> Entry:
    """Sign a tree of these leaves as a shard, with the log's own keys; prove an entry of it."""
    tree = TileBuilder()
    for leaf in leaves:
        tree.append(leaf)
    text = Checkpoint(origin, tree.size, tree.root()).text()
    note = sign_note(text, story.world.writer.keys(origin), int(story.world.time.timestamp()))
    path = inclusion_proof(index, tree.size, nodes_of([leaf_hash(leaf) for leaf in leaves]))
    return Entry(leaves[index].decode(), Proof(index, tuple(path), note).encode().decode())


def opened_again(story: Story, bundle: Bundle) -> Bundle:
    shard = story.world.log.shards.all()[0]
    leaves = story.world.log.shards.leaves(shard).read(0, shard.size or 0)
    more = [*leaves, json.dumps({"v": 1}).encode()]
    return structs.replace(bundle, log=(*bundle.log, retold(story, more, 0, LOG)))


def another_root(story: Story, bundle: Bundle) -> Bundle:
    shards = story.world.log.shards
    shard, before = shards.all()[2], shards.all()[1]
    end = Checkpoint(before.origin, before.size or 0, bytes(32))
    leaves = shards.leaves(shard).read(0, shards.leaves(shard).count())
    begin = first_leaf(shard.first, story.world.time, end)
    kept = [one for one in bundle.log if json.loads(one.leaf)["seq"] < shard.first]
    told = retold(story, [begin, *leaves[1:]], 0, shard.origin)
    early = tuple(one for one in bundle.events if one.index < shard.first)
    return structs.replace(bundle, log=(*kept, told), events=early)


def second_head(story: Story, bundle: Bundle) -> Bundle:
    shards = story.world.log.shards
    end = shards.all()[0]
    final = read_checkpoint(read_proof(bundle.log[0].proof.encode()).note.text)
    assert (final.origin, final.size) == (LOG, end.size)
    begin = first_leaf(end.size or 0, story.world.time, final)
    return structs.replace(bundle, log=(*bundle.log, retold(story, [begin], 0, f"{LOG}/2028")))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without("log.begin", 0), "begins no log, and after no other one"),
        (without("log.begin", 1), "begins no log, and after no other one"),
        (without("log.freeze", 0), "none before names as the next"),
        (without("log.freeze", 1), "none before names as the next"),
        (shard_left_out, "none before names as the next"),
        (opened_again, "opened again|is not how the next shard has it end"),
        (another_root, "is not how the next shard has it end"),
        (second_head, "none before names as the next"),
    ],
)
def test_evidence_of_a_broken_chain_gives_no_judgement(
    story: Story, damage: Callable[[Story, Bundle], Bundle], said: str
):
    policy = story.world.writer.policy
    assert judge(evidence(story), policy)
    with pytest.raises(LogError, match=said):
        judge(damage(story, evidence(story)), policy)
