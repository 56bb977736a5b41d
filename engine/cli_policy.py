"""The commands about response models: learn one, try it, and let it decide where the evidence is for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from engine.cli_shared import FOUND, actor, as_json, read_config, show, utc_now
from engine.cli_store import open_existing

if TYPE_CHECKING:
    from engine.policies import Act
    from engine.policy_gate import Evidence
    from engine.reporting import Reporting
    from engine.store import Store
    from privacy.consent_log import LeafStore


@click.group()
def policy() -> None:
    """Learn from released tables which messages are clicked, and let it decide through a gate."""


@policy.command("train")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@actor
@as_json
def policy_train(seed: int, actor: str, as_json: bool) -> None:
    """Learn a model from the released tables of the last 84 days, and try it beside the one that decides.

    Equal tables and seed give equal bytes, wherever it is made. Example: tactful policy train
    """
    with _opened() as (store, reporting, _):
        model, now = reporting.learn(seed), utc_now()
        store.put_policy(model.id, model.body, now)
        store.act("challenge", model.id, actor, now)
    known = len(model.components)
    told = {"policy": model.id, "components": known, "rate": model.rate, "last_day": model.last_day}
    show(told, as_json, [f"{model.id}: {known} components, on trial from now on"])


@policy.command("list")
@as_json
def policy_list(as_json: bool) -> None:
    """List what was done with which model, and what decides now.

    Example: tactful policy list
    """
    from engine.policies import standing

    with _opened() as (store, _, _):
        acts = store.acts()
    stands = standing(acts)
    rows = [
        {"at": one.at.isoformat(), "actor": one.actor, "act": one.act, "policy": one.policy or "prior"}
        for one in acts
    ]
    told = {"live": stands.live or "prior", "challenger": stands.challenger or None, "acts": rows}
    lines = [f"{row['at']}  {row['act']:9} {row['policy']}  by {row['actor']}" for row in rows]
    show(told, as_json, [*lines, f"live: {told['live']}", f"on trial: {stands.challenger or 'none'}"])


@policy.command("evaluate")
@as_json
def policy_evaluate(as_json: bool) -> None:
    """Say what the model on trial would have got, by released sums, beside what the live one got.

    Exits 1 where that is not enough to promote it. Example: tactful policy evaluate
    """
    from engine.policy_gate import evaluate

    with _opened() as (store, reporting, _), _refusals():
        evidence = evaluate(reporting.released, store.acts(), reporting.closed())
    show(evidence.plain(), as_json, _lines(evidence))
    if not evidence.passes:
        sys.exit(FOUND)


@policy.command("promote")
@actor
def policy_promote(actor: str) -> None:
    """Let the model on trial decide, if its lower bound is above what the live one got; told in the log.

    Example: tactful policy promote
    """
    from engine.policy_gate import promote

    with _opened() as (store, reporting, leaves), _refusals():
        now = utc_now()
        told = promote(store, reporting.released, reporting.closed(), actor, now, _teller(leaves, now))
    for line in _lines(told):
        click.echo(line)
    click.echo(f"{told.challenger} decides")


@policy.command("rollback")
@actor
def policy_rollback(actor: str) -> None:
    """Let the model decide that did before, or the prior; told in the log.

    Example: tactful policy rollback
    """
    from engine.policy_gate import roll_back

    with _opened() as (store, _, leaves), _refusals():
        now = utc_now()
        earlier = roll_back(store, actor, now, _teller(leaves, now))
    click.echo(f"{earlier or 'the prior'} decides")


@policy.command("holdout")
@click.option(
    "--days", type=click.IntRange(1, 400), default=28, show_default=True, help="Days that are looked at."
)
@as_json
def policy_holdout(days: int, as_json: bool) -> None:
    """Say what learning adds: views that a model decided beside views that were held out from it by lot.

    TACTFUL_HOLDOUT_PERCENT says how many are held out. Example: tactful policy holdout --days 28
    """
    import msgspec

    from engine.ladder import held_out

    with _opened() as (_, reporting, _), _refusals():
        told = held_out(reporting.released, reporting.closed(), days)
    line = (
        f"{told.views:,.0f} views decided as usual, CTR {told.ctr:.4%}, lift over those held out"
        f" {told.lift:+.1%} ({told.low:+.1%} to {told.high:+.1%})"
    )
    show(msgspec.to_builtins(told), as_json, [line])


def _lines(evidence: Evidence) -> list[str]:
    rates = ((evidence.challenger, evidence.rate), (evidence.live or "prior", evidence.live_rate))
    return [
        f"{evidence.days} days, {evidence.impressions:,} impressions",
        *(
            f"{name:16} {r.value:.5f} clicks an impression, from {r.low:.5f} to {r.high:.5f}"
            for name, r in rates
        ),
        f"{'lead':16} {evidence.lead.value:+.5f}, from {evidence.lead.low:+.5f} to {evidence.lead.high:+.5f}"
        ": enough where all of that is above zero",
    ]


def _teller(
    leaves: LeafStore, now: datetime
) -> Callable[[Act, str, str, dict[str, Any]], Callable[[Any], object]]:
    from engine.log_record import policy_entry

    return lambda act, policy, before, evidence: policy_entry(leaves, act, policy, before, evidence, now)


@contextmanager
def _opened() -> Iterator[tuple[Store, Reporting, LeafStore]]:
    import secrets

    from engine.reporting import Reporting

    config = read_config()
    with open_existing(config) as store:
        leaves = store.leaves(secrets.token_bytes if config.log_profile == "public" else None)
        yield store, Reporting(config, store, leaves, utc_now), leaves


@contextmanager
def _refusals() -> Iterator[None]:
    from engine.errors import ModelError, PolicyRefused

    try:
        yield
    except (PolicyRefused, ModelError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(FOUND)
