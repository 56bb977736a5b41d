"""A past use of consent is judged from a bundle, offline; a bundle that does not hold gives no judgement."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

import msgspec
import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.consent_log import ConsentLog
from engine.errors import NotFound
from engine.evidence import bundle
from engine.log_rotation import rotate
from privacy import records
from privacy.consent_log import leaf
from privacy.erasure import opening_key, seal
from privacy.errors import LogError
from privacy.log_policy import LogPolicy
from privacy.records import Event, Notice, Opening, Party
from privacy.rejudge import Question, judge, read_bundle
from tests.engine.log_world import START, LogWorld
from tests.rights import SUB, Desk

SELECT = "ads.select.first_party"
KEY = b"k" * 32
EVENT = Event(
    record="5f1e8a4e-0000-4000-8000-000000000000",
    state="ConsentGiven",
    at=START.isoformat(),
    generation=1,
    publisher="daily-planet",
    controller=Party("Daily Planet", "https://planet.test"),
    processor=Party("Tactful", "https://ads.example"),
    purposes=(SELECT, "ads.cap.first_party"),
    expires=(START + timedelta(days=180)).isoformat(),
    keep_days=1000,
    notice=Notice("ab" * 32, "en", "7"),
)


@dataclass
class Story:
    """A consent's changes in a real log."""

    world: LogWorld
    openings: list[Opening]

    def tell(self, type: str, **changes: object) -> None:
        event = msgspec.structs.replace(EVENT, at=self.world.time.isoformat(), **changes)
        record, made = records.encode(event), []

        def maker(index: int) -> bytes:
            sealed = seal(KEY, index, record, bytes(12))
            made.append(leaf(index, type, self.world.time, commit=sealed.commit, ct=sealed.digest))
            return made[-1]

        with self.world.store.writing() as db:
            (index,) = self.world.leaves.append(db, [maker])
        told = self.world.leaves.read(index, index + 1)[0].decode()
        self.openings.append(Opening(index, record.decode(), opening_key(KEY).hex(), told, None))

    def publish(self) -> None:
        self.world.later(3600)
        self.world.log.step()

    def evidence(self, days: float = 1, purpose: str = SELECT, publisher: str = "daily-planet") -> bytes:
        at = (START + timedelta(days=days)).isoformat()
        question = Question(publisher, purpose, at)
        return msgspec.json.encode(bundle(self.world.leaves, self.world.log.shards, self.openings, question))

    def judge(self, data: bytes):
        return judge(read_bundle(data), self.world.writer.policy)


@pytest.fixture(scope="module", params=["auditors", "public"])
def told(tmp_path_factory, request):
    world = LogWorld(tmp_path_factory.mktemp("log"), request.param)
    world.log.step()
    made = Story(world, [])
    made.tell("consent.grant")
    world.append(300)
    made.publish()
    world.later(10 * 86_400)
    made.tell("consent.withdraw", state="ConsentWithdrawn", purposes=(), generation=2)
    made.publish()
    yield made
    world.close()


@pytest.fixture
def story(told):
    return Story(told.world, told.openings.copy())


@pytest.mark.parametrize(
    ("days", "purpose", "publisher", "in_force", "because"),
    [
        (1, SELECT, "daily-planet", True, "records ConsentGiven"),
        (9, "ads.cap.first_party", "daily-planet", True, "records ConsentGiven"),
        (1, "measure.first_party", "daily-planet", False, "not for measure.first_party"),
        (1, SELECT, "globe", False, "nothing had been agreed with globe"),
        (11, SELECT, "daily-planet", False, "records ConsentWithdrawn"),
        (-1, SELECT, "daily-planet", False, "was not recorded as valid then"),
    ],
)
def test_the_answer_follows_from_what_was_recorded(story, days, purpose, publisher, in_force, because):
    judgement = story.judge(story.evidence(days, purpose, publisher))
    assert judgement.in_force is in_force
    assert because in judgement.because


def test_a_consent_ends_when_its_time_is_over(story):
    story.openings.pop()
    assert story.judge(story.evidence(179)).in_force
    judgement = story.judge(story.evidence(181))
    assert not judgement.in_force
    assert "it ended at" in judgement.because


def test_before_the_grant_nothing_had_been_agreed(story):
    story.openings = story.openings[1:]
    assert "nothing had been agreed" in story.judge(story.evidence(1)).because


def test_the_command_judges_offline_and_says_why(story):
    folder = story.world.folder
    (folder / "evidence.json").write_bytes(story.evidence())
    (folder / "policy.txt").write_text(story.world.writer.policy.text())
    environ = {"TACTFUL_DATA_DIR": "/nonexistent/data", "TACTFUL_KEY_DIR": "/nonexistent/keys"}
    command = ["log", "rejudge", str(folder / "evidence.json"), "--policy", str(folder / "policy.txt")]
    told = CliRunner().invoke(main, command, env=environ)
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith("consent in force under the recorded policy: yes, because entry 5 records")
    (folder / "evidence.json").write_bytes(story.evidence(11))
    told = CliRunner().invoke(main, [*command, "--json"], env=environ)
    assert told.exit_code == 1
    assert json.loads(told.stdout)["in_force"] is False
    (folder / "evidence.json").write_bytes(story.evidence().replace(b"ConsentGiven", b"ConsentG1ven"))
    told = CliRunner().invoke(main, command, env=environ)
    assert told.exit_code == 1
    assert "the evidence does not hold" in told.stderr


def test_what_is_not_published_yet_makes_no_bundle(story):
    story.tell("consent.grant")
    with pytest.raises(NotFound, match="no published checkpoint covers it yet"):
        story.evidence()


def changed(data: bytes, change) -> bytes:
    told = json.loads(data)
    change(told)
    return json.dumps(told).encode()


@pytest.mark.parametrize(
    "change",
    {
        "another purpose in the record": lambda told: told["events"][0].update(
            record=told["events"][0]["record"].replace("ads.cap", "measure")
        ),
        "a later end in the record": lambda told: told["events"][0].update(
            record=told["events"][0]["record"].replace("2027-05", "2028-05")
        ),
        "another key": lambda told: told["events"][0].update(key="00" * 32),
        "no key": lambda told: told["events"][0].update(key="zz"),
        "no proof": lambda told: told["events"][0].update(proof=None),
        "the proof of another event": lambda told: told["events"][0].update(proof=told["events"][1]["proof"]),
        "another place": lambda told: told["events"][0].update(index=9),
        "the leaf of another event": lambda told: told["events"][0].update(leaf=told["events"][1]["leaf"]),
        "another leaf": lambda told: told["events"][0].update(
            leaf=told["events"][0]["leaf"].replace('"v":1', '"v":2')
        ),
        "another policy": lambda told: told["log"][-1].update(
            leaf=told["log"][-1]["leaf"].replace("ConsentGiven", "ConsentWithdrawn", 1)
        ),
        "an event among the keys": lambda told: told["log"].append(
            {name: told["events"][0][name] for name in ("leaf", "proof")}
        ),
        "a key among the events": lambda told: told["events"][0].update(told["log"][0], index=0),
        "a damaged checkpoint": lambda told: told["events"][0].update(
            proof=told["events"][0]["proof"].replace("ads.example/log\n", "ads.example/log2\n", 1)
        ),
        "a time without an offset": lambda told: told["question"].update(at="2026-11-24T00:00:00"),
        "no time": lambda told: told["question"].update(at="soon"),
        "another format": lambda told: told.update(format="tactful-evidence-v2"),
        "an unknown field": lambda told: told.update(verdict=True),
        "no purpose of ours": lambda told: told["question"].update(purpose="everything"),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_bundle_that_does_not_hold_gives_no_judgement(story, change):
    with pytest.raises(LogError):
        story.judge(changed(story.evidence(), change[1]))


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b"{}"])
def test_what_is_no_bundle_is_refused(data):
    with pytest.raises(LogError, match="bundle"):
        read_bundle(data)


@pytest.mark.parametrize(
    ("dropped", "because"),
    [
        (("key.add",), "was not recorded as valid"),
        (("policy.change",), "no policy was recorded"),
    ],
)
def test_without_keys_or_policy_on_record_the_answer_is_no(story, dropped, because):
    def drop(told):
        told["log"] = [entry for entry in told["log"] if json.loads(entry["leaf"])["type"] not in dropped]

    judgement = story.judge(changed(story.evidence(), drop))
    assert not judgement.in_force
    assert because in judgement.because


def test_other_keys_than_those_that_are_relied_on_judge_nothing(story):
    policy = story.world.writer.policy
    data = story.evidence()
    with pytest.raises(LogError, match="no log of this policy"):
        judge(read_bundle(data), replace(policy, logs=()))


def test_a_real_consent_s_evidence_is_judged_from_the_commands_alone(tmp_path):
    desk = Desk(tmp_path, now=START)
    log = ConsentLog(
        desk.config,
        desk.store,
        desk.keyring,
        now=lambda: desk.now,
        monotonic=lambda: desk.now.timestamp(),
        random_bytes=desk.chance,
    )
    log.step()
    desk.grant()
    desk.now += timedelta(days=3)
    desk.consents.withdraw("planet", SUB, "link")
    desk.now += timedelta(minutes=1)
    log.step()
    environ = {"TACTFUL_DATA_DIR": str(desk.config.data_dir), "TACTFUL_KEY_DIR": str(desk.config.key_dir)}
    environ["TACTFUL_PUBLIC_URL"] = "https://ads.example"

    def run(*words: object) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words], env=environ)

    policy = tmp_path / "policy.txt"
    policy.write_text(run("log", "policy").stdout)
    for days, code, because in ((1, 0, "records ConsentGiven"), (4, 1, "records ConsentWithdrawn")):
        at = (START + timedelta(days=days)).isoformat()
        asked = ("--publisher", "planet", "--sub", SUB, "--purpose", SELECT, "--at", at)
        told = run("log", "evidence", *asked)
        assert told.exit_code == 0, told.output
        (tmp_path / "evidence.json").write_text(told.stdout)
        told = run("log", "rejudge", tmp_path / "evidence.json", "--policy", policy)
        assert (told.exit_code, because in told.stdout) == (code, True), told.output
    assert run("log", "evidence", *asked[:-3], "anything", *asked[-2:]).exit_code == 2
    desk.consents.erase("planet", SUB)
    assert run("log", "evidence", *asked).exit_code == 1
    # What was handed out before still holds.
    assert run("log", "rejudge", tmp_path / "evidence.json", "--policy", policy).exit_code == 1
    log.close()
    desk.close()


@pytest.mark.parametrize("profile", ["auditors", "public"])
def test_a_consent_is_judged_alike_after_the_log_changed_its_keys(tmp_path, profile):
    story = Story(LogWorld(tmp_path, profile), [])
    world = story.world
    world.log.step()
    story.tell("consent.grant")
    story.publish()
    old_policy, old_evidence = world.writer.policy, story.evidence(0.01)
    assert story.judge(old_evidence).in_force
    world.later(3600)
    world.log.close()
    rotate(
        world.config,
        world.store,
        now=lambda: world.time,
        monotonic=lambda: world.time.timestamp(),
        random_bytes=random.Random(3).randbytes,
    )
    story.world = world.again()
    story.publish()
    for days in (0.01, (story.world.time - START) / timedelta(days=1)):
        judgement = story.judge(
            story.evidence(days)
        )  # when the old keys were valid, and when the new ones are
        assert judgement.in_force, judgement.because
    assert story.judge(old_evidence).in_force
    assert judge(read_bundle(old_evidence), old_policy).in_force
    with pytest.raises(LogError):  # the old keys alone do not show what came after them
        judge(read_bundle(story.evidence(0.01)), old_policy)
    story.world.close()


def test_a_bundle_of_many_trees_is_judged_without_going_through_them_for_each_proof(tmp_path, monkeypatch):
    world = LogWorld(tmp_path)
    world.log.step()
    story = Story(world, [])
    story.tell("consent.grant")
    entries = []
    for _ in range(20):
        world.append(1)
        story.publish()
        told = json.loads(story.evidence())
        entries += told["log"]
    asked: list[str] = []
    log_of = LogPolicy.log_of
    monkeypatch.setattr(LogPolicy, "log_of", lambda *args: asked.append(args[1]) or log_of(*args))
    assert story.judge(json.dumps(told | {"log": entries}).encode()).in_force
    assert len(asked) <= 4 * (len(entries) + 1)
    world.close()


def test_entries_that_say_nothing_of_what_they_are_give_no_judgement_though_the_log_signed_them(tmp_path):
    world = LogWorld(tmp_path)
    world.log.step()
    story = Story(world, [])
    story.tell("consent.grant")
    malformed = (
        ("policy.change", None, {}),
        ("policy.change", None, {"policy": "consent-v1", "in_force": "ConsentGiven"}),
        ("key.add", KEY, {"use": ["log"]}),
        ("key.add", None, {"use": "log"}),
        ("key.retire", None, None),
    )
    makers = [partial(leaf, type=type, at=world.time, key=key, data=data) for type, key, data in malformed]
    with world.store.writing() as db:
        added = world.leaves.append(db, makers)
    story.publish()
    told = json.loads(story.evidence())
    sound, faulty = told["log"][: -len(added)], told["log"][-len(added) :]
    assert story.judge(json.dumps(told | {"log": sound}).encode()).in_force
    for entry, (type, *_) in zip(faulty, malformed, strict=True):
        with pytest.raises(LogError, match=rf"got no {type} of a consent log"):
            story.judge(json.dumps(told | {"log": [*sound, entry]}).encode())
    world.close()


@pytest.mark.parametrize("what", ["huge", "no text", "deep", "empty"])
@pytest.mark.parametrize("which", ["evidence.json", "policy.txt"])
def test_a_hostile_file_is_refused_in_words(story, tmp_path, what, which):
    (tmp_path / "evidence.json").write_bytes(story.evidence())
    (tmp_path / "policy.txt").write_text(story.world.writer.policy.text())
    with (tmp_path / which).open("wb") as file:
        if what == "huge":
            file.truncate(1 << 40)  # a hole
        else:
            file.write({"no text": b"\xff\xfe", "deep": b'{"format":' + b"[" * 10**6, "empty": b""}[what])
    files = (str(tmp_path / "evidence.json"), "--policy", str(tmp_path / "policy.txt"))
    told = CliRunner().invoke(main, ["log", "rejudge", *files])
    assert told.exit_code == (1 if which == "evidence.json" else 3)
    assert isinstance(told.exception, SystemExit) and "error: " in told.stderr
