"""Consents for tests over a real store, a real log and real keys, with a clock and chance that stand still."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from engine.config import CONSENT_KEYS, Config
from engine.consents import Consents, Grant, open_consents
from engine.store import open_store
from privacy.keyring import Keyring
from privacy.records import Notice
from tests.world import NOW, publisher

PLANET = publisher("planet", name="The Plänet", domains=("www.planet.test",), country="DE")
SUB = "reader-0123456789abcdef"
NOTICE = Notice("ab" * 32, "en-GB", "2026-11")
SELECT = frozenset({"ads.select.first_party", "ads.cap.first_party"})


def grant(**more) -> Grant:
    return Grant(**{"purposes": SELECT, "notice": NOTICE, "expressed_by": "button", "days": 180} | more)


class Chance:
    """Bytes that look random and are the same in each run."""

    def __init__(self, seed: str = "chance") -> None:
        self.seed, self.drawn = seed, 0

    def __call__(self, size: int) -> bytes:
        self.drawn += 1
        return hashlib.shake_128(f"{self.seed} {self.drawn}".encode()).digest(size)


@dataclass
class Desk:
    """The consents of an installation below a folder; `now` is set by the test."""

    folder: Path
    now: datetime = NOW
    seed: str = "chance"
    forgotten: list[tuple[str, str]] = field(default_factory=list)
    setting: str | None = None  # which store, as Config.store says it
    fails: Exception | None = None  # what keeps the rest from being forgotten

    def __post_init__(self) -> None:
        self.config = Config(
            data_dir=self.folder / "data",
            key_dir=self.folder / "keys",
            public_url="https://ads.example",
            store=self.setting,
        )
        self.config.data_dir.mkdir(exist_ok=True)
        self.chance = Chance(self.seed)
        self.keyring = Keyring.open(self.config.key_dir, CONSENT_KEYS, random=self.chance)
        self.store = open_store(self.config.store_url)
        self.leaves = self.store.leaves()
        self.consents: Consents = open_consents(
            self.config,
            self.store,
            self.leaves,
            self.keyring,
            proof=lambda index: None,
            forget=self._forget,
            now=lambda: self.now,
            random_bytes=self.chance,
        )

    def grant(self, sub: str | None = SUB, **more):
        return self.consents.grant(PLANET, sub, grant(**more))

    def _forget(self, publisher: str, subject: str, now: datetime) -> None:
        self.forgotten.append((publisher, subject))
        if self.fails is not None:
            raise self.fails

    def standing(self, sub: str = SUB):
        return self.consents.store.standing("planet", self.consents.subject_of("planet", sub))

    def leaf_types(self) -> list[str]:
        import json

        return [json.loads(leaf)["type"] for leaf in self.leaves.read(0, 10_000)]

    def files(self) -> dict[str, bytes]:
        """Give all that is kept: files, and the rows of a database that is none of them."""
        found = {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        if self.setting is not None:
            with self.store.dump() as tables:
                for table in tables:
                    values = [value for row in table.rows for value in row]
                    found[table.table] = b" ".join(
                        value if isinstance(value, bytes) else str(value).encode() for value in values
                    )
        return found

    def close(self) -> None:
        self.consents.close()
        self.store.close()
