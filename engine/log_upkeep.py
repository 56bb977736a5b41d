"""What an operator does to the consent log beside the service: look it over, put it right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from filelock import FileLock, Timeout

from engine.config import CONSENT_KEYS, Config
from engine.consent_log import LogStore, log_signers, shards_of
from engine.errors import LogRefused, NotFound
from engine.log_audit import Audit, audit_log
from engine.log_files import LOCK
from engine.log_repair import repair
from engine.log_writer import Alone
from privacy.errors import LogError
from privacy.gate import hashes_of
from privacy.keyring import Keyring
from privacy.log_policy import LogPolicy
from privacy.use_batch import UseProof, prove_use
from privacy.use_batch import receipt as receipt_of_use


class UpkeepStore(LogStore, Protocol):
    """A LogStore that is asked what was settled."""

    def setting(self, name: str) -> str | None:
        """Return a setting of the installation."""


class Upkeep:
    """The log of an installation, whether or not a service writes it meanwhile. It makes no key."""

    def __init__(self, config: Config, store: UpkeepStore) -> None:
        self.leaves = store.leaves()
        self.shards = shards_of(config, self.leaves, store.setting("log_origin") or "")
        self._files = self.shards.files(self.shards.all()[0])
        self._config = config
        self._store = store

    def policy(self) -> LogPolicy:
        """Return the log's own keys as a policy without witnesses. Raises KeyringError, LogError."""
        if not self.shards.log:
            raise LogError("there is no consent log yet: it begins when the service first starts")
        keys = Keyring.open(self._config.key_dir, CONSENT_KEYS, random=_no_chance)
        signing = tuple(signer.verifier for signer in log_signers(keys, self.shards.log))
        return LogPolicy(signing, {}, {}, retired=self._files.retired())

    def use_proof(self, token_id: str, nonce: str) -> UseProof:
        """Prove that a use was told of. Raises NotFound where it was not, or no checkpoint covers it yet."""
        keys = Keyring.open(self._config.key_dir, CONSENT_KEYS, random=_no_chance)
        wanted = receipt_of_use(*hashes_of(partial(keys.mac, "subject"), token_id, nonce))
        found = self._store.uses(self.leaves, _no_chance).find(wanted)
        if found is None:
            raise NotFound(
                "no use of this token under this nonce was told to the log, or it was too long ago"
            )
        seq, receipts = found
        proof = self.shards.receipt(seq)
        if proof is None:
            raise NotFound(f"entry {seq}: no published checkpoint covers it yet")
        leaf = self.leaves.read(seq, seq + 1)[0].decode()
        return prove_use(receipts, wanted, leaf, proof.encode().decode())

    def audit(self) -> Audit:
        """Recompute the log from all its entries."""
        return audit_log(self.shards, self.policy())

    def repair(self) -> list[str]:
        """Put the log right; return what was done. Raises LogRefused where the service runs, or no copy is sound."""
        try:
            with FileLock(self._files.folder / LOCK, blocking=False), _alone(self._store.writer_lock()):
                return repair(self.leaves, self.shards, self.policy())
        except Timeout:
            raise LogRefused("a service writes the log: stop it first") from None


@contextmanager
def _alone(lock: Alone | None) -> Iterator[None]:
    if lock is not None and not lock.take():
        raise LogRefused("a service on another machine writes the log: stop it first")
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _no_chance(count: int) -> bytes:
    raise LogError("a key of the log is missing, and none is made here: start the service, or put it back")
