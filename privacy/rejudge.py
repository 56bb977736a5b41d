"""Judges a past use of consent again, offline: from what was recorded, its proofs, and the policy of that time.

What a judge needs lies in one bundle, but for the keys to rely on, which nobody takes from the one to be judged.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from msgspec import Struct

from privacy.canonical import canonical
from privacy.checkpoint import Checkpoint
from privacy.consent import IN_FORCE, TCF_PURPOSE, Purpose
from privacy.consent_log import SEALED, LeafType, is_canonical
from privacy.erasure import commitment
from privacy.errors import ErasureError, LogError
from privacy.log_policy import LogPolicy
from privacy.log_shards import commitment as commitment_to
from privacy.log_shards import next_of
from privacy.records import Event, Opening, decode
from privacy.tlog_proof import read_proof, verify_proof

# By what the service decides whether consent is in force; the log is told of it, and of each change.
POLICY: Mapping[str, Any] = MappingProxyType(
    {
        "policy": "consent-v1",
        "in_force": sorted(IN_FORCE),
        "tcf_purpose": dict(TCF_PURPOSE),
        "never": ["coppa", "gpc", "minor", "special-category-page"],
    }
)
MOST_BYTES = 32 << 20

_STATE_OF: Mapping[str, LeafType] = {
    "ConsentGiven": "consent.grant",
    "RenewedConsentGiven": "consent.grant",
    "ConsentWithdrawn": "consent.withdraw",
    "ConsentExpired": "consent.expire",
}
_CONTEXT = frozenset({"key.add", "key.retire", "policy.change", "config.change", "log.begin", "log.freeze"})


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks whether consent was in force for a purpose, at a publisher, at a moment (ISO 8601)."""

    publisher: str
    purpose: Purpose
    at: str


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """A leaf that is no secret, with its .tlog-proof."""

    leaf: str
    proof: str


class Bundle(Struct, frozen=True, forbid_unknown_fields=True):
    """The evidence: every recorded change of one consent, opened; and what the log says of keys, policy and shards."""

    format: Literal["tactful-evidence-v1"]
    question: Question
    events: tuple[Opening, ...]
    log: tuple[Entry, ...]


class _KeyUse(Struct, frozen=True):
    use: str


class _KeyLeaf(Struct, frozen=True):
    """What is read of a leaf that tells of a key."""

    key: str
    data: _KeyUse


class _PolicyTold(Struct, frozen=True):
    policy: str
    in_force: list[str]


class _PolicyLeaf(Struct, frozen=True):
    """What is read of a leaf that tells of a policy."""

    data: _PolicyTold


_SHAPES: Mapping[str, type[Struct]] = {
    "key.add": _KeyLeaf,
    "key.retire": _KeyLeaf,
    "policy.change": _PolicyLeaf,
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer, why, and on what it rests."""

    in_force: bool
    because: str
    rests_on: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return {"in_force": self.in_force, "because": self.because, "rests_on": list(self.rests_on)}

    def lines(self) -> list[str]:
        """Give it in words."""
        answer = "yes" if self.in_force else "no"
        return [
            f"consent in force under the recorded policy: {answer}, because {self.because}",
            *(f"- {one}" for one in self.rests_on),
            "- what the bundle leaves out is not judged: whoever made it may have left out a later change",
        ]


@dataclass(frozen=True, slots=True)
class _Told:
    """A proved leaf."""

    index: int  # through all shards
    place: int  # in its shard
    shard: str
    type: str
    hour: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the proofs show of the log."""

    trees: dict[tuple[str, int], bytes]  # (shard, size) → root
    starts: dict[str, int]  # shard → number of its first entry
    logs: set[str | None]  # of which the shards are


def read_bundle(data: bytes) -> Bundle:
    """Read a bundle. Raises LogError."""
    if len(data) > MOST_BYTES:
        raise LogError(f"bundle: got {len(data)} bytes, expected at most {MOST_BYTES}")
    try:
        return msgspec.json.decode(data, type=Bundle)
    except (ValueError, RecursionError) as error:  # msgspec's own, and bytes that are no UTF-8
        raise LogError(f"bundle: {error}") from error


def judge(bundle: Bundle, policy: LogPolicy) -> Judgement:
    """Judge by the bundle alone, relying on the keys of `policy`.

    Raises LogError where a proof, a record or an opening does not hold: then nothing follows from the bundle.
    """
    question = bundle.question
    at = _moment(question.at, "question.at")
    seen = _Seen({}, {}, set())
    told = [_entry(entry, policy, seen) for entry in bundle.log]
    events = [_event(opening, policy, seen) for opening in bundle.events]
    _check_chain(told, seen)
    events.sort(key=lambda pair: pair[0].index)
    records = {event.record for _, event in events}
    rests_on = [f"{name} at {size} entries, signed as the policy asks" for name, size in sorted(seen.trees)]

    def no(why: str) -> Judgement:
        return Judgement(False, why, tuple(rests_on))

    if missing := _keys_missing(told, policy, at):
        return no(missing)
    rests_on.append("the log's keys and an issuer's key, recorded by then and not retired")
    rule = _latest(told, "policy.change", at)
    if rule is None:
        return no("no policy was recorded by then")
    rests_on.append(f"policy {rule.fields['data']['policy']!r} of entry {rule.index}")
    before = [
        (leaf, event) for leaf, event in events if event.publisher == question.publisher and _at(event) <= at
    ]
    rests_on.append(f"{len(events)} recorded changes of {len(records)} consents, opened and proved")
    if not before:
        return no(f"nothing had been agreed with {question.publisher} by {question.at}")
    leaf, event = before[-1]
    state = f"entry {leaf.index} records {event.state} at {event.at}"
    if event.state not in rule.fields["data"]["in_force"]:
        return no(f"{state}, which that policy does not count as in force")
    if question.purpose not in event.purposes:
        return no(f"{state}, and not for {question.purpose}")
    if _moment(event.expires, f"entry {leaf.index}: expires") <= at:
        return no(f"{state}, and it ended at {event.expires}")
    notice = event.notice.text_sha256[:16] if event.notice else "unknown"
    return Judgement(
        True,
        f"{state} for {question.purpose} until {event.expires}, under the notice {notice}…, and nothing after it",
        tuple(rests_on),
    )


def _entry(entry: Entry, policy: LogPolicy, seen: _Seen) -> _Told:
    told = _proved(entry.leaf, entry.proof, policy, seen)
    if told.type not in _CONTEXT:
        raise LogError(
            f"entry {told.index}: got a {told.type} beside the events, expected keys, policy, settings or shards"
        )
    if told.type in _SHAPES:
        try:
            msgspec.convert(told.fields, _SHAPES[told.type])
        except msgspec.ValidationError as error:
            raise LogError(f"entry {told.index}: got no {told.type} of a consent log ({error})") from error
    return told


def _event(opening: Opening, policy: LogPolicy, seen: _Seen) -> tuple[_Told, Event]:
    where = f"event {opening.index}"
    if opening.proof is None:
        raise LogError(f"{where}: has no proof")
    told = _proved(opening.leaf, opening.proof, policy, seen)
    if told.index != opening.index:
        raise LogError(f"{where}: got the proof of entry {told.index}")
    try:
        key = bytes.fromhex(opening.key)
        record = opening.record.encode()
        event = decode(record)
    except (ValueError, ErasureError) as error:
        raise LogError(f"{where}: {error}") from error
    committed = str(told.fields.get("commit"))
    if not hmac.compare_digest(commitment(key, told.index, record).hex(), committed):
        raise LogError(f"{where}: the record is not what the log committed to")
    if told.type not in (SEALED, _STATE_OF.get(event.state)):
        raise LogError(f"{where}: the record says {event.state}, the log {told.type}")
    if told.hour != int(_at(event).timestamp()) // 3600:
        raise LogError(f"{where}: the record says {event.at}, the log hour {told.hour}")
    return told, event


def _proved(leaf: str, proof: str, policy: LogPolicy, seen: _Seen) -> _Told:
    read = read_proof(proof.encode())
    tree: Checkpoint = verify_proof(read, leaf.encode(), policy)
    if seen.trees.setdefault((tree.origin, tree.size), tree.root) != tree.root:
        raise LogError(
            f"{tree.origin}: two trees of {tree.size} entries are signed: the log shows different views"
        )
    seen.logs.add(policy.log_of(tree.origin))
    if len(seen.logs) > 1:
        raise LogError("the proofs are of different logs")
    try:
        fields = json.loads(leaf)
        told = _Told(fields["seq"], read.index, tree.origin, fields["type"], fields["t"], fields)
        sound = is_canonical(leaf.encode(), fields) and type(told.hour) is type(told.index) is int
        sound = sound and isinstance(told.type, str)
        before = told.index - told.place
        sound = sound and seen.starts.setdefault(tree.origin, before) == before >= 0
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise LogError(f"entry {read.index}: got no leaf of a consent log") from error
    if not sound:
        raise LogError(f"entry {read.index}: is not canonical, or does not know its place")
    return told


def _check_chain(told: Sequence[_Told], seen: _Seen) -> None:
    """Check that the shards of which there are proofs are one chain, from the first entry on. Raises LogError."""
    follows: dict[str, str] = {}  # shard → the one that it says to come after
    named = {one.shard: next_of(canonical(one.fields)) for one in told if one.type == "log.freeze"}
    for one in told:
        if one.type == "log.begin":
            end = _end_before(one)
            if one.place or named.get(end.origin) != one.shard:
                raise LogError(
                    f"{one.shard}: entry {one.index} begins a shard that none before names as the next"
                )
            follows[one.shard] = end.origin
            if seen.starts.get(end.origin, -1) + end.size != seen.starts[one.shard]:
                raise LogError(f"{one.shard}: begins elsewhere than {end.origin} ended, or that is left out")
            _check_end(end, seen)
        elif one.type == "log.freeze" and any(
            size > one.place + 1 for origin, size in seen.trees if origin == one.shard
        ):
            raise LogError(f"{one.shard}: was opened again: entries stand after the one that ended it")
    for origin, start in seen.starts.items():
        if start and origin not in follows:
            raise LogError(f"{origin}: does not know its place: it begins no log, and after no other one")


def _check_end(end: Checkpoint, seen: _Seen) -> None:
    for (origin, size), root in seen.trees.items():
        if origin == end.origin and (size > end.size or (size == end.size and root != end.root)):
            raise LogError(
                f"{origin}: a tree of {size} entries is signed, which is not how the next shard has it end"
            )


def _end_before(begin: _Told) -> Checkpoint:
    """Return how the shard before ended, as a shard's first entry has it. Raises LogError."""
    try:
        told = begin.fields["data"]["after"]
        end = Checkpoint(str(told["origin"]), int(told["size"]), bytes.fromhex(told["root"]))
    except (ValueError, TypeError, KeyError) as error:
        raise LogError(f"entry {begin.index}: tells of no shard before") from error
    if canonical(commitment_to(end)) != canonical(told):
        raise LogError(f"entry {begin.index}: commits to another checkpoint than it tells of")
    return end


def _keys_missing(told: Sequence[_Told], policy: LogPolicy, at: datetime) -> str | None:
    """Return which key was not recorded as valid at a moment, None where all were."""
    valid: dict[str, str] = {}
    for one in sorted(told, key=lambda one: one.index):
        if one.hour > _hour(at):
            continue
        if one.type == "key.add":
            valid[one.fields["key"]] = one.fields["data"]["use"]
        elif one.type == "key.retire":
            valid.pop(one.fields["key"], None)
    signing = (policy.logs, *(one.keys for one in policy.retired))
    if not any(all(valid.get(key.fingerprint.hex()) == "log" for key in keys) for keys in signing):
        missing = next(key for key in policy.logs if valid.get(key.fingerprint.hex()) != "log")
        return f"the log's key {missing.key_id.hex()} was not recorded as valid then"
    if "issuer" not in valid.values():
        return "no key that issues consent tokens was recorded as valid then"
    return None


def _latest(told: Sequence[_Told], type: str, at: datetime) -> _Told | None:
    found = [one for one in told if one.type == type and one.hour <= _hour(at)]
    return max(found, key=lambda one: one.index, default=None)


def _at(event: Event) -> datetime:
    return _moment(event.at, "record: at")


def _hour(at: datetime) -> int:
    return int(at.timestamp()) // 3600


def _moment(text: str, where: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise LogError(
            f"{where}: got {text[:40]!r}, expected a time with an offset, such as 2026-11-23T18:05:00Z"
        )
    return at
