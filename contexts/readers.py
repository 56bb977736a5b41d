"""Linear readers of vectors: fitted in closed form, judged on each example as if it had not been seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_RIDGE = 8.0  # some thousand short examples in 384 dimensions: less fits their wording, not their sense


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """score = vector · weights + offset, a column a class."""

    weights: NDArray[np.float32]  # (dim, classes)
    offset: Floats  # (classes,)

    def scores(self, vector: NDArray[np.float32]) -> Floats:
        """Return (classes,) scores of a (dim,) vector."""
        return np.asarray(vector @ self.weights, dtype=np.float64) + self.offset


def fit(x: Floats, targets: Floats, weights: Floats) -> tuple[Reader, Floats]:
    """Fit a ridge regression of (n, classes) targets on (n, dim) vectors; rows weigh `weights` (n,).

    Returns the reader and its (n, classes) scores of each row when that row is left out:
    y_i - (y_i - ŷ_i) / (1 - h_i), with h the leverage (Hastie, Tibshirani, Friedman, The Elements of
    Statistical Learning, 7.10.1).
    """
    design = np.hstack([x, np.ones((len(x), 1))])
    penalty = np.full(design.shape[1], _RIDGE)
    penalty[-1] = 1e-6  # the offset is free
    weighted = design * weights[:, None]
    inverse = np.linalg.inv(weighted.T @ design + np.diag(penalty))
    solution = inverse @ (weighted.T @ targets)
    leverage = ((weighted @ inverse) * design).sum(axis=1)
    residual = (targets - design @ solution) / np.maximum(1.0 - leverage, 1e-3)[:, None]
    return Reader(solution[:-1].astype(np.float32), solution[-1]), targets - residual


def fit_temperature(scores: Floats, truth: NDArray[np.intp]) -> float:
    """Return the factor on (n, classes) scores under which softmax is likeliest to say the truth (n,)."""
    candidates = np.linspace(1.0, 60.0, 60)
    losses = [-np.mean(np.log(softmax(scores * c)[np.arange(len(truth)), truth] + 1e-9)) for c in candidates]
    return float(candidates[int(np.argmin(losses))])


def fit_threshold(scores: Floats, truth: Bools, beta: float) -> float:
    """Return the threshold on (n,) scores that serves best where recall counts `beta` times precision."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    f = (1 + beta**2) * hits / (beta**2 * truth.sum() + np.arange(1, len(order) + 1))
    ranked = scores[order]
    f[:-1][ranked[:-1] == ranked[1:]] = 0.0  # equal scores are said together
    return float(ranked[int(np.argmax(f))])


def fit_logistic(x: Floats, truth: Bools) -> tuple[float, float]:
    """Return slope and offset of the logistic curve through (n,) values; both kinds count alike."""
    y = truth.astype(float)
    weight = np.where(truth, 0.5 / max(truth.sum(), 1), 0.5 / max((~truth).sum(), 1)) * len(y)
    design = np.stack([x, np.ones_like(x)], axis=1)
    beta = np.zeros(2)
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -30, 30)))
        gradient = design.T @ (weight * (y - p)) - 1e-3 * beta
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + 1e-3 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        beta = beta + step
        if np.abs(step).max() < 1e-8:
            break
    return float(beta[0]), float(beta[1])


def softmax(scores: Floats) -> Floats:
    """Return scores as probabilities along the last axis."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
