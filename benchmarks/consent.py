"""Consent on the way of a request, in microseconds: `python -m benchmarks consent`; each row beside its floor.

Strings are timed here, tokens and the gate after them by `consent_tokens`.
"""

from __future__ import annotations

import argparse
import base64
import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

from benchmarks import consent_tokens
from engine.prove.iab_write import random_consent, random_gpp, tc_string
from privacy import gpp, tcf
from privacy.consent import PURPOSES
from privacy.iab import restrict

_NOW = datetime(2026, 11, 23, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    """What is timed: `run` does one thing a call, of which it is given `each`; `bound` in µs, None for a floor."""

    name: str
    run: Callable[[str], object]
    each: Sequence[str]
    bound: float | None = None


def main(argv: list[str]) -> int:
    """Time every row in turn; 1 where one misses its bound."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks consent", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="interleaved rounds (default 40)")
    options = parser.parse_args(argv)

    rows = string_rows()
    times: list[list[float]] = [[] for _ in rows]
    for row in rows:
        for text in row.each:
            row.run(text)
    gc.disable()
    for _ in range(options.rounds):
        for row, taken in zip(rows, times, strict=True):
            texts = _fresh(row.each)
            started = time.thread_time()
            for text in texts:
                row.run(text)
            taken.append((time.thread_time() - started) / len(texts) * 1e6)
    gc.enable()

    print(f"{platform.python_implementation()} {platform.python_version()} on {platform.machine()}")
    print(f"{'':36} {'median µs':>10} {'p99 µs':>10} {'bound µs':>10}   of CPU a call")
    missed = 0
    for row, taken in zip(rows, times, strict=True):
        median, p99 = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
        missed += row.bound is not None and median > row.bound
        bound = "" if row.bound is None else f"{row.bound:.0f}"
        print(f"{row.name:36} {median:10.2f} {p99:10.2f} {bound:>10}")
    print("every bound held" if not missed else f"{missed} bounds missed")
    print()
    return max(1 if missed else 0, consent_tokens.main([]))


def string_rows() -> list[Row]:
    """Give the rows of consent strings: usual ones, long ones (above 500 characters), and GPP strings."""
    chance = Random(1)
    strings = [tc_string(random_consent(chance, _NOW)) for _ in range(400)]
    usual = [text for text in strings if len(text) <= 500][:100]
    long = [text for text in strings if len(text) > 500][:50]
    platforms = [random_gpp(chance, _NOW) for _ in range(100)]
    return [
        Row("TC floor: base64 of each segment", _base64, usual),
        Row("TC cold", tcf.read, usual, 300),
        Row(f"TC cold, {min(map(len, long))} to {max(map(len, long))} characters", tcf.read, long, 300),
        Row("TC warm", tcf.decode, usual, 5),
        Row("TC warm, long", tcf.decode, long, 5),
        Row("GPP cold", gpp.read, platforms, 300),
        Row("GPP warm", gpp.decode, platforms, 5),
        Row("what a warm TC string takes away", _restrict, usual),
    ]


def _fresh(texts: Sequence[str]) -> list[str]:
    """Copy texts as a request brings them: new objects, whose hashes are not known yet."""
    return [text.encode().decode() for text in texts]


def _base64(text: str) -> None:
    for segment in text.split("."):
        base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _restrict(text: str) -> None:
    restrict(PURPOSES, tcf=text, gpp=None, gpp_sid=None, gdpr=1, role="publisher", vendor_id=None, now=_NOW)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
