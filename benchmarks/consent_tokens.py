"""Consent tokens, in microseconds: verified beside a bare joserfc decode, remembered, and the gate without one.

`python -m benchmarks consent_tokens`; floors: joserfc's decode of the same token, copying an empty dict.
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from benchmarks.gate import _body, _environ
from engine.web.wire import DecisionBody, claim_of
from privacy import jose
from privacy.consent import PURPOSES
from privacy.consent_token import Issuer, Status, Verifier, pin
from privacy.gate import enter, environ_constants, strip

RATIO = 1.3  # of a bare decode
CACHED_US = 5.0
GATE_US = 15.0
_NOW = datetime(2026, 11, 23, tzinfo=UTC)
_ISSUER = "https://ads.example"


def main(argv: list[str]) -> int:
    """Time each in turn, round by round; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks consent_tokens", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="interleaved rounds (default 60)")
    parser.add_argument("--tokens", type=int, default=100, help="tokens a round, no two alike (default 100)")
    options = parser.parse_args(argv)

    issuer = Issuer(_ISSUER, b"i" * 32)
    tokens = [_token(issuer, number) for number in range(options.tokens)]
    keys = KeySet([OKPKey.import_key(jose.jwk(issuer.key))])  # type: ignore[arg-type]  # a dict of strings is one
    pins = pin({_ISSUER: [jose.public_key(jose.jwk(issuer.key)["x"], "x")]})
    now = int(_NOW.timestamp())
    remembering = Verifier()
    constants, registered = environ_constants(_ISSUER), frozenset[str]().__contains__
    environs = [_environ(number) for number in range(options.tokens)]
    bodies = [_body(number) for number in range(options.tokens)]
    plain = DecisionBody("planet", (), None)  # type: ignore[arg-type]  # what is asked stands elsewhere

    def decode() -> None:
        for token in tokens:
            jwt.decode(token, keys, algorithms=[jose.ALGORITHM])

    def verify() -> None:
        verifier = Verifier()
        for token in tokens:
            verifier.verify(token, "planet", pins, now)

    def remember() -> None:
        for token in tokens:
            # As a request brings it: a new string, whose hash is not known yet.
            remembering.verify(token.encode().decode(), "planet", pins, now)

    def gate() -> None:
        for environ, body in zip(environs, bodies, strict=True):
            _, arrival = strip(environ, constants, registered)
            enter(arrival, "planet", **body)
            claim_of(plain)

    def floor() -> None:
        for _ in tokens:
            {}.copy()

    rows: dict[str, tuple[Callable[[], None], list[float]]] = {
        "empty dict copied": (floor, []),
        "joserfc decode": (decode, []),
        "verify": (verify, []),
        "verify, remembered": (remember, []),
        "gate without a token": (gate, []),
    }
    for run, _ in rows.values():
        run()
    gc.disable()
    for _ in range(options.rounds):
        for run, times in rows.values():
            started = time.thread_time()
            run()
            times.append((time.thread_time() - started) / options.tokens * 1e6)
    gc.enable()

    print(f"{platform.python_implementation()} {platform.python_version()} on {platform.machine()}")
    print(f"{'':22} {'median µs':>10} {'p99 µs':>10}   of CPU a token or request")
    for name, (_, times) in rows.items():
        print(f"{name:22} {statistics.median(times):10.2f} {statistics.quantiles(times, n=100)[98]:10.2f}")
    median = {name: statistics.median(times) for name, (_, times) in rows.items()}
    ratio = statistics.median(
        ours / theirs for ours, theirs in zip(rows["verify"][1], rows["joserfc decode"][1], strict=True)
    )
    bounds = (
        (f"verify at {ratio:.2f} of joserfc's decode, bound {RATIO}", ratio <= RATIO),
        (f"remembered, bound {CACHED_US:.0f} µs", median["verify, remembered"] <= CACHED_US),
        (f"gate without a token, bound {GATE_US:.0f} µs", median["gate without a token"] <= GATE_US),
    )
    for name, held in bounds:
        print(f"{name}: {'held' if held else 'missed'}")
    return 0 if all(held for _, held in bounds) else 1


def _token(issuer: Issuer, number: int) -> str:
    return issuer.mint(
        publisher="planet",
        subject=f"{number:032x}",
        id=f"{number:032x}",
        at=_NOW,
        generation=1,
        purposes=PURPOSES,
        notice="0" * 64,
        record="0b7e7dee-87b1-4a70-9d4f-3f6a5c1d2e3f",
        status=Status(7, f"{_ISSUER}/v1/consents/status"),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
