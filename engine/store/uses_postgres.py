"""Uses of consent tokens in PostgreSQL, noted in the store itself, whichever machine a token is shown to."""

from __future__ import annotations

from datetime import datetime

from engine.store.forms import PAGE_WAIT_S, second
from engine.store.server_postgres import PostgresServer
from privacy.use_batch import receipt


class PostgresTokenUses:
    """Satisfies TokenUses: nothing stands beside the store."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def note(self, jti: str, nonce: str, expires: datetime, most: int) -> bool:
        """Note one use of a token; False where the nonce was used before, or the token `most` times."""
        with self._server.writing(PAGE_WAIT_S) as db:
            # One use of a token at a time, however many machines it is shown to.
            db.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.jti.' || ?, 0))", (jti,)
            )
            used = db.execute("SELECT count(*) FROM token_uses WHERE jti = ?", (jti,)).fetchall()[0][0]
            if used >= most:
                return False
            done = db.execute(
                "INSERT INTO token_uses (jti, nonce, expires) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (jti, nonce, second(expires)),
            )
            if done.rowcount == 1:
                db.execute(
                    "INSERT INTO uses_waiting (receipt) VALUES (?) ON CONFLICT DO NOTHING",
                    (receipt(jti, nonce),),
                )
            return done.rowcount == 1

    def settle(self) -> None:
        """Do nothing."""

    def forget(self, now: datetime) -> None:
        """Do nothing."""

    def check(self) -> None:
        """Do nothing: whoever reads consents looks at the same database."""

    def close(self) -> None:
        """Do nothing."""
