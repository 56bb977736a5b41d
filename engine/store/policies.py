"""Response models, and what was done with them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from engine.errors import PolicyRefused
from engine.policies import Act, Acted
from engine.store.database import Database, Room
from engine.store.forms import moment


class Policies(Database):
    """Satisfies PolicyStore."""

    def put_policy(self, id: str, body: bytes, now: datetime) -> None:
        """Keep a model."""
        with self.writing() as db:
            db.execute(
                "INSERT INTO policies (id, body, made) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (id, body, moment(now)),
            )

    def policy(self, id: str) -> bytes | None:
        """Return a model's bytes."""
        rows = self.rows("SELECT body FROM policies WHERE id = ?", (id,))
        return bytes(rows[0][0]) if rows else None

    def act(
        self,
        act: Act,
        policy: str,
        actor: str,
        now: datetime,
        beside: Callable[[Any], object] = lambda db: None,
        seen: int | None = None,
    ) -> None:
        """Keep that it was done, and do what is to be done beside it in the same transaction.

        Where it follows from the acts that were `seen`, so many, it is done only if there are no others since.
        """
        with self.writing() as db:
            self.hold(db, Room.LOG)
            kept = db.execute("SELECT count(*) FROM policy_acts").fetchone()[0]
            if seen not in (None, kept):
                raise PolicyRefused(
                    "policy: got another act meanwhile, expected none: look again and repeat it"
                )
            beside(db)
            db.execute(
                "INSERT INTO policy_acts (at, actor, act, policy) VALUES (?, ?, ?, ?)",
                (moment(now), actor, act, policy),
            )

    def acts(self) -> list[Acted]:
        """Return all that was done, oldest first."""
        found = self.rows("SELECT at, actor, act, policy FROM policy_acts ORDER BY seq")
        return [Acted(datetime.fromisoformat(at), *rest) for at, *rest in found]
