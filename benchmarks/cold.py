"""A page that nobody has seen, from its text to its vector: `python -m benchmarks cold`.

The floor is the bare encoder: tokens and model alone, on the words that it reads. Beside it the same page
through `encode`, and with it drawn to the offer of a catalogue. Measured in turns, on one thread.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from contexts.encode import TOKENS, readable
from contexts.encoders import open_encoder
from engine.enrich import ANCHORS, offer

PAGE_WORDS = 500
RUNS = 200
MOST_RATIO = 1.5  # of the bare encoder's median
WORDS = (
    "the city council a new bridge over river that will carry trams cyclists and people on foot from old "
    "market to station engineers said work would begin in spring if money is found while shops fear noise"
).split()


def main(argv: Sequence[str] | None = None) -> int:
    """Print medians and p95 in ms; return 1 where the ratio to the bare encoder is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks cold", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("tactful-data/models"), help="exported models")
    options = parser.parse_args(argv)
    encoder = open_encoder(options.models)
    chance = np.random.default_rng(7)
    pages = [" ".join(chance.choice(WORDS, PAGE_WORDS)) for _ in range(RUNS)]
    rows = chance.normal(size=(20 * ANCHORS, encoder.dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    shown = offer(rows, [f"campaign-{row % (2 * ANCHORS)}" for row in range(len(rows))])

    steps: dict[str, Callable[[str], object]] = {
        "bare encoder": lambda page: encoder.runtime.embed(readable(page, TOKENS), TOKENS),
        "text to vector": lambda page: encoder.encode([page])[0],
        "text to focused vector": lambda page: shown.focus(encoder.encode([page])[0]),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for page in [*pages[:5], *pages]:  # the first five warm up
        for name, step in steps.items():
            started = time.perf_counter()
            step(page)
            times[name].append((time.perf_counter() - started) * 1e3)

    print(f"{platform.machine()} {platform.system()}, {encoder.id}, page of {PAGE_WORDS} words, {RUNS} runs")
    medians = {name: float(np.median(values[5:])) for name, values in times.items()}
    for name, values in times.items():
        print(
            f"{name:<24} median {medians[name]:6.2f} ms  p95 {np.percentile(values[5:], 95):6.2f} ms  "
            f"{medians[name] / medians['bare encoder']:.2f} x bare"
        )
    ratio = medians["text to focused vector"] / medians["bare encoder"]
    print(f"ratio {ratio:.2f}; at most {MOST_RATIO}: {'held' if ratio <= MOST_RATIO else 'MISSED'}")
    return 0 if ratio <= MOST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
