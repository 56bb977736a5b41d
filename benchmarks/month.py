"""A month of the demo site, played through the service's own doors under a clock: `python -m benchmarks month`.

Readers open the magazine's articles at all hours; what happens to the creatives they are given is told late, twice,
too late or never, and some of them are machines. Beside the service, the benchmark keeps the truth: every event that
counts, by what its token says. Each night is released. In the end it is compared what the service bills and tells
with what was: invoices to the micro-unit, printed margins by how often they hold.

With `--state` the installation stays and can be served, proved or moved; with `--out`, reports are written there
as an advertiser and the publisher see them in a browser.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import json
import math
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from msgspec.structs import replace

from engine.campaign import Flight
from engine.change import Change
from engine.demo.magazine import HERE, Article, read_articles
from engine.demo.start import demo_config, prepare
from engine.events import TOKEN_S, Event, Row
from engine.invoices import invoice, month_of
from engine.keys import create_key
from engine.record import PIXEL
from engine.report_keys import topics
from engine.sections import OTHER
from engine.services import Services
from engine.store import open_store
from engine.web.app import create_app
from privacy.release import Release, day_number, query_of
from privacy.visit import CONDITIONS
from privacy.workload import MOST_PRICE, MOST_WEIGHT, NEARNESS, SLOTS, TABLES, WHOLE, Table

MONTH = "2026-10"
FIRST, DAYS = date(2026, 10, 1), 31
MACHINE = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
BROWSERS = (  # user agent, and how often
    ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/141.0.0.0 Mobile Safari/537.36", 46),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Mobile Safari/604.1",
        22,
    ),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0.0.0 Safari/537.36", 24),
    ("Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Safari/604.1", 5),
    (MACHINE, 3),
)
PLACEMENTS = (
    {"id": "top", "formats": ["native", "banner"]},
    {"id": "side", "formats": ["native", "banner"]},
    {"id": "end", "formats": ["native"]},
)
SEEN, VIEWED = 0.95, 0.6  # share of placements whose impression is told, and of those, of viewable ones
TWICE, TOO_LATE = 0.04, 0.01  # of tokens
CLICKED = (0.002, 0.03)  # of impressions, by creative: clicks are worth counting in a short month
BEACON = {"content_type": "text/plain", "user_agent": BROWSERS[0][0]}
CLICK = "/click/"
KINDS = {"click": "click", "vote": "vote"}  # events that are counted in tables of a kind; others: impressions
LOOK_S = 15  # between looks at budgets, while readers come
BATCH = 60  # tokens of a request
LEAST_COVERED = 0.94


def main(argv: Sequence[str]) -> int:
    """Print what was billed and told beside the truth; return 1 where they are apart."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks month", description=__doc__)
    parser.add_argument("--views", type=int, default=200_000, help="page views in all (default 200000)")
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--state", type=Path, help="keep the installation in this new folder")
    parser.add_argument("--out", type=Path, help="write report pages into this folder")
    parser.add_argument("--store", help="URL of an empty PostgreSQL database (default: an SQLite file)")
    options = parser.parse_args(argv)
    with ExitStack() as stack:
        state = options.state or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="tactful-month-"))
        )
        os.environ.setdefault(
            "PROMETHEUS_MULTIPROC_DIR", stack.enter_context(tempfile.TemporaryDirectory(prefix="tactful-"))
        )
        month = Month(state, random.Random(options.seed), options.store)  # noqa: S311 - a simulation
        stack.callback(month.close)
        started = time.perf_counter()
        for day in range(DAYS):
            month.play(day, round(options.views * (day + 1) / DAYS) - round(options.views * day / DAYS))
        month.end()
        print(
            f"{month.views:,} page views in {DAYS} days, {len(month.truth):,} valid events told, "
            f"{time.perf_counter() - started:.0f} s; answers: {dict(month.answers)}"
        )
        good = month.answers.keys() <= {200, 204, 302} and _bills(month) & _margins(month)
        if options.out is not None:
            good &= _pages(month, options.out)
        return 0 if good else 1


class Month:
    """The demo under a clock of its own, its readers, and the truth about them."""

    def __init__(self, state: Path, chance: random.Random, store: str | None = None) -> None:
        self.now = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
        self.chance = chance
        self.config = dataclasses.replace(demo_config(state, 8137), store=store)
        prepare(self.config, self.now)
        self._book()
        self.services = Services(
            self.config,
            now=lambda: self.now,
            monotonic=lambda: self.now.timestamp(),
            random_bytes=chance.randbytes,
        )
        folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        self._app = create_app(self.config, self.services, folder)
        self.services.warm_up()
        self.services.writer.start()
        self.keys = {
            scope: create_key(self.services.store, scope, tenant, "month", self.now, os.urandom)
            for scope, tenant in (("publisher", "demo"), ("advertiser", "velora"), ("operator", None))
        }
        self.services._refresh_keys()
        for _ in self.services.reporting.release_due():  # nothing yet: days count from this one on
            pass
        self.articles = [article for article in read_articles(HERE / "articles")]
        self.bodies = {article.id: _page(article) for article in self.articles}
        self.views = 0
        self.truth: dict[tuple[bytes, int, str], Event] = {}  # valid events that were told in time
        self.answers: Counter[int] = Counter()
        self._told: list[tuple[float, str]] = []  # a heap of tokens, by the time at which they are told
        self.unfilled: Counter[int] = Counter()  # placements of a day's readers that stayed empty
        self.ctr: dict[str, float] = {}
        self._looked = self.now

    def _book(self) -> None:
        """Have some campaigns pay otherwise than by impression, and within budgets."""
        berlin = Flight(daily_budget_micros=2_000_000, timezone="Europe/Berlin")
        booked = {
            "velora-ebike": dict(cpm_micros=0, cpc_micros=450_000),
            "tidepool-lanternfall": dict(cpm_micros=0, vcpm_micros=3_100_000),
            "larch-index": dict(flight=Flight(daily_budget_micros=900_000, timezone="America/New_York")),
            "redcherry-beans": dict(flight=berlin),
        }
        store = open_store(self.config.store_url)
        try:
            found = store.find("campaign", list(booked))
            changes = [Change(found[id], replace(found[id], **terms)) for id, terms in booked.items()]
            store.write(changes, [], store.versions(), "month", self.now)
        finally:
            store.close()

    def play(self, day: int, views: int) -> None:
        """Let readers come for a day, then release the one before."""
        begin = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=day)
        sky = self.chance.choice(CONDITIONS)
        for at in sorted(self._hours(views)):
            self._go_on(begin + timedelta(seconds=at))
            self._view(sky)
        self._go_on(begin + timedelta(days=1))

    def _hours(self, views: int) -> Iterator[float]:
        """Give the seconds of a day at which readers come: few at night, most in the evening."""
        for _ in range(views):
            while True:
                at = self.chance.uniform(0, 86_400)
                if self.chance.random() < 0.55 - 0.45 * math.cos((at / 3600 - 7) * math.pi / 12):
                    yield at
                    break

    def _go_on(self, to: datetime) -> None:
        """Let time pass: what is due is told, budgets are looked at, and past two o'clock a day is released."""
        while self._told and self._told[0][0] <= to.timestamp():
            self.now = max(self.now, datetime.fromtimestamp(self._told[0][0], UTC))
            self._tell()
        if self.now.hour < 3 <= to.hour or to.date() > self.now.date():
            self.now = max(self.now, to)
            for _ in self.services.reporting.release_due():
                pass
            self.services.close_days()
        self.now = max(self.now, to)  # what was told together may have come a little later
        if self.now >= self._looked + timedelta(seconds=LOOK_S):
            self._looked = self.now
            self.services.tick()

    def end(self, days: int = DAYS) -> None:
        """Let the last events of so many days come, and the last days be released."""
        for hours in (1, 3, 27, 51):
            over = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=days)
            self._go_on(over + timedelta(hours=hours))

    def close(self) -> None:
        """End the service."""
        self.services.close()

    def call(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Ask the service as a server would."""
        where = urlsplit(path)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": where.path,
            "QUERY_STRING": where.query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8137",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": headers.pop("content_type", "application/json"),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(body),
            "wsgi.errors": BytesIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
        }
        said: list[Any] = []
        answer = b"".join(self._app(environ, lambda status, head, error=None: said.append((status, head))))
        status, head = said[-1]
        return int(status[:3]), answer, dict(head)

    def _view(self, sky: str) -> None:
        """Open an article, and plan what becomes of what is shown there."""
        chance = self.chance
        (agent,) = chance.choices([a for a, _ in BROWSERS], [n for _, n in BROWSERS])
        article = chance.choice(self.articles)
        body = {
            "publisher": "demo",
            "placements": PLACEMENTS,
            "page": self.bodies[article.id],
            "weather": {"condition": sky},
        }
        status, answer, _ = self.call(
            "POST",
            "/v1/decisions",
            json.dumps(body).encode(),
            user_agent=agent,
            origin="http://127.0.0.1:8137",
        )
        self.answers[status] += 1
        self.views += 1
        if status != 200:
            return
        told = json.loads(answer)
        if agent != MACHINE:
            self.unfilled[day_number(self.now.date())] += len(told["unfilled"])
        for shown in told["decisions"]:
            self._plan(shown)

    def _plan(self, shown: dict[str, Any]) -> None:
        chance, events, creative = self.chance, shown["events"], shown["creative"]["id"]
        if chance.random() > SEEN:
            return
        self._later(events["impression"], chance.uniform(0.1, 5))
        if chance.random() < VIEWED:
            self._later(events["viewable"], chance.uniform(1.5, 60))
        if creative not in self.ctr:
            self.ctr[creative] = random.Random(creative).uniform(*CLICKED)  # noqa: S311 - as above
        if chance.random() < self.ctr[creative]:
            self._later(shown["click_url"], chance.uniform(2, 120))

    def _later(self, address: str, seconds: float) -> None:
        if self.chance.random() < TOO_LATE:
            seconds += TOKEN_S
        for _ in range(2 if self.chance.random() < TWICE else 1):
            heapq.heappush(self._told, (self.now.timestamp() + seconds, address))
            seconds += self.chance.uniform(0, 30)

    def _tell(self) -> None:
        """Tell of what is due first, and with it of what a page would tell within half a minute."""
        at, address = heapq.heappop(self._told)
        if CLICK in address:
            self._note(address)
            status, _, _ = self.call("GET", urlsplit(address).path, user_agent=BROWSERS[0][0])
            self.answers[status] += 1
            return
        due = [address]
        while (
            self._told and self._told[0][0] <= at + 30 and CLICK not in self._told[0][1] and len(due) < BATCH
        ):
            due.append(heapq.heappop(self._told)[1])
        # Of many readers, too: a clock that went on with each request would leave the readers behind.
        self.now = max(self.now, datetime.fromtimestamp(at + 30, UTC))
        for one in due:
            self._note(one)
        status, _, _ = self.call(
            "POST",
            "/v1/events",
            "\n".join(due).encode(),
            content_type="text/plain",
            user_agent=BROWSERS[0][0],
        )
        self.answers[status] += 1

    def _note(self, address: str) -> None:
        """Keep what a token says, if it counts: opened with the key, and judged by its age alone."""
        token = address.rpartition("/")[2].removesuffix(PIXEL)
        read = self.services.door._tickets.read(token, day_number(self.now.date()))
        if (
            read is None
            or self.now.timestamp() * 1000 - read.moment.at_ms > TOKEN_S * 1000
            or read.ticket.ivt
        ):
            return
        event = read.event(False)
        self.truth.setdefault(event.row[:3], event)


def _page(article: Article) -> dict[str, object]:
    return {
        "url": f"http://127.0.0.1:8137/articles/{article.id}",
        "title": article.title,
        "text": article.text,
        "language": "en",
    }


def _bills(month: Month) -> bool:
    """Compare the invoices of all campaigns with what their events cost."""
    money, span = month.services.store.money(), month_of(MONTH)
    campaigns = [one for one in month.services.reporting.campaigns(None) if not one.house]
    days: Counter[tuple[str, int]] = Counter()
    for row, billing_day, _ in month.truth.values():
        if span.first <= billing_day <= span.last:
            days[row.campaign, billing_day] += row.price_micros
    truth: Counter[str] = Counter()
    most = {one.id: one.flight.daily_budget_micros for one in campaigns}
    for (id, _), micros in days.items():  # beyond a day's budget nothing is billed, whatever was shown
        cap = most.get(id)
        truth[id] += micros if cap is None else min(micros, cap)
    billed = {one.id: invoice(money, one, span, month.config.currency, month.now).micros for one in campaigns}
    apart = {id: (micros, truth[id]) for id, micros in billed.items() if micros != truth[id]}
    print(
        f"invoices of {MONTH}: {len(billed)} campaigns, {sum(billed.values()):,} micro-units billed, "
        f"{truth.total():,} true: " + ("equal" if not apart else f"APART (billed, true): {apart}")
    )
    return not apart


def _margins(month: Month) -> bool:
    """Compare every released table with the truth: how often it lies within the margin that is printed."""
    print(f"{'table':32}{'days':>6}{'cells':>10}{'margin':>10}{'held':>10}{'of cells above 0':>20}")
    good = True
    counted = {table.name: _counted(month, table) for table in TABLES}
    for table in TABLES:
        within, above, margins = [], [], set()
        for day in range(day_number(FIRST), day_number(FIRST) + DAYS, table.days):
            first = day - day % table.days
            body = month.services.reporting.budget.kept(query_of(table, first))
            if body is None:
                continue  # 28 days that began before the month
            release = Release.read(body)
            margins.add(release.margin95)
            for key, noisy in release.cells():
                true = counted[table.name][first, key]
                within.append(abs(noisy - true) <= release.margin95)
                if true:
                    above.append(within[-1])
        if not within:
            continue
        held = sum(within) / len(within)
        # The share that holds is itself drawn: of few cells it may lie below by chance.
        good &= held >= LEAST_COVERED - 3 * math.sqrt(0.05 * 0.95 / len(within))
        told = f"{100 * sum(above) / len(above):.2f} % of {len(above):,}" if above else "none"
        margin = "/".join(map(str, sorted(margins)))
        days = len(within) * table.days // len(release.counts)
        print(f"{table.name:32}{days:>6}{len(within):>10,}{margin:>10}{100 * held:>9.2f} %{told:>19}")
    return good


def _counted(month: Month, table: Table) -> Counter[tuple[int, tuple[str, ...]]]:
    """Count what a table counts, from the truth: (first day, key) → n."""
    names = topics()
    sums: Counter[tuple[int, tuple[str, ...]]] = Counter()
    done: set[tuple[bytes, str]] = set()
    bills: Counter[bytes] = Counter()
    pages: dict[bytes, Row] = {}
    for row, _, _ in sorted(month.truth.values(), key=lambda event: event.row[:2]):
        if table.kind == "money":
            bills[row.view] += row.price_micros
            pages[row.view] = row
            continue
        if row.kind != KINDS.get(table.kind, "impression") or row.slot >= SLOTS:
            continue  # nobody votes here
        if table.kind in ("click", "view"):  # one of a page view
            if (row.view, row.kind) in done:
                continue
            done.add((row.view, row.kind))
        for key, each in _cells(table, row, names):
            sums[_first(table, row), key] += each
    if table.kind == "placement":
        for day, empty in month.unfilled.items():
            sums[day, ("demo", OTHER, "unfilled")] += empty
    for view, micros in bills.items():
        for key, _ in _cells(table, pages[view], names):
            sums[_first(table, pages[view]), key] += min(micros, MOST_PRICE)
    return sums


def _first(table: Table, row: Row) -> int:
    return row.day - row.day % table.days


def _cells(
    table: Table, row: Row, names: Mapping[str, tuple[str, str]]
) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the keys under which a table counts an event, each with how much."""
    if "sum" in table.dims:
        if row.weight_milli > 0:
            yield ("shown",), WHOLE
            yield ("gain",), min(row.weight_milli, MOST_WEIGHT) - WHOLE
        return
    alone, beside = names.get(row.topic, ("", ""))
    values = row._asdict() | {"topic": alone if len(table.dims) == 1 else beside, "outcome": "shown"}
    for component in ("", *row.message.split()) if "component" in table.dims else ("",):
        each = max(-NEARNESS, min(NEARNESS, row.nearness)) if table.kind == "nearness" else 1
        yield tuple((values | {"component": component})[dim] for dim in table.dims), each


def _pages(month: Month, out: Path) -> bool:
    """Write report pages as a browser gets them, with their style beside; say whether all were answered."""
    answered = True
    out.mkdir(parents=True, exist_ok=True)
    _, style, _ = month.call("GET", "/reports/reports.css")
    (out / "reports.css").write_bytes(style)
    for scope, reports in (
        ("advertiser", ("creatives", "contexts", "topics")),
        ("publisher", ("sections", "moments")),
    ):
        for report in reports:
            form = {
                "key": month.keys[scope],
                "report": report,
                "from": f"{MONTH}-01",
                "to": f"{MONTH}-{DAYS}",
            }
            status, page, _ = month.call(
                "POST", "/reports", urlencode(form).encode(), content_type="application/x-www-form-urlencoded"
            )
            answered &= status == 200
            text = page.decode().replace("/reports/reports.css", "reports.css")
            (out / f"{scope}-{report}.html").write_text(text, "utf-8")
    print(f"report pages: {out}" + ("" if answered else ": NOT ALL ANSWERED"))
    return answered
