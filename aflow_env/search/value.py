# SPDX-License-Identifier: Apache-2.0
"""Q_theta as numbers: the digit's expectation, the score that trains it, and how data sharpens it. Pure.

The policy answers the value question with one digit d in 0..9, which stands for d/9. Q_theta is the expectation of
that under its own distribution, so it moves smoothly with the weights, unlike the digit that it would say.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

HIGHEST = 9
DIGITS = np.arange(10) / HIGHEST
"""What the ten answers mean, in [0, 1]."""


def digit_value(digit: int) -> float:
    """What a digit says, in [0, 1]."""
    return digit / HIGHEST


def expected_value(log_probs: npt.ArrayLike, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """(...,) Q_theta in [0, 1] from (..., 10) log-probabilities of the digits, which need not be normalised.

    -inf is a digit that is impossible or unknown. Raises ValueError where all ten are, and for a temperature <= 0.
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
    """(expectation in [0, 1], mass) of one state; `mass` is the probability of answering with a digit at all.

    Without any digit mass is 0 and the expectation 1/2: the policy said nothing, and the mean of ignorance is the
    middle.
    """
    mass = math.fsum(math.exp(value) for value in log_probs)
    if mass <= 0.0:
        return 0.5, 0.0
    return float(expected_value(log_probs, temperature)), min(mass, 1.0)


def quadratic_score(said: float, came: float) -> float:
    """1 - (said - came)^2, in [0, 1]: a proper scoring rule, highest on average where `said` is the mean of `came`."""
    return 1.0 - (said - came) ** 2


def brier_score(q: npt.ArrayLike, realised: npt.ArrayLike) -> float:
    """Mean squared error of the beliefs, in [0, 1]."""
    return float(np.mean((np.asarray(q, dtype=np.float64) - np.asarray(realised, dtype=np.float64)) ** 2))


def skill(q: npt.ArrayLike, realised: npt.ArrayLike) -> float:
    """1 - Brier score / that of the best constant in hindsight (the scores' variance); NaN where no score differs."""
    constant = float(np.var(np.asarray(realised, dtype=np.float64)))
    return 1.0 - brier_score(q, realised) / constant if constant > 1e-15 else float("nan")


def shrink(prior: float, realised: Sequence[float], strength: float) -> float:
    """Q = (n0 * Q_theta + sum of realised) / (n0 + n), n0 = `strength`; the prior where there is nothing else."""
    weight = strength + len(realised)
    return prior if weight == 0 else (strength * prior + math.fsum(realised)) / weight
