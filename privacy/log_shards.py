"""A consent log as a chain of yearly shards: each a log of its own, of which the first entry commits to the one before.

Entries are numbered through all shards. The first shard has the log's name; one that begins later the name with its
year behind it, `ads.example/log/2027`, and the same keys. The last entry of a shard that is over names the next one;
whoever trusts the keys of the first can follow from there, and needs no word of ours.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from privacy.canonical import canonical
from privacy.checkpoint import Checkpoint
from privacy.consent_log import leaf
from privacy.errors import LogError

_YEAR = re.compile(r"[0-9]{4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shard:
    """One log of the chain."""

    origin: str
    first: int  # number of its first entry
    size: int | None = None  # in entries, None while it grows


def origin_of_year(log: str, year: int) -> str:
    """Give the name of the shard that begins in a year."""
    return f"{log}/{year:04}"


def year_in(log: str, origin: str) -> int | None:
    """Return the year behind the log's name, 0 for the name itself; None where it is the name of something else."""
    if origin == log:
        return 0
    rest = origin.removeprefix(f"{log}/")
    return int(rest) if rest != origin and _YEAR.fullmatch(rest) else None


def last_leaf(seq: int, at: datetime, following: str) -> bytes:
    """Write the entry after which a shard holds no other: it names the next one."""
    return leaf(seq, "log.freeze", at, data={"next": following})


def first_leaf(seq: int, at: datetime, before: Checkpoint) -> bytes:
    """Write the entry with which a shard begins, after the one that ended under this checkpoint."""
    return leaf(seq, "log.begin", at, data={"after": commitment(before)})


def commitment(final: Checkpoint) -> dict[str, Any]:
    """Give what a first entry says of a final checkpoint; the hash is of its text, which log and witnesses sign."""
    text = hashlib.sha256(final.text().encode()).hexdigest()
    return {"origin": final.origin, "size": final.size, "root": final.root.hex(), "checkpoint": text}


def next_of(leaf: bytes) -> str | None:
    """Return the shard that an entry names as the next, None where it ends no shard."""
    named = _data(leaf, "log.freeze").get("next")
    return named if isinstance(named, str) else None


def check_first(leaf: bytes, final: Checkpoint) -> None:
    """Check that a shard's first entry commits to the final checkpoint of the shard before. Raises LogError."""
    told = _data(leaf, "log.begin").get("after")
    if not isinstance(told, Mapping):
        raise LogError("first entry: tells of no shard before")
    if canonical(dict(told)) != canonical(commitment(final)):
        raise LogError(f"first entry: commits to another end of {final.origin} than its final checkpoint")


def _data(leaf: bytes, type: str) -> Mapping[str, Any]:
    try:
        told = json.loads(leaf)
        data = told["data"] if told["type"] == type else {}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return data if isinstance(data, Mapping) else {}
