"""The files of a consent log: tiles and checkpoint as a plain web server could serve them, and what was signed last."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.errors import LogRefused
from privacy.checkpoint import Verifier
from privacy.errors import LogError
from privacy.log_policy import Retired
from privacy.merkle import HASH_BYTES
from privacy.tiles import ENTRIES, WIDTH, Tile, pack, unpack

CHECKPOINT = "checkpoint"
RETIRED = "log-retired.json"  # beside it: the keys that signed before
SIGNED = "log-signed.json"  # in the key folder: whoever rolls back the data does not roll this back
LOCK = ".lock"  # held by the one process that writes
_NEW = ".new"


class Signed(NamedTuple):
    """The largest tree of a shard that was ever signed."""

    origin: str
    size: int
    root: bytes


class LogFiles:
    """Reads and writes them. What is written appears whole, and is on the disk when the call returns."""

    def __init__(self, folder: Path, key_dir: Path, at_once: int = 8, origin: str | None = None) -> None:
        """Wait for up to so many files `at_once`; `origin` is the shard whose files these are, the newest for None."""
        self.folder = folder
        self.origin = origin
        self._at_once = at_once
        self._signed = key_dir / SIGNED
        self._retired = key_dir / RETIRED

    def checkpoint(self) -> bytes | None:
        """Return the checkpoint that is published."""
        return _read(self.folder / CHECKPOINT)

    def put_checkpoint(self, note: bytes) -> None:
        """Publish a checkpoint."""
        write_durably(self.folder / CHECKPOINT, note)

    def tile(self, tile: Tile) -> bytes | None:
        """Return a tile, cut from the full one where that has taken its place; None where there is none."""
        data = _read(self.folder / tile.path)
        if data is None and tile.width < WIDTH:
            data = _read(self.folder / tile.full.path)
            if data is not None:
                if tile.level == ENTRIES:
                    return pack(unpack(data, tile.width))
                return data[: tile.width * HASH_BYTES]
        return data

    def read_tile(self, tile: Tile) -> bytes:
        """Return a tile. Raises LogError where there is none."""
        data = self.tile(tile)
        if data is None:
            raise LogError(f"{tile.path}: missing")
        return data

    def put_tiles(self, tiles: Iterable[tuple[Tile, bytes]]) -> int:
        """Publish tiles, in any order among themselves; return how many."""
        files = {self.folder / tile.path: data for tile, data in tiles}
        folders = {folder for path in files for folder in _make_folder(path.parent)}
        for path, data in files.items():
            _write(_new(path), data)
        self._sync([_new(path) for path in files])
        for path in files:
            os.replace(_new(path), path)
        self._sync({path.parent for path in files} | folders)
        return len(files)

    def _sync(self, paths: Collection[Path]) -> None:
        """Wait until all of these are on the disk: at once, as a disk takes many together for the time of one."""
        if self._at_once == 1 or len(paths) == 1:
            for path in sorted(paths):
                _sync(path)
        elif paths:
            with ThreadPoolExecutor(min(self._at_once, len(paths)), "consent-log-sync") as pool:
                list(pool.map(_sync, sorted(paths)))

    def drop_partial(self, tile: Tile) -> None:
        """Delete the partial tiles that a full one replaces."""
        folder = self.folder / f"{tile.path}.p"
        with suppress(FileNotFoundError):
            for path in sorted(folder.iterdir()):
                path.unlink()
            folder.rmdir()

    def signed(self) -> Signed | None:
        """Return what was signed last of this shard, None where nothing was. Raises LogRefused."""
        return next((one for one in reversed(self.remembered()) if self.origin in (None, one.origin)), None)

    def remembered(self) -> tuple[Signed, ...]:
        """Return the largest tree that was signed of each shard, oldest first. Raises LogRefused."""
        data = _read(self._signed)
        if data is None:
            return ()
        try:
            told = msgspec.json.decode(data, type=_SignedTree | list[_SignedTree])
            trees = told if isinstance(told, list) else [told]
            return tuple(Signed(one.origin, one.size, bytes.fromhex(one.root)) for one in trees)
        except ValueError as error:
            raise LogRefused(f"{self._signed}: damaged; put it back from your copy") from error

    def put_signed(self, signed: Signed) -> None:
        """Keep what is about to be signed. Raises LogRefused where a shard is to change that another one follows."""
        known = list(self.remembered())
        if known and known[-1].origin == signed.origin:
            known.pop()
        elif signed in known:
            return
        elif any(one.origin == signed.origin for one in known):
            raise LogRefused(f"{signed.origin}: frozen, and was signed as another tree than this one")
        told = [_SignedTree(one.origin, one.size, one.root.hex()) for one in (*known, signed)]
        data = msgspec.json.encode(told if len(told) > 1 else told[0])
        write_durably(self._signed, data + b"\n", mode=0o600)

    def retired(self) -> tuple[Retired, ...]:
        """Return the keys that signed before, the oldest first. Raises LogRefused where that cannot be read."""
        data = _read(self._retired)
        if data is None:
            return ()
        try:
            told = msgspec.json.decode(data, type=list[_RetiredKeys])
            return tuple(Retired(one.size, one.day, tuple(map(Verifier.parse, one.vkeys))) for one in told)
        except (ValueError, LogError) as error:
            raise LogRefused(f"{self._retired}: damaged; put it back from your copy") from error

    def put_retired(self, retired: Sequence[Retired]) -> None:
        """Keep them."""
        told = [_RetiredKeys(one.size, one.day, tuple(key.vkey() for key in one.keys)) for one in retired]
        write_durably(self._retired, msgspec.json.encode(told) + b"\n", mode=0o600)


class _SignedTree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    origin: str
    size: int
    root: str


class _RetiredKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: int
    day: date
    vkeys: tuple[str, ...]


def write_durably(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that it appears whole or not at all, and outlasts a crash of the machine."""
    folders = _make_folder(path.parent)
    _write(_new(path), data, mode)
    _sync(_new(path))
    os.replace(_new(path), path)
    for folder in (path.parent, *folders):
        _sync(folder)


def _new(path: Path) -> Path:
    return path.with_name(path.name + _NEW)


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
    finally:
        os.close(file)


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder; return those in which one was made."""
    if folder.is_dir():
        return []
    made = _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    return [*made, folder.parent]


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
