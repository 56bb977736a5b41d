"""Which machine keeps what lies beside a database that several share: the keys of subjects, and who shares what.

The others decide by consents as well, since how each stands is in the database; but what readers ask for is
answered on the one machine that can destroy their keys, and which therefore publishes the log, too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from engine.log_files import write_durably

FILE = "keeper.txt"  # in the key folder: what must not be copied to a second machine
SETTING = "consent-keeper"
_ID_BYTES = 16


class KeeperStore(Protocol):
    """The store that the machines share."""

    def setting(self, name: str) -> str | None:
        """Return a setting of the installation."""

    def settle(self, name: str, value: str) -> str:
        """Give a setting its value for good; return the value that stands."""

    def put_setting(self, name: str, value: str) -> None:
        """Give a setting another value."""


def keeps(store: KeeperStore, key_dir: Path, random_bytes: Callable[[int], bytes]) -> bool:
    """Say whether this machine is the keeper; the first that asks becomes it. Raises StoreError."""
    if store.setting(SETTING) is not None and not (key_dir / FILE).exists():
        return False
    mine = _id(key_dir, random_bytes)
    return store.settle(SETTING, mine) == mine


def take_over(store: KeeperStore, key_dir: Path, random_bytes: Callable[[int], bytes]) -> None:
    """Make this machine the keeper, whichever was. Requires that the other one is gone. Raises StoreError."""
    store.put_setting(SETTING, _id(key_dir, random_bytes))


def _id(key_dir: Path, random_bytes: Callable[[int], bytes]) -> str:
    path = key_dir / FILE
    with FileLock(path.with_suffix(".lock")):  # several processes of one machine start at once
        if not path.exists():
            write_durably(path, random_bytes(_ID_BYTES).hex().encode())
        return path.read_text("ascii", "replace").strip()
