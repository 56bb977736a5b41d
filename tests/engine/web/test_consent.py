"""A reader's consent at the decision: what it changes, and that without a good one not a byte changes."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from contexts.first_party import FirstParty
from engine.campaign import Condition, Jwk, Jwks, Rule, Targeting
from engine.config import Config
from engine.keys import create_key
from engine.status_list import StatusList
from engine.web import create_app
from privacy import jose
from privacy.consent_token import Issuer, is_revoked, pin, read_status_list
from privacy.gate import DENIALS
from tests import world
from tests.consent import (
    ISS,
    ISSUER,
    RECORD,
    MemoryStandings,
    MemoryValues,
    admission,
    bad_tokens,
    nonce,
    token,
)
from tests.engine.web.conftest import DECIDE, FakeServices, errors
from tests.world import NOW, Site, World, campaign, creative

ARTICLE = "Gravel bikes and wide tyres for a long cycling tour through the rain."
COHORT = {"cohorts": ["priced"]}
WITH = {"all-1", "priced-1"}
BAD = bad_tokens()


class Shop:
    """A service whose catalogue has something for readers who let the publisher say of them what they did."""

    def __init__(self, folder: Path, *, issuers: Any = None, **admitting: Any) -> None:
        vocabulary = FirstParty(cohorts=("priced", "read", "unread"), loyalty_tiers=("gold",))
        folder.mkdir(exist_ok=True)
        self.world = World(folder)
        self.world.put(
            world.publisher(first_party=vocabulary, issuers=issuers or {}),
            world.advertiser(),
            campaign("all", frequency_cap=3),
            creative("all-1", "all"),
        )
        for dimension, value in (
            ("cohorts", "priced"),
            ("cohorts", "read"),
            ("journey_stages", "decision"),
            ("loyalty_tiers", "gold"),
        ):
            rule = Targeting(**{dimension: Rule(include=(value,))})
            # Its copy must not name the group: then it would never run beside the signal.
            self.world.put(campaign(value, targeting=rule), creative(f"{value}-1", value, headline="Coats"))
        self.site = Site(self.world)
        self.standings = admitting.pop("standings", None) or MemoryStandings()
        self.values = admitting.pop("values", None) or MemoryValues()
        self.services = FakeServices(self.world.store)
        self.services.engine = self.site.engine  # type: ignore[assignment]
        self.services.registered = dict(self.world.view.snapshot.publishers)
        self.services.admission = admission(self.standings, self.values, **admitting)
        self.services.status_list = StatusList(ISSUER, f"{ISS}/s", lambda: (8, [5]), lambda: NOW)
        key = create_key(self.world.store, "operator", None, "test", NOW, bytes)
        self._key = {"Authorization": f"Bearer {key}"}
        self.client = Client(create_app(Config(), self.services))
        self._nonces = 0

    def ask(self, text: str | None = None, *, gpc: bool = False, page: Any = None, **more: Any) -> Any:
        """Ask under a token, each time with a new nonce unless one is given."""
        self._nonces += 1
        consent = {
            "token": text,
            "nonce": nonce(self._nonces),
            **{name: more.pop(name) for name in ("nonce", "tcf", "gpp", "gpp_sid") if name in more},
        }
        body = {
            "publisher": "planet",
            "placements": [{"id": "top", "count": 9}],
            "page": page or {"text": ARTICLE},
            "explain": True,
            **({"consent": consent} if text is not None else {}),
            **more,
        }
        return self.client.post(DECIDE, json=body, headers={"Sec-GPC": "1"} if gpc else {})

    def shown(self, *args: Any, **more: Any) -> set[str]:
        answer = self.ask(*args, **more)
        assert answer.status_code == 200, answer.text
        return {filled["creative"]["id"] for filled in answer.json["decisions"]}

    def used(self, *args: Any, **more: Any) -> list[str]:
        return self.ask(*args, **more).json["privacy"]["signals_used"]

    def denials(self) -> dict[str, int]:
        """Return the counters of denials that are not zero."""
        text = self.client.get("/metrics", headers=self._key).text
        found = re.findall(r'^consent_denied_total\{reason="([a-z0-9_]+)"\} ([0-9.]+)$', text, re.MULTILINE)
        return {reason: int(float(count)) for reason, count in found}

    def kept(self) -> Any:
        return dict(self.standings.uses), dict(self.values.noted)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.mark.parametrize(
    ("rule", "signals", "used"),
    [
        (
            Condition(any=(Condition(cohorts=("unread",)), Condition(devices=("tv",)))),
            "cohorts",
            "cohort:unread",
        ),
        (
            Condition(none=(Condition(journey_stages=("awareness",)),)),
            "journey_stage",
            "journey_stage:awareness",
        ),
        (Condition(loyalty_tiers=("silver",)), "loyalty_tier", "loyalty_tier:silver"),
    ],
)
def test_a_signal_that_a_nested_rule_alone_names_acts(
    shop: Shop, rule: Condition, signals: str, used: str
) -> None:
    value = used.partition(":")[2]
    vocabulary = FirstParty(cohorts=("unread",), loyalty_tiers=("silver",))
    shop.world.put(
        world.publisher(first_party=vocabulary), campaign("nested", targeting=Targeting(rule=rule))
    )
    shop.world.put(creative("nested-1", "nested", headline="Coats"))
    shop.world.catalog.refresh()
    excludes = bool(rule.none)
    assert ("nested-1" in shop.shown()) is excludes
    answer = shop.ask(token(), signals={signals: [value] if signals == "cohorts" else value})
    shown = {filled["creative"]["id"] for filled in answer.json["decisions"]}
    assert ("nested-1" in shown) is not excludes
    assert answer.json["privacy"]["signals_used"] == [used]


def test_a_signal_acts_under_a_good_token_and_the_answer_says_so(shop: Shop) -> None:
    assert shop.shown() == {"all-1"}
    answer = shop.ask(token(), signals=COHORT)
    assert {filled["creative"]["id"] for filled in answer.json["decisions"]} == WITH
    assert answer.json["privacy"] == {
        "basis": "consent",
        "gpc": None,
        "signals_used": ["cohort:priced"],
        "receipt": RECORD,
    }
    assert shop.shown() == {"all-1"}  # nothing of it stayed behind in a cache
    assert shop.denials() == {}


@pytest.fixture(scope="module")
def one_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_leaves_the_bytes_of_no_token_and_a_count(
    name: str, one_shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    text, reason = BAD[name]
    one_shop.ask()
    without, kept, counted = one_shop.ask(), one_shop.kept(), one_shop.denials()
    logged = len(caplog.records)
    for signals in (COHORT, {"no": ["such", "signal"]}, "jane@mail.example", None):
        answer = one_shop.ask(text, signals=signals)
        assert (answer.status, answer.data) == (without.status, without.data)
        assert list(answer.headers) == list(without.headers)
    assert one_shop.kept() == kept
    assert len(caplog.records) == logged
    assert one_shop.denials() == counted | {reason: counted.get(reason, 0) + 4}
    assert reason in DENIALS


OBJECTIONS: list[tuple[str, dict[str, Any]]] = [
    ("gpc", {"gpc": True}),
    ("coppa", {"regs": {"coppa": 1}}),
    ("minor", {"regs": {"minor": True}}),
    ("nonce", {"nonce": "short"}),
    ("nonce", {"nonce": None}),
    ("nonce", {"nonce": "jane.doe.jane.doe@mail.example"}),
    ("tcf_empty", {"regs": {"gdpr": 1}}),
    ("tcf_empty", {"regs": {"gdpr": 1}, "tcf": "${GDPR_CONSENT_52}"}),
    ("page", {"page": {"url": "https://www.planet.example/unheard-of"}}),
]


@pytest.mark.parametrize(("reason", "said"), OBJECTIONS)
def test_an_objection_leaves_the_bytes_of_no_token(reason: str, said: dict[str, Any], one_shop: Shop) -> None:
    plain = {name: value for name, value in said.items() if name not in ("nonce", "tcf")}
    without, kept, counted = one_shop.ask(**plain), one_shop.kept(), one_shop.denials()
    reads = one_shop.standings.reads
    for signals in (COHORT, {"no": "such signal"}):
        assert one_shop.ask(token(), signals=signals, **said).data == without.data
    assert one_shop.kept() == kept
    told = set(one_shop.denials()) - set(counted) or {
        name for name, count in one_shop.denials().items() if count != counted.get(name)
    }
    assert len(told) == 1
    assert reason.partition("_")[0] == told.pop().partition("_")[0]
    if not reason.startswith("tcf"):
        assert one_shop.standings.reads == reads


def test_on_a_page_about_an_article_9_topic_signals_change_nothing(shop: Shop) -> None:
    page = {"title": "Chemotherapy", "text": ARTICLE, "categories": ["286"]}  # Medical Health
    without = shop.ask(page=page)
    assert shop.ask(token(), page=page, signals=COHORT).data == without.data
    assert shop.ask(token(), page=page, signals={"cohorts": "jane@mail.example"}).data == without.data
    assert (shop.denials(), shop.standings.reads, shop.standings.uses) == ({"special": 2}, 0, {})


@pytest.mark.parametrize(
    ("reason", "standing"),
    [
        ("withdrawn", {"generation": 2}),
        ("withdrawn", {"record": "11111111-2222-4333-8444-555555555555"}),
        ("lapsed", {"state": "ConsentWithdrawn"}),
        ("lapsed", {"state": "ConsentRefused"}),
        ("lapsed", {"expires": NOW}),
        ("purposes", {"purposes": frozenset()}),
    ],
)
def test_a_consent_that_does_not_stand_does_not_act(
    tmp_path: Path, reason: str, standing: dict[str, Any]
) -> None:
    shop = Shop(tmp_path, standings=MemoryStandings(**standing))
    assert shop.ask(token(), signals=COHORT).data == shop.ask().data
    assert (shop.denials(), shop.kept()) == ({reason: 1}, ({}, {}))


def test_a_subject_who_never_agreed_has_no_consent(shop: Shop) -> None:
    assert shop.shown(token(subject="t" * 22), signals=COHORT) == {"all-1"}
    assert shop.denials() == {"unknown": 1}


def test_a_withdrawal_acts_at_the_next_request(shop: Shop) -> None:
    text = token()
    assert shop.shown(text, signals=COHORT) == WITH
    shop.standings.of.clear()
    assert shop.shown(text, signals=COHORT) == {"all-1"}


def test_a_replayed_nonce_is_as_no_token_even_with_wrong_signals(shop: Shop) -> None:
    text = token()
    assert shop.shown(text, signals=COHORT, nonce=nonce(7)) == WITH
    without, kept = shop.ask(), shop.kept()
    for signals in (COHORT, {"cohorts": ["read"]}, {"no": "such signal"}):
        assert shop.ask(text, signals=signals, nonce=nonce(7)).data == without.data
    assert (shop.kept(), shop.denials()) == (kept, {"replayed": 3})


def test_a_token_is_good_for_so_many_requests(tmp_path: Path) -> None:
    shop, text = Shop(tmp_path, most_uses=3), token()
    shown = [shop.shown(text, signals=COHORT) for _ in range(5)]
    assert shown == [WITH] * 3 + [{"all-1"}] * 2


def test_signals_without_a_token_are_never_parsed(shop: Shop) -> None:
    without = shop.ask()
    for signals in (
        COHORT,
        {"id": {"type": "email", "value": "jane@mail.example"}},
        [[[[]]]],
        7,
        "x" * 50_000,
    ):
        assert shop.ask(signals=signals).data == without.data
        assert shop.ask("", signals=signals).data == without.data
    assert (shop.denials(), shop.standings.reads) == ({}, 0)


def test_a_request_with_a_good_token_reads_the_consent_once(shop: Shop) -> None:
    for number in range(1, 4):
        shop.ask(token(), signals=COHORT)
        assert shop.standings.reads == number


def test_wrong_signals_under_a_good_token_are_named_and_not_echoed(shop: Shop) -> None:
    for field, signals in {
        "signals.cohorts[0]": {"cohorts": ["rich"]},
        "signals.loyalty_tier": {"loyalty_tier": "jane.doe@mail.example"},
        "signals.journey_stage": {"journey_stage": "bought"},
        "signals": {"jane": 1},
    }.items():
        answer = shop.ask(token(), signals=signals)
        assert field in errors(answer)
        assert "jane" not in answer.text
        assert "rich" not in answer.text


def test_a_signal_that_too_few_share_does_not_act_but_is_counted(tmp_path: Path) -> None:
    shop = Shop(tmp_path, values=MemoryValues("priced"))
    assert shop.shown(token(), signals=COHORT) == {"all-1"}
    assert shop.values.noted == {("planet", "cohort", "priced"): 1}


def test_an_identifier_is_passed_on_as_a_secret_and_not_as_it_came(shop: Shop) -> None:
    said = {**COHORT, "id": {"type": "email", "value": "Jane.Doe@mail.example"}}
    shop.ask(token(), signals=said)
    assert len(shop.values.persons) == 1
    assert b"jane" not in (shop.values.persons[0] or b"").lower()
    assert "signals.id.value" in errors(shop.ask(token(), signals={"id": {"type": "email", "value": "jane"}}))


def test_at_most_two_signals_act_and_they_are_named(shop: Shop) -> None:
    many = {"cohorts": ["priced", "read"], "journey_stage": "decision", "loyalty_tier": "gold"}
    assert shop.used(token(), signals=many) == ["cohort:priced", "cohort:read"]
    assert shop.shown(token(), signals=many) == {"all-1", "priced-1", "read-1"}
    some = {"cohorts": ["unread"], "journey_stage": "decision", "loyalty_tier": "gold"}
    assert shop.used(token(), signals=some) == ["journey_stage:decision", "loyalty_tier:gold"]


@pytest.mark.parametrize(("most", "count"), [(0, 0), (1, 1), (3, 3), (9, 4)])
def test_how_many_signals_act_is_configured(tmp_path: Path, most: int, count: int) -> None:
    many = {"cohorts": ["priced", "read"], "journey_stage": "decision", "loyalty_tier": "gold"}
    assert len(Shop(tmp_path, most=most).used(token(), signals=many)) == count


def test_a_signal_that_no_rule_names_is_not_used(shop: Shop) -> None:
    answer = shop.ask(token(), signals={"cohorts": ["unread"]})
    assert answer.json["privacy"]["basis"] == "context"
    assert answer.data == shop.ask().data


def test_a_frequency_cap_keeps_a_campaign_away_once_it_is_reached(shop: Shop) -> None:
    assert shop.shown(token(), signals={"exposure": {"all": 2}}) == {"all-1"}
    answer = shop.ask(token(), signals={"exposure": {"all": 3}})
    assert answer.json["decisions"] == []
    assert answer.json["privacy"]["signals_used"] == ["exposure"]
    assert shop.shown(token(), signals={"exposure": {"all": 255}, **COHORT}) == {"priced-1"}


@pytest.mark.parametrize(
    ("purposes", "shown"),
    [
        ({"ads.select.first_party"}, {"all-1", "priced-1", "gold-1"}),
        (
            {"ads.select.first_party", "ads.profile.first_party"},
            {"all-1", "priced-1", "decision-1", "gold-1"},
        ),
        ({"ads.profile.first_party"}, {"all-1"}),
        ({"ads.cap.first_party"}, set()),
        ({"measure.first_party"}, {"all-1"}),
    ],
)
def test_a_signal_acts_only_for_the_purposes_it_needs(
    tmp_path: Path, purposes: set[str], shown: set[str]
) -> None:
    shop = Shop(tmp_path, most=9)
    said = {"cohorts": ["priced"], "journey_stage": "decision", "loyalty_tier": "gold"}
    exposed = said | ({"exposure": {"all": 9}} if purposes == {"ads.cap.first_party"} else {})
    assert shop.shown(token(purposes=purposes), signals=exposed) == shown
    shop.standings.of = MemoryStandings(purposes=frozenset(purposes)).of
    assert shop.shown(token(number=1), signals=exposed) == shown


def test_without_what_checks_consents_there_is_none(tmp_path: Path) -> None:
    off = Shop(tmp_path, off="the log is damaged")
    assert off.ask(token(), signals=COHORT).data == off.ask().data
    assert off.denials() == {"unavailable": 1}


def test_a_store_that_fails_costs_the_signals_and_not_the_page(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(publisher: str, subject: str) -> None:
        raise OSError(f"no disk for {subject}")

    without = shop.ask()
    shop.standings.standing = fail  # type: ignore[method-assign,assignment]
    assert shop.ask(token(), signals=COHORT).data == without.data
    assert shop.denials() == {"unavailable": 1}
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        f"consent not checked: OSError at test_consent.py:{fail.__code__.co_firstlineno + 1}"
    ]


def test_a_publisher_names_who_else_may_attest_consent(tmp_path: Path) -> None:
    bridge = Issuer("https://www.planet.example", b"b" * 32)
    jwks = Jwks((Jwk(jose.jwk(bridge.key)["x"]),))
    assert Shop(tmp_path / "a", issuers={bridge.name: jwks}).shown(token(bridge), signals=COHORT) == WITH
    other = Shop(tmp_path / "b")
    assert other.shown(token(bridge), signals=COHORT) == {"all-1"}
    assert other.denials() == {"key": 1}


def test_nobody_else_speaks_in_the_services_name(tmp_path: Path) -> None:
    stranger = Issuer(ISS, b"b" * 32)
    shop = Shop(tmp_path, issuers={ISS: Jwks((Jwk(jose.jwk(stranger.key)["x"]),))})
    assert shop.shown(token(stranger), signals=COHORT) == {"all-1"}
    assert shop.shown(token(), signals=COHORT) == WITH


def test_the_body_says_what_regs_look_like(shop: Shop) -> None:
    assert set(errors(shop.ask(regs={"coppa": 2, "minor": 1}))) == {"regs.coppa", "regs.minor"}


@pytest.mark.parametrize("said", [{"gpp": "DBAA", "gpp_sid": ["jane"]}, {"tcf": 7}, {"nonce": ["x"]}])
def test_consent_of_another_type_is_none_and_is_counted(shop: Shop, said: dict[str, Any]) -> None:
    asked = shop.ask(token(), signals=COHORT, **said)
    assert asked.status_code == 200
    assert asked.get_json()["privacy"]["basis"] == "context"
    assert sum(shop.denials().values()) == 1


def test_a_view_that_only_tests_is_not_counted(shop: Shop) -> None:
    shop.ask("x", test=True)
    assert shop.denials() == {}


def test_what_expires_meanwhile_no_longer_acts(tmp_path: Path) -> None:
    shop = Shop(tmp_path, now=NOW + timedelta(seconds=3600))
    assert shop.shown(token(), signals=COHORT) == {"all-1"}
    assert shop.denials() == {"expired": 1}


def test_gpc_is_said_to_be_honoured(shop: Shop) -> None:
    answer = shop.client.get("/.well-known/gpc.json")
    assert answer.json is not None
    assert answer.json["gpc"] is True
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", answer.json["lastUpdate"])
    assert answer.content_type == "application/json"
    assert shop.ask(gpc=True).json["privacy"]["gpc"] == "honored"


def test_the_ended_consents_are_published_signed(shop: Shop) -> None:
    answer = shop.client.get("/v1/consents/status")
    assert answer.content_type == "application/statuslist+jwt"
    listed = read_status_list(answer.text, f"{ISS}/s", pin({ISS: [ISSUER.key]}), int(NOW.timestamp()))
    assert [is_revoked(listed, at) for at in (4, 5, 6)] == [False, True, False]
