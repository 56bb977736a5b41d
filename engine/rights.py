"""The consents of an installation with all that an operator needs for readers' rights, beside a service or without."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from engine.change import Entity, Kind
from engine.config import CONSENT_KEYS, Config
from engine.consent_log import ConsentLog, LogStore
from engine.consents import ConsentHome, Consents, open_consents
from engine.errors import StoreError
from engine.events import EventStore
from engine.keeper import KeeperStore, keeps
from engine.money import MoneyStore
from engine.weeks import BudgetHome, Weeks
from privacy.errors import KeyringError
from privacy.keyring import Keyring


class RightsStore(LogStore, ConsentHome, BudgetHome, KeeperStore, Protocol):
    """The main store, with what an operator's commands ask of it."""

    def find(self, kind: Kind, ids: Sequence[str]) -> dict[str, Entity]:
        """Return the entities of these ids that exist, by id."""

    def purge(self, now: datetime, *, pages_before: datetime) -> dict[str, int]:
        """Delete pages, unused pictures and ended API keys whose time is over; return how many of each."""

    def events(self) -> EventStore:
        """Return what happened to what was decided."""

    def money(self) -> MoneyStore:
        """Return what was billed."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What is opened together."""

    store: RightsStore
    keyring: Keyring
    log: ConsentLog
    weeks: Weeks
    consents: Consents


@contextmanager
def open_rights(
    config: Config,
    store: RightsStore,
    *,
    now: Callable[[], datetime],
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    monotonic: Callable[[], float] = time.monotonic,
    make_keys: bool = False,
) -> Iterator[Rights]:
    """Open them over a store that is open. Raises KeyringError where keys are missing, unless it may make them.

    Raises StoreError.
    """
    if config.store is not None and not keeps(store, config.key_dir, random_bytes):
        raise StoreError(
            "another machine keeps the consents: do it there; or, if it is gone for good, put its key folder back "
            "here, and `tactful take-over`"
        )
    keyring = Keyring.open(config.key_dir, CONSENT_KEYS, random=random_bytes if make_keys else _none)
    log = ConsentLog(config, store, keyring, now=now, monotonic=monotonic, random_bytes=random_bytes)
    with (
        closing(log),
        closing(Weeks.open(config, store, log.leaves, now=now, random_bytes=random_bytes)) as weeks,
    ):
        consents = open_consents(
            config,
            store,
            log.leaves,
            keyring,
            proof=log.proof,
            forget=weeks.shared.forget,
            now=now,
            random_bytes=random_bytes,
        )
        with closing(consents):
            yield Rights(store, keyring, log, weeks, consents)


def _none(size: int) -> bytes:
    raise KeyringError(
        "a key of consent is missing, and none is made here: put the key folder back, or start the service once"
    )
