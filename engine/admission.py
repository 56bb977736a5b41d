"""Which consented signals may act in a decision: what the gate needs from outside, brought to it.

The gate decides; what is here reads the signals by the publisher's vocabulary, leaves out what too few
readers share, and keeps to so many signals as the configuration allows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from contexts.context import Admitted, PageFacts
from contexts.first_party import needs, parse
from engine.campaign import Publisher
from engine.snapshot import Snapshot
from engine.targeting import LEVELS
from privacy import gate
from privacy.consent import IN_FORCE, Consent, Consented
from privacy.consent_token import Issuer, Pins, Token, pin
from privacy.gate import Checks, Claim, Denied
from privacy.jose import public_key
from privacy.pseudonym import id_secret
from privacy.visit import Visit

log = logging.getLogger(__name__)

Value = tuple[str, str]  # (key, value) of a signal, as it is counted


class SharedValues(Protocol):
    """Which values enough consented readers share, by a noisy count of the last closed epoch."""

    def shared(self, publisher: str, key: str, value: str) -> bool:
        """Say whether a value may act."""

    def note(
        self,
        publisher: str,
        subject: str,
        pairs: Sequence[Value],
        now: datetime,
        *,
        person: bytes | None,
        still: Callable[[], bool],
    ) -> None:
        """Count a reader for each value in the running epoch; those of one `person` count once.

        `person` is what `pseudonym.id_secret` gave for the identifier that came with the signals, if any did.
        `still` says whether the consent stands: who is erased meanwhile is not counted.
        """


class Admission:
    """Admits consented signals to decisions."""

    def __init__(
        self,
        checks: Checks,
        issuer: Issuer,
        values: SharedValues,
        *,
        now: Callable[[], datetime],
        most: int,
        off: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Take what consents are held against, the service's own issuer, and how many signals may act at most.

        `off` says why consents cannot be checked at present, or None.
        """
        self._checks, self._issuer, self._values = checks, issuer, values
        self._now, self._most, self._off = now, most, off
        self._pinned: dict[str, tuple[Publisher, Pins]] = {}

    def admit(self, visit: Visit, claim: Claim, page: PageFacts, snapshot: Snapshot) -> Consented[Admitted]:
        """Return the signals that act on this page. Raises Denied, and FieldError where they are wrong."""
        if self._off() is not None:
            raise Denied("unavailable")
        publisher, now = snapshot.publishers[visit.publisher], self._now()
        said: list[tuple[tuple[Value, ...], bytes | None]] = []

        def read(raw: bytes | None, consent: Consent) -> Admitted:
            if not raw:
                return Admitted()
            signals = parse(raw, publisher.first_party, snapshot.caps).within(consent.purposes)
            values, id = signals.values(snapshot.caps), signals.id
            person = None if id is None else id_secret(id.type, id.value, publisher.country)
            said.append((values, person))
            return self._admitted(publisher, snapshot, values)

        consented = gate.admit(
            visit,
            claim,
            self._checks,
            self.pins(publisher),
            now,
            page_known=page.suitability_known or bool(page.topics),
            special=bool(page.special),
            read=read,
        )
        consent = consented.consent

        def still() -> bool:
            standing = self._checks.standings.standing(publisher.id, consent.subject)
            return standing is not None and standing.state in IN_FORCE

        for values, person in said:
            try:
                self._values.note(publisher.id, consent.subject, values, now, person=person, still=still)
            except Exception as error:  # what is not counted acts later; this decision stands
                log.error("signals not counted: %s", type(error).__name__)
        return consented

    def measured(self, publisher: Publisher, visit: Visit, claim: Claim, *, special: bool) -> Consent:
        """Return the consent under which a reader is measured now; its use is noted. Raises Denied."""
        if self._off() is not None:
            raise Denied("unavailable")

        def read(raw: bytes | None, consent: Consent) -> None:
            if not needs("measure") <= consent.purposes:
                raise Denied("purposes")

        return gate.admit(
            visit,
            claim,
            self._checks,
            self.pins(publisher),
            self._now(),
            page_known=True,
            special=special,
            read=read,
        ).consent

    def once_a_day(self, consent: Consent, use: str, day: int, until: datetime) -> bool:
        """Note a use of a consenting reader's UTC day; False where it was noted before. It is forgotten at `until`."""
        mark = self._checks.mac(f"once\0{use} {consent.subject} {day}".encode()).hex()
        return self._checks.standings.once(mark, until)

    def token(self, text: str, publisher: Publisher) -> Token:
        """Return what a consent token says, whether its consent still stands or not. Raises TokenError."""
        now = int(self._now().timestamp())
        return self._checks.verifier.verify(text, publisher.id, self.pins(publisher), now)

    def pins(self, publisher: Publisher) -> Pins:
        """Return the keys that attest consent on a publisher's pages: its own issuers' and the service's."""
        known = self._pinned.get(publisher.id)
        if known is not None and (known[0] is publisher or known[0].issuers == publisher.issuers):
            return known[1]
        pins = pins_of(publisher, self._issuer)
        self._pinned[publisher.id] = publisher, pins
        return pins

    def _admitted(self, publisher: Publisher, snapshot: Snapshot, values: Sequence[Value]) -> Admitted:
        """Choose what acts: values that some rule reads and that enough readers share, caps before all else.

        All caps together count as one signal: to keep one and break another would help nobody.
        """
        acting = [
            (key, value)
            for key, value in values
            if _is_read(snapshot, key, value) and self._values.shared(publisher.id, key, value)
        ]
        capped = tuple(sorted(value for key, value in acting if key == "capped"))
        if self._most == 0:
            return Admitted()
        chosen = [one for one in acting if one[0] != "capped"][: self._most - bool(capped)]
        of = {key: tuple(value for k, value in chosen if k == key) for key, _ in chosen}
        return Admitted(
            cohorts=tuple(sorted(of.get("cohort", ()))),
            journey_stage=next(iter(of.get("journey_stage", ())), None),
            loyalty_tier=next(iter(of.get("loyalty_tier", ())), None),
            capped=capped,
            used=(*(("exposure",) if capped else ()), *sorted(f"{key}:{value}" for key, value in chosen)),
        )


def pins_of(publisher: Publisher, issuer: Issuer) -> Pins:
    """Arrange the keys of a publisher's own issuers and of the service's."""
    issuers = {
        name: [public_key(jwk.x, "x") for jwk in jwks.keys]
        for name, jwks in publisher.issuers.items()
        if name != issuer.name  # nobody else speaks in the service's name
    }
    return pin({**issuers, issuer.name: [issuer.key]})


def _is_read(snapshot: Snapshot, key: str, value: str) -> bool:
    """Say whether any rule of the catalogue names a value: others cannot influence a decision."""
    names = snapshot.bitmaps.names
    if key == "capped":
        return value in snapshot.caps
    if snapshot.conditions.name(f"{key}s", value):
        return True
    if key == "cohort":
        return any(f"cohorts:{level}{sign}{value}" in names for level in LEVELS for sign in "+-")
    return f"{key}s={value}" in names
