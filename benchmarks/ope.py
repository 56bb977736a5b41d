"""Off-policy estimates beside obp's, on the Open Bandit Dataset inside `obp==0.4.1` and on logs whose truth is known.

From the log of a uniform policy it is estimated what Bernoulli Thompson sampling got, which a second log tells. Of each
log 10,000 rows are there, with a few dozen clicks: the truth itself is known within its interval alone.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import types
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from engine.learn.offpolicy import Estimate, dr, snipw, switch_dr

Floats = NDArray[np.float64]
WHEEL = "obp-0.4.1-py3-none-any.whl"
CAMPAIGNS = ("all", "men", "women")
POSITIONS = 3
TAU = 10.0  # above it, switch-DR leaves a row to the model
SIMULATIONS = 100_000  # as obp draws what its policy does
LOGS, ROWS = 400, 4000  # with known truth
COVERED = (0.92, 0.98)  # of intervals for 95 of 100, over so many logs
ALIKE = 1e-9


@dataclass(frozen=True)
class Log:
    """What was shown, with which chance, and whether it was clicked."""

    item: NDArray[np.int64]
    position: NDArray[np.int64]
    click: Floats
    chance: Floats


def main(argv: Sequence[str]) -> int:
    """Print estimates beside obp's, and how often intervals hold the truth; return 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks ope", description=__doc__)
    parser.add_argument("--wheel", type=Path, help=f"{WHEEL}; without it, pip downloads it")
    parser.add_argument("--quick", action="store_true", help="fewer logs of known truth")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        wheel = asked.wheel or _download(root)
        with zipfile.ZipFile(wheel) as files:
            files.extractall(root)
        missed = _dataset(root / "obp")
    return int(_known(100 if asked.quick else LOGS) or missed)


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "obp==0.4.1", "-d", str(folder)]
    subprocess.run(command, check=True)
    return folder / WHEEL


def _dataset(root: Path) -> bool:
    theirs = _theirs(root)
    missed = False
    for campaign in CAMPAIGNS:
        log, truth = (
            _read(root / "dataset" / "obd" / policy / campaign / f"{campaign}.csv")
            for policy in ("random", "bts")
        )
        does = _thompson(root / "policy" / "conf" / "prior_bts.yaml", campaign)
        got = float(truth.click.mean())
        error = 1.96 * float(truth.click.std(ddof=1)) / len(truth.click) ** 0.5
        print(f"{campaign}: {int(log.click.sum())} clicks in the uniform log; truth {got:.5f} ± {error:.5f}")
        weight = does[log.item, log.position] / log.chance
        rates = _rates(log, does.shape[0])
        expected = rates[log.item, log.position]
        target = (does * rates).sum(axis=0)[log.position]
        ours: dict[str, Estimate] = {
            "SNIPW": snipw(log.click, weight),
            "DR": dr(log.click, weight, expected, target),
            "switch-DR": switch_dr(log.click, weight, expected, target, TAU),
        }
        for name, found in ours.items():
            other = theirs[name](log, does, rates)
            own, its = abs(found.value - got) / got, abs(other - got) / got
            missed |= own > its + ALIKE
            print(
                f"  {name:10} {found.value:.5f} [{found.low:.5f}, {found.high:.5f}] relative error {own:.3f}; "
                f"obp {other:.5f} {its:.3f}; effective rows {found.effective:,.0f}"
            )
    if missed:
        print("MISSED: an error above obp's")
    return missed


def _read(path: Path) -> Log:
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    position = np.array([int(row["position"]) for row in rows])
    return Log(
        np.array([int(row["item_id"]) for row in rows]),
        np.unique(position, return_inverse=True)[1].astype(np.int64),
        np.array([float(row["click"]) for row in rows]),
        np.array([float(row["propensity_score"]) for row in rows]),
    )


def _thompson(path: Path, campaign: str) -> Floats:
    """Return (items, positions) how often Bernoulli Thompson sampling with ZOZOTOWN's priors shows each."""
    prior: Any = yaml.safe_load(path.read_text("utf-8"))[campaign]
    alpha, beta = np.array(prior["alpha"], float), np.array(prior["beta"], float)
    draw = np.random.default_rng(12345)
    count = np.zeros((len(alpha), POSITIONS))
    for _ in range(SIMULATIONS // 1000):
        best = np.argsort(-draw.beta(alpha, beta, (1000, len(alpha))), axis=1)[:, :POSITIONS]
        for position in range(POSITIONS):
            count[:, position] += np.bincount(best[:, position], minlength=len(alpha))
    return count / count.sum(axis=0)


def _rates(log: Log, items: int) -> Floats:
    """Return (items, positions) click rates, drawn to the mean of all: there are few clicks."""
    mean, strength = log.click.mean(), 300.0
    shown, clicks = np.zeros((items, POSITIONS)), np.zeros((items, POSITIONS))
    np.add.at(shown, (log.item, log.position), 1)
    np.add.at(clicks, (log.item, log.position), log.click)
    rates: Floats = (clicks + strength * mean) / (shown + strength)
    return rates


def _theirs(root: Path) -> dict[str, Callable[[Log, Floats, Floats], float]]:
    """Load obp's estimators from its files, without the packages that its plots need."""
    for name, folder in (("obp", root), ("obp.ope", root / "ope")):
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    import obp.ope.estimators as estimators  # type: ignore[import-not-found]

    def ask(estimator: Any) -> Callable[[Log, Floats, Floats], float]:
        def value(log: Log, does: Floats, rates: Floats) -> float:
            rounds = len(log.click)
            more = {} if "IPW" in type(estimator).__name__ else {
                "estimated_rewards_by_reg_model": np.tile(rates, (rounds, 1, 1))
            }  # fmt: skip
            return float(
                estimator.estimate_policy_value(
                    reward=log.click, action=log.item, position=log.position, pscore=log.chance,
                    action_dist=np.tile(does, (rounds, 1, 1)), **more,
                )
            )  # fmt: skip

        return value

    return {
        "SNIPW": ask(estimators.SelfNormalizedInverseProbabilityWeighting()),
        "DR": ask(estimators.DoublyRobust()),
        "switch-DR": ask(estimators.SwitchDoublyRobust(tau=TAU)),
    }


def _known(logs: int) -> bool:
    """Estimate on logs of a world whose truth is known, and count how often intervals hold it."""
    rates = np.array([[0.02, 0.05, 0.10, 0.01], [0.08, 0.03, 0.02, 0.05]])  # (contexts, actions)
    did = np.array([[0.5, 0.3, 0.1, 0.1], [0.2, 0.3, 0.4, 0.1]])
    would = np.array([[0.1, 0.2, 0.6, 0.1], [0.7, 0.1, 0.1, 0.1]])
    truth = float((rates * would).sum(axis=1).mean())
    held = {"SNIPW": 0, "DR": 0, "switch-DR": 0}
    model = np.full(rates.shape, 0.045)
    for seed in range(logs):
        draw = np.random.default_rng(seed)
        x = draw.integers(0, 2, ROWS)
        a = (draw.random(ROWS)[:, None] > did[x].cumsum(axis=1)).sum(axis=1)
        r = (draw.random(ROWS) < rates[x, a]).astype(float)
        w, target = would[x, a] / did[x, a], (would[x] * model[x]).sum(axis=1)
        for name, found in (
            ("SNIPW", snipw(r, w)),
            ("DR", dr(r, w, model[x, a], target)),
            ("switch-DR", switch_dr(r, w, model[x, a], target, TAU)),
        ):
            held[name] += found.low <= truth <= found.high
    missed = False
    for name, many in held.items():
        share = many / logs
        missed |= not COVERED[0] <= share <= COVERED[1]
        print(f"known truth: the 95 % interval of {name:10} held it in {100 * share:.1f} of 100 logs")
    if missed:
        print(f"MISSED: intervals should hold the truth in {COVERED[0]:.0%} to {COVERED[1]:.0%} of the logs")
    return missed
