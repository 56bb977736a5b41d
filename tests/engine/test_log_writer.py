"""The writer publishes what is committed, signs nothing that contradicts what it signed, and says where it stops."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import time

import pytest

from engine.campaign import Jwk, Jwks, Publisher
from engine.consent_log import publishers_keys
from engine.log_audit import audit, published_checkpoint
from engine.log_files import LogFiles
from privacy.checkpoint import read_checkpoint, read_note, verify_note
from privacy.merkle import inclusion_proof, leaf_hash, verify_inclusion
from privacy.tiles import Tile, tile_nodes, unpack
from tests.engine.log_world import START, LogWorld


@pytest.fixture
def world(tmp_path):
    made = LogWorld(tmp_path)
    yield made
    made.close()


def size_of(world: LogWorld) -> int:
    return published_checkpoint(world.files, world.writer.policy).size


def types(world: LogWorld) -> list[str]:
    return [json.loads(leaf)["type"] for leaf in world.leaves.read(0, world.leaves.count())]


def test_a_first_start_tells_the_log_of_its_keys_settings_and_policy(world):
    world.log.step()
    assert types(world) == ["key.add"] * 3 + ["config.change", "policy.change"]
    assert size_of(world) == 5
    assert world.log.fault() is None
    told = [json.loads(leaf) for leaf in world.leaves.read(0, 3)]
    assert [key["data"]["use"] for key in told] == ["log", "log", "issuer"]
    assert [key["key"] for key in told[:2]] == [key.fingerprint.hex() for key in world.writer.policy.logs]


def test_a_second_start_tells_nothing_anew_and_a_changed_setting_is_told(world):
    world.log.step()
    other = world.again()
    other.log.step()
    assert other.leaves.count() == 5
    other.close()
    public = LogWorld(world.folder, "public")
    public.log.step()
    assert types(public)[5:] == ["config.change"]
    public.close()


def test_a_publisher_s_issuer_is_told_of_when_it_comes_and_when_it_goes(world):
    jwks = Jwks((Jwk(x="A" * 43),))
    publishers = [Publisher("planet", "Planet", ("planet.test",), issuers={"https://cmp.test": jwks})]
    world.log._more_keys = lambda: publishers_keys(publishers)
    world.log.step()
    assert types(world) == ["key.add"] * 4 + ["config.change", "policy.change"]
    told = json.loads(world.leaves.read(3, 4)[0])["data"]
    assert (told["use"], told["jwk"]["x"]) == ("issuer", "A" * 43)
    assert told["publishers"] == {"planet": ["https://cmp.test"]}
    publishers.append(Publisher("globe", "Globe", ("globe.test",), issuers={"https://cmp.test": jwks}))
    world.log.step()
    world.log.step()
    assert types(world)[6:] == ["key.add"]
    publishers.clear()
    world.log.step()
    assert types(world)[7:] == ["key.retire"]


def test_what_is_appended_is_signed_within_a_minute(world):
    world.log.step()
    world.append(3)
    world.later(59)
    world.log.step()
    assert size_of(world) == 5
    world.later(1)
    world.log.step()
    assert size_of(world) == 8


def test_a_thousand_entries_are_signed_at_once(world):
    world.log.step()
    world.append(999)
    world.log.step()
    assert size_of(world) == 5
    world.append(1)
    world.log.step()
    assert size_of(world) == 1005


def test_an_idle_log_is_signed_anew_each_minute_so_that_nobody_takes_it_for_stale(world):
    world.log.step()
    world.later(60)
    world.log.step()
    note = read_note(world.files.checkpoint())
    times = verify_note(note, world.writer.policy.logs).values()
    assert set(times) == {None, int(world.time.timestamp())}


def test_every_leaf_is_proved_by_the_published_tiles(world):
    world.log.step()
    world.append(700)
    world.later(60)
    world.log.step()
    note = read_note(world.files.checkpoint())
    checkpoint = read_checkpoint(note.text)
    assert checkpoint.origin == "ads.example/log"
    for index in (0, 4, 255, 256, 511, 704):
        entry = unpack(world.files.read_tile(Tile(-1, index // 256, min(256, 705 - index // 256 * 256))), 1)
        assert entry
        leaf = world.leaves.read(index, index + 1)[0]
        path = inclusion_proof(index, 705, tile_nodes(705, world.files.read_tile))
        verify_inclusion(index, 705, leaf_hash(leaf), path, checkpoint.root)


def test_partial_tiles_go_when_the_full_one_is_there_and_are_still_answered(world):
    world.log.step()
    world.append(100)
    world.later(60)
    world.log.step()
    assert (world.files.folder / "tile/0/000.p/105").exists()
    partial = world.files.tile(Tile(0, 0, 105))
    entries = world.files.tile(Tile(-1, 0, 105))
    world.append(200)
    world.later(60)
    world.log.step()
    assert not (world.files.folder / "tile/0/000.p").exists()
    assert world.files.tile(Tile(0, 0, 105)) == partial
    assert world.files.tile(Tile(-1, 0, 105)) == entries
    assert world.files.tile(Tile(0, 1, 255)) is None


def test_one_process_writes_and_the_next_takes_over(world):
    world.log.step()
    other = LogWorld(world.folder)
    other.append(2)
    other.later(3600)
    other.log.step()
    assert size_of(other) == 5
    world.log.close()
    other.log.step()
    assert size_of(other) == 7
    other.close()


def test_when_the_process_that_writes_is_killed_another_one_signs_on(world):
    world.close()
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            writer = LogWorld(world.folder)
            writer.log.step()
            os.write(told, b"1" if writer.writer.is_open else b"0")
            time.sleep(60)
        finally:
            os._exit(1)
    try:
        assert os.read(ready, 1) == b"1"
        other = LogWorld(world.folder, seed=9)
        before = size_of(other)
        other.append(2)
        other.later(3600)
        other.log.step()
        assert (size_of(other), other.writer.is_open, other.log.fault()) == (before, False, None)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(told)
    other.log.step()
    assert (size_of(other), other.log.fault()) == (before + 2, None)
    assert audit(other.leaves, other.files, other.writer.policy).faults == []
    other.close()


def grown(world: LogWorld, count: int = 300) -> None:
    world.log.step()
    world.append(count)
    world.later(60)
    world.log.step()


def refused(world: LogWorld) -> str:
    """Start again; return why it is not signed, having seen that nothing is signed any more."""
    other = world.again()
    before = other.files.checkpoint()
    signed = (other.config.key_dir / "log-signed.json").read_bytes()
    for _ in range(3):
        other.log.step()
        other.later(61)
    assert other.files.checkpoint() == before
    assert (other.config.key_dir / "log-signed.json").read_bytes() == signed
    fault = other.log.fault()
    assert fault is not None
    # Another process, which does not hold the lock, says so too.
    beside = LogWorld(world.folder)
    beside.log.step()
    assert beside.log.fault() == fault
    beside.close()
    other.close()
    return fault


def rewrite(world: LogWorld, sql: str, *arguments: object) -> None:
    db = sqlite3.connect(world.config.database)
    with db:
        db.execute(sql, arguments)
    db.close()


def test_a_store_that_was_rolled_back_is_not_signed(world):
    world.log.step()
    world.append(10)
    world.close()
    shutil.copy(world.config.database, world.folder / "yesterday.db")
    world = world.again()
    grown(world)
    world.close()
    shutil.copy(world.folder / "yesterday.db", world.config.database)
    assert "rolled back" in refused(world)


def test_rolled_back_together_with_its_files_it_is_not_signed_either(world):
    world.log.step()
    world.close()
    shutil.copytree(world.config.data_dir, world.folder / "yesterday")
    world = world.again()
    grown(world)
    world.close()
    shutil.rmtree(world.config.data_dir)
    shutil.copytree(world.folder / "yesterday", world.config.data_dir)
    assert "rolled back: what was signed last has 305 leaves, the store has 5" in refused(world)


def test_a_rolled_back_log_that_grew_past_what_was_signed_is_not_signed(world):
    world.log.step()
    world.close()
    shutil.copytree(world.config.data_dir, world.folder / "yesterday")
    world = world.again()
    grown(world, 3)
    world.close()
    shutil.rmtree(world.config.data_dir)
    shutil.copytree(world.folder / "yesterday", world.config.data_dir)
    world = world.again()
    world.append(50)
    assert "at size 8 the leaves give root" in refused(world)


def test_a_leaf_that_was_changed_or_taken_out_is_noticed(world):
    grown(world)
    rewrite(world, "UPDATE log_leaves SET leaf = ? WHERE seq = 100", b"{}")
    assert "differs from what the leaves give" in refused(world)
    rewrite(world, "DELETE FROM log_leaves WHERE seq = 100")
    assert "leaves 0 to 305: got 304, expected 305" in refused(world)


@pytest.mark.parametrize(
    "tile", ["tile/0/000", "tile/entries/000", "tile/1/000.p/1", "tile/entries/001.p/49"]
)
def test_a_damaged_or_missing_tile_is_noticed(world, tile):
    grown(world)
    path = world.files.folder / tile
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert f"{tile}: differs" in refused(world)
    path.unlink()
    assert f"{tile}: missing" in refused(world)


def test_a_forged_or_damaged_checkpoint_is_noticed(world):
    grown(world)
    path = world.files.folder / "checkpoint"
    note = path.read_bytes()
    path.write_bytes(note.replace(b"\n305\n", b"\n304\n"))
    assert "does not verify" in refused(world)
    path.write_bytes(note[:50])
    assert "note: got no text" in refused(world)


def test_a_lost_or_damaged_memory_of_what_was_signed_is_noticed(world):
    grown(world)
    path = world.config.key_dir / "log-signed.json"
    path.write_bytes(b"{}")
    assert "damaged; put it back from your copy" in refused(world)
    path.unlink()
    other = world.again()
    other.log.step()
    assert "does not know what was signed last" in other.log.fault()
    other.close()


def test_other_keys_do_not_continue_a_log(world):
    grown(world)
    for name in ("log", "log-cosign"):
        (world.config.key_dir / f"{name}.key").unlink()
    listed = world.config.key_dir / "keys.txt"
    listed.write_text("".join(line for line in listed.read_text().splitlines(True) if "log" not in line))
    other = LogWorld.again(world)
    assert "no signature of a key that is trusted" in refused(other)


def test_a_mended_log_is_signed_again_without_a_restart(world):
    grown(world)
    path = world.files.folder / "tile/0/000"
    data = path.read_bytes()
    other = world.again()
    path.unlink()
    other.log.step()
    assert other.log.fault() is not None
    path.write_bytes(data)
    other.later(61)
    other.log.step()
    assert other.log.fault() is None
    assert not (other.files.folder / "refused.txt").exists()
    other.close()


def test_lost_files_are_written_anew_from_the_leaves(world):
    grown(world)
    root = published_checkpoint(world.files, world.writer.policy)
    shutil.rmtree(world.files.folder)
    other = world.again()
    other.log.step()
    assert published_checkpoint(other.files, other.writer.policy) == root
    assert audit(other.leaves, other.files, other.writer.policy).faults == []
    other.close()


def test_a_full_disk_is_told_and_the_log_goes_on_when_there_is_room(world, monkeypatch):
    world.log.step()
    world.append(300)
    world.later(60)

    def full(self, tiles):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LogFiles, "put_tiles", full)
    world.log.step()
    assert "No space left" in world.log.fault()
    monkeypatch.undo()
    world.later(1)
    world.log.step()
    assert world.log.fault() is None
    assert size_of(world) == 305
    assert audit(world.leaves, world.files, world.writer.policy).faults == []


def test_a_crash_between_what_is_kept_and_what_is_signed_is_mended(world, monkeypatch):
    world.log.step()
    world.append(7)
    world.later(60)

    def crash(self, note):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(LogFiles, "put_checkpoint", crash)
    world.log.step()
    assert (size_of(world), world.files.signed().size) == (5, 12)
    monkeypatch.undo()
    other = world.again()
    assert audit(other.leaves, other.files, other.writer.policy).faults == []
    other.log.step()
    assert size_of(other) == 12
    other.close()


# --- the profile that everybody may read ---


@pytest.fixture
def public(tmp_path):
    made = LogWorld(tmp_path, "public")
    yield made
    made.close()


def test_a_public_log_is_signed_by_the_hour_in_multiples_of_sixty_four(public):
    public.log.step()
    public.append(3)
    assert public.files.checkpoint() is None
    public.later(3600)
    public.log.step()
    assert size_of(public) == 64
    public.append(70)
    public.later(1800)
    public.log.step()
    assert size_of(public) == 64
    public.later(1800)
    public.log.step()
    assert size_of(public) == 64 + 128


def test_an_hour_in_which_nothing_happened_looks_like_any_other(public):
    public.log.step()
    for hour in range(1, 4):
        public.later(3600)
        public.log.step()
        assert size_of(public) == 64 * hour


def test_leaves_about_people_and_dummies_look_alike(public):
    public.log.step()
    first = public.append(10)[0]
    public.later(3600)
    public.log.step()
    told = [json.loads(leaf) for leaf in public.leaves.read(first, 64)]
    assert {tuple(sorted(fields)) for fields in told} == {("commit", "ct", "seq", "t", "type", "v")}
    assert {(fields["type"], fields["t"]) for fields in told} == {("sealed", int(START.timestamp()) // 3600)}
    assert len({fields["commit"] for fields in told} | {fields["ct"] for fields in told}) == 2 * len(told)


def test_whoever_appends_first_in_a_new_hour_closes_the_last_one(public):
    public.log.step()
    public.append(2)
    public.later(3600)
    assert public.append(1) == [64]
    public.log.step()
    assert size_of(public) == 64
    hours = [json.loads(leaf)["t"] for leaf in public.leaves.read(0, 65)]
    assert hours == [hours[0]] * 64 + [hours[0] + 1]


def test_a_clock_that_goes_back_closes_nothing(public):
    public.log.step()
    public.later(3600)
    public.append(1)
    public.later(-3600)
    assert public.append(1) == [65]
    public.log.step()
    assert public.leaves.count() == 66
