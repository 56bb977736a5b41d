"""What advertisers count, owe and get back, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from engine.events import Event, Row, day_of
from tests.engine.web.conftest import NOW, Service, errors

CONVERSIONS = "/v1/campaigns/k1/conversions"
REFUNDS = "/v1/campaigns/k1/refunds"
TODAY = day_of(NOW)


def keep(service: Service, *prices: int, day: int = TODAY) -> None:
    """Keep impressions at these prices."""
    context = ("planet", "other", "", "k1", "c1", "phone", "night", "", 0)
    rows = [
        Row(bytes((day % 256, n)) * 8, 0, "impression", day, *context, price)
        for n, price in enumerate(prices)
    ]
    service.services.events.keep([Event(row, day, 0) for row in rows])


def test_conversions_are_told_by_day_and_told_again_they_are_set(service: Service) -> None:
    days = [{"day": "2026-11-22", "count": 4}, {"day": "2026-11-23", "count": 0}]
    for _ in range(2):
        answer = service.call("POST", CONVERSIONS, key="acme", body={"days": days})
        assert (answer.status_code, answer.json) == (200, {"days": days})
    corrected = {"day": "2026-11-22", "count": 5}
    service.call("POST", CONVERSIONS, key="acme", body={"days": [corrected]})
    assert service.call("GET", CONVERSIONS, key="acme").json == {"days": [corrected, days[1]]}


@pytest.mark.parametrize(
    ("days", "field"),
    [
        ([{"day": "2026-11-24", "count": 1}], "days[0].day"),
        ([{"day": "2020-01-01", "count": 1}], "days[0].day"),
        ([{"day": "2026-11-22", "count": 1}, {"day": "2026-11-22", "count": 2}], "days[1].day"),
        ([{"day": "2026-11-22", "count": -1}], "days[0].count"),
        ([{"day": "2026-11-22", "count": 1.5}], "days[0].count"),
        ([{"day": "yesterday", "count": 1}], "days[0].day"),
        ([], "days"),
    ],
)
def test_conversions_of_no_day_are_refused(service: Service, days: Any, field: str) -> None:
    assert field in errors(service.call("POST", CONVERSIONS, key="acme", body={"days": days}))
    assert service.call("GET", CONVERSIONS, key="acme").json == {"days": []}


def test_a_month_that_runs_is_told_to_nobody(service: Service) -> None:
    keep(service, 5, 7)
    answer = service.call("GET", "/v1/campaigns/k1/invoices/2026-11", key="acme")
    assert answer.status_code == 409
    assert "2026-12-01T12:30" in answer.text
    assert "12" not in answer.json["title"]  # type: ignore[index]


def test_no_time_zone_lets_a_month_be_over_before_it_is_in_all(service: Service) -> None:
    keep(service, 5, 7)
    service.services.time = datetime(2026, 11, 30, 11, tzinfo=UTC)
    ahead = {
        "advertiser": "acme",
        "name": "k1",
        "cpm_micros": 5,
        "flight": {"timezone": "Pacific/Kiritimati"},
    }
    assert service.call("PUT", "/v1/campaigns/k1", key="acme", body=ahead).status_code == 200
    assert service.call("GET", "/v1/campaigns/k1/invoices/2026-11", key="acme").status_code == 409


def test_an_invoice_is_the_exact_total_of_a_month_that_is_over(service: Service) -> None:
    keep(service, 5, 7)
    keep(service, 11, day=TODAY - 40)
    service.services.time = datetime(2026, 12, 1, 12, 30, tzinfo=UTC)
    told = service.call("GET", "/v1/campaigns/k1/invoices/2026-11", key="acme").json
    assert told is not None
    assert (told["events"], told["micros"], told["due_micros"]) == (2, 12, 12)
    assert (told["timezone"], told["currency"], told["final"]) == ("UTC", "EUR", True)
    assert "do not reconcile" in told["note"]
    assert service.call("GET", "/v1/campaigns/k1/invoices/2026-11", key="rival").status_code == 404


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "november", "0000-00", "2026-11-01"])
def test_a_month_that_is_none_is_refused(service: Service, month: str) -> None:
    assert "month" in errors(service.call("GET", f"/v1/campaigns/k1/invoices/{month}", key="acme"))


def test_a_refund_is_given_once_and_shows_on_the_invoice(service: Service) -> None:
    keep(service, 500, 700)
    refund = {"key": "r1", "month": "2026-11", "micros": 200, "reason": "shown beside a competitor"}
    assert service.call("POST", REFUNDS, key="acme", body=refund).status_code == 403
    assert service.call("POST", REFUNDS, key="operator", body=refund).status_code == 201
    assert service.call("POST", REFUNDS, key="operator", body=refund).status_code == 200
    assert service.call("POST", REFUNDS, key="operator", body={**refund, "micros": 3}).status_code == 409
    too_much = {**refund, "key": "r2", "micros": 1001}
    assert service.call("POST", REFUNDS, key="operator", body=too_much).status_code == 409
    service.services.time = datetime(2026, 12, 2, tzinfo=UTC)
    told = service.call("GET", "/v1/campaigns/k1/invoices/2026-11", key="acme").json
    assert told is not None
    assert (told["micros"], told["refunded_micros"], told["due_micros"]) == (1200, 200, 1000)
