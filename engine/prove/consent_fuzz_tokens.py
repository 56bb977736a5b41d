"""Mutants of consent tokens, read by us and by joserfc with the claims checks of its documentation.

A quarter is damaged letter by letter and a quarter says other things soundly: these are the plain ones. The others
are built to break a rule, most of them signed with the right key, as by an issuer that errs, so that what is wrong
with them is all that is wrong with them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey

from engine.prove.consent_fuzz import Answer, Mutant, Part, Reading, judge, score
from privacy import jose
from privacy.consent import PURPOSES
from privacy.consent_token import LEEWAY_S, LONGEST_LIFE_S, TYPE, Token, TokenError, Verifier, audience, pin

_NOW = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())  # nothing is asked of the clock
_ISSUER = "https://ads.example"
_PUBLISHER = "planet"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_FOREIGN = "+/=.~ %*\n\t\0é$,"
_ORDER = 2**252 + 27742317777372353535851937790883648493  # of the group that Ed25519 works in
_STRICT = "strict: "
_PLANTED_ON = 6000  # a planted fault has to show on so many mutants

_KEY = jose.signing_key(b"\1" * 32)
_OTHER = jose.signing_key(b"\2" * 32)
_KID = jose.jwk(_KEY)["kid"]
_PINS = pin({_ISSUER: [_KEY]})

Claims = dict[str, Any]
Damage = Callable[[Random], str]


def fuzz_tokens(seed: int, count: int) -> Part:
    """Try `count` mutants of tokens."""
    mutants = make_mutants(seed, count)
    # What a reader may take by RFC 7519 and this one must not, joserfc has no say in.
    answers = [Answer(False) if mutant.damage.startswith(_STRICT) else ask(mutant) for mutant in mutants]
    verifier = Verifier()  # one for all, so that what it remembers is tried too
    planted = score(mutants[:_PLANTED_ON], answers[:_PLANTED_ON], PLANTED)
    return judge("tokens", mutants, answers, lambda mutant: read(mutant, verifier), planted)


def ask(mutant: Mutant) -> Answer:
    """Return what joserfc says of a mutant."""
    try:
        token = jwt.decode(mutant.text, _KEYS, algorithms=[jose.ALGORITHM])
        _REGISTRY.validate(token.claims)
    except (JoseError, ValueError, TypeError, RecursionError):
        return Answer(False)
    return Answer(True, _plain(token.claims))


def read(mutant: Mutant, verifier: Verifier, now: int = _NOW) -> Reading:
    """Read a mutant as the gate does."""
    try:
        return Reading(_plain(_claims_of(verifier.verify(mutant.text, _PUBLISHER, _PINS, now))))
    except TokenError as error:
        return Reading(None, error.reason)


def make_mutants(seed: int, count: int) -> list[Mutant]:
    """Make mutants, as many of each group: damaged letters, sound, wrong for all, wrong for strict readers alone."""
    chance = Random(seed)  # noqa: S311 - repeatable
    found = []
    for _ in range(count):
        group = chance.choice(tuple(_DAMAGES))
        damage = chance.choice(sorted(_DAMAGES[group]))
        text = _DAMAGES[group][damage](chance)
        found.append(Mutant("token", text, f"{group}: {damage}", plain=group in {"letters", "sound"}))
    return found


# --- tokens and their damages ---


def _claims(chance: Random) -> Claims:
    issued = _NOW - chance.randrange(0, 1800)
    return {
        "iss": _ISSUER,
        "aud": audience(_PUBLISHER),
        "sub": _word(chance),
        "jti": _word(chance),
        "iat": issued,
        "nbf": issued,
        "exp": issued + chance.randrange(1801, 3601),
        "gen": chance.randrange(1, 2**31),
        "pur": chance.sample(sorted(PURPOSES), chance.randrange(1, len(PURPOSES) + 1)),
        "notice": f"{chance.getrandbits(256):064x}",
        "rec": _uuid(chance),
        "status": {"status_list": {"idx": chance.randrange(2**20), "uri": f"{_ISSUER}/v1/consents/status"}},
    }


def _word(chance: Random) -> str:
    return "".join(chance.choices(_LETTERS, k=chance.randrange(22, 65)))


def _uuid(chance: Random) -> str:
    text = f"{chance.getrandbits(128):032x}"
    variant = chance.choice("89ab")
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def _part(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _sign(payload: object, header: object = None, key: OKPKey = _KEY) -> str:
    head = {"alg": jose.ALGORITHM, "typ": TYPE, "kid": _KID} if header is None else header
    text = f"{_part(head)}.{_part(payload)}"
    return f"{text}.{_part(key.private_key.sign(text.encode()))}"  # type: ignore[union-attr]  # Ed25519's


def _good(chance: Random) -> str:
    return _sign(_claims(chance))


def _with(**changed: Callable[[Random, Claims], Any]) -> Damage:
    def damage(chance: Random) -> str:
        claims = _claims(chance)
        return _sign(claims | {name: change(chance, claims) for name, change in changed.items()})

    return damage


def _header(**more: Any) -> Damage:
    head = {"alg": jose.ALGORITHM, "typ": TYPE, "kid": _KID} | more
    return lambda chance: _sign(_claims(chance), {k: v for k, v in head.items() if v is not None})


def _without(chance: Random) -> str:
    claims = _claims(chance)
    del claims[chance.choice(("iss", "aud", "sub", "jti", "iat", "nbf", "exp"))]
    return _sign(claims)


def _over(chance: Random, most: int, far: int) -> int:
    """Give a number above `most`: half the time the next one."""
    return most + 1 if chance.random() < 0.5 else chance.randrange(most + 1, far)


def _expired(chance: Random) -> str:
    claims, ago = _claims(chance), chance.randrange(3600 + LEEWAY_S, 10**6)
    return _sign(claims | {name: claims[name] - ago for name in ("iat", "nbf", "exp")})


def _last_second(chance: Random) -> str:
    """Make a token in the first or the last second in which it is good."""
    claims = _claims(chance)
    edges = (
        {"exp": _NOW + 1},
        {"nbf": _NOW + LEEWAY_S},
        {"iat": _NOW + LEEWAY_S},
        {"exp": claims["iat"] + 3600},
    )
    return _sign(claims | chance.choice(edges))


def _letters(change: Callable[[Random, str, int], str]) -> Damage:
    def damage(chance: Random) -> str:
        text = _good(chance)
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            text = change(chance, text, chance.randrange(len(text)))
        return text

    return damage


def _parts(change: Callable[[Random, list[str]], list[str]]) -> Damage:
    return lambda chance: ".".join(change(chance, _good(chance).split(".")))


def _other_signature(chance: Random, parts: list[str]) -> list[str]:
    return [*parts[:2], _good(chance).split(".")[2]]


def _malleable(chance: Random, parts: list[str]) -> list[str]:
    # RFC 8032 5.1.7: s has to be below the order, else one signature is many.
    signature = base64.urlsafe_b64decode(parts[2] + "==")
    s = int.from_bytes(signature[32:], "little") + _ORDER
    return [*parts[:2], _part(signature[:32] + s.to_bytes(32, "little"))]


def _loose_end(chance: Random, parts: list[str]) -> list[str]:
    # 64 bytes end in a letter of 2 bits: the others say nothing, and must be zero.
    last = _LETTERS.index(parts[2][-1])
    return [*parts[:2], parts[2][:-1] + _LETTERS[last | chance.randrange(1, 16)]]


def _hmac(chance: Random) -> str:
    public = base64.urlsafe_b64decode(jose.jwk(_KEY)["x"] + "=")
    text = f"{_part({'alg': 'HS256', 'typ': TYPE, 'kid': _KID})}.{_part(_claims(chance))}"
    return f"{text}.{_part(hmac.digest(public, text.encode(), hashlib.sha256))}"


def _unsigned(chance: Random) -> str:
    return f"{_part({'alg': 'none', 'typ': TYPE, 'kid': _KID})}.{_part(_claims(chance))}."


def _spelt(chance: Random) -> str:
    """Write the same claims otherwise: order, blanks, escapes."""
    items = list(_claims(chance).items())
    chance.shuffle(items)
    text = json.dumps(dict(items), indent=chance.choice((None, 1, "\t")))
    if chance.random() < 0.5:
        text = text.replace("planet", "\\u0070lanet")
    return _sign(text.encode())


def _twice(chance: Random) -> str:
    claims = _claims(chance)
    name = chance.choice(sorted(claims))
    text = json.dumps(claims)
    return _sign(f'{{"{name}": {json.dumps(_claims(chance)[name])}, {text[1:]}'.encode())


_DAMAGES: Mapping[str, Mapping[str, Damage]] = {
    "letters": {
        "replaced": _letters(lambda chance, text, at: text[:at] + chance.choice(_LETTERS) + text[at + 1 :]),
        "foreign": _letters(lambda chance, text, at: text[:at] + chance.choice(_FOREIGN) + text[at:]),
        "deleted": _letters(lambda chance, text, at: text[:at] + text[at + 1 :]),
        "doubled": _letters(lambda chance, text, at: text[:at] + text[at : at + 1] + text[at:]),
        "swapped": _letters(lambda chance, text, at: text[:at] + text[at : at + 2][::-1] + text[at + 2 :]),
        "other case": _letters(lambda chance, text, at: text[:at] + text[at].swapcase() + text[at + 1 :]),
        "cut": _letters(lambda chance, text, at: text[: at + 1]),
        "padded": lambda chance: _good(chance) + chance.choice(("=", "==", "\n", " ", ".", "A")),
        "another's signature": _parts(_other_signature),
        "parts in another order": _parts(lambda chance, parts: chance.sample(parts, 3)),
        "a part less": _parts(lambda chance, parts: chance.sample(parts, 2)),
        "a part more": _parts(lambda chance, parts: [*parts, chance.choice(parts)]),
    },
    "sound": {"signed anew": _good, "spelt otherwise": _spelt, "at its first or last second": _last_second},
    "wrong": {
        "unsigned": _unsigned,
        "HS256 under the public key": _hmac,
        "EdDSA": _header(alg="EdDSA"),
        "ES256": _header(alg="ES256"),
        "alg a list": _header(alg=[jose.ALGORITHM]),
        "no alg": _header(alg=None),
        "kid of nobody": _header(kid="k" * 43),
        "crit": _header(crit=["exp"]),
        "b64 false": _header(b64=False, crit=["b64"]),
        "malleable signature": _parts(_malleable),
        "of another key": lambda chance: _sign(_claims(chance), key=_OTHER),
        "a claim less": _without,
        "for another": _with(
            aud=lambda chance, _: chance.choice(("ctx:globe", "ctx:planet2", "CTX:planet", "", 7))
        ),
        "for others": _with(aud=lambda chance, _: chance.choice(([], ["ctx:globe"], [7], {"ctx:planet": 1}))),
        "of another issuer": _with(
            iss=lambda chance, _: chance.choice((f"{_ISSUER}/", _ISSUER.upper(), "", 7))
        ),
        "expired": _expired,
        "from the future": _with(iat=lambda chance, _: _NOW + _over(chance, LEEWAY_S, 10**6)),
        "not before later": _with(nbf=lambda chance, _: _NOW + _over(chance, LEEWAY_S, 10**6)),
        "no time": _with(exp=lambda chance, _: chance.choice(("never", None, True, [], {}))),
        "no JSON": lambda chance: _sign(json.dumps(_claims(chance)).encode()[: chance.randrange(1, 200)]),
        "no object": lambda chance: _sign(chance.choice(([], 7, "consent", None, [_claims(chance)]))),
        "no sub": _with(sub=lambda chance, _: chance.choice((7, None, [], {}))),
    },
    # What RFC 7519 lets a reader do, and this one does not.
    "strict": {
        "loose end": _parts(_loose_end),
        "a claim more": _with(email=lambda chance, _: _word(chance)),
        "for several": _with(aud=lambda chance, _: [audience(_PUBLISHER), "ctx:globe"]),
        "a claim twice": _twice,
        "a jku": _header(jku="https://evil.example/jwks.json"),
        "a jwk": _header(jwk=jose.jwk(_OTHER)),
        "another typ": _header(typ="JWT"),
        "no typ": _header(typ=None),
        "longer than an hour": _with(
            exp=lambda chance, claims: claims["iat"] + _over(chance, LONGEST_LIFE_S, 10**6)
        ),
        "over within the leeway": _with(exp=lambda chance, _: _NOW + 1 - _over(chance, 0, LEEWAY_S)),
        "a time with a point": _with(exp=lambda chance, claims: claims["exp"] + 0.5),
        "an unknown purpose": _with(pur=lambda chance, claims: [*claims["pur"], "ads.everything"]),
        "no generation": _with(gen=lambda chance, _: chance.choice((0, -1, 1.5, "1", None))),
        "an address as sub": _with(sub=lambda chance, _: "jane.doe@mail.example"),
        "oversized": _with(notice=lambda chance, _: "0" * chance.randrange(3000, 9000)),
    },
}


# --- reading and asking ---

_KEYS = KeySet([OKPKey.import_key(jose.jwk(_KEY))])  # type: ignore[arg-type]  # a dict of strings is one
_REGISTRY = jwt.JWTClaimsRegistry(
    now=_NOW,
    leeway=LEEWAY_S,
    iss={"essential": True, "value": _ISSUER},
    aud={"essential": True, "value": audience(_PUBLISHER)},
    exp={"essential": True},
    iat={"essential": True},
    nbf={"essential": True},
    jti={"essential": True},
    sub={"essential": True},
)


def _claims_of(token: Token) -> Claims:
    return {
        "iss": token.issuer,
        "aud": audience(token.publisher),
        "sub": token.subject,
        "jti": token.id,
        "iat": token.issued,
        "nbf": token.not_before,
        "exp": token.expires,
        "gen": token.generation,
        "pur": list(token.purposes),
        "notice": token.notice,
        "rec": token.record,
        "status": {"status_list": {"idx": token.status.index, "uri": token.status.uri}},
    }


def _plain(claims: Claims) -> Claims:
    """Write claims so that equal ones are equal: the order of purposes says nothing."""
    purposes = claims.get("pur")
    if isinstance(purposes, list):
        return claims | {"pur": sorted(map(str, purposes))}
    return claims


# --- planted faults ---


def _forgiving(*reasons: str) -> Callable[[Mutant], Reading]:
    """Make a reader that does not check what these reasons are about, and reads the payload as it stands."""

    def forgiving(mutant: Mutant) -> Reading:
        reading = read(mutant, Verifier())
        return Reading(_loosely(mutant.text)) if reading.refused in reasons else reading

    return forgiving


def _generous(mutant: Mutant) -> Reading:
    """Take a token for a second after its end."""
    reading = read(mutant, Verifier())
    return read(mutant, Verifier(), _NOW - 1) if reading.refused == "expired" else reading


def _loosely(text: str) -> Any:
    """Read a payload as careless readers do: letters that are not base64 skipped, the last of two names taken."""
    body = (text.split(".") + [""])[1]
    kept = "".join(letter for letter in body if letter in _LETTERS)
    try:
        return _plain(json.loads(base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4))))
    except (ValueError, TypeError, AttributeError):
        return None


PLANTED: Mapping[str, Callable[[Mutant], Reading]] = {
    "signature not checked": _forgiving("signature"),
    "algorithm taken from the header": _forgiving("algorithm"),
    "form not checked": _forgiving("malformed"),
    "key not looked up": _forgiving("key"),
    "issuer not checked": _forgiving("issuer"),
    "audience not checked": _forgiving("audience"),
    "expiry not checked": _forgiving("expired"),
    "a second of grace": _generous,
    "lifetime not bounded": _forgiving("lifetime"),
    "start not checked": _forgiving("early"),
    "claims not checked": _forgiving("claims"),
    "critical headers passed over": _forgiving("header"),
}
