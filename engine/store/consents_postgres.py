"""Consents in PostgreSQL: how each stands, what was recorded of it, and the uses of its tokens.

A consent and the leaf that tells of it are written in one transaction, under the log's lock: of two machines
that change the same consent, the later one sees what the earlier one did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from engine.consent_row import ConsentRow, Note
from engine.errors import StoreError
from engine.store.database import Room
from engine.store.forms import PAGE_WAIT_S, consent_of, findable, second
from engine.store.server_postgres import Connection, PostgresServer, hold
from engine.store.uses_postgres import forget_batches, note_use
from privacy.consent import Standing
from privacy.consent_log import LeafStore, Maker
from privacy.consent_token import STATUS_STEP
from privacy.use_batch import receipt

_DRAWS = 64
_FIND = (
    "SELECT record, generation, state, purposes, expires, ended, status_idx FROM consents"
    " WHERE publisher = %s AND subject = %s"
)


class PostgresConsents:
    """Satisfies privacy.consent.Standings, and keeps what stands behind it."""

    def __init__(
        self, server: PostgresServer, leaves: LeafStore, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._server, self._leaves, self._random = server, leaves, random_bytes

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
        with self._server.writing(PAGE_WAIT_S) as db:
            # One use of a token at a time, however many machines it is shown to.
            db.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.jti.' || %s, 0))", (jti,)
            )
            used = db.execute("SELECT count(*) FROM token_uses WHERE jti = %s", (jti,)).fetchall()[0][0]
            if used >= most:
                return False
            done = db.execute(
                "INSERT INTO token_uses (jti, nonce, expires) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (jti, nonce, second(expires)),
            )
            if done.rowcount == 1:
                note_use(db, receipt(jti, nonce))
            return done.rowcount == 1

    # --- reading ---

    def find(self, publisher: str, subject: str) -> ConsentRow | None:
        """Return a subject's consent at a publisher."""
        return self._find(publisher, subject)

    def events(self, subject: str) -> list[tuple[int, bytes]]:
        """Return (index of the leaf, ciphertext) of what was recorded of a subject, oldest first."""
        sql = "SELECT seq, ct FROM consent_events WHERE subject = %s ORDER BY seq"
        return self._server.rows(sql, (subject,))

    def any(self) -> bool:
        """Say whether there is any consent."""
        return bool(self._server.rows("SELECT 1 FROM consents LIMIT 1"))

    def subjects(self) -> Iterator[tuple[str, str]]:
        """Yield (publisher, subject) of every consent."""
        yield from self._server.rows("SELECT publisher, subject FROM consents")

    def due(self, now: datetime, limit: int) -> list[tuple[str, str]]:
        """Return (publisher, subject) of consents whose time is over and that have not ended yet."""
        sql = "SELECT publisher, subject FROM consents WHERE ended IS NULL AND expires <= %s LIMIT %s"
        return self._server.rows(sql, (second(now), limit))

    def ended_before(self, moment: datetime, limit: int) -> list[tuple[str, str]]:
        """Return (publisher, subject) of consents that ended before a moment."""
        sql = "SELECT publisher, subject FROM consents WHERE ended < %s LIMIT %s"
        return self._server.rows(sql, (second(moment), limit))

    def statuses(self) -> tuple[int, list[int]]:
        """Return the length of the status list, and the places in it whose consents have ended."""
        ended = [row[0] for row in self._server.rows("SELECT status_idx FROM ended_statuses")]
        highest = self._server.rows("SELECT max(status_idx) FROM consents")[0][0]
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
        with self._server.writing() as db:
            hold(db, Room.LOG)
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
                " status_idx) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
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
                "INSERT INTO consent_events (seq, subject, ct) VALUES (%s, %s, %s)", (seq, subject, noted)
            )
            return after, seq

    def append(self, maker: Maker) -> int:
        """Note what concerns no subject; return the index of its leaf."""
        with self._server.writing() as db:
            return self._leaves.append(db, [maker])[0]

    def erase(
        self, publisher: str, subject: str, erase_id: str, tombstone: Maker, until: datetime
    ) -> int | None:
        """Delete a subject's consent and records, and tell so in the log; None where there is none."""
        with self._server.writing() as db:
            hold(db, Room.LOG)
            before = _found(publisher, subject, db.execute(_FIND, (publisher, subject)).fetchall())
            if before is None:
                return None
            if before.status_idx is not None:
                _end_status(db, before.status_idx, until)
            db.execute("DELETE FROM consents WHERE publisher = %s AND subject = %s", (publisher, subject))
            db.execute("DELETE FROM consent_events WHERE subject = %s", (subject,))
            db.execute("INSERT INTO unscrubbed (erase_id) VALUES (%s) ON CONFLICT DO NOTHING", (erase_id,))
            return self._leaves.append(db, [tombstone])[0]

    def scrub(self, needles: Sequence[bytes], erase_ids: Sequence[str]) -> None:
        """Let go of what `erase` deleted, and note that it was done. Raises StoreError where it is in use."""
        self._server.scrub(needles)
        with self._server.writing() as db:
            db.execute("DELETE FROM unscrubbed WHERE erase_id = ANY (%s)", (list(erase_ids),))

    def check(self) -> None:
        """Look whether consents can be read. Raises StoreError."""
        self.find("", "")

    def close(self) -> None:
        """Do nothing: all of it is in the store."""

    def unscrubbed(self) -> list[str]:
        """Return the erasures whose rows may not be let go of yet: the process that did them ended early."""
        return [row[0] for row in self._server.rows("SELECT erase_id FROM unscrubbed")]

    def forget(self, now: datetime) -> dict[str, int]:
        """Delete the uses and ended statuses of tokens that have expired; return how many of each."""
        at = second(now)
        with self._server.writing() as db:
            hold(db, Room.LOG)
            return {
                "token_uses": db.execute("DELETE FROM token_uses WHERE expires < %s", (at,)).rowcount,
                "ended_statuses": db.execute("DELETE FROM ended_statuses WHERE until < %s", (at,)).rowcount,
                "use_batches": forget_batches(db, now),
            }

    def _find(self, publisher: str, subject: str, wait_s: float | None = None) -> ConsentRow | None:
        of = (publisher, subject)
        if len(findable(of)) < len(of):
            return None
        rows = self._server.rows(_FIND, of) if wait_s is None else self._server.rows(_FIND, of, wait_s)
        return _found(publisher, subject, rows)

    def _draw(self, db: Connection) -> int:
        """Draw a place in the status list that no consent has or lately had: it says nothing of when."""
        highest = db.execute("SELECT max(status_idx) FROM consents").fetchall()[0][0] or 0
        places = STATUS_STEP * (1 + highest // STATUS_STEP)
        for draw in range(_DRAWS):
            if draw % 8 == 7:  # most places are taken
                places += STATUS_STEP
            drawn = int.from_bytes(self._random(8), "big") % places
            used = db.execute(
                "SELECT 1 FROM consents WHERE status_idx = %(drawn)s"
                " UNION ALL SELECT 1 FROM ended_statuses WHERE status_idx = %(drawn)s",
                {"drawn": drawn},
            ).fetchone()
            if used is None:
                return drawn
        raise StoreError("status list: no free place was drawn: the source of chance is broken")


def _end_status(db: Connection, status: int, until: datetime) -> None:
    db.execute(
        "INSERT INTO ended_statuses (status_idx, until) VALUES (%s, %s)"
        " ON CONFLICT (status_idx) DO UPDATE SET until = excluded.until",
        (status, second(until)),
    )


def _found(publisher: str, subject: str, rows: Sequence[tuple[object, ...]]) -> ConsentRow | None:
    return consent_of(publisher, subject, rows[0]) if rows else None
