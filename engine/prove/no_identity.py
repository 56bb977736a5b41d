"""`tactful prove no-identity`: readers who differ in everything but the visit leave the same bytes behind.

Non-interference, tested from outside on twin services: one is asked by a reader who says nothing, the other
by readers who say something in every channel. Answers, log lines and what is kept must be equal, request by
request, over the whole sequence. Random headers find few leaks, so this takes (1) each channel's realistic
values by themselves, (2) what the service itself sent, played back to it, (3) all pairs of channels, (4)
sequences of returning readers, and (5) refuses answers that carry an identifier at all. How much it finds
is itself measured, on leaks planted around the same service (`engine.prove.planted`).
"""

from __future__ import annotations

import html
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from engine.prove.channels import KINDS, PLAIN, Kind, Sender, channels, together
from engine.prove.planted import PLANTED
from engine.prove.planted import plant as planted
from engine.prove.twins import AUCTION, Instance, MakeService, Observation, Request
from engine.record import EVENTS_PATH
from privacy.gate import CARDINALITIES

# Answer headers by which a browser is made to carry something back, or is asked to tell more of itself.
BANNED = frozenset(
    {
        *(
            "set-cookie",
            "set-cookie2",
            "etag",
            "last-modified",
            "accept-ch",
            "critical-ch",
            "accept-ch-lifetime",
        ),
        *("nel", "report-to", "reporting-endpoints", "www-authenticate", "proxy-authenticate", "refresh"),
        *("observe-browsing-topics", "attribution-reporting-register-source", "supports-loading-mode"),
        *("access-control-allow-credentials", "server-timing", "delegate-ch", "set-login"),
        *("use-as-dictionary", "secure-session-registration", "sec-session-registration"),
        *("link", "sourcemap", "x-sourcemap", "speculation-rules"),  # addresses that browsers then ask for
        *("alt-svc", "strict-transport-security", "public-key-pins", "expect-ct", "content-location"),
    }
)
CREDENTIALED = frozenset({"access-control-allow-credentials"})
VARY = frozenset({"origin"})  # all that an answer may vary on
_KEY_ASKED = (
    "Bearer"  # WWW-Authenticate where a key of ours is asked for: no browser keeps or sends one by itself
)
_LASTING = re.compile(r"max-age=0*[1-9]|immutable|public", re.IGNORECASE)
_PERMANENT = ("301", "308")  # kept where nothing forbids it
_KEEPING = re.compile(  # what a page or script keeps on a device by, or has sent along from then on
    rb"document\.cookie|cookieStore|localStorage|sessionStorage|indexedDB|serviceWorker|caches\.open"
    rb"|http-equiv=[\"']?(?:set-cookie|accept-ch|critical-ch|delegate-ch)",
    re.IGNORECASE,
)
_RUN = ("text/html", "text/javascript", "application/javascript")
_ADDRESS = re.compile(r"""https?://[^\s"'<>\\]+|(?<=["'])/[^\s"'<>\\]+""")
_DOES = "does "
_ECHOES = 24  # strings of an answer that are played back
_FOLLOWED = 40  # addresses of an answer that are asked for
_TRACE_LENGTH = 24
_TRACES = 4


@dataclass(frozen=True, slots=True)
class Leak:
    """Two readers of one visit could be told apart."""

    stage: str
    channel: str
    request: str
    parts: tuple[str, ...]  # status, body, log, pieces, header NAME, kept NAME, sends NAME, or does ACT

    def plain(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return {
            "stage": self.stage,
            "channel": self.channel,
            "request": self.request,
            "parts": list(self.parts),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was tried and what was found."""

    cases: int
    leaks: tuple[Leak, ...]
    unsteady: tuple[str, ...]  # parts in which two twins differ although they were asked by the same reader
    planted: Mapping[str, bool] = field(default_factory=dict)  # planted leak → whether it was found

    @property
    def holds(self) -> bool:
        """Tell whether the promise held and every planted leak was found."""
        return not self.leaks and not self.unsteady and all(self.planted.values())

    def plain(self) -> dict[str, Any]:
        """Give the verdict as JSON values."""
        return {
            "proof": "no-identity",
            "holds": self.holds,
            "cases": self.cases,
            "leaks": [leak.plain() for leak in self.leaks],
            "unsteady": list(self.unsteady),
            "planted_found": f"{sum(self.planted.values())}/{len(self.planted)}",
            "planted_missed": [name for name, found in self.planted.items() if not found],
            "outcomes": {name: count or "as registered" for name, count in CARDINALITIES.items()},
        }

    def lines(self) -> Iterator[str]:
        """Yield the verdict as one line of JSON."""
        yield json.dumps(self.plain(), ensure_ascii=False)


def prove(
    make: MakeService, requests: Sequence[Request], folder: Path, *, plant: str | None = None, most: int = 10
) -> Verdict:
    """Try everything on twins of `make` that work below `folder`; stop after `most` leaks.

    `requests` are what a reader may ask, each without a user agent; `plant` puts a known leak around the
    service, which a sound proof then reports.
    """
    made = make if plant is None else planted(plant, make)
    run = _Run(made, requests, folder, most)
    return run.verdict()


def score(
    make: MakeService, requests: Sequence[Request], folder: Path, names: Iterable[str] = tuple(PLANTED)
) -> dict[str, bool]:
    """Plant each leak in turn and say whether it was found."""
    return {name: bool(prove(make, requests, folder, plant=name, most=1).leaks) for name in names}


class _Enough(Exception):
    """As many leaks as were asked for."""


class _Run:
    def __init__(self, make: MakeService, requests: Sequence[Request], folder: Path, most: int) -> None:
        self._make, self._requests, self._folder, self._most = make, requests, folder, most
        self._cases = 0
        self._leaks: list[Leak] = []
        self._sent: dict[str, Observation] = {}  # request name → its last answer
        self._lasting: dict[str, tuple[bytes, str]] = {}  # request name → what a browser keeps of its answer
        self._twins: tuple[Instance, Instance] | None = None

    def verdict(self) -> Verdict:
        try:
            if unsteady := self._control():
                return Verdict(self._cases, (), unsteady)
            stages = (self._sweep, self._echo, self._pairs, self._end, self._traces)
            # The first names the channel of a leak; the last are the soonest done, where one leak is enough.
            for stage in stages if self._most > 1 else reversed(stages):
                stage()
        except _Enough:
            pass
        finally:
            self._stop()
        return Verdict(self._cases, tuple(self._leaks), ())

    def _control(self) -> tuple[str, ...]:
        """Ask both twins alike: if they differ now, a difference later says nothing of readers."""
        found: set[str] = set()
        for request, kind in self._asked():
            found.update(self._compare(request, kind.senders[0], kind.senders[0]))
        # What is done beside is no matter of two twins: the stages refuse it, whoever asks.
        return tuple(sorted({part for part in found if not part.startswith(_DOES)} | set(self._kept_apart())))

    def _sweep(self) -> None:
        for request, kind in self._asked():
            if request.still or (request is not self._requests[0] and kind is not KINDS[0]):
                continue  # the stages that follow ask for these with many channels at once
            for channel in channels(kind, request.mute, request.auction):
                plain = kind.senders[0] | channel.plain
                for value in channel.values:
                    # Twice: the second time, the reader is one who returns.
                    self._expect("sweep", channel.name, request, plain, [kind.senders[0] | value] * 2)
                self._expect_kept("sweep", channel.name, request)

    def _echo(self) -> None:
        for kind in KINDS[:1]:
            reader = kind.senders[0]
            for request in self._requests:
                answer = self._sent.get(request.name)
                if answer is None:
                    continue
                for name, echo in _echoes(answer):
                    self._expect("echo", name, request, reader, [reader | echo])
                for followed in islice(_addresses(answer), _FOLLOWED):
                    everything = together(
                        channel.values[0] for channel in channels(kind) if channel.plain is PLAIN
                    )
                    for asked in (followed, *self._forms(followed)):
                        self._expect(
                            "follow", "an address that was answered", asked, reader, [reader | everything] * 2
                        )
                self._expect_kept("echo", "what the service sent", request)

    def _pairs(self) -> None:
        chance = random.Random(7)  # noqa: S311 - which pairs stand in which row is no secret
        for request, kind in self._asked():
            if request.still and kind is not KINDS[0]:
                continue
            free = [
                channel for channel in channels(kind, request.mute, request.auction) if channel.plain is PLAIN
            ]
            for row in _covering(len(free), chance):
                chosen = [channel for channel, present in zip(free, row, strict=True) if present]
                reader = together((kind.senders[0], *(chance.choice(channel.values) for channel in chosen)))
                self._expect("pairs", f"{len(chosen)} channels at once", request, kind.senders[0], [reader])
            self._expect_kept("pairs", "many channels at once", request)

    def _traces(self) -> None:
        chance = random.Random(11)  # noqa: S311 - the order of visits is no secret
        for trace in range(_TRACES):
            kind = chance.choice(KINDS)
            free = [channel for channel in channels(kind) if channel.plain is PLAIN]
            readers = [
                together(
                    (kind.senders[0], *(chance.choice(channel.values) for channel in chance.sample(free, 12)))
                )
                for _ in range(3)
            ]
            for _ in range(_TRACE_LENGTH):
                request, reader = chance.choice(self._requests), chance.choice(readers)
                self._expect("sequence", f"returning readers {trace}", request, kind.senders[0], [reader])
            self._expect_kept("sequence", f"returning readers {trace}", self._requests[0])

    def _end(self) -> None:
        """Stop both twins, and compare what they leave."""
        reader = KINDS[0].senders[0]
        everything = together(channel.values[0] for channel in channels(KINDS[0]) if channel.plain is PLAIN)
        for request in self._requests:
            if not request.auction:
                self._expect("end", "many channels at once", request, reader, [reader | everything])
        if self._twins is not None:
            twins = self._twins
            self._stop()
            if parts := _apart(*(twin.left() for twin in twins)):
                self._report(Leak("end", "what is left by a service that stopped", request.name, parts))

    def _asked(self) -> Iterator[tuple[Request, Kind]]:
        for request in self._requests:
            for kind in KINDS:
                yield request, kind

    def _expect(
        self, stage: str, channel: str, request: Request, plain: Sender, readers: Iterable[Sender]
    ) -> None:
        for reader in readers:
            parts = self._compare(request, plain, reader)
            answer = self._sent[request.name]
            if parts := (*parts, *_banned(request, answer), *self._kept_by_browsers(request, answer)):
                self._report(Leak(stage, channel, request.name, parts))
                return

    def _expect_kept(self, stage: str, channel: str, request: Request) -> None:
        if self._twins is not None and (parts := self._kept_apart()):
            self._report(Leak(stage, channel, request.name, parts))

    def _compare(self, request: Request, plain: Sender, reader: Sender) -> tuple[str, ...]:
        self._cases += 1
        if self._twins is None:
            self._twins = Instance(self._make, self._folder / "a"), Instance(self._make, self._folder / "b")
        first, second = self._twins
        told_nothing, told = first.send(request, plain), second.send(request, reader)
        self._sent[request.name] = told_nothing
        return (*told_nothing.differs(told), *(f"{_DOES}{act}" for act in told.acts))

    def _kept_apart(self) -> tuple[str, ...]:
        if self._twins is None:
            return ()
        return _apart(*(twin.kept() for twin in self._twins))

    def _kept_by_browsers(self, request: Request, answer: Observation) -> tuple[str, ...]:
        """Name an answer that browsers keep and that is another one at the next asking: it would number them."""
        if request.method != "GET" or not _lasts(answer):
            return ()
        left = answer.body, dict(answer.headers).get("Location", "")
        return (
            () if self._lasting.setdefault(request.name, left) == left else ("sends an own one to be kept",)
        )

    def _forms(self, request: Request) -> tuple[Request, ...]:
        """Send in the forms of a page that was answered."""
        answer = self._sent.get(request.name)
        return () if answer is None else tuple(islice(forms(request.path, answer.body), _FOLLOWED))

    def _report(self, leak: Leak) -> None:
        self._leaks.append(leak)
        self._lasting.clear()
        self._stop()  # what has leaked may lie in a cache: go on with fresh twins
        if len(self._leaks) >= self._most:
            raise _Enough

    def _stop(self) -> None:
        for twin in self._twins or ():
            twin.close()
        self._twins = None


def _apart(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[str, ...]:
    """Name what two twins keep otherwise."""
    return tuple(f"kept {name}" for name in sorted({*first, *second}) if first.get(name) != second.get(name))


def _banned(request: Request, answer: Observation) -> tuple[str, ...]:
    # Prebid calls with credentials, none of which reaches the service: elsewhere nobody has a reason to.
    banned = BANNED - CREDENTIALED if request.path.startswith(AUCTION) else BANNED
    found = {name.lower() for name, value in answer.headers if value != _KEY_ASKED} & banned
    varies = {
        field.strip().lower()
        for name, value in answer.headers
        if name.lower() == "vary"
        for field in value.split(",")
    }
    told = {name.lower(): value for name, value in answer.headers}
    if "report-" in told.get("content-security-policy", ""):
        found.add("report-uri")
    if told.get("content-type", "").startswith(_RUN) and (keeping := _KEEPING.search(answer.body)):
        found.add(keeping[0].decode())
    sent = sorted(f"sends {name}" for name in found | {f"vary: {field}" for field in varies - VARY})
    return tuple(sent)


def _echoes(answer: Observation) -> Iterator[tuple[str, Sender]]:
    """Play back each header and each string of an answer, wherever a browser or a script could put it."""
    returned: dict[str, Callable[[str], str]] = {
        "set-cookie": lambda value: value.partition(";")[0],
        "etag": str,
        "last-modified": str,
    }
    sent_as = {"set-cookie": "Cookie", "etag": "If-None-Match", "last-modified": "If-Modified-Since"}
    for name, value in answer.headers:
        low = name.lower()
        if low in ("content-type", "content-length"):
            continue
        yield f"answered header {name}", Sender({sent_as.get(low, name): returned.get(low, str)(value)})
    for text in islice(_strings(answer.body), _ECHOES):
        yield (
            "answered text",
            Sender(
                {
                    "Cookie": f"tid={text}",
                    "Authorization": f"Bearer {text}",
                    "If-None-Match": f'"{text}"',
                    "Referer": f"https://reader.example/?rid={text}",
                    "X-Request-Id": text,
                    "X-Session-Id": text,
                    "X-Forwarded-For": text,
                    "traceparent": text,
                },
                query=f"rid={text}",
                page_suffix=f"?rid={text}#{text}",
            ),
        )


def _lasts(answer: Observation) -> bool:
    """Say whether a browser may give this answer again without asking."""
    told = {name.lower(): value for name, value in answer.headers}
    control = told.get("cache-control", "")
    if "no-store" in control.lower():
        return False
    return bool(_LASTING.search(control)) or "expires" in told or answer.status.startswith(_PERMANENT)


def _addresses(answer: Observation) -> Iterator[Request]:
    """Ask for the addresses of the service's own that an answer holds, in JSON, HTML or a script."""
    body = html.unescape(answer.body.decode("utf-8", "replace").replace('\\"', '"').replace("\\/", "/"))
    for text in dict.fromkeys(_ADDRESS.findall(body)):
        try:
            parts = urlsplit(text)
        except ValueError:
            continue
        if parts.path.startswith("/") and not parts.path.startswith("//") and "{" not in parts.path:
            yield Request("GET", parts.path + (f"?{parts.query}" if parts.query else ""))
            if parts.path.startswith(EVENTS_PATH):  # may be loaded, beaconed to, or told of among others
                yield Request("POST", parts.path)
                told = {"Content-Type": "text/plain"}
                yield Request("POST", EVENTS_PATH.rstrip("/"), text.encode(), told)


def forms(path: str, body: bytes) -> Iterator[Request]:
    """Yield what a browser sends where each form of a page is sent in with its first button, to `path` if to none."""
    page = _Forms()
    page.feed(body.decode("utf-8", "replace"))
    for action, fields in page.found:
        told = {"Content-Type": "application/x-www-form-urlencoded"}
        yield Request("POST", urlsplit(action or path).path, urlencode(fields).encode(), told)


class _Forms(HTMLParser):
    """Collects the forms that are posted: (action, what they say)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "form" and told.get("method", "").lower() == "post":
            self.found.append((told.get("action", ""), {}))
        elif self.found and told.get("name") and (tag == "button" or told.get("type") == "hidden"):
            self.found[-1][1].setdefault(told["name"], told.get("value", ""))


def _strings(body: bytes) -> Iterator[str]:
    """Yield the distinct strings of a JSON body that fit a header and are long enough to identify."""
    try:
        found = _leaves(json.loads(body))
    except ValueError:
        return
    yield from dict.fromkeys(
        text for text in found if 6 <= len(text) <= 500 and text.isascii() and text.isprintable()
    )


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _leaves(item)


def _covering(count: int, chance: random.Random) -> Iterator[list[bool]]:
    """Yield rows in which every two columns take all four values of (present, absent) together."""
    wanted = {
        (left, right, a, b)
        for left in range(count)
        for right in range(left)
        for a in (False, True)
        for b in (False, True)
    }
    while wanted:
        row = [chance.random() < 0.5 for _ in range(count)]
        left_over = {pair for pair in wanted if (row[pair[0]], row[pair[1]]) != pair[2:]}
        if len(left_over) < len(wanted):
            wanted = left_over
            yield row
