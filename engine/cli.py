"""The command `tactful`. Each command reads settings, calls one thing, prints; exit codes are in EXITS.

Everything heavy is imported by the command that needs it, so that `tactful --help` is there at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine import cli_store
from engine.cli_money import invoice, money
from engine.cli_report import prove_ledger, prove_noise, report

if TYPE_CHECKING:
    from engine.campaign import Publisher
    from engine.change import Change
    from engine.config import Config
    from engine.keys import Caller
    from engine.log_upkeep import Upkeep
    from engine.rights import Rights, RightsStore
    from engine.services import Services
    from engine.store import Store
    from privacy.visit import Visit

EXITS = """\
Exit codes: 0 done, 1 done and something was found (a faulty file, a campaign that cannot run, a broken
promise), 2 wrong usage or settings, 3 something could not be reached or opened."""
FOUND, USAGE, UNREACHED = 1, 2, 3
TRIES = 3  # how often a file is planned anew where the catalogue changed meanwhile

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
subject_option = click.option(
    "--sub", required=True, help="What the publisher calls the reader; - reads it from standard input."
)
actor = click.option("--actor", default="cli", show_default=True, help="Who does it, for the journal.")


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
            _fail(error, USAGE)
        except (
            errors.CatalogError,
            errors.CatalogErrors,
            errors.CatalogConflict,
            errors.Forbidden,
            errors.NotFound,
            errors.QueryRefused,
        ) as error:
            _fail(error, FOUND)
        except BrokenPipeError:  # whoever read the output has read enough: click ends quietly
            raise
        except (errors.EngineError, ContextError, PrivacyError, OSError) as error:
            _fail(error, UNREACHED)


@click.group(cls=Commands, epilog=EXITS, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Choose creatives that fit the page and the moment, knowing nothing about the person.

    Settings are TACTFUL_ environment variables: see `tactful config show`.
    """


main.add_command(money)
main.add_command(invoice)

# --- serving ---


@main.command()
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port to listen on.")
@click.option("--server", type=click.Choice(["granian", "gunicorn"]), default="granian", show_default=True)
@click.option(
    "--store",
    callback=cli_store.postgres_url,
    help="URL of a PostgreSQL database; TACTFUL_STORE keeps a password off the command line.",
)
def serve(workers: int | None, host: str | None, port: int | None, server: str, store: str | None) -> None:
    """Serve decisions until SIGTERM.

    Example: tactful serve --workers 2
    """
    from engine.serve import serve as run

    config = _config(workers=workers, host=host, port=port, store=store)
    with _initialise(config):
        pass  # a first start makes the folders and secrets, and says so
    click.echo(f"Tactful starts on http://{config.host}:{config.port}", err=True)
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
    config = _config()
    with _initialise(config) as store:
        if any(key.scope == "operator" for key in store.keys()):
            click.echo("An operator's key exists already: `tactful keys list`.")
            return
        _show_key(_new_key(store, "operator", None, actor))


main.add_command(report)


# --- the catalogue ---


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check and print what would change; change nothing.")
@actor
@as_json
def load(file: Path, dry_run: bool, actor: str, as_json: bool) -> None:
    """Load advertisers, publishers, campaigns and creatives from NDJSON or YAML.

    A faulty file changes nothing. Example: tactful load catalogue.ndjson --dry-run
    """
    from contexts.taxonomy import ad_products, content_taxonomy
    from engine.check import Known
    from engine.errors import CatalogConflict
    from engine.load import apply, open_source, plan

    known = Known(content_taxonomy(), ad_products())
    with _initialise(_config()) as store:
        for left in reversed(range(TRIES)):
            with plan(open_source(file), store, known) as planned:
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
                    apply(planned, store, actor, _now())
                    break
                except CatalogConflict:  # somebody was faster: against the catalogue as it is now
                    if not left:
                        raise
    _show({**told, "applied": not dry_run}, as_json, _load_lines(told, dry_run))


@main.command()
@click.argument("id")
@actor
def pause(id: str, actor: str) -> None:
    """Pause a campaign or creative; it acts in every worker within 5 seconds.

    Example: tactful pause spring-campaign
    """
    _switch(id, "paused", actor)


@main.command()
@click.argument("id")
@actor
def resume(id: str, actor: str) -> None:
    """Let a paused campaign or creative run again.

    Example: tactful resume spring-campaign
    """
    _switch(id, "active", actor)


@main.group()
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

    with _store() as store:
        rows, after = [], ""
        while found := review(store, _operator(), publisher, after):
            after = found[-1].creative.id
            rows += [{"creative": f.creative.id, "state": f.state, "hash": f.hash} for f in found]
    _show(rows, as_json, (f"{row['creative']:40} {row['state'] or 'not answered'}" for row in rows))


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


# --- keys ---


@main.group()
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
    with _initialise(_config()) as store:
        _show_key(_new_key(store, scope, tenant, actor))


@keys.command("list")
@as_json
def keys_list(as_json: bool) -> None:
    """List keys, without their secrets.

    Example: tactful keys list
    """
    now = _now()
    with _store() as store:
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
    _show(rows, as_json, lines)


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

    with _store() as store:
        _show_key(rotate_key(store, id, timedelta(hours=grace_hours), actor, _now(), secrets.token_bytes))


@keys.command("revoke")
@click.argument("id")
@actor
def keys_revoke(id: str, actor: str) -> None:
    """End a key now.

    Example: tactful keys revoke 0123456789abcdef
    """
    from engine.keys import revoke_key

    with _store() as store:
        revoke_key(store, id, actor, _now())
    click.echo(f"{id} is revoked; workers refuse it within 5 seconds.")


# --- decisions and why ---


@main.command()
@click.option("--deadline-ms", type=click.IntRange(1, 60_000), default=5000, show_default=True)
def decide(deadline_ms: int) -> None:
    """Answer one request from standard input, as POST /v1/decisions would.

    Example: tactful decide < request.json
    """
    from engine.web.app import create_app

    config = replace(_config(), deadline_ms=deadline_ms)
    body = sys.stdin.buffer.read()
    with _services(config) as services:
        answer = (
            create_app(config, services)
            .test_client()
            .post("/v1/decisions", data=body, content_type="application/json")
        )
    click.echo(answer.text)
    if answer.status_code >= 400:
        sys.exit(UNREACHED if answer.status_code >= 500 else USAGE)


@main.command()
@click.argument("target", metavar="URL|FILE|-")
@click.option("--publisher", required=True, help="Id of the publisher on whose page it is.")
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
@as_json
def explain(target: str, as_json: bool, most: int, **stated: Any) -> None:
    """Print what is understood of a page, and which creatives fit it or are kept out, and why.

    A URL stands for what the service knows of that page; a file or standard input (-) is text or HTML.

    Example: tactful explain article.html --publisher daily-planet
    """
    from engine.explain import explain as explain_visit

    stated_page = _page_fields(target)
    visit = _visit(stated_page, **stated)
    with _services(_config()) as services:
        told = explain_visit(services.engine, visit, services.monotonic() + 30.0, most=most)
    _show_struct(told, as_json)
    if "url" in stated_page and told.page.topics == ():
        click.echo(
            "nothing is known of this page, or not yet: to explain what stands on it, give it as a FILE or -",
            err=True,
        )


@main.command()
@click.argument("campaign")
@as_json
def diagnose(campaign: str, as_json: bool) -> None:
    """Say why a campaign delivers or does not: its rules against the pages known.

    Exits 1 where it cannot run on any page. Example: tactful diagnose spring-campaign
    """
    from engine.explain import diagnose as diagnose_campaign

    with _services(_config()) as services:
        told = diagnose_campaign(services.engine, campaign, services.now())
    _show_struct(told, as_json)
    if not told.could_run_on:
        sys.exit(FOUND)


@main.command()
@as_json
def quality(as_json: bool) -> None:
    """Show how much of each facet is known, how old it is, and what failed.

    Example: tactful quality
    """
    from engine.explain import quality as facet_quality

    with _services(_config()) as services:
        told = facet_quality(services.engine, services.now())
    _show_struct(told, as_json)


# --- what data protection law asks for ---


@main.group()
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

    config = _config()
    publishers: list[str] = []
    if config.store is not None or config.database.exists():
        with _store() as store, store.read() as reader:
            publishers = [f"{p.name} ({p.domains[0]})" for batch in reader.publishers() for p in batch]
    parties = Parties(config.operator, config.officer, tuple(publishers))
    click.echo(export(load(), parties, format), nl=False)


# --- consents ---


@main.group()
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
        "text_sha256": hashlib.sha256(notice.read_bytes()).hexdigest(),
        "language": said["language"],
        "version": said["notice_version"],
    }
    try:
        checked = msgspec.convert(shown, Notice)
    except msgspec.ValidationError as error:
        raise FieldError("notice", str(error), "a BCP 47 language and a version such as 2026-11") from None
    with _rights() as rights:
        found = _publisher(rights.store, publisher)
        asked = Grant(frozenset(purposes), checked, said["expressed_by"], said["days"])  # type: ignore[arg-type]  # checked
        done = rights.consents.grant(found, None if sub is None else _sub(sub), asked)
    told = {
        "record_id": done.record,
        "sub": done.sub,
        "generation": done.row.generation,
        "token": done.token,
        "expires": done.row.expires.isoformat(),
        "rights_token": done.rights_token,
    }
    _show(told, True, ())


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

    text = _sub(token)
    claims = claimed(text)
    id = str(claims.get("aud", "")).removeprefix("ctx:")
    with _rights() as rights:
        publisher = _publisher(rights.store, id)
        mac, restrict = partial(rights.keyring.mac, "subject"), restriction(_config())
        checks = Checks(Verifier(), rights.consents.store, restrict, mac, 1)
        pins = pins_of(publisher, rights.consents.issuer)
        try:
            because = f"for {', '.join(sorted(attested(text, id, checks, pins, _now())[2]))}"
            acts = True
        except Denied as denied:
            because, acts = f"{denied.reason}: {DENIALS[denied.reason]}", False
    told = {"claims": claims, "acts": acts, "because": because}
    _show(
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
    with _rights() as rights:
        done = rights.consents.withdraw(publisher, _sub(sub), "request by mail")
    told = {"record_id": done.record, "state": done.state, "generation": done.generation, "index": done.index}
    _show(told, as_json, [f"{done.state}: record {done.record}"])


# --- readers' rights ---


@main.group()
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

    with _rights() as rights:
        told = rights.consents.export(publisher, _sub(sub))
    click.echo(msgspec.json.format(msgspec.json.encode(told), indent=1).decode())


@subject.command("erase")
@click.option("--publisher", required=True, help="Id of the publisher.")
@subject_option
@as_json
def subject_erase(publisher: str, sub: str, as_json: bool) -> None:
    """Erase all that is recorded of a reader, and the key to it.

    Example: tactful subject erase --publisher daily-planet --sub -
    """
    with _rights() as rights:
        done = rights.consents.erase(publisher, _sub(sub))
    _show(
        {"erase_id": done.erase_id, "index": done.index},
        as_json,
        [f"erased; entry {done.index} of the log says so under {done.erase_id}"],
    )


# --- the consent log ---


@main.group("log")
def log_group() -> None:
    """Look over the consent log: here, from outside, and years later."""


policy_file = click.option(
    "--policy",
    required=True,
    type=click.Path(path_type=Path),
    help="tlog-policy file with the keys to rely on: `tactful log policy` prints the log's own.",
)


@log_group.command("policy")
def log_policy() -> None:
    """Print the keys of this installation's log as a tlog-policy file, for auditors and witnesses.

    Example: tactful log policy > policy.txt
    """
    from engine.consent_log import read_witnesses

    with _consent_log() as log:
        policy, witnesses = log.policy(), read_witnesses(_config())
    if witnesses is not None:
        policy = replace(witnesses, logs=policy.logs)
    click.echo(policy.text(), nl=False)


@log_group.command("receipt")
@click.argument("index", type=click.IntRange(0))
@click.option("--leaf", type=click.Path(path_type=Path), help="Write the leaf itself into this file.")
def log_receipt(index: int, leaf: Path | None) -> None:
    """Print the proof that an entry stands in the log (.tlog-proof).

    Example: tactful log receipt 17 --leaf 17.leaf > 17.tlog-proof
    """
    from engine.consent_log import receipt
    from engine.errors import NotFound

    with _consent_log() as log:
        proof = receipt(log.files, index)
        entry = log.leaves.read(index, index + 1)
    if proof is None or not entry:
        raise NotFound(f"{index}: no published checkpoint covers this entry")
    if leaf is not None:
        leaf.write_bytes(entry[0])
    click.echo(proof.encode().decode(), nl=False)


@log_group.command("verify")
@click.argument("proof", type=click.Path(path_type=Path))
@click.argument("leaf", type=click.Path(path_type=Path), required=False)
@policy_file
def log_verify(proof: Path, leaf: Path | None, policy: Path) -> None:
    """Check offline that a proof shows a LEAF in a log that the policy trusts; or a use, of which PROOF tells all.

    Exits 1 where it does not. Example: tactful log verify 17.tlog-proof 17.leaf --policy policy.txt
    """
    from privacy.errors import LogError
    from privacy.log_policy import read_policy
    from privacy.tlog_proof import read_proof, verify_proof
    from privacy.use_batch import read_use_proof, verify_use

    trusted = read_policy(_text(policy))
    data = _bytes(proof)
    try:
        if data.startswith(b"{"):
            checkpoint, what = verify_use(read_use_proof(data), trusted), "use"
        elif leaf is None:
            raise click.UsageError("name the LEAF that the proof is to show")
        else:
            read = read_proof(data)
            checkpoint, what = verify_proof(read, _bytes(leaf), trusted), f"entry {read.index}"
    except LogError as error:
        _fail(error, FOUND)
    click.echo(f"{what} of {checkpoint.origin} at {checkpoint.size} entries: verified")


@log_group.command("fsck")
@click.option("--repair", is_flag=True, help="Put right what a copy that gives the signed root allows.")
@as_json
def log_fsck(repair: bool, as_json: bool) -> None:
    """Recompute the log from all its entries; compare tiles, checkpoint and what was signed last.

    Exits 1 where something is wrong. Example: tactful log fsck --json
    """
    with _consent_log() as log:
        if repair:
            for done in log.repair():
                click.echo(done, err=True)
        found = log.audit()
    _show(found.plain(), as_json, found.lines())
    if not found.holds:
        sys.exit(FOUND)


@log_group.command("monitor")
@click.argument("log", metavar="URL|FOLDER")
@policy_file
@click.option(
    "--seen",
    required=True,
    type=click.Path(path_type=Path),
    help="File that keeps the last checkpoint between looks.",
)
@click.option("--key-file", type=click.Path(path_type=Path), help="File with an API key of scope compliance.")
@click.option(
    "--stale-s",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    help="Seconds after which a signature is too old; 4000 for a public log.",
)
@click.option("--every-s", type=click.IntRange(1), help="Look again each so many seconds, until a fault.")
def log_monitor(
    log: str, policy: Path, seen: Path, key_file: Path | None, stale_s: int, every_s: int | None
) -> None:
    """Follow a log from outside: signatures, growth that only appends, freshness.

    Exits 1 at the first fault. Example: tactful log monitor https://ads.example.com/log --policy policy.txt
    --seen seen.txt --every-s 60
    """
    import time

    from engine.log_audit import follow
    from engine.log_client import FolderSource, HttpSource
    from engine.log_files import write_durably
    from privacy.checkpoint import read_checkpoint, read_note
    from privacy.errors import LogError
    from privacy.log_policy import read_policy

    trusted = read_policy(_text(policy))
    key = _text(key_file).strip() if key_file else None
    source = HttpSource(log, key) if log.startswith(("http://", "https://")) else FolderSource(Path(log))
    while True:
        before = _bytes(seen) if seen.exists() else None
        try:
            note = follow(source, trusted, before, int(_now().timestamp()), stale_s)
        except LogError as error:
            _fail(error, FOUND)
        write_durably(seen, note)
        checkpoint = read_checkpoint(read_note(note).text)
        click.echo(f"{checkpoint.origin}: {checkpoint.size} entries, root {checkpoint.root.hex()}")
        if every_s is None:
            return
        time.sleep(every_s)


@log_group.command("use")
@click.argument("token_id")
@click.argument("nonce")
def log_use(token_id: str, nonce: str) -> None:
    """Print the proof that the use of a token, by its jti and the request's nonce, was told to the log.

    `tactful log verify` checks it. Example: tactful log use 5f1e8a4e00004000800000000000aaaa MDEyMzQ1Njc4OWFiY2RlZg
    """
    import msgspec

    with _consent_log() as log:
        proof = log.use_proof(token_id, nonce)
    click.echo(msgspec.json.encode(proof).decode())


@log_group.command("evidence")
@click.option("--publisher", required=True, help="Id of the publisher.")
@subject_option
@click.option("--purpose", required=True, help="Such as ads.select.first_party.")
@click.option(
    "--at",
    required=True,
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]),
    help="The moment to be judged, with an offset from UTC.",
)
def log_evidence(publisher: str, sub: str, purpose: str, at: datetime) -> None:
    """Print the evidence of a reader's consent, for `tactful log rejudge`: records, openings, proofs, keys, policy.

    Example: tactful log evidence --publisher daily-planet --sub - --purpose ads.select.first_party
    --at 2026-11-23T18:05:00+01:00 > evidence.json
    """
    import msgspec

    from engine.evidence import bundle
    from privacy.consent import PURPOSES
    from privacy.errors import FieldError
    from privacy.rejudge import Question

    if purpose not in PURPOSES:
        raise FieldError("purpose", repr(purpose), f"one of {', '.join(sorted(PURPOSES))}")
    with _rights() as rights:
        openings = rights.consents.openings(publisher, _sub(sub))
        question = Question(publisher, purpose, at.isoformat())
        told = bundle(rights.log.leaves, rights.log.files, openings, question)
    click.echo(msgspec.json.encode(told).decode())


@log_group.command("rejudge")
@click.argument("bundle", type=click.Path(path_type=Path))
@policy_file
@as_json
def log_rejudge(bundle: Path, policy: Path, as_json: bool) -> None:
    """Judge offline, however late, whether consent was in force: from an evidence bundle and the log's keys alone.

    Exits 1 where it was not, or where the evidence does not hold. Example: tactful log rejudge evidence.json
    --policy policy.txt
    """
    from privacy.errors import LogError
    from privacy.log_policy import read_policy
    from privacy.rejudge import judge, read_bundle

    trusted = read_policy(_text(policy))
    try:
        judgement = judge(read_bundle(_bytes(bundle)), trusted)
    except LogError as error:
        click.echo("the evidence does not hold: nothing follows from it", err=True)
        _fail(error, FOUND)
    _show(judgement.plain(), as_json, judgement.lines())
    if not judgement.in_force:
        sys.exit(FOUND)


@log_group.command("witness")
@click.option("--name", required=True, help="Name that it signs under, such as witness.example.org/consent.")
@policy_file
@click.option(
    "--state", required=True, type=click.Path(path_type=Path), help="Folder of its key and what it cosigned."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True)
def log_witness(name: str, policy: Path, state: Path, host: str, port: int) -> None:
    """Cosign the checkpoints of the policy's logs, each only if it continues the one before.

    Best run by somebody else, elsewhere. Example: tactful log witness --name witness.example.org/consent
    --policy policy.txt --state witness
    """
    import secrets

    from engine.log_witness import KEY, WitnessFiles, watched, witness_signer
    from engine.serve import run_wsgi
    from privacy.keyring import Keyring
    from privacy.log_policy import read_policy

    logs = watched(read_policy(_text(policy)))
    signer = witness_signer(name, Keyring.open(state / "keys", (KEY,), random=secrets.token_bytes))
    click.echo(f"witness {name.rpartition('/')[2]} {signer.verifier.vkey()} http://{host}:{port}")

    def load() -> Any:
        from engine.web.witness import create_witness_app

        return create_witness_app(logs, signer, WitnessFiles(state / "cosigned"), _now)

    run_wsgi(load, replace(_config(), host=host, port=port, workers=1))


# --- upkeep ---


@main.command()
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

    with _rights() as rights:
        gone = run(_config(), rights, _now(), copies)
    _show(gone, as_json, (f"{what}: {count}" for what, count in gone.items()))


@main.command("backup-keys")
@click.argument("file", type=click.Path(path_type=Path))
def backup_keys(file: Path) -> None:
    """Copy subjects' keys into a file of their own; it may be kept for 30 days.

    No other backup holds them: without them, consents can be shown to nobody. Delete the copy in time, or
    let `tactful purge --copies` do so. Example: tactful backup-keys /backup/keys/2026-11-23
    """
    from engine.store.subjects_sqlite import BACKUP_DAYS

    now = _now()
    with _rights() as rights:
        rights.consents.keys.back_up(file, now)
    click.echo(f"wrote {file}; delete it by {(now + timedelta(days=BACKUP_DAYS)).date()}")


@main.command("restore-keys")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@as_json
def restore_keys(file: Path, as_json: bool) -> None:
    """Take over subjects' keys from a copy. Whoever was erased since stays erased.

    Example: tactful restore-keys /backup/keys/2026-11-23
    """
    with _rights() as rights:
        back = rights.consents.keys.put_back(file, rights.consents.log.told, _now())
    _show({"keys": back}, as_json, [f"keys put back: {back}"])


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace an existing file.")
def backup(file: Path, force: bool) -> None:
    """Write catalogue, pictures and keys' hashes into one file, while the service runs.

    It is a SQLite file of all rows, whichever kind of store it was made of.

    The key folder is no part of it: keep it elsewhere. Example: tactful backup tactful-2026-11-23.db
    """
    from engine.backup import backup as write

    with _store() as store:
        write(store, file, force)
    click.echo(f"wrote {file}; keep the key folder {_config().key_dir} apart from it")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the store that exists.")
def restore(file: Path, force: bool) -> None:
    """Put a backup in the store's place, whichever kinds both are of. Stop the service first.

    Example: tactful restore tactful-2026-11-23.db --force
    """
    from engine.backup import restore as put
    from engine.backup import restore_into
    from engine.config import make_folder
    from engine.consents import Reconciled
    from engine.store.subjects_sqlite import FILE

    config = _config()
    make_folder(config.data_dir)
    if config.store is None:
        put(file, config.database, force)
    else:
        restore_into(file, config.store, force)
    place = config.database if config.store is None else "the database"
    click.echo(f"restored {place}; keys revoked since the backup are valid again: revoke them anew")
    if not (config.key_dir / FILE).exists():
        click.echo(f"no keys of subjects are in {config.key_dir}: put them back, then restore again")
        return
    with _rights() as rights:
        done = rights.consents.reconcile()
    if done != Reconciled():
        click.echo(
            f"consents put right: {done.erased} erased, {done.withdrawn} withdrawn, {done.destroyed} keys gone"
        )


@main.group()
def prove() -> None:
    """Test the service's promises on this machine."""


prove.add_command(prove_noise)
prove.add_command(prove_ledger)


@prove.command("no-identity")
@as_json
def prove_no_identity(as_json: bool) -> None:
    """Try to find a trace of a person in what the service answers, keeps and logs.

    Exits 1 where one is found. Example: tactful prove no-identity
    """
    from engine.prove.service import prove_no_identity as run

    verdict = run()
    _show(verdict.plain(), as_json, verdict.lines())
    if not verdict.holds:
        sys.exit(FOUND)


@prove.command("erasure")
@as_json
def prove_erasure(as_json: bool) -> None:
    """Erase a reader on copies of the state, and search them for what is left.

    Exits 1 where anything is found. Example: tactful prove erasure
    """
    from engine.prove.erasure import prove_erasure as run

    verdict = run(_config())
    _show(verdict.plain(), as_json, verdict.lines())
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
    _show(verdict.plain(), as_json, verdict.lines())
    if not verdict.holds:
        sys.exit(FOUND)


@prove.command("consent-fuzz")
@click.option("--count", default=50_000, show_default=True, help="Mutants of each kind.")
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same mutants.")
@click.option(
    "--packages",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder whose node_modules holds @iabtcf/core and @iabgpp/cmpapi (default: where npm installs globally).",
)
@as_json
def prove_consent_fuzz(count: int, seed: int, packages: Path | None, as_json: bool) -> None:
    """Try damaged consent strings and tokens on our readers and on those of others.

    Exits 1 where ours accept what the others refuse. Example: tactful prove consent-fuzz --count 2000
    """
    from engine.prove.consent_fuzz import FuzzVerdict
    from engine.prove.consent_fuzz_tokens import fuzz_tokens
    from engine.prove.string_fuzz import fuzz_strings

    verdict = FuzzVerdict(seed, (fuzz_strings(seed, count, packages), fuzz_tokens(seed, count)))
    _show(verdict.plain(), as_json, verdict.lines())
    if not verdict.holds:
        sys.exit(FOUND)


@prove.command("log")
@as_json
def prove_log(as_json: bool) -> None:
    """Try to change, drop or rewrite what the consent log tells without being found out, on copies of it.

    Exits 1 where that succeeds. Example: tactful prove log
    """
    from engine.prove.log import prove_log as run

    verdict = run(_config(), _now())
    _show(verdict.plain(), as_json, verdict.lines())
    if not verdict.holds:
        sys.exit(FOUND)


@main.group("config")
def config_group() -> None:
    """Look at the settings."""


@config_group.command("show")
@as_json
def config_show(as_json: bool) -> None:
    """Print each setting, its value and where that came from; secrets are not printed.

    Example: TACTFUL_WORKERS=4 tactful config show
    """
    config = _config()
    rows = [
        {"setting": name, "value": value, "origin": origin, "meaning": meaning}
        for name, value, origin, meaning in config.shown()
    ]
    lines = (f"{r['setting']:18} {r['value'] or '-':28} {r['origin']:26} {r['meaning']}" for r in rows)
    _show(rows, as_json, lines)


# --- the store as a whole ---

main.add_command(cli_store.upgrade)
main.add_command(cli_store.copy_store)
main.add_command(cli_store.take_over)


# --- helpers ---


def _config(**overrides: object) -> Config:
    from engine.config import Config

    return Config.from_env().overridden({k: v for k, v in overrides.items() if v is not None})


def _now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def _store() -> Iterator[Store]:
    """Open the store that exists."""
    with cli_store.open_existing(_config()) as store:
        yield store


@contextmanager
def _initialise(config: Config) -> Iterator[Store]:
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
def _rights() -> Iterator[Rights]:
    """Open the consents of the store that exists, beside a service that may run."""
    from engine.rights import open_rights

    with _store() as store, open_rights(_config(), store, now=_now) as rights:
        yield rights


def _publisher(store: RightsStore, id: str) -> Publisher:
    from engine.campaign import Publisher
    from engine.errors import UnknownPublisher

    found = store.find("publisher", [id]).get(id)
    if not isinstance(found, Publisher):
        raise UnknownPublisher(id)
    return found


def _sub(given: str) -> str:
    """Return what is given, or stands in standard input: a command line is seen by others, and kept."""
    return sys.stdin.readline().strip() if given == "-" else given


@contextmanager
def _consent_log() -> Iterator[Upkeep]:
    """Open the log of the store that exists, beside a service that may run."""
    from engine.log_upkeep import Upkeep

    with _store() as store:
        yield Upkeep(_config(), store)


@contextmanager
def _services(config: Config) -> Iterator[Services]:
    from engine.services import open_services

    services = open_services(config)
    try:
        services.warm_up()
        yield services
    finally:
        services.close()


def _operator() -> Caller:
    from engine.keys import Caller

    return Caller("operator", None, "cli")


def _new_key(store: Store, scope: Any, tenant: str | None, actor: str) -> str:
    import secrets

    from engine.keys import create_key

    return create_key(store, scope, tenant, actor, _now(), secrets.token_bytes)


def _show_key(key: str) -> None:
    click.echo(key)
    click.echo("This is the only time that the key is shown: keep it now.", err=True)


def _switch(id: str, status: Any, actor: str) -> None:
    import msgspec

    from engine.change import Change
    from engine.errors import NotFound

    with _store() as store:
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
                    _now(),
                )
            click.echo(f"{kind} {id} is {status}")
            return
    raise NotFound(f"{id}: there is no campaign or creative of this id")


def _answer_approvals(publisher: str, creatives: Iterable[str], state: Any) -> None:
    from engine.change import content_hash
    from engine.errors import NotFound
    from engine.manage import approve as answer

    with _store() as store:
        found: Any = store.find("creative", list(creatives))
        if unknown := [id for id in creatives if id not in found]:
            raise NotFound(f"{', '.join(unknown)}: no creatives of these ids")
        hashes = {id: content_hash(creative) for id, creative in found.items()}
        answer(store, _operator(), publisher, hashes, state, _now())
    click.echo(f"{state}: {', '.join(hashes)}")


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
    data = sys.stdin.buffer.read() if target == "-" else Path(target).read_bytes()
    text = data.decode("utf-8", "replace")
    return {"html" if text.lstrip().startswith("<") else "text": text}


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


def _show(value: Any, as_json: bool, lines: Iterable[str]) -> None:
    import msgspec

    if as_json:
        click.echo(msgspec.json.encode(value).decode())
        return
    for line in lines:
        click.echo(line)


def _show_struct(told: Any, as_json: bool) -> None:
    """Print a msgspec value as an outline, or as JSON."""
    import msgspec

    _show(told, as_json, _outline(msgspec.to_builtins(told)))


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


def _bytes(path: Path) -> bytes:
    """Read a file of the log that came from elsewhere. Raises LogError for one that is far too large."""
    from privacy.errors import LogError
    from privacy.rejudge import MOST_BYTES

    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise LogError(f"{path}: got more than {MOST_BYTES} bytes")
    return data


def _text(path: Path) -> str:
    from privacy.errors import LogError

    try:
        return _bytes(path).decode()
    except UnicodeDecodeError:
        raise LogError(f"{path}: got bytes that are no UTF-8") from None


def _fail(error: Exception, code: int) -> None:
    click.echo(f"error: {error}", err=True)
    sys.exit(code)
