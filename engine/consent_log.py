"""The consent log of an installation, put together: leaves in the store, files beside it, keys, and the one writer."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import quote

from engine.campaign import Publisher
from engine.config import CONSENT_KEYS, CONSENT_SETTINGS, Config
from engine.errors import ConfigError, EngineError
from engine.log_client import Witnesses
from engine.log_files import LogFiles
from engine.log_record import LoggedKey, record_state
from engine.log_shards import RepairStore, Shards, ShardStore
from engine.log_turn import TurnStore, turn
from engine.log_writer import Alone, Closing, LogWriter
from privacy.checkpoint import Signer
from privacy.consent_log import LeafStore
from privacy.errors import KeyringError, LogError, PrivacyError
from privacy.keyring import Keyring
from privacy.log_policy import LogPolicy, read_policy
from privacy.rejudge import POLICY

log = logging.getLogger(__name__)

LOG_FOLDER = "log"  # in the data folder, and the path below which the service answers for the log


class Leaves(TurnStore, RepairStore, Closing, Protocol):
    """The leaves, with all that a log of either profile needs of them."""


class Uses(Protocol):
    """Receipts of consented uses, and the batches in which the log was told of them."""

    def batch(self, now: datetime) -> int | None:
        """Tell of the uses that wait, once an hour; return the index of the leaf, None where nothing is due."""

    def close(self) -> None:
        """Close what stands beside the store."""

    def find(self, receipt: bytes) -> tuple[int, list[bytes]] | None:
        """Return (index of the leaf, receipts of the batch) of the batch that has this receipt."""


class LogStore(Protocol):
    """The store that keeps the log's leaves beside what they tell of."""

    def settle(self, name: str, value: str) -> str:
        """Give a setting its value for good; return the value that stands."""

    def writing(self) -> AbstractContextManager[Any]:
        """Hold a write transaction."""

    def leaves(self, random: Callable[[int], bytes] | None = None) -> Leaves:
        """Return the leaves; with `random`, of a log that everybody may read."""

    def uses(self, leaves: LeafStore, random_bytes: Callable[[int], bytes]) -> Uses:
        """Return the receipts of uses."""

    def writer_lock(self) -> Alone | None:
        """Return the right to write the log; None where a lock file beside it is enough."""


class ConsentLog:
    """What a process has of the log. Leaves can be appended also where keys are missing and nothing is signed."""

    def __init__(
        self,
        config: Config,
        store: LogStore,
        keys: Keyring | None,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        missing: str | None = None,
        more_keys: Callable[[], Sequence[LoggedKey]] = lambda: (),
    ) -> None:
        """Take `missing`, which says why there are no keys, and `more_keys`, which others' keys verify consent."""
        self.public = config.log_profile == "public"
        self.leaves = store.leaves(random_bytes if self.public else None)
        self.uses = store.uses(self.leaves, random_bytes)
        log_name = origin_of(config) if keys is None else store.settle("log_origin", origin_of(config))
        self.shards = shards_of(config, self.leaves, log_name)
        self.writer: LogWriter | None = None
        self._missing = missing
        self._config = config
        self._store = store
        self._now = now
        self._more_keys = more_keys
        self._told: Sequence[LoggedKey] = ()
        if keys is not None:
            witnesses = read_witnesses(config)
            self._keys = keys
            self.writer = LogWriter(
                self.shards,
                partial(log_signers, keys),
                now=now,
                monotonic=monotonic,
                alone=store.writer_lock(),
                closing=self.leaves if self.public else None,
                opened=self._begin,
                witnessing=Witnesses(witnesses) if witnesses else None,
            )

    @property
    def files(self) -> LogFiles:
        """Return the files of the newest shard."""
        return self.shards.files(self.shards.newest())

    def fault(self) -> str | None:
        """Return why the log is not signed, None where it is."""
        return self._missing if self.writer is None else self.writer.fault

    def step(self) -> None:
        """Publish what is due, if this process writes the log; where disk or store are away, the next step does."""
        if self.writer is None:
            return
        try:
            if self.writer.open():
                self._turn()
            self.writer.step()
            if self.writer.is_open:
                self.uses.batch(self._now())
                if self._more_keys() != self._told:
                    self.record()
        except (EngineError, PrivacyError, OSError) as error:
            self.writer.fault = f"the consent log is not signed: {error}"
            log.error("consent log: %s", self.writer.fault)

    def proof(self, index: int) -> str | None:
        """Return the .tlog-proof of a leaf by the checkpoint that is published, None where that does not cover it."""
        found = self.shards.receipt(index)
        return None if found is None else found.encode().decode()

    def record(self) -> None:
        """Tell the log of keys, settings and policy that it does not know."""
        more = self._more_keys()
        told = (*self._own_keys(self.shards.newest().origin), *more)
        settings = consent_settings(self._config)
        record_state(self._store, self.leaves, told, settings, POLICY, self._now())
        self._told = more

    def _begin(self) -> None:
        self._turn()
        self.record()

    def _turn(self) -> None:
        """Begin a new shard, if the year of the newest one is over."""
        if self.writer is None:
            return
        more = self._more_keys()

        def stands(origin: str) -> tuple[Sequence[LoggedKey], Mapping[str, str], Mapping[str, Any]]:
            return (*self._own_keys(origin), *more), consent_settings(self._config), POLICY

        if turn(self._store, self.leaves, self.writer, stands, self._now()):
            self._told = more

    def _own_keys(self, origin: str) -> tuple[LoggedKey, ...]:
        signers = log_signers(self._keys, origin)
        return (
            *(LoggedKey.of_log(signer.verifier) for signer in signers),
            issuer_key(self._keys.key("issuer")),
        )

    def close(self) -> None:
        """Let another process write."""
        if self.writer is not None:
            self.writer.close()
        self.uses.close()


def shards_of(config: Config, leaves: ShardStore, log_name: str) -> Shards:
    """Return the shards of an installation's log, which has this name."""
    return Shards(leaves, config.data_dir / LOG_FOLDER, config.key_dir, log_name)


def open_consent_keys(
    config: Config, random_bytes: Callable[[int], bytes]
) -> tuple[Keyring | None, str | None]:
    """Return the keys of consent; none where one is missing or damaged, and why: pages are served without."""
    try:
        return Keyring.open(config.key_dir, CONSENT_KEYS, random=random_bytes), None
    except KeyringError as error:
        return None, str(error)


def log_signers(keys: Keyring, origin: str) -> tuple[Signer, ...]:
    """Return the two keys that sign the log."""
    return signers_of(keys.key("log"), keys.key("log-cosign"), origin)


def signers_of(seed: bytes, cosigning: bytes, origin: str) -> tuple[Signer, ...]:
    """Return the two keys that sign a log, from their secrets."""
    return Signer.ed25519(origin, seed), Signer.ml_dsa_44(origin, cosigning)


def origin_of(config: Config) -> str:
    """Return the name of a new log: its URL without the scheme."""
    return quote(f"{config.base_url.partition('://')[2]}/{LOG_FOLDER}", safe="/:[]@%")


def issuer_key(seed: bytes) -> LoggedKey:
    """Describe the key by which the service signs its own consent tokens, as the JWK that verifies them."""
    public = Signer.ed25519("issuer", seed).verifier.public
    return _jwk_key(public, {})


def publishers_keys(publishers: Iterable[Publisher]) -> tuple[LoggedKey, ...]:
    """Describe the keys that publishers accept of others who issue consent tokens, and for whom each speaks."""
    speaks: dict[bytes, dict[str, list[str]]] = {}
    for publisher in publishers:
        for issuer, jwks in publisher.issuers.items():
            for jwk in jwks.keys:
                public = base64.urlsafe_b64decode(jwk.x + "=")
                speaks.setdefault(public, {}).setdefault(publisher.id, []).append(issuer)
    return tuple(_jwk_key(public, {"publishers": told}) for public, told in sorted(speaks.items()))


def _jwk_key(public: bytes, says: Mapping[str, Any]) -> LoggedKey:
    x = base64.urlsafe_b64encode(public).decode().rstrip("=")
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": x}
    return LoggedKey(sha256(public).digest(), {"use": "issuer", "jwk": jwk, **says})


def read_witnesses(config: Config) -> LogPolicy | None:
    """Read the policy file that names the witnesses, None where none is configured. Raises ConfigError."""
    if config.log_witnesses is None:
        return None
    try:
        return read_policy(config.log_witnesses.read_text("utf-8"))
    except (OSError, ValueError, LogError) as error:
        raise ConfigError(f"TACTFUL_LOG_WITNESSES names {config.log_witnesses}: {error}") from error


def consent_settings(config: Config) -> dict[str, str]:
    """Return the settings that decide what consent allows, as text."""
    return {name: str(getattr(config, name)) for name in CONSENT_SETTINGS}
