"""A year's turn ends a shard of the log and begins the next: one chain, which nobody can open again, cut or fork."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine import log_turn
from engine.backup import backup, copy_store, restore
from engine.cli import main
from engine.errors import LogRefused
from engine.log_audit import audit_log, published_checkpoint
from engine.log_client import FolderSource
from engine.log_files import LogFiles, Signed
from engine.log_follow import follow
from engine.log_witness import WitnessFiles
from engine.log_writer import WITNESS_WAIT_S, LogWriter
from engine.store import open_store
from privacy.checkpoint import Checkpoint, Note, Signature, Signer, read_checkpoint, read_note, sign_note
from privacy.errors import LogError
from privacy.log_policy import read_policy
from privacy.log_shards import Shard, check_first, next_of, year_in
from privacy.merkle import consistency_proof
from privacy.tiles import ENTRIES, TileBuilder, tile_nodes, tiles_of
from privacy.tlog_proof import read_proof, verify_proof
from privacy.witness import add_checkpoint, write_request
from tests.engine.log_world import LogWorld
from tests.postgres import Server
from tests.privacy.test_log_elsewhere import node, sumdb  # noqa: F401 - fixtures

LOG = "ads.example/log"
TURN = datetime(2027, 1, 1, 0, 0, 5, tzinfo=UTC)


@pytest.fixture(params=["auditors", "public"])
def world(request: pytest.FixtureRequest, tmp_path: Path):
    made = LogWorld(tmp_path, request.param)
    made.log.step()
    made.append(300)
    made.later(3600)
    made.log.step()
    yield made
    made.close()


def at(world: LogWorld, moment: datetime) -> None:
    world.time = moment
    world.log.step()
    world.later(3600)
    world.log.step()


def origins(world: LogWorld) -> list[str]:
    return [shard.origin for shard in world.log.shards.all()]


def final(world: LogWorld, place: int = 0) -> Checkpoint:
    found = published_checkpoint(world.log.shards.files(world.log.shards.all()[place]), world.writer.policy)
    assert found is not None
    return found


def types(leaves: Sequence[bytes]) -> list[str]:
    return [json.loads(leaf)["type"] for leaf in leaves]


def faults(world: LogWorld) -> list[str]:
    return audit_log(world.log.shards, world.writer.policy).faults


def watch(world: LogWorld, seen: bytes | None = None) -> bytes:
    now = int(world.time.timestamp())
    return follow(FolderSource(world.writer.folder), world.writer.policy, seen, now, 4000)


def test_a_turn_ends_the_shard_and_begins_one_that_commits_to_how_it_ended(world: LogWorld):
    seen = watch(world)
    at(world, TURN)
    first, second = world.log.shards.all()
    assert (first.origin, second.origin) == (LOG, f"{LOG}/2027")
    end = final(world)
    assert end.size == first.size == second.first
    last = world.leaves.read(second.first - 1, second.first)[0]
    begin, *told = world.leaves.read(second.first, second.first + 6)
    assert next_of(last) == f"{LOG}/2027"
    check_first(begin, end)
    assert types(told) == ["key.add"] * 3 + ["config.change", "policy.change"]
    assert [json.loads(one)["seq"] for one in (last, begin)] == [end.size - 1, end.size]
    assert final(world, 1).origin == f"{LOG}/2027"
    assert faults(world) == []
    watch(world, seen)
    if world.log.public:
        assert end.size % 64 == final(world, 1).size % 64 == 0
    assert sorted(path.name for path in world.writer.folder.iterdir() if path.is_dir()) == ["2027", "tile"]


def test_keys_are_the_same_under_a_name_of_their_own_and_an_old_policy_holds(world: LogWorld):
    policy = read_policy(world.writer.policy.text())
    at(world, TURN)
    note = read_note(world.files.checkpoint() or b"")
    assert len(policy.verify(note)) == 2
    assert {line.name for line in note.signatures} == {f"{LOG}/2027"}
    assert policy.of_shard(f"{LOG}/2027").verify(note)  # what other tools need
    other = Signer.ed25519(f"{LOG}/2027", b"x" * 32)
    with pytest.raises(LogError):
        policy.verify(sign_note(note.text, [other, other], 0))
    renamed = Note(note.text.replace("/2027", "/abcd"), note.signatures)
    with pytest.raises(LogError, match="no log of this policy"):
        policy.verify(renamed)


@pytest.mark.parametrize(
    ("origin", "year"),
    [
        (LOG, 0),
        (f"{LOG}/2027", 2027),
        (f"{LOG}/27", None),
        (f"{LOG}/2027/2028", None),
        (f"{LOG}2027", None),
        ("2027", None),
        (f"{LOG}/٢٠٢٧", None),
    ],
)
def test_a_shard_is_known_by_the_log_s_name_and_four_digits(origin: str, year: int | None):
    assert year_in(LOG, origin) == year


def test_receipts_of_every_shard_verify_and_go_on_to(world: LogWorld):
    proof, leaf = world.log.shards.receipt(7), world.leaves.read(7, 8)[0]
    assert proof is not None
    at(world, TURN)
    new = world.append(3)[0]
    world.later(7200)
    world.log.step()
    policy = world.writer.policy
    verify_proof(proof, leaf, policy)
    for seq, origin in ((7, LOG), (new, f"{LOG}/2027")):
        found = world.log.proof(seq)
        assert found is not None
        entry = world.leaves.read(seq, seq + 1)[0]
        assert verify_proof(read_proof(found.encode()), entry, policy).origin == origin


def test_a_service_that_was_down_for_years_begins_one_shard(world: LogWorld):
    seen = watch(world)
    world.close()
    world.time = datetime(2031, 5, 6, 7, 8, tzinfo=UTC)
    world = world.again()
    at(world, world.time)
    assert origins(world) == [LOG, f"{LOG}/2031"]
    at(world, datetime(2032, 1, 1, tzinfo=UTC))
    assert origins(world) == [LOG, f"{LOG}/2031", f"{LOG}/2032"]
    assert faults(world) == []
    watch(world, seen)
    world.close()


def test_what_was_told_in_the_new_year_before_the_writer_came_stays_in_the_old_shard(world: LogWorld):
    world.time = TURN
    told = world.append(5)
    world.log.step()
    shard = world.log.shards.newest()
    assert shard.first > told[-1]
    assert world.append(1)[0] > shard.first
    assert faults(world) == []


def test_a_clock_that_goes_back_opens_nothing_again(world: LogWorld):
    at(world, TURN)
    chain, end = world.log.shards.all(), world.log.shards.files(world.log.shards.all()[0]).checkpoint()
    world.time = TURN - timedelta(days=3)
    seq = world.append(1)[0]
    world.log.step()
    world = world.again()
    world.log.step()
    assert world.log.shards.all() == chain
    assert world.log.shards.of(seq).origin == f"{LOG}/2027"
    at(world, TURN + timedelta(days=1))
    assert world.log.shards.all() == chain
    assert world.log.shards.files(chain[0]).checkpoint() == end
    assert faults(world) == []
    world.close()


def test_an_end_is_signed_once_and_is_not_signed_larger_smaller_or_otherwise(world: LogWorld):
    at(world, TURN)
    shard = world.log.shards.all()[0]
    files, end = world.log.shards.files(shard), final(world)
    for _ in range(3):
        at(world, world.time)
    assert final(world) == end
    files.put_signed(Signed(LOG, end.size, end.root))
    for size, root in ((end.size - 1, end.root), (end.size + 1, end.root), (end.size, bytes(32))):
        with pytest.raises(LogRefused, match="frozen"):
            files.put_signed(Signed(LOG, size, root))


@pytest.mark.parametrize("size", [-1, 1])
def test_a_smaller_or_larger_end_that_somebody_put_there_is_refused(world: LogWorld, size: int):
    at(world, TURN)
    shard, end = world.log.shards.all()[0], final(world)
    text = replace(end, size=end.size + size).text()
    note = sign_note(text, world.writer.keys(LOG), int(world.time.timestamp()))
    world.log.shards.files(shard).put_checkpoint(note.encode())
    before = world.files.checkpoint()
    world = world.again()
    at(world, world.time)
    if size > 0:
        assert "was opened again" in str(world.log.fault())
        assert world.files.checkpoint() == before
    else:  # it is not what was signed last: the log says so, and does not sign on
        assert world.log.fault() is not None
    world.close()


def test_a_log_that_is_rolled_back_to_before_the_turn_is_not_signed(world: LogWorld):
    world.close()
    shutil.copytree(world.config.data_dir, world.folder / "yesterday")
    world = world.again()
    at(world, TURN)
    world.close()
    shutil.rmtree(world.config.data_dir)
    shutil.copytree(world.folder / "yesterday", world.config.data_dir)
    world = world.again()
    at(world, TURN + timedelta(days=2))
    assert f"origin: the log signed last is '{LOG}/2027'" in str(world.log.fault())
    assert world.log.shards.newest().origin == LOG
    world.close()


def test_lost_files_of_all_shards_are_written_anew_with_the_same_ends(world: LogWorld):
    at(world, TURN)
    at(world, datetime(2028, 1, 1, tzinfo=UTC))
    ends = [final(world, place) for place in range(3)]
    shutil.rmtree(world.writer.folder)
    world = world.again()
    world.log.step()
    world.later(3600)
    world.log.step()
    assert [final(world, place) for place in range(2)] == ends[:2]
    assert final(world, 2).size >= ends[2].size
    assert faults(world) == []
    world.close()


class Crash(BaseException):
    pass


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize(
    ("owner", "name", "which"),
    [
        (log_turn, "record_anew", 1),
        (LogWriter, "turned", 1),
        *((LogWriter, "publish", which) for which in (1, 2)),
        *((LogFiles, "put_tiles", which) for which in (1, 2)),
        *((LogFiles, "put_signed", which) for which in (1, 2)),
        *((LogFiles, "put_checkpoint", which) for which in (1, 2)),
    ],
)
def test_a_crash_at_any_step_of_the_turn_leaves_one_head(
    world: LogWorld, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, which: int, done: bool
):
    seen = watch(world)
    world.time = TURN - timedelta(seconds=30)
    told = world.append(2)
    world.time = TURN
    real, calls = getattr(owner, name), []

    def crash(*given: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) < which:
            return real(*given, **more)
        if done:
            real(*given, **more)
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, crash)
        try:
            for _ in range(3):
                world.log.step()
                world.later(3600)
        except Crash:
            pass
    assert len(calls) >= which, "it never came to that"
    world = world.again()
    for _ in range(3):
        world.log.step()
        world.later(3600)
    world.log.step()
    assert world.log.fault() is None
    assert origins(world) == [LOG, f"{LOG}/2027"]
    assert types(world.leaves.read(0, world.leaves.count())).count("log.begin") == 1
    assert faults(world) == []
    assert world.log.shards.of(told[-1]).origin == LOG
    watch(world, seen)
    world.close()


class Slow:
    """A witness that answers from a moment on."""

    def __init__(self, world: LogWorld) -> None:
        self.world = world
        self.awake: datetime | None = None
        self.asked: list[str] = []
        self.signer = Signer.ml_dsa_44("witness.example/w", b"w" * 32)

    def __call__(
        self, note: Note, checkpoint: Checkpoint, proof_from: object, before: Note | None = None
    ) -> Sequence[Signature]:
        self.asked.append(f"{checkpoint.origin} {checkpoint.size}")
        if self.awake is None or self.world.time < self.awake or (before and self.missing(before)):
            return ()
        return (self.signer.sign(note.text, int(self.world.time.timestamp())),)

    def missing(self, note: Note) -> Sequence[str]:
        named = {line.name for line in note.signatures}
        return [] if self.signer.verifier.name in named else [self.signer.verifier.name]


def cosigned(world: LogWorld, place: int) -> bool:
    note = world.log.shards.files(world.log.shards.all()[place]).checkpoint()
    return note is not None and any(line.name == "witness.example/w" for line in read_note(note).signatures)


def test_a_new_shard_waits_ten_minutes_for_a_witness_of_the_old_one_s_end(tmp_path: Path):
    world = LogWorld(tmp_path)
    witness = world.writer._witnessing = Slow(world)
    at(world, TURN - timedelta(hours=2))
    world.time = TURN
    world.log.step()
    ended = int(final(world).size)
    for _ in range(9):
        assert world.log.shards.files(world.log.shards.newest()).checkpoint() is None
        world.later(60)
        world.log.step()
    witness.awake = world.time  # within the ten minutes
    world.later(60)
    world.log.step()
    assert (cosigned(world, 0), cosigned(world, 1)) == (True, True)
    assert final(world).size == ended
    assert world.log.fault() is None
    world.close()


def test_without_the_witness_the_log_goes_on_and_asks_again_for_the_end_first(tmp_path: Path):
    world = LogWorld(tmp_path)
    witness = world.writer._witnessing = Slow(world)
    at(world, TURN - timedelta(hours=2))
    world.time = TURN
    world.log.step()
    world.later(WITNESS_WAIT_S)
    world.log.step()
    assert final(world, 1).size > 0
    assert (cosigned(world, 0), cosigned(world, 1)) == (False, False)
    witness.awake, witness.asked = world.time, []
    world.later(60)
    world.log.step()
    assert (cosigned(world, 0), cosigned(world, 1)) == (True, True)
    assert [asked.split()[0] for asked in witness.asked] == [LOG, f"{LOG}/2027"]
    assert faults(world) == []
    world.close()


def test_keys_are_changed_in_a_later_shard_and_all_that_was_signed_stays_verifiable(world: LogWorld):
    from tests.engine.test_log_rotation import change_keys

    at(world, TURN)
    old = world.writer.policy
    notes = [world.log.shards.files(shard).checkpoint() for shard in world.log.shards.all()]
    retired = change_keys(world)
    world = world.again()
    world.log.step()
    at(world, datetime(2028, 1, 1, tzinfo=UTC))
    policy = read_policy(world.writer.policy.text())
    assert policy == world.writer.policy
    assert {key.name for key in policy.logs} == {LOG}
    assert {key.name for one in policy.retired for key in one.keys} == {f"{LOG}/2027"}
    for note in notes:
        assert note is not None
        policy.verify(read_note(note))
    with pytest.raises(LogError):
        old.verify(read_note(world.files.checkpoint() or b""))
    for shard in world.log.shards.all():  # what tools of others are given: the keys that signed its end
        data = world.log.shards.files(shard).checkpoint() or b""
        assert all(key.name == shard.origin for key in policy.of_shard(shard.origin).verify(read_note(data)))
        assert read_policy(policy.of_shard(shard.origin).text()) == policy.of_shard(shard.origin)
    assert retired.size <= (world.log.shards.all()[1].size or 0)
    assert faults(world) == []
    world.close()


def test_keys_are_changed_after_a_turn_that_could_not_be_signed(
    world: LogWorld, monkeypatch: pytest.MonkeyPatch
):
    from tests.engine.test_log_rotation import change_keys

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    world.time = TURN
    with monkeypatch.context() as patched:
        patched.setattr(LogFiles, "put_tiles", full)
        world.log.step()
        assert "No space left" in str(world.log.fault())
    assert origins(world) == [LOG, f"{LOG}/2027"]
    retired = change_keys(world)
    assert {key.name for key in retired.keys} == {f"{LOG}/2027"}
    world = world.again()
    at(world, world.time)
    assert world.log.fault() is None
    assert faults(world) == []
    world.close()


def test_a_changed_key_signs_no_later_shard(world: LogWorld):
    from tests.engine.test_log_rotation import change_keys

    old = world.writer.keys(f"{LOG}/2027")
    change_keys(world)
    world = world.again()
    text = Checkpoint(f"{LOG}/2027", 1, bytes(32)).text()
    with pytest.raises(LogError):
        world.writer.policy.verify(sign_note(text, old, int(world.time.timestamp())))
    world.close()


def test_the_commands_follow_the_chain(tmp_path: Path):
    world = LogWorld(tmp_path)
    world.log.step()
    world.append(10)
    world.later(60)
    world.log.step()
    environ = {"TACTFUL_DATA_DIR": str(tmp_path / "data"), "TACTFUL_KEY_DIR": str(tmp_path / "keys")}

    def run(*words: object) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words], env=environ)

    policy, seen, leaf, proof = (tmp_path / name for name in ("policy", "seen", "leaf", "proof"))
    policy.write_text(run("log", "policy").stdout)
    at(world, TURN)
    new = world.append(2)[0]
    world.later(60)
    world.log.step()
    # the world's clock is not the commands': freshness is tested elsewhere
    monitor = run(
        "log", "monitor", world.writer.folder, "--policy", policy, "--seen", seen, "--stale-s", 10**9
    )
    assert monitor.exit_code == 0, monitor.output
    assert monitor.stdout.startswith(f"{LOG}/2027: ")
    for seq, said in ((3, f"entry 3 of {LOG} at"), (new, f"of {LOG}/2027 at")):
        proof.write_text(run("log", "receipt", seq, "--leaf", leaf).stdout)
        told = run("log", "verify", proof, leaf, "--policy", policy)
        assert (told.exit_code, said in told.stdout) == (0, True), told.output
    found = json.loads(run("log", "fsck", "--json").stdout)
    assert (found["holds"], found["shards"], found["leaves"]) == (True, 2, world.leaves.count())
    assert f"log {LOG}/2027+" in run("log", "policy", "--shard", 2027).stdout
    world.close()
    tile = world.writer.folder / "tile/entries/000.p"
    shutil.rmtree(tile)
    (tmp_path / "data/log/2027/tile/0").rename(tmp_path / "gone")
    assert run("log", "fsck").exit_code == 1
    repaired = run("log", "fsck", "--repair")
    assert repaired.exit_code == 0, repaired.output


def chained(folder: Path, profile: str = "auditors", setting: str | None = None) -> LogWorld:
    """Make a log of three shards, with a year between in which nothing ran."""
    world = LogWorld(folder, profile, setting=setting)
    world.log.step()
    world.append(300)
    for moment in (TURN, datetime(2029, 3, 1, tzinfo=UTC)):
        at(world, moment)
        world.append(260)
        world.later(3600)
        world.log.step()
    return world


def claims(world: LogWorld, which: str) -> list[dict[str, Any]]:
    """Say of each shard what other tools can check: its checkpoint, its tree, and receipts."""
    said: list[dict[str, Any]] = []
    for place, shard in enumerate(world.log.shards.all()):
        files, end = world.log.shards.files(shard), final(world, place)
        known = {"Size": end.size, "Root": end.root}
        if which == "checkpoint":
            vkey = world.writer.policy.of_shard(shard.origin).logs[0].vkey()
            said.append({"Kind": which, "Vkey": vkey, "Note": files.checkpoint(), **known})
        elif which == "root":
            leaves = world.log.shards.leaves(shard).read(0, end.size)
            tiles = {tile.path: files.read_tile(tile) for tile in tiles_of(end.size) if tile.level != ENTRIES}
            said.append({"Kind": which, "Leaves": leaves, "Tiles": tiles, "Root": end.root})
        else:
            for index in (0, 1, end.size - 1):
                proof = world.log.shards.receipt(shard.first + index)
                assert proof is not None
                entry = world.leaves.read(shard.first + index, shard.first + index + 1)[0]
                said.append(
                    {"Kind": which, "Index": index, "Leaf": entry, "Proof": list(proof.path), **known}
                )
    return said


@pytest.mark.parametrize("tool", ["sumdb", "node"])
def test_each_shard_is_a_log_to_tools_of_others(tmp_path: Path, request: pytest.FixtureRequest, tool: str):
    ask = request.getfixturevalue(tool)
    world = chained(tmp_path)
    for which in ("checkpoint", "inclusion", *(["root"] if tool == "sumdb" else [])):
        told = claims(world, which)
        assert ask(told) == ["ok"] * len(told)
    checkpoints, inclusions = claims(world, "checkpoint"), claims(world, "inclusion")
    wrong = [
        *(one | {"Vkey": checkpoints[place - 1]["Vkey"]} for place, one in enumerate(checkpoints)),
        *(one | {"Root": inclusions[place - 3]["Root"]} for place, one in enumerate(inclusions)),
    ]
    assert "ok" not in ask(wrong)
    world.close()


def test_a_database_on_a_server_turns_the_year_on_one_machine_and_copies_hold_the_chain(
    tmp_path: Path, postgres: Server
):
    with postgres.database() as url, postgres.database() as other_url:
        world = chained(tmp_path / "one", "public", url)
        assert origins(world) == [LOG, f"{LOG}/2027", f"{LOG}/2029"]
        assert faults(world) == []
        shards, leaves = world.log.shards.all(), world.leaves.read(0, world.leaves.count())
        assert all(shard.size is None or shard.size % 64 == 0 for shard in shards)
        world.close()
        copy_store(url, other_url)
        with closing(open_store(url)) as store:
            backup(store, tmp_path / "backup.db")
        sqlite = tmp_path / "restored.db"
        restore(tmp_path / "backup.db", sqlite)
        for number, place in enumerate((other_url, f"sqlite:///{sqlite}")):
            shutil.copytree(tmp_path / "one", tmp_path / str(number))  # two copies that grow are two heads
            moved = LogWorld(tmp_path / str(number), "public", world.time, setting=place, seed=9)
            assert moved.log.shards.all() == shards
            assert moved.leaves.read(0, moved.leaves.count()) == leaves
            moved.later(3600)
            moved.log.step()
            assert moved.log.fault() is None
            assert faults(moved) == []
            moved.close()


def test_a_witness_with_the_old_policy_cosigns_the_new_shard_and_no_growth_of_the_old(tmp_path: Path):
    world = LogWorld(tmp_path)
    policy = world.writer.policy  # of before the turn: nothing new is fetched
    store, signer = WitnessFiles(tmp_path / "cosigned"), Signer.ml_dsa_44("witness.example/w", b"w" * 32)

    def ask(shard: Shard, old: int, note: Note) -> int:
        size, files = read_checkpoint(note.text).size, world.log.shards.files(shard)
        proof = consistency_proof(old, size, tile_nodes(size, files.read_tile)) if 0 < old < size else []
        return add_checkpoint(write_request(old, proof, note), policy, signer, store, 1_800_000_000).status

    def published(place: int) -> Note:
        return read_note(world.log.shards.files(world.log.shards.all()[place]).checkpoint() or b"")

    world.log.step()
    world.append(5)
    world.later(60)
    world.log.step()
    early = read_checkpoint(published(0).text).size
    assert ask(world.log.shards.all()[0], 0, published(0)) == 200
    at(world, TURN)
    ended, begun = world.log.shards.all()
    assert ask(ended, early, published(0)) == 200
    assert ask(begun, 0, published(1)) == 200
    assert ask(ended, ended.size or 0, published(0)) == 200  # the same end may be cosigned again
    world.writer.policy.verify(published(1))
    again = TileBuilder()
    for leaf in world.leaves.read(0, (ended.size or 0) + 1):  # opened again, with an entry more
        world.log.shards.files(ended).put_tiles(again.append(leaf))
    world.log.shards.files(ended).put_tiles(again.partial())
    text = Checkpoint(LOG, again.size, again.root()).text()
    assert ask(ended, ended.size or 0, sign_note(text, world.writer.keys(LOG), 1_800_000_000)) == 404
    world.close()
