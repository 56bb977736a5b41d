"""Which values consented subjects have in the running epoch, by pseudonym, in a SQLite file of its own.

It is no part of a backup: a row lives until its epoch is closed or its subject is erased, and no longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from engine.store.forms import PAGE_WAIT_S
from engine.store.side_file import SideFile
from privacy.pseudonym import Pseudonym

FILE = "shared.db"
SCHEMA = """
    CREATE TABLE shared_values (
        epoch INTEGER NOT NULL, publisher TEXT NOT NULL, subject BLOB NOT NULL, key TEXT NOT NULL,
        value TEXT NOT NULL, rank BLOB NOT NULL, person BLOB NOT NULL,
        PRIMARY KEY (epoch, publisher, subject, key, value)
    ) WITHOUT ROWID
"""
Pair = tuple[str, str]  # key, value


class SqliteSharedRows:
    """Satisfies SharedRows."""

    def __init__(self, path: Path) -> None:
        """Take the file. Raises StoreError."""
        self.file = SideFile(path, SCHEMA)

    def note(
        self,
        epoch: int,
        publisher: str,
        subject: Pseudonym,
        person: Pseudonym,
        ranks: Mapping[Pair, bytes],
        most: int,
        still: Callable[[], bool],
    ) -> None:
        """Keep of a subject's pairs, those kept before and these, the `most` of the lowest ranks, if `still` holds."""
        of = (epoch, publisher, subject)
        sql = "SELECT key, value, rank FROM shared_values WHERE epoch = ? AND publisher = ? AND subject = ?"
        if not _change(self.file.rows(sql, of), ranks, most)[0]:
            return  # the usual case costs one read
        with self.file.writing(PAGE_WAIT_S) as db:
            # Asked under the lock: a consent that ends after this answer is forgotten after this transaction.
            if not still():
                return
            come, go = _change(db.execute(sql, of).fetchall(), ranks, most)
            db.executemany(
                "DELETE FROM shared_values WHERE epoch = ? AND publisher = ? AND subject = ?"
                " AND key = ? AND value = ?",
                [(*of, *pair) for pair in go],
            )
            db.executemany(
                "INSERT INTO shared_values (epoch, publisher, subject, key, value, rank, person)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(*of, *pair, ranks[pair], person) for pair in come],
            )

    def counts(self, epoch: int, publisher: str) -> dict[Pair, int]:
        """Return how many persons share each pair, of those that anyone has."""
        sql = (
            "SELECT key, value, count(DISTINCT person) FROM shared_values"
            " WHERE epoch = ? AND publisher = ? GROUP BY key, value"
        )
        return {(key, value): count for key, value, count in self.file.rows(sql, (epoch, publisher))}

    def forget(self, publisher: str, subjects: Sequence[tuple[int, Pseudonym]]) -> int:
        """Delete the rows of a subject by its (epoch, pseudonym)s, from the disk; return how many went."""
        of = "epoch = ? AND publisher = ? AND subject = ?"
        gone, traces = 0, [subject for _, subject in subjects]
        with self.file.writing() as db:
            for epoch, subject in subjects:
                rows = db.execute(
                    f"DELETE FROM shared_values WHERE {of} RETURNING person",  # noqa: S608 - a constant
                    (epoch, publisher, subject),
                ).fetchall()
                gone += len(rows)
                for person in {person for (person,) in rows}:  # another subject of theirs may stay
                    if not db.execute("SELECT 1 FROM shared_values WHERE person = ?", (person,)).fetchone():
                        traces.append(Pseudonym(person))
        self.file.scrub(traces)  # also where an earlier try could not
        return gone

    def sweep(self, before: int, closed: Iterable[tuple[int, str]]) -> None:
        """Delete the rows of all epochs below `before`, and of (epoch, publisher)s that are closed, from the disk."""
        ends = [(epoch, publisher) for epoch, publisher in closed]
        with self.file.writing() as db:
            gone = db.execute("DELETE FROM shared_values WHERE epoch < ?", (before,)).rowcount
            for end in ends:
                sql = "DELETE FROM shared_values WHERE epoch = ? AND publisher = ?"
                gone += db.execute(sql, end).rowcount
        if gone:
            self.file.rewrite()
        elif not self.file.scrubbed():
            self.file.scrub()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def _change(
    rows: Sequence[tuple[str, str, bytes]], ranks: Mapping[Pair, bytes], most: int
) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs that come and those that go."""
    held = {(key, value): rank for key, value, rank in rows}
    union = {**held, **ranks}
    kept = sorted(union, key=lambda pair: (union[pair], pair))[:most]
    return [pair for pair in kept if pair not in held], [pair for pair in held if pair not in kept]
