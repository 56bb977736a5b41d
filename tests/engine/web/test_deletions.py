"""Deletion requests by the IAB's framework: proved by pinned keys, carried out, acknowledged with its codes."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import msgspec
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from engine.campaign import PartyKey, PartyKeys
from privacy import jose
from privacy.deletion import FORMAT, IDENTIFIER
from tests.engine.web.conftest import NOW, Service
from tests.engine.web.test_consents import RECORD, SUB, body

PATH = "/v1/deletions"
KEYS = {
    "planet.test": ECKey.generate_key("P-256", {"kid": "p"}),
    "vendor.test": RSAKey.generate_key(2048, {"kid": "v"}),
    "globe.test": OKPKey.generate_key("Ed25519", {"kid": "g"}),
}
ALGORITHMS = {"EC": "ES256", "RSA": "RS256", "OKP": "Ed25519"}
AT = int(NOW.timestamp())


def pinned(*domains: str, keys: dict[str, Any] = KEYS) -> dict[str, PartyKeys]:
    public = {domain: keys[domain].as_dict(private=False) for domain in domains}
    return {domain: PartyKeys((msgspec.convert(jwk, PartyKey),)) for domain, jwk in public.items()}


@pytest.fixture
def asked(service: Service) -> Service:
    """Give a service whose publishers pinned keys, and know the reader."""
    registered = service.services.registered
    registered["planet"] = msgspec.structs.replace(
        registered["planet"], deletion=pinned("planet.test", "vendor.test")
    )
    registered["globe"] = msgspec.structs.replace(registered["globe"], deletion=pinned("globe.test"))
    for publisher in ("planet", "globe"):
        assert service.call("POST", RECORD, key=publisher, body=body(publisher=publisher)).status_code == 201
    return service


def sub(value: str = SUB, **more: str) -> dict[str, str]:
    return {"identifierValue": value, "identifierType": IDENTIFIER, "identifierFormat": FORMAT} | more


def signed(issuer: str, key: Any = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
    key = key or KEYS[issuer]
    algorithm = ALGORITHMS[key.key_type]
    said = {"version": "1.0", "jti": "unique", "iss": issuer, "sub": sub(), "iat": AT} | claims
    said = {name: value for name, value in said.items() if value is not None}
    head = {"typ": "JWT", "alg": algorithm, "kid": key.kid} | (header or {})
    return jws.serialize_compact(head, json.dumps(said), key, algorithms=[algorithm])


def request(issuer: str = "planet.test", first: str | None = None, **claims: Any) -> str:
    return signed(issuer, **{"idJWT": first or signed("planet.test")} | claims)


def code_of(service: Service, token: str) -> int:
    answer = service.call("POST", PATH, body={"rqJWT": token})
    acknowledged = answer.json["acJWT"]
    resource = service.client.get("/dsrdelete.json").json
    key = OKPKey.import_key(resource["publicKey"][0])
    claims = json.loads(jws.deserialize_compact(acknowledged, key, algorithms=["Ed25519"]).payload)
    assert claims["rqJWT"] == token and claims["iss"] == "ads.example" and claims["iat"] == AT
    code = claims["raResultCode"]
    assert answer.status_code == (400 if code else 202)
    return code


def known(service: Service, publisher: str) -> bool:
    consents = service.services.consents
    return consents.store.find(publisher, consents.subject_of(publisher, SUB)) is not None


def test_the_resource_says_where_and_how(service: Service) -> None:
    assert service.client.get("/dsrdelete.json").json == {
        "endpoint": "https://ads.example/v1/deletions",
        "identifiers": [{"id": 1, "type": IDENTIFIER, "format": FORMAT}],
        "publicKey": [jose.jwk(jose.signing_key(b"i" * 32))],
        "vendorScriptRequirement": False,
    }


@pytest.mark.parametrize("issuer", ["planet.test", "vendor.test"])
def test_a_request_of_the_publisher_or_its_partner_is_carried_out(asked: Service, issuer: str) -> None:
    assert code_of(asked, request(issuer)) == 0
    assert not known(asked, "planet") and known(asked, "globe")


def test_the_log_is_told_of_both_jwts_by_hash_and_of_nothing_that_nobody_proved(asked: Service) -> None:
    leaves = asked.services.consents.log._leaves
    before = leaves.count()
    assert code_of(asked, "a.b.c") == 3
    assert leaves.count() == before
    token = request()
    answer = asked.call("POST", PATH, body={"rqJWT": token}).json["acJWT"]
    told = [json.loads(leaf) for leaf in leaves.read(before, before + 9)]
    assert [one["type"] for one in told] == ["subject.erase", "deletion.answer"]
    hashes = {
        name: hashlib.sha256(text.encode()).hexdigest()
        for name, text in (("request", token), ("answer", answer))
    }
    assert told[1]["data"] == hashes


def test_who_is_not_known_is_acknowledged_alike(asked: Service) -> None:
    nobody = sub("nobody-0123456789abcdef")
    assert code_of(asked, request(first=signed("planet.test", sub=nobody), sub=nobody)) == 0


def test_what_is_no_request_at_all_is_acknowledged_as_invalid(asked: Service) -> None:
    for sent in (b"", b"{", b'{"rqJWT":7}', b'{"rqjwt":"a.b.c"}'):
        answer = asked.client.post(PATH, data=sent, headers={"Content-Type": "application/json"})
        claims = json.loads(base64.urlsafe_b64decode(answer.json["acJWT"].split(".")[1] + "=="))
        assert answer.status_code == 400 and claims["raResultCode"] == 3


STRANGER = ECKey.generate_key("P-256", {"kid": "p"})
ALIAS = sub("alias-0123456789abcdefgh")


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("", 3),
        ("a.b", 3),
        ("a.b.c", 3),
        (request(header={"typ": "rights+jwt"}), 3),
        (request(idJWT=None), 1),
        (request(jti=None), 1),
        (request(iat="now"), 1),
        (request(iat=True), 1),
        (request(iss=7), 1),
        (request(sub=None), 1),
        (request(sub={"identifierValue": SUB}), 1),
        (request(version=None), 1),
        (request(key=STRANGER), 2),
        (request(first=signed("planet.test", key=STRANGER)), 2),
        (request("globe.test"), 2),  # not pinned by the publisher whose reader it is
        (request(first=signed("globe.test")), 2),
        (request("vendor.test", first=signed("vendor.test")), 2),  # a partner hands on, and asks for nobody
        (request(first=signed("vendor.test")), 2),
        (request()[:-8] + "AAAAAAAA", 2),
        (request(sub=sub(identifierType="email")), 4),
        (request(first=signed("planet.test", sub=sub(identifierType="idfa"))), 4),
        (request(sub=sub(identifierFormat="sha256")), 5),
        (request(sub=sub("anna@example.org")), 5),
        (request(sub=ALIAS), 5),
        (request(iat=AT + 3600), 6),
        (request(iat=AT - 2 * 86_400), 6),
        (request(first=signed("planet.test", iat=AT - 46 * 86_400)), 6),
    ],
)
def test_what_is_wrong_is_told_by_its_code_and_nothing_goes(asked: Service, token: str, code: int) -> None:
    assert code_of(asked, token) == code
    assert known(asked, "planet") and known(asked, "globe")


def test_a_publisher_that_pins_a_key_for_anothers_domain_erases_nothing_there(asked: Service) -> None:
    registered = asked.services.registered
    registered["globe"] = msgspec.structs.replace(
        registered["globe"],
        domains=("globe.planet.test",),
        deletion=pinned("planet.test", keys={"planet.test": STRANGER}),
    )
    forged = request(first=signed("planet.test", key=STRANGER), key=STRANGER)
    assert code_of(asked, forged) == 0  # it asks for its own reader
    assert known(asked, "planet") and not known(asked, "globe")


def test_a_key_is_held_to_its_own_algorithm(asked: Service) -> None:
    head = {"typ": "JWT", "alg": "none"}
    said = {"version": "1.0", "jti": "u", "iss": "planet.test", "sub": sub(), "iat": AT}

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    forged = f"{part(head)}.{part(said | {'idJWT': signed('planet.test')})}.AA"
    assert code_of(asked, forged) == 2


def test_a_party_is_pinned_by_public_keys_alone(service: Service) -> None:
    for key in (
        KEYS["planet.test"].as_dict(private=True),
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
        {"kty": "RSA", "n": "w" * 171, "e": "AQAB"},  # 1024 bits
    ):
        told = {"name": "P", "domains": ["www.planet.test"], "deletion": {"planet.test": {"keys": [key]}}}
        answer = service.call("PUT", "/v1/publishers/planet", key="planet", body=told)
        assert answer.status_code == 422 and "deletion" in answer.text
    public = {name: {"keys": [KEYS[name].as_dict(private=False)]} for name in ("planet.test", "vendor.test")}
    told["deletion"] = {"vendor.test": public["vendor.test"]}
    answer = service.call("PUT", "/v1/publishers/planet", key="planet", body=told)
    assert answer.status_code == 422 and "where readers ask" in answer.text
    told["deletion"] = public
    assert service.call("PUT", "/v1/publishers/planet", key="planet", body=told).status_code == 200
