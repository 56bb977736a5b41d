"""C2SP tlog-policy: whose signatures make a checkpoint one to rely on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from privacy.checkpoint import (
    ED25519,
    ED25519_COSIGNATURE,
    ML_DSA_44,
    Note,
    Verifier,
    read_checkpoint,
    verify_note,
)
from privacy.errors import LogError

NONE = "none"

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
class LogPolicy:
    """Logs, witnesses and the quorum among them."""

    logs: tuple[Verifier, ...]
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    quorum: str = NONE

    def keys_of(self, origin: str) -> tuple[Verifier, ...]:
        """Return the keys of a log."""
        return tuple(key for key in self.logs if key.name == origin)

    def verify(self, note: Note) -> dict[Verifier, int | None]:
        """Return who signed a checkpoint, with the second that each cosignature states.

        Every key that the policy lists for the log must have signed, so that a forger of Ed25519 alone gets
        nowhere, and the quorum of witnesses. Raises LogError.
        """
        keys = self.keys_of(read_checkpoint(note.text).origin)
        if not keys:
            raise LogError("checkpoint: its origin is no log of this policy")
        signed = verify_note(note, (*keys, *(witness.verifier for witness in self.witnesses.values())))
        if missing := [key for key in keys if key not in signed]:
            raise LogError(f"checkpoint: not signed by the log's key {missing[0].key_id.hex()}")
        if not self._witnessed(self.quorum, signed):
            raise LogError(f"checkpoint: not cosigned by the quorum {self.quorum!r}")
        return signed

    def text(self) -> str:
        """Write it as a policy file."""
        lines = [f"log {key.vkey()}" for key in self.logs]
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
    for number, line in enumerate(text.split("\n"), 1):
        words = [word for word in re.split("[ \t]+", line) if word]
        if not words or words[0].startswith("#"):
            continue
        try:
            match words:
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
                        "expected 'log VKEY', 'witness NAME VKEY', 'group NAME K NAME…', one 'quorum NAME'"
                    )
        except LogError as error:
            raise LogError(f"policy, line {number}: {error}") from None
    if quorum is None:
        raise LogError("policy: got no line 'quorum', expected one")
    return LogPolicy(tuple(logs), witnesses, groups, quorum)


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
