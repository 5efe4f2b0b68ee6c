# SPDX-License-Identifier: Apache-2.0
"""Searches compared seed by seed: means, differences, their intervals and p-values.

Intervals of scores are 95 % percentile bootstraps over seeds with a fixed seed of their own. Those of differences, many
of which are ties, and those over training runs, which are few, are Student's t. p-values come from a two-sided
sign-flip permutation test. Nothing is corrected for the number of comparisons.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, permutation_test, t

RESAMPLES = 9999
DIGITS = 6
"""What a printed figure is rounded to first: one sum in two orders is not to be printed in two ways."""
TIED = 12
"""Digits to which two means are compared."""
Row = Mapping[str, Any]
Arms = dict[str, dict[int, Row]]
"""Arm -> seed -> what that search found and cost."""


def by_arm(rows: Iterable[Row]) -> Arms:
    """The lines of guidance.jsonl by arm and seed."""
    arms: Arms = {}
    for row in rows:
        arms.setdefault(row["arm"], {})[row["seed"]] = row
    return arms


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(mean, low, high) of searches."""
    sample = np.asarray(values)
    if np.ptp(sample) == 0:
        return _rounded(sample[0], sample[0], sample[0])
    found = bootstrap((sample,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    return _rounded(sample.mean(), found.confidence_interval.low, found.confidence_interval.high)


def run_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(mean, low, high) of two or more differences or training runs, by Student's t."""
    sample = np.asarray(values)
    half = t.ppf(0.975, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    return _rounded(sample.mean(), sample.mean() - half, sample.mean() + half)


def _rounded(middle: float, low: float, high: float) -> tuple[float, float, float]:
    return round(float(middle), DIGITS), round(float(low), DIGITS), round(float(high), DIGITS)


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p-value of the mean difference under exchange within pairs; equal means tie, whatever their order."""

    def statistic(sample: NDArray[np.float64], axis: int) -> Any:
        return np.round(np.mean(sample, axis=axis), TIED)

    found = permutation_test(
        (np.asarray(differences),),
        statistic,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def score_on_test(row: Row) -> float:
    """What arms are compared by."""
    return float(row["test"])


def differences(arms: Arms, arm: str, to: str, of: Callable[[Row], float] = score_on_test) -> list[float]:
    """arm - to, of the seeds that both have."""
    return [of(row) - of(arms[to][seed]) for seed, row in sorted(arms[arm].items()) if seed in arms[to]]


def values(arms: Arms, arm: str, key: str = "test") -> list[float]:
    """A figure of all searches of an arm, by seed."""
    return [row[key] for _, row in sorted(arms[arm].items())]


def mean(arms: Arms, arm: str, of: Callable[[Row], float]) -> float:
    """The mean of a figure over an arm's searches."""
    return round(float(np.mean([of(row) for row in arms[arm].values()])), DIGITS)


def scored(arms: Arms, arm: str) -> str:
    """Mean test score with its interval."""
    return "{:.3f} [{:.3f}, {:.3f}]".format(*mean_interval(values(arms, arm)))


def signed(found: Sequence[float]) -> str:
    """Mean and interval of differences."""
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*run_interval(found))


def compared(arms: Arms, arm: str, to: str, of: Callable[[Row], float] = score_on_test) -> str:
    """The paired difference in words: mean, interval, p and n; that there is none, where no pair differs."""
    found = differences(arms, arm, to, of)
    if not np.any(np.round(found, TIED)):
        return f"the same score in all {len(found)} pairs"
    return f"{signed(found)}, p {sign_flip(found):.4f}, n={len(found)}"


def tied(found: Sequence[float]) -> float:
    """The share of differences that are none."""
    return float(np.mean(np.round(found, TIED) == 0))


def over_runs(gains: Sequence[float]) -> str:
    """The mean over training runs in words, and whether its interval leaves 0 in doubt."""
    middle, low, high = run_interval(gains)
    doubt = ": not settled" if low <= 0 <= high else ""
    return f"{middle:+.3f}, t interval [{low:+.3f}, {high:+.3f}], p {sign_flip(gains):.4f}, n={len(gains)} runs{doubt}"


def best_after(row: Row, calls: int) -> float:
    """The best validate score that a search had paid for with at most so many executor calls, the start's included."""
    best = paid = 0.0
    for number, score, cost in sorted(row["path"]):
        paid += cost
        if number > 1 and paid > calls:
            break
        best = max(best, score)
    return best
