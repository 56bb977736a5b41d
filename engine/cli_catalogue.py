"""The commands of the catalogue: load it, pause it, approve it, and the keys of who may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli_shared import (
    NUMBER,
    actor,
    as_json,
    as_operator,
    initialised,
    new_key,
    opened_store,
    read_config,
    show,
    show_key,
    utc_now,
)

if TYPE_CHECKING:
    from engine.change import Change


TRIES = 3  # how often a file is planned anew where the catalogue changed meanwhile


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check and print what would change; change nothing.")
@actor
@as_json
def load(file: Path, dry_run: bool, actor: str, as_json: bool) -> None:
    """Load advertisers, publishers, campaigns and creatives from NDJSON, YAML or CSV.

    A faulty file changes nothing. Example: tactful load catalogue.ndjson --dry-run
    """
    from engine.check.findings import known_vocabularies
    from engine.errors import CatalogConflict
    from engine.load import apply, plan
    from engine.load_files import open_source

    known = known_vocabularies()
    with initialised(read_config()) as store:
        for left in reversed(range(TRIES)):
            with plan(open_source(file), store, known, utc_now()) as planned:
                told = {
                    "created": dict(planned.created),
                    "changed": dict(planned.changed),
                    "unchanged": dict(planned.unchanged),
                    "warnings": planned.warnings,
                }
                if dry_run:
                    if not as_json:
                        for change in planned.changes():
                            click.echo(_change_line(change))
                    break
                try:
                    apply(planned, store, actor, utc_now())
                    break
                except CatalogConflict:  # somebody was faster: against the catalogue as it is now
                    if not left:
                        raise
    show({**told, "applied": not dry_run}, as_json, _load_lines(told, dry_run))


@click.command()
@click.argument("id")
@actor
def pause(id: str, actor: str) -> None:
    """Pause a campaign or creative; it acts in every worker within 5 seconds.

    Example: tactful pause spring-campaign
    """
    _switch(id, "paused", actor)


@click.command()
@click.argument("id")
@actor
def resume(id: str, actor: str) -> None:
    """Let a paused campaign or creative run again.

    Example: tactful resume spring-campaign
    """
    _switch(id, "active", actor)


@click.command()
@click.argument(
    "kind", required=False, type=click.Choice(["publisher", "advertiser", "campaign", "creative"])
)
@click.argument("id", required=False)
@click.option("--after", type=NUMBER, default=0, help="Number of the last change that was seen.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@as_json
def changes(kind: Any, id: str | None, after: int, limit: int, as_json: bool) -> None:
    """Say what was changed in the catalogue, by whom, and what stood there before.

    Example: tactful changes campaign spring-campaign
    """
    import msgspec

    from engine.changes import of, page

    if (kind is None) != (id is None):
        raise click.UsageError("KIND and ID go together, or neither is given")
    with opened_store() as store:
        if kind is not None and id is not None:
            found = of(store, as_operator(), kind, id, limit)
        else:
            found, _ = page(store, as_operator(), after, limit)
    lines = (
        f"{one.seq:6}  {one.at[:19]}  {one.actor:24}  {one.did} {one.kind} {one.id}"
        + "".join(f"\n        {f.field}: {f.before!r} -> {f.after!r}" for f in one.fields)
        for one in found
    )
    show(msgspec.to_builtins(found), as_json, lines)


@click.group()
def approvals() -> None:
    """See and answer which creatives a publisher's pages may show."""


@approvals.command("list")
@click.argument("publisher")
@as_json
def approvals_list(publisher: str, as_json: bool) -> None:
    """List creatives that may come to a publisher's pages.

    Example: tactful approvals list daily-planet
    """
    from engine.manage import review

    with opened_store() as store:
        rows, after = [], ""
        while found := review(store, as_operator(), publisher, after):
            after = found[-1].creative.id
            rows += [{"creative": f.creative.id, "state": f.state, "hash": f.hash} for f in found]
    show(rows, as_json, (f"{row['creative']:40} {row['state'] or 'not answered'}" for row in rows))


@approvals.command()
@click.argument("publisher")
@click.argument("creatives", nargs=-1, required=True)
def approve(publisher: str, creatives: tuple[str, ...]) -> None:
    """Approve creatives as they are now.

    Example: tactful approvals approve daily-planet rain-boots-1
    """
    _answer_approvals(publisher, creatives, "approved")


@approvals.command()
@click.argument("publisher")
@click.argument("creatives", nargs=-1, required=True)
def reject(publisher: str, creatives: tuple[str, ...]) -> None:
    """Reject creatives, whatever they become.

    Example: tactful approvals reject daily-planet rain-boots-1
    """
    _answer_approvals(publisher, creatives, "rejected")


@click.group()
def keys() -> None:
    """Make and end API keys. A key is shown once, when it is made."""


@keys.command("create")
@click.argument("scope", type=click.Choice(["publisher", "advertiser", "compliance", "operator"]))
@click.option("--tenant", help="Id of the publisher or advertiser.")
@actor
def keys_create(scope: str, tenant: str | None, actor: str) -> None:
    """Make a key.

    Example: tactful keys create publisher --tenant daily-planet
    """
    with initialised(read_config()) as store:
        show_key(new_key(store, scope, tenant, actor))


@keys.command("list")
@as_json
def keys_list(as_json: bool) -> None:
    """List keys, without their secrets.

    Example: tactful keys list
    """
    now = utc_now()
    with opened_store() as store:
        rows = [
            {
                "id": key.id,
                "scope": key.scope,
                "tenant": key.tenant,
                "created": key.created.isoformat(timespec="seconds"),
                "expires": key.expires and key.expires.isoformat(timespec="seconds"),
                "last_used": key.last_used_day and key.last_used_day.isoformat(),
                "valid": key.expires is None or key.expires > now,
            }
            for key in store.keys()
        ]
    lines = (
        f"{row['id']}  {row['scope']:10}  {row['tenant'] or '-':20}  {'valid' if row['valid'] else 'ended':5}"
        f"  last used {row['last_used'] or 'never'}"
        for row in rows
    )
    show(rows, as_json, lines)


@keys.command("rotate")
@click.argument("id")
@click.option("--grace-hours", type=click.IntRange(0, 720), default=24, show_default=True)
@actor
def keys_rotate(id: str, grace_hours: int, actor: str) -> None:
    """Make a key's successor; the old one stays valid for the hours of grace.

    Example: tactful keys rotate 0123456789abcdef --grace-hours 2
    """
    import secrets

    from engine.keys import rotate_key

    with opened_store() as store:
        show_key(rotate_key(store, id, timedelta(hours=grace_hours), actor, utc_now(), secrets.token_bytes))


@keys.command("revoke")
@click.argument("id")
@actor
def keys_revoke(id: str, actor: str) -> None:
    """End a key now.

    Example: tactful keys revoke 0123456789abcdef
    """
    from engine.keys import revoke_key

    with opened_store() as store:
        revoke_key(store, id, actor, utc_now())
    click.echo(f"{id} is revoked; workers refuse it within 5 seconds.")


def _switch(id: str, status: Any, actor: str) -> None:
    import msgspec

    from engine.change import Change
    from engine.errors import NotFound

    with opened_store() as store:
        expected = store.versions()
        for kind in ("campaign", "creative"):
            entity: Any = store.find(kind, [id]).get(id)
            if entity is None:
                continue
            if entity.status != status:
                store.write(
                    [Change(entity, msgspec.structs.replace(entity, status=status))],
                    [],
                    expected,
                    actor,
                    utc_now(),
                )
            click.echo(f"{kind} {id} is {status}")
            return
    raise NotFound(f"{id}: there is no campaign or creative of this id")


def _answer_approvals(publisher: str, creatives: Iterable[str], state: Any) -> None:
    from engine.change import content_hash
    from engine.errors import NotFound
    from engine.manage import approve as answer

    with opened_store() as store:
        found: Any = store.find("creative", list(creatives))
        if unknown := [id for id in creatives if id not in found]:
            raise NotFound(f"{', '.join(unknown)}: no creatives of these ids")
        hashes = {id: content_hash(creative) for id, creative in found.items()}
        answer(store, as_operator(), publisher, hashes, state, utc_now())
    click.echo(f"{state}: {', '.join(hashes)}")


def _change_line(change: Change) -> str:
    if change.before is None:
        return f"+ {change.kind} {change.id}"
    if change.after is None:
        return f"- {change.kind} {change.id}"
    fields = "; ".join(f"{path}: {old!r} -> {new!r}" for path, old, new in change.fields())
    return f"~ {change.kind} {change.id}: {fields}"


def _load_lines(told: Mapping[str, Any], dry_run: bool) -> Iterator[str]:
    for what in ("created", "changed", "unchanged"):
        counts = ", ".join(f"{count} {kind}" for kind, count in told[what].items()) or "none"
        yield f"{what}: {counts}"
    for warning in told["warnings"]:
        yield f"warning: {warning}"
    if dry_run:
        yield "dry run: nothing was changed"
