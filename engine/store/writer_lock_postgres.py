"""The right to write the log, where several machines share a PostgreSQL database."""

from __future__ import annotations

from psycopg import OperationalError

from engine.store.database import Room
from engine.store.server_postgres import Connection, PostgresServer


class PostgresWriterLock:
    """Satisfies Alone: held by a session, so that it is free again once its process or its connection is gone."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._held: Connection | None = None

    def take(self) -> bool:
        """Take it, or look whether the session still holds it; say whether this process has it. Raises StoreError."""
        if self._held is not None:
            try:
                self._held.execute("SELECT 1")
                return True
            except OperationalError:  # with the connection went the lock: somebody else may have it
                self.release()
        self._held = self._server.hold_session(Room.WRITER)
        return self._held is not None

    def release(self) -> None:
        """Let another process have it."""
        if self._held is not None:
            self._held.close()
            self._held = None
