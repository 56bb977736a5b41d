"""What a publisher may say of a consenting reader: a closed vocabulary, its wire form, the purposes it needs.

At most 16 keys of at most 8 bits each: cohorts that the publisher computes, a journey stage, a loyalty tier,
and how often campaigns were seen. Only `parse` reads a request's `signals`, after its token was verified.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from contexts.context import INTENTS, Intent
from privacy.consent import Purpose
from privacy.errors import FieldError
from privacy.pseudonym import LONGEST, IdType
from privacy.raw_identifier import raw_identifier

MOST_KEYS = 16
MOST_BYTES = 8192  # of `signals` as JSON
LEVELS = 256  # values of a key: 8 bits

Held = Literal["server", "device"]
# A use of a signal: as it stands in `Signals`; "cap" is exposure where it only keeps campaigns away.
Use = Literal["cohorts", "journey_stage", "loyalty_tier", "exposure", "cap", "id", "measure"]

_SELECT: Purpose = "ads.select.first_party"
_PROFILE: Purpose = "ads.profile.first_party"
_NEEDS: Mapping[Use, frozenset[Purpose]] = {
    "cohorts": frozenset({_SELECT}),
    "loyalty_tier": frozenset({_SELECT}),
    "journey_stage": frozenset({_SELECT, _PROFILE}),
    "exposure": frozenset({_SELECT, _PROFILE}),
    "id": frozenset({_SELECT}),
    "cap": frozenset({"ads.cap.first_party"}),
    "measure": frozenset({"measure.first_party"}),
}
_EXPECTED = {
    "": "an object of at most 16 signals",
    "cohorts": "names of cohorts that the publisher registered",
    "journey_stage": "awareness, consideration or decision",
    "loyalty_tier": "a loyalty tier that the publisher registered",
    "exposure": "campaign ids with counts from 0 to 255",
    "held": "server or device",
    "id": "a type (email, phone or customer) and a value",
}
_WORDS = (*INTENTS, *get_args(Held), *get_args(IdType))
_AT = re.compile(r" - at (?:`key` in )?`\$\.?([a-z_]*)[^`]*`\Z")

WORD = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # what a registered word looks like
Stated = Annotated[
    str, Meta(min_length=1, max_length=LONGEST)
]  # checked in words of its own: `engine.check.publisher`
Word = Annotated[
    str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$(?!\n)", description="a lower-case name, 1-64 characters")
]


class FirstParty(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The vocabulary that a publisher registers. Each cohort is a key; so are the tiers and the journey stage."""

    cohorts: Annotated[tuple[Stated, ...], Meta(max_length=MOST_KEYS)] = ()
    loyalty_tiers: Annotated[tuple[Stated, ...], Meta(max_length=LEVELS - 1)] = ()  # one level says "none"

    @property
    def keys(self) -> int:
        """Return how many keys a reader's signals can have, exposure counts aside."""
        return len(self.cohorts) + bool(self.loyalty_tiers) + 1

    def pairs(self, capped: Iterable[str]) -> list[tuple[str, str]]:
        """Return every (key, value) that `Signals.values` can give; `capped` are the campaigns with a cap."""
        return [
            *(("cohort", name) for name in self.cohorts),
            *(("journey_stage", stage) for stage in INTENTS),
            *(("loyalty_tier", name) for name in self.loyalty_tiers),
            *(("capped", campaign) for campaign in capped),
        ]

    def __bool__(self) -> bool:
        return bool(self.cohorts or self.loyalty_tiers)


class SignalId(Struct, frozen=True, forbid_unknown_fields=True):
    """An identifier, raw or as SHA-256. Its text is shown nowhere."""

    type: IdType
    value: Annotated[str, Meta(min_length=1, max_length=LONGEST)]

    def __repr__(self) -> str:
        return f"SignalId(type={self.type!r})"


class Signals(Struct, frozen=True, forbid_unknown_fields=True):
    """The signals of one request, of the closed vocabulary."""

    cohorts: Annotated[tuple[Word, ...], Meta(max_length=MOST_KEYS)] = ()
    journey_stage: Intent | None = None
    loyalty_tier: Word | None = None
    exposure: Annotated[
        dict[Word, Annotated[int, Meta(ge=0, lt=LEVELS)]], Meta(max_length=MOST_KEYS)
    ] = {}  # campaign id → times seen; what is more than 255 is stated as 255
    held: Held = "server"  # where the publisher keeps them between requests
    id: SignalId | None = None

    def within(self, purposes: Collection[Purpose]) -> Signals:
        """Return the signals that may be used for these purposes; exposure stays where it may at least cap."""

        def may(use: Use) -> bool:
            return needs(use, self.held) <= frozenset(purposes)

        return replace(
            self,
            cohorts=self.cohorts if may("cohorts") else (),
            journey_stage=self.journey_stage if may("journey_stage") else None,
            loyalty_tier=self.loyalty_tier if may("loyalty_tier") else None,
            exposure=self.exposure if may("cap") else {},
            id=self.id if may("id") else None,
        )

    def values(self, caps: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
        """Return the (key, value) pairs that could act on a decision, to be asked for and noted as shared.

        `caps` are the frequency caps by campaign: of an exposure only that it reached the cap can act.
        """
        found = [("cohort", name) for name in self.cohorts]
        if self.journey_stage is not None:
            found.append(("journey_stage", self.journey_stage))
        if self.loyalty_tier is not None:
            found.append(("loyalty_tier", self.loyalty_tier))
        found += [("capped", c) for c, seen in self.exposure.items() if c in caps and seen >= caps[c]]
        return tuple(found)


def needs(use: Use, held: Held = "server") -> frozenset[Purpose]:
    """Return the purposes that all have to be agreed to before a signal is used so."""
    return _NEEDS[use] | ({"ads.device.first_party"} if held == "device" else frozenset())


def parse(raw: bytes, registered: FirstParty, campaigns: Container[str] = ()) -> Signals:
    """Read a request's `signals`. Raises FieldError, which never quotes what came.

    `campaigns` are the ids that exist. An exposure of another one is no error: campaigns end sooner than
    publishers forget them; but an id that reads like a person's number is taken for one.
    """
    if len(raw) > MOST_BYTES:
        raise FieldError("signals", f"{len(raw)} bytes", f"at most {MOST_BYTES}")
    try:
        value = json.loads(raw, object_pairs_hook=_Pairs)
        screened = {*_WORDS, *registered.cohorts, *registered.loyalty_tiers}  # at the load of the publisher
        for path, text in _texts(value):
            # What is longer than any identifier is no word either, and refused below.
            found = None if text in screened or len(text) > LONGEST else raw_identifier(text)
            if found is not None and not (path == "signals.exposure" and text in campaigns):
                raise FieldError(
                    path, found, "a word of the registered vocabulary; identifiers go into signals.id"
                )
        signals = msgspec.json.decode(raw, type=Signals)
    except msgspec.ValidationError as error:
        place = _AT.search(str(error))
        name = place[1] if place and place[1] in _EXPECTED else ""
        unknown = "unknown field" in str(error).partition("`")[0]
        got = "an unknown field" if unknown else "another value or form"
        raise FieldError(f"signals.{name}".rstrip("."), got, _EXPECTED[name]) from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, FieldError):
            raise
        raise FieldError("signals", "no JSON", _EXPECTED[""]) from None
    _check(signals, registered)
    return signals


def _check(signals: Signals, registered: FirstParty) -> None:
    for number, name in enumerate(signals.cohorts):
        if name not in registered.cohorts:
            raise FieldError(f"signals.cohorts[{number}]", "a word not registered", _EXPECTED["cohorts"])
    if len(set(signals.cohorts)) < len(signals.cohorts):
        raise FieldError("signals.cohorts", "a name twice", "each cohort once")
    if signals.loyalty_tier is not None and signals.loyalty_tier not in registered.loyalty_tiers:
        raise FieldError("signals.loyalty_tier", "a word not registered", _EXPECTED["loyalty_tier"])
    stated = (signals.journey_stage is not None) + (signals.loyalty_tier is not None)
    count = len(signals.cohorts) + len(signals.exposure) + stated
    if count > MOST_KEYS:
        raise FieldError(
            "signals", f"{count} keys", f"at most {MOST_KEYS}: cohorts, stage, tier and exposures together"
        )


class _Pairs(list[tuple[str, object]]):
    """A JSON object with every key that was sent, also twice."""


def _texts(value: object, path: str = "signals") -> Iterator[tuple[str, str]]:
    """Yield (field, text) of every string but the identifier's value. A field is named by known words only."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, _Pairs):
        names = [name for name, _ in value]
        if len(set(names)) < len(names):
            raise FieldError(path, "a key twice", "each key once")
        for name, inner in value:
            known = (
                name in _EXPECTED if path == "signals" else path == "signals.id" and name in ("type", "value")
            )
            if not known:
                yield path, name
            below = f"{path}.{name}" if known else path
            if below != "signals.id.value" or not isinstance(inner, str):
                yield from _texts(inner, below)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, path if path == "signals" else f"{path}[{number}]")
