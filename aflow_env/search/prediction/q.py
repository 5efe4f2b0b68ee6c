# SPDX-License-Identifier: Apache-2.0
"""Q_theta(s, a), the policy's prediction of the score after an edit: read it, train it, judge it. Pure.

The policy answers the value question with one digit d in 0..9, which stands for d/9. Q_theta is the expectation of d/9
under the policy, so unlike the likeliest digit it changes smoothly with the weights:

    Q_theta = sum_d p(d) * d / 9,   p = softmax(log-probabilities of the ten digits / temperature)

A training row of the question has a digit drawn from the realised score y: one of the two around 9 y, so that d/9 is y
on average. Its policy gradient is that of log p(d), the logarithmic score. The optimum is the distribution of the
realised digits, hence Q_theta = E[y].

Metrics compare with the best constant in hindsight, the mean of the realised scores, so an uninformed prediction has a
skill slightly below 0 on few samples. Undefined figures are NaN.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

HIGHEST = 9
DIGITS = np.arange(10) / HIGHEST
"""The value of each answer, in [0, 1]."""


def expected_value(log_probs: npt.ArrayLike, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Return (...,) Q_theta in [0, 1] from (..., 10) log-probabilities of the digits, which need not be normalised.

    -inf is an impossible or unknown digit. Raises ValueError when all ten are -inf, and for a temperature <= 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; it must be positive")
    logits = np.asarray(log_probs, dtype=np.float64)
    if logits.shape[-1:] != (10,):
        raise ValueError(f"log_probs has shape {logits.shape}; the last axis must be the ten digits")
    highest = logits.max(axis=-1, keepdims=True)
    if not np.isfinite(highest).all():
        raise ValueError("log_probs has a row without a finite maximum; every row needs at least one possible digit")
    weights = np.exp((logits - highest) / temperature)
    return np.asarray((weights * DIGITS).sum(axis=-1) / weights.sum(axis=-1), dtype=np.float64)


def digit_expectation(log_probs: Sequence[float], temperature: float = 1.0) -> tuple[float, float]:
    """Return Q_theta in [0, 1] of one state, and the probability of a digit. Without any digit they are 1/2 and 0."""
    mass = math.fsum(math.exp(value) for value in log_probs)
    if mass <= 0.0:
        return 0.5, 0.0
    return float(expected_value(log_probs, temperature)), min(mass, 1.0)


def realised_digit(realised: float, uniform: float) -> int:
    """Return one of the two digits around 9 y, by a uniform draw from [0, 1), so that E[d / 9] = y."""
    return min(int(realised * HIGHEST + uniform), HIGHEST)


@dataclass(frozen=True)
class Calibration:
    """The quality of predictions. `skill` = 1 - brier / brier_constant: 1 perfect, 0 a constant, below 0 worse."""

    n: int
    brier: float
    brier_constant: float
    """Of the best constant in hindsight, the mean realised score. It is the variance of the scores."""
    skill: float
    calibration_error: float
    rank_correlation: float


def calibration(q: npt.ArrayLike, realised: npt.ArrayLike) -> Calibration:
    """Compare predictions with realised scores, both (N,) in [0, 1]. Raises ValueError for anything else."""
    said, scores = np.asarray(q, dtype=np.float64), np.asarray(realised, dtype=np.float64)
    if said.ndim != 1 or said.shape != scores.shape or len(said) == 0:
        raise ValueError(f"predictions {said.shape} and realised scores {scores.shape} must be equally long, not empty")
    if not (((said >= 0) & (said <= 1)).all() and ((scores >= 0) & (scores <= 1)).all()):
        raise ValueError("predictions and realised scores must lie in [0, 1]")
    brier, constant = float(np.mean((said - scores) ** 2)), float(np.var(scores))
    return Calibration(
        n=len(said),
        brier=brier,
        brier_constant=constant,
        skill=1.0 - brier / constant if constant > 1e-15 else math.nan,
        calibration_error=calibration_error(said, scores),
        rank_correlation=spearman(said, scores),
    )


def calibration_error(q: npt.ArrayLike, realised: npt.ArrayLike) -> float:
    """Return the expected calibration error: |mean Q - mean realised| over ten bins of Q, weighted by count."""
    said, scores = np.asarray(q, dtype=np.float64), np.asarray(realised, dtype=np.float64)
    gaps = np.bincount(np.clip((said * 10).astype(np.int64), 0, 9), weights=said - scores)
    return float(np.abs(gaps).sum() / len(said))


def spearman(q: npt.ArrayLike, realised: npt.ArrayLike) -> float:
    """Return Spearman's rho with average ranks for ties; NaN when either side is constant."""
    if np.ptp(q) < 1e-12 or np.ptp(realised) < 1e-12:
        return math.nan
    from scipy.stats import spearmanr  # takes a second to import, and only metrics need it

    return float(spearmanr(q, realised).statistic)


def within_parents(q: npt.ArrayLike, realised: npt.ArrayLike, parents: Sequence[str]) -> float:
    """Return Spearman's rho of Q and the realised scores within the edits of a workflow, pooled over workflows.

    The mean over its parent's edits is subtracted from each value. A parent with one edit is left out.
    """
    said, scores = np.asarray(q, dtype=np.float64), np.asarray(realised, dtype=np.float64)
    _, group, size = np.unique(np.asarray(parents), return_inverse=True, return_counts=True)
    kept = size[group] > 1
    if not kept.any():
        return math.nan
    said, scores = (np.round(each - (np.bincount(group, each) / size)[group], 12) for each in (said, scores))  # ties
    return spearman(said[kept], scores[kept])
