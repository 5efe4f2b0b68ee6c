# SPDX-License-Identifier: Apache-2.0
"""The statistics of a report: means with intervals over runs, paired effects, curves, calibration. Pure.

A run (one seed) is one draw. Means get Student's t interval; with one run there is none, and none is invented. Effects
compare runs of the same task and seed (a pair): the mean difference, its 95 % interval by a bootstrap over pairs, which
is rough below five pairs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev, stdev
from typing import Any

import numpy as np
from scipy.stats import t as student

from aflow_env.report.runs import Run
from aflow_env.report.tracking import beliefs

RESAMPLES = 10_000
UNSET = "(unset)"
SCORES = (0.0, 1.0)
"""Where scores lie."""


@dataclass(frozen=True)
class Mean:
    """A mean over `n` runs; `low` and `high` are None where one run says nothing of the spread."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Effect:
    """How much better a group is than the baseline over `n` pairs; the interval is None below two pairs."""

    group: str
    difference: float
    n: int
    low: float | None
    high: float | None
    relative: float | None

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Bin:
    """Beliefs within one tenth of [0, 1], and what came: means, and how many."""

    belief: float
    came: Mean


def mean(values: Sequence[float], within: tuple[float, float] = (-math.inf, math.inf)) -> Mean:
    """Mean and Student's 95 % interval, cut to where values can be at all. Raises ValueError without values."""
    if not values:
        raise ValueError("a mean of no runs")
    centre, n = fmean(values), len(values)
    if n == 1:
        return Mean(centre, 1)
    half = float(student.ppf(0.975, n - 1)) * stdev(values) / math.sqrt(n)
    return Mean(centre, n, max(within[0], centre - half), min(within[1], centre + half))


def grouped(runs: Sequence[Run], keys: Sequence[str]) -> dict[str, list[Run]]:
    """Label -> runs, in the order of the values (numbers as numbers). A key that a run lacks is "(unset)"."""
    found: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        values = tuple(_plain(run.config.get(key, UNSET)) for key in keys)
        found.setdefault(values, []).append(run)
    ordered = sorted(found, key=lambda values: [(isinstance(v, str), v) for v in values])
    label = {values: ", ".join(f"{k}={_text(v)}" for k, v in zip(keys, values, strict=True)) for values in ordered}
    return {label[values]: found[values] for values in ordered}


def result(run: Run, measure: str) -> float | None:
    """`test` or `best` (on validate problems): the score of the run's best workflow; None where it was not scored.

    A run without a closing report has no test score; its best validate score is that of its best node.
    """
    said = run.closing.get(measure) if run.closing else None
    if said:
        return float(said["score"])
    scores = [each.score for each in run.rounds if each.score is not None and each.validated]
    return max(scores, default=None) if measure == "best" else None


def measure_of(runs: Sequence[Run]) -> str:
    """`test` when every run has a test score, else `best`: groups are compared by one measure."""
    return "test" if runs and all(result(run, "test") is not None for run in runs) else "best"


def effects(groups: Mapping[str, Sequence[Run]], baseline: str, measure: str) -> list[Effect]:
    """Each other group against the baseline."""
    base = _by_pair(groups[baseline], measure)
    found = []
    for label, runs in groups.items():
        other = _by_pair(runs, measure)
        pairs = sorted(base.keys() & other.keys())
        if label == baseline or not pairs:
            continue
        found.append(_effect(label, [base[pair] for pair in pairs], [other[pair] for pair in pairs]))
    return found


def best_so_far(run: Run) -> list[float]:
    """The best validate score after each expansion of a search; the first entry is the start workflow."""
    curve: list[float] = []
    for each in sorted((each for each in run.rounds if each.validated and each.step == 0), key=lambda each: each.round):
        before = curve[-1] if curve else 0.0
        curve.append(max(before, each.score if each.score is not None else before))
    return curve


def best_by_step(run: Run) -> list[tuple[int, float]]:
    """(step, mean over its sessions of the session's best score), for a training run.

    Validation sessions where several steps have some, else training sessions, whose problems change from step to step.
    """
    if run.curve:
        return list(run.curve)
    rounds = [each for each in run.rounds if each.score is not None]
    validated = [each for each in rounds if each.validated]
    several = len({each.step for each in validated}) > 1
    chosen = validated if several else [each for each in rounds if not each.validated] or rounds
    sessions: dict[tuple[int, str], float] = {}
    for each in chosen:
        key = (each.step, each.session)
        sessions[key] = max(sessions.get(key, 0.0), each.score or 0.0)
    steps = sorted({step for step, _ in sessions})
    return [(step, fmean(score for (at, _), score in sessions.items() if at == step)) for step in steps]


def band(curves: Sequence[Sequence[float]]) -> list[Mean]:
    """Curves to means, as far as the longest goes: a search that ended early keeps its best."""
    length = max(map(len, curves), default=0)
    padded = [[*curve, *[curve[-1]] * (length - len(curve))] for curve in curves if curve]
    return [mean(values, SCORES) for values in zip(*padded, strict=True)]


def calibration(runs: Sequence[Run], bins: int = 10) -> list[Bin]:
    """What the policy believed of a workflow's best child, and what the best child scored, in tenths of belief."""
    pairs = [pair for run in runs for pair in beliefs(run)]
    found = []
    for place in range(bins):
        inside = [pair for pair in pairs if min(int(pair[0] * bins), bins - 1) == place]
        if inside:
            found.append(Bin(fmean(belief for belief, _ in inside), mean([came for _, came in inside], SCORES)))
    return found


def belief_spread(runs: Sequence[Run]) -> tuple[float, float] | None:
    """Standard deviations of the beliefs, and of what came, between the expansions of one run: means over the runs that
    have two or more; None where there are none. Beliefs without a spread cannot choose between workflows."""
    found = [pairs for run in runs if len(pairs := beliefs(run)) > 1]
    if not found:
        return None
    return fmean(pstdev([q for q, _ in pairs]) for pairs in found), fmean(
        pstdev([y for _, y in pairs]) for pairs in found
    )


def outcome_shares(runs: Sequence[Run]) -> dict[str, float]:
    """Share of each outcome among all problem runs, and their number as "n"."""
    total: dict[str, int] = {}
    for run in runs:
        for each in run.rounds:
            for name, count in each.outcomes.items():
                total[name] = total.get(name, 0) + count
    n = sum(total.values())
    return {name: count / n for name, count in sorted(total.items())} | {"n": float(n)} if n else {}


def _effect(label: str, base: Sequence[float], other: Sequence[float]) -> Effect:
    differences = np.subtract(other, base)
    difference, centre = float(differences.mean()), fmean(base)
    low = high = None
    if len(differences) > 1:
        draws = np.random.default_rng(0).choice(differences, (RESAMPLES, len(differences))).mean(axis=1)
        low, high = (float(edge) for edge in np.quantile(draws, (0.025, 0.975)))
    return Effect(label, difference, len(differences), low, high, difference / centre if centre else None)


def _by_pair(runs: Sequence[Run], measure: str) -> dict[tuple[str, str], float]:
    """(task, seed) -> the result; of several runs the mean."""
    found: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        if (score := result(run, measure)) is not None:
            pair = (str(run.config.get("task.name")), str(run.config.get("seed")))
            found.setdefault(pair, []).append(score)
    return {pair: fmean(scores) for pair, scores in found.items()}


def _plain(value: Any) -> Any:
    """A value that can be sorted and hashed; text that spells a number is that number."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int | float):
        return value
    try:
        return float(str(value))
    except ValueError:
        return str(value)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
