"""Reads a consent log as it is published: from a folder, or over HTTP; and asks witnesses to cosign it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from contexts.errors import FetchError
from contexts.unpack import ACCEPTED, unpacked
from engine.log_files import CHECKPOINT, LogFiles
from privacy.checkpoint import MOST_NOTE_BYTES, Checkpoint, Note, Signature
from privacy.errors import LogError
from privacy.log_policy import LogPolicy, Witness
from privacy.tiles import ENTRIES, WIDTH, Tile, pack, unpack
from privacy.witness import read_cosignatures, write_request

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
WHOLE_S = 60.0  # for a whole answer: one that drips would keep a log from being looked at
_MOST_TILE_BYTES = WIDTH * 65_537


class FolderSource:
    """A log in a folder, such as a mirror of it."""

    def __init__(self, folder: Path) -> None:
        self._files = LogFiles(folder, folder)
        self._folder = folder

    def checkpoint(self) -> bytes | None:
        """Return the checkpoint, None where there is none."""
        return self._files.checkpoint()

    def of_year(self, year: int) -> FolderSource:
        """Return the shard that lies below, by its year."""
        return FolderSource(self._folder / f"{year:04}")

    def read_tile(self, tile: Tile) -> bytes:
        """Return a tile. Raises LogError where there is none."""
        return self._files.read_tile(tile)


class HttpSource:
    """A log at a URL prefix; `key` is an API key of the compliance scope, where it is for auditors only."""

    def __init__(
        self,
        prefix: str,
        key: str | None = None,
        client: httpx.Client | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        headers = {"Accept-Encoding": ACCEPTED} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._prefix = prefix.rstrip("/")
        self._monotonic = monotonic
        self._client = client or httpx.Client(timeout=TIMEOUT_S)
        self._client.headers.update(headers)

    def checkpoint(self) -> bytes | None:
        """Load the checkpoint; None where there is none. Raises LogError where that fails."""
        return self._get(CHECKPOINT, MOST_NOTE_BYTES)

    def of_year(self, year: int) -> HttpSource:
        """Return the shard that lies below, by its year."""
        return HttpSource(f"{self._prefix}/{year:04}", client=self._client, monotonic=self._monotonic)

    def read_tile(self, tile: Tile) -> bytes:
        """Load a tile, cut from the full one where that has taken its place. Raises LogError where that fails."""
        data = self._get(tile.path, _MOST_TILE_BYTES)
        if data is None and tile.width < WIDTH:
            data = self._get(tile.full.path, _MOST_TILE_BYTES)
            if data is not None:
                data = pack(unpack(data, tile.width)) if tile.level == ENTRIES else data[: tile.width * 32]
        if data is None:
            raise LogError(f"{tile.path}: missing")
        return data

    def _get(self, path: str, most: int) -> bytes | None:
        try:
            with self._client.stream("GET", f"{self._prefix}/{path}") as answer:
                if answer.status_code == 404:
                    return None
                if answer.status_code != 200:
                    raise LogError(f"{self._prefix}/{path}: answered {answer.status_code}")
                return _body(answer, f"{self._prefix}/{path}: ", most, self._monotonic)
        except httpx.HTTPError as error:
            raise LogError(f"{self._prefix}/{path}: {type(error).__name__}") from error


class Witnesses:
    """Asks the witnesses of a policy, one after another; one that is away costs its own cosignature only."""

    def __init__(
        self,
        policy: LogPolicy,
        client: httpx.Client | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._witnesses = [witness for witness in policy.witnesses.values() if witness.url]
        self._client = client or httpx.Client(timeout=TIMEOUT_S)
        self._seen: dict[tuple[str, str], int] = {}  # witness' name, log's → size that it cosigned last
        self._refused: set[tuple[str, str]] = set()  # witness' name, log's: it does not watch this log

    def __call__(
        self,
        note: Note,
        checkpoint: Checkpoint,
        proof_from: Callable[[int], Sequence[bytes]],
        before: Note | None = None,
    ) -> Sequence[Signature]:
        """Return the cosignatures that were given. Satisfies Witnessing."""
        lines: list[Signature] = []
        earlier = () if before is None else self.missing(before)
        for witness in self._unsigned(note):
            if witness.verifier.name in earlier:
                continue
            try:
                lines += self._ask(witness, note, checkpoint, proof_from)
            except (LogError, httpx.HTTPError) as error:
                told = str(error) if isinstance(error, LogError) else type(error).__name__
                log.warning("witness %s did not cosign: %s", witness.verifier.name, told)
        return lines

    def missing(self, note: Note) -> Sequence[str]:
        """Return the names of the witnesses that have not cosigned the note, and did not refuse its log."""
        origin = note.text.partition("\n")[0]
        names = (witness.verifier.name for witness in self._unsigned(note))
        return [name for name in names if (name, origin) not in self._refused]

    def _unsigned(self, note: Note) -> list[Witness]:
        signed = {(line.name, line.key_id) for line in note.signatures}
        return [one for one in self._witnesses if (one.verifier.name, one.verifier.key_id) not in signed]

    def _ask(
        self,
        witness: Witness,
        note: Note,
        checkpoint: Checkpoint,
        proof_from: Callable[[int], Sequence[bytes]],
    ) -> Sequence[Signature]:
        place = (witness.verifier.name, checkpoint.origin)
        for _ in range(2):  # a second time where it tells which size it holds
            old = self._seen.get(place, 0)
            body = write_request(old, proof_from(old), note)
            url = f"{(witness.url or '').rstrip('/')}/add-checkpoint"
            headers = {"Accept-Encoding": ACCEPTED}
            with self._client.stream("POST", url, content=body, headers=headers) as answer:
                data = _body(answer, "", MOST_NOTE_BYTES, self._monotonic)
            if answer.status_code == 200:
                self._seen[place] = checkpoint.size
                self._refused.discard(place)
                return read_cosignatures(data, note, witness.verifier)
            if answer.status_code != 409:
                if answer.status_code in (403, 404):
                    self._refused.add(place)
                break
            told = data.decode("ascii", "replace").strip()
            if not told.isascii() or not told.isdigit() or int(told) > checkpoint.size:
                raise LogError(f"holds {told[:20]!r} leaves, the log has {checkpoint.size}")
            self._seen[place] = int(told)
        raise LogError(f"answered {answer.status_code}")


def _body(answer: httpx.Response, where: str, most: int, monotonic: Callable[[], float]) -> bytes:
    """Return what is answered. Raises LogError, which begins with `where`, for more than `most` bytes or WHOLE_S."""
    data = bytearray()  # added to bytes, a megabyte that comes byte by byte would be copied a million times
    deadline = monotonic() + WHOLE_S
    try:
        for part in unpacked(answer.iter_raw(), answer.headers.get("content-encoding", ""), most):
            data += part
            if monotonic() > deadline:
                raise LogError(f"{where}was not done answering after {WHOLE_S:g} s")
    except FetchError as error:
        told = f"answered more than {most} bytes" if error.reason == "size" else str(error)
        raise LogError(f"{where}{told}") from error
    return bytes(data)
