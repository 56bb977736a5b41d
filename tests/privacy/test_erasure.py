"""Records sealed under a subject's key: bound to one leaf, opened by one key, and by none once it is gone."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from privacy.erasure import commitment, opening_key, seal, unseal
from privacy.errors import ErasureError

KEY, NONCE, RECORD = b"k" * 32, b"n" * 12, b'{"state":"ConsentGiven"}'


def expand(key: bytes, info: bytes) -> bytes:
    """RFC 5869 2.3 by hand, for one block."""
    mac = HMAC(key, SHA256())
    mac.update(info + b"\x01")
    return mac.finalize()


def test_the_keys_are_those_of_rfc_5869():
    assert opening_key(KEY) == expand(KEY, b"tactful subject commit")


def test_a_commitment_is_an_hmac_over_the_index_and_the_record():
    said = hmac.new(opening_key(KEY), (7).to_bytes(8, "big") + RECORD, hashlib.sha256).digest()
    assert commitment(opening_key(KEY), 7, RECORD) == said == seal(KEY, 7, RECORD, NONCE).commit


def test_a_record_opens_with_its_key_at_its_leaf_alone():
    sealed = seal(KEY, 7, RECORD, NONCE)
    assert unseal(KEY, 7, sealed.ciphertext) == RECORD
    assert sealed.digest == hashlib.sha256(sealed.ciphertext).digest()
    for key, index in ((b"x" * 32, 7), (KEY, 8)):
        with pytest.raises(ErasureError):
            unseal(key, index, sealed.ciphertext)


@pytest.mark.parametrize("at", [0, 11, 12, 20, -1])
def test_a_damaged_ciphertext_is_refused(at):
    damaged = bytearray(seal(KEY, 7, RECORD, NONCE).ciphertext)
    damaged[at] ^= 1
    with pytest.raises(ErasureError, match="leaf 7"):
        unseal(KEY, 7, bytes(damaged))


@pytest.mark.parametrize("size", [0, 5, 12, 20])
def test_a_ciphertext_that_was_cut_is_refused(size):
    with pytest.raises(ErasureError):
        unseal(KEY, 7, seal(KEY, 7, RECORD, NONCE).ciphertext[:size])


def test_the_opening_key_opens_no_record():
    sealed = seal(KEY, 7, RECORD, NONCE)
    with pytest.raises(ErasureError):
        unseal(opening_key(KEY), 7, sealed.ciphertext)


def test_two_leaves_of_one_record_do_not_link():
    one, two = seal(KEY, 7, RECORD, NONCE), seal(KEY, 8, RECORD, b"m" * 12)
    assert one.commit != two.commit and one.digest != two.digest


def test_a_short_key_is_refused():
    with pytest.raises(ErasureError, match="32"):
        opening_key(b"short")
