"""Gives a consent log new keys: both sign the tree that tells of the change, then the old ones are destroyed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

from engine.config import CONSENT_KEYS, Config
from engine.consent_log import LogStore, log_signers, read_witnesses, shards_of, signers_of
from engine.errors import LogRefused
from engine.log_client import Witnesses
from engine.log_record import LoggedKey, record_rotation
from engine.log_writer import LogWriter
from privacy.checkpoint import Signer
from privacy.errors import LogError
from privacy.keyring import Keyring, adopt
from privacy.log_policy import Retired

_NEXT = {"log": "log-next", "log-cosign": "log-cosign-next"}  # until they take the place of the others


class RotationStore(LogStore, Protocol):
    """A LogStore that is asked what was settled."""

    def setting(self, name: str) -> str | None:
        """Return a setting of the installation."""


def rotate(
    config: Config,
    store: RotationStore,
    *,
    now: Callable[[], datetime],
    monotonic: Callable[[], float],
    random_bytes: Callable[[int], bytes],
) -> Retired:
    """Let new keys sign the log from now on; return those that did, and the last tree that they signed.

    A crash leaves a log that is sound; the next call begins anew with what is there. Raises LogRefused where a service
    writes the log, or it is not sound; and KeyringError, LogError.
    """
    origin = store.setting("log_origin")
    if origin is None:
        raise LogError("there is no consent log yet: it begins when the service first starts")
    leaves = store.leaves(random_bytes if config.log_profile == "public" else None)
    shards = shards_of(config, leaves, origin)
    keys = Keyring.open(config.key_dir, CONSENT_KEYS, random=_no_chance)
    witnesses = read_witnesses(config)
    writer = LogWriter(
        shards,
        partial(log_signers, keys),
        now=now,
        monotonic=monotonic,
        alone=store.writer_lock(),
        witnessing=Witnesses(witnesses) if witnesses else None,
    )
    try:
        if not writer.open():
            raise LogRefused(writer.fault or "a service writes the log: stop it first")
        writer.end()  # of a shard that is over, which the service could not sign any more
        if not writer.is_open:
            raise LogRefused(writer.fault or "a shard that is over is not sound; run `tactful log fsck`")
        shard = writer.shard
        following = Keyring.open(config.key_dir, _NEXT.values(), random=random_bytes)
        old = log_signers(keys, shard.origin)
        new = signers_of(following.key(_NEXT["log"]), following.key(_NEXT["log-cosign"]), shard.origin)
        record_rotation(store, leaves, _logged(old), _logged(new), now())
        size = leaves.count()
        if config.log_profile == "public":  # nothing is told of how many entries the hour has
            size = leaves.close_hour(int(now().timestamp()) // 3600 + 1) or 0
        size -= shard.first
        writer.keys = lambda _: (*old, *new)
        writer.publish(size)
        retired = Retired(size, now().date(), tuple(signer.verifier for signer in old))
        files = writer.files
        files.put_retired([*(one for one in files.retired() if one.keys != retired.keys), retired])
        for purpose, successor in _NEXT.items():
            adopt(config.key_dir, purpose, successor)
    finally:
        writer.close()
    return retired


def _logged(signers: Sequence[Signer]) -> list[LoggedKey]:
    return [LoggedKey.of_log(signer.verifier) for signer in signers]


def _no_chance(count: int) -> bytes:
    raise LogError("a key of the log is missing: put it back, or let the service start with a new one")
