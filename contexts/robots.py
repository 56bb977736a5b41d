"""robots.txt (RFC 9309): which paths a crawler may fetch. Nothing here fetches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

MOST_RULES = 5_000  # of our groups; what stands beyond is not read

_TOKEN = re.compile(r"[A-Za-z_-]+|\*")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
_KEPT = "".join(map(chr, range(0x21, 0x7F)))  # what stands for itself in a path, "%" included


@dataclass(frozen=True, slots=True)
class Robots:
    """The rules for one crawler: patterns of paths, and whether each allows."""

    rules: Sequence[tuple[str, bool]] = ()

    def allows(self, path: str) -> bool:
        """Say whether a path may be fetched: the longest pattern that matches decides, of equal ones the kinder."""
        path = _plain(path)
        return max(
            ((len(rule), kind) for rule, kind in self.rules if _matches(rule, path)), default=(0, True)
        )[1]


NOTHING = Robots((("/", False),))


def read_robots(source: str, agent: str) -> Robots:
    """Return the rules of all groups that name `agent`; where none does, of those for everybody."""
    ours: list[tuple[str, bool]] = []
    everybody: list[tuple[str, bool]] = []
    names: set[str] = set()
    agent, named, ended = agent.lower(), False, False
    for line in source.removeprefix("\ufeff").splitlines():
        field, _, value = line.partition("#")[0].partition(":")
        field, value = field.strip().lower(), value.strip()
        if field == "user-agent":
            if ended:
                names, ended = set(), False
            token = _TOKEN.match(value)
            names.add(token[0].lower() if token else "")
            named = named or agent in names
        elif field in ("allow", "disallow"):
            ended = True
            for rules, name in ((ours, agent), (everybody, "*")):
                if name in names and value and len(rules) < MOST_RULES:
                    rules.append((_plain(value), field == "allow"))
    return Robots(tuple(ours if named else everybody))


def _plain(path: str) -> str:
    """Spell a path or pattern one way: unreserved characters as they are, all others in escapes of capitals."""
    return _ESCAPE.sub(_decoded, quote(path, safe=_KEPT))


def _decoded(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def _matches(pattern: str, path: str) -> bool:
    """Say whether a pattern matches from the path's start: "*" is any run of characters, a last "$" the end."""
    anchored = pattern.endswith("$")
    first, *parts = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    if not parts:
        return not anchored or at == len(path)
    for part in parts[:-1]:
        at = path.find(part, at)
        if at < 0:
            return False
        at += len(part)
    last = parts[-1]
    return len(path) - len(last) >= at and path.endswith(last) if anchored else path.find(last, at) >= 0
