# SPDX-License-Identifier: Apache-2.0
"""Racing: stop a candidate's evaluation once it is surely worse than an incumbent, by more than some slack.

The candidate's N runs (problem, repeat) are made in blocks, in an order drawn from its digest. Its scores are x_i, the
incumbent's known scores X_i. The hypothesis says that the candidate's mean on all N is at least the incumbent's less
the slack d. It is tested by betting against it (Waudby-Smith and Ramdas 2023, sampling without replacement). For a
share a of pairing in [0, 1],

    z_i = 1 - x_i + a X_i >= 0,    under the hypothesis sum z_i <= Z = (1 + d) N - (1 - a) sum X_i,
    b_t = (Z - sum of z_i, i < t) / (N - t + 1)      is then at least the mean of z_t given the past,
    K_t = K_{t-1} (1 - s + s z_t / b_t),             stake s in (0, 1), K_0 = 1.

K is a non-negative supermartingale, and so is its mean over stakes and shares. By Ville's inequality it ever reaches
1/delta with probability delta at most, for any number of looks. a = 0 compares with the incumbent's mean, a = 1 problem
by problem, which is stronger where the two solve the same problems. The probability is over the order alone.

A run that was lost to the world counts as solved by the candidate and as not solved by the incumbent. A race ends early
only while the candidate's mean is below the incumbent's less d, so such a candidate is never the best of a search. Its
score is the mean over its n runs. It is pessimistic, because an unlucky start ends the race and a lucky one does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aflow_env.config import RacingConfig
from aflow_env.evaluation.evaluator import Evaluator
from aflow_env.evaluation.results import COUNTED, Evaluation, ProblemResult
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.program import Workflow

SHARES = np.array([0.0, 0.5, 1.0])  # a
STAKES = np.arange(1, 10) / 10  # s
TINY = 1e-9  # sums of scores are exact to this


@dataclass
class Race:
    """The bets against one candidate. `incumbent` are the scores X_i of all N runs, in the order of running.

    The candidate's mean may be below the incumbent's by `slack`, in [0, 1].
    """

    incumbent: Sequence[float]
    delta: float
    slack: float = 0.0
    _capital: NDArray[np.float64] = field(init=False)  # by share and stake
    _left: NDArray[np.float64] = field(init=False)  # Z - sum of z so far, by share
    _seen: int = 0

    def __post_init__(self) -> None:
        self._capital = np.ones((len(SHARES), len(STAKES)))
        self._left = (1 + self.slack) * len(self.incumbent) - (1 - SHARES) * float(np.sum(self.incumbent))

    def record(self, score: float) -> None:
        """Bet on the candidate's next score, in [0, 1]."""
        z = 1 - score + SHARES * self.incumbent[self._seen]
        bound = self._left / (len(self.incumbent) - self._seen)
        beyond = np.where(z > TINY, np.inf, 1.0)  # a positive z is impossible under a bound of 0
        ratio = np.where(bound > TINY, z / np.maximum(bound, TINY), beyond)
        self._capital *= 1 - STAKES + np.outer(ratio, STAKES)
        self._left -= z
        self._seen += 1

    @property
    def hopeless(self) -> bool:
        """Whether the hypothesis is rejected."""
        return bool(np.mean(self._capital) >= 1 / self.delta)


async def race(
    evaluator: Evaluator,
    workflow: Workflow,
    problems: Sequence[Problem],
    repeats: int,
    incumbent: Evaluation,
    rule: RacingConfig,
    seed: int = 0,
    version: str = "",
    slack: float = 0.0,
) -> Evaluation:
    """Evaluate a workflow until it is surely worse than the incumbent less `slack`.

    Stored results count as fresh ones. Raises as `evaluator.evaluate` does.
    """
    runs = [(problem, repeat) for repeat in range(repeats) for problem in problems]
    order = np.random.default_rng([seed, int(workflow.digest, 16)]).permutation(len(runs)).tolist()
    known = {each.key: _worth(each, 0.0) for each in incumbent.results}
    assert rule.delta is not None
    test = Race([known.get((runs[i][0].digest, runs[i][1]), 0.0) for i in order], rule.delta, slack)
    done: dict[int, ProblemResult] = {}
    for begin in range(0, len(order), rule.block):
        block = order[begin : begin + rule.block]
        results = await evaluator.run(workflow, [runs[i] for i in block], version)
        done.update(zip(block, results, strict=True))
        evaluator.judge(list(done.values()), of=len(runs))
        for result in results:
            test.record(_worth(result, 1.0))
        scores = [result.score for result in done.values() if result.outcome in COUNTED]
        if test.hopeless and scores and np.mean(scores) < incumbent.score - slack:
            break
    return evaluator.summary(workflow, [done[i] for i in sorted(done)], version, of=len(runs))


def _worth(result: ProblemResult, otherwise: float) -> float:
    return result.score if result.outcome in COUNTED else otherwise
