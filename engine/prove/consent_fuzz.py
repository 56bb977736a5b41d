"""The promise that nothing passes our readers of consent that a reader by others refuses, tried with mutants.

A part (strings, tokens) brings mutants, an oracle's answer to each, and our reading; here they are held together.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ALIKE = 0.99  # of what the oracle accepts, at least so much is read as the oracle reads it
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Mutant:
    """A damaged string or token, made up here and nobody's."""

    kind: str
    text: str
    damage: str  # how it was made


@dataclass(frozen=True, slots=True)
class Answer:
    """What an oracle says of a mutant."""

    accepts: bool
    said: Any = None
    undecided: bool = False  # it gave up: the damage would have kept it busy for minutes


@dataclass(frozen=True, slots=True)
class Reading:
    """What we say of a mutant: accepted where no rule is broken; `said` where it could be read nevertheless."""

    said: Any
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """What trying one kind of mutants came to."""

    name: str
    mutants: int
    oracle_rejects: int
    against_oracle: tuple[str, ...]  # accepted here and refused there
    oracle_accepts: int
    agree: int  # read as the oracle reads them
    accepted: int  # of these, accepted here too
    refused_by_rule: Mapping[str, int]  # accepted by the oracle and refused here, by the strict rule
    rest_by_rule: Mapping[str, int]  # of these, what is not read as the oracle reads it
    unlike: tuple[str, ...]  # accepted here, but read otherwise
    undecided: int
    planted: Mapping[str, bool] = field(default_factory=dict)  # fault → whether it was found

    @property
    def sound(self) -> bool:
        """Say whether no mutant tells against our reader."""
        return not self.against_oracle and not self.unlike and self.agree >= ALIKE * self.oracle_accepts

    @property
    def holds(self) -> bool:
        """Say whether the reader is sound, the oracle took part, and every planted fault was found."""
        took_part = (
            self.oracle_accepts > 0 and self.oracle_rejects > 0 and self.undecided * 50 <= self.mutants
        )
        return self.sound and took_part and all(self.planted.values())

    def plain(self) -> dict[str, object]:
        """Return the part as JSON values."""
        return {
            "holds": self.holds,
            "mutants": self.mutants,
            "oracle_rejects": self.oracle_rejects,
            "accepted_against_oracle": len(self.against_oracle),
            "oracle_accepts": self.oracle_accepts,
            "agree": self.agree,
            "agree_share": round(self.agree / self.oracle_accepts, 5) if self.oracle_accepts else None,
            "accepted_by_both": self.accepted,
            "refused_by_rule": dict(sorted(self.refused_by_rule.items(), key=lambda item: -item[1])),
            "rest_by_rule": dict(sorted(self.rest_by_rule.items(), key=lambda item: -item[1])),
            "accepted_but_read_otherwise": len(self.unlike),
            "undecided": self.undecided,
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
) -> Part:
    """Hold our readings against the oracle's answers, one a mutant and in the same order."""
    rejects = accepts = agree = accepted = undecided = 0
    against: list[str] = []
    unlike: list[str] = []
    rules: Counter[str] = Counter()
    rest: Counter[str] = Counter()
    for mutant, answer in zip(mutants, answers, strict=True):
        reading = read(mutant)
        ours = not reading.broken
        if answer.undecided:
            undecided += 1
        elif not answer.accepts:
            rejects += 1
            if ours:
                against.append(f"{mutant.damage}: {mutant.text}")
        else:
            accepts += 1
            alike = reading.said == answer.said
            agree += alike
            if not ours:
                rules[reading.broken[0]] += 1
                rest[reading.broken[0]] += not alike
            elif alike:
                accepted += 1
            else:
                unlike.append(f"{mutant.damage}: {mutant.text}")
    return Part(
        name,
        len(mutants),
        rejects,
        tuple(against),
        accepts,
        agree,
        accepted,
        rules,
        +rest,
        tuple(unlike),
        undecided,
        planted or {},
    )


def score(
    mutants: Sequence[Mutant],
    answers: Sequence[Answer],
    faulty: Mapping[str, Callable[[Mutant], Reading]],
) -> dict[str, bool]:
    """Return for each faulty reader whether the mutants tell against it."""
    return {name: not judge(name, mutants, answers, read).sound for name, read in faulty.items()}
