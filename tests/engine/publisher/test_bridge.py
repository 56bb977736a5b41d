"""The publisher's bridge, the same in three languages: who may agree, what is minted, and that withdrawing ends it."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import OKPKey
from werkzeug.serving import make_server

from engine.prove.iab_write import ids, random_consent, tc_string
from engine.prove.string_fuzz import make_mutants
from engine.publisher import bridge as python_bridge
from engine.publisher.bridge import (
    Bridge,
    BridgeError,
    Kept,
    NoConsent,
    NotFirstParty,
    Notice,
    Reader,
    Signals,
)
from engine.store import SqliteStore
from privacy import jose
from privacy.consent import PURPOSES
from privacy.consent_token import Verifier, pin
from privacy.errors import FieldError
from privacy.gpp import decode
from privacy.iab import restrict
from privacy.iab_bits import StringError
from privacy.tcf import PublisherPurposes, Restriction
from tests.engine.publisher.us_sections import written
from tests.engine.web.conftest import NOW, FakeServices, Service, seed_catalogue
from tests.iab import VALID, text

HERE = Path(__file__).parent
BRIDGES = Path(python_bridge.__file__).with_name("bridges")
ISSUER = "https://www.planet.test"
SEED = b"\x07" * 32
VENDOR = 7
COMMANDS = {"node": ["node", str(HERE / "drive.mjs")], "php": ["php", str(HERE / "drive.php")]}
NOTICE = {
    "text_sha256": hashlib.sha256(b"May we?").hexdigest(),
    "language": "en",
    "version": "3",
}
READER = {"account": "account 1", "fetch_site": "same-origin"}
ALL = sorted(PURPOSES)
GIVEN = {
    "act": "grant",
    "reader": READER,
    "purposes": ALL,
    "notice": NOTICE,
    "expressed_by": "button",
    "signals": {"tcf": text("tcf", "accept_all"), "gdpr": 1},
    "days": 30,
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Service]]:
    """A service with real consents behind HTTP."""
    path = tmp_path_factory.mktemp("bridge") / "catalog.db"
    keys = seed_catalogue(path)
    service = Service(FakeServices(SqliteStore(path)), keys)
    server = make_server("127.0.0.1", 0, service.app, threaded=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", service
    server.shutdown()
    thread.join()
    server.server_close()
    service.services.close()


@pytest.fixture(params=["python", "node", "php"])
def language(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name in COMMANDS and shutil.which(COMMANDS[name][0]) is None:
        pytest.skip(f"{name} is not installed: apt-get install {'nodejs' if name == 'node' else 'php-cli'}")
    return name


class Driver:
    """Runs steps through the bridge of one language."""

    def __init__(self, language: str, served: tuple[str, Service], **changes: Any) -> None:
        self.language, self.url, self.service = language, *served
        self.bridge = {
            "service": self.url,
            "publisher": "planet",
            "api_key": self.service.keys["planet"],
            "issuer": ISSUER,
            "seed": SEED.hex(),
            "sites": [ISSUER],
            "now": NOW.timestamp(),
            **changes,
        }

    def __call__(self, *steps: dict[str, Any]) -> list[Any]:
        if self.language == "python":
            return drive(self.bridge, steps)
        job = json.dumps({"bridge": self.bridge, "steps": steps})
        done = subprocess.run(
            COMMANDS[self.language], input=job, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr + done.stdout
        results: list[Any] = json.loads(done.stdout)
        return results


def drive(given: dict[str, Any], steps: tuple[dict[str, Any], ...]) -> list[Any]:
    """Do in Python what drive.mjs and drive.php do."""
    made = {name: value for name, value in given.items() if name not in ("now", "seed")}
    bridge = Bridge(**made, seed=bytes.fromhex(given["seed"]), now=lambda: NOW)
    results: list[Any] = []
    kept: Kept | None = None
    for step in steps:
        try:
            reader, signals = Reader(**step.get("reader", {"account": None})), step.get("signals", {})
            match step["act"]:
                case "restrict":
                    results.append(limited(step["purposes"], signals))
                case "grant" | "renew":
                    kept = bridge.grant(
                        reader,
                        step["purposes"],
                        Notice(**step["notice"]),
                        step["expressed_by"],
                        Signals(**signals),
                        kept=kept if step["act"] == "renew" else None,
                        days=step["days"],
                    )
                    assert Kept.from_json(kept.json()) == kept
                    results.append(json.loads(kept.json()))
                case "refuse":
                    results.append(
                        bridge.refuse(step["purposes"], Notice(**step["notice"]), step["expressed_by"])
                    )
                case "token":
                    assert kept is not None
                    results.append(bridge.token(reader, kept, Signals(**signals), step["life_s"]))
                case _:
                    assert kept is not None
                    results.append(bridge.withdraw(kept))
        except (BridgeError, NotFirstParty, NoConsent, FieldError) as error:
            name = "BridgeError" if isinstance(error, FieldError) else type(error).__name__
            results.append({"error": name, "reason": getattr(error, "reason", None)})
    return results


def limited(purposes: list[Any], signals: dict[str, Any]) -> list[Any]:
    left, reason = restrict(
        frozenset(purposes),
        tcf=signals.get("tcf"),
        gpp=signals.get("gpp"),
        gpp_sid=signals.get("gpp_sid"),
        gdpr=signals.get("gdpr"),
        role=signals["role"],
        vendor_id=signals.get("vendor_id"),
        now=NOW,
    )
    return [sorted(left), reason]


def mint(**changes: Any) -> dict[str, Any]:
    return {"act": "token", "reader": READER, "signals": GIVEN["signals"], "life_s": 600, **changes}


def part(token: str, number: int) -> dict[str, Any]:
    segment = token.split(".")[number]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return said


def test_a_token_is_what_joserfc_and_the_service_verify(language: str, served: tuple[str, Service]) -> None:
    kept, token = Driver(language, served)(GIVEN, mint())
    key = jose.signing_key(SEED)
    assert jws.deserialize_compact(token, key, algorithms=["Ed25519"]).payload
    public = OKPKey.import_key(
        {name: value for name, value in jose.jwk(key).items() if name in ("kty", "crv", "x")}
    )
    assert part(token, 0) == {"alg": "Ed25519", "typ": "consent+jwt", "kid": public.thumbprint()}
    now = int(NOW.timestamp())
    claims = part(token, 1)
    assert len(claims.pop("jti")) == 32
    assert claims == {
        "iss": ISSUER,
        "aud": "ctx:planet",
        "sub": kept["sub"],
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "gen": kept["generation"],
        "pur": ALL,
        "notice": NOTICE["text_sha256"],
        "rec": kept["record_id"],
        "status": {"status_list": {"idx": kept["status_idx"], "uri": kept["status_uri"]}},
    }
    verified = Verifier().verify(token, "planet", pin({ISSUER: [key]}), now)
    assert verified.subject == kept["sub"]
    assert verified.purposes == PURPOSES


def test_a_consent_stands_with_the_service_until_it_is_withdrawn(
    language: str, served: tuple[str, Service]
) -> None:
    consents = served[1].services.consents
    assert consents is not None
    drive = Driver(language, served)
    kept = drive(GIVEN)[0]
    subject = consents.subject_of("planet", kept["sub"])
    standing = consents.store.standing("planet", subject)
    assert standing is not None
    assert (standing.state, standing.generation) == ("ConsentGiven", kept["generation"])
    assert set(kept) == set(Kept.__slots__)

    again = drive(GIVEN, {**GIVEN, "act": "renew"}, {"act": "withdraw"})
    assert again[0]["sub"] != kept["sub"]
    assert (again[1]["sub"], again[1]["generation"]) == (again[0]["sub"], again[0]["generation"])
    assert again[2] is None
    ended = consents.store.standing("planet", consents.subject_of("planet", again[0]["sub"]))
    assert ended is not None
    assert ended.state == "ConsentWithdrawn"
    assert ended.generation > again[1]["generation"]


def test_each_token_has_an_id_of_its_own(language: str, served: tuple[str, Service]) -> None:
    first, second = Driver(language, served)(GIVEN, mint(), mint())[1:]
    assert part(first, 1)["jti"] != part(second, 1)["jti"]


def test_a_token_holds_what_todays_string_leaves(language: str, served: tuple[str, Service]) -> None:
    some = {"tcf": text("tcf", "policy_4"), "gdpr": 1}  # no consent to the publisher is told apart
    none = {"tcf": text("tcf", "reject_all"), "gdpr": 1}
    objected = {"gpp": text("gpp", "usnat_sale"), "gpp_sid": [7]}
    bad = {"tcf": text("tcf", "accept_all")[:-3], "gdpr": 1}
    results = Driver(language, served)(
        GIVEN, mint(signals=some), *(mint(signals=signals) for signals in (none, objected, bad, {"gdpr": 1}))
    )
    assert results[2:] == [None] * 4
    assert results[1] is None  # the segment PublisherTC of that string is empty
    left = Driver(language, served)(GIVEN, mint(signals={"tcf": text("tcf", "core_disclosed")}))[1]
    assert part(left, 1)["pur"] == ["ads.device.first_party", "measure.first_party"]


def test_a_token_lives_no_longer_than_its_consent(language: str, served: tuple[str, Service]) -> None:
    day = 86_400
    late = Driver(language, served, now=NOW.timestamp() + 30 * day - 100)
    if language == "python":
        kept = Kept(**{**late(GIVEN)[0], "expires": "2026-11-23T12:01:40+00:00", "purposes": tuple(ALL)})
        made = {name: value for name, value in late.bridge.items() if name not in ("now", "seed")}
        bridge = Bridge(**made, seed=SEED, now=lambda: NOW)
        signals = Signals(**GIVEN["signals"])
        token = bridge.token(Reader(**READER), kept, signals)
        assert token is not None
        assert part(token, 1)["exp"] == part(token, 1)["iat"] + 100
        over = Kept(**{**json.loads(kept.json()), "expires": NOW.isoformat()})
        assert bridge.token(Reader(**READER), over, signals) is None
        return
    token = late({**GIVEN, "signals": {}}, mint(signals={}))[1]
    assert part(token, 1)["exp"] == part(token, 1)["iat"] + 100
    over = Driver(language, served, now=NOW.timestamp() + 30 * day)
    assert over({**GIVEN, "signals": {}}, mint(signals={}))[1] is None


def test_a_string_without_consent_grants_nothing(language: str, served: tuple[str, Service]) -> None:
    for signals, reason in (
        ({"tcf": text("tcf", "reject_all"), "gdpr": 1}, None),
        ({"gdpr": 1}, "tcf_empty"),
        ({"tcf": "${GDPR_CONSENT_755}"}, "tcf_macro"),
        ({"gpp": text("gpp", "usca_gpc")}, None),
    ):
        assert Driver(language, served)({**GIVEN, "signals": signals}) == [
            {"error": "NoConsent", "reason": reason}
        ]


def test_only_a_reader_who_is_signed_in_on_the_publishers_own_page_agrees(
    language: str, served: tuple[str, Service]
) -> None:
    refused = [
        {"account": None, "fetch_site": "same-origin"},
        {"account": "", "fetch_site": "same-origin"},
        {"account": "1"},
        {"account": "1", "origin": "https://elsewhere.test"},
        {"account": "1", "fetch_site": "cross-site"},
        {"account": "1", "fetch_site": "cross-site", "origin": ISSUER},
        {"account": "1", "fetch_site": "cross-site", "fetch_dest": "iframe"},
    ]
    taken = [
        {"account": "1", "origin": ISSUER},
        {"account": "1", "fetch_site": "same-site"},
        {"account": "1", "fetch_site": "cross-site", "fetch_dest": "document"},
    ]
    driver = Driver(language, served)
    results = driver(*({**GIVEN, "reader": reader} for reader in refused + taken))
    assert [result.get("error") for result in results] == ["NotFirstParty"] * len(refused) + [None] * len(
        taken
    )
    assert driver(GIVEN, *(mint(reader=reader) for reader in refused))[1:] == [
        {"error": "NotFirstParty", "reason": None}
    ] * len(refused)


def test_a_refusal_is_recorded_without_a_name(language: str, served: tuple[str, Service]) -> None:
    consents = served[1].services.consents
    assert consents is not None
    before = len(list(consents.store.subjects()))
    step = {"act": "refuse", "purposes": ALL, "notice": NOTICE, "expressed_by": "button"}
    assert Driver(language, served)(step) == [None]
    assert len(list(consents.store.subjects())) == before


def test_what_the_service_does_not_take_is_an_error(language: str, served: tuple[str, Service]) -> None:
    wrong = {"error": "BridgeError", "reason": None}
    assert Driver(language, served, api_key="no key")(GIVEN) == [wrong]
    assert Driver(language, served, service="http://127.0.0.1:9")(GIVEN) == [wrong]
    assert Driver(language, served)({**GIVEN, "purposes": ["ads.sell"]}) == [wrong]
    assert Driver(language, served)(GIVEN, mint(life_s=3601))[1] == wrong


def test_every_language_reads_strings_as_the_service_does(language: str, served: tuple[str, Service]) -> None:
    strings = [(vector["kind"], vector["text"]) for vector in VALID]
    strings += [(mutant.kind, mutant.text) for mutant in make_mutants(3, 1200, strings)]
    strings += [("tcf", string) for string in _edges()]
    # The small bridges know no Canadian section and refuse it, which takes away too.
    strings = [(kind, string) for kind, string in strings if kind == "tcf" or not _canadian(string)]
    steps = [
        {"act": "restrict", "purposes": ALL, "signals": {kind: string, "gdpr": gdpr, **role}}
        for at, (kind, string) in enumerate(strings)
        for role in ({"role": "publisher"}, {"role": "vendor", "vendor_id": VENDOR})
        for gdpr in (at % 2,)
    ]
    expected = [limited(step["purposes"], step["signals"]) for step in steps]
    found = Driver(language, served)(*steps)
    for step, (left, reason), (theirs, why) in zip(steps, expected, found, strict=True):
        assert (sorted(theirs), why is None) == (left, reason is None), step["signals"]
    assert sum(bool(left) for left, _ in expected) > 100


def _edges() -> Iterator[str]:
    """Write strings that a rule just takes or just refuses."""
    usual = replace(
        random_consent(random.Random(1), NOW),
        policy=5,
        purpose_consents=ids(*range(1, 12)),
        vendor_consents=ids(VENDOR),
        disclosed=ids(VENDOR),
        restrictions=(),
        publisher=None,
    )
    changes: list[dict[str, Any]] = [{"policy": policy} for policy in range(7)]
    changes += [{"policy": 4, "disclosed": None}, {"disclosed": None}, {"service_specific": False}]
    changes += [{"cmp": number} for number in range(3)]
    changes += [{name: two} for name in ("language", "country") for two in ("AZ", "[A", "A[")]
    for name in ("purpose_consents", "purpose_legitimate_interests"):
        changes += [{name: ids(4, number), "policy": policy} for number in (11, 12, 24) for policy in (5, 6)]
    changes += [{"special_features": ids(number)} for number in (2, 3, 12)]
    changes += [
        {"publisher": PublisherPurposes(ids(4, number), ids(), 0, ids(), ids())} for number in (11, 12)
    ]
    changes += [
        {"restrictions": (Restriction(purpose, kind, ids(VENDOR)),)}
        for purpose in (0, 4, 11, 12)
        for kind in range(4)
    ]
    changes += [{"restrictions": (Restriction(4, 1, ids(VENDOR)),) * 2}]
    for age in (timedelta(minutes=-6), timedelta(minutes=-4), timedelta(days=396), timedelta(days=398)):
        changes += [{"created": NOW - age, "updated": NOW - age}]
    changes += [{"created": NOW, "updated": NOW - timedelta(days=1)}]
    changes += [{"vendor_consents": ids(number), "disclosed": ids(VENDOR)} for number in (VENDOR - 1, 65535)]
    for change in changes:
        yield tc_string(replace(usual, **change))


def _canadian(string: str) -> bool:
    try:
        return 5 in decode(string).sections
    except StringError:
        return False


def test_the_sections_of_the_small_bridges_are_those_of_the_readers() -> None:
    assert (BRIDGES / "us_sections.json").read_text("utf-8") == written()


@pytest.mark.parametrize(
    "changes",
    [
        {"service": "http://ads.example"},
        {"service": "ftp://ads.example"},
        {"role": "vendor"},
        {"vendor_id": 7},
        {"role": "other"},
    ],
)
def test_a_bridge_that_cannot_work_is_not_built(changes: dict[str, Any]) -> None:
    given = {
        "service": "https://ads.example",
        "publisher": "planet",
        "api_key": "k",
        "issuer": ISSUER,
        "seed": SEED,
        "sites": [ISSUER],
    }
    Bridge(**given)
    with pytest.raises(BridgeError):
        Bridge(**{**given, **changes})
