"""The consent log: `python -m benchmarks consent_log`: entries appended a second; microseconds a proof at 10 million.

Appending is what a deployment does: made, committed (synchronous=FULL) in batches, hashed into tiles, written, synced,
signed twice, for every batch. Beside it, in turn: the same rows committed to SQLite and nothing else (floor), and
pymerkle's SqliteTree (peer). Proofs come out of tiles on the disk, which are generated for it: random leaf hashes and
all tiles above them. Beside them: reading the same tiles and no more (floor).
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from engine.config import CONSENT_KEYS, Config
from engine.consent_log import ConsentLog
from engine.log_files import LogFiles
from engine.store import SqliteStore
from privacy.consent_log import leaf
from privacy.keyring import Keyring
from privacy.merkle import complete_root, inclusion_proof, root, verify_inclusion
from privacy.tiles import HEIGHT, WIDTH, Tile, tile_nodes

ENTRIES_A_SECOND = 5_000
PROOF_US = 1_000.0
_HASH = 32


def main(argv: list[str]) -> int:
    """Measure; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks consent_log", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="interleaved rounds of appending (default 10)")
    parser.add_argument("--batch", type=int, default=1000, help="entries a commit (default 1000)")
    parser.add_argument("--size", type=int, default=10_000_000, help="leaves under the proofs (default 10 M)")
    parser.add_argument("--proofs", type=int, default=2000, help="proofs that are timed (default 2000)")
    options = parser.parse_args(argv)
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="tactful-benchmark-") as name:
        held = _append(Path(name) / "append", options.rounds, options.batch)
        held &= _prove(Path(name) / "prove", options.size, options.proofs)
    return 0 if held else 1


def _append(folder: Path, rounds: int, batch: int) -> bool:
    rows: dict[str, tuple[Callable[[], None], list[float]]] = {
        "log: commit, tiles, sync, two signatures": (_log(folder / "log", batch), []),
        "floor: the same rows into SQLite": (_bare(folder / "bare", batch), []),
    }
    try:
        rows["peer: pymerkle SqliteTree"] = (_pymerkle(folder / "peer", batch), [])
    except ImportError:
        print("no pymerkle: pip install '.[test]'", file=sys.stderr)
    for _ in range(rounds):
        for run, times in rows.values():
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
    print(f"{f'appended, {batch} a batch':44} {'median /s':>10} {'worst /s':>10}")
    for name, (_, times) in rows.items():
        print(f"{name:44} {batch / statistics.median(times):10,.0f} {batch / max(times):10,.0f}")
    rate = batch / statistics.median(next(iter(rows.values()))[1])
    print(f"bound {ENTRIES_A_SECOND:,} /s: {'held' if rate >= ENTRIES_A_SECOND else 'missed'}")
    return rate >= ENTRIES_A_SECOND


def _log(folder: Path, batch: int) -> Callable[[], None]:
    config = Config(data_dir=folder / "data", key_dir=folder / "keys", public_url="https://ads.example")
    config.data_dir.mkdir(parents=True)
    keys = Keyring.open(config.key_dir, CONSENT_KEYS, random=secrets.token_bytes)
    store = SqliteStore(config.database)
    now = datetime(2026, 11, 23, 18, 5, tzinfo=UTC)
    log = ConsentLog(
        config,
        store,
        keys,
        now=lambda: now,
        monotonic=time.monotonic,
        random_bytes=secrets.token_bytes,
    )
    log.step()
    writer = log.writer
    assert writer is not None

    def append() -> None:
        makers = [
            partial(
                leaf, type="consent.grant", at=now, commit=secrets.token_bytes(32), ct=secrets.token_bytes(32)
            )
            for _ in range(batch)
        ]
        with store.writing() as db:
            log.leaves.append(db, makers)
        writer.publish()

    return append


def _bare(folder: Path, batch: int) -> Callable[[], None]:
    folder.mkdir(parents=True)
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE log_leaves (seq INTEGER PRIMARY KEY, leaf BLOB NOT NULL)")

    def append() -> None:
        db.execute("BEGIN IMMEDIATE")
        rows = ((secrets.token_bytes(220),) for _ in range(batch))
        db.executemany("INSERT INTO log_leaves (leaf) VALUES (?)", rows)
        db.execute("COMMIT")

    return append


def _pymerkle(folder: Path, batch: int) -> Callable[[], None]:
    from pymerkle import SqliteTree

    folder.mkdir(parents=True)
    tree = SqliteTree(str(folder / "peer.db"), algorithm="sha256")

    def append() -> None:
        tree.append_entries([secrets.token_bytes(220) for _ in range(batch)])
        tree.get_root()

    return append


def _prove(folder: Path, size: int, count: int) -> bool:
    files = LogFiles(folder, folder)
    started = time.perf_counter()
    leaves = _generate(folder, size)
    print(f"generated the tiles of {size:,} leaves in {time.perf_counter() - started:.0f} s")
    head = root(size, tile_nodes(size, files.read_tile))
    chance = random.Random(20261123)
    proving, floor, checking = [], [], []
    for _ in range(count):
        index = chance.randrange(size)
        read: list[Tile] = []

        def read_tile(tile: Tile, read: list[Tile] = read) -> bytes:
            read.append(tile)
            return files.read_tile(tile)

        started = time.perf_counter()
        proof = inclusion_proof(index, size, tile_nodes(size, read_tile))
        proving.append((time.perf_counter() - started) * 1e6)
        started = time.perf_counter()
        for tile in read:
            files.read_tile(tile)
        floor.append((time.perf_counter() - started) * 1e6)
        started = time.perf_counter()
        verify_inclusion(index, size, leaves(index), proof, head)
        checking.append((time.perf_counter() - started) * 1e6)
    print(f"{f'inclusion proof at {size:,}':44} {'median µs':>10} {'p99 µs':>10}")
    for name, times in (
        ("proof, from tiles on the disk", proving),
        ("floor: reading the same tiles", floor),
        ("verifying it", checking),
    ):
        print(f"{name:44} {statistics.median(times):10.0f} {statistics.quantiles(times, n=100)[98]:10.0f}")
    held = statistics.median(proving) <= PROOF_US
    print(f"bound {PROOF_US:.0f} µs: {'held' if held else 'missed'}")
    return held


def _generate(folder: Path, size: int) -> Callable[[int], bytes]:
    """Write all tiles of hashes of a tree of random leaf hashes; return what reads the hash of a leaf."""
    chance = random.Random(7)
    level, count = 0, size
    below = b""
    while count:
        above = bytearray()
        for number in range(-(-count // WIDTH)):
            width = min(WIDTH, count - number * WIDTH)
            at = number * WIDTH * _HASH
            data = chance.randbytes(width * _HASH) if level == 0 else below[at : at + width * _HASH]
            path = folder / Tile(level, number, width).path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            if width == WIDTH:
                above += complete_root([data[i : i + _HASH] for i in range(0, len(data), _HASH)])
        below, level, count = bytes(above), level + 1, count >> HEIGHT

    def leaf_hash(index: int) -> bytes:
        number, at = divmod(index, WIDTH)
        width = min(WIDTH, size - number * WIDTH)
        data = (folder / Tile(0, number, width).path).read_bytes()
        return data[at * _HASH : (at + 1) * _HASH]

    return leaf_hash
