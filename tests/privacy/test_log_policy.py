"""Whose signatures a checkpoint needs, as a tlog-policy file says."""

from __future__ import annotations

import pytest

from privacy.checkpoint import Checkpoint, Signer, sign_note
from privacy.errors import LogError
from privacy.log_policy import read_policy

ORIGIN = "ads.example/log"
LOG = Signer.ed25519(ORIGIN, b"l" * 32)
LOG_PQ = Signer.ml_dsa_44(ORIGIN, b"c" * 32)
W1, W2, W3 = (Signer.ml_dsa_44(f"witness.example/{n}", bytes([n]) * 32) for n in (1, 2, 3))
LOGS = f"log {LOG.verifier.vkey()} https://ads.example/log\nlog {LOG_PQ.verifier.vkey()}\n"
WITNESSES = "".join(f"witness w{n} {w.verifier.vkey()}\n" for n, w in ((1, W1), (2, W2), (3, W3)))
GROUPS = "group two 2 w1 w2\ngroup all-of all two w3\n"
TEXT = Checkpoint(ORIGIN, 3, b"r" * 32).text()


def verifies(policy: str, *signers: Signer) -> bool:
    try:
        read_policy(policy).verify(sign_note(TEXT, signers, 1_795_456_800))
    except LogError:
        return False
    return True


def test_every_key_of_the_log_must_have_signed():
    policy = f"# ours\n\n{LOGS}quorum none\n"
    assert verifies(policy, LOG, LOG_PQ)
    assert not verifies(policy, LOG)
    assert not verifies(policy, LOG_PQ)
    assert not verifies(policy, W1)


@pytest.mark.parametrize(
    ("quorum", "enough", "short"),
    [
        ("w1", (W1,), (W2, W3)),
        ("two", (W1, W2), (W1, W3)),
        ("all-of", (W1, W2, W3), (W1, W2)),
    ],
)
def test_the_quorum_of_witnesses_must_have_cosigned(quorum, enough, short):
    policy = f"{LOGS}{WITNESSES}{GROUPS}quorum {quorum}\n"
    assert verifies(policy, LOG, LOG_PQ, *enough)
    assert not verifies(policy, LOG, LOG_PQ, *short)


def test_another_log_s_checkpoint_is_refused():
    other = Signer.ed25519("other.example/log", b"l" * 32)
    with pytest.raises(LogError, match="no log of this policy"):
        read_policy(f"log {other.verifier.vkey()}\nquorum none\n").verify(sign_note(TEXT, [LOG], 1))


def test_a_policy_reads_back_as_what_was_written():
    policy = read_policy(f"{LOGS}{WITNESSES}{GROUPS}quorum all-of\n")
    assert read_policy(policy.text()) == policy


@pytest.mark.parametrize(
    "policy",
    [
        "",
        LOGS,
        f"{LOGS}quorum none\nquorum none\n",
        f"{LOGS}{LOGS}quorum none\n",
        f"{LOGS}quorum w1\n",
        f"quorum w1\n{WITNESSES}",
        f"{WITNESSES}{WITNESSES}quorum w1\n",
        f"{WITNESSES}group g 4 w1 w2 w3\nquorum g\n",
        f"{WITNESSES}group g 0 w1\nquorum g\n",
        f"{WITNESSES}group g all\nquorum g\n",
        f"{WITNESSES}group g all w1 w1\nquorum g\n",
        f"{WITNESSES}group g all w1\ngroup h any w1 w2\nquorum h\n",
        f"{WITNESSES}group g all h\nquorum g\n",
        f"{WITNESSES}group w1 all w2\nquorum w1\n",
        f"witness none {W1.verifier.vkey()}\nquorum none\n",
        f"witness w1 {LOG.verifier.vkey()}\nquorum w1\n",
        "log ads.example/log+00000000+AAAA\nquorum none\n",
        "logs x\nquorum none\n",
    ],
)
def test_a_malformed_policy_is_refused(policy):
    with pytest.raises(LogError, match="policy"):
        read_policy(policy)
