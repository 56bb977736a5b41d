"""The promise that nothing passes our readers of consent that a reader by others refuses, tried with mutants.

A part (strings, tokens) brings mutants, an oracle's answer to each, and our reading; here they are held together.
Two questions are asked. Is anything accepted here that the oracle refuses, or read otherwise than it reads it? No
mutant may say so. And how much of what the oracle accepts is accepted here with the same content? That share is
taken over plain mutants alone, damaged as chance would: what was built to break a rule would say only how many such
mutants were built. The rest of it is told by the rule that refused it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TARGET = (
    0.99  # of the plain mutants that the oracle accepts, so much should be accepted with the same content
)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Mutant:
    """A damaged string or token, made up here and nobody's."""

    kind: str
    text: str
    damage: str  # how it was made
    plain: bool = True  # damaged by chance; else built to break a rule


@dataclass(frozen=True, slots=True)
class Answer:
    """What an oracle says of a mutant."""

    accepts: bool
    said: Any = None
    undecided: bool = False  # it gave up: the damage would have kept it busy for minutes
    doubted: bool = False  # accepted, but another of the oracle's decoders refuses a part of it


@dataclass(frozen=True, slots=True)
class Reading:
    """What we say of a mutant: what was read, or the strict rule that refused it."""

    said: Any
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """What trying one kind of mutants came to."""

    name: str
    mutants: int
    oracle_rejects: int
    against_oracle: tuple[str, ...]  # accepted here and refused there
    unlike: tuple[str, ...]  # accepted by both, and read otherwise
    undecided: int
    plain_mutants: int
    plain_accepts: int  # of these, accepted by the oracle
    agree: int  # of these, accepted here with the same content
    refused_by_rule: Mapping[str, int]  # and the others, by the strict rule that refused them
    floor: float  # the least share that may agree
    planted: Mapping[str, bool] = field(default_factory=dict)  # fault → whether it was found

    @property
    def agree_share(self) -> float:
        """Return the share of the oracle's plain mutants that are accepted here with the same content."""
        return self.agree / self.plain_accepts if self.plain_accepts else 0.0

    @property
    def sound(self) -> bool:
        """Say whether no mutant tells against our reader."""
        return not self.against_oracle and not self.unlike and self.agree_share >= self.floor

    @property
    def holds(self) -> bool:
        """Say whether the reader is sound, the oracle took part, and every planted fault was found."""
        took_part = self.oracle_rejects > 0 and self.undecided * 50 <= self.mutants
        return self.sound and took_part and all(self.planted.values())

    def plain(self) -> dict[str, object]:
        """Return the part as JSON values."""
        refused = sorted(self.refused_by_rule.items(), key=lambda item: -item[1])
        return {
            "holds": self.holds,
            "mutants": self.mutants,
            "oracle_rejects": self.oracle_rejects,
            "accepted_against_oracle": len(self.against_oracle),
            "accepted_but_read_otherwise": len(self.unlike),
            "undecided": self.undecided,
            "plain_mutants": self.plain_mutants,
            "oracle_accepts": self.plain_accepts,
            "agree": self.agree,
            "agree_share": round(self.agree_share, 5),
            "agree_target": TARGET,
            "agree_target_met": self.agree_share >= TARGET,
            "agree_floor": self.floor,
            "refused_by_rule": dict(refused),
            "refused_share_by_rule": {rule: round(count / self.plain_accepts, 5) for rule, count in refused},
            "planted": dict(self.planted),
            "mutation_score": f"{sum(self.planted.values())}/{len(self.planted)}",
            "examples": [*self.against_oracle[:_SHOWN], *self.unlike[:_SHOWN]],
        }


@dataclass(frozen=True, slots=True)
class FuzzVerdict:
    """The verdict on every part."""

    seed: int
    parts: tuple[Part, ...]

    @property
    def holds(self) -> bool:
        """Say whether every part holds."""
        return bool(self.parts) and all(part.holds for part in self.parts)

    def plain(self) -> dict[str, object]:
        """Return the verdict as JSON values."""
        return {
            "promise": "consent-fuzz",
            "holds": self.holds,
            "seed": self.seed,
            **{part.name: part.plain() for part in self.parts},
        }

    def lines(self) -> Iterator[str]:
        """Give the verdict as one JSON text."""
        yield json.dumps(self.plain(), indent=2)


def judge(
    name: str,
    mutants: Sequence[Mutant],
    answers: Sequence[Answer],
    read: Callable[[Mutant], Reading],
    planted: Mapping[str, bool] | None = None,
    floor: float = TARGET,
) -> Part:
    """Hold our readings against the oracle's answers, one a mutant and in the same order."""
    rejects = accepts = agree = undecided = 0
    against: list[str] = []
    unlike: list[str] = []
    rules: Counter[str] = Counter()
    for mutant, answer in zip(mutants, answers, strict=True):
        reading = read(mutant)
        if answer.undecided:
            undecided += 1
            continue
        rejects += not answer.accepts
        accepts += answer.accepts and mutant.plain
        if reading.refused is not None:
            if answer.accepts and mutant.plain:
                rules[reading.refused] += 1
        elif not answer.accepts or answer.doubted:
            against.append(f"{mutant.damage}: {mutant.text}")
        elif reading.said != answer.said:
            unlike.append(f"{mutant.damage}: {mutant.text}")
        else:
            agree += mutant.plain
    return Part(
        name,
        len(mutants),
        rejects,
        tuple(against),
        tuple(unlike),
        undecided,
        sum(mutant.plain for mutant in mutants),
        accepts,
        agree,
        rules,
        floor,
        planted or {},
    )


def score(
    mutants: Sequence[Mutant],
    answers: Sequence[Answer],
    faulty: Mapping[str, Callable[[Mutant], Reading]],
) -> dict[str, bool]:
    """Return for each faulty reader whether a mutant tells against it."""
    found = {name: judge(name, mutants, answers, read) for name, read in faulty.items()}
    return {name: bool(part.against_oracle or part.unlike) for name, part in found.items()}
