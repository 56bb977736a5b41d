"""What a reader agreed to, as the gate lets it in: purposes, attested by a token, in force at a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Generic, Literal, Protocol, TypeVar, get_args

T_co = TypeVar("T_co", covariant=True)

Purpose = Literal[
    "ads.select.first_party",
    "ads.profile.first_party",
    "ads.device.first_party",
    "ads.cap.first_party",
    "measure.first_party",
]
PURPOSES: frozenset[Purpose] = frozenset(get_args(Purpose))

# The TCF purpose without whose consent each of ours is refused where a TC string speaks. Selection by signals needs
# 4; where exposure or journey is accumulated 3 as well, and 1 where it is held on the device; a cap alone needs 2.
TCF_PURPOSE: Mapping[Purpose, int] = MappingProxyType(
    {
        "ads.select.first_party": 4,
        "ads.profile.first_party": 3,
        "ads.device.first_party": 1,
        "ads.cap.first_party": 2,
        "measure.first_party": 7,
    }
)

# States of a consent, as the Data Privacy Vocabulary 2.3 names them; only the first two permit.
State = Literal[
    "ConsentGiven",
    "RenewedConsentGiven",
    "ConsentRefused",
    "ConsentWithdrawn",
    "ConsentExpired",
    "ConsentInvalidated",
]
IN_FORCE: frozenset[State] = frozenset({"ConsentGiven", "RenewedConsentGiven"})


@dataclass(frozen=True, slots=True)
class Standing:
    """How a subject's consent stands at a publisher: what a token is held against, read at every use."""

    generation: int  # a withdrawal, whole or in part, counts it up: older tokens are void
    state: State
    purposes: frozenset[Purpose]
    expires: datetime
    record: str  # UUID of its record: a consent that is given anew after its end has a new one


class Standings(Protocol):
    """Where the standing of consents is kept."""

    def standing(self, publisher: str, subject: str) -> Standing | None:
        """Return how a subject's consent stands, None for one that never gave any; one indexed read.

        `subject` is the keyed hash of the token's `sub`, in hex; the `sub` itself is kept nowhere.
        """

    def use(self, publisher: str, jti: str, nonce: str, expires: datetime, most: int) -> bool:
        """Note one use of a token under the request's nonce; False where the nonce was used, or `most` uses were.

        Where it is False, nothing is written. `jti` and `nonce` come keyed and hashed; a row goes when its token
        expires.
        """

    def once(self, mark: str, until: datetime) -> bool:
        """Note what a reader may have once; False where it is noted. The log is not told, and it goes at `until`.

        `mark` is a keyed hash.
        """


@dataclass(frozen=True, slots=True)
class Consent:
    """What one request may use, and until when. Only `privacy.gate` makes one."""

    publisher: str
    subject: str  # keyed hash, in hex
    purposes: frozenset[Purpose]
    expires: datetime
    record: str  # UUID of the consent record


@dataclass(frozen=True, slots=True)
class Consented(Generic[T_co]):
    """What a reader said under a consent. Only `privacy.gate` makes one, from a token that it verified."""

    value: T_co
    consent: Consent
