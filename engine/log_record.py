"""Tells the consent log of keys, settings and policy: whenever they are not what it was last told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from privacy.canonical import canonical
from privacy.checkpoint import Verifier
from privacy.consent_log import LeafStore, LeafType, Maker, leaf


@dataclass(frozen=True, slots=True)
class LoggedKey:
    """A public key that signs something about consent. `says` tells its use and its form; it holds no secret."""

    fingerprint: bytes  # SHA-256 of the public key
    says: Mapping[str, Any]

    @classmethod
    def of_log(cls, verifier: Verifier) -> LoggedKey:
        """Describe a key that signs the log."""
        return cls(verifier.fingerprint, {"use": "log", "vkey": verifier.vkey()})


_NOTHING: Mapping[str, Any] = {"keys": {}, "settings": None, "policy": None}


class RecordStore(LeafStore, Protocol):
    """A LeafStore that also keeps what was told last."""

    def recorded(self, db: Any) -> bytes | None:
        """Return what `record` kept last, within the caller's transaction, in which nobody else records."""

    def record(self, db: Any, state: bytes) -> None:
        """Keep it, within the caller's transaction."""


class Store(Protocol):
    """The store that keeps the leaves."""

    def writing(self) -> AbstractContextManager[Any]:
        """Hold the write transaction."""


def policy_entry(
    leaves: LeafStore, act: str, policy: str, before: str, evidence: Mapping[str, Any], now: datetime
) -> Callable[[Any], object]:
    """Return what tells the log, within a transaction, that another response model decides, and on what evidence."""
    data = {
        "act": act,
        "response_policy": policy or "prior",
        "before": before or "prior",
        "evidence": evidence,
    }
    return lambda db: leaves.append(db, [partial(leaf, type="config.change", at=now, key=None, data=data)])


def record_rotation(
    store: Store, leaves: RecordStore, old: Sequence[LoggedKey], new: Sequence[LoggedKey], now: datetime
) -> None:
    """Append key.add for the keys that sign from now on, and key.retire for those that do no more."""
    with store.writing() as db:
        told = json.loads(leaves.recorded(db) or canonical(_NOTHING))
        keys = dict(told["keys"])
        makers: list[Maker] = []
        for key in new:
            if keys.get(key.fingerprint.hex()) != dict(key.says):
                makers.append(partial(leaf, type="key.add", at=now, key=key.fingerprint, data=key.says))
            keys[key.fingerprint.hex()] = dict(key.says)
        for key in old:
            if keys.pop(key.fingerprint.hex(), None) is not None:
                makers.append(partial(leaf, type="key.retire", at=now, key=key.fingerprint, data=key.says))
        leaves.append(db, makers)
        leaves.record(db, canonical({**told, "keys": keys}))


def record_state(
    store: Store,
    leaves: RecordStore,
    keys: Sequence[LoggedKey],
    settings: Mapping[str, str],
    policy: Mapping[str, Any],
    now: datetime,
) -> None:
    """Append key.add, key.retire, config.change and policy.change for what differs from what was told last."""
    state = _state(keys, settings, policy)
    with store.writing() as db:
        before = leaves.recorded(db)
        if before == state:
            return
        leaves.append(db, _changes(json.loads(before) if before else _NOTHING, keys, settings, policy, now))
        leaves.record(db, state)


def record_anew(
    db: Any,
    leaves: RecordStore,
    keys: Sequence[LoggedKey],
    settings: Mapping[str, str],
    policy: Mapping[str, Any],
    now: datetime,
) -> None:
    """Append all that stands, within the caller's transaction: so a shard begins, to be read without the others."""
    leaves.append(db, _changes(_NOTHING, keys, settings, policy, now))
    leaves.record(db, _state(keys, settings, policy))


def _state(keys: Sequence[LoggedKey], settings: Mapping[str, str], policy: Mapping[str, Any]) -> bytes:
    hashed = {key.fingerprint.hex(): dict(key.says) for key in keys}
    return canonical({"keys": hashed, "settings": dict(settings), "policy": dict(policy)})


def _changes(
    told: Mapping[str, Any],
    keys: Sequence[LoggedKey],
    settings: Mapping[str, str],
    policy: Mapping[str, Any],
    now: datetime,
) -> list[Maker]:
    makers: list[Maker] = []
    hashed = {key.fingerprint.hex(): dict(key.says) for key in keys}

    def add(type: LeafType, fingerprint: str | None, data: Mapping[str, Any]) -> None:
        key = bytes.fromhex(fingerprint) if fingerprint else None
        makers.append(partial(leaf, type=type, at=now, key=key, data=data))

    for fingerprint, says in hashed.items():
        if told["keys"].get(fingerprint) != says:
            add("key.add", fingerprint, says)
    for fingerprint, says in told["keys"].items():
        if fingerprint not in hashed:
            add("key.retire", fingerprint, says)
    if told["settings"] != dict(settings):
        add("config.change", None, settings)
    if told["policy"] is None or canonical(told["policy"]) != canonical(policy):
        add("policy.change", None, policy)
    return makers
