"""The promise that nothing passes our readers of consent that a reader by others refuses, tried with mutants.

A part (strings, tokens) brings mutants, an oracle's answer to each, and our reading; here they are held together.
Three questions are asked. Is anything accepted here that the oracle refuses, or accepted and read otherwise? No mutant
may say so. Decoding: of what the oracle accepts, how much is read here with the same content, field by field? At least
TARGET; the rest is told by the rule that refused it. Admission: what is read may still be refused, because it breaks a
rule that the oracle does not hold it to, or must not be relied on today; this takes rights away and nothing else, and
is told by rule beside it. Shares are taken over plain mutants alone, damaged as chance would: what was built to break
a rule would say only how many such mutants were built.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TARGET = 0.99  # of the plain mutants that the oracle accepts, so much has to be read with the same content
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
    doubted: bool = False  # one of the oracle's decoders accepts it, and another refuses a part of it


@dataclass(frozen=True, slots=True)
class Reading:
    """What we say of a mutant: what was read, or the rule by which it cannot be, and by which it is not admitted."""

    said: Any
    refused: str | None = None
    broken: str | None = None  # read, and never relied on: it breaks this rule
    unlawful: str | None = None  # well formed, and not to be relied on today

    @property
    def accepted(self) -> bool:
        """Say whether no rule of form is broken."""
        return self.refused is None and self.broken is None


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
    plain_accepts: int  # of these, accepted by the whole oracle, or undecided, which counts against us
    plain_doubted: int  # of these, refused by a part of the oracle alone: to accept one would be unsound
    doubted_alike: int  # of those, read here with the content that the other part reads
    agree: int  # of these, read here with the same content
    refused_by_rule: Mapping[str, int]  # and the others, by the rule that refused them
    admitted: int  # of those that agree, relied on
    denied_by_rule: Mapping[str, int]  # and the others, by the rule
    planted: Mapping[str, bool] = field(default_factory=dict)  # fault → whether it was found

    @property
    def agree_share(self) -> float:
        """Return the share of the oracle's plain mutants that are read here with the same content."""
        return self.agree / self.plain_accepts if self.plain_accepts else 0.0

    @property
    def sound(self) -> bool:
        """Say whether no mutant tells against our reader, and decoding agrees."""
        return not self.against_oracle and not self.unlike and self.agree_share >= TARGET

    @property
    def holds(self) -> bool:
        """Say whether the reader is sound, the oracle took part, and every planted fault was found."""
        took_part = self.oracle_rejects > 0 and self.undecided * 1000 <= self.mutants
        return self.sound and took_part and all(self.planted.values())

    def plain(self) -> dict[str, object]:
        """Return the part as JSON values."""
        return {
            "holds": self.holds,
            "mutants": self.mutants,
            "oracle_rejects": self.oracle_rejects,
            "accepted_against_oracle": len(self.against_oracle),
            "accepted_but_read_otherwise": len(self.unlike),
            "undecided": self.undecided,
            "plain_mutants": self.plain_mutants,
            "oracle_accepts": self.plain_accepts,
            "decoding": {
                "agree": self.agree,
                "agree_share": round(self.agree_share, 5),
                "target": TARGET,
                "target_met": self.agree_share >= TARGET,
                "oracles_disagree": self.plain_doubted,
                "oracles_disagree_but_one_agrees": self.doubted_alike,
                "refused_by_rule": _most_first(self.refused_by_rule),
            },
            "admission": {"admitted": self.admitted, "denied_by_rule": _most_first(self.denied_by_rule)},
            "planted": dict(self.planted),
            "mutation_score": f"{sum(self.planted.values())}/{len(self.planted)}",
            "examples": [*self.against_oracle[:_SHOWN], *self.unlike[:_SHOWN]],
        }


def _most_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


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
    rejects = accepts = doubted = doubted_alike = agree = admitted = undecided = 0
    against: list[str] = []
    unlike: list[str] = []
    refused: Counter[str] = Counter()
    denied: Counter[str] = Counter()
    for mutant, answer in zip(mutants, answers, strict=True):
        reading = read(mutant)
        undecided += answer.undecided
        accepted = answer.accepts and not answer.doubted
        rejects += not accepted and not answer.undecided
        alike = answer.accepts and reading.refused is None and reading.said == answer.said
        doubted += answer.doubted and mutant.plain
        doubted_alike += answer.doubted and mutant.plain and alike
        if reading.accepted and not answer.undecided:
            if not accepted:
                against.append(f"{mutant.damage}: {mutant.text}")
            elif not alike:
                unlike.append(f"{mutant.damage}: {mutant.text}")
        if mutant.plain and (accepted or answer.undecided):
            accepts += 1
            agree += alike
            rule = reading.refused or reading.broken or reading.unlawful
            admitted += alike and rule is None
            if not alike:
                refused[rule or "none"] += 1
            elif rule is not None:
                denied[rule] += 1
    return Part(
        name,
        len(mutants),
        rejects,
        tuple(against),
        tuple(unlike),
        undecided,
        sum(mutant.plain for mutant in mutants),
        accepts,
        doubted,
        doubted_alike,
        agree,
        refused,
        admitted,
        denied,
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
