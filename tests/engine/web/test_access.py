"""Every route is public by design or asks for a scope, and no tenant reaches another's things."""

from __future__ import annotations

import json
import re

import pytest

from tests.engine.web.conftest import CALLERS, Service, errors

# Public by design. A route that is added here has to be one that anybody may call.
PUBLIC = {
    *("openapi", "decide", "preflight", "image", "healthz", "readyz", "gpc_support", "consent_statuses"),
    *("reports_page", "reports_style", "plan_page"),  # empty forms, and public numbers
    *("manage_page", "manage_style"),  # an empty form
    *("show_report", "manage"),  # the key comes in the form
    *("audit", "audit_style", "audit_script"),  # the page alone: what it shows, the log's routes give
    *("beacon", "beacon_one", "pixel", "click"),  # a sealed token says what is told, or nothing is
    *("preflight_events", "events_script", "conversions_script"),
    "handover",  # as decisions; and a reader's consent token says whether there is anything to be had
    # As decisions: a public publisher id from a registered origin.
    *("auction", "preflight_auction", "categories", "ethical_decision", "ethical_decision_by_server"),
    *("ethical_view", "ethical_view_time", "ethical_click"),  # as events and clicks: by a sealed token
    *("tag_1_contextual_ad_js", "tag_1_contextual_ad_css", "tag_1_creative_css", "tag_1_slot_css"),
    *("slot", "preflight_slot"),  # a page's own, in its publisher's name, as decisions are
    *("list_repository", "repository_page"),  # what runs, to everybody, with noisy numbers
    *("publisher_page", "publisher_style", "show_publisher"),  # an empty form; the key comes in it
    *("why", "why_vote", "why_style"),  # the link tells what it is about, and nothing of who follows it
    *("deletion_endpoint", "request_deletion"),  # a request proves itself by signatures
}
# Of a reader, who holds no key: by a token that the service gave; and by name with the publisher's key alone.
READERS = {"withdraw_consent", "export_subject", "erase_subject"}
# Whose the things are that stand in the paths below.
OWNERS = {"publisher": "globe", "advertiser": "acme", "campaign": "acme", "creative": "acme"}
IDS = {"publisher": "globe", "advertiser": "acme", "campaign": "k1", "creative": "c1"}
BODIES = {
    "put_publisher": {"name": "G", "domains": ["globe.test"], "rate_per_s": 2},
    "put_advertiser": {"name": "A", "domains": ["acme.test"]},
    "put_campaign": {"advertiser": "acme", "name": "Boots", "cpm_micros": 1000},
    "put_creative": {
        "campaign": "k1",
        "format": "native",
        "landing_url": "https://acme.test/",
        "headline": "B",
    },
    "record_consent": {
        "publisher": "globe",
        "purposes": ["ads.select.first_party"],
        "notice": {"text_sha256": "0" * 64, "language": "en", "version": "1"},
        "expressed_by": "button",
    },
    "put_conversions": {"days": [{"day": "2026-11-22", "count": 3}]},
    "post_refund": {"key": "r1", "month": "2026-11", "micros": 1, "reason": "shown beside a competitor"},
    "put_approval": {"state": "approved", "hash": "0" * 64},
}


def path_of(rule: str) -> str:
    """Fill a rule with ids of things that exist: globe's and acme's."""
    kind = rule.split("/")[2].rstrip("s") if rule.count("/") > 2 else ""
    rule = rule.replace("<publisher>", "globe").replace("<creative>", "c1")
    return re.sub(r"<\w+>", IDS.get(kind, "x"), rule)


def routes(service: Service) -> list[tuple[str, str, str]]:
    """Give (name, method, rule) of every route that the app answers."""
    return [
        (rule.endpoint, method, rule.rule)
        for rule in service.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    ]


def test_every_route_is_declared_with_its_access(service: Service) -> None:
    declared = service.app.extensions["tactful"].operations
    for name, _, _ in routes(service):
        assert bool(declared[name].scopes) != (name in PUBLIC | READERS), name


def test_a_route_with_a_scope_asks_for_a_key(service: Service) -> None:
    for name, method, rule in routes(service):
        if name in PUBLIC | READERS:
            continue
        answer = service.call(method, path_of(rule), body=BODIES.get(name))
        assert "Authorization" in errors(answer, 401), name
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_forged_key_is_no_key(service: Service) -> None:
    forged = service.keys["operator"][:-4] + "ffff"
    for name, method, rule in routes(service):
        if name not in PUBLIC | READERS:
            errors(service.call(method, path_of(rule), key=forged, body=BODIES.get(name)), 401)


def test_a_key_of_another_scope_is_refused(service: Service) -> None:
    declared = service.app.extensions["tactful"].operations
    tried = 0
    for name, method, rule in routes(service):
        for caller, scope, _ in CALLERS:
            if name not in PUBLIC | READERS and scope not in declared[name].scopes:
                errors(service.call(method, path_of(rule), key=caller, body=BODIES.get(name)), 403)
                tried += 1
    assert tried > 40


def test_another_tenants_things_are_neither_told_nor_touched(service: Service) -> None:
    before = service.services.store.versions()
    tried = 0
    for name, method, rule in routes(service):
        if name in PUBLIC or "<" not in rule:
            continue
        for caller in ("planet", "rival"):
            answer = service.call(method, path_of(rule), key=caller, body=BODIES.get(name))
            assert answer.status_code in (403, 404, 422), (name, caller, answer.text)
            for secret in ("Boots", "The Globe", "acme.test"):
                assert secret not in answer.text, (name, caller)
            tried += 1
    assert tried > 20
    assert service.services.store.versions() == before


@pytest.mark.parametrize(
    ("caller", "seen"), [("acme", {"k1"}), ("rival", set()), ("planet", set()), ("operator", {"k1"})]
)
def test_lists_hold_only_what_is_the_callers(service: Service, caller: str, seen: set[str]) -> None:
    told = service.call("GET", "/v1/campaigns", key=caller).json
    assert told is not None
    assert {one["id"] for one in told["items"]} == seen


def test_the_owner_reads_and_changes_its_things(service: Service) -> None:
    assert service.call("GET", "/v1/campaigns/k1", key="acme").status_code == 200
    body = BODIES["put_campaign"] | {"cpm_micros": 2000}
    answer = service.call("PUT", "/v1/campaigns/k1", key="acme", body=body)
    assert answer.status_code == 200
    assert answer.json and answer.json["stored"]["cpm_micros"] == 2000
    assert service.call("PUT", "/v1/campaigns/k2", key="acme", body=body).status_code == 201
    assert service.call("DELETE", "/v1/campaigns/k2", key="acme").status_code == 204
    errors(service.call("GET", "/v1/campaigns/k2", key="acme"), 404)
    errors(service.call("DELETE", "/v1/campaigns/k1", key="acme"), 409)


def test_what_was_read_may_be_put_back(service: Service) -> None:
    read = service.call("GET", "/v1/creatives/c1", key="acme").json
    assert service.call("PUT", "/v1/creatives/c1", key="acme", body=read).status_code == 200


def test_a_faulty_thing_is_refused_with_every_field(service: Service) -> None:
    body = {"advertiser": "acme", "name": "", "cpm_micros": -1, "bob@example.com": 1}
    told = errors(service.call("PUT", "/v1/campaigns/k3", key="acme", body=body))
    assert {"name", "cpm_micros"} <= set(told)
    assert not any("@" in field + got for field, (got, _) in told.items())
    errors(service.call("GET", "/v1/campaigns/k3", key="acme"), 404)


def test_a_body_that_is_no_json_is_refused(service: Service) -> None:
    headers = {"Authorization": f"Bearer {service.keys['acme']}", "Content-Type": "application/json"}
    answer = service.client.put("/v1/campaigns/k1", data=b"[" * 100_000, headers=headers)
    assert "$" in errors(answer)


def test_no_route_takes_a_field_twice(service: Service) -> None:
    bodies = BODIES | {
        "decide": {"publisher": "planet", "placements": [{"id": "a"}], "page": {"title": "x"}},
        "beacon": {"tokens": ["x"]},
        "handover": {"publisher": "planet", "click": "x", "consent": {"token": "x"}},
        "ethical_decision_by_server": {
            "publisher": "planet",
            "placements": [{"div_id": "a", "ad_type": "image"}],
        },
        "withdraw_consent": {"publisher": "globe", "token": "x"},
        "export_subject": {"publisher": "globe", "rights_token": "x"},
        "erase_subject": {"publisher": "globe", "rights_token": "x"},
        "request_deletion": None,  # it answers what its standard says
        "auction": None,  # OpenRTB's requests hold what each exchange likes
    }
    declared = service.app.extensions["tactful"].operations
    before, tried = service.services.store.versions(), 0
    for name, method, rule in routes(service):
        body = bodies.get(name) if declared[name].body is not None else None
        assert name in bodies or declared[name].body is None, name
        if body is None:
            continue
        first, value = next(iter(body.items()))
        twice = f"{json.dumps(body)[:-1]}, {json.dumps(first)}: {json.dumps(value)}}}"
        for caller in {"operator", "globe", "acme", "compliance"} if declared[name].scopes else {None}:
            headers = {"Authorization": f"Bearer {service.keys[caller]}"} if caller else {}
            headers["Content-Type"] = "application/json"
            answer = service.client.open(path_of(rule), method=method, data=twice, headers=headers)
            if answer.status_code != 403:
                assert errors(answer, 422)[first] == ("the field again", "each field once"), name
                tried += 1
    assert tried > 15
    assert service.services.store.versions() == before


def test_a_publisher_approves_what_it_saw(service: Service) -> None:
    told = service.call("GET", "/v1/approvals/globe", key="globe").json
    assert told is not None
    (item,) = told["items"]
    assert (item["creative"]["id"], item["state"]) == ("c1", None)
    path = "/v1/approvals/globe/c1"
    assert (
        service.call("PUT", path, key="globe", body={"state": "approved", "hash": item["hash"]}).status_code
        == 204
    )
    told = service.call("GET", "/v1/approvals/globe", key="globe").json
    assert told and told["items"][0]["state"] == "approved"
    errors(service.call("PUT", path, key="globe", body={"state": "approved", "hash": "0" * 64}), 409)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "after=%00", "after=A"]
)
def test_a_wrong_query_is_refused(service: Service, query: str) -> None:
    assert set(errors(service.call("GET", f"/v1/campaigns?{query}", key="acme"))) == {query.split("=")[0]}


def test_lists_go_on_where_they_ended(service: Service) -> None:
    first = service.call("GET", "/v1/publishers?limit=1", key="operator").json
    assert first and [one["id"] for one in first["items"]] == ["globe"]
    second = service.call("GET", f"/v1/publishers?after={first['next']}", key="operator").json
    assert second and [one["id"] for one in second["items"]] == ["planet"]
    assert second["next"] is None


def seen_changes(service: Service, caller: str) -> list[tuple[str, str, str]]:
    told = service.call("GET", "/v1/changes?limit=1000", key=caller).json
    assert told is not None
    return [(one["kind"], one["id"], one["did"]) for one in told["items"]]


def test_each_change_is_told_to_its_owner_with_what_stood_there_before(service: Service) -> None:
    body = BODIES["put_campaign"] | {"cpm_micros": 2000}
    assert service.call("PUT", "/v1/campaigns/k1", key="acme", body=body).status_code == 200
    told = service.call("GET", "/v1/changes/campaign/k1", key="acme").json
    assert told is not None
    last = told["items"][0]
    assert last["actor"].startswith("advertiser:acme:")
    changed = {one["field"]: (one["before"], one["after"]) for one in last["fields"]}
    assert changed["cpm_micros"][1] == 2000
    assert last["did"] == "changed"
    for other in ("rival", "planet", "globe"):
        errors(service.call("GET", "/v1/changes/campaign/k1", key=other), 404)
        assert ("campaign", "k1", "changed") not in seen_changes(service, other)
    assert ("campaign", "k1", "changed") in seen_changes(service, "acme")


def test_an_approval_is_told_to_both_sides_and_which_key_gave_it_to_one(service: Service) -> None:
    (item,) = service.call("GET", "/v1/approvals/globe", key="globe").json["items"]  # type: ignore[index]
    body = {"state": "approved", "hash": item["hash"]}
    service.call("PUT", "/v1/approvals/globe/c1", key="globe", body=body)
    for caller, parts in (("globe", 3), ("acme", 2)):
        told = service.call("GET", "/v1/changes?limit=1000", key=caller).json
        assert told is not None
        (one,) = [one for one in told["items"] if one["kind"] == "approval"]
        assert one["actor"].startswith("publisher:globe")
        assert len(one["actor"].split(":")) == parts
    assert ("approval", "globe/c1", "created") not in seen_changes(service, "rival")


def test_what_is_gone_is_still_told_to_who_had_it(service: Service) -> None:
    body = BODIES["put_campaign"]
    service.call("PUT", "/v1/campaigns/k9", key="acme", body=body)
    creative = service.call("GET", "/v1/creatives/c1", key="acme").json
    assert creative is not None
    creative |= {"id": "c9", "campaign": "k9"}
    assert service.call("PUT", "/v1/creatives/c9", key="acme", body=creative).status_code == 201
    assert service.call("DELETE", "/v1/creatives/c9", key="acme").status_code == 204
    assert service.call("DELETE", "/v1/campaigns/k9", key="acme").status_code == 204
    assert {("creative", "c9", "deleted"), ("campaign", "k9", "deleted")} <= set(
        seen_changes(service, "acme")
    )
    assert not {("creative", "c9", "deleted")} & set(seen_changes(service, "rival"))


def test_changes_come_in_pages(service: Service) -> None:
    first = service.call("GET", "/v1/changes?limit=2", key="operator").json
    assert first and len(first["items"]) == 2
    rest = service.call("GET", f"/v1/changes?limit=1000&after={first['next']}", key="operator").json
    assert rest and rest["next"] is None
    assert first["items"][-1]["seq"] < rest["items"][0]["seq"]
    assert "after" in errors(service.call("GET", "/v1/changes?after=k1", key="operator"))
