"""The commands that tell of many page views at once, and those that prove what such telling costs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli_shared import FOUND, as_json, show

if TYPE_CHECKING:
    from engine.reporting import Reporting
    from engine.tally import Tally

day_type = click.DateTime(["%Y-%m-%d"])
engine_option = click.option(
    "--engine",
    metavar="URL",
    help="Count there, by Ibis, what is in its tables `events` and `decided`: postgres://…, duckdb:///FILE.",
)


@click.group()
def report() -> None:
    """Tell of closed days, with noise and margins; nothing else is told of page views."""


@report.command("release")
@click.option("--day", type=day_type, help="A closed day, UTC. [default: all that are due]")
@engine_option
@as_json
def report_release(day: datetime | None, engine: str | None, as_json: bool) -> None:
    """Release the tables of closed days, each once. A service does it by itself, at 02:00 UTC.

    Exits 1 where a table was refused or failed. Example: tactful report release
    """
    from engine.reporting import plain_done
    from privacy.release import day_number

    done = []
    with _reporting(engine) as reporting:
        if day is None:
            done = [plain_done(*one) for one in reporting.release_due()]
        else:
            number = day_number(day.date())
            done = [plain_done(number, reporting.releases.release(number))]
    lines = (
        f"{one['day']}: {len(one['released'])} tables released"
        + "".join(f"\n  {name}: its budget is spent" for name in one["refused"])
        + "".join(f"\n  {text}" for text in one["failed"])
        for one in done
    )
    show(done, as_json, lines if done else ["nothing is due"])
    if any(one["refused"] or one["failed"] for one in done):
        sys.exit(FOUND)


@report.command("tables")
@as_json
def report_tables(as_json: bool) -> None:
    """List every table that is released, with what it costs a page view.

    Example: tactful report tables
    """
    from privacy.noise import MICRO
    from privacy.workload import TABLES, UNIT, total

    rows: list[dict[str, Any]] = []
    for one in TABLES:
        noise = one.noise()
        rows.append(
            {
                "table": one.name, "use": one.use, "kind": one.kind, "by": list(one.dims), "days": one.days,
                "l1": one.l1, "micro_epsilon": one.micro_epsilon, "mechanism": noise.mechanism,
                "scale": noise.scale, "margin95": noise.margin95,
            }
        )  # fmt: skip
    lines = [f"unit: {UNIT}", f"epsilon of a page view, in all: {total() / MICRO:g}", ""]
    lines += [
        f"{r['table']:28} {r['use']:9} {r['days']:3} d  epsilon {r['micro_epsilon'] / MICRO:<6g} "
        f"± {r['margin95']:<9,} by {', '.join(r['by'])}"
        for r in rows
    ]
    show(rows, as_json, lines)


@report.command("show")
@click.argument("name", metavar="REPORT")
@click.option("--from", "first", type=day_type, help="First day, UTC. [default: 28 days up to the last]")
@click.option("--to", "last", type=day_type, help="Last day, UTC. [default: the last closed day]")
@click.option("--by", help="Dimensions, parted by commas; day is one.")
@click.option("--where", multiple=True, metavar="DIM=VALUE", help="Only this value; may be repeated.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write a chart into this file (SVG).")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--parquet", type=click.Path(path_type=Path), help="Write Parquet into this file.")
def report_show(
    name: str,
    first: datetime | None,
    last: datetime | None,
    by: str | None,
    where: tuple[str, ...],
    plot: Path | None,
    as_csv: bool,
    parquet: Path | None,
) -> None:
    """Print a report: creatives, contexts, votes, sections, topics or moments.

    Exits 1 where days were not released. Example: tactful report show creatives --by campaign --plot campaigns.svg
    """
    from engine.keys import Caller
    from engine.report import REPORTS
    from engine.report_files import csv_of, parquet_of
    from engine.report_show import amount, chart, lines
    from privacy.release import day_number, period_of
    from privacy.workload import table

    with _reporting() as reporting:
        to = reporting.closed() if last is None else day_number(last.date())
        start = to - 27 if first is None else day_number(first.date())
        if first is None and last is None and (known := REPORTS.get(name)) and not known.is_daily:
            told_of = table(known.measures[0].day)
            whole = reporting.released.days(told_of, to)[-told_of.days :] or period_of(told_of, to)
            start, to = whole[0], whole[-1]
        asked = None if by is None else [dim for dim in by.split(",") if dim]
        told = reporting.ask(Caller("operator", None, "cli"), name, start, to, asked, _narrowed(where))
        invoices = list(reporting.invoices(told))
    if parquet is not None:
        parquet.write_bytes(parquet_of(told))
    if plot is not None:
        plot.write_text(chart(told), "utf-8")
    if as_csv:
        click.echo(csv_of(told), nl=False)
        return
    show(None, False, lines(told))
    for invoice in invoices:
        back = f", {amount(invoice.refunded_micros)} given back" if invoice.refunded_micros else ""
        click.echo(
            f"invoice {invoice.campaign} {invoice.month} ({invoice.timezone}): "
            f"{amount(invoice.micros)} {invoice.currency} for {invoice.events:,} events, exactly{back}"
        )


@report.command("plan")
@click.option("--impressions", type=int, required=True, help="Of one creative, a day.")
@click.option("--ctr", type=float, required=True, help="Clicks per impression, such as 0.005.")
@click.option("--lift", type=float, default=0.2, show_default=True, help="Relative difference to be found.")
@as_json
def report_plan(impressions: int, ctr: float, lift: float, as_json: bool) -> None:
    """Say before booking what reports will be able to tell: margins, smallest difference, days needed.

    Example: tactful report plan --impressions 5000 --ctr 0.005
    """
    from dataclasses import asdict

    from engine.report_plan import plan
    from engine.report_show import percent

    told = plan(impressions, ctr, lift)
    lines = [
        f"{h.days:3} days: impressions ± {h.margin95:,} ({percent(h.relative_margin)}); "
        f"smallest lift of the CTR that is found: {percent(h.smallest_lift)}"
        for h in told.horizons
    ]
    needed = "not within ten years" if told.days_needed is None else f"{told.days_needed} days"
    lines.append(f"a lift of {100 * lift:g} % is found after: {needed}")
    show(asdict(told), as_json, lines)


@report.command("status")
@click.argument("campaign")
@as_json
def report_status(campaign: str, as_json: bool) -> None:
    """Say where a campaign stands today: on track, behind or stopped, and why.

    Example: tactful report status spring-campaign
    """
    from dataclasses import asdict

    with _reporting() as reporting:
        state = reporting.state(campaign)
    show(asdict(state), as_json, [f"{state.state}: {state.why}"])


@report.command("forecast")
@click.argument("name", metavar="REPORT")
@click.option("--days", type=int, default=28, show_default=True, help="Days to come.")
@click.option("--where", multiple=True, metavar="DIM=VALUE", help="Only this value; may be repeated.")
@as_json
def report_forecast(name: str, days: int, where: tuple[str, ...], as_json: bool) -> None:
    """Foretell what there will be to show, from released days: topics, sections or moments.

    Exits 1 before two days were released. Example: tactful report forecast topics --days 7
    """
    from dataclasses import asdict

    from engine.report_plan import forecast

    with _reporting() as reporting:
        found = list(forecast(reporting.released, name, reporting.closed(), days, _narrowed(where)))
    lines = (f"{' / '.join(f.key)}: {f.expected:,} ({f.low:,} to {f.high:,})" for f in found)
    show([asdict(f) for f in found], as_json, lines if found else ["nothing above the floor"])


@click.command("noise")
@click.option("--epsilon", type=float, required=True, help="What a page view is said to lose, such as 1.")
@click.option("--canaries", type=int, default=20_000, show_default=True, help="Page views that are planted.")
@click.option(
    "--planted/--no-planted", default=True, help="Measure the proof by builds with too little noise."
)
@as_json
def prove_noise(epsilon: float, canaries: int, planted: bool, as_json: bool) -> None:
    """Audit from outside what a page view loses to a day's releases, on a copy.

    Exits 1 where the epsilon is refuted, or a planted fault is not found. Example: tactful prove noise --epsilon 1
    """
    from engine.config import Config
    from engine.prove.noise import prove_noise as run

    verdict = run(Config.from_env(), epsilon, canaries, planted)
    show(verdict.plain(), as_json, verdict.lines())
    if not verdict.holds:
        sys.exit(FOUND)


@click.command("ledger")
@as_json
def prove_ledger(as_json: bool) -> None:
    """Add up anew what was told, average a question away, and spend a hundred times at once, on a copy.

    Exits 1 where the ledger does not hold, or a planted fault is not found. Example: tactful prove ledger
    """
    from engine.config import Config
    from engine.prove.ledger import prove_ledger as run

    verdict = run(Config.from_env())
    show(verdict.plain(), as_json, verdict.lines())
    if not verdict.holds:
        sys.exit(FOUND)


@contextmanager
def _reporting(engine: str | None = None) -> Iterator[Reporting]:
    import secrets

    from engine.config import Config
    from engine.errors import StoreError
    from engine.report_keys import topics
    from engine.reporting import Reporting
    from engine.store import open_store
    from engine.tally import EngineTally

    config = Config.from_env()
    if config.store is None and not config.database.exists():
        raise StoreError(f"{config.database}: there is no store yet; make one with `tactful init`")
    tally: Tally | None = None if engine is None else EngineTally(engine, topics())
    store = open_store(config.store_url)
    try:
        leaves = store.leaves(secrets.token_bytes if config.log_profile == "public" else None)
        yield Reporting(config, store, leaves, lambda: datetime.now(UTC), tally)
    finally:
        store.close()


def _narrowed(where: Iterable[str]) -> dict[str, list[str]]:
    narrowed: dict[str, list[str]] = {}
    for one in where:
        dim, _, value = one.partition("=")
        narrowed.setdefault(dim, []).append(value)
    return narrowed
