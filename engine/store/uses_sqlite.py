"""Uses of consent tokens in SQLite: a file of their own at a request, then the catalogue's file and the log's batches.

At a request no other writer is waited for and no disk: the file of uses is not synced at each. It outlives every end
of a process; a failure of the power may take the last seconds of it. From it the uses move, many in one transaction,
into the catalogue's file, which is copied and restored with all the rest.
"""

from __future__ import annotations

from datetime import datetime
from functools import cached_property

from engine.store.file_sqlite import SqliteFile
from engine.store.forms import PAGE_WAIT_S, second
from engine.store.side_file import SideFile
from privacy.use_batch import receipt

FILE = "uses.db"
SCHEMA = """
    CREATE TABLE uses (
        jti TEXT NOT NULL, nonce TEXT NOT NULL, expires TEXT NOT NULL, moved INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (jti, nonce)
    ) WITHOUT ROWID;
    CREATE INDEX uses_by_expiry ON uses (expires);
    CREATE INDEX uses_to_move ON uses (moved) WHERE moved = 0
"""


class UseFile:
    """Satisfies TokenUses: the uses of live tokens, beside a store; opened at the first call."""

    def __init__(self, store: SqliteFile) -> None:
        self._store = store
        self.path = store.path.with_name(FILE)

    @cached_property
    def _file(self) -> SideFile:
        return SideFile(self.path, SCHEMA, synced=False)

    def note(self, jti: str, nonce: str, expires: datetime, most: int) -> bool:
        """Note one use of a token; False where the nonce was used before, or the token `most` times."""
        # The store has what came with a copy of it, and what moved; the file all uses that came here.
        with self._file.writing(PAGE_WAIT_S) as db:
            sql = "SELECT coalesce(sum(moved = 0), 0), coalesce(sum(nonce = ?), 0) FROM uses WHERE jti = ?"
            unmoved, here = db.execute(sql, (nonce, jti)).fetchone()
            sql = "SELECT count(*), coalesce(sum(nonce = ?), 0) FROM token_uses WHERE jti = ?"
            moved, there = self._store.rows(sql, (nonce, jti))[0]
            if unmoved + moved >= most or here or there:
                return False
            db.execute(
                "INSERT INTO uses (jti, nonce, expires) VALUES (?, ?, ?)", (jti, nonce, second(expires))
            )
            return True

    def settle(self) -> None:
        """Put what came since the last time into the store, where it waits to be told to the log."""
        come = self._file.rows("SELECT jti, nonce, expires FROM uses WHERE moved = 0")
        if not come:
            return
        with self._store.writing() as db:
            for jti, nonce, expires in come:
                sql = "INSERT OR IGNORE INTO token_uses (jti, nonce, expires) VALUES (?, ?, ?)"
                # What is there already waits or was told: a process ended before it could say so below.
                if db.execute(sql, (jti, nonce, expires)).rowcount:
                    sql = "INSERT OR IGNORE INTO uses_waiting (receipt) VALUES (?)"
                    db.execute(sql, (receipt(jti, nonce),))
        with self._file.writing() as db:
            sql = "UPDATE uses SET moved = 1 WHERE jti = ? AND nonce = ?"
            db.executemany(sql, [(jti, nonce) for jti, nonce, _ in come])

    def forget(self, now: datetime) -> None:
        """Delete the uses of tokens that have expired, once they moved."""
        self.settle()
        with self._file.writing() as db:
            db.execute("DELETE FROM uses WHERE expires < ?", (second(now),))

    def check(self) -> None:
        """Look whether the file is still there and sound. Raises StoreError."""
        self._file.check()

    def close(self) -> None:
        """Close the file, if it was opened."""
        if "_file" in vars(self):
            self._file.close()
