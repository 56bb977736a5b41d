"""`tactful prove log`: what was told stays told, and whoever changes, drops or rewrites any of it is found out.

On copies of the deployment's log, under its own settings: recompute it from all entries, let it grow under an
injected clock, and verify what it then publishes from outside, as an auditor would: growth that only appends,
freshness, and a receipt for entries old and new. How much these watchers see is itself measured: by faults
planted in a log made for it, each of which one of them has to find.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from engine.backup import copy_store_of
from engine.config import CONSENT_KEYS, Config
from engine.consent_log import LOG_FOLDER, ConsentLog, receipt
from engine.errors import EngineError
from engine.log_audit import audit, follow
from engine.log_client import FolderSource
from engine.log_files import CHECKPOINT, RETIRED, SIGNED, Signed
from engine.store import SqliteStore, tamper_sqlite
from privacy.checkpoint import Checkpoint, Note, read_checkpoint, read_note, sign_note
from privacy.consent_log import leaf
from privacy.errors import LogError
from privacy.keyring import Keyring
from privacy.merkle import consistency_proof
from privacy.tiles import tile_nodes
from privacy.tlog_proof import Proof, read_proof, verify_proof
from privacy.witness import add_checkpoint, write_request

STALE_S = 3700  # a public log is signed by the hour
_START = datetime(2026, 11, 23, 18, 5, tzinfo=UTC)
_GROWN = 300  # entries that are appended: tiles fill
_RECEIPTS = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was looked at, what was found, and what the watchers missed of what was planted."""

    entries: int  # of the deployment's log
    receipts: int
    faults: tuple[str, ...]
    planted: Mapping[str, bool] = field(default_factory=dict)  # planted fault → whether it was found

    @property
    def holds(self) -> bool:
        """Tell whether the promise held and every planted fault was found."""
        return not self.faults and all(self.planted.values())

    def plain(self) -> dict[str, Any]:
        """Give the verdict as JSON values."""
        return {
            "proof": "log",
            "holds": self.holds,
            "entries": self.entries,
            "receipts": self.receipts,
            "faults": list(self.faults),
            "planted_found": f"{sum(self.planted.values())}/{len(self.planted)}",
            "planted_missed": [name for name, found in self.planted.items() if not found],
        }

    def lines(self) -> Iterator[str]:
        """Yield the verdict as one line of JSON."""
        yield json.dumps(self.plain(), ensure_ascii=False)


def prove_log(config: Config, now: datetime, planted: bool = True) -> Verdict:
    """Prove it of this deployment's log, or of a fresh one where it has none; with `planted`, measure the proof."""
    with tempfile.TemporaryDirectory(prefix="tactful-proof-") as name:
        folder = Path(name)
        _copy(config, folder)
        verdict = _sound(replace(config, store=None, data_dir=folder / "data", key_dir=folder / "keys"), now)
        if not planted:
            return verdict
        return replace(verdict, planted=score(folder / "planted"))


def score(folder: Path) -> dict[str, bool]:
    """Plant each fault in a log of its own, below the folder; tell of each whether it was found.

    Raises EngineError where the watchers find fault with a log in which none was planted.
    """
    made = Watched(folder / "sound")
    made.grow()
    alarms = made.alarms()
    made.close()
    if alarms:
        raise EngineError(f"the watchers find fault with a sound log: {alarms[0]}")
    found = {}
    for number, (name, plant) in enumerate(PLANTED.items()):
        shutil.copytree(folder / "sound", folder / str(number))
        watched = made.moved_to(folder / str(number))
        plant(watched)
        found[name] = bool(watched.alarms())
        watched.close()
        shutil.rmtree(folder / str(number))
    return found


def _copy(config: Config, folder: Path) -> None:
    """Copy what the log is made of, while a service may write it: what is behind first, the store last."""
    data, keys = folder / "data", folder / "keys"
    (data / LOG_FOLDER).mkdir(parents=True)
    keys.mkdir(mode=0o700)
    log = config.data_dir / LOG_FOLDER
    with suppress(FileNotFoundError):
        shutil.copy2(log / CHECKPOINT, data / LOG_FOLDER / CHECKPOINT)
    for name in ("keys.txt", SIGNED, RETIRED, *(f"{purpose}.key" for purpose in CONSENT_KEYS)):
        with suppress(FileNotFoundError):
            shutil.copy2(config.key_dir / name, keys / name)
    for path in sorted((log / "tile").rglob("*")) if log.is_dir() else ():
        target = data / LOG_FOLDER / path.relative_to(log)
        with suppress(FileNotFoundError):  # a partial tile whose full one has come
            if path.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
    copy_store_of(config, data / config.database.name)


def _sound(config: Config, now: datetime) -> Verdict:
    log = Watched.over(config, now, random.SystemRandom().randbytes)
    try:
        entries = log.leaves.count()
        if log.files.checkpoint() is not None:
            if faults := log.audit():
                return Verdict(entries, 0, tuple(faults))
            log.see()
        log.step()
        if fault := log.log.fault():
            return Verdict(entries, 0, (fault,))
        log.grow()
        count = read_checkpoint(read_note(log.files.checkpoint() or b"").text).size
        chosen = sorted({*range(min(3, count)), count - 1, *log.choose(count, _RECEIPTS)})
        log.keep_receipts(chosen)
        return Verdict(entries, len(chosen), tuple(log.alarms()))
    finally:
        log.close()


class Watched:
    """A log with a clock of its own, what an auditor saw of it, the receipts that people hold, and a witness."""

    def __init__(self, folder: Path, seed: int = 11) -> None:
        """Make a fresh one."""
        config = Config(data_dir=folder / "data", key_dir=folder / "keys", public_url="https://ads.example")
        self._open(config, _START, random.Random(seed).randbytes)  # noqa: S311 - it keeps no secret

    @classmethod
    def over(cls, config: Config, now: datetime, chance: Callable[[int], bytes]) -> Watched:
        """Open one that exists."""
        made = cls.__new__(cls)
        made._open(config, now, chance)
        return made

    def _open(self, config: Config, now: datetime, chance: Callable[[int], bytes]) -> None:
        config.data_dir.mkdir(parents=True, exist_ok=True)
        self.config = config
        self.now = now
        self.chance = chance
        self.looks: list[bytes] = []  # the checkpoints that auditors and a witness saw, oldest first
        self.receipts: list[tuple[bytes, bytes]] = []
        keys = Keyring.open(config.key_dir, CONSENT_KEYS, random=chance)
        self.store = SqliteStore(config.database)
        self.log = ConsentLog(
            config,
            self.store,
            keys,
            now=lambda: self.now,
            monotonic=lambda: self.now.timestamp(),
            random_bytes=chance,
        )
        if self.log.writer is None:
            raise EngineError("the log has no keys")
        self.writer = self.log.writer
        self.leaves, self.files, self.policy = self.log.leaves, self.log.files, self.writer.policy

    def moved_to(self, folder: Path) -> Watched:
        """Open a copy of the log's folder, with what was seen of it."""
        config = replace(self.config, data_dir=folder / "data", key_dir=folder / "keys")
        made = Watched.over(config, self.now, self.chance)
        made.looks, made.receipts = self.looks.copy(), self.receipts.copy()
        return made

    def choose(self, count: int, most: int) -> list[int]:
        """Choose up to so many indexes below `count`."""
        return [int.from_bytes(self.chance(8)) % count for _ in range(min(count, most))]

    def append(self, count: int) -> None:
        """Tell of grants that never were."""
        made = [
            partial(leaf, type="consent.grant", at=self.now, commit=self.chance(32), ct=self.chance(32))
            for _ in range(count)
        ]
        with self.store.writing() as db:
            self.leaves.append(db, made)

    def step(self) -> None:
        """Let an hour pass, after which the writer has something to do."""
        self.now += timedelta(hours=1)
        self.log.step()

    def grow(self) -> None:
        """Grow twice; each time auditors and a witness look and people get receipts."""
        for _ in range(2):
            self.append(_GROWN)
            self.step()
            self.see()
            self.keep_receipts([0, 1, 255, 256, 299])

    def see(self) -> None:
        """Let auditors and a witness remember the checkpoint."""
        data = self.files.checkpoint()
        if data is not None:
            self.looks.append(data)

    def keep_receipts(self, indexes: Sequence[int]) -> None:
        """Give out receipts."""
        for index in indexes:
            proof = receipt(self.files, index)
            if proof is not None:
                self.receipts.append((proof.encode(), self.leaves.read(index, index + 1)[0]))

    def audit(self) -> list[str]:
        """Recompute everything; return what is wrong."""
        return audit(self.leaves, self.files, self.policy).faults

    def alarms(self) -> list[str]:
        """Return what operator, auditor, witness and holders of receipts find fault with."""
        found = [f"fsck: {fault}" for fault in self.audit()]
        source, now = FolderSource(self.files.folder), int(self.now.timestamp())
        for seen in self.looks:
            try:
                follow(source, self.policy, seen, now, STALE_S)
            except LogError as error:
                found.append(f"monitor: {error}")
        found += [f"witness: {fault}" for fault in self._witnessed()]
        for proof, entry in self.receipts:
            try:
                verify_proof(read_proof(proof), entry, self.policy)
            except LogError as error:
                found.append(f"receipt: {error}")
        return found

    def _witnessed(self) -> Iterator[str]:
        data = self.files.checkpoint()
        if data is None or not self.looks:
            return
        held = self.looks[-1]
        try:
            note = read_note(data)
            size, old = read_checkpoint(note.text).size, read_checkpoint(read_note(held).text).size
            nodes = tile_nodes(size, self.files.read_tile)
            proof = consistency_proof(old, size, nodes) if old <= size else []
        except LogError as error:
            yield str(error)
            return
        logs = {self.writer.origin: self.policy.logs}
        signer = self.writer.signers[1]
        now = int(self.now.timestamp())
        answer = add_checkpoint(write_request(old, proof, note), logs, signer, _Held(held), now)
        if answer.status != 200:
            yield f"{answer.status} {answer.body.decode().strip()}"

    def sign(self, size: int, root: bytes, *, memory: bool = True, keys: Sequence[int] = (0, 1)) -> None:
        """Sign whatever is asked for, with the log's own keys."""
        if memory:
            self.files.put_signed(Signed(self.writer.origin, size, root))
        text = Checkpoint(self.writer.origin, size, root).text()
        signers = [self.writer.signers[key] for key in keys]
        self.files.put_checkpoint(sign_note(text, signers, int(self.now.timestamp())).encode())

    def replace_by(self, other: Watched) -> None:
        """Put another log of the same keys in this one's place, store, files, memory and all."""
        shutil.rmtree(self.files.folder)
        shutil.copytree(other.files.folder, self.files.folder)
        signed = other.files.signed()
        if signed is not None:
            self.files.put_signed(signed)
        tamper_sqlite.replace_all(self.store, other.leaves.read(0, other.leaves.count()))

    def close(self) -> None:
        """Let go of files and lock."""
        self.log.close()
        self.store.close()


class _Held:
    """A witness' memory that only looks: it keeps nothing."""

    def __init__(self, note: bytes) -> None:
        self._note = note

    def held(self, origin: str) -> bytes | None:
        return self._note

    def exchange(self, origin: str, held: bytes | None, note: bytes) -> bool:
        return True


# --- planted faults ---


def _flip(path: str, at: int = 0) -> Callable[[Watched], None]:
    def plant(log: Watched) -> None:
        file = log.files.folder / path
        data = bytearray(file.read_bytes())
        data[at] ^= 1
        file.write_bytes(data)

    return plant


def _remove(path: str) -> Callable[[Watched], None]:
    return lambda log: (log.files.folder / path).unlink()


def _overwrite(seq: int, entry: bytes) -> Callable[[Watched], None]:
    return lambda log: tamper_sqlite.overwrite(log.store, {seq: entry})


def _drop(seq: int) -> Callable[[Watched], None]:
    return lambda log: tamper_sqlite.drop(log.store, seq, seq)


def _drop_last(log: Watched) -> None:
    tamper_sqlite.drop(log.store, log.leaves.count() - 1, log.leaves.count())


def _swap(log: Watched) -> None:
    first, second = log.leaves.read(40, 42)
    tamper_sqlite.overwrite(log.store, {40: second, 41: first})


def _appended(data: Callable[[int], bytes]) -> Callable[[Watched], None]:
    def plant(log: Watched) -> None:
        with log.store.writing() as db:
            log.leaves.append(db, [data])

    return plant


def _rewritten(seed: int, count: int) -> Callable[[Watched], None]:
    """Replace the whole log by another one of the same keys: nothing in it contradicts itself."""

    def plant(log: Watched) -> None:
        folder = log.config.data_dir.parent / "other"
        (folder / "keys").mkdir(parents=True, mode=0o700)
        for path in log.config.key_dir.iterdir():
            if path.suffix in (".key", ".txt"):
                shutil.copy2(path, folder / "keys" / path.name)
        other = Watched(folder, seed)
        other.now = log.now - timedelta(hours=1)
        other.append(count)
        other.step()
        log.replace_by(other)
        other.close()

    return plant


def _restored(log: Watched) -> None:
    """Restore the checkpoint of an hour ago, sign it anew, and forget what came after."""
    old = read_checkpoint(read_note(log.looks[0]).text)
    tamper_sqlite.drop(log.store, old.size - 1, log.leaves.count())
    with suppress(FileNotFoundError):
        (log.config.key_dir / SIGNED).unlink()
    shutil.rmtree(log.files.folder / "tile")
    (log.files.folder / CHECKPOINT).unlink()
    log.log.close()
    log.step()


def _resigned(change: Callable[[Watched, Checkpoint], tuple[int, bytes]]) -> Callable[[Watched], None]:
    def plant(log: Watched) -> None:
        now = read_checkpoint(read_note(log.files.checkpoint() or b"").text)
        log.sign(*change(log, now))

    return plant


def _seen_again(log: Watched) -> None:
    log.files.put_checkpoint(log.looks[0])


def _unsigned_by(key: int) -> Callable[[Watched], None]:
    def plant(log: Watched) -> None:
        now = read_checkpoint(read_note(log.files.checkpoint() or b"").text)
        log.sign(now.size, now.root, keys=(1 - key,))

    return plant


def _flipped_signature(key: int) -> Callable[[Watched], None]:
    def plant(log: Watched) -> None:
        note = read_note(log.files.checkpoint() or b"")
        lines = list(note.signatures)
        broken = bytearray(lines[key].signature)
        broken[-1] ^= 1
        lines[key] = lines[key]._replace(signature=bytes(broken))
        log.files.put_checkpoint(Note(note.text, tuple(lines)).encode())

    return plant


def _forgotten(log: Watched) -> None:
    (log.config.key_dir / SIGNED).unlink()


def _smaller_memory(log: Watched) -> None:
    log.files.put_signed(Signed(log.writer.origin, 1, bytes(32)))


def _stalled(log: Watched) -> None:
    log.now += timedelta(hours=2)


def _receipt(change: Callable[[Proof, bytes], tuple[Proof, bytes]]) -> Callable[[Watched], None]:
    def plant(log: Watched) -> None:
        data, entry = log.receipts[2]
        proof, entry = change(read_proof(data), entry)
        log.receipts.append((proof.encode(), entry))

    return plant


PLANTED: Mapping[str, Callable[[Watched], None]] = {
    "an entry is changed in the store": _overwrite(100, b'{"seq":100,"v":1}'),
    "the first entry is changed in the store": _overwrite(0, b"{}"),
    "an entry is taken out of the store": _drop(100),
    "the last entry is taken out of the store": _drop_last,
    "two entries are swapped in the store": _swap,
    "an entry does not know its place": _appended(lambda seq: leaf(seq + 1, "consent.grant", _START)),
    "an entry is not canonical": _appended(lambda seq: leaf(seq, "consent.grant", _START) + b" "),
    "a full tile of hashes is damaged": _flip("tile/0/000", 5000),
    "a partial tile of hashes is damaged": _flip("tile/0/002.p/93"),
    "a tile of a higher level is damaged": _flip("tile/1/000.p/2"),
    "a tile of entries is damaged": _flip("tile/entries/001", 700),
    "a partial tile of entries is damaged": _flip("tile/entries/002.p/93", 30),
    "a tile is missing": _remove("tile/0/001"),
    "a tile of entries is missing": _remove("tile/entries/000"),
    "another root is signed at the same size": _resigned(lambda log, now: (now.size, bytes(32))),
    "a larger size is signed than there are entries": _resigned(lambda log, now: (now.size + 1, now.root)),
    "a smaller size is signed": _resigned(lambda log, now: (now.size - 1, now.root)),
    "an older checkpoint is served": _seen_again,
    "the Ed25519 signature is left out": _unsigned_by(0),
    "the ML-DSA-44 signature is left out": _unsigned_by(1),
    "the Ed25519 signature is damaged": _flipped_signature(0),
    "the ML-DSA-44 signature is damaged": _flipped_signature(1),
    "what was signed last is forgotten": _forgotten,
    "what was signed last is smaller than what is published": _smaller_memory,
    "nothing is signed any more": _stalled,
    "the log is rewritten with another history": _rewritten(12, 700),
    "the log is rewritten with a shorter history": _rewritten(13, 20),
    "the log is rolled back and signed anew": _restored,
    "a receipt is shown for another entry": _receipt(lambda proof, entry: (proof, entry[:-1] + b" }")),
    "a receipt is shown for another place": _receipt(
        lambda proof, entry: (replace(proof, index=proof.index + 1), entry)
    ),
    "a receipt's path is damaged": _receipt(
        lambda proof, entry: (replace(proof, path=(bytes(32), *proof.path[1:])), entry)
    ),
    "a receipt's path is too long": _receipt(
        lambda proof, entry: (replace(proof, path=(*proof.path, bytes(32))), entry)
    ),
}
