"""Gathers the evidence of one consent into a bundle that can be judged without us: `privacy.rejudge`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from engine.errors import NotFound
from engine.log_shards import Shards
from privacy.consent_log import LeafReader
from privacy.records import Opening
from privacy.rejudge import Bundle, Entry, Question

BATCH = 1000
_PLAIN = ("key.", "policy.", "config.", "log.")
_MARKS = tuple(f'"type":"{kind}'.encode() for kind in _PLAIN)


def bundle(leaves: LeafReader, shards: Shards, openings: Sequence[Opening], question: Question) -> Bundle:
    """Put openings, and all that the log says of keys, policy, settings and its shards, under proofs.

    Raises NotFound where a change of the consent is not covered by a published checkpoint yet.
    """
    events = tuple(
        Opening(one.index, one.record, one.key, one.leaf, _proof(shards, one.index)) for one in openings
    )
    log = tuple(Entry(entry.decode(), _proof(shards, index)) for index, entry in _plain(leaves))
    return Bundle("tactful-evidence-v1", question, events, log)


def _plain(leaves: LeafReader) -> Iterator[tuple[int, bytes]]:
    for start in range(0, leaves.count(), BATCH):
        for index, entry in enumerate(leaves.read(start, start + BATCH), start):
            if any(mark in entry for mark in _MARKS) and json.loads(entry)["type"].startswith(_PLAIN):
                yield index, entry


def _proof(shards: Shards, index: int) -> str:
    proof = shards.receipt(index)
    if proof is None:
        raise NotFound(
            f"entry {index}: no published checkpoint covers it yet; ask again in a minute, or an hour"
        )
    return proof.encode().decode()
