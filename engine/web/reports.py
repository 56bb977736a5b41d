"""/v1/reports: what was released, as its owners may read it; and the releases themselves, for who audits the log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from datetime import date
from typing import Any, Literal, Protocol

from flask import Response, request
from msgspec import Struct, field

from engine.errors import NotFound, QueryRefused, ReportError
from engine.invoices import Invoice
from engine.keys import Caller, Scope
from engine.report import DAY, FLOOR, REPORTS, Answer, Row
from engine.report_files import csv_of, parquet_of
from engine.report_plan import Plan, State, plan
from engine.report_show import WHY_NOISY, ZONE
from engine.reporting import seen_by
from engine.web.api import SAFE_HEADERS, Api, Refused
from engine.web.catalogue import ID
from engine.web.faults import Fault
from engine.web.money import InvoiceAnswer
from privacy import noise
from privacy.budget import QueryId
from privacy.release import GROUPS, day_number, day_of
from privacy.workload import UNIT, Table, table, total

ALL: tuple[Scope, ...] = ("operator", "compliance", "publisher", "advertiser")
AUDITORS: tuple[Scope, ...] = ("operator", "compliance")
DIMS = tuple(dict.fromkeys(dim for report in REPORTS.values() for dim in report.dims))
PLAN_KEYS = ("impressions", "ctr", "lift")
QUERY_KEYS = ("from", "to", "by", *DIMS, *PLAN_KEYS)
MOST_VALUES = 100  # that a dimension is narrowed to
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_QUERY_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_QUERY: dict[str, Any] = {
    "from": {"type": "string", "format": "date", "description": "the first day, UTC"},
    "to": {
        "type": "string",
        "format": "date",
        "description": "the last day, UTC; as `from` where it is missing",
    },
    "by": {
        "type": "string",
        "pattern": "^[a-z]+(,[a-z]+)*$",
        "description": f"dimensions, parted by commas; {DAY} is one; all but {DAY} where it is missing",
    },
    **{dim: {"type": "string", "description": f"a {dim} to be told alone; may be repeated"} for dim in DIMS},
}


_PLAN: dict[str, Any] = {
    "impressions": {"type": "integer", "minimum": 1, "maximum": 10**12, "description": "of one creative, a day"},
    "ctr": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "description": "clicks per impression"},
    "lift": {"type": "number", "exclusiveMinimum": 0, "maximum": 100, "default": 0.2,
             "description": "relative difference to be found"},
}  # fmt: skip


class Period(Struct, frozen=True):
    """Days, both included."""

    from_: str = field(name="from")
    to: str
    timezone: str


class NoisyNumber(Struct, frozen=True):
    """The true number lies within the margin in 95 of 100 cases."""

    value: int
    margin95: int


class Interval(Struct, frozen=True):
    """The true ratio lies from `low` to `high` in 95 of 100 cases or more."""

    value: float
    low: float
    high: float


class ReportRow(Struct, frozen=True):
    """A line. A key of null stands for the `merged` values that were below the floor."""

    key: dict[str, str | None]
    merged: int
    values: dict[str, NoisyNumber]
    ctr: Interval | None
    fill: Interval | None


class Group(Struct, frozen=True):
    """What a person with so many views on a day loses to the tables that were read."""

    views: int
    micro_epsilon: int


class ReportAnswer(Struct, frozen=True):
    """A report with what it is worth, and the exact invoices beside it."""

    report: str
    period: Period
    dimensions: tuple[str, ...]
    rows: tuple[ReportRow, ...]
    total: ReportRow | None
    withheld: int
    untold_days: int  # of the period: their events were gone before it was released
    floor: int
    unit: str
    micro_epsilon: int
    micro_epsilon_in_all: int
    group: tuple[Group, ...]
    mechanisms: tuple[str, ...]
    delta: float
    releases: tuple[str, ...]
    invoices: tuple[InvoiceAnswer, ...]
    why_noisy: str


class ReportKind(Struct, frozen=True):
    """A report that may be asked for, and the days that were released of it."""

    name: str
    says: str
    dimensions: tuple[str, ...]
    measures: tuple[str, ...]
    days: Period | None


class ReportKinds(Struct, frozen=True):
    """All that may be asked for."""

    items: tuple[ReportKind, ...]
    closed_to: str
    unit: str
    micro_epsilon_in_all: int


class CampaignState(Struct, frozen=True):
    """Where a campaign stands today."""

    state: Literal["on track", "behind", "stopped"]
    why: str


class PlanHorizon(Struct, frozen=True):
    """What so many days tell of one creative, and of the difference between two alike."""

    days: int
    margin95: int
    relative_margin: float
    smallest_lift: float


class PlanAnswer(Struct, frozen=True):
    """What reports will be able to tell; `days_needed` until the lift is found, null: not in ten years."""

    impressions: int
    ctr: float
    lift: float
    horizons: tuple[PlanHorizon, ...]
    days_needed: int | None


class Tables(Protocol):
    """The released tables."""

    def days(self, wanted: Table, closed: int) -> range:
        """Return the last days in a row that were released, up to the last closed one."""

    def body(self, query: QueryId) -> bytes | None:
        """Return the bytes of a release."""


class Reports(Protocol):
    """Answers reports."""

    @property
    def released(self) -> Tables:
        """The released tables."""

    def closed(self) -> int:
        """Return the last closed day."""

    def ask(
        self,
        caller: Caller,
        report: str,
        first: int,
        last: int,
        by: Iterable[str] | None,
        where: dict[str, list[str]],
    ) -> Answer:
        """Answer what a caller asks of its own. Raises QueryRefused."""

    def state(self, campaign: str, advertiser: str | None) -> State:
        """Say where a campaign of theirs stands. Raises NotFound."""

    def invoices(self, told: Answer) -> Iterator[Invoice]:
        """Yield the exact totals of the campaigns in a report."""


def add_reports(api: Api, reports: Reports) -> None:
    """Add the routes."""
    path = {"report": {"type": "string", "enum": list(REPORTS)}}
    asks: dict[str, Any] = {"scopes": ALL, "problems": (404, 409, 422), "path": path, "query": _QUERY}

    @api.route("/v1/reports", "GET", scopes=ALL, answer=ReportKinds)
    def list_reports(caller: Caller) -> ReportKinds:
        """List the reports and the days that were released of each."""
        require_noise()
        closed = reports.closed()
        items = tuple(_kind(reports, name, closed) for name in seen_by(caller))
        return ReportKinds(items, day_of(closed).isoformat(), UNIT, total())

    @api.route("/v1/reports/<report>", "GET", answer=ReportAnswer, **asks)
    def get_report(caller: Caller, report: str) -> ReportAnswer:
        """Read a report: noisy sums with their margins."""
        told = _answered(reports, caller, report)
        return _wire(told, tuple(_invoice(one) for one in reports.invoices(told)))

    @api.route("/v1/reports/<report>/csv", "GET", answer=str, answer_media="text/csv", **asks)
    def get_report_csv(caller: Caller, report: str) -> Response:
        """Read a report as CSV."""
        return _file(csv_of(_answered(reports, caller, report)), "text/csv", f"{report}.csv")

    @api.route(
        "/v1/reports/<report>/parquet",
        "GET",
        answer=bytes,
        answer_media="application/vnd.apache.parquet",
        **asks,
    )
    def get_report_parquet(caller: Caller, report: str) -> Response:
        """Read a report as Parquet."""
        try:
            data = parquet_of(_answered(reports, caller, report))
        except ReportError as error:
            raise Refused(503, "Parquet cannot be written", str(error)) from None
        return _file(data, "application/vnd.apache.parquet", f"{report}.parquet")

    @api.route(
        "/v1/campaigns/<campaign>/state",
        "GET",
        scopes=("operator", "compliance", "advertiser"),
        answer=CampaignState,
        problems=(404,),
        path={"campaign": {"type": "string", "pattern": ID}},
    )
    def get_campaign_state(caller: Caller, campaign: str) -> CampaignState:
        """Say where a campaign stands today: on track, behind or stopped, and why."""
        try:
            state = reports.state(campaign, caller.tenant)
        except NotFound:
            raise Refused(404, "Unknown", "There is no such campaign, or it is not yours.") from None
        return CampaignState(state.state, state.why)

    @api.route("/v1/report-plan", "GET", scopes=ALL, answer=PlanAnswer, problems=(422,), query=_PLAN)
    def get_report_plan(caller: Caller) -> PlanAnswer:
        """Say before booking what reports will be able to tell."""
        require_noise()
        told = read_plan()
        horizons = tuple(PlanHorizon(*astuple(one)) for one in told.horizons)
        return PlanAnswer(told.impressions, told.ctr, told.lift, horizons, told.days_needed)

    @api.route(
        "/v1/releases/<query>",
        "GET",
        scopes=AUDITORS,
        answer=dict[str, Any],
        problems=(404,),
        path={"query": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
    )
    def get_release(caller: Caller, query: str) -> Response:
        """Read the bytes of a release, whose hash the log tells."""
        body = reports.released.body(QueryId(query)) if _QUERY_ID.fullmatch(query) else None
        if body is None:
            raise Refused(404, "Unknown", "Nothing was released under this name.")
        return Response(body, 200, SAFE_HEADERS, mimetype="application/json")


def require_noise() -> None:
    """Answer 503 where there is no noise: then nothing may be told. Raises Refused."""
    if not noise.is_installed():
        raise Refused(503, "No reports", "Noise comes from OpenDP alone, which is not installed.")


def read_query() -> tuple[int, int, list[str] | None, dict[str, list[str]]]:
    """Read days, dimensions and values from the query string. Raises Refused."""
    faults: list[Fault] = []
    first, last = _day("from", faults), _day("to", faults)
    given = request.args.getlist("by")
    if len(given) > 1:
        faults.append(Fault("by", "more than one", "one list, parted by commas"))
    by = [dim for dim in given[0].split(",") if dim] if given else None
    where = {dim: values for dim in DIMS if (values := request.args.getlist(dim))}
    faults += [
        Fault(dim, f"{len(values)} values", f"at most {MOST_VALUES}")
        for dim, values in where.items()
        if len(values) > MOST_VALUES
    ]
    if first is None and not faults:
        faults.append(Fault("from", "nothing", "a day, such as 2026-11-26"))
    if faults or first is None:
        raise Refused(422, "Invalid query", None, faults)
    return first, first if last is None else last, by, where


def read_plan() -> Plan:
    """Work out what the query string asks. Raises Refused."""
    found: dict[str, float] = {}
    for name in PLAN_KEYS:
        given = request.args.getlist(name)
        if not given and name == "lift":
            found[name] = 0.2
        elif len(given) == 1 and _NUMBER.fullmatch(given[0]):
            found[name] = float(given[0])
        else:
            raise Refused(422, "Invalid query", None, (Fault(name, "something else", "one number"),))
    with told():
        return plan(int(found["impressions"]), found["ctr"], found["lift"])


@contextmanager
def told() -> Iterator[None]:
    """Answer what no released table answers as a problem, with what is allowed."""
    try:
        yield
    except QueryRefused as refused:
        fault = Fault(refused.field, refused.got, refused.expected)
        if refused.now:
            raise Refused(409, "Not released", str(refused), (fault,)) from None
        if refused.field == "report":
            raise Refused(404, "Unknown", str(refused), (fault,)) from None
        raise Refused(422, "Invalid query", None, (fault,)) from None


def _answered(reports: Reports, caller: Caller, report: str) -> Answer:
    require_noise()
    if report not in seen_by(caller):  # another scope's is like one that does not exist
        fault = Fault("report", "another name", f"one of {', '.join(seen_by(caller))}")
        raise Refused(404, "Unknown", "There is no such report, or it is not yours.", (fault,))
    first, last, by, where = read_query()
    with told():
        return reports.ask(caller, report, first, last, by, where)


def _day(name: str, faults: list[Fault]) -> int | None:
    given = request.args.getlist(name)
    if not given:
        return None
    try:
        if len(given) == 1 and _DATE.fullmatch(given[0]):
            return day_number(date.fromisoformat(given[0]))
    except ValueError:
        pass
    faults.append(Fault(name, "something else", "one day, such as 2026-11-26"))
    return None


def _kind(reports: Reports, name: str, closed: int) -> ReportKind:
    report = REPORTS[name]
    days = reports.released.days(table(report.measures[0].day), closed)
    period = Period(day_of(days[0]).isoformat(), day_of(days[-1]).isoformat(), ZONE) if days else None
    return ReportKind(name, report.says, report.dims, tuple(m.name for m in report.measures), period)


def _wire(told: Answer, invoices: tuple[InvoiceAnswer, ...]) -> ReportAnswer:
    query = told.query
    return ReportAnswer(
        query.report.name,
        Period(day_of(query.first).isoformat(), day_of(query.last).isoformat(), ZONE),
        query.by,
        tuple(_row(told, row) for row in told.rows),
        None if told.total is None else _row(told, told.total),
        told.withheld,
        told.untold,
        FLOOR,
        query.report.unit,
        told.micro_epsilon,
        query.report.lost_in_all,
        tuple(Group(views, views * told.micro_epsilon) for views in GROUPS),
        told.mechanisms,
        told.delta,
        told.releases,
        invoices,
        WHY_NOISY,
    )


def _row(told: Answer, row: Row) -> ReportRow:
    measures = told.query.report.measures
    return ReportRow(
        dict(zip(told.query.by, row.key, strict=True)),
        row.merged,
        {m.name: NoisyNumber(*value) for m, value in zip(measures, row.values, strict=True)},
        None if row.ctr is None else Interval(*row.ctr),
        None if row.fill is None else Interval(*row.fill),
    )


def _invoice(made: Invoice) -> InvoiceAnswer:
    return InvoiceAnswer(**{name: getattr(made, name) for name in InvoiceAnswer.__struct_fields__})


def _file(data: bytes, media: str, name: str) -> Response:
    headers = [*SAFE_HEADERS, ("Content-Disposition", f'attachment; filename="{name}"')]
    return Response(data, 200, headers, content_type=media)
