"""The ways in which a reader of the twins says something of consent, most of them as good as saying nothing.

The tokens are those of an issuer that the twins' publisher pinned, so that nothing but what is wrong with
them is wrong with them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from privacy import jose
from privacy.consent import PURPOSES
from privacy.consent_token import Issuer, Status

ISSUER = Issuer("https://consent.proof.example", b"\1" * 32)
STRANGER = Issuer("https://consent.proof.example", b"\2" * 32)
AGREED, WITHDREW = "a" * 22, "w" * 22  # what the publisher calls two of its readers
GENERATION = 7
USED_ID, USED_NONCE = "u" * 22, "0" * 32  # of a token that was used once before the twins were asked anything
RECORD = "3c3bd5f6-1d1d-4d0c-9a35-6f7f0f0d2b11"
COHORT = "viewed-pricing"

GOOD = ("good", "good with wrong signals")
LAWS = ("coppa", "minor")
VOID = (
    *("signals alone", "an address as signals", "forged", "foreign", "expired", "early", "unsigned"),
    *(
        "EdDSA",
        "HS256",
        "for another publisher",
        "for several",
        "a claim twice",
        "oversized",
        "no token at all",
    ),
    *("replayed", "withdrawn", "of nobody", "older", "without a nonce", "under an invalid TC string"),
)

_SIGNALS = {"cohorts": [COHORT], "journey_stage": "decision"}
_ADDRESS = {"cohorts": ["jane.doe@mail.example"], "id": {"type": "email", "value": "jane.doe@mail.example"}}


def said(way: str, publisher: str, at: datetime, number: int) -> Mapping[str, Any]:
    """Give the fields of a body by which a reader says it at a moment, in its request of this number."""
    law, _, rest = way.partition(" ")
    if law in LAWS:
        regs = {"coppa": 1} if law == "coppa" else {"minor": True}
        return {"regs": regs, **(said(rest, publisher, at, number) if rest != "nothing" else {})}
    if way == "signals alone":
        return {"signals": _SIGNALS}
    if way == "an address as signals":
        return {"signals": _ADDRESS}
    consent = {"token": _token(way, publisher, at, number), "nonce": f"{number:032x}"}
    if way == "replayed":
        consent["nonce"] = USED_NONCE
    if way == "without a nonce":
        del consent["nonce"]
    if way == "under an invalid TC string":
        consent["tcf"] = "CQ${TC_STRING}"
    return {"consent": consent, "signals": _ADDRESS if way == "good with wrong signals" else _SIGNALS}


def _token(way: str, publisher: str, at: datetime, number: int) -> str:
    def minted(issuer: Issuer = ISSUER, **more: Any) -> str:
        claims: dict[str, Any] = {
            "publisher": publisher,
            "subject": AGREED,
            "id": f"{number:032x}",
            "at": at,
            "generation": GENERATION,
            "purposes": PURPOSES,
            "notice": "0" * 64,
            "record": RECORD,
            "status": Status(7, "https://ads.example/v1/consents/status"),
        }
        return issuer.mint(**claims | more)

    good = minted()
    head, body, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    match way:
        case "forged":
            return f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
        case "foreign":
            return minted(STRANGER)
        case "expired":
            return minted(at=at - timedelta(hours=1))
        case "early":
            return minted(at=at + timedelta(minutes=5))
        case "unsigned":
            return f"{_part({'alg': 'none', 'typ': 'consent+jwt'})}.{body}."
        case "EdDSA" | "HS256":
            kid = jose.jwk(ISSUER.key)["kid"]
            return _signed(_part({"alg": way, "typ": "consent+jwt", "kid": kid}), body)
        case "for another publisher":
            return minted(publisher="elsewhere")
        case "for several":
            return _signed(head, _part(claims | {"aud": [claims["aud"]]}))
        case "a claim twice":
            twice = json.dumps(claims).replace('"gen"', '"gen": 1, "gen"', 1)
            return _signed(head, _part(twice))
        case "oversized":
            return _signed(head, _part(claims | {"rec": RECORD * 100}))
        case "no token at all":
            return "jane.doe@mail.example"
        case "replayed":
            return minted(id=USED_ID)
        case "withdrawn":
            return minted(subject=WITHDREW)
        case "of nobody":
            return minted(subject="n" * 22)
        case "older":
            return minted(generation=GENERATION - 1)
        case _:
            return good


def _part(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode("ascii")


def _signed(head: str, body: str) -> str:
    signature = ISSUER.key.private_key.sign(f"{head}.{body}".encode())  # type: ignore[union-attr]  # Ed25519's
    return f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode('ascii')}"
