"""Which response model decides: what was learned, what was tried against it, and who let which one decide.

A model that was learned is a challenger first: it decides nothing, and how often it would have done what was done is
recorded. It is promoted by the gate alone (engine.policy_gate), and what decided before it can be taken back to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from engine.errors import ModelError
from engine.learn.response import Model, read_model

Act = Literal["challenge", "promote", "rollback"]
PRIOR = ""  # stands for no model at all


class Acted(NamedTuple):
    """Something that was done: `policy` is what then challenges or decides."""

    at: datetime
    actor: str
    act: Act
    policy: str


class Standing(NamedTuple):
    """The ids of the model that decides, and of the one that is tried; PRIOR: none."""

    live: str = PRIOR
    challenger: str = PRIOR


class PolicyStore(Protocol):
    """Where models are kept, and what was done with them."""

    def put_policy(self, id: str, body: bytes, now: datetime) -> None:
        """Keep a model; one of the same id is the same."""

    def policy(self, id: str) -> bytes | None:
        """Return a model's bytes."""

    def act(
        self,
        act: Act,
        policy: str,
        actor: str,
        now: datetime,
        beside: Callable[[Any], object] = ...,
        seen: int | None = None,
    ) -> None:
        """Keep that it was done, and do what is to be done beside it in the same transaction.

        Raises PolicyRefused where it follows from the acts that were `seen`, so many, and there are others since.
        """

    def acts(self) -> list[Acted]:
        """Return all that was done, oldest first."""


def standing(acts: Iterable[Acted]) -> Standing:
    """Say what decides and what is tried. Whatever comes to decide ends the trial."""
    live = challenger = PRIOR
    for acted in acts:
        if acted.act == "challenge":
            challenger = acted.policy
        else:
            live, challenger = acted.policy, PRIOR
    return Standing(live, challenger)


def before_live(acts: Sequence[Acted]) -> str:
    """Return what decided before the model that does now, rolled back ones left out. Raises ModelError for none."""
    stack = [PRIOR]
    for acted in acts:
        if acted.act == "promote":
            stack.append(acted.policy)
        elif acted.act == "rollback":
            stack.pop()
    if len(stack) < 2:
        raise ModelError(
            "policy: got no promoted model, expected one to roll back: the prior decides already"
        )
    return stack[-2]


def model_of(store: PolicyStore, id: str) -> Model | None:
    """Read a model that is kept; None for the prior. Raises ModelError."""
    if id == PRIOR:
        return None
    body = store.policy(id)
    if body is None:
        raise ModelError(f"policy: got {id!r}, expected the id of a model that is kept: tactful policy list")
    return read_model(body)
