"""Consents: how each stands, what was recorded of it, and the uses of its tokens.

A consent and the leaf that tells of it are written in one transaction, in the log's room: of two machines that
change the same consent, the later one sees what the earlier one did. The table knows a subject by a keyed
hash; what was recorded of it stands beside as ciphertext, under a key that is kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from engine.consent_row import ConsentRow, Note
from engine.errors import StoreError
from engine.store.database import Connection, Database, Room
from engine.store.forms import BUSY_TIMEOUT_S, PAGE_WAIT_S, consent_of, findable, second
from engine.store.uses import TokenUses, forget_batches
from privacy.consent import Standing
from privacy.consent_log import LeafStore, Maker
from privacy.consent_token import STATUS_STEP

_DRAWS = 64
_FIND = (
    "SELECT record, generation, state, purposes, expires, ended, status_idx FROM consents"
    " WHERE publisher = ? AND subject = ?"
)


class KeptConsents:
    """Satisfies privacy.consent.Standings, and keeps what stands behind it."""

    def __init__(
        self, store: Database, leaves: LeafStore, random_bytes: Callable[[int], bytes], uses: TokenUses
    ) -> None:
        self._store, self._leaves, self._random, self._uses = store, leaves, random_bytes, uses

    # --- at a request ---

    def standing(self, publisher: str, subject: str) -> Standing | None:
        """Return how a subject's consent stands; one indexed read."""
        row = self._find(publisher, subject, PAGE_WAIT_S)
        if row is None:
            return None
        return Standing(row.generation, row.state, row.purposes, row.expires, row.record)

    def use(self, publisher: str, jti: str, nonce: str, expires: datetime, most: int) -> bool:
        """Note one use of a token; False where the nonce was used before, or the token `most` times."""
        # A jti is 128 bits drawn by its issuer and hashed under our key: it is no two publishers'.
        return self._uses.note(jti, nonce, expires, most)

    def once(self, mark: str, until: datetime) -> bool:
        """Note what a reader may have once; False where it is noted. The log is not told, and it goes at `until`."""
        with self._store.writing(PAGE_WAIT_S) as db:
            sql = "INSERT INTO token_uses (jti, nonce, expires) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
            return db.execute(sql, (mark, mark, second(until))).rowcount == 1

    # --- reading ---

    def find(self, publisher: str, subject: str) -> ConsentRow | None:
        """Return a subject's consent at a publisher."""
        return self._find(publisher, subject, BUSY_TIMEOUT_S)

    def events(self, subject: str) -> list[tuple[int, bytes]]:
        """Return (index of the leaf, ciphertext) of what was recorded of a subject, oldest first."""
        sql = "SELECT seq, ct FROM consent_events WHERE subject = ? ORDER BY seq"
        return self._store.rows(sql, (subject,))

    def any(self) -> bool:
        """Say whether there is any consent."""
        return bool(self._store.rows("SELECT 1 FROM consents LIMIT 1"))

    def subjects(self) -> Iterator[tuple[str, str]]:
        """Yield (publisher, subject) of every consent."""
        yield from self._store.rows("SELECT publisher, subject FROM consents")

    def due(self, now: datetime, limit: int) -> list[tuple[str, str]]:
        """Return (publisher, subject) of consents whose time is over and that have not ended yet."""
        sql = "SELECT publisher, subject FROM consents WHERE ended IS NULL AND expires <= ? LIMIT ?"
        return self._store.rows(sql, (second(now), limit))

    def ended_before(self, moment: datetime, limit: int) -> list[tuple[str, str]]:
        """Return (publisher, subject) of consents that ended before a moment."""
        sql = "SELECT publisher, subject FROM consents WHERE ended < ? LIMIT ?"
        return self._store.rows(sql, (second(moment), limit))

    def statuses(self) -> tuple[int, list[int]]:
        """Return the length of the status list, and the places in it whose consents have ended."""
        ended = [row[0] for row in self._store.rows("SELECT status_idx FROM ended_statuses")]
        highest = self._store.rows("SELECT max(status_idx) FROM consents")[0][0]
        return max([-1 if highest is None else highest, *ended]) + 1, ended

    # --- writing: each method is one transaction ---

    def change(
        self,
        publisher: str,
        subject: str,
        decide: Callable[[ConsentRow | None], ConsentRow | None],
        note: Note,
        until: datetime,
    ) -> tuple[ConsentRow | None, int | None]:
        """Let `decide` make the consent's next state from the one that stands, and note it in the log.

        Returns the row and the index of its leaf; what stands and None where `decide` gives None. A place in
        the status list that ends is published as ended `until` no token of it can be valid. Nothing is
        written where anything is raised.
        """
        with self._store.writing() as db:
            self._store.hold(db, Room.LOG)
            before = _found(publisher, subject, db.execute(_FIND, (publisher, subject)).fetchall())
            after = decide(before)
            if after is None:
                return before, None
            status = None if before is None else before.status_idx
            if after.ended is not None and status is not None:
                _end_status(db, status, until)
                status = None
            elif after.ended is None and status is None:
                status = self._draw(db)
            after = replace(after, status_idx=status)
            noted = b""

            def make(index: int) -> bytes:  # the log may ask again, for a later index: the last answer stands
                nonlocal noted
                leaf, noted = note(after, index)
                return leaf

            [seq] = self._leaves.append(db, [make])
            db.execute(
                "INSERT INTO consents (publisher, subject, record, generation, state, purposes, expires, ended,"
                " status_idx) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (publisher, subject) DO UPDATE SET record = excluded.record,"
                " generation = excluded.generation, state = excluded.state, purposes = excluded.purposes,"
                " expires = excluded.expires, ended = excluded.ended, status_idx = excluded.status_idx",
                (
                    publisher,
                    subject,
                    after.record,
                    after.generation,
                    after.state,
                    " ".join(sorted(after.purposes)),
                    second(after.expires),
                    None if after.ended is None else second(after.ended),
                    after.status_idx,
                ),
            )
            db.execute(
                "INSERT INTO consent_events (seq, subject, ct) VALUES (?, ?, ?)", (seq, subject, noted)
            )
            return after, seq

    def append(self, maker: Maker) -> int:
        """Note what concerns no subject; return the index of its leaf."""
        with self._store.writing() as db:
            return self._leaves.append(db, [maker])[0]

    def erase(
        self, publisher: str, subject: str, erase_id: Callable[[], str], tombstone: Maker, until: datetime
    ) -> int | None:
        """Delete a subject's consent and records, and tell so in the log; return the index of the leaf.

        None where there is no such consent. The erasure's name is asked for within the transaction, and the tombstone
        after it. The store still has to be scrubbed: `unscrubbed` names what is owed.
        """
        with self._store.writing() as db:
            self._store.hold(db, Room.LOG)
            before = _found(publisher, subject, db.execute(_FIND, (publisher, subject)).fetchall())
            if before is None:
                return None
            named = erase_id()
            if before.status_idx is not None:
                _end_status(db, before.status_idx, until)
            db.execute("DELETE FROM consents WHERE publisher = ? AND subject = ?", (publisher, subject))
            db.execute("DELETE FROM consent_events WHERE subject = ?", (subject,))
            db.execute("INSERT INTO unscrubbed (erase_id) VALUES (?) ON CONFLICT DO NOTHING", (named,))
            return self._leaves.append(db, [tombstone])[0]

    def scrub(self, needles: Sequence[bytes], erase_ids: Sequence[str]) -> None:
        """Rid the store of what `erase` deleted, and note that it was done. Raises StoreError where it is in use."""
        self._store.scrub(needles)
        with self._store.writing() as db:
            db.executemany("DELETE FROM unscrubbed WHERE erase_id = ?", [(id,) for id in erase_ids])

    def unscrubbed(self) -> list[str]:
        """Return the erasures whose bytes may still stand in the store: the process that did them ended early."""
        return [row[0] for row in self._store.rows("SELECT erase_id FROM unscrubbed")]

    def forget(self, now: datetime) -> dict[str, int]:
        """Delete the uses and ended statuses of tokens that have expired; return how many of each."""
        gone = {}
        self._uses.forget(now)
        with self._store.writing() as db:
            self._store.hold(db, Room.LOG)
            for table, column in (("token_uses", "expires"), ("ended_statuses", "until")):
                sql = f"DELETE FROM {table} WHERE {column} < ?"  # noqa: S608 - constants
                gone[table] = db.execute(sql, (second(now),)).rowcount
            gone["use_batches"] = forget_batches(db, now)
        return gone

    def check(self) -> None:
        """Look whether consents and uses can be read. Raises StoreError."""
        self.find("", "")
        self._uses.check()

    def close(self) -> None:
        """Close what uses are noted in."""
        self._uses.close()

    def _find(self, publisher: str, subject: str, wait_s: float) -> ConsentRow | None:
        of = (publisher, subject)
        return _found(*of, self._store.rows(_FIND, of, wait_s)) if len(findable(of)) == len(of) else None

    def _draw(self, db: Connection) -> int:
        """Draw a place in the status list that no consent has or lately had: it says nothing of when."""
        highest = db.execute("SELECT max(status_idx) FROM consents").fetchone()[0] or 0
        places = STATUS_STEP * (1 + highest // STATUS_STEP)
        for draw in range(_DRAWS):
            if draw % 8 == 7:  # most places are taken
                places += STATUS_STEP
            drawn = int.from_bytes(self._random(8), "big") % places
            used = db.execute(
                "SELECT 1 FROM consents WHERE status_idx = ?"
                " UNION ALL SELECT 1 FROM ended_statuses WHERE status_idx = ?",
                (drawn, drawn),
            ).fetchone()
            if used is None:
                return drawn
        raise StoreError("status list: no free place was drawn: the source of chance is broken")


def _end_status(db: Connection, status: int, until: datetime) -> None:
    db.execute(
        "INSERT INTO ended_statuses (status_idx, until) VALUES (?, ?)"
        " ON CONFLICT (status_idx) DO UPDATE SET until = excluded.until",
        (status, second(until)),
    )


def _found(publisher: str, subject: str, rows: Sequence[tuple[Any, ...]]) -> ConsentRow | None:
    return consent_of(publisher, subject, rows[0]) if rows else None
