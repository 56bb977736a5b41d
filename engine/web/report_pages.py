"""/reports: the reports as pages of plain HTML, for who has a key and a browser; and the plan, for everybody.

There is no session and no script: the form sends the key with each question, in the body, and nobody keeps it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from importlib.resources import files
from typing import Any

from flask import Response, request
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from engine.errors import QueryRefused
from engine.keys import Caller
from engine.report import DAY, FLOOR, REPORTS, Answer
from engine.report_plan import forecast, plan
from engine.report_show import (
    WHY_NOISY,
    amount,
    chart,
    facts,
    interval,
    labels,
    measure_title,
    number,
    percent,
    ratios,
    title_of,
)
from engine.reporting import Reporting, seen_by
from engine.web.api import Api, Refused
from engine.web.reports import require_noise
from privacy.release import day_number, day_of

HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
)
_SHOWN = (200, 401, 404, 409, 422)  # all of them with a page
FIELDS = ("key", "report", "from", "to")
MOST_FIELD = 200  # characters
MOST_FORM = 16 * 1024  # bytes
MOST_ROWS = 500  # of a page; files have all
MOST_STATES = 50
FORESEEN = 7  # days
_FORETOLD = ("sections", "topics", "moments")


def add_report_pages(
    api: Api, reporting: Reporting, caller_of: Callable[[str], Caller | None], root: str
) -> None:
    """Add the pages. `root` is the path under which the service is reached."""
    pages = Environment(loader=PackageLoader("engine", "web/templates/reports"), autoescape=True)
    pages.filters["amount"] = amount
    style = files("engine").joinpath("web", "static", "reports", "reports.css").read_text("utf-8")

    def page(name: str, status: int = 200, **values: Any) -> Response:
        text = pages.get_template(name).render(root=root, **values)
        return Response(text, status, HEADERS, content_type="text/html; charset=utf-8")

    def report_page(
        status: int, form: dict[str, str], fault: str | None = None, told: Any = None
    ) -> Response:
        return page(
            "report.html", status, title="Reports", kinds=REPORTS.values(), form=form, fault=fault, told=told
        )

    @api.route("/reports", "GET", answer=str, answer_media="text/html")
    def reports_page() -> Response:
        """Open the page of the reports."""
        last = day_of(reporting.closed())
        first = day_of(reporting.closed() - 27)
        return report_page(200, _form("", "creatives", first.isoformat(), last.isoformat()))

    @api.route("/reports/reports.css", "GET", answer=str, answer_media="text/css")
    def reports_style() -> Response:
        """Load the pages' style."""
        return Response(style, 200, HEADERS, content_type="text/css; charset=utf-8")

    @api.route("/reports/plan", "GET", answer=str, answer_media="text/html", statuses=(200, 422))
    def plan_page() -> Response:
        """Say before booking what reports will be able to tell."""
        given = {name: request.args.get(name, "")[:MOST_FIELD] for name in ("impressions", "ctr", "lift")}
        form = {
            name: given[name] or usual for name, usual in zip(given, ("5000", "0.005", "0.2"), strict=True)
        }
        fault = told = None
        if given["impressions"] or given["ctr"]:
            try:
                require_noise()
                told = plan(int(form["impressions"]), float(form["ctr"]), float(form["lift"]))
            except ValueError:
                fault = "Numbers are expected, such as 5000, 0.005 and 0.2."
            except QueryRefused as refused:
                fault = _sentence(refused)
            except Refused as refused:
                fault = refused.problem.detail
        return page(
            "plan.html",
            422 if fault else 200,
            title="Plan",
            form=form,
            fault=fault,
            told=told,
            percent=percent,
        )

    @api.raw(
        "/reports",
        "POST",
        name="show_report",
        answer=str,
        answer_media="text/html",
        statuses=_SHOWN,
        problems=(413,),
    )
    def show_report() -> Response:
        """Show a report to who sends a key."""
        request.max_content_length = MOST_FORM
        given = {name: request.form.get(name, "")[:MOST_FIELD] for name in FIELDS}
        form = _form(given["key"], given["report"], given["from"], given["to"])
        caller = caller_of(given["key"])
        if caller is None:
            return report_page(401, _form("", *list(form.values())[1:]), "This key is not valid.")
        try:
            require_noise()
            first, last = (day_number(date.fromisoformat(form[name])) for name in ("first", "last"))
            report = form["report"]
            if report not in seen_by(caller):
                return report_page(404, form, f"With this key you see: {', '.join(seen_by(caller))}.")
            told = reporting.ask(caller, report, first, last, None, {})
        except ValueError:
            return report_page(422, form, "Two days are expected, such as 2026-11-01 and 2026-11-28.")
        except QueryRefused as refused:
            return report_page(409 if refused.now else 422, form, _sentence(refused))
        except Refused as refused:
            return report_page(refused.problem.status, form, refused.problem.detail)
        return report_page(200, form, None, _shown(reporting, caller, told))


def _form(key: str, report: str, first: str, last: str) -> dict[str, str]:
    return {"key": key, "report": report, "first": first, "last": last}


def _sentence(refused: QueryRefused) -> str:
    return f"{refused.field}: {refused.got}. Expected: {refused.expected}."


def _shown(reporting: Reporting, caller: Caller, told: Answer) -> dict[str, Any]:
    query, report = told.query, told.query.report
    called = labels()
    measures = [measure.name for measure in report.measures]
    columns = [f"{measure_title(name)} ± margin" for name in measures]
    columns += [f"{title} (interval)" for _, title in ratios(report)]
    rows = []
    for row in [*told.rows[:MOST_ROWS], *([told.total] if told.total else [])]:
        title = "total" if row is told.total else title_of(told, row, called)
        cells = [
            f"{number(name, v.value)} ± {number(name, v.margin95)}"
            for name, v in zip(measures, row.values, strict=True)
        ]
        cells += [interval(getattr(row, name)) for name, _ in ratios(report)]
        rows.append([title, *cells])
    pictures = [chart(told, place) for place in range(len(measures))]
    if query.last > query.first and report.is_daily:
        pictures.append(chart(reporting.ask(caller, report.name, query.first, query.last, [DAY], {})))
    return {
        "says": report.says,
        "period": facts(told)[0][1],
        "columns": columns,
        "rows": rows,
        "charts": [Markup(picture) for picture in pictures],  # noqa: S704 - drawn here, every text in it escaped
        "facts": facts(told)[1:],
        "why": WHY_NOISY,
        "floor": FLOOR,
        "invoices": list(reporting.invoices(told)) if report.owner == "campaign" else None,
        "states": _states(reporting, caller) if report.owner == "campaign" else None,
        "forecast": _forecast(reporting, caller, report.name) if report.name in _FORETOLD else None,
        "forecast_days": FORESEEN,
    }


def _states(reporting: Reporting, caller: Caller) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for campaign in reporting.campaigns(caller.tenant):
        if len(found) == MOST_STATES:
            break
        found.append((campaign.id, reporting.state(campaign.id, caller.tenant)))
    return found


def _forecast(reporting: Reporting, caller: Caller, report: str) -> list[tuple[str, Any]]:
    called = labels()
    own = caller.tenant is not None and REPORTS[report].owner is not None
    where = {"publisher": [caller.tenant or ""]} if own else {}
    dims = REPORTS[report].dims
    try:
        found = list(forecast(reporting.released, report, reporting.closed(), FORESEEN, where))
    except QueryRefused:
        return []
    named = []
    for one in sorted(found, key=lambda one: -one.expected)[:MOST_STATES]:
        parts = (
            called[dim](value) if dim in called else value or f"{dim} not known"
            for dim, value in zip(dims, one.key, strict=True)
        )
        named.append((" / ".join(parts), one))
    return named
