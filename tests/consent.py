"""Consents for tests: an issuer, tokens good and bad, and in memory what stands behind the gate."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from engine.admission import Admission
from privacy import iab, jose
from privacy.consent import PURPOSES, Consent, Consented, Standing
from privacy.consent_token import Issuer, Status, Verifier
from privacy.gate import Checks, subject_of
from tests.world import NOW

T = TypeVar("T")

ISS = "https://ads.example"
SUB = "s" * 22
RECORD = "0b7e7dee-87b1-4a70-9d4f-3f6a5c1d2e3f"
ISSUER = Issuer(ISS, b"i" * 32)
STRANGER = Issuer(ISS, b"x" * 32)  # speaks in the same name with a key that nobody pinned


def mac(message: bytes) -> bytes:
    return hmac.digest(b"k" * 32, message, hashlib.sha256)


def nonce(number: int = 0) -> str:
    return f"{number:032x}"


def token(issuer: Issuer = ISSUER, at: datetime = NOW, **more: Any) -> str:
    said = {
        "publisher": "planet",
        "subject": SUB,
        "id": f"{more.pop('number', 0):032x}",
        "generation": 1,
        "purposes": PURPOSES,
        "notice": "0" * 64,
        "record": RECORD,
        "status": Status(7, f"{ISS}/v1/consents/status"),
    }
    return issuer.mint(at=at, **said | more)


def claims(text: str) -> dict[str, Any]:
    part = text.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def encoded(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: bytes | dict[str, Any], payload: bytes | dict[str, Any], issuer: Issuer = ISSUER) -> str:
    """Sign anything at all, as an issuer of our keys would that does not keep to the rules."""
    text = f"{encoded(header)}.{encoded(payload)}"
    return f"{text}.{encoded(issuer.key.private_key.sign(text.encode()))}"


def header(**more: Any) -> dict[str, Any]:
    return {"alg": "Ed25519", "typ": "consent+jwt", "kid": jose.jwk(ISSUER.key)["kid"]} | more


def under_consent(value: T) -> Consented[T]:
    """Give what the gate would, where it matters only that it did."""
    return Consented(value, Consent("planet", "0" * 64, PURPOSES, NOW + timedelta(hours=1), RECORD))


class MemoryStandings:
    """Satisfies Standings, and counts what it is asked."""

    def __init__(self, **standing: Any) -> None:
        given = {
            "generation": 1,
            "state": "ConsentGiven",
            "purposes": PURPOSES,
            "expires": NOW + timedelta(days=30),
            "record": RECORD,
        }
        self.of = {("planet", subject_of(mac, "planet", SUB)): Standing(**given | standing)}
        self.reads = 0
        self.uses: dict[str, set[str]] = {}

    def standing(self, publisher: str, subject: str) -> Standing | None:
        self.reads += 1
        return self.of.get((publisher, subject))

    def once(self, mark: str, until: datetime) -> bool:
        return self.use("", mark, mark, until, 1)

    def use(self, publisher: str, jti: str, nonce: str, expires: datetime, most: int) -> bool:
        seen = self.uses.setdefault(jti, set())
        if nonce in seen or len(seen) >= most:
            return False
        seen.add(nonce)
        return True


class MemoryValues:
    """Satisfies SharedValues: everybody shares what is not named as rare."""

    def __init__(self, *rare: str) -> None:
        self.rare = frozenset(rare)
        self.noted: Counter[tuple[str, str, str]] = Counter()
        self.persons: list[bytes | None] = []

    def shared(self, publisher: str, key: str, value: str) -> bool:
        return value not in self.rare

    def note(
        self, publisher: str, subject: str, pairs: Any, now: datetime, *, person: bytes | None, still: Any
    ) -> None:
        self.persons.append(person)
        self.noted.update((publisher, *pair) for pair in pairs)


def checks(standings: MemoryStandings, most_uses: int = 50) -> Checks:
    restrict = partial(iab.restrict, role="publisher", vendor_id=None)
    return Checks(Verifier(), standings, restrict, mac, most_uses)


def admission(
    standings: MemoryStandings | None = None,
    values: MemoryValues | None = None,
    *,
    now: datetime = NOW,
    most: int = 2,
    off: str | None = None,
    most_uses: int = 50,
) -> Admission:
    return Admission(
        checks(standings or MemoryStandings(), most_uses),
        ISSUER,
        values or MemoryValues(),
        now=lambda: now,
        most=most,
        off=lambda: off,
    )


def hmac_signed(payload: dict[str, Any]) -> str:
    """Sign with HS256 under the public key's bytes, the old confusion of algorithms."""
    x = jose.jwk(ISSUER.key)["x"]
    key = base64.urlsafe_b64decode(x + "=")
    text = f"{encoded(header(alg='HS256'))}.{encoded(payload)}"
    return f"{text}.{encoded(hmac.digest(key, text.encode(), hashlib.sha256))}"


def bad_tokens(at: datetime = NOW) -> dict[str, tuple[str, str]]:
    """Give tokens that are as good as none, by what is wrong: (token, reason of the denial)."""
    good = token(at=at)
    said = claims(good)
    payload = json.dumps(said)
    head, body, signature = good.split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    doubled = payload.replace('"gen": 1', '"gen": 2, "gen": 1').encode()
    assert doubled != payload.encode()
    found = {
        "forged": (f"{head}.{body}.{flipped}", "signature"),
        "of a foreign key": (token(STRANGER, at), "key"),
        "expired": (token(at=at - timedelta(seconds=3600)), "expired"),
        "from the future": (token(at=at + timedelta(seconds=31)), "early"),
        "alg none": (f"{encoded(header(alg='none'))}.{body}.", "malformed"),
        "alg none with a signature": (signed(header(alg="none"), said), "algorithm"),
        "alg EdDSA": (signed(header(alg="EdDSA"), said), "algorithm"),
        "alg HS256": (hmac_signed(said), "malformed"),
        "alg in small letters": (signed(header(alg="ed25519"), said), "algorithm"),
        "typ JWT": (signed(header(typ="JWT"), said), "header"),
        "typ missing": (signed({k: v for k, v in header().items() if k != "typ"}, said), "header"),
        "kid missing": (signed({k: v for k, v in header().items() if k != "kid"}, said), "header"),
        "kid of nobody": (signed(header(kid="k" * 43), said), "key"),
        "kid a number": (signed(header(kid=7), said), "key"),
        "crit": (signed(header(crit=["exp"]), said), "header"),
        "b64": (signed(header(b64=True, crit=["b64"]), said), "header"),
        "zip": (signed(header(zip="DEF"), said), "header"),
        "jku": (signed(header(jku="https://evil.example/jwks"), said), "header"),
        "x5u": (signed(header(x5u="https://evil.example/cert"), said), "header"),
        "jwk": (signed(header(jwk=jose.jwk(STRANGER.key)), said, STRANGER), "header"),
        "header twice": (
            signed(json.dumps(header()).replace('"alg"', '"alg": "none", "alg"', 1).encode(), said),
            "malformed",
        ),
        "oversized": (signed(header(), said | {"notice": "0" * 4000}), "oversized"),
        "a claim twice": (signed(header(), doubled), "malformed"),
        "a claim more": (signed(header(), said | {"email": "a"}), "claims"),
        "two parts": (f"{head}.{body}", "malformed"),
        "four parts": (f"{good}.x", "malformed"),
        "padded": (f"{head}.{body}.{signature}==", "malformed"),
        "blank at the end": (good + "\n", "malformed"),
        "no JSON": (signed(header(), b"consent"), "malformed"),
        "an array": (signed(header(), b"[1]"), "malformed"),
        "NaN": (signed(header(), payload.replace('"gen": 1', '"gen": NaN').encode()), "malformed"),
        "UTF-16": (signed(header(), payload.encode("utf-16")), "malformed"),
        "deep": (signed(header(), b"[" * 2000 + b"]" * 2000), "oversized"),
        "nested": (signed(header(), b'{"iss":' + b"[" * 1400), "malformed"),
        "wrong audience": (signed(header(), said | {"aud": "ctx:globe"}), "audience"),
        "audience a list": (signed(header(), said | {"aud": ["ctx:planet"]}), "claims"),
        "audience longer": (signed(header(), said | {"aud": "ctx:planet2"}), "audience"),
        "another issuer": (signed(header(), said | {"iss": "https://other.example"}), "issuer"),
        "issuer a number": (signed(header(), said | {"iss": 1}), "issuer"),
        "longer than an hour": (signed(header(), said | {"exp": said["iat"] + 3601}), "lifetime"),
        "over before it began": (signed(header(), said | {"exp": said["iat"]}), "lifetime"),
        "not before later": (signed(header(), said | {"nbf": said["iat"] + 31}), "early"),
        "no purpose": (signed(header(), said | {"pur": []}), "claims"),
        "an unknown purpose": (signed(header(), said | {"pur": ["ads.everything"]}), "claims"),
        "a purpose twice": (signed(header(), said | {"pur": ["measure.first_party"] * 2}), "claims"),
        "purposes a string": (signed(header(), said | {"pur": "measure.first_party"}), "claims"),
        "sub an address": (signed(header(), said | {"sub": "jane.doe.longer@mail.example"}), "claims"),
        "sub short": (signed(header(), said | {"sub": "s" * 21}), "claims"),
        "status a number": (signed(header(), said | {"status": 7}), "claims"),
        "status more": (
            signed(header(), said | {"status": {"status_list": {"idx": 1, "uri": ISS, "x": 1}}}),
            "claims",
        ),
    }
    for name in said:
        without = {key: value for key, value in said.items() if key != name}
        found[f"{name} missing"] = signed(header(), without), "issuer" if name == "iss" else "claims"
    for name in ("iat", "nbf", "exp", "gen"):
        for value in (True, float(said[name]), str(said[name]), None, -1, 2**60):
            found[f"{name} {value!r}"] = signed(header(), said | {name: value}), "claims"
    return found
