"""The commands that keep an installation: copies, retention, settings."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from engine.cli_shared import (
    as_json,
    opened_rights,
    opened_store,
    read_config,
    show,
    utc_now,
)


@click.command()
@click.option(
    "--copies",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the files that `tactful backup-keys` wrote: those that are over are deleted, too.",
)
@as_json
def purge(copies: Path | None, as_json: bool) -> None:
    """Let go of all whose declared time is over, as the inventory says. Best run every day.

    Example: tactful purge --copies /backup/keys
    """
    from engine.purge import purge as run

    with opened_rights() as rights:
        gone = run(read_config(), rights, utc_now(), copies)
    show(gone, as_json, (f"{what}: {count}" for what, count in gone.items()))


@click.command("backup-keys")
@click.argument("file", type=click.Path(path_type=Path))
def backup_keys(file: Path) -> None:
    """Copy subjects' keys into a file of their own; it may be kept for 30 days.

    No other backup holds them: without them, consents can be shown to nobody. Delete the copy in time, or
    let `tactful purge --copies` do so. Example: tactful backup-keys /backup/keys/2026-11-23
    """
    from engine.store.subjects_sqlite import BACKUP_DAYS

    now = utc_now()
    with opened_rights() as rights:
        rights.consents.keys.back_up(file, now)
    click.echo(f"wrote {file}; delete it by {(now + timedelta(days=BACKUP_DAYS)).date()}")


@click.command("restore-keys")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@as_json
def restore_keys(file: Path, as_json: bool) -> None:
    """Take over subjects' keys from a copy. Whoever was erased since stays erased.

    Example: tactful restore-keys /backup/keys/2026-11-23
    """
    with opened_rights() as rights:
        back = rights.consents.keys.put_back(file, rights.consents.log.told, utc_now())
    show({"keys": back}, as_json, [f"keys put back: {back}"])


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace an existing file.")
def backup(file: Path, force: bool) -> None:
    """Write catalogue, pictures and keys' hashes into one file, while the service runs.

    It is a SQLite file of all rows, whichever kind of store it was made of, and ends with the SHA-256 of itself.

    The key folder is no part of it: keep it elsewhere. Example: tactful backup tactful-2026-11-23.db
    """
    from engine.backup import backup as write

    with opened_store() as store:
        write(store, file, force)
    click.echo(f"wrote {file}; keep the key folder {read_config().key_dir} apart from it")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the store that exists.")
def restore(file: Path, force: bool) -> None:
    """Put a backup in the store's place, whichever kinds both are of. Stop the service first.

    A damaged backup is refused, and changes nothing.

    Example: tactful restore tactful-2026-11-23.db --force
    """
    from engine.backup import restore as put
    from engine.backup import restore_into
    from engine.config import make_folder
    from engine.consents import Reconciled
    from engine.store.subjects_sqlite import FILE

    config = read_config()
    make_folder(config.data_dir)
    if config.store is None:
        checked = put(file, config.database, force)
    else:
        checked = restore_into(file, config.store, force)
    place = config.database if config.store is None else "the database"
    if not checked:
        click.echo(f"{file}: of an earlier release, without a checksum: its form was checked, not every byte")
    click.echo(f"restored {place}; keys revoked since the backup are valid again: revoke them anew")
    if not (config.key_dir / FILE).exists():
        click.echo(f"no keys of subjects are in {config.key_dir}: put them back, then restore again")
        return
    with opened_rights() as rights:
        done = rights.consents.reconcile()
    if done != Reconciled():
        click.echo(
            f"consents put right: {done.erased} erased, {done.withdrawn} withdrawn, {done.destroyed} keys gone"
        )


@click.group("config")
def config_group() -> None:
    """Look at the settings."""


@config_group.command("show")
@as_json
def config_show(as_json: bool) -> None:
    """Print each setting, its value and where that came from; secrets are not printed.

    Example: TACTFUL_WORKERS=4 tactful config show
    """
    from engine.config import unknown_settings

    config = read_config()
    for line in unknown_settings():
        click.echo(line, err=True)
    rows = [
        {"setting": name, "value": value, "origin": origin, "meaning": meaning}
        for name, value, origin, meaning in config.shown()
    ]
    lines = (f"{r['setting']:18} {r['value'] or '-':28} {r['origin']:26} {r['meaning']}" for r in rows)
    show(rows, as_json, lines)
