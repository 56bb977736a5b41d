"""The commands that decide, and say why."""

from __future__ import annotations

import sys
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli_shared import (
    FOUND,
    UNREACHED,
    USAGE,
    as_json,
    opened_services,
    read_config,
    show_struct,
)

if TYPE_CHECKING:
    from privacy.visit import Visit


@click.command()
@click.option("--deadline-ms", type=click.IntRange(1, 60_000), default=5000, show_default=True)
def decide(deadline_ms: int) -> None:
    """Answer one request from standard input, as POST /v1/decisions would.

    Example: tactful decide < request.json
    """
    from engine.web.api import MAX_BODY
    from engine.web.app import create_app

    config = replace(read_config(), deadline_ms=deadline_ms)
    body = sys.stdin.buffer.read(MAX_BODY + 1)
    with opened_services(config) as services:
        answer = (
            create_app(config, services)
            .test_client()
            .post("/v1/decisions", data=body, content_type="application/json")
        )
    click.echo(answer.text)
    if answer.status_code >= 400:
        sys.exit(UNREACHED if answer.status_code >= 500 else USAGE)


@click.command()
@click.argument("target", metavar="URL|FILE|-")
@click.option("--publisher", help="Id of the publisher on whose page it is; left out: the only one there is.")
@click.option("--title", help="Title of the page.")
@click.option("--language", help="Language of the page, such as en.")
@click.option("--device", type=click.Choice(["phone", "tablet", "desktop", "tv"]))
@click.option("--country", help="ISO 3166-1 alpha-2, such as DE.")
@click.option("--weather", help="A condition, such as rain.")
@click.option(
    "--at", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]), help="The moment, with an offset from UTC."
)
@click.option(
    "--most", type=click.IntRange(1, 1000), default=10, show_default=True, help="Candidates to print."
)
@click.option("--creative", help="Id of the one creative to explain, with the messages that it would show.")
@as_json
def explain(
    target: str, as_json: bool, most: int, publisher: str | None, creative: str | None, **stated: Any
) -> None:
    """Print what is understood of a page, and which creatives fit it or are kept out, and why.

    A URL stands for what the service knows of that page; a file or standard input (-) is text or HTML.

    Example: tactful explain article.html --publisher daily-planet
    """
    from engine.explain import explain as explain_visit

    stated_page = _page_fields(target)
    with opened_services(read_config()) as services:
        visit = _visit(stated_page, publisher or _only(services.publishers()), **stated)
        told = explain_visit(
            services.engine, visit, services.monotonic() + 30.0, most=most, creative=creative
        )
    show_struct(told, as_json)
    if "url" in stated_page and told.page.topics == ():
        click.echo(
            "nothing is known of this page, or not yet: to explain what stands on it, give it as a FILE or -",
            err=True,
        )


@click.command()
@click.argument("campaign")
@as_json
def diagnose(campaign: str, as_json: bool) -> None:
    """Say why a campaign delivers or does not: its rules against the pages known.

    Exits 1 where it cannot run on any page. Example: tactful diagnose spring-campaign
    """
    from engine.explain import diagnose as diagnose_campaign

    with opened_services(read_config()) as services:
        told = diagnose_campaign(services.engine, campaign, services.now())
    show_struct(told, as_json)
    if not told.could_run_on:
        sys.exit(FOUND)


@click.command()
@as_json
def quality(as_json: bool) -> None:
    """Show how much of each facet is known, how old it is, and what failed.

    Example: tactful quality
    """
    from engine.explain import quality as facet_quality

    with opened_services(read_config()) as services:
        told = facet_quality(services.engine, services.now())
    show_struct(told, as_json)


def _only(publishers: Collection[str]) -> str:
    if len(publishers) != 1:
        raise click.UsageError(
            f"--publisher: got nothing, expected one of the {len(publishers)} that there are"
        )
    return next(iter(publishers))


def _visit(
    page: dict[str, Any],
    publisher: str,
    title: str | None,
    language: str | None,
    device: str | None,
    country: str | None,
    weather: str | None,
    at: datetime | None,
) -> Visit:
    from privacy.gate import Arrival, enter

    return enter(
        Arrival(),
        publisher,
        **page,
        title=title,
        language=language,
        device_class=device,
        country=country,
        condition=weather,
        at=at,
    )


def _page_fields(target: str) -> dict[str, Any]:
    if target.startswith(("http://", "https://")):
        return {"url": target}
    from contexts.charset import decoded
    from engine.web.api import MAX_BODY

    try:
        with nullcontext(sys.stdin.buffer) if target == "-" else Path(target).open("rb") as file:
            data = file.read(MAX_BODY + 1)
    except OSError as error:
        raise click.BadParameter(
            f"{target!r} cannot be read ({error.strerror}): expected a URL, a file or -",
            param_hint="'URL|FILE|-'",
        ) from error
    if len(data) > MAX_BODY:
        raise click.BadParameter(f"{target!r} has more than {MAX_BODY} bytes", param_hint="'URL|FILE|-'")
    text = decoded(data)
    return {"html" if text.lstrip().startswith("<") else "text": text}
