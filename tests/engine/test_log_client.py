"""A consent log is read over HTTP, and witnesses asked, whatever the other side answers."""

from __future__ import annotations

import gzip
import itertools
import logging
import tracemalloc
from collections.abc import Iterator

import httpx
import pytest

from engine.log_client import WHOLE_S, HttpSource, Witnesses
from privacy.checkpoint import MOST_NOTE_BYTES, Checkpoint, Signer, sign_note
from privacy.errors import LogError
from privacy.log_policy import LogPolicy, Witness

LOG = Signer.ed25519("ads.example/log", b"l" * 32)
WITNESS = Signer.ml_dsa_44("witness.example", b"w" * 32)
CHECKPOINT = Checkpoint("ads.example/log", 1, b"r" * 32)


class Drip(httpx.SyncByteStream):
    """An answer that never ends."""

    def __init__(self, part: bytes) -> None:
        self.part = part
        self.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.sent += 1
            yield self.part


def client(stream: Drip) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, stream=stream)))


def test_a_log_that_drips_is_not_waited_for():
    stream, seconds = Drip(b"x"), itertools.count(0, 9)
    source = HttpSource("https://ads.example/log", client=client(stream), monotonic=lambda: next(seconds))
    with pytest.raises(LogError, match="was not done answering"):
        source.checkpoint()
    assert stream.sent <= WHOLE_S / 9 + 1


def test_no_more_is_read_of_a_log_than_it_can_have():
    stream = Drip(b"x" * 65_536)
    with pytest.raises(LogError, match=f"more than {MOST_NOTE_BYTES} bytes"):
        HttpSource("https://ads.example/log", client=client(stream)).checkpoint()
    assert stream.sent == MOST_NOTE_BYTES // 65_536 + 1


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_a_bomb_is_not_unpacked(encoding):
    packed = gzip.compress(b"x" * (3 * MOST_NOTE_BYTES))
    headers = {"Content-Encoding": encoding}
    answer = httpx.Response(200, headers=headers, stream=httpx.ByteStream(packed))
    source = HttpSource(
        "https://ads.example/log",
        client=httpx.Client(transport=httpx.MockTransport(lambda request: answer)),
    )
    tracemalloc.start()
    with pytest.raises(LogError, match="more than|no content encoding"):
        source.checkpoint()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2.5 * MOST_NOTE_BYTES


@pytest.mark.parametrize(("part", "step_s"), [(b"x", 9), (b"x" * 65_536, 0)])
def test_a_witness_that_answers_without_end_costs_its_cosignature_only(caplog, part, step_s):
    stream, seconds = Drip(part), itertools.count(0, step_s)
    witness = Witness(WITNESS.verifier, "https://witness.example")
    policy = LogPolicy((LOG.verifier,), {"w": witness}, {}, "w")
    note = sign_note(CHECKPOINT.text(), [LOG], 0)
    with caplog.at_level(logging.WARNING):
        asked = Witnesses(policy, client(stream), lambda: next(seconds))
        assert asked(note, CHECKPOINT, lambda old: ()) == []
    assert "did not cosign" in caplog.text
    assert stream.sent <= 20
