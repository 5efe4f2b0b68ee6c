# SPDX-License-Identifier: Apache-2.0
"""The results of an evaluation, one a problem and repeat, and their summary.

Outcomes that the workflow caused count. Failures of the world are listed and are in no mean. `Evaluation.ci95` takes
results as independent draws, so with repeats > 1 it is too narrow for problems at large.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from aflow_env.errors import InfrastructureError
from aflow_env.screen import plural

Z95 = 1.959963984540054


class Outcome(StrEnum):
    """How the run of a workflow on one problem ended."""

    CORRECT = "correct"
    WRONG = "wrong"
    TIMEOUT = "timeout"
    CRASH = "crash"
    VIOLATION = "violation"
    LLM_ERROR = "llm_error"
    BUDGET = "budget"


COUNTED = frozenset((Outcome.CORRECT, Outcome.WRONG, Outcome.TIMEOUT, Outcome.CRASH, Outcome.VIOLATION))
COUNTS = ("input_tokens", "output_tokens", "calls", "truncated", "unpriced")
"""The counts of a run, which add up over runs."""


class ProblemResult(NamedTuple):
    """A workflow's run on one problem. `score` is in [0, 1]. Cost and tokens are those of the original run.

    `truncated` of its `calls` were cut at max_tokens. `unpriced` have no known price and are not in `cost_usd`.
    `problem_digest` is that of the problem's content. `feedback` is the scorer's text. `trace` has a line for each
    operator call of a run that is not correct. `cached`: this evaluation did not pay.
    """

    problem_id: str
    repeat: int
    outcome: Outcome
    score: float = 0.0
    answer: str = ""
    seconds: float = 0.0
    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0
    error: str = ""
    problem_digest: str = ""
    truncated: int = 0
    unpriced: int = 0
    feedback: str = ""
    trace: str = ""
    cached: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """The result's key in a cache, within a workflow and executor key."""
        return self.problem_digest, self.repeat


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A workflow on a set of problems. `score` is the mean over the `n` results that count, `ci95` its 95 % interval.

    `cost_usd` and tokens are those of all results, `spent_usd` is the cost of results that are not cached.
    `usd_a_problem` leaves out the runs that do not count; it is None where it is unknown.
    `executor_key` is a digest of the settings that decide a result. Evaluations with equal figures are equal.
    """

    digest: str
    executor_key: str
    score: float
    ci95: tuple[float, float]
    n: int
    outcomes: dict[str, int]
    cost_usd: float
    input_tokens: int
    output_tokens: int
    calls: int
    cache_hits: int = field(compare=False)
    spent_usd: float = field(compare=False)
    results: Sequence[ProblemResult] = field(compare=False, repr=False)
    truncated: int = 0
    unpriced: int = 0
    usd_a_problem: float | None = None

    def worth(self, cost_weight: float) -> float:
        """Return the score less `cost_weight` times the USD of a problem, which count as 0 where they are unknown."""
        return self.score - cost_weight * (self.usd_a_problem or 0.0)


def summarise(digest: str, executor_key: str, results: Sequence[ProblemResult]) -> Evaluation:
    """Return the evaluation of these results. Raises InfrastructureError when none of them counts."""
    outcomes = Counter(str(result.outcome) for result in results)
    counted = [result for result in results if result.outcome in COUNTED]
    scores = [result.score for result in counted]
    if not scores:
        raise InfrastructureError(f"none of {plural(len(results), 'run')} of workflow {digest} counts: {lost(results)}")
    return Evaluation(
        digest=digest,
        executor_key=executor_key,
        score=math.fsum(scores) / len(scores),
        ci95=interval95(scores),
        n=len(scores),
        outcomes=dict(sorted(outcomes.items())),
        cost_usd=math.fsum(result.cost_usd for result in results),
        cache_hits=sum(result.cached for result in results),
        spent_usd=math.fsum(result.cost_usd for result in results if not result.cached),
        results=results,
        usd_a_problem=usd_a_problem((None if result.unpriced else result.cost_usd, 1) for result in counted),
        **{name: sum(getattr(result, name) for result in results) for name in COUNTS},
    )


def usd_a_problem(parts: Iterable[tuple[float | None, int]]) -> float | None:
    """Return the cost of a problem over parts, each (USD of a problem, runs that count).

    None where a part is unknown or no run counts. `database.USD_A_PROBLEM` is the same in SQL.
    """
    found = [(usd, n) for usd, n in parts if n]
    known = [(usd, n) for usd, n in found if usd is not None]
    n = sum(n for _, n in known)
    return math.fsum(usd * n for usd, n in known) / n if n and len(known) == len(found) else None


def wilson(mean: float, n: int) -> tuple[float, float]:
    """Return centre and half width of Wilson's (1927) 95 % interval for `n` draws of 0 or 1 with this mean."""
    shrink = 1 + Z95**2 / n
    return (mean + Z95**2 / (2 * n)) / shrink, Z95 / shrink * math.sqrt(mean * (1 - mean) / n + Z95**2 / (4 * n * n))


def interval95(scores: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean of scores in [0, 1]: Wilson (1927) when all are 0 or 1, else normal, clipped.

    A single score strictly between 0 and 1 has (0, 1). Raises ValueError without scores.
    """
    n = len(scores)
    if not n:
        raise ValueError("a mean of no scores has no interval")
    mean = math.fsum(scores) / n
    if all(score in (0.0, 1.0) for score in scores):
        centre, half = wilson(mean, n)
    elif n == 1:
        return 0.0, 1.0
    else:
        centre = mean
        half = Z95 * math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (n - 1) / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def problem_interval95(results: Sequence[ProblemResult]) -> tuple[float, float]:
    """Return the 95 % interval of the mean score on problems at large, from the mean over repeats of each problem.

    Raises ValueError when no result counts.
    """
    by_problem: dict[str, list[float]] = {}
    for result in results:
        if result.outcome in COUNTED:
            by_problem.setdefault(result.problem_digest or result.problem_id, []).append(result.score)
    return interval95([math.fsum(scores) / len(scores) for scores in by_problem.values()])


def lost(results: Sequence[ProblemResult]) -> str:
    """Return the most frequent reason why results do not count, and its number, for messages."""
    reasons = Counter(result.error or str(result.outcome) for result in results if result.outcome not in COUNTED)
    return next((f"{times} x {reason}" for reason, times in reasons.most_common(1)), "there were none")
