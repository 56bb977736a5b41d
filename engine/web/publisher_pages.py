"""/publisher: how a publisher stands, as a page of plain HTML: numbers by section, today, and the installation.

Numbers are sums of released tables. Of today nothing is told but what the catalogue itself says. As at /reports there
is no session and no script: the form sends the key in its body, and nobody keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from flask import Response, request
from jinja2 import Environment, PackageLoader

from engine.campaign import Publisher
from engine.doctor import DoctorError, Finding, Standing, examine_source
from engine.errors import QueryRefused
from engine.keys import Caller
from engine.publisher.tag import tag_files
from engine.report import FLOOR
from engine.report_show import WHY_NOISY, interval, number
from engine.reporting import Reporting
from engine.today import Today
from engine.web.api import Api
from engine.web.form_fields import key_sent
from engine.web.origins import Origins
from engine.web.report_pages import HEADERS
from privacy.release import day_of
from privacy.workload import table

PATH = "/publisher"
DAYS = 28
MOST_FIELD = 200  # characters
MOST_SOURCE = 400_000
TODAY: Mapping[Today, str] = {
    "many": "Many campaigns may run on your pages now.",
    "few": "Few campaigns may run on your pages now: some views may stay empty.",
    "house": "No paying campaign may run on your pages now; your own do.",
    "none": (
        "Nothing may run on your pages now: look at whether you stopped everything, at what you block, at your floor, "
        "and at what waits for approval."
    ),
}
_SHOWN = (200, 401, 403, 422)  # all of them with a page


class PublisherPages:
    """Answers publishers."""

    def __init__(
        self,
        reporting: Reporting,
        today: Callable[[str], Today | None],
        holder: Callable[[str], Caller | None],
        publishers: Callable[[], Mapping[str, Publisher]],
        base_url: str,
    ) -> None:
        self._reporting, self._today, self._holder = reporting, today, holder
        self._house = _House(base_url, publishers)
        root = urlsplit(base_url).path.rstrip("/")
        self._pages = Environment(loader=PackageLoader("engine", "web/templates/publisher"), autoescape=True)
        self._pages.globals["root"] = root

    def form(self) -> Response:
        """Open the publisher's page."""
        return self._page(200)

    def show(self) -> Response:
        """Show a publisher how it stands, and look at a page that it pastes."""
        key = key_sent()
        caller = self._holder(key)
        if caller is None:
            return self._page(401, fault="This key is not valid.")
        url = request.form.get("url", "").strip()[:MOST_FIELD]
        source, policy = request.form.get("source", "")[:MOST_SOURCE], request.form.get("policy", "").strip()
        given = {"url": url, "source": source, "policy": policy[:2000]}
        if caller.scope != "publisher" or caller.tenant is None:
            return self._page(403, given, fault="This is a page for publishers: their key is asked for.")
        told: dict[str, Any] = {
            "publisher": caller.tenant,
            "today": TODAY.get(self._today(caller.tenant) or "none"),
            "numbers": self._numbers(caller),
        }
        if not (url or source):
            return self._page(200, given, key=key, told=told)
        try:
            findings = examine_source(url, source, policy, self._house)
        except DoctorError as error:
            return self._page(422, given, key=key, told=told, fault=f"{error}")
        return self._page(200, given, key=key, told=told, findings=findings)

    def _numbers(self, caller: Caller) -> dict[str, Any] | None:
        """Return what was shown, stayed empty and was paid by section on the last released days; None before any."""
        closed = self._reporting.closed()
        days = self._reporting.released.days(table("placements"), closed)[-DAYS:]
        if not days:
            return None
        try:
            told = self._reporting.ask(caller, "sections", days[0], days[-1], ["section"], {})
        except QueryRefused:
            return None
        names = [measure.name for measure in told.query.report.measures]
        rows = [
            (
                "all" if row is told.total else row.key[0] or "others, below the floor",
                interval(row.fill),
                *(
                    f"{number(name, v.value)} ± {number(name, v.margin95)}"
                    for name, v in zip(names, row.values, strict=True)
                ),
            )
            for row in [*told.rows, *([told.total] if told.total else [])]
        ]
        return {"rows": rows, "first": day_of(days[0]).isoformat(), "last": day_of(days[-1]).isoformat()}

    def _page(
        self,
        status: int,
        given: Mapping[str, str] | None = None,
        *,
        key: str = "",
        told: dict[str, Any] | None = None,
        findings: list[Finding] | None = None,
        fault: str | None = None,
    ) -> Response:
        text = self._pages.get_template("publisher.html").render(
            given=given or {"url": "", "source": "", "policy": ""},
            key=key,
            told=told,
            findings=findings,
            fault=fault,
            floor=FLOOR,
            why=WHY_NOISY,
        )
        return Response(text, status, HEADERS, content_type="text/html; charset=utf-8")


def add_publisher_pages(api: Api, pages: PublisherPages) -> None:
    """Add the routes."""
    html: dict[str, Any] = {"answer": str, "answer_media": "text/html"}
    api.raw(PATH, "GET", name="publisher_page", **html)(pages.form)
    api.raw(PATH, "POST", name="show_publisher", statuses=_SHOWN, problems=(413,), **html)(pages.show)
    style = files("engine").joinpath("web", "static", "reports", "reports.css").read_text("utf-8")

    @api.route(f"{PATH}/publisher.css", "GET", answer=str, answer_media="text/css")
    def publisher_style() -> Response:
        """Load the page's style."""
        return Response(style, 200, HEADERS, content_type="text/css; charset=utf-8")


class _House:
    """Satisfies engine.doctor.House: no page is asked for, and neither is the service."""

    def __init__(self, base_url: str, publishers: Callable[[], Mapping[str, Publisher]]) -> None:
        self._files = {base_url + file.path: file.data for file in tag_files()}
        self._publishers = publishers

    def file(self, address: str) -> bytes | None:
        """Return a file of the tag."""
        return self._files.get(address)

    def standing(self, publisher: str, origin: str) -> Standing:
        """Say whether pages of an origin may ask in a publisher's name."""
        found = self._publishers().get(publisher)
        if found is None:
            return "unknown"
        return "known" if Origins.belongs(origin, found) else "foreign"
