"""Bodies of HTTP answers, unpacked piece by piece: who sends one decides neither how much is kept, nor how fast."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from contexts.errors import FetchError

ACCEPTED = "gzip"  # for Accept-Encoding
_PIECE = 2**16  # bytes that are unpacked at a time
_MEMBER = b"\x1f\x8b"  # how a member of a gzip file begins


def unpacked(chunks: Iterable[bytes], encoding: str, most: int) -> Iterator[bytes]:
    """Yield what a body holds, of its Content-Encoding; neither packed nor unpacked may it have over `most` bytes.

    A gzip file may have several members (RFC 1952, 2.2); what follows the last one is left out, as browsers do. Yields
    at least once a chunk, if nothing, for a caller with a deadline. Raises FetchError with the reason "encoding" or
    "size".
    """
    encoding = encoding.strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise FetchError("encoding", f"expected gzip or no content encoding, got {encoding[:20]!r}")
    came = gave = 0
    for packed, piece in _gunzipped(chunks) if "gzip" in encoding else ((len(one), one) for one in chunks):
        came, gave = came + packed, gave + len(piece)
        if came > most or gave > most:
            raise FetchError("size", f"expected at most {most} bytes, got more")
        yield piece


def _gunzipped(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield how many packed bytes came, and pieces of what they unpack to."""
    member = zlib.decompressobj(wbits=31)
    rest, is_over = b"", False
    for chunk in chunks:
        yield len(chunk), b""
        rest = b"" if is_over else rest + chunk
        is_full = False  # what a member gave filled a piece: it may have more
        while rest or is_full:
            if member.eof:
                if len(rest) < len(_MEMBER):
                    break
                if not rest.startswith(_MEMBER):
                    rest, is_over = b"", True
                    break
                member = zlib.decompressobj(wbits=31)
            try:
                piece = member.decompress(rest, _PIECE)
            except zlib.error as error:
                raise FetchError("encoding", "expected gzip, got something else") from error
            yield 0, piece
            rest = member.unused_data if member.eof else member.unconsumed_tail
            is_full = len(piece) == _PIECE and not member.eof
