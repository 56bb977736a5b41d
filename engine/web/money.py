"""/v1/campaigns/<id>/conversions, invoices and refunds: what advertisers count, owe and get back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated

from flask import Response
from msgspec import Meta, Struct

from engine import invoices, manage
from engine.campaign import Campaign
from engine.errors import CatalogError, MoneyError
from engine.events import EPOCH, EventStore, date_of, day_of
from engine.keys import Caller
from engine.money import MoneyStore
from engine.web.api import Api, Refused, reply
from engine.web.catalogue import id_schema, told
from engine.web.faults import Fault

OLDEST_DAYS = 400  # conversions may be told of so many days back
MONTH = {"type": "string", "pattern": r"^20[0-9]{2}-(0[1-9]|1[0-2])$"}


class DayCount(Struct, frozen=True, forbid_unknown_fields=True):
    """Conversions of a UTC day."""

    day: date
    count: Annotated[int, Meta(ge=0, le=10**9)]


class ConversionsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Conversions as the advertiser counts them. What was told of a day before is replaced."""

    days: Annotated[tuple[DayCount, ...], Meta(min_length=1, max_length=400)]


class Conversions(Struct, frozen=True):
    """What was told of a campaign's conversions."""

    days: tuple[DayCount, ...]


class InvoiceAnswer(Struct, frozen=True):
    """What a campaign owes for a month, in micro-units of the currency."""

    campaign: str
    advertiser: str
    month: str
    timezone: str
    currency: str
    billed_for: str
    events: int
    micros: int
    refunded_micros: int
    due_micros: int
    final: bool
    note: str


class RefundBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Money to give back. The same key is written once, however often it is sent."""

    key: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$(?!\n)")]
    month: Annotated[str, Meta(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$(?!\n)")]
    micros: Annotated[int, Meta(ge=1, le=10**15)]
    reason: Annotated[str, Meta(min_length=1, max_length=300)]


def add_money(
    api: Api,
    store: manage.ManageStore,
    events: EventStore,
    money: MoneyStore,
    currency: str,
    now: Callable[[], datetime],
) -> None:
    """Add the routes."""
    path = {"id": id_schema()}
    owners = ("operator", "advertiser")

    def own(caller: Caller, id: str) -> Campaign:
        with told():
            found = manage.get(store, caller, "campaign", id)
        assert isinstance(found, Campaign)  # noqa: S101 - of this kind
        return found

    @api.route(
        "/v1/campaigns/<id>/conversions",
        "POST",
        scopes=owners,
        body=ConversionsBody,
        answer=Conversions,
        path=path,
        problems=(404,),
    )
    def put_conversions(caller: Caller, id: str, body: ConversionsBody) -> Conversions:
        """Tell how many conversions a campaign had on each day."""
        campaign, today = own(caller, id), day_of(now())
        faults = []
        for number, one in enumerate(body.days):
            if not today - OLDEST_DAYS <= _day(one) <= today:
                got = "a day to come" if _day(one) > today else "a day long past"
                faults.append(Fault(f"days[{number}].day", got, f"a UTC day of the last {OLDEST_DAYS}"))
            elif _day(one) in {_day(other) for other in body.days[:number]}:
                faults.append(Fault(f"days[{number}].day", "a day named before", "each day once"))
        if faults:
            raise Refused(422, "Invalid body", None, faults)
        events.put_conversions(campaign.id, [(_day(one), one.count) for one in body.days])
        return _conversions(events, campaign.id)

    @api.route(
        "/v1/campaigns/<id>/conversions",
        "GET",
        scopes=owners,
        answer=Conversions,
        path=path,
        problems=(404,),
    )
    def get_conversions(caller: Caller, id: str) -> Conversions:
        """Read what was told of a campaign's conversions."""
        return _conversions(events, own(caller, id).id)

    @api.route(
        "/v1/campaigns/<id>/invoices/<month>",
        "GET",
        scopes=owners,
        answer=InvoiceAnswer,
        path={**path, "month": MONTH},
        problems=(404, 409, 422),
    )
    def get_invoice(caller: Caller, id: str, month: str) -> InvoiceAnswer:
        """Read what a campaign owes for a month that is over."""
        campaign = own(caller, id)
        made = invoices.invoice(money, campaign, _month(month), currency, now())
        if not made.final:
            final = _month(month).final.isoformat()
            raise Refused(409, "Month not over", f"Its totals stand from {final} on.")
        return InvoiceAnswer(**{name: getattr(made, name) for name in InvoiceAnswer.__struct_fields__})

    @api.route(
        "/v1/campaigns/<id>/refunds",
        "POST",
        scopes=("operator",),
        body=RefundBody,
        answer=RefundBody,
        statuses=(200, 201),
        path=path,
        problems=(404, 409),
    )
    def post_refund(caller: Caller, id: str, body: RefundBody) -> Response:
        """Give back what a campaign was billed for a month."""
        campaign = own(caller, id)
        try:
            new = invoices.refund(
                money,
                campaign.id,
                _month(body.month),
                body.key,
                body.micros,
                body.reason,
                caller.name,
                now(),
            )
        except MoneyError as error:
            raise Refused(409, "Cannot be given back", str(error)) from None
        return reply(body, 201 if new else 200)


def _month(text: str) -> invoices.Month:
    try:
        return invoices.month_of(text)
    except CatalogError as error:
        raise Refused(422, "Invalid path", None, (Fault("month", "no month", error.expected),)) from None


def _day(one: DayCount) -> int:
    return one.day.toordinal() - EPOCH


def _conversions(events: EventStore, campaign: str) -> Conversions:
    return Conversions(tuple(DayCount(date_of(day), count) for day, count in events.conversions(campaign)))
