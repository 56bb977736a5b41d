"""Compact JWS (RFC 7515) under exactly one algorithm, Ed25519 (RFC 9864): signing, and the strictest reading.

The algorithm is ours and never the header's. Keys come from the caller; nothing that a token says is fetched.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NewType

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from privacy.errors import FieldError, PrivacyError

ALGORITHM = "Ed25519"
LONGEST = 4096  # characters of a token
KeyId = NewType("KeyId", str)  # RFC 7638 thumbprint of the public key, SHA-256

# Why a token is no proof of anything. "malformed": not three parts, not base64url, not one JSON object of keys
# that differ; "header": other fields than alg, typ and kid, or another type.
Flaw = Literal["oversized", "malformed", "header", "algorithm", "key", "signature"]

_HEADER = frozenset({"alg", "typ", "kid"})
_REGISTRY = jws.JWSRegistry(algorithms=[ALGORITHM])
_FORM = re.compile(r"[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{86}", re.ASCII)
_X = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class FlawError(PrivacyError):
    """A token that proves nothing, and why; never what it says."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw)
        self.flaw = flaw


def signing_key(seed: bytes) -> OKPKey:
    """Make the key of a seed of 32 bytes."""
    return OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(seed))


def jwk(key: OKPKey) -> dict[str, str]:
    """Give the public half as a JWK with its thumbprint as `kid`."""
    x = _encoded(key.public_key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    return {"kty": "OKP", "crv": ALGORITHM, "x": x, "alg": ALGORITHM, "use": "sig", "kid": thumbprint(x)}


def thumbprint(x: str) -> KeyId:
    """Give the RFC 7638 thumbprint of the public key `x`, base64url as in its JWK."""
    text = json.dumps({"crv": ALGORITHM, "kty": "OKP", "x": x}, separators=(",", ":"))
    return KeyId(_encoded(hashlib.sha256(text.encode("ascii")).digest()))


def public_key(x: str, field: str) -> OKPKey:
    """Read the public key `x` of a JWK. Raises FieldError under the name `field`."""
    try:
        if not _X.fullmatch(x):
            raise ValueError(x)
        return OKPKey.import_key({"kty": "OKP", "crv": ALGORITHM, "x": x})
    except (JoseError, ValueError):
        raise FieldError(field, "no public key", "32 bytes of an Ed25519 public key in base64url") from None


def sign(key: OKPKey, type_: str, claims: Mapping[str, Any]) -> str:
    """Sign claims as a compact JWS whose header holds alg, typ and kid, and nothing else."""
    header = {"alg": ALGORITHM, "typ": type_, "kid": jwk(key)["kid"]}
    payload = json.dumps(claims, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return jws.serialize_compact(header, payload, key, registry=_REGISTRY)


def read(token: str, type_: str, key_of: Callable[[KeyId], OKPKey | None]) -> dict[str, Any]:
    """Return the claims of a token of this type that a known key signed; no claim is looked at.

    Raises FlawError.
    """
    if len(token) > LONGEST:
        raise FlawError("oversized")
    if not _FORM.fullmatch(token):
        raise FlawError("malformed")
    head, body, _ = token.split(".")
    header = _object(head)
    if header.get("alg") != ALGORITHM:
        raise FlawError("algorithm")
    if header.keys() != _HEADER or header["typ"] != type_:
        raise FlawError("header")
    kid = header["kid"]
    key = key_of(KeyId(kid)) if isinstance(kid, str) else None
    if key is None:
        raise FlawError("key")
    try:
        jws.deserialize_compact(token, key, registry=_REGISTRY)
    except (JoseError, ValueError):
        raise FlawError("signature") from None
    return _object(body)


def _object(part: str) -> dict[str, Any]:
    """Read one part of a token: one JSON object in UTF-8, no key twice, no number that JSON does not have."""
    try:
        text = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("utf-8")
        value = JSON.decode(text)
    except (ValueError, RecursionError):
        raise FlawError("malformed") from None
    if not isinstance(value, dict):
        raise FlawError("malformed")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # RFC 7519 4 lets a reader take the last of two equal names; two readers then see two tokens.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(constant)


JSON = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_refuse)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
