"""The IAB Tech Lab's Data Deletion Request Framework 1.0, as its recipient: rqJWT in, signed acJWT out.

A publisher's idJWT says whose data are to go; the rqJWT around it says who asks, perhaps one who was asked
itself. Both are verified against keys that were pinned before: the framework would have them fetched from the
signers' domains, and what a request names is never fetched here.
https://github.com/InteractiveAdvertisingBureau/Data-Subject-Rights
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from privacy import jose
from privacy.consent_token import LEEWAY_S, OPAQUE
from privacy.errors import FieldError, PrivacyError

VERSION = "1.0"
IDENTIFIER = "tactful-sub"  # the one type of identifier: what a publisher calls its reader here
FORMAT = "plaintext"
LONGEST = 8_192  # characters of a request
REQUEST_LIFE_S = 86_400  # a request may be so old
ORIGIN_LIFE_S = 45 * 86_400  # and what it hands on: CCPA gives 45 days to answer a reader

Code = Literal[0, 1, 2, 3, 4, 5, 6]
RESULTS: Mapping[Code, str] = {
    0: "accepted",
    1: "malformed request: a claim is missing or of another form",
    2: "invalid signature, by a key that was not pinned, or of an idJWT that is not the first party's",
    3: "invalid JWT",
    4: "unsupported identifier type",
    5: "incorrect identifier format",
    6: "invalid timestamp: from the future, or too old",
}

Key = OKPKey | ECKey | RSAKey
# The algorithm follows from the pinned key, never from the header: RFC 8725 3.1. RS256 is what the framework's
# own examples use, ES256 what its largest adopter signs with.
_ALGORITHMS = {"OKP": "Ed25519", "EC": "ES256", "RSA": "RS256"}
_LEAST_RSA_BITS = 2048
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_SUBJECT = frozenset({"identifierValue", "identifierType", "identifierFormat"})


class Refused(PrivacyError):
    """A request that is not carried out, and the framework's code for why."""

    def __init__(self, code: Code) -> None:
        super().__init__(RESULTS[code])
        self.code = code


@dataclass(frozen=True, slots=True)
class Deletion:
    """A request that was proved: whose data are to go, by the first party that its reader asked."""

    first_party: str  # domain
    subject: str


def pinned_key(jwk: Mapping[str, Any], field: str) -> Key:
    """Read a public key of a party: Ed25519, P-256, or RSA of 2048 bits and more. Raises FieldError."""
    expected = "a public JWK: OKP Ed25519, EC P-256, or RSA of at least 2048 bits"
    try:
        match jwk.get("kty"), jwk.get("crv"):
            case "OKP", "Ed25519":
                key: Key = OKPKey.import_key(dict(jwk))
            case "EC", "P-256":
                key = ECKey.import_key(dict(jwk))
            case "RSA", None:
                if len(str(jwk["n"])) * 6 < _LEAST_RSA_BITS:
                    raise ValueError("too short")
                key = RSAKey.import_key(dict(jwk))
            case _:
                raise ValueError("another type")
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        raise FieldError(field, "no such key", expected) from None
    if key.is_private:
        raise FieldError(field, "a private key", expected)
    return key


def read_request(
    token: str,
    keys_of: Callable[[str], Sequence[Key]],
    now: datetime,
    is_first_party: Callable[[str], bool],
) -> Deletion:
    """Return what an rqJWT asks for, once it and the idJWT in it are proved. Raises Refused.

    `keys_of` gives the keys that are pinned for a domain; `is_first_party` says whether readers ask at it. Whoever
    else is pinned hands on what they asked there, and asks for nobody.
    """
    seconds = int(now.timestamp())
    asked = _read(token, keys_of)
    origin = _text(asked, "idJWT")
    _check(asked, seconds, REQUEST_LIFE_S)
    first = _read(origin, lambda domain: keys_of(domain) if is_first_party(domain) else ())
    _check(first, seconds, ORIGIN_LIFE_S)
    subject = _subject(asked)
    # Whoever hands a request on may name the reader by an alias of its own; ours is the first party's, the same
    # in both, so that nobody in between exchanges one reader for another.
    if _subject(first) != subject:
        raise Refused(5)
    return Deletion(_text(first, "iss"), subject)


def acknowledge(request: str, code: Code, *, issuer: str, seed: bytes, id: str, at: datetime) -> str:
    """Sign the acJWT to a request."""
    claims = {
        "version": VERSION,
        "rqJWT": request,
        "jti": id,
        "iss": issuer,
        "iat": int(at.timestamp()),
        "raResultCode": code,
        "raResultString": RESULTS[code],
    }
    return jose.sign(jose.signing_key(seed), "JWT", claims)


def _read(token: str, keys_of: Callable[[str], Sequence[Key]]) -> dict[str, Any]:
    """Return the claims of a JWT that a pinned key of its issuer signed. Raises Refused."""
    if len(token) > LONGEST or not _FORM.fullmatch(token):
        raise Refused(3)
    head, body, _ = token.split(".")
    header, claims = _object(head), _object(body)
    if "crit" in header or header.get("typ", "JWT") != "JWT":
        raise Refused(3)
    keys = keys_of(_text(claims, "iss"))
    kid, algorithm = header.get("kid"), header.get("alg")
    for key in keys:
        if algorithm != _ALGORITHMS[key.key_type]:
            continue
        if isinstance(kid, str) and key.kid is not None and key.kid != kid:
            continue
        try:
            jws.deserialize_compact(token, key, algorithms=[algorithm])
            return claims
        except (JoseError, ValueError):
            continue
    raise Refused(2)


def _check(claims: Mapping[str, Any], now: int, life_s: int) -> None:
    """Check what every JWT of the framework has. Raises Refused."""
    for name in ("version", "jti"):
        _text(claims, name)
    issued = claims.get("iat")
    if type(issued) is not int:
        raise Refused(1)
    if not now - life_s <= issued <= now + LEEWAY_S:
        raise Refused(6)


def _subject(claims: Mapping[str, Any]) -> str:
    sub = claims.get("sub")
    # The framework's tables call it a string, its examples show an object: some write the object as a string.
    if isinstance(sub, str):
        try:
            sub = json.loads(sub)
        except (ValueError, RecursionError):
            raise Refused(1) from None
    if not isinstance(sub, dict) or not sub.keys() >= _SUBJECT:
        raise Refused(1)
    if sub["identifierType"] != IDENTIFIER:
        raise Refused(4)
    value = sub["identifierValue"]
    if sub["identifierFormat"] != FORMAT or not isinstance(value, str) or not OPAQUE.fullmatch(value):
        raise Refused(5)
    return value


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(1)
    return value


def _object(part: str) -> dict[str, Any]:
    try:
        value = jose.JSON.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("utf-8"))
    except (ValueError, RecursionError):
        raise Refused(3) from None
    if not isinstance(value, dict):
        raise Refused(3)
    return value
