"""`tactful prove log`: what was told stays told, and whoever changes, drops or rewrites any of it is found out.

On copies of the deployment's log, under its own settings: recompute it from all entries, let it grow under an
injected clock, and verify what it then publishes from outside, as an auditor would: growth that only appends,
freshness, and a receipt for entries old and new, in every yearly shard. How much these watchers see is itself
measured: by faults planted in logs made for it, one shard or three, each of which one of them has to find.
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
from engine.consent_log import LOG_FOLDER, ConsentLog
from engine.errors import EngineError
from engine.log_audit import audit_log
from engine.log_client import FolderSource
from engine.log_files import CHECKPOINT, RETIRED, SIGNED, LogFiles
from engine.log_follow import follow
from engine.store import SqliteStore, tamper_sqlite
from privacy.checkpoint import Checkpoint, read_checkpoint, read_note, sign_note
from privacy.consent_log import leaf
from privacy.errors import LogError
from privacy.keyring import Keyring
from privacy.log_shards import Shard
from privacy.merkle import consistency_proof
from privacy.tiles import TileBuilder, tile_nodes
from privacy.tlog_proof import read_proof, verify_proof
from privacy.witness import add_checkpoint, write_request

Plant = Callable[["Watched"], None]  # a fault that is put into a log

STALE_S = 3700  # a public log is signed by the hour
START = datetime(2026, 11, 23, 18, 5, tzinfo=UTC)
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


def prove_log(
    config: Config, now: datetime, measure: Callable[[Path], Mapping[str, bool]] | None = None
) -> Verdict:
    """Prove it of this deployment's log, or of a fresh one where it has none; `measure` says what the proof finds."""
    with tempfile.TemporaryDirectory(prefix="tactful-proof-") as name:
        folder = Path(name)
        _copy(config, folder)
        twin = replace(
            config, store=None, data_dir=folder / "data", key_dir=folder / "keys", log_witnesses=None
        )
        verdict = _sound(twin, now)  # no witness sees what the copy signs: it would hold it against the log
        return verdict if measure is None else replace(verdict, planted=measure(folder / "planted"))


def score(folder: Path, planted: Mapping[str, Plant], years: Sequence[int] = ()) -> dict[str, bool]:
    """Plant each fault in a log of its own, below the folder; tell of each whether it was found.

    The log gets another shard in each of the `years`. Raises EngineError where the watchers find fault with one in
    which nothing was planted.
    """
    made = Watched(folder / "sound")
    made.grow()
    for year in years:
        made.turn(year)
    alarms = made.alarms()
    made.close()
    if alarms:
        raise EngineError(f"the watchers find fault with a sound log: {alarms[0]}")
    found = {}
    for number, (name, plant) in enumerate(planted.items()):
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
    for checkpoint in sorted((*log.glob(CHECKPOINT), *log.glob(f"[0-9]*/{CHECKPOINT}"))):
        target = data / LOG_FOLDER / checkpoint.relative_to(log)
        target.parent.mkdir(exist_ok=True)
        shutil.copy2(checkpoint, target)
    for name in ("keys.txt", SIGNED, RETIRED, *(f"{purpose}.key" for purpose in CONSENT_KEYS)):
        with suppress(FileNotFoundError):
            shutil.copy2(config.key_dir / name, keys / name)
    for path in sorted(
        path for tiles in (log / "tile", *log.glob("[0-9]*/tile")) for path in tiles.rglob("*")
    ):
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
        published = read_checkpoint(read_note(log.files.checkpoint() or b"").text)
        count = log.log.shards.newest().first + published.size
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
        self._open(config, START, random.Random(seed).randbytes)  # noqa: S311 - it keeps no secret

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
        self.leaves, self.shards, self.policy = self.log.leaves, self.log.shards, self.writer.policy

    @property
    def files(self) -> LogFiles:
        """Return the files of the newest shard."""
        return self.log.files

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

    def turn(self, year: int) -> None:
        """Let a year pass, or several; then grow."""
        self.now = datetime(year, 1, 1, 0, 5, tzinfo=UTC)
        self.log.step()
        self.see()
        self.append(_GROWN)
        self.step()
        self.see()
        first = self.shards.newest().first
        self.keep_receipts([0, 299, first - 1, first, first + 200])

    def see(self) -> None:
        """Let auditors and a witness remember the checkpoints."""
        for shard in self.shards.all():
            data = self.shards.files(shard).checkpoint()
            if data is not None and data not in self.looks:
                self.looks.append(data)

    def keep_receipts(self, indexes: Sequence[int]) -> None:
        """Give out receipts."""
        for index in indexes:
            proof = self.shards.receipt(index)
            if proof is not None:
                self.receipts.append((proof.encode(), self.leaves.read(index, index + 1)[0]))

    def audit(self) -> list[str]:
        """Recompute everything; return what is wrong."""
        return audit_log(self.shards, self.policy).faults

    def alarms(self) -> list[str]:
        """Return what operator, auditor, witness and holders of receipts find fault with."""
        found = [f"fsck: {fault}" for fault in self.audit()]
        source, now = FolderSource(self.writer.folder), int(self.now.timestamp())
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
        held = _Held({read_note(note).text.partition("\n")[0]: note for note in self.looks})
        signer, now = self.writer.keys(self.shards.log)[1], int(self.now.timestamp())
        for shard in self.shards.all():
            files, before = self.shards.files(shard), held.held(shard.origin)
            data = files.checkpoint()
            if data is None or not self.looks:
                continue
            try:
                note = read_note(data)
                size = read_checkpoint(note.text).size
                old = read_checkpoint(read_note(before).text).size if before else 0
                proof = (
                    consistency_proof(old, size, tile_nodes(size, files.read_tile)) if 0 < old <= size else []
                )
            except LogError as error:
                yield str(error)
                continue
            answer = add_checkpoint(write_request(old, proof, note), self.policy, signer, held, now)
            if answer.status != 200 and not (old == 0 and shard.size is not None):  # it watches since later
                yield f"{answer.status} {answer.body.decode().strip()}"

    def sign(
        self,
        size: int,
        root: bytes,
        *,
        memory: bool = True,
        keys: Sequence[int] = (0, 1),
        shard: Shard | None = None,
    ) -> None:
        """Sign whatever is asked for, with the log's own keys."""
        shard = shard or self.shards.newest()
        if memory:
            self.remember(shard.origin, size, root)
        signing = self.writer.keys(shard.origin)
        text = Checkpoint(shard.origin, size, root).text()
        signers = [signing[key] for key in keys]
        note = sign_note(text, signers, int(self.now.timestamp()))
        self.shards.files(shard).put_checkpoint(note.encode())

    def remember(self, origin: str, size: int, root: bytes) -> None:
        """Have the key folder say that a tree was signed, whatever it said of the shard before."""
        trees = {one.origin: (one.size, one.root) for one in self.files.remembered()} | {origin: (size, root)}
        told = [{"origin": name, "size": size, "root": root.hex()} for name, (size, root) in trees.items()]
        (self.config.key_dir / SIGNED).write_text(json.dumps(told))

    def publish_as(self, shard: Shard, leaves: Sequence[bytes]) -> None:
        """Publish and sign these as the leaves of a shard: nothing of it contradicts itself."""
        builder = TileBuilder()
        for entry in leaves:
            self.shards.files(shard).put_tiles(builder.append(entry))
        self.shards.files(shard).put_tiles(builder.partial())
        self.sign(builder.size, builder.root(), shard=shard)

    def replace_by(self, other: Watched) -> None:
        """Put another log of the same keys in this one's place, store, files, memory and all."""
        shutil.rmtree(self.writer.folder)
        shutil.copytree(other.writer.folder, self.writer.folder)
        for signed in other.files.remembered():
            self.remember(*signed)
        tamper_sqlite.replace_all(self.store, other.leaves.read(0, other.leaves.count()))

    def close(self) -> None:
        """Let go of files and lock."""
        self.log.close()
        self.store.close()


class _Held:
    """A witness' memory that only looks: it keeps nothing."""

    def __init__(self, notes: Mapping[str, bytes]) -> None:
        self._notes = notes

    def held(self, origin: str) -> bytes | None:
        return self._notes.get(origin)

    def exchange(self, origin: str, held: bytes | None, note: bytes) -> bool:
        return True

    def origins(self) -> Iterator[str]:
        yield from self._notes
