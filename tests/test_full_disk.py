"""A disk without room: pages get their creatives, nothing is acknowledged that was not kept, all goes on afterwards.

The disk is full for a process whose files may not grow (RLIMIT_FSIZE at 0: each write fails), which needs no
rights. SQLite and the log's files are the real ones; a process of its own keeps the limit away from the tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
STORY = """
import json, resource, sys
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from engine.config import Config
from engine.keys import create_key
from engine.log_audit import audit
from engine.prove.consents import COHORT
from engine.prove.service import PUBLISHER, consent, fill
from tests.test_consent_flow import GRANT, NOW, SIGNALS, Worker

folder = Path(sys.argv[1])
config = Config(data_dir=folder / "data", key_dir=folder / "keys", public_url="https://ads.example", deadline_ms=10_000)
config.data_dir.mkdir()
(config.data_dir / "models").symlink_to(sys.argv[2], target_is_directory=True)
fill(config, NOW)
worker = Worker(config)
services = worker.services
consent(services, NOW)
services.weeks.shared.tend({PUBLISHER: ()}, NOW)
key = create_key(services.store, "publisher", PUBLISHER, "test", NOW, bytes)
services.refresh()
services.consent_log.step()
sent = iter(range(1, 1000))

@contextmanager
def full():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

def ask(given=None):
    more = {"consent": {"token": given["token"], "nonce": f"{next(sent):032x}"}, "signals": SIGNALS} if given else {}
    told = worker.decide(**more)
    return told["privacy"]["basis"], [filled["creative"]["id"] for filled in told["decisions"]]

def post(path, body):
    return worker.post(path, body, key).status_code

given = worker.post("/v1/consents", GRANT, key).json
rights = {"publisher": PUBLISHER, "rights_token": given["rights_token"]}
entries = lambda: services.consent_log.leaves.count()
said = {"plain": ask(), "consented": ask(given), "entries": entries()}
with full():
    said["full"] = {
        "plain": ask(),
        "consented": ask(given),
        "grant": post("/v1/consents", GRANT),
        "refuse": post("/v1/consents", GRANT | {"state": "refused"}),
        "withdraw": post("/v1/consents/withdraw", rights),
        "erase": post("/v1/subject/erase", rights),
        "ready": worker.client.get("/readyz").status_code,
        "entries": entries(),
    }
    services.consent_log.step()
    services.consent_log.step()
services.consent_log.step()  # as each second
said["after"] = {"plain": ask(), "consented": ask(given), "grant": post("/v1/consents", GRANT)}
said["after"]["fault"] = services.consent_log.fault()
said["after"]["withdraw"] = post("/v1/consents/withdraw", rights)
said["after"]["withdrawn"] = ask(given)
said["after"]["erase"] = post("/v1/subject/erase", rights)
said["after"]["entries"] = entries()
writer = services.consent_log.writer
writer.publish()
found = audit(services.consent_log.leaves, services.consent_log.files, writer.policy)
said["faults"], said["published"] = found.faults, found.published
services.close()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, models: Path) -> dict[str, Any]:
    """Tell what happened before, on and after a full disk."""
    done = subprocess.run(
        [sys.executable, "-c", STORY, str(tmp_path_factory.mktemp("full")), str(models)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_pages_are_served_by_their_context_while_the_disk_is_full(said: dict[str, Any]) -> None:
    assert said["consented"][0] == "consent"
    assert said["full"]["plain"] == said["plain"]
    assert said["full"]["consented"] == said["plain"]  # a use that cannot be noted is none
    assert said["full"]["ready"] == 200


@pytest.mark.parametrize("act", ["grant", "refuse", "withdraw", "erase"])
def test_nothing_is_acknowledged_that_the_disk_did_not_take(said: dict[str, Any], act: str) -> None:
    assert said["full"][act] == 503
    assert said["full"]["entries"] == said["entries"]


def test_all_goes_on_when_there_is_room_again(said: dict[str, Any]) -> None:
    after = said["after"]
    assert after["plain"] == said["plain"]
    assert after["consented"] == said["consented"]  # what could not be withdrawn stands still
    assert (after["grant"], after["withdraw"], after["erase"]) == (201, 200, 200)
    assert after["withdrawn"] == said["plain"]
    assert after["fault"] is None
    assert (said["faults"], said["published"]) == ([], after["entries"])
    assert after["entries"] == said["entries"] + 3
