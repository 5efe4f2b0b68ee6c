# SPDX-License-Identifier: Apache-2.0
"""Searches and trainings in figures: paired differences, t intervals, success rates."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from aflow_env.evaluation.results import wilson

DIGITS = 6
"""Digits to which a mean is rounded first, so that the order of a sum does not show in print."""
Row = Mapping[str, Any]
Arms = Mapping[str, Mapping[int, Row]]
"""Arm -> seed -> the search's row."""


def by_arm(rows: Iterable[Row]) -> Arms:
    """Return rows by arm and seed."""
    arms: dict[str, dict[int, Row]] = {}
    for row in rows:
        arms.setdefault(row["arm"], {})[row["seed"]] = row
    return arms


def interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """Return (mean, half of the 95 % t interval) of two or more values."""
    sample = np.asarray(values)
    half = t.ppf(0.975, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    return round(float(sample.mean()), DIGITS), round(float(half), DIGITS)


def plus_minus(values: Sequence[float] | NDArray[np.float64]) -> str:
    """Print a mean with half of its 95 % t interval."""
    return "{:+.3f}±{:.3f}".format(*interval(values))


def mean(arms: Arms, arm: str, key: str = "test") -> float:
    """Return the mean of a figure over an arm's searches."""
    return round(float(np.mean([row[key] for row in arms[arm].values()])), DIGITS)


def differences(arms: Arms, arm: str, to: str, key: str = "test") -> list[float]:
    """Return arm - to for the seeds that both have."""
    return [row[key] - arms[to][seed][key] for seed, row in sorted(arms[arm].items()) if seed in arms[to]]


def gain(arms: Arms, arm: str, to: str, key: str = "test") -> str:
    """Print the mean paired difference with half of its interval."""
    return plus_minus(differences(arms, arm, to, key))


def success(gains: Sequence[float], bar: float) -> tuple[int, str, str]:
    """Return the number of trainings that gain at least `bar`, their share's 95 % interval, and their mean gain."""
    good = [each for each in gains if each >= bar]
    mean_gain = plus_minus(good) if len(good) > 1 else "".join(f"{each:+.3f}" for each in good)
    return len(good), "{:.2f} to {:.2f}".format(*ci95(len(good) / len(gains), len(gains))), mean_gain


def ci95(share: float, n: int) -> tuple[float, float]:
    """Return Wilson's interval of a share of n."""
    centre, half = wilson(share, n)
    return centre - half, centre + half


def scored(score: float, n: int) -> str:
    """Print a score with Wilson's interval of n problems."""
    return "{:.3f} [{:.3f}, {:.3f}]".format(score, *ci95(score, n))
