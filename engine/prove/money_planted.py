"""Books that are wrong: faults planted in the ledger, each of which the proof of money must find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

from engine import event_writer, tickets
from engine.events import KINDS, Event
from engine.money import Entry
from engine.store import events_sqlite, money_sqlite

_settle = money_sqlite.settle
_event_of = tickets.event_of
_refund = money_sqlite.SqliteMoney.refund


def _float_ledger(db: Any, events: Sequence[Event]) -> Sequence[Event]:
    """Keep amounts in units, as floats, as ledgers should not."""
    priced = _settle(db, events)
    db.execute("UPDATE ledger SET micros = CAST(micros / 1e6 * 1e6 AS INTEGER)")
    return priced


def _double_count(db: Any, events: Sequence[Event], decided: object) -> None:
    """Bill an event each time that it is told."""
    db.executemany(events_sqlite._INSERT, [event.row for event in _settle(db, events)])


def _rounded_ledger(db: Any, events: Sequence[Event]) -> Sequence[Event]:
    """Round each batch to the hundredth."""
    priced = _settle(db, events)
    db.execute("UPDATE ledger SET micros = (micros + 5000) / 10000 * 10000")
    db.execute("UPDATE accounts SET spent = (SELECT coalesce(sum(micros), 0) FROM ledger"
               " WHERE ledger.campaign = accounts.campaign)")  # fmt: skip
    return priced


def _billed_machine(*args: Any) -> Event:
    event = _event_of(*args)
    _, _, ticket, *_ = args
    price = ticket.price_micros if event.row.kind == KINDS[ticket.billed] else 0
    return event._replace(row=event.row._replace(price_micros=price))


def _utc_day(*args: Any) -> Event:
    event = _event_of(*args)
    return event._replace(billing_day=event.row.day)


def _lost_refund(self: money_sqlite.SqliteMoney, entry: Entry, first: int, last: int) -> bool:
    return True


def _repeated_refund(self: money_sqlite.SqliteMoney, entry: Entry, first: int, last: int) -> bool:
    ((number,),) = self._store.rows("SELECT count(*) FROM money_journal")
    return _refund(self, replace(entry, key=f"{entry.key}/{number}"), first, last)


class _EarlyBatches(event_writer.EventWriter):
    """Acknowledges what it holds in memory, and writes it when there is much of it."""

    held: list[Event] = []

    def keep(self, events: Sequence[Event]) -> None:
        self.held = [*self.held, *events]
        if len(self.held) > 4000:
            self._flush()

    def stop(self, timeout_s: float = 5.0) -> None:
        self._flush()
        super().stop(timeout_s)

    def _flush(self) -> None:
        if self.held:
            super().keep(self.held)
        self.held = []


# Fault → what is put in place of what (module or class, name, replacement).
PLANTED: dict[str, tuple[tuple[Any, str, Any], ...]] = {
    "float ledger": ((events_sqlite, "settle", _float_ledger),),
    "rounded ledger": ((events_sqlite, "settle", _rounded_ledger),),
    "double count": ((events_sqlite, "_keep_new", _double_count),),
    "billed machines": ((tickets, "event_of", _billed_machine),),
    "days of another zone": ((tickets, "event_of", _utc_day),),
    "exceeded budget": ((money_sqlite, "short", lambda accounts, sums, spent_on: {}),),
    "unbounded clicks": ((events_sqlite, "bound_clicks", lambda db, events: events),),
    "lost refund": ((money_sqlite.SqliteMoney, "refund", _lost_refund),),
    "repeated refund": ((money_sqlite.SqliteMoney, "refund", _repeated_refund),),
    "acknowledged too early": (("engine.prove.money", "EventWriter", _EarlyBatches),),
}


@contextmanager
def plant(fault: str | None) -> Iterator[None]:
    """Put a fault in place while the block runs."""
    undo: list[Callable[[], None]] = []
    for place, name, wrong in PLANTED[fault] if fault else ():
        where = import_module(place) if isinstance(place, str) else place
        right = getattr(where, name)
        undo.append(lambda where=where, name=name, right=right: setattr(where, name, right))  # type: ignore[misc]
        setattr(where, name, wrong)
    try:
        yield
    finally:
        for step in undo:
            step()
