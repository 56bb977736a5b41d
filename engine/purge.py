"""Lets go of everything whose declared time is over: what the inventory says, done."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from engine.config import Config
from engine.events import EventStore, oldest_kept
from engine.money import MoneyStore
from engine.rights import Rights
from engine.store.subjects_sqlite import copied_on, is_over


def purge(config: Config, rights: Rights, now: datetime, copies: Path | None = None) -> dict[str, int]:
    """Delete what is over; return how much of each. `copies` is the folder of the copies of subjects' keys.

    Any process may do so beside the service, which does most of it by itself as time goes on. Raises
    StoreError where a file is in use for too long.
    """
    rights.log.uses.batch(now)
    gone = rights.store.purge(now, pages_before=now - timedelta(days=config.page_days))
    rights.weeks.tend({}, {}, now)
    gone |= rights.consents.purge()
    gone |= rights.store.money().sweep(now)
    gone |= purge_events(rights.store.events(), rights.store.money(), now)
    if copies is not None:
        gone["copies of subject keys"] = _purge_copies(copies, now)
    return gone


def purge_events(events: EventStore, money: MoneyStore, now: datetime) -> dict[str, int]:
    """Delete raw days of events that are over, once what they cost stands in the journal. Raises StoreError."""
    money.close(oldest_kept(now), now)
    return events.purge(now)


def _purge_copies(folder: Path, now: datetime) -> int:
    gone = 0
    for path in sorted(folder.iterdir()):
        made = copied_on(path) if path.is_file() else None
        if made is not None and is_over(made, now):
            path.unlink()
            gone += 1
    return gone
