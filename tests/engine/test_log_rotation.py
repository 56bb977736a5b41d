"""The log's own keys are changed: what the old ones signed stays verifiable, and they sign nothing more."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine import log_rotation
from engine.cli import main
from engine.errors import LogRefused
from engine.log_audit import audit
from engine.log_client import FolderSource
from engine.log_files import LogFiles
from engine.log_follow import follow
from engine.log_rotation import rotate
from engine.log_writer import LogWriter
from privacy.checkpoint import Checkpoint, Signer, read_checkpoint, read_note, sign_note
from privacy.errors import LogError
from privacy.log_policy import Retired, read_policy
from privacy.tlog_proof import verify_proof
from tests.engine.log_world import LogWorld


@pytest.fixture(params=["auditors", "public"])
def world(request: pytest.FixtureRequest, tmp_path: Path):
    made = LogWorld(tmp_path, request.param)
    made.log.step()
    made.append(30)
    made.later(3600)
    made.log.step()
    yield made
    made.close()


def change_keys(world: LogWorld) -> Retired:
    """Rotate beside no service."""
    world.log.close()
    return rotate(
        world.config,
        world.store,
        now=lambda: world.time,
        monotonic=lambda: world.time.timestamp(),
        random_bytes=world._chance.randbytes,
    )


def types(world: LogWorld, start: int = 0) -> list[str]:
    return [json.loads(leaf)["type"] for leaf in world.leaves.read(start, world.leaves.count())]


def test_what_the_old_keys_signed_stays_verifiable_and_what_comes_is_signed_by_the_new(world: LogWorld):
    before, old_policy = world.files.checkpoint(), world.writer.policy
    leaf, proof = world.leaves.read(3, 4)[0], world.log.shards.receipt(3)
    assert before is not None and proof is not None
    old_seeds = [(world.config.key_dir / f"{name}.key").read_text() for name in ("log", "log-cosign")]
    count = world.leaves.count()
    world.later(60)
    retired = change_keys(world)
    between = world.files.checkpoint()
    assert between is not None
    told = [one for one in types(world, count) if one != "sealed"]
    assert told == ["key.add"] * 2 + ["key.retire"] * 2
    assert retired.size == read_checkpoint(read_note(between).text).size >= count + 4
    assert retired.day == world.time.date()
    assert retired.size % 64 == 0 or not world.log.public

    world = world.again()
    policy = read_policy(world.writer.policy.text())
    assert policy == world.writer.policy
    assert not {key.public for key in policy.logs} & {key.public for key in old_policy.logs}
    world.append(5)
    world.later(7300)
    world.log.step()
    after = world.files.checkpoint()
    assert after is not None
    assert types(world).count("key.add") == 2 + 3  # nothing is told twice
    for note in (before, between, after):
        policy.verify(read_note(note))
    old_policy.verify(read_note(between))  # whoever holds the old keys sees the change under their signatures
    with pytest.raises(LogError):
        old_policy.verify(read_note(after))
    assert verify_proof(proof, leaf, policy) == verify_proof(proof, leaf, old_policy)
    assert audit(world.leaves, world.files, world.writer.policy).faults == []
    follow(FolderSource(world.files.folder), policy, between, int(world.time.timestamp()), 4000)
    assert sorted(path.name for path in world.config.key_dir.glob("log*.key")) == [
        "log-cosign.key",
        "log.key",
    ]
    kept = b"".join(path.read_bytes() for path in world.config.key_dir.iterdir() if path.is_file())
    assert not any(seed.split()[2].encode() in kept for seed in old_seeds)
    world.close()


def test_retired_keys_sign_no_larger_tree_and_no_half_of_them_any(world: LogWorld):
    old = world.writer.keys(world.writer.shards.log)
    retired = change_keys(world)
    policy = world.again().writer.policy
    now = int(world.time.timestamp())

    def verifies(size: int, *signers: Signer) -> bool:
        try:
            policy.verify(sign_note(Checkpoint(old[0].verifier.name, size, bytes(32)).text(), signers, now))
        except LogError:
            return False
        return True

    assert verifies(retired.size, *old)
    assert not verifies(retired.size + 1, *old)
    assert not verifies(retired.size, old[0])
    assert not verifies(retired.size, old[1])


def test_keys_may_be_changed_again_and_each_generation_is_listed(world: LogWorld):
    notes = []
    for _ in range(3):
        notes.append(world.files.checkpoint())
        world.later(3600)
        change_keys(world)
        world = world.again()
        world.append(3)
        world.later(7300)
        world.log.step()
    policy = world.writer.policy
    assert len(policy.retired) == 3
    assert [one.size for one in policy.retired] == sorted(one.size for one in policy.retired)
    for note in notes:
        assert note is not None
        policy.verify(read_note(note))
    assert audit(world.leaves, world.files, policy).faults == []
    world.close()


def test_nothing_is_changed_beside_a_service_or_where_the_log_is_not_sound(world: LogWorld):
    policy = world.writer.policy
    with pytest.raises(LogRefused, match="a service writes the log"):
        rotate(
            world.config,
            world.store,
            now=lambda: world.time,
            monotonic=lambda: 0.0,
            random_bytes=world._chance.randbytes,
        )
    with world.store.writing() as db:
        db.execute("UPDATE log_leaves SET leaf = '{}' WHERE seq = 2")
    with pytest.raises(LogRefused, match="not signed"):
        change_keys(world)
    assert world.again().writer.policy == policy


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (log_rotation, "record_rotation"),
        (LogWriter, "publish"),
        (LogFiles, "put_checkpoint"),
        (LogFiles, "put_retired"),
        (log_rotation, "adopt"),
    ],
)
@pytest.mark.parametrize("done", [False, True])
def test_a_crash_at_any_step_leaves_a_sound_log_and_the_next_call_ends_it(
    world: LogWorld, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, done: bool
):
    before = world.files.checkpoint()
    real: Callable[..., object] = getattr(owner, name)

    def crash(*given: Any, **more: Any) -> object:
        if done:
            real(*given, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, crash)
        with pytest.raises(KeyboardInterrupt):
            change_keys(world)
    world = world.again()  # a service starts meanwhile
    world.append(2)
    world.later(7300)
    world.log.step()
    assert world.log.fault() is None
    assert audit(world.leaves, world.files, world.writer.policy).faults == []
    change_keys(world)
    world = world.again()
    world.log.step()
    policy = world.writer.policy
    assert audit(world.leaves, world.files, policy).faults == []
    assert before is not None
    policy.verify(read_note(before))
    assert [path.name for path in world.config.key_dir.glob("*next*")] == []
    world.close()


def test_the_commands_change_keys_and_print_the_policy_by_date(tmp_path: Path):
    world = LogWorld(tmp_path)
    world.log.step()
    world.append(10)
    world.later(60)
    world.log.step()
    environ = {"TACTFUL_DATA_DIR": str(tmp_path / "data"), "TACTFUL_KEY_DIR": str(tmp_path / "keys")}

    def run(*words: object) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words], env=environ)

    leaf, proof, policy = (tmp_path / name for name in ("leaf", "proof", "policy.txt"))
    proof.write_text(run("log", "receipt", 3, "--leaf", leaf).stdout)
    busy = run("log", "rotate-keys")
    assert busy.exit_code != 0
    assert "stop it first" in busy.stderr
    world.close()
    told = run("log", "rotate-keys", "--json")
    assert told.exit_code == 0, told.output
    said = json.loads(told.stdout)
    assert len(said["retired"]) == 2
    policy.write_text(run("log", "policy").stdout)
    listed = [line.split() for line in policy.read_text().splitlines() if line.startswith("#retired")]
    assert [(words[1], words[3]) for words in listed] == [(str(said["size"]), key) for key in said["retired"]]
    assert run("log", "verify", proof, leaf, "--policy", policy).exit_code == 0
    assert run("log", "fsck").exit_code == 0
    witness = Signer.ml_dsa_44("witness.example/w", b"w" * 32).verifier.vkey()
    (tmp_path / "witnesses.txt").write_text(f"witness w {witness} http://127.0.0.1:9\nquorum none\n")
    environ["TACTFUL_LOG_WITNESSES"] = str(tmp_path / "witnesses.txt")
    with_witness = run("log", "policy").stdout
    assert f"witness w {witness}" in with_witness
    assert read_policy(with_witness).retired == read_policy(policy.read_text()).retired != ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("#retired", "expected 'log"),
        ("#retired x 2026-11-29 {key}", "no size"),
        ("#retired 5 yesterday {key}", "no date"),
        ("#retired 5 2026-11-29 {other}", "another log"),
        ("#retired 5 2026-11-29 {key}\n#retired 5 2026-11-29 {key}", "a line before has"),
        ("#retired 5 2026-11-29 nonsense", "verifier key"),
    ],
)
def test_a_policy_with_a_damaged_line_of_retired_keys_is_refused(line: str, said: str):
    key, other = (
        Signer.ed25519(name, b"k" * 32).verifier.vkey() for name in ("a.example/log", "b.example/log")
    )
    text = f"log {key}\n{line.format(key=key, other=other)}\nquorum none\n"
    with pytest.raises(LogError, match=said):
        read_policy(text)


def test_the_day_of_a_retirement_is_told(world: LogWorld):
    world.time += timedelta(days=40)
    assert f"{world.time.date().isoformat()} " in _policy_after(world)


def _policy_after(world: LogWorld) -> str:
    change_keys(world)
    return world.again().writer.policy.text()
