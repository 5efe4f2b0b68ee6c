# SPDX-License-Identifier: Apache-2.0
"""Q_theta as numbers: the digit's expectation, the score that trains it, and how data sharpens it. Pure.

The policy answers the value question with one digit d in 0..9, which stands for d/9. Q_theta is the expectation of
that under its own distribution, so it moves smoothly with the weights, unlike the digit that it would say.

How much weight Q gets in a selection, w_t in [0, rl_weight]. Pure.

    constant   w_t = w
    linear     w_t = w * min(1, t / ramp)       t: training steps that ended; without a trainer, rounds that began
    skill      w_t = w * clip(skill, 0, 1)      skill = 1 - sum (dQ - dy)^2 / sum dy^2

`skill` is measured on expansions that have ended: Q as it steered, with n0 and everything that was realised by then,
against y, the score of the child that came, which nobody knew. They are those of the latest training steps and those of
the session itself. dQ and dy are the distances to the means of the session: which session is a good one is no choice
that a selection has, so a Q that only knows the level of the scores, its session's included, proves nothing. Below
`FEWEST` expansions, not counting one of each session for its mean, w_t = 0, so the search begins as stock AFlow. The
mean of y is the best constant in hindsight, which no predictor could have named: the proof is a hard one.

Q_theta, the policy's belief about a workflow's best child: scoring it, calibrating it, judging it. Pure.

The policy is asked for one digit. Its belief is the expectation over the ten digit tokens, not the digit it says:

    Q_theta = sum_d p(d) * d / 9,   p = softmax(log-probabilities of the ten digits / temperature)

What a search needs of this is search/belief.py (`expected_value`, `shrink`); here is what training needs, in batches.
Against realised scores y in [0, 1] a training row of the question is a digit and its reward, by a proper scoring rule:

    log          the digit is *drawn from y*: one of the two around 9 y, so that d/9 is y on average; its reward is 1,
                 its baseline 0. The policy gradient is that of log p(d), the logarithmic score, whose optimum is the
                 distribution of what comes, hence Q = E[y]. It is not small where the belief is sure and wrong
    quadratic    the digit is drawn from p, its reward 1 - (d/9 - y)^2 + (d/9 - Q)^2. The policy gradient *is* the
                 gradient of 1 - (Q - y)^2, whose optimum is Q = E[y]. It vanishes as p becomes sure, right or wrong

The second term of the quadratic reward gives back the variance of p. Without it (`answer_reward`) the optimum is to
say always the digit nearest to E[y], off by up to 1/18.

Honest limits: metrics compare with the best constant in hindsight, the mean of the very scores it is judged on, so a
skill slightly below 0 on few samples is what an uninformed belief gives. Undefined figures are NaN, never 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aflow_env.config import AflowConfig

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


FEWEST = 16
"""Expansions beyond the first of their session; fewer prove nothing."""
Proof = tuple[float, float]
"""(Q that steered, score of the child that came)."""


@dataclass(frozen=True)
class Progress:
    """What a session starts from: training steps that ended (None: no trainer), and their sessions' proofs."""

    steps: int | None = None
    proofs: tuple[tuple[Proof, ...], ...] = ()


BEGINNING = Progress()


def weight(config: AflowConfig, progress: Progress, rounds: int, proofs: Sequence[Proof] = ()) -> float:
    """w_t before an expansion; `rounds` of this session began before it, and `proofs` are those of this session."""
    match config.rl_weight_schedule:
        case "constant":
            return config.rl_weight
        case "linear":
            ended = rounds if progress.steps is None else progress.steps
            return config.rl_weight * min(1.0, ended / config.rl_weight_ramp)
        case "skill":
            return config.rl_weight * proved([*progress.proofs, proofs])


def proved(sessions: Sequence[Sequence[Proof]]) -> float:
    """The skill of these beliefs, clipped to [0, 1]; 0 where they are few or what came was the same in each session."""
    several = [np.array(proofs) for proofs in sessions if len(proofs) > 1]
    if sum(len(proofs) - 1 for proofs in several) < FEWEST:
        return 0.0
    q, came = np.concatenate([proofs - proofs.mean(axis=0) for proofs in several]).T
    varied = float((came**2).sum())
    return min(max(1.0 - float(((q - came) ** 2).sum()) / varied, 0.0), 1.0) if varied > 1e-15 else 0.0


Array = npt.NDArray[np.float64]
TEMPERATURES = np.exp(np.linspace(np.log(0.05), np.log(20.0), 121))


def answer_reward(digit: int, realised: float) -> float:
    """Quadratic score in [0, 1] of the digit that was said."""
    return float(1.0 - (digit_value(digit) - realised) ** 2)


def expectation_reward(digit: int, q: float, realised: float) -> float:
    """Reward in [0, 2] of a sampled digit; its policy gradient is that of the belief's own score, 1 - (q - realised)^2.

    `q` is the belief of the policy that drew the digit; over its draws the reward averages to that score.
    """
    return answer_reward(digit, realised) + float((digit_value(digit) - q) ** 2)


def realised_digit(realised: float, uniform: float) -> int:
    """The digit that came true: one of the two around 9 y, by a uniform draw in [0, 1), so that E[d / 9] = y."""
    return min(int(realised * HIGHEST + uniform), HIGHEST)


def fit_temperature(log_probs: npt.ArrayLike, realised: npt.ArrayLike) -> float:
    """The temperature in [0.05, 20] that minimises the Brier score of (N, 10) beliefs; 1.0 unless it is beaten.

    A grid in log temperature, then golden-section search between the neighbours of its best point. No randomness.
    Fit on one sample, judge on another: with few pairs it overfits like anything else.
    """
    logits, scores = np.asarray(log_probs, dtype=np.float64), np.asarray(realised, dtype=np.float64)
    if len(logits) == 0 or len(logits) != len(scores):
        raise ValueError(f"{len(logits)} beliefs and {len(scores)} realised scores; both need the same positive number")

    def loss(temperature: float) -> float:
        return brier_score(expected_value(logits, temperature), scores)

    losses = [loss(float(temperature)) for temperature in TEMPERATURES]
    best = int(np.argmin(losses))
    low, high = np.log(TEMPERATURES[max(best - 1, 0)]), np.log(TEMPERATURES[min(best + 1, len(losses) - 1)])
    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    for _ in range(40):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(float(np.exp(left))) <= loss(float(np.exp(right))):
            high = right
        else:
            low = left
    fitted = float(np.exp((low + high) / 2.0))
    return fitted if loss(fitted) < loss(1.0) - 1e-12 else 1.0


def calibration_error(q: npt.ArrayLike, realised: npt.ArrayLike, bins: int = 10) -> float:
    """Expected calibration error: |mean belief - mean realised| over equal-width bins of belief, weighted by count."""
    beliefs, scores = np.asarray(q, dtype=np.float64), np.asarray(realised, dtype=np.float64)
    bin_of = np.clip((beliefs * bins).astype(np.int64), 0, bins - 1)
    gaps = np.bincount(bin_of, weights=beliefs - scores, minlength=bins)
    return float(np.abs(gaps).sum() / len(beliefs))


def spearman(q: npt.ArrayLike, realised: npt.ArrayLike) -> float:
    """Spearman's rho with average ranks for ties; NaN when either side is constant."""
    first, second = (
        average_ranks(np.asarray(q, dtype=np.float64)),
        average_ranks(np.asarray(realised, dtype=np.float64)),
    )
    first, second = first - first.mean(), second - second.mean()
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / scale) if scale > 0 else float("nan")


def average_ranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2.0)[inverse], dtype=np.float64)


@dataclass(frozen=True)
class Calibration:
    """How good beliefs were. `skill` = 1 - brier / brier_constant: 1 perfect, 0 a constant, below 0 worse than one."""

    n: int
    brier: float
    brier_constant: float
    """Of the best constant belief in hindsight, the mean realised score: the scores' variance."""
    skill: float
    calibration_error: float
    rank_correlation: float


def calibration(q: npt.ArrayLike, realised: npt.ArrayLike) -> Calibration:
    """Judge beliefs against realised scores, both (N,) in [0, 1]. Raises ValueError on anything else."""
    beliefs, scores = np.asarray(q, dtype=np.float64), np.asarray(realised, dtype=np.float64)
    if beliefs.ndim != 1 or beliefs.shape != scores.shape or len(beliefs) == 0:
        raise ValueError(f"beliefs {beliefs.shape} and realised scores {scores.shape} must be equally long, not empty")
    if not (((beliefs >= 0) & (beliefs <= 1)).all() and ((scores >= 0) & (scores <= 1)).all()):
        raise ValueError("beliefs and realised scores must lie in [0, 1]")
    return Calibration(
        n=len(beliefs),
        brier=brier_score(beliefs, scores),
        brier_constant=brier_score(scores.mean(), scores),
        skill=skill(beliefs, scores),
        calibration_error=calibration_error(beliefs, scores),
        rank_correlation=spearman(beliefs, scores),
    )
