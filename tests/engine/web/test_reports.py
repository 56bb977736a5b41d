"""Reports over HTTP: each tenant its own, with margins; what cannot be is refused with what can."""

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet
import pytest

from engine.campaign import Campaign, Section
from engine.change import Change
from engine.events import Row
from engine.report import REPORTS
from engine.store import SqliteStore
from privacy.budget import Charge, QueryId
from privacy.release import day_number, day_of, draw, query_of
from privacy.workload import CAP, CONSENTED, SLOTS, TABLES, UNIT, table
from tests.engine.web.conftest import NOW, FakeServices, Service, errors

DAY = day_number(NOW.date())  # on which the catalogue was registered
TODAY = DAY + 1
NEXT = NOW + timedelta(hours=15)
DATE = day_of(DAY).isoformat()


@pytest.fixture(scope="session")
def seeded_day(seeded, tmp_path_factory) -> Path:
    """Make a catalogue with that day, once."""
    path = Path(shutil.copy(seeded[0], tmp_path_factory.mktemp("released")))
    services = FakeServices(SqliteStore(path))
    services.time = NEXT
    store = services.store
    planet = store.find("publisher", ["planet"])["planet"]
    sections = (Section(id="sport", prefix="/sport"),)
    told = type(planet)(**{f: getattr(planet, f) for f in planet.__struct_fields__} | {"sections": sections})
    store.write([Change(planet, told)], [], store.versions(), "test", NOW)
    rows = []
    for number in range(1000):
        view = number.to_bytes(16)
        for slot in range(SLOTS):
            which = (DAY, "planet", "sport", "483", "k1", "c1", "phone", "evening", "rain")
            rows.append(Row(view, slot, "impression", *which, 0, 1000))
        if number % 10 == 0:
            rows.append(Row(view, 0, "click", *which, 0, 0))
    with store.writing() as db:
        columns, places = ", ".join(Row._fields), ", ".join("?" * len(Row._fields))
        db.executemany(f"INSERT INTO events ({columns}) VALUES ({places})", rows)
    services.reporting.releases.of((*TABLES, *CONSENTED), draw).release(DAY)
    services.close()
    return path


@pytest.fixture
def released(seeded_day, seeded, tmp_path) -> Iterator[Service]:
    """A day on which acme's one creative was shown 3,000 times on planet's pages about sports, released."""
    services = FakeServices(SqliteStore(Path(shutil.copy(seeded_day, tmp_path))))
    services.time = NEXT
    yield Service(services, seeded[1])
    services.close()


def put(service: Service, *entities) -> None:
    store = service.services.store
    store.write([Change(None, one) for one in entities], [], store.versions(), "test", NOW)


def get(service: Service, path: str, key: str = "operator", **query):
    asked = "&".join(f"{name.rstrip('_')}={value}" for name, value in query.items())
    return service.call("GET", f"{path}?{asked}", key=key)


def test_an_advertiser_reads_its_own_creatives_with_margins(released):
    told = get(released, "/v1/reports/creatives", "acme", from_=DATE).json
    (row,) = told["rows"]
    assert row["key"] == {"campaign": "k1", "creative": "c1"}
    shown = row["values"]["impressions"]
    assert abs(shown["value"] - 3000) < 10 * shown["margin95"]
    assert row["ctr"]["low"] <= row["ctr"]["value"] <= row["ctr"]["high"]
    assert told["unit"] == UNIT and told["period"] == {"from": DATE, "to": DATE, "timezone": "UTC"}
    assert told["micro_epsilon"] == table("creatives").micro_epsilon + table("clicks").micro_epsilon
    assert told["group"][1] == {"views": 2, "micro_epsilon": 2 * told["micro_epsilon"]}
    assert "not meant to agree" in told["why_noisy"]


def test_the_same_question_has_the_same_answer_byte_for_byte(released):
    first = get(released, "/v1/reports/creatives", from_=DATE, by="campaign,creative").data
    spent = released.services.reporting.budget.spent(f"page-views/{DATE}")
    for spelling in ("creative,campaign", "campaign,creative,"):
        assert get(released, "/v1/reports/creatives", from_=DATE, to=DATE, by=spelling).data == first
    assert released.services.reporting.budget.spent(f"page-views/{DATE}") == spent


def test_another_tenants_campaigns_and_sections_are_not_told(released):
    told = get(released, "/v1/reports/creatives", "rival", from_=DATE).json
    assert told["rows"] == [] and told["total"] is None
    assert get(released, "/v1/reports/creatives", "rival", from_=DATE, campaign="k1").json["rows"] == []
    globe = get(released, "/v1/reports/sections", "globe", from_=DATE, publisher="planet").json
    assert globe["rows"] == []
    assert "k1" not in get(released, "/v1/reports/contexts", "rival", from_=DATE).text


@pytest.mark.parametrize("by", ["campaign,creative", "creative", "day", ""])
def test_the_exact_totals_stand_beside_a_report_however_it_is_cut(released, by):
    released.services.time = NEXT + timedelta(days=30)
    put(released, Campaign("quiet", "acme", "Quiet"))  # in no released table, and so in no row
    told = get(released, "/v1/reports/creatives", "acme", from_=DATE, by=by).json
    assert [(one["campaign"], one["month"]) for one in told["invoices"]] == [
        ("k1", "2026-11"),
        ("quiet", "2026-11"),
    ]
    told = get(released, "/v1/reports/creatives", "acme", from_=DATE, by=by, campaign="quiet").json
    assert told["rows"] == [] and [one["campaign"] for one in told["invoices"]] == ["quiet"]
    assert (
        get(released, "/v1/reports/creatives", "rival", from_=DATE, by=by, campaign="k1").json["invoices"]
        == []
    )


def test_a_report_of_another_scope_is_like_one_that_does_not_exist(released):
    unknown = errors(get(released, "/v1/reports/nothing", "planet", from_=DATE), 404)
    other = errors(get(released, "/v1/reports/creatives", "planet", from_=DATE), 404)
    assert unknown == other == {"report": ("another name", "one of sections, topics, moments")}


def test_a_publisher_reads_its_sections_and_their_revenue(released):
    told = get(released, "/v1/reports/sections", "planet", from_=DATE).json
    (sport,) = (row for row in told["rows"] if row["key"]["section"] == "sport")
    assert sport["values"]["revenue_micros"]["value"] == pytest.approx(3_000_000, abs=5 * 10**7)
    assert sport["ctr"] is None
    assert sport["fill"]["low"] <= 1.0 == pytest.approx(sport["fill"]["high"], abs=0.1)


@pytest.mark.parametrize(
    "query",
    [
        "from=0001-01-01&to=0001-01-02", "from=9999-12-31", "from=9999-12-01&to=9999-12-31", "from=%00", "from=",
        f"from={DATE}&by=", f"from={DATE}&by=,,", f"from={DATE}&by=%FF", f"from={DATE}&campaign=%00%FF&campaign=",
        f"from={DATE}&from={DATE}", f"from={DATE}&by=day&by=day", f"from={DATE}&" + "campaign=x&" * 200,
        f"from={DATE}&campaign=" + "x" * 9000, f"from={DATE}&to=٢٠٢٦-١١-٢٣",
    ],
)  # fmt: skip
def test_no_question_breaks_the_service_or_is_echoed(released, query):
    for name in REPORTS:
        for key in ("operator", "acme", "planet"):
            answer = released.call("GET", f"/v1/reports/{name}?{query}", key=key)
            assert answer.status_code in (200, 404, 409, 422), (query, answer.text)
            assert "xxx" not in answer.text and "\0" not in answer.text


def test_the_list_says_what_there_is_for_a_caller(released):
    told = get(released, "/v1/reports", "acme").json
    assert [item["name"] for item in told["items"]] == [
        "creatives",
        "contexts",
        "topics",
        "votes",
        "conversions",
    ]
    assert told["items"][0]["days"] == {"from": DATE, "to": DATE, "timezone": "UTC"}
    assert told["closed_to"] == DATE and told["micro_epsilon_in_all"] == CAP


@pytest.mark.parametrize(
    ("query", "status", "field", "allowed"),
    [
        ({"from_": day_of(TODAY).isoformat()}, 409, "to", DATE),
        ({"from_": "2030-01-01"}, 409, "to", DATE),
        ({"from_": day_of(DAY - 1).isoformat()}, 409, "from", DATE),
        ({"from_": DATE, "by": "reader"}, 422, "by", "campaign, creative, day"),
        ({"from_": DATE, "by": "campaign,campaign"}, 422, "by", "campaign, creative, day"),
        ({"from_": DATE, "section": "sport"}, 422, "where", "campaign, creative"),
        ({"from_": DATE, "to": "2020-01-01"}, 422, "to", "or later"),
        ({"from_": "20261122"}, 422, "from", "such as"),
        ({"from_": "2026-02-30"}, 422, "from", "such as"),
        ({"to": DATE}, 422, "from", "such as"),
        ({"from_": "0001-01-01", "to": DATE}, 422, "to", "at most 400"),
        ({}, 422, "from", "a day"),
    ],
)
def test_what_no_released_table_answers_is_refused_with_what_is_allowed(
    released, query, status, field, allowed
):
    for suffix in ("", "/csv", "/parquet"):
        told = errors(get(released, f"/v1/reports/creatives{suffix}", **query), status)
        assert allowed in told[field][1]


def test_a_day_whose_budget_is_spent_is_refused(service):
    service.services.time = NEXT
    ledger = service.services.reporting.budget
    ledger.spend(QueryId("0" * 64), [Charge(f"page-views/{DATE}", CAP, CAP)], lambda: b"{}")
    assert not service.services.reporting.releases.release(DAY).released
    told = errors(get(service, "/v1/reports/topics", from_=DATE), 409)
    assert "budget is spent" in told["from"][0]


def test_without_noise_reports_answer_503(released, monkeypatch):
    monkeypatch.setattr("privacy.noise.is_installed", lambda: False)
    for path in ("/v1/reports", "/v1/reports/creatives", "/v1/reports/creatives/csv"):
        assert get(released, path, from_=DATE).status_code == 503


def test_csv_and_parquet_tell_the_same(released):
    told = get(released, "/v1/reports/creatives", from_=DATE).json["rows"]
    text = get(released, "/v1/reports/creatives/csv", from_=DATE)
    assert text.content_type == "text/csv"
    rows = list(csv.DictReader(io.StringIO(text.text)))
    file = pyarrow.parquet.read_table(
        io.BytesIO(get(released, "/v1/reports/creatives/parquet", from_=DATE).data)
    )
    shown = [row["values"]["impressions"]["value"] for row in told]
    assert [int(row["impressions"]) for row in rows] == file["impressions"].to_pylist() == shown


def test_an_auditor_reads_the_bytes_whose_hash_is_in_the_log(released):
    leaves = released.services.leaves
    told = [json.loads(leaf) for leaf in leaves.read(0, leaves.count())]
    found = 0
    for leaf in told:
        if leaf["type"] == "dp.release":
            body = get(released, f"/v1/releases/{leaf['data']['query']}", "compliance").data
            assert hashlib.sha256(body).hexdigest() == leaf["data"]["body"]
            found += 1
    assert found > 10
    assert (
        get(released, f"/v1/releases/{query_of(table('topics'), DAY - 1)}", "compliance").status_code == 404
    )
    assert get(released, f"/v1/releases/{query_of(table('topics'), DAY)}", "acme").status_code == 403


def test_a_campaigns_state_is_coarse_and_its_owners_alone(released):
    assert get(released, "/v1/campaigns/k1/state", "acme").json["state"] == "on track"
    assert get(released, "/v1/campaigns/k1/state", "rival").status_code == 404
    assert get(released, "/v1/campaigns/k9/state", "operator").status_code == 404


def test_a_plan_needs_no_release(service):
    told = get(service, "/v1/report-plan", "acme", impressions=5000, ctr=0.005, lift=0.2).json
    assert told["days_needed"] > 0 and len(told["horizons"]) == 6
    assert "ctr" in errors(get(service, "/v1/report-plan", "acme", impressions=5000, ctr="nan", lift=0.2))
    assert "impressions" in errors(get(service, "/v1/report-plan", "acme", ctr=0.1))


def test_every_report_answers_in_every_scope_that_sees_it(released):
    for key in ("operator", "compliance", "planet", "acme"):
        for name in REPORTS:
            assert get(released, f"/v1/reports/{name}", key, from_=DATE).status_code in (
                (200, 404) if REPORTS[name].is_daily else (404, 422)
            )
