"""`tactful doctor`: looks at a page from outside, as a browser would, and says what to change in it.

It loads the page, the files of the tag that the page names, and asks the service for a test decision in the page's
name, which is not recorded. Nothing is run: a page that builds itself by script is seen as its server sends it.
"""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urljoin, urlsplit

import httpx

from contexts.errors import FetchError
from contexts.unpack import ACCEPTED, unpacked
from engine.errors import EngineError
from engine.publisher.tag import PATH, SCRIPT, STYLE, integrity, policy

TIMEOUT_S = 10.0
WHOLE_S = 60.0  # for a whole answer, however it drips
MOST_REDIRECTS = 10
MOST_BYTES = 5 * 1024 * 1024
SCRIPT_BYTES = 2500  # of the script as it travels
_TAG = re.compile(rf"(?P<base>.*){re.escape(PATH)}[^/]+/(?P<name>{re.escape(SCRIPT)}|{re.escape(STYLE)})$")
_COMMENT = re.compile(r"\s*(?:tactful|contextual_ad): (.*?)\s*", re.DOTALL)
_RULE = (
    r"contextual-ad(?:\[{name}=[\"']?{value}[\"']?\]|:where\(:not\(\[{name}\]\)\))?"
    r"\s*\{{[^}}]*\b{name}:\s*{value}px"
)
_PLACEMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}", re.ASCII)


class DoctorError(EngineError):
    """A page or service that cannot be reached."""


class Finding(NamedTuple):
    """What was looked at, whether it is right, and what to change where it is not; a note tells why nothing shows."""

    state: Literal["ok", "note", "change"]
    what: str
    remedy: str = ""


Standing = Literal["unknown", "foreign", "known"]  # of a publisher and an origin


class Got(NamedTuple):
    """An answer over HTTP; header names in lower case, values of one name joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client(Protocol):
    """Asks over HTTP."""

    def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Got:
        """Return the answer, after redirects. Raises DoctorError."""


Load = Callable[[str, str | None], Got]  # an address, and in which origin's name
Decides = Callable[[str, str], Iterator[Finding]]  # for a publisher, at a service


def http(method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Got:
    """Satisfies Client."""
    named = urlsplit(url).hostname or ""
    if named.endswith(".localhost"):  # RFC 6761 6.3: this machine, as browsers know and some resolvers do not
        headers = {**headers, "Host": urlsplit(url).netloc}
        url = url.replace(named, "127.0.0.1", 1)
    headers = {"User-Agent": "tactful-doctor", "Accept-Encoding": ACCEPTED, **headers}
    try:
        with httpx.Client(timeout=TIMEOUT_S) as client:
            request = client.build_request(method, url, headers=headers, content=body)
            # What a redirect has for a body is not read: httpx would, however long it is.
            for _ in range(MOST_REDIRECTS + 1):
                with closing(client.send(request, stream=True)) as answer:
                    if answer.next_request is None:
                        return _got(url, answer)
                    request = answer.next_request
        raise DoctorError(f"{url}: more than {MOST_REDIRECTS} redirects")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DoctorError(f"{url}: {type(error).__name__}; expected a page that can be reached") from error


def _got(url: str, answer: httpx.Response) -> Got:
    data = bytearray()
    deadline = time.monotonic() + WHOLE_S
    try:
        for part in unpacked(answer.iter_raw(), answer.headers.get("content-encoding", ""), MOST_BYTES):
            data += part
            if time.monotonic() > deadline:
                raise DoctorError(f"{url}: was not done answering after {WHOLE_S:g} s")
    except FetchError as error:
        raise DoctorError(f"{url}: {error}") from error
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Got(answer.status_code, headers, bytes(data))


class House(Protocol):
    """What a service knows of a page without being asked over HTTP."""

    def file(self, address: str) -> bytes | None:
        """Return a file of the tag that the service serves at an address; None: it serves none there."""

    def standing(self, publisher: str, origin: str) -> Standing:
        """Say whether pages of an origin may ask in a publisher's name."""


def examine(url: str, ask: Client = http) -> list[Finding]:
    """Look at a page from outside. Raises DoctorError where it, or a service that it names, cannot be reached."""
    _require_page(url)
    got = ask("GET", url, {})
    if got.status != 200:
        raise DoctorError(f"{url}: answered {got.status}, expected 200")

    def decision(publisher: str, base: str) -> Iterator[Finding]:
        yield from _decision(url, publisher, base, ask)

    def load(address: str, origin: str | None) -> Got:
        return ask("GET", address, {} if origin is None else {"Origin": origin})

    page = _Page(got.body.decode("utf-8", "replace"))
    findings = _looked_at(url, page, got.headers.get("content-security-policy", ""), load, decision)
    if page.slots:
        findings += _slots(url, ask)
    return findings


def examine_source(url: str, source: str, policy: str, house: House) -> list[Finding]:
    """Look at a page that is known by its source and Content-Security-Policy alone; nothing is asked over HTTP.

    Raises DoctorError where its URL is none.
    """
    _require_page(url)

    def decision(publisher: str, base: str) -> Iterator[Finding]:
        yield from _registered(url, publisher, house)

    def load(address: str, origin: str | None) -> Got:
        data = house.file(address)
        return Got(404, {}, b"") if data is None else Got(200, {}, data)

    return _looked_at(url, _Page(source), policy, load, decision)


def _require_page(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_page = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_page = False
    if not is_page:
        raise DoctorError(f"got {ascii(url[:80])}, expected the http or https URL of a page")


def _looked_at(url: str, page: _Page, policy: str, load: Load, decision: Decides) -> list[Finding]:
    findings = list(_own_words(page))
    if not page.elements and not page.slots and not findings:
        return [
            Finding(
                "change",
                "no advertisement",
                "Put <contextual-ad …> where one shall stand (`tactful tag` prints the lines), or include /v1/slot.",
            )
        ]
    if page.elements:
        findings += _tag(url, page, policy, load, decision)
    return findings


@dataclass
class _Element:
    """A tag of the page with its place in it."""

    at: int
    name: str
    values: dict[str, str]


@dataclass
class _Page(HTMLParser):
    """What of a page's HTML matters."""

    html: str
    elements: list[_Element] = field(default_factory=list)  # contextual-ad
    scripts: list[_Element] = field(default_factory=list)
    styles: list[tuple[int, str, _Element | None]] = field(default_factory=list)  # place, text, link
    slots: int = 0
    policies: list[str] = field(default_factory=list)  # of meta elements
    comments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._at, self._style = 0, False
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self._at += 1
        found = _Element(self._at, tag, {name: value or "" for name, value in attrs})
        self._style = tag == "style"
        match tag:
            case "contextual-ad":
                self.elements.append(found)
            case "script":
                self.scripts.append(found)
            case "link" if "stylesheet" in found.values.get("rel", "").lower().split():
                self.styles.append((self._at, "", found))
            case "meta" if found.values.get("http-equiv", "").lower() == "content-security-policy":
                self.policies.append(found.values.get("content", ""))
        if "tactful-slot" in found.values.get("class", "").split():
            self.slots += 1

    def handle_endtag(self, tag: str) -> None:
        """Note that a style is over."""
        self._style = self._style and tag != "style"

    def handle_data(self, data: str) -> None:
        """Note a style's text."""
        if self._style:
            self.styles.append((self._at, data, None))

    def handle_comment(self, data: str) -> None:
        """Note a comment."""
        self.comments.append(data)


def _own_words(page: _Page) -> Iterator[Finding]:
    """Yield what the service and the template tags wrote into the page instead of an advertisement."""
    for comment in page.comments:
        if found := _COMMENT.fullmatch(comment):
            yield Finding("change", f"an advertisement is missing: {found[1]}", "Mend what it says.")


def _tag(url: str, page: _Page, policy: str, load: Load, decision: Decides) -> Iterator[Finding]:
    script = next(
        (one for one in page.scripts if _TAG.match(_absolute(url, one.values.get("src", "")))), None
    )
    if script is None:
        yield Finding(
            "change",
            "the tag's script is missing",
            f"Add <script defer src=…{PATH}…/{SCRIPT}>: `tactful tag`.",
        )
        return
    source = _absolute(url, script.values["src"])
    found = _TAG.match(source)
    assert found is not None  # noqa: S101 - it was matched above
    base = script.values.get("data-server") or found["base"]
    yield from _file(source, script, load, script=True)
    styles = "".join(_css(url, page, script, load))
    yield from _order(page, script, styles)
    yield from _sizes(page, styles)
    yield from _policies([*policy.split(","), *page.policies], base, source, script)
    yield from decision(page.elements[0].values.get("publisher", ""), base)


def _file(source: str, element: _Element, load: Load, *, script: bool = False) -> Iterator[Finding]:
    """Yield whether a file of the tag is there, whole, small and checked."""
    got = load(source, "https://doctor.invalid")
    name = source.rpartition("/")[2]
    if got.status != 200:
        yield Finding(
            "change", f"{source} answers {got.status}", "Take the address that `tactful tag` prints."
        )
        return
    expected, stated = integrity(got.body), element.values.get("integrity", "")
    if expected not in stated.split():
        missing = (
            "has no integrity"
            if not stated
            else "has an integrity that is not the file's: no browser runs it"
        )
        yield Finding("change", f"{name} {missing}", f'Write integrity="{expected}".')
    elif "crossorigin" not in element.values:
        yield Finding(
            "change", f"{name} has an integrity that cannot be checked", "Add the attribute crossorigin."
        )
    else:
        yield Finding("ok", f"{name} is checked by its integrity")
    if script:
        size = len(gzip.compress(got.body, 9, mtime=0))
        if size > SCRIPT_BYTES:
            yield Finding(
                "change", f"{name} has {size} bytes compressed", f"Serve the file as it is: {SCRIPT_BYTES}."
            )
        else:
            yield Finding("ok", f"{name} has {size} bytes compressed")
        if "defer" not in element.values and element.values.get("type") != "module":
            yield Finding(
                "change",
                f"{name} is not deferred",
                "Add the attribute defer: the page is read when it is whole.",
            )


def _absolute(url: str, reference: str) -> str:
    """Resolve an address of the page; one that is none gives "", which nothing is found under."""
    try:
        return urljoin(url, reference)
    except ValueError:
        return ""


def _css(url: str, page: _Page, script: _Element, load: Load) -> Iterator[str]:
    """Yield the styles that stand before the script."""
    for at, text, link in page.styles:
        if at > script.at:
            continue
        if link is None:
            yield text
        elif address := _absolute(url, link.values.get("href", "")):
            got = load(address, None)
            yield got.body.decode("utf-8", "replace") if got.status == 200 else ""


def _order(page: _Page, script: _Element, styles: str) -> Iterator[Finding]:
    if "contextual-ad" in styles:
        yield Finding("ok", "the boxes are reserved before the script runs")
        return
    later = any(at > script.at and "contextual-ad" in (text or str(link)) for at, text, link in page.styles)
    what = (
        "the style that reserves the boxes stands behind the script"
        if later
        else "nothing reserves the boxes"
    )
    yield Finding(
        "change", f"{what}: the page shifts", f"Put the stylesheet {STYLE} before the script: `tactful tag`."
    )


def _sizes(page: _Page, styles: str) -> Iterator[Finding]:
    for element in page.elements:
        place = element.values.get("placement") or "ad"
        if not _PLACEMENT.fullmatch(place):
            yield Finding(
                "change",
                f"placement is {ascii(place[:70])}: its box stays empty",
                "Name it by 1 to 64 of a-z, A-Z, digits and _ . : - of which the last three do not begin it.",
            )
        for name, usual in (("width", "300"), ("height", "250")):
            value = element.values.get(name, usual)
            if not re.fullmatch(r"[1-9][0-9]{0,3}", value):
                yield Finding(
                    "change",
                    f"placement {place}: {name} is {ascii(value[:20])}",
                    "Write a whole number of CSS pixels.",
                )
            elif "contextual-ad" in styles and not re.search(_RULE.format(name=name, value=value), styles):
                rule = f'contextual-ad[{name}="{value}"]{{{name}:{value}px}}'
                yield Finding(
                    "change",
                    f"placement {place}: no style reserves its {name}",
                    f"Add to your styles: {rule}",
                )
            elif "contextual-ad" in styles:
                yield Finding("ok", f"placement {place}: {name} {value} is reserved")
    places = [
        (element.values.get("publisher"), element.values.get("placement") or "ad")
        for element in page.elements
    ]
    if len(set(places)) < len(places):
        yield Finding(
            "change", "two elements have one placement", "Give each its own: they are then decided together."
        )


def _policies(policies: list[str], base: str, source: str, script: _Element) -> Iterator[Finding]:
    """Hold what the page's policies let in against what the tag needs."""
    wanted = policy(base)
    for text in filter(str.strip, policies):
        rules = {words[0].lower(): words[1:] for rule in text.split(";") if (words := rule.split())}
        missing = []
        for directive, origin in wanted.items():
            allowed = rules.get(f"{directive}-elem", rules.get(directive, rules.get("default-src")))
            address = source if directive == "script-src" else f"{origin}/"
            if allowed is None or any(_lets(one, address) for one in allowed):
                continue
            if directive == "script-src" and _named(script, allowed):
                continue
            missing.append(f"{directive} {origin}")
        if missing:
            yield Finding("change", "the Content-Security-Policy keeps it out", f"Add: {'; '.join(missing)}")
        else:
            yield Finding("ok", "the Content-Security-Policy lets it in")
        types = rules.get("trusted-types")
        if (
            "require-trusted-types-for" in rules
            and types is not None
            and not {"contextual-ad", "*"} & set(types)
        ):
            yield Finding("change", "trusted types keep it out", "Add contextual-ad to trusted-types.")


def _named(script: _Element, allowed: list[str]) -> bool:
    """Say whether a policy names a script itself, by a nonce or its hash."""
    nonce = script.values.get("nonce")
    hashes = {f"'{one}'" for one in script.values.get("integrity", "").split()}
    return (nonce is not None and f"'nonce-{nonce}'" in allowed) or bool(hashes & set(allowed))


def _lets(source: str, address: str) -> bool:
    """Say whether a source expression (CSP Level 3, 6.7.2) matches an address; paths are not narrowed to."""
    to = urlsplit(address)
    if source == "*":
        return True
    if re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]*:", source):
        return to.scheme == source[:-1].lower() or (source.lower() == "http:" and to.scheme == "https")
    found = re.fullmatch(r"(?:([a-zA-Z]+)://)?((?:\*\.)?[^:/'*]+)(?::(\d+|\*))?(?:/.*)?", source)
    if found is None or to.hostname is None:
        return False
    scheme, host, port = found.groups()
    usual = {"http": "80", "https": "443"}.get(to.scheme, "")
    if scheme and scheme.lower() != to.scheme and (scheme.lower(), to.scheme) != ("http", "https"):
        return False
    if port != "*" and (port or usual) != str(to.port or usual):
        return False
    return to.hostname.endswith(host[1:].lower()) if host.startswith("*.") else to.hostname == host.lower()


def _registered(url: str, publisher: str, house: House) -> Iterator[Finding]:
    """Yield whether the service would answer the page; what a proxy between them does is not seen."""
    origin = _origin(url)
    match house.standing(publisher, origin):
        case "unknown":
            yield _unknown(publisher)
        case "foreign":
            yield _foreign(url)
        case "known":
            yield Finding("ok", f"the service lets pages of {origin} read decisions (CORS)")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def _unknown(publisher: str) -> Finding:
    what = f"publisher {ascii(publisher[:64])} is not known"
    return Finding("change", what, "Write the id that was registered.")


def _foreign(url: str) -> Finding:
    host = urlsplit(url).hostname or ""
    what = f"the service does not know {host} as the publisher's"
    return Finding("change", what, f"Register the domain {host}.")


def _decision(url: str, publisher: str, base: str, ask: Client) -> Iterator[Finding]:
    """Ask for a test decision as the page's script would."""
    origin = _origin(url)
    body = {
        "publisher": publisher,
        "placements": [{"id": "doctor"}],
        "page": {"url": f"{origin}{urlsplit(url).path or '/'}", "title": "An installation that is looked at"},
        "test": True,
    }
    headers = {"Origin": origin, "Content-Type": "text/plain;charset=UTF-8", "Sec-GPC": "1"}
    got = ask("POST", f"{base}/v1/decisions", headers, json.dumps(body).encode())
    match got.status:
        case 404 | 422 if "publisher" in _faulty(got):
            yield _unknown(publisher)
        case 403:
            yield _foreign(url)
        case 200 if got.headers.get("access-control-allow-origin") not in (origin, "*"):
            yield Finding(
                "change",
                "the browser may not read the answer (CORS)",
                "Let Access-Control-Allow-Origin through.",
            )
        case 200:
            yield Finding("ok", "the page may read decisions (CORS)")
            yield _heeded(got)
            if _is_empty(got):
                yield Finding(
                    "note",
                    "the test decision stays empty: boxes may, too",
                    "Look at /publisher and /manage: whether all is stopped, at blocks, floor and approvals.",
                )
        case _:
            what = f"a decision is answered {got.status} {_faulty(got)}".strip()
            yield Finding("change", what, "See the service's log.")


def _faulty(got: Got) -> str:
    try:
        told = json.loads(got.body)
        return ", ".join(str(error["field"]) for error in told.get("errors", ()))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _is_empty(got: Got) -> bool:
    """Say whether a decision found nothing to show, though it had the time."""
    try:
        told = json.loads(got.body)
        return bool(told["unfilled"]) and not told["degraded"]
    except (ValueError, KeyError, TypeError):
        return False


def _heeded(got: Got) -> Finding:
    try:
        honored = json.loads(got.body)["privacy"]["gpc"] == "honored"
    except (ValueError, KeyError, TypeError):
        honored = False
    if honored:
        return Finding("ok", "Global Privacy Control reaches the service")
    return Finding(
        "change",
        "Global Privacy Control does not reach the service",
        "Let the proxy before it pass Sec-GPC on.",
    )


def _slots(url: str, ask: Client) -> Iterator[Finding]:
    """Look whether pieces that the page's server includes heed a reader's GPC."""
    again = ask("GET", url, {"Sec-GPC": "1"}).body.decode("utf-8", "replace")
    pieces = re.findall(r'<div class="tactful-slot"[^>]*>', again)
    if pieces and all('data-gpc="honored"' in piece for piece in pieces):
        yield Finding("ok", "Global Privacy Control is passed on to /v1/slot")
    else:
        yield Finding(
            "change",
            "Global Privacy Control is not passed on to /v1/slot",
            "nginx: proxy_set_header Sec-GPC $http_sec_gpc; and no page with a piece may come from a shared cache.",
        )
