"""Erasures that are none: faults planted around the consents, each of which the proof of erasure must find."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.rights import Rights
from engine.store import SqliteStore, tamper_sqlite
from privacy.consent_log import leaf

Plant = Callable[
    [Rights, Path], None
]  # changes the consents before anything happens; the path is the state folder
Name = Callable[[], str]  # gives the erasure's name

_START = datetime(2026, 11, 23, 18, 5, tzinfo=UTC)
log = logging.getLogger(__name__)


def _keep_key(rights: Rights, state: Path) -> None:
    rights.consents.keys.destroy_erased = lambda erase_ids: 0  # type: ignore[method-assign]


def _leave_key_log(rights: Rights, state: Path) -> None:
    rights.consents.keys.file.scrub = lambda needles=(): None  # type: ignore[attr-defined]


def _leave_log(rights: Rights, state: Path) -> None:
    rights.consents.store.scrub = lambda needles, erase_ids: None  # type: ignore[method-assign]


def _keep_rows(table: tamper_sqlite.Table) -> Plant:
    """Put back what the erasure deleted of a table."""

    def plant(rights: Rights, state: Path) -> None:
        erase = rights.consents.store.erase

        def keep(publisher: str, subject: str, erase_id: Name, tombstone: Any, until: datetime) -> int | None:
            rows = tamper_sqlite.rows_of(_copy(rights), table, subject)
            index = erase(publisher, subject, erase_id, tombstone, until)
            tamper_sqlite.put_rows(_copy(rights), table, rows)
            return index

        rights.consents.store.erase = keep  # type: ignore[method-assign]

    return plant


def _log_sub(rights: Rights, state: Path) -> None:
    erase = rights.consents.erase

    def tell(publisher: str, sub: str) -> Any:
        log.info("erasing %s of %s", sub, publisher)
        return erase(publisher, sub)

    rights.consents.erase = tell  # type: ignore[method-assign]


def _name_in_tombstone(rights: Rights, state: Path) -> None:
    erase = rights.consents.store.erase

    def name(publisher: str, subject: str, erase_id: Name, tombstone: Any, until: datetime) -> int | None:
        def told(index: int) -> bytes:
            return leaf(index, "subject.erase", _START, data={"id": erase_id(), "subject": subject})

        return erase(publisher, subject, erase_id, told, until)

    rights.consents.store.erase = name  # type: ignore[method-assign]


def _tell_nobody(rights: Rights, state: Path) -> None:
    erase = rights.consents.store.erase

    def silent(publisher: str, subject: str, erase_id: Name, tombstone: Any, until: datetime) -> int | None:
        def told(index: int) -> bytes:
            return leaf(index, "config.change", _START)

        return erase(publisher, subject, erase_id, told, until)

    rights.consents.store.erase = silent  # type: ignore[method-assign]


def _copy_keys(rights: Rights, state: Path) -> None:
    withdraw = rights.consents.withdraw

    def copy(publisher: str, sub: str, expressed_by: str) -> Any:
        rights.consents.keys.back_up(state / "keys" / "subjects.copy", _START)
        return withdraw(publisher, sub, expressed_by)

    rights.consents.withdraw = copy  # type: ignore[method-assign]


def _delete_leaves(rights: Rights, state: Path) -> None:
    erase = rights.consents.store.erase

    def rewrite(publisher: str, subject: str, erase_id: Name, tombstone: Any, until: datetime) -> int | None:
        seqs = [index for index, _ in rights.consents.store.events(subject)]
        index = erase(publisher, subject, erase_id, tombstone, until)
        tamper_sqlite.overwrite(_copy(rights), dict.fromkeys(seqs, b"{}"))
        return index

    rights.consents.store.erase = rewrite  # type: ignore[method-assign]


def _remember_export(rights: Rights, state: Path) -> None:
    export = rights.consents.export
    kept: dict[str, Any] = {}

    def cached(publisher: str, sub: str) -> dict[str, Any]:
        if sub not in kept:
            kept[sub] = export(publisher, sub)
        return kept[sub]  # type: ignore[no-any-return]

    rights.consents.export = cached  # type: ignore[method-assign]


def _keep_email(rights: Rights, state: Path) -> None:
    note = rights.weeks.shared.note

    def keep(*said: Any, person: bytes | None = None, **more: Any) -> None:
        (state / "data" / "persons").write_bytes(person or b"")
        note(*said, person=person, **more)

    rights.weeks.shared.note = keep  # type: ignore[method-assign]


def _leave_gap(rights: Rights, state: Path) -> None:
    """Leave in the file what moving rows between pages can leave there, and do not look for it."""
    copy = _copy(rights)
    scrub = copy.scrub
    erase = rights.consents.store.erase

    def moved(publisher: str, subject: str, erase_id: Name, tombstone: Any, until: datetime) -> int | None:
        index = erase(publisher, subject, erase_id, tombstone, until)
        scrub((b"bytes that stand in no file of it",))
        with copy.path.open("ab") as file:
            file.write(subject.encode())
        return index

    rights.consents.store.erase = moved  # type: ignore[method-assign]
    copy.scrub = lambda needles: None  # type: ignore[method-assign]


def _copy(rights: Rights) -> SqliteStore:
    """Give the store of the proof, which is a SQLite file whatever was copied."""
    if not isinstance(rights.store, SqliteStore):
        raise TypeError(f"store: got {type(rights.store).__name__}, expected a copy in SQLite")
    return rights.store


PLANTED: Mapping[str, Plant] = {
    "the key is kept": _keep_key,
    "the key stays in the write-ahead log": _leave_key_log,
    "rows stay in the write-ahead log": _leave_log,
    "the ciphertexts are kept": _keep_rows("consent_events"),
    "the consent is kept": _keep_rows("consents"),
    "the publisher's name for the reader is logged": _log_sub,
    "the tombstone names the pseudonym": _name_in_tombstone,
    "there is no tombstone": _tell_nobody,
    "the keys were copied aside": _copy_keys,
    "leaves are overwritten": _delete_leaves,
    "the export is answered from memory": _remember_export,
    "the hash of the e-mail address is kept": _keep_email,
    "a page's gap holds the row": _leave_gap,
}
