"""The canonical form of a page's URL: what names the page stays, what can name its reader goes.

Query, fragment, userinfo, path parameters and default ports are cut, the host is lower-case ASCII (UTS 46),
and in the path e-mail addresses, long runs of digits and long random tokens give way to MASK.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from unicodedata import normalize
from urllib.parse import quote, unquote, unquote_to_bytes

import idna

from privacy.errors import FieldError

MASK = "*"
LONGEST_INPUT = 16_384  # characters, query included
LONGEST = 2_048  # characters of a canonical URL
FIELD = "page.url"
EXPECTED = "an absolute http or https URL"

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SAFE = "!$&'()*+,:=@"  # RFC 3986 pchar, without the unreserved that quote() keeps, and without ";"
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NESTED = re.compile(r"%(?:25)+")
_DEEPEST = 16  # passes through escapes within escapes: "%3%3%31" takes one for each two characters
_EMAIL = re.compile(r"[^\s@,:;()<>\[\]]{1,128}@[\w-]+(?:\.[\w-]+)*")
_KNOWN = re.compile(
    r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"  # a UUID
    r"|\+?\(?\d(?:[-. +()_]{0,2}\d){8,}"  # a telephone number
    r"|[0-9A-Fa-f]{16,}|\d{6,}"
)
_TOKEN = re.compile(r"[0-9A-Za-z_=-]{16,}")
# Where words do not break: random base64 does so at every third character, slugs and camel case seldom.
_BREAK = re.compile(r"[a-z][A-Z]|[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])")
_MASKS = re.compile(re.escape(MASK) + "{2,}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*", re.ASCII)
_BLANKS = "".join(map(chr, range(33)))
_IGNORED = re.compile(r"[\t\n\r]")
_PORT = re.compile(r"[0-9]{0,5}", re.ASCII)
# Where nothing is to be masked: words with a capital at most at their start and short numbers, none beside
# another, joined by single marks.
_WORD = r"(?:[a-z]{1,14}+|[A-Z][a-z]{0,14}+|[0-9]{1,5}+(?![-_.,][0-9]))"
_WORDS = rf"{_WORD}(?:[-_.,]{_WORD})*"
_CALM = re.compile(_WORDS)
# What is canonical as it stands, up to the last folder of words.
_PLAIN = re.compile(rf"https?://(?:(?![^./]{{64}})[a-z0-9]+(?:-+[a-z0-9]+)*\.)+[a-z]{{2,63}}/(?:{_WORDS}/)*+")
_VISIBLE = re.compile(r"[!-\[\]-~]*")  # ASCII without blanks, control characters and backslashes
# Without one of these, `_KNOWN` finds nothing: a quick look before a slow one.
_SUSPECT = re.compile(r"[\dA-Fa-f][\dA-Fa-f. +()_-]{5}")
_MARKED = re.compile(r"[A-Z0-9]")
_ENCODED = re.compile(r"(?:[!$&'()*+,:=@A-Za-z0-9._~-]|%[89A-F][0-9A-F])*")  # as quote() writes it
_IN_FULL = re.compile(r"[!$&'()*+,:=@A-Za-z0-9._~-]*")  # nothing to decode and nothing to quote


def canonical(url: str) -> str:
    """Give the canonical form of an http(s) URL, which is its own canonical form.

    Where it holds MASK, it names many pages. Raises FieldError, which never quotes the URL.
    """
    if len(url) > LONGEST_INPUT:
        raise FieldError(FIELD, f"{len(url)} characters", f"at most {LONGEST_INPUT}")
    named = url.partition("#")[0].partition("?")[0]
    if len(named) > LONGEST:
        raise FieldError(FIELD, f"{len(named)} characters without its query", f"at most {LONGEST}")
    if len(named) <= 253 and (plain := _PLAIN.match(named)):
        rest = named[plain.end() :]
        if not rest or _CALM.fullmatch(rest):
            return named
        if _VISIBLE.fullmatch(rest) and (segments := _plain_segments(rest)) is not None:
            return plain[0] + "/".join(segments)
    # As browsers read URLs (WHATWG, special schemes): spaces around and line ends within go, a backslash is a
    # slash, and "#" and "?" end the path.
    named = _IGNORED.sub("", named.strip(_BLANKS)).replace("\\", "/")
    scheme, slashes, authority, path = _parts(named)
    if scheme not in _DEFAULT_PORTS:
        raise FieldError(FIELD, "another scheme" if scheme else "no scheme", EXPECTED)
    host, port = _split_authority(authority) if slashes else ("", "")
    found = f"{scheme}://{_host(host)}{_port(port, _DEFAULT_PORTS[scheme])}{_path(path)}"
    if len(found) > LONGEST:
        raise FieldError(FIELD, f"{len(found)} characters in canonical form", f"at most {LONGEST}")
    return found


def _parts(url: str) -> tuple[str, bool, str, str]:
    scheme, colon, rest = url.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme):
        return "", False, "", ""
    authority, slash, path = rest.removeprefix("//").partition("/")
    return scheme.lower(), rest.startswith("//"), authority, slash + path


def _split_authority(authority: str) -> tuple[str, str]:
    place = authority.rpartition("@")[2]
    host, colon, port = place.rpartition(":")
    return (host, port) if colon and "]" not in port else (place, "")


def _port(port: str, default: int) -> str:
    if not port:
        return ""
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise FieldError(FIELD, "a malformed port", EXPECTED)
    return "" if int(port) == default else f":{int(port)}"


def _host(host: str) -> str:
    if not host:
        raise FieldError(FIELD, "no host", EXPECTED)
    if host.startswith("["):
        return f"[{_ipv6(host)}]"
    name = unquote(host, errors="replace").lower()
    try:
        labels = (
            (name if name.isascii() else idna.encode(name, uts46=True).decode()).removesuffix(".").split(".")
        )
    except UnicodeError:
        raise FieldError(FIELD, "a malformed host", EXPECTED) from None
    if sum(map(len, labels)) + len(labels) > 254 or not all(map(_LABEL.fullmatch, labels)):
        raise FieldError(FIELD, "a malformed host", EXPECTED)
    name = ".".join(labels)
    # A number is an address in full, or a short form (127.1, 0x7f000001) on which programs disagree.
    return _ipv4(name) if labels[-1][0].isdigit() else name


def _ipv4(host: str) -> str:
    try:
        return str(IPv4Address(host))
    except AddressValueError:
        raise FieldError(FIELD, "a malformed address", EXPECTED) from None


def _ipv6(host: str) -> str:
    try:
        if not host.endswith("]") or "%" in host:
            raise AddressValueError
        return IPv6Address(host[1:-1]).compressed
    except AddressValueError:
        raise FieldError(FIELD, "a malformed address", EXPECTED) from None


def _plain_segments(path: str) -> list[str] | None:
    """Give the segments of a path's end, None where one of them leads upwards."""
    segments = [_segment(raw.partition(";")[0]) for raw in path.split("/")]
    return None if "." in segments or ".." in segments else segments


def _path(path: str) -> str:
    if not path:
        return "/"
    segments: list[str] = []
    *folders, last = path[1:].split("/")
    for number, raw in enumerate((*folders, last)):
        segment = _segment(raw.partition(";")[0])
        is_last = number == len(folders)
        if segment == "..":
            del segments[-1:]
        elif segment != ".":
            segments.append(segment)
            continue
        if is_last:
            segments.append("")
    return "/" + "/".join(segments)


def _segment(raw: str) -> str:
    if _CALM.fullmatch(raw):
        return raw
    if _IN_FULL.fullmatch(raw):
        return _masked(raw)
    said = raw
    if "%" in raw:
        said = (
            unquote_to_bytes(raw).decode("utf-8", "surrogateescape")
            if raw.isascii()
            else unquote(raw, errors="surrogateescape")
        )
    meant = _decoded(said)
    if meant is None:
        return MASK
    masked = _masked(meant)
    if masked == meant and _ENCODED.fullmatch(raw):
        return raw
    try:
        return quote(said if masked == meant else masked, safe=_SAFE, errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise FieldError(FIELD, "characters that are no Unicode text", EXPECTED) from error


def _decoded(text: str) -> str | None:
    """Return what a text means; None where escapes hide escapes more often than any server writes them."""
    # %2540 and a full-width sign hide an @ as well as %40 does.
    for _ in range(_DEEPEST):
        if text.isascii() and "%" not in text:
            return text
        deeper = normalize(
            "NFKC", unquote(_NESTED.sub("%", text), errors="surrogateescape") if "%" in text else text
        )
        if deeper == text:
            return text
        text = deeper
    return None


def _masked(text: str) -> str:
    while True:
        masked = _TOKEN.sub(_mask_random, _mask_known(text))
        if MASK + MASK in masked:
            masked = _MASKS.sub(MASK, masked)
        if masked == text:
            return text
        text = masked


def _mask_known(text: str) -> str:
    if "@" in text:
        text = _EMAIL.sub(MASK, text)
    return _KNOWN.sub(MASK, text) if _SUSPECT.search(text) else text


def _mask_random(found: re.Match[str]) -> str:
    run = found[0]
    if not _MARKED.search(run, 1):
        return run
    return MASK if len(_BREAK.findall(run)) * 6 >= len(run) else run
