"""The commands that look after the main store as a whole: bring it to this release, move it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engine.config import Config
    from engine.store import Store


@click.command()
def upgrade() -> None:
    """Bring the store to this release's schema, as any start of a service does; say from which to which.

    Back it up first: nothing but a backup leads back. Example: tactful upgrade
    """
    from engine.config import Config

    with open_existing(Config.from_env()) as store:
        before, now = store.migrated_from, store.schema()
    click.echo(f"schema {before}: nothing to do" if before == now else f"schema {before} -> {now}")


@click.command("copy-store")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy_store(source: str, target: str) -> None:
    """Copy all that a store holds into another one, that is empty. Stop the service first.

    FROM and TO are URLs: sqlite:////path/to/tactful.db or postgresql://user@host/database. Afterwards let
    TACTFUL_STORE name TO; data and key folder stay as they are.

    Example: tactful copy-store sqlite:///tactful-data/tactful.db postgresql://tactful@db/tactful
    """
    from engine.backup import copy_store as copy

    copy(source, target)
    click.echo("copied; set TACTFUL_STORE before the next start")


@click.command("take-over")
def take_over() -> None:
    """Let this machine keep the consents, in place of one that is gone for good.

    Of machines that share a PostgreSQL database one keeps the keys of readers and answers what they ask for. Put
    its key folder, or the copy that `tactful backup-keys` wrote, in place first.

    Example: tactful take-over
    """
    import secrets

    from engine.config import Config
    from engine.keeper import take_over as take

    config = Config.from_env()
    with open_existing(config) as store:
        take(store, config.key_dir, secrets.token_bytes)
    click.echo("this machine keeps the consents from now on; start the services of all machines anew")


@contextmanager
def open_existing(config: Config) -> Iterator[Store]:
    """Open the store that exists. Raises StoreError."""
    from engine.errors import StoreError
    from engine.store import open_store

    try:
        missing = config.store is None and not config.database.exists()
    except OSError as error:  # no right to the folder
        raise StoreError(
            f"{config.database}: cannot be opened ({error.strerror}): check its rights"
        ) from error
    if missing:
        raise StoreError(f"{config.database}: there is no store yet; make one with `tactful init`")
    with closing(open_store(config.store_url)) as store:
        yield store


def postgres_url(context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    """Check an option that names a database, as Config checks its setting."""
    from engine.config import read_postgres

    try:
        return None if given is None else read_postgres(given)
    except ValueError as error:
        raise click.BadParameter(f"expected {error}") from None
