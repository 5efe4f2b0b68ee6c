# SPDX-License-Identifier: Apache-2.0
"""Searches compared seed by seed: means, differences, their intervals and p-values.

Intervals are 95 % percentile bootstraps over seeds with a fixed seed of their own; p-values come from a two-sided
sign-flip permutation test. Nothing is corrected for the number of comparisons.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, permutation_test

RESAMPLES = 9999
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
    """(mean, low, high)."""
    sample = np.asarray(values)
    if np.ptp(sample) == 0:
        return float(sample[0]), float(sample[0]), float(sample[0])
    found = bootstrap((sample,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    return float(sample.mean()), float(found.confidence_interval.low), float(found.confidence_interval.high)


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p-value of the mean difference under exchange within pairs."""

    def statistic(sample: NDArray[np.float64], axis: int) -> Any:
        return np.mean(sample, axis=axis)

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
    return float(np.mean([of(row) for row in arms[arm].values()]))


def scored(arms: Arms, arm: str) -> str:
    """Mean test score with its interval."""
    return "{:.3f} [{:.3f}, {:.3f}]".format(*mean_interval(values(arms, arm)))


def signed(found: Sequence[float]) -> str:
    """Mean and interval of differences."""
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*mean_interval(found))


def compared(arms: Arms, arm: str, to: str, of: Callable[[Row], float] = score_on_test) -> str:
    """The paired difference in words: mean, interval, p and n."""
    found = differences(arms, arm, to, of)
    return f"{signed(found)}, p {sign_flip(found):.4f}, n={len(found)}"


def best_after(row: Row, calls: int) -> float:
    """The best validate score that a search had paid for with at most so many executor calls, the start's included."""
    best = paid = 0.0
    for number, score, cost in sorted(row["path"]):
        paid += cost
        if number > 1 and paid > calls:
            break
        best = max(best, score)
    return best


def best_at(row: Row, number: int) -> float:
    """The best validate score among the nodes of the first rounds; the start is number 1."""
    return float(max(score for each, score, _ in row["path"] if each <= number))
