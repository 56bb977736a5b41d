"""`tactful prove erasure`: after a reader is erased, no byte by which it was known is left in the state folder.

On copies of the deployment's state, under its own settings: readers agree, one of them uses everything that
leaves a trace, exports, withdraws and is erased. Then every file of the copy is searched for its key, what the
key gives, its pseudonym, the publisher's name for it, its e-mail address and their hashes; and what was proved
before must still be proved. How much this finds is itself measured, by faults planted in the erasure.

The calls do not go through HTTP; that the routes keep nothing either is searched for in tests/test_consent_flow.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from engine.backup import copy_store_of
from engine.campaign import Publisher
from engine.config import Config
from engine.consent_log import LOG_FOLDER
from engine.consents import Grant
from engine.errors import EngineError, NotFound
from engine.log_files import RETIRED, SIGNED
from engine.prove.erasure_planted import PLANTED, Plant
from engine.rights import Rights, open_rights
from engine.store import SqliteStore
from privacy.consent import PURPOSES
from privacy.erasure import opening_key
from privacy.errors import PrivacyError
from privacy.pseudonym import id_secret, normal
from privacy.records import Notice
from privacy.tlog_proof import read_proof, verify_proof

_START = datetime(2026, 11, 23, 18, 5, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_OTHERS = 60  # readers beside the one that is erased: rows move between pages
_SHORTEST = 16  # bytes that are searched for: shorter ones are found by chance
_LOG = "service.log"
_PROOF = Publisher(id="proof", name="The Proof", domains=("www.proof.example",))
_GRANT = Grant(PURPOSES, Notice("5e" * 32, "en", "proof-1"), "button of the proof", 30)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was searched for, where it was found, and what else did not hold."""

    needles: int
    files: int
    found: tuple[str, ...]  # what, and in which file
    faults: tuple[str, ...]
    planted: Mapping[str, bool] = field(default_factory=dict)  # planted fault → whether it was found

    @property
    def holds(self) -> bool:
        """Tell whether the promise held and every planted fault was found."""
        return not self.found and not self.faults and all(self.planted.values())

    def plain(self) -> dict[str, Any]:
        """Give the verdict as JSON values."""
        return {
            "proof": "erasure",
            "holds": self.holds,
            "needles": self.needles,
            "files": self.files,
            "found": list(self.found),
            "faults": list(self.faults),
            "planted_found": f"{sum(self.planted.values())}/{len(self.planted)}",
            "planted_missed": [name for name, found in self.planted.items() if not found],
        }

    def lines(self) -> Iterator[str]:
        """Yield the verdict as one line of JSON."""
        yield json.dumps(self.plain(), ensure_ascii=False)


def prove_erasure(config: Config, planted: bool = True) -> Verdict:
    """Prove it on copies of this deployment's state, or of none; with `planted`, measure the proof."""
    with tempfile.TemporaryDirectory(prefix="tactful-proof-") as name:
        folder = Path(name)
        verdict = prove(copied(config, folder / "sound"))
        if not planted:
            return verdict
        return replace(verdict, planted=score(config, folder))


def score(config: Config, folder: Path) -> dict[str, bool]:
    """Plant each fault in turn, in a copy of its own, and say whether it was found."""
    found = {}
    for number, (name, plant) in enumerate(PLANTED.items()):
        verdict = prove(copied(config, folder / str(number)), plant)
        found[name] = not verdict.holds
        shutil.rmtree(folder / str(number))
    return found


def prove(config: Config, plant: Plant | None = None) -> Verdict:
    """Erase a reader in the installation that `config` names, which is changed by it, and look for it."""
    state = config.data_dir.parent
    clock = _Clock()
    chance = random.Random(7)  # noqa: S311 - the readers of a proof are nobody
    store = SqliteStore(config.database)
    try:
        with (
            _logged(state / _LOG),
            open_rights(
                config,
                store,
                now=clock,
                monotonic=lambda: clock.now.timestamp(),
                random_bytes=chance.randbytes,
                make_keys=True,
            ) as rights,
        ):
            if plant is not None:
                plant(rights, state)
            return _erase_one(rights, state, clock, chance)
    finally:
        store.close()


class _Clock:
    def __init__(self) -> None:
        self.now = _START

    def __call__(self) -> datetime:
        return self.now


def _erase_one(rights: Rights, state: Path, clock: _Clock, chance: random.Random) -> Verdict:
    consents = rights.consents
    for _ in range(_OTHERS):
        consents.grant(_PROOF, None, _GRANT)
    sub = chance.randbytes(16).hex()
    email = f"reader.{chance.randbytes(8).hex()}@proof.example"
    given = [consents.grant(_PROOF, sub, _GRANT), consents.grant(_PROOF, sub, _GRANT)]
    subject = consents.subject_of(_PROOF.id, sub)
    rights.weeks.shared.note(
        _PROOF.id, subject, [("cohort", "proof")], clock.now, person=id_secret("email", email)
    )
    consents.store.use(_PROOF.id, "j" * 64, "n" * 64, clock.now + _HOUR, 50)
    clock.now += _HOUR
    _published(rights, clock)
    before = rights.log.leaves.read(0, rights.log.leaves.count())
    exported = consents.export(_PROOF.id, sub)
    needles = _needles(rights, subject, sub, email)
    needles |= {f"token {number}": one.token.encode() for number, one in enumerate(given)}
    needles |= {f"rights token {number}": one.rights_token.encode() for number, one in enumerate(given)}
    _, seen = _search(state, {name: needles[name] for name in ("key", "pseudonym, hex")})
    faults = [] if len(seen) >= 2 else ["the search does not find what is kept"]

    consents.withdraw(_PROOF.id, sub, "link of the proof")
    try:
        erased = consents.erase(_PROOF.id, sub)
    except EngineError as error:  # an erasure looks for itself, too
        return Verdict(len(needles), 0, (), (*faults, f"the erasure failed: {error}"))
    clock.now += _HOUR
    _published(rights, clock)
    files, found = _search(state, needles)
    faults += _still_holds(rights, sub, subject, before, exported, erased.erase_id)
    return Verdict(len(needles), files, tuple(found), tuple(faults))


def _published(rights: Rights, clock: _Clock) -> None:
    rights.log.step()
    clock.now += timedelta(seconds=61)
    rights.log.step()


def _needles(rights: Rights, subject: str, sub: str, email: str) -> dict[str, bytes]:
    """Give all by which a reader could be known, in the forms in which it could be written."""
    key = rights.consents.keys.get(subject)
    if key is None:
        raise EngineError("the reader of the proof has no key")
    named = {
        "key": key.key,
        "opening key": opening_key(key.key),
        "pseudonym": bytes.fromhex(subject),
        "sub": sub.encode(),
        "hash of sub": hashlib.sha256(sub.encode()).digest(),
        "e-mail": email.encode(),
        "normal e-mail": normal("email", email).encode(),
        "hash of e-mail": hashlib.sha256(normal("email", email).encode()).digest(),
    }
    needles = dict(named)
    for name, value in named.items():
        needles[f"{name}, hex"] = value.hex().encode()
        encoded = base64.b64encode(value).rstrip(b"=")
        needles[f"{name}, base64"] = encoded
        needles[f"{name}, base64url"] = encoded.replace(b"+", b"-").replace(b"/", b"_")
    for index, ciphertext in rights.consents.store.events(subject):
        needles[f"ciphertext {index}"] = ciphertext[:64]
        needles[f"end of ciphertext {index}"] = ciphertext[-64:]
    return {name: value for name, value in needles.items() if len(value) >= _SHORTEST}


def _search(state: Path, needles: Mapping[str, bytes]) -> tuple[int, list[str]]:
    """Return how many files there are, and what stands in which of them."""
    files = [path for path in sorted(state.rglob("*")) if path.is_file()]
    found = []
    for path in files:
        data = path.read_bytes()
        name = path.relative_to(state).as_posix()
        found += [f"{what} in {name}" for what, needle in needles.items() if needle in data]
    return len(files), found


def _still_holds(
    rights: Rights, sub: str, subject: str, before: list[bytes], exported: dict[str, Any], erase_id: str
) -> Iterator[str]:
    """Yield what is not as it has to be after an erasure."""
    leaves = rights.log.leaves.read(0, rights.log.leaves.count())
    if leaves[: len(before)] != before:
        yield "leaves of the log were changed"
    if not rights.consents.log.told([erase_id]):
        yield "the log does not tell of the erasure"
    if rights.consents.keys.get(subject) is not None:
        yield "the key is still given out"
    try:
        rights.consents.export(_PROOF.id, sub)
        yield "the export still answers"
    except NotFound:
        pass
    writer = rights.log.writer
    if writer is None:
        yield "the log is not signed"
        return
    proofs = 0
    for record in exported["@graph"]:
        for status in record["dpv:hasConsentStatus"]:
            opening = status["tactful:opening"]
            if opening["tactful:proof"] is None:
                continue
            try:
                verify_proof(
                    read_proof(opening["tactful:proof"].encode()),
                    opening["tactful:leaf"].encode(),
                    writer.policy,
                )
                proofs += 1
            except PrivacyError as error:
                yield f"an old proof does not verify: {error}"
    if proofs < 2:
        yield "the export held no proofs"


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Write every log line of the process into the state folder, to be searched like all else."""
    handler = logging.FileHandler(path, encoding="utf-8")
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()


def copied(config: Config, folder: Path) -> Config:
    """Copy a deployment's state, as far as it concerns readers; an empty one where there is none."""
    data, keys = folder / "data", folder / "keys"
    data.mkdir(parents=True)
    keys.mkdir(mode=0o700)
    if copy_store_of(config, data / config.database.name):
        if (config.data_dir / LOG_FOLDER).exists():
            ignored = shutil.ignore_patterns(".lock", "*.txt")
            shutil.copytree(config.data_dir / LOG_FOLDER, data / LOG_FOLDER, ignore=ignored)
        for path in (
            *config.key_dir.glob("*.key"),
            *(config.key_dir / name for name in ("keys.txt", SIGNED, RETIRED)),
        ):
            if path.exists():
                shutil.copy(path, keys / path.name)
    # Subjects' keys stay where they are: the proof brings readers of its own.
    # Nor does a witness see what the copy signs: it would hold it against the log.
    return replace(config, store=None, data_dir=data, key_dir=keys, log_witnesses=None)
