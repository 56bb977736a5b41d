"""The consent log's leaves in the store, so that a consent and its leaf commit together, whichever machine writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from engine.store.database import Connection, Database, Room
from engine.store.forms import bytes_of
from privacy.consent_log import PADDED_TO, Maker, dummy, hour_of, seal

_LAST = "SELECT max(seq) FROM log_leaves"
_HOUR = "log-hour"  # setting: the hour that is being filled, and the index of its first leaf
_SHARDS = "log-shards"  # setting: number of the first entry and name of each shard after the first
_RECORDED = "log-recorded"  # setting: keys, settings and policy as the log was last told of them
_SETTING = "SELECT value FROM settings WHERE name = ?"


class KeptLeaves:
    """Satisfies LeafStore. With `random`, the log is one that everybody may read: sealed, and padded by the hour."""

    def __init__(self, store: Database, random: Callable[[int], bytes] | None = None) -> None:
        self._store = store
        self._random = random

    def append(self, db: Connection, makers: Sequence[Maker]) -> list[int]:
        """Append within the transaction that `Database.writing` gave; return the indexes."""
        if not self._store.is_writing(db):
            raise ValueError("db: got a connection without a transaction, expected Database.writing()'s")
        self._store.hold(db, Room.LOG)
        seq = _count(db.execute(_LAST).fetchall())
        if self._random is None:
            rows = [(number, make(number)) for number, make in enumerate(makers, seq)]
            _insert(db, rows)
            return [number for number, _ in rows]
        given = []
        for make in makers:
            # Whoever tells first of a new hour closes the last one, so that no leaf of it can follow the dummies.
            seq = self._close_hour(db, hour_of(make(seq)), seq)
            _insert(db, [(seq, seal(make(seq), self._random))])
            given.append(seq)
            seq += 1
        return given

    def count(self) -> int:
        """Return the number of leaves that are committed."""
        return _count(self._store.rows(_LAST))

    def read(self, start: int, stop: int) -> list[bytes]:
        """Return the leaves from `start` to before `stop`, fewer where the log ends."""
        sql = "SELECT leaf FROM log_leaves WHERE seq >= ? AND seq < ? ORDER BY seq"
        return [bytes_of(row[0]) for row in self._store.rows(sql, (start, stop))]

    def close_hour(self, hour: int) -> int | None:
        """Pad what came before this hour (counted from 1970) to a multiple of 64; return how many leaves that makes.

        An hour in which nothing happened gets 64, too. None in the first hour, which has nothing before it.
        """
        open_hour, first = _open_hour(self._store.rows(_SETTING, (_HOUR,)))
        if open_hour is None or hour > open_hour:
            with self._store.writing() as db:
                self._store.hold(db, Room.LOG)
                self._close_hour(db, hour, _count(db.execute(_LAST).fetchall()))
                _, first = _open_hour(db.execute(_SETTING, (_HOUR,)).fetchall())
        return first or None

    def shards(self) -> list[tuple[int, str]]:
        """Return the number of the first entry, and the name, of each shard after the first."""
        return _shards(self._store.rows(_SETTING, (_SHARDS,)))

    def freeze(self, db: Connection, end: Maker, begun: int) -> list[bytes]:
        """End a shard by a leaf after which it holds no other, within the caller's transaction.

        In a public log its last hour is padded, so that its size is a multiple of 64. Returns what was appended:
        nothing where not so many shards have `begun` after the first.
        """
        self._store.hold(db, Room.LOG)
        if len(_shards(db.execute(_SETTING, (_SHARDS,)).fetchall())) != begun:
            return []
        count = _count(db.execute(_LAST).fetchall())
        open_hour, first = _open_hour(db.execute(_SETTING, (_HOUR,)).fetchall())
        added: list[tuple[int, bytes]] = []
        if self._random is not None and open_hour is not None:
            last = first - (first - count - 1) // PADDED_TO * PADDED_TO - 1
            added = [(seq, dummy(seq, open_hour, self._random)) for seq in range(count, last)]
            count = last
            _set(db, _HOUR, json.dumps([max(open_hour, hour_of(end(last))), last + 1]))
        added.append((count, end(count)))
        _insert(db, added)
        return [leaf for _, leaf in added]

    def begin(self, db: Connection, origin: str) -> None:
        """Note that the next leaf is the first of a shard of this name, within the caller's transaction."""
        begun = _shards(db.execute(_SETTING, (_SHARDS,)).fetchall())
        count = _count(db.execute(_LAST).fetchall())
        _set(db, _SHARDS, json.dumps([*begun, (count, origin)]))

    def put_back(self, leaves: Iterable[bytes], first: int = 0) -> int:
        """Put leaves where they were signed to stand, from `first` on; return how many were not there."""
        sql = (
            "INSERT INTO log_leaves (seq, leaf) VALUES (?, ?)"
            " ON CONFLICT (seq) DO UPDATE SET leaf = excluded.leaf WHERE log_leaves.leaf <> excluded.leaf"
        )
        with self._store.writing() as db:
            self._store.hold(db, Room.LOG)
            return sum(db.execute(sql, (seq, leaf)).rowcount for seq, leaf in enumerate(leaves, first))

    def recorded(self, db: Connection) -> bytes | None:
        """Return what `record` kept last, within the caller's transaction, in which nobody else records."""
        self._store.hold(db, Room.LOG)
        rows = db.execute(_SETTING, (_RECORDED,)).fetchall()
        return rows[0][0].encode() if rows else None

    def record(self, db: Connection, state: bytes) -> None:
        """Keep what keys and settings the log was last told of, within the caller's transaction."""
        _set(db, _RECORDED, state.decode())

    def _close_hour(self, db: Connection, hour: int, count: int) -> int:
        """Pad the hour that is open if another one has come; return the number of leaves. Requires the log's room."""
        open_hour, first = _open_hour(db.execute(_SETTING, (_HOUR,)).fetchall())
        if open_hour is not None and hour <= open_hour:
            return count
        if open_hour is not None and self._random is not None:
            padded = first + max(PADDED_TO, -(-(count - first) // PADDED_TO) * PADDED_TO)
            _insert(db, [(seq, dummy(seq, open_hour, self._random)) for seq in range(count, padded)])
            count = padded
        _set(db, _HOUR, json.dumps([hour, count]))
        return count


def _set(db: Connection, name: str, value: str) -> None:
    sql = "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    db.execute(sql, (name, value))


def _shards(rows: Sequence[tuple[str]]) -> list[tuple[int, str]]:
    return [(int(first), str(origin)) for first, origin in json.loads(rows[0][0])] if rows else []


def _open_hour(rows: Sequence[tuple[str]]) -> tuple[int | None, int]:
    if not rows:
        return None, 0
    hour, first = json.loads(rows[0][0])
    return int(hour), int(first)


def _insert(db: Connection, rows: Sequence[tuple[int, bytes]]) -> None:
    db.executemany("INSERT INTO log_leaves (seq, leaf) VALUES (?, ?)", rows)


def _count(rows: Sequence[tuple[int | None]]) -> int:
    last = rows[0][0]
    return 0 if last is None else int(last) + 1
