"""Secret keys, one file each, in a folder of their own beside no database and in no backup of one."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from privacy.errors import KeyringError

KEY_BYTES = 32
FOLDER_MODE = 0o700
FILE_MODE = 0o600

_HEADER = "tactful-key-v1"
_LIST = "keys.txt"  # the purposes whose keys were made: one that is listed and has no file was lost
_LOCK = ".lock"
_PURPOSE = re.compile(r"[a-z][a-z0-9-]{0,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of one installation. `created` says in words what `open` made, for the operator to read."""

    folder: Path
    created: tuple[str, ...]
    _keys: Mapping[str, bytes]

    @classmethod
    def open(cls, folder: Path, purposes: Iterable[str], *, random: Callable[[int], bytes]) -> Keyring:
        """Read the key of each purpose, and make those that were never made.

        Any number of processes may do so at once. Raises KeyringError, with the file's name and the remedy,
        if a key was lost or damaged, if others than the owner may read it, or if the folder cannot be read or written.
        """
        with _errors_named(folder):
            folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            _check_mode(folder, FOLDER_MODE)
            with _locked(folder):
                return cls._open_locked(folder, tuple(purposes), random)

    @classmethod
    def _open_locked(cls, folder: Path, purposes: tuple[str, ...], random: Callable[[int], bytes]) -> Keyring:
        known = _known(folder)
        keys: dict[str, bytes] = {}
        created: list[str] = []
        for purpose in purposes:
            if not _PURPOSE.fullmatch(purpose):
                raise ValueError(f"purpose: got {purpose!r}, expected small letters, digits and hyphens")
            path = folder / f"{purpose}.key"
            if not path.exists():
                if purpose in known:
                    raise KeyringError(
                        f"{path}: this key was made and is gone. Put it back from your copy; or "
                        f"strike '{purpose}' out of {folder / _LIST} to start with a new one, and what the "
                        "old one signed or hashed is no longer recognised"
                    )
                _write(path, _to_text(purpose, random(KEY_BYTES)))
                created.append(f"made a new key for {purpose}: {path}. Keep a copy apart from the database")
            keys[purpose] = _read(path, purpose)
        listed = known | set(purposes)
        if listed != known:
            _write(folder / _LIST, "".join(f"{purpose}\n" for purpose in sorted(listed)))
        return cls(folder, tuple(created), keys)

    def key(self, purpose: str) -> bytes:
        """Give the 32 bytes of a purpose that was opened. Raises KeyringError."""
        try:
            return self._keys[purpose]
        except KeyError:
            opened = ", ".join(self._keys) or "none"
            raise KeyringError(f"purpose: got {purpose!r}, expected one that was opened: {opened}") from None

    def mac(self, purpose: str, message: bytes) -> bytes:
        """HMAC-SHA256 of the message under the key of a purpose: 32 bytes."""
        return hmac.digest(self.key(purpose), message, "sha256")


def adopt(folder: Path, purpose: str, successor: str) -> None:
    """Put the key of `successor` in the place of that of `purpose`, which is gone with this; for good, and at once.

    Done again after a crash it goes on where it was. Raises KeyringError where there is no sound successor.
    """
    with _errors_named(folder), _locked(folder):
        after = folder / f"{successor}.key"
        _write(folder / f"{purpose}.key", _to_text(purpose, _read(after, successor)))
        # Struck out first: a key that is listed and has no file counts as lost.
        _write(folder / _LIST, "".join(f"{one}\n" for one in sorted(_known(folder) - {successor})))
        after.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, FILE_MODE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@contextmanager
def _errors_named(folder: Path) -> Iterator[None]:
    """Raise KeyringError, with the file's name and the remedy, for what the system refuses."""
    try:
        yield
    except OSError as error:
        raise KeyringError(
            f"{error.filename or folder}: cannot be read or written ({error.strerror}). Let the service's user own the "
            "folder of keys and all in it, on a disk that can be written and has room"
        ) from error


def _known(folder: Path) -> set[str]:
    path = folder / _LIST
    try:
        return set(path.read_text("ascii").split()) if path.exists() else set()
    except UnicodeDecodeError:
        raise KeyringError(
            f"{path}: damaged. Put it back from your copy; or write one purpose a line into it, as *.key files of this"
            " folder are named"
        ) from None


def _to_text(purpose: str, key: bytes) -> str:
    return f"{_HEADER} {purpose} {base64.b64encode(key).decode()} {_checksum(purpose, key)}\n"


def _checksum(purpose: str, key: bytes) -> str:
    return hashlib.sha256(purpose.encode() + b"\0" + key).hexdigest()[:8]


def _read(path: Path, purpose: str) -> bytes:
    _check_mode(path, FILE_MODE)
    try:
        header, named, encoded, checksum = path.read_text("ascii").split()
        key = base64.b64decode(encoded, validate=True)
        sound = header == _HEADER and named == purpose and len(key) == KEY_BYTES
        if sound and hmac.compare_digest(checksum, _checksum(purpose, key)):
            return key
    except ValueError:
        pass
    raise KeyringError(
        f"{path}: this is no sound key for {purpose}. Put it back from your copy; or delete it and "
        f"strike '{purpose}' out of {path.parent / _LIST} to start with a new one"
    )


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        os.write(file, text.encode("ascii"))
        os.fsync(file)
    finally:
        os.close(file)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check_mode(path: Path, allowed: int) -> None:
    mode = path.stat().st_mode & 0o777
    if mode & ~allowed:
        raise KeyringError(f"{path}: others may read it (mode {mode:o}). Do: chmod {allowed:o} '{path}'")
