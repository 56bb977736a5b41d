"""Which values of first-party signals may act: those that enough consented subjects of a publisher share.

Who has a value is noted by pseudonym while a week runs. When the week is over, one release of noisy counts is
drawn from a ledger scope of its own, and the rows are deleted; a value acts while its noisy count of the last
closed week is at least K. What nobody counted yet does not act.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

from privacy.budget import Charge, QueryId, SpendStore, query_id
from privacy.canonical import canonical
from privacy.errors import BudgetSpent, KeyDestroyed
from privacy.noise import laplace
from privacy.pseudonym import EpochKeys, Pseudonym, epoch_of, epoch_start, pseudonym, pseudonym_in

log = logging.getLogger(__name__)

K = 50  # a value acts from this noisy count on
MOST_VALUES = 4  # of a subject that are counted in a week: what one subject can change in sum
MICRO_EPSILON = (
    1_000_000  # a subject and week: noise of scale 4, so that nobody's value passes once in 480,000
)
LATE = timedelta(minutes=5)  # after the week's end, for what was on its way
PURPOSE = "ads.select.first_party"

Pair = tuple[str, str]  # key, value


class SharedRows(Protocol):
    """Where it is kept who has which value. Never in a backup; what is deleted is gone from the disk."""

    def note(
        self,
        epoch: int,
        publisher: str,
        subject: Pseudonym,
        person: Pseudonym,
        ranks: Mapping[Pair, bytes],
        most: int,
        still: Callable[[], bool],
    ) -> None:
        """Keep of a subject's pairs, those kept before and these, the `most` of the lowest ranks.

        `still` is asked once no `forget` can come between its answer and the rows: nothing is kept where it is
        false.
        """

    def counts(self, epoch: int, publisher: str) -> dict[Pair, int]:
        """Return how many persons share each pair, of those that anyone has."""

    def forget(self, publisher: str, subjects: Sequence[tuple[int, Pseudonym]]) -> int:
        """Delete the rows of a subject by its (epoch, pseudonym)s, from the disk; return how many went."""

    def sweep(self, before: int, closed: Iterable[tuple[int, str]]) -> None:
        """Delete the rows of all epochs below `before`, and of (epoch, publisher)s that are closed, from the disk."""


class ActingValues:
    """Says what may act, by releases that others made of what they noted. It notes nobody itself."""

    def __init__(self, budget: SpendStore) -> None:
        self._budget = budget
        self._acting: Mapping[str, frozenset[Pair]] = {}

    def shared(self, publisher: str, key: str, value: str) -> bool:
        """Say whether a value may act: K subjects shared it in the last closed week, by a noisy count."""
        return (key, value) in self._acting.get(publisher, ())

    def note(
        self,
        publisher: str,
        subject: str,
        pairs: Iterable[Pair],
        now: datetime,
        *,
        person: bytes | None = None,
        still: Callable[[], bool] = lambda: True,
    ) -> None:
        """Note nothing: a row would lie where no withdrawal reaches it."""

    def tend(self, vocabularies: Mapping[str, Sequence[Pair]], now: datetime) -> None:
        """Learn what may act from now on. Raises StoreError."""
        over = epoch_of(now - LATE) - 1
        self._acting = {p: self._last(p, over) for p in vocabularies}

    def _last(self, publisher: str, over: int) -> frozenset[Pair]:
        """Return what may act: by the release of the week that is over, by the one before while that is not closed."""
        for epoch in (over, over - 1):
            body = self._budget.kept(release_query(publisher, epoch))
            if body is not None:
                return frozenset(
                    (key, value) for key, value, count in json.loads(body)["counts"] if count >= K
                )
        return frozenset()


class SharedValues(ActingValues):
    """Notes who shares which value, closes weeks, and says what may act. Any number of processes of one machine."""

    def __init__(self, rows: SharedRows, keys: EpochKeys, budget: SpendStore) -> None:
        super().__init__(budget)
        self._rows, self._keys = rows, keys

    def note(
        self,
        publisher: str,
        subject: str,
        pairs: Iterable[Pair],
        now: datetime,
        *,
        person: bytes | None = None,
        still: Callable[[], bool] = lambda: True,
    ) -> None:
        """Note that a consented subject has these values in the running week; a repeat costs one read.

        `subject` is the consent's, `person` what `pseudonym.id_secret` gave for an identifier, where there is one:
        subjects of one person count once. Of both only pseudonyms of the week are kept, and none where the consent
        does not stand any more, as `still` says. Raises StoreError and KeyDestroyed.
        """
        pairs = tuple(pairs)
        if not pairs:
            return
        named = self._subject(publisher, subject, epoch_of(now), now)
        ranks = {pair: _rank(named, pair) for pair in pairs}
        who = named if person is None else pseudonym(self._keys, publisher, PURPOSE, b"id\0" + person, now)
        self._rows.note(epoch_of(now), publisher, named, who, ranks, MOST_VALUES, still)

    def forget(self, publisher: str, subject: str, now: datetime) -> int:
        """Delete what is noted of a subject, from the disk; return how many rows went. Raises StoreError."""
        found = []
        for epoch in (epoch_of(now) - 1, epoch_of(now)):  # older rows are swept before their key goes
            with suppress(KeyDestroyed):  # no key, no rows
                found.append((epoch, self._subject(publisher, subject, epoch, now)))
        return self._rows.forget(publisher, found)

    def tend(self, vocabularies: Mapping[str, Sequence[Pair]], now: datetime) -> None:
        """Close the week that is over, where no other process did, and learn what may act from then on.

        `vocabularies` are the pairs that each publisher's signals may have: all are counted, zeros too. To be
        called every minute or so. Raises NoiseError, StoreError; then the values of the week before go on acting
        for at most a week.
        """
        over = epoch_of(now - LATE) - 1
        closed = []
        try:
            for publisher, pairs in vocabularies.items():
                if self._budget.kept(release_query(publisher, over)) is None:
                    self._close(publisher, over, pairs)
                closed.append((over, publisher))
        finally:
            self._rows.sweep(over, closed)
            super().tend(vocabularies, now)

    def _close(self, publisher: str, epoch: int, pairs: Sequence[Pair]) -> None:
        noise = laplace(MOST_VALUES, MICRO_EPSILON)
        keys = sorted(set(pairs))

        def compute() -> bytes:
            counts = self._rows.counts(epoch, publisher)
            noisy = noise.add_each([counts.get(pair, 0) for pair in keys])
            return canonical(
                {
                    "publisher": publisher,
                    "week": epoch_start(epoch).date().isoformat(),
                    "unit": "subject and week",
                    "micro_epsilon": noise.loss(MOST_VALUES),
                    "margin95": noise.margin95,
                    "counts": [[*pair, count] for pair, count in zip(keys, noisy, strict=True)],
                }
            )

        charge = Charge(f"shared-values/{publisher}/{epoch}", MICRO_EPSILON, MICRO_EPSILON)
        try:
            self._budget.spend(release_query(publisher, epoch), [charge], compute)
        except BudgetSpent:
            log.warning("a release of shared values was lost with the ledger: none acts this week")
            self._budget.spend(release_query(publisher, epoch), [], lambda: canonical({"counts": []}))

    def _subject(self, publisher: str, subject: str, epoch: int, now: datetime) -> Pseudonym:
        return pseudonym_in(self._keys, epoch, publisher, PURPOSE, b"subject\0" + subject.encode(), now)


def release_query(publisher: str, epoch: int) -> QueryId:
    """Name the release of a publisher's week in the ledger."""
    return query_id({"table": "shared-values", "version": 1, "publisher": publisher, "epoch": epoch})


def _rank(subject: Pseudonym, pair: Pair) -> bytes:
    # Which values of a subject are counted is its own lot, not the order in which they come.
    return hashlib.sha256(subject + "\0".join(pair).encode()).digest()[:8]
