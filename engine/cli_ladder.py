"""The commands of contextual cohorts, and of what each rung of knowing more is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from engine.cli_shared import actor, as_json, opened_services, read_config, show, utc_now
from engine.cli_store import open_existing

if TYPE_CHECKING:
    from engine.campaign import Publisher
    from engine.ladder import Told


@click.command()
@click.argument("publisher")
@click.option("--count", type=click.IntRange(1, 50), default=12, show_default=True, help="Cohorts at most.")
@click.option("--dry-run", is_flag=True, help="Find and print them; change nothing.")
@actor
@as_json
def cohorts(publisher: str, count: int, dry_run: bool, actor: str, as_json: bool) -> None:
    """Find contextual cohorts among a publisher's known pages, and keep them by name in its record.

    Pages whose URL is known are its own; where none is, all known pages are looked at. No reader is in a cohort.
    Example: tactful cohorts daily-planet --count 12
    """
    import msgspec
    import numpy as np

    from engine.change import Change
    from engine.cohorts import find
    from engine.errors import NotFound

    with opened_services(read_config()) as services:
        store = services.store
        expected = store.versions()
        known = cast("Publisher | None", store.find("publisher", [publisher]).get(publisher))
        if known is None:
            raise NotFound(f"publisher: got {ascii(publisher[:80])}, expected the id of a publisher")
        own = {content for who, _, content in store.page_urls() if who == publisher}
        facts = [page for page in services.pages.known() if page.vector is not None]
        mine = [page for page in facts if page.content_hash in own] or facts
        mine.sort(key=lambda page: page.content_hash)
        vectors = [page.vector for page in mine]
        taxonomy = services.pages.model.taxonomy
        names = {node.id: node.name for node in taxonomy}
        topics = services.engine.topics
        matrix = np.array(vectors, np.float32).reshape(-1, topics.matrix.shape[1])
        found = find(matrix, count, known.page_cohorts, topics, names, [page.topics for page in mine])
        after = msgspec.structs.replace(known, page_cohorts=found.cohorts)
        if not dry_run and after != known:
            store.write([Change(known, after)], [], expected, actor, utc_now())
    kept = {one.id for one in known.page_cohorts}
    rows: list[dict[str, Any]] = [
        {
            "cohort": f"{publisher}/{one.id}",
            "pages": pages,
            "tightness": round(tight, 3),
            "new": one.id not in kept,
        }
        for one, pages, tight in zip(found.cohorts, found.pages, found.tightness, strict=True)
    ]
    lines = (
        f"{row['cohort']:50} {row['pages']:6} pages  cosine {row['tightness']:.2f}{'  new' if row['new'] else ''}"
        for row in rows
    )
    show(rows, as_json, lines)


@click.command()
@click.option(
    "--days", type=click.IntRange(1, 400), default=28, show_default=True, help="Days that are looked at."
)
@click.option(
    "--world",
    type=click.Choice(["topics", "flat", "people"]),
    help="Simulate, and let clicks depend on this in truth.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the simulated world.")
@click.option(
    "--views",
    type=click.IntRange(10_000, 10**9),
    default=10_000_000,
    show_default=True,
    help="Page views a day of the simulated world.",
)
@as_json
def ladder(days: int, world: str | None, seed: int, views: int, as_json: bool) -> None:
    """Say what each rung of knowing more of a page view is worth, and where to stop.

    Page views are put on rungs by lot where TACTFUL_LADDER_PERCENT says of how many, the consented rung among consented
    views only; what is told is computed from the released tables of the last days. With --world it is told of a
    simulated world whose truth is known. Example: tactful ladder --world topics --days 14
    """
    import msgspec

    from engine.ladder import climb, simulated

    if world is None:
        told = _of_tables(days)
    else:
        told = climb(simulated(seed, views, max(days, 2), world))  # type: ignore[arg-type]  # click gives one of them
    lines = [
        f"{one.rung:10} {one.views:10,.0f} views  CTR {one.ctr:.4%}  lift"
        f" {one.lift:+.1%} ({one.low:+.1%} to {one.high:+.1%})\n"
        f"           reads: {one.reads}; costs: {one.costs}"
        for one in told.rungs
    ]
    groups = [f"segments of {publisher}: {', '.join(ids)}" for publisher, ids in told.segments.items()]
    show(msgspec.to_builtins(told), as_json, [*lines, told.says, *groups])


def _of_tables(days: int) -> Told:
    import secrets

    from engine.ladder import climb, counted
    from engine.reporting import Reporting
    from engine.sections import segment_ids

    config = read_config()
    with open_existing(config) as store:
        leaves = store.leaves(secrets.token_bytes if config.log_profile == "public" else None)
        reporting = Reporting(config, store, leaves, utc_now)
        counts = counted(reporting.released, reporting.closed(), days)
        with store.read() as reader:
            publishers = [one for batch in reader.publishers() for one in batch]
    return climb(counts, segments={one.id: segment_ids(one) for one in publishers})
