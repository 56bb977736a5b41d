"""Rights tokens: one form, one key, one publisher, thirteen months; everything else gives no right."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest

from privacy import jose
from privacy.errors import FieldError
from privacy.rights_token import LIFE, TYPE, Rights, RightsDesk, RightsError
from tests.world import NOW

ISS, SEED, SUB, ID = "https://ads.example", b"s" * 32, "reader-0123456789abcdef", "j" * 32
DESK = RightsDesk(ISS, SEED)
AT = int(NOW.timestamp())
CLAIMS = {
    "iss": ISS,
    "aud": "rights:planet",
    "sub": SUB,
    "jti": ID,
    "iat": AT,
    "nbf": AT,
    "exp": AT + int(LIFE.total_seconds()),
}


def signed(type_: str = TYPE, seed: bytes = SEED, **claims) -> str:
    told = {name: value for name, value in (CLAIMS | claims).items() if value is not ...}
    return jose.sign(jose.signing_key(seed), type_, told)


def test_a_token_speaks_for_its_reader_for_thirteen_months():
    token = DESK.mint("planet", SUB, id=ID, at=NOW)
    assert (
        DESK.read(token, NOW) == DESK.read(token, NOW + LIFE - timedelta(seconds=1)) == Rights("planet", SUB)
    )
    with pytest.raises(RightsError):
        DESK.read(token, NOW + LIFE)


def test_what_is_minted_is_what_is_read():
    assert DESK.read(signed(), NOW) == Rights("planet", SUB)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        signed(seed=b"x" * 32),
        signed("consent+jwt"),
        signed("JWT"),
        *(signed(**{name: ...}) for name in CLAIMS),
        signed(more=1),
        signed(iss="https://other.example"),
        *(
            signed(aud=aud)
            for aud in ("planet", "ctx:planet", "rights:", "rights:Planet", ["rights:planet"], 1)
        ),
        *(signed(sub=sub) for sub in ("short", "anna@example.org--------", 7, None)),
        signed(jti="short"),
        *(signed(exp=exp) for exp in (AT, AT + int(LIFE.total_seconds()) + 1, True, "soon", 1e12, -1)),
        *(signed(iat=iat) for iat in (AT + 3600, True, None)),
        signed(nbf=AT + 3600),
    ],
)
def test_any_other_token_gives_no_right(token):
    with pytest.raises(RightsError):
        DESK.read(token, NOW)


def test_every_flipped_bit_is_refused():
    token = DESK.mint("planet", SUB, id=ID, at=NOW)
    for at in range(len(token)):
        for other in ("A", "B"):
            damaged = token[:at] + other + token[at + 1 :]
            if damaged != token and _bytes(damaged) != _bytes(token):
                with pytest.raises(RightsError):
                    DESK.read(damaged, NOW)


def test_a_name_that_names_somebody_is_not_minted():
    with pytest.raises(FieldError, match="sub"):
        DESK.mint("planet", "anna@example.org", id=ID, at=NOW)


def test_the_refusal_says_nothing_of_the_token():
    with pytest.raises(RightsError) as refused:
        DESK.read(signed(sub="anna@example.org--------"), NOW)
    assert "anna" not in str(refused.value)


def _bytes(token: str) -> list[bytes]:
    def decoded(part: str) -> bytes:
        try:
            return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        except ValueError:
            return part.encode()

    return [decoded(part) for part in token.split(".")]


def test_the_header_holds_three_fields():
    head = _bytes(signed())[0]
    assert json.loads(head).keys() == {"alg", "typ", "kid"}
