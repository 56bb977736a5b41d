"""What the commands share: options, what they open, how they show."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli_store import open_existing

if TYPE_CHECKING:
    from engine.campaign import Publisher
    from engine.config import Config
    from engine.keys import Caller
    from engine.log_upkeep import Upkeep
    from engine.rights import Rights, RightsStore
    from engine.services import Services
    from engine.store import Store


FOUND, USAGE, UNREACHED = 1, 2, 3
_MOST_SUBJECT = 2**20  # bytes of a line


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


NUMBER = click.IntRange(0, 2**53 - 1)  # of what is numbered from the first on: as JSON has it, and a database


subject_option = click.option(
    "--sub", required=True, help="What the publisher calls the reader; - reads it from standard input."
)


actor = click.option("--actor", default="cli", show_default=True, help="Who does it, for the journal.")


def read_config(**overrides: object) -> Config:
    """Read the settings; what the command line says goes first, None says nothing."""
    from engine.config import Config

    return Config.from_env().overridden({k: v for k, v in overrides.items() if v is not None})


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


@contextmanager
def opened_store() -> Iterator[Store]:
    """Open the store that exists."""
    with open_existing(read_config()) as store:
        yield store


@contextmanager
def initialised(config: Config) -> Iterator[Store]:
    """Open the store, making folders and secrets where there are none, and saying so."""
    import secrets

    from engine.config import KEY_PURPOSES, make_folder
    from engine.consent_log import open_consent_keys
    from engine.store import open_store
    from privacy.keyring import Keyring

    make_folder(config.data_dir)
    made = Keyring.open(config.key_dir, KEY_PURPOSES, random=secrets.token_bytes).created
    consent_keys, missing = open_consent_keys(config, secrets.token_bytes)
    for line in (*made, *(consent_keys.created if consent_keys else ())):
        click.echo(line, err=True)
    if missing is not None:
        click.echo(f"consented signals are off: {missing}", err=True)
    store = open_store(config.store_url)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def opened_rights() -> Iterator[Rights]:
    """Open the consents of the store that exists, beside a service that may run."""
    from engine.rights import open_rights

    with opened_store() as store, open_rights(read_config(), store, now=utc_now) as rights:
        yield rights


def known_publisher(store: RightsStore, id: str) -> Publisher:
    """Return the publisher of this id. Raises UnknownPublisher."""
    from engine.campaign import Publisher
    from engine.errors import UnknownPublisher

    found = store.find("publisher", [id]).get(id)
    if not isinstance(found, Publisher):
        raise UnknownPublisher(id)
    return found


def read_subject(given: str) -> str:
    """Return what is given, or stands in standard input: a command line is seen by others, and kept."""
    if given != "-":
        return given
    from privacy.errors import FieldError

    try:
        return sys.stdin.buffer.readline(_MOST_SUBJECT).decode().strip()
    except UnicodeDecodeError:
        raise FieldError("standard input", "bytes that are no UTF-8", "a line of UTF-8") from None


@contextmanager
def opened_log() -> Iterator[Upkeep]:
    """Open the log of the store that exists, beside a service that may run."""
    from engine.log_upkeep import Upkeep

    with opened_store() as store:
        yield Upkeep(read_config(), store)


@contextmanager
def opened_services(config: Config) -> Iterator[Services]:
    """Open all services over the store that exists."""
    from engine.services import open_services

    services = open_services(config)
    try:
        services.warm_up()
        yield services
    finally:
        services.close()


def as_operator() -> Caller:
    """Return the caller that whoever has the machine is."""
    from engine.keys import Caller

    return Caller("operator", None, "cli")


def new_key(store: Store, scope: Any, tenant: str | None, actor: str) -> str:
    """Make an API key."""
    import secrets

    from engine.keys import create_key

    return create_key(store, scope, tenant, actor, utc_now(), secrets.token_bytes)


def show_key(key: str) -> None:
    """Print a key, this once."""
    click.echo(key)
    click.echo("This is the only time that the key is shown: keep it now.", err=True)


def show(value: Any, as_json: bool, lines: Iterable[str]) -> None:
    """Print JSON, or the lines for people."""
    import msgspec

    if as_json:
        click.echo(msgspec.json.encode(value).decode())
        return
    for line in lines:
        click.echo(line)


def show_struct(told: Any, as_json: bool) -> None:
    """Print a msgspec value as an outline, or as JSON."""
    import msgspec

    show(told, as_json, _outline(msgspec.to_builtins(told)))


def _outline(value: Any, indent: str = "") -> Iterator[str]:
    items = value.items() if isinstance(value, dict) else enumerate(value, 1)
    for name, item in items:
        if isinstance(item, dict | list | tuple) and item:
            flat = isinstance(item, list | tuple) and not any(
                isinstance(i, dict | list | tuple) for i in item
            )
            if flat:
                yield f"{indent}{name}: {', '.join(map(str, item))}"
                continue
            yield f"{indent}{name}:"
            yield from _outline(item, indent + "  ")
        else:
            shown = "-" if item is None or item in ([], (), {}) else item
            yield f"{indent}{name}: {shown}"


def bytes_of(path: Path) -> bytes:
    """Read a file of the log that came from elsewhere. Raises LogError for one that is far too large."""
    from privacy.errors import LogError
    from privacy.rejudge import MOST_BYTES

    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise LogError(f"{path}: got more than {MOST_BYTES} bytes")
    return data


def text_of(path: Path) -> str:
    """Return a text file. Raises LogError where it is none."""
    from privacy.errors import LogError

    try:
        return bytes_of(path).decode()
    except UnicodeDecodeError:
        raise LogError(f"{path}: got bytes that are no UTF-8") from None


def fail(error: Exception | str, code: int) -> None:
    """Say what failed, and exit."""
    click.echo(f"error: {error}", err=True)
    sys.exit(code)
