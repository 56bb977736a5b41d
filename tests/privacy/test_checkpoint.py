"""Signed notes and checkpoints, against the specification's own example and damage of every kind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.checkpoint import (
    Checkpoint,
    Signer,
    Verifier,
    read_checkpoint,
    read_note,
    read_signatures,
    sign_note,
    verify_note,
)
from privacy.errors import LogError

# The examples of C2SP signed-note and of Go's golang.org/x/mod/sumdb/note.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
NOW = 1_795_456_800
LOG = Signer.ed25519("ads.example/log", b"l" * 32)
LOG_COSIGNER = Signer.ml_dsa_44("ads.example/log", b"c" * 32)
CHECKPOINT = Checkpoint("ads.example/log", 5, bytes(range(32)))
SIGNED = sign_note(CHECKPOINT.text(), [LOG, LOG_COSIGNER], NOW).encode()
KEYS = (LOG.verifier, LOG_COSIGNER.verifier)


def test_the_specification_s_example_verifies():
    key = Verifier.parse(EXAMPLE_KEY)
    assert key.vkey() == EXAMPLE_KEY
    note = read_note(EXAMPLE_NOTE)
    assert verify_note(note, [key]) == {key: None}
    assert note.encode() == EXAMPLE_NOTE


def test_a_checkpoint_carries_the_log_s_signature_and_its_timed_cosignature():
    note = read_note(SIGNED)
    assert read_checkpoint(note.text) == CHECKPOINT
    assert verify_note(note, KEYS) == {LOG.verifier: None, LOG_COSIGNER.verifier: NOW}


def test_verifier_keys_read_back_as_what_was_written():
    for key in KEYS:
        assert Verifier.parse(key.vkey()) == key


def test_signatures_of_strangers_are_ignored_and_alone_are_none():
    stranger = Signer.ed25519("ads.example/log", b"s" * 32)
    both = sign_note(CHECKPOINT.text(), [stranger, LOG], NOW)
    assert verify_note(both, [LOG.verifier]) == {LOG.verifier: None}
    with pytest.raises(LogError, match="no signature of a key that is trusted"):
        verify_note(sign_note(CHECKPOINT.text(), [stranger], NOW), [LOG.verifier])


def test_a_cosignature_holds_for_its_cosigner_s_name_only():
    other = Signer.ml_dsa_44("witness.example/w", b"c" * 32)
    note = sign_note(CHECKPOINT.text(), [other], NOW)
    line = note.signatures[0]
    forged = Verifier("ads.example/log", 0x06, other.verifier.public)
    renamed = type(note)(note.text, (line._replace(name=forged.name, key_id=forged.key_id),))
    with pytest.raises(LogError, match="does not verify"):
        verify_note(renamed, [forged])


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(SIGNED) * 8 - 1))
def test_no_flipped_bit_passes(bit):
    flipped = bytearray(SIGNED)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(LogError):
        note = read_note(bytes(flipped))
        # A name or id that is changed makes a stranger's signature: both must have signed.
        if len(verify_note(note, KEYS)) < len(KEYS) or read_checkpoint(note.text) != CHECKPOINT:
            raise LogError("a signature is missing")


@pytest.mark.parametrize(
    "note",
    {
        "empty": b"",
        "no signature": b"text\n\n",
        "no blank line": "text\n— a AAAAAAA=\n".encode(),
        "no last newline": EXAMPLE_NOTE[:-1],
        "carriage return": EXAMPLE_NOTE.replace(b"\n", b"\r\n"),
        "tab in the text": b"\t" + EXAMPLE_NOTE,
        "no UTF-8": b"\xff" + EXAMPLE_NOTE,
        "hyphen for the dash": EXAMPLE_NOTE.replace("—".encode(), b"-"),
        "plus in the name": EXAMPLE_NOTE.replace(b"example.com/foo", b"example.com+foo"),
        "space in base64": EXAMPLE_NOTE.replace(b"Uw2Q", b"Uw 2Q"),
        "base64 in another spelling": EXAMPLE_NOTE.replace(b"aQM=", b"aQN="),
        "signature of nothing": "text\n\n— a AAAAAA==\n".encode(),
        "65 signatures": b"text\n\n" + EXAMPLE_NOTE.partition(b"\n\n")[2] * 65,
        "too long": b"x" * (1 << 20) + EXAMPLE_NOTE,
    }.items(),
    ids=lambda item: item[0],
)
def test_a_malformed_note_is_refused(note):
    with pytest.raises(LogError):
        read_note(note[1])


@pytest.mark.parametrize(
    "text",
    [
        "o\n1\n" + "A" * 43 + "=",
        "o\n01\n" + "A" * 43 + "=\n",
        "o\n-1\n" + "A" * 43 + "=\n",
        "o\n١\n" + "A" * 43 + "=\n",
        "o\n1\nAAAA\n",
        "\n1\n" + "A" * 43 + "=\n",
        "o\n1\n",
        "o\n1\n" + "A" * 43 + "=\n\n",
        "o\n99999999999999999999\n" + "A" * 43 + "=\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(text):
    with pytest.raises(LogError):
        read_checkpoint(text)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000+AAAA",
        EXAMPLE_KEY.replace("530d903a", "530d903b"),
        EXAMPLE_KEY.replace("+Aeky", "+Beky"),
        EXAMPLE_KEY[:-4],
        EXAMPLE_KEY.replace("example.com/foo", "a b"),
    ],
)
def test_a_malformed_verifier_key_is_refused(vkey):
    with pytest.raises(LogError):
        Verifier.parse(vkey)


def test_an_ed25519_cosignature_of_a_witness_verifies_and_holds_for_its_time():
    import struct

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    secret = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
    key = Verifier("witness.example/w1", 0x04, secret.public_key().public_bytes_raw())
    signature = secret.sign(f"cosignature/v1\ntime {NOW}\n{CHECKPOINT.text()}".encode())
    line = type(read_note(SIGNED).signatures[0])(key.name, key.key_id, struct.pack(">Q", NOW) + signature)
    note = type(read_note(SIGNED))(CHECKPOINT.text(), read_signatures(line.line()))
    assert verify_note(note, [key]) == {key: NOW}
    later = note.signatures[0]._replace(signature=struct.pack(">Q", NOW + 1) + signature)
    with pytest.raises(LogError):
        verify_note(type(note)(note.text, (later,)), [key])
