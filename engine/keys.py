"""API keys: made, shown once, rotated, revoked; verified without a database.

A key reads `tactful_<scope>_<key id>_<secret>`. The store holds the SHA-256 of the secret: with 256 random
bits in it, a slow hash would add nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal, Protocol, get_args

from engine.errors import CatalogError, NotFound

Scope = Literal["publisher", "advertiser", "compliance", "operator"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
TENANT_SCOPES: tuple[Scope, ...] = ("publisher", "advertiser")

_FORM = re.compile(r"tactful_(publisher|advertiser|compliance|operator)_([0-9a-f]{16})_([0-9a-f]{64})")
_NO_HASH = "0" * 64  # compared with where the key id is unknown, so that both take the same time


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as the key says. A tenant is a publisher's or an advertiser's id; others have none."""

    scope: Scope
    tenant: str | None
    key_id: str

    @property
    def name(self) -> str:
        """Return the name under which the journal keeps what was done."""
        return f"{self.scope}:{self.tenant or '-'}:{self.key_id}"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret."""

    id: str  # 16 hex digits
    scope: Scope
    tenant: str | None
    secret_hash: str  # 64 hex digits
    created: datetime
    expires: datetime | None = None  # from this moment on it is refused
    last_used_day: date | None = None


class KeyStore(Protocol):
    """Where keys are kept."""

    def keys(self) -> list[ApiKey]:
        """Return all keys, oldest first."""

    def put_keys(self, keys: Sequence[ApiKey], actor: str, now: datetime) -> None:
        """Add keys, or give those that exist another expiry; one step, noted in the journal."""

    def find(self, kind: Literal["publisher", "advertiser"], ids: Sequence[str]) -> Mapping[str, object]:
        """Return the tenants of these ids that exist."""


def create_key(
    store: KeyStore,
    scope: Scope,
    tenant: str | None,
    actor: str,
    now: datetime,
    random_bytes: Callable[[int], bytes],
) -> str:
    """Make a key and return it with its secret: the only time that it is seen.

    Raises CatalogError where the scope needs a tenant and it does not exist, or takes none.
    """
    if scope not in SCOPES:
        raise CatalogError("scope", repr(scope), f"one of {', '.join(SCOPES)}")
    if scope in TENANT_SCOPES:
        if tenant is None or not store.find(scope, [tenant]):  # type: ignore[arg-type]  # narrowed by TENANT_SCOPES
            raise CatalogError("tenant", repr(tenant), f"the id of an existing {scope}")
    elif tenant is not None:
        raise CatalogError("tenant", repr(tenant), f"none: scope {scope!r} has no tenant")
    key, text = _new(scope, tenant, now, random_bytes)
    store.put_keys([key], actor, now)
    return text


def rotate_key(
    store: KeyStore,
    key_id: str,
    grace: timedelta,
    actor: str,
    now: datetime,
    random_bytes: Callable[[int], bytes],
) -> str:
    """Make the successor of a key and return it; the old one stays valid for `grace`. Raises NotFound."""
    old = _find(store, key_id, now)
    end = now + grace
    if old.expires is not None and old.expires < end:
        end = old.expires
    key, text = _new(old.scope, old.tenant, now, random_bytes)
    store.put_keys([replace(old, expires=end), key], actor, now)
    return text


def revoke_key(store: KeyStore, key_id: str, actor: str, now: datetime) -> None:
    """End a key now. Raises NotFound."""
    store.put_keys([replace(_find(store, key_id, now), expires=now)], actor, now)


class KeyTable:
    """The keys as one worker holds them: verifying reads no database."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys = {key.id: key for key in keys}
        self._used: set[str] = set()
        self._lock = threading.Lock()

    def verify(self, text: str, now: datetime) -> Caller | None:
        """Return who holds this key; None where it is unknown, expired, revoked or malformed."""
        form = _FORM.fullmatch(text)
        if form is None:
            return None
        scope, key_id, secret = form.groups()
        key = self._keys.get(key_id)
        expected = _NO_HASH if key is None else key.secret_hash
        right = hmac.compare_digest(_hash(secret), expected)
        if key is None or not right or key.scope != scope or (key.expires and key.expires <= now):
            return None
        with self._lock:
            self._used.add(key_id)
        return Caller(key.scope, key.tenant, key.id)

    def take_used(self) -> set[str]:
        """Return the ids of keys that were used since the last call, for the store's `touch_keys`."""
        with self._lock:
            used, self._used = self._used, set()
        return used


def _new(
    scope: Scope, tenant: str | None, now: datetime, random_bytes: Callable[[int], bytes]
) -> tuple[ApiKey, str]:
    key_id, secret = random_bytes(8).hex(), random_bytes(32).hex()
    return ApiKey(key_id, scope, tenant, _hash(secret), now), f"tactful_{scope}_{key_id}_{secret}"


def _find(store: KeyStore, key_id: str, now: datetime) -> ApiKey:
    for key in store.keys():
        if key.id == key_id and (key.expires is None or key.expires > now):
            return key
    raise NotFound(f"key: got {key_id!r}, expected the id of a valid key")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
