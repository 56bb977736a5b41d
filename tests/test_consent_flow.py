"""From a reader's agreement to its end, through the real services of two workers over one state folder."""

from __future__ import annotations

import json
import random
import re
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from engine.backup import backup, restore
from engine.config import Config
from engine.keys import create_key
from engine.prove.consents import COHORT
from engine.prove.service import PUBLISHER, consent, fill, requests
from engine.services import Services
from engine.web import create_app

NOW = datetime(2026, 11, 23, 18, 5, tzinfo=UTC)
SIGNALS = {"cohorts": [COHORT]}
GRANT = {
    "publisher": PUBLISHER,
    "purposes": ["ads.select.first_party"],
    "notice": {"text_sha256": "0" * 64, "language": "en", "version": "3"},
    "expressed_by": "a button",
}


class Worker:
    """The service as one process has it."""

    def __init__(self, config: Config) -> None:
        self.services = Services(config, now=lambda: NOW)
        self.services.warm_up()
        self.client = Client(create_app(config, self.services))

    def post(self, path: str, body: Any, key: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return self.client.post(path, json=body, headers=headers)

    def decide(self, **more: Any) -> Any:
        answer = self.post("/v1/decisions", {**json.loads(requests()[0].body), **more})
        assert answer.status_code == 200, answer.text
        return answer.json


@pytest.fixture(scope="module")
def workers(
    tmp_path_factory: pytest.TempPathFactory, models: Path, module_setting: str | None
) -> Iterator[tuple[Worker, Worker, str]]:
    folder = tmp_path_factory.mktemp("flow")
    config = Config(
        data_dir=folder / "data",
        key_dir=folder / "keys",
        public_url="https://ads.example",
        deadline_ms=10_000,
        store=module_setting,
    )
    config.data_dir.mkdir()
    (config.data_dir / "models").symlink_to(models, target_is_directory=True)
    fill(config, NOW)
    first = Worker(config)
    consent(first.services, NOW)
    second = Worker(config)
    for worker in (first, second):
        assert worker.services.weeks is not None
        worker.services.weeks.shared.tend({PUBLISHER: ()}, NOW)
    key = create_key(first.services.store, "publisher", PUBLISHER, "test", NOW, bytes)
    for worker in (first, second):
        worker.services.refresh()
    yield first, second, key
    for worker in (first, second):
        worker.services.close()


def test_a_consent_acts_until_it_is_withdrawn_in_any_worker(workers: tuple[Worker, Worker, str]) -> None:
    first, second, key = workers
    given = first.post("/v1/consents", GRANT, key).json
    sent = iter(range(1, 100))

    def asked(worker: Worker) -> Any:
        nonce = f"{next(sent):032x}"
        return worker.decide(consent={"token": given["token"], "nonce": nonce}, signals=SIGNALS)["privacy"]

    for worker in (first, second):
        told = asked(worker)
        assert (told["basis"], told["signals_used"]) == ("consent", [f"cohort:{COHORT}"])
        assert told["receipt"] == given["record_id"]
    withdrawn = first.post(
        "/v1/consents/withdraw", {"publisher": PUBLISHER, "rights_token": given["rights_token"]}
    )
    assert withdrawn.status_code == 200, withdrawn.text
    for worker in (second, first):
        assert asked(worker) == {"basis": "context", "gpc": None, "signals_used": [], "receipt": None}


def test_a_nonce_that_one_worker_saw_is_used_up_in_the_other(workers: tuple[Worker, Worker, str]) -> None:
    first, second, key = workers
    given = first.post("/v1/consents", GRANT, key).json
    said = {"consent": {"token": given["token"], "nonce": "f" * 32}, "signals": SIGNALS}
    assert first.decide(**said)["privacy"]["basis"] == "consent"
    assert second.decide(**said)["privacy"]["basis"] == "context"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"token": 7}, "malformed"),
        ({"token": ["a.b.c"]}, "malformed"),
        ({"token": True}, "malformed"),
        ({"nonce": 7}, "nonce"),
        ({"nonce": {}}, "nonce"),
        ({"tcf": 7}, "tcf"),
        ({"gpp": [7]}, "gpp"),
        ({"gpp_sid": "7"}, "gpp"),
        ({"gpp_sid": ["7"]}, "gpp"),
        ({"gpp_sid": [True]}, "gpp"),
        ({"gpp_sid": [7] * 101}, "gpp"),
    ],
)
def test_a_value_of_another_type_in_a_consent_is_as_none_and_counted(
    workers: tuple[Worker, Worker, str], damage: dict[str, Any], reason: str
) -> None:
    first, _, key = workers
    given = first.post("/v1/consents", GRANT, key).json
    counted = re.compile(rf'^consent_denied_total{{reason="{reason}.*"}} (.*)$', re.MULTILINE)

    def count() -> float:
        metrics = first.client.get("/metrics", headers={"Authorization": f"Bearer {operator}"}).text
        return sum(map(float, counted.findall(metrics)))

    operator = create_key(first.services.store, "operator", None, "test", NOW, secrets.token_bytes)
    first.services.refresh()
    before = count()
    sound = {"token": given["token"], "nonce": secrets.token_hex(16)}
    told = first.decide(consent=sound | damage, signals=SIGNALS)
    bare = first.decide()
    assert told["privacy"] == bare["privacy"]
    assert [one["placement"] for one in told["decisions"]] == [one["placement"] for one in bare["decisions"]]
    assert count() == before + 1
    assert (
        first.decide(consent=sound, signals=SIGNALS)["privacy"]["basis"] == "consent"
    )  # nothing was used up


@pytest.mark.parametrize("said", ["a.b.c", 7, [], {"tokn": "a.b.c"}])
def test_a_consent_of_another_shape_is_the_caller_s_mistake_and_told(
    workers: tuple[Worker, Worker, str], said: Any
) -> None:
    body = json.loads(requests()[0].body) | {"consent": said}
    answer = workers[0].post("/v1/decisions", body)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"].startswith("consent")


@pytest.mark.parametrize("end", ["/v1/subject/erase", "/v1/consents/withdraw"])
def test_who_goes_between_a_request_s_admission_and_its_count_is_not_counted(
    workers: tuple[Worker, Worker, str], monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    first, second, key = workers
    given = first.post("/v1/consents", GRANT, key).json
    assert first.services.weeks is not None
    shared = first.services.weeks.shared
    note = shared.note

    def late(*arguments: Any, **more: Any) -> None:
        gone = second.post(end, {"publisher": PUBLISHER, "rights_token": given["rights_token"]})
        assert gone.status_code == 200, gone.text
        note(*arguments, **more)

    def rows() -> list[Any]:
        with closing(sqlite3.connect(first.services.config.data_dir / "shared.db")) as db:
            return db.execute("SELECT subject FROM shared_values").fetchall()

    before = rows()
    monkeypatch.setattr(shared, "note", late)
    told = first.decide(consent={"token": given["token"], "nonce": "d" * 32}, signals=SIGNALS)
    assert told["privacy"]["basis"] == "consent"  # it was in force when it was asked for
    assert rows() == before


def test_a_page_waits_for_another_use_in_vain_and_in_sqlite_for_no_other_writer(
    workers: tuple[Worker, Worker, str],
) -> None:
    first, second, key = workers
    given = first.post("/v1/consents", GRANT, key).json
    said = {"consent": {"token": given["token"], "nonce": "e" * 32}, "signals": SIGNALS}
    if first.services.config.store is None:
        with closing(sqlite3.connect(first.services.config.data_dir / "uses.db", isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            assert first.decide(**said)["privacy"]["basis"] == "context"
            db.execute("ROLLBACK")
        with second.services.store.writing():
            assert first.decide(**said)["privacy"]["basis"] == "consent"  # nothing was used up
        return
    with second.services.store.writing() as db:
        db.execute("LOCK TABLE token_uses")
        assert first.decide(**said)["privacy"]["basis"] == "context"
    assert first.decide(**said)["privacy"]["basis"] == "consent"


def test_without_a_key_of_consent_signals_are_off_and_pages_get_theirs(tmp_path: Path, models: Path) -> None:
    config = Config(
        data_dir=tmp_path / "data",
        key_dir=tmp_path / "keys",
        public_url="https://ads.example",
        deadline_ms=5000,
    )
    config.data_dir.mkdir()
    (config.data_dir / "models").symlink_to(models, target_is_directory=True)
    fill(config, NOW)
    Services(config, now=lambda: NOW).close()
    (config.key_dir / "issuer.key").unlink()
    worker = Worker(config)
    try:
        assert worker.client.get("/readyz").json["consent_log"]
        token = "e30.e30." + "A" * 86
        told = worker.decide(consent={"token": token, "nonce": "f" * 32}, signals=SIGNALS)
        assert told["privacy"]["basis"] == "context"
        assert told["decisions"]
        assert worker.client.get("/v1/consents/status").status_code == 404
    finally:
        worker.services.close()


def test_after_an_erasure_over_http_no_file_holds_the_reader_and_nothing_is_exported(
    workers: tuple[Worker, Worker, str],
) -> None:
    first, second, key = workers
    given = first.post("/v1/consents", GRANT, key).json
    rights = {"Authorization": f"Bearer {given['rights_token']}"}
    said = {"token": given["token"], "nonce": "ab" * 16}
    address = "jane.doe@mail.example"
    signals = {**SIGNALS, "id": {"type": "email", "value": address}}
    assert second.decide(consent=said, signals=signals)["privacy"]["basis"] == "consent"
    consents, folder = first.services.consents, first.services.config.data_dir.parent
    assert consents is not None
    subject = consents.subject_of(PUBLISHER, given["sub"])
    held = consents.keys.get(subject)
    assert held is not None
    needles = [subject.encode(), bytes.fromhex(subject), held.key, given["receipt"]["key"].encode()]
    needles += [text.encode() for text in (given["sub"], given["token"], said["nonce"], address)]

    def found() -> set[str]:
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return {path.name for path in files if any(needle in path.read_bytes() for needle in needles)}

    in_a_file = first.services.config.store is None
    assert found() >= {"subjects.db-wal", *(["tactful.db-wal"] if in_a_file else [])}
    assert first.client.get("/v1/subject/export", headers=rights).status_code == 200
    erased = first.post("/v1/subject/erase", {"publisher": PUBLISHER, "rights_token": given["rights_token"]})
    assert erased.status_code == 200, erased.text
    assert found() == set()
    assert second.client.get("/v1/subject/export", headers=rights).status_code == 404
    assert (
        second.decide(consent={**said, "nonce": "cd" * 16}, signals=SIGNALS)["privacy"]["basis"] == "context"
    )


def test_a_restored_backup_decides_as_the_service_did(
    workers: tuple[Worker, Worker, str], tmp_path: Path
) -> None:
    first, _, _ = workers
    config = first.services.config
    sent = [json.loads(request.body) for request in requests()[:5] if request.method == "POST"]

    def answers(worker: Worker) -> list[Any]:
        worker.services.engine._chance._bytes = random.Random(7).randbytes  # by which messages are drawn
        said = [worker.decide(**body) for body in sent]
        assert not any(one["degraded"] for one in said), "this machine is too slow to compare decisions"
        told = [{name: value for name, value in one.items() if name != "request_id"} for one in said]
        # Tokens of events are of one use: no answer has another's.
        answered: list[Any] = json.loads(
            re.sub(r"/v1/(events|click)/[\w-]+", r"/v1/\1/token", json.dumps(told))
        )
        return answered

    before = answers(first)
    assert any(one["decisions"] for one in before)
    backup(first.services.store, tmp_path / "copy.db")
    shutil.copytree(config.key_dir, tmp_path / "keys")
    again = replace(config, data_dir=tmp_path / "data", key_dir=tmp_path / "keys", store=None)
    # The exported model is no part of a backup; made anew, another variant may be the fastest at that moment.
    again.data_dir.mkdir()
    (again.data_dir / "models").symlink_to(config.data_dir / "models", target_is_directory=True)
    restore(tmp_path / "copy.db", again.database)
    worker = Worker(again)
    try:
        after = answers(worker)
        for one in (*before, *after):
            one.pop("snapshot")  # the restored store is newer than the one it came from
        assert after == before
    finally:
        worker.services.close()
