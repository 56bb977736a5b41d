"""Consents as readers give, renew, refuse, withdraw and have them erased: each change with its entry in the log.

A consent is known by a keyed hash of what the publisher calls its reader; that name itself is kept nowhere.
What was agreed is sealed under a key of the subject's own (`privacy.erasure`), so that erasing is destroying
that key, though the log keeps every leaf.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from engine.campaign import Publisher
from engine.config import Config
from engine.consent_row import ConsentRow, Note
from engine.errors import NotFound, StoreError
from engine.status_list import STATUS_PATH
from engine.store.subjects_sqlite import FILE, SqliteSubjectKeys
from privacy import iab, records
from privacy.canonical import canonical
from privacy.consent import IN_FORCE, Purpose, Standings, State
from privacy.consent_log import LeafStore, LeafType, Maker, leaf
from privacy.consent_token import LEEWAY_S, LONGEST_LIFE_S, OPAQUE, Issuer, Status
from privacy.erasure import (
    NONCE_BYTES,
    SubjectKey,
    SubjectKeys,
    opening_key,
    seal,
    unseal,
)
from privacy.errors import ErasureError, FieldError
from privacy.gate import Restrict, subject_of
from privacy.keyring import Keyring
from privacy.records import Event, Notice, Opening, Party
from privacy.rights_token import Rights, RightsDesk

BATCH = 500  # consents that are ended or erased between looks
_START = 1_577_836_800  # 2020-01-01: generations begin with the second of the grant, so that none comes again
_PIECE = 32  # bytes
_ORPHAN = timedelta(
    days=1
)  # a key that nothing refers to for so long belongs to a grant that was never finished
# A token cannot be valid for longer after its consent ended: so long others have to be told of it.
_TOKEN_LIFE = timedelta(seconds=LONGEST_LIFE_S + LEEWAY_S)


class ConsentStore(Standings, Protocol):
    """Where consents are kept: a change and its leaf are one transaction, and so is an erasure and its tombstone."""

    def find(self, publisher: str, subject: str) -> ConsentRow | None:
        """Return a subject's consent at a publisher."""

    def events(self, subject: str) -> list[tuple[int, bytes]]:
        """Return (index of the leaf, ciphertext) of what was recorded of a subject, oldest first."""

    def any(self) -> bool:
        """Say whether there is any consent."""

    def subjects(self) -> Iterable[tuple[str, str]]:
        """Yield (publisher, subject) of every consent."""

    def due(self, now: datetime, limit: int) -> list[tuple[str, str]]:
        """Return (publisher, subject) of consents whose time is over and that have not ended yet."""

    def ended_before(self, moment: datetime, limit: int) -> list[tuple[str, str]]:
        """Return (publisher, subject) of consents that ended before a moment."""

    def change(
        self,
        publisher: str,
        subject: str,
        decide: Callable[[ConsentRow | None], ConsentRow | None],
        note: Note,
        until: datetime,
    ) -> tuple[ConsentRow | None, int | None]:
        """Let `decide` make the next state from the one that stands, and note it; one transaction."""

    def append(self, maker: Maker) -> int:
        """Note what concerns no subject; return the index of its leaf."""

    def erase(
        self, publisher: str, subject: str, erase_id: Callable[[], str], tombstone: Maker, until: datetime
    ) -> int | None:
        """Delete a subject's consent and records, and tell so in the log; None where there is none.

        The erasure's name is asked for within the transaction, and the tombstone after it.
        """

    def scrub(self, needles: Sequence[bytes], erase_ids: Sequence[str]) -> None:
        """Rid the files of what `erase` deleted, and note that it was done."""

    def check(self) -> None:
        """Look whether all can be read. Raises StoreError."""

    def close(self) -> None:
        """Close what stands beside the store."""

    def unscrubbed(self) -> list[str]:
        """Return the erasures whose bytes may still stand in the files."""

    def forget(self, now: datetime) -> dict[str, int]:
        """Delete the uses and ended statuses of tokens that have expired; return how many of each."""

    def statuses(self) -> tuple[int, list[int]]:
        """Return the length of the status list, and the places in it whose consents have ended."""


class ConsentHome(Protocol):
    """The store that keeps consents beside the log's leaves."""

    def settle(self, name: str, value: str) -> str:
        """Give a setting its value for good; return the value that stands."""

    def consents(self, leaves: LeafStore, random_bytes: Callable[[int], bytes]) -> ConsentStore:
        """Return the consents."""


class KeptKeys(SubjectKeys, Protocol):
    """Keys of subjects that are kept in a file, with what puts a restored database right."""

    def erase_ids(self) -> list[str]:
        """Return the names of all erasures that are to come."""

    def destroy_erased(self, erase_ids: Iterable[str]) -> int:
        """Destroy the keys of all whose erasure was told under these names; return how many there were."""

    def raise_generation(self, subject: str, generation: int) -> None:
        """Note a withdrawal beside the key."""

    def rewrite(self) -> None:
        """Rid the file of whatever was deleted. Raises StoreError."""

    def generation(self, subject: str) -> int:
        """Return the latest generation noted of a subject; 0 where there was no withdrawal."""

    def generations(self) -> dict[str, int]:
        """Return the latest generation noted of each subject."""

    def older_than(self, day: datetime) -> list[str]:
        """Return the subjects whose keys were drawn before this day."""

    def back_up(self, target: Path, now: datetime) -> None:
        """Write a copy of the keys that says from when it is."""

    def put_back(self, source: Path, told: Callable[[Iterable[str]], frozenset[str]], now: datetime) -> int:
        """Take over what keys a copy holds and the file does not, save those whose erasure was told."""

    def check(self) -> None:
        """Look whether the file is still there and sound. Raises StoreError."""

    def close(self) -> None:
        """Close what is open."""


class Log(Protocol):
    """What is read of the consent log."""

    def leaf(self, index: int) -> bytes:
        """Return a leaf that stands."""

    def proof(self, index: int) -> str | None:
        """Return the .tlog-proof of a leaf, None where no checkpoint covers it yet."""

    def told(self, erase_ids: Iterable[str]) -> frozenset[str]:
        """Return those of these names under which an erasure was told."""


class LeafLog:
    """Satisfies Log, over the leaves that are kept."""

    def __init__(self, leaves: LeafStore, proof: Callable[[int], str | None]) -> None:
        self._leaves, self.proof = leaves, proof

    def leaf(self, index: int) -> bytes:
        """Return a leaf that stands."""
        return self._leaves.read(index, index + 1)[0]

    def told(self, erase_ids: Iterable[str]) -> frozenset[str]:
        """Return those of these names under which an erasure was told; reads the whole log."""
        named: set[str] = set()
        sealed: set[str] = set()  # a public log tells a hash of the tombstone
        for start in range(0, self._leaves.count(), BATCH):
            for told in map(json.loads, self._leaves.read(start, start + BATCH)):
                if told.get("type") == "subject.erase":
                    named.add(told["data"]["id"])
                elif "commit" in told:
                    sealed.add(told["commit"])
        return frozenset(id for id in erase_ids if id in named or _tombstone_hash(id) in sealed)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a reader agreed to, as the publisher says."""

    purposes: frozenset[Purpose]
    notice: Notice
    expressed_by: str
    days: int
    tcf: str | None = None
    gpp: str | None = None
    gpp_sid: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was recorded and how to check it in the log; the .tlog-proof follows with the next checkpoint."""

    index: int
    record: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """A consent in force, with the tokens that go with it."""

    record: str
    sub: str
    row: ConsentRow
    token: str
    status: Status
    rights_token: str
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A consent that is in force no more. `index` is of the leaf that says so, None where it had ended before."""

    record: str
    state: State
    generation: int
    index: int | None


@dataclass(frozen=True, slots=True)
class Erased:
    """That a subject is gone: its name in the log, and where."""

    erase_id: str
    index: int


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What `reconcile` put right."""

    erased: int = 0  # consents that had been erased, or whose key is lost
    withdrawn: int = 0  # consents that had been withdrawn since the database was copied
    destroyed: int = 0  # keys of erased subjects


class Consents:
    """The consents of one installation. Safe with several threads, and beside other processes."""

    def __init__(
        self,
        store: ConsentStore,
        keys: KeptKeys,
        log: Log,
        *,
        mac: Callable[[bytes], bytes],
        issuer: Issuer,
        rights: RightsDesk,
        restrict: Restrict,
        forget: Callable[[str, str, datetime], object],
        service_url: str,
        keep_days: int,
        now: Callable[[], datetime],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """`mac` hashes under the "subject" key; a record is kept for `keep_days` after its consent's end.

        `forget` drops what else is held of a subject: (publisher, subject, now).
        """
        self._forget = forget
        self.store, self.keys, self.log = store, keys, log
        self._mac, self.issuer, self._restrict = mac, issuer, restrict
        self._rights = rights
        self._url, self._keep_days = service_url, keep_days
        self._now, self._random = now, random_bytes

    def grant(self, publisher: Publisher, sub: str | None, asked: Grant) -> Granted:
        """Record that a reader agrees, or agrees anew, and mint its tokens; `sub` is drawn where none is given.

        Purposes that a TC or GPP string withholds are left out. Raises FieldError where a string is invalid,
        or leaves no purpose.
        """
        now = self._now()
        sub = self._token_id() if sub is None else sub
        if not OPAQUE.fullmatch(sub):
            raise FieldError(
                "sub",
                f"string of {len(sub)} characters",
                "22 to 64 letters, digits, - and _ that name nobody",
            )
        purposes = self._left(asked, now)
        subject = self.subject_of(publisher.id, sub)
        expires = (now + timedelta(days=asked.days)).replace(microsecond=0)
        start = int(now.timestamp()) - _START

        def decide(before: ConsentRow | None) -> ConsentRow:
            if before is not None and before.state in IN_FORCE and before.expires > now:
                # Who takes a purpose back withdraws it: a token or a backup from before must not have it again.
                # Nor must one from before a withdrawal that was noted beside the key and did not come to stand.
                generation = max(
                    before.generation + (not before.purposes <= purposes), self.keys.generation(subject)
                )
                return replace(
                    before,
                    state="RenewedConsentGiven",
                    generation=generation,
                    purposes=purposes,
                    expires=expires,
                )
            generation = start if before is None else max(start, before.generation)
            record = self._record_id()
            return ConsentRow(publisher.id, subject, record, generation, "ConsentGiven", purposes, expires)

        strings = tuple(hashlib.sha256(text.encode()).hexdigest() for text in (asked.tcf, asked.gpp) if text)
        receipt: Receipt | None = None

        def note(row: ConsentRow, index: int) -> tuple[bytes, bytes]:
            nonlocal receipt
            key = self._living_key(subject)
            record = records.encode(
                self._event(publisher, row, now, asked.notice, asked.expressed_by, strings)
            )
            receipt = Receipt(index, record.decode(), opening_key(key.key).hex())
            if row.state == "RenewedConsentGiven":
                self._note_generation_ahead(subject, row.generation)
            return self._sealed_leaf("consent.grant", index, key, record, now)

        row, _ = self.store.change(publisher.id, subject, decide, note, now + _TOKEN_LIFE)
        assert row is not None and receipt is not None and row.status_idx is not None  # noqa: S101 - decide gives a row
        if row.state == "RenewedConsentGiven":
            self.keys.raise_generation(subject, row.generation)
        status = Status(row.status_idx, self._url + STATUS_PATH)
        life_s = min(LONGEST_LIFE_S, int((row.expires - now).total_seconds()))
        token = self.issuer.mint(
            publisher=publisher.id,
            subject=sub,
            id=self._token_id(),
            at=now,
            life_s=life_s,
            generation=row.generation,
            purposes=row.purposes,
            notice=asked.notice.text_sha256,
            record=row.record,
            status=status,
        )
        rights_token = self._rights.mint(publisher.id, sub, id=self._token_id(), at=now)
        return Granted(row.record, sub, row, token, status, rights_token, receipt)

    def refuse(self, publisher: Publisher, asked: Grant) -> Receipt:
        """Record that a reader refused, without anything by which to know the reader again."""
        now = self._now()
        data = {
            "publisher": publisher.id,
            "purposes": sorted(asked.purposes),
            "notice": asked.notice.text_sha256,
            "language": asked.notice.language,
            "version": asked.notice.version,
            "expressed_by": asked.expressed_by,
            "salt": self._token_id(),  # a public log tells only a hash of this, which nobody shall guess
        }
        return Receipt(self.store.append(lambda index: leaf(index, "consent.refuse", now, data=data)))

    def withdraw(self, publisher: str, sub: str, expressed_by: str) -> Withdrawn:
        """End a consent now: no token that was minted before permits anything. Raises NotFound.

        What was held for its purposes goes; that it was given and withdrawn stays recorded, sealed, as the
        publisher has to show it, until the record's time is over or the reader has it erased.
        """
        row, index = self._end(
            publisher, self.subject_of(publisher, sub), "ConsentWithdrawn", "consent.withdraw", expressed_by
        )
        return Withdrawn(row.record, row.state, row.generation, index)

    def expire(self) -> int:
        """End the consents whose time is over; return how many."""
        return self._each(
            lambda: self.store.due(self._now(), BATCH),
            lambda publisher, subject: self._end(
                publisher, subject, "ConsentExpired", "consent.expire", None
            ),
        )

    def export(self, publisher: str, sub: str) -> dict[str, Any]:
        """Give all that is recorded of a subject, as JSON-LD. Raises NotFound where there is nothing."""
        openings = self.openings(publisher, sub)
        events = [records.decode(opening.record.encode()) for opening in openings]
        return records.json_ld(events, openings, subject=sub, service_url=self._url)

    def openings(self, publisher: str, sub: str) -> list[Opening]:
        """Return what was recorded of a subject with its proofs, oldest first. Raises NotFound."""
        subject = self.subject_of(publisher, sub)
        row, key = self.store.find(publisher, subject), self.keys.get(subject)
        if row is None or key is None:
            raise _unknown()
        return [
            Opening(
                index=index,
                record=record.decode(),
                key=opening_key(key.key).hex(),
                leaf=self.log.leaf(index).decode(),
                proof=self.log.proof(index),
            )
            for index, ciphertext in self.store.events(subject)
            if (record := _opened(key, index, ciphertext)) is not None
        ]

    def erase(self, publisher: str, sub: str) -> Erased:
        """Erase a subject: its records, its key, and every byte of them in our files. Raises NotFound.

        Raises StoreError where a file is in use for too long to be cleared: the subject is gone all the same,
        and `sweep` clears it.
        """
        return self._erase(publisher, self.subject_of(publisher, sub))

    def sweep(self) -> int:
        """Finish erasures whose process ended early; return how many."""
        owed = self.store.unscrubbed()
        if owed:
            self.keys.destroy_erased(owed)
            self.keys.rewrite()  # the process may have ended between deleting a key and clearing the file of it
            self.store.scrub((), owed)
        return len(owed)

    def tend(self) -> dict[str, int]:
        """Do what is due every minute or so; return how much of each."""
        done = {"erasures finished": self.sweep(), "consents expired": self.expire()}
        return done | self.store.forget(self._now())

    def purge(self) -> dict[str, int]:
        """Let go of all whose declared time is over; return how much of each."""
        now = self._now()
        ended = now - timedelta(days=self._keep_days)
        done = self.tend()
        done["consents"] = self._each(lambda: self.store.ended_before(ended, BATCH), self._erase)
        known = {subject for _, subject in self.store.subjects()}
        orphans = [subject for subject in self.keys.older_than(now - _ORPHAN) if subject not in known]
        for subject in orphans:
            self.keys.destroy(subject)
        return {**done, "subject keys": len(orphans)}

    def reconcile(self) -> Reconciled:
        """Put a database or keys that were restored right by what is known besides: nothing erased comes back.

        A consent whose key is gone, or is another one now, was erased since, or can be shown to nobody: it goes.
        One that was withdrawn since, whole or in part, as is noted beside its key, is withdrawn again.
        """
        destroyed = self.keys.destroy_erased(self.log.told(self.keys.erase_ids()))
        erased = withdrawn = 0
        generations = self.keys.generations()
        for publisher, subject in list(self.store.subjects()):
            noted = generations.get(subject)
            row = self.store.find(publisher, subject)
            if noted is None or self._last_event(subject, self.keys.get(subject)) is None:
                self._erase(publisher, subject)
                erased += 1
            elif row is not None and row.state in IN_FORCE and noted > row.generation:
                self._end(publisher, subject, "ConsentWithdrawn", "consent.withdraw", None, noted)
                withdrawn += 1
        return Reconciled(erased, withdrawn, destroyed)

    def check(self) -> None:
        """Look whether consents and keys can be read. Raises StoreError."""
        self.store.check()
        self.keys.check()

    def close(self) -> None:
        """Close the files beside the store."""
        self.store.close()
        self.keys.close()

    def read_rights(self, token: str) -> Rights:
        """Return for whom a rights token speaks. Raises RightsError."""
        return self._rights.read(token, self._now())

    def subject_of(self, publisher: str, sub: str) -> str:
        """Give the keyed hash under which a subject is kept."""
        return subject_of(self._mac, publisher, sub)

    def _left(self, asked: Grant, now: datetime) -> frozenset[Purpose]:
        """Return the purposes that the strings leave. Raises FieldError."""
        left, invalid = self._restrict(
            asked.purposes, tcf=asked.tcf, gpp=asked.gpp, gpp_sid=asked.gpp_sid, gdpr=None, now=now
        )
        if invalid is not None:
            field = "tcf" if invalid.startswith("tcf") else "gpp"
            raise FieldError(field, f"an invalid string ({invalid})", "a valid one, or none")
        if not left:
            raise FieldError("purposes", "none that the string allows", "a purpose that it consents to")
        return left

    def _end(
        self,
        publisher: str,
        subject: str,
        state: State,
        type_: LeafType,
        expressed_by: str | None,
        generation: int = 0,
    ) -> tuple[ConsentRow, int | None]:
        """End a consent that is in force. Raises NotFound where there is none."""
        now = self._now()
        self._forget_ahead(publisher, subject, now)

        def decide(before: ConsentRow | None) -> ConsentRow | None:
            if before is None:
                raise _unknown()
            if before.state not in IN_FORCE:
                return None
            return replace(
                before,
                state=state,
                generation=max(before.generation + 1, generation),
                purposes=frozenset(),
                ended=now.replace(microsecond=0),
            )

        def note(row: ConsentRow, index: int) -> tuple[bytes, bytes]:
            key = self.keys.get(subject)
            earlier = self._last_event(subject, key)
            if key is None or earlier is None:  # its key is lost: it ends all the same
                return leaf(index, type_, now), b""
            self._note_generation_ahead(subject, row.generation)
            event = _changed(earlier, row, now, expressed_by)
            return self._sealed_leaf(type_, index, key, records.encode(event), now)

        row, index = self.store.change(publisher, subject, decide, note, now + _TOKEN_LIFE)
        assert row is not None  # noqa: S101 - decide raises where there is none
        # Both also where an earlier try could not.
        self.keys.raise_generation(subject, row.generation)
        self._forget(publisher, subject, now)
        return row, index

    def _erase(self, publisher: str, subject: str) -> Erased:
        """Erase a subject by its hash. Each step may be the last one before a crash: `sweep` does the rest."""
        now = self._now()
        self._forget_ahead(publisher, subject, now)
        erase_id, needles = "", [subject.encode()]

        def name() -> str:
            nonlocal erase_id
            key = self.keys.get(subject)
            erase_id = self._random(16).hex() if key is None else key.erase_id
            # SQLite may cut a long value in two: a piece of it is enough to be found.
            for _, text in self.store.events(subject):
                needles.extend(piece for piece in (text[:_PIECE], text[-_PIECE:]) if piece)
            return erase_id

        def tombstone(index: int) -> bytes:
            return leaf(index, "subject.erase", now, data=_tombstone(erase_id))

        index = self.store.erase(publisher, subject, name, tombstone, now + _TOKEN_LIFE)
        if index is None:
            raise _unknown()
        try:
            self._forget(publisher, subject, now)
        finally:  # a file that fails keeps nothing else from being erased
            self.keys.destroy_erased([erase_id])  # not one that the reader, agreeing anew, has got meanwhile
            self.store.scrub(needles, [erase_id])
        return Erased(erase_id, index)

    def _living_key(self, subject: str) -> SubjectKey:
        """Give a subject's key, drawn where there is none; within a change of its consent.

        It is never one whose erasure was told and is not finished, which would take it away from what is sealed now.
        """
        key = self.keys.make(subject)
        if key.erase_id in self.store.unscrubbed():
            self.keys.destroy_erased([key.erase_id])
            key = self.keys.make(subject)
        return key

    def _note_generation_ahead(self, subject: str, generation: int) -> None:
        """Note a withdrawal beside the key before it stands, so that no crash comes between the two.

        Where that fails it stands all the same: it is noted after it, too, and the error told then.
        """
        with suppress(StoreError):
            self.keys.raise_generation(subject, generation)

    def _forget_ahead(self, publisher: str, subject: str, now: datetime) -> None:
        """Drop what else is held of a subject before its consent ends, in case the process ends with it."""
        with suppress(StoreError):  # it is dropped after it, too, and the error told then
            self._forget(publisher, subject, now)

    def _last_event(self, subject: str, key: SubjectKey | None) -> Event | None:
        if key is None:
            return None
        for index, ciphertext in reversed(self.store.events(subject)):
            record = _opened(key, index, ciphertext)
            if record is not None:
                return records.decode(record)
        return None

    def _event(
        self,
        publisher: Publisher,
        row: ConsentRow,
        now: datetime,
        notice: Notice,
        expressed_by: str,
        strings: tuple[str, ...],
    ) -> Event:
        site = f"https://{publisher.domains[0]}"
        return Event(
            record=row.record,
            state=row.state,
            at=_iso(now),
            generation=row.generation,
            publisher=publisher.id,
            controller=Party(publisher.name, site, publisher.country),
            processor=Party("Tactful", self._url),
            purposes=tuple(sorted(row.purposes)),
            expires=_iso(row.expires),
            keep_days=self._keep_days,
            notice=notice,
            expressed_by=expressed_by,
            strings=strings,
        )

    def _sealed_leaf(
        self, type_: LeafType, index: int, key: SubjectKey, record: bytes, now: datetime
    ) -> tuple[bytes, bytes]:
        sealed = seal(key.key, index, record, self._random(NONCE_BYTES))
        return leaf(index, type_, now, commit=sealed.commit, ct=sealed.digest), sealed.ciphertext

    def _each(self, find: Callable[[], list[tuple[str, str]]], work: Callable[[str, str], object]) -> int:
        """Do the work on what `find` finds, which the work puts out of its reach, until it finds no more."""
        done = 0
        while batch := find():
            for publisher, subject in batch:
                try:
                    work(publisher, subject)
                    done += 1
                except NotFound:  # another process was faster
                    pass
        return done

    def _token_id(self) -> str:
        return self._random(16).hex()

    def _record_id(self) -> str:
        return str(uuid.UUID(bytes=self._random(16), version=4))


def _opened(key: SubjectKey, index: int, ciphertext: bytes) -> bytes | None:
    """Return what was recorded; None where it was under a key that is gone, and can be shown to nobody."""
    try:
        return unseal(key.key, index, ciphertext)
    except ErasureError:
        return None


def _changed(event: Event, row: ConsentRow, now: datetime, expressed_by: str | None) -> Event:
    return msgspec.structs.replace(
        event,
        state=row.state,
        at=_iso(now),
        generation=row.generation,
        purposes=(),
        expires=_iso(now),
        notice=None,
        expressed_by=expressed_by,
        strings=(),
    )


def _tombstone(erase_id: str) -> dict[str, str]:
    return {"id": erase_id}


def _tombstone_hash(erase_id: str) -> str:
    return hashlib.sha256(canonical(_tombstone(erase_id))).hexdigest()


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _unknown() -> NotFound:
    return NotFound("consent: got a subject of whom nothing is known here")


def open_consents(
    config: Config,
    store: ConsentHome,
    leaves: LeafStore,
    keyring: Keyring,
    *,
    proof: Callable[[int], str | None],
    forget: Callable[[str, str, datetime], object],
    now: Callable[[], datetime],
    random_bytes: Callable[[int], bytes],
) -> Consents:
    """Open the consents of an installation. Requires a keyring with CONSENT_KEYS. Raises StoreError.

    `proof` gives a leaf's .tlog-proof, where there is one; `forget` drops what else is held of a subject.
    """
    issuer = open_issuer(config, store, keyring)
    return Consents(
        store.consents(leaves, random_bytes),
        SqliteSubjectKeys(config.key_dir / FILE, now=now, random_bytes=random_bytes),
        LeafLog(leaves, proof),
        mac=lambda message: keyring.mac("subject", message),
        issuer=issuer,
        rights=RightsDesk(issuer.name, keyring.key("issuer")),
        restrict=restriction(config),
        forget=forget,
        service_url=config.base_url,
        keep_days=config.consent_record_days,
        now=now,
        random_bytes=random_bytes,
    )


def open_issuer(config: Config, store: ConsentHome, keyring: Keyring) -> Issuer:
    """Give the name and key in which the service signs its own consent tokens. Raises StoreError."""
    # The first name stands, whatever the URL becomes: a reader's rights token is good for a year and more.
    return Issuer(store.settle("issuer", config.base_url), keyring.key("issuer"))


def restriction(config: Config) -> Restrict:
    """Give what the IAB strings take away from a service in its configured role."""
    role, _, vendor = config.tcf_role.partition(":")
    return partial(iab.restrict, role=cast(iab.Role, role), vendor_id=int(vendor) if vendor else None)
