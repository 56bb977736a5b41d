"""The command `tactful`. Each command reads settings, calls one thing, prints; exit codes are in EXITS.

Everything heavy is imported by the command that needs it, so that `tactful --help` is there at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from engine.cli_catalogue import approvals, changes, keys, load, pause, resume
from engine.cli_consent import consent, inventory, subject
from engine.cli_decide import decide, diagnose, explain, quality
from engine.cli_ladder import cohorts, ladder
from engine.cli_log import log_group
from engine.cli_money import invoice, money
from engine.cli_policy import policy
from engine.cli_prove import prove
from engine.cli_publisher import doctor, tag
from engine.cli_report import report
from engine.cli_shared import (
    FOUND,
    UNREACHED,
    USAGE,
    actor,
    fail,
    initialised,
    new_key,
    read_config,
    show_key,
)
from engine.cli_store import copy_store, postgres_url, take_over, upgrade
from engine.cli_upkeep import backup, backup_keys, config_group, purge, restore, restore_keys

EXITS = """\
Exit codes: 0 done, 1 done and something was found (a faulty file, a campaign that cannot run, a broken
promise), 2 wrong usage or settings, 3 something could not be reached or opened."""


class Commands(click.Group):
    """Turns the engine's errors into words and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        from contexts.errors import ContextError
        from engine import errors
        from privacy.errors import FieldError, PrivacyError

        try:
            return super().invoke(ctx)
        except (errors.ConfigError, errors.UnknownPublisher, FieldError) as error:
            fail(error, USAGE)
        except (
            errors.CatalogError,
            errors.CatalogErrors,
            errors.CatalogConflict,
            errors.Forbidden,
            errors.NotFound,
            errors.QueryRefused,
        ) as error:
            fail(error, FOUND)
        except BrokenPipeError:  # whoever read the output has read enough: click ends quietly
            raise
        except (errors.EngineError, ContextError, PrivacyError) as error:
            fail(error, UNREACHED)
        except OSError as error:
            fail(errors.in_words(error), UNREACHED)
        except UnicodeEncodeError:  # of an argument's bytes Python makes surrogates, which nothing can keep
            fail("got an argument that is no UTF-8, expected UTF-8", USAGE)


@click.group(cls=Commands, epilog=EXITS, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Choose creatives that fit the page and the moment, knowing nothing about the person.

    Settings are TACTFUL_ environment variables: see `tactful config show`.
    """


@main.command()
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port to listen on.")
@click.option("--server", type=click.Choice(["granian", "gunicorn"]), default="granian", show_default=True)
@click.option(
    "--store",
    callback=postgres_url,
    help="URL of a PostgreSQL database; TACTFUL_STORE keeps a password off the command line.",
)
def serve(workers: int | None, host: str | None, port: int | None, server: str, store: str | None) -> None:
    """Serve decisions until SIGTERM.

    Example: tactful serve --workers 2
    """
    from engine.config import unknown_settings
    from engine.serve import serve as run

    for line in unknown_settings():
        click.echo(line, err=True)
    config = read_config(workers=workers, host=host, port=port, store=store)
    with initialised(config):
        pass  # a first start makes the folders and secrets, and says so
    click.echo(f"Tactful starts on http://{config.address}", err=True)
    run(config, server)


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True)
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Folder of the demo's state. [default: one of the user's]",
)
def demo(port: int, no_browser: bool, state: Path | None) -> None:
    """Show a magazine whose advertisements fit its articles, on this machine alone.

    Example: tactful demo --port 8081
    """
    from engine.demo.start import run_demo

    run_demo(
        state or Path(click.get_app_dir("tactful")) / "demo",
        port,
        open_browser=not no_browser,
        say=click.echo,
    )


@main.command()
@actor
def init(actor: str) -> None:
    """Make the data folder, the key folder and the first operator's key.

    Example: tactful init
    """
    config = read_config()
    with initialised(config) as store:
        if any(key.scope == "operator" for key in store.keys()):
            click.echo("An operator's key exists already: `tactful keys list`.")
            return
        show_key(new_key(store, "operator", None, actor))


for command in (
    load, pause, resume, approvals, changes, keys, decide, explain, diagnose, quality, report, invoice, money, policy,
    prove, inventory, consent, subject, log_group, tag, doctor, cohorts, ladder, purge, backup, restore, backup_keys,
    restore_keys, upgrade, copy_store, take_over, config_group,
):  # fmt: skip
    main.add_command(command)
