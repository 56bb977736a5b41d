"""A witness cosigns what continues what it cosigned before, and answers as C2SP tlog-witness says."""

from __future__ import annotations

import pytest

from privacy import merkle
from privacy.checkpoint import Checkpoint, Note, Signer, read_checkpoint, read_note, sign_note, verify_note
from privacy.errors import LogError
from privacy.log_policy import LogPolicy
from privacy.witness import add_checkpoint, origin_hash, read_cosignatures, write_request

ORIGIN = "ads.example/log"
NOW = 1_795_456_800
LOG = Signer.ed25519(ORIGIN, b"l" * 32)
WITNESS = Signer.ml_dsa_44("witness.example/w", b"w" * 32)
HASHES = [merkle.leaf_hash(b"%d" % number) for number in range(20)]
NODES = merkle.nodes_of(HASHES)


LOGS = LogPolicy((LOG.verifier,), {}, {})


class MemoryStore:
    def __init__(self) -> None:
        self.notes: dict[str, bytes] = {}
        self.beaten_by: bytes | None = None

    def held(self, origin: str) -> bytes | None:
        return self.notes.get(origin)

    def exchange(self, origin: str, held: bytes | None, note: bytes) -> bool:
        if self.beaten_by is not None:
            self.notes[origin], self.beaten_by = self.beaten_by, None
        if self.notes.get(origin) != held:
            return False
        self.notes[origin] = note
        return True

    def origins(self) -> list[str]:
        return list(self.notes)


def checkpoint(size: int, root: bytes | None = None, origin: str = ORIGIN, signer: Signer = LOG) -> Note:
    text = Checkpoint(origin, size, root or merkle.root(size, NODES)).text()
    return sign_note(text, [signer], NOW)


def proof(old: int, size: int) -> list[bytes]:
    return merkle.consistency_proof(old, size, NODES)


def ask(store, old, hashes, note, now=NOW):
    body = write_request(old, hashes, note)
    return add_checkpoint(body, LOGS, WITNESS, store, now)


@pytest.fixture
def store():
    held = MemoryStore()
    assert ask(held, 0, [], checkpoint(7)).status == 200
    return held


def test_a_witness_cosigns_a_first_checkpoint_and_one_that_continues_it(store):
    note = checkpoint(13)
    answer = ask(store, 7, proof(7, 13), note, NOW + 5)
    assert answer.status == 200
    lines = read_cosignatures(answer.body, note, WITNESS.verifier)
    both = verify_note(Note(note.text, (*note.signatures, *lines)), [LOG.verifier, WITNESS.verifier])
    assert both == {LOG.verifier: None, WITNESS.verifier: NOW + 5}
    kept = read_note(store.notes[ORIGIN])
    assert read_checkpoint(kept.text).size == 13
    assert set(verify_note(kept, [LOG.verifier, WITNESS.verifier])) == {LOG.verifier, WITNESS.verifier}


def test_the_same_checkpoint_is_cosigned_again(store):
    assert ask(store, 7, [], checkpoint(7)).status == 200


def test_a_stale_old_size_is_answered_with_the_one_that_is_held(store):
    for old in (0, 3, 8):
        answer = ask(store, old, proof(old, 13), checkpoint(13))
        assert (answer.status, answer.body, answer.media) == (409, b"7\n", "text/x.tlog.size")


def test_whoever_comes_second_in_a_race_is_told_so(store):
    store.beaten_by = checkpoint(9).encode()
    answer = ask(store, 7, proof(7, 13), checkpoint(13))
    assert (answer.status, answer.body) == (409, b"9\n")
    assert read_checkpoint(read_note(store.notes[ORIGIN]).text).size == 9


@pytest.mark.parametrize(
    ("status", "old", "hashes", "note"),
    {
        "wrong proof": (422, 7, proof(6, 13), checkpoint(13)),
        "no proof": (422, 7, [], checkpoint(13)),
        "another root": (422, 7, proof(7, 13), checkpoint(13, b"x" * 32)),
        "same size, another root": (422, 7, [], checkpoint(7, b"x" * 32)),
        "same size with a proof": (422, 7, proof(7, 13), checkpoint(7)),
        "unknown log": (404, 7, proof(7, 13), checkpoint(13, origin="other.example/log")),
        "stranger's signature": (
            403,
            7,
            proof(7, 13),
            checkpoint(13, signer=Signer.ed25519(ORIGIN, b"s" * 32)),
        ),
        "smaller than old": (400, 7, [], checkpoint(3)),
        "64 lines": (400, 7, [b"h" * 32] * 64, checkpoint(13)),
        "a hash of 31 bytes": (400, 7, [b"h" * 31], checkpoint(13)),
    }.values(),
)
def test_what_does_not_continue_the_log_is_refused_and_not_kept(store, status, old, hashes, note):
    before = dict(store.notes)
    assert ask(store, old, hashes, note).status == status
    assert store.notes == before


def test_a_signature_that_names_the_log_s_key_and_does_not_verify_is_403(store):
    note = checkpoint(13)
    line = note.signatures[0]
    forged = Note(note.text, (line._replace(signature=bytes(64)),))
    assert ask(store, 7, proof(7, 13), forged).status == 403


def test_a_first_checkpoint_takes_no_proof_and_an_empty_one_has_the_empty_root():
    assert ask(MemoryStore(), 0, [b"h" * 32], checkpoint(7)).status == 422
    assert ask(MemoryStore(), 0, [], checkpoint(0, b"x" * 32)).status == 422
    assert ask(MemoryStore(), 0, [], checkpoint(0, merkle.EMPTY_ROOT)).status == 200


@pytest.mark.parametrize(
    "body", [b"", b"old 7", b"old 07\n\n", b"old 0\n\nx", b"old -1\n\n", b"\xff\n\n", b"new 0\n\n"]
)
def test_a_malformed_request_is_400(body):
    assert add_checkpoint(body, LOGS, WITNESS, MemoryStore(), NOW).status == 400


def test_an_answer_without_the_witness_own_cosignature_is_refused(store):
    note = checkpoint(13)
    other = Signer.ml_dsa_44("witness.example/other", b"o" * 32).sign(note.text, NOW)
    for answer in (b"", b"\xff\n", other.line().encode()):
        with pytest.raises(LogError):
            read_cosignatures(answer, note, WITNESS.verifier)
    timeless = WITNESS.sign(note.text, 0)
    with pytest.raises(LogError, match="time"):
        read_cosignatures(timeless.line().encode(), note, WITNESS.verifier)


def test_a_log_is_served_under_the_hash_of_its_origin():
    assert origin_hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
