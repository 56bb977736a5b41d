"""A witness of others' consent logs: its own process, key and folder, best run by somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from engine.log_files import write_durably
from privacy.checkpoint import Signer
from privacy.keyring import Keyring
from privacy.witness import origin_hash

KEY = "witness"  # the purpose of its key


class WitnessFiles:
    """Satisfies WitnessStore: one file a log, exchanged under a lock that other processes heed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def held(self, origin: str) -> bytes | None:
        """Return the note that was cosigned last."""
        return self.by_hash(origin_hash(origin))

    def by_hash(self, name: str) -> bytes | None:
        """Return the note of the log whose origin has this hash. Requires small hex digits."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def exchange(self, origin: str, held: bytes | None, note: bytes) -> bool:
        """Put `note` in the place of `held`, durably, unless something else stands there by now."""
        path = self._folder / origin_hash(origin)
        with FileLock(path.with_suffix(".lock"), is_singleton=False):
            if self.held(origin) != held:
                return False
            write_durably(path, note)
            return True

    def origins(self) -> Iterator[str]:
        """Yield the logs of which a note was cosigned."""
        for path in sorted(self._folder.iterdir()):
            if not path.suffix:
                yield path.read_bytes().partition(b"\n")[0].decode()


def witness_signer(name: str, keys: Keyring) -> Signer:
    """Return the witness' key."""
    return Signer.ml_dsa_44(name, keys.key(KEY))
