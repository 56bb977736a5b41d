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

from privacy.checkpoint import Checkpoint
from privacy.consent import IN_FORCE, TCF_PURPOSE, Purpose
from privacy.consent_log import SEALED, LeafType, is_canonical
from privacy.erasure import commitment
from privacy.errors import ErasureError, LogError
from privacy.log_policy import LogPolicy
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
_CONTEXT = frozenset({"key.add", "key.retire", "policy.change", "config.change"})


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
    """The evidence: every recorded change of one consent, opened; and what the log says of keys and policy."""

    format: Literal["tactful-evidence-v1"]
    question: Question
    events: tuple[Opening, ...]
    log: tuple[Entry, ...]


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

    index: int
    type: str
    hour: int
    fields: Mapping[str, Any]


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
    trees: dict[tuple[str, int], bytes] = {}
    told = [_entry(entry, policy, trees) for entry in bundle.log]
    events = [_event(opening, policy, trees) for opening in bundle.events]
    events.sort(key=lambda pair: pair[0].index)
    records = {event.record for _, event in events}
    rests_on = [f"{name} at {size} entries, signed as the policy asks" for name, size in sorted(trees)]

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


def _entry(entry: Entry, policy: LogPolicy, trees: dict[tuple[str, int], bytes]) -> _Told:
    told = _proved(entry.leaf, entry.proof, policy, trees)
    if told.type not in _CONTEXT:
        raise LogError(
            f"entry {told.index}: got a {told.type} beside the events, expected keys, policy or settings"
        )
    return told


def _event(opening: Opening, policy: LogPolicy, trees: dict[tuple[str, int], bytes]) -> tuple[_Told, Event]:
    where = f"event {opening.index}"
    if opening.proof is None:
        raise LogError(f"{where}: has no proof")
    told = _proved(opening.leaf, opening.proof, policy, trees)
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


def _proved(leaf: str, proof: str, policy: LogPolicy, trees: dict[tuple[str, int], bytes]) -> _Told:
    read = read_proof(proof.encode())
    tree: Checkpoint = verify_proof(read, leaf.encode(), policy)
    if trees.setdefault((tree.origin, tree.size), tree.root) != tree.root:
        raise LogError(
            f"{tree.origin}: two trees of {tree.size} entries are signed: the log shows different views"
        )
    if len({origin for origin, _ in trees}) > 1:
        raise LogError("the proofs are of different logs")
    try:
        fields = json.loads(leaf)
        told = _Told(read.index, fields["type"], fields["t"], fields)
        sound = is_canonical(leaf.encode(), fields) and fields["seq"] == read.index and type(told.hour) is int
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise LogError(f"entry {read.index}: got no leaf of a consent log") from error
    if not sound:
        raise LogError(f"entry {read.index}: is not canonical, or does not know its place")
    return told


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
