"""A consent log in a folder, with a clock that the test turns."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from engine.config import CONSENT_KEYS, Config
from engine.consent_log import ConsentLog
from engine.store import open_store
from privacy.consent_log import leaf
from privacy.keyring import Keyring

START = datetime(2026, 11, 23, 18, 5, tzinfo=UTC)


class LogWorld:
    """One process' view of a log. `again` opens another one over the same files."""

    def __init__(
        self,
        folder: Path,
        profile: str = "auditors",
        start: datetime = START,
        seed: int = 7,
        setting: str | None = None,
    ) -> None:
        self.folder = folder
        self.config = Config(
            data_dir=folder / "data",
            key_dir=folder / "keys",
            public_url="https://ads.example",
            log_profile=profile,
            store=setting,
        )
        self.config.data_dir.mkdir(parents=True, exist_ok=True)
        self.time = start
        self._seed = seed
        self._chance = random.Random(seed)
        keys = Keyring.open(self.config.key_dir, CONSENT_KEYS, random=self._chance.randbytes)
        self.store = open_store(self.config.store_url)
        self.log = ConsentLog(
            self.config,
            self.store,
            keys,
            now=lambda: self.time,
            monotonic=lambda: self.time.timestamp(),
            random_bytes=self._chance.randbytes,
        )
        assert self.log.writer is not None
        self.writer = self.log.writer

    @property
    def leaves(self):
        return self.log.leaves

    @property
    def files(self):
        return self.log.files

    def again(self) -> LogWorld:
        self.close()
        return LogWorld(self.folder, self.config.log_profile, self.time, self._seed + 1, self.config.store)

    def later(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def append(self, count: int = 1) -> list[int]:
        with self.store.writing() as db:
            return self.leaves.append(
                db,
                [
                    partial(
                        leaf,
                        type="consent.grant",
                        at=self.time,
                        commit=self._chance.randbytes(32),
                        ct=self._chance.randbytes(32),
                    )
                    for _ in range(count)
                ],
            )

    def close(self) -> None:
        self.log.close()
        self.store.close()
