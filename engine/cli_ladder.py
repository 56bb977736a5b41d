"""The commands of contextual cohorts, and of what each rung of knowing more is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from engine.cli_shared import actor, as_json, opened_services, read_config, show, utc_now

if TYPE_CHECKING:
    from engine.campaign import Publisher


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
        vectors = [page.vector for page in sorted(mine, key=lambda page: page.content_hash)]
        taxonomy = services.pages.model.taxonomy
        names = {node.id: node.name for node in taxonomy}
        topics = services.engine.topics
        matrix = np.array(vectors, np.float32).reshape(-1, topics.matrix.shape[1])
        found = find(matrix, count, known.page_cohorts, topics, names)
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
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option(
    "--views",
    type=click.IntRange(10_000, 10**9),
    default=10_000_000,
    show_default=True,
    help="Page views a day.",
)
@click.option("--days", type=click.IntRange(2, 60), default=14, show_default=True)
@click.option("--world", type=click.Choice(["topics", "flat", "people"]), default="topics", show_default=True,
              help="What clicks depend on in truth.")  # fmt: skip
@as_json
def ladder(seed: int, views: int, days: int, world: str, as_json: bool) -> None:
    """Say what each rung of knowing more of a page view is worth, and where to stop, in a simulated world.

    Each page view is put on a rung by lot, the consented one among consented views only. What is learned and what is
    reported are counts with the noise that a release has. Example: tactful ladder --world topics
    """
    import msgspec

    from engine.ladder import climb, simulated

    told = climb(simulated(seed, views, days, world))  # type: ignore[arg-type]  # click gives one of them
    lines = [
        f"{one.rung:10} {one.views:10,.0f} views  CTR {one.ctr:.4%}  lift"
        f" {one.lift:+.1%} ({one.low:+.1%} to {one.high:+.1%})  reads: {one.reads}"
        for one in told.rungs
    ]
    show(msgspec.to_builtins(told), as_json, [*lines, told.says])
