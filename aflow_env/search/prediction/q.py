# SPDX-License-Identifier: Apache-2.0
"""Q_theta(s, a), the policy's prediction of the score after an edit: read it, train it, judge it.

The policy answers the value question with one digit d in 0..9, which stands for d/9. Q_theta is the expectation of d/9
under the policy, so unlike the likeliest digit it changes smoothly with the weights:

    Q_theta = sum_d p(d) * d / 9,   p = softmax(log-probabilities of the ten digits / temperature)

A training row of the question has a digit drawn from the realised score y: one of the two around 9 y, so that d/9 is y
on average. Its policy gradient is that of log p(d), the logarithmic score. The optimum is the distribution of the
realised digits, hence Q_theta = E[y].

Metrics compare with the best constant in hindsight, the mean of the realised scores, so an uninformed prediction has a
skill slightly below 0 on few samples. Undefined figures are NaN.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt

from aflow_env.config import AflowConfig
from aflow_env.screen import plural
from aflow_env.store.database import Reads

HIGHEST = 9
DIGITS = np.arange(10) / HIGHEST
"""The value of each answer, in [0, 1]."""
_CHOSEN = "parent IS NOT NULL AND payload IS NOT NULL AND session NOT LIKE 'train/%'"
_ROUNDS = (
    f"SELECT session, parent, score, payload FROM nodes WHERE {_CHOSEN} "
    f"AND step = (SELECT max(step) FROM nodes WHERE {_CHOSEN}) ORDER BY session, round"
)
"""The rounds in which Q may have decided. After a training they are those of the last validation."""


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


def worth_of_q(store: Reads, config: AflowConfig) -> str | None:
    """Return one line on how well Q ranked in the run, and how often it decided; None without predictions.

    Of a training only the last validation counts, because earlier ones had earlier weights.
    """
    rows = [(f"{session}#{parent}", score, json.loads(text)) for session, parent, score, text in store.read(_ROUNDS)]
    choices = [payload for _, _, payload in rows if "open" in payload]
    abstained = sum(payload.get("abstained", False) for payload in choices)
    decided = [payload for payload in choices if payload["w"] > 0]
    scored = [row for row in rows if "q" in row[2] and row[1] is not None]
    seen = [(parent, payload["q"], float(score)) for parent, score, payload in scored]
    if not abstained and not seen:
        return None
    rests = max((payload["evaluations"] for payload in choices if "evaluations" in payload), default=None)
    said = [config.q.kind, *([f"rests on {plural(rests, 'evaluation')}"] if rests is not None else [])]
    if seen:
        said.append(ranked(seen))
    if decided:
        said.append(
            f"changed {sum(payload.get('changed', False) for payload in decided)} of {plural(len(decided), 'decision')}"
        )
        gain = fmean(payload["q"] - payload["q_mean"] for payload in decided)
        said.append(f"chosen - mean predicted {gain:+.2f}")
    if abstained:
        few = f"with fewer than q.fewest={plural(config.q.fewest, 'evaluation')}; name earlier runs in q.runs"
        said.append(f"abstained in {abstained} of {plural(len(choices), 'round')} ({few})")
    return ", ".join(said)


def ranked(seen: Sequence[tuple[str, float, float]]) -> str:
    """Return the rank correlation of Q and score within nodes with two or more edits, from (parent, Q, score) each."""
    parents, q, scores = zip(*seen, strict=True)
    rho = within_parents(q, scores, parents)
    n = sum(parents.count(parent) > 1 for parent in parents)
    return f"Spearman within parents {'undefined' if math.isnan(rho) else f'{rho:.2f}'} (n={n})"
