"""Which browser origins belong to which publisher: its registered hosts, over http or https, on any port."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from engine.campaign import Publisher

# RFC 6454 7: scheme "://" host [ ":" port ], in lower case as browsers write it.
_ORIGIN = re.compile(r"https?://([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)


class Origins:
    """Looks origins up in the publishers that stand at the moment."""

    def __init__(self, publishers: Callable[[], Mapping[str, Publisher]]) -> None:
        self._publishers = publishers
        self._seen: Mapping[str, Publisher] | None = None
        self._hosts: frozenset[str] = frozenset()

    def is_registered(self, origin: str) -> bool:
        """Say whether any publisher registered this origin."""
        publishers = self._publishers()
        if publishers is not self._seen:
            self._hosts = frozenset(domain for one in publishers.values() for domain in one.domains)
            self._seen = publishers
        return _host(origin) in self._hosts

    @staticmethod
    def belongs(origin: str, publisher: Publisher) -> bool:
        """Say whether this publisher registered this origin."""
        return _host(origin) in publisher.domains


def is_trustworthy(url: str) -> bool:
    """Say whether a page that came over https may load from an address: W3C Secure Contexts, 3.1."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    local = host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")
    return parts.scheme == "https" or local


def _host(origin: str) -> str | None:
    found = _ORIGIN.fullmatch(origin)
    return found[1] if found else None
