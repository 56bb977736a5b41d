"""The commands that try the promises."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.cli_report import prove_ledger, prove_noise
from engine.cli_shared import (
    FOUND,
    as_json,
    read_config,
    show,
    utc_now,
)


@click.group()
def prove() -> None:
    """Test the service's promises on this machine."""


@prove.command("no-identity")
@as_json
def prove_no_identity(as_json: bool) -> None:
    """Try to find a trace of a person in what the service answers, keeps and logs.

    Exits 1 where one is found. Example: tactful prove no-identity
    """
    from engine.prove.service import prove_no_identity as run

    verdict = run()
    show(verdict.plain(), as_json, verdict.lines())
    if not verdict.holds:
        sys.exit(FOUND)


@prove.command("erasure")
@as_json
def prove_erasure(as_json: bool) -> None:
    """Erase a reader on copies of the state, and search them for what is left.

    Exits 1 where anything is found. Example: tactful prove erasure
    """
    from engine.prove.erasure import prove_erasure as run

    verdict = run(read_config())
    show(verdict.plain(), as_json, verdict.lines())
    if not verdict.holds:
        sys.exit(FOUND)


@prove.command("money")
@click.option("--events", type=click.IntRange(1000, 10_000_000), default=1_000_000, show_default=True)
@click.option("--processes", type=click.IntRange(1, 64), default=4, show_default=True)
@as_json
def prove_money(events: int, processes: int, as_json: bool) -> None:
    """Tell of page views whose truth is known, in every disorder, and compare what is billed.

    Exits 1 where it differs. Example: tactful prove money --events 20000
    """
    from engine.prove.money import prove_money as run

    verdict = run(events, processes)
    show(verdict.plain(), as_json, verdict.lines())
    if not verdict.holds:
        sys.exit(FOUND)


@prove.command("acknowledged")
@click.option("--events", type=click.IntRange(1000, 10_000_000), default=100_000, show_default=True)
@click.option(
    "--kills", type=click.IntRange(0, 1000), default=6, show_default=True, help="Every third kills all."
)
@click.option(
    "--database", help="URL of an empty PostgreSQL database, which is filled (default: an SQLite file)."
)
@as_json
def prove_acknowledged(events: int, kills: int, database: str | None, as_json: bool) -> None:
    """Tell a service of its own of events over HTTP, kill its processes, and look for what it acknowledged.

    Exits 1 where something is missing. Example: tactful prove acknowledged --events 20000 --kills 3
    """
    from engine.prove.acknowledged import prove_acknowledged as run

    verdict = run(read_config().data_dir / "models", events, kills, database)
    show(verdict.plain(), as_json, verdict.lines())
    if not verdict.holds:
        sys.exit(FOUND)


@prove.command("consent-fuzz")
@click.option(
    "--count", type=click.IntRange(1), default=50_000, show_default=True, help="Mutants of each kind."
)
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same mutants.")
@click.option(
    "--packages",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder whose node_modules holds @iabtcf/core and @iabgpp/cmpapi (default: where npm installs globally).",
)
@as_json
def prove_consent_fuzz(count: int, seed: int, packages: Path | None, as_json: bool) -> None:
    """Try damaged consent strings and tokens on our readers and on those of others.

    Exits 1 where ours accept what the others refuse, or read it otherwise, where less than 99 % of what they accept is
    decoded alike, or where a planted fault is not found. Example: tactful prove consent-fuzz --count 2000
    """
    from engine.prove.consent_fuzz import FuzzVerdict
    from engine.prove.consent_fuzz_tokens import fuzz_tokens
    from engine.prove.string_fuzz import fuzz_strings

    verdict = FuzzVerdict(seed, (fuzz_strings(seed, count, packages), fuzz_tokens(seed, count)))
    show(verdict.plain(), as_json, verdict.lines())
    if not verdict.holds:
        sys.exit(FOUND)


@prove.command("log")
@as_json
def prove_log(as_json: bool) -> None:
    """Try to change, drop or rewrite what the consent log tells without being found out, on copies of it.

    Exits 1 where that succeeds. Example: tactful prove log
    """
    from engine.prove.log import prove_log as run
    from engine.prove.log_planted import scores

    verdict = run(read_config(), utc_now(), scores)
    show(verdict.plain(), as_json, verdict.lines())
    if not verdict.holds:
        sys.exit(FOUND)


prove.add_command(prove_noise)
prove.add_command(prove_ledger)
