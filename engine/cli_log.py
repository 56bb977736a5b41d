"""The commands of the consent log."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from engine.cli_shared import (
    FOUND,
    NUMBER,
    as_json,
    bytes_of,
    fail,
    opened_log,
    opened_rights,
    read_config,
    read_subject,
    show,
    subject_option,
    text_of,
    utc_now,
)


@click.group("log")
def log_group() -> None:
    """Look over the consent log: here, from outside, and years later."""


policy_file = click.option(
    "--policy",
    required=True,
    type=click.Path(path_type=Path),
    help="tlog-policy file with the keys to rely on: `tactful log policy` prints the log's own.",
)


@log_group.command("policy")
@click.option(
    "--shard", type=click.IntRange(1, 9999), help="For other tools: name the shard of this year alone."
)
def log_policy(shard: int | None) -> None:
    """Print the keys of this installation's log as a tlog-policy file, for auditors and witnesses.

    It holds for the log's yearly shards, those to come too: Tactful's commands know them by the log's name. Tools of
    others read one shard with a policy of its own. Example: tactful log policy > policy.txt
    """
    from engine.consent_log import read_witnesses
    from privacy.log_shards import origin_of_year

    with opened_log() as log:
        policy, witnesses = log.policy(), read_witnesses(read_config())
        if shard is not None:
            policy = policy.of_shard(origin_of_year(log.shards.log, shard))
    if witnesses is not None:
        policy = replace(witnesses, logs=policy.logs, retired=policy.retired)
    click.echo(policy.text(), nl=False)


@log_group.command("rotate-keys")
@as_json
def log_rotate_keys(as_json: bool) -> None:
    """Give the log new keys, while no service runs: the tree that tells of them is signed by the old ones, too.

    The old secrets are destroyed; what they signed stays verifiable. Hand the new policy to auditors and witnesses.
    Example: tactful log rotate-keys && tactful log policy > policy.txt
    """
    import secrets
    import time

    from engine.cli_shared import opened_store
    from engine.log_rotation import rotate

    with opened_store() as store:
        done = rotate(
            read_config(), store, now=utc_now, monotonic=time.monotonic, random_bytes=secrets.token_bytes
        )
    told = {"size": done.size, "day": done.day.isoformat(), "retired": [key.vkey() for key in done.keys]}
    show(
        told,
        as_json,
        [
            f"new keys sign the log from {done.size} entries on, where both have signed",
            *(f"retired: {key.name}+{key.key_id.hex()}" for key in done.keys),
            "give `tactful log policy` to auditors and witnesses, and keep a copy of the key folder",
        ],
    )


@log_group.command("receipt")
@click.argument("index", type=NUMBER)
@click.option("--leaf", type=click.Path(path_type=Path), help="Write the leaf itself into this file.")
def log_receipt(index: int, leaf: Path | None) -> None:
    """Print the proof that an entry stands in the log (.tlog-proof).

    INDEX counts through all yearly shards, as the entries do; the proof counts within the entry's own.
    Example: tactful log receipt 17 --leaf 17.leaf > 17.tlog-proof
    """
    from engine.errors import NotFound

    with opened_log() as log:
        proof = log.shards.receipt(index)
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

    trusted = read_policy(text_of(policy))
    data = bytes_of(proof)
    try:
        if data.startswith(b"{"):
            checkpoint, what = verify_use(read_use_proof(data), trusted), "use"
        elif leaf is None:
            raise click.UsageError("name the LEAF that the proof is to show")
        else:
            read = read_proof(data)
            checkpoint, what = verify_proof(read, bytes_of(leaf), trusted), f"entry {read.index}"
    except LogError as error:
        fail(error, FOUND)
    click.echo(f"{what} of {checkpoint.origin} at {checkpoint.size} entries: verified")


@log_group.command("fsck")
@click.option("--repair", is_flag=True, help="Put right what a copy that gives the signed root allows.")
@as_json
def log_fsck(repair: bool, as_json: bool) -> None:
    """Recompute the log from all its entries, in every shard; compare tiles, checkpoints and what was signed last.

    Exits 1 where something is wrong. Example: tactful log fsck --json
    """
    with opened_log() as log:
        if repair:
            for done in log.repair():
                click.echo(done, err=True)
        found = log.audit()
    show(found.plain(), as_json, found.lines())
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
    """Follow a log from outside, through its yearly shards: signatures, growth that only appends, freshness.

    Begins at the first shard and finds the later ones by it. Exits 1 at the first fault.
    Example: tactful log monitor https://ads.example.com/log --policy policy.txt
    --seen seen.txt --every-s 60
    """
    import time

    from engine.log_client import FolderSource, HttpSource
    from engine.log_files import write_durably
    from engine.log_follow import follow
    from privacy.checkpoint import read_checkpoint, read_note
    from privacy.errors import LogError
    from privacy.log_policy import read_policy

    trusted = read_policy(text_of(policy))
    key = text_of(key_file).strip() if key_file else None
    source = HttpSource(log, key) if log.startswith(("http://", "https://")) else FolderSource(Path(log))
    while True:
        before = bytes_of(seen) if seen.exists() else None
        try:
            note = follow(source, trusted, before, int(utc_now().timestamp()), stale_s)
        except LogError as error:
            fail(error, FOUND)
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

    with opened_log() as log:
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
    with opened_rights() as rights:
        openings = rights.consents.openings(publisher, read_subject(sub))
        question = Question(publisher, purpose, at.isoformat())
        told = bundle(rights.log.leaves, rights.log.shards, openings, question)
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

    trusted = read_policy(text_of(policy))
    try:
        judgement = judge(read_bundle(bytes_of(bundle)), trusted)
    except LogError as error:
        click.echo("the evidence does not hold: nothing follows from it", err=True)
        fail(error, FOUND)
    show(judgement.plain(), as_json, judgement.lines())
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
    """Cosign the checkpoints of the policy's logs and their shards, each only if it continues the one before.

    A shard whose successor was cosigned is cosigned at no larger size. Best run by somebody else, elsewhere.
    Example: tactful log witness --name witness.example.org/consent
    --policy policy.txt --state witness
    """
    import secrets

    from engine.log_witness import KEY, WitnessFiles, witness_signer
    from engine.serve import run_wsgi
    from privacy.keyring import Keyring
    from privacy.log_policy import read_policy

    logs = read_policy(text_of(policy))
    signer = witness_signer(name, Keyring.open(state / "keys", (KEY,), random=secrets.token_bytes))
    config = replace(read_config(), host=host, port=port, workers=1)
    click.echo(f"witness {name.rpartition('/')[2]} {signer.verifier.vkey()} http://{config.address}")

    def load() -> Any:
        from engine.web.witness import create_witness_app

        return create_witness_app(logs, signer, WitnessFiles(state / "cosigned"), utc_now)

    run_wsgi(load, config)
