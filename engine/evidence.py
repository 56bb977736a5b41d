"""Gathers the evidence of one consent into a bundle that can be judged without us: `privacy.rejudge`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from engine.consent_log import receipt
from engine.errors import NotFound
from engine.log_files import LogFiles
from privacy.consent_log import LeafStore
from privacy.records import Opening
from privacy.rejudge import Bundle, Entry, Question

BATCH = 1000
_PLAIN = (b'"type":"key.', b'"type":"policy.', b'"type":"config.')


def bundle(leaves: LeafStore, files: LogFiles, openings: Sequence[Opening], question: Question) -> Bundle:
    """Put openings, and all that the log says of keys, policy and settings, under proofs of one checkpoint.

    Raises NotFound where a change of the consent is not covered by a published checkpoint yet.
    """
    events = tuple(
        Opening(one.index, one.record, one.key, one.leaf, _proof(files, one.index)) for one in openings
    )
    log = tuple(Entry(entry.decode(), _proof(files, index)) for index, entry in _plain(leaves))
    return Bundle("tactful-evidence-v1", question, events, log)


def _plain(leaves: LeafStore) -> Iterator[tuple[int, bytes]]:
    for start in range(0, leaves.count(), BATCH):
        for index, entry in enumerate(leaves.read(start, start + BATCH), start):
            if any(mark in entry for mark in _PLAIN) and json.loads(entry)["type"].startswith(
                ("key.", "policy.", "config.")
            ):
                yield index, entry


def _proof(files: LogFiles, index: int) -> str:
    proof = receipt(files, index)
    if proof is None:
        raise NotFound(
            f"entry {index}: no published checkpoint covers it yet; ask again in a minute, or an hour"
        )
    return proof.encode().decode()
