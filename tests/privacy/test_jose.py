"""Compact JWS under Ed25519 alone: what is signed is read by others, and no more than that is read here."""

from __future__ import annotations

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from privacy import jose
from privacy.errors import FieldError

# RFC 8037, appendix A: the key of the examples and its thumbprint.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_the_key_of_rfc_8037_has_its_jwk_and_thumbprint() -> None:
    jwk = jose.jwk(jose.signing_key(SEED))
    assert (jwk["x"], jwk["kid"]) == (X, THUMBPRINT)
    assert jose.thumbprint(X) == OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": X}).thumbprint()
    assert "d" not in jwk


def test_a_signed_token_is_read_by_joserfc_and_here() -> None:
    key = jose.signing_key(SEED)
    text = jose.sign(key, "a+jwt", {"a": [1, "ü"]})
    assert jwt.decode(text, jose.public_key(X, "x"), algorithms=["Ed25519"]).claims == {"a": [1, "ü"]}
    assert jose.read(text, "a+jwt", lambda kid: key if kid == THUMBPRINT else None) == {"a": [1, "ü"]}


def test_a_token_of_another_type_is_refused() -> None:
    key = jose.signing_key(SEED)
    with pytest.raises(jose.FlawError) as caught:
        jose.read(jose.sign(key, "a+jwt", {}), "b+jwt", lambda kid: key)
    assert caught.value.flaw == "header"


@pytest.mark.parametrize("x", ["", "A", X[:-1], X + "A", X[:-1] + "=", X[:-1] + "p", "é" * 43])
def test_what_is_no_public_key_is_refused_by_field(x: str) -> None:
    with pytest.raises(FieldError) as caught:
        jose.public_key(x, "keys[0].x")
    assert caught.value.field == "keys[0].x"
