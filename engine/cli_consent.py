"""The commands of consent: what is read and kept, who agreed, what readers ask for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from engine.cli_shared import (
    FOUND,
    as_json,
    bytes_of,
    known_publisher,
    opened_rights,
    opened_store,
    read_config,
    read_subject,
    show,
    subject_option,
    utc_now,
)


@click.group()
def inventory() -> None:
    """Tell what is read, kept, logged and answered."""


@inventory.command("export")
@click.option(
    "--format",
    "format",
    type=click.Choice(["csv", "jsonld", "dpia", "roles", "svg"]),
    default="csv",
    show_default=True,
    help="Records of processing (Article 30) as CSV or JSON-LD, draft of an impact assessment (Article 35) "
    "or the roles in Markdown, or a picture of the data flow.",
)
def inventory_export(format: Any) -> None:
    """Write the records of processing of this installation.

    TACTFUL_OPERATOR and TACTFUL_OFFICER name who answers for it. Example: tactful inventory export --format dpia
    """
    from privacy.inventory import Parties, export, load

    config = read_config()
    publishers: list[str] = []
    if config.store is not None or config.database.exists():
        with opened_store() as store, store.read() as reader:
            publishers = [f"{p.name} ({p.domains[0]})" for batch in reader.publishers() for p in batch]
    parties = Parties(config.operator, config.officer, tuple(publishers))
    click.echo(export(load(), parties, format), nl=False)


@click.group()
def consent() -> None:
    """See to readers' consents."""


@consent.command("issue")
@click.option("--publisher", required=True, help="Id of the publisher.")
@click.option(
    "--sub", help="What the publisher calls the reader; - reads it from standard input; none: one is drawn."
)
@click.option(
    "--purpose", "purposes", required=True, multiple=True, help="A purpose agreed to; give one for each."
)
@click.option(
    "--notice", required=True, type=click.Path(path_type=Path), help="File of the notice that was shown."
)
@click.option("--language", required=True, help="The notice's language (BCP 47).")
@click.option("--notice-version", required=True, help="The publisher's name for the notice.")
@click.option("--expressed-by", default="signed form", show_default=True, help="How the reader agreed.")
@click.option(
    "--days", type=click.IntRange(1, 365), default=180, show_default=True, help="How long it stands."
)
def consent_issue(
    publisher: str, sub: str | None, purposes: tuple[str, ...], notice: Path, **said: Any
) -> None:
    """Record that a reader agrees, and print the tokens that go with it as JSON.

    Example: tactful consent issue --publisher daily-planet --purpose ads.select.first_party --notice notice.txt
    --language en --notice-version 3
    """
    import hashlib

    import msgspec

    from engine.consents import Grant
    from privacy.consent import PURPOSES
    from privacy.errors import FieldError
    from privacy.records import Notice

    if unknown := sorted({*purposes} - PURPOSES):
        raise FieldError("purpose", ", ".join(unknown), f"one of {', '.join(sorted(PURPOSES))}")
    shown = {
        "text_sha256": hashlib.sha256(bytes_of(notice)).hexdigest(),
        "language": said["language"],
        "version": said["notice_version"],
    }
    try:
        checked = msgspec.convert(shown, Notice)
    except msgspec.ValidationError:
        raise FieldError(
            "notice", "another language or version", "a BCP 47 language and a version such as 2026-11"
        ) from None
    with opened_rights() as rights:
        found = known_publisher(rights.store, publisher)
        asked = Grant(frozenset(purposes), checked, said["expressed_by"], said["days"])  # type: ignore[arg-type]  # checked
        done = rights.consents.grant(found, None if sub is None else read_subject(sub), asked)
    told = {
        "record_id": done.record,
        "sub": done.sub,
        "generation": done.row.generation,
        "token": done.token,
        "expires": done.row.expires.isoformat(),
        "rights_token": done.rights_token,
    }
    show(told, True, ())


@consent.command("decode")
@click.argument("token")
@as_json
def consent_decode(token: str, as_json: bool) -> None:
    """Print what a consent token says, and whether it would act now. - reads it from standard input.

    Exits 1 where it would not. Example: tactful consent decode - < token.txt
    """
    from functools import partial

    from engine.admission import pins_of
    from engine.consents import restriction
    from privacy.consent_token import Verifier, claimed
    from privacy.gate import DENIALS, Checks, Denied, attested

    text = read_subject(token)
    claims = claimed(text)
    id = str(claims.get("aud", "")).removeprefix("ctx:")
    with opened_rights() as rights:
        publisher = known_publisher(rights.store, id)
        mac, restrict = partial(rights.keyring.mac, "subject"), restriction(read_config())
        checks = Checks(Verifier(), rights.consents.store, restrict, mac, 1)
        pins = pins_of(publisher, rights.consents.issuer)
        try:
            because = f"for {', '.join(sorted(attested(text, id, checks, pins, utc_now())[2]))}"
            acts = True
        except Denied as denied:
            because, acts = f"{denied.reason}: {DENIALS[denied.reason]}", False
    told = {"claims": claims, "acts": acts, "because": because}
    show(
        told,
        as_json,
        (f"{name}: {value}" for name, value in {**claims, "acts": acts, "because": because}.items()),
    )
    if not acts:
        sys.exit(FOUND)


@consent.command("withdraw")
@click.option("--publisher", required=True, help="Id of the publisher.")
@subject_option
@as_json
def consent_withdraw(publisher: str, sub: str, as_json: bool) -> None:
    """End a reader's consent now, in every process.

    Example: tactful consent withdraw --publisher daily-planet --sub -
    """
    with opened_rights() as rights:
        done = rights.consents.withdraw(publisher, read_subject(sub), "request by mail")
    told = {"record_id": done.record, "state": done.state, "generation": done.generation, "index": done.index}
    show(told, as_json, [f"{done.state}: record {done.record}"])


@click.group()
def subject() -> None:
    """Do what a reader asks for by mail, who was found to be the one."""


@subject.command("export")
@click.option("--publisher", required=True, help="Id of the publisher.")
@subject_option
def subject_export(publisher: str, sub: str) -> None:
    """Print all that is recorded of a reader, as JSON-LD (ISO/IEC TS 27560).

    Example: tactful subject export --publisher daily-planet --sub -
    """
    import msgspec

    with opened_rights() as rights:
        told = rights.consents.export(publisher, read_subject(sub))
    click.echo(msgspec.json.format(msgspec.json.encode(told), indent=1).decode())


@subject.command("erase")
@click.option("--publisher", required=True, help="Id of the publisher.")
@subject_option
@as_json
def subject_erase(publisher: str, sub: str, as_json: bool) -> None:
    """Erase all that is recorded of a reader, and the key to it.

    Example: tactful subject erase --publisher daily-planet --sub -
    """
    with opened_rights() as rights:
        done = rights.consents.erase(publisher, read_subject(sub))
    show(
        {"erase_id": done.erase_id, "index": done.index},
        as_json,
        [f"erased; entry {done.index} of the log says so under {done.erase_id}"],
    )
