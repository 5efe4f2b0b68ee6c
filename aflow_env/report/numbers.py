# SPDX-License-Identifier: Apache-2.0
"""The statistics of a report: means with intervals, curves, calibration. Pure.

Means have Student's t interval; a single draw has none.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from aflow_env.evaluation.results import usd_a_problem
from aflow_env.report.runs import RoundRecord, RunRecord
from aflow_env.store.findings import pareto

SCORES = (0.0, 1.0)
"""The range of scores."""


@dataclass(frozen=True)
class Mean:
    """A mean over `n` draws; `low` and `high` are None for a single draw."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Priced:
    """A workflow with its mean score on validate problems and its mean cost."""

    digest: str
    score: float
    usd_a_problem: float


@dataclass(frozen=True)
class Bin:
    """Predictions within one tenth of [0, 1] and their scores, as means over runs; `expansions` counts the edits."""

    predicted: float
    came: Mean
    expansions: int


def mean(values: Sequence[float], within: tuple[float, float] = (-math.inf, math.inf)) -> Mean:
    """Return the mean and Student's 95 % interval, cut to the range of values. Raises ValueError without values."""
    if not values:
        raise ValueError("a mean of no runs")
    centre, n = fmean(values), len(values)
    if n == 1:
        return Mean(centre, 1)
    from scipy.special import stdtrit  # takes half a second to import, and most verbs need none of it

    half = float(stdtrit(n - 1, 0.975)) * stdev(values) / math.sqrt(n)
    return Mean(centre, n, max(within[0], centre - half), min(within[1], centre + half))


def best_by_calls(run: RunRecord) -> list[tuple[int, float]]:
    """Return (executor calls, best validate score) so far after each round of a search, the start first."""
    calls, best, curve = 0, 0.0, []
    for each in sorted((each for each in run.rounds if each.validated and each.step == 0), key=lambda each: each.round):
        calls, best = calls + each.calls, max(best, each.score or 0.0)
        curve.append((calls, best))
    return curve


def range_text(low: float | None, high: float | None, digits: int = 3) -> str:
    """Return an interval as text, "-" for none."""
    return "-" if low is None or high is None else f"[{low:.{digits}f}, {high:.{digits}f}]"


def best_by_step(run: RunRecord) -> list[tuple[int, float]]:
    """Return (step, mean over its sessions of the session's best score), for a training run.

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


def calibration(runs: Sequence[RunRecord]) -> list[Bin]:
    """Compare the predicted scores of edits with the realised ones, in tenths of the prediction.

    Expansions of one run are not independent draws, so intervals are over the runs' means.
    """
    found = []
    predicted_pairs = [predictions(run) for run in runs]
    for place in range(10):
        inside = [[pair for pair in pairs if min(int(pair[0] * 10), 9) == place] for pairs in predicted_pairs]
        if inside := [pairs for pairs in inside if pairs]:
            predicted = fmean(fmean(said for said, _ in pairs) for pairs in inside)
            came = mean([fmean(score for _, score in pairs) for pairs in inside], SCORES)
            found.append(Bin(predicted, came, sum(map(len, inside))))
    return found


def predictions(run: RunRecord) -> list[tuple[float, float]]:
    """Return (predicted, realised) score of each evaluated edit that was predicted."""
    return [(each.q, each.score) for each in run.rounds if each.q is not None and each.score is not None]


def bill(runs: Sequence[RunRecord]) -> Mean | None:
    """Return the mean bill of the runs in USD; None where one of them has a call without a known price."""
    paid = [run.cost_usd for run in runs if run.cost_usd is not None]
    return mean(paid, (0.0, math.inf)) if len(paid) == len(runs) else None


def priced(runs: Sequence[RunRecord]) -> list[Priced]:
    """Return each workflow whose price is known, over all rounds of the runs that validated it."""
    found: dict[str, list[RoundRecord]] = {}
    for each in (each for run in runs for each in run.rounds if each.validated and each.n):
        if each.digest is not None and each.score is not None:
            found.setdefault(each.digest, []).append(each)
    return [
        Priced(digest, fmean(each.score or 0.0 for each in rounds), usd)
        for digest, rounds in found.items()
        if (usd := usd_a_problem((each.usd_a_problem, each.n) for each in rounds)) is not None
    ]


def front(runs: Sequence[RunRecord]) -> list[Priced] | None:
    """Return the workflows that no other beats in score and cost, the cheapest first; None where no price is known."""
    return pareto(priced(runs), lambda each: each.usd_a_problem, lambda each: each.score) or None


def outcome_counts(runs: Sequence[RunRecord]) -> dict[str, int]:
    """Return how many runs on problems ended with each outcome."""
    total = Counter[str]()
    for run in runs:
        for each in run.rounds:
            total.update(each.outcomes)
    return dict(total)
