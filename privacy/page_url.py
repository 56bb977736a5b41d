"""The canonical form of a page's URL: what names the page stays, what can name its reader goes.

Query, fragment, userinfo, path parameters and default ports are cut, the host is lower-case ASCII (UTS 46), and in
the path e-mail addresses, long runs of digits and long random tokens give way to MASK.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NoReturn
from unicodedata import normalize
from urllib.parse import quote, unquote, urlsplit

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
_EMAIL = re.compile(r"[^\s@/,:;()<>\[\]]+@[\w-]+(?:\.[\w-]+)*")
_PHONE = re.compile(r"\+?\(?\d(?:[-. +()_]{0,2}\d){8,}")
_DIGITS = re.compile(r"\d{6,}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_HEX = re.compile(r"[0-9A-Fa-f]{16,}")
_TOKEN = re.compile(r"[0-9A-Za-z_=-]{16,}")
# Where words do not break: random base64 does so at every third character, slugs and camel case at every eighth.
_BREAK = re.compile(r"[a-z][A-Z]|[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])")
_MASKS = re.compile(re.escape(MASK) + "{2,}")
# A path with neither an escape nor a parameter, an at sign, a dot segment, six digits or a long unbroken run.
_PLAIN = re.compile(r"(?!.*(?:@|\d{6}|/\.{1,2}(?:/|$)|\d[-. +()_]{1,2}\d))(?:/[!$&'()*+,:=~.A-Za-z0-9_-]*)+")


def canonical(url: str) -> str:
    """Give the canonical form of an http(s) URL; canonical(canonical(url)) is canonical(url).

    Where it holds MASK, it names many pages. Raises FieldError, which never quotes the URL.
    """
    if len(url) > LONGEST_INPUT:
        raise FieldError(FIELD, f"{len(url)} characters", f"at most {LONGEST_INPUT}")
    # As browsers read them (WHATWG URL, special schemes): a backslash is a slash, and "#" and "?" end the path.
    named = url.partition("#")[0].partition("?")[0].replace("\\", "/")
    try:
        parts = urlsplit(named)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError as error:
        raise FieldError(FIELD, "a malformed host or port", EXPECTED) from error
    if scheme not in _DEFAULT_PORTS:
        raise FieldError(FIELD, "another scheme" if scheme else "no scheme", EXPECTED)
    if not host:
        raise FieldError(FIELD, "no host", EXPECTED)
    place = _host(host) + ("" if port in (None, _DEFAULT_PORTS[scheme]) else f":{port}")
    found = f"{scheme}://{place}{_path(parts.path)}"
    if len(found) > LONGEST:
        raise FieldError(FIELD, f"{len(found)} characters without its query", f"at most {LONGEST}")
    return found


def _host(host: str) -> str:
    if "%" in host:
        host = unquote(host, errors="replace")
    host = host.lower()
    if ":" in host:
        try:
            return f"[{IPv6Address(host).compressed}]" if "%" not in host else _no_host()
        except AddressValueError:
            _no_host()
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode()
        except UnicodeError:
            _no_host()
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        _no_host()
    if labels[-1][
        0
    ].isdigit():  # a number: an address in full or one of the short forms that programs dispute
        try:
            return str(IPv4Address(".".join(labels)))
        except AddressValueError:
            _no_host()
    return ".".join(labels)


def _no_host() -> NoReturn:
    raise FieldError(FIELD, "a malformed host", EXPECTED) from None


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
    said = unquote(raw, errors="surrogateescape")
    meant = _decoded(said)
    masked = _masked(meant)
    try:
        return quote(said if masked == meant else masked, safe=_SAFE, errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise FieldError(FIELD, "characters that are no Unicode text", EXPECTED) from error


def _decoded(text: str) -> str:
    # %2540 and a full-width sign hide an @ as well as %40 does.
    while (deeper := normalize("NFKC", unquote(_NESTED.sub("%", text), errors="surrogateescape"))) != text:
        text = deeper
    return text


def _masked(text: str) -> str:
    while (masked := _MASKS.sub(MASK, _TOKEN.sub(_mask_random, _mask_known(text)))) != text:
        text = masked
    return text


def _mask_known(text: str) -> str:
    for pattern in (_EMAIL, _UUID, _PHONE, _DIGITS, _HEX):
        text = pattern.sub(MASK, text)
    return text


def _mask_random(found: re.Match[str]) -> str:
    run = found[0]
    return MASK if len(_BREAK.findall(run)) * 6 >= len(run) else run
