"""Fetch a registered publisher's page off the request path, from public addresses only, and read its article.

Guards against server-side request forgery: only registered hosts, only web ports, every address of a name
checked and the connection made to a checked one (a name that changes its mind finds no second lookup), and
all of it again for each redirect. Nothing of a visitor goes out: no cookies, no query, no referrer.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpcore
import trafilatura

from contexts.charset import decoded
from contexts.errors import FetchError
from contexts.extract import PageText, read, read_html
from contexts.html_limits import bearable
from contexts.robots import NOTHING, Robots, read_robots
from contexts.unpack import ACCEPTED, unpacked
from privacy.visit import PageInput

AGENT_TOKEN = "TactfulBot"  # noqa: S105 - the name that robots.txt files know us by
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_REDIRECTS = (301, 302, 303, 307, 308)
_ROBOTS_BYTES = 500_000  # RFC 9309, 2.5: at least 500 KiB are to be parsed
_ROBOTS_KEPT = 1_000  # hosts
_HANGING = 4  # lookups of a publisher that may wait for a resolver that does not answer
_MAX_TAGS = 40_000  # trafilatura needs seconds for more; articles have a few thousand
_IN_PATH = "!$%&'()*+,/:;=@[]"  # kept as it is, besides letters, digits and -._~
_HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)

Resolver = Callable[[str, int], Sequence[str]]


def public_address(address: str) -> bool:
    """Tell whether an IP address is one of the public internet.

    Not so: private, loopback, link-local (clouds' metadata), shared (RFC 6598), multicast, reserved; nor IPv6
    that carries an IPv4 address of such a kind (mapped, 6to4, Teredo, NAT64).
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return public_address(str(ip.ipv4_mapped))
        if ip.sixtofour is not None or ip.teredo is not None or ip in _NAT64 or ip in _NAT64_LOCAL:
            return False
        if ip.is_site_local:
            return False
    if any(ip in network for network in _NO_HOSTS):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")  # RFC 8215
# Protocols' own (RFC 6890), relays of 6to4 (RFC 7526), documentation (RFC 9637): older Pythons call some of it global.
_NO_HOSTS = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")))


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host by the system's resolver, however long that takes. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """What may be fetched, and how much of it."""

    contact: str  # a URL or e-mail address that stands in our User-Agent
    domains: frozenset[str]  # registered ones; a subdomain of one counts as it
    allow_address: Callable[[str], bool] = public_address
    resolve: Resolver = resolve
    ports: frozenset[int] = frozenset({80, 443})
    max_redirects: int = 3
    max_bytes: int = 1_000_000  # of the body, packed and unpacked alike
    timeout_s: float = 5.0  # for everything: robots, redirects and body
    robots_ttl_s: float = 86_400.0  # RFC 9309, 2.4: at most a day

    @property
    def user_agent(self) -> str:
        """Return the User-Agent header."""
        return f"{AGENT_TOKEN}/1.0 (+{self.contact})"

    def covers(self, host: str) -> bool:
        """Tell whether a host is registered or lies under a registered domain."""
        return any(host == domain or host.endswith("." + domain) for domain in self.domains)


class _Lookups:
    """Asks a resolver in threads of their own: it cannot be called back, so it is left behind at the deadline.

    While `most` lookups hang, further ones are refused: what waits for a dead resolver stays bounded.
    """

    def __init__(self, resolve: Resolver, most: int = _HANGING) -> None:
        self._resolve = resolve
        self._free = threading.Semaphore(most)

    def addresses(self, host: str, port: int, within_s: float) -> list[str]:
        """Return the addresses of a host. Raises OSError; TimeoutError where none came in time."""
        if not self._free.acquire(blocking=False):
            raise TimeoutError(f"too many lookups hang already, not asked for {host}")
        answer: SimpleQueue[list[str] | Exception] = SimpleQueue()

        def look_up() -> None:
            try:
                answer.put(list(self._resolve(host, port)))
            except Exception as error:  # noqa: BLE001 - raised below, in the thread that asked
                answer.put(error)
            finally:
                self._free.release()

        threading.Thread(target=look_up, name="lookup", daemon=True).start()
        try:
            found = answer.get(timeout=within_s)
        except Empty:
            raise TimeoutError(f"no address of {host} within {within_s:.1f} s") from None
        if isinstance(found, Exception):
            raise found
        return found


@dataclass(frozen=True, slots=True)
class _Target:
    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return self.origin + self.path


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Fetcher:
    """Fetches pages under a policy. Keeps robots.txt rules for a day, nothing else; one thread at a time."""

    policy: FetchPolicy
    clock: Callable[[], float] = time.monotonic
    _robots: OrderedDict[str, tuple[float, Robots]] = field(default_factory=OrderedDict)
    _lookups: _Lookups = field(init=False)

    def __post_init__(self) -> None:
        """Make what asks the policy's resolver."""
        self._lookups = _Lookups(self.policy.resolve)

    def fetch(self, url: str) -> PageText:
        """Return what a page of a registered publisher says.

        Raises FetchError with one of these reasons: "url", "domain", "address", "dns", "robots", "redirects",
        "status", "type", "size", "encoding", "timeout", "network".
        """
        deadline = self.clock() + self.policy.timeout_s
        target = self._target(url)
        for _ in range(self.policy.max_redirects + 1):
            if not self._robots_allow(target, deadline):
                raise FetchError("robots", f"robots.txt of {target.host} asks us not to")
            response = self._get(target, deadline, self.policy.max_bytes, _HTML_TYPES)
            if response.status not in _REDIRECTS:
                break
            target = self._redirected(target, response)
        else:
            raise FetchError("redirects", f"expected at most {self.policy.max_redirects} redirects, got more")
        if response.status != 200:
            raise FetchError("status", f"expected status 200, got {response.status}")
        return read_article(decoded(response.body, response.headers.get("content-type", "")))

    def _target(self, url: str) -> _Target:
        """Check a URL; query and fragment are dropped."""
        try:
            parts = urlsplit(url.strip())
            port = parts.port
        except ValueError as error:
            raise FetchError("url", "expected an http or https URL, got none that can be read") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FetchError("url", f"expected an http or https URL, got scheme {parts.scheme!r}")
        if parts.username is not None or parts.password is not None:
            raise FetchError("url", "expected a URL without user and password")
        try:
            host = parts.hostname.rstrip(".").encode("idna").decode("ascii").lower()
        except UnicodeError as error:
            raise FetchError("url", "expected a host name, got one that is none") from error
        if not _HOST.fullmatch(host):
            raise FetchError("url", "expected a host name, got one that is none")
        if not self.policy.covers(host):
            raise FetchError("domain", f"{host} is not a registered domain, nor under one")
        port = port or (443 if parts.scheme == "https" else 80)
        if port not in self.policy.ports:
            raise FetchError("url", f"expected port {sorted(self.policy.ports)}, got {port}")
        return _Target(parts.scheme, host, port, quote(parts.path or "/", safe=_IN_PATH, errors="replace"))

    def _redirected(self, target: _Target, response: _Response) -> _Target:
        """Check where a redirect leads."""
        try:
            place = urljoin(target.url, response.headers.get("location", ""))
        except ValueError as error:
            raise FetchError("url", "expected a redirect to a URL, got none that can be read") from error
        return self._target(place)

    def _robots_allow(self, target: _Target, deadline: float) -> bool:
        known = self._robots.get(target.origin)
        if known is None or known[0] < self.clock():
            known = (self.clock() + self.policy.robots_ttl_s, self._read_robots(target, deadline))
            self._robots[target.origin] = known
            if len(self._robots) > _ROBOTS_KEPT:
                self._robots.popitem(last=False)
        return known[1].allows(target.path)

    def _read_robots(self, target: _Target, deadline: float) -> Robots:
        """Return the rules. RFC 9309, 2.3.1: a missing file allows all, a failing server nothing."""
        place = _Target(target.scheme, target.host, target.port, "/robots.txt")
        try:
            for _ in range(self.policy.max_redirects + 1):
                response = self._get(place, deadline, _ROBOTS_BYTES, ())
                if response.status not in _REDIRECTS:
                    break
                place = self._redirected(place, response)
        except FetchError as error:
            if error.reason in ("address", "dns", "timeout", "network"):
                raise
            return NOTHING
        if response.status == 200:
            return read_robots(response.body.decode("utf-8", "replace"), AGENT_TOKEN)
        return Robots() if 400 <= response.status < 500 else NOTHING

    def _get(self, target: _Target, deadline: float, max_bytes: int, types: tuple[str, ...]) -> _Response:
        backend = _CheckedBackend(self.policy, self._lookups, deadline, self.clock)
        headers: dict[str | bytes, str | bytes] = {
            "Host": target.host if target.port in (80, 443) else f"{target.host}:{target.port}",
            "User-Agent": self.policy.user_agent,
            "Accept": "text/html,application/xhtml+xml;q=0.9" if types else "text/plain,*/*;q=0.1",
            "Accept-Encoding": ACCEPTED,
        }
        try:
            with (
                httpcore.ConnectionPool(
                    ssl_context=ssl.create_default_context(), network_backend=backend, retries=0
                ) as pool,
                pool.stream("GET", target.url, headers=headers) as answer,
            ):
                found = {k.decode("latin-1").lower(): _worded(v) for k, v in answer.headers}
                if answer.status in _REDIRECTS:
                    return _Response(answer.status, found, b"")
                kind = found.get("content-type", "").partition(";")[0].strip().lower()
                if types and answer.status == 200 and kind not in types:
                    raise FetchError("type", f"expected {' or '.join(types)}, got {kind[:40]!r}")
                body = unpacked(answer.iter_stream(), found.get("content-encoding", ""), max_bytes)
                return _Response(answer.status, found, b"".join(body))
        except (httpcore.TimeoutException, TimeoutError) as error:
            raise FetchError("timeout", f"expected the page within {self.policy.timeout_s} s") from error
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
            OSError,
        ) as error:
            raise FetchError(
                "network", f"{target.host} did not answer as HTTP: {type(error).__name__}"
            ) from error


def read_article(source: str) -> PageText:
    """Return an article by trafilatura, which is surer than the parser of the request path and slower.

    Where it finds none, that one's answer stands.
    """
    quick = read_html(source)
    if bearable(source) is None or source.count("<") > _MAX_TAGS:
        return quick
    try:
        found = trafilatura.extract(
            source,
            fast=True,
            output_format="json",
            with_metadata=False,
            include_comments=False,
            include_tables=False,
        )
    except Exception:  # noqa: BLE001, S110 - a foreign parser on foreign HTML: the other one has already read it
        found = None
    text = json.loads(found).get("text", "") if found else ""
    if len(text) < len(quick.text) // 10:
        text = quick.text
    return read(
        PageInput(
            title=quick.title,
            description=quick.description,
            text=text,
            language=quick.language,
            keywords=quick.keywords,
        ),
        section=quick.section,
    )


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to checked addresses only, and lets nothing last beyond the deadline."""

    def __init__(
        self, policy: FetchPolicy, lookups: _Lookups, deadline: float, clock: Callable[[], float]
    ) -> None:
        self._policy = policy
        self._lookups = lookups
        self._deadline = deadline
        self._clock = clock
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = self._lookups.addresses(host, port, _left(self._deadline, self._clock))
        except TimeoutError:
            raise
        except (OSError, UnicodeError) as error:
            raise FetchError("dns", f"{host} has no address") from error
        if not addresses:
            raise FetchError("dns", f"{host} has no address")
        # One bad address spoils the name: a mix of public and private ones is an attack or an error.
        if not all(self._policy.allow_address(address) for address in addresses):
            raise FetchError("address", f"{host} leads to an address that is not of the public internet")
        stream = self._inner.connect_tcp(addresses[0], port, timeout=_left(self._deadline, self._clock))
        return _DeadlineStream(stream, self._deadline, self._clock)


class _DeadlineStream(httpcore.NetworkStream):
    """A stream on which every wait ends at one deadline, however slowly bytes drip."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float, clock: Callable[[], float]) -> None:
        self._inner = inner
        self._deadline = deadline
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(self._deadline, self._clock))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(self._deadline, self._clock))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._inner.start_tls(ssl_context, server_hostname, _left(self._deadline, self._clock))
        return _DeadlineStream(stream, self._deadline, self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left(deadline: float, clock: Callable[[], float]) -> float:
    left = deadline - clock()
    if left <= 0:
        raise TimeoutError
    return left


def _worded(value: bytes) -> str:
    """Decode a header field: addresses in Location are sent as UTF-8 as often as escaped."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
