"""C2SP tlog-policy: whose signatures make a checkpoint one to rely on.

Keys that a log has retired stand in lines that other readers take for comments, `#retired SIZE DATE VKEY`: their
signatures still hold under trees of at most SIZE entries, which were signed before DATE was over, and under no other.

A log that is named stands for all its yearly shards (`privacy.log_shards`), which have its keys under names of their
own; other readers need a line for the shard that they read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from privacy.checkpoint import (
    ED25519,
    ED25519_COSIGNATURE,
    ML_DSA_44,
    Checkpoint,
    Note,
    Verifier,
    read_checkpoint,
    verify_note,
)
from privacy.errors import LogError
from privacy.log_shards import year_in

NONE = "none"

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_K = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Witness:
    """Somebody else who watches that a log only grows."""

    verifier: Verifier
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses or groups by name, of which `least` must have cosigned."""

    least: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retired:
    """The keys that signed a log together until the last tree of `size` entries, on a day in UTC."""

    size: int
    day: date
    keys: tuple[Verifier, ...]


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """Logs, witnesses and the quorum among them."""

    logs: tuple[Verifier, ...]
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    quorum: str = NONE
    retired: tuple[Retired, ...] = ()

    def keys_of(self, origin: str) -> tuple[Verifier, ...]:
        """Return the keys of a log, or of a shard of one, under its name."""
        named = tuple(key for key in self.logs if key.name == origin)
        return named or tuple(
            Verifier(origin, key.algorithm, key.public)
            for key in self.logs
            if year_in(key.name, origin) is not None
        )

    def log_of(self, origin: str) -> str | None:
        """Return the log that the policy lists and that this is, or is a shard of; None where there is none."""
        names = {key.name for key in self.logs}
        if origin in names:
            return origin
        return next((name for name in sorted(names) if year_in(name, origin) is not None), None)

    def of_shard(self, origin: str) -> LogPolicy:
        """Return what this says of one shard, under its own name, as other readers of policies need it.

        Its keys are those that sign its end: the first that were not retired in it, or before. Raises LogError.
        """
        log = self.log_of(origin)
        if log is None:
            raise LogError(f"policy: got {origin!r}, which is no shard of its logs")
        year = year_in(log, origin) or 0
        retired_in = [year_in(log, one.keys[0].name) or 0 for one in self.retired]
        later = [one.keys for one, when in zip(self.retired, retired_in, strict=True) if when > year]
        signing = later[0] if later else self.keys_of(origin)
        keys = tuple(Verifier(origin, key.algorithm, key.public) for key in signing)
        within = (one for one, when in zip(self.retired, retired_in, strict=True) if when == year)
        return replace(self, logs=keys, retired=tuple(within))

    def verify(self, note: Note) -> dict[Verifier, int | None]:
        """Return who signed a checkpoint, with the second that each cosignature states.

        Every key that the policy lists for the log must have signed, so that a forger of Ed25519 alone gets
        nowhere, or all that were retired together at this size or a larger one; and the quorum of witnesses. Raises
        LogError.
        """
        checkpoint = read_checkpoint(note.text)
        keys = self.keys_of(checkpoint.origin)
        if not keys:
            raise LogError("checkpoint: its origin is no log of this policy")
        before = self._retired_by(checkpoint)
        known = self.signing(checkpoint)
        signed = verify_note(note, (*known, *(witness.verifier for witness in self.witnesses.values())))
        if not any(all(key in signed for key in one) for one in (keys, *before)):
            missing = next(key for key in keys if key not in signed)
            raise LogError(f"checkpoint: not signed by the log's key {missing.key_id.hex()}")
        if not self._witnessed(self.quorum, signed):
            raise LogError(f"checkpoint: not cosigned by the quorum {self.quorum!r}")
        return signed

    def signing(self, checkpoint: Checkpoint) -> frozenset[Verifier]:
        """Return the keys of a log whose signatures under this tree count, retired ones among them."""
        generations = (self.keys_of(checkpoint.origin), *self._retired_by(checkpoint))
        return frozenset(key for one in generations for key in one)

    def _retired_by(self, checkpoint: Checkpoint) -> list[tuple[Verifier, ...]]:
        """Return the keys that were retired under a tree as far along the log as this one, or further."""
        log = self.log_of(checkpoint.origin)
        if log is None:
            return []
        place = (year_in(log, checkpoint.origin) or 0, checkpoint.size)
        found = []
        for one in self.retired:
            year = year_in(log, one.keys[0].name)
            if year is not None and place <= (year, one.size):
                found.append(
                    tuple(Verifier(checkpoint.origin, key.algorithm, key.public) for key in one.keys)
                )
        return found

    def text(self) -> str:
        """Write it as a policy file."""
        lines = [
            f"#retired {one.size} {one.day.isoformat()} {key.vkey()}"
            for one in self.retired
            for key in one.keys
        ]
        lines += [f"log {key.vkey()}" for key in self.logs]
        lines += [
            f"witness {name} {w.verifier.vkey()}{f' {w.url}' if w.url else ''}"
            for name, w in self.witnesses.items()
        ]
        lines += [
            f"group {name} {group.least} {' '.join(group.members)}" for name, group in self.groups.items()
        ]
        return "".join(f"{line}\n" for line in (*lines, f"quorum {self.quorum}"))

    def _witnessed(self, name: str, signed: Mapping[Verifier, object]) -> bool:
        if name == NONE:
            return True
        if name in self.witnesses:
            return self.witnesses[name].verifier in signed
        group = self.groups[name]
        return sum(self._witnessed(member, signed) for member in group.members) >= group.least


def read_policy(text: str) -> LogPolicy:
    """Read a policy file. Raises LogError naming the line."""
    logs: list[Verifier] = []
    witnesses: dict[str, Witness] = {}
    groups: dict[str, Group] = {}
    quorum: str | None = None
    grouped: set[str] = set()
    retired: dict[tuple[int, date], list[Verifier]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        words = [word for word in re.split("[ \t]+", line) if word]
        if not words or (words[0].startswith("#") and words[0] != "#retired"):
            continue
        try:
            match words:
                case ["#retired", size, day, vkey]:
                    together = retired.setdefault(_retirement(size, day), [])
                    together.append(_key(vkey, {ED25519, ML_DSA_44}, together))
                case ["log", vkey] | ["log", vkey, _]:
                    logs.append(_key(vkey, {ED25519, ML_DSA_44}, logs))
                case ["witness", name, vkey, *url] if len(url) <= 1:
                    _check_new(name, witnesses, groups)
                    key = _key(
                        vkey, {ED25519_COSIGNATURE, ML_DSA_44}, [w.verifier for w in witnesses.values()]
                    )
                    witnesses[name] = Witness(key, url[0] if url else None)
                case ["group", name, least, *members] if members:
                    _check_new(name, witnesses, groups)
                    if unknown := set(members) - {*witnesses, *groups}:
                        raise LogError(f"got the member {min(unknown)!r}, which no line before defines")
                    if grouped & set(members) or len(set(members)) < len(members):
                        raise LogError("got a member that is one already")
                    grouped |= set(members)
                    groups[name] = Group(_least(least, len(members)), tuple(members))
                case ["quorum", name] if quorum is None:
                    if name != NONE and name not in witnesses and name not in groups:
                        raise LogError(f"got the quorum {name!r}, which no line before defines")
                    quorum = name
                case _:
                    raise LogError(
                        "expected 'log VKEY', 'witness NAME VKEY', 'group NAME K NAME…', one 'quorum NAME', "
                        "or '#retired SIZE DATE VKEY'"
                    )
        except LogError as error:
            raise LogError(f"policy, line {number}: {error}") from None
    if quorum is None:
        raise LogError("policy: got no line 'quorum', expected one")
    for number, keys in enumerate(retired.values()):
        names = {key.name for key in keys}
        if len(names) > 1 or not any(year_in(key.name, name) is not None for key in logs for name in names):
            raise LogError(f"policy: got retired keys (group {number + 1}) of another log than the policy's")
    return LogPolicy(
        tuple(logs),
        witnesses,
        groups,
        quorum,
        tuple(Retired(size, day, tuple(keys)) for (size, day), keys in retired.items()),
    )


def _retirement(size: str, day: str) -> tuple[int, date]:
    if not _SIZE.fullmatch(size):
        raise LogError("got a retired key with no size of a tree before its date")
    try:
        return int(size), date.fromisoformat(day)
    except ValueError:
        raise LogError("got a retired key with no date, expected one such as 2026-11-29") from None


def _key(vkey: str, kinds: set[int], before: list[Verifier]) -> Verifier:
    key = Verifier.parse(vkey)
    if key.algorithm not in kinds:
        raise LogError(f"got a key of signature type {key.algorithm:#04x}, which does not sign this")
    if any(key.public == other.public for other in before):
        raise LogError("got a key that a line before has")
    return key


def _check_new(name: str, *names: Mapping[str, object]) -> None:
    if name == NONE or any(name in known for known in names):
        raise LogError(f"got the name {name!r}, which is taken")


def _least(text: str, members: int) -> int:
    if text == "any":
        return 1
    if text == "all":
        return members
    if not _K.fullmatch(text) or int(text) > members:
        raise LogError(f"got {text[:20]!r} of {members} members, expected any, all or a number of them")
    return int(text)
