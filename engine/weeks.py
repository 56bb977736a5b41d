"""What goes on by weeks: the keys of pseudonyms, and which values of signals enough readers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

from engine.campaign import Publisher
from engine.config import Config
from engine.errors import StoreError
from engine.shared_values import ActingValues, Pair, SharedValues
from engine.store.epochs_sqlite import FILE as EPOCHS
from engine.store.epochs_sqlite import SqliteEpochKeys
from engine.store.high_water import FILE as MARK
from engine.store.shared_sqlite import FILE as SHARED
from engine.store.shared_sqlite import SqliteSharedRows
from privacy.budget import SpendStore
from privacy.consent_log import LeafStore


class BudgetHome(Protocol):
    """The store that keeps the ledger of privacy loss beside the log's leaves."""

    def budget(self, mark: Path, leaves: LeafStore, now: Callable[[], datetime]) -> SpendStore:
        """Return the ledger, raised to what its mark says. Raises StoreError."""


class Weeks:
    """The weekly keys, rows and releases of one process."""

    def __init__(self, keys: SqliteEpochKeys, rows: SqliteSharedRows, budget: SpendStore) -> None:
        self._keys, self._rows = keys, rows
        self.budget = budget
        self.shared = SharedValues(rows, keys, budget)

    @classmethod
    def open(
        cls,
        config: Config,
        store: BudgetHome,
        leaves: LeafStore,
        *,
        now: Callable[[], datetime],
        random_bytes: Callable[[int], bytes],
    ) -> Self:
        """Open the files, made where there are none. Raises StoreError that names the one which is damaged or lost."""
        made, counted = config.key_dir / EPOCHS, config.data_dir / SHARED
        if counted.exists() and not made.exists():
            # Under a new key everybody would count a second time.
            raise StoreError(
                f"{made}: this file of keys is gone. Put it back from your copy; or delete {counted}, and the "
                "week's counts begin anew"
            )
        budget = store.budget(config.key_dir / MARK, leaves, now)
        keys = SqliteEpochKeys(config.key_dir / EPOCHS, random_bytes)
        rows = SqliteSharedRows(config.data_dir / SHARED)
        return cls(keys, rows, budget)

    def tend(self, publishers: Mapping[str, Publisher], caps: Mapping[str, int], now: datetime) -> None:
        """Destroy the keys of weeks that are long over, close the one that just ended, learn what may act.

        `caps` are the frequency caps by campaign. Raises StoreError and NoiseError.
        """
        self._keys.destroy(now)
        self.shared.tend(_vocabularies(publishers, caps), now)

    def check(self) -> None:
        """Look whether the files are still there and sound. Raises StoreError."""
        self._keys.file.check()
        self._rows.file.check()

    def close(self) -> None:
        """Close the files."""
        self._rows.close()
        self._keys.close()


class WeeksElsewhere:
    """What a machine has of the weeks that does not keep their files: the releases, by which values act here too."""

    def __init__(self, budget: SpendStore) -> None:
        self.budget = budget
        self.shared = ActingValues(budget)

    def tend(self, publishers: Mapping[str, Publisher], caps: Mapping[str, int], now: datetime) -> None:
        """Learn what may act. Raises StoreError."""
        self.shared.tend(_vocabularies(publishers, caps), now)

    def check(self) -> None:
        """Look at nothing: there are no files."""

    def close(self) -> None:
        """Close nothing."""


def _vocabularies(publishers: Mapping[str, Publisher], caps: Mapping[str, int]) -> dict[str, Sequence[Pair]]:
    registered = {p.id: p.first_party for p in publishers.values() if p.first_party}
    return {id: vocabulary.pairs(caps) for id, vocabulary in registered.items()}
