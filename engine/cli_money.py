"""The commands about money: invoices, refunds, and whether the books agree."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import click

from engine.cli_shared import FOUND, as_json, show
from engine.cli_store import open_existing


@click.group()
def money() -> None:
    """Look over what campaigns were billed."""


@money.command("check")
@as_json
def money_check(as_json: bool) -> None:
    """Compare events, ledger, accounts and journal to the micro-unit.

    Exits 1 where they do not agree. Example: tactful money check
    """
    from engine.config import Config
    from engine.events import oldest_kept

    with open_existing(Config.from_env()) as store:
        faults = store.money().faults(oldest_kept(datetime.now(UTC)))
    show({"agree": not faults, "faults": faults}, as_json, faults or ["The books agree."])
    if faults:
        sys.exit(FOUND)


@money.command("refund")
@click.argument("campaign")
@click.argument("month")
@click.argument("micros", type=click.IntRange(1, 10**15))
@click.option("--key", required=True, help="Your name for it: the same key is written once.")
@click.option("--reason", required=True, help="Why, for the journal.")
@click.option("--actor", default="cli", show_default=True, help="Who does it, for the journal.")
def money_refund(campaign: str, month: str, micros: int, key: str, reason: str, actor: str) -> None:
    """Give back what a campaign was billed for a month.

    Example: tactful money refund spring 2026-11 250000 --key letter-7 --reason "shown beside a competitor"
    """
    from engine.config import Config
    from engine.errors import MoneyError
    from engine.invoices import month_of, refund

    with open_existing(Config.from_env()) as store:
        try:
            now = datetime.now(UTC)
            new = refund(store.money(), campaign, month_of(month), key, micros, reason, actor, now)
        except MoneyError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(FOUND)
    click.echo(
        f"{micros} micro-units go back to {campaign}." if new else "Written before; nothing was changed."
    )


@click.command()
@click.argument("month")
@click.option("--campaign", help="Id of one campaign; left out: all that were billed.")
@click.option(
    "--running", is_flag=True, help="Of a month that is not over, too: totals that do not stand yet."
)
@as_json
def invoice(month: str, campaign: str | None, running: bool, as_json: bool) -> None:
    """Print what campaigns owe for a month (2026-11) of their flight's time zone.

    Exits 1 where the month is not over. Example: tactful invoice 2026-10 --campaign spring-campaign
    """
    from dataclasses import asdict

    from engine.campaign import Campaign
    from engine.config import Config
    from engine.errors import NotFound
    from engine.invoices import invoice as made
    from engine.invoices import month_of

    asked, now = month_of(month), datetime.now(UTC)
    with open_existing(Config.from_env()) as store:
        books = store.money()
        ids = [campaign] if campaign else books.billed_campaigns(asked.first, asked.last)
        found = store.find("campaign", ids)
        if campaign and campaign not in found:
            raise NotFound(f"campaign: got {ascii(campaign[:80])}, expected the id of a campaign")
        currency = store.setting("currency") or Config.from_env().currency
        invoices = []
        for id in ids:
            # A campaign that was removed owes what it was billed.
            gone = Campaign(id=id, advertiser="-", name="removed")
            one = found.get(id, gone)
            assert isinstance(one, Campaign)  # noqa: S101 - of this kind
            invoices.append(made(books, one, asked, currency, now))
    told: list[dict[str, Any]] = [asdict(one) for one in invoices if one.final or running]
    show(told, as_json, (line for one in told for line in _lines(one)))
    if len(told) < len(invoices):
        click.echo(f"{len(invoices) - len(told)} not over yet: --running prints what stands so far", err=True)
        sys.exit(FOUND)


def _lines(one: dict[str, Any]) -> list[str]:
    state = "" if one["final"] else " (so far)"
    return [
        f"{one['campaign']} ({one['advertiser']}), {one['month']} in {one['timezone']}{state}",
        f"  {one['events']} x {one['billed_for']}: {_amount(one['micros'])} {one['currency']}",
        f"  given back: {_amount(one['refunded_micros'])} {one['currency']}",
        f"  due: {_amount(one['due_micros'])} {one['currency']}",
        f"  {one['note']}",
    ]


def _amount(micros: int) -> str:
    sign, units, rest = "-" if micros < 0 else "", *divmod(abs(micros), 1_000_000)
    return f"{sign}{units}.{rest:06}"
